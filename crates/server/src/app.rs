//! Joins the concrete parts: the only file that names them. Load settings, build, bind, serve, drain.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use panscan_cache::{
    CacheError, RedisAddress, RedisConfig, RedisReport, RedisScripts, Tiers, TiersConfig, probe,
};
use panscan_core::Kind;
use panscan_core::catalog::{Catalog, CatalogError};
use panscan_core::limit::Quota;
use panscan_core::port::{BarSource, Clock, Errand, Pending, SourceError};
use panscan_core::time::Timeframe;
use panscan_core::universe::Listing;
use panscan_cpu::{CpuBackend, CpuError};
use panscan_engine::{Engine, EngineConfig, EngineError, Parts, REFERENCE_NOTES, WarmRequest, WarmStream};
use panscan_fetch::{
    Alpaca, AlpacaConfig, AlpacaFeed, AlphaVantage, AlphaVantageConfig, CallConfig, Chain, ChainConfig,
    Connections, FetchError, FlatFiles, FlatFilesConfig, Polygon, PolygonConfig, Scripts, SharedLimit,
    WithFiles, Yahoo, YahooConfig,
};
use panscan_universe::{Store, UniverseError, read_universe_file};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::{FixedClock, ProviderClock, SystemClock};
use crate::config::{ClockSetting, Provider, Settings};
use crate::host::{Host, Phase};
use crate::record::Record;
use crate::rpc;

/// The provider's own address.
const POLYGON_URL: &str = "https://api.polygon.io";
/// Folder below the store in which calls are written down, so that a restart does not forget them.
const LEDGERS: &str = "limits";
/// Longest wait for Redis before a call is made on the server's own share.
const LIMIT_TIMEOUT: Duration = Duration::from_millis(100);
/// Longest wait at the end for what still goes to disk or to Redis.
const SETTLE: Duration = Duration::from_secs(2);
/// First wait before a start that failed is tried again; it doubles up to a minute.
const START_AGAIN: Duration = Duration::from_millis(500);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}; choose another with --listen, or port 0 for a free one")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] CacheError),
    /// The universe file cannot be read.
    #[error(transparent)]
    Universe(#[from] UniverseError),
    /// The catalog's database cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The compute threads cannot be started.
    #[error(transparent)]
    Compute(#[from] CpuError),
    /// The provider's client cannot be built.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The engine cannot start until somebody acts.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The backend asked for is not there.
    #[error("backend cuda is not in this build; use --backend cpu or auto")]
    Backend,
}

impl AppError {
    /// What an operator can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Engine(EngineError::Source(SourceError::Key { .. })) => Kind::Denied,
            Self::Engine(error) => error.kind(),
            // Before anything is served it is a setting that is wrong, or a server that is not up.
            Self::Catalog(_) => Kind::Precondition,
            Self::Bind { .. } | Self::Store(_) | Self::Universe(_) | Self::Backend => Kind::Precondition,
            Self::Compute(_) | Self::Fetch(_) => Kind::Internal,
        }
    }
}

/// A server that runs.
pub struct Running {
    /// Where gRPC is served.
    pub grpc: SocketAddr,
    host: Arc<Host>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    store: Arc<Tiers>,
    grace: Duration,
}

