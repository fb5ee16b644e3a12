//! Functions over one symbol's bars.

use super::ParameterKind::{Condition, Constant, Operand, Series};
use super::{Body, Definition, FunctionKind, Member, Parameter};
use crate::plan::{Pair, Recursive, Window};

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
const Y: Parameter = Parameter::new("y", Series);
const N: Parameter = Parameter::window("n", 1);
const N2: Parameter = Parameter::window("n", 2);

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

/// The line of macd before its signal starts.
macro_rules! line {
    () => {
        "(late_ema(x, fast, slow - fast) - ema(x, slow))"
    };
}

/// All three start together, where the signal does.
const MACD: &[Member] = &[
    Member {
        name: "line",
        text: concat!("if(is_null(ema(", line!(), ", signal)), ema(", line!(), ", signal), ", line!(), ")"),
        unit: "of x",
    },
    Member { name: "signal", text: concat!("ema(", line!(), ", signal)"), unit: "of x" },
    Member { name: "hist", text: concat!(line!(), " - ema(", line!(), ", signal)"), unit: "of x" },
];

/// Both sides of aroon.
macro_rules! aroon {
    (up) => {
        "100 * (n - highest_bars_ago(high, n + 1)) / n"
    };
    (down) => {
        "100 * (n - lowest_bars_ago(low, n + 1)) / n"
    };
}

const AROON: &[Member] = &[
    Member { name: "up", text: aroon!(up), unit: "0..100" },
    Member { name: "down", text: aroon!(down), unit: "0..100" },
    Member { name: "osc", text: concat!(aroon!(up), " - ", aroon!(down)), unit: "-100..100" },
];

