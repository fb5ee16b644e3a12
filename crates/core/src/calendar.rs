//! The exchange calendar of US equities: sessions, half days, one-off closures and daylight saving, 1998 to 2030.
//!
//! Everything is computed once and then looked up. Not here: the rules by which days are closed
//! (`holidays.rs` beside), halts and late openings within a session, and any clock: callers bring the instant.

mod announced;
mod holidays;

use std::sync::LazyLock;

use jiff::tz::TimeZone;

pub use self::announced::{Announced, AnnouncedHours, Difference};
use self::holidays::{Trading, trading};
use crate::time::{NANOS_PER_SECOND, SessionDate, Timestamp};

/// Nanoseconds in an hour.
const HOUR: i64 = 3_600 * NANOS_PER_SECOND;
/// Nanoseconds in a day without a clock change.
const DAY: i64 = 24 * HOUR;
const OPEN: i64 = 9 * HOUR + HOUR / 2;
const CLOSE: i64 = 16 * HOUR;
const CLOSE_HALF: i64 = 13 * HOUR;

const YEARS: std::ops::RangeInclusive<i16> = 1998..=2030;

/// The sessions of US equities and their hours in New York.
///
/// Two kinds of question are answered: about sessions (days on which the exchange trades), which the calendar
/// knows from [`first`](Self::first) to [`last`](Self::last), and about civil dates in New York, which work for
/// any date. Outside its years no day is a session.
#[derive(Debug)]
pub struct Calendar {
    sessions: Vec<SessionDate>,
    /// Parallel to `sessions`.
    half: Vec<bool>,
    /// The first civil date of the calendar's years.
    origin: SessionDate,
    /// For each civil date from `origin` on, and one more: how many sessions lie strictly before it.
    before: Vec<u32>,
    /// For each civil date from `origin` on, and one more: the instant of its midnight.
    midnights: Vec<Timestamp>,
    zone: TimeZone,
}

