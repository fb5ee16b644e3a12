//! Hostile and random input: nothing panics, nothing takes long, and what is accepted prints as what it is.

use std::time::{Duration, Instant};

use panscan_core::expr::{ERRORS_MAX, plan};
use panscan_core::plan::NODES_MAX;
use panscan_core::scan::ScanSpec;
use proptest::prelude::*;

/// Planning stays below this by a wide margin even unoptimised and on a loaded machine.
const SLOW: Duration = Duration::from_secs(5);

fn check(spec: &ScanSpec) {
    let start = Instant::now();
    match plan(spec) {
        Ok(plan) => {
            assert!(plan.nodes.iter().enumerate().all(|(i, n)| n.inputs.iter().all(|x| x.index() < i)));
            assert!(plan.nodes.len() <= NODES_MAX, "{} nodes", plan.nodes.len());
            // Every node looks back over its own window at most, in bars of a month.
            assert!(plan.bars_needed() as usize <= NODES_MAX * 5_000 * 23, "{} bars", plan.bars_needed());
        }
        Err(error) => {
            assert!(!error.errors.is_empty() && error.errors.len() <= ERRORS_MAX);
            for e in &error.errors {
                assert!(e.start <= e.end, "{e}");
                assert!(!e.to_string().is_empty());
            }
        }
    }
    assert!(start.elapsed() < SLOW, "took {:?}", start.elapsed());
}

fn everywhere(text: String, other: String) -> ScanSpec {
    ScanSpec {
        filter: text.clone(),
        columns: vec![format!("a = {other}"), text.clone(), format!("b = a + {text}")],
        define: [("d".to_owned(), other.clone()), (text, "close".to_owned())].into_iter().collect(),
        rank_by: other,
        ..ScanSpec::default()
    }
}

const TOKENS: [&str; 66] = [
    "close",
    "open",
    "sector",
    "market_cap",
    "sma",
    "rsi",
    "rank",
    "macd",
    "bbands",
    "vwap",
    "if",
    "coalesce",
    "min",
    "round",
    "is_null",
    "contains",
    "zscore",
    "a",
    "d",
    "null",
    "true",
    "false",
    "and",
    "or",
    "not",
    "in",
    "between",
    "crosses_above",
    "crosses",
    "(",
    "(",
    "(",
    ")",
    ")",
    ")",
    "[",
    "]",
    ",",
    ",",
    ".",
    "@",
    "@1w",
    "@1d",
    "+",
    "-",
    "*",
    "/",
    "^",
    "<",
    "<=",
    ">",
    "==",
    "!=",
    "=",
    "!",
    "&&",
    "||",
    "0",
    "1",
    "14",
    "5001",
    "10B",
    "0.5",
    "'x'",
    "`y`",
    "# c\n",
];

fn number() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "close",
            "open",
            "high",
            "volume",
            "typical",
            "bar_vwap",
            "change_pct",
            "trades"
        ])
        .prop_map(str::to_owned),
        (0_u32..100).prop_map(|n| n.to_string()),
        (0_u32..1000).prop_map(|n| format!("{}", f64::from(n) / 8.0)),
        (1_u32..30).prop_map(|n| format!("sma({n})")),
        (2_u32..30).prop_map(|n| format!("RSI(n={n})")),
        Just("vwap()".to_owned()),
        Just("bbands(10).pctb".to_owned()),
        Just("rel_volume(5)".to_owned()),
        Just("1e-9".to_owned()),
        Just("2.5T".to_owned()),
    ];
    leaf.prop_recursive(5, 48, 4, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            (pair.clone(), prop::sample::select(vec!["+", "-", "*", "/", "^"]))
                .prop_map(|((a, b), op)| format!("({a}) {op} ({b})")),
            (pair.clone(), prop::sample::select(vec!["+", "-", "*", "/"]))
                .prop_map(|((a, b), op)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            pair.clone().prop_map(|(a, b)| format!("max({a}, {b}, 1)")),
            pair.clone().prop_map(|(a, b)| format!("coalesce({a}, {b})")),
            pair.clone().prop_map(|(a, b)| format!("if({a} > {b}, {a}, 0)")),
            pair.clone()
                .prop_map(|(a, b)| format!("if(not ({a} between 1 and ({b})) or sector == 'it\\'s', 1, 2)")),
            inner.clone().prop_map(|a| format!("abs(round({a}, 2))")),
            inner.clone().prop_map(|a| format!("ema(close + ({a}), 5)")),
            inner.clone().prop_map(|a| format!("(close + ({a}))[3]")),
            inner.prop_map(|a| format!("delta(open - ({a}), 2)")),
        ]
    })
}

