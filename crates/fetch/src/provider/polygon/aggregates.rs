//! Aggregates of every interval, adjusted or raw, the day before, and one day with its hours outside the session:
//! what the provider makes itself and the engine does not keep.

use panscan_core::bar::{Bar, BarFault, Field};
use panscan_core::block::{BarKey, BlockBuilder, Provenance};
use panscan_core::calendar::Calendar;
use panscan_core::port::{Errand, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};

use super::bars::{Question, RANGE};
use super::{Polygon, in_path};
use crate::decode::{self, Rows};

const PREVIOUS: &str = "/v2/aggs/ticker/{ticker}/prev";
const OPEN_CLOSE: &str = "/v1/open-close/{ticker}/{date}";
/// Largest multiplier that is asked for.
const MULTIPLIER_MAX: u32 = 10_000;
const DAY_MS: i64 = 86_400_000;

/// The unit of an aggregate's interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timespan {
    /// One second; plans with trades have it.
    Second,
    /// One minute.
    Minute,
    /// One hour, from the full hour.
    Hour,
    /// One day.
    Day,
    /// From Sunday to Saturday.
    Week,
    /// One month.
    Month,
    /// Three months.
    Quarter,
    /// One year.
    Year,
}

impl Timespan {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Second,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Quarter,
        Self::Year,
    ];

    /// The provider's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// Of what the provider makes such aggregates; 50,000 of those are read by one call, however few aggregates
    /// they make.
    #[must_use]
    pub const fn base(self) -> Self {
        match self {
            Self::Second => Self::Second,
            Self::Minute | Self::Hour => Self::Minute,
            _ => Self::Day,
        }
    }

    /// The longest that one can last.
    const fn longest_ms(self) -> i64 {
        match self {
            Self::Second => 1_000,
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => DAY_MS,
            Self::Week => 7 * DAY_MS,
            Self::Month => 31 * DAY_MS,
            Self::Quarter => 92 * DAY_MS,
            Self::Year => 366 * DAY_MS,
        }
    }
}

/// Which aggregates are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregatesAsk {
    /// Whose.
    pub symbol: Symbol,
    /// How many units one lasts, at least 1.
    pub multiplier: u32,
    /// Of what unit.
    pub timespan: Timespan,
    /// First day.
    pub from: SessionDate,
    /// Last day.
    pub to: SessionDate,
    /// Adjusted for splits only, never for dividends; else raw.
    pub adjusted: bool,
}

/// One aggregate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aggregate {
    /// Where its interval begins; that of a first one may lie before the first day asked for.
    pub start: Timestamp,
    /// Its numbers.
    pub bar: Bar,
    /// Whether its interval reaches beyond the days asked for, or beyond now, so that it does not hold all of its
    /// bars.
    pub partial: bool,
}

/// The answer to an [`AggregatesAsk`], all pages joined, ascending, each once.
#[derive(Debug, Clone)]
pub struct AggregateSeries {
    /// The aggregates.
    pub aggregates: Vec<Aggregate>,
    /// Rows that are none, with the reason.
    pub refused: Vec<(Timestamp, BarFault)>,
    /// Calls that it took.
    pub calls: u32,
}

/// A session's bar and when it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PreviousClose {
    /// The session.
    pub session: SessionDate,
    /// Its bar.
    pub bar: Bar,
}

/// One day of one ticker; what was not there is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenClose {
    /// First price.
    pub open: Option<f64>,
    /// Highest price.
    pub high: Option<f64>,
    /// Lowest price.
    pub low: Option<f64>,
    /// The official close.
    pub close: Option<f64>,
    /// Shares traded.
    pub volume: Option<f64>,
    /// First price before the session.
    pub pre_market: Option<f64>,
    /// Last price after it.
    pub after_hours: Option<f64>,
}

impl Polygon {
    /// Fetches aggregates of any interval. Within a page the provider leaves an interval that the limit cuts
    /// through to the next page; intervals at the edges of the days asked for may lack bars and say so.
    ///
    /// # Errors
    ///
    /// [`SourceError::Refused`] for an ask that makes no sense, and what a call can end in.
    pub async fn aggregates(
        &self,
        ask: &AggregatesAsk,
        errand: Errand,
    ) -> Result<AggregateSeries, SourceError> {
        let AggregatesAsk { symbol, multiplier, timespan, from, to, adjusted } = ask;
        let what = format!("{symbol} {multiplier} {} {from} to {to}", timespan.name());
        if to < from {
            return Err(self.scribe.refused(&what, "to is before from"));
        }
        if !(1..=MULTIPLIER_MAX).contains(multiplier) {
            let message = format!("the multiplier must be 1 to {MULTIPLIER_MAX}");
            return Err(self.scribe.refused(&what, &message));
        }
        let query = format!(
            "/v2/aggs/ticker/{}/range/{multiplier}/{}/{from}/{to}?adjusted={adjusted}&sort=asc&limit=50000",
            in_path(symbol),
            timespan.name()
        );
        let question = Question {
            what: &what,
            template: RANGE,
            query,
            ticker: Some(symbol.as_str()),
            adjusted: *adjusted,
            sessions: (*from, *to),
            errand,
        };
        let (rows, calls) = self.pages(&question).await?;
        let (aggregates, refused) = laid_out(ask, &rows, self.caller.clock().now());
        Ok(AggregateSeries { aggregates, refused, calls })
    }

