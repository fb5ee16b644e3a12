//! Answers about bars of many symbols: their order, the snapshot they name, how they are adjusted, how late they are.

use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::calendar::Calendar;
use panscan_core::diagnostic::Reason;
use panscan_core::range::BarRange;
use panscan_core::scan::{Adjustment, DataPolicy};
use panscan_core::time::SessionDate;
use panscan_engine::{Engine, EngineConfig, Forget, Forgettable, IndicatorsEvent, IndicatorsRequest, Pin};
use panscan_engine::{SeriesEvent, SeriesRequest};
use panscan_sim::{FaultName, Plan};

use crate::desk::{Desk, scan_of};
use crate::intraday::{bits, names, read, request, truth};

fn days(desk: &Desk) -> BarRange {
    let first = names(desk, 12).iter().map(|name| desk.sim.truth(name)[0].0).min();
    BarRange::Sessions(first, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_answer_hands_out_each_symbol_as_soon_as_those_before_it() {
    let desk = Desk::new(12, 40).await;
    let engine = desk.fresh_engine(45).await;
    let symbols = names(&desk, 9);
    let held = &symbols[..3];
    assert!(read(&engine, request(held, "1d", days(&desk))).await.unwrap().end.complete);
    // Nothing more comes from the provider. What is held comes all the same, and in order.
    desk.sim.set_faults(&[(FaultName::Stall, 1.0)]).unwrap();
    let ordered = SeriesRequest { ordered: true, ..request(&symbols, "1d", days(&desk)) };
    let mut stream = engine.stream(ordered.clone()).await.unwrap();
    for name in held {
        let event = stream.next().await.unwrap();
        let Some(SeriesEvent::Bars(bars)) = event else { panic!("{event:?}") };
        assert_eq!(bars.symbol.as_str(), name);
        assert!(!bars.bars.is_empty());
    }
    drop(stream);
    desk.sim.set_faults(&[]).unwrap();
    let whole = read(&engine, ordered).await.unwrap();
    let order: Vec<&str> = whole.series.iter().map(|found| found.symbol.as_str()).collect();
    assert_eq!(order, symbols);
    assert!(whole.end.complete, "{:?}", whole.diagnostics);
    let unordered = read(&engine, request(&symbols, "1d", days(&desk))).await.unwrap();
    assert_eq!(whole.bits(), unordered.bits());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_names_the_snapshot_that_shows_what_was_fetched() {
    let desk = Desk::new(12, 40).await;
    for ordered in [false, true] {
        let engine = desk.fresh_engine(45).await;
        let symbols = names(&desk, 6);
        let asked = SeriesRequest { ordered, ..request(&symbols, "1d", days(&desk)) };
        let mut stream = engine.stream(asked.clone()).await.unwrap();
        let id = stream.head().snapshot.to_string();
        assert!(stream.head().cost.calls > 0);
        while stream.next().await.unwrap().is_some() {}
        let fetched = read(&engine, asked.clone()).await.unwrap();
        let pinned = SeriesRequest { pin: Pin::Snapshot(id), policy: DataPolicy::CachedOnly, ..asked };
        let pinned = read(&engine, pinned).await.unwrap();
        assert_eq!((pinned.bits(), pinned.end.provider_calls), (fetched.bits(), 0));
        assert!(pinned.series.iter().all(|found| !found.bars.is_empty()));
        // What is held already has its name at once.
        let warm = engine.stream(request(&symbols, "1d", days(&desk))).await.unwrap();
        assert!(engine.pinned(warm.head().snapshot.as_str()).is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_are_adjusted_for_dividends_as_days_are() {
    let desk = Desk::new(24, 80).await;
    let engine = desk.engine(90).await;
    let all = |adjustment, timeframe: &str, symbols: &[String]| SeriesRequest {
        adjustment,
        ..request(symbols, timeframe, days(&desk))
    };
    let symbols = names(&desk, 24);
    let raw = read(&engine, all(Adjustment::Raw, "1d", &symbols)).await.unwrap();
    let paid = read(&engine, all(Adjustment::SplitsAndDividends, "1d", &symbols)).await.unwrap();
    let close = |of: &crate::intraday::Read, name: &str| of.of(name).column(Field::Close).to_vec();
    let payer = symbols.iter().find(|name| close(&raw, name)[0] != close(&paid, name)[0]).unwrap().clone();
    let one = std::slice::from_ref(&payer);
    let minutes = |adjustment| read(&engine, all(adjustment, "1m", one));
    let (plain, adjusted) =
        (minutes(Adjustment::Raw).await.unwrap(), minutes(Adjustment::SplitsAndDividends).await.unwrap());
    assert!(adjusted.end.complete, "{:?}", adjusted.diagnostics);
    let (plain, adjusted) = (plain.of(&payer), adjusted.of(&payer));
    assert_eq!(plain.start, adjusted.start);
    assert_eq!(plain.column(Field::Volume), adjusted.column(Field::Volume));
    // Every minute by the factor of its day.
    let calendar = Calendar::us_equities();
    let (raw, paid) = (raw.of(&payer), paid.of(&payer));
    for (row, at) in plain.start.iter().enumerate() {
        let midnight = calendar.midnight(calendar.session_of(*at));
        let day = raw.start.binary_search(&midnight).unwrap();
        let factor = paid.column(Field::Close)[day] / raw.column(Field::Close)[day];
        let (was, is) = (plain.column(Field::Close)[row], adjusted.column(Field::Close)[row]);
        assert!((is - was * factor).abs() < 1e-9 * was, "{at}: {was} {is} {factor}");
    }
    // The same bars under an expression.
    let mut stream = engine
        .indicators(IndicatorsRequest {
            columns: vec!["close".to_owned()],
            symbols: vec![payer.clone()],
            timeframe: "1m".parse().unwrap(),
            range: Some(BarRange::Last(5)),
            adjustment: Adjustment::SplitsAndDividends,
            ..IndicatorsRequest::default()
        })
        .await
        .unwrap();
    let mut values = Vec::new();
    while let Some(event) = stream.next().await.unwrap() {
        if let IndicatorsEvent::Values(found) = event {
            values.extend(found.columns[0].clone());
        }
    }
    let close = adjusted.column(Field::Close);
    assert_eq!(values, close[close.len() - 5..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_plan_says_how_late_its_minutes_are() {
    let desk = Desk::on_plan(12, 20, Plan::Delayed).await;
    let calendar = Calendar::us_equities();
    let today = calendar.session_of(desk.sim.now());
    desk.set_now(calendar.open(today).after(Duration::from_secs(2 * 3600)));
    let engine = desk.fresh_engine(15).await;
    let one = names(&desk, 1);
    let asked = request(&one, "1m", BarRange::Sessions(Some(today), None));
    drop(read(&engine, asked.clone()).await.unwrap());
    let told = read(&engine, asked).await.unwrap().diagnostics;
    let late = told.iter().find(|found| found.reason == Reason::StaleData).expect("it is said");
    assert_eq!(late.age, Some(Duration::from_secs(15 * 60)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_come_as_files_where_those_spare_calls() {
    let desk = Desk::new(30, 12).await;
    let engine =
        Engine::start(desk.parts_with_files(), EngineConfig { history_daily: 10, ..EngineConfig::default() })
            .await
            .unwrap();
    let symbols = names(&desk, 30);
    let sessions: Vec<SessionDate> = desk.sim.truth(&symbols[0]).iter().map(|(day, _)| *day).collect();
    let newest = sessions[sessions.len() - 1];
    let range = BarRange::Sessions(Some(sessions[4]), Some(sessions[8]));
    let asked = request(&symbols, "1m", range);
    let held = SeriesRequest { policy: DataPolicy::CachedOnly, ..asked.clone() };
    let head = engine.stream(held).await.unwrap().head().clone();
    assert_eq!((head.cost.calls, head.cost.kinds.files, head.cost.kinds.ranges), (0, 5, 0));
    assert_eq!(head.cost.missing_cells, 150);
    let before = desk.calls();
    let found = read(&engine, asked.clone()).await.unwrap();
    assert!(found.end.complete, "{:?}", found.diagnostics);
    assert_eq!(desk.calls(), before, "files are no calls");
    let calendar = Calendar::us_equities();
    let (from, to) = (calendar.midnight(sessions[4]), calendar.midnight(sessions[8].plus(1)));
    let vwap = Field::Vwap.index();
    for symbol in &symbols {
        let mut expected: Vec<_> =
            truth(&desk, symbol).into_iter().filter(|(at, _)| (from..to).contains(at)).collect();
        let mut got = bits(found.of(symbol));
        // Files have no vwap.
        expected.iter_mut().chain(&mut got).for_each(|(_, bar)| bar[vwap] = 0);
        assert_eq!(got, expected, "{symbol}");
    }
    assert_eq!(read(&engine, asked).await.unwrap().end.provider_calls, 0);
    // One symbol is not worth a file of all of them, and the newest session has none yet.
    let one = request(&symbols[..1], "1m", BarRange::Sessions(Some(newest), None));
    assert_eq!(read(&engine, one).await.unwrap().end.provider_calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_and_reference_data_are_forgotten_by_command() {
    let desk = Desk::new(12, 20).await;
    let engine = desk.engine(15).await;
    let symbols = names(&desk, 2);
    let whole = request(&symbols, "1m", days(&desk));
    let first = read(&engine, whole.clone()).await.unwrap();
    let sessions: Vec<SessionDate> = desk.sim.truth(&symbols[0]).iter().map(|(day, _)| *day).collect();
    let symbol = panscan_core::symbol::Symbol::new(&symbols[0]).unwrap();
    let mut what = Forget {
        symbols: Some(vec![symbol]),
        what: Forgettable::Minutes,
        from: Some(sessions[5]),
        to: Some(sessions[7]),
        dry_run: true,
        ..Forget::default()
    };
    let would = engine.forget(&what).await.unwrap();
    assert!(would.cells == 3 && would.bytes > 0, "{would:?}");
    assert_eq!(read(&engine, whole.clone()).await.unwrap().end.provider_calls, 0);
    what.dry_run = false;
    assert_eq!(engine.forget(&what).await.unwrap(), would);
    let cached = SeriesRequest { policy: DataPolicy::CachedOnly, ..whole.clone() };
    let cached = read(&engine, cached).await.unwrap();
    assert!(!cached.end.complete);
    assert_eq!(cached.of(&symbols[1]).len(), first.of(&symbols[1]).len(), "of the other symbol all is there");
    let again = read(&engine, whole.clone()).await.unwrap();
    assert_eq!((again.end.provider_calls, again.bits()), (1, first.bits()));
    // From memory alone: the files still have it.
    let tiers = vec!["l1".to_owned(), "l2".to_owned()];
    engine.forget(&Forget { tiers, ..what.clone() }).await.unwrap();
    assert_eq!(read(&engine, whole).await.unwrap().end.provider_calls, 0);

    let listings = |desk: &Desk| {
        let calls = desk.sim.audit().calls;
        calls.iter().filter(|(path, _)| path.ends_with("/tickers")).map(|(_, n)| n).sum::<u64>()
    };
    let before = listings(&desk);
    let gone = engine.forget(&Forget { what: Forgettable::Reference, ..Forget::default() }).await.unwrap();
    assert_eq!(gone.cells, 12);
    engine.refresh_once().await;
    assert!(listings(&desk) > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_here_no_other_server_gets_from_redis() {
    let redis = panscan_testkit::redis::RedisServer::start();
    let desk = Desk::new(12, 20).await;
    let config = || EngineConfig { history_daily: 10, ..EngineConfig::default() };
    let first = Engine::start(desk.parts_on_redis(&redis.url()), config()).await.unwrap();
    let asked = scan_of(&["close"]);
    assert!(first.scan(&asked).await.unwrap().provider_calls > 0);
    let minutes = request(&names(&desk, 1), "1m", BarRange::Last(300));
    assert!(read(&first, minutes.clone()).await.unwrap().end.provider_calls > 0);
    // Filling Redis is nobody's wait: until another server finds everything there.
    let second = loop {
        let other = Engine::start(desk.parts_on_redis(&redis.url()), config()).await.unwrap();
        let held = SeriesRequest { policy: DataPolicy::CachedOnly, ..minutes.clone() };
        let days = other.scan(&asked).await.unwrap().provider_calls;
        if days == 0 && read(&other, held).await.unwrap().end.complete {
            break other;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    drop(second);
    first.forget(&Forget::default()).await.unwrap();
    first.forget(&Forget { what: Forgettable::Minutes, ..Forget::default() }).await.unwrap();
    let third = Engine::start(desk.parts_on_redis(&redis.url()), config()).await.unwrap();
    assert_eq!(third.current().unwrap().snapshot.daily.total_bars(), 0);
    let held = SeriesRequest { policy: DataPolicy::CachedOnly, ..minutes };
    assert_eq!(read(&third, held).await.unwrap().end.bars, 0);
    assert!(third.scan(&asked).await.unwrap().provider_calls > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_has_the_provider_asked_again_at_once() {
    let desk = Desk::on_plan(5, 760, Plan::Free).await;
    let engine = desk.fresh_engine(700).await;
    let request = scan_of(&["close", "ema(20)"]);
    assert!(!engine.scan(&request).await.unwrap().complete);
    let calls = desk.calls();
    engine.scan(&request).await.unwrap();
    assert_eq!(desk.calls(), calls);
    assert!(engine.reset_provider("nobody").is_err());
    engine.reset_provider("polygon").unwrap();
    engine.scan(&request).await.unwrap();
    assert!(desk.calls() > calls, "what was refused is asked for again");
    let stats = engine.stats();
    assert_eq!((stats.health.len(), &*stats.health[0].provider), (1, "polygon"));
}
