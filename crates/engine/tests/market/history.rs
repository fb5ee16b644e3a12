//! Restarts, new sessions and past instants.

use std::time::Duration;

use panscan_core::calendar::Calendar;
use panscan_core::diagnostic::Reason;
use panscan_core::port::Errand;
use panscan_core::scan::{Adjustment, DataPolicy};
use panscan_engine::{BarsRequest, EngineError, Forget, Pin};

use crate::desk::{Desk, bits, scan_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_makes_no_call() {
    let desk = Desk::new(40, 40).await;
    let engine = desk.engine(20).await;
    let cold = engine.scan(&scan_of(&["rsi(14)", "vwap(20)"])).await.unwrap();
    drop(engine);
    let before = desk.calls();
    let engine = desk.engine(20).await;
    let again = engine.scan(&scan_of(&["rsi(14)", "vwap(20)"])).await.unwrap();
    assert_eq!(desk.calls(), before);
    assert_eq!(bits(&again), bits(&cold));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_market_begins_is_learned_and_remembered() {
    let desk = Desk::new(40, 30).await;
    let engine = desk.engine(200).await;
    let before = desk.calls();
    let cold = engine.scan(&scan_of(&["rsi(14)"])).await.unwrap();
    assert!(cold.complete);
    let asked = desk.calls() - before;
    assert!(asked <= 30 + 15, "{asked} calls for 30 sessions");
    drop(engine);
    let before = desk.calls();
    let engine = desk.engine(200).await;
    assert!(engine.scan(&scan_of(&["rsi(14)"])).await.unwrap().complete);
    assert_eq!(desk.calls(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_is_one_call_and_an_old_snapshot_stays() {
    let desk = Desk::new(40, 60).await;
    let calendar = Calendar::us_equities();
    let last = calendar.session_of(desk.sim.now());
    let earlier = calendar.back(last, 3).unwrap();
    desk.set_now(calendar.close(earlier).after(Duration::from_secs(3600)));
    let engine = desk.engine(30).await;
    let first = engine.scan(&scan_of(&["rsi(14)"])).await.unwrap();
    assert_eq!(first.published.snapshot.newest(), Some(earlier));
    desk.set_now(calendar.close(calendar.next(earlier).unwrap()).after(Duration::from_secs(3600)));
    let second = engine.scan(&scan_of(&["rsi(14)"])).await.unwrap();
    assert_eq!(second.published.snapshot.newest(), calendar.next(earlier));
    // A day later the listings and splits are a day old and asked for again as well; bars take one call.
    assert_eq!((second.complete, second.provider_calls), (true, 1));
    let mut pinned = scan_of(&["rsi(14)"]);
    pinned.pin = Pin::Snapshot(first.published.snapshot.id.to_string());
    assert_eq!(bits(&engine.scan(&pinned).await.unwrap()), bits(&first));
    pinned.pin = Pin::Snapshot("gone".to_owned());
    assert!(matches!(engine.scan(&pinned).await, Err(EngineError::SnapshotExpired { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_of_shows_what_a_server_of_that_day_showed() {
    let desk = Desk::new(64, 90).await;
    let calendar = Calendar::us_equities();
    let last = calendar.session_of(desk.sim.now());
    let day = calendar.back(last, 25).unwrap();
    let then = calendar.close(day).after(Duration::from_secs(600));
    let mut request = scan_of(&["close", "rsi(14)", "stddev(close, 20)"]);
    request.pin = Pin::AsOf(then);
    let now = desk.engine(40).await;
    let past = now.scan(&request).await.unwrap();
    assert!(past.complete && !past.published.snapshot.point_in_time);
    assert!(past.diagnostics.iter().any(|d| d.reason == Reason::UniverseNotPointInTime));
    desk.set_now(then);
    let that_day = desk.fresh_engine(40).await;
    request.pin = Pin::Newest;
    assert_eq!(bits(&that_day.scan(&request).await.unwrap()), bits(&past));
    request.pin = Pin::AsOf("1990-01-01T00:00:00Z".parse().unwrap());
    assert!(matches!(that_day.scan(&request).await, Err(EngineError::BeforeHistory { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_reach_beyond_what_is_resident() {
    let desk = Desk::new(40, 300).await;
    let engine = desk.engine(20).await;
    let symbols: Vec<String> = desk.sim.symbols().take(2).map(ToString::to_string).collect();
    let truth = desk.sim.truth(&symbols[0]);
    let before = desk.calls();
    let request = BarsRequest {
        symbols: symbols.clone(),
        from: truth.first().map(|(day, _)| *day),
        to: None,
        last: 0,
        adjustment: Adjustment::Raw,
        pin: Pin::Newest,
        policy: DataPolicy::BestEffort,
        deadline: None,
        errand: Errand::interactive(1),
    };
    let answer = engine.bars(&request).await.unwrap();
    assert_eq!((desk.calls() - before, answer.complete), (2, true));
    let bars = &answer.series[0].bars;
    let days: Vec<_> = truth.iter().map(|(day, _)| *day).collect();
    assert_eq!(bars.sessions, days);
    for (field, column) in bars.columns.iter().enumerate() {
        let expected: Vec<u64> = truth.iter().map(|(_, bar)| bar[field].to_bits()).collect();
        let got: Vec<u64> = column.iter().map(|v| v.to_bits()).collect();
        assert_eq!(got, expected, "field {field}");
    }
    let again = engine.bars(&BarsRequest { last: 5, ..request }).await.unwrap();
    assert_eq!(desk.calls() - before, 2);
    assert_eq!(again.series[1].bars.sessions.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_known_to_be_wrong_is_forgotten_and_fetched_anew() {
    let desk = Desk::new(40, 40).await;
    let engine = desk.engine(20).await;
    let request = scan_of(&["rsi(14)"]);
    let before = engine.scan(&request).await.unwrap();
    let newest = before.published.snapshot.newest().unwrap();
    let mut what = Forget { from: Some(newest), to: Some(newest), dry_run: true, ..Forget::default() };
    let calls = desk.calls();
    let would = engine.forget(&what).await.unwrap();
    assert!(would.cells == 40 && would.bytes > 0, "{would:?}");
    assert!(engine.scan(&request).await.unwrap().complete);
    assert_eq!(desk.calls(), calls, "nothing went");
    what.dry_run = false;
    assert_eq!(engine.forget(&what).await.unwrap(), would);
    drop(engine);
    // Not even a restart finds it.
    let engine = desk.engine(20).await;
    let after = engine.scan(&request).await.unwrap();
    assert_eq!((after.complete, after.provider_calls), (true, 1));
    assert_eq!(bits(&after), bits(&before));
    what = Forget::default();
    engine.forget(&what).await.unwrap();
    assert_eq!(engine.current().unwrap().snapshot.daily.total_bars(), 0);
    assert!(engine.scan(&request).await.unwrap().provider_calls >= 20);
}
