//! A simulator, and engines that are set up against it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use panscan_cache::{RedisAddress, RedisConfig, Tiers, TiersConfig};
use panscan_core::limit::Quota;
use panscan_core::port::SeriesStore;
use panscan_core::rank::Cells;
use panscan_core::scan::ScanSpec;
use panscan_core::time::Timestamp;
use panscan_cpu::CpuBackend;
use panscan_engine::{Engine, EngineConfig, Parts, ScanAnswer, ScanRequest};
use panscan_fetch::{FlatFiles, FlatFilesConfig, Polygon, PolygonConfig, Secret, WithFiles};
use panscan_sim::{BUCKET, BucketKeys, MarketSource, Plan as SimPlan, SimConfig, Simulator};
use panscan_testkit::clock::FixedClock;

pub(crate) struct Desk {
    pub(crate) sim: Simulator,
    pub(crate) clock: Arc<FixedClock>,
    /// Times that the source makes a failed call again by itself.
    pub(crate) retries: u32,
    folder: tempfile::TempDir,
    quota: Quota,
}

impl Desk {
    pub(crate) async fn new(symbols: usize, sessions: usize) -> Self {
        Self::limited(symbols, sessions, "unlimited").await
    }

    /// With a rate limit that the simulator enforces and the source keeps to.
    pub(crate) async fn limited(symbols: usize, sessions: usize, rate: &str) -> Self {
        Self::set_up(symbols, sessions, rate, SimPlan::default()).await
    }

    /// With a key whose plan leaves something out.
    pub(crate) async fn on_plan(symbols: usize, sessions: usize, plan: SimPlan) -> Self {
        Self::set_up(symbols, sessions, "unlimited", plan).await
    }

