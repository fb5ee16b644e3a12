//! The ports: how the engine reaches providers, tiers, backends and time without knowing any of them.

mod compute;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use self::compute::{Cancel, Compute, ComputeError, Memo, ScanJob, SeriesJob};

use crate::block::{Block, Quarantined};
use crate::calendar::Announced;
use crate::error::Kind;
use crate::panel::Split;
use crate::snapshot::MarketId;
use crate::symbol::Symbol;
use crate::time::{SessionDate, Timeframe, Timestamp};
use crate::universe::Listing;

/// An answer that is not here yet. Core names the shape of waiting; it never waits.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One question to a provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BarAsk {
    /// Every symbol's raw daily bar of one session: one call.
    Day(SessionDate),
    /// Every symbol's raw bars of one session out of a file that the provider publishes: no call that counts
    /// against the rate limit, no vwap, and many bytes.
    FlatFile {
        /// Of which interval: day or one minute.
        timeframe: Timeframe,
        /// Whose session.
        session: SessionDate,
    },
    /// One symbol's raw bars over the sessions `from` to `to`, both included: one call per 50,000 base bars.
    Range {
        /// Whose bars.
        symbol: Symbol,
        /// Of which interval; day or minutes.
        timeframe: Timeframe,
        /// First session.
        from: SessionDate,
        /// Last session.
        to: SessionDate,
    },
}

impl fmt::Display for BarAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(session) => write!(f, "the market of {session}"),
            Self::FlatFile { timeframe, session } => write!(f, "the {timeframe} file of {session}"),
            Self::Range { symbol, timeframe, from, to } => write!(f, "{symbol} {timeframe} {from} to {to}"),
        }
    }
}

/// What a provider answered to a [`BarAsk`], all pages joined.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The bars; a [`BarAsk::Day`] has one row, a daily [`BarAsk::Range`] a row for each session asked for.
    pub block: Block,
    /// Rows that are not in it, with the reason.
    pub quarantined: Vec<Quarantined>,
    /// Calls that it took.
    pub calls: u32,
}

/// Whether a call may wait behind others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// A caller waits for it.
    Interactive,
    /// Nobody does.
    Background,
}

/// On whose behalf a call is made: calls that somebody waits for go first, and callers take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errand {
    /// Whether it may wait behind others.
    pub urgency: Urgency,
    /// Whoever asked first. Equal numbers share one queue; what the number means is the engine's own.
    pub caller: u64,
}

impl Errand {
    /// For a caller who waits.
    #[must_use]
    pub const fn interactive(caller: u64) -> Self {
        Self { urgency: Urgency::Interactive, caller }
    }

    /// For nobody in particular.
    #[must_use]
    pub const fn background() -> Self {
        Self { urgency: Urgency::Background, caller: 0 }
    }
}

/// What a source can be asked for; the cover planner chooses among it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offers {
    /// [`BarAsk::Day`] is answered.
    pub market_days: bool,
    /// [`BarAsk::FlatFile`] is answered, from this session on.
    pub files_from: Option<SessionDate>,
    /// Base bars that one call of a [`BarAsk::Range`] may read.
    pub bars_per_call: u32,
}

impl Default for Offers {
    fn default() -> Self {
        Self { market_days: true, files_from: None, bars_per_call: 50_000 }
    }
}

/// Cash that a holder gets, as the provider lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct Dividend {
    /// Whose.
    pub symbol: Symbol,
    /// First session at which a buyer no longer gets it.
    pub ex_date: SessionDate,
    /// A share.
    pub cash: f64,
    /// Currency code, where it was said.
    pub currency: Option<Arc<str>>,
}

/// A ticker that a company took on, with the first session under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The ticker from then on.
    pub symbol: Symbol,
    /// Its first session; the provider's date is not exact.
    pub from: SessionDate,
    /// The company's figi, which outlives its tickers.
    pub figi: Option<Arc<str>>,
}

