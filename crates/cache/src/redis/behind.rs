//! The work behind the caller: writing, renewing, forgetting, and giving a Redis that lost everything back what this
//! server holds. One exchange at a time; while Redis is away nothing is tried but what its breaker lets through.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use panscan_core::block::Block;
use panscan_core::port::BlockKey;
use panscan_core::snapshot::MarketId;
use panscan_core::time::Timestamp;
use redis::Cmd;

use super::errand::{Load, Task};
use super::info::Server;
use super::layout::{Place, cut};
use super::link::{Refusal, WAIT_MAX};
use super::{BATCH_KEYS, Cargo, Local, Redis, value};
use crate::key::Name;
use crate::{locked, note};

/// How often Redis is asked how it is.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Pause after Redis had no room; it doubles up to the second.
const FULL_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Notes that are remembered.
const NOTES_MAX: usize = 1024;

type Batch = Vec<(Task, Load<Cargo>)>;

impl Redis {
    /// Names where values come from that are not at hand any more, and begins to look at how Redis is.
    pub(crate) fn attach(self: &Arc<Self>, local: Weak<dyn Local>) {
        let _ = self.local.set(local);
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::spawn(look(Arc::downgrade(self)));
        }
    }

    /// Shares blocks, behind the caller.
    pub(crate) fn write(self: &Arc<Self>, market: &MarketId, blocks: &[(BlockKey, Block)]) {
        for (key, block) in blocks {
            let name = (market.clone(), key.clone());
            locked(&self.absent).remove(&name);
            self.later(Task::Block(name), Some(Cargo::Block(block.clone())), block.bytes());
        }
    }

    /// Shares a note, behind the caller.
    pub(crate) fn write_note(self: &Arc<Self>, market: &MarketId, name: &str, at: Timestamp, body: &[u8]) {
        let value = [&note::head(at, body), body].concat();
        let bytes = value.len();
        self.met(market, name);
        self.later(Task::Note(market.clone(), name.to_owned()), Some(Cargo::Note(value)), bytes);
    }

    /// Forgets blocks. Says whether Redis did; what is being written meanwhile is forgotten right after.
    pub(crate) async fn forget(self: &Arc<Self>, market: &MarketId, keys: &[BlockKey]) -> bool {
        let mut done = true;
        for batch in keys.chunks(BATCH_KEYS) {
            let places: Vec<Place> = batch
                .iter()
                .map(|key| {
                    let name = (market.clone(), key.clone());
                    let place = self.layout.block(&name);
                    let queue = &mut *locked(&self.queue);
                    queue.cancel(&Task::Block(name.clone()));
                    queue.cancel(&Task::Restore(name));
                    place
                })
                .collect();
            places.iter().for_each(|place| self.later(Task::Remove(place.clone()), None, 64));
            let commands: Vec<Cmd> = places.iter().map(remove).collect();
            done &= self.link.exchange(WAIT_MAX, &commands).await.is_some();
        }
        done
    }

    /// Whether something waits or is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Acquire) || locked(&self.queue).len() > 0
    }

    /// Remembers that a note is in use.
    pub(super) fn met(&self, market: &MarketId, name: &str) {
        let notes = &mut *locked(&self.notes);
        if notes.len() < NOTES_MAX {
            notes.insert((market.clone(), name.to_owned()), ());
        }
    }

    pub(super) fn later(self: &Arc<Self>, task: Task, cargo: Option<Cargo>, bytes: usize) {
        locked(&self.queue).push(task, cargo, bytes);
        if !self.running.swap(true, Ordering::AcqRel) {
            tokio::spawn(run(Arc::downgrade(self)));
        }
    }

    /// Does some of what waits. Answers how long to wait before the rest; `None` when there is none.
    async fn work(self: &Arc<Self>, full_pause: &mut Duration) -> Option<Duration> {
        let rest = self.link.breaker.rest();
        if !rest.is_zero() {
            return Some(rest.mul_f64(1.0 + fastrand::f64() / 4.0));
        }
        let batch = locked(&self.queue).take();
        if batch.is_empty() {
            return None;
        }
        let this = self.clone();
        let Ok((batch, mut commands)) = tokio::task::spawn_blocking(move || this.commands(batch)).await
        else {
            return Some(Duration::ZERO);
        };
        let counts: Vec<usize> = commands.iter().map(Vec::len).collect();
        let all: Vec<Cmd> = commands.drain(..).flatten().collect();
        let Some(answers) = self.link.exchange(WAIT_MAX, &all).await else {
            locked(&self.queue).give_back(batch);
            return Some(self.link.breaker.rest().max(LOOK_EVERY / 20));
        };
        let mut answers = answers.into_iter();
        let mut is_full = false;
        for ((task, load), count) in batch.into_iter().zip(counts) {
            let mine: Vec<_> = answers.by_ref().take(count).collect();
            let refusal = mine.iter().find_map(|answer| answer.as_ref().err());
            match (&task, refusal) {
                (Task::Restore(name), None) => {
                    if mine.first().is_some_and(|answer| *answer == Ok(redis::Value::Int(0))) {
                        locked(&self.queue).push(Task::Block(name.clone()), None, 0);
                    }
                }
                (_, None) => {}
                (_, Some(Refusal::Full)) => {
                    is_full = true;
                    // Its turn comes again when there may be room; that is no fault of its own.
                    locked(&self.queue).again(task, load.tries.saturating_sub(1));
                }
                (_, Some(Refusal::WrongType)) => {
                    if let Some(place) = self.place(&task) {
                        let queue = &mut *locked(&self.queue);
                        queue.push(Task::Remove(Place::Key(place.key().to_owned())), None, 64);
                        queue.again(task, load.tries);
                    }
                }
                (_, Some(Refusal::Other(_))) => {}
            }
        }
        if !is_full {
            *full_pause = FULL_PAUSE.0;
            return Some(Duration::ZERO);
        }
        let pause = full_pause.mul_f64(0.75 + fastrand::f64() / 2.0);
        *full_pause = (*full_pause * 2).min(FULL_PAUSE.1);
        Some(pause)
    }

    fn place(&self, task: &Task) -> Option<Place> {
        match task {
            Task::Block(name) | Task::Restore(name) => Some(self.layout.block(name)),
            Task::Note(market, name) => Some(self.layout.note(market, name)),
            Task::Remove(place) => Some(place.clone()),
            Task::Renew(_) => None,
        }
    }

    /// The commands of each task. Blocks for as long as packing takes.
    fn commands(&self, batch: Batch) -> (Batch, Vec<Vec<Cmd>>) {
        let commands = batch.iter().map(|(task, load)| self.commands_of(task, load)).collect();
        (batch, commands)
    }

    fn commands_of(&self, task: &Task, load: &Load<Cargo>) -> Vec<Cmd> {
        let local = || self.local.get().and_then(Weak::upgrade);
        match task {
            Task::Block(name) => {
                let block = match &load.value {
                    Some(Cargo::Block(block)) => Some(block.clone()),
                    _ => local().and_then(|local| local.block(name)),
                };
                let Some(block) = block else { return Vec::new() };
                self.set(&self.layout.block(name), value::encode(&name.0, &block), self.config.ttl_closed)
            }
            Task::Note(market, name) => {
                let kept = || {
                    let (at, body) = local()?.note(market, name)?;
                    Some([note::head(at, &body), body].concat())
                };
                let value = match &load.value {
                    Some(Cargo::Note(value)) => Some(value.clone()),
                    _ => kept(),
                };
                let Some(value) = value else { return Vec::new() };
                self.set(&self.layout.note(market, name), value, self.note_life(name))
            }
            Task::Restore(name) => vec![match self.layout.block(name) {
                Place::Key(key) => command("EXISTS", &[&key]),
                Place::Field(key, field) => command("HEXISTS", &[&key, &field]),
            }],
            Task::Renew(key) => vec![expire(key, self.config.ttl_closed)],
            Task::Remove(place) => vec![remove(place)],
        }
    }

    fn note_life(&self, name: &str) -> Duration {
        let mut lives = self.config.ttl_notes.iter();
        lives.find(|(begin, _)| name.starts_with(begin)).map_or(self.config.ttl_other, |(_, life)| *life)
    }

    /// The commands that keep a value; none where it is too long for this.
    fn set(&self, place: &Place, value: Vec<u8>, life: Duration) -> Vec<Cmd> {
        let Some(parts) = cut(value) else { return Vec::new() };
        let parts = parts.into_iter().enumerate().map(|(n, part)| (place.part(n), part));
        match place {
            // The first part says what the others are: it comes last, so that who finds it finds them.
            Place::Key(_) => parts.rev().map(|(place, part)| set_key(place.key(), &part, life)).collect(),
            Place::Field(key, _) => {
                let mut command = redis::cmd("HSET");
                command.arg(key);
                for (place, part) in parts {
                    if let Place::Field(_, field) = place {
                        command.arg(field).arg(part);
                    }
                }
                vec![command, expire(key, life)]
            }
        }
    }

    /// Asks Redis how it is. One that is not the one of before is given what this server holds, where it lacks it.
    async fn look_at_server(self: &Arc<Self>) {
        let commands = [redis::cmd("INFO"), redis::cmd("DBSIZE")];
        let Some(answers) = self.link.exchange(WAIT_MAX, &commands).await else { return };
        let [Ok(info), Ok(keys)] = &answers[..] else { return };
        let fresh = Server::read(info, keys);
        let is_other = {
            let server = &mut *locked(&self.server);
            let is_other = fresh.is_other_than(server);
            *server = fresh;
            is_other
        };
        if !is_other {
            return;
        }
        let Some(local) = self.local.get().and_then(Weak::upgrade) else { return };
        let names = tokio::task::spawn_blocking(move || local.names()).await.unwrap_or_default();
        let mut names: Vec<Name> = names;
        // Servers that do this at once begin in different places.
        fastrand::shuffle(&mut names);
        let notes: Vec<_> = locked(&self.notes).keys().cloned().collect();
        notes.into_iter().for_each(|(market, name)| self.later(Task::Note(market, name), None, 0));
        names.into_iter().for_each(|name| self.later(Task::Restore(name), None, 0));
    }
}

