//! Element-wise functions.

use super::ParameterKind::{Bool, Either, Integer, Literal, Number, Text};
use super::{Body, Definition, FunctionKind, Parameter};
use crate::plan::{Binary, Unary};

const fn function(
    name: &'static str,
    parameters: &'static [Parameter],
    body: Body,
    definition: &'static str,
    unit: &'static str,
    examples: &'static [&'static str],
) -> Definition {
    Definition {
        name,
        parameters,
        kind: FunctionKind::Elementwise,
        lookback: "0",
        definition,
        unit,
        source: "",
        examples,
        body,
    }
}

const X: Parameter = Parameter::new("x", Number);
const A: Parameter = Parameter::new("a", Number);
const B: Parameter = Parameter::new("b", Number);

pub(super) const TABLE: &[Definition] = &[
    function("abs", &[X], Body::Unary(Unary::Abs), "distance from zero", "of x", &["abs(change_pct)"]),
    function("sign", &[X], Body::Unary(Unary::Sign), "-1, 0 or 1", "", &["sign(change)"]),
    function("sqrt", &[X], Body::Unary(Unary::Sqrt), "square root; null below zero", "", &["sqrt(volume)"]),
    function("exp", &[X], Body::Unary(Unary::Exp), "e to the x", "", &["exp(log_return(close, 1))"]),
    function(
        "log",
        &[X],
        Body::Unary(Unary::Log),
        "natural logarithm; null at and below zero",
        "",
        &["log(market_cap)"],
    ),
    function(
        "floor",
        &[X],
        Body::Unary(Unary::Floor),
        "largest whole number not above x",
        "of x",
        &["floor(close)"],
    ),
    function(
        "ceil",
        &[X],
        Body::Unary(Unary::Ceil),
        "smallest whole number not below x",
        "of x",
        &["ceil(close)"],
    ),
    function(
        "round",
        &[X, Parameter::new("d", Integer).or("0").within(-12.0, 12.0)],
        Body::Round,
        "x to d decimals, half away from zero",
        "of x",
        &["round(close, 2)"],
    ),
    function(
        "min",
        &[A, B],
        Body::Fold(Binary::Minimum),
        "the smallest; null if one is",
        "of x",
        &["min(open, close)"],
    ),
    function(
        "max",
        &[A, B],
        Body::Fold(Binary::Maximum),
        "the largest; null if one is",
        "of x",
        &["max(open, close)"],
    ),
    function(
        "clamp",
        &[X, Parameter::new("lo", Number), Parameter::new("hi", Number)],
        Body::Expansion("min(max(x, lo), hi)"),
        "min(max(x, lo), hi)",
        "of x",
        &["clamp(rel_volume(20), 0, 5)"],
    ),
    function(
        "if",
        &[Parameter::new("c", Bool), Parameter::new("a", Either), Parameter::new("b", Either)],
        Body::If,
        "a where c is true, b where it is false, null where it is null",
        "of a",
        &["if(close > open, 1, 0)"],
    ),
    function(
        "coalesce",
        &[Parameter::new("a", Either), Parameter::new("b", Either)],
        Body::Fold(Binary::Coalesce),
        "the first that is not null",
        "of x",
        &["coalesce(bar_vwap, typical)"],
    ),
    function(
        "is_null",
        &[Parameter::new("x", super::ParameterKind::Any)],
        Body::IsNull,
        "whether x is null",
        "bool",
        &["is_null(market_cap)"],
    ),
    function(
        "contains",
        &[Parameter::new("s", Text), Parameter::new("t", Literal)],
        Body::Contains,
        "whether the text s holds t, ignoring ASCII case",
        "bool",
        &["contains(name, 'bank')"],
    ),
    function(
        "starts_with",
        &[Parameter::new("s", Text), Parameter::new("t", Literal)],
        Body::StartsWith,
        "whether the text s starts with t, ignoring ASCII case",
        "bool",
        &["starts_with(symbol, 'A')"],
    ),
];
