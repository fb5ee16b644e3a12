//! Plans: sharing, types, shapes, lookbacks, tails, columns that nobody named, and fingerprints.

use panscan_core::bar::Field;
use panscan_core::expr::{explain, plan};
use panscan_core::indicator;
use panscan_core::plan::{Node, Op, Plan, Recursive, Shape, Stage, Tail, ValueKind, Window};
use panscan_core::scan::{Adjustment, Order, ScanSpec};

fn columns(texts: &[&str]) -> ScanSpec {
    ScanSpec { columns: texts.iter().map(|t| (*t).to_owned()).collect(), ..ScanSpec::default() }
}

fn planned(texts: &[&str]) -> Plan {
    plan(&columns(texts)).unwrap_or_else(|e| panic!("{texts:?}: {e}"))
}

fn output(plan: &Plan, i: usize) -> &Node {
    plan.node(plan.outputs[i].node)
}

#[test]
fn equal_sub_expressions_are_one_node() {
    let plan =
        planned(&["sma(20) * 2", "SMA(x=close, n=4*5) + 1", "close[2]", "lag(close, 2)", "close[1][1]"]);
    let means = plan.nodes.iter().filter(|n| matches!(n.op, Op::Window(Window::Mean, 20)));
    assert_eq!(means.count(), 1);
    assert_eq!(plan.outputs[2].node, plan.outputs[3].node);
    assert_eq!(plan.outputs[2].node, plan.outputs[4].node);
    let plan = planned(&["rel_volume(20)", "volume / sma(volume, 20)[1]", "typical", "(high+low+close)/3"]);
    assert_eq!(plan.outputs[0].node, plan.outputs[1].node);
    assert_eq!(plan.outputs[2].node, plan.outputs[3].node);
}

#[test]
fn what_is_not_read_is_not_planned() {
    let spec = ScanSpec {
        define: [("unused".to_owned(), "rsi(99) + vwap(7)".to_owned())].into_iter().collect(),
        ..columns(&["close"])
    };
    assert_eq!(plan(&spec).unwrap().nodes.len(), 1);
}

/// Lookback and settling length, as the contract states them.
#[test]
fn lookbacks_are_those_of_the_contract() {
    for (text, lookback, settle) in [
        ("close", 0, 0),
        ("close[7]", 7, 0),
        ("sma(20)", 19, 0),
        ("ema(20)", 19, 139),
        ("rma(14)", 13, 187),
        ("dema(20)", 38, 278),
        ("tema(20)", 57, 417),
        ("sum(volume, 5)", 4, 0),
        ("stddev(close, 20)", 19, 0),
        ("variance(close, 20)", 19, 0),
        ("highest(20)", 19, 0),
        ("lowest(20)", 19, 0),
        ("rsi(14)", 14, 187),
        ("rsi(14)[3]", 17, 187),
        ("sma(rsi(14), 5)", 18, 187),
        ("trange()", 1, 0),
        ("atr(14)", 14, 187),
        ("natr(14)", 14, 187),
        ("bbands(20).upper", 19, 0),
        ("bbands(20).middle", 19, 0),
        ("bbands(20).lower", 19, 0),
        ("bbands(20).width", 19, 0),
        ("bbands(20).pctb", 19, 0),
        ("stoch(14, 3, 3).k", 17, 0),
        ("stoch(14, 3, 3).d", 17, 0),
        ("willr(14)", 13, 0),
        ("mfi(14)", 14, 0),
        ("roc(10)", 10, 0),
        ("mom(10)", 10, 0),
        ("log_return()", 1, 0),
        ("ts_zscore(close, 20)", 19, 0),
        ("realized_vol(20)", 20, 0),
        ("vwap(20)", 19, 0),
        ("session_vwap()", 0, 0),
        ("adv(20)", 19, 0),
        ("rel_volume(20)", 20, 0),
        ("crosses_above(close, sma(20))", 20, 0),
        ("crosses_below(close, 5)", 1, 0),
        ("crosses(close, open)", 1, 0),
        ("count(close > open, 10)", 9, 0),
        ("any(close > open, 10)", 9, 0),
        ("all(close > open[1], 10)", 10, 0),
        ("delta(close)", 1, 0),
        ("delta(close, 4)", 4, 0),
        ("lag(close, 4)", 4, 0),
        ("momentum()", 251, 0),
        ("volatility()", 60, 0),
        ("liquidity()", 19, 0),
        ("reversal()", 5, 0),
        ("change", 1, 0),
        ("change_pct", 1, 0),
        ("gap_pct", 1, 0),
        ("dollar_volume", 0, 0),
        ("market_cap", 0, 0),
        ("wma(10)", 9, 0),
        ("median(close, 5)", 4, 0),
        ("quantile(close, 5, 0.2)", 4, 0),
        ("highest_bars_ago(20)", 19, 0),
        ("lowest_bars_ago(20)", 19, 0),
        ("plus_di(14)", 14, 187),
        ("minus_di(14)", 14, 187),
        ("adx(14)", 27, 374),
        ("macd().line", 33, 242),
        ("macd().signal", 33, 242),
        ("macd().hist", 33, 242),
        ("cci(20)", 19, 0),
        ("aroon(14).up", 14, 0),
        ("aroon(14).down", 14, 0),
        ("aroon(14).osc", 14, 0),
        ("obv()", 0, 0),
        ("ad()", 0, 0),
        ("linreg_slope(14)", 13, 0),
        ("linreg_r2(14)", 13, 0),
        ("ts_rank(close, 9)", 8, 0),
        ("corr(close, open, 9)", 8, 0),
        ("cov(close, open, 9)", 8, 0),
        ("beta(60)", 60, 0),
        ("corr_benchmark(60)", 60, 0),
        ("excess_return(20)", 20, 0),
        ("drawdown()", 0, 0),
        ("max_drawdown()", 0, 0),
        ("pct_from_high()", 0, 0),
        ("pct_from_low()", 0, 0),
        ("bars_since(close > open, 10)", 9, 0),
        ("technical()", 49, 242),
        ("rank(sma(20))", 19, 0),
    ] {
        let plan = planned(&[text]);
        let node = output(&plan, 0);
        assert_eq!((node.lookback, node.settle), (lookback, settle), "{text}");
        let sums = matches!(text, "obv()" | "ad()");
        assert_eq!(node.recursive, settle > 0 || sums, "{text}");
    }
}

