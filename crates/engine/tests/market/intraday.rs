//! Minutes, and what is made of them and of days, for many symbols at once.

use std::collections::BTreeMap;
use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::calendar::Calendar;
use panscan_core::diagnostic::{Diagnostic, Reason};
use panscan_core::port::Errand;
use panscan_core::range::BarRange;
use panscan_core::resample::Series;
use panscan_core::scan::{Adjustment, BarSelection, DataPolicy, SessionHours};
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_engine::{Engine, EngineError, Pin, SeriesEnd, SeriesEvent, SeriesRequest, SymbolSeries};
use panscan_sim::FaultName;
use tokio::time::Instant;

use crate::desk::Desk;

pub(crate) fn request(symbols: &[String], timeframe: &str, range: BarRange) -> SeriesRequest {
    SeriesRequest {
        symbols: symbols.to_vec(),
        timeframe: timeframe.parse().unwrap(),
        range,
        hours: SessionHours::Regular,
        selection: BarSelection::IncludeForming,
        adjustment: Adjustment::Raw,
        pin: Pin::Newest,
        until: None,
        policy: DataPolicy::BestEffort,
        deadline: Some(Instant::now() + Duration::from_secs(120)),
        errand: Errand::interactive(1),
        limit: 0,
        ordered: false,
    }
}

pub(crate) fn names(desk: &Desk, count: usize) -> Vec<String> {
    desk.sim.symbols().take(count).map(ToString::to_string).collect()
}

/// The sessions of the market, all but the first `skip`.
fn all(desk: &Desk, symbol: &str, skip: usize) -> BarRange {
    BarRange::Sessions(desk.sim.truth(symbol).get(skip).map(|(day, _)| *day), None)
}

pub(crate) struct Read {
    pub(crate) series: Vec<SymbolSeries>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) end: SeriesEnd,
}

impl Read {
    pub(crate) fn of(&self, symbol: &str) -> &Series {
        &self.series.iter().find(|found| found.symbol.as_str() == symbol).unwrap().bars
    }

    pub(crate) fn bits(&self) -> BTreeMap<String, Bits> {
        self.series.iter().map(|found| (found.symbol.to_string(), bits(&found.bars))).collect()
    }
}

pub(crate) type Bits = Vec<(Timestamp, [u64; 7])>;

pub(crate) fn bits(series: &Series) -> Bits {
    let row = |i: usize| (series.start[i], Field::ALL.map(|field| series.column(field)[i].to_bits()));
    (0..series.len()).map(row).collect()
}

pub(crate) async fn read(engine: &Engine, request: SeriesRequest) -> Result<Read, EngineError> {
    let mut stream = engine.stream(request).await?;
    let (mut series, mut diagnostics, mut end) = (Vec::new(), Vec::new(), None);
    while let Some(event) = stream.next().await? {
        assert!(end.is_none(), "the end is the last event");
        match event {
            SeriesEvent::Bars(bars) => series.push(bars),
            SeriesEvent::Diagnostic(diagnostic) => diagnostics.push(diagnostic),
            SeriesEvent::End(last) => end = Some(last),
        }
    }
    Ok(Read { series, diagnostics, end: end.unwrap() })
}

