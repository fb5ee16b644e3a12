//! Kernels whose value depends on every earlier row: one pass over the tile with the state in registers.
//!
//! Two forms give the same bits, which are those of [`panscan_core::recurrence`]. The dense one needs each lane's
//! values to stand without a null up to the last row, as a panel's columns do: it runs all lanes alike and, where
//! a lane's warm-up ends, puts that lane's seed into the state. The masked one allows a null anywhere.

use panscan_core::block::WIDTH;
use panscan_core::plan::Recursive;
use panscan_core::recurrence;

use crate::lanes::{EIGHTS, Row};
use crate::simd::{Isa, Kernel, Vector, prefetch};

/// Rows that are asked for ahead: a page. The processor's own look-ahead ends with one, which a panel larger than
/// the caches feels at every sixteenth row.
const AHEAD: usize = 16;

/// One recurrence on vectors. Its state is two of them; one that needs less leaves the second at 0.
trait Recurrence: Copy {
    /// Values that the seed needs.
    fn span(self) -> usize;
    /// Values at the start that only count as the one before the next, if at all.
    fn skips(self) -> usize;
    /// The seed's sums after one more value.
    fn gather<V: Vector>(self, sums: [V; 2], previous: V, x: V) -> [V; 2];
    /// The state that the seed's sums make.
    fn seed<V: Vector>(self, sums: [V; 2]) -> [V; 2];
    /// The state after one more value.
    fn step<V: Vector>(self, state: [V; 2], previous: V, x: V) -> [V; 2];
    /// The result of a state.
    fn value<V: Vector>(self, state: [V; 2]) -> V;
}

/// `ema` and `rma`: [`recurrence::smooth`].
#[derive(Clone, Copy)]
struct Smooth {
    n: u32,
    alpha: f64,
    /// Values that it leaves out at the start.
    skip: u32,
}

impl Recurrence for Smooth {
    #[inline(always)]
    fn span(self) -> usize {
        self.skips() + self.n as usize
    }

    #[inline(always)]
    fn skips(self) -> usize {
        self.skip as usize
    }

    #[inline(always)]
    fn gather<V: Vector>(self, sums: [V; 2], _: V, x: V) -> [V; 2] {
        [sums[0].add(x), sums[1]]
    }

    #[inline(always)]
    fn seed<V: Vector>(self, sums: [V; 2]) -> [V; 2] {
        [sums[0].div(V::splat(f64::from(self.n))), sums[1]]
    }

    #[inline(always)]
    fn step<V: Vector>(self, state: [V; 2], _: V, x: V) -> [V; 2] {
        [state[0].add(V::splat(self.alpha).mul(x.sub(state[0]))), state[1]]
    }

    #[inline(always)]
    fn value<V: Vector>(self, state: [V; 2]) -> V {
        state[0].finite()
    }
}

/// `rsi`: [`recurrence::wilder_sum`] of changes and of their sizes.
#[derive(Clone, Copy)]
struct Strength {
    n: u32,
    keep: f64,
}

impl Recurrence for Strength {
    #[inline(always)]
    fn span(self) -> usize {
        self.n as usize + 1
    }

    #[inline(always)]
    fn skips(self) -> usize {
        1
    }

    #[inline(always)]
    fn gather<V: Vector>(self, sums: [V; 2], previous: V, x: V) -> [V; 2] {
        let change = x.sub(previous);
        [sums[0].add(change), sums[1].add(change.abs())]
    }

    #[inline(always)]
    fn seed<V: Vector>(self, sums: [V; 2]) -> [V; 2] {
        sums
    }

    #[inline(always)]
    fn step<V: Vector>(self, state: [V; 2], previous: V, x: V) -> [V; 2] {
        let change = x.sub(previous);
        let keep = V::splat(self.keep);
        [state[0].mul(keep).add(change), state[1].mul(keep).add(change.abs())]
    }

