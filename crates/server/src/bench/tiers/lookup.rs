//! A look-up in memory by symbol id: the resident panel, whose columns lie by id, against moka, a cache by key.

use std::hint::black_box;
use std::sync::Arc;

use moka::sync::Cache;
use panscan_core::bar::Field;
use panscan_core::block::WIDTH;

use super::super::{BenchError, Case, Options, alternate, market};

/// Sessions of what is looked up; the length of a column does not matter.
const BARS: usize = 32;
/// A tenth of moka's time.
const GOAL: f64 = 10.0;

pub(super) fn run(options: &Options) -> Result<Vec<Case>, BenchError> {
    let rounds = options.iterations.unwrap_or(100).max(1);
    let snapshot = market::snapshot(options.symbols, BARS, options.threads)?;
    let panel = snapshot.daily;
    let cache: Cache<u32, Arc<[f64]>> = Cache::new(options.symbols as u64 * 2);
    // Every id once, in an order that no prefetcher knows.
    let count = panel.symbols();
    let ids: Vec<u32> = (0..count).filter_map(|n| u32::try_from(n * 7919 % count).ok()).collect();
    for id in &ids {
        cache.insert(*id, Arc::from(vec![f64::from(*id); BARS]));
    }
    cache.run_pending_tasks();
    let taken = alternate(
        rounds,
        &mut [
            &mut || {
                for id in &ids {
                    let (tile, lane) = (*id as usize / WIDTH, *id as usize % WIDTH);
                    let column = panel.tiles().get(tile).map(|tile| tile.field(Field::Close));
                    black_box(column.and_then(|column| column.get(lane..)));
                }
            },
            &mut || {
                for id in &ids {
                    black_box(cache.get(black_box(id)));
                }
            },
        ],
    );
    let [own, moka] = taken[..] else { return Ok(Vec::new()) };
    let each = |taken: std::time::Duration| taken.as_secs_f64() * 1e9 / count as f64;
    Ok(vec![Case::count("lookup", each(own), "ns", rounds, ("moka", each(moka))).at_least(GOAL)])
}
