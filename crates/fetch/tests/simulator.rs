//! The provider against the simulator: what it serves comes back bit for bit, whatever goes wrong on the
//! way, and the limit holds in the simulator's own audit.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use panscan_core::bar::Field;
use panscan_core::block::BarKey;
use panscan_core::calendar::Calendar;
use panscan_core::limit::Quota;
use panscan_core::port::{BarAsk, BarSource, Clock, Errand, Fetched, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_fetch::{CallConfig, Polygon, PolygonConfig, Secret};
use panscan_sim::{FaultName, MarketSource, Rate, SimConfig, Simulator};

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        "2025-12-31T23:00:00Z".parse().unwrap()
    }
}

async fn simulator(symbols: usize, sessions: usize, rate: Option<&str>) -> Simulator {
    let end: SessionDate = "2025-12-31".parse().unwrap();
    let config = SimConfig {
        market: MarketSource::Generated { symbols, sessions, seed: 7, end },
        rate: rate.map(|rate| rate.parse::<Rate>().unwrap()),
        ..SimConfig::default()
    };
    Simulator::start(config).await.unwrap()
}

fn config(sim: &Simulator, quota: &str) -> PolygonConfig {
    let quota: Quota = quota.parse().unwrap();
    let config = PolygonConfig::new(sim.url(), Some(Secret::new("any")), quota, Arc::new(Fixed));
    tuned(config, |calls| calls.retry_factor = Duration::from_millis(10))
}

/// The same with other settings of its calls.
fn tuned(mut config: PolygonConfig, tune: impl FnOnce(&mut CallConfig)) -> PolygonConfig {
    tune(&mut config.calls);
    config
}

fn last_sessions(count: usize) -> Vec<SessionDate> {
    let calendar = Calendar::us_equities();
    let last: SessionDate = "2025-12-31".parse().unwrap();
    calendar.sessions(calendar.back(last, count - 1).unwrap(), last).to_vec()
}

type Bits = [u64; Field::COUNT];

/// The market as it is: bits of every bar by session and symbol.
fn truth(sim: &Simulator) -> BTreeMap<(SessionDate, String), Bits> {
    let mut bars = BTreeMap::new();
    for symbol in sim.symbols() {
        for (session, values) in sim.truth(symbol.as_str()) {
            bars.insert((session, symbol.to_string()), values.map(f64::to_bits));
        }
    }
    bars
}

fn bars(fetched: &Fetched) -> BTreeMap<(SessionDate, String), Bits> {
    let block = &fetched.block;
    let mut bars = BTreeMap::new();
    for (s, symbol) in block.symbols().iter().enumerate() {
        for (r, row) in block.rows().iter().enumerate() {
            if let Some(bar) = block.bar(s, r) {
                bars.insert((row.as_session(), symbol.to_string()), bar.values().map(f64::to_bits));
            }
        }
    }
    bars
}

/// Every session as a grouped day, many at once.
async fn all_days(
    polygon: &Polygon,
    sessions: &[SessionDate],
    at_once: usize,
) -> Vec<Result<Fetched, SourceError>> {
    let one = |session: SessionDate| async move {
        polygon.fetch(&BarAsk::Day(session), Errand::background()).await
    };
    stream::iter(sessions.iter().copied().map(one)).buffer_unordered(at_once).collect().await
}

#[tokio::test]
async fn days_and_ranges_are_the_truth_bit_for_bit() {
    let sim = simulator(150, 30, None).await;
    let polygon = Polygon::new(config(&sim, "unlimited")).unwrap();
    let sessions = last_sessions(30);
    let truth = truth(&sim);
    let mut seen = BTreeMap::new();
    for fetched in all_days(&polygon, &sessions, 8).await {
        let fetched = fetched.unwrap();
        assert!(fetched.quarantined.is_empty() && fetched.calls == 1);
        seen.extend(bars(&fetched));
    }
    assert_eq!(seen, truth);

    let symbol = sim.symbols().nth(3).unwrap().clone();
    let (from, to) = (sessions[2], sessions[20]);
    let ask = BarAsk::Range { symbol: symbol.clone(), timeframe: Timeframe::Day, from, to };
    let fetched = polygon.fetch(&ask, Errand::interactive(0)).await.unwrap();
    let expected: BTreeMap<_, _> = truth
        .into_iter()
        .filter(|((session, name), _)| *name == symbol.as_str() && (from..=to).contains(session))
        .collect();
    assert_eq!(bars(&fetched), expected);
    assert_eq!(fetched.block.rows().len(), 19);
    let audit = sim.stop().await.unwrap();
    assert_eq!((audit.total, polygon.stats().calls), (31, 31));
}

