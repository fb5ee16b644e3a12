//! Instants, session dates and timeframes. The calendar that joins them is in [`crate::calendar`].

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, shortened};

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// An instant: nanoseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since the Unix epoch; beyond the years 1678 to 2262 it saturates.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From seconds since the Unix epoch; saturates likewise.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    /// Later by `span`.
    #[must_use]
    pub fn after(self, span: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to this; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    /// Reads RFC 3339, e.g. `2025-12-31T21:00:00Z`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unreadable = || Error::Unreadable {
            what: "instant",
            text: shortened(text),
            expected: "RFC 3339, e.g. 2025-12-31T21:00:00Z",
        };
        let instant: jiff::Timestamp = text.parse().map_err(|_| unreadable())?;
        i64::try_from(instant.as_nanosecond()).map(Self).map_err(|_| unreadable())
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "{} ns", self.0),
        }
    }
}

/// A date in the exchange's own calendar, as days since 1970-01-01. Whether it is a session is the
/// [`Calendar`](crate::calendar::Calendar)'s to say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionDate(i32);

impl SessionDate {
    /// From days since 1970-01-01.
    #[must_use]
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn days(self) -> i32 {
        self.0
    }

    /// From a civil date; `None` when there is no such day.
    #[must_use]
    pub fn from_ymd(year: i16, month: i8, day: i8) -> Option<Self> {
        let date = jiff::civil::Date::new(year, month, day).ok()?;
        Some(Self::from_civil(date))
    }

    /// Year, month (1 to 12) and day (1 to 31).
    #[must_use]
    pub fn ymd(self) -> (i16, i8, i8) {
        let date = self.civil();
        (date.year(), date.month(), date.day())
    }

    /// Day of the week, 0 = Monday.
    #[must_use]
    pub const fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday.
        (self.0 + 3).rem_euclid(7) as u8
    }

    /// The day `days` later (earlier when negative).
    #[must_use]
    pub const fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    pub(crate) fn from_civil(date: jiff::civil::Date) -> Self {
        let epoch = jiff::civil::Date::constant(1970, 1, 1);
        let days = epoch.until(date).map(|span| span.get_days()).unwrap_or(0);
        Self(days)
    }

    pub(crate) fn civil(self) -> jiff::civil::Date {
        let epoch = jiff::civil::Date::constant(1970, 1, 1);
        // Farther away a span of days would panic; the sum saturates at the years -9999 and 9999 anyway.
        epoch.saturating_add(jiff::Span::new().days(self.0.clamp(-7_304_484, 7_304_484)))
    }
}

impl fmt::Display for SessionDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.ymd();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for SessionDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionDate {
    type Err = Error;

    /// Reads `YYYY-MM-DD`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let date: Option<jiff::civil::Date> = if text.len() == 10 { text.parse().ok() } else { None };
        date.map(Self::from_civil).ok_or_else(|| Error::Unreadable {
            what: "session date",
            text: shortened(text),
            expected: "YYYY-MM-DD, e.g. 2025-12-31",
        })
    }
}

/// The interval of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timeframe {
    /// This many minutes: 1, 5, 15, 30, 60, 120 or 240.
    Minutes(u16),
    /// One exchange session.
    Day,
    /// Monday to Friday.
    Week,
    /// One calendar month.
    Month,
}

impl Timeframe {
    /// The accepted names, shortest first.
    pub const NAMES: &'static str = "1m, 5m, 15m, 30m, 1h, 2h, 4h, 1d, 1w, 1mo";
}

impl FromStr for Timeframe {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "1m" => Self::Minutes(1),
            "5m" => Self::Minutes(5),
            "15m" => Self::Minutes(15),
            "30m" => Self::Minutes(30),
            "1h" => Self::Minutes(60),
            "2h" => Self::Minutes(120),
            "4h" => Self::Minutes(240),
            "1d" => Self::Day,
            "1w" => Self::Week,
            "1mo" => Self::Month,
            _ => {
                return Err(Error::Unreadable {
                    what: "timeframe",
                    text: shortened(text),
                    expected: "one of 1m, 5m, 15m, 30m, 1h, 2h, 4h, 1d, 1w, 1mo",
                });
            }
        })
    }
}

impl fmt::Display for Timeframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minutes(n) if n % 60 == 0 => write!(f, "{}h", n / 60),
            Self::Minutes(n) => write!(f, "{n}m"),
            Self::Day => f.write_str("1d"),
            Self::Week => f.write_str("1w"),
            Self::Month => f.write_str("1mo"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_back_as_written() {
        for text in ["1970-01-01", "1998-01-02", "2000-02-29", "2016-12-30", "2030-12-31"] {
            assert_eq!(text.parse::<SessionDate>().unwrap().to_string(), text);
        }
        assert_eq!("1970-01-02".parse::<SessionDate>().unwrap().days(), 1);
        assert_eq!("1969-12-31".parse::<SessionDate>().unwrap().days(), -1);
        for bad in ["", "2016-02-30", "2016-1-1", "20160101", "2016-01-01T00:00:00Z"] {
            assert!(bad.parse::<SessionDate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn weekdays_start_on_monday() {
        assert_eq!("2025-12-29".parse::<SessionDate>().unwrap().weekday(), 0);
        assert_eq!("1969-12-28".parse::<SessionDate>().unwrap().weekday(), 6);
    }

    #[test]
    fn instants_read_back_as_written() {
        let at: Timestamp = "2025-12-31T21:00:00Z".parse().unwrap();
        assert_eq!(at.as_seconds(), 1_767_214_800);
        assert_eq!(at.to_string(), "2025-12-31T21:00:00Z");
        assert_eq!("2025-12-31T16:00:00-05:00".parse::<Timestamp>().unwrap(), at);
    }
}