/// Builds the parts, binds the port and serves. The engine starts in the background: until its first snapshot the
/// health service says NOT_SERVING.
///
/// # Errors
///
/// [`AppError`]; then nothing is left bound or open.
pub async fn start(settings: &Settings) -> Result<Running, AppError> {
    if settings.compute.backend == Some(panscan_core::scan::Backend::Cuda) {
        return Err(AppError::Backend);
    }
    let imported = attributes(settings.data.universe.as_deref())?;
    let addr = settings.server.listen;
    let listener = TcpListener::bind(addr).await.map_err(|source| AppError::Bind { addr, source })?;
    let grpc = listener.local_addr().map_err(|source| AppError::Bind { addr, source })?;
    let store = store(Some(settings.tiers.store.clone()), settings)?;
    let catalog = catalog(settings).await?;
    let source = source(settings, Ledger::Kept)?;
    let compute = Arc::new(CpuBackend::new(settings.compute.threads)?);

    let stop = CancellationToken::new();
    let mut tasks = Vec::new();
    let clock: Arc<dyn Clock> = match settings.data.clock {
        ClockSetting::System => Arc::new(SystemClock),
        ClockSetting::Fixed(at) => Arc::new(FixedClock(at)),
        ClockSetting::Provider => {
            let clock = Arc::new(ProviderClock::new());
            if let Ok(status) = source.status().await {
                clock.set(status.now);
            }
            tasks.push(until(&stop, clock.clone().follow(source.clone())));
            clock
        }
    };
    if let Some(listings) = imported {
        catalog.import(listings, clock.now()).await?;
    }
    let attributes = catalog.imported().await?.into();
    let record = Record { catalog: catalog.clone(), clock: clock.clone() };
    let parts = Parts { source, store: store.clone(), compute, clock, attributes };
    let shown = settings.shown.iter().map(|s| (s.entry.name.to_owned(), s.value.clone(), s.origin.as_str()));
    let host = Host::new(catalog, settings.flow.batch_rows, shown.collect());
    tasks.push(until(&stop, start_engine(host.clone(), parts, engine_config(settings), record)));
    tasks.push(tokio::spawn(rpc::serve(listener, host.clone(), stop.clone())));
    Ok(Running { grpc, host, stop, tasks, store, grace: settings.server.drain_grace })
}

impl Running {
    /// Waits for the first snapshot.
    ///
    /// # Errors
    ///
    /// [`AppError::Engine`] when it will not come until somebody acts, e.g. on a key that the provider refuses.
    pub async fn ready(&self) -> Result<(), AppError> {
        let mut phase = self.host.phase();
        loop {
            match &*phase.borrow_and_update() {
                Phase::Ready => return Ok(()),
                Phase::Refused(error) => return Err(error.clone().into()),
                Phase::Starting => {}
            }
            if phase.changed().await.is_err() {
                return Err(EngineError::Internal("the start ended".to_owned()).into());
            }
        }
    }

    /// Starts to fetch the resident history.
    ///
    /// # Errors
    ///
    /// [`AppError::Engine`] when the first snapshot is not there yet.
    pub async fn warm(&self) -> Result<WarmStream, AppError> {
        let work = WarmRequest {
            symbols: Vec::new(),
            timeframes: vec![Timeframe::Day],
            range: None,
            deadline: None,
            errand: Errand::interactive(0),
            dry_run: false,
        };
        Ok(self.host.engine()?.warm(work).await?)
    }

    /// Resolves when a drain was asked for over gRPC.
    pub async fn drained(&self) {
        self.stop.cancelled().await;
    }

    /// Refuses new calls, lets running ones end within the grace period, and stops.
    pub async fn stop(self) {
        self.host.drain();
        self.stop.cancel();
        for mut task in self.tasks {
            if tokio::time::timeout(self.grace, &mut task).await.is_err() {
                task.abort();
            }
        }
        // What was fetched last is worth a moment: other servers need not fetch it.
        self.store.settle(self.grace.min(SETTLE)).await;
    }
}

/// Whether calls are written down for the next process. One process at a time can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ledger {
    /// They are.
    Kept,
    /// A single call beside a server that may run is not worth it.
    Off,
}

/// The providers, in the order in which they are asked.
///
/// # Errors
///
/// [`AppError::Fetch`] when one cannot be built.
pub fn source(settings: &Settings, ledger: Ledger) -> Result<Arc<dyn BarSource>, AppError> {
    let provider = &settings.provider;
    let connections = Connections::new(provider.connections_max);
    let first = polygon(settings, ledger, &connections)?;
    if provider.others.is_empty() {
        return Ok(first);
    }
    let clock = Arc::new(SystemClock);
    let mut sources = vec![first];
    for other in &provider.others {
        sources.push(match other {
            Provider::Alpaca { url, key, iex } => {
                let url = url.as_deref().unwrap_or(AlpacaConfig::URL);
                let key = Some((secret(&key.0), secret(&key.1)));
                let mut config = AlpacaConfig::new(url, key, quota(AlpacaConfig::QUOTA)?, clock.clone());
                config.calls = calls(settings, ledger, &connections, config.calls);
                config.feed = if *iex { AlpacaFeed::Iex } else { AlpacaFeed::Sip };
                Arc::new(Alpaca::new(config)?)
            }
            Provider::Yahoo { url } => {
                let url = url.as_deref().unwrap_or(YahooConfig::URL);
                let mut config = YahooConfig::new(url, quota(YahooConfig::QUOTA)?, clock.clone());
                config.calls = calls(settings, ledger, &connections, config.calls);
                Arc::new(Yahoo::new(config)?)
            }
            Provider::AlphaVantage { url, key } => {
                let url = url.as_deref().unwrap_or(AlphaVantageConfig::URL);
                let quota = quota(AlphaVantageConfig::QUOTA)?;
                let mut config = AlphaVantageConfig::new(url, Some(secret(key)), quota, clock.clone());
                config.calls = calls(settings, ledger, &connections, config.calls);
                Arc::new(AlphaVantage::new(config)?)
            }
        });
    }
    let config = ChainConfig { compare: provider.compare, ..ChainConfig::new(sources, clock) };
    Ok(Arc::new(Chain::new(config)?))
}

