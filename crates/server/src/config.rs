//! The only reader of environment and configuration files: one typed [`Settings`], every problem at once.
//!
//! A value is taken from the flag, else the environment, else the file, else the default. Nothing is bound,
//! opened or connected here.

mod layers;
pub mod names;
pub mod reference;
mod value;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use panscan_core::limit::Quota;
use panscan_core::scan::Backend;

pub use self::layers::{FlagValues, Origin, Problem, ReadFile, Shown};
pub use self::value::{ClockSetting, Secret};

use self::layers::Layers;
use self::names::Effect;

/// Everything that can be set, read and checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The upstream of bars.
    pub provider: ProviderSettings,
    /// The provider's flat files; `None` without their keys.
    pub files: Option<FileSettings>,
    /// Fetching and streaming.
    pub flow: FlowSettings,
    /// The service.
    pub server: ServerSettings,
    /// What is held, and of when.
    pub data: DataSettings,
    /// Where it is held.
    pub tiers: TierSettings,
    /// Redis.
    pub redis: RedisSettings,
    /// Times to live.
    pub lives: Lives,
    /// What computes.
    pub compute: ComputeSettings,
    /// Folder of recorded data for measurements.
    pub recorded: PathBuf,
    /// Folder of what measurements are held against.
    pub peers: PathBuf,
    /// The server that commands ask, an http or https URL.
    pub client_server: String,
    /// Every value as it may be shown, with its origin, in the order of the reference page.
    pub shown: Vec<Shown>,
}

/// The upstream of bars.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Its key.
    pub api_key: Option<Secret>,
    /// Where it answers; unset is its own address.
    pub url: Option<String>,
    /// Who is asked after it, in this order.
    pub others: Vec<Provider>,
    /// Whether the same bars are asked of two of them and compared.
    pub compare: bool,
    /// What it allows the key.
    pub quota: Quota,
    /// This server's equal part of that.
    pub share: Quota,
    /// Servers that share the key.
    pub peers: u32,
    /// Certificates that are trusted beside the system's own.
    pub ca_file: Option<PathBuf>,
    /// Longest silence inside one call.
    pub read_timeout: Duration,
    /// Longest call.
    pub total_timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Connections in use at once.
    pub connections_max: usize,
    /// Idle connections kept per host.
    pub idle_max: usize,
    /// Retries of a call.
    pub retries_max: u32,
    /// Factor of the wait between retries.
    pub backoff: Duration,
}

/// Where the provider's flat files are.
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// Where the bucket answers; unset is the provider's own address.
    pub endpoint: Option<String>,
    /// Its name; unset is the provider's.
    pub bucket: Option<String>,
    /// The name that calls are signed under.
    pub access_key: Secret,
    /// What signs them.
    pub secret_key: Secret,
}

/// A provider that is asked where the first one does not answer. No address is its own one.
#[derive(Debug, Clone)]
pub enum Provider {
    /// Alpaca.
    Alpaca {
        /// Where it answers.
        url: Option<String>,
        /// Id and secret of the key.
        key: (Secret, Secret),
        /// The feed is that of one exchange.
        iex: bool,
    },
    /// Yahoo.
    Yahoo {
        /// Where it answers.
        url: Option<String>,
    },
    /// Alpha Vantage.
    AlphaVantage {
        /// Where it answers.
        url: Option<String>,
        /// Its key.
        key: Secret,
    },
}

/// Fetching and streaming.
#[derive(Debug, Clone)]
pub struct FlowSettings {
    /// Fetch jobs at once.
    pub workers: usize,
    /// Rows per message; symbols per fetch job.
    pub batch_rows: usize,
}

/// The service.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Scans planning or computing at once.
    pub concurrent_max: usize,
    /// Scans waiting for that.
    pub queue_max: usize,
    /// How long running calls may take after a drain began.
    pub drain_grace: Duration,
    /// Level or filter of the log.
    pub log: String,
}

/// What is held, and of when.
#[derive(Debug, Clone)]
pub struct DataSettings {
    /// Attributes of the symbols.
    pub universe: Option<PathBuf>,
    /// Whose time it is.
    pub clock: ClockSetting,
    /// Sessions of daily bars kept resident.
    pub history_daily: usize,
    /// Sessions of minute bars that an open start of a range reaches back.
    pub history_minute: usize,
    /// How long a snapshot can be pinned.
    pub snapshot_ttl: Duration,
    /// Bars older than this are stale; unset goes by the timeframe.
    pub max_staleness: Option<Duration>,
    /// Whether what is usually asked for is fetched ahead.
    pub prefetch: bool,
}