#[tokio::test]
async fn minutes_of_many_pages_are_joined() {
    let sim = simulator(3, 140, None).await;
    let polygon = Polygon::new(config(&sim, "unlimited")).unwrap();
    let sessions = last_sessions(140);
    let symbol = sim.symbols().next().unwrap().clone();
    let ask = |from, to| BarAsk::Range { symbol: symbol.clone(), timeframe: Timeframe::Minutes(1), from, to };
    let fetched = polygon.fetch(&ask(sessions[0], sessions[139]), Errand::interactive(0)).await.unwrap();
    assert!(fetched.calls >= 2, "{} calls", fetched.calls);
    assert!(fetched.quarantined.is_empty());
    // the session on the border of the pages and its neighbours, each asked for alone, are the same bars
    let calendar = Calendar::us_equities();
    let mut at = 0;
    for session in &sessions {
        let end = BarKey::start(calendar.midnight(session.plus(1)));
        let count = fetched.block.rows()[at..].iter().take_while(|key| **key < end).count();
        if (110..=140).contains(&(at / 390)) {
            let one = polygon.fetch(&ask(*session, *session), Errand::interactive(0)).await.unwrap();
            assert_eq!(one.block.rows().as_ref(), &fetched.block.rows()[at..at + count], "{session}");
            for row in 0..count {
                let whole = fetched.block.bar(0, at + row).unwrap();
                assert!(one.block.bar(0, row).unwrap().same_bits(&whole), "{session} {row}");
            }
        }
        at += count;
    }
    assert_eq!(at, fetched.block.rows().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_callers_never_exceed_the_limit_and_use_most_of_it() {
    let sim = simulator(40, 25, Some("100/s")).await;
    let polygon = Polygon::new(config(&sim, "100/s")).unwrap();
    let sessions: Vec<SessionDate> = last_sessions(25).into_iter().cycle().take(320).collect();
    let began = Instant::now();
    let fetched = all_days(&polygon, &sessions, 60).await;
    let took = began.elapsed();
    assert!(fetched.iter().all(Result::is_ok));
    let audit = sim.stop().await.unwrap();
    assert_eq!((audit.total, audit.violations), (320, 0));
    assert!(audit.peak_in_window <= 100, "{}", audit.peak_in_window);
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(polygon.stats().rate_limited, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_on_the_way_cost_calls_and_no_bars() {
    let sim = simulator(60, 40, Some("40/200ms")).await;
    let truth = truth(&sim);
    sim.set_faults(&[(FaultName::Mixed, 0.35)]).unwrap();
    let config = tuned(config(&sim, "40/200ms"), |calls| {
        calls.max_retries = 8;
        calls.read_timeout = Duration::from_millis(400);
    });
    let polygon = Polygon::new(config).unwrap();
    let mut seen = BTreeMap::new();
    for fetched in all_days(&polygon, &last_sessions(40), 20).await {
        seen.extend(bars(&fetched.unwrap()));
    }
    assert_eq!(seen, truth);
    let audit = sim.stop().await.unwrap();
    assert!(audit.faults_injected.values().sum::<u64>() > 5, "{:?}", audit.faults_injected);
    assert_eq!(audit.violations, 0);
    assert!(polygon.stats().retries > 0);
}

#[tokio::test]
async fn faults_that_nobody_can_mend_are_told() {
    let sim = simulator(10, 40, None).await;
    let polygon = || Polygon::new(tuned(config(&sim, "unlimited"), |calls| calls.max_retries = 1)).unwrap();
    let sessions = last_sessions(40);
    let range = BarAsk::Range {
        symbol: sim.symbols().next().unwrap().clone(),
        timeframe: Timeframe::Day,
        from: sessions[0],
        to: sessions[39],
    };
    let day = BarAsk::Day(sessions[39]);
    for (fault, ask, kind) in [
        (FaultName::NextUrlLoop, &range, "unreadable"),
        (FaultName::NextUrlElsewhere, &range, "unreadable"),
        (FaultName::AdjustedFlip, &day, "unreadable"),
        (FaultName::NotAuthorizedOk, &day, "not entitled"),
        (FaultName::KeyRevoked, &day, "key"),
        (FaultName::TooMany, &day, "rate limited"),
        (FaultName::DropSocket, &day, "unavailable"),
        (FaultName::HtmlOk, &day, "unreadable"),
    ] {
        sim.set_faults(&[(fault, 1.0)]).unwrap();
        let error = polygon().fetch(ask, Errand::interactive(0)).await.unwrap_err();
        let found = match &error {
            SourceError::Key { .. } => "key",
            SourceError::NotEntitled { .. } => "not entitled",
            SourceError::RateLimited { .. } => "rate limited",
            SourceError::Unavailable { .. } => "unavailable",
            SourceError::Unreadable { .. } => "unreadable",
            _ => "other",
        };
        assert_eq!(found, kind, "{fault}: {error}");
    }
    sim.set_faults(&[(FaultName::NullResults, 1.0)]).unwrap();
    let fetched = polygon().fetch(&day, Errand::interactive(0)).await.unwrap();
    assert_eq!(
        (fetched.calls, fetched.block.count_bars()),
        (2, 0),
        "asked once more before it counts as empty"
    );
}

#[tokio::test]
async fn the_list_is_read_to_its_end_and_the_clock_names_the_market() {
    let sim = simulator(2_300, 3, None).await;
    let polygon = Polygon::new(config(&sim, "unlimited")).unwrap();
    let listings = polygon.listings().await.unwrap();
    assert!(listings.len() > 2_000, "{}", listings.len());
    let known: Vec<&Symbol> = sim.symbols().collect();
    assert!(listings.iter().all(|listing| known.binary_search(&&listing.symbol).is_ok()));
    assert_eq!(polygon.stats().calls, 3);
    assert!(polygon.splits("1998-01-02".parse().unwrap()).await.is_ok());
    let status = polygon.status().await.unwrap();
    assert_eq!(status.market.as_str(), sim.market_id());
    assert!(sim.now().since(status.now) < Duration::from_secs(5));
    assert_eq!(polygon.stats().status_calls, 1);
}
