//! Alpaca market data: raw bars of days and minutes, one symbol or many a call.
//!
//! The feed is part of the provenance (`alpaca/sip`, `alpaca/iex`): one exchange sees about a fortieth of the
//! shares, so volume and vwap of `iex` are partial and no column of another feed is to be mixed with them.

mod verdict;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::block::Provenance;
use panscan_core::calendar::Calendar;
use panscan_core::limit::Quota;
use panscan_core::panel::Split;
use panscan_core::port::{
    BarAsk, BarSource, Clock, Errand, Fetched, Offers, Pending, SourceError, SourceStats, SourceStatus,
};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::Listing;
use reqwest::header::{HeaderMap, HeaderName};

use self::verdict::Verdict;
use super::range::{MINUTES, Range, is_running, session, within_patience};
use crate::caller::{Access, Caller, Topic};
use crate::client;
use crate::config::{CallConfig, base_address};
use crate::decode;
use crate::error::FetchError;
use crate::scribe::Scribe;
use crate::secret::Secret;

const BARS: &str = "/v2/stocks/bars";
/// Rows of a page over all its symbols; the default of the provider is a tenth.
const PAGE_ROWS: u32 = 10_000;
/// Pages that one question may take.
const PAGES_MAX: usize = 2_000;
/// Symbols that one call names, so that its address stays short.
const SYMBOLS_PER_CALL: usize = 200;
/// How far behind plans without the whole tape are, with a minute for clocks that differ.
const BEHIND: Duration = Duration::from_secs(16 * 60);

/// Which trades the bars are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlpacaFeed {
    /// The whole tape; its last fifteen minutes are not in every plan.
    #[default]
    Sip,
    /// One exchange: volume and vwap are partial.
    Iex,
}

impl AlpacaFeed {
    /// Its name in addresses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::Iex => "iex",
        }
    }

    /// Its name in provenance.
    #[must_use]
    pub const fn provider(self) -> &'static str {
        match self {
            Self::Sip => "alpaca/sip",
            Self::Iex => "alpaca/iex",
        }
    }
}

impl FromStr for AlpacaFeed {
    type Err = FetchError;

    fn from_str(text: &str) -> Result<Self, FetchError> {
        match text {
            "sip" => Ok(Self::Sip),
            "iex" => Ok(Self::Iex),
            _ => Err(FetchError::setting("alpaca feed", "is none of sip, iex")),
        }
    }
}

/// Settings of an [`Alpaca`].
#[derive(Clone)]
pub struct AlpacaConfig {
    /// Where it is, with whatever stands in front of `/v2`.
    pub base_url: String,
    /// The key's id and its secret (APCA_API_KEY_ID, APCA_API_SECRET_KEY); without them every call fails at
    /// once.
    pub key: Option<(Secret, Secret)>,
    /// Which feed.
    pub feed: AlpacaFeed,
    /// How calls are limited, sent and repeated.
    pub calls: CallConfig,
    /// The desk's clock; stamps what was fetched.
    pub clock: Arc<dyn Clock>,
}

impl AlpacaConfig {
    /// Where it is for everybody.
    pub const URL: &'static str = "https://data.alpaca.markets";
    /// Its limit for callers who do not pay.
    pub const QUOTA: &'static str = "200/min";

    /// The defaults.
    #[must_use]
    pub fn new(
        base_url: impl Into<String>,
        key: Option<(Secret, Secret)>,
        quota: Quota,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            base_url: base_url.into(),
            key,
            feed: AlpacaFeed::default(),
            calls: CallConfig::new(quota),
            clock,
        }
    }
}

impl fmt::Debug for AlpacaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlpacaConfig")
            .field("base_url", &self.base_url)
            .field("key", &self.key)
            .field("feed", &self.feed)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

/// The provider.
pub struct Alpaca {
    name: Arc<str>,
    feed: AlpacaFeed,
    caller: Caller,
    scribe: Scribe,
    /// Whether the plan was seen to lack the last quarter of an hour.
    behind: AtomicBool,
}

/// The rows of one symbol: stamp and numbers.
type Lines = Vec<(Option<i64>, [f64; Field::COUNT])>;

