//! The queue in front of a provider: a call gets its turn when both the rate limit and the connections allow it.
//!
//! The arithmetic is the core's window log; here is the waiting. Interactive calls go before background ones,
//! and callers take turns. Who stops waiting leaves the queue and makes no call. Where several servers share a
//! key, a call needs the others' consent too, which Redis gives.

pub(crate) mod ledger;
mod link;
mod queue;
mod share;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use panscan_core::limit::{Quota, WindowLog};
use panscan_core::port::{Clock, Errand};
use panscan_core::time::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::ledger::{Ledger, Slot};
use self::link::{Link, Terms};
use self::queue::{Place, Queue};
use self::share::{Message, Reply, Say, Share, micros};
use crate::connections::{Connection, Connections, Seat, Waiting};
use crate::error::FetchError;

pub use self::link::{Scripts, SharedLimit};

/// Calls that may wait; the callers' own bounds are far below.
const WAITING_MAX: usize = 100_000;
/// Calls up to which an estimate follows the window exactly.
const ESTIMATED_MAX: u64 = 100_000;

/// What a limiter keeps to.
pub(crate) struct Bounds {
    /// The rate limit.
    pub(crate) quota: Quota,
    /// What calls on the way take one of each.
    pub(crate) connections: Connections,
    /// A call is counted by the provider within this time.
    pub(crate) call_max: Duration,
    /// The file that remembers them.
    pub(crate) ledger: Option<PathBuf>,
    /// The other servers, and the name of what is shared.
    pub(crate) shared: Option<(SharedLimit, String)>,
}

/// Hands out turns.
pub(crate) struct Limiter {
    state: Mutex<State>,
    connections: Connections,
    seat: Seat,
    call_max: Duration,
    /// The instant `began`, in the clock of the log: monotonic whatever the desk's clock does.
    base: Timestamp,
    began: Instant,
    /// Rings when who watches the queue should look again.
    bell: Notify,
    link: Option<Link>,
}

struct State {
    log: WindowLog,
    ledger: Option<Ledger>,
    queue: Queue<oneshot::Sender<Turn>>,
    /// The last start; no two are equal.
    last: Timestamp,
    /// Whether a task looks after the queue.
    watched: bool,
    share: Option<Share>,
    /// Whether a task speaks with Redis.
    linked: bool,
    /// Whether Redis said that there is nothing now, and is asked again in time.
    polling: bool,
}

/// The queue is full.
#[derive(Debug)]
pub(crate) struct Full;

/// Permission for one call. A connection is taken until it is dropped.
pub(crate) struct Turn {
    limiter: Arc<Limiter>,
    connection: Option<Connection>,
    start: Timestamp,
    slot: Option<Slot>,
    /// What the call is called in Redis.
    number: Option<u64>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No call was made yet.
    Held,
    /// It is on its way.
    Begun,
    /// The provider has counted it.
    Answered,
}

/// A place in the queue.
struct Ticket<'a> {
    limiter: &'a Limiter,
    place: Place,
    turn: oneshot::Receiver<Turn>,
}

/// When to look at the queue again.
enum Next {
    Empty,
    WhenCalled,
    At(Timestamp),
}

