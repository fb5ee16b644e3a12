//! Redis: packed blocks and notes shared between servers. Keys and values are written down in `REDIS.md`. Nothing
//! here fails a request: a Redis that is absent, slow, full or lies is a miss. Not here: promotion into other tiers.

mod behind;
mod breaker;
mod errand;
mod info;
mod layout;
mod link;
mod probe;
pub(crate) mod value;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use futures::StreamExt;
use panscan_core::block::Block;
use panscan_core::port::{BlockKey, TierStats};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timestamp;
use redis::Cmd;

use self::errand::{Queue, Task};
use self::info::Server;
use self::layout::{Layout, Place, join, parts};
pub use self::link::RedisAddress;
pub(crate) use self::link::{Dial, WAIT_MAX, Wire};
use self::link::{Link, Refusal, values_of};
pub use self::probe::{RedisReport, probe};
use crate::error::CacheError;
use crate::format::Fault;
use crate::key::Name;
use crate::{locked, note};

/// Keys of one batch.
const BATCH_KEYS: usize = 32;
/// Batches of one fill that are under way at once.
const BATCHES: usize = 4;
/// How much longer than a scan a read of many keys may wait for each batch: it fills.
const FILL_FACTOR: u32 = 25;
/// Names that are known to be absent, at most.
const ABSENT_MAX: usize = 65_536;

/// Where Redis is and how it is used.
#[derive(Clone)]
pub struct RedisConfig {
    /// Where it is.
    pub address: RedisAddress,
    /// First part of every key.
    pub prefix: String,
    /// Longest wait of a scan for a batch of keys.
    pub timeout: Duration,
    /// Life of bars, renewed when they are read: a bound of memory.
    pub ttl_closed: Duration,
    /// Life of notes whose names begin so; the first that fits counts.
    pub ttl_notes: Vec<(String, Duration)>,
    /// Life of other notes.
    pub ttl_other: Duration,
    /// For so long what Redis lacked is not asked for again.
    pub ttl_absent: Duration,
}