    /// The newest session that is over, and its bar; `None` where the provider has none.
    ///
    /// # Errors
    ///
    /// What a call can end in.
    pub async fn previous_close(
        &self,
        symbol: &Symbol,
        adjusted: bool,
        errand: Errand,
    ) -> Result<Option<PreviousClose>, SourceError> {
        let what = format!("the previous close of {symbol}");
        let today = Calendar::us_equities().session_of(self.caller.clock().now());
        let question = Question {
            what: &what,
            template: PREVIOUS,
            query: format!("/v2/aggs/ticker/{}/prev?adjusted={adjusted}", in_path(symbol)),
            ticker: Some(symbol.as_str()),
            adjusted,
            sessions: (today, today),
            errand,
        };
        let (pages, _) = self.pages(&question).await?;
        let own = |ticker: &str| ticker.is_empty() || ticker == symbol.as_str();
        let newest = pages.iter().flat_map(Rows::iter).filter(|row| own(row.ticker)).find_map(|row| {
            // The stamp is the end of the session.
            let session = Calendar::us_equities().session_of(Timestamp::from_millis(row.stamp_ms?));
            Some(PreviousClose { session, bar: Bar::new(row.values).ok()? })
        });
        Ok(newest)
    }

    /// One day of one ticker, split-adjusted or raw; `None` on a day without trading.
    ///
    /// # Errors
    ///
    /// What a call can end in.
    pub async fn open_close(
        &self,
        symbol: &Symbol,
        day: SessionDate,
        adjusted: bool,
        errand: Errand,
    ) -> Result<Option<OpenClose>, SourceError> {
        let calendar = Calendar::us_equities();
        if (calendar.first()..=calendar.last()).contains(&day) && !calendar.is_session(day) {
            return Ok(None);
        }
        let what = format!("open and close of {symbol} on {day}");
        let query = format!("/v1/open-close/{}/{day}?adjusted={adjusted}", in_path(symbol));
        let one = self.one(OPEN_CLOSE, &query, &what, Some((day, day)), errand, decode::open_close).await?;
        let Some(row) = one else { return Ok(None) };
        if row.ticker != symbol.as_str() {
            let other = panscan_core::error::shortened(&row.ticker);
            return Err(self.scribe.unreadable(&what, &format!("the answer is about {other}")));
        }
        if row.day.as_deref().is_some_and(|of| of.get(..10) != Some(day.to_string().as_str())) {
            return Err(self.scribe.unreadable(&what, "the answer is about another day"));
        }
        Ok(Some(OpenClose {
            open: row.open,
            high: row.high,
            low: row.low,
            close: row.close,
            volume: row.volume,
            pre_market: row.pre_market,
            after_hours: row.after_hours,
        }))
    }
}

type Laid = (Vec<Aggregate>, Vec<(Timestamp, BarFault)>);

/// Sorts the rows, drops equal repeats, refuses what is no bar, two that differ and what is out of range.
fn laid_out(ask: &AggregatesAsk, pages: &[Rows], now: Timestamp) -> Laid {
    let calendar = Calendar::us_equities();
    let begin = calendar.midnight(ask.from).as_millis();
    let end = calendar.midnight(ask.to.plus(1)).as_millis();
    // An hour for the change of the clocks within an interval of days or more.
    let clocks = if ask.timespan.base() == Timespan::Day { 3_600_000 } else { 0 };
    let length = i64::from(ask.multiplier) * ask.timespan.longest_ms();
    let mut builder = BlockBuilder::new(Timeframe::Minutes(1));
    let symbol = ask.symbol.as_str();
    for row in pages.iter().flat_map(Rows::iter) {
        let key = BarKey::start(Timestamp::from_millis(row.stamp_ms.unwrap_or_default()));
        let own = row.ticker.is_empty() || row.ticker == symbol;
        let near = row.stamp_ms.is_some_and(|start| start > begin - length - clocks && start < end);
        if own && near {
            builder.push(symbol, key, row.values);
        } else {
            builder.quarantine(symbol, key, BarFault::Foreign);
        }
    }
    let provenance = Provenance { provider: "".into(), fetched_at: now };
    let (block, refused) = builder.finish(Some(std::slice::from_ref(&ask.symbol)), None, provenance);
    let aggregate = |(row, key): (usize, &BarKey)| {
        let start = key.as_start();
        let over = stop(ask, start);
        let partial = start.as_millis() < begin || over.as_millis() > end || over > now;
        Some(Aggregate { start, bar: block.bar(0, row)?, partial })
    };
    let aggregates = block.rows().iter().enumerate().filter_map(aggregate).collect();
    (aggregates, refused.into_iter().map(|row| (row.key.as_start(), row.fault)).collect())
}