pub(crate) fn truth(desk: &Desk, symbol: &str) -> Bits {
    desk.sim.truth_minutes(symbol).into_iter().map(|(at, bar)| (at, bar.map(f64::to_bits))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_are_the_providers_and_a_restart_makes_no_call() {
    let desk = Desk::new(12, 70).await;
    let symbols = names(&desk, 5);
    let engine = desk.engine(20).await;
    let before = desk.calls();
    let whole = request(&symbols, "1m", all(&desk, &symbols[0], 0));
    let cold = read(&engine, whole.clone()).await.unwrap();
    // 70 sessions of up to 960 minutes are two calls of 50,000.
    assert_eq!((desk.calls() - before, cold.end.provider_calls), (10, 10));
    assert_eq!((cold.end.returned, cold.end.failed, cold.end.complete), (5, 0, true));
    assert!(cold.diagnostics.is_empty(), "{:?}", cold.diagnostics);
    for symbol in &symbols {
        let expected = truth(&desk, symbol);
        assert!(expected.len() > 10_000);
        assert_eq!(bits(cold.of(symbol)), expected, "{symbol}");
    }
    assert!(cold.series.iter().all(|found| &*found.provider == "polygon" && found.fetched.is_some()));
    let warm = read(&engine, SeriesRequest { ordered: true, ..whole.clone() }).await.unwrap();
    let order: Vec<&str> = warm.series.iter().map(|found| found.symbol.as_str()).collect();
    assert_eq!(order, symbols);
    drop(engine);
    let engine = desk.engine(20).await;
    let between = desk.calls();
    assert_eq!(read(&engine, whole).await.unwrap().bits(), cold.bits());
    let hours = read(&engine, request(&symbols, "1h", all(&desk, &symbols[0], 0))).await.unwrap();
    assert_eq!((desk.calls(), hours.end.provider_calls), (between, 0));
    // Sums and extremes of the session are those of its minutes.
    let day = hours.of(&symbols[0]);
    let volume: f64 = day.column(Field::Volume).iter().sum();
    let minutes: f64 = cold.of(&symbols[0]).column(Field::Volume).iter().sum();
    assert!((volume - minutes).abs() < 1.0, "{volume} {minutes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_missing_is_asked_for_and_callers_share_it() {
    let desk = Desk::new(12, 60).await;
    let symbols = names(&desk, 3);
    let engine = desk.engine(20).await;
    let days: Vec<SessionDate> = desk.sim.truth(&symbols[0]).into_iter().map(|(day, _)| day).collect();
    let before = desk.calls();
    let part = BarRange::Sessions(Some(days[20]), Some(days[30]));
    let first = read(&engine, request(&symbols[..1], "5m", part)).await.unwrap();
    assert_eq!((first.end.provider_calls, desk.calls() - before), (1, 1));
    let inside = BarRange::Sessions(Some(days[22]), Some(days[25]));
    assert_eq!(read(&engine, request(&symbols[..1], "15m", inside)).await.unwrap().end.provider_calls, 0);
    // Callers with overlapping wishes: what one has under way the others wait for.
    let before = desk.calls();
    let callers = (0..20).map(|i| {
        let (engine, symbols) = (engine.clone(), symbols.clone());
        let range = BarRange::Sessions(Some(days[2 + i % 3]), Some(days[10 - i % 2]));
        tokio::spawn(async move { read(&engine, request(&symbols[1..], "1m", range)).await.unwrap().end })
    });
    for end in futures::future::join_all(callers).await {
        assert!(end.unwrap().complete);
    }
    let calls = desk.calls() - before;
    assert!((2..=8).contains(&calls), "{calls} calls for two symbols and six ranges");
    let before = desk.calls();
    let held = BarRange::Sessions(Some(days[4]), Some(days[9]));
    assert!(read(&engine, request(&symbols[1..], "1m", held)).await.unwrap().end.complete);
    assert_eq!(desk.calls(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_change_no_bit() {
    let desk = Desk::new(20, 60).await;
    let symbols = names(&desk, 16);
    let whole = request(&symbols, "1m", all(&desk, &symbols[0], 0));
    let calm = read(&desk.fresh_engine(20).await, whole.clone()).await.unwrap();
    assert!(calm.end.complete);
    let engine = desk.fresh_engine(20).await;
    desk.sim.set_faults(&[(FaultName::Mixed, 0.3)]).unwrap();
    let deadline = Some(Instant::now() + Duration::from_secs(300));
    let shaken = read(&engine, SeriesRequest { deadline, ..whole }).await.unwrap();
    assert!(shaken.end.complete, "{:?}", shaken.diagnostics);
    assert_eq!(shaken.bits(), calm.bits());
    let injected: u64 = desk.sim.audit().faults_injected.values().sum();
    assert!(injected > 3, "{injected} faults");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_bars_reach_back_as_far_as_they_must() {
    let desk = Desk::new(12, 60).await;
    let symbols = names(&desk, 2);
    let engine = desk.engine(20).await;
    let before = desk.calls();
    let newest = read(&engine, request(&symbols, "1m", BarRange::Last(1000))).await.unwrap();
    assert_eq!(desk.calls() - before, 2);
    for symbol in &symbols {
        let expected = truth(&desk, symbol);
        assert_eq!(bits(newest.of(symbol)), expected[expected.len() - 1000..]);
    }
    // More than there are: the beginning is found, and asked for once.
    let every = read(&engine, request(&symbols[..1], "1m", BarRange::Last(40_000))).await.unwrap();
    assert_eq!(bits(every.of(&symbols[0])), truth(&desk, &symbols[0]));
    let before = desk.calls();
    let again = read(&engine, request(&symbols[..1], "1m", BarRange::Last(40_000))).await.unwrap();
    assert_eq!(again.bits(), every.bits());
    let limited = SeriesRequest { limit: 7, ..request(&symbols, "30m", BarRange::Last(500)) };
    let limited = read(&engine, limited).await.unwrap();
    assert!(limited.series.iter().all(|found| found.bars.len() == 7));
    assert_eq!(desk.calls(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_trades_is_provisional() {
    let desk = Desk::new(12, 40).await;
    let symbols = names(&desk, 1);
    let calendar = Calendar::us_equities();
    let today = calendar.session_of(desk.sim.now());
    let noon = calendar.open(today).after(Duration::from_secs(9_630));
    desk.set_now(noon);
    let engine = desk.engine(20).await;
    let range = BarRange::Sessions(Some(today), None);
    let before = desk.calls();
    let first = read(&engine, request(&symbols, "1h", range)).await.unwrap();
    let bars = first.of(&symbols[0]);
    assert!(bars.forming && first.end.complete);
    assert_eq!(
        bars.start.last().copied(),
        Some(calendar.midnight(today).after(Duration::from_secs(12 * 3600)))
    );
    let closed = SeriesRequest { selection: BarSelection::ClosedOnly, ..request(&symbols, "1h", range) };
    let closed = read(&engine, closed).await.unwrap();
    assert_eq!((closed.of(&symbols[0]).len(), closed.of(&symbols[0]).forming), (bars.len() - 1, false));
    assert_eq!(desk.calls() - before, 1, "seconds old is good enough");
    desk.set_now(noon.after(Duration::from_secs(60)));
    read(&engine, request(&symbols, "1h", range)).await.unwrap();
    assert_eq!(desk.calls() - before, 2);
    // Over: asked for once more, and then never again.
    desk.set_now(calendar.close(today).after(Duration::from_secs(3600)));
    for _ in 0..2 {
        let whole = read(&engine, request(&symbols, "1m", range)).await.unwrap();
        let expected = truth(&desk, &symbols[0]);
        let first = expected.partition_point(|(at, _)| *at < calendar.midnight(today));
        assert_eq!(bits(whole.of(&symbols[0])), expected[first..]);
        assert_eq!(desk.calls() - before, 3);
        desk.clock.advance(Duration::from_secs(3600));
    }
    // A snapshot shows what it showed.
    let pin = Pin::AsOf(noon);
    let past = read(&engine, SeriesRequest { pin, ..request(&symbols, "1h", range) }).await.unwrap();
    assert_eq!(bits(past.of(&symbols[0])), bits(bars));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_said_and_policies_kept() {
    let desk = Desk::new(12, 40).await;
    let symbols = names(&desk, 4);
    let engine = desk.engine(20).await;
    let days: Vec<SessionDate> = desk.sim.truth(&symbols[0]).into_iter().map(|(day, _)| day).collect();
    let some = BarRange::Sessions(Some(days[30]), Some(days[32]));
    read(&engine, request(&symbols[..1], "1m", some)).await.unwrap();
    let before = desk.calls();
    let cached = SeriesRequest { policy: DataPolicy::CachedOnly, ..request(&symbols, "1m", some) };
    let cached = read(&engine, cached).await.unwrap();
    assert_eq!((cached.end.returned, cached.end.failed, cached.end.complete), (1, 3, false));
    assert_eq!(cached.diagnostics.len(), 1);
    assert_eq!((cached.diagnostics[0].reason, cached.diagnostics[0].count), (Reason::SymbolNoBars, 3));
    let strict = DataPolicy::RequireComplete;
    let soon = || Some(Instant::now() + Duration::from_millis(1500));
    desk.sim.set_faults(&[("503".parse().unwrap(), 1.0)]).unwrap();
    let refused = SeriesRequest { policy: strict, deadline: soon(), ..request(&symbols, "1m", some) };
    assert!(engine.stream(refused).await.is_err(), "nothing is said before all is held");
    let mut partly = symbols.clone();
    partly.push("NOSUCH".to_owned());
    let partial = SeriesRequest { deadline: soon(), ..request(&partly, "1m", some) };
    let partial = read(&engine, partial).await.unwrap();
    assert_eq!((partial.end.returned, partial.end.failed, partial.end.complete), (1, 4, false));
    let named: u64 = partial.diagnostics.iter().map(|d| d.count).sum();
    assert_eq!(named, 4, "{:?}", partial.diagnostics);
    assert!(partial.diagnostics.iter().any(|d| d.reason == Reason::SymbolUnknown));
    let nothing = SeriesRequest { deadline: soon(), ..request(&symbols[1..2], "1m", some) };
    let nothing = read(&engine, nothing).await;
    assert!(nothing.is_err() || !nothing.unwrap().end.complete);
    desk.sim.set_faults(&[]).unwrap();
    assert!(desk.calls() > before);
    let whole = SeriesRequest { policy: strict, ..request(&symbols, "1m", some) };
    assert_eq!(read(&engine, whole).await.unwrap().end.returned, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_ends_the_fetching() {
    let desk = Desk::new(60, 60).await;
    let symbols = names(&desk, 60);
    let engine = desk.engine(20).await;
    let mut stream = engine.stream(request(&symbols, "1m", all(&desk, &symbols[0], 0))).await.unwrap();
    let before = desk.calls();
    // One symbol is taken, then nothing: what waits for the reader is bounded, and so is what was fetched.
    assert!(matches!(stream.next().await, Ok(Some(SeriesEvent::Bars(_)))));
    drop(stream);
    let made = desk.calls() - before;
    assert!(made < 60, "{made} calls");
    assert!(engine.series(request(&symbols[..1], "1m", BarRange::Last(10))).await.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn weeks_and_months_are_made_of_days() {
    let desk = Desk::new(40, 130).await;
    let symbols = names(&desk, 40);
    let engine = desk.engine(40).await;
    let sessions: Vec<SessionDate> = desk.sim.truth(&symbols[0]).into_iter().map(|(day, _)| day).collect();
    let range = BarRange::Sessions(Some(sessions[70]), None);
    let days = read(&engine, request(&symbols, "1d", range)).await.unwrap();
    assert!(days.end.complete && days.end.returned == 40);
    let before = desk.calls();
    for timeframe in [Timeframe::Week, Timeframe::Month] {
        let made = read(&engine, request(&symbols, &timeframe.to_string(), BarRange::Last(2))).await.unwrap();
        assert_eq!(made.end.returned, 40);
        for symbol in &symbols {
            let (bars, days) = (made.of(symbol), days.of(symbol));
            assert!(bars.len() <= 2);
            let Some(last) = bars.start.last() else { continue };
            let rows: Vec<usize> = (0..days.len()).filter(|i| days.start[*i] >= *last).collect();
            let sum: f64 = rows.iter().map(|i| days.column(Field::Volume)[*i]).sum();
            let at = bars.len() - 1;
            assert_eq!(bars.column(Field::Volume)[at].to_bits(), sum.to_bits(), "{symbol} {timeframe}");
            assert_eq!(bars.column(Field::Open)[at], days.column(Field::Open)[rows[0]]);
        }
    }
    assert_eq!(desk.calls(), before);
}
