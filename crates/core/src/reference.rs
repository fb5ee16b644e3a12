//! Compute, plain, slow and trusted: every node's whole series, symbol by symbol, straight from the definitions.
//! Other backends are compared with it. Not here: anything for speed.

use std::collections::HashMap;

use crate::attribute::attribute_column;
use crate::bar::Field;
use crate::calendar::Calendar;
use crate::history::{HistoryJob, SessionRows, one_by_one};
use crate::panel::SeriesBars;
use crate::plan::{Against, Cross, Node, NodeId, Op, Pair, Plan, Recursive, Shape, Stage, Window};
use crate::port::{Compute, ComputeError, ScanJob, SeriesJob};
use crate::rank::{RankedRows, select};
use crate::resample::{View, from_days};
use crate::scalar;
use crate::scan::{BarSelection, SessionHours};
use crate::symbol::SymbolId;
use crate::time::{SessionDate, Timestamp};

/// The backend that others are compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference;

/// One value per bar; `None` is null.
pub type Values = Vec<Option<f64>>;

impl Compute for Reference {
    fn describe(&self) -> String {
        "reference".to_owned()
    }

    fn history(&self, job: &HistoryJob<'_>) -> Result<Vec<SessionRows>, ComputeError> {
        one_by_one(self, job)
    }

    fn scan(&self, job: &ScanJob<'_>) -> Result<RankedRows, ComputeError> {
        let (plan, snapshot) = (job.plan, job.snapshot);
        let count = snapshot.universe.len();
        let Some(panel) = snapshot.panel(plan.adjustment) else {
            return Err(ComputeError::NoPanel { what: format!("{:?}", plan.adjustment) });
        };
        let attributes: HashMap<usize, Vec<f64>> = (0..plan.nodes.len())
            .filter(|i| plan.nodes[*i].stage == Stage::Attribute)
            .filter_map(|i| u32::try_from(i).ok().map(NodeId))
            .map(|id| (id.index(), attribute_column(plan, id, snapshot)))
            .collect();
        let mut columns: Vec<Vec<f64>> = vec![vec![f64::NAN; count]; plan.nodes.len()];
        let always = (SessionDate::from_days(i32::MIN), SessionDate::from_days(i32::MAX));
        let other = |symbol: &str| {
            let found = snapshot.universe.find(symbol);
            found.map(|id| panel.series(id, always.0, always.1)).unwrap_or_default()
        };
        for id in job.population.ids() {
            if job.cancel.is_cancelled() {
                return Err(ComputeError::Cancelled);
            }
            let bars = panel.series(id, always.0, always.1);
            let known = |node: usize| attributes.get(&node).map_or(f64::NAN, |column| column[id.index()]);
            let values = evaluate_beside(plan, &bars, &known, &other, snapshot.newest());
            for (column, values) in columns.iter_mut().zip(&values) {
                column[id.index()] = values.last().copied().flatten().unwrap_or(f64::NAN);
            }
        }
        for (at, node) in plan.nodes.iter().enumerate() {
            let value = |k: usize, id: usize| columns[node.inputs[k].index()][id];
            let column: Vec<f64> = match (&node.op, node.stage) {
                (Op::Cross(op, by), _) => {
                    let condition = |id: usize| node.inputs.len() < 2 || value(1, id) == 1.0;
                    let member = |id: &SymbolId| condition(id.index()) && !value(0, id.index()).is_nan();
                    let group = |id: SymbolId| -> Option<Vec<_>> {
                        by.iter().map(|a| snapshot.universe.text(*a).get(id).cloned()).collect()
                    };
                    let members: Vec<_> = job
                        .population
                        .ids()
                        .filter(member)
                        .filter_map(|id| group(id).map(|g| (id, g, value(0, id.index()))))
                        .collect();
                    let mut column = vec![f64::NAN; count];
                    for (id, own, x) in &members {
                        let alike: Vec<f64> =
                            members.iter().filter(|(_, g, _)| g == own).map(|(_, _, x)| *x).collect();
                        column[id.index()] = scalar::finite(cross(*op, *x, &alike));
                    }
                    column
                }
                (Op::Unary(op), Stage::Scalar) => {
                    (0..count).map(|id| scalar::unary(*op, value(0, id))).collect()
                }
                (Op::Binary(op), Stage::Scalar) => {
                    (0..count).map(|id| scalar::binary(*op, value(0, id), value(1, id))).collect()
                }
                (Op::Round(digits), Stage::Scalar) => {
                    (0..count).map(|id| scalar::round(*digits, value(0, id))).collect()
                }
                (Op::If, Stage::Scalar) => {
                    (0..count).map(|id| scalar::choose(value(0, id), value(1, id), value(2, id))).collect()
                }
                _ => continue,
            };
            columns[at] = column;
        }
        let column = |id: NodeId| columns[id.index()].as_slice();
        Ok(select(plan, snapshot, job.population, job.skip, &column))
    }

