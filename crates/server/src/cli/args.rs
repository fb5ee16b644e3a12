//! Arguments and flags of every command. What they mean is in the command's own module.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Marks what the contract names and this build lacks.
const ABSENT: &str = "Not in this build";

/// Scans whole markets: bars fetched once, kept, and ranked in one call.
#[derive(Debug, Parser)]
#[command(name = "panscan", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// For every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Log level or filter, e.g. warn or info,panscan_fetch=debug
    #[arg(long, global = true, value_name = "LEVEL|FILTER")]
    pub log: Option<String>,
    /// Form of the log
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Colours on stderr
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the service
    Serve(Box<ServeArgs>),
    /// Runs one scan, over a server or in-process
    Scan(Box<ScanArgs>),
    /// Fetches bars into the store, or out of it
    Fetch(Box<FetchArgs>),
    /// Simulator, server and sample scans: no key, no network
    Demo(Box<DemoArgs>),
    /// Measures scans, decoding and streaming
    Bench(Box<BenchArgs>),
    /// Looks at configuration, key, provider, store and machine; says what to do
    Check(Box<CheckArgs>),
    /// Runs the simulated provider
    Sim(Box<SimArgs>),
    /// Looks after the file tier: what it holds, whether it is whole, copies of it
    Store(StoreArgs),
    /// Callers' keys (not in this build)
    Keys(Rest),
    /// Writes the reference page of the settings to stdout
    #[command(hide = true)]
    Reference,
}

/// Arguments that are not looked at.
#[derive(Debug, Args)]
pub struct Rest {
    /// Ignored
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<String>,
}

/// Flags of `store`.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// What `store` does.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Reads every file and says which are damaged or missing (exit 4 if any); safe beside a server
    Verify(StoreAt),
    /// Counts what is held; safe beside a server
    Stats(StoreAt),
    /// Removes leftovers and what is held twice; refused beside a server
    Compact(StoreAt),
    /// Writes bars for other programs; safe beside a server
    Export(ExportArgs),
    /// Copies the store to a new folder, every file verified; safe beside a server
    Backup(BackupArgs),
    /// Brings a backup back into the store; refused beside a server
    Restore(RestoreArgs),
}

impl StoreCommand {
    /// The flags that all of them have.
    #[must_use]
    pub fn at(&self) -> &StoreAt {
        match self {
            Self::Verify(at) | Self::Stats(at) | Self::Compact(at) => at,
            Self::Export(args) => &args.at,
            Self::Backup(args) => &args.at,
            Self::Restore(args) => &args.at,
        }
    }
}

/// Which store, and how the answer looks.
#[derive(Debug, Args)]
pub struct StoreAt {
    /// Folder of the file tier [default: PANSCAN_STORE or ./panscan-store]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Flags of `store export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A file; or a folder (there already, or ending with /) for one file per timeframe
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Only these symbols: A,B or @FILE with one a line
    #[arg(long, value_name = "A,B|@FILE")]
    pub symbols: Option<String>,
    /// Interval of the bars, of those that are held [default: 1d into a file, all into a folder]
    #[arg(long, value_name = "TF")]
    pub timeframe: Option<String>,
    /// First session, YYYY-MM-DD
    #[arg(long, value_name = "D")]
    pub from: Option<String>,
    /// Last session, YYYY-MM-DD
    #[arg(long, value_name = "D")]
    pub to: Option<String>,
    /// Prices adjusted for what; splits known to the store, up to its newest session
    #[arg(long, value_enum, default_value_t = Adjusted::Raw)]
    pub adjustment: Adjusted,
    /// Market id, where the store has more than one
    #[arg(long, value_name = "ID")]
    pub market: Option<String>,
    /// Form of the file
    #[arg(short, long, value_enum, value_name = "FMT", default_value_t = ExportFormat::Parquet)]
    pub output: ExportFormat,
    /// Which store.
    #[command(flatten)]
    pub at: StoreAt,
}

/// Form of an exported file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Parquet with zstd.
    Parquet,
    /// Arrow IPC file.
    Arrow,
    /// RFC 4180 with a header line.
    Csv,
}

impl ExportFormat {
    /// How the name of such a file ends.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Csv => "csv",
        }
    }
}

/// Flags of `store backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Folder of the copy; absent or empty
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Which store.
    #[command(flatten)]
    pub at: StoreAt,
}

