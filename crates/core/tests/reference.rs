//! The reference backend against numbers worked out by hand, and its rules for what is missing.

#![expect(clippy::unwrap_used, reason = "literals of the test itself")]

use std::sync::Arc;

use panscan_core::bar::Field;
use panscan_core::block::{BarKey, Block, BlockBuilder, Provenance};
use panscan_core::expr::plan;
use panscan_core::panel::{Panel, SeriesBars, Splits};
use panscan_core::port::{Cancel, Compute, ComputeError, ScanJob};
use panscan_core::rank::{Cells, RankedRows};
use panscan_core::reference::{Reference, Values, evaluate};
use panscan_core::scan::{Order, ScanSpec};
use panscan_core::snapshot::{Held, MarketId, Snapshot, SnapshotId};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::{Listing, Population, TextAttribute, Universe};

const NULL: f64 = f64::NAN;

/// One symbol's bars; fields that are not given follow from close.
fn bars(close: &[f64]) -> SeriesBars {
    let mut bars = SeriesBars::default();
    for (i, c) in close.iter().enumerate() {
        bars.sessions.push(SessionDate::from_days(i32::try_from(i).unwrap()));
        let row = [*c, c + 1.0, c - 1.0, *c, 100.0 * (i + 1) as f64, NULL, 7.0];
        for field in Field::ALL {
            bars.columns[field.index()].push(row[field.index()]);
        }
    }
    bars
}

fn with(mut bars: SeriesBars, field: Field, values: &[f64]) -> SeriesBars {
    bars.columns[field.index()] = values.to_vec();
    bars
}

fn series(text: &str, bars: &SeriesBars) -> Values {
    let spec = ScanSpec { columns: vec![format!("v = {text}")], ..ScanSpec::default() };
    let plan = plan(&spec).unwrap_or_else(|e| panic!("{text}: {e}"));
    let constant = |i: usize| match plan.nodes[i].op {
        panscan_core::plan::Op::Constant(value) => value,
        _ => NULL,
    };
    let values = evaluate(&plan, bars, &constant);
    values[plan.outputs[0].node.index()].clone()
}

fn expect(text: &str, bars: &SeriesBars, expected: &[f64]) {
    let found = series(text, bars);
    let same = |(a, b): (&Option<f64>, &f64)| match a {
        None => b.is_nan(),
        Some(a) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
    };
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(same),
        "{text}: {found:?}, not {expected:?}"
    );
}

#[test]
fn windows() {
    let b = bars(&[2.0, 4.0, 4.0, 6.0, 1.0]);
    expect("sma(2)", &b, &[NULL, 3.0, 4.0, 5.0, 3.5]);
    expect("sma(1)", &b, &[2.0, 4.0, 4.0, 6.0, 1.0]);
    expect("sum(close, 3)", &b, &[NULL, NULL, 10.0, 14.0, 11.0]);
    // Mean 4, squares 4 0 0 4; mean 3.75, squares .0625 .0625 5.0625 7.5625.
    expect("variance(close, 4)", &b, &[NULL, NULL, NULL, 2.0, 3.1875]);
    expect("stddev(close, 4)", &b, &[NULL, NULL, NULL, 2.0_f64.sqrt(), 3.1875_f64.sqrt()]);
    expect("highest(3)", &b, &[NULL, NULL, 5.0, 7.0, 7.0]);
    expect("highest(close, 3)", &b, &[NULL, NULL, 4.0, 6.0, 6.0]);
    expect("lowest(2)", &b, &[NULL, 1.0, 3.0, 3.0, 0.0]);
    expect("sma(9)", &b, &[NULL; 5]);
    expect("close[2]", &b, &[NULL, NULL, 2.0, 4.0, 4.0]);
    expect("count(close > 3, 3)", &b, &[NULL, NULL, 2.0, 3.0, 2.0]);
    expect("any(close > 5, 2)", &b, &[NULL, 0.0, 0.0, 1.0, 1.0]);
    expect("all(close >= 4, 2)", &b, &[NULL, 0.0, 1.0, 1.0, 0.0]);
}