/// What takes as many bars as there are has a value early and reads further back.
#[test]
fn bars_that_are_read_are_more_than_are_needed() {
    for (text, needed, read) in [
        ("pct_from_high(252)", 1, 252),
        ("drawdown(60) + sma(20)", 20, 60),
        ("max_drawdown(60)[5]", 6, 65),
        ("sma(20)", 20, 20),
        ("close[3]", 4, 4),
        ("beta(60)", 61, 61),
        ("market_cap", 0, 0),
    ] {
        let plan = planned(&[text]);
        assert_eq!((plan.bars_needed(), plan.bars_read()), (needed, read), "{text}");
    }
}

/// A plan's text is one that parses to the same plan.
#[test]
fn texts_plan_to_the_same_nodes() {
    for text in [
        "macd().hist",
        "adx(14)",
        "obv() + ad()",
        "beta(20)",
        "max_drawdown(9)",
        "rank(close, by=[sector, type], where=volume > 5)",
        "robust_zscore(winsorize(rsi(14), 0.05, 0.95), clip=3)",
        "bottom(close, 3, by=exchange)",
        "breadth(close > sma(5))",
        "quantile(close, 5, 0.25)",
        "bucket(close, 4) + group_count(close)",
    ] {
        let first = planned(&[text]);
        for node in &first.nodes {
            let again = planned(&[&format!("x = {}", node.text)]);
            assert_eq!(output(&again, 0).digest, node.digest, "{text}: {}", node.text);
        }
    }
}

