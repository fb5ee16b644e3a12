//! Plans built node by node, for tests of backends that shall not depend on the expression language.

use std::sync::Arc;

use panscan_core::bar::Field;
use panscan_core::plan::{
    Binary, Digest, Node, NodeId, NumberAttribute, Op, Output, Plan, Recursive, Shape, Stage, Tail, Unary,
    ValueKind, Window,
};
use panscan_core::scan::{Adjustment, Order, UniverseSelector};
use panscan_core::time::Timeframe;

/// Collects nodes; [`PlanBuilder::finish`] makes the plan.
#[derive(Debug, Clone, Default)]
pub struct PlanBuilder {
    nodes: Vec<Node>,
}

impl PlanBuilder {
    /// Without a node.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A literal.
    pub fn constant(&mut self, value: f64) -> NodeId {
        self.push(Op::Constant(value), &[])
    }

    /// A column of bars.
    pub fn field(&mut self, field: Field) -> NodeId {
        self.push(Op::Field(field), &[])
    }

    /// A numeric attribute.
    pub fn attribute(&mut self, attribute: NumberAttribute) -> NodeId {
        self.push(Op::Attribute(attribute), &[])
    }

    /// An element-wise function of one input.
    pub fn unary(&mut self, op: Unary, x: NodeId) -> NodeId {
        self.push(Op::Unary(op), &[x])
    }

    /// An element-wise function of two inputs.
    pub fn binary(&mut self, op: Binary, a: NodeId, b: NodeId) -> NodeId {
        self.push(Op::Binary(op), &[a, b])
    }

    /// The input `k` bars earlier.
    pub fn lag(&mut self, k: u32, x: NodeId) -> NodeId {
        self.push(Op::Lag(k), &[x])
    }

    /// A function of the input's last `n` values.
    pub fn window(&mut self, op: Window, n: u32, x: NodeId) -> NodeId {
        self.push(Op::Window(op, n), &[x])
    }

    /// A function of all the input's values.
    pub fn recursive(&mut self, op: Recursive, n: u32, x: NodeId) -> NodeId {
        self.push(Op::Recursive(op, n), &[x])
    }

    /// Any node: shape, stage, lookback and text follow from its inputs.
    pub fn push(&mut self, op: Op, inputs: &[NodeId]) -> NodeId {
        let of = |f: fn(&Node) -> u32| inputs.iter().map(|i| f(&self.nodes[i.index()])).max().unwrap_or(0);
        let shapes: Vec<Shape> = inputs.iter().map(|i| self.nodes[i.index()].shape).collect();
        let shape = match op {
            Op::Constant(_) => Shape::Constant,
            Op::Field(_) => Shape::Series,
            Op::Attribute(_) | Op::Text(_) => Shape::Scalar,
            _ if shapes.contains(&Shape::Series) => Shape::Series,
            _ if shapes.contains(&Shape::Scalar) => Shape::Scalar,
            _ => Shape::Constant,
        };
        let stages = inputs.iter().map(|i| self.nodes[i.index()].stage);
        let stage = match op {
            Op::Field(_) => Stage::Series,
            _ => stages.max().unwrap_or(Stage::Attribute),
        };
        let (own, settle, recursive) = (op.lookback(), op.settle(), matches!(op, Op::Recursive(..)));
        let texts: Vec<&str> = inputs.iter().map(|i| &*self.nodes[i.index()].text).collect();
        let text = format!("{op:?}({})", texts.join(", "));
        let node = Node {
            inputs: inputs.to_vec(),
            kind: ValueKind::Number,
            shape,
            stage,
            lookback: of(|n| n.lookback) + own,
            settle: of(|n| n.settle) + settle,
            recursive: recursive || inputs.iter().any(|i| self.nodes[i.index()].recursive),
            tail: Tail::Rows(1),
            digest: Digest::of(&text),
            text: Arc::from(text),
            op,
        };
        self.nodes.push(node);
        NodeId(u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX))
    }

    /// A plan whose columns are `outputs`, unfiltered, by symbol, with every row; change its fields for others.
    #[must_use]
    pub fn finish(&self, outputs: &[NodeId]) -> Plan {
        let mut nodes = self.nodes.clone();
        for at in (0..nodes.len()).rev() {
            let node = nodes[at].clone();
            for input in &node.inputs {
                let reads = node.op.reads(node.tail);
                let tail = &mut nodes[input.index()].tail;
                *tail = (*tail).max(reads);
            }
        }
        let named = |(at, node): (usize, &NodeId)| Output {
            name: format!("c{at}"),
            node: *node,
            unit: String::new(),
        };
        Plan {
            nodes,
            outputs: outputs.iter().enumerate().map(named).collect(),
            filter: None,
            rank_by: None,
            order: Order::Descending,
            limit: usize::MAX,
            group_by: None,
            limit_per_group: 0,
            universe: UniverseSelector::default(),
            timeframe: Timeframe::Day,
            adjustment: Adjustment::Splits,
            fingerprint: Digest::of("by hand"),
        }
    }

    /// The volume-weighted mean price over `n` bars, as the planner expands it.
    pub fn vwap(&mut self, n: u32) -> NodeId {
        let [high, low, close, volume, vwap] =
            [Field::High, Field::Low, Field::Close, Field::Volume, Field::Vwap].map(|f| self.field(f));
        let sum = self.binary(Binary::Add, high, low);
        let sum = self.binary(Binary::Add, sum, close);
        let three = self.constant(3.0);
        let typical = self.binary(Binary::Divide, sum, three);
        let price = self.binary(Binary::Coalesce, vwap, typical);
        let traded = self.binary(Binary::Multiply, price, volume);
        let traded = self.window(Window::Sum, n, traded);
        let shares = self.window(Window::Sum, n, volume);
        self.binary(Binary::Divide, traded, shares)
    }

    /// The earlier Python clients' four indicators: `sma(5)`, `sma(20)`, `rsi(14)`, `vwap(20)`.
    pub fn seed_set(&mut self) -> [NodeId; 4] {
        let close = self.field(Field::Close);
        [
            self.window(Window::Mean, 5, close),
            self.window(Window::Mean, 20, close),
            self.recursive(Recursive::Rsi, 14, close),
            self.vwap(20),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_and_lookbacks_follow_from_the_readers() {
        let mut builder = PlanBuilder::new();
        let [sma5, _, rsi, vwap] = builder.seed_set();
        let lagged = builder.lag(3, vwap);
        let plan = builder.finish(&[sma5, rsi, lagged]);
        assert_eq!(plan.nodes[0].tail, Tail::All);
        assert_eq!(plan.node(vwap).tail, Tail::Rows(4));
        assert_eq!((plan.node(lagged).lookback, plan.node(rsi).lookback), (22, 14));
        assert!(plan.is_recursive() && plan.touches_bars());
    }
}