/// Flags of `store restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Folder of the backup
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Which store.
    #[command(flatten)]
    pub at: StoreAt,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where gRPC is served; port 0 picks a free one [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Accepts callers from other machines without keys and TLS
    #[arg(long)]
    pub insecure_listen: bool,
    /// Where metrics are served
    #[arg(long, value_name = "ADDR", help = ABSENT)]
    pub metrics_listen: Option<String>,
    /// Where the provider answers
    #[arg(long, value_name = "URL")]
    pub provider: Option<String>,
    /// Attributes of the symbols: CSV, .csv.gz or Parquet
    #[arg(long, value_name = "FILE")]
    pub universe: Option<PathBuf>,
    /// Folder of the file tier [default: ./panscan-store]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// What computes: auto, cpu or cuda
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<String>,
    /// Compute threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<String>,
    /// Uses no Redis
    #[arg(long)]
    pub no_redis: bool,
    /// Follows the provider's stream
    #[arg(long, help = ABSENT)]
    pub live: bool,
    /// Certificate of the server
    #[arg(long, value_name = "FILE", help = ABSENT)]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the server
    #[arg(long, value_name = "FILE", help = ABSENT)]
    pub tls_key: Option<PathBuf>,
    /// Authority of callers' certificates
    #[arg(long, value_name = "FILE", help = ABSENT)]
    pub tls_client_ca: Option<PathBuf>,
    /// Callers' keys
    #[arg(long, value_name = "FILE", help = ABSENT)]
    pub keys: Option<PathBuf>,
    /// Fetches the resident history before the first request
    #[arg(long)]
    pub warm: bool,
    /// Written by rename when the first request can be answered
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// What is scanned and how, shared by `scan` and `demo`.
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// Rows to keep, e.g. "rsi(14) < 30 and close > sma(200)"
    pub filter: Option<String>,
    /// Server to ask [default: PANSCAN_SERVER or http://127.0.0.1:50051]
    #[arg(long, value_name = "URL", conflicts_with = "local")]
    pub server: Option<String>,
    /// Runs the scan in this process, with the settings of `serve`
    #[arg(long)]
    pub local: bool,
    /// Output column, "expr" or "name = expr"; repeatable
    #[arg(short, long, value_name = "E")]
    pub columns: Vec<String>,
    /// Ranks by this, largest first
    #[arg(long, value_name = "E")]
    pub rank_by: Option<String>,
    /// Ranks smallest first
    #[arg(long)]
    pub asc: bool,
    /// Most rows [default: 100]
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub limit: Option<u32>,
    /// Weighted factor of score(), e.g. momentum=0.7 or cheap=-1:close; repeatable
    #[arg(long, value_name = "NAME=WEIGHT[:E]")]
    pub factor: Vec<String>,
    /// Only this sector; repeatable
    #[arg(long, value_name = "S")]
    pub sector: Vec<String>,
    /// Only this exchange, e.g. XNAS; repeatable
    #[arg(long, value_name = "X")]
    pub exchange: Vec<String>,
    /// Only from this market capitalisation on
    #[arg(long, value_name = "V", value_parser = finite)]
    pub min_market_cap: Option<f64>,
    /// Only these symbols: A,B or @FILE with one a line
    #[arg(long, value_name = "A,B|@FILE")]
    pub symbols: Option<String>,
    /// Interval of the bars [default: 1d]
    #[arg(long, value_name = "TF")]
    pub timeframe: Option<String>,
    /// Only data known then: an RFC 3339 instant, or a session date for its end
    #[arg(long, value_name = "T", conflicts_with = "snapshot")]
    pub as_of: Option<String>,
    /// Exactly this snapshot
    #[arg(long, value_name = "ID")]
    pub snapshot: Option<String>,
    /// A saved scan; other flags override it
    #[arg(long, value_name = "NAME")]
    pub saved: Option<String>,
    /// Saves the scan under a new name instead of running it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["explain", "validate"])]
    pub save: Option<String>,
    /// What to do about bars that are not held
    #[arg(long, value_enum, default_value_t = Policy::BestEffort)]
    pub policy: Policy,
    /// Longest wait for the whole answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::config::duration_flag)]
    pub timeout: std::time::Duration,
    /// Form of the rows [default: table on a terminal, else ndjson]
    #[arg(short, long, value_enum, value_name = "FMT")]
    pub output: Option<Format>,
    /// Shows the plan and its cost instead of rows
    #[arg(long, conflicts_with = "validate")]
    pub explain: bool,
    /// Adds timings of each plan node
    #[arg(long)]
    pub analyze: bool,
    /// Checks the scan and lists every problem
    #[arg(long)]
    pub validate: bool,
    /// Keeps running and shows what changes
    #[arg(long, help = ABSENT)]
    pub watch: bool,
    /// The scan as of the end of every session of a range, or of every STEP-th
    #[arg(
        long,
        value_name = "FROM..TO[/STEP]",
        conflicts_with_all = ["as_of", "snapshot", "validate", "explain", "analyze"]
    )]
    pub history: Option<String>,
    /// An answer that is not complete is exit 4
    #[arg(long)]
    pub strict: bool,
    /// No row is exit 11
    #[arg(long)]
    pub fail_empty: bool,
    /// Rows only
    #[arg(long)]
    pub quiet: bool,
}

