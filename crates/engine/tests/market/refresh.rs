//! What is kept up to date without being asked: details, closed days, corporate actions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::calendar::Calendar;
use panscan_core::diagnostic::Reason;
use panscan_core::panel::{Panel, Split};
use panscan_core::port::{
    BarAsk, BarSource, Dividend, Errand, Fetched, Pending, SourceError, SourceStats, SourceStatus,
};
use panscan_core::scan::{Adjustment, DataPolicy, ScanSpec};
use panscan_core::symbol::SymbolId;
use panscan_core::time::SessionDate;
use panscan_core::universe::{Listing, TextAttribute};
use panscan_engine::{BarsRequest, Engine, EngineConfig, Pin, ScanRequest};

use crate::desk::{Desk, numbers, scan_of};

fn config(history: usize) -> EngineConfig {
    EngineConfig { history_daily: history, ..EngineConfig::default() }
}

fn grouped(desk: &Desk) -> u64 {
    desk.sim.audit().calls.iter().filter(|(path, _)| path.contains("grouped")).map(|(_, n)| n).sum()
}

fn bars_of(symbol: &str, adjustment: Adjustment) -> BarsRequest {
    BarsRequest {
        symbols: vec![symbol.to_owned()],
        from: None,
        to: None,
        last: 0,
        adjustment,
        pin: Pin::Newest,
        policy: DataPolicy::BestEffort,
        deadline: None,
        errand: Errand::interactive(1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn details_come_oldest_first_survive_a_restart_and_value_the_market_without_a_call() {
    let desk = Desk::new(40, 30).await;
    let store = desk.store();
    let engine = Engine::start(desk.parts(Some(&store)), config(10)).await.unwrap();
    assert!(engine.scan(&scan_of(&["close"])).await.unwrap().complete);
    let known = |engine: &Engine| {
        let universe = &engine.current().unwrap().snapshot.universe;
        let sector = universe.text(TextAttribute::Sector);
        universe.ids().filter(|id| sector.get(*id).is_some()).map(|id| id.0).collect::<Vec<_>>()
    };
    assert!(known(&engine).is_empty());
    assert_eq!(engine.refresh_details(25).await, 25);
    assert!(engine.refresh_once().await.snapshot);
    let first = known(&engine);
    assert!((15..=25).contains(&first.len()), "{first:?}");
    let snapshot = engine.current().unwrap().snapshot.clone();
    for id in first.iter().map(|id| SymbolId(*id)) {
        let shares = snapshot.universe.shares_outstanding()[id.index()];
        let close = snapshot.daily_raw.last_close(id);
        let cap = snapshot.universe.market_cap()[id.index()];
        assert!(shares.is_nan() || cap.to_bits() == (close * shares).to_bits(), "{cap} {close} {shares}");
    }
    drop(engine);
    let before = desk.calls();
    let engine = Engine::start(desk.parts(Some(&store)), config(10)).await.unwrap();
    assert_eq!((known(&engine), desk.calls()), (first, before));
    assert_eq!(engine.refresh_details(40).await, 15, "only those that were not asked for yet");
    assert_eq!((engine.refresh_details(40).await, desk.calls() - before), (0, 15));
    assert_eq!(engine.stats().refreshed, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_day_is_asked_for_once_more_and_only_a_difference_makes_a_snapshot() {
    let desk = Desk::new(128, 30).await;
    let engine = desk.engine(20).await;
    let calendar = Calendar::us_equities();
    let last = calendar.session_of(desk.sim.now());
    let asked = scan_of(&["close"]);
    let first = engine.scan(&asked).await.unwrap();
    let symbol = desk.sim.symbols().next().unwrap().to_string();
    assert_eq!(engine.refresh_once().await.corrected, 0, "it is too early for corrections");
    let before = grouped(&desk);

    desk.set_now(calendar.open(calendar.next(last).unwrap()).after(Duration::from_secs(7200)));
    assert!(!engine.refresh_once().await.snapshot);
    assert_eq!(grouped(&desk) - before, 1, "the newest day, which was fetched on its evening");
    assert_eq!(engine.current().unwrap().snapshot.id, first.published.snapshot.id);
    engine.refresh_once().await;
    assert_eq!(grouped(&desk) - before, 1, "and not again");
    drop(engine);

    // The same desk a day earlier, and this time the provider corrects a bar over night.
    let engine = desk.fresh_engine(20).await;
    desk.set_now(calendar.close(last).after(Duration::from_secs(3600)));
    let held = engine.scan(&asked).await.unwrap();
    let bar = r#"{"o":77,"h":79,"l":76,"c":78.5,"v":1000,"vw":77.5,"n":10}"#;
    desk.control(
        "/_sim/market",
        &format!(r#"{{"late_bar":{{"symbol":"{symbol}","session":"{last}","bar":{bar}}}}}"#),
    )
    .await;
    desk.set_now(calendar.open(calendar.next(last).unwrap()).after(Duration::from_secs(7200)));
    let refreshed = engine.refresh_once().await;
    assert_eq!((refreshed.corrected, refreshed.snapshot), (1, true));
    let corrected = engine.scan(&asked).await.unwrap();
    assert_ne!(corrected.published.snapshot.id, held.published.snapshot.id);
    assert_eq!(numbers(&corrected, 0)[0], 78.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_split_changes_the_tiles_of_its_symbol_and_no_raw_block() {
    let desk = Desk::new(128, 40).await;
    let config = EngineConfig { reference_ttl: Duration::from_secs(60), ..config(30) };
    let engine = Engine::start(desk.parts(None), config).await.unwrap();
    // A recursive function takes every bar there is.
    assert!(engine.scan(&scan_of(&["rsi(14)"])).await.unwrap().complete);
    let before = engine.current().unwrap().snapshot.clone();
    let calls = grouped(&desk);
    let calendar = Calendar::us_equities();
    let day = calendar.back(before.newest().unwrap(), 5).unwrap();
    // A symbol that traded on most of the days.
    let id = (64..96).map(SymbolId).max_by_key(|id| before.daily.bars(*id)).unwrap();
    let symbol = before.universe.symbol(id).clone();
    let split = format!(
        r#"{{"split":{{"symbol":"{symbol}","execution_date":"{day}","split_from":1,"split_to":2}}}}"#
    );
    desk.control("/_sim/market", &split).await;
    desk.set_now(desk.sim.now().after(Duration::from_secs(120)));
    assert!(engine.refresh_once().await.snapshot);
    let after = engine.current().unwrap().snapshot.clone();
    let changed = |a: &Panel, b: &Panel| {
        let pairs = a.tiles().iter().zip(b.tiles()).enumerate();
        pairs.filter(|(_, (a, b))| !Arc::ptr_eq(a, b)).map(|(tile, _)| tile).collect::<Vec<_>>()
    };
    assert_eq!(changed(&before.daily, &after.daily), [2]);
    assert!(changed(&before.daily_raw, &after.daily_raw).is_empty());
    assert_eq!(grouped(&desk), calls);
    let close = |panel: &Panel| panel.series(id, day.plus(-9), day.plus(-1)).columns[3].clone();
    let halved: Vec<f64> = close(&before.daily).iter().map(|close| close * 0.5).collect();
    assert!(!halved.is_empty());
    assert_eq!(close(&after.daily), halved);
    // The bars that are held took no such step, and that is said.
    let answer = engine.scan(&scan_of(&["close"])).await.unwrap();
    let told = answer.diagnostics.iter().find(|d| d.reason == Reason::SplitSuspicious).unwrap();
    assert!(told.symbols.contains(&symbol), "{told:?}");
}

/// The desk's own source, and dividends that it does not pay.
struct Paying {
    inner: Arc<dyn BarSource>,
    dividends: Vec<Dividend>,
    asked: AtomicU64,
}

impl BarSource for Paying {
    fn name(&self) -> Arc<str> {
        self.inner.name()
    }
    fn fetch<'a>(&'a self, ask: &'a BarAsk, errand: Errand) -> Pending<'a, Result<Fetched, SourceError>> {
        self.inner.fetch(ask, errand)
    }
    fn listings(&self) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        self.inner.listings()
    }
    fn splits(&self, from: SessionDate) -> Pending<'_, Result<Vec<Split>, SourceError>> {
        self.inner.splits(from)
    }
    fn dividends(&self, from: SessionDate) -> Pending<'_, Result<Vec<Dividend>, SourceError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let rows = self.dividends.iter().filter(|d| d.ex_date >= from).cloned().collect();
        Box::pin(async move { Ok(rows) })
    }
    fn status(&self) -> Pending<'_, Result<SourceStatus, SourceError>> {
        self.inner.status()
    }
    fn estimate(&self, calls: u64) -> Duration {
        self.inner.estimate(calls)
    }
    fn stats(&self) -> SourceStats {
        self.inner.stats()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dividends_are_applied_when_asked_for_and_kept() {
    let desk = Desk::new(40, 40).await;
    let store = desk.store();
    let symbol = desk.sim.symbols().nth(3).unwrap().clone();
    let truth = desk.sim.truth(symbol.as_str());
    let (ex_date, before) = (truth[truth.len() - 4].0, truth[truth.len() - 5].1[Field::Close.index()]);
    let cash = before / 10.0;
    let later = Calendar::us_equities().next(truth.last().unwrap().0).unwrap();
    let dividend = |ex_date| Dividend { symbol: symbol.clone(), ex_date, cash, currency: None };
    let start = || async {
        let mut parts = desk.parts(Some(&store));
        let dividends = vec![dividend(ex_date), dividend(later)];
        let paying = Arc::new(Paying { inner: parts.source, dividends, asked: AtomicU64::new(0) });
        parts.source = paying.clone();
        (Engine::start(parts, config(30)).await.unwrap(), paying)
    };
    let (engine, source) = start().await;
    let plain = engine.bars(&bars_of(symbol.as_str(), Adjustment::Splits)).await.unwrap();
    assert_eq!(source.asked.load(Ordering::SeqCst), 0, "only who wants them asks for them");
    let paid = engine.bars(&bars_of(symbol.as_str(), Adjustment::SplitsAndDividends)).await.unwrap();
    let (plain, paid) = (&plain.series[0].bars, &paid.series[0].bars);
    assert_eq!(plain.sessions, paid.sessions);
    let factor = 1.0 - cash / before;
    assert!((factor - 0.9).abs() < 1e-12);
    for (row, session) in plain.sessions.iter().enumerate() {
        let scale = if *session < ex_date { factor } else { 1.0 };
        for field in Field::ALL {
            let scale = if field.is_price() { scale } else { 1.0 };
            let (was, is) = (plain.columns[field.index()][row], paid.columns[field.index()][row]);
            assert_eq!((was * scale).to_bits(), is.to_bits(), "{field:?} on {session}");
        }
    }
    let request = ScanRequest {
        spec: ScanSpec { adjustment: Adjustment::SplitsAndDividends, ..scan_of(&["close[10]"]).spec },
        ..ScanRequest::default()
    };
    let scan = engine.scan(&request).await.unwrap();
    let row = scan.rows.symbols.iter().position(|id| scan.published.snapshot.universe.symbol(*id) == &symbol);
    let tenth = paid.columns[Field::Close.index()][paid.sessions.len() - 11];
    assert_eq!(numbers(&scan, 0)[row.unwrap()].to_bits(), tenth.to_bits());
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    drop(engine);
    let (engine, source) = start().await;
    let again = engine.bars(&bars_of(symbol.as_str(), Adjustment::SplitsAndDividends)).await.unwrap();
    assert_eq!(again.series[0].bars.columns[3], paid.columns[3]);
    assert_eq!(source.asked.load(Ordering::SeqCst), 0, "they were kept");
}