/// Where bars are held.
#[derive(Debug, Clone)]
pub struct TierSettings {
    /// Folder of the file tier.
    pub store: PathBuf,
    /// URL of the catalog's database, maybe with a password; unset is SQLite in the folder.
    pub database: Option<Secret>,
    /// Bound of the tier of decoded columns, bytes.
    pub l1_bytes: u64,
    /// Bound of the compressed tier in memory, bytes.
    pub l2_bytes: u64,
    /// Bound of the file tier, bytes.
    pub l3_bytes: u64,
}

/// Redis beside the tiers.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Its URL, maybe with a password; unset is off.
    pub url: Option<Secret>,
    /// Whether that is a node of a cluster.
    pub cluster: bool,
    /// Certificates that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// First part of every key.
    pub prefix: String,
    /// Wait of a scan per batch of keys.
    pub timeout: Duration,
    /// Life of closed bars.
    pub ttl_closed: Duration,
    /// Life of what has none of its own.
    pub ttl_other: Duration,
}

/// How long what was learned is good for, by kind of data. Closed bars have no such time.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    /// Bars of a session that still trades.
    pub forming: Duration,
    /// Listings, splits and dividends.
    pub reference: Duration,
    /// Details of single symbols.
    pub details: Duration,
    /// That the provider refused something for good.
    pub absent: Duration,
    /// Statistics of groups.
    pub sector: Duration,
}

/// What computes.
#[derive(Debug, Clone)]
pub struct ComputeSettings {
    /// Unset is the server's choice.
    pub backend: Option<Backend>,
    /// Compute threads.
    pub threads: usize,
}

impl Settings {
    /// Settings that were given and that nothing in this build acts on.
    pub fn idle(&self) -> impl Iterator<Item = &Shown> {
        self.shown
            .iter()
            .filter(|shown| shown.origin != Origin::Default && shown.entry.effect == Effect::Idle)
    }

    /// The setting of this environment name as it may be shown.
    #[must_use]
    pub fn shown(&self, name: &str) -> Option<&Shown> {
        self.shown.iter().find(|shown| shown.entry.name == name)
    }
}

