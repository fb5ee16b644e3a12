//! How good the tier in memory is at keeping what is asked for again: the blocks that a session of calls reads, recorded,
//! and played back to it, to one that keeps the latest used, and to one that knows the future. `--nocapture` shows the
//! table.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use panscan_cache::{Tiers, TiersConfig};
use panscan_core::block::Block;
use panscan_core::port::{BlockKey, Errand, Found, Pending, SeriesStore, StoreError, TierStats};
use panscan_core::range::BarRange;
use panscan_core::scan::{Adjustment, BarSelection, DataPolicy, SessionHours};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};
use panscan_engine::{Engine, Pin, SeriesRequest};
use tokio::time::Instant;

use crate::desk::{Desk, scan_of, within};

/// What the tier in memory charges for a block beside its bytes.
const OVERHEAD: u64 = 256;

/// A store that writes down what is read.
struct Recorder {
    store: Tiers,
    reads: Mutex<Vec<BlockKey>>,
}

impl SeriesStore for Recorder {
    fn read<'a>(&'a self, market: &'a MarketId, keys: &'a [BlockKey]) -> Pending<'a, Vec<Option<Found>>> {
        self.reads.lock().unwrap().extend_from_slice(keys);
        self.store.read(market, keys)
    }

    fn write<'a>(
        &'a self,
        market: &'a MarketId,
        blocks: &'a [(BlockKey, Block)],
    ) -> Pending<'a, Result<(), StoreError>> {
        self.store.write(market, blocks)
    }

    fn forget<'a>(
        &'a self,
        market: &'a MarketId,
        keys: &'a [BlockKey],
    ) -> Pending<'a, Result<(), StoreError>> {
        self.store.forget(market, keys)
    }

    fn forget_in<'a>(
        &'a self,
        market: &'a MarketId,
        keys: &'a [BlockKey],
        tiers: &'a [String],
    ) -> Pending<'a, Result<(), StoreError>> {
        self.store.forget_in(market, keys, tiers)
    }

    fn symbols<'a>(&'a self, market: &'a MarketId, timeframe: Timeframe) -> Pending<'a, Vec<Symbol>> {
        self.store.symbols(market, timeframe)
    }

    fn read_note<'a>(
        &'a self,
        market: &'a MarketId,
        name: &'a str,
    ) -> Pending<'a, Option<(Timestamp, Vec<u8>)>> {
        self.store.read_note(market, name)
    }

    fn write_note<'a>(
        &'a self,
        market: &'a MarketId,
        name: &'a str,
        at: Timestamp,
        body: &'a [u8],
    ) -> Pending<'a, Result<(), StoreError>> {
        self.store.write_note(market, name, at, body)
    }

    fn stats(&self) -> Vec<TierStats> {
        self.store.stats()
    }
}

async fn minutes(engine: &Engine, symbols: Vec<String>) {
    let request = SeriesRequest {
        symbols,
        timeframe: "5m".parse().unwrap(),
        range: BarRange::Last(50),
        hours: SessionHours::Regular,
        selection: BarSelection::IncludeForming,
        adjustment: Adjustment::Raw,
        pin: Pin::Newest,
        until: None,
        policy: DataPolicy::BestEffort,
        deadline: Some(Instant::now() + Duration::from_secs(120)),
        errand: Errand::interactive(1),
        limit: 0,
        ordered: true,
    };
    assert!(engine.series(request).await.unwrap().complete);
}

/// A desk's day: charts of symbols, few of them often and many seldom; scans; now and then one look at everything.
async fn session(engine: &Engine, names: &[String]) {
    let mut random = fastrand::Rng::with_seed(11);
    for step in 0..400_usize {
        if step % 80 == 79 {
            minutes(engine, names.to_vec()).await;
        }
        if step % 20 == 0 {
            engine.scan(&within(120, scan_of(&["sma(5)"]))).await.unwrap();
        }
        // The square of an even number: the first tenth of the names is asked for about every third time.
        let rank = random.f64().powi(2) * names.len() as f64;
        minutes(engine, vec![names[rank as usize].clone()]).await;
    }
}

