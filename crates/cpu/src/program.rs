//! A plan made ready for tiles: which nodes have to run for the roots that are asked for, over how many rows
//! each, and in which scratch slot its rows lie. Not here: anything that touches a bar.

use std::collections::HashMap;
use std::sync::Arc;

use panscan_core::attribute::attribute_column;
use panscan_core::bar::Field;
use panscan_core::block::WIDTH;
use panscan_core::panel::Panel;
use panscan_core::plan::{
    Against, Binary, Node, NodeId, Op, Pair, Plan, Recursive, Shape, Stage, Unary, Window,
};
use panscan_core::port::ComputeError;
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::SymbolId;

use crate::lanes::Row;

/// Every row of a tile.
pub(crate) const ALL: usize = usize::MAX;

/// Columns of nodes that are computed on other bars, by node.
pub(crate) type Given = HashMap<usize, Arc<[f64]>>;

/// Whether a node comes as one number per symbol.
fn is_given(node: &Node) -> bool {
    node.stage == Stage::Attribute || matches!(node.op, Op::At(_))
}

/// What a step does; its inputs are nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// A constant, by its place in [`Program::constants`].
    Constant(usize),
    /// Values of the universe, by their place in [`Program::attributes`].
    Attribute(usize),
    /// A column of the tile, read where it lies.
    Field(Field),
    /// Element-wise.
    Unary(Unary, usize),
    /// Element-wise.
    Binary(Binary, usize, usize),
    /// Element-wise.
    Round(i32, usize),
    /// Condition, then, otherwise.
    Choose(usize, usize, usize),
    /// The input so many rows up, read where it lies.
    Lag(usize, usize),
    /// Over the last rows.
    Window(Window, usize, usize),
    /// Between the sorted last rows.
    Quantile(f64, usize, usize),
    /// Over the last rows of two inputs.
    Pair(Pair, usize, usize, usize),
    /// Over all rows.
    Recursive(Recursive, u32, usize),
    /// The benchmark's values, by their place in [`Program::benchmarks`], at the lanes' sessions.
    Benchmark(usize),
    /// A price and the benchmark's.
    Against(Against, usize, usize, usize),
    /// Over the products of the last rows of two inputs, summed.
    Products(usize, usize, usize),
    /// Nothing: its one reader does its work.
    Fused,
}

/// One node of the plan on every tile.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The node.
    pub(crate) node: usize,
    /// What to do.
    pub(crate) action: Action,
    /// Rows that its readers look at.
    pub(crate) need: usize,
    /// Where its rows go, if they are not read in place.
    pub(crate) slot: usize,
    /// One value per symbol: its single row stands for all rows of a reader.
    pub(crate) single: bool,
    /// It may turn a null into a value, so rows above a lane's first bar have to be cleared.
    pub(crate) fills: bool,
    /// The `coalesce` whose second input it serves, if nothing else reads it: it only runs where the first input
    /// has a null.
    pub(crate) guard: Option<usize>,
    /// It is left to the `coalesce` that it serves, which runs it for the rows that need it.
    pub(crate) left: bool,
    /// The steps that are left to this one, by their places, in order.
    pub(crate) patch: Vec<usize>,
    /// Which root it is.
    pub(crate) root: Option<usize>,
}

/// What runs on each tile.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    /// For each node of the plan its place in `steps`; meaningless where it has none.
    pub(crate) at: Vec<usize>,
    /// Rows that each slot needs at most; [`ALL`] for a whole tile.
    pub(crate) slots: Vec<usize>,
    pub(crate) constants: Vec<Row>,
    /// One number per symbol, padded to whole tiles.
    pub(crate) attributes: Vec<Vec<f64>>,
    /// One number per session of the panel.
    pub(crate) benchmarks: Vec<Vec<f64>>,
    /// Roots that it computes.
    pub(crate) roots: usize,
}

impl Program {
    /// Prepares `roots`, in their order.
    ///
    /// # Errors
    ///
    /// [`ComputeError::Device`] when the plan is not one that the planner makes: a window over something that is no
    /// series, an input that is not there, text among numbers.
    pub(crate) fn new(
        plan: &Plan,
        roots: &[NodeId],
        snapshot: &Snapshot,
        panel: &Panel,
        given: &Given,
    ) -> Result<Self, ComputeError> {
        let benchmark = |symbol: &str, field| by_session(panel, snapshot.universe.find(symbol), field);
        Self::showing(plan, roots, 1, snapshot, &benchmark, given)
    }