/// Reads the environment of this process; the only place that does.
pub fn process_env() -> impl Iterator<Item = (String, String)> {
    // Text that is no UTF-8 keeps its readable part, and what reads it says what is wrong.
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

/// Reads one file of the configuration.
///
/// # Errors
///
/// What the system says.
pub fn read_file(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// Reads every setting.
///
/// # Errors
///
/// Every problem there is, in the order of the reference page after those of names and files.
pub fn load(
    flags: &FlagValues,
    env: impl Iterator<Item = (String, String)>,
    read_file: ReadFile<'_>,
) -> Result<Settings, Vec<Problem>> {
    let mut layers = Layers::new(flags, env, read_file);
    if let Some(path) = layers.find(&names::CONFIG, value::words) {
        let path = layers.home(&path);
        layers.take_file(&path);
    }
    let settings = Settings {
        provider: provider(&mut layers),
        files: files(&mut layers),
        flow: FlowSettings {
            workers: layers.get(&names::MAX_WORKERS, value::count(1, 1_000)),
            batch_rows: layers.get(&names::BATCH_SIZE, value::count(1, 8_192)),
        },
        server: server(&mut layers),
        data: data(&mut layers),
        tiers: tiers(&mut layers),
        redis: redis(&mut layers),
        lives: lives(&mut layers),
        compute: compute(&mut layers),
        recorded: path(&mut layers, &names::TEST_DATA),
        peers: path(&mut layers, &names::PEERS),
        client_server: layers.get(&names::SERVER, value::url(&["http", "https"])),
        shown: Vec::new(),
    };
    later(&mut layers);
    layers.finish().map(|shown| Settings { shown, ..settings })
}

fn path(layers: &mut Layers<'_>, entry: &'static names::Entry) -> PathBuf {
    let text = layers.get(entry, value::words);
    layers.home(&text)
}

fn provider(layers: &mut Layers<'_>) -> ProviderSettings {
    let polygon = layers.find(&names::POLYGON_API_KEY, value::secret);
    let massive = layers.find(&names::MASSIVE_API_KEY, value::secret);
    if let (Some(polygon), Some(massive)) = (&polygon, &massive)
        && polygon != massive
    {
        let origin = layers.origin(&names::MASSIVE_API_KEY);
        layers.problem(
            &names::MASSIVE_API_KEY,
            origin,
            "differs from POLYGON_API_KEY; both name the same key, unset one of them",
        );
    }
    let others = others(layers);
    let url = layers.find(&names::PROVIDER_URL, value::url(&["http", "https"]));
    layers.find(&names::STREAM_URL, value::url(&["ws", "wss"]));
    let quota = layers.get(&names::RATE_LIMIT, |text| {
        text.parse::<Quota>()
            .map_err(|_| "expected calls per window, e.g. 5/min, 100/s or unlimited".to_owned())
    });
    let burst = layers.get(&names::RATE_BURST, value::count(1, 100_000));
    let peers = narrow(layers.get(&names::LIMIT_PEERS, value::count(1, 1_000)));
    let (quota, share) = match share(quota, peers) {
        Some(share) if share.is_unlimited() => (quota, share),
        Some(share) => (quota.with_burst(narrow(burst)), share.with_burst((narrow(burst) / peers).max(1))),
        None => {
            let origin = layers.origin(&names::LIMIT_PEERS);
            layers.problem(
                &names::LIMIT_PEERS,
                origin,
                format!("{peers} servers cannot share {quota}: less than one call each; lower it"),
            );
            (quota, quota)
        }
    };
    let (short, long) = (Duration::from_millis(1), Duration::from_secs(3_600));
    ProviderSettings {
        api_key: polygon.or(massive),
        url,
        others,
        compare: layers.get(&names::PROVIDERS_COMPARE, value::switch),
        quota,
        share,
        peers,
        ca_file: layers.find(&names::PROVIDER_CA, value::words).map(|path| layers.home(&path)),
        read_timeout: layers.get(&names::READ_TIMEOUT, value::duration_in(short, long)),
        total_timeout: layers.get(&names::TOTAL_TIMEOUT, value::duration_in(short, long)),
        connect_timeout: layers.get(&names::CONNECTION_TIMEOUT, value::seconds),
        connections_max: layers.get(&names::MAX_CONNECTIONS, value::count(1, 10_000)),
        idle_max: layers.get(&names::MAX_POOL_SIZE, value::count(0, 10_000)),
        retries_max: narrow(layers.get(&names::MAX_RETRIES, value::count(0, 20))),
        backoff: layers.get(&names::RETRY_BACKOFF_FACTOR, value::backoff),
    }
}

/// The providers after the first one, with what each needs.
fn others(layers: &mut Layers<'_>) -> Vec<Provider> {
    let url = value::url(&["http", "https"]);
    let alpaca_url = layers.find(&names::ALPACA_URL, &url);
    let iex = layers.get(&names::ALPACA_FEED, |text| match text {
        "sip" => Ok(false),
        "iex" => Ok(true),
        _ => Err("expected sip or iex".to_owned()),
    });
    let id = layers.find(&names::APCA_API_KEY_ID, value::secret);
    let secret = layers.find(&names::APCA_API_SECRET_KEY, value::secret);
    let yahoo_url = layers.find(&names::YAHOO_URL, &url);
    let vantage_url = layers.find(&names::ALPHA_VANTAGE_URL, &url);
    let vantage_key = layers.find(&names::ALPHA_VANTAGE_API_KEY, value::secret);
    layers.get(&names::PROVIDERS, |text| {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        let Some((&("polygon" | "massive"), rest)) = names.split_first() else {
            return Err("must begin with polygon: the symbols come from it".to_owned());
        };
        let mut others = Vec::new();
        for (at, name) in rest.iter().enumerate() {
            if rest[..at].contains(name) {
                return Err(format!("names {name} twice"));
            }
            others.push(match *name {
                "alpaca" => match (&id, &secret) {
                    (Some(id), Some(secret)) => {
                        Provider::Alpaca { url: alpaca_url.clone(), key: (id.clone(), secret.clone()), iex }
                    }
                    _ => return Err("alpaca needs APCA_API_KEY_ID and APCA_API_SECRET_KEY".to_owned()),
                },
                "yahoo" => Provider::Yahoo { url: yahoo_url.clone() },
                "alphavantage" | "alpha_vantage" => match &vantage_key {
                    Some(key) => Provider::AlphaVantage { url: vantage_url.clone(), key: key.clone() },
                    None => return Err("alphavantage needs ALPHA_VANTAGE_API_KEY".to_owned()),
                },
                other => {
                    return Err(format!("{other:?} is none of polygon, alpaca, yahoo, alphavantage"));
                }
            });
        }
        Ok(others)
    })
}

/// The bucket, where both of its keys are given.
fn files(layers: &mut Layers<'_>) -> Option<FileSettings> {
    let endpoint = layers.find(&names::S3_ENDPOINT, value::url(&["http", "https"]));
    let bucket = layers.find(&names::S3_BUCKET, value::words);
    let access = layers.find(&names::S3_ACCESS_KEY, value::secret);
    let secret = layers.find(&names::S3_SECRET_KEY, value::secret);
    match (access, secret) {
        (Some(access_key), Some(secret_key)) => {
            Some(FileSettings { endpoint, bucket, access_key, secret_key })
        }
        (None, None) => None,
        (Some(_), None) => {
            let origin = layers.origin(&names::S3_ACCESS_KEY);
            layers.problem(
                &names::S3_ACCESS_KEY,
                origin,
                "signs nothing without PANSCAN_S3_SECRET_KEY; give both",
            );
            None
        }
        (None, Some(_)) => {
            let origin = layers.origin(&names::S3_SECRET_KEY);
            layers.problem(
                &names::S3_SECRET_KEY,
                origin,
                "has no name without PANSCAN_S3_ACCESS_KEY; give both",
            );
            None
        }
    }
}

fn server(layers: &mut Layers<'_>) -> ServerSettings {
    let listen = layers.get(&names::LISTEN, value::address);
    if !listen.ip().is_loopback() && !layers.insecure_listen() {
        let origin = layers.origin(&names::LISTEN);
        layers.problem(
            &names::LISTEN,
            origin,
            format!(
                "{listen} can be reached from other machines, and this build has neither keys nor TLS; listen on \
                 127.0.0.1, or say --insecure-listen"
            ),
        );
    }
    let metrics = layers.get(&names::METRICS_LISTEN, value::address);
    if !metrics.ip().is_loopback() && !layers.insecure_listen() {
        let origin = layers.origin(&names::METRICS_LISTEN);
        layers.problem(&names::METRICS_LISTEN, origin, "listen on 127.0.0.1, or say --insecure-listen");
    }
    for entry in [&names::KEYS, &names::TLS_CERT, &names::TLS_KEY, &names::TLS_CLIENT_CA] {
        layers.find(entry, value::words);
    }
    let cores = cores();
    ServerSettings {
        listen,
        concurrent_max: layers.get_or(&names::MAX_CONCURRENT, 2 * cores, value::count(1, 100_000)),
        queue_max: layers.get(&names::MAX_QUEUE, value::count(0, 1_000_000)),
        drain_grace: layers
            .get(&names::DRAIN_GRACE, value::duration_in(Duration::ZERO, Duration::from_secs(3_600))),
        log: layers.get(&names::LOG, log_filter),
    }
}

/// An equal share of the limit for each of `peers` servers, rounded down; `None` where that is less than a call.
fn share(quota: Quota, peers: u32) -> Option<Quota> {
    if quota.is_unlimited() {
        return Some(quota);
    }
    Quota::new(quota.calls() / peers, quota.window()).ok()
}

/// Reads a log filter: a level, or levels by module.
fn log_filter(text: &str) -> Result<String, value::Expected> {
    let level = |word: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|level| word.eq_ignore_ascii_case(level))
    };
    // A bare word that is no level would be taken for a module of that name and silence everything else.
    let usable = text.split(',').all(|part| match part.split_once('=') {
        None => level(part),
        Some((module, word)) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
            level(word) && !module.is_empty() && module.chars().all(plain)
        }
    });
    if usable && text.parse::<tracing_subscriber::filter::Targets>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("expected error, warn, info, debug, trace, off, or a filter such as info,panscan_fetch=debug"
            .to_owned())
    }
}

