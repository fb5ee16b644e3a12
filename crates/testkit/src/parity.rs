//! What every backend has to give: bodies that compare one with [`Reference`] or with itself under a change that
//! must not matter. [`on_every_backend!`](crate::on_every_backend!) turns them into tests of a crate that hands in
//! its backends.
//!
//! Order, counts and text are compared exactly; numbers within the contract's tolerance, and to the bit where a
//! backend is compared with itself.

mod history;
mod series;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use panscan_core::plan::{Digest, Plan};
use panscan_core::port::{Cancel, Compute, ComputeError, Memo, ScanJob};
use panscan_core::rank::{Cells, RankedRows};
use panscan_core::reference::Reference;
use panscan_core::scan::{BarSelection, Factor, FactorTransform, LIMIT_MAX, MissingFactor, Order, ScanSpec};
use panscan_core::universe::Population;

use crate::world::{Random, World};

/// A named check of one backend.
pub type Body = fn(&dyn Compute);

/// Expressions that every backend answers alike. Between them they hold every operation a plan can have.
pub const EXPRESSIONS: &[&str] = &[
    "open",
    "bar_vwap",
    "trades",
    "volume * 2 - 1",
    "sma(5)",
    "sma(20)",
    "sma(252)",
    "sma(1)",
    "ema(20)",
    "rma(7)",
    "rsi(14)",
    "rsi(2)",
    "ema(bar_vwap, 5)",
    "rsi(bar_vwap, 3)",
    "ema(ema(close, 9), 9)",
    "ema(trades, 4)",
    "sma(ema(close, 5), 10)",
    "rsi(close / (close - close[1]), 4)",
    "stddev(close, 20)",
    "variance(close - open, 10)",
    "highest(20)",
    "lowest(20)",
    "highest(bar_vwap, 6)",
    "lowest(close / (close - close[1]), 5)",
    "sum(volume, 30)",
    "close[1]",
    "close[40]",
    "sma(close[3], 5)",
    "ema(close[5], 5)",
    "close / close[21] - 1",
    "close / (close - close[1])",
    "log(close) + sqrt(close) + exp(close / 1000)",
    "exp(close * 100)",
    "log(close - close[1])",
    "sqrt(close - close[1])",
    "sign(close - close[1])",
    "abs(close - open)",
    "-close",
    "floor(close) + ceil(close)",
    "round(close, 1) + round(volume)",
    "close ^ 2",
    "(close - close[1]) ^ 0.5",
    "min(open, close) + max(open, close[2])",
    "coalesce(bar_vwap, close)",
    "coalesce(close[5], 7)",
    "sum(if(is_null(close[5]), 1, 2), 10)",
    "sum(coalesce(close[3], 1), 8)",
    "sum(if(close > close[1] or close[1] > 0, 1, 0), 6)",
    "sum(if(not (close > close[1]) and close > 0, 1, 0), 6)",
    "if(close > open, close, open)",
    "if(bar_vwap > close, 1, 0)",
    "is_null(bar_vwap)",
    "close > sma(20)",
    "close >= close[1]",
    "close < open or bar_vwap > 0",
    "close <= open and bar_vwap > 0",
    "close == close[1]",
    "close != close[1]",
    "not (close > open)",
    "close between 10 and 100",
    "close crosses_above sma(5)",
    "vwap(20)",
    "market_cap",
    "market_cap / close",
    "shares_outstanding * close > market_cap",
    "sector in ['Energy', 'Utilities'] and close > 50",
    "is_null(sector) or rsi(14) > 50",
    "if(exchange == 'XNYS', sma(5), sma(10))",
    "coalesce(market_cap, volume)",
    "days_listed > 100",
    "1 + 1",
    "wma(10)",
    "wma(volume, 3)",
    "median(close, 7)",
    "median(bar_vwap, 4)",
    "quantile(close, 20, 0.9)",
    "quantile(volume, 1, 0.3)",
    "highest_bars_ago(20)",
    "lowest_bars_ago(close, 9)",
    "highest_bars_ago(close / (close - close[1]), 5)",
    "plus_di(14)",
    "minus_di(14)",
    "minus_di(2)",
    "adx(14)",
    "adx(5)",
    "macd().line",
    "macd().signal",
    "macd(3, 8, 4).hist",
    "macd(bar_vwap, 2, 5, 3).line",
    "macd(close / (close - close[1]), 2, 5, 3).hist",
    "cci(20)",
    "mfi(14)",
    "aroon(14).up",
    "aroon(14).down",
    "aroon(5).osc",
    "obv()",
    "ad()",
    "sma(obv(), 5)",
    "linreg_slope(14)",
    "linreg_slope(bar_vwap, 5)",
    "linreg_r2(14)",
    "linreg_r2(volume, 30)",
    "ts_zscore(close, 20)",
    "ts_rank(volume, 30)",
    "ts_rank(bar_vwap, 5)",
    "corr(close, volume, 20)",
    "corr(bar_vwap, open, 5)",
    "cov(close, close[1], 10)",
    "drawdown(60)",
    "drawdown()",
    "max_drawdown(60)",
    "pct_from_high()",
    "pct_from_low(30)",
    "peak(bar_vwap, 4)",
    "trough(bar_vwap, 4)",
    "deepest(bar_vwap, 6)",
    "late_ema(bar_vwap, 4, 3)",
    "wilder_sum(bar_vwap, 4)",
    "total(bar_vwap)",
    "bars_since(close > close[1], 10)",
    "bars_since(bar_vwap > close, 5)",
    "realized_vol(20)",
    "session_vwap()",
    "stoch().k - stoch().d",
    "bbands().pctb",
    "dema(9) - tema(9)",
    "technical()",
    "liquidity() + reversal() + volatility()",
    "momentum()",
    "close@1w",
    "open@1mo + high@1w - low@1mo",
    "volume@1w / volume",
    "bar_vwap@1w",
    "trades@1mo",
    "rsi(14)@1w",
    "sma(10)@1w > sma(3)@1mo",
    "ema(5)[2]@1w",
    "macd(2, 5, 3).hist@1w",
    "if(close > sma(4)@1w, change_pct@1mo, realized_vol(8)@1w)",
    "(close > close@1mo)@1w",
    "pct_from_high(52)@1w",
];