    /// The same for the last `rows` rows of each root; `benchmark` has one number per session that tiles name.
    pub(crate) fn showing(
        plan: &Plan,
        roots: &[NodeId],
        rows: usize,
        snapshot: &Snapshot,
        benchmark: &dyn Fn(&str, Field) -> Vec<f64>,
        given: &Given,
    ) -> Result<Self, ComputeError> {
        let need = needs(plan, roots, rows)?;
        let mut program = Self {
            steps: Vec::new(),
            at: vec![0; plan.nodes.len()],
            slots: Vec::new(),
            constants: Vec::new(),
            attributes: Vec::new(),
            benchmarks: Vec::new(),
            roots: roots.len(),
        };
        for index in order(plan, roots) {
            let node = &plan.nodes[index];
            let input = |k: usize| node.inputs[k].index();
            let action = match &node.op {
                Op::Constant(value) => {
                    program.constants.push([*value; WIDTH]);
                    Action::Constant(program.constants.len() - 1)
                }
                Op::Field(field) | Op::Longer(_, field) => Action::Field(*field),
                Op::At(_) => {
                    let mut values = given.get(&index).map_or_else(Vec::new, |column| column.to_vec());
                    values.resize(snapshot.universe.len().next_multiple_of(WIDTH), f64::NAN);
                    program.attributes.push(values);
                    Action::Attribute(program.attributes.len() - 1)
                }
                _ if node.stage == Stage::Attribute => {
                    let mut values = attribute_column(plan, id(index), snapshot);
                    values.resize(snapshot.universe.len().next_multiple_of(WIDTH), f64::NAN);
                    program.attributes.push(values);
                    Action::Attribute(program.attributes.len() - 1)
                }
                Op::Unary(op) => Action::Unary(*op, input(0)),
                Op::Binary(op) => Action::Binary(*op, input(0), input(1)),
                Op::Round(digits) => Action::Round(*digits, input(0)),
                Op::If => Action::Choose(input(0), input(1), input(2)),
                Op::Lag(k) => Action::Lag(*k as usize, input(0)),
                Op::Window(op, n) => Action::Window(*op, *n as usize, input(0)),
                Op::Quantile(q, n) => Action::Quantile(*q, *n as usize, input(0)),
                Op::Pair(op, n) => Action::Pair(*op, *n as usize, input(0), input(1)),
                Op::Recursive(op, n) => Action::Recursive(*op, *n, input(0)),
                Op::Benchmark(symbol, field) => {
                    program.benchmarks.push(benchmark(symbol, *field));
                    Action::Benchmark(program.benchmarks.len() - 1)
                }
                Op::Against(op, n) => Action::Against(*op, *n as usize, input(0), input(1)),
                _ => return Err(unfit(plan, index, "is no number")),
            };
            let fills = matches!(
                action,
                Action::Unary(Unary::IsNull, _)
                    | Action::Binary(Binary::Coalesce | Binary::And | Binary::Or, ..)
                    | Action::Choose(..)
            );
            program.at[index] = program.steps.len();
            program.steps.push(Step {
                node: index,
                action,
                need: need[index],
                slot: 0,
                single: node.shape != Shape::Series,
                fills: fills && node.shape == Shape::Series,
                guard: None,
                left: false,
                patch: Vec::new(),
                root: roots.iter().position(|r| r.index() == index),
            });
        }
        program.guard();
        program.leave();
        program.fuse();
        program.place();
        Ok(program)
    }

    /// Finds the steps that only serve the second input of a `coalesce`.
    fn guard(&mut self) {
        let mut guards: Vec<Readers> = vec![Readers::Nobody; self.at.len()];
        for step in self.steps.iter_mut().rev() {
            let own = match guards[step.node] {
                Readers::Behind(guard) if step.root.is_none() => Some(guard),
                _ => None,
            };
            step.guard = own;
            let mine = own.map_or(Readers::Others, Readers::Behind);
            for (position, input) in inputs(step.action).into_iter().enumerate() {
                let Some(input) = input else { continue };
                let lazy = position == 1 && matches!(step.action, Action::Binary(Binary::Coalesce, ..));
                let reader = if lazy { Readers::Behind(step.node) } else { mine };
                guards[input] = match guards[input] {
                    Readers::Nobody => reader,
                    same if same == reader => same,
                    _ => Readers::Others,
                };
            }
        }
    }

