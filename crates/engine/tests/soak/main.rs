//! Fetching under fire: engines that share one key through Redis fill empty stores while connections are cut and
//! silenced, the provider is killed and answers with faults, and Redis is killed, frozen and emptied. Every bar must come and be right to the bit, the limit must hold, and
//! no task, socket or key may leak.
//!
//! A short form runs with the other tests; `cargo xtask soak fetch` runs it for as long as it is told to through
//! `PANSCAN_SOAK_SECONDS`.

#![allow(clippy::unwrap_used, reason = "a soak that cannot set itself up has failed")]

mod chaos;
mod log;
mod scripts;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use panscan_cache::{Tiers, TiersConfig};
use panscan_core::port::{Clock, Errand};
use panscan_core::scan::{Adjustment, DataPolicy, ScanSpec};
use panscan_core::time::Timestamp;
use panscan_cpu::CpuBackend;
use panscan_engine::{BarsRequest, Engine, EngineConfig, EngineError, Parts, Pin, ScanRequest};
use panscan_fetch::{FetchError, Polygon, PolygonConfig, Secret};
use panscan_testkit::clock::FixedClock;
use tokio::time::Instant;

use crate::chaos::{Chaos, Struck};
use crate::log::Log;

/// What must never be found in a log or an error.
const KEY: &str = "soak-key-9f3b61c2";
const SYMBOLS: usize = 150;
const SESSIONS: usize = 60;
/// Calls that the simulator allows the key in a second.
const RATE: u32 = 40;
/// Callers of each engine.
const CALLERS: usize = 12;
/// A life that takes longer than this hangs.
const LIFE_MAX: Duration = Duration::from_secs(150);
/// How long what a life leaves behind may take to go.
const GONE_MAX: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_and_nothing_leaks() {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is no setting of the product")]
    let seconds = std::env::var("PANSCAN_SOAK_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(8);
    let (log, started) = (Log::install(KEY), Instant::now());
    let mut chaos = Chaos::start(SYMBOLS, SESSIONS, RATE).await;
    let mut lives = 0;
    let mut seen = Counts::default();
    while lives == 0 || started.elapsed() < Duration::from_secs(seconds) {
        let before = Traces::now();
        let life = tokio::time::timeout(LIFE_MAX, life(&mut chaos, lives));
        seen.add(life.await.expect("a life ends"));
        lives += 1;
        Traces::until_at_most(&before).await;
    }
    let violations = chaos.stop().await;
    assert_eq!(violations, 0, "calls beyond the limit");
    assert!(seen.bars > 0 && seen.struck.provider + seen.struck.redis > 0, "the soak did something");
    assert!(log.bytes() > 0 && log.found() == 0, "the key is in the log");
    eprintln!(
        "soak: {lives} lives in {:.0} s: {} bars compared, {} calls, {} blows to the provider, {} to Redis, \
         {} refusals seen by callers",
        started.elapsed().as_secs_f64(),
        seen.bars,
        seen.calls,
        seen.struck.provider,
        seen.struck.redis,
        seen.refusals
    );
}

/// The time by which calls are limited goes on while the desk's stands still.
struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "calls over real connections are limited in real time")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap())
    }
}

/// What a life did.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    bars: usize,
    calls: u64,
    struck: Struck,
    refusals: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.bars += other.bars;
        self.calls += other.calls;
        self.struck.provider += other.struck.provider;
        self.struck.redis += other.struck.redis;
        self.refusals += other.refusals;
    }
}

/// Two engines with empty stores fill them under fire; then every bar is compared.
async fn life(chaos: &mut Chaos, number: u64) -> Counts {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::new(chaos.now()));
    let mut counts = Counts::default();
    chaos.begin(number);
    let mut engines = Vec::new();
    for n in 0..2 {
        let parts = parts(chaos, &clock, &folder.path().join(n.to_string()), n).await;
        engines.push(started(parts).await);
    }
    let mut filling = tokio::task::JoinSet::new();
    for engine in &engines {
        for caller in 0..CALLERS {
            let engine = engine.clone();
            filling.spawn(async move { filled(&engine, caller).await });
        }
    }
    while let Some(refusals) = chaos.drive(&mut filling).await {
        counts.refusals += refusals;
    }
    counts.struck = chaos.end().await;
    for engine in &engines {
        counts.bars += compared(engine, chaos.truth()).await;
        counts.calls += engine.stats().source.calls;
    }
    counts
}