#[test]
fn recursions() {
    let b = bars(&[1.0, 2.0, 3.0, 3.0, 8.0]);
    // Alpha 1/2: 2; 2 + (3-2)/2; 2.5 + (8-2.5)/2.
    expect("ema(3)", &b, &[NULL, NULL, 2.0, 2.5, 5.25]);
    // Alpha 1/3.
    expect("rma(3)", &b, &[NULL, NULL, 2.0, 7.0 / 3.0, 7.0 / 3.0 + (8.0 - 7.0 / 3.0) / 3.0]);
    expect("ema(1)", &b, &[1.0, 2.0, 3.0, 3.0, 8.0]);
    let b = bars(&[10.0, 11.0, 10.0, 12.0, 12.0]);
    // Gains 1 0 2 0, losses 0 1 0 0: G .5 1.25 .625, D .5 .25 .125.
    expect("rsi(2)", &b, &[NULL, NULL, 50.0, 250.0 / 3.0, 250.0 / 3.0]);
    expect("rsi(2)", &bars(&[5.0; 4]), &[NULL, NULL, 0.0, 0.0]);
    expect("rsi(2)", &bars(&[5.0, 6.0, 7.0, 8.0]), &[NULL, NULL, 100.0, 100.0]);
    // ema(2) of close: 1.5 2.5 2.8333 6.2778; of that: 2 2.5556 5.0370; 2e - e(e).
    let b = bars(&[1.0, 2.0, 3.0, 3.0, 8.0]);
    let (e3, e4) =
        (2.5 + 0.5 * 2.0 / 3.0, 2.5 + 0.5 * 2.0 / 3.0 + (8.0 - (2.5 + 0.5 * 2.0 / 3.0)) * 2.0 / 3.0);
    let (f2, f3) = (2.0, 2.0 + (e3 - 2.0) * 2.0 / 3.0);
    let f4 = f3 + (e4 - f3) * 2.0 / 3.0;
    expect("ema(2)", &b, &[NULL, 1.5, 2.5, e3, e4]);
    expect("dema(2)", &b, &[NULL, NULL, 5.0 - f2, 2.0 * e3 - f3, 2.0 * e4 - f4]);
    // True ranges from the second bar on: bars span 2, gaps are wider.
    let b = bars(&[10.0, 15.0, 15.0, 9.0]);
    expect("trange()", &b, &[NULL, 6.0, 2.0, 7.0]);
    expect("atr(2)", &b, &[NULL, NULL, 4.0, 5.5]);
    expect("natr(2)", &b, &[NULL, NULL, 400.0 / 15.0, 550.0 / 9.0]);
}

#[test]
fn prices_and_volumes() {
    let b = bars(&[10.0, 12.0, 9.0]);
    expect("typical", &b, &[10.0, 12.0, 9.0]);
    expect("hl2 + ohlc4", &b, &[20.0, 24.0, 18.0]);
    expect("dollar_volume", &b, &[1000.0, 2400.0, 2700.0]);
    expect("change", &b, &[NULL, 2.0, -3.0]);
    expect("change_pct", &b, &[NULL, 20.0, -25.0]);
    expect("roc(2)", &b, &[NULL, NULL, -10.0]);
    expect("mom(1)", &b, &[NULL, 2.0, -3.0]);
    expect("log_return()", &b, &[NULL, 1.2_f64.ln(), 0.75_f64.ln()]);
    expect("gap_pct", &b, &[NULL, 20.0, -25.0]);
    // Volumes 100 200 300: (1000 + 2400) / 300 and (2400 + 2700) / 500.
    expect("vwap(2)", &b, &[NULL, 3400.0 / 300.0, 5100.0 / 500.0]);
    expect("adv(2)", &b, &[NULL, 1700.0, 2550.0]);
    expect("rel_volume(2)", &b, &[NULL, NULL, 2.0]);
    let sent = with(b.clone(), Field::Vwap, &[NULL, 11.0, 9.5]);
    expect("vwap(2)", &sent, &[NULL, (1000.0 + 2200.0) / 300.0, (2200.0 + 2850.0) / 500.0]);
    expect("session_vwap()", &sent, &[10.0, 11.0, 9.5]);
    let quiet = with(b.clone(), Field::Volume, &[0.0, 0.0, 5.0]);
    expect("vwap(2)", &quiet, &[NULL, NULL, 9.0]);
    expect("rel_volume(1)", &quiet, &[NULL, NULL, NULL]);
    expect("trades", &b, &[7.0; 3]);
    // log returns of 1.2 and .75: sample deviation is the distance over the root of 2.
    let spread = (1.2_f64.ln() - 0.75_f64.ln()) / 2.0_f64.sqrt();
    expect("realized_vol(2)", &b, &[NULL, NULL, 100.0 * 252.0_f64.sqrt() * spread]);
    expect("realized_vol(2, per_year=1)", &b, &[NULL, NULL, 100.0 * spread]);
}

