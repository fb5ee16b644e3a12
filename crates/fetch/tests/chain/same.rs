//! The same symbols and sessions from all four are the same bars.

use panscan_core::bar::Field;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;
use panscan_fetch::{Alpaca, Tolerance, compare_blocks};

use crate::desk::{Bars, alpaca, bars, everybody, fetch, iex, range, sessions, simulator, truth};

/// Compares with the truth: to the bit, or within what an f32 can hold.
fn check(provider: &str, symbol: &Symbol, seen: &Bars, real: &Bars) -> usize {
    let keys = |bars: &Bars| bars.keys().copied().collect::<Vec<_>>();
    assert_eq!(keys(seen), keys(real), "{provider} {symbol}");
    let mut compared = 0;
    for (key, bar) in seen {
        let truth = &real[key];
        for field in Field::ALL {
            let (got, real) = (bar[field.index()], truth[field.index()]);
            let what = format!("{provider} {symbol} {key} {}: {got} for {real}", field.name());
            match (provider, field) {
                ("polygon", _) => {
                    assert!(got.to_bits() == real.to_bits() || (got.is_nan() && real.is_nan()), "{what}")
                }
                // Nobody but Polygon tells fractions of a share.
                ("yahoo", Field::Volume) => assert!((got - real).abs() <= 1.0, "{what}"),
                (_, Field::Volume) => assert_eq!(got.to_bits(), real.floor().to_bits(), "{what}"),
                ("yahoo" | "alphavantage", Field::Vwap | Field::Trades) => assert!(got.is_nan(), "{what}"),
                // Half a unit in the last of 24 bits.
                ("yahoo", _) => assert!((got - real).abs() <= real * 6.0e-8, "{what}"),
                _ => assert!(got.to_bits() == real.to_bits() || (got.is_nan() && real.is_nan()), "{what}"),
            }
            compared += 1;
        }
    }
    compared
}

#[tokio::test]
async fn days_are_the_same_bars_from_all_four() {
    let sim = simulator(60, 250).await;
    let days = sessions(250);
    let (from, to) = (days[3], days[240]);
    let inside = i64::from(from.days())..=i64::from(to.days());
    let mut compared = 0;
    // one symbol in five, and every one that was split, because there raw and adjusted differ
    let split: Vec<Symbol> = {
        let polygon = everybody(&sim).remove(0);
        polygon.splits(days[0]).await.unwrap().into_iter().map(|split| split.symbol).collect()
    };
    assert!(!split.is_empty(), "the market has splits");
    for (at, symbol) in sim.symbols().enumerate() {
        if at % 5 != 0 && !split.contains(symbol) {
            continue;
        }
        let mut real = truth(&sim, symbol, Timeframe::Day).await;
        real.retain(|key, _| inside.contains(key));
        for source in everybody(&sim) {
            let fetched = fetch(&*source, &range(symbol, Timeframe::Day, from, to)).await.unwrap();
            assert!(fetched.quarantined.is_empty(), "{} {symbol}: {:?}", source.name(), fetched.quarantined);
            assert_eq!(fetched.block.provenance().provider, source.name());
            let name = source.name();
            let name = name.split('/').next().unwrap();
            compared += check(name, symbol, &bars(&fetched), &real);
        }
    }
    assert!(compared > 50_000, "{compared}");
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn minutes_are_the_same_bars_from_all_four() {
    let sim = simulator(8, 12).await;
    let days = sessions(12);
    let (from, to) = (days[1], days[10]);
    let symbol = sim.symbols().nth(2).unwrap().clone();
    let real = truth(&sim, &symbol, Timeframe::Minutes(1)).await;
    for timeframe in [Timeframe::Minutes(1), Timeframe::Minutes(5)] {
        let mut answers = Vec::new();
        for source in everybody(&sim) {
            let fetched = fetch(&*source, &range(&symbol, timeframe, from, to)).await.unwrap();
            assert!(fetched.quarantined.is_empty(), "{} {:?}", source.name(), fetched.quarantined.first());
            answers.push(fetched);
        }
        let first = &answers[0];
        assert!(first.block.count_bars() > 500);
        for other in &answers[1..] {
            let seen =
                compare_blocks(&first.block, &other.block, Tolerance { shares: 5.0, ..Tolerance::default() });
            assert_eq!(seen.bars, first.block.count_bars());
            let differs = seen.disagreements.iter().find(|d| d.field.is_price() && d.field != Field::Vwap);
            assert_eq!(differs, None, "{timeframe}");
        }
        if timeframe == Timeframe::Minutes(1) {
            let polygon = bars(first);
            assert!(polygon.iter().all(|(key, bar)| bar[3].to_bits() == real[key][3].to_bits()));
        }
    }
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn many_symbols_are_few_calls_and_the_same_bars() {
    let sim = simulator(40, 120).await;
    let days = sessions(120);
    let source = Alpaca::new(alpaca(&sim)).unwrap();
    let mut symbols: Vec<Symbol> = sim.symbols().cloned().collect();
    symbols.push(Symbol::new("NOSUCH").unwrap());
    let errand = panscan_core::port::Errand::interactive(0);
    let many = source.fetch_many(&symbols, Timeframe::Day, days[0], days[119], errand).await.unwrap();
    let calls: u32 = many.iter().map(|fetched| fetched.calls).sum();
    assert_eq!((many.len(), calls), (41, 1), "4,800 rows fit one page of 10,000");
    for (symbol, fetched) in symbols.iter().zip(&many).take(40) {
        assert_eq!(fetched.block.symbols()[0], *symbol);
        check("alpaca", symbol, &bars(fetched), &truth(&sim, symbol, Timeframe::Day).await);
    }
    assert_eq!(many[40].block.count_bars(), 0);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn one_exchange_is_marked_and_differs_in_volume_alone() {
    let sim = simulator(20, 20).await;
    let days = sessions(20);
    let symbol = sim.symbols().nth(4).unwrap().clone();
    let ask = range(&symbol, Timeframe::Day, days[0], days[19]);
    let whole = fetch(&Alpaca::new(alpaca(&sim)).unwrap(), &ask).await.unwrap();
    let part = fetch(&iex(&sim), &ask).await.unwrap();
    assert_eq!(&*whole.block.provenance().provider, "alpaca/sip");
    assert_eq!(&*part.block.provenance().provider, "alpaca/iex");
    let seen = compare_blocks(&whole.block, &part.block, Tolerance::default());
    assert!(seen.disagreements.iter().any(|d| d.field == Field::Volume && d.second < d.first * 0.05));
    assert!(
        seen.disagreements.iter().all(|d| matches!(d.field, Field::Volume | Field::Vwap | Field::Trades))
    );
    sim.stop().await.unwrap();
}
