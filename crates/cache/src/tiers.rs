//! The store of one server: memory above packed memory above files. A read promotes, a write goes through. Not here: the tiers
//! themselves; this module joins them and keeps their blocking work off the runtime's threads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use panscan_core::block::Block;
use panscan_core::port::{BlockKey, Found, Pending, SeriesStore, StoreError, TierStats};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};
use tokio::sync::Semaphore;

use crate::error::CacheError;
use crate::file::Shelf;
use crate::hot::{Hot, axis_bytes};
use crate::locked;
use crate::note::NOTE_BYTES_MAX;
use crate::packed::Packed;
use crate::redis::{Redis, RedisConfig};

/// Batches that read from disk at once.
const READS_MAX: usize = 4;
/// Batches that write to disk at once.
const WRITES_MAX: usize = 4;
/// Notes kept where there is no folder.
const NOTES_MAX: usize = 256;

/// A small document and when it was kept.
type Note = (Timestamp, Vec<u8>);

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

/// L1, L2 and L3 as one [`SeriesStore`]. Its futures need a Tokio runtime.
#[derive(Debug)]
pub struct Tiers {
    hot: Arc<Hot>,
    packed: Option<Arc<Packed>>,
    /// Whether a thread packs what L1 put out.
    packing: Arc<AtomicBool>,
    shelf: Option<Arc<Shelf>>,
    redis: Option<Arc<Redis>>,
    /// Notes where there is no folder, by market and name.
    notes: Mutex<BTreeMap<(MarketId, String), Note>>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Tiers {
    /// Opens the store. Blocks for as long as listing its folder takes.
    ///
    /// # Errors
    ///
    /// [`CacheError::RedisAddress`] when Redis has an address that is none, [`CacheError::Locked`] when another process has it open, [`CacheError::Io`] when the folder cannot be
    /// created, locked or listed.
    pub fn open(config: TiersConfig) -> Result<Self, CacheError> {
        let redis = config.redis.map(Redis::new).transpose()?.map(Arc::new);
        let shelf = match &config.dir {
            Some(dir) => Some(Arc::new(Shelf::open(dir, config.l3_bytes)?)),
            None => None,
        };
        let packed = (config.l2_bytes > 0).then(|| Arc::new(Packed::new(config.l2_bytes)));
        Ok(Self {
            hot: Arc::new(Hot::new(config.l1_bytes, packed.clone())),
            packed,
            packing: Arc::default(),
            shelf,
            redis,
            notes: Mutex::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
        })
    }

    async fn read_all(&self, market: &MarketId, keys: &[BlockKey]) -> Vec<Option<Found>> {
        let hot = self.hot.get(market, keys);
        let missing: Vec<usize> = (0..keys.len()).filter(|i| hot[*i].is_none()).collect();
        let mut found: Vec<Option<Found>> =
            hot.into_iter().map(|block| block.map(|block| Found { block, tier: "l1" })).collect();
        if !missing.is_empty() && (self.packed.is_some() || self.shelf.is_some()) {
            let asked: Vec<BlockKey> = missing.iter().map(|i| keys[*i].clone()).collect();
            let (market, hot) = (market.clone(), self.hot.clone());
            let (packed, shelf) = (self.packed.clone(), self.shelf.clone());
            let loaded = blocking(&self.reads, move || {
                below(&hot, packed.as_deref(), shelf.as_deref(), &market, &asked)
            });
            for (i, block) in missing.into_iter().zip(loaded.await.unwrap_or_default()) {
                found[i] = block;
            }
        }
        self.ask_redis(market, keys, &mut found).await;
        self.pack_waiting();
        found
    }

    /// Fills in what other servers have shared.
    async fn ask_redis(&self, market: &MarketId, keys: &[BlockKey], found: &mut [Option<Found>]) {
        let Some(redis) = &self.redis else { return };
        let missing: Vec<usize> = (0..keys.len()).filter(|i| found[*i].is_none()).collect();
        let asked: Vec<BlockKey> = missing.iter().map(|i| keys[*i].clone()).collect();
        for (i, block) in missing.into_iter().zip(redis.read(market, &asked).await) {
            let Some(block) = block else { continue };
            let name = (market.clone(), keys[i].clone());
            let put = || {
                let bytes = block.bytes() as u64 + axis_bytes(&block);
                self.hot.put_absent(name.clone(), block.clone(), bytes);
            };
            match &self.shelf {
                Some(shelf) => shelf.unless_there(&name, put),
                None => put(),
            }
            found[i] = Some(Found { block, tier: "redis" });
        }
    }

    /// Has what L1 put out packed, on a thread that nobody waits for.
    fn pack_waiting(&self) {
        let Some(packed) = self.packed.clone().filter(|packed| packed.has_waiting()) else { return };
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

    async fn write_all(&self, market: &MarketId, blocks: &[(BlockKey, Block)]) -> Result<(), StoreError> {
        let result = self.write_here(market, blocks).await;
        if let (Some(redis), true) = (&self.redis, !matches!(result, Err(StoreError::Damaged { .. }))) {
            redis.write(market, blocks);
        }
        result
    }

    async fn forget_all(&self, market: &MarketId, keys: &[BlockKey]) -> Result<(), StoreError> {
        match self.shelf.clone() {
            None => keys.iter().for_each(|key| self.hot.forget(&(market.clone(), key.clone()))),
            Some(shelf) => {
                let (hot, market, keys) = (self.hot.clone(), market.clone(), keys.to_vec());
                blocking(&self.writes, move || shelf.forget(&market, &keys, &|name| hot.forget(name)))
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

    async fn write_here(&self, market: &MarketId, blocks: &[(BlockKey, Block)]) -> Result<(), StoreError> {
        let hot = self.hot.clone();
        let keep = move |name, block: &Block| {
            hot.replace(name, block.clone(), block.bytes() as u64 + axis_bytes(block));
        };
        let Some(shelf) = self.shelf.clone() else {
            blocks.iter().for_each(|(key, block)| keep((market.clone(), key.clone()), block));
            self.pack_waiting();
            return Ok(());
        };
        let (market, blocks) = (market.clone(), blocks.to_vec());
        let result = blocking(&self.writes, move || {
            let result = shelf.write(&market, &blocks, &keep);
            if let Err(StoreError::Io { .. }) = result {
                // This process goes on with what it has fetched; only the next one will have to fetch it again.
                blocks.iter().for_each(|(key, block)| keep((market.clone(), key.clone()), block));
            }
            result
        })
        .await?;
        self.pack_waiting();
        result
    }
}

impl SeriesStore for Tiers {
    fn read<'a>(&'a self, market: &'a MarketId, keys: &'a [BlockKey]) -> Pending<'a, Vec<Option<Found>>> {
        Box::pin(self.read_all(market, keys))
    }

    fn write<'a>(
        &'a self,
        market: &'a MarketId,
        blocks: &'a [(BlockKey, Block)],
    ) -> Pending<'a, Result<(), StoreError>> {
        Box::pin(self.write_all(market, blocks))
    }

    fn forget<'a>(
        &'a self,
        market: &'a MarketId,
        keys: &'a [BlockKey],
    ) -> Pending<'a, Result<(), StoreError>> {
        Box::pin(self.forget_all(market, keys))
    }

    fn symbols<'a>(&'a self, market: &'a MarketId, timeframe: Timeframe) -> Pending<'a, Vec<Symbol>> {
        Box::pin(async move {
            let mut symbols = self.hot.symbols(market, timeframe);
            symbols.extend(self.packed.iter().flat_map(|packed| packed.symbols(market, timeframe)));
            symbols.extend(self.shelf.iter().flat_map(|shelf| shelf.symbols(market, timeframe)));
            symbols.sort_unstable();
            symbols.dedup();
            symbols
        })
    }

    fn read_note<'a>(
        &'a self,
        market: &'a MarketId,
        name: &'a str,
    ) -> Pending<'a, Option<(Timestamp, Vec<u8>)>> {
        Box::pin(async move {
            let key = (market.clone(), name.to_owned());
            let here = match self.shelf.clone() {
                None => locked(&self.notes).get(&key).cloned(),
                Some(shelf) => {
                    blocking(&self.reads, move || shelf.read_note(&key.0, &key.1)).await.ok().flatten()
                }
            };
            match (&self.redis, here) {
                (Some(redis), None) => redis.read_note(market, name).await,
                (_, here) => here,
            }
        })
    }

    fn write_note<'a>(
        &'a self,
        market: &'a MarketId,
        name: &'a str,
        at: Timestamp,
        body: &'a [u8],
    ) -> Pending<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let refused = |message: String| StoreError::Io {
                store: "notes",
                what: format!("keep note {name}"),
                message,
            };
            if body.len() > NOTE_BYTES_MAX {
                return Err(refused(format!("it is longer than {NOTE_BYTES_MAX} bytes")));
            }
            if let Some(redis) = &self.redis {
                redis.write_note(market, name, at, body);
            }
            let (key, body) = ((market.clone(), name.to_owned()), body.to_vec());
            match self.shelf.clone() {
                None => {
                    let mut notes = locked(&self.notes);
                    if notes.len() >= NOTES_MAX && !notes.contains_key(&key) {
                        return Err(refused(format!("there are {NOTES_MAX} already")));
                    }
                    notes.insert(key, (at, body));
                    Ok(())
                }
                Some(shelf) => {
                    blocking(&self.writes, move || shelf.write_note(&key.0, &key.1, at, &body)).await?
                }
            }
        })
    }

    fn stats(&self) -> Vec<TierStats> {
        let mut stats = vec![self.hot.stats()];
        stats.extend(self.packed.iter().map(|packed| packed.stats()));
        stats.extend(self.shelf.iter().map(|shelf| shelf.stats()));
        stats.extend(self.redis.iter().map(|redis| redis.stats()));
        stats
    }
}

