//! The graph under construction: nodes are added once however often they are written, constants fold, and what
//! follows from an operation and its inputs (type, shape, stage, lookback) is worked out here.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use super::parser::WINDOW_MAX;
use super::text::{Phrase, operation};
use crate::bar::Field;
use crate::plan::{
    Binary, Cross, Digest, Node, NodeId, NumberAttribute, Op, Recursive, Shape, Stage, Tail, Unary,
    ValueKind, Window,
};
use crate::scalar;
use crate::scan::Adjustment;
use crate::time::Timeframe;

/// Nodes that a graph takes while it is built; what no root reads is thrown away before the limit of a plan is
/// held against the rest.
const BUILT_MAX: usize = 8 * crate::plan::NODES_MAX;

/// Largest whole literal that counts as an integer.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The graph is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Full;

/// Nodes so far.
pub(crate) struct Graph {
    nodes: Vec<Node>,
    phrases: Vec<Phrase>,
    known: HashMap<Digest, NodeId>,
    /// Sessions in a bar of each node at most.
    units: Vec<u32>,
    bars: String,
}

impl Graph {
    pub(crate) fn new(timeframe: Timeframe, adjustment: Adjustment) -> Self {
        Self {
            nodes: Vec::new(),
            phrases: Vec::new(),
            known: HashMap::new(),
            units: Vec::new(),
            bars: format!("{timeframe}|{adjustment:?}"),
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    pub(crate) fn text(&self, id: NodeId) -> &Arc<str> {
        &self.phrases[id.index()].text
    }

    /// The value of a constant node.
    pub(crate) fn constant(&self, id: NodeId) -> Option<f64> {
        match self.node(id).op {
            Op::Constant(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn number(&mut self, value: f64) -> Result<NodeId, Full> {
        // One zero only: its sign would show in nothing but a text.
        let value = if value == 0.0 { 0.0 } else { value };
        let whole = value.fract() == 0.0 && value.abs() <= WHOLE_MAX;
        self.literal(value, if whole { ValueKind::Integer } else { ValueKind::Number })
    }

    pub(crate) fn bool(&mut self, value: f64) -> Result<NodeId, Full> {
        self.literal(value, ValueKind::Bool)
    }

    fn literal(&mut self, value: f64, kind: ValueKind) -> Result<NodeId, Full> {
        let key = format!("constant {kind:?} {:016x}", value.to_bits());
        self.insert(Op::Constant(value), Vec::new(), kind, &key)
    }

    /// Lets a node be known by a shorter text.
    pub(crate) fn label(&mut self, id: NodeId, phrase: Phrase) {
        let known = &mut self.phrases[id.index()];
        if phrase.text.len() < known.text.len() {
            *known = phrase;
        }
    }

    /// Adds an operation, or finds it; folds it where all inputs are constants.
    pub(crate) fn add(&mut self, op: Op, inputs: &[NodeId]) -> Result<NodeId, Full> {
        let kind = self.kind(&op, inputs);
        if !inputs.is_empty()
            && let Some(values) = inputs.iter().map(|i| self.constant(*i)).collect::<Option<Vec<f64>>>()
            && let Some(value) = fold(&op, &values)
        {
            return if kind == ValueKind::Bool { self.bool(value) } else { self.number(value) };
        }
        match (&op, inputs) {
            (Op::Lag(0), [x]) => return Ok(*x),
            (Op::Lag(k), [x]) => {
                if let Op::Lag(inner) = self.node(*x).op
                    && inner + k <= WINDOW_MAX
                {
                    let below = self.node(*x).inputs[0];
                    return self.add(Op::Lag(inner + k), &[below]);
                }
            }
            _ => {}
        }
        let mut key = format!("{op:?}");
        if matches!(op, Op::Field(_) | Op::Benchmark(..) | Op::Longer(..)) {
            let _ = write!(key, " of {}", self.bars);
        }
        for input in inputs {
            let _ = write!(key, "|{}", self.node(*input).digest);
        }
        self.insert(op, inputs.to_vec(), kind, &key)
    }

    fn insert(&mut self, op: Op, inputs: Vec<NodeId>, kind: ValueKind, key: &str) -> Result<NodeId, Full> {
        let digest = Digest::of(key);
        if let Some(id) = self.known.get(&digest) {
            return Ok(*id);
        }
        if self.nodes.len() >= BUILT_MAX {
            return Err(Full);
        }
        let below = || inputs.iter().map(|i| self.node(*i));
        let lookbacks = below().map(|n| n.lookback);
        // A coalesce has a value as soon as one of its inputs has.
        let either = matches!(op, Op::Binary(Binary::Coalesce));
        let deepest = if either { lookbacks.min() } else { lookbacks.max() }.unwrap_or(0);
        let unit = match &op {
            Op::Longer(longer, _) => longer.sessions(),
            Op::At(_) => 1,
            _ => inputs.iter().map(|i| self.units[i.index()]).max().unwrap_or(1),
        };
        let (own, settle) = (op.lookback().saturating_mul(unit), op.settle().saturating_mul(unit));
        let (shape, stage) = match &op {
            Op::Constant(_) => (Shape::Constant, Stage::Attribute),
            Op::Field(_) | Op::Benchmark(..) | Op::Longer(..) => (Shape::Series, Stage::Series),
            Op::At(_) => (Shape::Scalar, Stage::Series),
            Op::Cross(..) => (Shape::Cross, Stage::CrossSection),
            Op::Attribute(_)
            | Op::Text(_)
            | Op::TextIn(..)
            | Op::TextContains(..)
            | Op::TextStartsWith(..)
            | Op::TextIsNull(_)
            | Op::InUniverse(_) => (Shape::Scalar, Stage::Attribute),
            _ => (
                below().map(|n| n.shape).fold(Shape::Constant, mix),
                match below().map(|n| n.stage).max() {
                    Some(Stage::CrossSection | Stage::Scalar) => Stage::Scalar,
                    stage => stage.unwrap_or(Stage::Attribute),
                },
            ),
        };
        let phrases: Vec<&Phrase> = inputs.iter().map(|i| &self.phrases[i.index()]).collect();
        let under = inputs.first().map(|i| &self.node(*i).op);
        let phrase = operation(&op, kind == ValueKind::Bool, &phrases, under);
        let node = Node {
            kind,
            shape,
            stage,
            lookback: deepest.saturating_add(own),
            settle: below().map(|n| n.settle).max().unwrap_or(0).saturating_add(settle),
            recursive: matches!(op, Op::Recursive(..)) || below().any(|n| n.recursive),
            tail: Tail::Rows(0),
            text: Arc::from(""),
            digest,
            op,
            inputs,
        };
        let id = NodeId(u32::try_from(self.nodes.len()).map_err(|_| Full)?);
        self.nodes.push(node);
        self.phrases.push(phrase);
        self.units.push(unit);
        self.known.insert(digest, id);
        Ok(id)
    }

    fn kind(&self, op: &Op, inputs: &[NodeId]) -> ValueKind {
        let of = |i: usize| self.node(inputs[i]).kind;
        let both = |a: ValueKind, b: ValueKind| if a == b { a } else { ValueKind::Number };
        match op {
            Op::Field(Field::Trades)
            | Op::Longer(_, Field::Trades)
            | Op::Attribute(NumberAttribute::DaysListed) => ValueKind::Integer,
            Op::Attribute(NumberAttribute::Active)
            | Op::TextIn(..)
            | Op::TextContains(..)
            | Op::TextStartsWith(..)
            | Op::TextIsNull(_)
            | Op::InUniverse(_)
            | Op::Unary(Unary::Not | Unary::IsNull)
            | Op::Binary(
                Binary::Less
                | Binary::LessEqual
                | Binary::Greater
                | Binary::GreaterEqual
                | Binary::Equal
                | Binary::NotEqual
                | Binary::And
                | Binary::Or,
            ) => ValueKind::Bool,
            Op::Text(_) => ValueKind::Text,
            Op::Unary(Unary::Abs | Unary::Negate)
            | Op::Lag(_)
            | Op::At(_)
            | Op::Recursive(Recursive::Total, _)
            | Op::Window(Window::Sum | Window::Highest | Window::Lowest | Window::Peak | Window::Trough, _) => {
                of(0)
            }
            Op::Window(Window::HighestAgo | Window::LowestAgo, _)
            | Op::Cross(Cross::Rank | Cross::Bucket(_) | Cross::Count, _) => ValueKind::Integer,
            Op::Binary(Binary::Minimum | Binary::Maximum | Binary::Coalesce) => both(of(0), of(1)),
            Op::If => both(of(1), of(2)),
            _ => ValueKind::Number,
        }
    }

    /// The nodes that the roots need, in order, with tails and texts; the roots are renumbered in place.
    pub(crate) fn finish(mut self, roots: &mut [&mut NodeId]) -> Vec<Node> {
        let mut tails = vec![Tail::Rows(0); self.nodes.len()];
        for root in roots.iter() {
            tails[root.index()] = Tail::Rows(1);
        }
        for i in (0..self.nodes.len()).rev() {
            let own = tails[i];
            if own == Tail::Rows(0) {
                continue;
            }
            let node = &self.nodes[i];
            let needed = node.op.reads(own);
            for input in &node.inputs {
                let below = &mut tails[input.index()];
                *below = (*below).max(needed);
            }
        }
        let mut places = vec![None; self.nodes.len()];
        let mut kept = Vec::new();
        for (i, mut node) in self.nodes.drain(..).enumerate() {
            if tails[i] == Tail::Rows(0) {
                continue;
            }
            places[i] = u32::try_from(kept.len()).ok().map(NodeId);
            node.tail = if node.shape == Shape::Series { tails[i] } else { Tail::Rows(1) };
            node.text = self.phrases[i].text.clone();
            node.inputs = node.inputs.iter().filter_map(|input| places[input.index()]).collect();
            kept.push(node);
        }
        for root in roots {
            if let Some(place) = places[root.index()] {
                **root = place;
            }
        }
        kept
    }
}

/// The shape of an element-wise result over two.
pub(crate) fn mix(a: Shape, b: Shape) -> Shape {
    let order = |s| match s {
        Shape::Constant => 0,
        Shape::Series => 1,
        Shape::Scalar => 2,
        Shape::Cross => 3,
    };
    if order(a) >= order(b) { a } else { b }
}

/// The value of an element-wise operation over constants; a lag of a constant is that constant.
fn fold(op: &Op, values: &[f64]) -> Option<f64> {
    Some(match (op, values) {
        (Op::Unary(op), [x]) => scalar::unary(*op, *x),
        (Op::Binary(op), [a, b]) => scalar::binary(*op, *a, *b),
        (Op::Round(digits), [x]) => scalar::round(*digits, *x),
        (Op::If, [c, a, b]) => scalar::choose(*c, *a, *b),
        (Op::Lag(_), [x]) => *x,
        _ => return None,
    })
}
