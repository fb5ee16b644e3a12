//! The registry: every function, field and attribute of the expression language, with its parameters, its
//! definition, and what it is made of.
//!
//! Adding one is an entry in one of the tables here. Most are expansions, text in the expression language itself;
//! one that needs arithmetic of its own names an operation of [`crate::plan`], which every backend implements.
//! Not here: binding of arguments and typing ([`crate::expr`]).

mod cross;
mod field;
mod part;
mod scalar;
mod series;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::bar::Field;
use crate::plan::{Against, Binary, NumberAttribute, Pair, Recursive, TextSource, Unary, ValueKind, Window};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    /// A column of bars, or element-wise arithmetic on such columns; written without parentheses.
    Field,
    /// What the universe knows of a symbol; written without parentheses unless it takes parameters.
    Attribute,
    /// Element-wise.
    Elementwise,
    /// Over one symbol's bars.
    Series,
    /// Over all symbols.
    CrossSection,
    /// A building block of other definitions, not listed.
    Part,
}

/// Which function over a population; parameters come with the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Across {
    /// [`Cross::Rank`](crate::plan::Cross::Rank).
    Rank,
    /// [`Cross::Percentile`](crate::plan::Cross::Percentile).
    Percentile,
    /// [`Cross::ZScore`](crate::plan::Cross::ZScore).
    ZScore,
    /// [`Cross::RobustZScore`](crate::plan::Cross::RobustZScore).
    RobustZScore,
    /// [`Cross::Winsorize`](crate::plan::Cross::Winsorize).
    Winsorize,
    /// [`Cross::Demean`](crate::plan::Cross::Demean).
    Demean,
    /// [`Cross::Bucket`](crate::plan::Cross::Bucket).
    Bucket,
    /// Whether the rank is at most n.
    Top,
    /// The same from below.
    Bottom,
    /// [`Cross::Mean`](crate::plan::Cross::Mean).
    Mean,
    /// [`Cross::Median`](crate::plan::Cross::Median).
    Median,
    /// [`Cross::Sum`](crate::plan::Cross::Sum).
    Sum,
    /// [`Cross::Count`](crate::plan::Cross::Count).
    Count,
    /// 100 times the mean of a condition as 1 and 0.
    Breadth,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// One number per bar.
    Series,
    /// One bool per bar.
    Condition,
    /// One number per bar, or a constant beside a series.
    Operand,
    /// Any number.
    Number,
    /// Any bool.
    Bool,
    /// Any number or bool, of the same type as the other such arguments.
    Either,
    /// Anything.
    Any,
    /// A constant whole number.
    Integer,
    /// A constant number.
    Constant,
    /// A text attribute.
    Text,
    /// A literal text.
    Literal,
    /// A group attribute or a list of them.
    Group,
}

impl ParameterKind {
    /// The type as callers see it.
    #[must_use]
    pub const fn value(self) -> ValueKind {
        match self {
            Self::Series | Self::Operand | Self::Number | Self::Either | Self::Any | Self::Constant => {
                ValueKind::Number
            }
            Self::Condition | Self::Bool => ValueKind::Bool,
            Self::Integer => ValueKind::Integer,
            Self::Text | Self::Literal | Self::Group => ValueKind::Text,
        }
    }
}

/// A parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParameterKind,
    /// What it is when left out, as text; none: it must be given.
    pub default: Option<&'static str>,
    /// Smallest value accepted.
    pub min: Option<f64>,
    /// Largest value accepted.
    pub max: Option<f64>,
    /// May be left out without a default.
    pub optional: bool,
    /// The parameter that it has to be smaller than.
    pub below: Option<&'static str>,
}

impl Parameter {
    /// One that must be given.
    #[must_use]
    pub const fn new(name: &'static str, kind: ParameterKind) -> Self {
        Self { name, kind, default: None, min: None, max: None, optional: false, below: None }
    }

    /// A series with a default.
    #[must_use]
    pub const fn series(name: &'static str, default: &'static str) -> Self {
        Self { default: Some(default), ..Self::new(name, ParameterKind::Series) }
    }

    /// A window length.
    #[must_use]
    pub const fn window(name: &'static str, min: u32) -> Self {
        Self::new(name, ParameterKind::Integer).within(min as f64, crate::expr::WINDOW_MAX as f64)
    }

    /// The same with a default.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The same within bounds, both included.
    #[must_use]
    pub const fn within(self, min: f64, max: f64) -> Self {
        Self { min: Some(min), max: Some(max), ..self }
    }

    /// The same, but smaller than another parameter.
    #[must_use]
    pub const fn below(self, other: &'static str) -> Self {
        Self { below: Some(other), ..self }
    }

    /// The same, but it may be left out.
    #[must_use]
    pub const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

/// An output of a function with several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its definition in the expression language.
    pub text: &'static str,
    /// Its unit; `of x` is that of the first argument.
    pub unit: &'static str,
}