/// Wilder's directional movement up or down over his true range.
macro_rules! directional {
    ($move:literal, $other:literal) => {
        concat!(
            "if(wilder_sum(trange(), n) == 0, 0, 100 * wilder_sum(if(",
            $move,
            " > ",
            $other,
            " and ",
            $move,
            " > 0, ",
            $move,
            ", 0), n) / wilder_sum(trange(), n))"
        )
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
    function("wma", &[CLOSE, N], "n-1", Body::Window(Window::Weighted))
        .says("sum of k*x_k over n(n+1)/2, the newest weighs n", "of x")
        .from("TA-Lib WMA", &["wma(20)"]),
    function("sum", &[X, N], "n-1", Body::Window(Window::Sum))
        .says("sum of the last n", "of x")
        .from("", &["sum(volume, 20)"]),
    expansion("median", &[X, N], "n-1", "quantile(x, n, 0.5)", "of x").from("", &["median(close, 20)"]),
    function("stddev", &[X, N], "n-1", Body::Window(Window::StdDev))
        .says("standard deviation of the last n, divided by n", "of x")
        .from("TA-Lib STDDEV", &["stddev(close, 20)"]),
    function("variance", &[X, N], "n-1", Body::Window(Window::Variance))
        .says("variance of the last n, divided by n", "")
        .from("TA-Lib VAR", &["variance(close, 20)"]),
    function(
        "quantile",
        &[X, N, Parameter::new("q", Constant).within(0.0, 1.0)],
        "n-1",
        Body::Quantile,
    )
    .says("linear between order statistics, position q(n-1)", "of x")
    .from("type 7", &["quantile(close, 60, 0.9)"]),
    function("highest", &[Parameter::series("x", "high"), N], "n-1", Body::Window(Window::Highest))
        .says("largest of the last n, this bar included", "of x")
        .from("TA-Lib MAX", &["highest(20)", "highest(close, 252)"]),
    function("lowest", &[Parameter::series("x", "low"), N], "n-1", Body::Window(Window::Lowest))
        .says("smallest of the last n, this bar included", "of x")
        .from("TA-Lib MIN", &["lowest(20)"]),
    function("highest_bars_ago", &[Parameter::series("x", "high"), N], "n-1", Body::Window(Window::HighestAgo))
        .says("bars since the largest of the last n, 0 = this bar; of equals the newest", "bars")
        .from("", &["highest_bars_ago(252) == 0"]),
    function("lowest_bars_ago", &[Parameter::series("x", "low"), N], "n-1", Body::Window(Window::LowestAgo))
        .says("bars since the smallest of the last n, 0 = this bar; of equals the newest", "bars")
        .from("", &["lowest_bars_ago(252) < 5"]),
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
    expansion("plus_di", &[N2.or("14")], "n", directional!("(high - high[1])", "(low[1] - low)"), "0..100")
        .from("TA-Lib PLUS_DI", &["plus_di(14) > minus_di(14)"]),
    expansion("minus_di", &[N2.or("14")], "n", directional!("(low[1] - low)", "(high - high[1])"), "0..100")
        .from("TA-Lib MINUS_DI", &["minus_di(14)"]),
    expansion(
        "adx",
        &[N2.or("14")],
        "2*n-1",
        "rma(if(plus_di(n) + minus_di(n) == 0, 0, \
         100 * abs(plus_di(n) - minus_di(n)) / (plus_di(n) + minus_di(n))), n)",
        "0..100",
    )
    .from("TA-Lib ADX", &["adx(14) > 25"]),
    function(
        "macd",
        &[
            CLOSE,
            Parameter::window("fast", 1).or("12").below("slow"),
            Parameter::window("slow", 1).or("26"),
            Parameter::window("signal", 1).or("9"),
        ],
        "slow+signal-2",
        Body::Members(MACD),
    )
    .says(
        "line = ema(fast) - ema(slow), both seeded by means that end at bar slow-1; signal = ema of line; hist = \
         line - signal; all start together",
        "of x",
    )
    .from("TA-Lib MACD", &["macd().hist > 0", "macd(12, 26, 9).line crosses_above 0"]),
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
        "cci",
        &[N.or("20")],
        "n-1",
        "if(highest(typical, n) == lowest(typical, n), 0, \
         (typical - sma(typical, n)) / (0.015 * mean_deviation(typical, n)))",
        "",
    )
    .from("TA-Lib CCI", &["cci(20) > 100"]),
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
    function("aroon", &[Parameter::window("n", 1).or("14")], "n", Body::Members(AROON))
        .says(
            "up = 100 * (n - highest_bars_ago(high, n+1)) / n; down with low; osc = up - down",
            "0..100, -100..100",
        )
        .from("TA-Lib AROON", &["aroon(25).up > 70"]),
    expansion(
        "obv",
        &[],
        "0",
        "total(coalesce(if(close > close[1], volume, if(close < close[1], -volume, 0)), volume))",
        "shares",
    )
    .from("TA-Lib OBV", &["obv() > sma(obv(), 20)"]),
    expansion(
        "ad",
        &[],
        "0",
        "total(if(high == low, 0, volume * ((close - low) - (high - close)) / (high - low)))",
        "shares",
    )
    .from("TA-Lib AD", &["delta(ad(), 20) > 0"]),
    expansion("roc", &[CLOSE, N.or("10")], "n", "100 * (x / lag(x, n) - 1)", "%")
        .from("TA-Lib ROC; null when x[n] is 0", &["roc(63)"]),
    expansion("mom", &[CLOSE, N.or("10")], "n", "x - lag(x, n)", "of x").from("TA-Lib MOM", &["mom(10)"]),
    expansion("log_return", &[CLOSE, N.or("1")], "n", "log(x / lag(x, n))", "ratio")
        .from("", &["log_return(1)"]),
    function("linreg_slope", &[CLOSE, N2.or("14")], "n-1", Body::Window(Window::Slope))
        .says("slope of least squares over the last n, time 0 to n-1", "of x per bar")
        .from("TA-Lib LINEARREG_SLOPE", &["linreg_slope(20) > 0"]),
    function("linreg_r2", &[CLOSE, N2.or("14")], "n-1", Body::Window(Window::Fit))
        .says("r squared of least squares over the last n; null where x does not vary", "0..1")
        .from("", &["linreg_r2(60) > 0.8"]),
    expansion(
        "ts_zscore",
        &[X, N],
        "n-1",
        "(x - sma(x, n)) / if(highest(x, n) == lowest(x, n), 0, stddev(x, n))",
        "",
    )
    .from("", &["ts_zscore(close, 20)"]),
    function("ts_rank", &[X, N], "n-1", Body::Window(Window::Rank))
        .says("100 * (average rank of x among the last n, ascending, - 0.5) / n", "0..100")
        .from("", &["ts_rank(volume, 60) > 90"]),
    function("corr", &[X, Y, N2], "n-1", Body::Pair(Pair::Correlation))
        .says("Pearson of levels; null when a variance is 0", "-1..1")
        .from("TA-Lib CORREL", &["corr(close, volume, 20)"]),
    function("cov", &[X, Y, N2], "n-1", Body::Pair(Pair::Covariance))
        .says("covariance of levels, divided by n", "")
        .from("", &["cov(close, volume, 20)"]),
    expansion("beta", &[N2.or("60")], "n", "beta_of(close, benchmark_close, n)", "")
        .says("cov(r, b) / var(b), simple returns over the last n bars that both have", "")
        .from("", &["beta(60) < 1"]),
    expansion("corr_benchmark", &[N2.or("60")], "n", "corr_of(close, benchmark_close, n)", "-1..1")
        .says("Pearson of the same returns", "-1..1")
        .from("", &["corr_benchmark(60)"]),
    expansion("excess_return", &[N.or("20")], "n", "excess_of(close, benchmark_close, n)", "%")
        .says("roc(n) minus the benchmark's", "%")
        .from("", &["excess_return(20) > 0"]),
    expansion("drawdown", &[N.or("252")], "0", "100 * (close / peak(close, n) - 1)", "%")
        .says("100 * (close / max close of up to n bars - 1)", "%")
        .from("", &["drawdown(252) > -5"]),
    expansion("max_drawdown", &[N.or("252")], "0", "100 * (deepest(close, n) - 1)", "%")
        .says("lowest drawdown within the window, the maximum running from its start", "%")
        .from("", &["max_drawdown(252) > -20"]),
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
    expansion("pct_from_high", &[N.or("252")], "0", "100 * (close / peak(high, n) - 1)", "%")
        .says("100 * (close / highest(high) - 1) over up to n bars", "%")
        .from("", &["pct_from_high(252) > -5"]),
    expansion("pct_from_low", &[N.or("252")], "0", "100 * (close / trough(low, n) - 1)", "%")
        .says("100 * (close / lowest(low) - 1) over up to n bars", "%")
        .from("", &["pct_from_low(252) > 50"]),
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
    expansion(
        "bars_since",
        &[C, N.or("252")],
        "n-1",
        "if(any(c, n), highest_bars_ago(if(c, 1, 0), n), 0 / 0)",
        "count",
    )
    .says("bars since c was last true; null if not within n", "count")
    .from("", &["bars_since(close crosses_above sma(50), 60)"]),
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
    expansion(
        "technical",
        &[],
        "49",
        "(if(close > sma(20), 1, 0) + if(sma(20) > sma(50), 1, 0) + if(rsi(14) between 50 and 70, 1, 0) + \
         if(macd().hist > 0, 1, 0)) / 4",
        "0..1",
    )
    .from("mean of four 0/1 tests", &["technical()"]),
    expansion("liquidity", &[], "19", "log(adv(20))", "").from("", &["liquidity()"]),
    expansion("reversal", &[], "5", "-roc(5)", "%").from("", &["reversal()"]),
];
