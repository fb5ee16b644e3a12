//! Whether an argument is what its parameter takes.

use super::ast::{Expr, ExprKind};
use super::error::{ExprReason, Span};
use super::lower::Lowering;
use super::typed::{Typed, What};
use crate::indicator::{Definition, Parameter, ParameterKind};
use crate::plan::Shape;
use crate::universe::TextAttribute;

impl Lowering {
    /// Of several operands at least one must have a value per bar.
    pub(super) fn one_is_series(
        &mut self,
        definition: &Definition,
        checked: &[(&'static str, Typed)],
        span: Span,
    ) -> bool {
        let operands = || {
            let kind = |name: &str| definition.parameters.iter().find(|p| p.name == name).map(|p| p.kind);
            checked.iter().filter(move |(name, _)| kind(name) == Some(ParameterKind::Operand))
        };
        if operands().next().is_none() || operands().any(|(_, v)| v.shape == Shape::Series || v.is_error()) {
            return true;
        }
        let message = format!("one side of `{}` must have a value per bar", definition.name);
        self.fault(span, ExprReason::SeriesRequired, message);
        false
    }

    /// Whether an argument is what its parameter takes; none where an error was reported.
    pub(super) fn check(&mut self, parameter: &Parameter, value: Typed, span: Span) -> Option<Typed> {
        use ParameterKind as P;
        if value.is_error() {
            return None;
        }
        match parameter.kind {
            P::Series | P::Operand | P::Number | P::Integer | P::Constant if !value.is_number() => {
                self.as_number(value, span);
                return None;
            }
            P::Condition | P::Bool if !value.is_bool() => {
                self.as_bool(value, span);
                return None;
            }
            P::Either if !value.is_number() && !value.is_bool() => {
                self.mismatch(&value, span, "a number, or true or false", "");
                return None;
            }
            P::Text => return self.as_text(&value, span).map(|_| value),
            P::Literal if !matches!(value.what, What::Literal(_)) => {
                self.mismatch(&value, span, "a literal text in quotes", "");
                return None;
            }
            P::Any if matches!(value.what, What::Multi(_) | What::Literal(_)) => {
                self.mismatch(&value, span, "a series, number or attribute", "");
                return None;
            }
            P::Series | P::Condition => return self.require_series(&value, span).then_some(value),
            P::Operand if value.shape != Shape::Constant => {
                return self.require_series(&value, span).then_some(value);
            }
            P::Integer | P::Constant => return self.constant(parameter, value, span),
            _ => {}
        }
        Some(value)
    }

    /// A parameter that is a number known now, within its range.
    fn constant(&mut self, parameter: &Parameter, value: Typed, span: Span) -> Option<Typed> {
        let name = parameter.name;
        if value.shape != Shape::Constant {
            let message = format!("`{name}` must be a constant");
            self.fault(span, ExprReason::NotConstant, message);
            return None;
        }
        // Without a node there was an error, or there is no room; both are reported elsewhere.
        let number = self.graph.constant(value.node?).unwrap_or(f64::NAN);
        let whole = parameter.kind != ParameterKind::Integer || number.fract() == 0.0;
        let low = parameter.min.is_none_or(|min| number >= min);
        let high = parameter.max.is_none_or(|max| number <= max);
        if number.is_nan() || !whole || !low || !high {
            let kind = if parameter.kind == ParameterKind::Integer { "a whole number" } else { "a number" };
            let range = match (parameter.min, parameter.max) {
                (Some(min), Some(max)) => format!(" from {min} to {max}"),
                _ => String::new(),
            };
            self.fault(span, ExprReason::OutOfRange, format!("`{name}` must be {kind}{range}"));
            return None;
        }
        Some(value)
    }

    /// The attributes of `by=`; none where one of them is no group attribute.
    pub(super) fn group(&mut self, expr: &Expr) -> Option<Typed> {
        let items = match &expr.kind {
            ExprKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(expr),
        };
        let mut found: Vec<TextAttribute> = Vec::new();
        let mut sound = !items.is_empty();
        if items.is_empty() {
            self.fault(expr.span, ExprReason::GroupRequired, GROUP_WANTED);
        }
        for item in items {
            let known = match &item.kind {
                ExprKind::Name(name) => group_attribute(name),
                _ => None,
            };
            match known {
                Some(attribute) if found.contains(&attribute) => {}
                Some(attribute) => found.push(attribute),
                None => {
                    sound = false;
                    self.fault(item.span, ExprReason::GroupRequired, GROUP_WANTED);
                }
            }
        }
        sound.then(|| Typed::new(What::Groups(found.into()), None, Shape::Constant))
    }

    /// Whether each argument that must be smaller than another is.
    pub(super) fn in_order(
        &mut self,
        definition: &Definition,
        checked: &[(&'static str, Typed)],
        span: Span,
    ) -> bool {
        let value = |this: &Self, name: &str| {
            let (_, value) = checked.iter().find(|(known, _)| *known == name)?;
            this.graph.constant(value.node?)
        };
        for parameter in definition.parameters {
            let Some(other) = parameter.below else { continue };
            if let (Some(small), Some(large)) = (value(self, parameter.name), value(self, other))
                && small >= large
            {
                let message = format!("`{}` must be smaller than `{other}`", parameter.name);
                self.fault(span, ExprReason::OutOfRange, message);
                return false;
            }
        }
        true
    }
}

/// What a `by=` takes, in words.
pub(super) const GROUP_WANTED: &str =
    "expected a group attribute: sector, industry, exchange, type or country";

/// The group attribute of a name.
pub(super) fn group_attribute(name: &str) -> Option<TextAttribute> {
    TextAttribute::ALL.into_iter().find(|a| a.is_group() && a.name() == name)
}