/// Where the interval that begins at `start` ends.
fn stop(ask: &AggregatesAsk, start: Timestamp) -> Timestamp {
    let calendar = Calendar::us_equities();
    let count = i32::try_from(ask.multiplier).unwrap_or(i32::MAX);
    let date = calendar.session_of(start);
    let months = |count: i32| {
        let (year, month, _) = date.ymd();
        let month = i32::from(year) * 12 + i32::from(month) - 1 + count;
        let year = i16::try_from(month.div_euclid(12)).ok();
        let month = i8::try_from(month.rem_euclid(12) + 1).ok();
        year.zip(month).and_then(|(year, month)| SessionDate::from_ymd(year, month, 1))
    };
    let day = match ask.timespan {
        Timespan::Second | Timespan::Minute | Timespan::Hour => {
            let length = i64::from(count) * ask.timespan.longest_ms();
            return Timestamp::from_millis(start.as_millis().saturating_add(length));
        }
        Timespan::Day => Some(date.plus(count)),
        Timespan::Week => Some(date.plus(count.saturating_mul(7))),
        Timespan::Month => months(count),
        Timespan::Quarter => months(count.saturating_mul(3)),
        Timespan::Year => months(count.saturating_mul(12)),
    };
    calendar.midnight(day.unwrap_or(date))
}

impl OpenClose {
    /// Whether the session's own prices are all there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        [self.open, self.high, self.low, self.close].iter().all(Option::is_some)
    }
}

impl Aggregate {
    /// One of its numbers; NaN where the provider sent none.
    #[must_use]
    pub fn get(&self, field: Field) -> f64 {
        self.bar.get(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(timespan: Timespan, multiplier: u32, from: &str, to: &str) -> AggregatesAsk {
        AggregatesAsk {
            symbol: Symbol::new("A").unwrap(),
            multiplier,
            timespan,
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            adjusted: true,
        }
    }

    fn lay(ask: &AggregatesAsk, starts: &[&str]) -> (Vec<(String, bool)>, usize) {
        let row = |at: &&str| {
            let at: Timestamp = at.parse().unwrap();
            format!("{{\"o\":1,\"h\":1,\"l\":1,\"c\":1,\"v\":1,\"t\":{}}}", at.as_millis())
        };
        let rows: Vec<String> = starts.iter().map(row).collect();
        let page = decode::aggregates(format!("{{\"results\":[{}]}}", rows.join(",")).as_bytes()).unwrap();
        let (aggregates, refused) = laid_out(ask, &[page.rows], "2026-01-02T00:00:00Z".parse().unwrap());
        (aggregates.iter().map(|one| (one.start.to_string(), one.partial)).collect(), refused.len())
    }

    #[test]
    fn a_week_that_begins_before_the_range_is_kept_and_marked() {
        // Wednesday to the Friday of the week after next
        let ask = ask(Timespan::Week, 1, "2025-03-05", "2025-03-21");
        let (weeks, refused) = lay(
            &ask,
            &["2025-03-02T05:00:00Z", "2025-03-16T04:00:00Z", "2025-03-09T05:00:00Z", "2025-02-23T05:00:00Z"],
        );
        assert_eq!(
            weeks,
            [
                ("2025-03-02T05:00:00Z".to_owned(), true),
                ("2025-03-09T05:00:00Z".to_owned(), false),
                ("2025-03-16T04:00:00Z".to_owned(), true)
            ]
        );
        assert_eq!(refused, 1, "the week before is none that was asked for");
    }

    #[test]
    fn months_quarters_and_years_end_where_the_calendar_says() {
        let stop = |timespan, multiplier, start: &str| {
            stop(&ask(timespan, multiplier, "2020-01-01", "2026-01-01"), start.parse().unwrap()).to_string()
        };
        assert_eq!(stop(Timespan::Month, 1, "2024-02-01T05:00:00Z"), "2024-03-01T05:00:00Z");
        assert_eq!(stop(Timespan::Month, 2, "2024-11-01T04:00:00Z"), "2025-01-01T05:00:00Z");
        assert_eq!(stop(Timespan::Quarter, 1, "2024-10-01T04:00:00Z"), "2025-01-01T05:00:00Z");
        assert_eq!(stop(Timespan::Year, 3, "2024-01-01T05:00:00Z"), "2027-01-01T05:00:00Z");
        assert_eq!(stop(Timespan::Day, 2, "2024-03-09T05:00:00Z"), "2024-03-11T04:00:00Z");
        assert_eq!(stop(Timespan::Hour, 4, "2024-03-11T13:00:00Z"), "2024-03-11T17:00:00Z");
    }

    #[test]
    fn what_is_not_over_is_partial() {
        let (years, _) = lay(
            &ask(Timespan::Year, 1, "2025-01-01", "2026-12-31"),
            &["2025-01-01T05:00:00Z", "2026-01-01T05:00:00Z"],
        );
        assert_eq!(years.iter().map(|year| year.1).collect::<Vec<_>>(), [false, true]);
    }
}
