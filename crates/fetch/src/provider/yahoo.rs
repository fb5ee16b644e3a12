//! Yahoo's chart: bars of days and recent minutes without a key and without a promise. Last in any chain and
//! off unless it is asked for.
//!
//! **Its prices are f32** widened to f64, so that they never equal another provider's bit for bit, and they
//! are adjusted for splits: what is delivered here is raw again, undone by the splits that the same answer
//! lists up to now. Volumes are undone too and rounded to whole shares; vwap and trades are never there.

mod verdict;

use std::fmt;
use std::sync::Arc;
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
use panscan_core::time::{SessionDate, Timeframe};
use panscan_core::universe::Listing;
use reqwest::header::HeaderMap;

use self::verdict::Verdict;
use super::range::{MINUTES, Range, session, within_patience};
use crate::caller::{Access, Caller, Topic};
use crate::config::{CallConfig, base_address};
use crate::decode::{self, Chart, ChartSplit};
use crate::error::FetchError;
use crate::scribe::Scribe;

const CHART: &str = "/v8/finance/chart/{symbol}";
/// Days of minutes that a call asks for; the provider takes eight.
const MINUTE_DAYS: i32 = 7;
/// Daily bars of a decade are a small answer; beyond it there is no second page.
const BARS_PER_CALL: u32 = 10_000;

/// Settings of a [`Yahoo`].
#[derive(Clone)]
pub struct YahooConfig {
    /// Where it is, with whatever stands in front of `/v8`.
    pub base_url: String,
    /// How calls are limited, sent and repeated.
    pub calls: CallConfig,
    /// For how long it is left alone after it said that there were too many calls.
    pub pause: Duration,
    /// The desk's clock; stamps what was fetched.
    pub clock: Arc<dyn Clock>,
}

impl YahooConfig {
    /// Where it is for everybody.
    pub const URL: &'static str = "https://query1.finance.yahoo.com";
    /// Few enough calls to be let through as a rule; nothing is promised.
    pub const QUOTA: &'static str = "20/min";

    /// The defaults. Its agent begins as a browser's does, because others are turned away.
    #[must_use]
    pub fn new(base_url: impl Into<String>, quota: Quota, clock: Arc<dyn Clock>) -> Self {
        let mut calls = CallConfig::new(quota);
        calls.user_agent = format!("Mozilla/5.0 (compatible; {})", calls.user_agent);
        Self { base_url: base_url.into(), calls, pause: Duration::from_secs(15 * 60), clock }
    }
}

impl fmt::Debug for YahooConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("YahooConfig")
            .field("base_url", &self.base_url)
            .field("calls", &self.calls)
            .field("pause", &self.pause)
            .finish_non_exhaustive()
    }
}

/// The provider.
pub struct Yahoo {
    name: Arc<str>,
    caller: Caller,
    scribe: Scribe,
}

/// Rows and splits of all the calls of a question.
#[derive(Default)]
struct Gathered {
    rows: Vec<(Option<i64>, [f64; Field::COUNT])>,
    splits: Vec<(SessionDate, f64)>,
    holes: usize,
    calls: u32,
}

impl Yahoo {
    /// Sets the provider up; nothing is called yet.
    ///
    /// # Errors
    ///
    /// [`FetchError::Setting`] for a base address that cannot be used, [`FetchError::Client`] when the HTTP
    /// client cannot be built.
    pub fn new(config: YahooConfig) -> Result<Self, FetchError> {
        let base = base_address(&config.base_url, YahooConfig::URL)?;
        let name: Arc<str> = "yahoo".into();
        let scribe = Scribe::new(name.clone(), Vec::new());
        let access = Access { base, headers: HeaderMap::new(), missing: None };
        let verdict = Arc::new(Verdict::new(scribe.clone(), config.pause));
        let caller = Caller::new(scribe.clone(), access, &config.calls, verdict, config.clock)?;
        Ok(Self { name, caller, scribe })
    }

    async fn bars(&self, ask: &BarAsk, errand: Errand) -> Result<Fetched, SourceError> {
        let range = Range::of(ask, &self.name, &MINUTES)?;
        let what = ask.to_string();
        let gathered = within_patience(&self.caller, self.gather(&range, &what, errand)).await?;
        let Gathered { rows, splits, holes, calls } = gathered;
        if holes > 0 {
            tracing::debug!(provider = "yahoo", what, holes, "rows without a close");
        }
        let provenance = Provenance { provider: self.name.clone(), fetched_at: self.caller.clock().now() };
        let rows = rows.into_iter().map(|(stamp, values)| (stamp, raw(stamp, values, &splits)));
        let (block, quarantined) = range.block(rows, provenance);
        Ok(Fetched { block, quarantined, calls })
    }

    async fn gather(&self, range: &Range, what: &str, errand: Errand) -> Result<Gathered, SourceError> {
        let calendar = Calendar::us_equities();
        let now = self.caller.clock().now().as_seconds() + 1;
        let midnight = |date| calendar.midnight(date).as_seconds();
        let (start, end) = (midnight(range.from), midnight(range.to.plus(1)));
        let topic = Topic::data(CHART, what, errand);
        let mut gathered = Gathered::default();
        // One chart of days up to now, for the splits since then, whatever is asked for.
        let splits = self.chart(topic, range, "1d", (start, end.max(now))).await?;
        gathered.calls += 1;
        let Some(splits) = splits else { return Ok(gathered) };
        gathered.splits = self.factors(&splits.splits, what)?;
        if range.is_daily() {
            gathered.take(&splits, range);
            return Ok(gathered);
        }
        let Timeframe::Minutes(n) = range.timeframe else { return Ok(gathered) };
        let mut from = range.from;
        while from <= range.to {
            let next = from.plus(MINUTE_DAYS);
            let span = (midnight(from), midnight(next).min(end));
            from = next;
            if calendar.sessions(session(span.0 * 1_000), session(span.1 * 1_000 - 1)).is_empty() {
                continue;
            }
            gathered.calls += 1;
            if let Some(chart) = self.chart(topic, range, &format!("{n}m"), span).await? {
                gathered.take(&chart, range);
            }
        }
        Ok(gathered)
    }

