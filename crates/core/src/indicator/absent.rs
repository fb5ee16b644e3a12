//! What the contract knows and this build does not compute. The signatures are here so that every other mistake
//! around them is still found; moving an entry to its family's table with a body makes it work.

use super::ParameterKind::{Bool, Constant, Group, Literal, Number, Series};
use super::{Body, Definition, FunctionKind, Member, Parameter};
use crate::plan::ValueKind;

const fn series(
    name: &'static str,
    parameters: &'static [Parameter],
    lookback: &'static str,
    definition: &'static str,
    unit: &'static str,
) -> Definition {
    Definition {
        name,
        parameters,
        kind: FunctionKind::Series,
        lookback,
        definition,
        unit,
        source: "",
        examples: &[],
        body: Body::Absent(ValueKind::Number),
    }
}

const fn members(
    name: &'static str,
    parameters: &'static [Parameter],
    lookback: &'static str,
    definition: &'static str,
    members: &'static [Member],
) -> Definition {
    Definition { body: Body::Members(members), ..series(name, parameters, lookback, definition, "") }
}

const fn output(name: &'static str, unit: &'static str) -> Member {
    Member { name, text: "", unit }
}

const fn cross(
    name: &'static str,
    parameters: &'static [Parameter],
    definition: &'static str,
    unit: &'static str,
    result: ValueKind,
) -> Definition {
    Definition {
        kind: FunctionKind::CrossSection,
        body: Body::Absent(result),
        ..series(name, parameters, "", definition, unit)
    }
}

const CLOSE: Parameter = Parameter::series("x", "close");
const X: Parameter = Parameter::new("x", Series);
const Y: Parameter = Parameter::new("y", Series);
const N: Parameter = Parameter::window("n", 1);
const N2: Parameter = Parameter::window("n", 2);

const V: Parameter = Parameter::new("x", Number);
const BY: Parameter = Parameter::new("by", Group).optional();
const WHERE: Parameter = Parameter::new("where", Bool).optional();
const COUNT: Parameter = Parameter::new("n", super::ParameterKind::Integer).within(1.0, 50_000.0);
const SHARE: Parameter = Parameter::new("lo", Constant).or("0.01").within(0.0, 0.5);

use ValueKind::{Bool as Truth, Integer as Whole, Number as Real};