async fn parts(chaos: &Chaos, clock: &Arc<FixedClock>, folder: &Path, number: usize) -> Parts {
    // Two engines on one key: with Redis they agree call by call, without it each keeps to its half. Either knows
    // what the engine before it has called.
    let quota = format!("{RATE}/s").parse().unwrap();
    let mut config = PolygonConfig::new(chaos.url(), Some(Secret::new(KEY)), quota, Arc::new(WallClock));
    config.calls.shared = Some(chaos.shared());
    config.calls.ledger = Some(chaos.ledger(number));
    config.calls.connect_timeout = Duration::from_secs(1);
    config.calls.read_timeout = Duration::from_secs(1);
    config.calls.total_timeout = Duration::from_secs(3);
    config.calls.retry_factor = Duration::from_millis(20);
    let source = loop {
        match Polygon::new(config.clone()) {
            Ok(source) => break source,
            // The one before ends its last call.
            Err(FetchError::Setting { field: "limit ledger", .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    let tiers = TiersConfig {
        dir: Some(folder.to_owned()),
        l1_bytes: 1 << 20,
        l3_bytes: 1 << 30,
        // One of them keeps its blocks in Redis too.
        redis: (number == 0).then(|| chaos.tier()),
        ..TiersConfig::default()
    };
    Parts {
        source: Arc::new(source),
        store: Arc::new(Tiers::open(tiers).unwrap()),
        compute: Arc::new(CpuBackend::new(1).unwrap()),
        clock: clock.clone(),
        attributes: Arc::from([]),
    }
}

/// An engine starts as soon as the provider answers once.
async fn started(parts: Parts) -> Engine {
    loop {
        let config = EngineConfig { history_daily: SESSIONS - 20, ..EngineConfig::default() };
        match Engine::start(parts.clone(), config).await {
            Ok(engine) => return engine,
            Err(error) => checked(&error),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks, now for scans and now for bars, until everything was there once. Answers how often it was not.
async fn filled(engine: &Engine, caller: usize) -> u64 {
    let columns = [["rsi(14)"], ["sma(20)"], ["vwap(20)"]][caller % 3].map(str::to_owned).to_vec();
    let mut refusals = 0;
    loop {
        let request = ScanRequest {
            spec: ScanSpec { columns: columns.clone(), limit: 10, ..ScanSpec::default() },
            policy: if caller.is_multiple_of(2) {
                DataPolicy::BestEffort
            } else {
                DataPolicy::RequireComplete
            },
            deadline: Some(Instant::now() + Duration::from_secs(5)),
            ..ScanRequest::default()
        };
        match engine.scan(&request).await {
            Ok(answer) if answer.complete => return refusals,
            Ok(answer) => answer.diagnostics.iter().for_each(|d| assert!(!d.message.contains(KEY))),
            Err(error) => checked(&error),
        }
        refusals += 1;
        tokio::task::yield_now().await;
    }
}

fn checked(error: &EngineError) {
    let text = format!("{error} {error:?}");
    assert!(!text.contains(KEY), "{text}");
    assert!(!matches!(error, EngineError::Internal(_)), "{text}");
}

/// Compares the raw bars of every symbol with the truth and says how many there were.
async fn compared(engine: &Engine, truth: &BTreeMap<String, chaos::Bars>) -> usize {
    let read = |symbol: String| async move {
        let request = BarsRequest {
            symbols: vec![symbol],
            from: None,
            to: None,
            last: 0,
            adjustment: Adjustment::Raw,
            pin: Pin::Newest,
            policy: DataPolicy::RequireComplete,
            errand: Errand::interactive(0),
            deadline: None,
        };
        engine.bars(&request).await.unwrap().series.remove(0)
    };
    let mut count = 0;
    for held in join_all(truth.keys().map(|symbol| read(symbol.clone()))).await {
        let want = &truth[held.symbol.as_str()];
        for (row, session) in held.bars.sessions.iter().enumerate() {
            let values = held.bars.columns.each_ref().map(|column| column[row].to_bits());
            assert_eq!(Some(&values), want.get(session), "{} {session}", held.symbol);
        }
        let first = engine.current().unwrap().snapshot.history_start;
        assert_eq!(held.bars.sessions.len(), want.range(first..).count(), "{}", held.symbol);
        count += held.bars.sessions.len();
    }
    count
}

/// What a process holds that a life could leave behind.
#[derive(Debug, Clone, Copy)]
struct Traces {
    tasks: usize,
    files: usize,
}

impl Traces {
    fn now() -> Self {
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self { tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(), files }
    }

    /// Waits until no more is there than before.
    async fn until_at_most(before: &Self) {
        let began = Instant::now();
        loop {
            let now = Self::now();
            if now.tasks <= before.tasks && now.files <= before.files {
                return;
            }
            assert!(began.elapsed() < GONE_MAX, "{now:?} is left where there was {before:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
