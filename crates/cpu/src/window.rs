//! Kernels of the last n rows. Every result is summed afresh from the oldest row to the newest, so that it does
//! not depend on how many results are asked for.

use panscan_core::block::WIDTH;
use panscan_core::plan::{Pair, Window};

use crate::lanes::{EIGHTS, Row, finite};
use crate::simd::{Isa, Kernel, Vector};

/// Folds the rows of one window into one result per lane.
trait Fold: Copy {
    /// Whether a shorter window will do where there are no more rows.
    const PARTIAL: bool = false;

    /// For vectors `first..first + BLOCKS` of the rows.
    fn fold<V: Vector, const BLOCKS: usize>(self, window: &[Row], first: usize) -> [V; BLOCKS];
}

#[inline(always)]
fn sum<V: Vector, const BLOCKS: usize>(window: &[Row], first: usize) -> [V; BLOCKS] {
    let mut sums = [V::splat(0.0); BLOCKS];
    for row in window {
        for (b, sum) in sums.iter_mut().enumerate() {
            *sum = sum.add(V::load(row, first + b));
        }
    }
    sums
}

#[inline(always)]
fn over<V: Vector, const BLOCKS: usize>(mut sums: [V; BLOCKS], n: usize) -> [V; BLOCKS] {
    for sum in &mut sums {
        *sum = sum.div(V::splat(n as f64));
    }
    sums
}

#[inline(always)]
fn squares<V: Vector, const BLOCKS: usize>(window: &[Row], first: usize) -> [V; BLOCKS] {
    let means = over(sum::<V, BLOCKS>(window, first), window.len());
    let mut sums = [V::splat(0.0); BLOCKS];
    for row in window {
        for b in 0..BLOCKS {
            let off = V::load(row, first + b).sub(means[b]);
            sums[b] = sums[b].add(off.mul(off));
        }
    }
    over(sums, window.len())
}

/// The first row's value, replaced by each later one that `better` prefers or that is null.
#[inline(always)]
fn extreme<V: Vector, const BLOCKS: usize>(
    window: &[Row],
    first: usize,
    better: impl Fn(V, V) -> V::Mask,
) -> [V; BLOCKS] {
    let mut best = [V::splat(f64::NAN); BLOCKS];
    let Some((oldest, later)) = window.split_first() else { return best };
    for (b, best) in best.iter_mut().enumerate() {
        *best = V::load(oldest, first + b);
    }
    for row in later {
        for (b, best) in best.iter_mut().enumerate() {
            let x = V::load(row, first + b);
            *best = V::select(V::or(better(x, *best), x.is_nan()), x, *best);
        }
    }
    best
}

/// Rows since the value that `better` prefers, the newest of equals; null where one of them is.
#[inline(always)]
fn since<V: Vector, const BLOCKS: usize>(
    window: &[Row],
    first: usize,
    no_worse: impl Fn(V, V) -> V::Mask,
) -> [V; BLOCKS] {
    let null = V::splat(f64::NAN);
    let (mut best, mut at) = ([null; BLOCKS], [null; BLOCKS]);
    let Some((oldest, later)) = window.split_first() else { return at };
    let mut ago = later.len() as f64;
    for b in 0..BLOCKS {
        best[b] = V::load(oldest, first + b);
        at[b] = V::splat(ago);
    }
    for row in later {
        ago -= 1.0;
        for b in 0..BLOCKS {
            let x = V::load(row, first + b);
            let taken = V::or(no_worse(x, best[b]), x.is_nan());
            best[b] = V::select(taken, x, best[b]);
            at[b] = V::select(taken, V::splat(ago), at[b]);
        }
    }
    for b in 0..BLOCKS {
        at[b] = V::select(best[b].is_nan(), null, at[b]);
    }
    at
}

/// The mean of the distances from the first row.
#[inline(always)]
fn mean_from_first<V: Vector, const BLOCKS: usize>(window: &[Row], first: usize) -> [V; BLOCKS] {
    let mut sums = [V::splat(0.0); BLOCKS];
    for row in window {
        for (b, sum) in sums.iter_mut().enumerate() {
            *sum = sum.add(V::load(row, first + b).sub(V::load(&window[0], first + b)));
        }
    }
    over(sums, window.len())
}

