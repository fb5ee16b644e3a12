//! From the text of a scan to its plan: grammar, types, names and errors with positions.
//!
//! The way is lexer, parser, lowering into a graph of shared nodes, plan. Not here: what functions exist and how
//! they are defined ([`crate::indicator`]), and how a plan is computed (the backends).

mod argument;
mod ast;
mod call;
mod compare;
mod error;
mod explain;
mod graph;
mod lexer;
mod lower;
mod parser;
mod planner;
mod suggest;
mod text;
mod typed;
mod universes;

pub use error::{ERRORS_MAX, ExprError, ExprReason, PlanError};
pub use explain::explain;
pub(crate) use parser::WINDOW_MAX;
pub use planner::{plan, plan_series};
pub use suggest::nearest;
pub use universes::unknown_universes;

use crate::scan::ScanSpec;

/// Every problem of a scan; empty where it can be planned.
#[must_use]
pub fn validate(spec: &ScanSpec) -> Vec<ExprError> {
    plan(spec).err().map_or_else(Vec::new, |e| e.errors)
}
