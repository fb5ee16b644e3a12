//! A plan's values at every bar of one symbol of a snapshot: which bars, attributes, longer bars and benchmark a
//! backend is given for it. Deliberately not here: the arithmetic ([`Compute::series`]), and bars that are in no
//! snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use crate::attribute::attribute_column;
use crate::panel::{Panel, SeriesBars};
use crate::plan::{NodeId, Op, Plan, Stage};
use crate::port::{Cancel, Compute, ComputeError, SeriesJob};
use crate::scalar;
use crate::snapshot::Snapshot;
use crate::symbol::SymbolId;
use crate::time::{SessionDate, Timeframe};

const ALWAYS: (SessionDate, SessionDate) =
    (SessionDate::from_days(i32::MIN), SessionDate::from_days(i32::MAX));

/// A plan over the resident bars of a snapshot, ready for any symbol.
#[derive(Debug)]
pub struct Resident<'a> {
    plan: &'a Plan,
    snapshot: &'a Snapshot,
    /// Days, out of which longer bars are made.
    days: Arc<Panel>,
    /// The plan's own bars.
    panel: Arc<Panel>,
    nodes: Vec<NodeId>,
    /// Nodes below those that come as one number per symbol, ascending.
    given: Vec<NodeId>,
    attributes: HashMap<NodeId, Vec<f64>>,
}

/// One symbol's bars and values.
#[derive(Debug, Clone, Default)]
pub struct SymbolValues {
    /// First session of each bar.
    pub sessions: Vec<SessionDate>,
    /// Per node that was asked for, one value per bar; NaN is null.
    pub columns: Vec<Vec<f64>>,
}

impl<'a> Resident<'a> {
    /// The plan's `nodes` over a snapshot's bars of the plan's timeframe and adjustment.
    ///
    /// # Errors
    ///
    /// [`ComputeError::NoPanel`] where the snapshot has none.
    pub fn new(plan: &'a Plan, snapshot: &'a Snapshot, nodes: &[NodeId]) -> Result<Self, ComputeError> {
        let none =
            || ComputeError::NoPanel { what: format!("{:?} adjusted {}", plan.adjustment, plan.timeframe) };
        let days = snapshot.panel(plan.adjustment).ok_or_else(none)?;
        let panel = match plan.timeframe {
            Timeframe::Day => days,
            longer => days.longer(longer, false).ok_or_else(none)?,
        };
        let given = given(plan, nodes);
        let attributes = given
            .iter()
            .filter(|node| plan.node(**node).stage == Stage::Attribute)
            .map(|node| (*node, attribute_column(plan, *node, snapshot)))
            .collect();
        Ok(Self {
            plan,
            snapshot,
            days: days.clone(),
            panel: panel.clone(),
            nodes: nodes.to_vec(),
            given,
            attributes,
        })
    }

    /// All bars of a symbol since history start, with the values of the nodes at each.
    ///
    /// # Errors
    ///
    /// Those of [`Compute::series`].
    pub fn of(
        &self,
        compute: &dyn Compute,
        id: SymbolId,
        cancel: &Cancel,
    ) -> Result<SymbolValues, ComputeError> {
        let bars = self.panel.series(id, ALWAYS.0, ALWAYS.1);
        let mut known: HashMap<NodeId, f64> = HashMap::new();
        for node in &self.given {
            let value = match &self.plan.node(*node).op {
                Op::At(longer) => {
                    let joined = self
                        .days
                        .longer(longer.timeframe, longer.closed)
                        .ok_or_else(|| ComputeError::NoPanel { what: longer.timeframe.to_string() })?;
                    let joined = joined.series(id, ALWAYS.0, ALWAYS.1);
                    let below = &self.plan.node(*node).inputs;
                    let values = self.run(compute, &joined, below, &known, cancel)?;
                    values.first().and_then(|values| values.last()).copied().unwrap_or(f64::NAN)
                }
                _ => self.attributes.get(node).map_or(f64::NAN, |column| column[id.index()]),
            };
            known.insert(*node, value);
        }
        let columns = self.run(compute, &bars, &self.nodes, &known, cancel)?;
        let rows = bars.sessions.len();
        Ok(SymbolValues { sessions: bars.sessions, columns: spread(columns, rows) })
    }

    fn run(
        &self,
        compute: &dyn Compute,
        bars: &SeriesBars,
        nodes: &[NodeId],
        known: &HashMap<NodeId, f64>,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f64>>, ComputeError> {
        compute.series(&SeriesJob {
            plan: self.plan,
            nodes,
            bars: &bars.columns,
            given: &|node| known.get(&node).copied().unwrap_or(f64::NAN),
            beside: &|symbol, field| {
                let theirs = self.snapshot.universe.find(symbol);
                let theirs = theirs.map(|id| self.panel.series(id, ALWAYS.0, ALWAYS.1)).unwrap_or_default();
                let value = |session: &SessionDate| {
                    let row = theirs.sessions.binary_search(session).ok();
                    row.map_or(f64::NAN, |row| theirs.columns[field.index()][row])
                };
                bars.sessions.iter().map(value).collect()
            },
            cancel,
        })
    }
}

/// Columns with a value at every one of `rows` bars: one number per symbol stands at each.
#[must_use]
pub fn spread(mut columns: Vec<Vec<f64>>, rows: usize) -> Vec<Vec<f64>> {
    for column in &mut columns {
        if column.len() != rows {
            *column = vec![column.last().copied().unwrap_or(f64::NAN); rows];
        }
    }
    columns
}

/// The nodes that come as one number per symbol and are read for `nodes`, ascending.
#[must_use]
pub fn given(plan: &Plan, nodes: &[NodeId]) -> Vec<NodeId> {
    let mut needed = vec![false; plan.nodes.len()];
    nodes.iter().for_each(|node| needed[node.index()] = true);
    let mut found = Vec::new();
    for (at, node) in plan.nodes.iter().enumerate().rev() {
        if !needed[at] {
            continue;
        }
        if node.is_given() {
            found.extend(u32::try_from(at).ok().map(NodeId));
        }
        if node.stage != Stage::Attribute {
            node.inputs.iter().for_each(|input| needed[input.index()] = true);
        }
    }
    found.reverse();
    found
}

/// The value of a node of stage attribute for a symbol of which nothing is known.
#[must_use]
pub fn of_stranger(plan: &Plan, node: NodeId) -> f64 {
    let asked = plan.node(node);
    let input = |k: usize| asked.inputs.get(k).map_or(f64::NAN, |id| of_stranger(plan, *id));
    match &asked.op {
        Op::Constant(value) => *value,
        Op::TextIsNull(_) => 1.0,
        Op::InUniverse(_) => 0.0,
        Op::Unary(op) => scalar::unary(*op, input(0)),
        Op::Binary(op) => scalar::binary(*op, input(0), input(1)),
        Op::Round(digits) => scalar::round(*digits, input(0)),
        Op::If => scalar::choose(input(0), input(1), input(2)),
        _ => f64::NAN,
    }
}
