//! The flat files against the simulator's bucket: the same bars as from the interface, whatever goes wrong on the
//! way, with every call signed and the keys nowhere to be seen.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::sync::Arc;
use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::block::{BarKey, Block};
use panscan_core::calendar::Calendar;
use panscan_core::limit::Quota;
use panscan_core::port::{BarAsk, BarSource, Clock, Errand, Fetched, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_fetch::{FlatFiles, FlatFilesConfig, Polygon, PolygonConfig, Secret, WithFiles};
use panscan_sim::{BUCKET, BucketKeys, FaultName, MarketSource, Plan, SimConfig, Simulator};

const MINUTE: Timeframe = Timeframe::Minutes(1);

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        "2025-12-31T23:00:00Z".parse().unwrap()
    }
}

async fn simulator(symbols: usize) -> Simulator {
    let end: SessionDate = "2025-12-31".parse().unwrap();
    let market = MarketSource::Generated { symbols, sessions: 20, seed: 7, end };
    Simulator::start(SimConfig { market, ..SimConfig::default() }).await.unwrap()
}

fn config(sim: &Simulator) -> FlatFilesConfig {
    let (access, secret) = (Secret::new(BucketKeys::ACCESS), Secret::new(BucketKeys::SECRET));
    FlatFilesConfig {
        retry_factor: Duration::from_millis(5),
        max_retries: 8,
        ..FlatFilesConfig::new(sim.url(), BUCKET, access, secret, Arc::new(Fixed))
    }
}

fn session(text: &str) -> SessionDate {
    text.parse().unwrap()
}

async fn file(source: &FlatFiles, timeframe: Timeframe, date: &str) -> Result<Fetched, SourceError> {
    source.fetch(&BarAsk::FlatFile { timeframe, session: session(date) }, Errand::background()).await
}

/// All bars with their bits, vwap left out.
fn bars(block: &Block) -> Vec<(String, BarKey, Vec<u64>)> {
    let mut bars = Vec::new();
    for (symbol, name) in block.symbols().iter().enumerate() {
        for (row, key) in block.rows().iter().enumerate() {
            if let Some(bar) = block.bar(symbol, row) {
                let fields = Field::ALL.iter().filter(|field| **field != Field::Vwap);
                bars.push((name.to_string(), *key, fields.map(|f| bar.get(*f).to_bits()).collect()));
            }
        }
    }
    bars
}

#[tokio::test]
async fn files_hold_the_bars_of_the_interface_without_vwap() {
    let sim = simulator(40).await;
    let files = FlatFiles::new(config(&sim)).unwrap();
    let quota: Quota = "unlimited".parse().unwrap();
    let polygon =
        Polygon::new(PolygonConfig::new(sim.url(), Some(Secret::new("any")), quota, Arc::new(Fixed)))
            .unwrap();
    let date = "2025-12-30";

    let day = file(&files, Timeframe::Day, date).await.unwrap();
    let grouped = polygon.fetch(&BarAsk::Day(session(date)), Errand::background()).await.unwrap();
    assert_eq!((day.calls, day.block.rows().as_ref()), (1, &[BarKey::session(session(date))][..]));
    assert!(day.quarantined.is_empty() && day.block.count_bars() > 30);
    assert_eq!(bars(&day.block), bars(&grouped.block));
    assert!((0..day.block.symbols().len()).all(|symbol| day.block.get(symbol, 0, Field::Vwap).is_nan()));
    assert_eq!(day.block.provenance().provider.as_ref(), "flatfiles");

    let minutes = file(&files, MINUTE, date).await.unwrap();
    let mut ranged = Vec::new();
    for symbol in minutes.block.symbols().iter() {
        let ask = BarAsk::Range {
            symbol: symbol.clone(),
            timeframe: MINUTE,
            from: session(date),
            to: session(date),
        };
        ranged.extend(bars(&polygon.fetch(&ask, Errand::background()).await.unwrap().block));
    }
    assert!(minutes.quarantined.is_empty() && ranged.len() > 1_000);
    assert_eq!(bars(&minutes.block), ranged);
    assert!(files.tag(MINUTE, session(date)).is_some_and(|tag| tag.len() > 2));
    let audit = sim.stop().await.unwrap();
    assert_eq!(audit.file_calls.get("get"), Some(&2));
    assert_eq!((audit.file_refusals, audit.violations), (0, 0));
}

