//! The nodes of a plan as a caller reads them.

use panscan_core::plan::{NodeId, Op, Plan, Stage};

use super::answer::saturated;
use super::word::Word;
use crate::v1;

/// The nodes in the order in which they are computed; equal nodes appear once.
#[must_use]
pub fn plan_nodes(plan: &Plan, memoized: &[NodeId]) -> Vec<v1::PlanNode> {
    let number = |index: usize| saturated(index as u64);
    plan.nodes
        .iter()
        .enumerate()
        .map(|(index, node)| v1::PlanNode {
            id: number(index),
            expr: node.text.to_string(),
            function: function(&node.op),
            inputs: node.inputs.iter().map(|id| number(id.index())).collect(),
            r#type: Some(node.kind).number(),
            lookback: saturated(node.lookback.into()),
            settle: saturated(node.settle.into()),
            memoized: memoized.iter().any(|id| id.index() == index),
            stage: match node.stage {
                Stage::Attribute => v1::NodeStage::Attribute,
                Stage::Series => v1::NodeStage::Series,
                Stage::CrossSection => v1::NodeStage::CrossSection,
                Stage::Scalar => v1::NodeStage::Scalar,
            }
            .into(),
        })
        .collect()
}

/// The operation's name, without what it is applied to.
fn function(op: &Op) -> String {
    let text = match op {
        Op::Unary(unary) => format!("{unary:?}"),
        Op::Binary(binary) => format!("{binary:?}"),
        Op::Window(window, _) => format!("{window:?}"),
        Op::Recursive(recursive, _) => format!("{recursive:?}"),
        other => format!("{other:?}"),
    };
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_ascii_lowercase()
}
