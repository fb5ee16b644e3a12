//! The chain: who answers when the first does not, who is left alone, and where they disagree.

use std::sync::Arc;
use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::port::{BarAsk, BarSource, BreakerState, Errand, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;
use panscan_fetch::{Alpaca, Chain, ChainConfig, Polygon, Yahoo};
use panscan_sim::{FaultName, SimConfig, Simulator};

use crate::desk::{
    alpaca, bars, dialects, evening, everybody, fault, fetch, generated, iex, polygon, range, sessions,
    simulator, truth, yahoo,
};

fn state(chain: &Chain, provider: &str) -> BreakerState {
    chain.health().into_iter().find(|health| &*health.provider == provider).unwrap().state
}

#[tokio::test]
async fn the_first_that_offers_and_answers_is_the_one() {
    let sim = simulator(10, 20).await;
    let days = sessions(20);
    let chain = Chain::new(ChainConfig::new(everybody(&sim), evening())).unwrap();
    assert_eq!(&*chain.name(), "polygon,alpaca/sip,yahoo,alphavantage");
    assert!(chain.offers().market_days);
    let day = fetch(&chain, &BarAsk::Day(days[19])).await.unwrap();
    assert_eq!(&*day.block.provenance().provider, "polygon");
    assert_eq!(chain.listings().await.unwrap().len(), 10);
    assert_eq!(chain.status().await.unwrap().market.as_str(), sim.market_id());
    // the second of an order is asked where it is the first for that kind
    let sources = everybody(&sim);
    let mut config = ChainConfig::new(sources.clone(), evening());
    config.daily = vec![sources[1].clone(), sources[0].clone()];
    let chain = Chain::new(config).unwrap();
    let symbol = sim.symbols().next().unwrap().clone();
    let fetched = fetch(&chain, &range(&symbol, Timeframe::Day, days[0], days[19])).await.unwrap();
    assert_eq!(&*fetched.block.provenance().provider, "alpaca/sip");
    let day = fetch(&chain, &BarAsk::Day(days[19])).await.unwrap();
    assert_eq!(&*day.block.provenance().provider, "polygon", "what the first does not offer falls through");
    assert_eq!(state(&chain, "alpaca/sip"), BreakerState::Closed);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn a_provider_that_is_down_is_left_alone_and_tried_again() {
    let (down, sim) = (simulator(10, 20).await, simulator(10, 20).await);
    let days = sessions(20);
    let mut first = polygon(&down);
    first.calls.max_retries = 0;
    let mut config = ChainConfig::new(
        vec![Arc::new(Polygon::new(first).unwrap()), Arc::new(Alpaca::new(alpaca(&sim)).unwrap())],
        evening(),
    );
    config.failures = 3;
    config.pause = Duration::from_millis(300);
    let chain = Chain::new(config).unwrap();
    fault(&down, &[(FaultName::Unavailable, 1.0)]);
    let symbol = sim.symbols().nth(1).unwrap().clone();
    let ask = range(&symbol, Timeframe::Day, days[0], days[19]);
    for _ in 0..3 {
        let fetched = fetch(&chain, &ask).await.unwrap();
        assert_eq!(&*fetched.block.provenance().provider, "alpaca/sip");
        assert_eq!(bars(&fetched).len(), truth(&sim, &symbol, Timeframe::Day).await.len());
    }
    assert_eq!(down.audit().total, 3);
    let health = chain.health().remove(0);
    assert_eq!((health.state != BreakerState::Closed, health.failures), (true, 3));
    assert!(health.message.unwrap().contains("503"));
    // back again: one call tries it, and then it is the first as before
    fault(&down, &[]);
    let mut answered = String::new();
    for _ in 0..100 {
        answered = fetch(&chain, &ask).await.unwrap().block.provenance().provider.to_string();
        if answered == "polygon" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(answered, "polygon");
    assert_eq!(state(&chain, "polygon"), BreakerState::Closed);
    down.stop().await.unwrap();
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn a_refused_key_is_for_good_and_told_when_nobody_else_answers() {
    let keys = Some(vec!["the-id".to_owned()]);
    let strict =
        Simulator::start(SimConfig { keys, dialects: dialects(None), ..generated(5, 10) }).await.unwrap();
    let days = sessions(10);
    let symbol = strict.symbols().next().unwrap().clone();
    let ask = range(&symbol, Timeframe::Day, days[0], days[9]);
    let sources: Vec<Arc<dyn BarSource>> = vec![
        Arc::new(Polygon::new(polygon(&strict)).unwrap()),
        Arc::new(Alpaca::new(alpaca(&strict)).unwrap()),
    ];
    let chain = Chain::new(ChainConfig::new(sources, evening())).unwrap();
    for _ in 0..3 {
        assert_eq!(&*fetch(&chain, &ask).await.unwrap().block.provenance().provider, "alpaca/sip");
    }
    let health = chain.health().remove(0);
    assert_eq!((health.state, health.stats.calls), (BreakerState::Open, 1));
    assert!(health.until.unwrap() > "2100-01-01T00:00:00Z".parse().unwrap());
    // the market of a day is not for the other to answer
    assert!(!chain.offers().market_days);
    let error = fetch(&chain, &BarAsk::Day(days[9])).await.unwrap_err();
    assert!(matches!(&error, SourceError::Suspended { provider, .. } if &**provider == "polygon"), "{error}");
    assert!(chain.reset("polygon") && !chain.reset("nobody"));
    let error = fetch(&chain, &BarAsk::Day(days[9])).await.unwrap_err();
    assert!(matches!(error, SourceError::Key { .. }), "{error}");
    strict.stop().await.unwrap();
}

#[tokio::test]
async fn disagreements_are_reported_and_never_averaged() {
    let sim = simulator(10, 20).await;
    let days = sessions(20);
    let symbol = sim.symbols().nth(2).unwrap().clone();
    let one = Arc::new(Alpaca::new(alpaca(&sim)).unwrap());
    let sources: Vec<Arc<dyn BarSource>> =
        vec![one.clone(), Arc::new(iex(&sim)), Arc::new(Yahoo::new(yahoo(&sim)).unwrap())];
    let mut config = ChainConfig::new(sources, evening());
    config.compare = true;
    let chain = Chain::new(config).unwrap();
    let seen = chain.compare(&symbol, days[0], days[19], Errand::interactive(0)).await.unwrap();
    assert_eq!((&*seen.first, &*seen.second), ("alpaca/sip", "alpaca/iex"));
    let volumes = seen.disagreements.iter().filter(|d| d.field == Field::Volume).count();
    assert_eq!(volumes, seen.bars);
    assert!(seen.disagreements.iter().all(|d| d.symbol == symbol && d.first.to_bits() != d.second.to_bits()));
    // while fetching: the answer is the first provider's own, the difference is remembered beside it
    let ask = range(&symbol, Timeframe::Day, days[0], days[9]);
    let fetched = fetch(&chain, &ask).await.unwrap();
    let bits = |fetched| bars(fetched).into_values().map(|bar| bar.map(f64::to_bits)).collect::<Vec<_>>();
    assert_eq!(bits(&fetched), bits(&fetch(&*one, &ask).await.unwrap()));
    let mut told = Vec::new();
    for _ in 0..200 {
        told = chain.disagreements();
        if told.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(told.len(), 2);
    assert!(told[1].bars <= 10);
    // those who agree are no news
    let sources: Vec<Arc<dyn BarSource>> = vec![one, Arc::new(Yahoo::new(yahoo(&sim)).unwrap())];
    let chain = Chain::new(ChainConfig::new(sources, evening())).unwrap();
    let seen = chain.compare(&symbol, days[0], days[19], Errand::interactive(0)).await.unwrap();
    assert!(seen.bars > 0 && seen.disagreements.is_empty(), "{:?}", seen.disagreements.first());
    assert!(chain.disagreements().is_empty());
    let alone = Chain::new(ChainConfig::new(vec![Arc::new(iex(&sim))], evening())).unwrap();
    let nobody = Symbol::new("NOSUCH").unwrap();
    assert!(alone.compare(&nobody, days[0], days[1], Errand::interactive(0)).await.is_err());
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn lists_are_checked_when_the_chain_is_put_together() {
    let sim = simulator(5, 5).await;
    assert!(Chain::new(ChainConfig::new(Vec::new(), evening())).is_err());
    let twice: Vec<Arc<dyn BarSource>> =
        vec![Arc::new(Yahoo::new(yahoo(&sim)).unwrap()), Arc::new(Yahoo::new(yahoo(&sim)).unwrap())];
    let error = Chain::new(ChainConfig::new(twice, evening())).err().unwrap();
    assert!(error.to_string().contains("yahoo twice"), "{error}");
    sim.stop().await.unwrap();
}
