//! Alpha Vantage: raw daily bars and minutes of a symbol, with a free quota of a few calls a day.
//!
//! Its refusals come with status 200 and are told apart by their text ([`verdict`]). The key is part of the
//! address, as it takes none elsewhere, and addresses are kept out of logs and errors.

mod verdict;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use panscan_core::block::Provenance;
use panscan_core::calendar::Calendar;
use panscan_core::limit::Quota;
use panscan_core::panel::Split;
use panscan_core::port::{
    BarAsk, BarSource, Clock, Errand, Fetched, Offers, Pending, SourceError, SourceStats, SourceStatus,
};
use panscan_core::time::{SessionDate, Timeframe};
use panscan_core::universe::Listing;
use reqwest::Url;
use reqwest::header::HeaderMap;

use self::verdict::Verdict;
use super::range::{MINUTES, Range, is_running, session, within_patience};
use crate::caller::{Access, Caller, Topic};
use crate::config::{CallConfig, base_address};
use crate::decode::{self, Rows};
use crate::error::FetchError;
use crate::scribe::Scribe;
use crate::secret::Secret;

/// Sessions of a compact daily series, less a few for a calendar that differs.
const COMPACT: usize = 95;
/// A full series is one call, however long.
const BARS_PER_CALL: u32 = 10_000;

/// Settings of an [`AlphaVantage`].
#[derive(Clone)]
pub struct AlphaVantageConfig {
    /// Where it is, with whatever stands in front of `/query`.
    pub base_url: String,
    /// The key (ALPHA_VANTAGE_API_KEY); without one every call fails at once.
    pub key: Option<Secret>,
    /// How calls are limited, sent and repeated.
    pub calls: CallConfig,
    /// The desk's clock; stamps what was fetched, and says when the next day begins.
    pub clock: Arc<dyn Clock>,
}

impl AlphaVantageConfig {
    /// Where it is for everybody.
    pub const URL: &'static str = "https://www.alphavantage.co";
    /// Its limit for callers who do not pay; it was twenty times as much once.
    pub const QUOTA: &'static str = "25/d";

    /// The defaults.
    #[must_use]
    pub fn new(
        base_url: impl Into<String>,
        key: Option<Secret>,
        quota: Quota,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { base_url: base_url.into(), key, calls: CallConfig::new(quota), clock }
    }
}

impl fmt::Debug for AlphaVantageConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlphaVantageConfig")
            .field("base_url", &self.base_url)
            .field("key", &self.key)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

/// The provider.
pub struct AlphaVantage {
    name: Arc<str>,
    key: Secret,
    caller: Caller,
    /// Functions that the plan was seen to lack, which are not asked for again.
    paid: Mutex<BTreeSet<&'static str>>,
}

impl AlphaVantage {
    /// Sets the provider up; nothing is called yet.
    ///
    /// # Errors
    ///
    /// [`FetchError::Setting`] for a base address that cannot be used, [`FetchError::Client`] when the HTTP
    /// client cannot be built.
    pub fn new(config: AlphaVantageConfig) -> Result<Self, FetchError> {
        let base = base_address(&config.base_url, AlphaVantageConfig::URL)?;
        let key = config.key.unwrap_or_else(|| Secret::new(""));
        let name: Arc<str> = "alphavantage".into();
        let scribe = Scribe::new(name.clone(), vec![key.clone()]);
        let missing =
            key.is_empty().then(|| scribe.bad_key("no key is configured; set ALPHA_VANTAGE_API_KEY"));
        let access = Access { base, headers: HeaderMap::new(), missing };
        let verdict = Arc::new(Verdict::new(scribe.clone(), config.clock.clone()));
        let caller = Caller::new(scribe, access, &config.calls, verdict, config.clock)?;
        Ok(Self { name, key, caller, paid: Mutex::default() })
    }

    async fn bars(&self, ask: &BarAsk, errand: Errand) -> Result<Fetched, SourceError> {
        let range = Range::of(ask, &self.name, &MINUTES)?;
        let what = ask.to_string();
        let (rows, calls) = within_patience(&self.caller, self.series(&range, &what, errand)).await?;
        let now = self.caller.clock().now();
        let provenance = Provenance { provider: self.name.clone(), fetched_at: now };
        // A series holds whatever the provider has; only what was asked for is looked at.
        let wanted = |stamp: Option<i64>| {
            let Some(stamp) = stamp else { return true };
            let day = session(stamp);
            range.from <= day && day <= range.to && !(range.is_daily() && is_running(stamp, now))
        };
        let rows = rows.iter().flat_map(Rows::iter).filter(|row| wanted(row.stamp_ms));
        let (block, quarantined) = range.block(rows.map(|row| (row.stamp_ms, row.values)), provenance);
        Ok(Fetched { block, quarantined, calls })
    }

