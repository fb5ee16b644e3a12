//! Every setting by its environment name: default, unit, meaning, and whether this build acts on it. The one
//! table from which the settings are read and their reference page is written.

/// Whether setting a value changes anything in this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Active,
    /// It is read and checked, and nothing uses it yet.
    Idle,
    /// Only tests and measurements read it.
    Tests,
    /// Setting it is refused, because ignoring it would be unsafe or misleading.
    Refused(&'static str),
}

/// What of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// All of it.
    Plain,
    /// A URL without its password.
    Url,
    /// Nothing.
    Secret,
}

/// What stands where nothing is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This text, read like any other value.
    Value(&'static str),
    /// Nothing; the words say what that means.
    Absent(&'static str),
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Environment name.
    pub name: &'static str,
    /// Name in the configuration file.
    pub key: &'static str,
    /// What stands where nothing is set.
    pub fallback: Fallback,
    /// Unit or form of the value, with its range.
    pub unit: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// Whether it acts in this build.
    pub effect: Effect,
    /// What of it may be shown.
    pub show: Show,
}

macro_rules! settings {
    ($($group:literal { $($id:ident $name:literal $key:literal $fallback:expr, $unit:literal, $meaning:literal, $effect:expr, $show:expr;)* })*) => {
        $($(#[doc = $meaning] pub static $id: Entry = Entry {
            name: $name, key: $key, fallback: $fallback, unit: $unit, meaning: $meaning,
            effect: $effect, show: $show,
        };)*)*

        /// Every setting, in groups with a heading each, in the order of the reference page.
        pub static GROUPS: &[(&str, &[&Entry])] = &[$(($group, &[$(&$id),*])),*];
    };
}

use Effect::{Active, Idle, Refused, Tests};
use Fallback::{Absent, Value};
use Show::{Plain, Secret, Url};