    #[inline(always)]
    fn value<V: Vector>(self, state: [V; 2]) -> V {
        let [changes, sizes] = state;
        let value = V::splat(50.0).mul(sizes.add(changes).div(sizes));
        V::select(sizes.equal(V::splat(0.0)), V::splat(0.0), value).finite()
    }
}

/// Wilder's sum that starts with n-1 values: [`recurrence::wilder_sum`]. While it starts, the second number is the
/// newest value, which the first does not hold yet.
#[derive(Clone, Copy)]
struct WilderSum {
    n: u32,
    keep: f64,
}

impl Recurrence for WilderSum {
    #[inline(always)]
    fn span(self) -> usize {
        self.n as usize
    }

    #[inline(always)]
    fn skips(self) -> usize {
        0
    }

    #[inline(always)]
    fn gather<V: Vector>(self, sums: [V; 2], _: V, x: V) -> [V; 2] {
        [sums[0].add(sums[1]), x]
    }

    #[inline(always)]
    fn seed<V: Vector>(self, sums: [V; 2]) -> [V; 2] {
        [sums[0].mul(V::splat(self.keep)).add(sums[1]), V::splat(0.0)]
    }

    #[inline(always)]
    fn step<V: Vector>(self, state: [V; 2], _: V, x: V) -> [V; 2] {
        [state[0].mul(V::splat(self.keep)).add(x), state[1]]
    }

    #[inline(always)]
    fn value<V: Vector>(self, state: [V; 2]) -> V {
        state[0].finite()
    }
}

/// Sum of all values.
#[derive(Clone, Copy)]
struct Total;

impl Recurrence for Total {
    #[inline(always)]
    fn span(self) -> usize {
        1
    }

    #[inline(always)]
    fn skips(self) -> usize {
        0
    }

    #[inline(always)]
    fn gather<V: Vector>(self, sums: [V; 2], _: V, x: V) -> [V; 2] {
        [sums[0].add(x), sums[1]]
    }

    #[inline(always)]
    fn seed<V: Vector>(self, sums: [V; 2]) -> [V; 2] {
        sums
    }

    #[inline(always)]
    fn step<V: Vector>(self, state: [V; 2], previous: V, x: V) -> [V; 2] {
        self.gather(state, previous, x)
    }

    #[inline(always)]
    fn value<V: Vector>(self, state: [V; 2]) -> V {
        state[0].finite()
    }
}

/// At which row each lane's warm-up ends, and the next of these rows.
struct Seeds {
    at: [usize; WIDTH],
    next: usize,
}

impl Seeds {
    #[inline(always)]
    fn new(rows: usize, span: usize, values: &[u32; WIDTH]) -> Self {
        let mut seeds = Self { at: [usize::MAX; WIDTH], next: usize::MAX };
        for (at, values) in seeds.at.iter_mut().zip(values) {
            let values = *values as usize;
            if values >= span {
                *at = rows - values + span - 1;
                seeds.next = seeds.next.min(*at);
            }
        }
        seeds
    }

    #[inline(always)]
    fn advance(&mut self) {
        let done = self.next;
        self.next = self.at.iter().copied().filter(|at| *at > done).min().unwrap_or(usize::MAX);
    }
}

struct Dense<'a, R> {
    recurrence: R,
    input: &'a [Row],
    /// Values of each lane; they end at the last row.
    values: &'a [u32; WIDTH],
    /// The last rows of the result.
    out: &'a mut [Row],
}

