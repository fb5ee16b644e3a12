//! Polygon.io, now Massive: raw bars by grouped day or by symbol range, the ticker list, splits, the clock.
//!
//! Here are the paths and the way of one call: key, queue, request, verdict, retry. What its answers mean
//! is in [`verdict`], what becomes of their rows in [`rows`].

mod config;
mod rows;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use panscan_core::block::Provenance;
use panscan_core::panel::Split;
use panscan_core::port::{
    BarAsk, BarSource, Clock, Errand, Fetched, Pending, SourceError, SourceStats, SourceStatus,
};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::Listing;
use reqwest::{Client, Url};
use tracing::Instrument;

use self::rows::Asked;
use self::verdict::Scribe;
use super::paging::Pages;
use crate::client::{self, Answer};
use crate::decode::{self, Aggregates, Page};
use crate::error::FetchError;
use crate::limiter::Limiter;
use crate::retry::{Failure, KeyBreaker, Retries};
use crate::secret::Secret;

pub use self::config::PolygonConfig;

/// Its name in provenance, logs and errors.
const NAME: &str = "polygon";
/// Bodies from this size on are decoded away from the threads that serve connections.
const DECODE_APART_BYTES: usize = 64 << 10;

const RANGE: &str = "/v2/aggs/ticker/{ticker}/range/{n}/{span}/{from}/{to}";
const GROUPED: &str = "/v2/aggs/grouped/locale/us/market/stocks/{date}";
const TICKERS: &str = "/v3/reference/tickers";
const SPLITS: &str = "/v3/reference/splits";
const STATUS: &str = "/v1/marketstatus/now";

/// The provider.
pub struct Polygon {
    name: Arc<str>,
    base: Url,
    client: Option<Client>,
    scribe: Scribe,
    limiter: Limiter,
    retries: Retries,
    breaker: KeyBreaker,
    clock: Arc<dyn Clock>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    status_calls: AtomicU64,
    errors: AtomicU64,
    rate_limited: AtomicU64,
    retries: AtomicU64,
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What a call is about, for logs, errors and counters.
#[derive(Clone, Copy)]
struct Topic<'a> {
    template: &'static str,
    what: &'a str,
    errand: Errand,
}

impl Polygon {
    /// Sets the provider up; nothing is called yet.
    ///
    /// # Errors
    ///
    /// [`FetchError::Setting`] for a base address or key that cannot be used, [`FetchError::Client`] when the
    /// HTTP client cannot be built.
    pub fn new(config: PolygonConfig) -> Result<Self, FetchError> {
        let base = config.base()?;
        let key = config.key.clone().unwrap_or_else(|| Secret::new(""));
        let client = match key.is_empty() {
            true => None,
            false => Some(client::build(&config.pool(&base, &key))?),
        };
        let name: Arc<str> = Arc::from(NAME);
        Ok(Self {
            scribe: Scribe::new(name.clone(), key),
            name,
            base,
            client,
            limiter: Limiter::new(
                config.quota,
                config.earlier_calls,
                config.max_connections.max(1),
                config.total_timeout,
                config.clock.now(),
            ),
            retries: Retries::new(config.max_retries, config.retry_factor),
            breaker: KeyBreaker::default(),
            clock: config.clock,
            counters: Counters::default(),
        })
    }

    /// When the calls started that still count against the rate limit; what
    /// [`PolygonConfig::earlier_calls`] takes after a restart.
    #[must_use]
    pub fn log(&self) -> Vec<Timestamp> {
        self.limiter.log()
    }

    fn url(&self, path_and_query: &str) -> Result<Url, SourceError> {
        let text = format!("{}{path_and_query}", self.base.as_str().trim_end_matches('/'));
        Url::parse(&text).map_err(|error| self.scribe.refused(path_and_query, &error.to_string()))
    }

