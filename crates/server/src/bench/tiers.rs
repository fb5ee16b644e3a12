//! The tiers suite: what the same blocks cost to read from each tier, how a look-up, a restart and a second server
//! compare with the least that each could take, and which blocks the first tier keeps.

mod eviction;
mod lookup;
mod redis;
mod restart;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use panscan_cache::{Tiers, TiersConfig};
use panscan_core::block::Block;
use panscan_core::port::{BlockKey, SeriesStore, TierStats};
use panscan_core::snapshot::MarketId;

use super::served::failed;
use super::{BenchError, Case, Options, market, median};

/// Room for everything that is measured with.
const ROOM_BYTES: u64 = 8 << 30;
/// Blocks that are put out into the packed tier before it is waited for.
const PACKED_AT_ONCE: usize = 32;
/// Longest wait for what is done behind the caller's back.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a second server may take of the time of reading the same bytes from Redis, as a ratio.
const REDIS_GOAL: f64 = 0.25;

/// Blocks under the name of a market.
struct Stock {
    market: MarketId,
    keys: Vec<BlockKey>,
    blocks: Vec<(BlockKey, Block)>,
    /// Bytes of their numbers.
    bytes: f64,
}

pub(super) async fn run(options: &Options, progress: &dyn Fn(&Case)) -> Result<Vec<Case>, BenchError> {
    let mut cases = Vec::new();
    let mut tell = |case: Case| {
        progress(&case);
        cases.push(case);
    };
    lookup::run(options)?.into_iter().for_each(&mut tell);
    eviction::run(options).await?.into_iter().for_each(&mut tell);
    reads(options).await?.into_iter().for_each(&mut tell);
    restart::run(options).await?.into_iter().for_each(&mut tell);
    Ok(cases)
}

async fn reads(options: &Options) -> Result<Vec<Case>, BenchError> {
    let rounds = options.iterations.unwrap_or(7).max(1);
    let blocks = market::days(options.symbols, options.bars)?;
    let stock = Stock {
        market: MarketId::new("bench"),
        keys: blocks.iter().map(|(key, _)| key.clone()).collect(),
        bytes: blocks.iter().map(|(_, block)| block.bytes() as f64).sum(),
        blocks,
    };
    let rate = |taken: Duration| stock.bytes / 1e6 / taken.as_secs_f64();
    let hot = opened(TiersConfig { l1_bytes: ROOM_BYTES, ..TiersConfig::default() })?;
    stock.write(&hot).await?;
    let l1 = rate(stock.read_often(&hot, "l1", rounds).await?);
    drop(hot);
    let case = |name: &str, value: f64| Case::rate(name, value, "MB/s", rounds, ("l1", l1));
    let mut cases = vec![case("read_l1", l1)];

    let packed = opened(TiersConfig { l1_bytes: 0, l2_bytes: ROOM_BYTES, ..TiersConfig::default() })?;
    let mut all = 0;
    // What waits to be packed is bounded.
    for blocks in stock.blocks.chunks(PACKED_AT_ONCE) {
        packed.write(&stock.market, blocks).await.map_err(|e| failed("the store")(&e))?;
        all += blocks.len() as u64;
        let entries = |tier: &TierStats| tier.tier == "l2" && tier.entries == all;
        until("the packed tier", || packed.stats().iter().any(entries)).await?;
    }
    cases.push(case("read_l2", rate(stock.read_often(&packed, "l2", rounds).await?)));
    drop(packed);

    let folder = tempfile::tempdir().map_err(|e| failed("a folder")(&e))?;
    let filed =
        |dir: &Path| opened(TiersConfig { l1_bytes: 0, dir: Some(dir.to_owned()), ..TiersConfig::default() });
    let files = filed(folder.path())?;
    stock.write(&files).await?;
    drop(files);
    let files = filed(folder.path())?;
    let first = stock.read(&files, "l3").await?;
    cases.push(case("read_l3_first", rate(first)).note("checks every block's sum, as at its first use"));
    cases.push(case("read_l3", rate(stock.read_often(&files, "l3", rounds).await?)));
    drop(files);

    match redis::Process::start()? {
        Some(process) => cases.extend(shared(&stock, &process, rounds, l1).await?),
        None => cases.push(case("read_redis", f64::NAN).note("left out: redis-server is not installed")),
    }
    Ok(cases)
}

/// A second server that has nothing, filling from Redis.
async fn shared(
    stock: &Stock,
    process: &redis::Process,
    rounds: usize,
    l1: f64,
) -> Result<Vec<Case>, BenchError> {
    let connected =
        |l1_bytes| opened(TiersConfig { l1_bytes, redis: Some(process.config()), ..TiersConfig::default() });
    let writer = connected(0)?;
    stock.write(&writer).await?;
    if !writer.settle(PATIENCE).await {
        return Err(failed("Redis")(&format!("not written after {PATIENCE:?}")));
    }
    let (mut taken, mut plain) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    let mut values = 0;
    for round in 0..=rounds {
        let second = connected(ROOM_BYTES)?;
        let filled = stock.read(&second, "redis").await?;
        let started = Instant::now();
        values = process.pipelined_gets()?;
        let got = started.elapsed();
        if round > 0 {
            taken.push(filled);
            plain.push(got);
        }
    }
    let (taken, plain) = (median(&mut taken), median(&mut plain));
    let rate = stock.bytes / 1e6 / taken.as_secs_f64();
    Ok(vec![
        Case::rate("read_redis", rate, "MB/s", rounds, ("l1", l1)),
        Case::time("redis_fill", taken, rounds, ("pipelined_gets", plain)).at_least(REDIS_GOAL),
        Case::count("redis_bytes", values as f64, "bytes", 1, ("numbers", stock.bytes)),
    ])
}

fn opened(config: TiersConfig) -> Result<Tiers, BenchError> {
    Tiers::open(config).map_err(|e| failed("the store")(&e))
}

async fn until(what: &'static str, done: impl Fn() -> bool) -> Result<(), BenchError> {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > PATIENCE {
            return Err(failed(what)(&format!("not done after {PATIENCE:?}")));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

impl Stock {
    async fn write(&self, tiers: &Tiers) -> Result<(), BenchError> {
        tiers.write(&self.market, &self.blocks).await.map_err(|e| failed("the store")(&e))
    }

    /// The time to read everything and to look at every number once; from another tier it is no time.
    async fn read(&self, tiers: &Tiers, tier: &str) -> Result<Duration, BenchError> {
        let started = Instant::now();
        let found = tiers.read(&self.market, &self.keys).await;
        let sum: f64 = found.iter().flatten().map(|found| looked_at(&found.block)).sum();
        black_box(sum);
        let taken = started.elapsed();
        let from = found.iter().filter(|found| found.as_ref().is_some_and(|f| f.tier == tier)).count();
        if from < self.keys.len() {
            let message = format!("{from} of {} blocks came from {tier}", self.keys.len());
            return Err(failed("a read")(&message));
        }
        Ok(taken)
    }

    async fn read_often(&self, tiers: &Tiers, tier: &str, rounds: usize) -> Result<Duration, BenchError> {
        let mut taken = Vec::with_capacity(rounds);
        for round in 0..=rounds {
            let once = self.read(tiers, tier).await?;
            if round > 0 {
                taken.push(once);
            }
        }
        Ok(median(&mut taken))
    }
}

/// Touches every number, eight sums side by side.
fn looked_at(block: &Block) -> f64 {
    let mut sums = [0.0; 8];
    for line in block.data().chunks_exact(8) {
        for (sum, value) in sums.iter_mut().zip(line) {
            *sum += value;
        }
    }
    sums.iter().sum()
}