#[test]
fn bands_and_oscillators() {
    let b = bars(&[2.0, 4.0, 6.0, 6.0, 6.0]);
    // sma(2) 3 5 6 6, deviation 1 1 0 0.
    expect("bbands(2).upper", &b, &[NULL, 5.0, 7.0, 6.0, 6.0]);
    expect("bbands(2, 2, 1).lower", &b, &[NULL, 2.0, 4.0, 6.0, 6.0]);
    expect("bbands(2).middle", &b, &[NULL, 3.0, 5.0, 6.0, 6.0]);
    expect("bbands(2).width", &b, &[NULL, 4.0 / 3.0, 0.8, 0.0, 0.0]);
    expect("bbands(2).pctb", &b, &[NULL, 0.75, 0.75, NULL, NULL]);
    expect("ts_zscore(close, 2)", &b, &[NULL, 1.0, 1.0, NULL, NULL]);
    // Equal values whose mean rounds: still null.
    expect("ts_zscore(close, 3)", &bars(&[0.1; 3]), &[NULL; 3]);
    expect("bbands(3).pctb", &bars(&[0.1; 3]), &[NULL; 3]);
    // HH 5 7 7 7, LL 1 3 5 5 over two bars.
    let fast = [75.0, 75.0, 50.0, 50.0];
    expect("stoch(2, 1, 1).k", &b, &[NULL, fast[0], fast[1], fast[2], fast[3]]);
    expect("stoch(2, 2, 2).k", &b, &[NULL, NULL, NULL, 62.5, 50.0]);
    expect("stoch(2, 2, 2).d", &b, &[NULL, NULL, NULL, 68.75, 56.25]);
    expect("willr(2)", &b, &[NULL, -25.0, -25.0, -50.0, -50.0]);
    // Typical rises twice, then stays: 4*200 and 6*300 flow in.
    expect("mfi(2)", &b, &[NULL, NULL, 100.0, 100.0, 0.0]);
    let b = bars(&[5.0, 4.0, 6.0]);
    expect("mfi(2)", &b, &[NULL, NULL, 100.0 * 1800.0 / 2600.0]);
    let flat = with(with(bars(&[5.0; 3]), Field::High, &[5.0; 3]), Field::Low, &[5.0; 3]);
    expect("stoch(2, 1, 1).k", &flat, &[NULL, 0.0, 0.0]);
    expect("willr(2)", &flat, &[NULL, 0.0, 0.0]);
}

#[test]
fn crossings_need_the_bar_before() {
    let b = bars(&[1.0, 3.0, 3.0, 2.0, 4.0]);
    expect("close crosses_above 2", &b, &[NULL, 1.0, 0.0, 0.0, 1.0]);
    expect("close crosses_below 3", &b, &[NULL, 0.0, 0.0, 1.0, 0.0]);
    expect("close crosses 2.5", &b, &[NULL, 1.0, 0.0, 1.0, 1.0]);
    expect("crosses_above(3, close)", &b, &[NULL, 0.0, 0.0, 1.0, 0.0]);
    expect("close crosses_above sma(2)", &b, &[NULL, NULL, 0.0, 0.0, 1.0]);
}