/// Expressions over the population that every backend answers alike.
pub const ACROSS: &[&str] = &[
    "rank(close)",
    "rank(trades, by=sector)",
    "percentile(volume, by=[sector, exchange])",
    "percentile(round(close), where=close > open)",
    "zscore(rsi(14))",
    "zscore(atr(14) / close, by=sector)",
    "robust_zscore(roc(20))",
    "robust_zscore(volume, clip=1.5, by=industry)",
    "winsorize(volume, lo=0.1, hi=0.9)",
    "winsorize(change_pct, by=type, where=volume > 0)",
    "demean(close)",
    "neutralize(roc(5), by=sector)",
    "bucket(market_cap, 4)",
    "bucket(close, by=country)",
    "top(roc(10), 5)",
    "bottom(close, 2, by=sector)",
    "group_mean(close, by=sector)",
    "group_median(volume)",
    "market_cap / group_sum(market_cap, by=sector)",
    "group_count(bar_vwap)",
    "breadth(close > sma(5), by=sector)",
    "zscore(rank(close))",
    "rank(zscore(winsorize(roc(5), 0.1, 0.9), by=sector) + 1 / rank(volume), where=not top(close, 3))",
    "if(percentile(close) > 50, round(close, 1), -close)",
    "coalesce(rank(bar_vwap), 7)",
    "is_null(rank(bar_vwap))",
    "rank(5)",
    "rank(close@1w) - rank(sma(3)@1mo, by=sector)",
];

/// Expressions that compare with another symbol of the world.
pub const BESIDE: &[&str] = &[
    "beta(20)",
    "beta()",
    "corr_benchmark(10)",
    "excess_return(5)",
    "excess_return(1)",
    "sma(beta(5), 3)",
    "close / benchmark_close",
    "rank(beta(5))",
];