impl Alpaca {
    /// Sets the provider up; nothing is called yet.
    ///
    /// # Errors
    ///
    /// [`FetchError::Setting`] for a base address or key that cannot be used, [`FetchError::Client`] when the
    /// HTTP client cannot be built.
    pub fn new(config: AlpacaConfig) -> Result<Self, FetchError> {
        let base = base_address(&config.base_url, AlpacaConfig::URL)?;
        let (id, secret) = config.key.unwrap_or_else(|| (Secret::new(""), Secret::new("")));
        let scribe = Scribe::new("alpaca".into(), vec![secret.clone(), id.clone()]);
        let access = Access {
            base,
            headers: HeaderMap::from_iter([
                (HeaderName::from_static("apca-api-key-id"), client::key_header("", &id)?),
                (HeaderName::from_static("apca-api-secret-key"), client::key_header("", &secret)?),
            ]),
            missing: (id.is_empty() || secret.is_empty())
                .then(|| scribe.bad_key("no key is configured; set APCA_API_KEY_ID and APCA_API_SECRET_KEY")),
        };
        let verdict = Verdict::new(scribe.clone(), config.clock.clone());
        let caller = Caller::new(scribe.clone(), access, &config.calls, Arc::new(verdict), config.clock)?;
        let name = Arc::from(config.feed.provider());
        Ok(Self { name, feed: config.feed, caller, scribe, behind: AtomicBool::new(false) })
    }

    /// Raw bars of many symbols over the same sessions, in few calls: a page holds 10,000 rows whosever they
    /// are. The answers stand in the order of `symbols`; calls are counted in the first.
    ///
    /// # Errors
    ///
    /// As [`BarSource::fetch`]; there is no answer in part.
    pub async fn fetch_many(
        &self,
        symbols: &[Symbol],
        timeframe: Timeframe,
        from: SessionDate,
        to: SessionDate,
        errand: Errand,
    ) -> Result<Vec<Fetched>, SourceError> {
        let mut all = Vec::with_capacity(symbols.len());
        for part in symbols.chunks(SYMBOLS_PER_CALL) {
            let Some(first) = part.first() else { continue };
            let ask = BarAsk::Range { symbol: first.clone(), timeframe, from, to };
            let range = Range::of(&ask, &self.name, &MINUTES)?;
            let what = format!("{} symbols {timeframe} {from} to {to}", part.len());
            all.extend(self.part(&range, part, &what, errand).await?);
        }
        Ok(all)
    }

    async fn one(&self, ask: &BarAsk, errand: Errand) -> Result<Fetched, SourceError> {
        let range = Range::of(ask, &self.name, &MINUTES)?;
        let what = ask.to_string();
        let answer = self.part(&range, std::slice::from_ref(&range.symbol), &what, errand).await?;
        answer.into_iter().next().ok_or_else(|| self.scribe.unreadable(&what, "there is no answer"))
    }

    /// Asks for the sessions of `range` for `symbols`, once more without the last quarter of an hour where the
    /// plan lacks it.
    async fn part(
        &self,
        range: &Range,
        symbols: &[Symbol],
        what: &str,
        errand: Errand,
    ) -> Result<Vec<Fetched>, SourceError> {
        let behind = self.behind.load(Ordering::Relaxed);
        let pages = match within_patience(&self.caller, self.pages(range, symbols, what, errand, behind))
            .await
        {
            Err(SourceError::NotYet { .. }) if !behind => {
                tracing::info!(provider = &*self.name, "the plan lacks the last fifteen minutes of the tape");
                self.behind.store(true, Ordering::Relaxed);
                within_patience(&self.caller, self.pages(range, symbols, what, errand, true)).await?
            }
            other => other?,
        };
        Ok(self.blocks(range, symbols, pages))
    }

    /// When the question ends. A daily bar is stamped before its session begins.
    fn end(&self, range: &Range, what: &str, behind: bool) -> Result<Timestamp, SourceError> {
        let (calendar, now) = (Calendar::us_equities(), self.caller.clock().now());
        let wanted = match range.is_daily() {
            true => calendar.close(range.to),
            false => Timestamp::from_millis(calendar.midnight(range.to.plus(1)).as_millis() - 1),
        };
        if !behind {
            return Ok(wanted.min(now));
        }
        let seen = Timestamp::from_nanos(now.as_nanos() - i64::try_from(BEHIND.as_nanos()).unwrap_or(0));
        if seen < wanted && range.is_daily() && wanted <= now {
            // A bar without its last minutes is not the day's bar.
            return Err(SourceError::NotYet {
                provider: self.name.clone(),
                what: what.to_owned(),
                retry_at: wanted.after(BEHIND),
                message: "the plan lacks the last fifteen minutes of the tape".to_owned(),
            });
        }
        Ok(wanted.min(seen))
    }

