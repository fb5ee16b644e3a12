//! Polygon.io, now Massive.
//!
//! Here is what its calls share; the paths stand by noun in the modules beside: `bars` as the engine asks for
//! them, `aggregates` of every interval, `snapshot`, `tickers`, `actions` of companies, and the
//! `market`'s hours. What its answers mean is in `verdict`, what becomes of their rows in `rows`, what the
//! key's plan leaves out in `plan`.

mod actions;
mod aggregates;
mod bars;
mod config;
mod market;
mod plan;
mod resume;
mod rows;
mod snapshot;
mod tickers;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use panscan_core::calendar::Announced;
use panscan_core::panel::Split;
use panscan_core::port::{
    BarAsk, BarSource, Dividend, Errand, Fetched, Pending, Rename, SourceError, SourceStats, SourceStatus,
};
use panscan_core::symbol::Symbol;
use panscan_core::time::SessionDate;
use panscan_core::universe::Listing;
use reqwest::header::{AUTHORIZATION, HeaderMap};

use self::plan::{Part, Plan};
use self::resume::Unfinished;
use self::verdict::Verdict;
use super::paging::Pages;
use crate::caller::{Access, Caller, Topic};
use crate::client;
use crate::config::base_address;
use crate::decode::{One, Page};
use crate::error::FetchError;
use crate::scribe::Scribe;
use crate::secret::Secret;

pub use self::aggregates::{Aggregate, AggregateSeries, AggregatesAsk, OpenClose, PreviousClose, Timespan};
pub use self::config::PolygonConfig;
pub use self::market::{MarketHours, MarketStatus};
pub use self::snapshot::{Movers, TickerSnapshot};
pub use self::tickers::{TickerDetails, TickersAsk};

/// Its name in provenance, logs and errors.
const NAME: &str = "polygon";
/// By how much plans below real time are late.
const DELAY: Duration = Duration::from_secs(15 * 60);

/// The provider.
pub struct Polygon {
    name: Arc<str>,
    caller: Caller,
    scribe: Scribe,
    verdict: Arc<Verdict>,
    plan: Plan,
    unfinished: Unfinished,
    delayed: AtomicBool,
}

impl Polygon {
    /// Sets the provider up; nothing is called yet.
    ///
    /// # Errors
    ///
    /// [`FetchError::Setting`] for a base address or key that cannot be used, [`FetchError::Client`] when the
    /// HTTP client cannot be built.
    pub fn new(config: PolygonConfig) -> Result<Self, FetchError> {
        let base = base_address(&config.base_url, "https://api.polygon.io")?;
        let key = config.key.unwrap_or_else(|| Secret::new(""));
        let name: Arc<str> = Arc::from(NAME);
        let scribe = Scribe::new(name.clone(), vec![key.clone()]);
        let verdict = Arc::new(Verdict::new(scribe.clone()));
        let access = Access {
            base,
            headers: HeaderMap::from_iter([(AUTHORIZATION, client::key_header("Bearer ", &key)?)]),
            missing: key.is_empty().then(|| scribe.bad_key("no key is configured; set POLYGON_API_KEY")),
        };
        let caller = Caller::new(scribe.clone(), access, &config.calls, verdict.clone(), config.clock)?;
        Ok(Self {
            name,
            caller,
            scribe,
            verdict,
            plan: Plan::default(),
            unfinished: Unfinished::default(),
            delayed: AtomicBool::new(false),
        })
    }

    /// Whether the newest answer said that its data is delayed, which plans below real time do by 15 minutes.
    #[must_use]
    pub fn is_delayed(&self) -> bool {
        self.delayed.load(Ordering::Relaxed)
    }

    fn note_status(&self, status: Option<&str>) {
        match status {
            Some("DELAYED") => self.delayed.store(true, Ordering::Relaxed),
            Some("OK") => self.delayed.store(false, Ordering::Relaxed),
            _ => {}
        }
    }

