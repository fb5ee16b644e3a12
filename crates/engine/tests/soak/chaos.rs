//! A provider behind a proxy, and what befalls them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::time::{SessionDate, Timestamp};
use panscan_sim::{FaultName, MarketSource, Rate, SimConfig, Simulator};
use panscan_testkit::proxy::{Proxy, Way};
use panscan_testkit::world::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Raw bars by session, as bits.
pub(crate) type Bars = BTreeMap<SessionDate, [u64; Field::COUNT]>;

/// Share of answers that are faulty while it lasts.
const FAULTS: f64 = 0.2;

pub(crate) struct Chaos {
    config: SimConfig,
    sim: Option<Simulator>,
    proxy: Proxy,
    truth: BTreeMap<String, Bars>,
    random: Random,
    events: u64,
    violations: u64,
    ledgers: tempfile::TempDir,
}

impl Chaos {
    pub(crate) async fn start(symbols: usize, sessions: usize, rate: u32) -> Self {
        let MarketSource::Generated { seed, end, .. } = MarketSource::default() else { unreachable!() };
        let config = SimConfig {
            market: MarketSource::Generated { symbols, sessions, seed, end },
            rate: Some(format!("{rate}/s").parse::<Rate>().unwrap()),
            faults: vec![(FaultName::Mixed, FAULTS)],
            ..SimConfig::default()
        };
        let sim = Simulator::start(config.clone()).await.unwrap();
        // Its tasks are all there once it has answered: what a life leaves behind is told from them by number.
        let mut stream = TcpStream::connect(sim.addr()).await.unwrap();
        stream
            .write_all(b"GET /_sim/faults HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        drop(stream);
        let bits =
            |(session, values): (SessionDate, [f64; Field::COUNT])| (session, values.map(f64::to_bits));
        let truth = sim
            .symbols()
            .map(|symbol| {
                let bars = sim.truth(symbol.as_str()).into_iter().map(bits).collect();
                (symbol.as_str().to_owned(), bars)
            })
            .collect();
        let proxy = Proxy::start(sim.addr()).await;
        Self {
            config,
            sim: Some(sim),
            proxy,
            truth,
            random: Random::new(1, 0),
            events: 0,
            violations: 0,
            ledgers: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.proxy.addr())
    }

    /// Where an engine of this number writes its calls down, life after life.
    pub(crate) fn ledger(&self, number: usize) -> PathBuf {
        self.ledgers.path().join(number.to_string())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.sim.as_ref().unwrap().now()
    }

    pub(crate) fn truth(&self) -> &BTreeMap<String, Bars> {
        &self.truth
    }

    pub(crate) fn begin(&mut self, life: u64) {
        self.random = Random::new(1, life);
        self.events = 0;
    }

    /// Lets one thing happen and answers the next task that ended; `None` after the last one.
    pub(crate) async fn drive(&mut self, tasks: &mut JoinSet<u64>) -> Option<u64> {
        loop {
            let pause = Duration::from_millis(30 + self.random.below(300) as u64);
            match tokio::time::timeout(pause, tasks.join_next()).await {
                Ok(ended) => return ended.map(|ended| ended.unwrap()),
                Err(_) => self.strike().await,
            }
        }
    }

    async fn strike(&mut self) {
        self.events += 1;
        match self.random.below(10) {
            0..=4 => self.proxy.cut(),
            5 | 6 => self.hold(Way::Silent, 400).await,
            7 => self.hold(Way::Closed, 300).await,
            _ => self.kill().await,
        }
    }

    async fn hold(&mut self, way: Way, longest_ms: usize) {
        self.proxy.set(way);
        tokio::time::sleep(Duration::from_millis(self.random.below(longest_ms) as u64)).await;
        self.proxy.set(Way::Open);
    }

    /// The provider dies and comes back a little later, on another port behind the same address. What it knew of
    /// the limit is gone with it, so its audit is taken first.
    async fn kill(&mut self) {
        if let Some(sim) = self.sim.take() {
            self.violations += sim.audit().violations;
            drop(sim);
        }
        self.proxy.cut();
        tokio::time::sleep(Duration::from_millis(self.random.below(500) as u64)).await;
        let sim = Simulator::start(self.config.clone()).await.unwrap();
        self.proxy.retarget(sim.addr());
        self.sim = Some(sim);
    }

    /// Calm again, with a provider that waits for nobody; answers how often something happened.
    pub(crate) async fn end(&mut self) -> u64 {
        self.proxy.set(Way::Open);
        self.kill().await;
        self.events
    }

    /// Ends the provider; answers the calls beyond the limit.
    pub(crate) async fn stop(self) -> u64 {
        let audit = self.sim.unwrap().stop().await.unwrap();
        self.violations + audit.violations
    }
}