impl Calendar {
    /// The calendar of the New York Stock Exchange, which NASDAQ and the other US exchanges keep too.
    #[must_use]
    pub fn us_equities() -> &'static Self {
        static CALENDAR: LazyLock<Calendar> = LazyLock::new(Calendar::build);
        &CALENDAR
    }

    fn build() -> Self {
        #[expect(clippy::expect_used, reason = "the zone is compiled into the binary")]
        let zone = TimeZone::get("America/New_York").expect("the bundled time zone database has New York");
        let origin = SessionDate::from_ymd(*YEARS.start(), 1, 1).unwrap_or_default();
        let end = SessionDate::from_ymd(*YEARS.end() + 1, 1, 1).unwrap_or_default();
        let mut calendar = Self {
            sessions: Vec::new(),
            half: Vec::new(),
            origin,
            before: Vec::new(),
            midnights: Vec::new(),
            zone,
        };
        for days in origin.days()..=end.days() {
            let date = SessionDate::from_days(days);
            calendar.before.push(calendar.sessions.len() as u32);
            calendar.midnights.push(midnight(&calendar.zone, date));
            let kind = trading(date);
            if date < end && kind != Trading::Shut {
                calendar.sessions.push(date);
                calendar.half.push(kind == Trading::Half);
            }
        }
        calendar
    }

    /// The oldest session known: 1998-01-02.
    #[must_use]
    pub fn first(&self) -> SessionDate {
        self.sessions.first().copied().unwrap_or_default()
    }

    /// The newest session known: 2030-12-31.
    #[must_use]
    pub fn last(&self) -> SessionDate {
        self.sessions.last().copied().unwrap_or_default()
    }

    /// Whether the exchange trades on `date`.
    #[must_use]
    pub fn is_session(&self, date: SessionDate) -> bool {
        self.index_of(date).is_some()
    }

    /// Whether `date` is a session that closes at 13:00.
    #[must_use]
    pub fn is_half_day(&self, date: SessionDate) -> bool {
        self.index_of(date).is_some_and(|index| self.half[index])
    }

    /// All sessions from `from` to `to`, both included; neither needs to be a session. Empty when `to` is earlier.
    #[must_use]
    pub fn sessions(&self, from: SessionDate, to: SessionDate) -> &[SessionDate] {
        if to < from {
            return &[];
        }
        &self.sessions[self.before(from)..self.before(to.plus(1))]
    }

    /// Position of the session `date` among all known sessions.
    #[must_use]
    pub fn index_of(&self, date: SessionDate) -> Option<usize> {
        let index = self.before(date);
        (self.sessions.get(index) == Some(&date)).then_some(index)
    }

    /// The oldest session strictly after `date`.
    #[must_use]
    pub fn next(&self, date: SessionDate) -> Option<SessionDate> {
        self.at_or_after(date.plus(1))
    }

    /// The newest session strictly before `date`.
    #[must_use]
    pub fn previous(&self, date: SessionDate) -> Option<SessionDate> {
        self.before(date).checked_sub(1).map(|index| self.sessions[index])
    }

    /// `date` itself when it is a session, else the oldest session after it.
    #[must_use]
    pub fn at_or_after(&self, date: SessionDate) -> Option<SessionDate> {
        self.sessions.get(self.before(date)).copied()
    }

    /// `date` itself when it is a session, else the newest session before it.
    #[must_use]
    pub fn at_or_before(&self, date: SessionDate) -> Option<SessionDate> {
        self.previous(date.plus(1))
    }

    /// The session `n` sessions before [`at_or_before(date)`](Self::at_or_before), so that `n` = 0 gives that one
    /// itself; `None` when the calendar does not reach that far.
    #[must_use]
    pub fn back(&self, date: SessionDate, n: usize) -> Option<SessionDate> {
        self.before(date.plus(1)).checked_sub(1)?.checked_sub(n).map(|index| self.sessions[index])
    }

    /// How many sessions lie from `from` to `to`, both included.
    #[must_use]
    pub fn count(&self, from: SessionDate, to: SessionDate) -> usize {
        self.sessions(from, to).len()
    }

    /// 09:30 in New York on the civil date `date`.
    #[must_use]
    pub fn open(&self, date: SessionDate) -> Timestamp {
        self.at(date, OPEN)
    }

    /// 16:00 in New York on the civil date `date`, 13:00 on a half day.
    #[must_use]
    pub fn close(&self, date: SessionDate) -> Timestamp {
        self.at(date, if self.is_half_day(date) { CLOSE_HALF } else { CLOSE })
    }

    /// 00:00 in New York on the civil date `date`, session or not: the stamp of a daily bar.
    #[must_use]
    pub fn midnight(&self, date: SessionDate) -> Timestamp {
        self.day_index(date)
            .and_then(|index| self.midnights.get(index).copied())
            .unwrap_or_else(|| midnight(&self.zone, date))
    }

    /// The civil date in New York at the instant `at`, session or not.
    #[must_use]
    pub fn session_of(&self, at: Timestamp) -> SessionDate {
        // New York is four or five hours behind: with five the date is right or one day too early.
        let guess = SessionDate::from_days((at.as_nanos() - 5 * HOUR).div_euclid(DAY) as i32);
        if self.midnight(guess.plus(1)) <= at {
            return guess.plus(1);
        }
        guess
    }

    /// The newest session whose close is at or before `at`.
    #[must_use]
    pub fn last_closed(&self, at: Timestamp) -> Option<SessionDate> {
        let today = self.session_of(at);
        if self.is_session(today) && self.close(today) <= at { Some(today) } else { self.previous(today) }
    }

    /// The newest session whose open is at or before `at`: the one that trades now, else the last one that did.
    #[must_use]
    pub fn current(&self, at: Timestamp) -> Option<SessionDate> {
        let today = self.session_of(at);
        if self.is_session(today) && self.open(today) <= at { Some(today) } else { self.previous(today) }
    }

    /// Whether the regular session runs at `at`; the open belongs to it, the close does not.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        let today = self.session_of(at);
        self.is_session(today) && self.open(today) <= at && at < self.close(today)
    }

    /// The first session of `date`'s calendar month; outside the calendar's years the first civil day of it.
    #[must_use]
    pub fn month_start(&self, date: SessionDate) -> SessionDate {
        let first = date.plus(1 - i32::from(date.ymd().2));
        if first < self.origin { first } else { self.at_or_after(first).unwrap_or(first) }
    }

    /// Where a history of `sessions` sessions that ends at `newest` starts: that many sessions before it, moved
    /// back to the first session of that calendar month, so that the start moves once a month and not daily.
    ///
    /// Never earlier than [`first`](Self::first).
    #[must_use]
    pub fn history_start(&self, newest: SessionDate, sessions: usize) -> SessionDate {
        self.back(newest, sessions).map_or(self.first(), |oldest| self.month_start(oldest))
    }

    /// How many sessions lie strictly before `date`.
    fn before(&self, date: SessionDate) -> usize {
        match self.day_index(date) {
            None => 0,
            Some(index) => self.before.get(index).map_or(self.sessions.len(), |&count| count as usize),
        }
    }

    /// Days from `origin` to `date`; `None` before it.
    fn day_index(&self, date: SessionDate) -> Option<usize> {
        usize::try_from(i64::from(date.days()) - i64::from(self.origin.days())).ok()
    }

    /// The instant `hour` nanoseconds into the day on the clock of `date`.
    fn at(&self, date: SessionDate, hour: i64) -> Timestamp {
        // Counted back from the next midnight: clocks change at 02:00, so no change lies between the open and it.
        Timestamp::from_nanos(self.midnight(date.plus(1)).as_nanos().saturating_sub(DAY - hour))
    }
}

/// 00:00 of `date` in `zone`, saturating at the ends of what an instant can hold.
fn midnight(zone: &TimeZone, date: SessionDate) -> Timestamp {
    let nanos = date.civil().to_zoned(zone.clone()).map_or(
        // Only the last day of the year 9999 has no instant, which is far beyond what nanoseconds hold.
        i128::MAX,
        |zoned| zoned.timestamp().as_nanosecond(),
    );
    let clamped = nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Timestamp::from_nanos(clamped as i64)
}
