//! An engine that fills its store from the simulator and is killed; after some damage another one goes on. It must ask for
//! what is not held or damaged and for nothing else, and every bar must be the simulator's to the bit.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use panscan_cache::{Tiers, TiersConfig, verify};
use panscan_core::bar::Field;
use panscan_core::port::Errand;
use panscan_core::scan::{Adjustment, DataPolicy, ScanSpec};
use panscan_core::time::Timestamp;
use panscan_cpu::CpuBackend;
use panscan_engine::{BarsRequest, Engine, EngineConfig, Parts, Pin, ScanRequest};
use panscan_fetch::{Polygon, PolygonConfig, Secret};
use panscan_sim::{MarketSource, SimConfig, Simulator};
use panscan_testkit::clock::FixedClock;

use crate::Counts;
use crate::damage::{self, Kind};
use crate::parent::{killed, spawn};
use crate::writer::MARK;

const SYMBOLS: usize = 45;
const SESSIONS: usize = 30;

/// The simulator, twice: one for those that are killed, whose last calls it may count late, one for those that go on.
pub(crate) struct Market {
    killed: Simulator,
    sim: Simulator,
}

impl Market {
    /// Starts it.
    pub(crate) async fn start() -> Self {
        let MarketSource::Generated { seed, end, .. } = MarketSource::default() else { unreachable!() };
        let market = MarketSource::Generated { symbols: SYMBOLS, sessions: SESSIONS, seed, end };
        let config = SimConfig { market, ..SimConfig::default() };
        let killed = Simulator::start(config.clone()).await.unwrap();
        Self { killed, sim: Simulator::start(config).await.unwrap() }
    }

    /// One kill while a store is filled, some damage, and another engine on the same store.
    pub(crate) async fn round(&self, random: &mut fastrand::Rng, counts: &mut Counts) {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        std::fs::write(dir.join(MARK), format!("{} {}", self.killed.url(), self.sim.now().as_nanos()))
            .unwrap();
        let mut child = spawn("market::filler", dir);
        counts.acknowledged += tokio::task::block_in_place(|| killed(&mut child, random, |_| {}));
        let days = |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("days"));
        let held = damage::files(dir).keys().filter(|path| days(path)).count();
        let hurt = damage::strike(dir, random, &Default::default(), days);
        let lost = hurt.iter().filter(|(path, kind)| days(path) && **kind != Kind::Older).count();
        if let Ok(report) = verify(dir, &mut |_, _| {}) {
            counts.missing += report.missing.len() as u64;
            let found = report.damaged.iter().filter(|file| days(&file.path)).count();
            counts.detected += found as u64;
            let removed = hurt.values().filter(|kind| **kind == Kind::Removed).count();
            assert!(found + removed >= lost, "{hurt:?}: {report:?}");
        }
        counts.hurt += hurt.len() as u64;

        let asked = self.days_asked();
        let engine = engine(&self.sim.url(), self.sim.now(), dir).await;
        assert!(complete(&engine).await, "the scan after the kill is complete");
        let again = self.days_asked() - asked;
        assert_eq!(
            again,
            (SESSIONS - held + lost) as u64,
            "{held} were held, {lost} of them damaged: {hurt:?}"
        );
        counts.again += again;
        counts.bars += self.compare(&engine).await;
        drop(engine);
        assert!(verify(dir, &mut |_, _| {}).unwrap().is_whole());
    }

    /// Calls for whole market days so far.
    fn days_asked(&self) -> u64 {
        let audit = self.sim.audit();
        audit
            .calls
            .iter()
            .filter(|(path, _)| path.starts_with("/v2/aggs/grouped"))
            .map(|(_, calls)| *calls)
            .sum()
    }

    async fn compare(&self, engine: &Engine) -> u64 {
        let mut bars = 0;
        for symbol in self.sim.symbols() {
            let request = BarsRequest {
                symbols: vec![symbol.as_str().to_owned()],
                from: None,
                to: None,
                last: 0,
                adjustment: Adjustment::Raw,
                pin: Pin::Newest,
                policy: DataPolicy::RequireComplete,
                errand: Errand::interactive(0),
                deadline: None,
            };
            let held = engine.bars(&request).await.unwrap().series.remove(0).bars;
            let truth = self.sim.truth(symbol.as_str());
            assert_eq!(held.sessions.len(), truth.len(), "{symbol}");
            for (row, (session, values)) in truth.iter().enumerate() {
                let ours = held.columns.each_ref().map(|column| column[row].to_bits());
                let bits: [u64; Field::COUNT] = values.map(f64::to_bits);
                assert_eq!((held.sessions[row], ours), (*session, bits), "{symbol}");
            }
            bars += truth.len() as u64;
        }
        bars
    }
}

async fn engine(url: &str, now: Timestamp, dir: &Path) -> Engine {
    let clock = Arc::new(FixedClock::new(now));
    let mut config =
        PolygonConfig::new(url, Some(Secret::new("key")), "unlimited".parse().unwrap(), clock.clone());
    config.calls.retry_factor = Duration::from_millis(5);
    let tiers = TiersConfig { dir: Some(dir.to_owned()), ..TiersConfig::default() };
    let parts = Parts {
        source: Arc::new(Polygon::new(config).unwrap()),
        store: Arc::new(Tiers::open(tiers).unwrap()),
        compute: Arc::new(CpuBackend::new(1).unwrap()),
        clock,
        attributes: Arc::from([]),
    };
    let config = EngineConfig { history_daily: SESSIONS, ..EngineConfig::default() };
    Engine::start(parts, config).await.unwrap()
}

async fn complete(engine: &Engine) -> bool {
    let columns = vec![format!("highest(high, {SESSIONS})")];
    let spec = ScanSpec { columns, limit: 100, ..ScanSpec::default() };
    let request = ScanRequest { spec, policy: DataPolicy::RequireComplete, ..ScanRequest::default() };
    engine.scan(&request).await.unwrap().complete
}

/// The process that is killed. It says how many sessions it has while it fills its store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the engine that the crash harness kills"]
async fn filler() {
    use std::io::Write as _;
    let dir = std::env::current_dir().unwrap();
    let Ok(mark) = std::fs::read_to_string(dir.join(MARK)) else { return };
    let Some((url, now)) = mark.split_once(' ') else { return };
    let engine = engine(url, Timestamp::from_nanos(now.parse().unwrap()), &dir).await;
    let asking = engine.clone();
    let filling = tokio::spawn(async move { complete(&asking).await });
    let mut told = 0;
    while !filling.is_finished() {
        let entries =
            engine.stats().tiers.iter().filter(|tier| tier.tier == "l3").map(|t| t.entries).sum::<u64>();
        for n in told..entries {
            let mut out = std::io::stdout().lock();
            write!(out, "\ndone {n}\n").and_then(|()| out.flush()).unwrap();
        }
        told = entries;
        tokio::task::yield_now().await;
    }
    // The kill comes now at the latest.
    filling.await.unwrap();
    std::thread::sleep(Duration::from_millis(20));
}