    /// Makes one call, and again where that is worth it, and reads its answer; `None` is "no such thing".
    async fn call<T: Send + 'static>(
        &self,
        topic: Topic<'_>,
        url: &Url,
        read: fn(&[u8]) -> Result<T, FetchError>,
    ) -> Result<Option<(T, Answer)>, SourceError> {
        let span = tracing::debug_span!("panscan.fetch", provider = NAME, path = topic.template);
        self.attempts(topic, url, read).instrument(span).await
    }

    async fn attempts<T: Send + 'static>(
        &self,
        topic: Topic<'_>,
        url: &Url,
        read: fn(&[u8]) -> Result<T, FetchError>,
    ) -> Result<Option<(T, Answer)>, SourceError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            if attempts == 1 {
                self.retries.first_attempt();
            }
            let failure = match self.attempt(topic, url, read).await {
                Ok(read) => return Ok(read),
                Err(failure) => failure,
            };
            let wait = self.retries.next(attempts, failure).inspect_err(|error| {
                tracing::warn!(provider = NAME, path = topic.template, attempts, %error, "call failed");
            })?;
            tracing::info!(provider = NAME, path = topic.template, attempts, ?wait, "asking again");
            bump(&self.counters.retries);
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt<T: Send + 'static>(
        &self,
        topic: Topic<'_>,
        url: &Url,
        read: fn(&[u8]) -> Result<T, FetchError>,
    ) -> Result<Option<(T, Answer)>, Failure> {
        let client = self.client.as_ref().ok_or_else(|| Failure::Final(self.scribe.no_key()))?;
        self.breaker.check().map_err(Failure::Final)?;
        let mut turn = self.limiter.turn(topic.errand.urgency).await.map_err(|_| {
            Failure::Final(SourceError::RateLimited {
                provider: self.name.clone(),
                retry_after: Duration::from_secs(60),
            })
        })?;
        // The key may have been refused while this call waited.
        self.breaker.check().map_err(Failure::Final)?;
        bump(match topic.template {
            STATUS => &self.counters.status_calls,
            _ => &self.counters.calls,
        });
        let now = self.clock.now();
        let answer = client::get(client, url.clone(), now, || turn.answered()).await;
        drop(turn);
        let outcome = match answer {
            Ok(answer) => self.judge(topic, answer, read).await,
            Err(message) => Err(Failure::passing(self.scribe.unavailable(topic.what, &message))),
        };
        if let Err(failure) = &outcome {
            bump(&self.counters.errors);
            let (Failure::Final(error) | Failure::Passing { error, .. }) = failure;
            if matches!(error, SourceError::Key { .. }) {
                self.breaker.open(error);
            }
            tracing::debug!(provider = NAME, path = topic.template, %error, "attempt failed");
        }
        outcome
    }

    async fn judge<T: Send + 'static>(
        &self,
        topic: Topic<'_>,
        answer: Answer,
        read: fn(&[u8]) -> Result<T, FetchError>,
    ) -> Result<Option<(T, Answer)>, Failure> {
        tracing::debug!(
            provider = NAME,
            path = topic.template,
            status = answer.status,
            bytes = answer.body.len(),
            "answered"
        );
        if answer.status == 429 {
            bump(&self.counters.rate_limited);
            self.limiter.rejected(answer.retry_after);
            let retry_after = answer.retry_after.unwrap_or_else(|| self.limiter.estimate(1));
            let error = SourceError::RateLimited { provider: self.name.clone(), retry_after };
            return Err(Failure::Passing { error, wait: answer.retry_after });
        }
        if !self.scribe.is_readable(topic.what, &answer)? {
            return Ok(None);
        }
        let (read, answer) = if answer.body.len() < DECODE_APART_BYTES {
            (read(&answer.body), answer)
        } else {
            let task = tokio::task::spawn_blocking(move || (read(&answer.body), answer));
            let what = topic.what;
            match task.await {
                Ok(done) => done,
                Err(error) => {
                    return Err(Failure::Final(self.scribe.unreadable(what, &error.to_string())));
                }
            }
        };
        match read {
            Ok(read) => Ok(Some((read, answer))),
            // Damage on the way looks like this too, so that asking again can help.
            Err(error) => {
                let message = format!("{error}: {}", answer.describe());
                Err(Failure::passing(self.scribe.unreadable(topic.what, &message)))
            }
        }
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
        let topic = Topic { template, what: &what, errand };
        let first = self.url(&query)?;
        let mut pages = Pages::new(&self.base, &first, Some(("adjusted", "false")));
        let (mut rows, mut calls, mut next) = (Vec::new(), 0, Some(first));
        let mut asked_twice = false;
        while let Some(url) = next.take() {
            calls += 1;
            let Some((page, _)) = self.call(topic, &url, decode::aggregates).await? else { break };
            self.scribe.check_page(&what, &asked, &page)?;
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
        let provenance = Provenance { provider: self.name.clone(), fetched_at: self.clock.now() };
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
        let topic = Topic { template, what, errand: Errand::interactive(0) };
        let first = self.url(&format!("{template}?{query}"))?;
        let mut pages = Pages::new(&self.base, &first, None);
        let (mut rows, mut next) = (Vec::new(), Some(first));
        while let Some(url) = next.take() {
            let Some((page, _)) = self.call(topic, &url, read).await? else { break };
            self.scribe.check_status(what, page.status.as_deref(), page.message.as_deref())?;
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
        let topic = Topic { template: STATUS, what, errand: Errand::interactive(0) };
        let url = self.url(STATUS)?;
        let answer = self.call(topic, &url, decode::server_time).await?;
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
        self.limiter.estimate(calls)
    }

    fn stats(&self) -> SourceStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SourceStats {
            calls: read(&self.counters.calls),
            status_calls: read(&self.counters.status_calls),
            errors: read(&self.counters.errors),
            rate_limited: read(&self.counters.rate_limited),
            retries: read(&self.counters.retries),
            available: self.limiter.available(),
            refill_per_second: self.limiter.refill_per_second(),
        }
    }
}
