//! What a sub-expression turned out to be.

use std::sync::Arc;

use crate::indicator::Definition;
use crate::plan::{NodeId, Shape, TextSource};
use crate::universe::TextAttribute;

/// A value with its type. `node` is none where this build cannot compute it, or an error was reported below:
/// checking goes on, planning does not.
#[derive(Debug, Clone)]
pub(crate) struct Typed {
    pub(crate) what: What,
    pub(crate) node: Option<NodeId>,
    pub(crate) shape: Shape,
    pub(crate) unit: &'static str,
}

/// A type.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Number,
    Bool,
    /// A text attribute.
    Text(TextSource),
    /// A literal text.
    Literal(Arc<str>),
    /// Several outputs, none of them chosen yet.
    Multi(Arc<Bound>),
    /// Attributes of `by=`.
    Groups(Arc<[TextAttribute]>),
    /// Not known, because of an error that was reported.
    Error,
}

/// A definition with its arguments.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) definition: &'static Definition,
    pub(crate) arguments: Vec<(&'static str, Typed)>,
    /// Whether all of them are as they should be.
    pub(crate) sound: bool,
}

impl Typed {
    pub(crate) fn new(what: What, node: Option<NodeId>, shape: Shape) -> Self {
        Self { what, node, shape, unit: "" }
    }

    pub(crate) fn error() -> Self {
        Self::new(What::Error, None, Shape::Constant)
    }

    pub(crate) fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    pub(crate) fn is_error(&self) -> bool {
        matches!(self.what, What::Error)
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self.what, What::Number)
    }

    pub(crate) fn is_bool(&self) -> bool {
        matches!(self.what, What::Bool)
    }

    pub(crate) fn is_constant_number(&self) -> bool {
        self.is_number() && self.shape == Shape::Constant
    }

    /// The type in words.
    pub(crate) fn words(&self) -> &'static str {
        match self.what {
            What::Number => "a number",
            What::Bool => "true or false",
            What::Text(_) | What::Literal(_) => "a text",
            What::Multi(_) => "several series",
            What::Groups(_) => "group attributes",
            What::Error => "nothing known",
        }
    }
}
