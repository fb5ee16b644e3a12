//! What compares a symbol with the benchmark: its bars at the symbol's own sessions, and the functions of both. Lane
//! by lane, because each lane has other sessions and skips other bars.

use panscan_core::block::WIDTH;
use panscan_core::panel::Tile;
use panscan_core::plan::Against;

use crate::lanes::{Row, finite};

/// The benchmark's value at the session of each bar of a tile; `values` has one per session of the panel. `out` takes
/// the last rows.
pub(crate) fn align(tile: &Tile, values: &[f64], out: &mut [Row]) {
    let shown = tile.rows() - out.len();
    let sessions = tile.session()[shown * WIDTH..].chunks_exact(WIDTH);
    for ((at, out), sessions) in out.iter_mut().enumerate().zip(sessions) {
        for (lane, (out, session)) in out.iter_mut().zip(sessions).enumerate() {
            let is_there = shown + at + tile.bars()[lane] as usize >= tile.rows();
            *out = if is_there { values[usize::from(*session)] } else { f64::NAN };
        }
    }
}

/// A price and the benchmark's over the last `n` + 1 rows that have both, for each row of `out`; null where that row
/// lacks one. All three end at the same row.
pub(crate) fn against(op: Against, n: usize, x: &[Row], benchmark: &[Row], out: &mut [Row]) {
    let want = out.len();
    // Newest first.
    let mut both: Vec<(f64, f64)> = Vec::with_capacity(n + 1);
    let mut returns: Vec<(f64, f64)> = Vec::with_capacity(n);
    for (i, out) in out.iter_mut().enumerate() {
        let x = &x[..(x.len() + i + 1).saturating_sub(want)];
        let benchmark = &benchmark[..(benchmark.len() + i + 1).saturating_sub(want)];
        for (lane, out) in out.iter_mut().enumerate() {
            *out = f64::NAN;
            let mut rows = x.iter().zip(benchmark.iter()).rev().map(|(x, b)| (x[lane], b[lane]));
            let has_both = |pair: &(f64, f64)| !pair.0.is_nan() && !pair.1.is_nan();
            let Some(newest) = rows.next().filter(has_both) else { continue };
            both.clear();
            both.push(newest);
            both.extend(rows.filter(has_both).take(n));
            if both.len() <= n {
                continue;
            }
            *out = of_pairs(op, &both, &mut returns);
        }
    }
}

/// The function of `n` + 1 pairs of prices, newest first; `returns` is scratch.
pub(crate) fn of_pairs(op: Against, both: &[(f64, f64)], returns: &mut Vec<(f64, f64)>) -> f64 {
    let [newest, .., oldest] = both else { return f64::NAN };
    finite(match op {
        Against::Excess => {
            let change = |to: f64, from: f64| 100.0 * (to / from - 1.0);
            change(newest.0, oldest.0) - change(newest.1, oldest.1)
        }
        Against::Beta | Against::Correlation => {
            returns.clear();
            let simple = both.windows(2).rev();
            returns.extend(simple.map(|w| (w[0].0 / w[1].0 - 1.0, w[0].1 / w[1].1 - 1.0)));
            let [products, own, theirs] = moments(returns);
            if op == Against::Beta {
                products / theirs
            } else {
                (products / (own.sqrt() * theirs.sqrt())).clamp(-1.0, 1.0)
            }
        }
    })
}

/// Sums of products of the distances from the means: of both, of the first with itself, of the second with itself.
fn moments(pairs: &[(f64, f64)]) -> [f64; 3] {
    let Some(first) = pairs.first() else { return [f64::NAN; 3] };
    let count = pairs.len() as f64;
    let (mut mean_x, mut mean_y) = (0.0, 0.0);
    for (x, y) in pairs {
        mean_x += x - first.0;
        mean_y += y - first.1;
    }
    (mean_x, mean_y) = (mean_x / count, mean_y / count);
    let mut sums = [0.0; 3];
    for (x, y) in pairs {
        let (x, y) = (x - first.0 - mean_x, y - first.1 - mean_y);
        sums[0] += x * y;
        sums[1] += x * x;
        sums[2] += y * y;
    }
    sums
}
