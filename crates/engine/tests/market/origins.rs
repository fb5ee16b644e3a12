//! Where bars came from, when the first provider does not answer.

use std::sync::Arc;
use std::time::Duration;

use panscan_core::diagnostic::Reason;
use panscan_core::panel::Split;
use panscan_core::port::{
    BarAsk, BarSource, Clock, Errand, Fetched, Pending, SourceError, SourceStats, SourceStatus,
};
use panscan_core::range::BarRange;
use panscan_core::scan::{Adjustment, BarSelection, DataPolicy, SessionHours};
use panscan_core::time::{SessionDate, Timeframe};
use panscan_core::universe::Listing;
use panscan_engine::{Engine, EngineConfig, Parts, Pin, SeriesRequest};
use panscan_fetch::{Chain, ChainConfig};

use crate::desk::{Desk, scan_of};

/// A provider that is down.
struct Down;

fn down<T: Send + 'static>() -> Pending<'static, Result<T, SourceError>> {
    let error = SourceError::Unavailable {
        provider: "down".into(),
        what: "all".to_owned(),
        message: "503".to_owned(),
    };
    Box::pin(async { Err(error) })
}

impl BarSource for Down {
    fn name(&self) -> Arc<str> {
        "down".into()
    }

    fn fetch<'a>(&'a self, _: &'a BarAsk, _: Errand) -> Pending<'a, Result<Fetched, SourceError>> {
        down()
    }

    fn listings(&self) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        down()
    }

    fn splits(&self, _: SessionDate) -> Pending<'_, Result<Vec<Split>, SourceError>> {
        down()
    }

    fn status(&self) -> Pending<'_, Result<SourceStatus, SourceError>> {
        down()
    }

    fn estimate(&self, _: u64) -> Duration {
        Duration::ZERO
    }

    fn stats(&self) -> SourceStats {
        SourceStats::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_of_another_provider_than_the_first_are_named_in_scans_and_series() {
    let desk = Desk::new(40, 40).await;
    let parts = desk.parts(None);
    let config = ChainConfig {
        daily: vec![Arc::new(Down), parts.source.clone()],
        ..ChainConfig::new(vec![parts.source.clone()], desk.clock.clone())
    };
    let parts = Parts { source: Arc::new(Chain::new(config).unwrap()), ..parts };
    let config = EngineConfig { history_daily: 20, ..EngineConfig::default() };
    let engine = Engine::start(parts, config).await.unwrap();
    let answer = engine.scan(&scan_of(&["sma(5)"])).await.unwrap();
    assert!(answer.complete);
    let told = answer.diagnostics.iter().find(|d| d.reason == Reason::ProviderFallback).unwrap();
    assert_eq!(told.subject, "polygon");
    assert!(told.message.ends_with("from polygon, in place of down"), "{}", told.message);

    let request = SeriesRequest {
        symbols: vec!["SPY".to_owned()],
        timeframe: Timeframe::Day,
        range: BarRange::Last(5),
        hours: SessionHours::Regular,
        selection: BarSelection::IncludeForming,
        adjustment: Adjustment::Raw,
        pin: Pin::Newest,
        until: None,
        policy: DataPolicy::BestEffort,
        deadline: None,
        errand: Errand::interactive(1),
        limit: 0,
        ordered: false,
    };
    let answer = engine.series(request).await.unwrap();
    let spy = &answer.series[0];
    assert_eq!((&*spy.provider, spy.fetched), ("polygon", Some(desk.clock.now())));
    assert!(answer.diagnostics.iter().any(|d| d.reason == Reason::ProviderFallback && d.count == 1));

    // From the first provider itself there is nothing to say.
    let engine = desk.fresh_engine(20).await;
    let answer = engine.scan(&scan_of(&["sma(5)"])).await.unwrap();
    assert!(answer.diagnostics.iter().all(|d| d.reason != Reason::ProviderFallback));
    assert_eq!(&*answer.published.snapshot.provider, "polygon");
}