/// What to do about bars that are not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Fetch until the deadline, name what is missing.
    BestEffort,
    /// Make no provider call.
    Cached,
    /// Answer only when nothing is missing.
    Complete,
}

/// Form of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; numbers rounded.
    Table,
    /// One object a line.
    Ndjson,
    /// One document with header, rows, diagnostics and summary.
    Json,
    /// RFC 4180 with a header line.
    Csv,
    /// Arrow IPC stream; not to a terminal.
    Arrow,
}

/// Flags of `fetch`.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Symbols, or @FILE with one a line
    #[arg(value_name = "SYMBOLS|@FILE", required_unless_present = "all", conflicts_with = "all")]
    pub symbols: Vec<String>,
    /// Every symbol of the universe
    #[arg(long)]
    pub all: bool,
    /// Interval of the bars
    #[arg(long, value_name = "TF", default_value = "1d")]
    pub timeframe: String,
    /// First session, YYYY-MM-DD
    #[arg(long, value_name = "D", requires = "to")]
    pub from: Option<String>,
    /// Last session, YYYY-MM-DD
    #[arg(long, value_name = "D", requires = "from")]
    pub to: Option<String>,
    /// The newest N bars [default: 500]
    #[arg(long, value_name = "N", conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub last: Option<u32>,
    /// Prices adjusted for what
    #[arg(long, value_enum, default_value_t = Adjusted::Splits)]
    pub adjustment: Adjusted,
    /// Says what it would take: cells, calls, time
    #[arg(long)]
    pub dry_run: bool,
    /// Writes the bars to stdout in this form; without it they are only kept
    #[arg(short, long, value_enum, value_name = "FMT")]
    pub output: Option<Format>,
    /// Server to ask [default: PANSCAN_SERVER or http://127.0.0.1:50051]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Longest time that it fetches [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = crate::config::duration_flag)]
    pub timeout: Option<std::time::Duration>,
    /// No progress and no summary
    #[arg(long)]
    pub quiet: bool,
}

/// Prices adjusted for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Adjusted {
    /// Splits.
    Splits,
    /// Nothing.
    Raw,
    /// Splits and dividends.
    All,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Symbols of the generated market
    #[arg(long, default_value_t = 5_277, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub symbols: u32,
    /// Sessions that are scanned
    #[arg(long, default_value_t = 252, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub sessions: u32,
    /// Seed of the generated market
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Calls that the simulated provider allows, e.g. 100/s
    #[arg(long, default_value = "100/s", value_name = "RATE")]
    pub rate: String,
    /// Rows to keep [default: every symbol with a value]
    #[arg(long, value_name = "E")]
    pub filter: Option<String>,
    /// Port of the server; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Ends after the summary, as it does unless --keep is given
    #[arg(long, conflicts_with = "keep")]
    pub once: bool,
    /// Prints one JSON object as the last line of stdout
    #[arg(long)]
    pub json: bool,
    /// Leaves simulator and server up until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// Recorded bars (Parquet) instead of a generated market; repeatable
    #[arg(long, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Attributes of the recorded symbols
    #[arg(long, value_name = "FILE", requires = "data")]
    pub universe: Option<PathBuf>,
}

