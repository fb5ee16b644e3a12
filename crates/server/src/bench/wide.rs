//! The wide cases of the scan suite: a plan of forty nodes with ranks by sector over 50,000 symbols, against the seed
//! set on the same market, and the same again under the same snapshot with the memo.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use panscan_core::expr::plan;
use panscan_core::plan::{Digest, Plan};
use panscan_core::port::{Cancel, Compute, Memo, ScanJob};
use panscan_core::scan::ScanSpec;
use panscan_core::snapshot::Snapshot;
use panscan_core::universe::Population;
use panscan_cpu::CpuBackend;

use super::{BenchError, Case, alternate};

/// Times of the seed set that the wide plan may take.
const TIMES: f64 = 12.0;
/// How many times faster it has to be with the memo.
const REPEATED: f64 = 10.0;

/// Forty nodes: trends, ranks and scores of them by sector, and what is made of those.
pub(super) fn spec() -> ScanSpec {
    ScanSpec {
        filter: "trend > 20 and close > sma(20) and rank(vwap(20) / close, by=sector) > 5".to_owned(),
        define: [
            ("fast", "sma(5) / sma(20) - 1"),
            ("trend", "percentile(fast, by=sector)"),
            ("heat", "zscore(rsi(14), by=sector)"),
            ("calm", "-rank(realized_vol(20), by=sector)"),
            ("traded", "robust_zscore(log(adv(20)), by=sector)"),
        ]
        .map(|(name, expr)| (name.to_owned(), expr.to_owned()))
        .into(),
        columns: ["heat", "traded", "demean(roc(10), by=sector)"].map(str::to_owned).to_vec(),
        rank_by: "trend + 10 * heat + calm / 100 + traded".to_owned(),
        limit: 100,
        ..ScanSpec::default()
    }
}

/// Node results by snapshot and node.
type Columns = HashMap<(u64, Digest), Arc<[f64]>>;

/// A memo without a bound: one plan's results on one snapshot.
#[derive(Default)]
struct Kept(Mutex<Columns>);

impl Memo for Kept {
    fn get(&self, epoch: u64, node: Digest) -> Option<Arc<[f64]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(epoch, node)).cloned()
    }

    fn put(&self, epoch: u64, node: Digest, values: Arc<[f64]>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((epoch, node), values);
    }
}

/// Measures both against `seeds` on the same snapshot.
pub(super) fn measured(
    name: &str,
    backend: &CpuBackend,
    seeds: &Plan,
    snapshot: &Snapshot,
    rounds: usize,
) -> Result<Vec<Case>, BenchError> {
    let wide = plan(&spec())?;
    let population = Population::all(snapshot.universe.len());
    let cancel = Cancel::default();
    let job =
        |plan| ScanJob { plan, snapshot, population: &population, skip: 0, memo: None, cancel: &cancel };
    let kept = Kept::default();
    let remembered = ScanJob { memo: Some(&kept), ..job(&wide) };
    let rows = backend.scan(&remembered).map_err(|e| BenchError::of("the wide scan")(&e))?;
    if rows.symbols.len() != wide.limit {
        let message = format!("{} rows instead of {}", rows.symbols.len(), wide.limit);
        return Err(BenchError::Failed { what: "the wide scan", message });
    }
    let taken = alternate(
        rounds,
        &mut [
            &mut || drop(black_box(backend.scan(&job(&wide)))),
            &mut || drop(black_box(backend.scan(&job(seeds)))),
            &mut || drop(black_box(backend.scan(&remembered))),
        ],
    );
    let [once, seeds, again] = taken[..] else { return Ok(Vec::new()) };
    Ok(vec![
        Case::time(name, once, rounds, ("seed_set", seeds)).at_most_times(TIMES),
        Case::time(format!("{name}_repeat"), again, rounds, ("memo_off", once)).at_least(REPEATED),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wide_plan_has_forty_nodes() {
        let nodes = plan(&spec()).unwrap().nodes.len();
        assert!((40..=80).contains(&nodes), "{nodes} nodes");
    }
}