    /// Leaves the second input of a `coalesce` to it where all of that is element-wise: then it is worked out for the
    /// rows that lack a value only.
    fn leave(&mut self) {
        for at in 0..self.steps.len() {
            let Action::Binary(Binary::Coalesce, a, _) = self.steps[at].action else { continue };
            if self.steps[self.at[a]].single || self.steps[at].single {
                continue;
            }
            let node = self.steps[at].node;
            let own = |step: &Step| step.guard == Some(node);
            let patch: Vec<usize> = (0..at).filter(|i| own(&self.steps[*i])).collect();
            let is_plain = |i: &usize| {
                matches!(
                    self.steps[*i].action,
                    Action::Constant(_)
                        | Action::Attribute(_)
                        | Action::Field(_)
                        | Action::Unary(..)
                        | Action::Round(..)
                        | Action::Choose(..)
                ) || matches!(self.steps[*i].action, Action::Binary(op, ..) if op != Binary::Coalesce)
            };
            if !patch.is_empty() && patch.iter().all(is_plain) {
                patch.iter().for_each(|i| self.steps[*i].left = true);
                self.steps[at].patch = patch;
            }
        }
    }

    /// Joins a sum over products that nobody else reads with the products.
    fn fuse(&mut self) {
        let mut readers = vec![0_usize; self.at.len()];
        for step in &self.steps {
            inputs(step.action).into_iter().flatten().for_each(|input| readers[input] += 1);
        }
        for at in 0..self.steps.len() {
            let Action::Window(Window::Sum, n, input) = self.steps[at].action else { continue };
            let product = &self.steps[self.at[input]];
            let Action::Binary(Binary::Multiply, a, b) = product.action else { continue };
            let is_series = |node: usize| !self.steps[self.at[node]].single;
            // Of several results each would multiply again.
            if self.steps[at].need == 1
                && readers[input] == 1
                && product.root.is_none()
                && is_series(a)
                && is_series(b)
            {
                self.steps[at].action = Action::Products(n, a, b);
                self.steps[self.at[input]].action = Action::Fused;
            }
        }
    }

    /// Gives every step whose rows have to be kept a slot that is free from its first to its last reader.
    fn place(&mut self) {
        let mut last = vec![0_usize; self.at.len()];
        for (at, step) in self.steps.iter().enumerate().rev() {
            let until = match step.action {
                // Its reader may read the rows of its input.
                Action::Lag(..) | Action::Binary(Binary::Coalesce, ..) => last[step.node].max(at),
                _ if step.left => last[step.node].max(at),
                _ => at,
            };
            for input in inputs(step.action).into_iter().flatten() {
                last[input] = last[input].max(until);
            }
        }
        let mut free: Vec<usize> = Vec::new();
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for (at, step) in self.steps.iter_mut().enumerate() {
            let lies = matches!(step.action, Action::Constant(_) | Action::Attribute(_) | Action::Field(_));
            if lies || step.left || matches!(step.action, Action::Fused) {
                continue;
            }
            taken.retain(|(slot, until)| {
                let over = *until < at;
                if over {
                    free.push(*slot);
                }
                !over
            });
            // The smallest that is large enough, else the largest, which then grows.
            free.sort_by_key(|slot| self.slots[*slot]);
            let fitting = free.iter().position(|slot| self.slots[*slot] >= step.need);
            step.slot = match fitting.or(free.len().checked_sub(1)) {
                Some(at) => free.remove(at),
                None => {
                    self.slots.push(0);
                    self.slots.len() - 1
                }
            };
            self.slots[step.slot] = self.slots[step.slot].max(step.need);
            taken.push((step.slot, last[step.node].max(at)));
        }
    }
}

/// A symbol's values by session of the panel; null where it has no bar, or is not known.
fn by_session(panel: &Panel, id: Option<SymbolId>, field: Field) -> Vec<f64> {
    let mut values = vec![f64::NAN; panel.sessions().len()];
    let Some(id) = id else { return values };
    let Some(tile) = panel.tiles().get(id.index() / WIDTH) else { return values };
    let lane = id.index() % WIDTH;
    let column = tile.field(field);
    for row in tile.rows() - tile.bars()[lane] as usize..tile.rows() {
        let at = row * WIDTH + lane;
        values[usize::from(tile.session()[at])] = column[at];
    }
    values
}

