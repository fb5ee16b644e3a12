//! What the first tier keeps of more than it can hold, on a desk's day of accesses: its hit rate against one that
//! puts out what was used longest ago, and against one that knows the future.

use std::collections::{BTreeSet, HashMap};

use panscan_cache::{Tiers, TiersConfig};
use panscan_core::block::{BarKey, Block, BlockBuilder, Provenance};
use panscan_core::port::{BlockKey, SeriesStore};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};

use super::super::served::failed;
use super::super::{BenchError, Case, Options};

/// Accesses of single symbols, and how many lie between two reads of everything.
const SINGLE: usize = 60_000;
const BETWEEN: usize = 12_000;
/// Rows of a block.
const ROWS: i64 = 64;
/// Blocks that fit, as parts of all.
const FITS: [(&str, usize); 2] = [("keeps_5_percent", 20), ("keeps_20_percent", 5)];

pub(super) async fn run(options: &Options) -> Result<Vec<Case>, BenchError> {
    let trace = day(options.symbols);
    let mut cases = Vec::new();
    for (name, part) in FITS {
        let fits = (options.symbols / part).max(10);
        let own = own(&trace, options.symbols, fits).await?;
        let case = |baseline, hits| {
            let share = |hits: usize| hits as f64 * 100.0 / trace.len() as f64;
            Case::rate(name, share(own), "% hits", trace.len(), (baseline, share(hits)))
        };
        cases.push(case("lru", least_recent(&trace, fits)));
        cases.push(case("belady", clairvoyant(&trace, fits)));
    }
    Ok(cases)
}

/// Which symbol is asked for, one after the other: a few are asked for often, others become so at noon, and now and
/// then everything is read once.
fn day(symbols: usize) -> Vec<usize> {
    let mut state = 11_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut trace = Vec::new();
    for n in 0..SINGLE {
        if n % BETWEEN == BETWEEN / 2 {
            trace.extend(0..symbols);
        }
        // Ranks by Zipf's law: the logarithm of a rank is evenly spread.
        let rank = ((symbols as f64).powf(random()) as usize - 1).min(symbols - 1);
        let moved = n > SINGLE / 2 && rank.is_multiple_of(5);
        trace.push((rank * 7919 + usize::from(moved) * 1009) % symbols);
    }
    trace
}

/// The hits of the tier itself.
async fn own(trace: &[usize], symbols: usize, fits: usize) -> Result<usize, BenchError> {
    let failed = failed("the store");
    let mut builder = BlockBuilder::new(Timeframe::Minutes(1));
    for row in 0..ROWS {
        builder.push("A", BarKey(row), [1.0, 1.0, 1.0, 1.0, 100.0, f64::NAN, 3.0]);
    }
    let provenance = Provenance { provider: "bench".into(), fetched_at: Timestamp::default() };
    let (block, _) = builder.finish(None, None, provenance);
    let market = MarketId::new("bench");
    let keys: Result<Vec<BlockKey>, _> = (0..symbols)
        .map(|n| Symbol::new(&format!("S{n:06}")).map(|name| BlockKey::Symbol(Timeframe::Minutes(1), name)))
        .collect();
    let keys = keys.map_err(|e| failed(&e))?;
    let tiers = |l1_bytes| Tiers::open(TiersConfig { l1_bytes, ..TiersConfig::default() });
    let charged = charge(&tiers(u64::MAX).map_err(|e| failed(&e))?, &market, &keys[0], &block).await?;
    let tiers = tiers(charged * fits as u64).map_err(|e| failed(&e))?;
    let mut hits = 0;
    for access in trace {
        let key = std::slice::from_ref(&keys[*access]);
        if tiers.read(&market, key).await.iter().all(Option::is_some) {
            hits += 1;
        } else {
            tiers.write(&market, &[(key[0].clone(), block.clone())]).await.map_err(|e| failed(&e))?;
        }
    }
    Ok(hits)
}

/// What a block is charged.
async fn charge(tiers: &Tiers, market: &MarketId, key: &BlockKey, block: &Block) -> Result<u64, BenchError> {
    let blocks = [(key.clone(), block.clone())];
    tiers.write(market, &blocks).await.map_err(|e| failed("the store")(&e))?;
    Ok(tiers.stats().first().map_or(0, |l1| l1.bytes))
}

/// The hits of a cache that puts out what was used longest ago.
fn least_recent(trace: &[usize], fits: usize) -> usize {
    let (mut used, mut order) = (HashMap::new(), BTreeSet::new());
    let mut hits = 0;
    for (now, symbol) in trace.iter().enumerate() {
        if let Some(before) = used.insert(*symbol, now) {
            order.remove(&(before, *symbol));
            hits += 1;
        } else if used.len() > fits
            && let Some((_, oldest)) = order.pop_first()
        {
            used.remove(&oldest);
        }
        order.insert((now, *symbol));
    }
    hits
}

/// The most hits that there can be: what is used latest again is put out, and not taken in if it is the newcomer.
fn clairvoyant(trace: &[usize], fits: usize) -> usize {
    let mut next = vec![usize::MAX; trace.len()];
    let mut seen = HashMap::new();
    for (now, symbol) in trace.iter().enumerate().rev() {
        next[now] = seen.insert(*symbol, now).unwrap_or(usize::MAX);
    }
    let (mut due, mut order) = (HashMap::new(), BTreeSet::new());
    let mut hits = 0;
    for (symbol, next) in trace.iter().zip(next) {
        if let Some(before) = due.insert(*symbol, next) {
            order.remove(&(before, *symbol));
            hits += 1;
        }
        order.insert((next, *symbol));
        if due.len() > fits
            && let Some((_, latest)) = order.pop_last()
        {
            due.remove(&latest);
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_the_future_is_never_beaten() {
        assert_eq!((least_recent(&[1, 2, 3, 1, 2, 3], 2), clairvoyant(&[1, 2, 3, 1, 2, 3], 2)), (0, 2));
        assert_eq!((least_recent(&[1, 1, 2, 1], 1), clairvoyant(&[1, 1, 2, 1], 1)), (1, 2));
        let trace = day(500);
        for fits in [10, 50, 200] {
            assert!(clairvoyant(&trace, fits) >= least_recent(&trace, fits));
        }
        let distinct = trace.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(clairvoyant(&trace, 500), trace.len() - distinct);
    }
}