#[test]
fn shapes_stages_and_types() {
    use {Shape as S, Stage as G, ValueKind as V};
    for (text, shape, stage, kind) in [
        ("5", S::Constant, G::Attribute, V::Integer),
        ("2.5", S::Constant, G::Attribute, V::Number),
        ("true", S::Constant, G::Attribute, V::Bool),
        ("close", S::Series, G::Series, V::Number),
        ("close + 1", S::Series, G::Series, V::Number),
        ("trades", S::Series, G::Series, V::Integer),
        ("trades[1]", S::Series, G::Series, V::Integer),
        ("sma(trades, 5)", S::Series, G::Series, V::Number),
        ("count(close > open, 5)", S::Series, G::Series, V::Integer),
        ("close > open", S::Series, G::Series, V::Bool),
        ("market_cap", S::Scalar, G::Attribute, V::Number),
        ("market_cap / 2", S::Scalar, G::Attribute, V::Number),
        ("days_listed", S::Scalar, G::Attribute, V::Integer),
        ("active", S::Scalar, G::Attribute, V::Bool),
        ("sector", S::Scalar, G::Attribute, V::Text),
        ("sector == 'x'", S::Scalar, G::Attribute, V::Bool),
        ("close * shares_outstanding", S::Scalar, G::Series, V::Number),
        ("close > 5 and active", S::Scalar, G::Series, V::Bool),
        ("if(close > open, close > 1, false)", S::Series, G::Series, V::Bool),
        ("coalesce(trades, 0)", S::Series, G::Series, V::Integer),
        ("rank(close)", S::Cross, G::CrossSection, V::Integer),
        ("zscore(rank(close), by=sector)", S::Cross, G::CrossSection, V::Number),
        ("rank(close) + close", S::Cross, G::Scalar, V::Number),
        ("top(close, 5)", S::Cross, G::Scalar, V::Bool),
        ("group_count(close)", S::Cross, G::CrossSection, V::Integer),
        ("rank(5)", S::Cross, G::CrossSection, V::Integer),
    ] {
        let plan = planned(&[text]);
        let node = output(&plan, 0);
        assert_eq!((node.shape, node.stage, node.kind), (shape, stage, kind), "{text}");
    }
}

#[test]
fn tails_say_how_many_rows_are_read() {
    let tail = |plan: &Plan, wanted: fn(&Op) -> bool| {
        plan.nodes.iter().find(|n| wanted(&n.op)).map(|n| n.tail).unwrap()
    };
    let close = |op: &Op| *op == Op::Field(Field::Close);
    assert_eq!(tail(&planned(&["close"]), close), Tail::Rows(1));
    assert_eq!(tail(&planned(&["sma(20)", "close[5]"]), close), Tail::Rows(20));
    assert_eq!(tail(&planned(&["sma(close[5], 20)[3]"]), close), Tail::Rows(28));
    assert_eq!(tail(&planned(&["sma(20)[3]"]), |op| matches!(op, Op::Window(..))), Tail::Rows(4));
    let rsi = planned(&["rsi(14)"]);
    assert_eq!(tail(&rsi, close), Tail::All);
    assert_eq!(tail(&rsi, |op| matches!(op, Op::Recursive(Recursive::Rsi, 14))), Tail::Rows(1));
    assert_eq!(
        tail(&planned(&["sma(close, 9) * market_cap"]), |op| matches!(op, Op::Binary(_))),
        Tail::Rows(1)
    );
    assert_eq!((rsi.bars_needed(), rsi.bars_settled(), rsi.is_recursive()), (15, 202, true));
    let attributes = planned(&["market_cap > 10B and sector in ['a', 'b']"]);
    assert_eq!((attributes.bars_needed(), attributes.touches_bars()), (0, false));
}

#[test]
fn a_scan_without_columns_shows_what_it_compares() {
    let names = |filter: &str, rank_by: &str| -> Vec<String> {
        let spec = ScanSpec {
            filter: filter.to_owned(),
            rank_by: rank_by.to_owned(),
            define: [("calm".to_owned(), "not (atr( 14 )/close>0.05)".to_owned())].into_iter().collect(),
            ..ScanSpec::default()
        };
        plan(&spec).unwrap().outputs.into_iter().map(|o| o.name).collect()
    };
    let base = ["close", "change_pct", "volume"];
    let with = |more: &[&str]| -> Vec<String> { base.iter().chain(more).map(|s| (*s).to_owned()).collect() };
    assert_eq!(names("", ""), with(&[]));
    assert_eq!(names("RSI(14)<30", ""), with(&["rsi(14)"]));
    assert_eq!(names("close > sma(200) and sector == `Technology`", ""), with(&["sma(200)"]));
    assert_eq!(
        names("volume>2*sma( volume,20 ) or market_cap > 10B and active", "-roc(63)"),
        with(&["2 * sma(volume, 20)", "market_cap", "-roc(63)"])
    );
    assert_eq!(
        names("calm and (rsi(14)[ 1 ]) between 20 and 30", "rsi(14)"),
        with(&["atr(14) / close", "rsi(14)[1]", "rsi(14)"])
    );
    assert_eq!(names("close crosses_above sma(50) and trades in [1, 2]", ""), with(&["sma(50)", "trades"]));
    assert_eq!(names("count(open > low, 5) == 5", "close"), with(&["count(open > low, 5)"]));
}

