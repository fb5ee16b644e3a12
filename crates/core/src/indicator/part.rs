//! What definitions are made of and callers are not told of: functions that stand for an operation of the plan
//! where the contract's functions only use it. They can be called, so that a plan's text is one that parses.

use super::ParameterKind::Series;
use super::{Body, Definition, FunctionKind, Parameter};
use crate::bar::Field;
use crate::plan::{Against, Recursive, Window};

const fn part(
    name: &'static str,
    parameters: &'static [Parameter],
    body: Body,
    definition: &'static str,
) -> Definition {
    Definition {
        name,
        parameters,
        kind: FunctionKind::Part,
        lookback: "",
        definition,
        unit: "of x",
        source: "",
        examples: &[],
        body,
    }
}

const X: Parameter = Parameter::new("x", Series);
const B: Parameter = Parameter::new("b", Series);
const N: Parameter = Parameter::window("n", 1);

pub(super) const TABLE: &[Definition] = &[
    part("mean_deviation", &[X, N], Body::Window(Window::MeanDeviation), "mean distance from the mean"),
    part("peak", &[X, N], Body::Window(Window::Peak), "largest of up to n"),
    part("trough", &[X, N], Body::Window(Window::Trough), "smallest of up to n"),
    part("deepest", &[X, N], Body::Window(Window::Fall), "smallest ratio to the largest so far, of up to n"),
    part("wilder_sum", &[X, N], Body::Recursive(Recursive::WilderSum), "sum of n-1, then S - S/n + x"),
    part("total", &[X], Body::Recursive(Recursive::Total), "sum of all so far"),
    part("late_ema", &[X, N, Parameter::window("skip", 0)], Body::Late, "ema without the first skip values"),
    part("beta_of", &[X, B, N], Body::Against(Against::Beta), "cov(r, b) / var(b) of returns"),
    part("corr_of", &[X, B, N], Body::Against(Against::Correlation), "Pearson of returns"),
    part("excess_of", &[X, B, N], Body::Against(Against::Excess), "return less the benchmark's"),
    part("benchmark_close", &[], Body::Benchmark(Field::Close), "the benchmark's close"),
];