/// Every body with its name.
pub const BODIES: &[(&str, Body)] = &[
    ("expressions_equal_the_reference", expressions),
    ("cross_sections_equal_the_reference", cross_sections),
    ("benchmarks_equal_the_reference", benchmarks),
    ("longer_bars_equal_the_reference", longer_bars),
    ("scores_equal_the_reference", scores),
    ("rows_per_group_are_limited_alike", groups),
    ("neither_names_nor_strangers_change_a_cross_section", strangers),
    ("filters_and_rankings_equal_the_reference", rankings),
    ("pages_join_to_the_whole", pages),
    ("a_symbol_does_not_depend_on_its_neighbours", neighbours),
    ("a_population_changes_no_value", populations),
    ("the_memo_changes_no_value", memo),
    ("a_cancelled_scan_says_so", cancelled),
    ("a_world_of_one_symbol_and_an_empty_one_are_answered", smallest),
    ("series_end_with_the_bits_of_a_scan_and_equal_the_reference", series::series),
    ("many_sessions_equal_a_scan_of_each", history::history),
];

/// Runs every body on every backend of `$backends`, a `fn() -> Vec<Box<dyn Compute>>`, as one test each.
#[macro_export]
macro_rules! on_every_backend {
    ($backends:path: $($body:ident),+ $(,)?) => {$(
        #[test]
        fn $body() {
            for backend in $backends() {
                $crate::parity::run(stringify!($body), &*backend);
            }
        }
    )+};
    ($backends:path) => {
        $crate::on_every_backend!(
            $backends:
            expressions_equal_the_reference,
            cross_sections_equal_the_reference,
            benchmarks_equal_the_reference,
            longer_bars_equal_the_reference,
            scores_equal_the_reference,
            rows_per_group_are_limited_alike,
            neither_names_nor_strangers_change_a_cross_section,
            filters_and_rankings_equal_the_reference,
            pages_join_to_the_whole,
            a_symbol_does_not_depend_on_its_neighbours,
            a_population_changes_no_value,
            the_memo_changes_no_value,
            a_cancelled_scan_says_so,
            a_world_of_one_symbol_and_an_empty_one_are_answered,
            series_end_with_the_bits_of_a_scan_and_equal_the_reference,
            many_sessions_equal_a_scan_of_each,
        );
    };
}

/// Runs the body called `name`; panics when the backend fails it, or there is none of this name.
pub fn run(name: &str, compute: &dyn Compute) {
    let body = BODIES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no body {name}"));
    body.1(compute);
}

/// A plan of these columns, every row, by symbol.
///
/// # Panics
///
/// When one of them is no expression.
#[must_use]
pub fn plan_of(columns: &[&str]) -> Plan {
    let spec = ScanSpec {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        limit: LIMIT_MAX,
        ..ScanSpec::default()
    };
    planned(&spec)
}

fn planned(spec: &ScanSpec) -> Plan {
    panscan_core::expr::plan(spec).unwrap_or_else(|e| panic!("{e:?}"))
}

/// Within the contract's tolerance; two nulls are alike.
#[must_use]
pub fn close_enough(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * b.abs().max(1.0)
}

/// Compares an answer with the expected one, numbers by `alike`.
///
/// # Panics
///
/// When they differ.
pub fn assert_alike(what: &str, got: &RankedRows, expected: &RankedRows, alike: fn(f64, f64) -> bool) {
    let counts = |r: &RankedRows| (r.matched, r.filter_false, r.filter_null, r.no_bars);
    assert_eq!(counts(got), counts(expected), "{what}: matched, false, null, no bars");
    assert_eq!(got.symbols, expected.symbols, "{what}: symbols");
    assert_eq!(got.columns.len(), expected.columns.len(), "{what}: columns");
    for (column, pair) in got.columns.iter().zip(&expected.columns).enumerate() {
        match pair {
            (Cells::Numbers(got_values), Cells::Numbers(values)) => {
                assert_eq!(got_values.len(), values.len(), "{what}: rows of column {column}");
                for (row, (a, b)) in got_values.iter().zip(values).enumerate() {
                    let symbol = got.symbols[row];
                    assert!(alike(*a, *b), "{what}: column {column}, {symbol:?}: {a:?}, expected {b:?}");
                    assert!(!a.is_infinite(), "{what}: column {column}, {symbol:?} is infinite");
                }
            }
            (got, expected) => assert_eq!(got, expected, "{what}: column {column}"),
        }
    }
}