/// Counters of a provider since start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SourceStats {
    /// Calls for bars and reference data.
    pub calls: u64,
    /// Calls for market status and clock.
    pub status_calls: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Answers 429.
    pub rate_limited: u64,
    /// Calls made again.
    pub retries: u64,
    /// Calls that may be made now.
    pub available: f64,
    /// How many come free a second by the limit that was set.
    pub refill_per_second: f64,
    /// How many come free a second as things are: fewer after the provider said that there were too many, or while
    /// the limit's other users cannot be heard.
    pub adapted_per_second: f64,
    /// Second attempts that were made beside a slow first one.
    pub hedges: u64,
}

/// Whether a provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BreakerState {
    /// It is.
    #[default]
    Closed,
    /// It failed so often, or refused its key, that it is left alone.
    Open,
    /// One call tries whether it is back.
    HalfOpen,
}

impl BreakerState {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// How one provider is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceHealth {
    /// Its name.
    pub provider: Arc<str>,
    /// Whether it is asked.
    pub state: BreakerState,
    /// Until when it is left alone; decades ahead where only another key helps.
    pub until: Option<Timestamp>,
    /// Failures since it last answered.
    pub failures: u32,
    /// The last of them.
    pub message: Option<String>,
    /// Its own counters.
    pub stats: SourceStats,
}

/// Why a provider did not serve a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The key is missing or unknown.
    #[error("{provider} refuses the key: {message}; give the server a valid one ({})", key_setting(provider))]
    Key {
        /// Its name.
        provider: Arc<str>,
        /// Its own words.
        message: String,
    },
    /// The plan does not include this.
    #[error("{provider} does not entitle this key to {what}: {message}")]
    NotEntitled {
        /// Its name.
        provider: Arc<str>,
        /// What was asked for.
        what: String,
        /// Its own words.
        message: String,
    },
    /// The plan includes this kind of data and not this time. Asking again for it is pointless, asking for what lies
    /// within the window is not.
    #[error("{provider} does not serve {what} within this plan{}: {message}", window(*from, *until))]
    OutsidePlan {
        /// Its name.
        provider: Arc<str>,
        /// What was asked for.
        what: String,
        /// No session before this one is served, where the request began too early. Learned from refusals: it may
        /// turn out to be later.
        from: Option<SessionDate>,
        /// No session after this one is served, where the request ended too late.
        until: Option<SessionDate>,
        /// Its own words.
        message: String,
    },
    /// The plan includes this, but not yet.
    #[error("{provider} serves {what} from {retry_at} on: {message}")]
    NotYet {
        /// Its name.
        provider: Arc<str>,
        /// What was asked for.
        what: String,
        /// When to ask again.
        retry_at: Timestamp,
        /// Its own words.
        message: String,
    },
    /// Refused for the rate, also after retries.
    #[error("{provider} is over its rate limit")]
    RateLimited {
        /// Its name.
        provider: Arc<str>,
        /// When to come back.
        retry_after: Duration,
    },
    /// It failed or could not be reached, also after retries.
    #[error("{provider} failed on {what}: {message}")]
    Unavailable {
        /// Its name.
        provider: Arc<str>,
        /// What was asked for.
        what: String,
        /// What happened.
        message: String,
    },
    /// The answer could not be read.
    #[error("{provider} sent for {what} what cannot be read: {message}")]
    Unreadable {
        /// Its name.
        provider: Arc<str>,
        /// What was asked for.
        what: String,
        /// What is wrong, with the first bytes.
        message: String,
    },
    /// This source has no such thing; another one of a chain may.
    #[error("{provider} does not offer {what}")]
    NotOffered {
        /// Its name.
        provider: Arc<str>,
        /// What was asked for.
        what: String,
    },
    /// It failed so often that it is left alone for a while.
    #[error("{provider} is left alone for {} s after repeated failures: {message}", retry_after.as_secs())]
    Suspended {
        /// Its name.
        provider: Arc<str>,
        /// When it is tried again.
        retry_after: Duration,
        /// The last failure.
        message: String,
    },
    /// The request itself is wrong; never repeated.
    #[error("{provider} refuses {what}: {message}")]
    Refused {
        /// Its name.
        provider: Arc<str>,
        /// What was asked for.
        what: String,
        /// Its own words.
        message: String,
    },
}

/// The setting that holds a provider's key.
fn key_setting(provider: &str) -> &'static str {
    match provider.split('/').next() {
        Some("alpaca") => "APCA_API_KEY_ID and APCA_API_SECRET_KEY",
        Some("alphavantage") => "ALPHA_VANTAGE_API_KEY",
        _ => "POLYGON_API_KEY",
    }
}

