//! The store of one server: memory above packed memory above files, and Redis beside them. A read promotes, a write goes
//! through. Not here: the tiers themselves; this module joins them and keeps their blocking work off the runtime's
//! threads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use panscan_core::block::Block;
use panscan_core::port::{BlockKey, Found, Pending, SeriesStore, StoreError, TierStats};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};
use tokio::sync::Semaphore;

use crate::error::CacheError;
use crate::file::Shelf;
use crate::hot::{Hot, axis_bytes};
use crate::keeping::Keeping;
use crate::key::Name;
use crate::loads::{Claim, Loads, landed};
use crate::local::{Local, Note};
use crate::note::NOTE_BYTES_MAX;
use crate::packed::Packed;
use crate::redis::{Redis, RedisConfig};

/// Batches that read from disk at once.
const READS_MAX: usize = 4;
/// Batches that write to disk at once.
const WRITES_MAX: usize = 4;

/// How often it is looked whether what goes on behind the callers is done.
const SETTLE_LOOK: Duration = Duration::from_millis(5);

/// How large the tiers are and where the files lie; as it is by default, memory only.
#[derive(Debug, Clone)]
pub struct TiersConfig {
    /// The store's folder, created if it is not there; `None`: memory only.
    pub dir: Option<PathBuf>,
    /// Bytes of decoded blocks kept in memory.
    pub l1_bytes: u64,
    /// Bytes of packed blocks kept in memory; 0: none.
    pub l2_bytes: u64,
    /// Bytes of block files kept on disk. Notes are not counted.
    pub l3_bytes: u64,
    /// Redis beside them; `None`: nothing is shared.
    pub redis: Option<RedisConfig>,
}

impl Default for TiersConfig {
    fn default() -> Self {
        Self { dir: None, l1_bytes: 1 << 30, l2_bytes: 0, l3_bytes: 64 << 30, redis: None }
    }
}

/// L1, L2, L3 and Redis as one [`SeriesStore`]. Its futures need a Tokio runtime.
#[derive(Debug)]
pub struct Tiers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: Arc<Local>,
    redis: Option<Arc<Redis>>,
    loads: Arc<Loads>,
    /// What Redis had, on its way to disk.
    keeping: Keeping,
    /// Whether a thread packs what L1 put out.
    packing: Arc<AtomicBool>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Tiers {
    /// Opens the store. Blocks for as long as listing its folder takes.
    ///
    /// # Errors
    ///
    /// [`CacheError::RedisAddress`] when Redis has an address that is none, [`CacheError::Locked`] when another process
    /// has the store open, [`CacheError::Io`] when the folder cannot be created, locked or listed, or the certificates
    /// for Redis cannot be read.
    pub fn open(config: TiersConfig) -> Result<Self, CacheError> {
        let redis = config.redis.map(Redis::new).transpose()?.map(Arc::new);
        let shelf = match &config.dir {
            Some(dir) => Some(Arc::new(Shelf::open(dir, config.l3_bytes)?)),
            None => None,
        };
        let packed = (config.l2_bytes > 0).then(|| Arc::new(Packed::new(config.l2_bytes)));
        let hot = Arc::new(Hot::new(config.l1_bytes, packed.clone()));
        let local = Arc::new(Local::new(hot, packed, shelf));
        if let Some(redis) = &redis {
            let weak: Weak<Local> = Arc::downgrade(&local);
            redis.attach(weak);
        }
        Ok(Self(Arc::new(Inner {
            local,
            redis,
            loads: Arc::default(),
            keeping: Keeping::default(),
            packing: Arc::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
        })))
    }
}

impl Tiers {
    /// Waits until what goes on behind the callers is done: blocks on their way to disk or to Redis. Says whether it
    /// was within this time; not while Redis does not answer.
    pub async fn settle(&self, within: Duration) -> bool {
        let inner = &self.0;
        let busy = || {
            let redis = inner.redis.as_ref().is_some_and(|redis| redis.is_busy());
            redis || inner.keeping.busy.load(Ordering::Acquire)
        };
        let idle = async {
            while busy() {
                tokio::time::sleep(SETTLE_LOOK).await;
            }
        };
        tokio::time::timeout(within, idle).await.is_ok()
    }
}