/// Sums of products of the distances of two windows' rows from their means: of both, of the first with itself, of
/// the second with itself. Distances are taken from the first row first, so that what does not vary gives 0.
#[inline(always)]
fn moments<V: Vector, const BLOCKS: usize>(x: &[Row], y: &[Row], first: usize) -> [[V; 3]; BLOCKS] {
    let (mean_x, mean_y) = (mean_from_first::<V, BLOCKS>(x, first), mean_from_first::<V, BLOCKS>(y, first));
    let mut sums = [[V::splat(0.0); 3]; BLOCKS];
    for (row_x, row_y) in x.iter().zip(y) {
        for b in 0..BLOCKS {
            let off_x = V::load(row_x, first + b).sub(V::load(&x[0], first + b)).sub(mean_x[b]);
            let off_y = V::load(row_y, first + b).sub(V::load(&y[0], first + b)).sub(mean_y[b]);
            sums[b][0] = sums[b][0].add(off_x.mul(off_y));
            sums[b][1] = sums[b][1].add(off_x.mul(off_x));
            sums[b][2] = sums[b][2].add(off_y.mul(off_y));
        }
    }
    sums
}

/// Pearson's, from sums of products.
#[inline(always)]
fn correlation<V: Vector>([both, first, second]: [V; 3]) -> V {
    let value = both.div(first.sqrt().mul(second.sqrt()));
    let (low, high) = (V::splat(-1.0), V::splat(1.0));
    let value = V::select(value.less(low), low, value);
    V::select(high.less(value), high, value)
}

/// The same sums for times 0 to n-1 and a window's rows.
#[inline(always)]
fn trend<V: Vector, const BLOCKS: usize>(window: &[Row], first: usize) -> [[V; 3]; BLOCKS] {
    let middle = (window.len() - 1) as f64 / 2.0;
    let means = mean_from_first::<V, BLOCKS>(window, first);
    let mut sums = [[V::splat(0.0); 3]; BLOCKS];
    for (t, row) in window.iter().enumerate() {
        let time = V::splat(t as f64 - middle);
        for b in 0..BLOCKS {
            let off = V::load(row, first + b).sub(V::load(&window[0], first + b)).sub(means[b]);
            sums[b][0] = sums[b][0].add(time.mul(off));
            sums[b][1] = sums[b][1].add(time.mul(time));
            sums[b][2] = sums[b][2].add(off.mul(off));
        }
    }
    sums
}

/// What `each` makes of a row and the best so far, of the rows that have a value; null where the last has none.
#[inline(always)]
fn present<V: Vector, const BLOCKS: usize>(
    window: &[Row],
    first: usize,
    start: [f64; 2],
    each: impl Fn([V; 2], V) -> [V; 2],
) -> [V; BLOCKS] {
    let mut state = [[V::splat(start[0]), V::splat(start[1])]; BLOCKS];
    let mut newest = [V::splat(f64::NAN); BLOCKS];
    for row in window {
        for b in 0..BLOCKS {
            newest[b] = V::load(row, first + b);
            state[b] = each(state[b], newest[b]);
        }
    }
    let mut out = newest;
    for b in 0..BLOCKS {
        out[b] = V::select(newest[b].is_nan(), newest[b], state[b][0]);
    }
    out
}

macro_rules! folds {
    ($(($name:ident $($partial:literal)?, |$window:ident, $first:ident| $body:expr)),+ $(,)?) => {$(
        #[derive(Clone, Copy)]
        struct $name;

        impl Fold for $name {
            $(const PARTIAL: bool = $partial;)?

            #[inline(always)]
            fn fold<V: Vector, const BLOCKS: usize>(self, $window: &[Row], $first: usize) -> [V; BLOCKS] {
                $body
            }
        }
    )+};
}

