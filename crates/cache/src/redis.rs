//! Redis: packed blocks and notes shared between servers. Keys and values are written down in `REDIS.md`. Nothing
//! here fails a request: a Redis that is absent, slow, full or lies is a miss. Not here: promotion into memory.

mod breaker;
mod value;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bb8_redis::RedisConnectionManager;
use bb8_redis::bb8::{Pool, RunError};
use panscan_core::block::Block;
use panscan_core::port::{BlockKey, TierStats};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timestamp;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError};

use self::breaker::Breaker;
use crate::error::CacheError;
use crate::{locked, note};

/// Connections at most; each carries many calls at once.
const CONNECTIONS_MAX: u32 = 6;
/// Keys of one MGET.
const BATCH_KEYS: usize = 32;
/// Blocks of one pipeline of SETs.
const BATCH_WRITES: usize = 16;
/// Longest wait of what nobody waits for.
const BACKGROUND_WAIT: Duration = Duration::from_secs(5);
/// How much longer than a scan a read of many keys may wait for each batch: it fills.
const FILL_FACTOR: u32 = 25;
/// Bytes of blocks and notes that wait to be written; what comes beyond that is not shared.
const QUEUE_BYTES_MAX: usize = 256 << 20;
/// Longest value.
const VALUE_BYTES_MAX: usize = 32 << 20;
/// Life of notes: listings, splits and the like.
const NOTE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the memory in use is asked for at most.
const MEMORY_EVERY: Duration = Duration::from_secs(10);

/// Where Redis is and how it is used.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://` or `rediss://` URL, maybe with a password.
    pub url: String,
    /// First part of every key.
    pub prefix: String,
    /// Longest wait of a scan for a batch of keys.
    pub timeout: Duration,
    /// Life of bars, renewed when they are read: a bound of memory.
    pub ttl_closed: Duration,
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What is done behind the caller's back.
#[derive(Debug)]
enum Errand {
    Keep(MarketId, BlockKey, Block),
    Note(String, Vec<u8>),
    Renew(Vec<String>),
    Forget(Vec<String>),
}

impl Errand {
    fn bytes(&self) -> usize {
        match self {
            Self::Keep(_, _, block) => block.bytes(),
            Self::Note(_, bytes) => bytes.len(),
            Self::Renew(keys) | Self::Forget(keys) => keys.len() * 64,
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    errands: VecDeque<Errand>,
    bytes: usize,
}

/// The tier.
pub(crate) struct Redis {
    config: RedisConfig,
    pool: Pool<RedisConnectionManager>,
    breaker: Breaker,
    queue: Mutex<Queue>,
    running: AtomicBool,
    /// Tickers of the last large block: blocks share their text.
    known: Mutex<Arc<[Symbol]>>,
    memory: Mutex<Memory>,
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
}

#[derive(Debug, Default)]
struct Memory {
    asked: Option<Instant>,
    keys: u64,
    used: u64,
    limit: u64,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why an exchange with Redis brought nothing.
#[derive(Debug)]
enum Fault {
    /// Nothing came in time, or there is no connection.
    Absent(String),
    /// It answered, and refused.
    Refused(String),
}

impl Redis {
    /// A tier that connects when it is first used.
    pub(crate) fn new(config: RedisConfig) -> Result<Self, CacheError> {
        // The URL may hold a password; what the library says of it is not repeated.
        let manager =
            RedisConnectionManager::new(config.url.as_str()).map_err(|_| CacheError::RedisAddress)?;
        let pool = Pool::builder()
            .max_size(CONNECTIONS_MAX)
            .retry_connection(false)
            .connection_timeout(BACKGROUND_WAIT)
            .build_unchecked(manager);
        Ok(Self {
            config,
            pool,
            breaker: Breaker::default(),
            queue: Mutex::default(),
            running: AtomicBool::new(false),
            known: Mutex::new(Arc::from([])),
            memory: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        })
    }

    fn key(&self, market: &MarketId, key: &BlockKey) -> String {
        let prefix = &self.config.prefix;
        match key {
            BlockKey::Day(date) => format!("{prefix}:{}:v1:1d:day:{date}", market.as_str()),
            BlockKey::Symbol(timeframe, symbol) => {
                format!("{prefix}:{}:v1:{timeframe}:symbol:{}", market.as_str(), symbol.as_str())
            }
        }
    }

    fn note_key(&self, market: &MarketId, name: &str) -> String {
        format!("{}:{}:v1:note:{name}", self.config.prefix, market.as_str())
    }

    /// Reads blocks in the order of `keys`.
    pub(crate) async fn read(self: &Arc<Self>, market: &MarketId, keys: &[BlockKey]) -> Vec<Option<Block>> {
        let wait = match keys.len() {
            0..=BATCH_KEYS => self.config.timeout,
            _ => self.config.timeout * FILL_FACTOR,
        };
        let mut found = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH_KEYS) {
            let names: Vec<String> = batch.iter().map(|key| self.key(market, key)).collect();
            let values = self.get(&names, wait).await;
            let (this, market, batch) = (self.clone(), market.clone(), batch.to_vec());
            let decode = move || -> Vec<Option<Block>> {
                let values = values.into_iter().flatten();
                values.zip(&batch).map(|(value, key)| this.decode(&market, key, &value?)).collect()
            };
            let mut blocks = tokio::task::spawn_blocking(decode).await.unwrap_or_default();
            blocks.resize(names.len(), None);
            let hits: Vec<String> =
                names.into_iter().zip(&blocks).filter(|(_, b)| b.is_some()).map(|(name, _)| name).collect();
            self.hits.fetch_add(hits.len() as u64, Ordering::Relaxed);
            self.misses.fetch_add((blocks.len() - hits.len()) as u64, Ordering::Relaxed);
            if !hits.is_empty() {
                self.later(Errand::Renew(hits));
            }
            found.append(&mut blocks);
        }
        found
    }

    fn decode(&self, market: &MarketId, key: &BlockKey, value: &[u8]) -> Option<Block> {
        let known = locked(&self.known).clone();
        match value::decode(value, market, key, &known) {
            Ok(block) => {
                if block.symbols().len() > known.len() {
                    *locked(&self.known) = block.symbols().clone();
                }
                Some(block)
            }
            Err(fault) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%fault, key = self.key(market, key), "a value in Redis is refused");
                None
            }
        }
    }