fn window(from: Option<SessionDate>, until: Option<SessionDate>) -> String {
    let from = from.map(|from| format!(", which begins on {from}")).unwrap_or_default();
    let until = until.map(|until| format!(", which ends on {until}")).unwrap_or_default();
    from + &until
}

impl SourceError {
    /// What a caller can do about it. A key that the provider refuses is ours, not the caller's.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::RateLimited { .. } => Kind::Busy,
            _ => Kind::Upstream,
        }
    }
}

/// An upstream of bars and reference data. Never called on a warm scan. Dropping a pending answer abandons the
/// call: one that has not started is never made.
pub trait BarSource: Send + Sync {
    /// Its name, e.g. `polygon`.
    fn name(&self) -> Arc<str>;

    /// Whichever of several providers behind it is the first to be asked for daily bars; its own name where there is
    /// one. Another name in a block's provenance means that this one did not answer.
    fn primary(&self) -> Arc<str> {
        self.name()
    }

    /// Answers one question, following pages; every call inside waits for the rate limit.
    fn fetch<'a>(&'a self, ask: &'a BarAsk, errand: Errand) -> Pending<'a, Result<Fetched, SourceError>>;

    /// What it can be asked for.
    fn offers(&self) -> Offers {
        Offers::default()
    }

    /// The symbols that the provider lists, without sector and market capitalisation.
    fn listings(&self) -> Pending<'_, Result<Vec<Listing>, SourceError>>;

    /// The splits executed from `from` on.
    fn splits(&self, from: SessionDate) -> Pending<'_, Result<Vec<Split>, SourceError>>;

    /// The dividends with an ex-date from `from` on.
    fn dividends(&self, from: SessionDate) -> Pending<'_, Result<Vec<Dividend>, SourceError>> {
        let _ = from;
        not_offered(self.name(), "dividends")
    }

    /// One symbol's attributes, sector and shares outstanding among them; `None` when it is not known.
    fn details<'a>(
        &'a self,
        symbol: &'a Symbol,
        errand: Errand,
    ) -> Pending<'a, Result<Option<Listing>, SourceError>> {
        let _ = (symbol, errand);
        not_offered(self.name(), "ticker details")
    }

    /// The tickers that ceased to trade: given up by their companies, or delisted.
    fn gone(&self, errand: Errand) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        let _ = errand;
        not_offered(self.name(), "tickers that ceased to trade")
    }

    /// The tickers of the company that `symbol` belongs to, oldest first.
    fn renames<'a>(
        &'a self,
        symbol: &'a Symbol,
        errand: Errand,
    ) -> Pending<'a, Result<Vec<Rename>, SourceError>> {
        let _ = (symbol, errand);
        not_offered(self.name(), "ticker changes")
    }

    /// The provider's clock and the world that it serves.
    fn status(&self) -> Pending<'_, Result<SourceStatus, SourceError>>;

    /// The days ahead whose hours an exchange says to differ.
    fn announced(&self) -> Pending<'_, Result<Vec<Announced>, SourceError>> {
        not_offered(self.name(), "market holidays")
    }

    /// By how much what it serves now is late, where its answers say so.
    fn delay(&self) -> Option<Duration> {
        None
    }

    /// Has the provider of this name asked again at once, whatever failed. Says whether there is one.
    fn reset(&self, provider: &str) -> bool {
        *self.name() == *provider
    }

    /// How many calls `n` calls from now would take, given the rate limit.
    fn estimate(&self, calls: u64) -> Duration;

    /// Counters since start.
    fn stats(&self) -> SourceStats;

    /// How each provider behind this one is doing; one entry where it is a provider itself.
    fn health(&self) -> Vec<SourceHealth> {
        vec![SourceHealth {
            provider: self.name(),
            state: BreakerState::Closed,
            until: None,
            failures: 0,
            message: None,
            stats: self.stats(),
        }]
    }
}

fn not_offered<'a, T: Send + 'a>(provider: Arc<str>, what: &str) -> Pending<'a, Result<T, SourceError>> {
    let what = what.to_owned();
    Box::pin(std::future::ready(Err(SourceError::NotOffered { provider, what })))
}