impl Inner {
    async fn read(self: &Arc<Self>, market: &MarketId, keys: &[BlockKey]) -> Vec<Option<Found>> {
        let hot = self.local.hot.get(market, keys);
        let missing: Vec<usize> = (0..keys.len()).filter(|i| hot[*i].is_none()).collect();
        let mut found: Vec<Option<Found>> =
            hot.into_iter().map(|block| block.map(|block| Found { block, tier: "l1" })).collect();
        let has_more = self.local.packed.is_some() || self.local.shelf.is_some() || self.redis.is_some();
        if missing.is_empty() || !has_more {
            return found;
        }
        let names = missing.iter().map(|i| (market.clone(), keys[*i].clone())).collect();
        let (waits, claim) = self.loads.claim(names);
        if claim.names().next().is_some() {
            // Loaded by a task of its own: others may wait for it when this reader is gone.
            let inner = self.clone();
            tokio::spawn(async move {
                let found = inner.load(&claim).await;
                // Who has the answer may close the store at once.
                drop(inner);
                claim.answer(found);
            });
        }
        for (i, wait) in missing.into_iter().zip(waits) {
            found[i] = landed(wait).await;
        }
        found
    }

    /// Loads the blocks of a claim, which are of one market.
    async fn load(self: &Arc<Self>, claim: &Claim) -> Vec<Option<Found>> {
        let Some((market, _)) = claim.names().next().cloned() else { return Vec::new() };
        let keys: Vec<BlockKey> = claim.names().map(|(_, key)| key.clone()).collect();
        let mut found: Vec<Option<Found>> = vec![None; keys.len()];
        if self.local.packed.is_some() || self.local.shelf.is_some() {
            let (local, market, asked) = (self.local.clone(), market.clone(), keys.clone());
            let loaded = blocking(&self.reads, move || local.below(&market, &asked)).await;
            for (found, loaded) in found.iter_mut().zip(loaded.unwrap_or_default()) {
                *found = loaded;
            }
        }
        self.ask_redis(claim, &market, &keys, &mut found).await;
        self.pack_waiting();
        found
    }

    /// Fills in what other servers have shared, and has it kept here too.
    async fn ask_redis(
        self: &Arc<Self>,
        claim: &Claim,
        market: &MarketId,
        keys: &[BlockKey],
        found: &mut [Option<Found>],
    ) {
        let Some(redis) = &self.redis else { return };
        let missing: Vec<usize> = (0..keys.len()).filter(|i| found[*i].is_none()).collect();
        if missing.is_empty() {
            return;
        }
        let asked: Vec<BlockKey> = missing.iter().map(|i| keys[*i].clone()).collect();
        for (i, block) in missing.into_iter().zip(redis.read(market, &asked).await) {
            let Some(block) = block else { continue };
            let name = (market.clone(), keys[i].clone());
            let put = || {
                claim.if_current(&name, || {
                    let bytes = block.bytes() as u64 + axis_bytes(&block);
                    self.local.hot.put_absent(name.clone(), block.clone(), bytes);
                    if self.local.shelf.is_some() {
                        self.keeping.push(name.clone(), block.clone());
                    }
                });
            };
            match &self.local.shelf {
                Some(shelf) => shelf.unless_there(&name, put),
                None => put(),
            }
            found[i] = Some(Found { block, tier: "redis" });
        }
        self.keep_waiting();
    }