settings! {
    "Provider" {
        POLYGON_API_KEY "POLYGON_API_KEY" "polygon_api_key" Absent("none"), "text", "key of the provider", Active, Secret;
        MASSIVE_API_KEY "MASSIVE_API_KEY" "massive_api_key" Absent("none"), "text", "the same key under the provider's newer name; both set and different is an error", Active, Secret;
        PROVIDERS "PANSCAN_PROVIDERS" "providers" Value("polygon"), "names, comma-separated", "fallback chain for bars: `polygon` first, then any of `alpaca`, `yahoo` and `alphavantage`", Active, Plain;
        PROVIDERS_COMPARE "PANSCAN_PROVIDERS_COMPARE" "providers_compare" Value("off"), "on or off", "asks the next provider of the chain for the same bars and reports where the two disagree", Active, Plain;
        PROVIDER_CA "PANSCAN_PROVIDER_CA" "provider_ca" Absent("none"), "file, PEM", "certificates that are trusted beside the system's own", Active, Plain;
        ALPACA_URL "PANSCAN_ALPACA_URL" "alpaca_url" Absent("Alpaca's"), "http(s) URL", "where Alpaca answers; `panscan sim` has it under `/alpaca`", Active, Url;
        ALPACA_FEED "PANSCAN_ALPACA_FEED" "alpaca_feed" Value("sip"), "sip or iex", "feed of Alpaca; iex is a small part of the market's volume", Active, Plain;
        YAHOO_URL "PANSCAN_YAHOO_URL" "yahoo_url" Absent("Yahoo's"), "http(s) URL", "where Yahoo answers; `panscan sim` has it under `/yahoo`", Active, Url;
        ALPHA_VANTAGE_URL "PANSCAN_ALPHA_VANTAGE_URL" "alpha_vantage_url" Absent("Alpha Vantage's"), "http(s) URL", "where Alpha Vantage answers; `panscan sim` has it under `/alphavantage`", Active, Url;
        PROVIDER_URL "PANSCAN_PROVIDER_URL" "provider_url" Absent("the provider's"), "http(s) URL", "where the provider answers; point it at `panscan sim`", Active, Url;
        STREAM_URL "PANSCAN_STREAM_URL" "stream_url" Absent("the provider's"), "ws(s) URL", "where the provider streams", Idle, Url;
        RATE_LIMIT "PANSCAN_RATE_LIMIT" "rate_limit" Value("5/min"), "calls/window, or `unlimited`", "calls in any sliding window of that length", Active, Plain;
        RATE_BURST "PANSCAN_RATE_BURST" "rate_burst" Value("5"), "calls, 1 to 100000", "how many of them may go at once", Active, Plain;
        LIMIT_PEERS "PANSCAN_LIMIT_PEERS" "limit_peers" Value("1"), "servers, 1 to 1000", "servers that share the key; each keeps to its share of the limit while Redis is gone, or off", Active, Plain;
        READ_TIMEOUT "PANSCAN_READ_TIMEOUT" "read_timeout" Value("10s"), "duration, 1ms to 1h", "longest silence inside one provider call", Active, Plain;
        TOTAL_TIMEOUT "PANSCAN_TOTAL_TIMEOUT" "total_timeout" Value("30s"), "duration, 1ms to 1h", "longest provider call", Active, Plain;
        CONNECTION_TIMEOUT "CONNECTION_TIMEOUT" "connection_timeout" Value("10"), "seconds, above 0 to 3600", "longest wait for a connection", Active, Plain;
        MAX_CONNECTIONS "MAX_CONNECTIONS" "max_connections" Value("50"), "connections, 1 to 10000", "HTTP connections in use at once", Active, Plain;
        MAX_POOL_SIZE "MAX_POOL_SIZE" "max_pool_size" Value("20"), "connections, 0 to 10000", "idle HTTP connections kept per host", Active, Plain;
        MAX_RETRIES "MAX_RETRIES" "max_retries" Value("3"), "retries, 0 to 20", "retries of an idempotent call after 429, 500, 502, 503, 504 or a transport failure", Active, Plain;
        RETRY_BACKOFF_FACTOR "RETRY_BACKOFF_FACTOR" "retry_backoff_factor" Value("0.5"), "seconds, 0 to 60", "wait before retry k is random in [0, factor·2^(k-1)] s, at most 20 s; Retry-After wins", Active, Plain;
    }
    "Fetching and streaming" {
        MAX_WORKERS "MAX_WORKERS" "max_workers" Value("10"), "jobs, 1 to 1000", "fetch jobs at once", Active, Plain;
        BATCH_SIZE "BATCH_SIZE" "batch_size" Value("256"), "rows, 1 to 8192", "rows per message; symbols per fetch job", Active, Plain;
        QUEUE_SIZE "QUEUE_SIZE" "queue_size" Value("100"), "frames, 1 to 10000", "frames held per stream; also fetch jobs waiting", Idle, Plain;
    }
    "Server" {
        CONFIG "PANSCAN_CONFIG" "config" Absent("none"), "file", "TOML file with any of these settings by their file key", Active, Plain;
        LISTEN "PANSCAN_LISTEN" "listen" Value("127.0.0.1:50051"), "address:port", "where gRPC is served; port 0 picks a free one; anything but loopback needs keys and TLS, or `--insecure-listen`", Active, Plain;
        METRICS_LISTEN "PANSCAN_METRICS_LISTEN" "metrics_listen" Value("127.0.0.1:9464"), "address:port", "where metrics are served", Idle, Plain;
        KEYS "PANSCAN_KEYS" "keys" Absent("none"), "file", "callers' keys", Refused("callers' keys are not in this build"), Plain;
        TLS_CERT "PANSCAN_TLS_CERT" "tls_cert" Absent("none"), "file", "certificate of the server", Refused("TLS is not in this build"), Plain;
        TLS_KEY "PANSCAN_TLS_KEY" "tls_key" Absent("none"), "file", "private key of the server", Refused("TLS is not in this build"), Plain;
        TLS_CLIENT_CA "PANSCAN_TLS_CLIENT_CA" "tls_client_ca" Absent("none"), "file", "authority whose certificates callers must show", Refused("TLS is not in this build"), Plain;
        MAX_CONCURRENT "PANSCAN_MAX_CONCURRENT" "max_concurrent" Absent("2 per core"), "scans, 1 to 100000", "scans planning or computing at once", Active, Plain;
        MAX_QUEUE "PANSCAN_MAX_QUEUE" "max_queue" Value("256"), "scans, 0 to 1000000", "scans waiting for that; more are refused at once", Active, Plain;
        DRAIN_GRACE "PANSCAN_DRAIN_GRACE" "drain_grace" Value("30s"), "duration, 0s to 1h", "how long running calls may take after SIGTERM", Active, Plain;
        LOG "PANSCAN_LOG" "log" Value("info"), "level or filter", "what is logged, e.g. `warn` or `info,panscan_fetch=debug`", Active, Plain;
    }
    "Data" {
        UNIVERSE "PANSCAN_UNIVERSE" "universe" Absent("none"), "file", "attributes of the symbols, CSV or Parquet; the symbols come from the provider's reference list", Active, Plain;
        CLOCK "PANSCAN_CLOCK" "clock" Value("system"), "`system`, `provider` or an instant", "what time it is: the machine's, the provider's market status, or one fixed RFC 3339 instant", Active, Plain;
        HISTORY_DAILY "PANSCAN_HISTORY_DAILY" "history_daily" Value("504"), "sessions, 1 to 8192", "sessions of daily bars kept resident", Active, Plain;
        HISTORY_MINUTE "PANSCAN_HISTORY_MINUTE" "history_minute" Value("10"), "sessions, 1 to 1024", "sessions of minute bars that an open start of a range reaches back", Active, Plain;
        SNAPSHOT_INTERVAL "PANSCAN_SNAPSHOT_INTERVAL" "snapshot_interval" Value("1s"), "duration, 10ms to 1h", "shortest time between two live snapshots", Idle, Plain;
        SNAPSHOT_TTL "PANSCAN_SNAPSHOT_TTL" "snapshot_ttl" Value("15min"), "duration, 1s to 7d", "how long a snapshot can be pinned", Active, Plain;
        MAX_STALENESS "PANSCAN_MAX_STALENESS" "max_staleness" Absent("by timeframe"), "duration, 1s to 365d", "bars older than this are stale", Active, Plain;
        PREFETCH "PANSCAN_PREFETCH" "prefetch" Value("on"), "on or off", "fetches ahead what is usually asked for at this time of day, from spare rate budget", Active, Plain;
        LIVE "PANSCAN_LIVE" "live" Value("off"), "on or off", "follows the provider's stream; this build has `off`", Active, Plain;
    }
    "Time to live" {
        TTL_FORMING "PANSCAN_TTL_FORMING" "ttl_forming" Value("10s"), "duration, 0s to 1h", "for so long the bars of a session that still trades are not asked for again; those of a closed one never are", Active, Plain;
        TTL_REFERENCE "PANSCAN_TTL_REFERENCE" "ttl_reference" Value("24h"), "duration, 1s to 365d", "listings, splits and dividends; older ones are answered while newer ones are fetched, and stay where that fails", Active, Plain;
        TTL_DETAILS "PANSCAN_TTL_DETAILS" "ttl_details" Value("7d"), "duration, 1min to 365d", "sectors, industries and shares of single symbols: one call each", Active, Plain;
        TTL_ABSENT "PANSCAN_TTL_ABSENT" "ttl_absent" Value("1min"), "duration, 0s to 1d", "for so long what the provider refused for good is not asked for again", Active, Plain;
        TTL_SECTOR "PANSCAN_TTL_SECTOR" "ttl_sector" Value("24h"), "duration, 1s to 365d", "statistics of groups, where their snapshot stays", Active, Plain;
        TTL_SNAPSHOT "PANSCAN_TTL_SNAPSHOT" "ttl_snapshot" Value("10s"), "duration, 0s to 1h", "the provider's snapshots of the market", Idle, Plain;
        TTL_SENTIMENT "PANSCAN_TTL_SENTIMENT" "ttl_sentiment" Value("90s"), "duration, 0s to 1d", "opinions on sentiment", Idle, Plain;
        TTL_ANALYSIS "PANSCAN_TTL_ANALYSIS" "ttl_analysis" Value("120s"), "duration, 0s to 1d", "opinions that are analyses", Idle, Plain;
    }
    "Tiers" {
        STORE "PANSCAN_STORE" "store" Value("./panscan-store"), "folder", "the file tier", Active, Plain;
        L1_BYTES "PANSCAN_L1_BYTES" "l1_bytes" Value("1GiB"), "bytes", "bound of the tier of decoded columns in memory", Active, Plain;
        L2_BYTES "PANSCAN_L2_BYTES" "l2_bytes" Value("1GiB"), "bytes", "bound of the compressed tier in memory", Active, Plain;
        L3_BYTES "PANSCAN_L3_BYTES" "l3_bytes" Value("64GiB"), "bytes", "bound of the file tier", Active, Plain;
        DATABASE_URL "PANSCAN_DATABASE_URL" "database_url" Absent("SQLite in the store"), "`sqlite:` or `postgres:` URL", "listings and who was listed when, named universes, saved scans; several servers can share one PostgreSQL", Active, Url;
        REDIS_HOST "REDIS_HOST" "redis_host" Value("localhost"), "host", "where Redis is", Active, Plain;
        REDIS_PORT "REDIS_PORT" "redis_port" Value("6379"), "port, 1 to 65535", "its port", Active, Plain;
        REDIS_DB "REDIS_DB" "redis_db" Value("0"), "number, 0 to 1023", "its database", Active, Plain;
        REDIS_URL "PANSCAN_REDIS_URL" "redis_url" Absent("from REDIS_*"), "`redis://` or `rediss://` URL, or empty", "replaces the three; empty turns Redis off", Active, Url;
        REDIS_TIMEOUT "PANSCAN_REDIS_TIMEOUT" "redis_timeout" Value("20ms"), "duration, 1ms to 1min", "wait of a scan per batch of keys", Active, Plain;
        REDIS_TTL "REDIS_TTL" "redis_ttl" Value("3600"), "seconds, 1 to 31536000", "life in Redis of kinds of data without their own", Active, Plain;
        REDIS_TTL_CLOSED "PANSCAN_REDIS_TTL_CLOSED" "redis_ttl_closed" Value("86400"), "seconds, 1 to 31536000", "life of closed bars in Redis, renewed when read: a memory bound, not staleness", Active, Plain;
        REDIS_PREFIX "PANSCAN_REDIS_PREFIX" "redis_prefix" Value("panscan"), "text", "first part of every key in Redis", Active, Plain;
        REDIS_CLUSTER "PANSCAN_REDIS_CLUSTER" "redis_cluster" Value("off"), "on or off", "Redis is a cluster; the URL names one of its nodes", Active, Plain;
        REDIS_CA "PANSCAN_REDIS_CA" "redis_ca" Absent("the system's"), "file, PEM", "certificates that are trusted instead of the system's, for `rediss://`", Active, Plain;
        S3_ENDPOINT "PANSCAN_S3_ENDPOINT" "s3_endpoint" Absent("the provider's own"), "http(s) URL", "where the provider's flat files are", Active, Url;
        S3_BUCKET "PANSCAN_S3_BUCKET" "s3_bucket" Absent("flatfiles"), "text", "bucket of the flat files", Active, Plain;
        S3_ACCESS_KEY "PANSCAN_S3_ACCESS_KEY" "s3_access_key" Absent("none"), "text", "key of the flat files; off without", Active, Secret;
        S3_SECRET_KEY "PANSCAN_S3_SECRET_KEY" "s3_secret_key" Absent("none"), "text", "its secret", Active, Secret;
    }
    "Compute" {
        BACKEND "PANSCAN_BACKEND" "backend" Value("auto"), "auto, cpu or cuda", "what computes; this build has `cpu`", Active, Plain;
        PRECISION "PANSCAN_PRECISION" "precision" Value("f64"), "f64 or f32", "numbers computed with where a request does not say; this build has `f64`", Active, Plain;
        THREADS "PANSCAN_THREADS" "threads" Absent("one per core"), "threads, 1 to 1024", "compute threads", Active, Plain;
    }
    "Command line" {
        SERVER "PANSCAN_SERVER" "server" Value("http://127.0.0.1:50051"), "http(s) URL", "server that `scan`, `fetch` and `check` ask", Active, Url;
    }
    "Signals" {
        APCA_API_KEY_ID "APCA_API_KEY_ID" "apca_api_key_id" Absent("none"), "text", "key of Alpaca, where it is in PANSCAN_PROVIDERS", Active, Secret;
        APCA_API_SECRET_KEY "APCA_API_SECRET_KEY" "apca_api_secret_key" Absent("none"), "text", "its secret", Active, Secret;
        ALPHA_VANTAGE_API_KEY "ALPHA_VANTAGE_API_KEY" "alpha_vantage_api_key" Absent("none"), "text", "key of Alpha Vantage, where it is in PANSCAN_PROVIDERS", Active, Secret;
        XAI_API_KEY "XAI_API_KEY" "xai_api_key" Absent("none"), "text", "xAI", Idle, Secret;
        PERPLEXITY_API_KEY "PERPLEXITY_API_KEY" "perplexity_api_key" Absent("none"), "text", "Perplexity Sonar", Idle, Secret;
    }
    "Telemetry (as the OpenTelemetry specification says)" {
        OTEL_ENDPOINT "OTEL_EXPORTER_OTLP_ENDPOINT" "otel_exporter_otlp_endpoint" Absent("none"), "http(s) URL", "collector of traces and metrics", Idle, Url;
        OTEL_PROTOCOL "OTEL_EXPORTER_OTLP_PROTOCOL" "otel_exporter_otlp_protocol" Absent("grpc"), "grpc or http/protobuf", "how it is spoken to", Idle, Plain;
        OTEL_HEADERS "OTEL_EXPORTER_OTLP_HEADERS" "otel_exporter_otlp_headers" Absent("none"), "key=value, comma-separated", "sent with every export", Idle, Secret;
        OTEL_SERVICE_NAME "OTEL_SERVICE_NAME" "otel_service_name" Value("panscan"), "text", "name of the service in traces", Idle, Plain;
        OTEL_RESOURCE_ATTRIBUTES "OTEL_RESOURCE_ATTRIBUTES" "otel_resource_attributes" Absent("none"), "key=value, comma-separated", "attributes of the service in traces", Idle, Plain;
        OTEL_SAMPLER "OTEL_TRACES_SAMPLER" "otel_traces_sampler" Absent("parentbased_always_on"), "name", "which traces are kept", Idle, Plain;
        OTEL_SAMPLER_ARG "OTEL_TRACES_SAMPLER_ARG" "otel_traces_sampler_arg" Absent("none"), "number", "share of them", Idle, Plain;
        OTEL_DISABLED "OTEL_SDK_DISABLED" "otel_sdk_disabled" Value("false"), "true or false", "turns telemetry off", Idle, Plain;
    }
    "Tests and measurements" {
        TEST_DATA "PANSCAN_TEST_DATA" "test_data" Value("../shared/data"), "folder", "recorded data for tests and `bench`; where it is absent those are skipped by name", Tests, Plain;
        PEERS "PANSCAN_PEERS" "peers" Value("~/.cache/panscan-peers"), "folder", "where other implementations are installed for comparison", Tests, Plain;
    }
}

/// Every setting in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    GROUPS.iter().flat_map(|(_, entries)| entries.iter().copied())
}

/// The name nearest to `word`, when few enough edits lead there.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (word.len() / 4).clamp(1, 4);
    names.map(|name| (edits(word, name), name)).filter(|(n, _)| *n <= bound).min().map(|(_, name)| name)
}

/// Insertions, deletions and replacements from one text to the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
