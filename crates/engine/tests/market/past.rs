//! Ranges of past sessions: each is to the bit what a scan as of its end is.

use std::sync::Arc;

use panscan_core::calendar::Calendar;
use panscan_core::diagnostic::{Diagnostic, Reason};
use panscan_core::rank::Cells;
use panscan_core::scan::{Adjustment, DataPolicy, Order, ScanSpec, UniverseSelector};
use panscan_core::symbol::Symbol;
use panscan_core::time::SessionDate;
use panscan_core::universe::Listing;
use panscan_engine::{
    Engine, EngineConfig, EngineError, HistoryEnd, HistoryEvent, HistoryHead, HistoryRequest, HistorySession,
    Parts, Pin, ScanRequest,
};

use crate::desk::{Desk, bits, scan_of, within};

/// A whole answer.
struct Past {
    head: HistoryHead,
    sessions: Vec<HistorySession>,
    diagnostics: Vec<Diagnostic>,
    end: HistoryEnd,
}

impl Past {
    fn has(&self, reason: Reason) -> bool {
        self.diagnostics.iter().any(|d| d.reason == reason)
    }
}

fn request(spec: &ScanSpec, sessions: &[SessionDate]) -> HistoryRequest {
    HistoryRequest {
        spec: spec.clone(),
        sessions: sessions.to_vec(),
        policy: DataPolicy::BestEffort,
        deadline: within(300, ScanRequest::default()).deadline,
        errand: ScanRequest::default().errand,
    }
}

async fn past(engine: &Engine, request: HistoryRequest) -> Result<Past, EngineError> {
    let mut stream = engine.history(request).await?;
    let head = stream.head().clone();
    let (mut sessions, mut diagnostics) = (Vec::new(), Vec::new());
    loop {
        match stream.next().await? {
            Some(HistoryEvent::Session(session)) => sessions.push(session),
            Some(HistoryEvent::Diagnostic(said)) => diagnostics.push(said),
            Some(HistoryEvent::End(end)) => {
                assert!(stream.next().await?.is_none());
                return Ok(Past { head, sessions, diagnostics, end: *end });
            }
            None => panic!("an answer without an end"),
        }
    }
}

/// Each session against a scan as of its end on the same engine; gives the counts of populations.
async fn assert_as_of(engine: &Engine, spec: &ScanSpec, past: &Past) -> Vec<usize> {
    let calendar = Calendar::us_equities();
    let mut populations = Vec::new();
    for got in &past.sessions {
        let pin = Pin::AsOf(calendar.close(got.session));
        let scan = within(300, ScanRequest { spec: spec.clone(), pin, ..ScanRequest::default() });
        let expected = engine.scan(&scan).await.unwrap();
        let (rows, there) = (&got.rows, &expected.rows);
        let counts =
            |r: &panscan_core::rank::RankedRows| (r.matched, r.filter_false, r.filter_null, r.no_bars);
        assert_eq!((got.scanned, counts(rows)), (expected.scanned, counts(there)), "{}", got.session);
        assert_eq!(rows.symbols, there.symbols, "{}", got.session);
        for (column, (got_cells, cells)) in rows.columns.iter().zip(&there.columns).enumerate() {
            match (got_cells, cells) {
                (Cells::Numbers(a), Cells::Numbers(b)) => {
                    let bits = |v: &f64| if v.is_nan() { u64::MAX } else { v.to_bits() };
                    let (a, b): (Vec<_>, Vec<_>) =
                        (a.iter().map(bits).collect(), b.iter().map(bits).collect());
                    assert_eq!(a, b, "{}, column {column}", got.session);
                }
                (a, b) => assert_eq!(a, b, "{}, column {column}", got.session),
            }
        }
        assert_eq!(got.complete, expected.complete, "{}", got.session);
        populations.push(got.scanned);
    }
    populations
}

