//! A provider that fails.

use panscan_core::Kind;
use panscan_core::diagnostic::Reason;
use panscan_core::scan::DataPolicy;
use panscan_engine::{Engine, EngineConfig, EngineError};
use panscan_sim::{FaultName, MarketSource, SimConfig, Simulator};

use crate::desk::{Desk, bits, scan_of, within};

fn fault(name: &str) -> FaultName {
    name.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_answered_and_what_is_missing_is_named() {
    let desk = Desk::new(40, 40).await;
    let engine = desk.engine(20).await;
    assert!(engine.scan(&scan_of(&["close"])).await.unwrap().complete);
    desk.sim.set_faults(&[(fault("503"), 1.0)]).unwrap();
    let partial = engine.scan(&within(1, scan_of(&["close", "rsi(14)"]))).await.unwrap();
    assert!(!partial.complete);
    let failed = partial.diagnostics.iter().find(|d| d.reason == Reason::SymbolFetchFailed).unwrap();
    assert_eq!((failed.kind, failed.count), (Some(Kind::Upstream), 40));
    assert!(!partial.rows.symbols.is_empty(), "the closes that are held still come");
    let mut strict = within(1, scan_of(&["rsi(14)"]));
    strict.policy = DataPolicy::RequireComplete;
    assert!(matches!(engine.scan(&strict).await, Err(EngineError::Incomplete { .. })));
    desk.sim.set_faults(&[]).unwrap();
    assert!(engine.scan(&scan_of(&["rsi(14)"])).await.unwrap().complete, "it recovers by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn recoverable_faults_change_no_bit() {
    let desk = Desk::new(40, 40).await;
    let calm = desk.fresh_engine(20).await.scan(&scan_of(&["rsi(14)", "vwap(20)"])).await.unwrap();
    desk.sim.set_faults(&[(fault("500"), 0.1), (fault("truncate"), 0.1), (fault("bad_json"), 0.05)]).unwrap();
    let engine = desk.fresh_engine(20).await;
    let answer = engine.scan(&scan_of(&["rsi(14)", "vwap(20)"])).await.unwrap();
    assert!(answer.complete);
    assert_eq!(bits(&answer), bits(&calm));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_gone_leaves_what_was_held() {
    let desk = Desk::new(40, 40).await;
    let store = desk.store();
    let before = desk.engine(20).await.scan(&scan_of(&["rsi(14)"])).await.unwrap();
    desk.sim.set_faults(&[(fault("500"), 1.0)]).unwrap();
    let engine = Engine::start(
        desk.parts(Some(&store)),
        EngineConfig { history_daily: 20, ..EngineConfig::default() },
    )
    .await
    .unwrap();
    assert_eq!(bits(&engine.scan(&scan_of(&["rsi(14)"])).await.unwrap()), bits(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_one_clear_error() {
    let desk = Desk::new(40, 40).await;
    let MarketSource::Generated { seed, end, .. } = MarketSource::default() else { unreachable!() };
    let sim = Simulator::start(SimConfig {
        market: MarketSource::Generated { symbols: 20, sessions: 20, seed, end },
        keys: Some(vec!["another".to_owned()]),
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let mut parts = desk.parts(None);
    let quota = "unlimited".parse().unwrap();
    let config = panscan_fetch::PolygonConfig::new(
        sim.url(),
        Some(panscan_fetch::Secret::new("wrong-key-text")),
        quota,
        desk.clock.clone(),
    );
    parts.source = std::sync::Arc::new(panscan_fetch::Polygon::new(config).unwrap());
    let error = Engine::start(parts, EngineConfig::default()).await.err().unwrap();
    assert!(matches!(&error, EngineError::Source(panscan_core::port::SourceError::Key { .. })), "{error}");
    assert!(!error.to_string().contains("wrong-key-text"));
}