pub(super) const TABLE: &[Definition] = &[
    Definition {
        kind: FunctionKind::Attribute,
        body: Body::Absent(Truth),
        ..series("in_universe", &[Parameter::new("id", Literal)], "0", "membership as of the scan", "bool")
    },
    series("wma", &[CLOSE, N], "n-1", "sum of k*x_k over n(n+1)/2, the newest weighs n", "of x"),
    series("median", &[X, N], "n-1", "median of the last n", "of x"),
    series(
        "quantile",
        &[X, N, Parameter::new("q", Constant).within(0.0, 1.0)],
        "n-1",
        "linear between order statistics, position q(n-1)",
        "of x",
    ),
    series(
        "highest_bars_ago",
        &[Parameter::series("x", "high"), N],
        "n-1",
        "bars since the largest of the last n; the newest of equals",
        "bars",
    ),
    series(
        "lowest_bars_ago",
        &[Parameter::series("x", "low"), N],
        "n-1",
        "bars since the smallest of the last n; the newest of equals",
        "bars",
    ),
    series("plus_di", &[N2.or("14")], "n", "100 * S(+DM) / S(TR), Wilder's sums", "0..100"),
    series("minus_di", &[N2.or("14")], "n", "100 * S(-DM) / S(TR), Wilder's sums", "0..100"),
    series("adx", &[N2.or("14")], "2*n-1", "Wilder's mean of DX", "0..100"),
    members(
        "macd",
        &[
            CLOSE,
            Parameter::window("fast", 1).or("12"),
            Parameter::window("slow", 1).or("26"),
            Parameter::window("signal", 1).or("9"),
        ],
        "slow+signal-2",
        "line = ema(fast) - ema(slow), both seeded by means that end at bar slow-1; signal = ema of line; hist = \
         line - signal",
        &[output("line", "of x"), output("signal", "of x"), output("hist", "of x")],
    ),
    series("cci", &[N.or("20")], "n-1", "(tp - mean) / (0.015 * mean absolute deviation)", ""),
    members(
        "aroon",
        &[N.or("14")],
        "n",
        "up = 100 * (n - highest_bars_ago(high, n+1)) / n; down with low; osc = up - down",
        &[output("up", "0..100"), output("down", "0..100"), output("osc", "-100..100")],
    ),
    series("obv", &[], "0", "starts at volume; plus or minus volume when close rises or falls", "shares"),
    series("ad", &[], "0", "sum of volume * ((c-l) - (h-c)) / (h-l), 0 when h = l", "shares"),
    series(
        "linreg_slope",
        &[CLOSE, N2.or("14")],
        "n-1",
        "slope of least squares over the last n",
        "of x per bar",
    ),
    series("linreg_r2", &[CLOSE, N2.or("14")], "n-1", "r squared of least squares over the last n", "0..1"),
    series("ts_rank", &[X, N], "n-1", "100 * (average rank among the last n - 0.5) / n", "0..100"),
    series("corr", &[X, Y, N2], "n-1", "Pearson of levels; null when a variance is 0", "-1..1"),
    series("cov", &[X, Y, N2], "n-1", "covariance of levels, divided by n", ""),
    series("beta", &[N2.or("60")], "n", "cov(r, b) / var(b) of simple returns against the benchmark", ""),
    series("corr_benchmark", &[N2.or("60")], "n", "Pearson of the same returns", "-1..1"),
    series("excess_return", &[N.or("20")], "n", "roc(n) minus the benchmark's", "%"),
    series("drawdown", &[N.or("252")], "0", "100 * (close / max close of up to n bars - 1)", "%"),
    series("max_drawdown", &[N.or("252")], "0", "lowest drawdown within the window", "%"),
    series("pct_from_high", &[N.or("252")], "0", "100 * (close / highest(high) - 1) over up to n bars", "%"),
    series("pct_from_low", &[N.or("252")], "0", "100 * (close / lowest(low) - 1) over up to n bars", "%"),
    series(
        "bars_since",
        &[Parameter::new("c", super::ParameterKind::Condition), N.or("252")],
        "n-1",
        "bars since c was last true; null if not within n",
        "count",
    ),
    cross("rank", &[V, BY, WHERE], "1 + number of values greater than x", "1..N", Whole),
    cross("percentile", &[V, BY, WHERE], "100 * (average ascending rank - 0.5) / N", "0..100", Real),
    cross("zscore", &[V, BY, WHERE], "(x - mean) / deviation", "", Real),
    cross(
        "robust_zscore",
        &[V, Parameter::new("clip", Constant).or("0").within(0.0, 1e9), BY, WHERE],
        "(x - median) / (1.4826 * median absolute deviation)",
        "",
        Real,
    ),
    cross(
        "winsorize",
        &[V, SHARE, Parameter::new("hi", Constant).or("0.99").within(0.5, 1.0), BY, WHERE],
        "limited to the quantiles lo and hi",
        "of x",
        Real,
    ),
    cross("demean", &[V, BY, WHERE], "x - mean of the population", "of x", Real),
    cross("neutralize", &[V, Parameter::new("by", Group), WHERE], "x - mean of the group", "of x", Real),
    cross(
        "bucket",
        &[V, Parameter::window("n", 1).or("10"), BY, WHERE],
        "1 + floor(percentile * n / 100), n at most",
        "1..n",
        Whole,
    ),
    cross("top", &[V, COUNT, BY, WHERE], "rank(x) <= n", "bool", Truth),
    cross("bottom", &[V, COUNT, BY, WHERE], "rank(-x) <= n", "bool", Truth),
    cross("group_mean", &[V, BY, WHERE], "mean of the population or group", "of x", Real),
    cross("group_median", &[V, BY, WHERE], "median of the population or group", "of x", Real),
    cross("group_sum", &[V, BY, WHERE], "sum of the population or group", "of x", Real),
    cross("group_count", &[V, BY, WHERE], "number of values in the population or group", "count", Whole),
    cross(
        "breadth",
        &[Parameter::new("c", Bool), BY, WHERE],
        "100 * share of non-null c that is true",
        "0..100",
        Real,
    ),
    cross("score", &[], "weighted sum of the transformed factors", "", Real),
    series("technical", &[], "33", "mean of four 0/1 tests of trend and momentum", "0..1"),
];