/// What an entry is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Body {
    /// A column of bars.
    Field(Field),
    /// A numeric attribute.
    Number(NumberAttribute),
    /// A text attribute.
    Text(TextSource),
    /// Element-wise, one input.
    Unary(Unary),
    /// Element-wise, folded from the left over two or more arguments.
    Fold(Binary),
    /// Rounds the first argument to as many decimals as the second says.
    Round,
    /// Condition, then, else.
    If,
    /// Whether a value or text is null.
    IsNull,
    /// Whether the first text holds the second.
    Contains,
    /// Whether the first text starts with the second.
    StartsWith,
    /// Whether the symbol belongs to the universe that the text names.
    InUniverse,
    /// The first argument as many bars earlier as the second says.
    Lag,
    /// Over the last bars; the second argument says how many.
    Window(Window),
    /// Over the last bars; the second argument says how many, the third which share.
    Quantile,
    /// Over the last bars of the first two arguments; the third says how many.
    Pair(Pair),
    /// Over all bars; the second argument, where there is one, is its length.
    Recursive(Recursive),
    /// [`Recursive::Late`]; the second argument is its length, the third what it leaves out.
    Late,
    /// A column of the benchmark's bars.
    Benchmark(Field),
    /// A price and the benchmark's; the third argument says over how many returns.
    Against(Against),
    /// Over the population.
    Cross(Across),
    /// The scan's factors, weighted.
    Score,
    /// Text in the expression language that reads the parameters by name.
    Expansion(&'static str),
    /// Several such texts, each under a name.
    Members(&'static [Member]),
}

/// An entry of the registry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Definition {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Its parameters in order.
    pub parameters: &'static [Parameter],
    /// What it is.
    pub kind: FunctionKind,
    /// Bars before its first value, as a formula over the parameters.
    pub lookback: &'static str,
    /// What it computes, in words or as a formula.
    pub definition: &'static str,
    /// Unit of the result; `of x` is that of the first argument.
    pub unit: &'static str,
    /// Where the definition comes from; may be empty.
    pub source: &'static str,
    /// Uses of it.
    pub examples: &'static [&'static str],
    /// What it is made of.
    pub body: Body,
}

impl Definition {
    /// Names of its outputs where it has several.
    #[must_use]
    pub fn members(&self) -> &'static [Member] {
        match self.body {
            Body::Members(members) => members,
            _ => &[],
        }
    }

    /// Whether it is written with parentheses.
    #[must_use]
    pub fn is_call(&self) -> bool {
        match self.kind {
            FunctionKind::Field => false,
            FunctionKind::Attribute => !self.parameters.is_empty(),
            FunctionKind::Part => !matches!(self.body, Body::Benchmark(_)),
            _ => true,
        }
    }

    /// Type of its result.
    #[must_use]
    pub fn result(&self) -> ValueKind {
        match self.body {
            Body::Field(Field::Trades) | Body::Number(NumberAttribute::DaysListed) => ValueKind::Integer,
            Body::Text(_) => ValueKind::Text,
            Body::Window(Window::HighestAgo | Window::LowestAgo)
            | Body::Cross(Across::Rank | Across::Bucket | Across::Count) => ValueKind::Integer,
            Body::Number(NumberAttribute::Active)
            | Body::Cross(Across::Top | Across::Bottom)
            | Body::IsNull
            | Body::Contains
            | Body::StartsWith
            | Body::InUniverse
            | Body::Unary(Unary::Not | Unary::IsNull) => ValueKind::Bool,
            Body::Expansion(_) if self.unit == "bool" => ValueKind::Bool,
            Body::Expansion(_) if self.unit == "count" => ValueKind::Integer,
            _ => ValueKind::Number,
        }
    }
}

const TABLES: [&[Definition]; 4] = [field::TABLE, scalar::TABLE, series::TABLE, cross::TABLE];

static BY_NAME: LazyLock<HashMap<&'static str, &'static Definition>> =
    LazyLock::new(|| with_parts().map(|d| (d.name, d)).collect());

/// Every entry that callers are told of, in the order of the contract: fields, attributes, element-wise, series,
/// over the population.
pub fn all() -> impl Iterator<Item = &'static Definition> {
    TABLES.into_iter().flatten()
}

/// Every entry.
pub(crate) fn with_parts() -> impl Iterator<Item = &'static Definition> {
    all().chain(part::TABLE)
}

/// The entry of a name in lower case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Definition> {
    BY_NAME.get(name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lower_case() {
        assert_eq!(BY_NAME.len(), with_parts().count());
        for definition in all() {
            assert_eq!(definition.name, definition.name.to_ascii_lowercase());
            assert!(!definition.definition.is_empty(), "{}", definition.name);
            if definition.kind == FunctionKind::Series {
                assert!(!definition.lookback.is_empty(), "{}", definition.name);
            }
        }
    }
}
