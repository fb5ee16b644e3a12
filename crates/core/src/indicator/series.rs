//! Functions over one symbol's bars.

use super::ParameterKind::{Condition, Constant, Operand, Series};
use super::{Body, Definition, FunctionKind, Member, Parameter};
use crate::plan::{Recursive, Window};

const fn function(
    name: &'static str,
    parameters: &'static [Parameter],
    lookback: &'static str,
    body: Body,
) -> Definition {
    Definition {
        name,
        parameters,
        kind: FunctionKind::Series,
        lookback,
        definition: "",
        unit: "",
        source: "",
        examples: &[],
        body,
    }
}

impl Definition {
    const fn says(self, definition: &'static str, unit: &'static str) -> Self {
        Self { definition, unit, ..self }
    }

    const fn from(self, source: &'static str, examples: &'static [&'static str]) -> Self {
        Self { source, examples, ..self }
    }
}

/// A function whose definition is its expansion.
const fn expansion(
    name: &'static str,
    parameters: &'static [Parameter],
    lookback: &'static str,
    text: &'static str,
    unit: &'static str,
) -> Definition {
    function(name, parameters, lookback, Body::Expansion(text)).says(text, unit)
}

const CLOSE: Parameter = Parameter::series("x", "close");
const X: Parameter = Parameter::new("x", Series);
const C: Parameter = Parameter::new("c", Condition);
const N: Parameter = Parameter::window("n", 1);

const BBANDS: &[Member] = &[
    Member { name: "upper", text: "sma(x, n) + up * stddev(x, n)", unit: "of x" },
    Member { name: "middle", text: "sma(x, n)", unit: "of x" },
    Member { name: "lower", text: "sma(x, n) - down * stddev(x, n)", unit: "of x" },
    Member {
        name: "width",
        text: "(sma(x, n) + up * stddev(x, n) - (sma(x, n) - down * stddev(x, n))) / sma(x, n)",
        unit: "ratio",
    },
    // The deviation of equal values may round to something above zero, hence the test.
    Member {
        name: "pctb",
        text: "(x - (sma(x, n) - down * stddev(x, n))) / if(highest(x, n) == lowest(x, n), 0, \
               sma(x, n) + up * stddev(x, n) - (sma(x, n) - down * stddev(x, n)))",
        unit: "ratio",
    },
];

/// The text of stoch's fast line.
macro_rules! fast {
    () => {
        "if(highest(high, k) == lowest(low, k), 0, \
         100 * (close - lowest(low, k)) / (highest(high, k) - lowest(low, k)))"
    };
}

/// Both outputs start together, where the slower one does.
const STOCH: &[Member] = &[
    Member {
        name: "k",
        text: concat!(
            "if(is_null(sma(sma(",
            fast!(),
            ", smooth), d)), sma(sma(",
            fast!(),
            ", smooth), d), sma(",
            fast!(),
            ", smooth))"
        ),
        unit: "0..100",
    },
    Member { name: "d", text: concat!("sma(sma(", fast!(), ", smooth), d)"), unit: "0..100" },
];

/// Money that flowed in, and money that flowed either way.
macro_rules! money {
    (in) => {
        "sum(if(typical > typical[1], typical * volume, 0), n)"
    };
    (out) => {
        "sum(if(typical < typical[1], typical * volume, 0), n)"
    };
}

pub(super) const TABLE: &[Definition] = &[
    function("sma", &[CLOSE, N], "n-1", Body::Window(Window::Mean))
        .says("mean of the last n", "of x")
        .from("TA-Lib SMA", &["sma(20)", "sma(volume, 20)"]),
    function("ema", &[CLOSE, N], "n-1", Body::Recursive(Recursive::Ema))
        .says("first value = mean of the first n; then e += 2/(n+1) * (x-e)", "of x")
        .from("TA-Lib EMA", &["ema(20)"]),
    function("rma", &[CLOSE, N], "n-1", Body::Recursive(Recursive::Rma))
        .says("as ema with 1/n", "of x")
        .from("Wilder 1978", &["rma(14)"]),
    expansion("dema", &[CLOSE, N], "2*(n-1)", "2 * ema(x, n) - ema(ema(x, n), n)", "of x")
        .from("TA-Lib DEMA", &["dema(20)"]),
    expansion(
        "tema",
        &[CLOSE, N],
        "3*(n-1)",
        "3 * ema(x, n) - 3 * ema(ema(x, n), n) + ema(ema(ema(x, n), n), n)",
        "of x",
    )
    .from("TA-Lib TEMA", &["tema(20)"]),
    function("sum", &[X, N], "n-1", Body::Window(Window::Sum))
        .says("sum of the last n", "of x")
        .from("", &["sum(volume, 20)"]),
    function("stddev", &[X, N], "n-1", Body::Window(Window::StdDev))
        .says("standard deviation of the last n, divided by n", "of x")
        .from("TA-Lib STDDEV", &["stddev(close, 20)"]),
    function("variance", &[X, N], "n-1", Body::Window(Window::Variance))
        .says("variance of the last n, divided by n", "")
        .from("TA-Lib VAR", &["variance(close, 20)"]),
    function("highest", &[Parameter::series("x", "high"), N], "n-1", Body::Window(Window::Highest))
        .says("largest of the last n, this bar included", "of x")
        .from("TA-Lib MAX", &["highest(20)", "highest(close, 252)"]),
    function("lowest", &[Parameter::series("x", "low"), N], "n-1", Body::Window(Window::Lowest))
        .says("smallest of the last n, this bar included", "of x")
        .from("TA-Lib MIN", &["lowest(20)"]),
    function("rsi", &[CLOSE, Parameter::window("n", 2).or("14")], "n", Body::Recursive(Recursive::Rsi))
        .says(
            "G, D = means of the first n gains and losses, then Wilder; 100*G/(G+D), 0 when G+D = 0",
            "0..100",
        )
        .from("TA-Lib RSI", &["rsi(14)"]),
    expansion("trange", &[], "1", "max(high - low, abs(high - close[1]), abs(low - close[1]))", "USD")
        .from("TA-Lib TRANGE", &["trange()"]),
    expansion("atr", &[N.or("14")], "n", "rma(trange(), n)", "USD").from("TA-Lib ATR", &["atr(14)"]),
    expansion("natr", &[N.or("14")], "n", "100 * atr(n) / close", "%").from("TA-Lib NATR", &["natr(14)"]),
    function(
        "bbands",
        &[
            CLOSE,
            N.or("20"),
            Parameter::new("up", Constant).or("2"),
            Parameter::new("down", Constant).or("2"),
        ],
        "n-1",
        Body::Members(BBANDS),
    )
    .says(
        "middle = sma; upper, lower = middle + up, - down standard deviations; width = (upper-lower)/middle; \
         pctb = (x-lower)/(upper-lower), null when 0",
        "of x, ratio",
    )
    .from("TA-Lib BBANDS", &["bbands(20).upper", "bbands(20, 2, 2).pctb < 0"]),
    function(
        "stoch",
        &[
            Parameter::window("k", 1).or("14"),
            Parameter::window("smooth", 1).or("3"),
            Parameter::window("d", 1).or("3"),
        ],
        "k+smooth+d-3",
        Body::Members(STOCH),
    )
    .says(
        "fast = 100*(c-LL)/(HH-LL) over k bars, 0 when HH = LL; .k = sma(fast, smooth); .d = sma(.k, d)",
        "0..100",
    )
    .from("TA-Lib STOCH", &["stoch(14, 3, 3).k < 20"]),
    expansion(
        "willr",
        &[N.or("14")],
        "n-1",
        "if(highest(high, n) == lowest(low, n), 0, \
         100 * (close - highest(high, n)) / (highest(high, n) - lowest(low, n)))",
        "-100..0",
    )
    .from("TA-Lib WILLR", &["willr(14) < -80"]),
    expansion(
        "mfi",
        &[N.or("14")],
        "n",
        concat!(
            "if(",
            money!(in),
            " + ",
            money!(out),
            " == 0, 0, 100 * ",
            money!(in),
            " / (",
            money!(in),
            " + ",
            money!(out),
            "))"
        ),
        "0..100",
    )
    .from("TA-Lib MFI", &["mfi(14)"]),
    expansion("roc", &[CLOSE, N.or("10")], "n", "100 * (x / lag(x, n) - 1)", "%")
        .from("TA-Lib ROC; null when x[n] is 0", &["roc(63)"]),
    expansion("mom", &[CLOSE, N.or("10")], "n", "x - lag(x, n)", "of x").from("TA-Lib MOM", &["mom(10)"]),
    expansion("log_return", &[CLOSE, N.or("1")], "n", "log(x / lag(x, n))", "ratio")
        .from("", &["log_return(1)"]),
    expansion(
        "ts_zscore",
        &[X, N],
        "n-1",
        "(x - sma(x, n)) / if(highest(x, n) == lowest(x, n), 0, stddev(x, n))",
        "",
    )
    .from("", &["ts_zscore(close, 20)"]),
    expansion(
        "realized_vol",
        &[
            Parameter::window("n", 2).or("20"),
            Parameter::new("per_year", Constant).or("252").within(0.0, 1e9),
        ],
        "n",
        "100 * sqrt(per_year * variance(log_return(close, 1), n) * n / (n - 1))",
        "% a year",
    )
    .from("sample deviation of log_return", &["realized_vol(20)"]),
    expansion(
        "vwap",
        &[N.or("20")],
        "n-1",
        "sum(coalesce(bar_vwap, typical) * volume, n) / sum(volume, n)",
        "USD",
    )
    .from("", &["vwap(20)", "close > vwap(20)"]),
    expansion("session_vwap", &[], "0", "coalesce(bar_vwap, typical)", "USD")
        .from("on daily bars", &["session_vwap()"]),
    expansion("adv", &[N.or("20")], "n-1", "sma(dollar_volume, n)", "USD").from("", &["adv(20) > 10M"]),
    expansion("rel_volume", &[N.or("20")], "n", "volume / sma(volume, n)[1]", "ratio")
        .from("", &["rel_volume(20) > 2"]),
    expansion(
        "crosses_above",
        &[Parameter::new("a", Operand), Parameter::new("b", Operand)],
        "1",
        "if(lag(a, 1) <= lag(b, 1), a > b, false)",
        "bool",
    )
    .from("", &["close crosses_above sma(50)"]),
    expansion(
        "crosses_below",
        &[Parameter::new("a", Operand), Parameter::new("b", Operand)],
        "1",
        "if(lag(a, 1) >= lag(b, 1), a < b, false)",
        "bool",
    )
    .from("", &["rsi(14) crosses_below 70"]),
    expansion(
        "crosses",
        &[Parameter::new("a", Operand), Parameter::new("b", Operand)],
        "1",
        "crosses_above(a, b) or crosses_below(a, b)",
        "bool",
    )
    .from("", &["close crosses sma(200)"]),
    expansion("count", &[C, N], "n-1", "sum(if(c, 1, 0), n)", "count").from("", &["count(close > open, 10)"]),
    expansion("any", &[C, N], "n-1", "count(c, n) > 0", "bool").from("", &["any(change_pct > 10, 5)"]),
    expansion("all", &[C, N], "n-1", "count(c, n) == n", "bool").from("", &["all(close > open, 3)"]),
    expansion("delta", &[X, Parameter::window("k", 0).or("1")], "k", "x - lag(x, k)", "of x")
        .from("", &["delta(close)"]),
    function(
        "lag",
        &[Parameter::new("x", super::ParameterKind::Any), Parameter::window("k", 0)],
        "k",
        Body::Lag,
    )
    .says("x[k]: the value k bars earlier", "of x")
    .from("", &["lag(close, 5)", "close[5]"]),
    expansion("momentum", &[], "251", "roc(close[21], 230)", "%")
        .from("twelve months without the last", &["momentum()"]),
    expansion("volatility", &[], "60", "realized_vol(60)", "% a year").from("", &["volatility()"]),
    expansion("liquidity", &[], "19", "log(adv(20))", "").from("", &["liquidity()"]),
    expansion("reversal", &[], "5", "-roc(5)", "%").from("", &["reversal()"]),
];
