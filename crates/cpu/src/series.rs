//! Whole series of one symbol with the kernels of the tiles, so that the last value has the bits of a scan.
//!
//! Time takes the place of the lanes: 32 bars in a row are one row of lanes. What is element-wise runs on a column cut
//! into such rows; a window of n bars runs on n rows, each the column one bar later than the row before. What depends
//! on every earlier bar runs bar by bar with the steps of [`panscan_core::recurrence`].

use panscan_core::bar::Field;
use panscan_core::block::WIDTH;
use panscan_core::plan::{Against, NodeId, Op, Pair, Plan, Recursive, Shape, Window};
use panscan_core::port::{ComputeError, SeriesJob};
use panscan_core::recurrence;

use crate::lanes::{Line, Row, View, finite, grow, rows, rows_mut};
use crate::simd::Isa;
use crate::{beside, element, window};

/// Values of a node: as many as there are bars, or one.
struct Column {
    lines: Vec<Line>,
    len: usize,
    /// The one value stands for all.
    single: bool,
}

impl Column {
    fn one(value: f64) -> Self {
        let mut lines = Vec::new();
        grow(&mut lines, 1);
        rows_mut(&mut lines)[0] = [value; WIDTH];
        Self { lines, len: 1, single: true }
    }

    fn empty(len: usize) -> Self {
        let mut lines = Vec::new();
        grow(&mut lines, len.div_ceil(WIDTH));
        Self { lines, len, single: false }
    }

    fn of(values: &[f64]) -> Self {
        let mut column = Self::empty(values.len());
        column.values_mut().copy_from_slice(values);
        column
    }

    fn values(&self) -> &[f64] {
        &rows(&self.lines).as_flattened()[..self.len]
    }

    fn values_mut(&mut self) -> &mut [f64] {
        &mut rows_mut(&mut self.lines).as_flattened_mut()[..self.len]
    }

    fn view(&self) -> View<'_> {
        View { rows: rows(&self.lines), step: usize::from(!self.single) }
    }
}

/// The series of the job's nodes.
pub(crate) fn run(isa: Isa, job: &SeriesJob<'_>) -> Result<Vec<Vec<f64>>, ComputeError> {
    let plan = job.plan;
    let bars = job.bars[Field::Close.index()].len();
    let mut last = last_readers(plan, job.nodes);
    let mut columns: Vec<Option<Column>> = std::iter::repeat_with(|| None).take(plan.nodes.len()).collect();
    for at in 0..plan.nodes.len() {
        if last[at].is_none() {
            continue;
        }
        if job.cancel.is_cancelled() {
            return Err(ComputeError::Cancelled);
        }
        columns[at] = Some(column(isa, job, at, bars, &columns)?);
        // What nobody reads any more makes room.
        for input in &plan.nodes[at].inputs {
            if last[input.index()] == Some(at) {
                columns[input.index()] = None;
                last[input.index()] = None;
            }
        }
    }
    let values = |node: &NodeId| {
        let values = columns[node.index()].as_ref().map(Column::values).unwrap_or_default();
        values.iter().map(|value| finite(*value)).collect()
    };
    Ok(job.nodes.iter().map(values).collect())
}

/// By which node each is read last, itself where it is asked for; `None` where nobody needs it.
fn last_readers(plan: &Plan, asked: &[NodeId]) -> Vec<Option<usize>> {
    let mut last: Vec<Option<usize>> = vec![None; plan.nodes.len()];
    for node in asked {
        last[node.index()] = Some(usize::MAX);
    }
    for at in (0..plan.nodes.len()).rev() {
        if last[at].is_some() && !is_given(plan, at) {
            for input in &plan.nodes[at].inputs {
                last[input.index()] = last[input.index()].or(Some(at));
            }
        }
    }
    last
}

fn is_given(plan: &Plan, at: usize) -> bool {
    plan.nodes[at].is_given()
}