#[test]
fn null_stays_where_it_is() {
    let b = with(bars(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), Field::Vwap, &[NULL, 2.0, NULL, 4.0, 6.0, 8.0]);
    // A null makes the windows that hold it null, and no later one.
    expect("sma(bar_vwap, 2)", &b, &[NULL, NULL, NULL, NULL, 5.0, 7.0]);
    // A recursion starts at its first value, and a null leaves it as it was: seeds 2 and 4, then 3 + (6-3)*2/3 = 5.
    expect("ema(bar_vwap, 2)", &b, &[NULL, NULL, NULL, 3.0, 5.0, 7.0]);
    expect("bar_vwap + close", &b, &[NULL, 4.0, NULL, 8.0, 11.0, 14.0]);
    expect("bar_vwap > 3", &b, &[NULL, 0.0, NULL, 1.0, 1.0, 1.0]);
    expect("bar_vwap > 3 and close > 9", &b, &[0.0; 6]);
    expect("bar_vwap > 3 or close > 0", &b, &[1.0; 6]);
    expect("not bar_vwap > 3", &b, &[NULL, 1.0, NULL, 0.0, 0.0, 0.0]);
    expect("is_null(bar_vwap)", &b, &[1.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    expect("coalesce(bar_vwap, close)", &b, &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0]);
    expect("min(bar_vwap, close)", &b, &[NULL, 2.0, NULL, 4.0, 5.0, 6.0]);
    expect("if(bar_vwap > 3, 1, 0)", &b, &[NULL, 0.0, NULL, 1.0, 1.0, 1.0]);
    expect("count(bar_vwap > 3, 2)", &b, &[NULL, NULL, NULL, NULL, 2.0, 2.0]);
    expect("1 / (close - 2)", &b, &[-1.0, NULL, 1.0, 0.5, 1.0 / 3.0, 0.25]);
    expect("log(close - 2)", &b, &[NULL, NULL, 0.0, 2.0_f64.ln(), 3.0_f64.ln(), 4.0_f64.ln()]);
    expect("sqrt(close - 2)", &b, &[NULL, 0.0, 1.0, 2.0_f64.sqrt(), 3.0_f64.sqrt(), 2.0]);
    expect("exp(close * 300)", &b, &[300.0_f64.exp(), 600.0_f64.exp(), NULL, NULL, NULL, NULL]);
    expect("sma(sma(2), 2)", &b, &[NULL, NULL, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn precedence_and_element_wise_functions() {
    let b = bars(&[2.0]);
    for (text, value) in [
        ("-close ^ 2", -4.0),
        ("(-close) ^ 2", 4.0),
        ("2 ^ 3 ^ close", 512.0),
        ("2 * -close", -4.0),
        ("1 - close - 3", -4.0),
        ("12 / close / 3", 2.0),
        ("1 + close * 3", 7.0),
        ("close ^ -1", 0.5),
        ("if(close between 1 and 2 and close > 1, 5, 6)", 5.0),
        ("if(close not in [1, 2], 5, 6)", 6.0),
        ("if(not close == 2 or close < 3, 5, 6)", 5.0),
        ("if(close > 1 or close > 1 and false, 5, 6)", 5.0),
        ("abs(-close)", 2.0),
        ("sign(close - 2)", 0.0),
        ("floor(close + 0.5) + ceil(close + 0.5)", 5.0),
        ("round(close + 0.5)", 3.0),
        ("round(-close - 0.5)", -3.0),
        ("round(close / 3, 2)", 0.67),
        ("min(close, 5, 1)", 1.0),
        ("max(close, 5, 1)", 5.0),
        ("clamp(close, 3, 4)", 3.0),
        ("high - low", 2.0),
    ] {
        expect(text, &b, &[value]);
    }
}

fn listing(symbol: &str, sector: Option<&str>, cap: Option<f64>, listed: Option<&str>) -> Listing {
    let mut listing = Listing::new(Symbol::new(symbol).unwrap());
    listing.text[TextAttribute::Sector as usize] = sector.map(Arc::from);
    listing.market_cap = cap;
    listing.list_date = listed.map(|d| d.parse().unwrap());
    listing
}

/// Five symbols over 2025-12-29 to 31; `NONE` has no bar, `LATE` one.
fn snapshot() -> Snapshot {
    let universe = Arc::new(Universe::new(
        "default",
        1,
        Timestamp::default(),
        [
            listing("AAA", Some("Energy"), Some(5e9), Some("2025-12-24")),
            listing("BBB", Some("Technology"), Some(5e10), None),
            listing("CCC", None, None, None),
            listing("LATE", Some("Energy"), Some(1e9), Some("2025-12-31")),
            listing("NONE", Some("Energy"), Some(1e9), None),
        ],
    ));
    let first: SessionDate = "2025-12-29".parse().unwrap();
    let sessions: Vec<SessionDate> = (0..3).map(|d| first.plus(d)).collect();
    let day = |d: i32, rows: &[(&str, f64)]| -> Block {
        let mut builder = BlockBuilder::new(Timeframe::Day);
        for (symbol, close) in rows {
            builder.push(
                symbol,
                BarKey::session(first.plus(d)),
                [*close, *close, *close, *close, 10.0, NULL, 1.0],
            );
        }
        builder.finish(None, None, Provenance { provider: "test".into(), fetched_at: Timestamp::default() }).0
    };
    let blocks = [
        day(0, &[("AAA", 10.0), ("BBB", 20.0), ("CCC", 5.0)]),
        day(1, &[("AAA", 11.0), ("CCC", 5.0)]),
        day(2, &[("AAA", 12.0), ("BBB", 10.0), ("CCC", 5.0), ("LATE", 7.0)]),
    ];
    let (adjusted, raw) = Panel::build(&universe, &sessions, &blocks, &Splits::default(), 1);
    Snapshot {
        id: SnapshotId("s".into()),
        epoch: 1,
        market: MarketId::new("test"),
        as_of: Timestamp::default(),
        created: Timestamp::default(),
        history_start: first,
        point_in_time: true,
        universe,
        daily: Arc::new(adjusted),
        daily_raw: Arc::new(raw),
        named: Arc::default(),
        daily_paid: Arc::default(),
        held: Arc::new(Held::default()),
        provider: "test".into(),
    }
}

fn scan(spec: &ScanSpec, skip: usize) -> (Vec<String>, RankedRows) {
    let snapshot = snapshot();
    let plan = plan(spec).unwrap();
    let population = Population::all(snapshot.universe.len());
    let cancel = Cancel::default();
    let job = ScanJob {
        plan: &plan,
        snapshot: &snapshot,
        population: &population,
        skip,
        memo: None,
        cancel: &cancel,
    };
    let rows = Reference.scan(&job).unwrap();
    (rows.symbols.iter().map(|id| snapshot.universe.symbol(*id).to_string()).collect(), rows)
}

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|t| (*t).to_owned()).collect()
}

#[test]
fn a_scan_filters_ranks_and_counts() {
    let spec = ScanSpec {
        filter: "close < 12".to_owned(),
        columns: texts(&["close", "sector", "x = 5", "symbol"]),
        rank_by: "close".to_owned(),
        ..ScanSpec::default()
    };
    let (symbols, rows) = scan(&spec, 0);
    assert_eq!(symbols, ["BBB", "LATE", "CCC"]);
    assert_eq!((rows.matched, rows.filter_false, rows.filter_null, rows.no_bars), (3, 1, 0, 1));
    assert_eq!(rows.columns[0], Cells::Numbers(vec![10.0, 7.0, 5.0]));
    assert_eq!(rows.columns[1], Cells::Texts(vec![Some("Technology".into()), Some("Energy".into()), None]));
    assert_eq!(rows.columns[2], Cells::Numbers(vec![5.0; 3]));
    let ascending = ScanSpec { order: Order::Ascending, limit: 1, ..spec.clone() };
    assert_eq!(scan(&ascending, 1).0, ["LATE"]);
    // Missing sessions are skipped: BBB's two bars are neighbours.
    let change = ScanSpec { filter: "change_pct == -50".to_owned(), ..spec.clone() };
    assert_eq!(scan(&change, 0).0, ["BBB"]);
    // One bar is too few for change: null is counted apart.
    let (_, rows) = scan(&ScanSpec { filter: "change > 0".to_owned(), ..spec }, 0);
    assert_eq!((rows.matched, rows.filter_false, rows.filter_null), (1, 2, 1));
}

#[test]
fn attributes_need_no_bar() {
    let matches = |filter: &str| {
        let spec = ScanSpec { filter: filter.to_owned(), columns: texts(&["symbol"]), ..ScanSpec::default() };
        scan(&spec, 0).0
    };
    assert_eq!(matches("sector == 'Energy'"), ["AAA", "LATE", "NONE"]);
    assert_eq!(matches("sector != 'Energy'"), ["BBB"]);
    assert_eq!(matches("sector not in ['Energy', 'Technology']"), [""; 0]);
    assert_eq!(matches("is_null(sector) or market_cap > 10B"), ["BBB", "CCC"]);
    assert_eq!(matches("contains(sector, 'ENER')"), ["AAA", "LATE", "NONE"]);
    assert_eq!(matches("starts_with(symbol, 'b') or starts_with(symbol, 'n')"), ["BBB", "NONE"]);
    assert_eq!(matches("symbol in ['CCC', 'AAA', 'nope']"), ["AAA", "CCC"]);
    assert_eq!(matches("active and if(market_cap < 2B, true, false)"), ["LATE", "NONE"]);
    // Sessions 24, 26, 29, 30 and 31 December 2025.
    assert_eq!(matches("days_listed == 5"), ["AAA"]);
    assert_eq!(matches("days_listed == 1"), ["LATE"]);
    // An attribute beside a series: the series' last value.
    assert_eq!(matches("market_cap / close > 1B"), ["BBB"]);
}

#[test]
fn a_cancelled_scan_stops() {
    let snapshot = snapshot();
    let plan = plan(&ScanSpec::default()).unwrap();
    let population = Population::all(snapshot.universe.len());
    let cancel = Cancel::default();
    cancel.cancel();
    let job = ScanJob {
        plan: &plan,
        snapshot: &snapshot,
        population: &population,
        skip: 0,
        memo: None,
        cancel: &cancel,
    };
    assert_eq!(Reference.scan(&job).unwrap_err(), ComputeError::Cancelled);
}
