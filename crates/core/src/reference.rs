//! Compute, plain, slow and trusted: every node's whole series, symbol by symbol, straight from the definitions.
//! Other backends are compared with it. Not here: anything for speed.

use std::collections::HashMap;

use crate::attribute::attribute_column;
use crate::panel::SeriesBars;
use crate::plan::{Node, NodeId, Op, Plan, Recursive, Shape, Stage, Window};
use crate::port::{Compute, ComputeError, ScanJob};
use crate::rank::{RankedRows, is_numeric, select};
use crate::scalar;
use crate::time::SessionDate;

/// The backend that others are compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference;

/// One value per bar; `None` is null.
pub type Values = Vec<Option<f64>>;

impl Compute for Reference {
    fn describe(&self) -> String {
        "reference".to_owned()
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
        let roots: Vec<NodeId> = plan.roots().into_iter().filter(|id| is_numeric(plan, *id)).collect();
        let mut columns: HashMap<NodeId, Vec<f64>> =
            roots.iter().map(|id| (*id, vec![f64::NAN; count])).collect();
        let always = (SessionDate::from_days(i32::MIN), SessionDate::from_days(i32::MAX));
        for id in job.population.ids() {
            if job.cancel.is_cancelled() {
                return Err(ComputeError::Cancelled);
            }
            let bars = panel.series(id, always.0, always.1);
            let known = |node: usize| attributes.get(&node).map_or(f64::NAN, |column| column[id.index()]);
            let values = evaluate(plan, &bars, &known);
            for root in &roots {
                if let Some(column) = columns.get_mut(root) {
                    column[id.index()] = values[root.index()].last().copied().flatten().unwrap_or(f64::NAN);
                }
            }
        }
        let none: &[f64] = &[];
        let column = |id: NodeId| columns.get(&id).map_or(none, Vec::as_slice);
        Ok(select(plan, snapshot, job.population, job.skip, &column))
    }
}

/// Every node's values for one symbol: one per bar for a series, one for anything else. `attribute` gives the value
/// of a node of stage attribute.
#[must_use]
pub fn evaluate(plan: &Plan, bars: &SeriesBars, attribute: &dyn Fn(usize) -> f64) -> Vec<Values> {
    let length = bars.sessions.len();
    let mut values: Vec<Values> = Vec::with_capacity(plan.nodes.len());
    for (i, node) in plan.nodes.iter().enumerate() {
        let result = if node.stage == Stage::Attribute {
            vec![some(attribute(i))]
        } else {
            let inputs: Vec<(&Node, &Values)> =
                node.inputs.iter().map(|id| (plan.node(*id), &values[id.index()])).collect();
            series_node(node, &inputs, bars, length)
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
        Op::Recursive(op, n) => recursive(*op, inputs[0].1, *n as usize),
        Op::Constant(_)
        | Op::Attribute(_)
        | Op::Text(_)
        | Op::TextIn(..)
        | Op::TextContains(..)
        | Op::TextStartsWith(..)
        | Op::TextIsNull(_) => vec![None; rows],
    }
}

/// The value `k` bars earlier.
#[must_use]
pub fn lag(x: &[Option<f64>], k: usize) -> Values {
    (0..x.len()).map(|t| t.checked_sub(k).and_then(|t| x[t])).collect()
}

/// A function of the last `n` values; null if one of them is, or there are fewer.
#[must_use]
pub fn window(op: Window, x: &[Option<f64>], n: usize) -> Values {
    let value = |t: usize| {
        let from = (t + 1).checked_sub(n)?;
        let last: Vec<f64> = x[from..=t].iter().copied().collect::<Option<_>>()?;
        let length = n as f64;
        let sum: f64 = last.iter().sum();
        let variance = || last.iter().map(|v| (v - sum / length).powi(2)).sum::<f64>() / length;
        some(scalar::finite(match op {
            Window::Sum => sum,
            Window::Mean => sum / length,
            Window::Variance => variance(),
            Window::StdDev => variance().sqrt(),
            Window::Highest => last.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Window::Lowest => last.iter().copied().fold(f64::INFINITY, f64::min),
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
