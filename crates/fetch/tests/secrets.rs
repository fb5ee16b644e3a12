//! The key and the password of Redis are in no log, error, debug text or file, at the most talkative level and with
//! every fault.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod redis_scripts;

use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use panscan_core::port::{BarAsk, BarSource, Clock, Errand};
use panscan_core::time::Timestamp;
use panscan_fetch::{Polygon, PolygonConfig, Secret, SharedLimit};
use panscan_sim::{FaultName, MarketSource, SimConfig, Simulator};
use panscan_testkit::redis::RedisServer;
use redis_scripts::scripts;
use tracing_subscriber::fmt::MakeWriter;

const KEY: &str = "Zq7-key-that-nobody-shows";
const PASSWORD: &str = "Xk9-password-that-nobody-shows";

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        "2025-12-31T23:00:00Z".parse().unwrap()
    }
}

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn keys_are_shown_nowhere() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(log.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let redis = RedisServer::with(&["--requirepass", PASSWORD]);
    let folder = tempfile::tempdir().unwrap();
    let end = "2025-12-31".parse().unwrap();
    let market = MarketSource::Generated { symbols: 5, sessions: 3, seed: 7, end };
    let sim = Simulator::start(SimConfig { market, ..SimConfig::default() }).await.unwrap();

    let mut shown = String::new();
    let passwords = [PASSWORD, "another"];
    for (n, password) in passwords.into_iter().enumerate() {
        for fault in FaultName::ALL {
            let url = match n {
                0 => sim.url(),
                _ => format!("{}/{KEY}", sim.url()),
            };
            let quota = "1000/s".parse().unwrap();
            let mut config = PolygonConfig::new(url, Some(Secret::new(KEY)), quota, Arc::new(Fixed));
            config.calls.retry_factor = Duration::from_millis(1);
            config.calls.max_retries = 1;
            config.calls.read_timeout = Duration::from_millis(100);
            // One each: the one before may still be asking Redis.
            let ledger = folder.path().join(format!("{n}-{fault:?}"));
            std::fs::create_dir(&ledger).unwrap();
            config.calls.ledger = Some(ledger);
            config.calls.shared = Some(SharedLimit {
                scripts: scripts(&format!("redis://:{password}@{}/0", redis.addr())),
                prefix: "test".to_owned(),
                timeout: Duration::from_millis(200),
                peers: 1,
            });
            if n == 0 {
                write!(shown, "{config:?}").unwrap();
            }
            let polygon = Polygon::new(config).unwrap();
            sim.set_faults(&[(*fault, 0.5)]).unwrap();
            let ask = BarAsk::Day(end);
            let fetch = polygon.fetch(&ask, Errand::interactive(0));
            if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(3), fetch).await {
                write!(shown, "{error} {error:?}").unwrap();
            }
            if n > 0 {
                break;
            }
        }
    }
    let ledgers = std::fs::read_dir(folder.path()).unwrap();
    for file in ledgers.flat_map(|ledger| std::fs::read_dir(ledger.unwrap().path()).unwrap()) {
        let path = file.unwrap().path();
        shown.push_str(&path.display().to_string());
        shown.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
    }
    shown.push_str(&String::from_utf8_lossy(&log.0.lock().unwrap()));
    assert!(shown.contains("panscan.fetch") && shown.len() > 1_000, "the log is there: {}", shown.len());
    for secret in [KEY, PASSWORD] {
        let at = shown.find(secret).map(|at| &shown[at.saturating_sub(300)..at]);
        assert!(at.is_none(), "shown after: {at:?}");
    }
}
