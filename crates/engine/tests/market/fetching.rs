//! Fetching for many callers at once, from a provider in trouble.

use std::sync::Arc;
use std::time::{Duration, Instant};

use panscan_core::port::{Errand, SourceError};
use panscan_core::scan::DataPolicy;
use panscan_engine::{Engine, EngineError, ScanRequest};
use panscan_sim::FaultName;

use crate::desk::{Desk, bits, scan_of, within};

/// Longest wait for something on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn faults(list: &[(&str, f64)]) -> Vec<(FaultName, f64)> {
    list.iter().map(|(name, chance)| (name.parse().unwrap(), *chance)).collect()
}

/// Scans under way, each for a caller of its own.
fn callers(
    engine: &Engine,
    count: u64,
    request: &ScanRequest,
) -> tokio::task::JoinSet<Result<panscan_engine::ScanAnswer, EngineError>> {
    let mut set = tokio::task::JoinSet::new();
    for caller in 0..count {
        let request = ScanRequest { errand: Errand::interactive(caller), ..request.clone() };
        let engine = engine.clone();
        set.spawn(async move { engine.scan(&request).await });
    }
    set
}

/// Waits for what must come, but not for ever: a test that hangs says nothing.
async fn until(what: &str, came: impl Fn() -> bool) {
    let began = Instant::now();
    while !came() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_days_with_a_third_of_the_answers_faulty_is_complete_to_the_bit() {
    let request = scan_of(&["close", "rsi(14)", "vwap(20)", "sma(close, 200)"]);
    let calm = Desk::new(300, 252).await.fresh_engine(252).await.scan(&request).await.unwrap();
    let mut desk = Desk::limited(300, 252, "200/s").await;
    // So that many a call exhausts its retries and has to be queued again.
    desk.retries = 1;
    let engine = desk.fresh_engine(252).await;
    desk.sim.set_faults(&faults(&[("mixed", 0.3)])).unwrap();
    let answer = engine.scan(&within(240, request)).await.unwrap();
    assert!(answer.complete, "{:?}", answer.diagnostics);
    assert_eq!(bits(&answer), bits(&calm));
    let audit = desk.sim.audit();
    assert_eq!(audit.violations, 0);
    let requeued = engine.stats().requeued;
    println!("{} calls, {requeued} queued again", audit.total);
    assert!(requeued > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_comes_back_within_the_deadline_is_waited_for() {
    let desk = Desk::new(40, 60).await;
    let request = scan_of(&["rsi(14)", "sma(close, 20)"]);
    let calm = desk.fresh_engine(40).await.scan(&request).await.unwrap();
    let engine = desk.fresh_engine(40).await;
    desk.sim.set_faults(&faults(&[("503", 1.0)])).unwrap();
    let mut waiting = callers(&engine, 5, &within(120, request));
    until("a call that is queued again", || engine.stats().requeued >= 20).await;
    let before = desk.calls();
    desk.sim.set_faults(&[]).unwrap();
    while let Some(answer) = waiting.join_next().await {
        let answer = answer.unwrap().unwrap();
        assert!(answer.complete);
        assert_eq!(bits(&answer), bits(&calm));
    }
    assert!(desk.calls() - before <= 40 + 10, "five callers, one call for each day");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_revoked_in_the_middle_is_one_error_at_once_for_everyone() {
    let desk = Desk::limited(300, 200, "50/s").await;
    let engine = desk.fresh_engine(200).await;
    let before = desk.calls();
    let mut strict = within(300, scan_of(&["rsi(14)"]));
    strict.policy = DataPolicy::RequireComplete;
    let mut waiting = callers(&engine, 20, &strict);
    until("the calls before", || desk.calls() >= before + 20).await;
    desk.sim.set_faults(&faults(&[("key_revoked", 1.0)])).unwrap();
    let revoked = desk.calls();
    while let Some(answer) = waiting.join_next().await {
        let error = answer.unwrap().unwrap_err();
        assert!(matches!(error, EngineError::Source(SourceError::Key { .. })), "{error}");
    }
    assert!(
        desk.calls() - revoked <= 15,
        "calls that were under way, and none after: {}",
        desk.calls() - revoked
    );
    // What came is answered where a part is welcome, with one thing to know about the rest.
    let partial = engine.scan(&within(60, scan_of(&["close"]))).await.unwrap();
    let told = partial.diagnostics.iter().filter(|d| d.message.contains("refuses the key")).count();
    assert!(!partial.rows.symbols.is_empty());
    assert!(told <= 1, "{:?}", partial.diagnostics);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_and_nothing_held_is_an_error() {
    let desk = Desk::new(40, 60).await;
    let engine = desk.fresh_engine(40).await;
    desk.sim.set_faults(&faults(&[("key_revoked", 1.0)])).unwrap();
    let error = engine.scan(&within(60, scan_of(&["close"]))).await.unwrap_err();
    assert!(matches!(error, EngineError::Source(SourceError::Key { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_make_the_calls_of_one_and_none_is_refused() {
    // The limit makes the fetch take long enough for all of them to be there.
    let desk = Desk::limited(128, 120, "25/s").await;
    let request = scan_of(&["close", "rsi(14)"]);
    let engine = desk.fresh_engine(100).await;
    let before = desk.calls();
    let one = engine.scan(&request).await.unwrap();
    let calls = desk.calls() - before;
    assert_eq!(desk.sim.audit().violations, 0);
    assert!(one.complete && (100..130).contains(&calls), "{calls}");

    // A simulator of its own: two engines that do not know of each other would break one limit.
    let desk = Desk::limited(128, 120, "25/s").await;
    let engine = desk.fresh_engine(100).await;
    let before = desk.calls();
    let mut waiting = callers(&engine, 1000, &request);
    until("all callers", || engine.stats().fetching == 1000).await;
    assert_eq!(engine.stats().active, 0, "who waits holds no permit");
    let expected = Arc::new(bits(&one));
    let mut served = 0;
    while let Some(answer) = waiting.join_next().await {
        let answer = answer.unwrap().unwrap();
        assert!(answer.complete);
        assert_eq!(bits(&answer), *expected);
        served += 1;
    }
    assert_eq!(desk.sim.audit().violations, 0);
    assert_eq!((served, desk.calls() - before), (1000, calls));
    assert_eq!(engine.stats().fetching, 0);
}