/// Who reads a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    Nobody,
    /// Only the second input of this `coalesce`, directly or not.
    Behind(usize),
    Others,
}

/// The nodes below the roots, each after its inputs and right before its first reader, first inputs first.
fn order(plan: &Plan, roots: &[NodeId]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut seen = vec![false; plan.nodes.len()];
    let mut open: Vec<(usize, bool)> = roots.iter().rev().map(|root| (root.index(), false)).collect();
    while let Some((index, below)) = open.pop() {
        if below {
            order.push(index);
        } else if !seen[index] {
            seen[index] = true;
            open.push((index, true));
            if !is_given(&plan.nodes[index]) {
                open.extend(plan.nodes[index].inputs.iter().rev().map(|input| (input.index(), false)));
            }
        }
    }
    order
}

fn id(index: usize) -> NodeId {
    NodeId(u32::try_from(index).unwrap_or(u32::MAX))
}

fn unfit(plan: &Plan, index: usize, what: &str) -> ComputeError {
    ComputeError::Device {
        device: "cpu".to_owned(),
        message: format!("node {index} ({}) {what}", plan.nodes[index].text),
    }
}

/// The nodes that an action reads.
fn inputs(action: Action) -> [Option<usize>; 3] {
    match action {
        Action::Constant(_)
        | Action::Attribute(_)
        | Action::Field(_)
        | Action::Benchmark(_)
        | Action::Fused => [None; 3],
        Action::Unary(_, a)
        | Action::Round(_, a)
        | Action::Lag(_, a)
        | Action::Window(_, _, a)
        | Action::Quantile(_, _, a)
        | Action::Recursive(_, _, a) => [Some(a), None, None],
        Action::Binary(_, a, b)
        | Action::Pair(_, _, a, b)
        | Action::Against(_, _, a, b)
        | Action::Products(_, a, b) => [Some(a), Some(b), None],
        Action::Choose(a, b, c) => [Some(a), Some(b), Some(c)],
    }
}

/// Rows of each node that the last `rows` rows of the roots need; 0 for none.
fn needs(plan: &Plan, roots: &[NodeId], rows: usize) -> Result<Vec<usize>, ComputeError> {
    let mut need = vec![0_usize; plan.nodes.len()];
    for root in roots {
        match need.get_mut(root.index()) {
            Some(need) => *need = rows,
            None => {
                return Err(ComputeError::Device {
                    device: "cpu".to_owned(),
                    message: format!("root {} is beyond the plan's nodes", root.index()),
                });
            }
        }
    }
    for (index, node) in plan.nodes.iter().enumerate().rev() {
        if node.shape != Shape::Series && need[index] > 0 {
            need[index] = 1;
        }
        let rows = need[index];
        if rows == 0 || is_given(node) {
            continue;
        }
        let (count, per_input, series) = match &node.op {
            Op::Unary(_) | Op::Round(_) => (1, rows, false),
            Op::Binary(_) => (2, rows, false),
            Op::If => (3, rows, false),
            Op::Lag(k) => (1, rows.saturating_add(*k as usize), true),
            Op::Window(_, n) | Op::Quantile(_, n) => {
                (1, rows.saturating_add((*n as usize).saturating_sub(1)), true)
            }
            Op::Pair(_, n) => (2, rows.saturating_add((*n as usize).saturating_sub(1)), true),
            Op::Against(..) => (2, ALL, true),
            Op::Recursive(_, n) if *n > 0 => (1, ALL, true),
            Op::Recursive(..) => return Err(unfit(plan, index, "has a window of 0")),
            _ => (0, 0, false),
        };
        if node.inputs.len() != count {
            return Err(unfit(plan, index, "has the wrong number of inputs"));
        }
        for input in &node.inputs {
            if input.index() >= index {
                return Err(unfit(plan, index, "reads a node that does not come before it"));
            }
            if series && plan.node(*input).shape != Shape::Series {
                return Err(unfit(plan, index, "needs a series"));
            }
            need[input.index()] = need[input.index()].max(per_input);
        }
    }
    Ok(need)
}