impl RedisConfig {
    /// One that is used as it is by default.
    #[must_use]
    pub fn new(address: RedisAddress) -> Self {
        Self {
            address,
            prefix: "panscan".to_owned(),
            timeout: Duration::from_millis(20),
            ttl_closed: Duration::from_secs(24 * 60 * 60),
            ttl_notes: Vec::new(),
            ttl_other: Duration::from_secs(60 * 60),
            ttl_absent: Duration::from_secs(1),
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What this server holds itself: where values come from whose turn to be shared comes late. May block.
pub(crate) trait Local: Send + Sync {
    /// A block.
    fn block(&self, name: &Name) -> Option<Block>;
    /// A note.
    fn note(&self, market: &MarketId, name: &str) -> Option<(Timestamp, Vec<u8>)>;
    /// The blocks that are there.
    fn names(&self) -> Vec<Name>;
}

/// What waits to be written.
enum Cargo {
    Block(Block),
    Note(Vec<u8>),
}

/// What a value at a place turned out to be.
type Raw = Result<Option<Vec<u8>>, Fault>;
/// A block with its number in its batch, and with that of the key that was asked for.
type Numbered = (usize, (usize, Block));

/// The tier.
pub(crate) struct Redis {
    config: RedisConfig,
    layout: Layout,
    link: Link,
    local: OnceLock<Weak<dyn Local>>,
    queue: Mutex<Queue<Cargo>>,
    running: AtomicBool,
    /// Tickers of the last large block: blocks share their text.
    known: Mutex<Arc<[Symbol]>>,
    /// Blocks that Redis lacked when it was last asked.
    absent: Mutex<HashMap<Name, Instant>>,
    /// Notes that were met, so that a Redis which lost them gets them again.
    notes: Mutex<BTreeMap<(MarketId, String), ()>>,
    server: Mutex<Server>,
    hits: AtomicU64,
    misses: AtomicU64,
    refused: AtomicU64,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Redis {
    /// A tier that connects when it is first used.
    pub(crate) fn new(config: RedisConfig) -> Result<Self, CacheError> {
        Ok(Self {
            layout: Layout { prefix: config.prefix.clone() },
            link: Link::new(&config.address)?,
            config,
            local: OnceLock::new(),
            queue: Mutex::default(),
            running: AtomicBool::new(false),
            known: Mutex::new(Arc::from([])),
            absent: Mutex::default(),
            notes: Mutex::default(),
            server: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Reads blocks in the order of `keys`.
    pub(crate) async fn read(self: &Arc<Self>, market: &MarketId, keys: &[BlockKey]) -> Vec<Option<Block>> {
        let mut found: Vec<Option<Block>> = vec![None; keys.len()];
        let mut wanted: Vec<(usize, Name, Place)> = Vec::with_capacity(keys.len());
        {
            let absent = &mut *locked(&self.absent);
            for (i, key) in keys.iter().enumerate() {
                let name = (market.clone(), key.clone());
                let still = absent.get(&name).is_some_and(|since| since.elapsed() < self.config.ttl_absent);
                if !still {
                    let place = self.layout.block(&name);
                    wanted.push((i, name, place));
                }
            }
        }
        self.misses.fetch_add((keys.len() - wanted.len()) as u64, Ordering::Relaxed);
        // Fields of one key are asked for together.
        wanted.sort_unstable_by(|(_, _, a), (_, _, b)| a.cmp(b));
        let wait = match wanted.len() {
            0..=BATCH_KEYS => self.config.timeout,
            _ => self.config.timeout * FILL_FACTOR,
        };
        let batches: Vec<Vec<(usize, Name, Place)>> = wanted.chunks(BATCH_KEYS).map(<[_]>::to_vec).collect();
        let mut read =
            futures::stream::iter(batches).map(|batch| self.read_batch(batch, wait)).buffered(BATCHES);
        while let Some(batch) = read.next().await {
            for (i, block) in batch {
                found[i] = Some(block);
            }
        }
        found
    }

    /// One batch; answers the blocks that are there.
    async fn read_batch(
        self: &Arc<Self>,
        batch: Vec<(usize, Name, Place)>,
        wait: Duration,
    ) -> Vec<(usize, Block)> {
        let asked = batch.len();
        let places: Vec<Place> = batch.iter().map(|(_, _, place)| place.clone()).collect();
        let values = self.values(&places, wait).await;
        let answered = values.is_some();
        let this = self.clone();
        let decode = move || this.decode_all(batch, values.unwrap_or_default());
        let (found, missing) = tokio::task::spawn_blocking(decode).await.unwrap_or_default();
        self.hits.fetch_add(found.len() as u64, Ordering::Relaxed);
        self.misses.fetch_add((asked - found.len()) as u64, Ordering::Relaxed);
        if answered {
            let absent = &mut *locked(&self.absent);
            if absent.len() + missing.len() > ABSENT_MAX {
                absent.clear();
            }
            absent.extend(missing.into_iter().map(|name| (name, Instant::now())));
        }
        let mut renewed: Vec<&str> =
            found.iter().map(|(i, _)| *i).filter_map(|i| places.get(i)).map(Place::key).collect();
        renewed.dedup();
        renewed.into_iter().for_each(|key| self.later(Task::Renew(key.to_owned()), None, key.len()));
        found.into_iter().map(|(_, (i, block))| (i, block)).collect()
    }

    /// Decodes what came: the blocks, each with its number in the batch, and the names of what is not there.
    fn decode_all(
        self: &Arc<Self>,
        batch: Vec<(usize, Name, Place)>,
        values: Vec<Raw>,
    ) -> (Vec<Numbered>, Vec<Name>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (n, ((i, name, place), value)) in batch.into_iter().zip(values).enumerate() {
            let block = value.and_then(|value| match value {
                Some(value) => self.decode(&name, &value).map(Some),
                None => Ok(None),
            });
            match block {
                Ok(Some(block)) => found.push((n, (i, block))),
                Ok(None) => missing.push(name),
                Err(fault) => self.refuse(place, &fault),
            }
        }
        (found, missing)
    }

    fn decode(&self, name: &Name, value: &[u8]) -> Result<Block, Fault> {
        let known = locked(&self.known).clone();
        let block = value::decode(value, &name.0, &name.1, &known)?;
        if block.symbols().len() > known.len() {
            *locked(&self.known) = block.symbols().clone();
        }
        Ok(block)
    }

    /// Counts a value that is not what it should be, and takes it away so that nobody else stumbles over it.
    fn refuse(self: &Arc<Self>, place: Place, fault: &Fault) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%fault, key = place.key(), "a value in Redis is refused");
        if !matches!(fault, Fault::Version(_)) {
            self.later(Task::Remove(place), None, 64);
        }
    }

    /// The values at these places, long ones put together; `None` when Redis did not answer in time.
    async fn values(&self, places: &[Place], wait: Duration) -> Option<Vec<Raw>> {
        let first = self.raw(places, wait).await?;
        let more: Vec<Place> = first
            .iter()
            .zip(places)
            .flat_map(|(value, place)| {
                let n = value.as_ref().ok().and_then(Option::as_deref).map_or(1, parts);
                (1..n).map(|n| place.part(n))
            })
            .collect();
        let mut rest = match more.is_empty() {
            true => Vec::new(),
            false => self.raw(&more, wait).await?,
        }
        .into_iter();
        let whole = |value: Raw| {
            let Some(first) = value? else { return Ok(None) };
            let rest: Vec<Option<Vec<u8>>> =
                rest.by_ref().take(parts(&first) - 1).map(|part| part.ok().flatten()).collect();
            join(first, &rest).map(Some)
        };
        Some(first.into_iter().map(whole).collect())
    }

    /// The values at these places as they are.
    async fn raw(&self, places: &[Place], wait: Duration) -> Option<Vec<Raw>> {
        let keys: Vec<(usize, String)> = places
            .iter()
            .enumerate()
            .filter_map(|(i, place)| match place {
                Place::Key(key) => Some((i, key.clone())),
                Place::Field(..) => None,
            })
            .collect();
        let mut fields: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
        for (i, place) in places.iter().enumerate() {
            if let Place::Field(key, field) = place {
                fields.entry(key).or_default().push((i, field));
            }
        }
        let names: Vec<String> = keys.iter().map(|(_, key)| key.clone()).collect();
        let mut commands: Vec<Cmd> = self.link.gets(&names);
        commands.extend(fields.iter().map(|(key, fields)| {
            let mut command = redis::cmd("HMGET");
            command.arg(key).arg(fields.iter().map(|(_, field)| *field).collect::<Vec<_>>());
            command
        }));
        let mut answers = self.link.exchange(wait, &commands).await?.into_iter();
        let mut values: Vec<Raw> = places.iter().map(|_| Ok(None)).collect();
        for ((i, _), value) in keys.iter().zip(self.link.got(&mut answers, keys.len())) {
            values[*i] = Ok(value);
        }
        for (fields, answer) in fields.values().zip(answers) {
            if answer == Err(Refusal::WrongType) {
                let foreign = || Err(Fault::Content("another kind of value stands under its key".to_owned()));
                fields.iter().for_each(|(i, _)| values[*i] = foreign());
                continue;
            }
            for ((i, _), value) in fields.iter().zip(values_of(Some(answer), fields.len())) {
                values[*i] = Ok(value);
            }
        }
        Some(values)
    }

    /// Reads a note, in a hurry where there is one to go on with.
    pub(crate) async fn read_note(
        self: &Arc<Self>,
        market: &MarketId,
        name: &str,
        hurry: bool,
    ) -> Option<(Timestamp, Vec<u8>)> {
        let place = self.layout.note(market, name);
        let wait = if hurry { self.config.timeout } else { self.config.timeout * FILL_FACTOR };
        let value = self.values(std::slice::from_ref(&place), wait).await?.pop()?;
        match value.and_then(|value| value.map(note::decode).transpose()) {
            Ok(note) => {
                self.met(market, name);
                note
            }
            Err(fault) => {
                self.refuse(place, &fault);
                None
            }
        }
    }

    /// Counters; entries and bytes are those of the whole Redis, as it last said, and a capacity of 0 has no bound.
    pub(crate) fn stats(&self) -> TierStats {
        let server = locked(&self.server);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let queue = locked(&self.queue);
        TierStats {
            tier: "redis",
            entries: server.keys,
            bytes: server.used,
            capacity_bytes: server.limit,
            hits: load(&self.hits),
            misses: load(&self.misses),
            evictions: server.evicted,
            errors: load(&self.link.errors) + load(&self.refused) + queue.dropped,
            circuit: self.link.breaker.state(),
            waiting: queue.len() as u64,
        }
    }
}
