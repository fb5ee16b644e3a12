//! What the contract knows and this build does not compute. The signatures are here so that every other mistake
//! around them is still found; moving an entry to its family's table with a body makes it work.

use super::{Body, Definition, FunctionKind, Parameter, ParameterKind};
use crate::plan::ValueKind;

pub(super) const TABLE: &[Definition] = &[Definition {
    name: "in_universe",
    parameters: &[Parameter::new("id", ParameterKind::Literal)],
    kind: FunctionKind::Attribute,
    lookback: "0",
    definition: "membership as of the scan",
    unit: "bool",
    source: "",
    examples: &[],
    body: Body::Absent(ValueKind::Bool),
}];
