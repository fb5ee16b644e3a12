//! What goes wrong in practice with each of the other providers, row by row.

use std::sync::Arc;
use std::time::Duration;

use panscan_core::port::{BarSource, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;
use panscan_fetch::{Alpaca, AlpacaConfig, AlphaVantage, AlphaVantageConfig, Secret, Yahoo};
use panscan_sim::{Dialect, FaultName, Plan, SimConfig, Simulator};

use crate::desk::{
    Fixed, alpaca, alpha, bars, everybody, fault, fetch, generated, range, sessions, simulator, truth, yahoo,
};

/// Row 52: a page may hold the first symbols only, repeat rows, or come in any order.
#[tokio::test]
async fn pages_are_followed_to_the_end_and_merged() {
    let sim = simulator(12, 900).await;
    let days = sessions(900);
    let source = Alpaca::new(alpaca(&sim)).unwrap();
    let symbols: Vec<Symbol> = sim.symbols().cloned().collect();
    let errand = panscan_core::port::Errand::interactive(0);
    for faults in [&[][..], &[(FaultName::DuplicateRows, 1.0)], &[(FaultName::ReorderedRows, 1.0)]] {
        fault(&sim, faults);
        let many = source.fetch_many(&symbols, Timeframe::Day, days[0], days[899], errand).await.unwrap();
        assert!(many[0].calls >= 2, "{} calls", many[0].calls);
        for (symbol, fetched) in symbols.iter().zip(&many) {
            let (seen, real) = (bars(fetched), truth(&sim, symbol, Timeframe::Day).await);
            assert!(fetched.quarantined.is_empty());
            assert_eq!(seen.keys().collect::<Vec<_>>(), real.keys().collect::<Vec<_>>(), "{symbol}");
        }
    }
    // a row of another symbol or session is not stored, and a token that leads back ends the question
    fault(&sim, &[(FaultName::ForeignRow, 1.0)]);
    let ask = range(&symbols[0], Timeframe::Day, days[880], days[899]);
    assert_eq!(fetch(&source, &ask).await.unwrap().block.count_bars(), 20);
    fault(&sim, &[(FaultName::RowOutside, 1.0)]);
    let fetched = fetch(&source, &ask).await.unwrap();
    assert_eq!((fetched.block.count_bars(), fetched.quarantined.len()), (20, 1));
    fault(&sim, &[(FaultName::NextUrlLoop, 1.0)]);
    assert!(matches!(fetch(&source, &ask).await, Err(SourceError::Unreadable { .. })));
    sim.stop().await.unwrap();
}

/// Row 53: the free plan lacks the last fifteen minutes of the tape.
#[tokio::test]
async fn a_plan_without_recent_trades_is_learned() {
    let start = async |now: &str| {
        let now = Some(now.parse().unwrap());
        Simulator::start(SimConfig { plan: Plan::Free, now, ..generated(5, 10) }).await.unwrap()
    };
    let days = sessions(10);
    // an hour after the close days are complete; of minutes those are asked for that the plan has
    let sim = start("2025-12-31T22:00:00Z").await;
    let at = |clock: &'static str| AlpacaConfig { clock: Arc::new(Fixed(clock)), ..alpaca(&sim) };
    let source = Alpaca::new(at("2025-12-31T22:00:00Z")).unwrap();
    let symbol = sim.symbols().next().unwrap().clone();
    let day = range(&symbol, Timeframe::Day, days[0], days[9]);
    assert_eq!(fetch(&source, &day).await.unwrap().block.count_bars(), 10);
    let minutes = range(&symbol, Timeframe::Minutes(1), days[9], days[9]);
    let fetched = fetch(&source, &minutes).await.unwrap();
    assert!(fetched.block.count_bars() > 200);
    assert_eq!(source.stats().calls, 3, "one refusal, and the answer");
    // three minutes after it a day lacks its end, which is no day
    let sim = start("2025-12-31T21:03:00Z").await;
    let clock: Arc<Fixed> = Arc::new(Fixed("2025-12-31T21:03:00Z"));
    let source = Alpaca::new(AlpacaConfig { clock, ..alpaca(&sim) }).unwrap();
    let early = fetch(&source, &day).await.unwrap_err();
    assert!(
        matches!(&early, SourceError::NotYet { retry_at, .. } if retry_at.to_string() == "2025-12-31T21:16:00Z"),
        "{early}"
    );
    sim.stop().await.unwrap();
}

/// Row 55: a refusal with status 200 is none of data, and its text says what to do. Row 56: the quota is read at run
/// time.
#[tokio::test]
async fn notices_with_status_200_are_refusals() {
    let days = sessions(10);
    let rate = "3/day".parse().unwrap();
    let limited = SimConfig { dialects: vec![(Dialect::AlphaVantage, Some(rate))], ..generated(5, 10) };
    let sim = Simulator::start(limited).await.unwrap();
    let source = AlphaVantage::new(alpha(&sim)).unwrap();
    let symbol = sim.symbols().next().unwrap().clone();
    let ask = range(&symbol, Timeframe::Day, days[0], days[9]);
    for _ in 0..3 {
        assert_eq!(fetch(&source, &ask).await.unwrap().block.count_bars(), 10);
    }
    // the day's calls are spent: left alone until midnight in New York, without another call
    for calls in [4, 4] {
        let spent = fetch(&source, &ask).await.unwrap_err();
        let SourceError::Suspended { retry_after, message, .. } = &spent else { panic!("{spent}") };
        assert!(
            *retry_after > Duration::from_secs(3 * 3600) && message.contains("3 requests per day"),
            "{spent}"
        );
        assert_eq!(source.stats().calls, calls);
    }
    // its own limit is kept to in the first place, and a turn of tomorrow is not waited for
    let mut own = alpha(&sim);
    own.calls.quota = "1/day".parse().unwrap();
    own.key = Some(Secret::new("another"));
    let source = AlphaVantage::new(own).unwrap();
    fetch(&source, &ask).await.unwrap();
    let spent = fetch(&source, &ask).await.unwrap_err();
    assert!(
        matches!(&spent, SourceError::RateLimited { retry_after, .. } if *retry_after > Duration::from_secs(80_000))
    );
    assert_eq!(sim.audit().violations, 1);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn premium_and_bad_keys_are_not_asked_again() {
    let sim = simulator(5, 10).await;
    let days = sessions(10);
    let symbol = sim.symbols().next().unwrap().clone();
    let ask = range(&symbol, Timeframe::Day, days[0], days[9]);
    let source = AlphaVantage::new(alpha(&sim)).unwrap();
    fault(&sim, &[(FaultName::NotAuthorizedOk, 1.0)]);
    for _ in 0..2 {
        let paid = fetch(&source, &ask).await.unwrap_err();
        assert!(matches!(paid, SourceError::NotEntitled { .. }), "{paid}");
        assert_eq!(source.stats().calls, 1);
    }
    let source = AlphaVantage::new(alpha(&sim)).unwrap();
    fault(&sim, &[(FaultName::KeyRevoked, 1.0)]);
    let key = fetch(&source, &ask).await.unwrap_err();
    assert!(
        matches!(key, SourceError::Key { .. }) && key.to_string().contains("ALPHA_VANTAGE_API_KEY"),
        "{key}"
    );
    assert!(!format!("{key:?}{key}").contains("the-key"));
    fault(&sim, &[]);
    let nobody = Symbol::new("NOSUCH").unwrap();
    let source = AlphaVantage::new(alpha(&sim)).unwrap();
    let empty = fetch(&source, &range(&nobody, Timeframe::Day, days[0], days[9])).await.unwrap();
    assert_eq!(empty.block.count_bars(), 0);
    let without = AlphaVantage::new(AlphaVantageConfig { key: None, ..alpha(&sim) }).unwrap();
    assert!(matches!(fetch(&without, &ask).await, Err(SourceError::Key { .. })));
    sim.stop().await.unwrap();
}

/// Row 58: a 429 in plain text; the provider is left alone at once and for long.
#[tokio::test]
async fn plain_text_429_leaves_yahoo_alone() {
    let sim = simulator(5, 10).await;
    let days = sessions(10);
    let symbol = sim.symbols().next().unwrap().clone();
    let ask = range(&symbol, Timeframe::Day, days[0], days[9]);
    let source = Yahoo::new(yahoo(&sim)).unwrap();
    fault(&sim, &[(FaultName::TooMany, 1.0)]);
    for _ in 0..2 {
        let refused = fetch(&source, &ask).await.unwrap_err();
        let SourceError::Suspended { retry_after, message, .. } = &refused else { panic!("{refused}") };
        assert!(
            *retry_after > Duration::from_secs(850) && message.contains("Edge: Too Many Requests"),
            "{refused}"
        );
        assert_eq!(source.stats().calls, 1);
    }
    // without a browser's name nothing is answered at all
    fault(&sim, &[]);
    let mut bare = yahoo(&sim);
    bare.calls.user_agent = "panscan".to_owned();
    assert!(matches!(fetch(&Yahoo::new(bare).unwrap(), &ask).await, Err(SourceError::Suspended { .. })));
    sim.stop().await.unwrap();
}

/// Rows 57, 59 and 63: holes go by row, no stamps is empty, a day is its session whatever its stamp.
#[tokio::test]
async fn yahoo_charts_with_odd_shapes() {
    let sim = simulator(30, 40).await;
    let days = sessions(40);
    let source = Yahoo::new(yahoo(&sim)).unwrap();
    let mut holes = 0;
    for symbol in sim.symbols() {
        let real = truth(&sim, symbol, Timeframe::Day).await;
        // five minutes after the close
        let last = fetch(&source, &range(symbol, Timeframe::Day, days[39], days[39])).await.unwrap();
        let newest = i64::from(days[39].days());
        assert_eq!(bars(&last).contains_key(&newest), real.contains_key(&newest), "{symbol}");
        // at the open, with a null where there was no trade
        let all = fetch(&source, &range(symbol, Timeframe::Day, days[0], days[39])).await.unwrap();
        assert_eq!(bars(&all).keys().collect::<Vec<_>>(), real.keys().collect::<Vec<_>>(), "{symbol}");
        assert!(all.quarantined.is_empty());
        holes += 40 - real.len();
    }
    assert!(holes > 0, "the market has gaps");
    let symbol = sim.symbols().next().unwrap().clone();
    let before = "2000-01-03".parse().unwrap();
    fault(&sim, &[(FaultName::EmptyPage, 1.0)]);
    let empty = fetch(&source, &range(&symbol, Timeframe::Day, before, before)).await.unwrap();
    assert_eq!((empty.block.count_bars(), empty.block.rows().len()), (0, 1));
    fault(&sim, &[]);
    let nobody =
        fetch(&source, &range(&Symbol::new("NOSUCH").unwrap(), Timeframe::Day, days[0], days[9])).await;
    assert_eq!(nobody.unwrap().block.count_bars(), 0);
    // while a session runs, its bar is not one
    sim.set_now("2025-12-31T17:00:00Z".parse().unwrap());
    let running = fetch(&source, &range(&symbol, Timeframe::Day, days[30], days[39])).await.unwrap();
    assert!(!bars(&running).contains_key(&i64::from(days[39].days())));
    sim.stop().await.unwrap();
}

/// What is damaged on the way is asked for again, and comes back whole.
#[tokio::test]
async fn faults_are_survived() {
    let sim = simulator(10, 30).await;
    let days = sessions(30);
    let ask = |symbol: &Symbol| range(symbol, Timeframe::Day, days[0], days[29]);
    for name in [
        FaultName::ServerError,
        FaultName::BadGatewayHtml,
        FaultName::HtmlOk,
        FaultName::BadJson,
        FaultName::Truncate,
        FaultName::DropSocket,
        FaultName::BadGzip,
        FaultName::TooManyEmpty,
    ] {
        for source in everybody(&sim).into_iter().skip(1) {
            // Yahoo goes away at the first 429.
            if name == FaultName::TooManyEmpty && &*source.name() == "yahoo" {
                continue;
            }
            let symbol = sim.symbols().nth(3).unwrap().clone();
            fault(&sim, &[(name, 0.4)]);
            let mut fetched = fetch(&*source, &ask(&symbol)).await;
            for _ in 0..10 {
                if fetched.is_ok() {
                    break;
                }
                fetched = fetch(&*source, &ask(&symbol)).await;
            }
            let fetched = fetched.unwrap_or_else(|error| panic!("{} with {name}: {error}", source.name()));
            fault(&sim, &[]);
            let real = truth(&sim, &symbol, Timeframe::Day).await;
            assert_eq!(bars(&fetched).keys().collect::<Vec<_>>(), real.keys().collect::<Vec<_>>(), "{name}");
        }
    }
    sim.stop().await.unwrap();
}

/// What a provider has not is said as such, without a call.
#[tokio::test]
async fn what_is_not_offered_is_not_asked_for() {
    let sim = simulator(5, 5).await;
    let day = panscan_core::port::BarAsk::Day("2025-12-31".parse().unwrap());
    for source in everybody(&sim).into_iter().skip(1) {
        let offers = source.offers();
        assert!(!offers.market_days && offers.files_from.is_none() && offers.bars_per_call > 0);
        assert!(
            matches!(fetch(&*source, &day).await, Err(SourceError::NotOffered { .. })),
            "{}",
            source.name()
        );
        assert!(matches!(source.listings().await, Err(SourceError::NotOffered { .. })));
        assert!(matches!(source.status().await, Err(SourceError::NotOffered { .. })));
        assert_eq!(source.stats().calls, 0);
    }
    assert_eq!(sim.audit().total, 0);
    sim.stop().await.unwrap();
}