    async fn chart(
        &self,
        topic: Topic<'_>,
        range: &Range,
        interval: &str,
        (from, to): (i64, i64),
    ) -> Result<Option<Chart>, SourceError> {
        let symbol = spelled(&range.symbol);
        let mut url = self.caller.url("/v8/finance/chart/")?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(&symbol);
        }
        url.query_pairs_mut()
            .append_pair("period1", &from.to_string())
            .append_pair("period2", &to.to_string())
            .append_pair("interval", interval)
            .append_pair("includePrePost", "false")
            .append_pair("events", "div|split");
        let Some((chart, _)) = self.caller.call(topic, &url, decode::yahoo_chart).await? else {
            return Ok(None);
        };
        if let Some(told) = chart.symbol.as_deref().filter(|told| !told.eq_ignore_ascii_case(&symbol)) {
            let told = panscan_core::error::shortened(told);
            return Err(self.scribe.unreadable(topic.what, &format!("the chart is about {told}")));
        }
        if let Some(currency) = chart.currency.as_deref().filter(|currency| *currency != "USD") {
            let currency = panscan_core::error::shortened(currency);
            return Err(self
                .scribe
                .unreadable(topic.what, &format!("its prices are in {currency}, not in USD")));
        }
        Ok(Some(chart))
    }

    /// The factors that undo the splits. One that cannot be read would leave a cliff in the history, so that
    /// the whole answer is refused for it.
    fn factors(&self, splits: &[ChartSplit], what: &str) -> Result<Vec<(SessionDate, f64)>, SourceError> {
        let read = |split: &ChartSplit| {
            let factor = split.numerator / split.denominator;
            let sound = factor.is_finite() && factor > 0.0;
            Some((session(split.date?.checked_mul(1_000)?), factor)).filter(|_| sound)
        };
        let factors: Option<Vec<_>> = splits.iter().map(read).collect();
        factors.ok_or_else(|| {
            self.scribe.unreadable(what, "a split of it cannot be read, so that none can be undone")
        })
    }

    fn not_offered<'a, T: Send + 'a>(&'a self, what: &str) -> Pending<'a, Result<T, SourceError>> {
        let error = SourceError::NotOffered { provider: self.name.clone(), what: what.to_owned() };
        Box::pin(std::future::ready(Err(error)))
    }
}

impl Gathered {
    /// Keeps the rows of the sessions asked for, which a chart up to now goes beyond, without the bar of a
    /// session that runs.
    fn take(&mut self, chart: &Chart, range: &Range) {
        self.holes += chart.holes;
        let running = chart
            .market_time
            .zip(chart.regular)
            .and_then(|(time, (start, end))| (start <= time && time < end).then(|| session(start * 1_000)));
        for row in chart.rows.iter() {
            let day = row.stamp_ms.map(session);
            let beyond = day.is_some_and(|day| day > range.to && range.is_daily());
            if beyond || (range.is_daily() && day.is_some() && day == running) {
                continue;
            }
            self.rows.push((row.stamp_ms, row.values));
        }
    }
}

/// How the provider spells a symbol: with a dash where others have a dot.
fn spelled(symbol: &Symbol) -> String {
    symbol.as_str().replace('.', "-")
}

/// Undoes the splits after the session of a row.
fn raw(
    stamp: Option<i64>,
    values: [f64; Field::COUNT],
    splits: &[(SessionDate, f64)],
) -> [f64; Field::COUNT] {
    let Some(day) = stamp.map(session) else { return values };
    let factor: f64 = splits.iter().filter(|(date, _)| *date > day).map(|(_, factor)| factor).product();
    if factor == 1.0 {
        return values;
    }
    let mut values = values;
    for field in Field::ALL {
        let value = &mut values[field.index()];
        if field.is_price() {
            *value *= factor;
        } else if field == Field::Volume {
            *value = (*value / factor).round();
        }
    }
    values
}

impl BarSource for Yahoo {
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
    fn splits_after_a_session_are_undone_and_its_own_is_not() {
        // 09:30 Eastern of 2020-08-28 and of 2020-08-31, the day of a 4-for-1 split
        let splits = [("2020-08-31".parse().unwrap(), 4.0), ("2020-01-02".parse().unwrap(), 1.0)];
        let values = [100.0, 101.0, 99.0, 100.5, 4_001.0, f64::NAN, f64::NAN];
        let before = raw(Some(1_598_621_400_000), values, &splits);
        assert_eq!(before[..5], [400.0, 404.0, 396.0, 402.0, 1_000.0]);
        let after = raw(Some(1_598_880_600_000), values, &splits);
        assert_eq!(after[..5], values[..5]);
        assert!(before[5].is_nan());
        assert_eq!(raw(None, values, &splits)[0], 100.0);
    }

    #[test]
    fn a_dot_is_a_dash() {
        assert_eq!(spelled(&Symbol::new("BRK.B").unwrap()), "BRK-B");
    }
}
