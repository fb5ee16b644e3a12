//! The expression language: grammar, types, names, and every error with its place.

use panscan_core::Kind;
use panscan_core::expr::{ERRORS_MAX, ExprError, ExprReason, PlanError, plan, validate};
use panscan_core::plan::Plan;
use panscan_core::scan::{Factor, FactorTransform, ScanSpec, SessionHours};
use panscan_core::time::Timeframe;

fn filter(text: &str) -> ScanSpec {
    ScanSpec { filter: text.to_owned(), columns: vec!["close".to_owned()], ..ScanSpec::default() }
}

fn columns(texts: &[&str]) -> ScanSpec {
    ScanSpec { columns: texts.iter().map(|t| (*t).to_owned()).collect(), ..ScanSpec::default() }
}

fn errors(spec: &ScanSpec) -> Vec<ExprError> {
    let errors = validate(spec);
    assert!(!errors.is_empty(), "nothing is wrong with {spec:?}");
    errors
}

/// Canonical text of a column.
fn canonical(text: &str) -> String {
    let plan = plan(&columns(&[text])).unwrap_or_else(|e| panic!("{text}: {e}"));
    plan.node(plan.outputs[0].node).text.to_string()
}

fn value_text(plan: &Plan) -> &str {
    &plan.node(plan.outputs[0].node).text
}

#[test]
fn an_error_is_printed_with_its_caret() {
    let error = plan(&filter("rsi(14) < 30 and smaa(20) > close")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "scan.filter:1:18: unknown function `smaa`; did you mean `sma`?\n  rsi(14) < 30 and smaa(20) > close\n  \
         \u{20}                ^^^^"
    );
    let [only] = error.errors.as_slice() else { panic!("one error") };
    assert_eq!((only.start, only.end, only.line, only.column), (17, 21, 1, 18));
    assert_eq!((only.reason.as_str(), only.suggestion.as_str()), ("UNKNOWN_FUNCTION", "sma"));
    assert_eq!(error.kind(), Kind::BadRequest);
}

#[test]
fn offsets_count_code_points_and_lines() {
    let error = &errors(&filter("sector == 'Größe' and\n  name == `é` and clos > 1"))[0];
    assert_eq!((error.start, error.end, error.line, error.column), (40, 44, 2, 19));
    assert_eq!(error.excerpt, "  name == `é` and clos > 1\n                  ^^^^");
    let error = &errors(&filter("sector == 'Größe' and €"))[0];
    assert_eq!((error.start, error.column, error.reason), (22, 23, ExprReason::Syntax));
    let long = format!("close > 1{} and clos > 1", " ".repeat(500));
    let error = &errors(&filter(&long))[0];
    assert!(error.excerpt.lines().all(|l| l.chars().count() < 130), "{}", error.excerpt);
    let [line, carets] = error.excerpt.lines().collect::<Vec<_>>()[..] else { panic!("two lines") };
    let at = carets.find('^').unwrap();
    assert_eq!(line.chars().skip(at).take(4).collect::<String>(), "clos");
}