impl Limiter {
    /// Keeps to `bounds`.
    ///
    /// # Errors
    ///
    /// [`FetchError::Setting`] when the ledger cannot be used.
    pub(crate) fn new(bounds: Bounds, clock: &Arc<dyn Clock>) -> Result<Arc<Self>, FetchError> {
        let Bounds { quota, connections, call_max, ledger, shared } = bounds;
        let shared = shared.filter(|_| !quota.is_unlimited());
        let now = clock.now();
        let mut log = WindowLog::new(quota).holding(call_max);
        let link = shared.as_ref().map(|(shared, name)| Link::new(shared, name));
        let mut share = shared.map(|(shared, _)| Share::new(quota, shared.peers, call_max, now));
        let mut kept = None;
        if let Some(path) = ledger.filter(|_| !quota.is_unlimited()) {
            let (ledger, left) = Ledger::open(&path, quota, call_max, clock.clone())?;
            for (start, clear) in left.calls {
                log.note(start, clear);
                if let Some(share) = &mut share {
                    share.note(clear);
                }
            }
            if let Some(until) = left.paused_until {
                log.pause(now, until.since(now));
            }
            kept = Some(ledger);
        }
        let state = State {
            log,
            ledger: kept,
            queue: Queue::new(),
            last: now,
            watched: false,
            share,
            linked: false,
            polling: false,
        };
        Ok(Arc::new(Self {
            state: Mutex::new(state),
            seat: connections.seat(),
            connections,
            call_max,
            base: now,
            began: Instant::now(),
            bell: Notify::new(),
            link,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.base.after(self.began.elapsed())
    }

    /// Waits for a turn. If dropped, the place in the queue is free and nothing is left behind.
    pub(crate) async fn turn(self: &Arc<Self>, errand: Errand) -> Result<Turn, Full> {
        let mut ticket = self.enter(errand)?;
        // The sender stays in the queue until it sends.
        (&mut ticket.turn).await.map_err(|_| Full)
    }

    fn enter(self: &Arc<Self>, errand: Errand) -> Result<Ticket<'_>, Full> {
        let (sender, turn) = oneshot::channel();
        let place = {
            let mut state = self.state();
            if state.queue.len() >= WAITING_MAX {
                return Err(Full);
            }
            if let Some(link) = self.link.as_ref().filter(|_| !state.linked) {
                state.linked = true;
                tokio::spawn(link::run(link.clone(), Arc::downgrade(self)));
            }
            state.queue.push(errand, sender)
        };
        self.settle();
        let mut state = self.state();
        if state.queue.len() > 0 && !state.watched {
            state.watched = true;
            tokio::spawn(watch(Watch { limiter: self.clone(), said: false }));
        }
        drop(state);
        Ok(Ticket { limiter: self, place, turn })
    }

    /// Hands out all turns that there are now.
    fn settle(self: &Arc<Self>) -> Next {
        loop {
            let mut state = self.state();
            if state.queue.len() == 0 {
                drop(state);
                self.connections.leave(self.seat);
                return Next::Empty;
            }
            // Dropped behind the lock of the state, as others are told then.
            let connection = self.connections.take(self.seat, || {
                let me: Weak<Self> = Arc::downgrade(self);
                me
            });
            if connection.is_none() {
                return Next::WhenCalled;
            }
            let now = self.now().max(state.last.after(Duration::from_nanos(1)));
            let number = match state.permit(now) {
                Ok(number) => number,
                Err(next) => {
                    let ask = matches!(next, Next::WhenCalled) && !state.polling;
                    drop(state);
                    if ask {
                        self.ring_link();
                    }
                    return next;
                }
            };
            state.last = now;
            let slot = state.ledger.as_mut().map(Ledger::started);
            let waiting = state.queue.pop();
            drop(state);
            let turn =
                Turn { limiter: self.clone(), connection, start: now, slot, number, stage: Stage::Held };
            if let Some(waiting) = waiting {
                // Who does not wait any more gives the turn back by dropping it.
                let _ = waiting.send(turn);
            }
        }
    }

    fn ring_link(&self) {
        if let Some(link) = &self.link {
            link.bell.notify_one();
        }
    }

    /// The next message to Redis.
    fn compose(&self, timeout: Duration) -> Option<(Message, Terms)> {
        let now = self.now();
        let mut state = self.state();
        state.polling = false;
        let want = state.want(now, self.connections.free());
        let calls = state.log.allowed(now);
        let share = state.share.as_mut()?;
        let (peers, own) = share.terms();
        let terms = Terms { calls, own, peers, hold: micros(share.hold) };
        Some((share.compose(now, timeout, want), terms))
    }

    /// Takes an answer of Redis in; how long to wait with the next message.
    fn absorb(self: &Arc<Self>, message: &Message, reply: &Reply) -> Duration {
        let now = self.now();
        let mut state = self.state();
        let window = state.log.quota().window();
        let Some(share) = &mut state.share else { return Duration::MAX };
        share.absorb(message, reply, now);
        state.polling = message.want > 0 && reply.granted == 0;
        let polling = state.polling;
        drop(state);
        self.settle();
        self.bell.notify_one();
        let mut state = self.state();
        let Some(share) = &mut state.share else { return Duration::MAX };
        share.give_back(now);
        if share.has_news() {
            return Duration::ZERO;
        }
        let rest = share.rest(now);
        if polling { link::poll(reply.wait, window).min(rest) } else { rest }
    }

    /// Redis did not answer.
    fn lost(self: &Arc<Self>, message: Option<&Message>) {
        let now = self.now();
        if let Some(share) = &mut self.state().share {
            share.lost(message, now);
        }
        self.settle();
        self.bell.notify_one();
    }

    /// The provider said that there were too many calls.
    pub(crate) fn rejected(&self, retry_after: Option<Duration>) {
        let now = self.now();
        let mut state = self.state();
        state.log.rejected(now, retry_after);
        state.remember_pause(now);
    }

    /// The provider said that there is nothing left until `wait` is over.
    pub(crate) fn pause(&self, wait: Duration) {
        let now = self.now();
        let mut state = self.state();
        state.log.pause(now, wait);
        state.remember_pause(now);
    }

    /// How long `calls` calls from now would take.
    pub(crate) fn estimate(&self, calls: u64) -> Duration {
        // On a copy, so that nobody waits for a long estimate; what is beyond it takes the usual pace.
        let log = self.state().log.clone();
        let near = log.estimated_time(self.now(), calls.min(ESTIMATED_MAX));
        let beyond = calls.saturating_sub(ESTIMATED_MAX) as f64 / self.refill_per_second();
        near.saturating_add(Duration::try_from_secs_f64(beyond).unwrap_or(Duration::MAX))
    }

    /// Calls that could be made now; infinite without a limit.
    pub(crate) fn available(&self) -> f64 {
        let now = self.now();
        match self.state().log.available(now) {
            u32::MAX => f64::INFINITY,
            calls => f64::from(calls),
        }
    }

    /// Whether a call that could be done without would be in nobody's way: nobody waits, a connection is free, and at
    /// least a quarter of the window is.
    pub(crate) fn has_room(&self) -> bool {
        let now = self.now();
        let state = self.state();
        let free = state.log.available(now);
        state.queue.len() == 0 && self.connections.free() > 0 && free > state.log.allowed(now) / 4
    }

    /// How many calls come free a second in the long run; infinite without a limit.
    pub(crate) fn refill_per_second(&self) -> f64 {
        let quota = self.state().log.quota();
        per_second(quota, quota.calls())
    }

    /// The same as things are, after what the provider said.
    pub(crate) fn adapted_per_second(&self) -> f64 {
        let now = self.now();
        let state = self.state();
        per_second(state.log.quota(), state.log.allowed(now))
    }
}

fn per_second(quota: Quota, calls: u32) -> f64 {
    if quota.is_unlimited() {
        return f64::INFINITY;
    }
    f64::from(calls) / (quota.window() + quota.margin()).as_secs_f64()
}

impl State {
    /// Reserves a call at `now`, with its number in Redis, or says when to look again.
    fn permit(&mut self, now: Timestamp) -> Result<Option<u64>, Next> {
        if let Some(share) = &self.share {
            self.log.set_ceiling(share.ceiling());
        }
        let at = self.log.earliest(now);
        if at > now {
            return Err(Next::At(at));
        }
        let number = match self.share.as_mut().map(|share| share.start(now)) {
            None => None,
            Some(Say::Go(number)) => Some(number),
            Some(Say::After(at)) => return Err(Next::At(at)),
            Some(Say::Ask) => return Err(Next::WhenCalled),
        };
        // The instant is the one that was asked for above.
        self.log.reserve(now).map_err(Next::At)?;
        Ok(number)
    }

    /// Calls that could start at `now` if only Redis granted them.
    fn want(&mut self, now: Timestamp, free: usize) -> u32 {
        if let Some(share) = &self.share {
            self.log.set_ceiling(share.ceiling());
        }
        u32::try_from(self.queue.len().min(free)).unwrap_or(u32::MAX).min(self.log.available(now))
    }

    fn remember_pause(&mut self, now: Timestamp) {
        let wait = self.log.blocked_until().since(now);
        if let Some(ledger) = &mut self.ledger {
            ledger.paused(wait);
        }
    }
}

/// Says that the queue is not watched any more, also when the runtime ends.
struct Watch {
    limiter: Arc<Limiter>,
    said: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.said {
            self.limiter.state().watched = false;
        }
    }
}

/// Looks after the queue until it is empty.
async fn watch(mut watch: Watch) {
    let limiter = watch.limiter.clone();
    loop {
        match limiter.settle() {
            Next::Empty => {
                let mut state = limiter.state();
                if state.queue.len() == 0 {
                    // Under the same lock: whoever enters from here on starts another watch.
                    state.watched = false;
                    watch.said = true;
                    return;
                }
            }
            Next::WhenCalled => limiter.bell.notified().await,
            Next::At(at) => {
                let wait = at.since(limiter.now());
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = limiter.bell.notified() => {}
                }
            }
        }
    }
}

