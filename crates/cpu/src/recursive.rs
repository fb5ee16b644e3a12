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

/// Rows that are asked for ahead of the one that is stepped to.
const AHEAD: usize = 10;

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
        [V::splat(self.alpha).mul_add(x.sub(state[0]), state[0]), state[1]]
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
        [state[0].mul_add(keep, change), state[1].mul_add(keep, change.abs())]
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
        [sums[0].mul_add(V::splat(self.keep), sums[1]), V::splat(0.0)]
    }

    #[inline(always)]
    fn step<V: Vector>(self, state: [V; 2], _: V, x: V) -> [V; 2] {
        [state[0].mul_add(V::splat(self.keep), x), state[1]]
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

/// The state of every lane of a tile between two kernels.
type States = [Row; 2];

/// Rows in which every lane steps alike and no result is wanted: all that most of the time goes into, so it is a
/// kernel of its own, in which nothing but the state is kept in registers.
struct Steps<'a, R> {
    recurrence: R,
    /// The first row is only the one before the others.
    input: &'a [Row],
    states: &'a mut States,
}

impl<R: Recurrence> Kernel for Steps<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self { recurrence, input, states } = self;
        for first in (0..EIGHTS).step_by(BLOCKS) {
            let mut state = loaded::<V, BLOCKS>(states, first);
            let mut pairs = input.windows(2);
            for (later, pair) in input.iter().skip(AHEAD).zip(pairs.by_ref()) {
                prefetch(later, first, BLOCKS);
                state = stepped::<R, V, BLOCKS>(recurrence, state, pair, first);
            }
            for pair in pairs {
                state = stepped::<R, V, BLOCKS>(recurrence, state, pair, first);
            }
            stored(state, states, first);
        }
    }
}

#[inline(always)]
fn loaded<V: Vector, const BLOCKS: usize>(states: &States, first: usize) -> [[V; 2]; BLOCKS] {
    let mut state = [[V::splat(0.0); 2]; BLOCKS];
    for (b, state) in state.iter_mut().enumerate() {
        *state = [V::load(&states[0], first + b), V::load(&states[1], first + b)];
    }
    state
}

#[inline(always)]
fn stored<V: Vector, const BLOCKS: usize>(state: [[V; 2]; BLOCKS], states: &mut States, first: usize) {
    for (b, [one, two]) in state.into_iter().enumerate() {
        one.store(&mut states[0], first + b);
        two.store(&mut states[1], first + b);
    }
}

/// The states after one more row; `pair` is the one before it and it.
#[inline(always)]
fn stepped<R: Recurrence, V: Vector, const BLOCKS: usize>(
    recurrence: R,
    mut state: [[V; 2]; BLOCKS],
    pair: &[Row],
    first: usize,
) -> [[V; 2]; BLOCKS] {
    for (b, state) in state.iter_mut().enumerate() {
        let (previous, x) = (V::load(&pair[0], first + b), V::load(&pair[1], first + b));
        *state = recurrence.step(*state, previous, x);
    }
    state
}

/// Steps, each of which gives a row of results.
struct Shown<'a, R> {
    recurrence: R,
    /// The first row is only the one before the others.
    input: &'a [Row],
    states: &'a mut States,
    /// As many rows as are stepped over.
    out: &'a mut [Row],
}

impl<R: Recurrence> Kernel for Shown<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self { recurrence, input, states, out } = self;
        for first in (0..EIGHTS).step_by(BLOCKS) {
            let mut state = loaded::<V, BLOCKS>(states, first);
            for (pair, out) in input.windows(2).zip(out.iter_mut()) {
                state = stepped::<R, V, BLOCKS>(recurrence, state, pair, first);
                for (b, state) in state.iter().enumerate() {
                    recurrence.value(*state).store(out, first + b);
                }
            }
            stored(state, states, first);
        }
    }
}