fn data(layers: &mut Layers<'_>) -> DataSettings {
    let day = Duration::from_secs(86_400);
    let universe = layers.find(&names::UNIVERSE, value::words);
    let data = DataSettings {
        universe: universe.map(|text| layers.home(&text)),
        clock: layers.get(&names::CLOCK, value::clock),
        history_daily: layers.get(&names::HISTORY_DAILY, value::count(1, 8_192)),
        history_minute: layers.get(&names::HISTORY_MINUTE, value::count(1, 1_024)),
        snapshot_ttl: layers.get(&names::SNAPSHOT_TTL, value::duration_in(Duration::from_secs(1), 7 * day)),
        max_staleness: layers
            .find(&names::MAX_STALENESS, value::duration_in(Duration::from_secs(1), 365 * day)),
        prefetch: layers.get(&names::PREFETCH, value::switch),
    };
    layers.get(&names::LIVE, |text| match value::switch(text)? {
        false => Ok(()),
        true => Err("expected off; the live stream is not in this build".to_owned()),
    });
    data
}

fn tiers(layers: &mut Layers<'_>) -> TierSettings {
    TierSettings {
        store: path(layers, &names::STORE),
        database: layers.find(&names::DATABASE_URL, value::database),
        l1_bytes: layers.get(&names::L1_BYTES, value::bytes),
        l2_bytes: layers.get(&names::L2_BYTES, value::bytes),
        l3_bytes: layers.get(&names::L3_BYTES, value::bytes),
    }
}