    /// Has what Redis had written to disk, on a thread that nobody waits for.
    fn keep_waiting(self: &Arc<Self>) {
        if self.local.shelf.is_none() || self.keeping.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Some(shelf) = &inner.local.shelf {
                inner.keeping.work(shelf);
            }
        });
    }

    /// Has what L1 put out packed, on a thread that nobody waits for.
    fn pack_waiting(self: &Arc<Self>) {
        let Some(packed) = self.local.packed.clone().filter(|packed| packed.has_waiting()) else { return };
        if self.packing.swap(true, Ordering::AcqRel) {
            return;
        }
        let packing = self.packing.clone();
        tokio::task::spawn_blocking(move || {
            loop {
                while packed.pack_one() {}
                packing.store(false, Ordering::Release);
                // What came between the last look and the sign that nobody packs is packed as well.
                if !packed.has_waiting() || packing.swap(true, Ordering::AcqRel) {
                    break;
                }
            }
        });
    }

    async fn write(
        self: &Arc<Self>,
        market: &MarketId,
        blocks: &[(BlockKey, Block)],
    ) -> Result<(), StoreError> {
        let result = self.write_here(market, blocks).await;
        if let (Some(redis), true) = (&self.redis, !matches!(result, Err(StoreError::Damaged { .. }))) {
            redis.write(market, blocks);
        }
        result
    }

    async fn write_here(
        self: &Arc<Self>,
        market: &MarketId,
        blocks: &[(BlockKey, Block)],
    ) -> Result<(), StoreError> {
        let Some(shelf) = self.local.shelf.clone() else {
            blocks.iter().for_each(|(key, block)| self.hold((market.clone(), key.clone()), block));
            self.pack_waiting();
            return Ok(());
        };
        let (inner, market, blocks) = (self.clone(), market.clone(), blocks.to_vec());
        let result = blocking(&self.writes, move || {
            let result = shelf.write(&market, &blocks, &|name, block| inner.hold(name, block));
            if let Err(StoreError::Io { .. }) = result {
                // This process goes on with what it has fetched; only the next one will have to fetch it again.
                blocks.iter().for_each(|(key, block)| inner.hold((market.clone(), key.clone()), block));
            }
            result
        })
        .await?;
        self.pack_waiting();
        result
    }

    /// Puts a new version into memory; whatever older one is on its way there or to disk is too late.
    fn hold(&self, name: Name, block: &Block) {
        self.keeping.take(&name);
        let bytes = block.bytes() as u64 + axis_bytes(block);
        self.loads.overtake(&name.clone(), || self.local.hot.replace(name, block.clone(), bytes));
    }

    /// Takes a block out of memory, with what is on its way there.
    fn let_go(&self, name: &Name) {
        self.keeping.take(name);
        self.loads.overtake(name, || self.local.hot.forget(name));
    }

    async fn forget(self: &Arc<Self>, market: &MarketId, keys: &[BlockKey]) -> Result<(), StoreError> {
        match self.local.shelf.clone() {
            None => keys.iter().for_each(|key| self.let_go(&(market.clone(), key.clone()))),
            Some(shelf) => {
                let (inner, market, keys) = (self.clone(), market.clone(), keys.to_vec());
                blocking(&self.writes, move || shelf.forget(&market, &keys, &|name| inner.let_go(name)))
                    .await??;
            }
        }
        match &self.redis {
            Some(redis) if !redis.forget(market, keys).await => Err(StoreError::Io {
                store: "redis",
                what: "forget blocks".to_owned(),
                message: "it did not answer; forget them again once it does".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Forgets blocks in the tiers of these names only.
    async fn forget_some(
        &self,
        market: &MarketId,
        keys: &[BlockKey],
        tiers: &[String],
    ) -> Result<(), StoreError> {
        let named = |tier: &str| tiers.iter().any(|name| name == tier);
        for name in keys.iter().map(|key| (market.clone(), key.clone())) {
            // The hot tier hands what it drops to the packed one, unless that forgets it too.
            match (named("l1"), named("l2")) {
                (true, true) => self.local.hot.forget(&name),
                (true, false) => self.local.hot.forget_here(&name),
                (false, true) => self.local.packed.iter().for_each(|packed| packed.forget(&name)),
                (false, false) => {}
            }
        }
        if let (true, Some(shelf)) = (named("l3"), self.local.shelf.clone()) {
            let (market, keys) = (market.clone(), keys.to_vec());
            blocking(&self.writes, move || shelf.forget(&market, &keys, &|_| ())).await??;
        }
        match &self.redis {
            Some(redis) if named("redis") && !redis.forget(market, keys).await => Err(StoreError::Io {
                store: "redis",
                what: "forget blocks".to_owned(),
                message: "it did not answer; forget them again once it does".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The newer of what is here and what other servers have shared.
    async fn read_note(self: &Arc<Self>, market: &MarketId, name: &str) -> Option<Note> {
        let (local, of, called) = (self.local.clone(), market.clone(), name.to_owned());
        let here = blocking(&self.reads, move || local.read_note(&of, &called)).await.ok().flatten();
        let Some(redis) = &self.redis else { return here };
        let there = redis.read_note(market, name, here.is_some()).await;
        match (here, there) {
            (Some(here), Some(there)) if here.0 >= there.0 => Some(here),
            (_, Some((at, body))) => {
                // Kept here as well, so that a start without Redis finds it.
                if let Err(error) = self.keep_note(market, name, at, &body).await {
                    tracing::debug!(%error, "a note that Redis had was not kept on disk");
                }
                Some((at, body))
            }
            (here, None) => here,
        }
    }

    async fn keep_note(
        self: &Arc<Self>,
        market: &MarketId,
        name: &str,
        at: Timestamp,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let (local, market, name, body) =
            (self.local.clone(), market.clone(), name.to_owned(), body.to_vec());
        blocking(&self.writes, move || local.write_note(&market, &name, at, &body)).await?
    }

    async fn write_note(
        self: &Arc<Self>,
        market: &MarketId,
        name: &str,
        at: Timestamp,
        body: &[u8],
    ) -> Result<(), StoreError> {
        if body.len() > NOTE_BYTES_MAX {
            let message = format!("it is longer than {NOTE_BYTES_MAX} bytes");
            return Err(StoreError::Io { store: "notes", what: format!("keep note {name}"), message });
        }
        if let Some(redis) = &self.redis {
            redis.write_note(market, name, at, body);
        }
        self.keep_note(market, name, at, body).await
    }
}

impl SeriesStore for Tiers {
    fn read<'a>(&'a self, market: &'a MarketId, keys: &'a [BlockKey]) -> Pending<'a, Vec<Option<Found>>> {
        Box::pin(self.0.read(market, keys))
    }

    fn shared<'a>(&'a self, market: &'a MarketId, keys: &'a [BlockKey]) -> Pending<'a, Vec<Option<Block>>> {
        Box::pin(async move {
            match &self.0.redis {
                Some(redis) => redis.read(market, keys).await,
                None => vec![None; keys.len()],
            }
        })
    }

    fn write<'a>(
        &'a self,
        market: &'a MarketId,
        blocks: &'a [(BlockKey, Block)],
    ) -> Pending<'a, Result<(), StoreError>> {
        Box::pin(self.0.write(market, blocks))
    }

    fn forget<'a>(
        &'a self,
        market: &'a MarketId,
        keys: &'a [BlockKey],
    ) -> Pending<'a, Result<(), StoreError>> {
        Box::pin(self.0.forget(market, keys))
    }

    fn forget_in<'a>(
        &'a self,
        market: &'a MarketId,
        keys: &'a [BlockKey],
        tiers: &'a [String],
    ) -> Pending<'a, Result<(), StoreError>> {
        Box::pin(self.0.forget_some(market, keys, tiers))
    }

    fn symbols<'a>(&'a self, market: &'a MarketId, timeframe: Timeframe) -> Pending<'a, Vec<Symbol>> {
        Box::pin(async move { self.0.local.symbols(market, timeframe) })
    }

    fn read_note<'a>(
        &'a self,
        market: &'a MarketId,
        name: &'a str,
    ) -> Pending<'a, Option<(Timestamp, Vec<u8>)>> {
        Box::pin(self.0.read_note(market, name))
    }

    fn write_note<'a>(
        &'a self,
        market: &'a MarketId,
        name: &'a str,
        at: Timestamp,
        body: &'a [u8],
    ) -> Pending<'a, Result<(), StoreError>> {
        Box::pin(self.0.write_note(market, name, at, body))
    }

    fn stats(&self) -> Vec<TierStats> {
        let Inner { local, redis, .. } = &*self.0;
        let mut stats = vec![local.hot.stats()];
        stats.extend(local.packed.iter().map(|packed| packed.stats()));
        stats.extend(local.shelf.iter().map(|shelf| shelf.stats()));
        stats.extend(redis.iter().map(|redis| redis.stats()));
        stats
    }
}

/// Runs `work` on a thread that may block, once one of the bounded places is free. Work that has begun is
/// finished even when nobody waits for it any more: a write is never left halfway.
async fn blocking<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let failed = |message: String| StoreError::Io { store: "l3", what: "run".to_owned(), message };
    let place = places.clone().acquire_owned().await.map_err(|e| failed(e.to_string()))?;
    let work = move || {
        let result = work();
        drop(place);
        result
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| failed(e.to_string()))
}