/// The states that exactly these rows seed, taken over by the lanes of one length.
struct Seed<'a, R> {
    recurrence: R,
    window: &'a [Row],
    /// 1 for the lanes that take it, else 0.
    taken: &'a Row,
    states: &'a mut States,
    /// The row of results that belongs to the last of the rows, if it is wanted.
    out: Option<&'a mut Row>,
}

impl<R: Recurrence> Kernel for Seed<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self { recurrence, window, taken, states, out } = self;
        let mut seeded = [[V::splat(0.0); 2]; EIGHTS];
        for (i, row) in window.iter().enumerate().skip(recurrence.skips()) {
            for (at, seeded) in seeded.iter_mut().enumerate() {
                let previous = V::load(&window[i.saturating_sub(1)], at);
                *seeded = recurrence.gather(*seeded, previous, V::load(row, at));
            }
        }
        let mut kept = loaded::<V, EIGHTS>(states, 0);
        for (at, (kept, seeded)) in kept.iter_mut().zip(seeded).enumerate() {
            let now = V::splat(0.0).less(V::load(taken, at));
            let seeded = recurrence.seed(seeded);
            *kept = [V::select(now, seeded[0], kept[0]), V::select(now, seeded[1], kept[1])];
        }
        stored(kept, states, 0);
        if let Some(out) = out {
            for (at, kept) in kept.into_iter().enumerate() {
                recurrence.value(kept).store(out, at);
            }
        }
    }
}

/// The longest of the lanes that are shorter than `bound`: lanes as long as one another warm up together. Without
/// branches, so that all lanes are looked at at once.
fn longest_below(values: &[u32; WIDTH], bound: u32) -> u32 {
    values.iter().fold(0, |longest, value| longest.max(if *value < bound { *value } else { 0 }))
}

/// All lanes alike but for where their warm-up ends. `values` is how many values each lane has; they end at the last
/// row.
fn dense<R: Recurrence>(isa: Isa, recurrence: R, input: &[Row], values: &[u32; WIDTH], out: &mut [Row]) {
    let (rows, span) = (input.len(), recurrence.span());
    // Row of the tile that the first result belongs to.
    let shown = rows - out.len();
    let mut states: States = [[0.0; WIDTH]; 2];
    let mut length = longest_below(values, u32::MAX);
    // The last row that is done; nothing before the longest lane's seed has to be.
    let mut done: Option<usize> = None;
    let walk = |from: usize, to: usize, states: &mut States, out: &mut [Row]| {
        let quiet = to.min(shown.max(from + 1) - 1);
        if from < quiet {
            isa.run(Steps { recurrence, input: &input[from..=quiet], states });
        }
        let from = quiet.max(from);
        if from < to {
            let out = &mut out[from + 1 - shown..];
            isa.run(Shown { recurrence, input: &input[from..=to], states, out });
        }
    };
    while length as usize >= span {
        let next = rows - length as usize + span - 1;
        if let Some(done) = done {
            walk(done, next, &mut states, out);
        }
        let taken = values.map(|value| if value == length { 1.0 } else { 0.0 });
        let window = &input[next + 1 - span..=next];
        let row = next.checked_sub(shown).map(|at| &mut out[at]);
        isa.run(Seed { recurrence, window, taken: &taken, states: &mut states, out: row });
        done = Some(next);
        length = longest_below(values, length);
    }
    if let Some(done) = done {
        walk(done, rows - 1, &mut states, out);
    }
    let shortest = values.iter().fold(u32::MAX, |shortest, value| shortest.min(*value)) as usize;
    if shortest >= rows - shown + span - 1 {
        return;
    }
    for (lane, values) in values.iter().enumerate() {
        // Above a lane's first bar, and while it warms up, there is no value.
        let first = (*values as usize).checked_sub(span).map_or(rows, |later| rows - later - 1);
        for row in &mut out[..first.saturating_sub(shown)] {
            row[lane] = f64::NAN;
        }
    }
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
        Some(values) => dense(isa, recurrence, input, values, out),
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