folds!(
    (Sum, |window, first| sum(window, first)),
    (Mean, |window, first| over(sum::<V, BLOCKS>(window, first), window.len())),
    (Variance, |window, first| squares(window, first)),
    (StdDev, |window, first| {
        let mut values = squares::<V, BLOCKS>(window, first);
        for value in &mut values {
            *value = value.sqrt();
        }
        values
    }),
    (Highest, |window, first| extreme(window, first, |x: V, best| best.less(x))),
    (Lowest, |window, first| extreme(window, first, |x: V, best| x.less(best))),
    (Weighted, |window, first| {
        let mut sums = [V::splat(0.0); BLOCKS];
        let mut weight = 0.0;
        for row in window {
            weight += 1.0;
            for (b, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add(V::splat(weight).mul(V::load(row, first + b)));
            }
        }
        for sum in &mut sums {
            *sum = sum.div(V::splat(weight * (weight + 1.0) / 2.0));
        }
        sums
    }),
    (MeanDeviation, |window, first| {
        let means = over(sum::<V, BLOCKS>(window, first), window.len());
        let mut sums = [V::splat(0.0); BLOCKS];
        for row in window {
            for b in 0..BLOCKS {
                sums[b] = sums[b].add(V::load(row, first + b).sub(means[b]).abs());
            }
        }
        over(sums, window.len())
    }),
    (HighestAgo, |window, first| since(window, first, |x: V, best| best.less_equal(x))),
    (LowestAgo, |window, first| since(window, first, |x: V, best| x.less_equal(best))),
    (Slope, |window, first| {
        let mut out = [V::splat(0.0); BLOCKS];
        for (out, [both, time, _]) in out.iter_mut().zip(trend::<V, BLOCKS>(window, first)) {
            *out = both.div(time);
        }
        out
    }),
    (Fit, |window, first| {
        let mut out = [V::splat(0.0); BLOCKS];
        for (out, [both, time, own]) in out.iter_mut().zip(trend::<V, BLOCKS>(window, first)) {
            *out = both.mul(both).div(time.mul(own));
        }
        out
    }),
    (Rank, |window, first| {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let mut places = [zero; BLOCKS];
        for row in window {
            for (b, place) in places.iter_mut().enumerate() {
                let x = V::load(row, first + b);
                let newest = V::load(&window[window.len() - 1], first + b);
                let tied = V::select(x.equal(newest), V::splat(0.5), zero);
                // A null anywhere makes the sum null.
                let counted = V::select(x.is_nan(), x, V::select(x.less(newest), one, tied));
                *place = place.add(counted);
            }
        }
        for (b, place) in places.iter_mut().enumerate() {
            let newest = V::load(&window[window.len() - 1], first + b);
            let value = V::splat(100.0).mul(*place).div(V::splat(window.len() as f64));
            *place = V::select(newest.is_nan(), newest, value);
        }
        places
    }),
    (Peak true, |window, first| {
        present(window, first, [f64::NEG_INFINITY, 0.0], |[best, _], x: V| {
            [V::select(best.less(x), x, best), best]
        })
    }),
    (Trough true, |window, first| {
        present(window, first, [f64::INFINITY, 0.0], |[best, _], x: V| {
            [V::select(x.less(best), x, best), best]
        })
    }),
    (Fall true, |window, first| {
        present(window, first, [f64::INFINITY, f64::NEG_INFINITY], |[worst, top], x: V| {
            let top = V::select(top.less(x), x, top);
            let ratio = x.div(top);
            [V::select(ratio.less(worst), ratio, worst), top]
        })
    }),
);

struct Rolling<'a, F> {
    f: F,
    /// Ends at the row of the last result.
    input: &'a [Row],
    n: usize,
    out: &'a mut [Row],
}

impl<F: Fold> Kernel for Rolling<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self { f, input, n, out } = self;
        let want = out.len();
        for (i, out) in out.iter_mut().enumerate() {
            // Rows of the input up to and with this result's.
            let end = (input.len() + i + 1).saturating_sub(want);
            if n == 0 || end == 0 || (end < n && !F::PARTIAL) {
                *out = [f64::NAN; WIDTH];
                continue;
            }
            let window = &input[end.saturating_sub(n)..end];
            for first in (0..EIGHTS).step_by(BLOCKS) {
                for (b, value) in f.fold::<V, BLOCKS>(window, first).into_iter().enumerate() {
                    value.finite().store(out, first + b);
                }
            }
        }
    }
}