    /// One call within what the plan is known to include; `None` is "no such thing".
    async fn part<T: Send + 'static>(
        &self,
        template: &'static str,
        query: &str,
        what: &str,
        sessions: Option<(SessionDate, SessionDate)>,
        errand: Errand,
        read: fn(&[u8]) -> Result<T, FetchError>,
    ) -> Result<Option<T>, SourceError> {
        let part = Part { what, template, sessions };
        self.plan.check(&self.name, part, self.caller.clock().now())?;
        let url = self.caller.url(query)?;
        let answer = self.caller.call(Topic::data(template, what, errand), &url, read).await;
        match answer {
            Ok(answer) => Ok(answer.map(|(read, _)| read)),
            Err(error) => Err(self.plan.learn(part, error, self.caller.clock().now())),
        }
    }

    /// An answer about one thing; `None` is "no such thing".
    async fn one<T: Send + 'static>(
        &self,
        template: &'static str,
        query: &str,
        what: &str,
        sessions: Option<(SessionDate, SessionDate)>,
        errand: Errand,
        read: fn(&[u8]) -> Result<One<T>, FetchError>,
    ) -> Result<Option<T>, SourceError> {
        let one = self.part(template, query, what, sessions, errand, read).await?;
        let Some(one) = one else { return Ok(None) };
        self.verdict.check_status(what, one.status.as_deref(), one.message.as_deref())?;
        if one.row.is_none() {
            tracing::warn!(provider = NAME, what, "the answer holds nothing that can be read");
        }
        Ok(one.row)
    }

    /// All rows of a reference list; `None` where there is no such list.
    async fn list<T: Send + 'static>(
        &self,
        template: &'static str,
        query: &str,
        what: &str,
        read: fn(&[u8]) -> Result<Page<T>, FetchError>,
    ) -> Result<Option<Vec<T>>, SourceError> {
        self.list_for(template, query, what, read, Errand::interactive(0)).await
    }

    /// The same on somebody's behalf.
    async fn list_for<T: Send + 'static>(
        &self,
        template: &'static str,
        query: &str,
        what: &str,
        read: fn(&[u8]) -> Result<Page<T>, FetchError>,
        errand: Errand,
    ) -> Result<Option<Vec<T>>, SourceError> {
        let part = Part { what, template, sessions: None };
        self.plan.check(&self.name, part, self.caller.clock().now())?;
        let topic = Topic::data(template, what, errand);
        let first = self.caller.url(&format!("{template}?{query}"))?;
        let mut pages = Pages::new(self.caller.base(), &first, None);
        let (mut rows, mut next) = (None, Some(first));
        while let Some(url) = next.take() {
            let answer = self.caller.call(topic, &url, read).await;
            let answer = answer.map_err(|error| self.plan.learn(part, error, self.caller.clock().now()))?;
            let Some((page, _)) = answer else { break };
            self.verdict.check_status(what, page.status.as_deref(), page.message.as_deref())?;
            if page.refused > 0 {
                tracing::warn!(provider = NAME, what, rows = page.refused, "rows that cannot be read");
            }
            rows.get_or_insert_with(Vec::new).extend(page.rows);
            next = pages
                .next(page.next_url.as_deref())
                .map_err(|message| self.scribe.unreadable(what, &message))?;
        }
        Ok(rows)
    }
}

/// A symbol as a segment of a path or the value of a parameter.
fn in_path(symbol: &Symbol) -> String {
    let mut text = String::with_capacity(symbol.as_str().len());
    for byte in symbol.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b".-_".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

impl BarSource for Polygon {
    fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    fn fetch<'a>(&'a self, ask: &'a BarAsk, errand: Errand) -> Pending<'a, Result<Fetched, SourceError>> {
        Box::pin(self.bars(ask, errand))
    }

    fn listings(&self) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        Box::pin(self.tickers(TickersAsk { active: true, date: None }))
    }

    fn splits(&self, from: SessionDate) -> Pending<'_, Result<Vec<Split>, SourceError>> {
        Box::pin(self.split_since(from))
    }

    fn dividends(&self, from: SessionDate) -> Pending<'_, Result<Vec<Dividend>, SourceError>> {
        Box::pin(self.dividends_since(from))
    }

    fn details<'a>(
        &'a self,
        symbol: &'a Symbol,
        errand: Errand,
    ) -> Pending<'a, Result<Option<Listing>, SourceError>> {
        Box::pin(async move {
            let details = self.ticker_details(symbol, None, errand).await?;
            Ok(details.map(|details| details.listing))
        })
    }

    fn gone(&self, errand: Errand) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        Box::pin(self.tickers_for(TickersAsk { active: false, date: None }, errand))
    }

    fn renames<'a>(
        &'a self,
        symbol: &'a Symbol,
        errand: Errand,
    ) -> Pending<'a, Result<Vec<Rename>, SourceError>> {
        Box::pin(self.tickers_of(symbol, errand))
    }

    fn announced(&self) -> Pending<'_, Result<Vec<Announced>, SourceError>> {
        Box::pin(self.holidays())
    }

    fn delay(&self) -> Option<Duration> {
        self.is_delayed().then_some(DELAY)
    }

    fn reset(&self, provider: &str) -> bool {
        let mine = *self.name == *provider;
        if mine {
            self.plan.forget();
        }
        mine
    }

    fn status(&self) -> Pending<'_, Result<SourceStatus, SourceError>> {
        Box::pin(self.clock_and_market())
    }

    fn estimate(&self, calls: u64) -> Duration {
        self.caller.estimate(calls)
    }

    fn stats(&self) -> SourceStats {
        self.caller.stats()
    }
}
