//! A plan as indented text, for people.

use std::fmt::Write;

use crate::plan::{Node, NodeId, Plan, Shape, Tail};

/// What a plan keeps, returns and computes: filter, ranking and columns, then its nodes in the order in which they
/// are computed, each with what it reads.
#[must_use]
pub fn explain(plan: &Plan) -> String {
    let mut out = String::new();
    let text = |id: NodeId| plan.node(id).text.clone();
    let _ = match plan.filter {
        Some(id) => writeln!(out, "filter   {}", text(id)),
        None => writeln!(out, "filter   none"),
    };
    let _ = match plan.rank_by {
        Some(id) => writeln!(out, "rank by  {} {}", text(id), format!("{:?}", plan.order).to_lowercase()),
        None => writeln!(out, "rank by  symbol ascending"),
    };
    let _ = writeln!(out, "limit    {}", plan.limit);
    let _ = writeln!(out, "columns");
    for output in &plan.outputs {
        let _ = writeln!(out, "  {} = {}", output.name, text(output.node));
    }
    let _ = writeln!(out, "nodes");
    for (i, node) in plan.nodes.iter().enumerate() {
        let _ = writeln!(out, "  {i:>3} {}{}", node.text, remarks(node));
    }
    out
}

fn remarks(node: &Node) -> String {
    let mut out = String::new();
    if !node.inputs.is_empty() {
        let inputs: Vec<String> = node.inputs.iter().map(|i| i.0.to_string()).collect();
        let _ = write!(out, "  reads {}", inputs.join(", "));
    }
    if node.lookback > 0 {
        let _ = write!(out, "  lookback {}", node.lookback);
    }
    if node.settle > 0 {
        let _ = write!(out, "  settle {}", node.settle);
    }
    match node.tail {
        Tail::All => out.push_str("  rows all"),
        Tail::Rows(rows) if node.shape == Shape::Series => {
            let _ = write!(out, "  rows {rows}");
        }
        Tail::Rows(_) => {}
    }
    out
}