/// A function of the last `n` rows for each row of `out`, whose last row is that of `input`.
pub(crate) fn window(isa: Isa, op: Window, n: usize, input: &[Row], out: &mut [Row]) {
    macro_rules! by {
        ($($name:ident)+) => {
            match op {
                $(Window::$name => isa.run(Rolling { f: $name, input, n, out }),)+
            }
        };
    }
    by!(
        Sum Mean Variance StdDev Highest Lowest Weighted MeanDeviation HighestAgo LowestAgo Slope Fit Rank Peak
        Trough Fall
    );
}

/// The sum of the products of two windows' rows: what a sum over their products gives, without keeping them.
struct Products<'a>(&'a [Row], &'a [Row], &'a mut Row);

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self(x, y, out) = self;
        for first in (0..EIGHTS).step_by(BLOCKS) {
            let mut sums = [V::splat(0.0); BLOCKS];
            for (x, y) in x.iter().zip(y) {
                for (b, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add(V::load(x, first + b).mul(V::load(y, first + b)));
                }
            }
            for (b, sum) in sums.into_iter().enumerate() {
                sum.finite().store(out, first + b);
            }
        }
    }
}

/// The sum of the products of the last `n` rows of two inputs; null where there are fewer.
pub(crate) fn products(isa: Isa, n: usize, x: &[Row], y: &[Row], out: &mut Row) {
    match (x.len().checked_sub(n), y.len().checked_sub(n)) {
        (Some(from_x), Some(from_y)) if n > 0 => isa.run(Products(&x[from_x..], &y[from_y..], out)),
        _ => *out = [f64::NAN; WIDTH],
    }
}

struct Both<'a> {
    op: Pair,
    /// Both end at the row of the last result.
    x: &'a [Row],
    y: &'a [Row],
    n: usize,
    out: &'a mut [Row],
}

impl Kernel for Both<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self { op, x, y, n, out } = self;
        let want = out.len();
        for (i, out) in out.iter_mut().enumerate() {
            let end = |rows: &[Row]| (rows.len() + i + 1).saturating_sub(want);
            let (end_x, end_y) = (end(x), end(y));
            if n == 0 || end_x < n || end_y < n {
                *out = [f64::NAN; WIDTH];
                continue;
            }
            let (x, y) = (&x[end_x - n..end_x], &y[end_y - n..end_y]);
            for first in (0..EIGHTS).step_by(BLOCKS) {
                for (b, sums) in moments::<V, BLOCKS>(x, y, first).into_iter().enumerate() {
                    let value = match op {
                        Pair::Covariance => sums[0].div(V::splat(n as f64)),
                        Pair::Correlation => correlation(sums),
                    };
                    value.finite().store(out, first + b);
                }
            }
        }
    }
}

/// A function of the last `n` rows of two inputs for each row of `out`, whose last row is that of both.
pub(crate) fn pair(isa: Isa, op: Pair, n: usize, x: &[Row], y: &[Row], out: &mut [Row]) {
    isa.run(Both { op, x, y, n, out });
}

/// The share `q` between the sorted last `n` rows, lane by lane: sorting has no form for vectors.
pub(crate) fn quantile(q: f64, n: usize, input: &[Row], out: &mut [Row]) {
    let want = out.len();
    let position = q * n.saturating_sub(1) as f64;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    let mut sorted: Vec<f64> = Vec::with_capacity(n);
    for (i, out) in out.iter_mut().enumerate() {
        let end = (input.len() + i + 1).saturating_sub(want);
        for (lane, out) in out.iter_mut().enumerate() {
            *out = f64::NAN;
            if n == 0 || end < n {
                continue;
            }
            sorted.clear();
            sorted.extend(input[end - n..end].iter().map(|row| row[lane]).filter(|x| !x.is_nan()));
            if sorted.len() < n {
                continue;
            }
            sorted.sort_unstable_by(f64::total_cmp);
            let (below, above) = (sorted[below], sorted[above]);
            *out = finite(below + (position - position.floor()) * (above - below));
        }
    }
}