    /// The values of keys; `None` when Redis did not answer in time.
    async fn get(&self, names: &[String], wait: Duration) -> Option<Vec<Option<Vec<u8>>>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("MGET").arg(names);
        let (values,): (Vec<Option<Vec<u8>>>,) = self.exchange(wait, &pipeline).await?;
        Some(values)
    }

    /// Runs one exchange within `wait`, unless Redis is being left alone.
    async fn exchange<T: FromRedisValue>(&self, wait: Duration, pipeline: &Pipeline) -> Option<T> {
        if !self.breaker.lets_through() {
            return None;
        }
        let work = async {
            let mut connection = self.pool.get().await.map_err(|error| match error {
                RunError::User(error) => Fault::Absent(error.to_string()),
                RunError::TimedOut => Fault::Absent("no connection came free".to_owned()),
            })?;
            pipeline.query_async(&mut *connection).await.map_err(|error: RedisError| match error.kind() {
                ErrorKind::Io => Fault::Absent(error.to_string()),
                _ if error.is_timeout() || error.is_connection_dropped() => Fault::Absent(error.to_string()),
                _ => Fault::Refused(error.to_string()),
            })
        };
        let answer = tokio::time::timeout(wait, work).await;
        match answer.unwrap_or_else(|_| Err(Fault::Absent(format!("no answer within {wait:?}")))) {
            Ok(value) => {
                self.breaker.succeeded();
                Some(value)
            }
            Err(Fault::Refused(message)) => {
                self.breaker.succeeded();
                self.errors.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(message, "Redis refuses a command");
                None
            }
            Err(Fault::Absent(message)) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                self.breaker.failed(&message);
                None
            }
        }
    }

    /// Shares blocks, behind the caller.
    pub(crate) fn write(self: &Arc<Self>, market: &MarketId, blocks: &[(BlockKey, Block)]) {
        for (key, block) in blocks {
            self.later(Errand::Keep(market.clone(), key.clone(), block.clone()));
        }
    }

    /// Forgets blocks. Says whether Redis did; what is being written meanwhile is forgotten right after.
    pub(crate) async fn forget(self: &Arc<Self>, market: &MarketId, keys: &[BlockKey]) -> bool {
        let mut done = true;
        for batch in keys.chunks(BATCH_KEYS) {
            let names: Vec<String> = batch.iter().map(|key| self.key(market, key)).collect();
            self.later(Errand::Forget(names.clone()));
            let mut pipeline = redis::pipe();
            pipeline.cmd("DEL").arg(&names).ignore();
            done &= self.exchange::<()>(BACKGROUND_WAIT, &pipeline).await.is_some();
        }
        done
    }

    /// Shares a note, behind the caller.
    pub(crate) fn write_note(self: &Arc<Self>, market: &MarketId, name: &str, at: Timestamp, body: &[u8]) {
        let value = [&note::head(at, body), body].concat();
        self.later(Errand::Note(self.note_key(market, name), value));
    }

    /// Reads a note.
    pub(crate) async fn read_note(&self, market: &MarketId, name: &str) -> Option<(Timestamp, Vec<u8>)> {
        let names = [self.note_key(market, name)];
        let value = self.get(&names, self.config.timeout * FILL_FACTOR).await?.pop()??;
        match note::decode(value) {
            Ok(note) => Some(note),
            Err(fault) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%fault, name, "a note in Redis is refused");
                None
            }
        }
    }

    fn later(self: &Arc<Self>, errand: Errand) {
        {
            let queue = &mut *locked(&self.queue);
            let bytes = errand.bytes();
            if queue.bytes + bytes > QUEUE_BYTES_MAX {
                return;
            }
            queue.bytes += bytes;
            queue.errands.push_back(errand);
        }
        if !self.running.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().run_errands());
        }
    }

    async fn run_errands(self: Arc<Self>) {
        loop {
            while let Some(batch) = self.next_batch() {
                let this = self.clone();
                let Ok(pipeline) = tokio::task::spawn_blocking(move || this.pipeline(batch)).await else {
                    continue;
                };
                if !pipeline.is_empty() {
                    self.exchange::<()>(BACKGROUND_WAIT, &pipeline).await;
                }
                self.look_at_memory().await;
            }
            self.running.store(false, Ordering::Release);
            // What came between the last look and the sign that nobody works is done as well.
            if locked(&self.queue).errands.is_empty() || self.running.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    fn next_batch(&self) -> Option<Vec<Errand>> {
        let queue = &mut *locked(&self.queue);
        let n = queue.errands.len().min(BATCH_WRITES);
        let batch: Vec<Errand> = queue.errands.drain(..n).collect();
        queue.bytes -= batch.iter().map(Errand::bytes).sum::<usize>();
        (!batch.is_empty()).then_some(batch)
    }

    fn pipeline(&self, batch: Vec<Errand>) -> Pipeline {
        let mut pipeline = redis::pipe();
        let set = |pipeline: &mut Pipeline, key: String, value: Vec<u8>, life: Duration| {
            if value.len() <= VALUE_BYTES_MAX {
                pipeline.add_command(set_command(&key, &value, life)).ignore();
            }
        };
        let mut renewed = Vec::new();
        for errand in batch {
            match errand {
                Errand::Keep(market, key, block) => {
                    let name = self.key(&market, &key);
                    set(&mut pipeline, name, value::encode(&market, &block), self.config.ttl_closed);
                }
                Errand::Note(key, value) => set(&mut pipeline, key, value, NOTE_LIFE),
                Errand::Forget(keys) => {
                    pipeline.cmd("DEL").arg(keys).ignore();
                }
                Errand::Renew(keys) => renewed.extend(keys),
            }
        }
        for key in renewed {
            let mut command = redis::cmd("EXPIRE");
            command.arg(key).arg(self.config.ttl_closed.as_secs().max(1));
            pipeline.add_command(command).ignore();
        }
        pipeline
    }

    async fn look_at_memory(&self) {
        {
            let memory = &mut *locked(&self.memory);
            if memory.asked.is_some_and(|at| at.elapsed() < MEMORY_EVERY) {
                return;
            }
            memory.asked = Some(Instant::now());
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("memory").cmd("DBSIZE");
        let answer: Option<(String, u64)> = self.exchange(BACKGROUND_WAIT, &pipeline).await;
        let Some((info, keys)) = answer else { return };
        let figure = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        };
        let memory = &mut *locked(&self.memory);
        (memory.keys, memory.used, memory.limit) = (keys, figure("used_memory"), figure("maxmemory"));
    }

    /// Counters; entries and bytes are those of the whole Redis, as it last said, and a capacity of 0 has no bound.
    pub(crate) fn stats(&self) -> TierStats {
        let memory = locked(&self.memory);
        TierStats {
            tier: "redis",
            entries: memory.keys,
            bytes: memory.used,
            capacity_bytes: memory.limit,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: 0,
            errors: self.errors.load(Ordering::Relaxed),
        }
    }
}

fn set_command(key: &str, value: &[u8], life: Duration) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(value).arg("EX").arg(life.as_secs().max(1));
    command
}