#[tokio::test]
async fn a_file_that_is_late_or_never_was_is_empty_and_holidays_are_not_asked_for() {
    let sim = simulator(5).await;
    let files = FlatFiles::new(config(&sim)).unwrap();
    // The evening of the last session: its file comes at 11:00 of the next day.
    let late = file(&files, Timeframe::Day, "2025-12-31").await.unwrap();
    assert_eq!((late.block.symbols().len(), late.calls), (0, 1));
    sim.advance(Duration::from_secs(16 * 3600));
    assert!(file(&files, Timeframe::Day, "2025-12-31").await.unwrap().block.count_bars() > 0);
    let never = file(&files, MINUTE, "2010-01-04").await.unwrap();
    assert_eq!((never.block.symbols().len(), never.calls), (0, 1));
    assert!(!Calendar::us_equities().is_session(session("2025-12-25")));
    let closed = file(&files, MINUTE, "2025-12-25").await.unwrap();
    assert_eq!((closed.block.symbols().len(), closed.calls), (0, 0));
    assert_eq!(sim.audit().file_calls.get("get"), Some(&3));
    for ask in [
        BarAsk::Day(session("2025-12-30")),
        BarAsk::FlatFile { timeframe: Timeframe::Minutes(5), session: session("2025-12-30") },
        BarAsk::FlatFile { timeframe: Timeframe::Day, session: session("2003-09-09") },
        BarAsk::Range {
            symbol: Symbol::new("A").unwrap(),
            timeframe: Timeframe::Day,
            from: session("2025-12-29"),
            to: session("2025-12-30"),
        },
    ] {
        let refused = files.fetch(&ask, Errand::background()).await.unwrap_err();
        assert!(matches!(refused, SourceError::NotOffered { .. }), "{refused}");
    }
}

#[tokio::test]
async fn wrong_keys_are_told_apart_from_missing_files_and_never_shown() {
    let sim = simulator(5).await;
    for (access, secret) in
        [("wrong-name-4711", BucketKeys::SECRET), (BucketKeys::ACCESS, "wrong-secret-4711")]
    {
        let config = FlatFilesConfig {
            access_key: Secret::new(access),
            secret_key: Secret::new(secret),
            ..config(&sim)
        };
        assert!(!format!("{config:?}").contains("4711"));
        let files = FlatFiles::new(config).unwrap();
        let refused = file(&files, Timeframe::Day, "2025-12-30").await.unwrap_err();
        assert!(matches!(refused, SourceError::NotEntitled { .. }), "{refused:?}");
        let text = format!("{refused} {refused:?}");
        assert!(text.contains("PANSCAN_S3_SECRET_KEY") && !text.contains("4711"), "{text}");
    }
    assert_eq!(sim.audit().file_refusals, 2);
    for broken in [
        FlatFilesConfig { endpoint: "ftp://files".to_owned(), ..config(&sim) },
        FlatFilesConfig { bucket: "a/b".to_owned(), ..config(&sim) },
        FlatFilesConfig { secret_key: Secret::new(""), ..config(&sim) },
    ] {
        assert!(FlatFiles::new(broken).is_err());
    }
}

#[tokio::test]
async fn files_survive_every_fault_that_passes() {
    let sim = simulator(30).await;
    let files = FlatFiles::new(config(&sim)).unwrap();
    let good = bars(&file(&files, MINUTE, "2025-12-29").await.unwrap().block);
    for fault in [
        FaultName::TooMany,
        FaultName::ServerError,
        FaultName::BadGatewayHtml,
        FaultName::Unavailable,
        FaultName::GatewayTimeout,
        FaultName::HtmlOk,
        FaultName::Truncate,
        FaultName::ShortLength,
        FaultName::BadGzip,
        FaultName::DropSocket,
    ] {
        sim.set_faults(&[(fault, 0.5)]).unwrap();
        for _ in 0..3 {
            let fetched =
                file(&files, MINUTE, "2025-12-29").await.unwrap_or_else(|error| panic!("{fault}: {error}"));
            assert_eq!(bars(&fetched.block), good, "{fault}");
        }
    }
    assert!(sim.audit().faults_injected.values().sum::<u64>() > 5);
    sim.set_faults(&[(FaultName::KeyRevoked, 1.0)]).unwrap();
    let refused = file(&files, MINUTE, "2025-12-29").await.unwrap_err();
    assert!(matches!(refused, SourceError::NotEntitled { .. }), "{refused}");
}

#[tokio::test]
async fn a_session_that_the_plan_does_not_hold_comes_from_its_file() {
    // Two years of history and today before its end are refused by the interface.
    let end: SessionDate = "2025-12-31".parse().unwrap();
    let market = MarketSource::Generated { symbols: 10, sessions: 600, seed: 7, end };
    let sim = Simulator::start(SimConfig { market, plan: Plan::Free, ..SimConfig::default() }).await.unwrap();
    let quota: Quota = "unlimited".parse().unwrap();
    let polygon =
        Polygon::new(PolygonConfig::new(sim.url(), Some(Secret::new("any")), quota, Arc::new(Fixed)))
            .unwrap();
    let both = WithFiles::new(Arc::new(polygon), FlatFiles::new(config(&sim)).unwrap());
    assert!(both.offers().market_days && both.offers().files_from.is_some());
    let old = both.fetch(&BarAsk::Day(session("2023-09-05")), Errand::background()).await.unwrap();
    assert_eq!(old.block.provenance().provider.as_ref(), "flatfiles");
    assert!(old.block.count_bars() > 0);
    let new = both.fetch(&BarAsk::Day(session("2025-12-30")), Errand::background()).await.unwrap();
    assert_eq!(new.block.provenance().provider.as_ref(), "polygon");
    let never = both.fetch(&BarAsk::Day(session("2011-01-04")), Errand::background()).await.unwrap_err();
    assert!(matches!(never, SourceError::OutsidePlan { .. }), "{never}");
}