fn redis(layers: &mut Layers<'_>) -> RedisSettings {
    let host = layers.get(&names::REDIS_HOST, value::words);
    let port = layers.get(&names::REDIS_PORT, value::whole(1, 65_535));
    let db = layers.get(&names::REDIS_DB, value::whole(0, 1_023));
    let given = layers.find(&names::REDIS_URL, |text| match text {
        "" => Ok(String::new()),
        _ => value::url(&["redis", "rediss"])(text),
    });
    let url = given.unwrap_or_else(|| format!("redis://{host}:{port}/{db}"));
    let second = Duration::from_secs(1);
    RedisSettings {
        url: (!url.is_empty()).then(|| Secret::new(url)),
        cluster: layers.get(&names::REDIS_CLUSTER, value::switch),
        ca_file: layers.find(&names::REDIS_CA, value::words).map(|path| layers.home(&path)),
        prefix: layers.get(&names::REDIS_PREFIX, value::words),
        timeout: layers.get(&names::REDIS_TIMEOUT, value::duration_in(second / 1_000, 60 * second)),
        ttl_closed: Duration::from_secs(layers.get(&names::REDIS_TTL_CLOSED, value::whole(1, 31_536_000))),
        ttl_other: Duration::from_secs(layers.get(&names::REDIS_TTL, value::whole(1, 31_536_000))),
    }
}

fn lives(layers: &mut Layers<'_>) -> Lives {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    Lives {
        forming: layers.get(&names::TTL_FORMING, value::duration_in(Duration::ZERO, 3_600 * second)),
        reference: layers.get(&names::TTL_REFERENCE, value::duration_in(second, 365 * day)),
        details: layers.get(&names::TTL_DETAILS, value::duration_in(60 * second, 365 * day)),
        absent: layers.get(&names::TTL_ABSENT, value::duration_in(Duration::ZERO, day)),
        sector: layers.get(&names::TTL_SECTOR, value::duration_in(second, 365 * day)),
    }
}

fn compute(layers: &mut Layers<'_>) -> ComputeSettings {
    layers.get(&names::PRECISION, |text| match text {
        "f64" => Ok(()),
        "f32" => Err("expected f64; f32 is not in this build".to_owned()),
        _ => Err("expected f64".to_owned()),
    });
    ComputeSettings {
        backend: layers.get(&names::BACKEND, |text| match text {
            "auto" => Ok(None),
            "cpu" => Ok(Some(Backend::Cpu)),
            "cuda" => Err("expected auto or cpu; the CUDA backend is not in this build".to_owned()),
            _ => Err("expected auto or cpu".to_owned()),
        }),
        threads: layers.get_or(&names::THREADS, cores(), value::count(1, 1_024)),
    }
}

/// Settings that nothing acts on yet: read, so that a wrong one is known before something does.
fn later(layers: &mut Layers<'_>) {
    let second = Duration::from_secs(1);
    layers.get(&names::QUEUE_SIZE, value::count(1, 10_000));
    layers.get(&names::SNAPSHOT_INTERVAL, value::duration_in(second / 100, 3_600 * second));
    let day = Duration::from_secs(86_400);
    layers.get(&names::TTL_SNAPSHOT, value::duration_in(Duration::ZERO, 3_600 * second));
    for entry in [&names::TTL_SENTIMENT, &names::TTL_ANALYSIS] {
        layers.get(entry, value::duration_in(Duration::ZERO, day));
    }
    for entry in [&names::XAI_API_KEY, &names::PERPLEXITY_API_KEY] {
        layers.find(entry, value::secret);
    }
    layers.find(&names::OTEL_ENDPOINT, value::url(&["http", "https"]));
    layers.get(&names::OTEL_SERVICE_NAME, value::words);
    layers.get(&names::OTEL_DISABLED, value::switch);
    for entry in [
        &names::OTEL_PROTOCOL,
        &names::OTEL_HEADERS,
        &names::OTEL_RESOURCE_ATTRIBUTES,
        &names::OTEL_SAMPLER,
        &names::OTEL_SAMPLER_ARG,
    ] {
        layers.find(entry, value::words);
    }
}

/// Reads the duration of a flag that is no setting.
///
/// # Errors
///
/// Says what was expected.
pub fn duration_flag(text: &str) -> Result<Duration, String> {
    value::duration_in(Duration::from_millis(1), Duration::from_secs(86_400))(text)
}

fn narrow(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

#[cfg(test)]
mod tests;