impl<R: Recurrence> Kernel for Dense<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self { recurrence, input, values, out } = self;
        let rows = input.len();
        // Row of the tile that the first result belongs to.
        let shown = rows - out.len();
        for first in (0..EIGHTS).step_by(BLOCKS) {
            let mut seeds = Seeds::new(rows, recurrence.span(), values);
            let mut state = [[V::splat(0.0); 2]; BLOCKS];
            // Rows before this are done.
            let mut done = seeds.next.min(rows);
            while seeds.next < rows {
                state = steady(recurrence, input, done, seeds.next + 1, first, shown, out, state);
                done = seeds.next + 1;
                let window = &input[done - recurrence.span()..done];
                let seeded = seed::<R, V, BLOCKS>(recurrence, window, first);
                for b in 0..BLOCKS {
                    let lanes = &seeds.at[(first + b) * 8..(first + b) * 8 + 8];
                    let mut flags: Row = [0.0; WIDTH];
                    for (flag, at) in flags.iter_mut().zip(lanes) {
                        *flag = if *at == seeds.next { 1.0 } else { 0.0 };
                    }
                    let now = V::splat(0.0).less(V::load(&flags, 0));
                    for s in 0..2 {
                        state[b][s] = V::select(now, seeded[b][s], state[b][s]);
                    }
                    if seeds.next >= shown {
                        recurrence.value(state[b]).store(&mut out[seeds.next - shown], first + b);
                    }
                }
                seeds.advance();
            }
            steady(recurrence, input, done, rows, first, shown, out, state);
        }
        let seeds = Seeds::new(rows, recurrence.span(), values);
        for (lane, at) in seeds.at.into_iter().enumerate() {
            let unseeded = at.min(rows).saturating_sub(shown);
            for row in &mut out[..unseeded] {
                row[lane] = f64::NAN;
            }
        }
    }
}

/// The state that exactly these rows seed.
#[inline(always)]
fn seed<R: Recurrence, V: Vector, const BLOCKS: usize>(
    recurrence: R,
    window: &[Row],
    first: usize,
) -> [[V; 2]; BLOCKS] {
    let mut state = [[V::splat(0.0); 2]; BLOCKS];
    for (i, row) in window.iter().enumerate().skip(recurrence.skips()) {
        for (b, state) in state.iter_mut().enumerate() {
            let previous = V::load(&window[i.saturating_sub(1)], first + b);
            *state = recurrence.gather(*state, previous, V::load(row, first + b));
        }
    }
    for state in &mut state {
        *state = recurrence.seed(*state);
    }
    state
}

/// Rows `from..to` with every lane alike; results from row `shown` on are stored.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "state has to travel in registers, not in a struct by reference"
)]
fn steady<R: Recurrence, V: Vector, const BLOCKS: usize>(
    recurrence: R,
    input: &[Row],
    from: usize,
    to: usize,
    first: usize,
    shown: usize,
    out: &mut [Row],
    mut state: [[V; 2]; BLOCKS],
) -> [[V; 2]; BLOCKS] {
    if from >= to {
        return state;
    }
    let quiet = to.min(shown.max(from));
    let mut previous = [V::splat(0.0); BLOCKS];
    if from > 0 {
        for (b, previous) in previous.iter_mut().enumerate() {
            *previous = V::load(&input[from - 1], first + b);
        }
    }
    for (at, row) in input[..quiet].iter().enumerate().skip(from) {
        if let Some(later) = input.get(at + AHEAD) {
            prefetch(std::slice::from_ref(later));
        }
        for b in 0..BLOCKS {
            let x = V::load(row, first + b);
            state[b] = recurrence.step(state[b], previous[b], x);
            previous[b] = x;
        }
    }
    for at in quiet..to {
        for b in 0..BLOCKS {
            let x = V::load(&input[at], first + b);
            state[b] = recurrence.step(state[b], previous[b], x);
            previous[b] = x;
            recurrence.value(state[b]).store(&mut out[at - shown], first + b);
        }
    }
    state
}

struct Masked<'a, R> {
    recurrence: R,
    input: &'a [Row],
    out: &'a mut [Row],
}