    async fn pages(
        &self,
        range: &Range,
        symbols: &[Symbol],
        what: &str,
        errand: Errand,
        behind: bool,
    ) -> Result<(BTreeMap<String, Lines>, u32), SourceError> {
        let span = match range.timeframe {
            Timeframe::Minutes(n) => format!("{n}Min"),
            _ => "1Day".to_owned(),
        };
        let start = Calendar::us_equities().midnight(range.from);
        let end = self.end(range, what, behind)?.max(start);
        let names: Vec<&str> = symbols.iter().map(Symbol::as_str).collect();
        let mut first = self.caller.url(BARS)?;
        first
            .query_pairs_mut()
            .append_pair("symbols", &names.join(","))
            .append_pair("timeframe", &span)
            .append_pair("start", &start.to_string())
            .append_pair("end", &end.to_string())
            .append_pair("limit", &PAGE_ROWS.to_string())
            .append_pair("adjustment", "raw")
            .append_pair("feed", self.feed.as_str())
            // Every name is meant as of its own time; renames are joined elsewhere.
            .append_pair("asof", "-")
            .append_pair("sort", "asc");
        let topic = Topic::data(BARS, what, errand);
        let mut lines: BTreeMap<String, Lines> = BTreeMap::new();
        let (mut calls, mut url, mut seen) = (0, first.clone(), HashSet::new());
        loop {
            calls += 1;
            let Some((page, _)) = self.caller.call(topic, &url, decode::alpaca_bars).await? else { break };
            for row in page.rows.iter() {
                // a map's keys are few: an entry is made once for each
                match lines.get_mut(row.ticker) {
                    Some(held) => held.push((row.stamp_ms, row.values)),
                    None => drop(lines.insert(row.ticker.to_owned(), vec![(row.stamp_ms, row.values)])),
                }
            }
            let Some(token) = page.next_token else { break };
            url = first.clone();
            url.query_pairs_mut().append_pair("page_token", &token);
            if !seen.insert(token) || seen.len() >= PAGES_MAX {
                return Err(self.scribe.unreadable(what, "the page token leads back or never ends"));
            }
        }
        Ok((lines, calls))
    }

    /// Merges by symbol and stamp: a page may repeat the last bars of the one before.
    fn blocks(
        &self,
        range: &Range,
        symbols: &[Symbol],
        (mut lines, mut calls): (BTreeMap<String, Lines>, u32),
    ) -> Vec<Fetched> {
        let now = self.caller.clock().now();
        let fetched: Vec<Fetched> = symbols
            .iter()
            .map(|symbol| {
                let mut rows = lines.remove(symbol.as_str()).unwrap_or_default();
                let running = |stamp: i64| session(stamp) <= range.to && is_running(stamp, now);
                rows.retain(|(stamp, _)| !range.is_daily() || !stamp.is_some_and(running));
                let provenance = Provenance { provider: self.name.clone(), fetched_at: now };
                let range = Range { symbol: symbol.clone(), ..range.clone() };
                let (block, quarantined) = range.block(rows.into_iter(), provenance);
                Fetched { block, quarantined, calls: std::mem::take(&mut calls) }
            })
            .collect();
        if !lines.is_empty() {
            tracing::info!(
                provider = &*self.name,
                symbols = lines.len(),
                "rows of symbols that nobody asked for"
            );
        }
        fetched
    }

    fn not_offered<'a, T: Send + 'a>(&'a self, what: &str) -> Pending<'a, Result<T, SourceError>> {
        let error = SourceError::NotOffered { provider: self.name.clone(), what: what.to_owned() };
        Box::pin(std::future::ready(Err(error)))
    }
}

impl BarSource for Alpaca {
    fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    fn fetch<'a>(&'a self, ask: &'a BarAsk, errand: Errand) -> Pending<'a, Result<Fetched, SourceError>> {
        Box::pin(self.one(ask, errand))
    }

    fn offers(&self) -> Offers {
        Offers { market_days: false, files_from: None, bars_per_call: PAGE_ROWS }
    }

    fn listings(&self) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        self.not_offered("the ticker list")
    }

    fn splits(&self, _: SessionDate) -> Pending<'_, Result<Vec<Split>, SourceError>> {
        self.not_offered("splits")
    }

    fn status(&self) -> Pending<'_, Result<SourceStatus, SourceError>> {
        self.not_offered("the market status")
    }

    fn estimate(&self, calls: u64) -> Duration {
        self.caller.estimate(calls)
    }

    fn stats(&self) -> SourceStats {
        self.caller.stats()
    }
}