#[test]
fn columns_are_called_by_their_text() {
    let plan = planned(&["  rsi( 14 ) ", "R = rsi(14)", "close>open", "sector"]);
    let names: Vec<&str> = plan.outputs.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, ["rsi( 14 )", "R", "close>open", "sector"]);
    assert_eq!(plan.outputs[0].node, plan.outputs[1].node);
}

#[test]
fn units_follow_the_values() {
    for (text, unit) in [
        ("close", "USD"),
        ("sma(volume, 20)", "shares"),
        ("close - open", "USD"),
        ("2 * close", "USD"),
        ("close / 2", "USD"),
        ("close / open", ""),
        ("close - volume", ""),
        ("rsi(14)", "0..100"),
        ("change_pct", "%"),
        ("abs(roc(5))", "%"),
        ("mom(close, 5)", "USD"),
        ("close[1]", "USD"),
        ("bbands().upper", "USD"),
        ("bbands().width", "ratio"),
        ("close > open", ""),
        ("active", ""),
        ("if(close > open, high, low)", "USD"),
        ("sector", ""),
        ("vwap()", "USD"),
    ] {
        assert_eq!(planned(&[text]).outputs[0].unit, unit, "{text}");
    }
}

#[test]
fn the_fingerprint_is_that_of_the_meaning() {
    let base = ScanSpec { filter: "rsi(14) < 30".to_owned(), ..columns(&["close"]) };
    let print = |spec: &ScanSpec| plan(spec).unwrap().fingerprint;
    let same = ScanSpec { filter: " RSI(close, n = 14)<30 # low".to_owned(), ..base.clone() };
    assert_eq!(print(&base), print(&same));
    for other in [
        ScanSpec { filter: "rsi(14) <= 30".to_owned(), ..base.clone() },
        ScanSpec { filter: "rsi(15) < 30".to_owned(), ..base.clone() },
        ScanSpec { columns: vec!["c = close".to_owned()], ..base.clone() },
        ScanSpec { order: Order::Ascending, ..base.clone() },
        ScanSpec { limit: 7, ..base.clone() },
        ScanSpec { adjustment: Adjustment::Raw, ..base.clone() },
        ScanSpec { rank_by: "close".to_owned(), ..base.clone() },
    ] {
        assert_ne!(print(&base), print(&other), "{other:?}");
    }
    let digest = |spec: &ScanSpec| {
        let plan = plan(spec).unwrap();
        plan.node(plan.filter.unwrap()).digest
    };
    let raw = ScanSpec { adjustment: Adjustment::Raw, ..base.clone() };
    assert_ne!(digest(&base), digest(&raw), "the memo tells adjusted from raw");
    assert_eq!(digest(&base), digest(&same));
}

#[test]
fn every_present_function_plans_from_its_examples() {
    for definition in indicator::all().filter(|d| d.name != "score") {
        if definition.is_call() {
            assert!(!definition.examples.is_empty(), "{} has no example", definition.name);
        } else {
            planned(&[definition.name]);
        }
        for example in definition.examples {
            assert!(example.contains(definition.name) || *example == "close[5]", "{example}");
            planned(&[example]);
        }
    }
}

#[test]
fn an_explanation_names_nodes_with_what_they_read() {
    let spec = ScanSpec { filter: "rsi(14) < 30".to_owned(), ..columns(&["c = close"]) };
    assert_eq!(
        explain(&plan(&spec).unwrap()),
        "filter   rsi(close, 14) < 30\nrank by  symbol ascending\nlimit    100\ncolumns\n  c = close\nnodes\n    0 close  \
         rows all\n    1 rsi(close, 14)  reads 0  lookback 14  settle 187  rows 1\n    2 30\n    3 rsi(close, 14) < 30  \
         reads 1, 2  lookback 14  settle 187  rows 1\n"
    );
}