impl<R: Recurrence> Kernel for Masked<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self { recurrence, input, out } = self;
        let shown = input.len() - out.len();
        let (one, span) = (V::splat(1.0), V::splat(recurrence.span() as f64));
        let skips = V::splat(recurrence.skips() as f64);
        for first in 0..EIGHTS {
            let mut seen = V::splat(0.0);
            let mut previous = V::splat(0.0);
            let mut state = [V::splat(0.0); 2];
            for (at, row) in input.iter().enumerate() {
                let x = V::load(row, first);
                let count = seen.add(one);
                let gathered = recurrence.gather(state, previous, x);
                let seeded = recurrence.seed(gathered);
                let advanced = recurrence.step(state, previous, x);
                for s in 0..2 {
                    let warm = V::select(count.equal(span), seeded[s], gathered[s]);
                    let next = V::select(span.less(count), advanced[s], warm);
                    let next = V::select(count.less_equal(skips), state[s], next);
                    state[s] = V::select(x.is_nan(), state[s], next);
                }
                seen = V::select(x.is_nan(), seen, count);
                previous = V::select(x.is_nan(), previous, x);
                if at >= shown {
                    let cold = V::or(x.is_nan(), count.less(span));
                    let value = V::select(cold, V::splat(f64::NAN), recurrence.value(state));
                    value.store(&mut out[at - shown], first);
                }
            }
        }
    }
}

/// For each lane the values that stand without a null up to the last row; `None` when a lane has another value
/// above a null.
struct Trailing<'a>(&'a [Row]);

impl Kernel for Trailing<'_> {
    type Output = Option<[u32; WIDTH]>;

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) -> Option<[u32; WIDTH]> {
        let mut trailing: Row = [0.0; WIDTH];
        let mut total: Row = [0.0; WIDTH];
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        for first in (0..EIGHTS).step_by(BLOCKS) {
            let mut open = [one; BLOCKS];
            let mut run = [zero; BLOCKS];
            let mut all = [zero; BLOCKS];
            for row in self.0.iter().rev() {
                for b in 0..BLOCKS {
                    let null = V::load(row, first + b).is_nan();
                    open[b] = V::select(null, zero, open[b]);
                    run[b] = run[b].add(open[b]);
                    all[b] = V::select(null, all[b], all[b].add(one));
                }
            }
            for b in 0..BLOCKS {
                run[b].store(&mut trailing, first + b);
                all[b].store(&mut total, first + b);
            }
        }
        (trailing == total).then(|| trailing.map(|t| t as u32))
    }
}

fn evaluate<R: Recurrence>(
    isa: Isa,
    recurrence: R,
    input: &[Row],
    values: Option<&[u32; WIDTH]>,
    out: &mut [Row],
) {
    let found;
    let values = match values {
        Some(values) => Some(values),
        None => {
            found = isa.run(Trailing(input));
            found.as_ref()
        }
    };
    match values {
        Some(values) => isa.run(Dense { recurrence, input, values, out }),
        None => isa.run(Masked { recurrence, input, out }),
    }
}

/// A recursive function over all rows of `input`; `out` takes the last of them. `values` is how many values each
/// lane has where it is known that they stand without a null up to the last row.
pub(crate) fn recursive(
    isa: Isa,
    op: Recursive,
    n: u32,
    input: &[Row],
    values: Option<&[u32; WIDTH]>,
    out: &mut [Row],
) {
    match op {
        Recursive::Ema | Recursive::Rma => {
            evaluate(isa, Smooth { n, alpha: op.alpha(n), skip: 0 }, input, values, out);
        }
        Recursive::Late(skip) => {
            evaluate(isa, Smooth { n, alpha: op.alpha(n), skip }, input, values, out);
        }
        Recursive::WilderSum => {
            evaluate(isa, WilderSum { n, keep: recurrence::wilder_keep(n) }, input, values, out);
        }
        Recursive::Total => evaluate(isa, Total, input, values, out),
        Recursive::Rsi => {
            evaluate(isa, Strength { n, keep: recurrence::wilder_keep(n) }, input, values, out);
        }
    }
}
