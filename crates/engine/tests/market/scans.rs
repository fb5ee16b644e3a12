//! What a scan fetches, and what it says.

use std::time::Duration;

use panscan_core::diagnostic::Reason;
use panscan_core::scan::DataPolicy;
use panscan_core::time::SessionDate;
use panscan_engine::EngineError;
use tokio::time::Instant;

use crate::desk::{Desk, bits, numbers, scan_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_scan_takes_one_call_a_session_and_a_warm_one_none() {
    let desk = Desk::new(70, 60).await;
    let engine = desk.engine(40).await;
    let before = desk.calls();
    let cold = engine.scan(&scan_of(&["sma(5)", "rsi(14)"])).await.unwrap();
    let sessions = cold.published.snapshot.daily.sessions().len() as u64;
    assert_eq!((cold.complete, cold.scanned), (true, 70));
    assert_eq!((cold.provider_calls, desk.calls() - before), (sessions, sessions));
    assert_eq!((cold.cost.calls, cold.cost.missing_cells), (sessions, sessions * 70));
    let warm = engine.scan(&scan_of(&["sma(5)", "rsi(14)"])).await.unwrap();
    assert_eq!((warm.provider_calls, desk.calls() - before), (0, sessions));
    assert_eq!(bits(&warm), bits(&cold));
    assert_eq!(warm.published.snapshot.id, cold.published.snapshot.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_plan_can_see_is_fetched() {
    let desk = Desk::new(40, 60).await;
    let engine = desk.engine(50).await;
    let before = desk.calls();
    let close = engine.scan(&scan_of(&["close"])).await.unwrap();
    assert!(close.complete);
    // One session for everyone, and a few more for those that were halted in it.
    assert!(desk.calls() - before < 10, "{} calls for the newest close", desk.calls() - before);
    let sma = engine.scan(&scan_of(&["sma(20)"])).await.unwrap();
    assert!(sma.complete && desk.calls() - before < 45);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_those_of_the_bars_that_the_provider_has() {
    let desk = Desk::new(64, 50).await;
    let engine = desk.engine(30).await;
    let answer = engine.scan(&scan_of(&["close", "sma(5)"])).await.unwrap();
    let universe = &answer.published.snapshot.universe;
    let mut compared = 0;
    for (row, id) in answer.rows.symbols.iter().enumerate() {
        let symbol = universe.symbol(*id);
        let mut closes: Vec<f64> = desk.sim.truth(symbol.as_str()).iter().map(|(_, bar)| bar[3]).collect();
        let tail = closes.split_off(closes.len().saturating_sub(5));
        let series = answer.published.snapshot.daily_raw.series(
            *id,
            answer.published.snapshot.history_start,
            answer.published.snapshot.newest().unwrap(),
        );
        assert_eq!(series.columns[3].last(), tail.last(), "{symbol}");
        let adjusted = answer.published.snapshot.daily.series(
            *id,
            answer.published.snapshot.history_start,
            answer.published.snapshot.newest().unwrap(),
        );
        let unsplit = series.columns[3] == adjusted.columns[3];
        if unsplit && tail.len() == 5 {
            compared += 1;
            assert_eq!(numbers(&answer, 0)[row], tail[4]);
            assert_eq!(numbers(&answer, 1)[row], tail.iter().sum::<f64>() / 5.0, "{symbol}");
        }
    }
    assert!(compared > 50, "only {compared} symbols could be compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_of_one_cold_universe_are_the_calls_of_one() {
    let desk = Desk::new(40, 40).await;
    let engine = desk.engine(20).await;
    let before = desk.calls();
    let request = scan_of(&["rsi(14)"]);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (engine, request) = (engine.clone(), request.clone());
            tokio::spawn(async move { engine.scan(&request).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.unwrap());
    }
    let sessions = answers[0].published.snapshot.daily.sessions().len() as u64;
    assert_eq!(desk.calls() - before, sessions);
    assert!(answers.iter().all(|a| a.complete && bits(a) == bits(&answers[0])));
}

#[tokio::test(flavor = "multi_thread")]
async fn few_symbols_are_fetched_by_range() {
    let desk = Desk::new(60, 80).await;
    let engine = desk.engine(60).await;
    let symbols: Vec<String> = desk.sim.symbols().take(3).map(ToString::to_string).collect();
    let mut request = scan_of(&["rsi(14)"]);
    request.spec.universe.symbols = symbols.clone();
    let before = desk.calls();
    let answer = engine.scan(&request).await.unwrap();
    assert_eq!((answer.scanned, answer.complete, desk.calls() - before), (3, true, 3));
    let all = engine.scan(&scan_of(&["symbol", "rsi(14)"])).await.unwrap();
    let mut some = bits(&all);
    some.retain(|(id, _)| answer.rows.symbols.iter().any(|s| s.0 == *id));
    let values =
        |rows: &[(u32, Vec<u64>)], column: usize| rows.iter().map(|r| r.1[column]).collect::<Vec<_>>();
    assert_eq!(values(&some, 1), values(&bits(&answer), 0), "by range or by day: the same bits");
    request.spec.universe.symbols.push("NOSUCH".to_owned());
    let partly = engine.scan(&request).await.unwrap();
    assert_eq!(partly.scanned, 3);
    assert!(partly.diagnostics.iter().any(|d| d.reason == Reason::SymbolUnknown && d.count == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_kept() {
    let desk = Desk::new(40, 40).await;
    let engine = desk.engine(20).await;
    let before = desk.calls();
    let mut request = scan_of(&["close"]);
    request.policy = DataPolicy::CachedOnly;
    let cached = engine.scan(&request).await.unwrap();
    assert_eq!((desk.calls(), cached.complete, cached.rows.no_bars), (before, false, 40));
    assert_eq!(cached.rows.matched + cached.rows.no_bars, cached.scanned);
    request.policy = DataPolicy::RequireComplete;
    assert!(engine.scan(&request).await.unwrap().complete);
    request.plan_only = true;
    request.spec.columns = vec!["rsi(14)".to_owned()];
    let planned = engine.scan(&request).await.unwrap();
    assert!(planned.cost.calls > 10 && planned.rows.symbols.is_empty(), "{:?}", planned.cost);
    assert!(planned.provider_calls == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_cuts_fetching_and_rows_still_arrive() {
    let desk = Desk::limited(40, 40, "20/s").await;
    let engine = desk.engine(30).await;
    let mut request = scan_of(&["rsi(14)"]);
    request.deadline = Some(Instant::now() + Duration::from_millis(600));
    let cut = engine.scan(&request).await.unwrap();
    assert!(!cut.complete && cut.diagnostics.iter().any(|d| d.reason == Reason::DeadlinePartial));
    request.deadline = Some(Instant::now() + Duration::from_millis(100));
    request.policy = DataPolicy::RequireComplete;
    assert!(matches!(engine.scan(&request).await, Err(EngineError::Deadline { .. })));
    request.deadline = Some(Instant::now() + Duration::from_secs(60));
    assert!(engine.scan(&request).await.unwrap().complete);
    assert_eq!(desk.sim.audit().violations, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_stops_the_calls() {
    let desk = Desk::limited(40, 60, "10/s").await;
    let engine = desk.engine(50).await;
    let request = scan_of(&["rsi(14)"]);
    let caller = tokio::spawn({
        let engine = engine.clone();
        async move { engine.scan(&request).await }
    });
    let began = desk.calls();
    while desk.calls() < began + 3 {
        tokio::task::yield_now().await;
    }
    caller.abort();
    assert!(caller.await.is_err());
    // That nothing comes can only be waited for: first for what was on its way, then for longer than the limit
    // would keep the next calls back.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let left = desk.calls();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(desk.calls(), left, "no call is made for a caller that left");
}

#[tokio::test(flavor = "multi_thread")]
async fn volume_that_came_twice_and_a_step_without_a_split_are_shown_and_kept() {
    let desk = Desk::new(40, 40).await;
    let bar = async |symbol: &str, session: SessionDate, price: f64, volume: f64| {
        let bar =
            format!(r#"{{"o":{price},"h":{price},"l":{price},"c":{price},"v":{volume},"vw":{price},"n":9}}"#);
        let late = format!(r#"{{"late_bar":{{"symbol":"{symbol}","session":"{session}","bar":{bar}}}}}"#);
        desk.control("/_sim/market", &late).await;
    };
    // Two that trade every day and have no split.
    let calm: Vec<_> = desk
        .sim
        .symbols()
        .map(|symbol| (symbol.to_string(), desk.sim.truth(symbol.as_str()).to_vec()))
        .filter(|(_, truth)| {
            truth.len() == 40 && truth.windows(2).all(|w| (0.8..1.25).contains(&(w[1].1[0] / w[0].1[3])))
        })
        .take(2)
        .collect();
    let [(twice, history), (cliff, fallen)] = &calm[..] else { panic!("{} calm symbols", calm.len()) };
    let (newest, last) = *history.last().unwrap();
    let volume = 20.0 * history.iter().map(|(_, bar)| bar[4]).fold(0.0, f64::max);
    bar(twice, newest, last[3], volume).await;
    for (session, _) in &fallen[35..] {
        bar(cliff, *session, (fallen[34].1[3] * 100.0 / 3.0).round() / 100.0, 3.0 * fallen[34].1[4]).await;
    }
    let engine = desk.engine(30).await;
    let answer = engine.scan(&scan_of(&["volume", "sma(volume, 25)"])).await.unwrap();
    let told = |answer: &panscan_engine::ScanAnswer, reason, name: &str| {
        let mut told = answer.diagnostics.iter().filter(|d| d.reason == reason);
        told.any(|d| d.symbols.iter().any(|symbol| symbol.as_str() == name))
    };
    assert!(told(&answer, Reason::VolumeSuspicious, twice), "{:?}", answer.diagnostics);
    assert!(told(&answer, Reason::SplitSuspicious, cliff), "{:?}", answer.diagnostics);
    assert!(!told(&answer, Reason::SplitSuspicious, twice));
    let at = answer
        .rows
        .symbols
        .iter()
        .position(|id| answer.published.snapshot.universe.symbol(*id).as_str() == twice.as_str());
    assert_eq!(numbers(&answer, 0)[at.unwrap()], volume, "kept as received");
    let price = engine.scan(&scan_of(&["close"])).await.unwrap();
    assert!(price.diagnostics.iter().all(|d| d.reason != Reason::VolumeSuspicious), "nobody reads volume");
}