/// What the tiers below L1 have of `keys`, in their order; L1 is given it too.
fn below(
    hot: &Hot,
    packed: Option<&Packed>,
    shelf: Option<&Shelf>,
    market: &MarketId,
    keys: &[BlockKey],
) -> Vec<Option<Found>> {
    let mut found: Vec<Option<Found>> = vec![None; keys.len()];
    if let Some(packed) = packed {
        for (found, key) in found.iter_mut().zip(keys) {
            let name = (market.clone(), key.clone());
            let Some((block, ticket)) = packed.get(&name) else { continue };
            hot.promote(name, block.clone(), block.bytes() as u64 + axis_bytes(&block), ticket);
            *found = Some(Found { block, tier: "l2" });
        }
    }
    let Some(shelf) = shelf else { return found };
    let missing: Vec<usize> = (0..keys.len()).filter(|i| found[*i].is_none()).collect();
    let asked: Vec<BlockKey> = missing.iter().map(|i| keys[*i].clone()).collect();
    let loaded = shelf.read(market, &asked, &|name, loaded| {
        hot.put(name, loaded.block.clone(), loaded.heap_bytes);
    });
    for (i, block) in missing.into_iter().zip(loaded) {
        found[i] = block.map(|block| Found { block, tier: "l3" });
    }
    found
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