/// Flags of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What is measured: scan (kernels), decode (answers to columns), codec (recorded bars to few bytes), tiers (reads
    /// from each tier, look-up, restart, filling from Redis), stream (results to a client), turbo (minute bars and
    /// their indicators end to end) or enhanced (provider calls saved)
    pub suite: String,
    /// Symbols of the generated market
    #[arg(long, default_value_t = 5_277, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub symbols: u32,
    /// Bars per symbol
    #[arg(long, default_value_t = 252, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub bars: u32,
    /// What computes: auto or cpu
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<String>,
    /// A filter to measure instead of the standard one
    #[arg(long, value_name = "E")]
    pub scan: Option<String>,
    /// Samples per case
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub iterations: Option<u32>,
    /// Writes one JSON object to this file, or to stdout when no file or `-` is given
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub json: Option<PathBuf>,
    /// Compares with an earlier JSON object
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Slower than that is exit 4
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    pub max_regression: String,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Also asks this server
    #[arg(long, value_name = "URL", conflicts_with = "offline")]
    pub server: Option<String>,
    /// Makes no connection
    #[arg(long)]
    pub offline: bool,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = CheckFormat::Table)]
    pub output: CheckFormat,
}

/// Form of the answer of `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people.
    Table,
    /// One object.
    Json,
}

/// Flags of `sim`.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// Where it answers; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Symbols of the generated market
    #[arg(long, default_value_t = 5_277, value_parser = clap::value_parser!(u32).range(1..=100_000), conflicts_with = "data")]
    pub symbols: u32,
    /// Sessions of the generated market
    #[arg(long, default_value_t = 504, value_parser = clap::value_parser!(u32).range(1..=5_000), conflicts_with = "data")]
    pub sessions: u32,
    /// Seed of the generated market, and of the choice of faults
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Last session of the generated market
    #[arg(long, default_value = "2025-12-31", value_name = "D", conflicts_with = "data")]
    pub end: String,
    /// Recorded bars (Parquet) instead of a generated market; repeatable
    #[arg(long, value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Attributes of the recorded symbols (CSV, .csv.gz)
    #[arg(long, value_name = "FILE", requires = "data")]
    pub universe: Option<PathBuf>,
    /// What its clock shows at the start [default: 20:00 Eastern of the last session]
    #[arg(long, value_name = "T")]
    pub now: Option<String>,
    /// Calls allowed per key in any window, or unlimited
    #[arg(long, default_value = "5/min", value_name = "RATE")]
    pub rate: String,
    /// Injects a fault with this probability; repeatable
    #[arg(long, value_name = "NAME=P")]
    pub fault: Vec<String>,
    /// Keys that are accepted [default: every non-empty one]
    #[arg(long, value_name = "K1,K2", value_delimiter = ',')]
    pub keys: Option<Vec<String>>,
    /// Subscription it believes its callers have
    #[arg(long, default_value = "realtime", value_name = "free|delayed|realtime")]
    pub plan: String,
    /// Providers it speaks like, each under its own path: polygon (always), alpaca, yahoo, alphavantage; with a
    /// limit of its own where one is named, e.g. alpaca=200/min, else with the provider's usual one
    #[arg(long, value_name = "NAME[=RATE]", value_delimiter = ',', default_value = "polygon")]
    pub dialects: Vec<String>,
    /// Name of the key that opens its bucket of flat files, `flatfiles`
    #[arg(long, value_name = "NAME", default_value = panscan_sim::BucketKeys::ACCESS)]
    pub s3_access_key: String,
    /// Secret of that key
    #[arg(long, value_name = "SECRET", default_value = panscan_sim::BucketKeys::SECRET)]
    pub s3_secret_key: String,
    /// Written when it stops
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// Written by rename when the first request can be answered
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

fn finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v: &f64| v.is_finite()).ok_or_else(|| "expected a number".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_contract_is_parsed() {
        for line in [
            "panscan serve --listen 127.0.0.1:0 --provider http://x --universe u.csv --no-redis --threads 2 --warm",
            "panscan scan 'rsi(14)' -c close -c a=sma(5) --rank-by close --asc -n 5 -o csv --policy cached --strict",
            "panscan fetch AAPL MSFT --last 10 -o ndjson",
            "panscan fetch --all --from 2025-01-02 --to 2025-01-31 --dry-run",
            "panscan demo --once --json --symbols 10 --rate 50/s",
            "panscan bench scan --json -",
            "panscan bench scan --json",
            "panscan check --offline -o json",
            "panscan sim --rate 5/min --fault 503=0.1 --fault mixed=0.2 --keys a,b",
            "panscan store verify --json",
            "panscan --log warn check",
        ] {
            let words = line.split(' ').map(|word| word.trim_matches('\''));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "panscan",
            "panscan frobnicate",
            "panscan scan --server http://x --local",
            "panscan scan -n 0",
            "panscan fetch",
            "panscan fetch A --from 2025-01-02",
            "panscan demo --once --keep",
            "panscan sim --listen nowhere",
            "panscan sim --data x --symbols 5",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