/// Reason, first code point and the one after the last, and suggestion, of every error of a filter.
#[test]
fn every_reason_has_its_place() {
    use ExprReason as R;
    type Case = (&'static str, &'static [(ExprReason, usize, usize, &'static str)]);
    let cases: &[Case] = &[
        ("rsi(14) <", &[(R::Syntax, 9, 9, "")]),
        ("close >", &[(R::Syntax, 7, 7, "")]),
        ("(close > 1", &[(R::Syntax, 10, 10, "")]),
        ("close > 1)", &[(R::Syntax, 9, 10, "")]),
        ("close = 1", &[(R::Syntax, 6, 7, "==")]),
        ("close[-1] > 1", &[(R::Syntax, 6, 7, "")]),
        ("close[1.5] > 1", &[(R::Syntax, 6, 9, "")]),
        ("close[close] > 1", &[(R::Syntax, 6, 11, "")]),
        ("close & open", &[(R::Syntax, 6, 7, "and")]),
        ("close > 10m", &[(R::Syntax, 8, 11, "10M")]),
        ("sector in 'a'", &[(R::Syntax, 10, 13, "")]),
        ("close between 1 or 2", &[(R::Syntax, 16, 18, "")]),
        ("sma(n=5, close) > 1", &[(R::Syntax, 9, 14, "")]),
        ("smaa(20) > 1", &[(R::UnknownFunction, 0, 4, "sma")]),
        ("close() > 1", &[(R::UnknownFunction, 0, 5, "close")]),
        ("nothing_like_it(20) > 1", &[(R::UnknownFunction, 0, 15, "")]),
        ("clos > 1", &[(R::UnknownName, 0, 4, "close")]),
        ("rsi < 30", &[(R::UnknownName, 0, 3, "rsi(14)")]),
        ("bbands().uper > 1", &[(R::UnknownMember, 9, 13, "upper")]),
        ("close.line > 1", &[(R::UnknownMember, 6, 10, "")]),
        ("sma(close, m=5) > 1", &[(R::UnknownParameter, 11, 12, "n")]),
        ("sma() > 1", &[(R::MissingArgument, 0, 5, "sma(20)")]),
        ("stddev(20) > 1", &[(R::MissingArgument, 0, 10, "stddev(close, 20)")]),
        ("min(close) > 1", &[(R::MissingArgument, 0, 10, "min(open, close)")]),
        ("close in []", &[(R::MissingArgument, 0, 11, "")]),
        ("rsi(close, 14, 2) > 1", &[(R::TooManyArguments, 15, 16, "")]),
        ("sma(n=5, n=6) > 1", &[(R::DuplicateArgument, 9, 12, "")]),
        ("sma(20, n=6) > 1", &[(R::DuplicateArgument, 8, 11, "")]),
        ("sector > 5", &[(R::TypeMismatch, 0, 10, "")]),
        ("sector > 'A'", &[(R::TypeMismatch, 0, 12, "")]),
        ("sector == industry", &[(R::TypeMismatch, 0, 18, "")]),
        ("close", &[(R::TypeMismatch, 0, 5, "")]),
        ("not 3", &[(R::TypeMismatch, 4, 5, "")]),
        ("close > 1 and volume", &[(R::TypeMismatch, 14, 20, "")]),
        ("close + (open > 1) > 2", &[(R::TypeMismatch, 8, 18, "")]),
        ("active > 1", &[(R::TypeMismatch, 0, 10, "")]),
        ("if(close > 1, 1, true) > 1", &[(R::TypeMismatch, 0, 22, "")]),
        ("contains(close, 'a')", &[(R::TypeMismatch, 9, 14, "")]),
        ("contains(name, sector)", &[(R::TypeMismatch, 15, 21, "")]),
        ("sma(name, 5) > 1", &[(R::TypeMismatch, 4, 8, "")]),
        ("sector in ['a', 5]", &[(R::TypeMismatch, 16, 17, "")]),
        ("sma(market_cap, 5) > 1", &[(R::SeriesRequired, 4, 14, "")]),
        ("sma(close - market_cap, 5) > 1", &[(R::SeriesRequired, 4, 22, "")]),
        ("sma(close@1d, 5) > 1", &[(R::SeriesRequired, 4, 12, "")]),
        ("market_cap[1] > 1", &[(R::SeriesRequired, 0, 10, "")]),
        ("5[1] > 1", &[(R::SeriesRequired, 0, 1, "")]),
        ("count(active, 5) > 1", &[(R::SeriesRequired, 6, 12, "")]),
        ("market_cap crosses 5", &[(R::SeriesRequired, 0, 10, "")]),
        ("crosses_above(1, 2)", &[(R::SeriesRequired, 0, 19, "")]),
        ("sma(rank(close), 5) > 1", &[(R::CrossSectionInSeries, 4, 15, "")]),
        ("macd() > 0", &[(R::MemberRequired, 0, 6, "")]),
        ("macd().histo > 0", &[(R::UnknownMember, 7, 12, "hist")]),
        ("bbands() > 0", &[(R::MemberRequired, 0, 8, "")]),
        ("-bbands() > 0", &[(R::MemberRequired, 1, 9, "")]),
        ("zscore(close, by=name) > 0", &[(R::GroupRequired, 17, 21, "")]),
        ("zscore(close, by=[sector, 5]) > 0", &[(R::GroupRequired, 26, 27, "")]),
        ("zscore(close, by=[]) > 0", &[(R::GroupRequired, 17, 19, "")]),
        ("rank(close)[1] > 0", &[(R::CrossSectionInSeries, 0, 11, "")]),
        ("close crosses_above rank(close)", &[(R::CrossSectionInSeries, 20, 31, "")]),
        ("neutralize(close) > 0", &[(R::MissingArgument, 0, 17, "neutralize(roc(20), by=sector)")]),
        ("rank(close, where=volume) > 0", &[(R::TypeMismatch, 18, 24, "")]),
        ("breadth(close) > 0", &[(R::TypeMismatch, 8, 13, "")]),
        ("top(close, 0)", &[(R::OutOfRange, 11, 12, "")]),
        ("score() > 0", &[(R::MissingArgument, 0, 7, "")]),
        ("macd(26, 12).hist > 0", &[(R::OutOfRange, 0, 12, "")]),
        ("beta(close, 5) > 1", &[(R::TooManyArguments, 12, 13, "")]),
        ("quantile(close, 5, 1.5) > 1", &[(R::OutOfRange, 19, 22, "")]),
        ("aroon(5000).up > 1", &[(R::OutOfRange, 0, 11, "")]),
        ("sma(close, volume) > 1", &[(R::NotConstant, 11, 17, "")]),
        ("sector in [industry]", &[(R::NotConstant, 11, 19, "")]),
        ("sma(0) > 1", &[(R::OutOfRange, 4, 5, "")]),
        ("sma(-1) > 1", &[(R::OutOfRange, 4, 6, "")]),
        ("sma(2.5) > 1", &[(R::OutOfRange, 4, 7, "")]),
        ("sma(5001) > 1", &[(R::OutOfRange, 4, 8, "")]),
        ("sma(1/0) > 1", &[(R::OutOfRange, 4, 7, "")]),
        ("rsi(1) > 1", &[(R::OutOfRange, 4, 5, "")]),
        ("close[5001] > 1", &[(R::OutOfRange, 6, 10, "")]),
        ("winsorize(close, lo=0.6) > 1", &[(R::OutOfRange, 20, 23, "")]),
        ("1e999 > close", &[(R::OutOfRange, 0, 5, "")]),
        ("1 < close < 2", &[(R::ChainedComparison, 0, 13, "close between 1 and 2")]),
        ("20 < rsi(14) < 30", &[(R::ChainedComparison, 0, 17, "rsi(14) between 20 and 30")]),
        ("3 > close >= 2", &[(R::ChainedComparison, 0, 14, "close between 2 and 3")]),
        ("close == open == 2", &[(R::ChainedComparison, 0, 18, "")]),
        ("close == null", &[(R::NullComparison, 0, 13, "is_null(close)")]),
        ("null != sma(20)", &[(R::NullComparison, 0, 15, "is_null(x)")]),
        ("coalesce(close, null) > 1", &[(R::UnknownName, 16, 20, "")]),
        ("close@7x > 1", &[(R::UnknownTimeframe, 5, 8, "")]),
        ("close@1dd > 1", &[(R::UnknownTimeframe, 5, 9, "1d")]),
        ("close@5m > 1", &[(R::TimeframeTooFine, 5, 8, "")]),
        ("close@1d@1w > 1", &[(R::TimeframeTooFine, 5, 8, "")]),
        ("(close + close@1w)@1mo > 1", &[(R::TimeframeTooFine, 14, 17, "")]),
        ("(close + close@1d)@1w > 1", &[(R::TimeframeTooFine, 14, 17, "")]),
        ("rank(close)@1w > 1", &[(R::CrossSectionInSeries, 0, 11, "")]),
        ("sma(close@1w, 5) > 1", &[(R::SeriesRequired, 4, 12, "")]),
        ("beta(20)@1w > 1", &[(R::Unimplemented, 0, 8, "")]),
        ("in_universe(sector)", &[(R::TypeMismatch, 12, 18, "")]),
    ];
    for (text, expected) in cases {
        let found = errors(&filter(text));
        let brief: Vec<_> = found.iter().map(|e| (e.reason, e.start, e.end, e.suggestion.as_str())).collect();
        assert_eq!(brief, *expected, "{text}\n{}", PlanError { errors: found.clone() });
        assert!(found.iter().all(|e| e.field == "scan.filter" && e.line == 1 && e.column == e.start + 1));
    }
}

#[test]
fn longer_bars_may_stand_among_shorter_ones() {
    let text = "beta(5)@1d > 1 and market_cap@1mo > 1 and (close + close@1mo)@1w > sma(5)";
    assert_eq!(validate(&filter(text)), []);
}

#[test]
fn only_what_is_absent_is_unimplemented() {
    assert_eq!(plan(&filter("beta(20)@1w > 1")).unwrap_err().kind(), Kind::Unimplemented);
    assert_eq!(plan(&filter("beta(20)@1w > 1 or clos > 1")).unwrap_err().kind(), Kind::BadRequest);
    let spec =
        ScanSpec { timeframe: Timeframe::Week, session: SessionHours::Extended, ..ScanSpec::default() };
    let error = plan(&spec).unwrap_err();
    assert_eq!(error.kind(), Kind::Unimplemented);
    let fields: Vec<&str> = error.errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(fields, ["scan.timeframe", "scan.session"]);
    assert_eq!(error.errors[0].to_string(), "scan.timeframe: this build scans daily bars only; use 1d");
    for limit in [0, 50_001] {
        let error = &errors(&ScanSpec { limit, ..ScanSpec::default() })[0];
        assert_eq!((error.field.as_str(), error.reason), ("scan.limit", ExprReason::OutOfRange));
    }
}

#[test]
fn factors_and_groups_are_checked_field_by_field() {
    use ExprReason as R;
    let factor = |name: &str, expr: &str| Factor {
        name: name.to_owned(),
        expr: expr.to_owned(),
        weight: 1.0,
        transform: FactorTransform::ZScore,
        winsorize: 0.0,
        by: String::new(),
    };
    let spec = ScanSpec {
        factors: vec![
            factor("a b", "close"),
            factor("m", "clos"),
            Factor { weight: f64::NAN, winsorize: 0.25, by: "name".into(), ..factor("M", "close > 1") },
            factor("empty", ""),
        ],
        group_by: "name".into(),
        ..ScanSpec::default()
    };
    let mut found: Vec<(String, ExprReason)> =
        errors(&spec).into_iter().map(|e| (e.field, e.reason)).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("scan.factors[0].name", R::Syntax),
        ("scan.factors[1].expr", R::UnknownName),
        ("scan.factors[2].by", R::GroupRequired),
        ("scan.factors[2].expr", R::TypeMismatch),
        ("scan.factors[2].name", R::DuplicateName),
        ("scan.factors[2].weight", R::OutOfRange),
        ("scan.factors[2].winsorize", R::OutOfRange),
        ("scan.factors[3].expr", R::Syntax),
        ("scan.group_by", R::GroupRequired),
    ];
    assert_eq!(found, expected.map(|(f, r)| (f.to_owned(), r)));
    let lone = ScanSpec { limit_per_group: 2, ..ScanSpec::default() };
    assert_eq!(errors(&lone)[0].field, "scan.limit_per_group");
}

#[test]
fn definitions_may_read_the_score_and_factors_may_read_definitions() {
    let spec = ScanSpec {
        define: [("base", "roc(20)"), ("good", "score() + factor_m"), ("better", "good * 2")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        factors: vec![Factor {
            name: "m".into(),
            expr: "base".into(),
            weight: 2.0,
            transform: FactorTransform::RobustZScore,
            winsorize: 0.01,
            by: "sector".into(),
        }],
        columns: vec!["b = better".into(), "score()".into()],
        ..ScanSpec::default()
    };
    let plan = plan(&spec).unwrap();
    let names: Vec<&str> = plan.outputs.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, ["b", "score()", "factor_m"]);
    assert_eq!(plan.rank_by, Some(plan.outputs[1].node));
    let text = &plan.node(plan.outputs[2].node).text;
    assert_eq!(&**text, "robust_zscore(winsorize(roc(close, 20), 0.01, 0.99, by=sector), by=sector)");
}

#[test]
fn names_are_looked_up_and_checked() {
    use ExprReason as R;
    let brief = |spec: &ScanSpec| -> Vec<(String, ExprReason, usize)> {
        errors(spec).into_iter().map(|e| (e.field, e.reason, e.start)).collect()
    };
    let field = |f: &str, r, s| (f.to_owned(), r, s);
    assert_eq!(
        brief(&columns(&["a = b", "b = a"])),
        [field("scan.columns[0]", R::Cycle, 4), field("scan.columns[1]", R::Cycle, 4)]
    );
    assert_eq!(brief(&columns(&["a = a + 1"])), [field("scan.columns[0]", R::Cycle, 4)]);
    assert_eq!(brief(&columns(&["a = b", "b = close"])), [field("scan.columns[0]", R::UnknownName, 4)]);
    assert_eq!(brief(&columns(&["x = close", "X = open"])), [field("scan.columns[1]", R::DuplicateName, 0)]);
    assert_eq!(brief(&columns(&["close", " close "])), [field("scan.columns[1]", R::DuplicateName, 0)]);
    for reserved in ["close", "sector", "sma", "rank", "null", "And", "typical"] {
        let text = format!("{reserved} = open");
        assert_eq!(brief(&columns(&[&text])), [field("scan.columns[0]", R::ReservedName, 0)], "{reserved}");
    }
    assert_eq!(
        brief(&columns(&["", "x = "])),
        [field("scan.columns[0]", R::Syntax, 0), field("scan.columns[1]", R::Syntax, 4)]
    );
    assert_eq!(
        brief(&columns(&["'text'", "bbands()"])),
        [field("scan.columns[0]", R::TypeMismatch, 0), field("scan.columns[1]", R::MemberRequired, 0)]
    );
    let define = |pairs: &[(&str, &str)], filter: &str| ScanSpec {
        define: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        filter: filter.to_owned(),
        ..ScanSpec::default()
    };
    assert_eq!(
        brief(&define(&[("p", "q"), ("q", "p")], "p > 1")),
        [field("scan.define[p]", R::Cycle, 0), field("scan.define[q]", R::Cycle, 0)]
    );
    assert_eq!(brief(&define(&[("sma", "close")], "")), [field("scan.define[sma]", R::ReservedName, 0)]);
    assert_eq!(brief(&define(&[("a b", "close")], "")), [field("scan.define[a b]", R::Syntax, 0)]);
    assert_eq!(
        brief(&define(&[("A", "close"), ("a", "close")], "")),
        [field("scan.define[a]", R::DuplicateName, 0)]
    );
    assert_eq!(brief(&define(&[("trend", "close")], "tren > 1")), [field("scan.filter", R::UnknownName, 0)]);
    let rank = ScanSpec { rank_by: "sector".to_owned(), ..ScanSpec::default() };
    assert_eq!(brief(&rank), [field("scan.rank_by", R::TypeMismatch, 0)]);
    let rank = ScanSpec { rank_by: "close > 1".to_owned(), ..ScanSpec::default() };
    assert_eq!(brief(&rank), [field("scan.rank_by", R::TypeMismatch, 0)]);
}

#[test]
fn definitions_and_columns_are_used_by_name() {
    let spec = ScanSpec {
        define: [("trend", "close / base"), ("Base", "sma(50)"), ("tech", "'Technology'")]
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
        columns: vec!["Trend2 = trend * 2".to_owned(), "y = trend2 + 1".to_owned(), "sector".to_owned()],
        filter: "TREND > 1 and y < 5 and sector == tech".to_owned(),
        rank_by: "y".to_owned(),
        ..ScanSpec::default()
    };
    let plan = plan(&spec).unwrap();
    let names: Vec<&str> = plan.outputs.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, ["Trend2", "y", "sector"]);
    assert_eq!(value_text(&plan), "close / sma(close, 50) * 2");
    assert_eq!(plan.rank_by, Some(plan.outputs[1].node));
}

#[test]
fn every_error_is_reported_in_order_and_twenty_at_most() {
    let spec = ScanSpec {
        filter: "clos > 1 and sma(0) > hig".to_owned(),
        columns: vec!["a = smaa(5)".to_owned(), "b = (".to_owned()],
        rank_by: "nope".to_owned(),
        limit: 0,
        ..ScanSpec::default()
    };
    let fields: Vec<String> = errors(&spec).iter().map(|e| format!("{}:{}", e.field, e.start)).collect();
    assert_eq!(
        fields,
        [
            "scan.filter:0",
            "scan.filter:17",
            "scan.filter:22",
            "scan.columns[0]:4",
            "scan.columns[1]:5",
            "scan.rank_by:0",
            "scan.limit:0"
        ]
    );
    let many = vec!["nope"; 40].join(" + ") + " > 1";
    assert_eq!(errors(&filter(&many)).len(), ERRORS_MAX);
    assert!(validate(&filter("close > 1")).is_empty());
}

#[test]
fn limits_of_size_are_kept() {
    let one = |text: &str| errors(&filter(text))[0].reason;
    let deep = |n: usize, open: &str, close: &str| format!("{}close{} > 1", open.repeat(n), close.repeat(n));
    assert!(plan(&filter(&deep(60, "(", ")"))).is_ok());
    for (open, close) in
        [("(", ")"), ("-", ""), ("abs(", ")"), ("2^", ""), ("", "[1]"), ("1-(", ")"), ("", "@1d")]
    {
        for n in [65, 400, 600] {
            assert_eq!(one(&deep(n, open, close)), ExprReason::TooComplex, "{n} {open}{close}");
        }
    }
    assert_eq!(one(&format!("{}true", "not ".repeat(500))), ExprReason::TooComplex);
    assert_eq!(one(&format!("{}true", "!".repeat(3000))), ExprReason::TooComplex);
    assert_eq!(one(&"x".repeat(4097)), ExprReason::TooComplex);
    // Long and flat is no problem until there are too many nodes.
    assert!(plan(&filter(&format!("close > {}1", "1+".repeat(2000)))).is_ok());
    let sum: String = (1..=600).map(|n| format!("{n}*")).collect();
    assert_eq!(
        plan(&columns(&[&format!("close*{sum}1")])).unwrap_err().errors[0].reason,
        ExprReason::TooComplex
    );
    let many: Vec<String> = (0..65).map(|i| format!("c{i} = close + {i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(plan(&columns(&many[..64])).is_ok());
    let error = &errors(&columns(&many))[0];
    assert_eq!((error.field.as_str(), error.reason), ("scan.columns", ExprReason::TooMany));
    // Texts that double with every step are cut, not printed.
    let mut doubling = vec!["c0 = close + open".to_owned()];
    doubling.extend((1..64).map(|i| format!("c{i} = c{} * c{}", i - 1, i - 1)));
    let doubling: Vec<&str> = doubling.iter().map(String::as_str).collect();
    assert!(plan(&columns(&doubling)).unwrap().nodes.iter().all(|n| n.text.len() <= 4096));
}

#[test]
fn canonical_text_is_lower_case_minimal_and_complete() {
    for (text, expected) in [
        ("RSI( 14 )", "rsi(close, 14)"),
        ("Rsi()", "rsi(close, 14)"),
        ("rsi(n=10)", "rsi(close, 10)"),
        ("sma(n=5, x=volume)", "sma(volume, 5)"),
        ("highest(20)", "highest(high, 20)"),
        ("lowest(close, 20)", "lowest(close, 20)"),
        ("sma(10 + 2*5)", "sma(close, 20)"),
        ("vwap()", "vwap(20)"),
        ("atr()", "atr(14)"),
        ("typical", "typical"),
        ("(high + low + close) / 3", "(high + low + close) / 3"),
        ("((close)) + ((open * 2))", "close + open * 2"),
        ("close - (open - low)", "close - (open - low)"),
        ("(close - open) - low", "close - open - low"),
        ("close / (open / low)", "close / (open / low)"),
        ("-close ^ 2", "-close ^ 2"),
        ("(-close) ^ 2", "(-close) ^ 2"),
        ("close ^ open ^ low", "close ^ open ^ low"),
        ("(close ^ open) ^ low", "(close ^ open) ^ low"),
        ("2 ^ -1", "0.5"),
        ("-2^2", "-4"),
        ("(-2)^2", "4"),
        ("2^3^2", "512"),
        ("2 - 3 - 4", "-5"),
        ("12 / 3 / 2", "2"),
        ("1 + 2 * 3", "7"),
        ("10B", "10000000000"),
        ("1e20", "1e20"),
        ("0.000001", "1e-6"),
        ("-0", "0"),
        ("1/0", "0 / 0"),
        ("close[0]", "close"),
        ("close[1][2]", "close[3]"),
        ("close[5000][1]", "close[5000][1]"),
        ("(close + open)[1]", "(close + open)[1]"),
        ("close > open == true", "x"),
        ("not close > open", "not close > open"),
        ("not (close > open and open > 1)", "not (close > open and open > 1)"),
        ("close > 1 || open > 1 && low > 1", "close > 1 or open > 1 and low > 1"),
        ("(close > 1 or open > 1) and low > 1", "(close > 1 or open > 1) and low > 1"),
        ("close > 1 or (open > 1 or low > 1)", "close > 1 or (open > 1 or low > 1)"),
        ("close between 1 and 2 and open > 1", "close >= 1 and close <= 2 and open > 1"),
        ("(close > open) == (open > low)", "(close > open) == (open > low)"),
        ("close in [1, 2]", "close == 1 or close == 2"),
        ("close not in [1, 2]", "not (close == 1 or close == 2)"),
        ("sector in ['b', \"a\", `b`]", "sector in ['a', 'b']"),
        ("sector not in ['b', 'a']", "sector not in ['a', 'b']"),
        ("'it\\'s' == sector", "sector == 'it\\'s'"),
        ("sector != `x`", "sector != 'x'"),
        ("is_null(sector)", "is_null(sector)"),
        ("contains(NAME, 'Bank')", "contains(name, 'Bank')"),
        ("close crosses_above sma(50)", "crosses_above(close, sma(close, 50))"),
        ("bbands().Upper", "bbands(close, 20, 2, 2).upper"),
        ("if(close > open, 1, 0)", "if(close > open, 1, 0)"),
        ("close@1d > 5", "close > 5"),
        ("'a' == 'a'", "true"),
        ("close # the last price\n + 1", "close + 1"),
    ] {
        if expected == "x" {
            assert_eq!(errors(&columns(&[text]))[0].reason, ExprReason::ChainedComparison);
        } else {
            assert_eq!(canonical(text), expected, "{text}");
            assert_eq!(canonical(expected), expected, "{text}");
        }
    }
}

#[test]
fn the_empty_scan_is_valid() {
    for blank in ["", "  \n", "# nothing"] {
        let spec = ScanSpec { filter: blank.to_owned(), rank_by: blank.to_owned(), ..ScanSpec::default() };
        let plan = plan(&spec).unwrap();
        assert_eq!((plan.filter, plan.rank_by), (None, None));
    }
}