/// Works until nothing waits. Holds the tier only while it works, so that a server that ends ends.
async fn run(redis: Weak<Redis>) {
    let mut full_pause = FULL_PAUSE.0;
    loop {
        let Some(this) = redis.upgrade() else { return };
        match this.work(&mut full_pause).await {
            Some(pause) if pause.is_zero() => {}
            Some(pause) => {
                drop(this);
                tokio::time::sleep(pause).await;
            }
            None => {
                this.running.store(false, Ordering::Release);
                // What came between the last look and the sign that nobody works is done as well.
                if locked(&this.queue).len() == 0 || this.running.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        }
    }
}

/// Looks at how Redis is from time to time.
async fn look(redis: Weak<Redis>) {
    loop {
        let Some(this) = redis.upgrade() else { return };
        let began = Instant::now();
        this.look_at_server().await;
        drop(this);
        let next = LOOK_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::time::sleep(next.saturating_sub(began.elapsed()).max(LOOK_EVERY / 4)).await;
    }
}

fn command(name: &str, arguments: &[&str]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(arguments);
    command
}

fn set_key(key: &str, value: &[u8], life: Duration) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(value).arg("EX").arg(life.as_secs().max(1));
    command
}

fn expire(key: &str, life: Duration) -> Cmd {
    let mut command = redis::cmd("EXPIRE");
    command.arg(key).arg(life.as_secs().max(1));
    command
}

fn remove(place: &Place) -> Cmd {
    match place {
        Place::Key(key) => command("UNLINK", &[key]),
        Place::Field(key, field) => command("HDEL", &[key, field]),
    }
}