fn secret(value: &crate::config::Secret) -> panscan_fetch::Secret {
    panscan_fetch::Secret::new(value.expose())
}

fn quota(text: &str) -> Result<Quota, AppError> {
    text.parse().map_err(|error: panscan_core::Error| {
        FetchError::Setting { field: "limit", message: error.to_string() }.into()
    })
}

/// How calls are sent, repeated and remembered; what a provider has of its own stays as `of` has it.
fn calls(settings: &Settings, ledger: Ledger, connections: &Connections, of: CallConfig) -> CallConfig {
    let provider = &settings.provider;
    CallConfig {
        ledger: (ledger == Ledger::Kept).then(|| settings.tiers.store.join(LEDGERS)),
        ca_file: provider.ca_file.clone(),
        connections: connections.clone(),
        max_pool_size: provider.idle_max,
        connect_timeout: provider.connect_timeout,
        read_timeout: provider.read_timeout,
        total_timeout: provider.total_timeout,
        max_retries: provider.retries_max,
        retry_factor: provider.backoff,
        ..of
    }
}

/// The first provider, with its flat files where their keys are given.
fn polygon(
    settings: &Settings,
    ledger: Ledger,
    connections: &Connections,
) -> Result<Arc<dyn BarSource>, AppError> {
    let provider = &settings.provider;
    let key = provider.api_key.as_ref().map(secret);
    let url = provider.url.clone().unwrap_or_else(|| POLYGON_URL.to_owned());
    // With Redis the servers agree call by call; without it each keeps to its part.
    let shared = match redis_address(settings) {
        Some(redis) => Some(SharedLimit {
            scripts: Arc::new(RedisLink(RedisScripts::open(&redis)?)),
            prefix: settings.redis.prefix.clone(),
            timeout: LIMIT_TIMEOUT,
            peers: provider.peers,
        }),
        None => None,
    };
    let quota = if shared.is_some() { provider.quota } else { provider.share };
    let config = PolygonConfig::new(url, key, quota, Arc::new(SystemClock));
    let calls = CallConfig { shared, ..calls(settings, ledger, connections, CallConfig::new(quota)) };
    let polygon: Arc<dyn BarSource> = Arc::new(Polygon::new(PolygonConfig { calls, ..config })?);
    let Some(files) = &settings.files else { return Ok(polygon) };
    let config = FlatFilesConfig {
        connections: connections.clone(),
        connect_timeout: provider.connect_timeout,
        read_timeout: provider.read_timeout,
        max_retries: provider.retries_max,
        retry_factor: provider.backoff,
        ..FlatFilesConfig::new(
            files.endpoint.as_deref().unwrap_or(FlatFilesConfig::ENDPOINT),
            files.bucket.as_deref().unwrap_or(FlatFilesConfig::BUCKET),
            secret(&files.access_key),
            secret(&files.secret_key),
            Arc::new(SystemClock),
        )
    };
    Ok(Arc::new(WithFiles::new(polygon, FlatFiles::new(config)?)))
}

/// The tiers' way to Redis, as the limiter takes it: neither knows the other.
struct RedisLink(RedisScripts);

impl Scripts for RedisLink {
    fn connect(&self) -> Pending<'_, bool> {
        Box::pin(self.0.connect())
    }

    fn run<'a>(
        &'a self,
        script: &'static str,
        key: &'a str,
        arguments: &'a [String],
    ) -> Pending<'a, Option<Vec<i64>>> {
        Box::pin(self.0.run(script, key, arguments))
    }
}