    async fn set_up(symbols: usize, sessions: usize, rate: &str, plan: SimPlan) -> Self {
        let MarketSource::Generated { seed, end, .. } = MarketSource::default() else { unreachable!() };
        let market = MarketSource::Generated { symbols, sessions, seed, end };
        let rate_of_sim = (rate != "unlimited").then(|| rate.parse().unwrap());
        let config = SimConfig { market, rate: rate_of_sim, plan, ..SimConfig::default() };
        let sim = Simulator::start(config).await.unwrap();
        let clock = Arc::new(FixedClock::new(sim.now()));
        let folder = tempfile::tempdir().unwrap();
        Self { sim, clock, retries: 3, folder, quota: rate.parse().unwrap() }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// An engine on the desk's own store.
    pub(crate) async fn engine(&self, history: usize) -> Engine {
        self.engine_on(Some(&self.store()), history).await
    }

    /// An engine that keeps nothing.
    pub(crate) async fn fresh_engine(&self, history: usize) -> Engine {
        self.engine_on(None, history).await
    }

    async fn engine_on(&self, dir: Option<&Path>, history: usize) -> Engine {
        // Longer than a test moves the clock.
        let snapshot_ttl = std::time::Duration::from_secs(7 * 24 * 3600);
        let config = EngineConfig { history_daily: history, snapshot_ttl, ..EngineConfig::default() };
        Engine::start(self.parts(dir), config).await.unwrap()
    }

    pub(crate) fn parts(&self, dir: Option<&Path>) -> Parts {
        let mut config =
            PolygonConfig::new(self.sim.url(), Some(Secret::new("key")), self.quota, self.clock.clone());
        config.calls.retry_factor = std::time::Duration::from_millis(1);
        config.calls.max_retries = self.retries;
        // Some faults hold an answer back for a minute.
        config.calls.read_timeout = std::time::Duration::from_secs(1);
        let tiers = TiersConfig { dir: dir.map(Path::to_owned), l3_bytes: 1 << 30, ..TiersConfig::default() };
        self.parts_on(config, Arc::new(Tiers::open(tiers).unwrap()))
    }

    /// An engine beside others, on a store of its own.
    pub(crate) async fn engine_with(
        &self,
        store: Arc<dyn SeriesStore>,
        change: impl FnOnce(&mut EngineConfig),
    ) -> Engine {
        let snapshot_ttl = std::time::Duration::from_secs(7 * 24 * 3600);
        let mut config = EngineConfig { history_daily: 20, snapshot_ttl, ..EngineConfig::default() };
        change(&mut config);
        let source =
            PolygonConfig::new(self.sim.url(), Some(Secret::new("key")), self.quota, self.clock.clone());
        Engine::start(self.parts_on(source, store), config).await.unwrap()
    }

    fn parts_on(&self, config: PolygonConfig, store: Arc<dyn SeriesStore>) -> Parts {
        Parts {
            source: Arc::new(Polygon::new(config).unwrap()),
            store,
            compute: Arc::new(CpuBackend::new(2).unwrap()),
            clock: self.clock.clone(),
            attributes: Arc::from([]),
        }
    }

    /// With the simulator's bucket of files beside the calls, and nothing kept on disk.
    pub(crate) fn parts_with_files(&self) -> Parts {
        let parts = self.parts(None);
        let (access, secret) = (Secret::new(BucketKeys::ACCESS), Secret::new(BucketKeys::SECRET));
        let config = FlatFilesConfig::new(self.sim.url(), BUCKET, access, secret, self.clock.clone());
        let files = FlatFiles::new(config).unwrap();
        Parts { source: Arc::new(WithFiles::new(parts.source, files)), ..parts }
    }

    /// Without a folder, and with this Redis.
    pub(crate) fn parts_on_redis(&self, url: &str) -> Parts {
        let redis = RedisConfig {
            prefix: "test".to_owned(),
            timeout: std::time::Duration::from_secs(5),
            ..RedisConfig::new(RedisAddress::new(url))
        };
        let tiers = TiersConfig { redis: Some(redis), ..TiersConfig::default() };
        Parts { store: Arc::new(Tiers::open(tiers).unwrap()), ..self.parts(None) }
    }

    /// Calls for bars and reference data so far.
    pub(crate) fn calls(&self) -> u64 {
        self.sim.audit().total
    }

    /// Tells the simulator something.
    pub(crate) async fn control(&self, path: &str, body: &str) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut socket = tokio::net::TcpStream::connect(self.sim.addr()).await.unwrap();
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-length: {length}");
        socket.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        use panscan_core::port::Clock as _;
        self.clock.now()
    }

    pub(crate) fn set_now(&self, at: Timestamp) {
        self.sim.set_now(at);
        self.clock.set(at);
    }
}

pub(crate) fn scan_of(columns: &[&str]) -> ScanRequest {
    let columns = columns.iter().map(|c| (*c).to_owned()).collect();
    ScanRequest { spec: ScanSpec { columns, limit: 50_000, ..ScanSpec::default() }, ..ScanRequest::default() }
}

/// The same with a deadline.
pub(crate) fn within(seconds: u64, request: ScanRequest) -> ScanRequest {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(seconds);
    ScanRequest { deadline: Some(deadline), ..request }
}

pub(crate) fn numbers(answer: &ScanAnswer, column: usize) -> &[f64] {
    match &answer.rows.columns[column] {
        Cells::Numbers(values) => values,
        Cells::Texts(_) => panic!("column {column} is text"),
    }
}

/// Bits of every number of an answer, to compare answers exactly.
pub(crate) fn bits(answer: &ScanAnswer) -> Vec<(u32, Vec<u64>)> {
    let row = |(i, id): (usize, &panscan_core::symbol::SymbolId)| {
        let cell = |c: &Cells| if let Cells::Numbers(v) = c { v[i].to_bits() } else { 0 };
        (id.0, answer.rows.columns.iter().map(cell).collect())
    };
    answer.rows.symbols.iter().enumerate().map(row).collect()
}