fn column(
    isa: Isa,
    job: &SeriesJob<'_>,
    at: usize,
    bars: usize,
    columns: &[Option<Column>],
) -> Result<Column, ComputeError> {
    let node = &job.plan.nodes[at];
    if is_given(job.plan, at) {
        return Ok(Column::one((job.given)(NodeId(u32::try_from(at).unwrap_or(u32::MAX)))));
    }
    let unfit = |what: &str| ComputeError::Device {
        device: "cpu".to_owned(),
        message: format!("node {at} ({}) {what}", node.text),
    };
    let found = |id: &NodeId| columns[id.index()].as_ref();
    // One number per symbol is made of the last values.
    let reduced = |column: &Column| {
        let last = || Column::one(column.values().last().copied().unwrap_or(f64::NAN));
        (node.shape != Shape::Series && !column.single).then(last)
    };
    let last: Vec<Option<Column>> = node.inputs.iter().map(|id| found(id).and_then(reduced)).collect();
    let input = |k: usize| {
        let column = last.get(k).and_then(Option::as_ref);
        column.or_else(|| node.inputs.get(k).and_then(found)).ok_or_else(|| unfit("lacks an input"))
    };
    let series = |k: usize| match input(k) {
        Ok(column) if column.single => Err(unfit("needs a series")),
        found => found,
    };
    let mut out = if node.shape == Shape::Series { Column::empty(bars) } else { Column::one(f64::NAN) };
    let lanes = rows_mut(&mut out.lines);
    match &node.op {
        Op::Constant(value) => out = Column::one(*value),
        Op::Field(field) | Op::Longer(_, field) => out = Column::of(&job.bars[field.index()]),
        Op::Benchmark(symbol, field) => out = Column::of(&(job.beside)(symbol, *field)),
        Op::Unary(op) => element::unary(isa, *op, input(0)?.view(), lanes),
        Op::Binary(op) => element::binary(isa, *op, input(0)?.view(), input(1)?.view(), lanes),
        Op::Round(digits) => element::round(isa, *digits, input(0)?.view(), lanes),
        Op::If => element::choose(isa, input(0)?.view(), input(1)?.view(), input(2)?.view(), lanes),
        Op::Lag(k) => {
            let x = series(0)?.values();
            let shown = x.len().saturating_sub(*k as usize);
            let start = out.len - shown;
            out.values_mut()[start..].copy_from_slice(&x[..shown]);
        }
        Op::Window(op, n) => rolling(isa, *op, *n as usize, series(0)?.values(), lanes),
        Op::Quantile(q, n) => quantile(*q, *n as usize, series(0)?.values(), lanes),
        Op::Pair(op, n) => pair(isa, *op, *n as usize, series(0)?.values(), series(1)?.values(), lanes),
        Op::Recursive(op, n) => recursive(*op, *n, series(0)?.values(), out.values_mut()),
        Op::Against(op, n) => {
            against(*op, *n as usize, series(0)?.values(), series(1)?.values(), out.values_mut());
        }
        _ => return Err(unfit("is no number of one symbol")),
    }
    Ok(out)
}

/// The windows that end at 32 bars in a row, as rows: row j is the bar j of each window; null before the first bar.
fn slide(x: &[f64], block: usize, n: usize, lines: &mut Vec<Line>) {
    grow(lines, n);
    let first = block * WIDTH;
    for (j, row) in rows_mut(lines)[..n].iter_mut().enumerate() {
        // Lane l holds bar first + l + j + 1 - n.
        let missing = (n - 1).saturating_sub(first + j).min(WIDTH);
        row[..missing].fill(f64::NAN);
        let from = (first + missing + j + 1).saturating_sub(n);
        let there = x.len().saturating_sub(from).min(WIDTH - missing);
        row[missing..missing + there].copy_from_slice(&x[from..from + there]);
        row[missing + there..].fill(f64::NAN);
    }
}

fn rolling(isa: Isa, op: Window, n: usize, x: &[f64], out: &mut [Row]) {
    let mut lines = Vec::new();
    // No window reaches before the first bar: rows of nulls alone would only be folded.
    for (block, out) in out.iter_mut().enumerate() {
        let n = if op.is_partial() { n.min((block + 1) * WIDTH) } else { n };
        slide(x, block, n, &mut lines);
        window::window(isa, op, n, &rows(&lines)[..n], std::slice::from_mut(out));
    }
}