fn truth() -> impl Strategy<Value = String> {
    let leaf = (
        number(),
        number(),
        prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!=", "crosses_above", "crosses"]),
    )
        .prop_map(|(a, b, op)| {
            if op.starts_with("cross") {
                format!("(close + ({a})) {op} (close - ({b}))")
            } else {
                format!("({a}) {op} ({b})")
            }
        });
    let text = prop::sample::select(vec![
        "sector in ['a', `b`]",
        "name not in [\"x\"]",
        "symbol != 'A'",
        "is_null(industry)",
        "contains(name, 'x')",
        "active",
        "true",
    ]);
    prop_oneof![leaf, text.prop_map(str::to_owned)].prop_recursive(4, 24, 3, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            pair.clone().prop_map(|(a, b)| format!("({a}) and ({b})")),
            pair.clone().prop_map(|(a, b)| format!("({a}) || ({b})")),
            pair.prop_map(|(a, b)| format!("({a}) == ({b})")),
            inner.clone().prop_map(|a| format!("not ({a})")),
            inner.prop_map(|a| format!("!({a}) and close > 1")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in any::<String>(), other in "[ -~\n]{0,80}") {
        check(&everywhere(text, other));
    }

    #[test]
    fn any_tokens_are_answered(
        one in prop::collection::vec(prop::sample::select(TOKENS.to_vec()), 0..60),
        two in prop::collection::vec(prop::sample::select(TOKENS.to_vec()), 0..12),
    ) {
        check(&everywhere(one.join(" "), two.join("")));
    }

    #[test]
    fn canonical_text_parses_back_to_the_same_plan(value in number(), filter in truth()) {
        let spec = ScanSpec { filter, columns: vec![format!("v = {value}")], ..ScanSpec::default() };
        // Too many nodes, too deep or a window over a constant: another case.
        let Ok(first) = plan(&spec) else { return Ok(()) };
        let text = |plan: &panscan_core::plan::Plan| {
            let filter = plan.filter.map(|id| plan.node(id).text.to_string()).unwrap_or_default();
            (filter, plan.node(plan.outputs[0].node).text.to_string())
        };
        let (filter, value) = text(&first);
        prop_assume!(filter.len() < 4096 && value.len() < 4000);
        let again = ScanSpec { filter: filter.clone(), columns: vec![format!("v = {value}")], ..ScanSpec::default() };
        let second = match plan(&again) {
            Ok(second) => second,
            // Parentheses that the text needs and the source wrote otherwise may nest deeper.
            Err(e) if e.errors.iter().all(|e| e.reason == panscan_core::expr::ExprReason::TooComplex) => return Ok(()),
            Err(e) => return Err(TestCaseError::fail(format!("{e}\nfrom {spec:?}"))),
        };
        prop_assert_eq!(first.fingerprint, second.fingerprint, "{} | {}", filter, value);
        prop_assert_eq!(first.nodes.len(), second.nodes.len());
    }
}

#[test]
fn hostile_shapes_are_answered_at_once() {
    let long = |part: &str| part.repeat(4096 / part.len());
    for part in [
        "(",
        ")",
        "[",
        "-",
        "!",
        "not ",
        "2^",
        "a(",
        "a,",
        "x[1]",
        ".x",
        "@1d",
        "1+",
        "1<",
        "close<",
        "if(",
        "'",
        "\\",
        "#",
        "1_",
        "9",
        "e",
        "sma(",
        "sma(close,5)+",
        "bbands().upper*",
        "in[",
        "[[",
        "x=",
        "close between 1 and ",
    ] {
        check(&everywhere(long(part), long(part)));
        check(&everywhere(format!("{}close", long(part)), "1".to_owned()));
        check(&everywhere(format!("close{}", long(part)), "1".to_owned()));
    }
    let columns = (0..64).map(|i| format!("c{i} = {}", long("bbands(close,20).upper+") + "1")).collect();
    check(&ScanSpec { columns, ..ScanSpec::default() });
    let columns = (0..64)
        .map(|i| {
            format!("c{i} = {}1", (0..60).map(|n| format!("sma({})*", n * 64 + i + 1)).collect::<String>())
        })
        .collect();
    check(&ScanSpec { columns, ..ScanSpec::default() });
}

/// Definitions can read each other twice, so that the text written out doubles with each; the graph must not.
#[test]
fn definitions_on_definitions_stay_within_the_limits() {
    for step in ["{}+{}", "sma({},5000)/{}", "if({}>1,{},2)", "zscore({})*{}", "coalesce({}[5000],{})"] {
        for depth in [10, 64] {
            let define = (0..depth).map(|i| {
                let below = if i == 0 { "close".to_owned() } else { format!("d{:02}", i - 1) };
                (format!("d{i:02}"), step.replace("{}", &below))
            });
            let top = format!("d{:02} > 0", depth - 1);
            check(&ScanSpec { define: define.collect(), filter: top, ..ScanSpec::default() });
        }
    }
    let nested = |n: usize| format!("{}close{}", "sma(".repeat(n), ",5000)".repeat(n));
    let deep = ScanSpec { filter: format!("{} > 0", nested(60)), ..ScanSpec::default() };
    check(&deep);
    assert_eq!(plan(&deep).map(|plan| plan.bars_needed()).unwrap(), 60 * 4_999 + 1);
    let deeper = ScanSpec { filter: format!("{} > 0", nested(70)), ..ScanSpec::default() };
    check(&deeper);
    assert!(plan(&deeper).is_err(), "70 levels");
}