    async fn series(
        &self,
        range: &Range,
        what: &str,
        errand: Errand,
    ) -> Result<(Vec<Rows>, u32), SourceError> {
        let symbol = range.symbol.as_str();
        let Timeframe::Minutes(n) = range.timeframe else {
            let calendar = Calendar::us_equities();
            let compact =
                calendar.last_closed(self.caller.clock().now()).and_then(|at| calendar.back(at, COMPACT));
            let (function, size) = match compact.is_some_and(|first| range.from >= first) {
                true => ("TIME_SERIES_DAILY", "compact"),
                false => ("TIME_SERIES_DAILY, full", "full"),
            };
            let query = [("function", "TIME_SERIES_DAILY"), ("symbol", symbol), ("outputsize", size)];
            let rows = self.ask(function, &query, what, errand).await?;
            return Ok((rows.into_iter().collect(), 1));
        };
        let interval = format!("{n}min");
        let (mut all, mut calls) = (Vec::new(), 0);
        for month in months(range.from, range.to) {
            let query = [
                ("function", "TIME_SERIES_INTRADAY"),
                ("symbol", symbol),
                ("interval", interval.as_str()),
                ("adjusted", "false"),
                ("extended_hours", "true"),
                ("month", month.as_str()),
                ("outputsize", "full"),
            ];
            calls += 1;
            all.extend(self.ask("TIME_SERIES_INTRADAY", &query, what, errand).await?);
        }
        Ok((all, calls))
    }

    async fn ask(
        &self,
        function: &'static str,
        query: &[(&str, &str)],
        what: &str,
        errand: Errand,
    ) -> Result<Option<Rows>, SourceError> {
        if self.paid().contains(function) {
            let (provider, message) = (self.name.clone(), "it was refused as premium before".to_owned());
            return Err(SourceError::NotEntitled { provider, what: what.to_owned(), message });
        }
        let url = self.address(query)?;
        let topic = Topic::data("/query", what, errand);
        let answer = self.caller.call(topic, &url, decode::alpha_vantage_series).await;
        if let Err(SourceError::NotEntitled { .. }) = answer {
            self.paid().insert(function);
        }
        Ok(answer?.map(|(rows, _)| rows))
    }

    /// The key goes in last and on its own, so that no message about an address can hold it.
    fn address(&self, query: &[(&str, &str)]) -> Result<Url, SourceError> {
        let mut url = self.caller.url("/query")?;
        url.query_pairs_mut().extend_pairs(query).append_pair("apikey", self.key.expose());
        Ok(url)
    }

    fn paid(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        self.paid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_offered<'a, T: Send + 'a>(&'a self, what: &str) -> Pending<'a, Result<T, SourceError>> {
        let error = SourceError::NotOffered { provider: self.name.clone(), what: what.to_owned() };
        Box::pin(std::future::ready(Err(error)))
    }
}

/// The months that hold sessions from `from` to `to`, as the provider writes them.
fn months(from: SessionDate, to: SessionDate) -> Vec<String> {
    let sessions = Calendar::us_equities().sessions(from, to).iter();
    let mut months: Vec<String> = sessions
        .map(|date| {
            let (year, month, _) = date.ymd();
            format!("{year:04}-{month:02}")
        })
        .collect();
    months.dedup();
    months
}

impl BarSource for AlphaVantage {
    fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    fn fetch<'a>(&'a self, ask: &'a BarAsk, errand: Errand) -> Pending<'a, Result<Fetched, SourceError>> {
        Box::pin(self.bars(ask, errand))
    }

    fn offers(&self) -> Offers {
        Offers { market_days: false, files_from: None, bars_per_call: BARS_PER_CALL }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_by_months() {
        let months = months("2025-11-28".parse().unwrap(), "2026-01-05".parse().unwrap());
        assert_eq!(months, ["2025-11", "2025-12", "2026-01"]);
    }
}