fn quantile(q: f64, n: usize, x: &[f64], out: &mut [Row]) {
    let mut lines = Vec::new();
    for (block, out) in out.iter_mut().enumerate() {
        slide(x, block, n, &mut lines);
        window::quantile(q, n, &rows(&lines)[..n], std::slice::from_mut(out));
    }
}

fn pair(isa: Isa, op: Pair, n: usize, x: &[f64], y: &[f64], out: &mut [Row]) {
    let (mut own, mut theirs) = (Vec::new(), Vec::new());
    for (block, out) in out.iter_mut().enumerate() {
        slide(x, block, n, &mut own);
        slide(y, block, n, &mut theirs);
        window::pair(isa, op, n, &rows(&own)[..n], &rows(&theirs)[..n], std::slice::from_mut(out));
    }
}

/// The last n + 1 bars that have both; null where this bar lacks one.
fn against(op: Against, n: usize, x: &[f64], benchmark: &[f64], out: &mut [f64]) {
    // Oldest first, as they come.
    let mut both: Vec<(f64, f64)> = Vec::new();
    let (mut newest_first, mut returns) = (Vec::with_capacity(n + 1), Vec::with_capacity(n));
    for ((x, benchmark), out) in x.iter().zip(benchmark).zip(out) {
        *out = f64::NAN;
        if x.is_nan() || benchmark.is_nan() {
            continue;
        }
        both.push((*x, *benchmark));
        if both.len() > n {
            newest_first.clear();
            newest_first.extend(both[both.len() - n - 1..].iter().rev());
            *out = beside::of_pairs(op, &newest_first, &mut returns);
        }
    }
}

/// A function of all values so far; a null gives null and leaves the state as it was.
fn recursive(op: Recursive, n: u32, x: &[f64], out: &mut [f64]) {
    let mut known = x.iter().zip(out).filter_map(|(x, out)| {
        *out = f64::NAN;
        (!x.is_nan()).then_some((*x, out))
    });
    let seed = n as usize;
    match op {
        Recursive::Ema | Recursive::Rma | Recursive::Late(_) => {
            let alpha = op.alpha(n);
            let skip = if let Recursive::Late(skip) = op { skip as usize } else { 0 };
            let (mut seen, mut state) = (0, 0.0);
            for (x, out) in known {
                seen += 1;
                if seen <= skip {
                    continue;
                }
                if seen <= skip + seed {
                    state += x;
                    if seen < skip + seed {
                        continue;
                    }
                    state = recurrence::mean_seed(state, n);
                } else {
                    state = recurrence::smooth(state, alpha, x);
                }
                *out = finite(state);
            }
        }
        Recursive::WilderSum => {
            let keep = recurrence::wilder_keep(n);
            let (mut seen, mut sum) = (0, 0.0);
            for (x, out) in known {
                seen += 1;
                if seen < seed {
                    sum += x;
                    continue;
                }
                sum = recurrence::wilder_sum(sum, keep, x);
                *out = finite(sum);
            }
        }
        Recursive::Total => {
            let mut sum = 0.0;
            for (x, out) in known {
                sum += x;
                *out = finite(sum);
            }
        }
        Recursive::Rsi => {
            let keep = recurrence::wilder_keep(n);
            let (mut seen, mut changes, mut sizes) = (0, 0.0, 0.0);
            let Some((mut previous, _)) = known.next() else { return };
            for (x, out) in known {
                let change: f64 = x - previous;
                previous = x;
                seen += 1;
                if seen <= seed {
                    changes += change;
                    sizes += change.abs();
                    if seen < seed {
                        continue;
                    }
                } else {
                    changes = recurrence::wilder_sum(changes, keep, change);
                    sizes = recurrence::wilder_sum(sizes, keep, change.abs());
                }
                *out = finite(recurrence::strength(changes, sizes));
            }
        }
    }
}
