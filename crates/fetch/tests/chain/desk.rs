//! A simulator that speaks every dialect, and each provider set up against it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::calendar::Calendar;
use panscan_core::port::{BarAsk, BarSource, Clock, Errand, Fetched, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_fetch::{
    Alpaca, AlpacaConfig, AlpacaFeed, AlphaVantage, AlphaVantageConfig, Polygon, PolygonConfig, Secret,
    Yahoo, YahooConfig,
};
use panscan_sim::{Dialect, FaultName, MarketSource, Rate, SimConfig, Simulator};

/// The simulator's clock starts two hours earlier, at 20:00 in New York.
pub(crate) struct Fixed(pub(crate) &'static str);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0.parse().unwrap()
    }
}

pub(crate) fn evening() -> Arc<dyn Clock> {
    Arc::new(Fixed("2026-01-01T01:00:00Z"))
}

pub(crate) fn dialects(rate: Option<Rate>) -> Vec<(Dialect, Option<Rate>)> {
    Dialect::ALL.iter().map(|&dialect| (dialect, rate)).collect()
}

pub(crate) fn generated(symbols: usize, sessions: usize) -> SimConfig {
    let end = "2025-12-31".parse().unwrap();
    SimConfig {
        market: MarketSource::Generated { symbols, sessions, seed: 7, end },
        dialects: dialects(None),
        ..SimConfig::default()
    }
}

pub(crate) async fn simulator(symbols: usize, sessions: usize) -> Simulator {
    Simulator::start(generated(symbols, sessions)).await.unwrap()
}

pub(crate) fn polygon(sim: &Simulator) -> PolygonConfig {
    let mut config =
        PolygonConfig::new(sim.url(), Some(Secret::new("any")), "unlimited".parse().unwrap(), evening());
    config.calls.retry_factor = Duration::from_millis(5);
    config
}

pub(crate) fn alpaca(sim: &Simulator) -> AlpacaConfig {
    let key = Some((Secret::new("the-id"), Secret::new("the-secret")));
    let url = format!("{}/alpaca", sim.url());
    let mut config = AlpacaConfig::new(url, key, "unlimited".parse().unwrap(), evening());
    config.calls.retry_factor = Duration::from_millis(5);
    config
}

pub(crate) fn yahoo(sim: &Simulator) -> YahooConfig {
    let mut config =
        YahooConfig::new(format!("{}/yahoo", sim.url()), "unlimited".parse().unwrap(), evening());
    config.calls.retry_factor = Duration::from_millis(5);
    config
}

pub(crate) fn alpha(sim: &Simulator) -> AlphaVantageConfig {
    let url = format!("{}/alphavantage", sim.url());
    let key = Some(Secret::new("the-key"));
    let mut config = AlphaVantageConfig::new(url, key, "unlimited".parse().unwrap(), evening());
    config.calls.retry_factor = Duration::from_millis(5);
    config
}

/// All four, Polygon first.
pub(crate) fn everybody(sim: &Simulator) -> Vec<Arc<dyn BarSource>> {
    vec![
        Arc::new(Polygon::new(polygon(sim)).unwrap()),
        Arc::new(Alpaca::new(alpaca(sim)).unwrap()),
        Arc::new(Yahoo::new(yahoo(sim)).unwrap()),
        Arc::new(AlphaVantage::new(alpha(sim)).unwrap()),
    ]
}

pub(crate) fn iex(sim: &Simulator) -> Alpaca {
    Alpaca::new(AlpacaConfig { feed: AlpacaFeed::Iex, ..alpaca(sim) }).unwrap()
}

pub(crate) fn sessions(count: usize) -> Vec<SessionDate> {
    let calendar = Calendar::us_equities();
    let last: SessionDate = "2025-12-31".parse().unwrap();
    calendar.sessions(calendar.back(last, count - 1).unwrap(), last).to_vec()
}

pub(crate) fn range(symbol: &Symbol, timeframe: Timeframe, from: SessionDate, to: SessionDate) -> BarAsk {
    BarAsk::Range { symbol: symbol.clone(), timeframe, from, to }
}

pub(crate) async fn fetch(source: &dyn BarSource, ask: &BarAsk) -> Result<Fetched, SourceError> {
    source.fetch(ask, Errand::interactive(0)).await
}

pub(crate) type Bars = BTreeMap<i64, [f64; Field::COUNT]>;

/// The bars of a block of one symbol, by key.
pub(crate) fn bars(fetched: &Fetched) -> Bars {
    let rows = fetched.block.rows().iter().enumerate();
    rows.filter_map(|(at, key)| Some((key.0, *fetched.block.bar(0, at)?.values()))).collect()
}

/// A plain GET with nothing of the product in it.
pub(crate) async fn get(sim: &Simulator, target: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(sim.addr()).await.unwrap();
    let head = format!("GET {target} HTTP/1.0\r\nHost: {}\r\n\r\n", sim.addr());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// What `/_sim/truth` says of a symbol, over HTTP: bars by session or start.
pub(crate) async fn truth(sim: &Simulator, symbol: &Symbol, timeframe: Timeframe) -> Bars {
    let text = get(sim, &format!("/_sim/truth?symbol={symbol}&timeframe={timeframe}")).await;
    let calendar = Calendar::us_equities();
    let read = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let at = Timestamp::from_millis(row["t"].as_i64().unwrap());
        let key = match timeframe {
            Timeframe::Day => i64::from(calendar.session_of(at).days()),
            _ => at.as_millis(),
        };
        (key, ["o", "h", "l", "c", "v", "vw", "n"].map(|name| row[name].as_f64().unwrap_or(f64::NAN)))
    };
    text.lines().filter(|line| !line.is_empty()).map(read).collect()
}

pub(crate) fn fault(sim: &Simulator, faults: &[(FaultName, f64)]) {
    sim.set_faults(faults).unwrap();
}