impl Waiting for Limiter {
    fn look(self: Arc<Self>) {
        self.settle();
        // Who watches the queue may have to wait for something else now.
        self.bell.notify_one();
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.connections.leave(self.seat);
        self.ring_link();
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.limiter.state().queue.leave(self.place);
    }
}

impl Turn {
    /// Notes that the call is on its way. A turn that is dropped before costs nothing.
    pub(crate) fn begin(&mut self) {
        self.stage = Stage::Begun;
    }

    /// Notes that the answer began, so that the provider has counted the call by now.
    pub(crate) fn answered(&mut self) {
        if self.stage != Stage::Answered {
            self.stage = Stage::Answered;
            let now = self.limiter.now();
            let mut state = self.limiter.state();
            self.count_until(&mut state, now);
            if let (Some(ledger), Some(slot)) = (&mut state.ledger, self.slot) {
                ledger.answered(slot);
            }
        }
    }

    /// Notes that the provider has counted the call by `seen`.
    fn count_until(&self, state: &mut State, seen: Timestamp) {
        state.log.answered(self.start, seen);
        let quota = state.log.quota();
        self.tell(state, seen.after(quota.window() + quota.margin()));
    }
}

impl Turn {
    /// Tells the other servers until when the call counts.
    fn tell(&self, state: &mut State, clear: Timestamp) {
        if let (Some(share), Some(number)) = (&mut state.share, self.number) {
            share.counts_until(number, clear);
            self.limiter.ring_link();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        match self.stage {
            Stage::Answered => {}
            Stage::Held => {
                let mut state = self.limiter.state();
                state.log.cancel(self.start);
                self.tell(&mut state, self.start);
                if let (Some(ledger), Some(slot)) = (&mut state.ledger, self.slot) {
                    ledger.cancelled(slot);
                }
            }
            Stage::Begun => {
                // Given up on: what was sent may still be on its way, for as long as a call takes. The ledger says
                // the same of a call without an answer.
                let mut state = self.limiter.state();
                let margin = state.log.quota().margin();
                let longest = self.start.after(self.limiter.call_max);
                self.count_until(&mut state, self.limiter.now().after(margin).max(longest));
            }
        }
        // Others may have waited for it longer.
        drop(self.connection.take());
        self.limiter.settle();
        self.limiter.bell.notify_one();
    }
}

#[cfg(test)]
mod tests;