fn last_sessions(desk: &Desk, count: usize, step: usize) -> Vec<SessionDate> {
    let calendar = Calendar::us_equities();
    let last = calendar.session_of(desk.sim.now());
    let from = calendar.back(last, count - 1).unwrap();
    calendar.sessions(from, last).iter().copied().step_by(step).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_is_a_scan_as_of_its_end() {
    let desk = Desk::new(70, 190).await;
    let engine = desk.engine(60).await;
    let columns = |columns: &[&str]| scan_of(columns).spec;
    let cases = [
        (columns(&["close", "rsi(14)", "ema(20)", "stddev(close, 20)", "drawdown(30)", "obv()"]), 70, 1),
        (
            columns(&["rank(roc(10))", "zscore(atr(14) / close, by=sector)", "market_cap", "days_listed"]),
            50,
            7,
        ),
        (columns(&["sma(3)@1w", "beta(20)", "close@1mo", "macd().hist"]), 40, 9),
        (ScanSpec { adjustment: Adjustment::Raw, ..columns(&["sma(20)", "volume"]) }, 30, 5),
        (ScanSpec { adjustment: Adjustment::SplitsAndDividends, ..columns(&["sma(20)", "rma(9)"]) }, 45, 4),
        (
            ScanSpec {
                filter: "close > sma(20) and rsi(14) between 30 and 80".into(),
                rank_by: "percentile(adv(20), by=exchange)".into(),
                order: Order::Ascending,
                limit: 9,
                universe: UniverseSelector {
                    min_price: Some(5.0),
                    min_dollar_volume: Some(1e5),
                    ..UniverseSelector::default()
                },
                ..columns(&["close", "name", "adv(20)"])
            },
            60,
            3,
        ),
    ];
    for (spec, count, step) in cases {
        let sessions = last_sessions(&desk, count, step);
        let past = past(&engine, request(&spec, &sessions)).await.unwrap();
        assert_eq!(past.sessions.iter().map(|s| s.session).collect::<Vec<_>>(), sessions);
        assert!(past.end.complete && past.sessions.iter().all(|s| s.complete));
        assert_eq!(past.end.sessions, sessions.len() as u64);
        assert!(past.has(Reason::UniverseNotPointInTime) && !past.head.point_in_time);
        let calls = desk.calls();
        assert_as_of(&engine, &spec, &past).await;
        assert_eq!(desk.calls(), calls, "the range had fetched all that its sessions need");
        let again = self::past(&engine, request(&spec, &sessions)).await.unwrap();
        assert_eq!((again.end.provider_calls, again.end.returned), (0, past.end.returned));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_resident_is_as_good_as_one_that_is_not() {
    // More symbols than sessions, so that days are asked for, which tell where the market begins.
    let desk = Desk::new(140, 60).await;
    // The market has no bar before the 60 sessions, so that one panel has all there can be.
    let engine = desk.engine(70).await;
    let spec = scan_of(&["rsi(14)", "sma(20)"]).spec;
    engine.scan(&within(300, ScanRequest { spec: spec.clone(), ..ScanRequest::default() })).await.unwrap();
    let calls = desk.calls();
    let sessions = last_sessions(&desk, 40, 1);
    let past = past(&engine, request(&spec, &sessions)).await.unwrap();
    assert_eq!((past.end.provider_calls, desk.calls()), (0, calls));
    assert_as_of(&engine, &spec, &past).await;
    // A restart finds sessions before the resident ones, too.
    drop(engine);
    let engine = desk.engine(20).await;
    let early = last_sessions(&desk, 40, 1)[..4].to_vec();
    let again = self::past(&engine, request(&spec, &early)).await.unwrap();
    assert_eq!((again.end.complete, again.end.provider_calls), (true, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_is_that_of_each_session() {
    let desk = Desk::new(30, 120).await;
    let sessions = last_sessions(&desk, 60, 1);
    let symbols: Vec<Symbol> = desk.sim.symbols().cloned().collect();
    let (came, gone) = (sessions[20], sessions[40]);
    let mut attributes: Vec<Listing> = symbols
        .iter()
        .map(|symbol| Listing {
            list_date: SessionDate::from_ymd(1999, 1, 4),
            ..Listing::new(symbol.clone())
        })
        .collect();
    attributes[3].list_date = Some(came);
    attributes[5].delist_date = Some(gone);
    attributes[5].active = Some(false);
    attributes[6].delist_date = Some(gone);
    attributes[6].active = Some(false);
    let parts = Parts { attributes: attributes.into(), ..desk.parts(None) };
    let config = EngineConfig { history_daily: 20, ..EngineConfig::default() };
    let engine = Engine::start(parts, config).await.unwrap();
    let spec = scan_of(&["close", "days_listed", "active"]).spec;
    let past = past(&engine, request(&spec, &sessions)).await.unwrap();
    assert!(past.head.point_in_time && !past.has(Reason::UniverseNotPointInTime), "all dates are known");
    let scan = ScanRequest {
        spec: spec.clone(),
        pin: Pin::AsOf(Calendar::us_equities().close(sessions[3])),
        ..ScanRequest::default()
    };
    assert!(engine.scan(&within(300, scan)).await.unwrap().point_in_time);
    let populations = assert_as_of(&engine, &spec, &past).await;
    for (session, scanned) in sessions.iter().zip(populations) {
        let expected = 27 + usize::from(*session >= came) + 2 * usize::from(*session <= gone);
        let last = session == sessions.last().unwrap();
        // Today's universe is what the provider says today.
        assert_eq!(scanned, if last { 28 } else { expected }, "{session}");
    }
    // A sector is today's, whatever is known of dates.
    let spec = scan_of(&["sector"]).spec;
    let past = self::past(&engine, request(&spec, &sessions[..3])).await.unwrap();
    assert!(!past.head.point_in_time && past.has(Reason::UniverseNotPointInTime));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_by_session() {
    let desk = Desk::new(40, 120).await;
    let engine = desk.engine(20).await;
    let spec = scan_of(&["sma(5)"]).spec;
    let sessions = last_sessions(&desk, 30, 1);
    // The last ten sessions, and what warms them up.
    past(&engine, request(&spec, &sessions[20..])).await.unwrap();
    let calls = desk.calls();
    let cached = HistoryRequest { policy: DataPolicy::CachedOnly, ..request(&spec, &sessions) };
    let half = past(&engine, cached).await.unwrap();
    assert_eq!((desk.calls(), half.end.complete), (calls, false));
    assert!(half.sessions[20..].iter().all(|s| s.complete));
    assert!(half.sessions[..10].iter().all(|s| !s.complete));
    assert!(half.has(Reason::SymbolNoBars));
    let mut late = request(&spec, &sessions);
    late.deadline = Some(tokio::time::Instant::now());
    match past(&engine, late).await {
        Err(EngineError::Deadline { .. }) => {}
        // What is held can be faster than the clock's tick.
        other => assert!(!other.unwrap().end.complete),
    }
    desk.sim.set_faults(&[("500".parse().unwrap(), 1.0)]).unwrap();
    let strict = HistoryRequest {
        policy: DataPolicy::RequireComplete,
        deadline: within(3, ScanRequest::default()).deadline,
        ..request(&spec, &sessions)
    };
    let refused = past(&engine, strict.clone()).await;
    assert!(refused.is_err(), "nothing is sent where something is missing");
    desk.sim.set_faults(&[]).unwrap();
    let strict = HistoryRequest { deadline: within(300, ScanRequest::default()).deadline, ..strict };
    let whole = past(&engine, strict).await.unwrap();
    assert!(whole.end.complete && whole.sessions.iter().all(|s| s.complete));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_cannot_be_is_refused() {
    let desk = Desk::new(150, 60).await;
    let engine = desk.engine(20).await;
    let spec = scan_of(&["close"]).spec;
    let none = past(&engine, request(&spec, &[])).await;
    assert!(matches!(none, Err(EngineError::BadField { field: "start_date", .. })));
    let calendar = Calendar::us_equities();
    let next = calendar.next(calendar.session_of(desk.sim.now())).unwrap();
    let future = past(&engine, request(&spec, &[next])).await;
    assert!(matches!(future, Err(EngineError::BadField { field: "end_date", .. })));
    // Where the market begins is learned by asking.
    let all = calendar.sessions(SessionDate::from_ymd(2025, 9, 2).unwrap(), next);
    past(&engine, request(&scan_of(&["rsi(14)"]).spec, &all[..all.len() - 1])).await.unwrap();
    let before = SessionDate::from_ymd(2020, 1, 2).unwrap();
    let before = past(&engine, request(&spec, &[before])).await;
    assert!(matches!(before, Err(EngineError::BeforeHistory { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_ends_the_work() {
    let desk = Desk::new(60, 150).await;
    let engine = desk.engine(40).await;
    let spec = scan_of(&["rsi(14)"]).spec;
    let sessions = last_sessions(&desk, 100, 1);
    past(&engine, request(&spec, &sessions)).await.unwrap();
    let mut stream = engine.history(request(&spec, &sessions)).await.unwrap();
    let mut seen = 0;
    while seen < 2 {
        seen += usize::from(matches!(stream.next().await.unwrap(), Some(HistoryEvent::Session(_))));
    }
    drop(stream);
    let engine = Arc::new(engine);
    let idle = async {
        while engine.stats().active > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), idle).await.unwrap();
    assert_eq!(bits(&engine.scan(&scan_of(&["rsi(14)"])).await.unwrap()).len(), 60);
}
