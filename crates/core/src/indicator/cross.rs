//! Functions over a population: one value per symbol that depends on the others.

use super::ParameterKind::{Bool, Constant, Group, Integer, Number};
use super::{Across, Body, Definition, FunctionKind, Parameter};

const fn function(
    name: &'static str,
    parameters: &'static [Parameter],
    across: Across,
    definition: &'static str,
    unit: &'static str,
    examples: &'static [&'static str],
) -> Definition {
    Definition {
        name,
        parameters,
        kind: FunctionKind::CrossSection,
        lookback: "",
        definition,
        unit,
        source: "",
        examples,
        body: Body::Cross(across),
    }
}

const X: Parameter = Parameter::new("x", Number);
const BY: Parameter = Parameter::new("by", Group).optional();
const WHERE: Parameter = Parameter::new("where", Bool).optional();
const COUNT: Parameter = Parameter::new("n", Integer).within(1.0, 50_000.0);

pub(super) const TABLE: &[Definition] = &[
    function(
        "rank",
        &[X, BY, WHERE],
        Across::Rank,
        "1 + number of values greater than x; equals share the smallest; 1 is the highest",
        "1..N",
        &["rank(roc(63))", "rank(close, by=sector)"],
    ),
    function(
        "percentile",
        &[X, BY, WHERE],
        Across::Percentile,
        "100 * (average ascending rank - 0.5) / N",
        "0..100",
        &["percentile(volume)"],
    ),
    function(
        "zscore",
        &[X, BY, WHERE],
        Across::ZScore,
        "(x - mean) / deviation, divided by N; null when N < 2 or the deviation is 0",
        "",
        &["zscore(atr(14)/close, by=sector)"],
    ),
    function(
        "robust_zscore",
        &[X, Parameter::new("clip", Constant).or("0").within(0.0, 1e9), BY, WHERE],
        Across::RobustZScore,
        "(x - median) / (1.4826 * median(abs(x - median))), null when that is 0; clip=3 limits to plus and minus 3",
        "",
        &["robust_zscore(roc(63), clip=3)"],
    ),
    function(
        "winsorize",
        &[
            X,
            Parameter::new("lo", Constant).or("0.01").within(0.0, 0.5),
            Parameter::new("hi", Constant).or("0.99").within(0.5, 1.0),
            BY,
            WHERE,
        ],
        Across::Winsorize,
        "limited to [s[floor(lo*N)], s[ceil(hi*N)-1]], s ascending from 0",
        "of x",
        &["winsorize(roc(63), lo=0.05, hi=0.95)"],
    ),
    function(
        "demean",
        &[X, BY, WHERE],
        Across::Demean,
        "x - mean of the population or group",
        "of x",
        &["demean(roc(20))"],
    ),
    function(
        "neutralize",
        &[X, Parameter::new("by", Group), WHERE],
        Across::Demean,
        "x - mean of the group",
        "of x",
        &["neutralize(roc(20), by=sector)"],
    ),
    function(
        "bucket",
        &[X, Parameter::window("n", 1).or("10"), BY, WHERE],
        Across::Bucket,
        "1 + floor(percentile * n / 100), n at most",
        "1..n",
        &["bucket(market_cap, 5)"],
    ),
    function("top", &[X, COUNT, BY, WHERE], Across::Top, "rank(x) <= n", "bool", &["top(roc(63), 50)"]),
    function(
        "bottom",
        &[X, COUNT, BY, WHERE],
        Across::Bottom,
        "rank(-x) <= n",
        "bool",
        &["bottom(realized_vol(60), 3, by=sector)"],
    ),
    function(
        "group_mean",
        &[X, BY, WHERE],
        Across::Mean,
        "mean of the population or group",
        "of x",
        &["group_mean(roc(20), by=sector)"],
    ),
    function(
        "group_median",
        &[X, BY, WHERE],
        Across::Median,
        "median of the population or group",
        "of x",
        &["group_median(close, by=sector)"],
    ),
    function(
        "group_sum",
        &[X, BY, WHERE],
        Across::Sum,
        "sum of the population or group",
        "of x",
        &["market_cap / group_sum(market_cap)"],
    ),
    function(
        "group_count",
        &[X, BY, WHERE],
        Across::Count,
        "number of values in the population or group",
        "count",
        &["group_count(close, by=sector)"],
    ),
    function(
        "breadth",
        &[Parameter::new("c", Bool), BY, WHERE],
        Across::Breadth,
        "100 * share of non-null c that is true",
        "0..100",
        &["breadth(close > sma(200), by=sector)"],
    ),
    Definition {
        body: Body::Score,
        ..function(
            "score",
            &[],
            Across::Sum,
            "sum of weight * t(x) over the scan's factors, t = transform after winsorize",
            "",
            &["score()"],
        )
    },
];
