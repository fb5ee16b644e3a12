//! A key whose plan serves two years of history.

use panscan_core::diagnostic::Reason;
use panscan_core::port::Errand;
use panscan_core::scan::{Adjustment, DataPolicy};
use panscan_engine::{BarsRequest, EngineError, Pin};
use panscan_sim::Plan;

use crate::desk::{Desk, numbers, scan_of};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_plan_serves_is_fetched_and_the_rest_named_and_not_asked_for_again() {
    let desk = Desk::on_plan(5, 760, Plan::Free).await;
    let engine = desk.fresh_engine(700).await;
    let request = scan_of(&["close", "ema(20)"]);
    let answer = engine.scan(&request).await.unwrap();
    assert!(!answer.complete);
    assert!(numbers(&answer, 1).iter().all(|value| value.is_finite()), "two years are enough for the values");
    let told: Vec<_> = answer.diagnostics.iter().filter(|d| d.reason == Reason::SymbolFetchFailed).collect();
    assert!(
        told.len() == 1 && told[0].message.contains("does not entitle this key to sessions before"),
        "{told:?}"
    );
    assert_eq!(told[0].count, 5);

    let calls = desk.calls();
    let again = engine.scan(&request).await.unwrap();
    assert_eq!((desk.calls() - calls, again.provider_calls), (0, 0), "it is known by now");
    assert_eq!(again.diagnostics, answer.diagnostics);
    let error = engine
        .scan(&panscan_engine::ScanRequest { policy: DataPolicy::RequireComplete, ..request })
        .await
        .unwrap_err();
    assert!(
        matches!(&error, EngineError::Incomplete { why, .. } if why.contains("sessions before")),
        "{error}"
    );

    // Bars of three years are those of two.
    let bars = BarsRequest {
        symbols: vec!["SPY".to_owned()],
        from: desk.sim.truth("SPY").first().map(|(session, _)| *session),
        to: None,
        last: 0,
        adjustment: Adjustment::Raw,
        pin: Pin::Newest,
        policy: DataPolicy::BestEffort,
        deadline: None,
        errand: Errand::interactive(0),
    };
    let answer = engine.bars(&bars).await.unwrap();
    let held = answer.series[0].bars.sessions.len();
    assert!(!answer.complete && (490..=510).contains(&held), "{held}");
    assert_eq!(answer.diagnostics.len(), 1);
    assert_eq!(desk.calls() - calls, 0);
}
