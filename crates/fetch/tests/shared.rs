//! Two servers on one key: whatever happens to Redis between them, the provider never counts more calls in a
//! window than it allows, and calls go on.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod redis_scripts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use panscan_core::port::{BarAsk, BarSource, Clock, Errand};
use panscan_core::time::{SessionDate, Timestamp};
use panscan_fetch::{Polygon, PolygonConfig, Secret, SharedLimit};
use panscan_sim::{FaultName, MarketSource, Rate, SimConfig, Simulator};
use panscan_testkit::redis::RedisServer;
use redis_scripts::scripts;

const KEY: &str = "a-key-that-nobody-shows";
/// Longest wait for progress on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "this is the clock of the test")]
    fn now(&self) -> Timestamp {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_nanos(i64::try_from(now.as_nanos()).unwrap())
    }
}

fn session() -> SessionDate {
    "2025-12-31".parse().unwrap()
}

async fn simulator(rate: &str) -> Simulator {
    Simulator::start(SimConfig {
        market: MarketSource::Generated { symbols: 10, sessions: 3, seed: 7, end: session() },
        rate: Some(rate.parse::<Rate>().unwrap()),
        ..SimConfig::default()
    })
    .await
    .unwrap()
}

/// One of two servers.
fn server(sim: &Simulator, rate: &str, redis: &str, peers: u32) -> Arc<Polygon> {
    let quota = rate.parse().unwrap();
    let mut config = PolygonConfig::new(sim.url(), Some(Secret::new(KEY)), quota, Arc::new(System));
    config.calls.retry_factor = Duration::from_millis(5);
    config.calls.read_timeout = Duration::from_millis(500);
    config.calls.total_timeout = Duration::from_secs(4);
    config.calls.shared = Some(SharedLimit {
        scripts: scripts(redis),
        prefix: "test".to_owned(),
        timeout: Duration::from_millis(100),
        peers,
    });
    Arc::new(Polygon::new(config).unwrap())
}

/// Keeps a server busy with many callers until it is told to end.
struct Load {
    on: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn on(server: &Arc<Polygon>) -> Self {
        let (on, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let task = |caller: u64| {
            let (on, calls, server) = (on.clone(), calls.clone(), server.clone());
            tokio::spawn(async move {
                while on.load(Ordering::Relaxed) {
                    let ask = BarAsk::Day(session());
                    if server.fetch(&ask, Errand::interactive(caller)).await.is_ok() {
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let tasks = (0..12).map(task).collect();
        Self { on, calls, tasks }
    }

    /// Waits for so many answers from now on.
    async fn progress(&self, answers: u64, when: &str) {
        let (goal, began) = (self.calls.load(Ordering::Relaxed) + answers, Instant::now());
        while self.calls.load(Ordering::Relaxed) < goal {
            assert!(began.elapsed() < PATIENCE, "no progress {when}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) {
        self.on.store(false, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_keep_to_one_limit_whatever_happens_to_redis() {
    const RATE: &str = "30/600ms";
    let sim = simulator(RATE).await;
    let mut redis = RedisServer::start();
    let servers = [server(&sim, RATE, &redis.url(), 2), server(&sim, RATE, &redis.url(), 2)];
    let load = [Load::on(&servers[0]), Load::on(&servers[1])];
    let both = async |answers: u64, when: &str| {
        load[0].progress(answers, when).await;
        load[1].progress(answers, when).await;
        assert_eq!(sim.audit().violations, 0, "{when}");
    };
    both(20, "together").await;
    let keys = redis.command("KEYS *");
    assert!(keys.contains("test:limit:polygon:") && !keys.contains(KEY), "{keys}");
    redis.kill();
    both(20, "with Redis gone").await;
    redis.restart();
    both(20, "with Redis back and empty").await;
    redis.freeze();
    both(20, "with Redis frozen").await;
    redis.thaw();
    both(20, "with Redis going on").await;
    // gone and back before anybody is on its own
    redis.restart();
    both(20, "with Redis emptied at once").await;
    let _ = redis.command("SCRIPT FLUSH");
    both(20, "with the script forgotten").await;
    sim.set_faults(&[(FaultName::Mixed, 0.3)]).unwrap();
    both(20, "with faults").await;
    for load in load {
        load.end().await;
    }
    let audit = sim.stop().await.unwrap();
    assert_eq!(audit.violations, 0);
    assert!(audit.peak_in_window <= 30, "{}", audit.peak_in_window);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_does_not_use_the_other_may() {
    const RATE: &str = "20/s";
    let sim = simulator(RATE).await;
    let redis = RedisServer::start();
    let (busy, idle) = (server(&sim, RATE, &redis.url(), 2), server(&sim, RATE, &redis.url(), 2));
    assert!(idle.fetch(&BarAsk::Day(session()), Errand::background()).await.is_ok());
    let load = Load::on(&busy);
    load.progress(20, "together").await;
    sim.reset_audit();
    load.progress(60, "with the other one idle").await;
    let peak = sim.audit().peak_in_window;
    assert!(peak > 10, "{peak}: no more than its share");
    load.end().await;
    assert_eq!(sim.stop().await.unwrap().violations, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_alone_keeps_to_its_share_and_a_single_one_uses_all() {
    let nobody = "redis://user:hidden-password@127.0.0.1:1/0";
    for (peers, most) in [(1, 20), (4, 5), (50, 1)] {
        let sim = simulator("20/300ms").await;
        let server = server(&sim, "20/300ms", nobody, peers);
        let load = Load::on(&server);
        load.progress(if peers == 50 { 1 } else { 20 }, "alone").await;
        load.on.store(false, Ordering::Relaxed);
        let audit = sim.audit();
        assert_eq!(audit.violations, 0);
        assert!(audit.peak_in_window <= most, "{peers} peers: {}", audit.peak_in_window);
        for task in load.tasks {
            task.abort();
        }
    }
}

#[test]
fn an_address_that_cannot_be_read_is_refused_without_its_password() {
    let address = panscan_cache::RedisAddress::new("http://user:hidden-password@somewhere");
    let error = panscan_cache::RedisScripts::open(&address).unwrap_err().to_string();
    assert!(error.contains("redis address") && !error.contains("hidden-password"), "{error}");
}
