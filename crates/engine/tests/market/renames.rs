//! Companies that change their tickers, tickers that change their companies, and those that nobody lists.

use std::time::Duration;

use panscan_core::calendar::Calendar;
use panscan_core::diagnostic::Reason;
use panscan_core::port::Errand;
use panscan_core::range::BarRange;
use panscan_core::scan::{Adjustment, DataPolicy};
use panscan_core::time::SessionDate;
use panscan_engine::{BarsRequest, Engine, EngineConfig, Pin, SymbolBars};

use crate::desk::{Desk, numbers, scan_of};
use crate::intraday::{bits, names, read, request, truth};

async fn rename(desk: &Desk, symbol: &str, to: &str, date: SessionDate) {
    let change = format!(r#"{{"rename":{{"symbol":"{symbol}","to":"{to}","date":"{date}"}}}}"#);
    desk.control("/_sim/market", &change).await;
}

fn bars_of(symbols: &[&str], from: SessionDate) -> BarsRequest {
    BarsRequest {
        symbols: symbols.iter().map(ToString::to_string).collect(),
        from: Some(from),
        to: None,
        last: 0,
        adjustment: Adjustment::Raw,
        pin: Pin::Newest,
        policy: DataPolicy::BestEffort,
        deadline: None,
        errand: Errand::interactive(1),
    }
}

/// A symbol's bars as bits, to compare with the truth of a company.
fn days(found: &SymbolBars) -> Vec<(SessionDate, [u64; 7])> {
    let bars = &found.bars;
    let row = |i: usize| (bars.sessions[i], std::array::from_fn(|field| bars.columns[field][i].to_bits()));
    (0..bars.sessions.len()).map(row).collect()
}

fn true_days(desk: &Desk, symbol: &str) -> Vec<(SessionDate, [u64; 7])> {
    desk.sim.truth(symbol).into_iter().map(|(day, bar)| (day, bar.map(f64::to_bits))).collect()
}

/// Symbols that trade on every session.
fn regular(desk: &Desk, count: usize) -> Vec<String> {
    let longest = names(desk, 40).iter().map(|name| desk.sim.truth(name).len()).max().unwrap();
    let all = names(desk, 40).into_iter().filter(|name| desk.sim.truth(name).len() == longest);
    all.take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_company_has_one_history_and_a_reused_ticker_another() {
    let desk = Desk::new(80, 60).await;
    let [old, other] = &regular(&desk, 2)[..] else { panic!() };
    let sessions: Vec<SessionDate> = desk.sim.truth(old).iter().map(|(day, _)| *day).collect();
    let (whole, reused) = (true_days(&desk, old), true_days(&desk, other));
    // The first gives its ticker up, and a little later the second takes it on.
    rename(&desk, old, "NEWCO", sessions[20]).await;
    rename(&desk, other, old, sessions[24]).await;

    // Out of the market's days.
    let engine = desk.engine(70).await;
    let cold = engine.scan(&scan_of(&["highest(high, 60)"])).await.unwrap();
    assert!(cold.complete, "{:?}", cold.diagnostics);
    // No list tells what NEWCO was, as its ticker has another company now: that takes a question.
    assert!(engine.refresh_renames(40).await > 0);
    let before = desk.calls();
    let answer = engine.bars(&bars_of(&["NEWCO", old.as_str(), other.as_str()], sessions[0])).await.unwrap();
    assert_eq!(desk.calls(), before, "all of it is held: {:?}", answer.diagnostics);
    assert!(days(&answer.series[0]) == whole, "{} bars", answer.series[0].bars.sessions.len());
    assert!(days(&answer.series[1]) == reused, "no bar of the company that had the ticker before");
    assert!(days(&answer.series[2]) == reused[..24], "a ticker that was given up keeps its days");
    // It takes no part in a scan: its company does.
    let universe = &cold.published.snapshot.universe;
    let row = universe.find(other).unwrap();
    assert!(!cold.rows.symbols.contains(&row) && !universe.active()[row.index()]);
    assert_eq!(universe.len(), 81);
    drop(engine);
    let before = desk.calls();
    let engine = desk.engine(70).await;
    let again = engine.bars(&bars_of(&["NEWCO", old.as_str()], sessions[0])).await.unwrap();
    assert!((days(&again.series[0]), days(&again.series[1])) == (whole, reused.clone()));
    assert_eq!(desk.calls(), before, "lives are kept");

    // Out of calls for the symbol: one for each ticker that it had, and none that is not needed.
    let engine = desk.fresh_engine(10).await;
    let before = desk.calls();
    let answer = engine.bars(&bars_of(&[old], sessions[0])).await.unwrap();
    assert!(days(&answer.series[0]) == reused);
    assert_eq!((desk.calls() - before, answer.cost.calls, answer.complete), (2, 2, true));
    let answer = engine.bars(&bars_of(&[other], sessions[10])).await.unwrap();
    assert!(answer.series.is_empty(), "a ticker that nobody met");
    assert_eq!(desk.calls() - before, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_follow_the_company_too() {
    let desk = Desk::new(12, 20).await;
    let [old] = &regular(&desk, 1)[..] else { panic!() };
    let expected = truth(&desk, old);
    let sessions: Vec<SessionDate> = desk.sim.truth(old).iter().map(|(day, _)| *day).collect();
    rename(&desk, old, "NEWCO", sessions[10]).await;
    let engine = desk.engine(15).await;
    let all = BarRange::Sessions(Some(sessions[0]), None);
    let whole = request(&["NEWCO".to_owned()], "1m", all);
    let before = desk.calls();
    let found = read(&engine, whole.clone()).await.unwrap();
    assert!(found.end.complete, "{:?}", found.diagnostics);
    assert_eq!(bits(found.of("NEWCO")), expected);
    assert_eq!(desk.calls() - before, 2);
    assert_eq!(read(&engine, whole).await.unwrap().end.provider_calls, 0);
    let newest = read(&engine, request(&["NEWCO".to_owned()], "1m", BarRange::Last(5000))).await.unwrap();
    assert_eq!(bits(newest.of("NEWCO")), expected[expected.len() - 5000..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_ticker_is_learned_while_the_server_runs() {
    let desk = Desk::new(40, 40).await;
    let [old] = &regular(&desk, 1)[..] else { panic!() };
    let config =
        EngineConfig { history_daily: 30, reference_ttl: Duration::from_secs(60), ..EngineConfig::default() };
    let engine = Engine::start(desk.parts(None), config).await.unwrap();
    let whole = true_days(&desk, old);
    let sessions: Vec<SessionDate> = whole.iter().map(|(day, _)| *day).collect();
    let from = sessions[2];
    assert!(engine.scan(&scan_of(&["rsi(14)"])).await.unwrap().complete);
    let before = engine.bars(&bars_of(&[old], from)).await.unwrap();
    assert_eq!(days(&before.series[0]), whole[2..]);

    rename(&desk, old, "NEWCO", sessions[30]).await;
    let split = r#"{"split":{"symbol":"OLD","execution_date":"DAY","split_from":1,"split_to":2}}"#;
    let day = sessions[10].to_string();
    desk.control("/_sim/market", &split.replace("OLD", old).replace("DAY", &day)).await;
    desk.set_now(desk.sim.now().after(Duration::from_secs(120)));
    assert!(engine.refresh_once().await.snapshot);
    let unknown = engine.bars(&bars_of(&["NEWCO"], sessions[30])).await.unwrap();
    assert!(unknown.complete, "{:?}", unknown.diagnostics);
    // Of the days held before, those until the change are under the old ticker; the newer ones are asked for.
    let answer = engine.bars(&bars_of(&["NEWCO"], from)).await.unwrap();
    let until = days(&answer.series[0]).into_iter().filter(|(day, _)| *day < sessions[30]);
    assert_eq!(until.collect::<Vec<_>>(), whole[2..30]);
    // The split is listed under the new ticker and was executed under the old one.
    let adjusted = BarsRequest { adjustment: Adjustment::Splits, ..bars_of(&["NEWCO"], from) };
    let adjusted = engine.bars(&adjusted).await.unwrap();
    let (raw, halved) = (&answer.series[0].bars.columns[3], &adjusted.series[0].bars.columns[3]);
    assert_eq!((halved[0], halved[9]), (raw[0] * 0.5, raw[9]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticker_that_nobody_lists_is_kept_with_its_attributes_unknown() {
    let desk = Desk::new(40, 40).await;
    let [symbol] = &regular(&desk, 1)[..] else { panic!() };
    desk.control("/_sim/market", &format!(r#"{{"unlist":{{"symbol":"{symbol}"}}}}"#)).await;
    let engine = desk.engine(30).await;
    assert!(engine.current().unwrap().snapshot.universe.find(symbol).is_none());
    let found = engine.scan(&scan_of(&["close"])).await.unwrap();
    let universe = &found.published.snapshot.universe;
    let id = universe.find(symbol).expect("its bars came with the market's days");
    let row = found.rows.symbols.iter().position(|row| *row == id).unwrap();
    let newest = desk.sim.truth(symbol).last().unwrap().1[3];
    assert_eq!((found.scanned, numbers(&found, 0)[row]), (40, newest));
    assert_eq!((engine.stats().unlisted, engine.stats().without_bars), (1, 0));
    // A condition on an attribute leaves it out, as null and not as false, and the share is told.
    let mut filtered = scan_of(&["close"]);
    filtered.spec.filter = "exchange in ['XNAS', 'XNYS', 'ARCX', 'XASE', 'BATS']".to_owned();
    let filtered = engine.scan(&filtered).await.unwrap();
    assert!(!filtered.rows.symbols.contains(&id));
    let told = filtered.diagnostics.iter().find(|d| d.reason == Reason::AttributeCoverage).unwrap();
    assert!((told.count, told.subject.as_str()) == (1, "exchange"), "{told:?}");
    let mut selected = scan_of(&["close"]);
    selected.spec.universe.exchanges = vec!["XNAS".to_owned(), "XNYS".to_owned()];
    let selected = engine.scan(&selected).await.unwrap();
    let told = selected.diagnostics.iter().find(|d| d.reason == Reason::AttributeCoverage).unwrap();
    assert!((told.count, told.subject.as_str()) == (1, "exchange"), "{told:?}");
    // A restart knows it at once.
    drop(engine);
    let before = desk.calls();
    let engine = desk.engine(30).await;
    assert!(engine.current().unwrap().snapshot.universe.find(symbol).is_some());
    // The reverse: listed, and without a bar.
    let calendar = Calendar::us_equities();
    let (first, last) = (calendar.first(), calendar.session_of(desk.sim.now()));
    let silent = regular(&desk, 2)[1].clone();
    let halt = format!(r#"{{"halt":{{"symbol":"{silent}","from":"{first}","to":"{last}"}}}}"#);
    assert_eq!(desk.calls(), before);
    desk.control("/_sim/market", &halt).await;
    let engine = desk.fresh_engine(20).await;
    let found = engine.scan(&scan_of(&["close"])).await.unwrap();
    assert!(found.diagnostics.iter().any(|d| d.reason == Reason::SymbolNoBars && d.count == 1));
    assert_eq!((engine.stats().unlisted, engine.stats().without_bars), (1, 1));
}