    fn series(&self, job: &SeriesJob<'_>) -> Result<Vec<Vec<f64>>, ComputeError> {
        let plan = job.plan;
        let bars = SeriesBars { sessions: Vec::new(), columns: job.bars.clone() };
        let rows = job.bars[Field::Close.index()].len();
        let mut values: Vec<Values> = Vec::with_capacity(plan.nodes.len());
        for (at, node) in plan.nodes.iter().enumerate() {
            if job.cancel.is_cancelled() {
                return Err(ComputeError::Cancelled);
            }
            let column = |column: &[f64]| column.iter().map(|v| some(*v)).collect();
            let result = match &node.op {
                Op::Constant(value) => vec![some(*value)],
                _ if node.is_given() => vec![some((job.given)(node_id(at)))],
                Op::Longer(_, field) => column(&job.bars[field.index()]),
                Op::Benchmark(symbol, field) => column(&(job.beside)(symbol, *field)),
                _ => {
                    let inputs: Vec<(&Node, &Values)> =
                        node.inputs.iter().map(|id| (plan.node(*id), &values[id.index()])).collect();
                    series_node(node, &inputs, &bars, rows)
                }
            };
            values.push(result);
        }
        Ok(job.nodes.iter().map(|id| values[id.index()].iter().map(|v| null(*v)).collect()).collect())
    }
}

fn node_id(at: usize) -> NodeId {
    NodeId(u32::try_from(at).unwrap_or(u32::MAX))
}

