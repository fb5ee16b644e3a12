//! Polygon.io, now Massive: raw bars by grouped day or by symbol range, the ticker list, splits, the clock.
//!
//! Here are the paths. What its answers mean is in [`verdict`], what becomes of their rows in [`rows`].

mod config;
mod rows;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use panscan_core::block::Provenance;
use panscan_core::panel::Split;
use panscan_core::port::{
    BarAsk, BarSource, Errand, Fetched, Pending, SourceError, SourceStats, SourceStatus,
};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe};
use panscan_core::universe::Listing;
use reqwest::header::{AUTHORIZATION, HeaderMap};

use self::rows::Asked;
use self::verdict::Verdict;
use super::paging::Pages;
use crate::caller::{Access, Caller, Topic};
use crate::client;
use crate::config::base_address;
use crate::decode::{self, Aggregates, Page};
use crate::error::FetchError;
use crate::scribe::Scribe;
use crate::secret::Secret;

pub use self::config::PolygonConfig;

/// Its name in provenance, logs and errors.
const NAME: &str = "polygon";

const RANGE: &str = "/v2/aggs/ticker/{ticker}/range/{n}/{span}/{from}/{to}";
const GROUPED: &str = "/v2/aggs/grouped/locale/us/market/stocks/{date}";
const TICKERS: &str = "/v3/reference/tickers";
const SPLITS: &str = "/v3/reference/splits";
const STATUS: &str = "/v1/marketstatus/now";

/// The provider.
pub struct Polygon {
    name: Arc<str>,
    caller: Caller,
    scribe: Scribe,
    verdict: Arc<Verdict>,
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
        Ok(Self { name, caller, scribe, verdict })
    }

    async fn bars(&self, ask: &BarAsk, errand: Errand) -> Result<Fetched, SourceError> {
        let what = ask.to_string();
        let not_offered = || SourceError::NotOffered { provider: self.name.clone(), what: what.clone() };
        let asked = Asked::new(ask).ok_or_else(not_offered)?;
        let (template, query) = match ask {
            BarAsk::Day(session) => (
                GROUPED,
                format!(
                    "/v2/aggs/grouped/locale/us/market/stocks/{session}?adjusted=false&include_otc=false"
                ),
            ),
            BarAsk::FlatFile { .. } => return Err(not_offered()),
            BarAsk::Range { symbol, timeframe, from, to } => {
                let span = match timeframe {
                    Timeframe::Minutes(n) => format!("{n}/minute"),
                    Timeframe::Day => "1/day".to_owned(),
                    Timeframe::Week | Timeframe::Month => {
                        let message = "bars of weeks and months are made from days; ask for 1d";
                        return Err(self.scribe.refused(&what, message));
                    }
                };
                if to < from {
                    return Err(self.scribe.refused(&what, "to is before from"));
                }
                let ticker = in_path(symbol);
                (
                    RANGE,
                    format!(
                        "/v2/aggs/ticker/{ticker}/range/{span}/{from}/{to}?\
                         adjusted=false&sort=asc&limit=50000"
                    ),
                )
            }
        };
        let topic = Topic::data(template, &what, errand);
        let first = self.caller.url(&query)?;
        let mut pages = Pages::new(self.caller.base(), &first, Some(("adjusted", "false")));
        let (mut rows, mut calls, mut next) = (Vec::new(), 0, Some(first));
        let mut asked_twice = false;
        while let Some(url) = next.take() {
            calls += 1;
            let Some((page, _)) = self.caller.call(topic, &url, decode::aggregates).await? else { break };
            self.verdict.check_page(&what, &asked, &page)?;
            if page.is_suspiciously_empty() && page.next_url.is_none() && !asked_twice {
                asked_twice = true;
                next = Some(url);
                continue;
            }
            let Aggregates { next_url, rows: read, .. } = page;
            rows.push(read);
            next =
                pages.next(next_url.as_deref()).map_err(|message| self.scribe.unreadable(&what, &message))?;
        }
        let provenance = Provenance { provider: self.name.clone(), fetched_at: self.caller.clock().now() };
        let task = tokio::task::spawn_blocking(move || asked.block(&rows, provenance));
        let (block, quarantined) =
            task.await.map_err(|error| self.scribe.unreadable(&what, &error.to_string()))?;
        if !quarantined.is_empty() {
            tracing::info!(provider = NAME, what, rows = quarantined.len(), "rows quarantined");
        }
        Ok(Fetched { block, quarantined, calls })
    }

    /// All rows of a reference list.
    async fn list<T: Send + 'static>(
        &self,
        template: &'static str,
        query: &str,
        what: &str,
        read: fn(&[u8]) -> Result<Page<T>, FetchError>,
    ) -> Result<Vec<T>, SourceError> {
        let topic = Topic::data(template, what, Errand::interactive(0));
        let first = self.caller.url(&format!("{template}?{query}"))?;
        let mut pages = Pages::new(self.caller.base(), &first, None);
        let (mut rows, mut next) = (Vec::new(), Some(first));
        while let Some(url) = next.take() {
            let Some((page, _)) = self.caller.call(topic, &url, read).await? else { break };
            self.verdict.check_status(what, page.status.as_deref(), page.message.as_deref())?;
            if page.refused > 0 {
                tracing::warn!(provider = NAME, what, rows = page.refused, "rows that cannot be read");
            }
            rows.extend(page.rows);
            next = pages
                .next(page.next_url.as_deref())
                .map_err(|message| self.scribe.unreadable(what, &message))?;
        }
        Ok(rows)
    }

    async fn listed(&self) -> Result<Vec<Listing>, SourceError> {
        let query = "market=stocks&active=true&limit=1000";
        let rows = self.list(TICKERS, query, "the ticker list", decode::tickers_page).await?;
        Ok(rows::listings(rows))
    }

    async fn split_since(&self, from: SessionDate) -> Result<Vec<Split>, SourceError> {
        let query = format!("execution_date.gte={from}&limit=1000");
        let rows = self.list(SPLITS, &query, "the splits", decode::splits_page).await?;
        Ok(rows::splits(rows))
    }

    async fn clock_and_market(&self) -> Result<SourceStatus, SourceError> {
        let what = "the market status";
        let topic = Topic::status(STATUS, what);
        let url = self.caller.url(STATUS)?;
        let answer = self.caller.call(topic, &url, decode::server_time).await?;
        let (time, answer) = answer.ok_or_else(|| self.scribe.unreadable(what, "there is none"))?;
        let now = time.now.parse().map_err(|error: panscan_core::Error| {
            self.scribe.unreadable(what, &format!("serverTime: {error}"))
        })?;
        Ok(SourceStatus { market: MarketId::new(answer.market.as_deref().unwrap_or(NAME)), now })
    }
}

/// A symbol as a segment of a path.
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
        Box::pin(self.listed())
    }

    fn splits(&self, from: SessionDate) -> Pending<'_, Result<Vec<Split>, SourceError>> {
        Box::pin(self.split_since(from))
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