/// What a provider says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// The world that it serves.
    pub market: MarketId,
    /// Its clock.
    pub now: Timestamp,
}

/// Names a block in a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockKey {
    /// The whole market's bars of one session.
    Day(SessionDate),
    /// One symbol's bars of one timeframe, as far as they were asked for.
    Symbol(Timeframe, Symbol),
}

/// Why a store did not do its work. Never fails a scan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or server could not be read or written.
    #[error("{store}: {what}: {message}")]
    Io {
        /// Which store.
        store: &'static str,
        /// What was being done, with the path.
        what: String,
        /// What the system said.
        message: String,
    },
    /// What is kept is damaged or of a format that this build does not read.
    #[error("{store}: {what} is damaged: {message}")]
    Damaged {
        /// Which store.
        store: &'static str,
        /// What is damaged, with the path.
        what: String,
        /// How.
        message: String,
    },
}

impl StoreError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::Upstream
    }
}

/// Counters of one tier.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TierStats {
    /// `l1`, `l2`, `l3` or `redis`.
    pub tier: &'static str,
    /// Blocks held.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that it may hold.
    pub capacity_bytes: u64,
    /// Reads answered.
    pub hits: u64,
    /// Reads not answered.
    pub misses: u64,
    /// Blocks put out for space.
    pub evictions: u64,
    /// Failed operations.
    pub errors: u64,
    /// Whether it is asked; the tiers of this process always are.
    pub circuit: BreakerState,
    /// Writes that wait until it can take them.
    pub waiting: u64,
}

/// A block that a store had, and where.
#[derive(Debug, Clone)]
pub struct Found {
    /// The block.
    pub block: Block,
    /// The tier that answered.
    pub tier: &'static str,
}

/// Somewhere blocks are kept. One call carries many keys: a round trip is the unit of cost.
pub trait SeriesStore: Send + Sync {
    /// Reads `keys` in order; `None` marks a miss, and a damaged block is a miss that is counted and reported.
    fn read<'a>(&'a self, market: &'a MarketId, keys: &'a [BlockKey]) -> Pending<'a, Vec<Option<Found>>>;

    /// What other servers keep of `keys` now, also where this one holds an older version; in order, and none where
    /// nothing is shared.
    fn shared<'a>(&'a self, market: &'a MarketId, keys: &'a [BlockKey]) -> Pending<'a, Vec<Option<Block>>> {
        let _ = market;
        Box::pin(std::future::ready(vec![None; keys.len()]))
    }

    /// Keeps `blocks`, replacing what was there. When it answers, they survive the process.
    fn write<'a>(
        &'a self,
        market: &'a MarketId,
        blocks: &'a [(BlockKey, Block)],
    ) -> Pending<'a, Result<(), StoreError>>;

    /// Forgets blocks, in every tier that can be reached.
    fn forget<'a>(
        &'a self,
        market: &'a MarketId,
        keys: &'a [BlockKey],
    ) -> Pending<'a, Result<(), StoreError>>;

    /// Forgets blocks in the tiers of these names only; what another tier keeps is found there again.
    fn forget_in<'a>(
        &'a self,
        market: &'a MarketId,
        keys: &'a [BlockKey],
        tiers: &'a [String],
    ) -> Pending<'a, Result<(), StoreError>>;

    /// The keys of single symbols that are kept for a timeframe.
    fn symbols<'a>(&'a self, market: &'a MarketId, timeframe: Timeframe) -> Pending<'a, Vec<Symbol>>;

    /// Reads a small document, e.g. the provider's listings, with the time at which it was kept.
    fn read_note<'a>(
        &'a self,
        market: &'a MarketId,
        name: &'a str,
    ) -> Pending<'a, Option<(Timestamp, Vec<u8>)>>;

    /// Keeps a small document.
    fn write_note<'a>(
        &'a self,
        market: &'a MarketId,
        name: &'a str,
        at: Timestamp,
        body: &'a [u8],
    ) -> Pending<'a, Result<(), StoreError>>;

    /// Counters, one entry a tier.
    fn stats(&self) -> Vec<TierStats>;
}

/// Time as the desk sees it; the only way any crate learns what time it is.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}