/// Reads answered by a memory of so many bytes that puts out the block with the largest rank.
fn kept(
    trace: &[(BlockKey, u64)],
    capacity: u64,
    mut rank: impl FnMut(usize, &BlockKey, usize) -> usize,
) -> usize {
    let (mut held, mut bytes, mut hits) = (BTreeMap::<BlockKey, (u64, usize)>::new(), 0, 0);
    for (at, (key, size)) in trace.iter().enumerate() {
        if let Some((_, last)) = held.get_mut(key) {
            (*last, hits) = (at, hits + 1);
            continue;
        }
        held.insert(key.clone(), (*size, at));
        bytes += size;
        while bytes > capacity {
            let worst = held.iter().max_by_key(|(key, (_, last))| rank(at, key, *last));
            let worst = worst.map(|(key, _)| key.clone()).unwrap();
            bytes -= held.remove(&worst).unwrap().0;
        }
    }
    hits
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tier_in_memory_is_better_than_the_latest_used_and_near_the_best_there_can_be() {
    let desk = Desk::new(120, 40).await;
    let config = TiersConfig { l1_bytes: 1 << 30, ..TiersConfig::default() };
    let recorder = Arc::new(Recorder { store: Tiers::open(config).unwrap(), reads: Mutex::default() });
    let engine = desk.engine_with(recorder.clone(), |_| ()).await;
    let names: Vec<String> = desk.sim.symbols().take(120).map(ToString::to_string).collect();
    session(&engine, &names).await;

    let reads = recorder.reads.lock().unwrap().clone();
    let mut distinct: Vec<BlockKey> = reads.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let found = recorder.store.read(engine.market(), &distinct).await;
    let blocks: HashMap<BlockKey, Block> =
        distinct.into_iter().zip(found).filter_map(|(key, found)| Some((key, found?.block))).collect();
    let charged = |block: &Block| {
        (block.bytes() + size_of_val(&block.symbols()[..]) + size_of_val(&block.rows()[..])) as u64 + OVERHEAD
    };
    let trace: Vec<(BlockKey, u64)> =
        reads.into_iter().filter_map(|key| blocks.get(&key).map(charged).map(|bytes| (key, bytes))).collect();
    let all: u64 = blocks.values().map(charged).sum();
    let mut coming: HashMap<&BlockKey, Vec<usize>> = HashMap::new();
    for (at, (key, _)) in trace.iter().enumerate() {
        coming.entry(key).or_default().push(at);
    }
    println!("{} reads of {} blocks, {:.1} MB", trace.len(), blocks.len(), all as f64 / 1e6);
    println!("memory    l1      latest used   the future known");
    for percent in [10, 20, 30, 50] {
        let capacity = all * percent / 100;
        let latest = kept(&trace, capacity, |at, _, last| at - last);
        let best = kept(&trace, capacity, |at, key, _| {
            let coming = &coming[key];
            coming.get(coming.partition_point(|next| *next <= at)).copied().unwrap_or(usize::MAX)
        });
        let config = TiersConfig { l1_bytes: capacity, ..TiersConfig::default() };
        let tiers = Tiers::open(config).unwrap();
        let mut ours = 0;
        for (key, _) in &trace {
            let key = std::slice::from_ref(key);
            match tiers.read(engine.market(), key).await[0] {
                Some(_) => ours += 1,
                None => {
                    let block = (key[0].clone(), blocks[&key[0]].clone());
                    tiers.write(engine.market(), &[block]).await.unwrap();
                }
            }
        }
        let rate = |hits: usize| 100.0 * hits as f64 / trace.len() as f64;
        println!(
            "{percent:>4} %  {:>5.1} %       {:>5.1} %            {:>5.1} %",
            rate(ours),
            rate(latest),
            rate(best)
        );
        assert!(ours > latest, "{ours} against {latest} at {percent} %");
        assert!(ours <= best && ours * 10 >= best * 7, "{ours} against {best} at {percent} %");
    }
}
