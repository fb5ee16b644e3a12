//! Closures that an exchange announces, held against the calendar's own rules. The rules decide; a difference is
//! told.

use std::collections::BTreeMap;
use std::fmt;

use super::Calendar;
use crate::time::{SessionDate, Timestamp};

/// A day on which an exchange says that it does not keep its usual hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The day.
    pub date: SessionDate,
    /// The exchange, as the source spells it.
    pub exchange: String,
    /// Why, e.g. `Thanksgiving`.
    pub name: String,
    /// What.
    pub hours: AnnouncedHours,
}

/// What is announced of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnouncedHours {
    /// No session.
    Closed,
    /// A session that ends early, at this instant where it is said.
    EarlyClose(Option<Timestamp>),
}

/// Where an announcement and the calendar do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Announced as closed, a session here.
    NotASession(SessionDate, String),
    /// A closed weekday here, within the announced time and not announced.
    NotClosed(SessionDate),
    /// Announced to close early; here it is a full session, or none.
    NotHalf(SessionDate, String),
    /// A half day here, not announced within the announced time.
    NotFull(SessionDate),
    /// Both say that it closes early, at different times.
    OtherClose(SessionDate, Timestamp),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASession(date, name) => {
                write!(f, "{date} ({name}) is announced as closed and is a session of this calendar")
            }
            Self::NotClosed(date) => write!(f, "{date} is closed in this calendar and not announced"),
            Self::NotHalf(date, name) => {
                write!(f, "{date} ({name}) is announced to close early and is no half day of this calendar")
            }
            Self::NotFull(date) => write!(f, "{date} is a half day of this calendar and not announced"),
            Self::OtherClose(date, at) => {
                write!(f, "{date} is announced to close at {at}, and here at another time")
            }
        }
    }
}

impl Calendar {
    /// Where announcements made on `today` differ from this calendar. Looks at the exchanges of US equities only,
    /// from the day after `today` to the last day announced: an announcement does not say how far ahead it looks.
    #[must_use]
    pub fn differences(&self, announced: &[Announced], today: SessionDate) -> Vec<Difference> {
        let known = |exchange: &str| {
            ["NYSE", "NASDAQ", "AMEX", "ARCA"].iter().any(|name| exchange.to_ascii_uppercase().contains(name))
        };
        let ahead = announced
            .iter()
            .filter(|row| row.date > today && row.date <= self.last() && known(&row.exchange));
        let by_date: BTreeMap<SessionDate, &Announced> = ahead.map(|row| (row.date, row)).collect();
        let Some((&end, _)) = by_date.last_key_value() else { return Vec::new() };
        let mut found = Vec::new();
        for date in (1..).map(|days| today.plus(days)).take_while(|date| *date <= end) {
            let (session, half) = (self.is_session(date), self.is_half_day(date));
            let weekday = date.weekday() < 5;
            match by_date.get(&date).map(|row| (row.hours, row)) {
                Some((AnnouncedHours::Closed, row)) if session => {
                    found.push(Difference::NotASession(date, row.name.clone()));
                }
                Some((AnnouncedHours::EarlyClose(_), row)) if !half => {
                    found.push(Difference::NotHalf(date, row.name.clone()));
                }
                Some((AnnouncedHours::EarlyClose(Some(at)), _)) if at != self.close(date) => {
                    found.push(Difference::OtherClose(date, at));
                }
                None if weekday && !session => found.push(Difference::NotClosed(date)),
                None if half => found.push(Difference::NotFull(date)),
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> SessionDate {
        text.parse().unwrap()
    }

    fn row(day: &str, hours: AnnouncedHours) -> Announced {
        Announced { date: date(day), exchange: "NYSE".into(), name: "Some Day".into(), hours }
    }

    #[test]
    fn what_agrees_is_silent_and_what_does_not_is_named() {
        let calendar = Calendar::us_equities();
        let early = |at: &str| AnnouncedHours::EarlyClose(Some(at.parse().unwrap()));
        let right = [
            row("2022-11-24", AnnouncedHours::Closed),
            row("2022-11-25", early("2022-11-25T18:00:00Z")),
            row("2022-12-26", AnnouncedHours::Closed),
        ];
        assert_eq!(calendar.differences(&right, date("2022-11-01")), []);
        assert_eq!(calendar.differences(&[], date("2022-11-01")), []);
        let wrong = [
            row("2022-11-23", AnnouncedHours::Closed),
            row("2022-11-25", early("2022-11-25T19:00:00Z")),
            row("2022-12-01", AnnouncedHours::EarlyClose(None)),
        ];
        assert_eq!(
            calendar.differences(&wrong, date("2022-11-01")),
            [
                Difference::NotASession(date("2022-11-23"), "Some Day".into()),
                Difference::NotClosed(date("2022-11-24")),
                Difference::OtherClose(date("2022-11-25"), "2022-11-25T19:00:00Z".parse().unwrap()),
                Difference::NotHalf(date("2022-12-01"), "Some Day".into()),
            ]
        );
        let after = [row("2022-12-26", AnnouncedHours::Closed)];
        assert_eq!(
            calendar.differences(&after, date("2022-11-24")),
            [Difference::NotFull(date("2022-11-25"))]
        );
        let abroad = [Announced { exchange: "XLON".into(), ..row("2022-11-23", AnnouncedHours::Closed) }];
        assert_eq!(calendar.differences(&abroad, date("2022-11-01")), []);
        assert!(Difference::NotFull(date("2022-11-25")).to_string().contains("2022-11-25"));
    }
}
