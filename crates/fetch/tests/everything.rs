//! What the provider serves beside the engine's bars, against the simulator: each noun once, and what it says
//! agrees with the market that is simulated.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::sync::Arc;

use panscan_core::bar::{Bar, Field};
use panscan_core::life::Lives;
use panscan_core::limit::Quota;
use panscan_core::port::{BarAsk, BarSource, Clock, Errand, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::TextAttribute;
use panscan_fetch::decode::PriceField;
use panscan_fetch::polygon::{AggregatesAsk, MarketHours, Movers, TickersAsk, Timespan};
use panscan_fetch::{Polygon, PolygonConfig, Secret};
use panscan_sim::{MarketSource, Plan, SimConfig, Simulator};

const NOW: Errand = Errand::interactive(0);
const EVENING: &str = "2025-12-31T23:00:00Z";

struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

async fn desk(now: &str, sessions: usize, plan: Plan) -> (Simulator, Polygon) {
    let now: Timestamp = now.parse().unwrap();
    let end = "2025-12-31".parse().unwrap();
    let config = SimConfig {
        market: MarketSource::Generated { symbols: 40, sessions, seed: 7, end },
        now: Some(now),
        plan,
        ..SimConfig::default()
    };
    let sim = Simulator::start(config).await.unwrap();
    let key = Some(Secret::new("any"));
    let config = PolygonConfig::new(sim.url(), key, Quota::UNLIMITED, Arc::new(Fixed(now)));
    (sim, Polygon::new(config).unwrap())
}

fn date(text: &str) -> SessionDate {
    text.parse().unwrap()
}

fn spy() -> Symbol {
    Symbol::new("SPY").unwrap()
}

#[tokio::test]
async fn aggregates_of_every_interval_are_made_of_the_same_days() {
    let (sim, polygon) = desk(EVENING, 300, Plan::Realtime).await;
    let truth = sim.truth("SPY");
    let (from, to) = (date("2025-01-02"), date("2025-12-31"));
    let ask = |timespan, multiplier| AggregatesAsk {
        symbol: spy(),
        multiplier,
        timespan,
        from,
        to,
        adjusted: false,
    };
    let year: Vec<&[f64; Field::COUNT]> =
        truth.iter().filter(|(day, _)| (from..=to).contains(day)).map(|(_, bar)| bar).collect();
    let shares: f64 = year.iter().map(|bar| bar[Field::Volume.index()]).sum();
    for (timespan, multiplier, count) in [
        (Timespan::Day, 1, year.len()),
        (Timespan::Week, 1, 53),
        (Timespan::Month, 1, 12),
        (Timespan::Quarter, 1, 4),
        (Timespan::Year, 1, 1),
        (Timespan::Month, 6, 2),
    ] {
        let series = polygon.aggregates(&ask(timespan, multiplier), NOW).await.unwrap();
        assert_eq!((series.aggregates.len(), series.refused.len()), (count, 0), "{timespan:?}");
        let sum: f64 = series.aggregates.iter().map(|one| one.get(Field::Volume)).sum();
        assert!((sum / shares - 1.0).abs() < 1e-9, "{timespan:?}");
        let last = series.aggregates.last().unwrap();
        assert_eq!(last.get(Field::Close), year.last().unwrap()[Field::Close.index()], "{timespan:?}");
    }
    // the 31st is a Wednesday, and its year, month and quarter are not over before midnight
    assert!(
        polygon.aggregates(&ask(Timespan::Week, 1), NOW).await.unwrap().aggregates.last().unwrap().partial
    );
    let short =
        AggregatesAsk { from: date("2025-12-30"), to: date("2025-12-30"), ..ask(Timespan::Minute, 1) };
    let minutes = polygon.aggregates(&short, NOW).await.unwrap().aggregates;
    for (timespan, multiplier) in [(Timespan::Minute, 7), (Timespan::Hour, 1), (Timespan::Second, 1)] {
        let ask = AggregatesAsk { timespan, multiplier, ..short.clone() };
        let found = polygon.aggregates(&ask, NOW).await.unwrap().aggregates;
        let shares = |all: &[panscan_fetch::polygon::Aggregate]| -> f64 {
            all.iter().map(|one| one.get(Field::Volume)).sum()
        };
        assert!((shares(&found) / shares(&minutes) - 1.0).abs() < 1e-9, "{timespan:?}");
        assert_eq!(found.len() > minutes.len(), timespan == Timespan::Second);
    }
    let previous = polygon.previous_close(&spy(), false, NOW).await.unwrap().unwrap();
    assert_eq!((previous.session, previous.bar.values()), (to, &truth.last().unwrap().1));
    let day = polygon.open_close(&spy(), date("2025-12-30"), false, NOW).await.unwrap().unwrap();
    assert!(day.is_whole() && day.pre_market.is_some());
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn the_snapshot_says_which_price_it_gives() {
    let (sim, polygon) = desk("2025-12-31T17:00:00Z", 5, Plan::Realtime).await;
    let all = polygon.snapshot_all(NOW).await.unwrap();
    assert_eq!(all.len(), 40);
    let one = polygon.snapshot_one(&spy(), NOW).await.unwrap().unwrap();
    assert!(matches!(one.price, Some((_, PriceField::Trade))) && one.day.is_some() && one.minute.is_some());
    assert!(one.updated.unwrap() <= sim.now());
    let some = polygon.snapshot_of(&[spy(), Symbol::new("NOSUCH").unwrap()], NOW).await.unwrap();
    assert_eq!(some.iter().map(|row| row.symbol.as_str()).collect::<Vec<_>>(), ["SPY"]);
    let gains = polygon.movers(Movers::Gainers, NOW).await.unwrap();
    assert!(gains.first().unwrap().change_percent >= gains.last().unwrap().change_percent);
    assert_eq!(polygon.market_status().await.unwrap().hours, Some(MarketHours::Open));
    // before the open there is the day before and nothing else
    sim.set_now("2025-12-31T13:00:00Z".parse().unwrap());
    let early = polygon.snapshot_one(&spy(), NOW).await.unwrap().unwrap();
    assert_eq!((early.day, early.change_percent), (None, None));
    assert!(matches!(early.price, Some((_, PriceField::PreviousDay))));
    // and on a holiday nothing at all
    sim.set_now("2026-01-01T17:00:00Z".parse().unwrap());
    assert_eq!(polygon.snapshot_one(&spy(), NOW).await, Ok(None));
    assert!(polygon.snapshot_all(NOW).await.unwrap().is_empty());
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn details_name_a_sector_and_the_shares_for_each_company() {
    let (sim, polygon) = desk(EVENING, 5, Plan::Realtime).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    sim.write_universe(file.path()).unwrap();
    let universe = std::fs::read_to_string(file.path()).unwrap();
    let mut companies = 0;
    for line in universe.lines().skip(1).take(25) {
        let symbol = Symbol::new(line.split(',').next().unwrap()).unwrap();
        let found = polygon.details(&symbol, NOW).await.unwrap().unwrap();
        let text = |attribute: TextAttribute| found.text[attribute as usize].as_deref();
        if text(TextAttribute::Type) == Some("CS") {
            companies += 1;
            assert!(found.market_cap.unwrap() > 0.0 && found.shares_outstanding.unwrap() > 0.0, "{line}");
            let (sector, industry) =
                (text(TextAttribute::Sector).unwrap(), text(TextAttribute::Industry).unwrap());
            assert!(line.contains(&format!(",{sector},{industry},")), "{sector}, {industry}: {line}");
        }
    }
    assert!(companies > 5, "{companies}");
    assert_eq!(polygon.details(&Symbol::new("NOSUCH").unwrap(), NOW).await.unwrap(), None);
    assert!(!polygon.dividends(date("2025-12-01")).await.unwrap().is_empty());
    assert_eq!(polygon.calendar_differences().await.unwrap(), []);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn a_renamed_company_has_its_whole_history_under_the_right_tickers() {
    let (sim, polygon) = desk(EVENING, 10, Plan::Realtime).await;
    let whole = sim.truth("SPY");
    let client = reqwest::Client::new();
    let change = r#"{"rename":{"symbol":"SPY","to":"SPYX","date":"2025-12-24"}}"#;
    let told = client.post(format!("{}/_sim/market", sim.url())).body(change).send().await.unwrap();
    assert!(told.status().is_success());
    let new = Symbol::new("SPYX").unwrap();
    let mut lives = Lives::new();
    lives.learn(&polygon.renames(&new, NOW).await.unwrap(), None);
    let (first, last) = (whole[0].0, whole[whole.len() - 1].0);
    let mut bars: Vec<(SessionDate, Bar)> = Vec::new();
    for stretch in lives.history(&new, last, first, last, 5) {
        let ask = BarAsk::Range {
            symbol: stretch.symbol,
            timeframe: Timeframe::Day,
            from: stretch.from,
            to: stretch.to,
        };
        let block = polygon.fetch(&ask, NOW).await.unwrap().block;
        let rows = block.rows().iter().enumerate();
        bars.extend(rows.filter_map(|(row, key)| Some((key.as_session(), block.bar(0, row)?))));
    }
    let read: Vec<_> = bars.iter().map(|(session, bar)| (*session, *bar.values())).collect();
    assert_eq!(read.len(), whole.len());
    for ((session, bar), (expected, values)) in read.iter().zip(&whole) {
        assert_eq!((session, bar.map(f64::to_bits)), (expected, values.map(f64::to_bits)));
    }
    let gone = polygon.tickers(TickersAsk { active: false, date: None }).await.unwrap();
    assert_eq!(gone.iter().map(|listing| listing.symbol.as_str()).collect::<Vec<_>>(), ["SPY"]);
    assert_eq!(gone[0].delist_date, Some(date("2025-12-24")));
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn a_free_plan_is_kept_to() {
    let (sim, polygon) = desk("2025-12-31T17:00:00Z", 5, Plan::Free).await;
    for _ in 0..3 {
        let old = polygon.fetch(&BarAsk::Day(date("2019-06-03")), NOW).await;
        assert!(matches!(old, Err(SourceError::OutsidePlan { from: Some(_), .. })), "{old:?}");
        let today = polygon.fetch(&BarAsk::Day(date("2025-12-31")), NOW).await;
        assert!(matches!(today, Err(SourceError::NotYet { .. })), "{today:?}");
        assert!(matches!(polygon.snapshot_all(NOW).await, Err(SourceError::NotEntitled { .. })));
    }
    assert!(polygon.fetch(&BarAsk::Day(date("2025-12-30")), NOW).await.unwrap().block.count_bars() > 0);
    assert_eq!(sim.audit().total, 4, "each refusal was heard once");
    sim.stop().await.unwrap();
}