/// Where Redis is; `None` where it is off.
fn redis_address(settings: &Settings) -> Option<RedisAddress> {
    let redis = &settings.redis;
    redis.url.as_ref().map(|url| RedisAddress {
        url: url.expose().to_owned(),
        cluster: redis.cluster,
        ca_file: redis.ca_file.clone(),
    })
}

/// How the Redis of the settings stands; `None` where it is off.
pub async fn look_at_redis(settings: &Settings, within: Duration) -> Option<Result<RedisReport, String>> {
    let address = redis_address(settings)?;
    Some(probe(&address, &settings.redis.prefix, within).await)
}

/// The tiers.
///
/// # Errors
///
/// [`AppError::Store`] when the folder cannot be used.
pub fn store(dir: Option<PathBuf>, settings: &Settings) -> Result<Arc<Tiers>, AppError> {
    let tiers = &settings.tiers;
    let shared = &settings.redis;
    let redis = redis_address(settings).map(|address| RedisConfig {
        prefix: shared.prefix.clone(),
        timeout: shared.timeout,
        ttl_closed: shared.ttl_closed,
        ttl_notes: REFERENCE_NOTES
            .iter()
            .map(|name| ((*name).to_owned(), settings.lives.reference))
            .collect(),
        ttl_other: shared.ttl_other,
        ..RedisConfig::new(address)
    });
    Ok(Arc::new(Tiers::open(TiersConfig {
        dir,
        l1_bytes: tiers.l1_bytes,
        l2_bytes: tiers.l2_bytes,
        l3_bytes: tiers.l3_bytes,
        redis,
    })?))
}

/// The catalog: the database that the settings name, or one in the store's folder.
async fn catalog(settings: &Settings) -> Result<Arc<dyn Catalog>, AppError> {
    let tiers = &settings.tiers;
    let url = match &tiers.database {
        Some(url) => url.expose().to_owned(),
        None => Store::url_in(&tiers.store),
    };
    Ok(Arc::new(Store::open(&url).await?))
}

/// The attributes of a universe file, where one is named.
fn attributes(path: Option<&Path>) -> Result<Option<Vec<Listing>>, AppError> {
    let Some(path) = path else { return Ok(None) };
    let import = read_universe_file(path)?;
    if !import.unknown_columns.is_empty() {
        tracing::info!(columns = ?import.unknown_columns, file = %path.display(), "columns are not used");
    }
    for row in &import.rejected {
        tracing::warn!(line = row.line, why = row.reason, file = %path.display(), "row is left out");
    }
    Ok(Some(import.listings))
}

fn engine_config(settings: &Settings) -> EngineConfig {
    let defaults = EngineConfig::default();
    EngineConfig {
        history_daily: settings.data.history_daily,
        history_minute: settings.data.history_minute,
        threads: settings.compute.threads,
        workers: settings.flow.workers,
        max_concurrent: settings.server.concurrent_max,
        max_queue: settings.server.queue_max,
        snapshot_ttl: settings.data.snapshot_ttl,
        statistics_ttl: settings.lives.sector,
        provisional_ttl: settings.lives.forming,
        reference_ttl: settings.lives.reference,
        details_ttl: settings.lives.details,
        absent_ttl: settings.lives.absent,
        prefetch: settings.data.prefetch,
        max_staleness: settings.data.max_staleness.unwrap_or(defaults.max_staleness),
        ..defaults
    }
}

/// Tries until it works, and then keeps what is held up to date. A key that the provider refuses is an operator's matter and said so at once.
async fn start_engine(host: Arc<Host>, parts: Parts, config: EngineConfig, record: Record) {
    let mut wait = START_AGAIN;
    loop {
        match Engine::start(parts.clone(), config.clone()).await {
            Ok(engine) => {
                record.recall(&engine).await;
                host.ready(engine.clone());
                let follow = record.follow(engine.clone());
                tokio::join!(engine.refresh(), follow);
                return;
            }
            Err(error) => {
                let fatal = matches!(error, EngineError::Source(SourceError::Key { .. }));
                tracing::warn!(%error, again_in = ?wait, "not started yet");
                host.waits(error, fatal);
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(60));
    }
}

/// Runs a task until the server stops.
fn until(stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = task => {}
            () = stop.cancelled() => {}
        }
    })
}