/// A function over the values of a group for one of them.
fn cross(op: Cross, x: f64, group: &[f64]) -> f64 {
    let count = group.len() as f64;
    let mean = group.iter().sum::<f64>() / count;
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    let median = |values: Vec<f64>| {
        let values = sorted(values);
        (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
    };
    let below = group.iter().filter(|v| **v < x).count() as f64;
    let equal = group.iter().filter(|v| **v == x).count() as f64;
    let percentile = 100.0 * (below + (equal + 1.0) / 2.0 - 0.5) / count;
    match op {
        Cross::Rank => 1.0 + group.iter().filter(|v| **v > x).count() as f64,
        Cross::Percentile => percentile,
        Cross::ZScore if equal == count => f64::NAN,
        Cross::ZScore => {
            let variance = group.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            (x - mean) / variance.sqrt()
        }
        Cross::RobustZScore { clip } => {
            let middle = median(group.to_vec());
            let spread = median(group.iter().map(|v| (v - middle).abs()).collect());
            let score = scalar::finite((x - middle) / (1.4826 * spread));
            if clip > 0.0 && !score.is_nan() { score.clamp(-clip, clip) } else { score }
        }
        Cross::Winsorize { lo, hi } => {
            let sorted = sorted(group.to_vec());
            let (low, high) = ((lo * count).floor() as usize, (hi * count).ceil() as usize);
            x.max(sorted[low.min(sorted.len() - 1)]).min(sorted[high.max(1) - 1])
        }
        Cross::Demean => x - mean,
        Cross::Bucket(n) => (1.0 + (percentile * f64::from(n) / 100.0).floor()).min(f64::from(n)),
        Cross::Mean => mean,
        Cross::Median => median(group.to_vec()),
        Cross::Sum => group.iter().sum(),
        Cross::Count => count,
    }
}

/// Every node's values for one symbol: one per bar for a series, one for anything else. `attribute` gives the value
/// of a node of stage attribute. What looks across symbols is null, and so is every benchmark.
#[must_use]
pub fn evaluate(plan: &Plan, bars: &SeriesBars, attribute: &dyn Fn(usize) -> f64) -> Vec<Values> {
    evaluate_beside(plan, bars, attribute, &|_| SeriesBars::default(), bars.sessions.last().copied())
}

/// The same with the bars of other symbols, by ticker, for what compares with a benchmark, and the newest session of
/// all, which says what has ended.
#[must_use]
pub fn evaluate_beside(
    plan: &Plan,
    bars: &SeriesBars,
    attribute: &dyn Fn(usize) -> f64,
    other: &dyn Fn(&str) -> SeriesBars,
    newest: Option<SessionDate>,
) -> Vec<Values> {
    let length = bars.sessions.len();
    let mut values: Vec<Values> = Vec::with_capacity(plan.nodes.len());
    for (i, node) in plan.nodes.iter().enumerate() {
        let result = if node.stage == Stage::Attribute {
            vec![some(attribute(i))]
        } else if let Op::Benchmark(symbol, field) = &node.op {
            let theirs = other(symbol);
            let at = |session| theirs.sessions.binary_search(session).ok();
            let value = |session| at(session).and_then(|row| some(theirs.columns[field.index()][row]));
            bars.sessions.iter().map(value).collect()
        } else if let Op::Longer(longer, field) = &node.op {
            let (selection, until) = match newest.filter(|_| longer.closed) {
                Some(newest) => (BarSelection::ClosedOnly, Calendar::us_equities().close(newest)),
                None => (BarSelection::IncludeForming, Timestamp::from_nanos(i64::MAX)),
            };
            let view = View { hours: SessionHours::Regular, selection, until };
            let joined = from_days(bars.clone(), longer.timeframe, view);
            joined.column(*field).iter().map(|v| some(*v)).collect()
        } else {
            let inputs: Vec<(&Node, &Values)> =
                node.inputs.iter().map(|id| (plan.node(*id), &values[id.index()])).collect();
            let series = inputs.iter().filter(|(below, _)| below.shape == Shape::Series);
            let rows = series.map(|(_, values)| values.len()).max().unwrap_or(length);
            series_node(node, &inputs, bars, rows)
        };
        values.push(result);
    }
    values
}

fn some(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

fn null(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

fn series_node(node: &Node, inputs: &[(&Node, &Values)], bars: &SeriesBars, length: usize) -> Values {
    let rows = if node.shape == Shape::Series { length } else { 1 };
    // At row `t` of the result: the same row of a series; for one value per symbol the last row.
    let at = |input: usize, t: usize| -> f64 {
        let (below, values) = inputs[input];
        null(match (below.shape, node.shape) {
            (Shape::Series, Shape::Series) => values.get(t).copied().flatten(),
            _ => values.last().copied().flatten(),
        })
    };
    match &node.op {
        Op::Field(field) => bars.columns[field.index()].iter().map(|v| some(*v)).collect(),
        Op::Unary(op) => (0..rows).map(|t| some(scalar::unary(*op, at(0, t)))).collect(),
        Op::Binary(op) => (0..rows).map(|t| some(scalar::binary(*op, at(0, t), at(1, t)))).collect(),
        Op::Round(digits) => (0..rows).map(|t| some(scalar::round(*digits, at(0, t)))).collect(),
        Op::If => (0..rows).map(|t| some(scalar::choose(at(0, t), at(1, t), at(2, t)))).collect(),
        Op::Lag(k) => lag(inputs[0].1, *k as usize),
        Op::Window(op, n) => window(*op, inputs[0].1, *n as usize),
        Op::Quantile(q, n) => quantile(*q, inputs[0].1, *n as usize),
        Op::Pair(op, n) => pair(*op, inputs[0].1, inputs[1].1, *n as usize),
        Op::Recursive(op, n) => recursive(*op, inputs[0].1, *n as usize),
        Op::Against(op, n) => against(*op, inputs[0].1, inputs[1].1, *n as usize),
        Op::At(_) => vec![some(at(0, 0))],
        Op::Constant(_)
        | Op::Longer(..)
        | Op::Benchmark(..)
        | Op::Cross(..)
        | Op::Attribute(_)
        | Op::Text(_)
        | Op::TextIn(..)
        | Op::TextContains(..)
        | Op::TextStartsWith(..)
        | Op::TextIsNull(_)
        | Op::InUniverse(_) => vec![None; rows],
    }
}

/// The value `k` bars earlier.
#[must_use]
pub fn lag(x: &[Option<f64>], k: usize) -> Values {
    (0..x.len()).map(|t| t.checked_sub(k).and_then(|t| x[t])).collect()
}

/// A function of the last `n` values; null if one of them is, or there are fewer, unless it takes what there is.
#[must_use]
pub fn window(op: Window, x: &[Option<f64>], n: usize) -> Values {
    let value = |t: usize| {
        if op.is_partial() {
            let from = (t + 1).saturating_sub(n);
            x[t]?;
            let there: Vec<f64> = x[from..=t].iter().copied().flatten().collect();
            return some(scalar::finite(partial(op, &there)));
        }
        let from = (t + 1).checked_sub(n)?;
        let last: Vec<f64> = x[from..=t].iter().copied().collect::<Option<_>>()?;
        some(scalar::finite(whole(op, &last)))
    };
    (0..x.len()).map(value).collect()
}

/// A function of values of which the last is the newest.
fn whole(op: Window, last: &[f64]) -> f64 {
    let length = last.len() as f64;
    let sum: f64 = last.iter().sum();
    let variance = || last.iter().map(|v| (v - sum / length).powi(2)).sum::<f64>() / length;
    let highest = || last.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lowest = || last.iter().copied().fold(f64::INFINITY, f64::min);
    let since = |value: f64| last.iter().rev().position(|v| *v == value).map_or(f64::NAN, |at| at as f64);
    match op {
        Window::Sum => sum,
        Window::Mean => sum / length,
        Window::Variance => variance(),
        Window::StdDev => variance().sqrt(),
        Window::Highest => highest(),
        Window::Lowest => lowest(),
        Window::Weighted => {
            let weighted: f64 = last.iter().zip(1..).map(|(v, k)| f64::from(k) * v).sum();
            weighted / (length * (length + 1.0) / 2.0)
        }
        Window::MeanDeviation => last.iter().map(|v| (v - sum / length).abs()).sum::<f64>() / length,
        Window::HighestAgo => since(highest()),
        Window::LowestAgo => since(lowest()),
        Window::Slope | Window::Fit => {
            let times: Vec<f64> = (0..last.len()).map(|t| t as f64).collect();
            let (both, time, own) = moments(&times, last);
            if op == Window::Slope { both / time } else { both * both / (time * own) }
        }
        Window::Rank => {
            let newest = last[last.len() - 1];
            let below = last.iter().filter(|v| **v < newest).count() as f64;
            let equal = last.iter().filter(|v| **v == newest).count() as f64;
            100.0 * (below + (equal + 1.0) / 2.0 - 0.5) / length
        }
        Window::Peak | Window::Trough | Window::Fall => partial(op, last),
    }
}

/// A function of as many values as there are.
fn partial(op: Window, there: &[f64]) -> f64 {
    match op {
        Window::Trough => there.iter().copied().fold(f64::INFINITY, f64::min),
        Window::Fall => {
            let top = |t: usize| there[..=t].iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (0..there.len()).map(|t| there[t] / top(t)).fold(f64::INFINITY, f64::min)
        }
        _ => there.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Sums of products of distances from the means: of both, of the first with itself, of the second with itself.
/// Distances are taken from the first value first, so that what does not vary gives exactly 0.
fn moments(x: &[f64], y: &[f64]) -> (f64, f64, f64) {
    let length = x.len() as f64;
    let centred = |values: &[f64]| -> Vec<f64> {
        let mean = values.iter().map(|v| v - values[0]).sum::<f64>() / length;
        values.iter().map(|v| (v - values[0]) - mean).collect()
    };
    let (x, y) = (centred(x), centred(y));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    (product(&x, &y), product(&x, &x), product(&y, &y))
}

/// A function of the last `n` values of both; null if one of them is, or there are fewer.
#[must_use]
pub fn pair(op: Pair, x: &[Option<f64>], y: &[Option<f64>], n: usize) -> Values {
    let value = |t: usize| {
        let from = (t + 1).checked_sub(n)?;
        let last = |values: &[Option<f64>]| values[from..=t].iter().copied().collect::<Option<Vec<f64>>>();
        let (both, first, second) = moments(&last(x)?, &last(y)?);
        some(scalar::finite(match op {
            Pair::Covariance => both / n as f64,
            Pair::Correlation => correlation(both, first, second),
        }))
    };
    (0..x.len()).map(value).collect()
}

/// Pearson's, from sums of products; null where one of the two does not vary.
fn correlation(both: f64, first: f64, second: f64) -> f64 {
    (both / (first.sqrt() * second.sqrt())).clamp(-1.0, 1.0)
}

/// The share `q` between the sorted last `n` values.
#[must_use]
pub fn quantile(q: f64, x: &[Option<f64>], n: usize) -> Values {
    let value = |t: usize| {
        let from = (t + 1).checked_sub(n)?;
        let mut last: Vec<f64> = x[from..=t].iter().copied().collect::<Option<_>>()?;
        last.sort_by(f64::total_cmp);
        let position = q * (n - 1) as f64;
        let below = last[position.floor() as usize];
        let above = last[position.ceil() as usize];
        some(scalar::finite(below + (position - position.floor()) * (above - below)))
    };
    (0..x.len()).map(value).collect()
}

/// A price against the benchmark's over the last `n` + 1 bars that have both; null where this bar lacks one.
#[must_use]
pub fn against(op: Against, x: &[Option<f64>], benchmark: &[Option<f64>], n: usize) -> Values {
    let value = |t: usize| {
        x[t].and(benchmark[t])?;
        let both: Vec<(f64, f64)> =
            (0..=t).rev().filter_map(|t| x[t].zip(benchmark[t])).take(n + 1).collect();
        if both.len() < n + 1 {
            return None;
        }
        let (newest, oldest) = (both[0], both[n]);
        if op == Against::Excess {
            let change = |to: f64, from: f64| 100.0 * (to / from - 1.0);
            return some(scalar::finite(change(newest.0, oldest.0) - change(newest.1, oldest.1)));
        }
        let own: Vec<f64> = both.windows(2).map(|w| w[0].0 / w[1].0 - 1.0).rev().collect();
        let theirs: Vec<f64> = both.windows(2).map(|w| w[0].1 / w[1].1 - 1.0).rev().collect();
        let (products, first, second) = moments(&own, &theirs);
        some(scalar::finite(match op {
            Against::Beta => products / second,
            _ => correlation(products, first, second),
        }))
    };
    (0..x.len()).map(value).collect()
}

/// A function of all values so far. Nulls give null and leave the state as it was, before the seed as after it.
#[must_use]
pub fn recursive(op: Recursive, x: &[Option<f64>], n: usize) -> Values {
    match op {
        Recursive::Ema | Recursive::Rma => {
            let alpha = op.alpha(u32::try_from(n).unwrap_or(u32::MAX));
            smooth(x, n, |state, value| state + alpha * (value - state))
        }
        Recursive::Late(skip) => {
            let mut left = skip;
            let late: Vec<Option<f64>> = x
                .iter()
                .map(|value| {
                    let skipped = value.is_some() && left > 0;
                    left -= u32::from(skipped);
                    value.filter(|_| !skipped)
                })
                .collect();
            recursive(Recursive::Ema, &late, n)
        }
        Recursive::WilderSum => {
            let (mut seen, mut sum) = (0, 0.0);
            let mut step = |value: f64| {
                seen += 1;
                sum = if seen < n { sum + value } else { sum - sum / n as f64 + value };
                (seen >= n).then_some(sum)
            };
            x.iter().map(|value| value.and_then(&mut step).and_then(|s| some(scalar::finite(s)))).collect()
        }
        Recursive::Total => {
            let mut sum = 0.0;
            let mut step = |value: f64| {
                sum += value;
                some(scalar::finite(sum))
            };
            x.iter().map(|value| value.and_then(&mut step)).collect()
        }
        Recursive::Rsi => {
            // Gains and losses from one non-null value to the next; the first value has neither.
            let mut before = None;
            let (mut gains, mut losses) = (vec![None; x.len()], vec![None; x.len()]);
            for (t, value) in x.iter().enumerate() {
                if let (Some(before), Some(value)) = (before, value) {
                    let step: f64 = value - before;
                    gains[t] = Some(step.max(0.0));
                    losses[t] = Some((-step).max(0.0));
                }
                before = value.or(before);
            }
            let length = n as f64;
            let wilder = |state: f64, value: f64| (state * (length - 1.0) + value) / length;
            let ratio = |(gain, loss): (Option<f64>, Option<f64>)| {
                let (gain, loss) = (gain?, loss?);
                let total = gain + loss;
                some(if total == 0.0 { 0.0 } else { scalar::finite(100.0 * gain / total) })
            };
            smooth(&gains, n, wilder).into_iter().zip(smooth(&losses, n, wilder)).map(ratio).collect()
        }
    }
}

/// Seeds with the mean of the first `n` values, then steps.
fn smooth(x: &[Option<f64>], n: usize, step: impl Fn(f64, f64) -> f64) -> Values {
    let mut seed: Vec<f64> = Vec::with_capacity(n);
    let mut state = None;
    let mut out = Vec::with_capacity(x.len());
    for value in x {
        let result = value.and_then(|value| {
            state = match state {
                Some(before) => Some(step(before, value)),
                None => {
                    seed.push(value);
                    (seed.len() == n).then(|| seed.iter().sum::<f64>() / n as f64)
                }
            };
            state.and_then(|s| some(scalar::finite(s)))
        });
        out.push(result);
    }
    out
}
