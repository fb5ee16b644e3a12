//! Kernels of the last n rows. Every result is summed afresh from the oldest row to the newest, so that it does
//! not depend on how many results are asked for.

use panscan_core::block::WIDTH;
use panscan_core::plan::Window;

use crate::lanes::{EIGHTS, Row};
use crate::simd::{Isa, Kernel, Vector};

/// Folds the rows of one window into one result per lane.
trait Fold: Copy {
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

macro_rules! folds {
    ($(($name:ident, |$window:ident, $first:ident| $body:expr)),+ $(,)?) => {$(
        #[derive(Clone, Copy)]
        struct $name;

        impl Fold for $name {
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
            if n == 0 || end < n {
                *out = [f64::NAN; WIDTH];
                continue;
            }
            let window = &input[end - n..end];
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
    by!(Sum Mean Variance StdDev Highest Lowest);
}