fn same_bits(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn scan(compute: &dyn Compute, job: &ScanJob<'_>) -> RankedRows {
    compute.scan(job).unwrap_or_else(|e| panic!("{}: {e}", compute.describe()))
}

/// Worlds of several sizes: full and partial tiles, fewer rows than most windows, and many.
fn worlds() -> Vec<World> {
    vec![World::with_habits(75, 300, 11), World::with_habits(40, 16, 12), World::plain(33, 60, 13)]
}

fn expressions(compute: &dyn Compute) {
    for (at, world) in worlds().iter().enumerate() {
        for expression in EXPRESSIONS {
            let plan = plan_of(&[expression]);
            let job = world.job(&plan);
            let what = format!("{}, world {at}, {expression}", compute.describe());
            assert_alike(&what, &scan(compute, &job), &scan(&Reference, &job), close_enough);
        }
        // All at once: slots are shared among many nodes.
        for columns in EXPRESSIONS.chunks(24) {
            let plan = plan_of(columns);
            let job = world.job(&plan);
            let what = format!("{}, world {at}, {columns:?}", compute.describe());
            assert_alike(&what, &scan(compute, &job), &scan(&Reference, &job), close_enough);
        }
    }
}

fn cross_sections(compute: &dyn Compute) {
    for (at, world) in worlds().iter_mut().enumerate() {
        let everybody = world.population.clone();
        let most = Population::new((0..everybody.members().len()).map(|i| i % 5 != 2).collect());
        for population in [everybody, most] {
            world.population = population;
            for columns in ACROSS.chunks(1).chain(ACROSS.chunks(32)) {
                let plan = plan_of(columns);
                let job = world.job(&plan);
                let what = format!("{}, world {at}, {columns:?}", compute.describe());
                assert_alike(&what, &scan(compute, &job), &scan(&Reference, &job), close_enough);
            }
        }
    }
    let spec = ScanSpec {
        filter: "percentile(close) > 30 and not bottom(volume, 3, by=sector)".into(),
        rank_by: "zscore(rsi(14), by=sector)".into(),
        columns: vec!["rank(close)".into(), "sector".into()],
        ..ScanSpec::default()
    };
    let plan = planned(&spec);
    let world = World::with_habits(75, 60, 31);
    let job = world.job(&plan);
    assert_alike("filtered", &scan(compute, &job), &scan(&Reference, &job), close_enough);
}

/// Weeks and months without their unfinished bar, and names that are put on other bars.
fn longer_bars(compute: &dyn Compute) {
    let spec = ScanSpec {
        define: [("fast", "sma(3)"), ("both", "fast / ema(4)"), ("worth", "market_cap / sma(2)")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        columns: [
            "close@1w",
            "close@1mo",
            "both@1w",
            "both",
            "fast@1mo",
            "worth@1w + worth",
            "(worth + fast@1mo)@1w",
            "zscore(worth@1mo)",
        ]
        .map(str::to_owned)
        .into(),
        bars: BarSelection::ClosedOnly,
        limit: LIMIT_MAX,
        ..ScanSpec::default()
    };
    let plan = planned(&spec);
    for world in worlds() {
        let job = world.job(&plan);
        let answer = scan(compute, &job);
        assert_alike("closed", &answer, &scan(&Reference, &job), close_enough);
        // A definition on other bars is what its text is there.
        let apart = plan_of(&["(sma(3) / ema(4))@1w", "sma(3) / ema(4)", "(market_cap / sma(2))@1mo"]);
        let known = scan(compute, &world.job(&apart));
        assert_eq!(format!("{:?}", answer.columns[3]), format!("{:?}", known.columns[1]));
    }
}

fn benchmarks(compute: &dyn Compute) {
    // One that trades every session, one with gaps, one that came late, one that is not there.
    for benchmark in ["T00000", "T00001", "T00002", "NOBODY"] {
        let spec = ScanSpec {
            columns: BESIDE.iter().map(|c| (*c).to_owned()).collect(),
            benchmark: benchmark.to_owned(),
            limit: LIMIT_MAX,
            ..ScanSpec::default()
        };
        let plan = planned(&spec);
        for (at, world) in worlds().iter().enumerate() {
            let job = world.job(&plan);
            let what = format!("{}, world {at}, against {benchmark}", compute.describe());
            let answer = scan(compute, &job);
            assert_alike(&what, &answer, &scan(&Reference, &job), close_enough);
            if let (Cells::Numbers(betas), "T00000") = (&answer.columns[0], benchmark) {
                let own = answer.symbols.iter().position(|id| id.index() == 0);
                let beta = own.map_or(f64::NAN, |row| betas[row]);
                assert!(beta.is_nan() || (beta - 1.0).abs() < 1e-12, "{what}: {beta}");
                assert!(at > 0 || !beta.is_nan(), "{what}");
            }
        }
    }
}

fn scores(compute: &dyn Compute) {
    let factor = |name: &str, expr: &str, weight| Factor {
        name: name.to_owned(),
        expr: expr.to_owned(),
        weight,
        transform: FactorTransform::RobustZScore,
        winsorize: 0.0,
        by: String::new(),
    };
    for missing_factor in [MissingFactor::Null, MissingFactor::Center] {
        let spec = ScanSpec {
            factors: vec![
                Factor { winsorize: 0.05, ..factor("trend", "roc(20)", 0.5) },
                Factor { by: "sector".into(), ..factor("calm", "volatility()", -0.25) },
                Factor { transform: FactorTransform::Percentile, ..factor("traded", "liquidity()", 0.01) },
                Factor { transform: FactorTransform::ZScore, ..factor("Value", "bar_vwap / close", 2.0) },
                Factor { transform: FactorTransform::None, ..factor("seen", "technical()", 0.0) },
            ],
            missing_factor,
            columns: vec!["close".into(), "s = score()".into(), "half = factor_value / 2".into()],
            filter: "s > -1".into(),
            limit: LIMIT_MAX,
            ..ScanSpec::default()
        };
        let plan = planned(&spec);
        let names: Vec<&str> = plan.outputs.iter().map(|o| o.name.as_str()).collect();
        let factors = ["factor_trend", "factor_calm", "factor_traded", "factor_Value", "factor_seen"];
        assert_eq!(names[3..], factors);
        for world in worlds() {
            let job = world.job(&plan);
            let what = format!("{}, {missing_factor:?}", compute.describe());
            assert_alike(&what, &scan(compute, &job), &scan(&Reference, &job), close_enough);
        }
    }
}

fn groups(compute: &dyn Compute) {
    let world = World::with_habits(75, 60, 32);
    for (limit_per_group, rank_by) in [(1, "close"), (2, ""), (3, "rank(volume, by=sector)")] {
        let spec = ScanSpec {
            group_by: "sector".into(),
            limit_per_group,
            rank_by: rank_by.into(),
            columns: vec!["sector".into(), "close".into()],
            limit: LIMIT_MAX,
            ..ScanSpec::default()
        };
        let plan = planned(&spec);
        let job = world.job(&plan);
        let answer = scan(compute, &job);
        assert_alike(rank_by, &answer, &scan(&Reference, &job), close_enough);
        let mut seen: HashMap<String, usize> = HashMap::new();
        if let Cells::Texts(sectors) = &answer.columns[0] {
            for sector in sectors {
                *seen.entry(sector.as_deref().unwrap_or_default().to_owned()).or_default() += 1;
            }
        }
        assert!(seen.len() > 2 && seen.values().all(|rows| *rows <= limit_per_group), "{seen:?}");
        assert!(answer.matched > answer.symbols.len());
    }
}

/// Who stands beside a member in a tile, and who is no member, changes no bit of what a population makes.
fn strangers(compute: &dyn Compute) {
    let plan = plan_of(ACROSS);
    let mut world = World::with_habits(90, 60, 33);
    let kept: Vec<bool> = (0..90).map(|i| i % 3 != 1).collect();
    world.population = Population::new(kept.clone());
    let among = scan(compute, &world.job(&plan));
    let part = world.keeping(&kept);
    let alone = scan(compute, &part.job(&plan));
    assert_eq!(among.symbols.len(), alone.symbols.len());
    for (column, pair) in among.columns.iter().zip(&alone.columns).enumerate() {
        if let (Cells::Numbers(among), Cells::Numbers(alone)) = pair {
            let alike = among.iter().zip(alone).all(|(a, b)| same_bits(*a, *b));
            assert!(alike, "{}: {}", compute.describe(), plan.outputs[column].name);
        }
    }
}

fn rankings(compute: &dyn Compute) {
    for (filter, rank_by) in [
        ("", ""),
        ("close > sma(20)", "close / sma(20)"),
        ("close > sma(20) and bar_vwap > 0", "volume"),
        ("rsi(14) > 40 or sector == 'Energy'", "bar_vwap"),
        ("sector == 'Energy'", "market_cap"),
        ("close < 0", "close"),
        ("is_null(sma(100))", "close"),
    ] {
        for order in [Order::Ascending, Order::Descending] {
            for limit in [1, 10, LIMIT_MAX] {
                let spec = ScanSpec {
                    filter: filter.to_owned(),
                    rank_by: rank_by.to_owned(),
                    columns: vec!["symbol".into(), "sector".into(), "close".into(), "rsi(14)".into()],
                    order,
                    limit,
                    ..ScanSpec::default()
                };
                let plan = planned(&spec);
                for world in worlds() {
                    let job = world.job(&plan);
                    let what = format!("{}, {filter} by {rank_by} {order:?}", compute.describe());
                    assert_alike(&what, &scan(compute, &job), &scan(&Reference, &job), close_enough);
                }
            }
        }
    }
}

fn pages(compute: &dyn Compute) {
    let world = World::with_habits(75, 60, 14);
    let spec = |limit| ScanSpec {
        rank_by: "sma(5)".into(),
        columns: vec!["close".into()],
        limit,
        ..ScanSpec::default()
    };
    let whole = scan(compute, &world.job(&planned(&spec(LIMIT_MAX))));
    let plan = planned(&spec(7));
    let mut joined = Vec::new();
    for skip in (0..100).step_by(7) {
        let page = scan(compute, &ScanJob { skip, ..world.job(&plan) });
        assert_eq!(page.matched, whole.matched);
        joined.extend(page.symbols);
    }
    assert_eq!(joined, whole.symbols);
}

/// The same bars under other names stand in other lanes beside other symbols, in a tile of other length.
fn neighbours(compute: &dyn Compute) {
    EXPRESSIONS.chunks(62).for_each(|columns| neighbours_of(compute, &plan_of(columns)));
}

fn neighbours_of(compute: &dyn Compute, plan: &Plan) {
    let world = World::with_habits(90, 280, 15);
    let all = scan(compute, &world.job(plan));
    let mut random = Random::new(15, 1);
    for _ in 0..3 {
        let kept: Vec<bool> = (0..90).map(|_| random.unit() < 0.4).collect();
        let part = world.keeping(&kept);
        let rows = scan(compute, &part.job(plan));
        for (row, id) in rows.symbols.iter().enumerate() {
            let symbol = part.snapshot.universe.symbol(*id);
            let there = all.symbols.iter().position(|a| world.snapshot.universe.symbol(*a) == symbol);
            let there = there.unwrap_or_else(|| panic!("{symbol} is missing"));
            for (column, pair) in rows.columns.iter().zip(&all.columns).enumerate() {
                if let (Cells::Numbers(part), Cells::Numbers(all)) = pair {
                    let (a, b) = (part[row], all[there]);
                    let name = &plan.outputs[column].name;
                    assert!(
                        same_bits(a, b),
                        "{}: {name} of {symbol}: {a} beside others {b}",
                        compute.describe()
                    );
                }
            }
        }
    }
}

fn populations(compute: &dyn Compute) {
    let plan = plan_of(&["sma(5)", "rsi(14)", "market_cap / close"]);
    let mut world = World::with_habits(200, 40, 16);
    let all = scan(compute, &world.job(&plan));
    for chosen in [vec![5, 6, 150], vec![], vec![199]] {
        world.population = Population::new((0..200).map(|i| chosen.contains(&i)).collect());
        let rows = scan(compute, &world.job(&plan));
        assert_eq!(rows.symbols.len() + rows.no_bars, chosen.len());
        for (row, id) in rows.symbols.iter().enumerate() {
            let there = all.symbols.iter().position(|a| a == id).unwrap_or_else(|| panic!("{id:?}"));
            for pair in rows.columns.iter().zip(&all.columns) {
                if let (Cells::Numbers(part), Cells::Numbers(all)) = pair {
                    assert!(same_bits(part[row], all[there]));
                }
            }
        }
    }
}

/// Keeps everything.
#[derive(Debug, Default)]
struct Keep(Mutex<HashMap<Key, Arc<[f64]>>>);

type Key = (u64, Digest);

impl Memo for Keep {
    fn get(&self, epoch: u64, node: Digest) -> Option<Arc<[f64]>> {
        self.0.lock().unwrap_or_else(|e| panic!("{e}")).get(&(epoch, node)).cloned()
    }

    fn put(&self, epoch: u64, node: Digest, values: Arc<[f64]>) {
        self.0.lock().unwrap_or_else(|e| panic!("{e}")).insert((epoch, node), values);
    }
}

fn memo(compute: &dyn Compute) {
    let mut world = World::with_habits(100, 60, 17);
    let keep = Keep::default();
    let plan = plan_of(&["sma(5)", "ema(20)"]);
    let wider = plan_of(&["ema(20)", "rsi(14)", "sma(5)"]);
    let bare = scan(compute, &world.job(&plan));
    let bare_wider = scan(compute, &world.job(&wider));
    let first = scan(compute, &ScanJob { memo: Some(&keep), ..world.job(&plan) });
    let second = scan(compute, &ScanJob { memo: Some(&keep), ..world.job(&plan) });
    let third = scan(compute, &ScanJob { memo: Some(&keep), ..world.job(&wider) });
    let across = plan_of(&["rank(sma(5))", "zscore(close)"]);
    let keep_across = Keep::default();
    let mut answers = Vec::new();
    for step in 0..4 {
        if step == 2 {
            world.population = Population::new((0..100).map(|i| i % 2 == 0).collect());
        }
        let job = world.job(&across);
        let known = scan(compute, &ScanJob { memo: Some(&keep_across), ..job });
        assert_alike("a cross-section", &known, &scan(compute, &job), same_bits);
        answers.push(known);
    }
    // Of the others' columns only those are used that depend on nobody.
    assert_eq!(answers[1].memoized.len(), 2);
    assert_eq!(answers[3].memoized.len(), 2);
    world.population = Population::all(100);
    assert!(bare.memoized.is_empty() && first.memoized.is_empty());
    assert_eq!((second.memoized.len(), third.memoized.len()), (2, 2));
    assert_alike("first", &first, &bare, same_bits);
    assert_alike("second", &second, &bare, same_bits);
    assert_alike("third", &third, &bare_wider, same_bits);
    // What was computed for a few symbols only is no column of the universe.
    let few = Keep::default();
    let everybody = world.population.clone();
    world.population = Population::new((0..100).map(|i| i == 3).collect());
    scan(compute, &ScanJob { memo: Some(&few), ..world.job(&plan) });
    world.population = everybody;
    let after = scan(compute, &ScanJob { memo: Some(&few), ..world.job(&plan) });
    assert_alike("after a scan of few", &after, &bare, same_bits);
}

fn cancelled(compute: &dyn Compute) {
    let world = World::with_habits(40, 20, 18);
    let plan = plan_of(&["rsi(14)"]);
    let cancel = Cancel::default();
    cancel.cancel();
    let answer = compute.scan(&ScanJob { cancel: &cancel, ..world.job(&plan) });
    assert_eq!(answer.err(), Some(ComputeError::Cancelled));
    scan(compute, &world.job(&plan));
}

fn smallest(compute: &dyn Compute) {
    for (symbols, sessions) in [(0, 5), (1, 1), (1, 30), (32, 1), (64, 15), (65, 14)] {
        for world in [World::plain(symbols, sessions, 19), World::with_habits(symbols, sessions, 19)] {
            let plan =
                plan_of(&["close", "close[1]", "sma(5)", "rsi(14)", "ema(3)", "highest(2)", "vwap(3)"]);
            let job = world.job(&plan);
            let what = format!("{}, {symbols} x {sessions}", compute.describe());
            assert_alike(&what, &scan(compute, &job), &scan(&Reference, &job), close_enough);
        }
    }
}
