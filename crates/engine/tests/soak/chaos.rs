//! A provider and a Redis, each behind a proxy, and what befalls them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use panscan_cache::{RedisAddress, RedisConfig};
use panscan_core::bar::Field;
use panscan_core::time::{SessionDate, Timestamp};
use panscan_fetch::SharedLimit;
use panscan_sim::{FaultName, MarketSource, Rate, SimConfig, Simulator};
use panscan_testkit::proxy::{Proxy, Way};
use panscan_testkit::redis::RedisServer;
use panscan_testkit::world::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::scripts::Linked;

/// Raw bars by session, as bits.
pub(crate) type Bars = BTreeMap<SessionDate, [u64; Field::COUNT]>;

/// Share of answers that are faulty while it lasts.
const FAULTS: f64 = 0.2;

/// How often something happened, and to whom.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Struck {
    pub(crate) provider: u64,
    pub(crate) redis: u64,
}

pub(crate) struct Chaos {
    config: SimConfig,
    sim: Option<Simulator>,
    proxy: Proxy,
    redis: RedisServer,
    redis_proxy: Proxy,
    truth: BTreeMap<String, Bars>,
    random: Random,
    life: u64,
    struck: Struck,
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
        let redis = tokio::task::block_in_place(RedisServer::start);
        let redis_proxy = Proxy::start(redis.addr()).await;
        Self {
            config,
            sim: Some(sim),
            proxy,
            redis,
            redis_proxy,
            truth,
            random: Random::new(1, 0),
            life: 0,
            struck: Struck::default(),
            violations: 0,
            ledgers: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.proxy.addr())
    }

    /// The limit that the engines share through Redis.
    pub(crate) fn shared(&self) -> SharedLimit {
        SharedLimit {
            scripts: Arc::new(Linked::open(&self.redis_url())),
            prefix: "soak".to_owned(),
            timeout: Duration::from_millis(100),
            peers: 2,
        }
    }

    /// The tier of blocks in Redis, which knows nothing of the lives before.
    pub(crate) fn tier(&self) -> RedisConfig {
        RedisConfig {
            prefix: format!("soak-{}", self.life),
            ..RedisConfig::new(RedisAddress::new(&self.redis_url()))
        }
    }

    fn redis_url(&self) -> String {
        format!("redis://{}/0", self.redis_proxy.addr())
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
        self.life = life;
        self.struck = Struck::default();
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
        match self.random.below(18) {
            0..=4 => self.proxy.cut(),
            5 | 6 => self.hold(Way::Silent, 400).await,
            7 => self.hold(Way::Closed, 300).await,
            8..=10 => self.kill().await,
            11..=13 => self.proxy.cut(),
            _ => return self.strike_redis().await,
        }
        self.struck.provider += 1;
    }

    /// Redis loses its connections, falls silent, hangs, forgets everything, or dies, for longer than it is waited
    /// for as well as for less.
    async fn strike_redis(&mut self) {
        self.struck.redis += 1;
        match self.random.below(8) {
            0 | 1 => self.redis_proxy.cut(),
            2 => {
                self.redis_proxy.set(Way::Silent);
                self.pause(3_000).await;
                self.redis_proxy.set(Way::Open);
            }
            3 => {
                tokio::task::block_in_place(|| self.redis.freeze());
                self.pause(3_000).await;
                tokio::task::block_in_place(|| self.redis.thaw());
            }
            4 | 5 => drop(tokio::task::block_in_place(|| self.redis.command("FLUSHALL"))),
            6 => tokio::task::block_in_place(|| self.redis.restart()),
            _ => {
                self.redis.kill();
                self.pause(5_000).await;
                tokio::task::block_in_place(|| self.redis.restart());
            }
        }
    }

    async fn pause(&mut self, longest_ms: usize) {
        tokio::time::sleep(Duration::from_millis(self.random.below(longest_ms) as u64)).await;
    }

    async fn hold(&mut self, way: Way, longest_ms: usize) {
        self.proxy.set(way);
        self.pause(longest_ms).await;
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
        self.pause(500).await;
        let sim = Simulator::start(self.config.clone()).await.unwrap();
        self.proxy.retarget(sim.addr());
        self.sim = Some(sim);
    }

    /// Calm again, with a provider that waits for nobody; answers how often something happened.
    pub(crate) async fn end(&mut self) -> Struck {
        self.proxy.set(Way::Open);
        self.kill().await;
        self.struck
    }

    /// Ends the provider; answers the calls beyond the limit.
    pub(crate) async fn stop(self) -> u64 {
        let audit = self.sim.unwrap().stop().await.unwrap();
        self.violations + audit.violations
    }
}
