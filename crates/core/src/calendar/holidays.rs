//! When the exchange is shut and when it shuts early: rules by year, then the days that no rule gives.
//!
//! Facts as the New York Stock Exchange kept or announced them for 1998 to 2030. Not here: look-ups (the
//! parent module), late openings and halts of minutes, which change no bar's key.

use crate::time::SessionDate;

/// What a day is at the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trading {
    /// 09:30 to 16:00.
    Full,
    /// 09:30 to 13:00.
    Half,
    /// No session.
    Shut,
}

/// Closures that no rule gives, ascending.
const SHUT_ONCE: [(i16, i8, i8); 10] = [
    // the attacks of 11 September
    (2001, 9, 11),
    (2001, 9, 12),
    (2001, 9, 13),
    (2001, 9, 14),
    // mourning for President Reagan
    (2004, 6, 11),
    // mourning for President Ford
    (2007, 1, 2),
    // hurricane Sandy
    (2012, 10, 29),
    (2012, 10, 30),
    // mourning for the elder President Bush
    (2018, 12, 5),
    // mourning for President Carter
    (2025, 1, 9),
];

/// Early closes that no rule gives: the eve of the year 2000 and the Friday after Christmas 2003.
const HALF_ONCE: [(i16, i8, i8); 2] = [(1999, 12, 31), (2003, 12, 26)];

const MONDAY: u8 = 0;
const TUESDAY: u8 = 1;
const WEDNESDAY: u8 = 2;
const THURSDAY: u8 = 3;
const FRIDAY: u8 = 4;
const SATURDAY: u8 = 5;
const SUNDAY: u8 = 6;

/// What happens to a holiday with a fixed date when it falls on a weekend. Sunday's moves to Monday always.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnSaturday {
    /// Friday is closed instead.
    Friday,
    /// It lapses: the exchange does not close on the last business day of a year for the next one's holiday.
    Lapses,
}

/// What `date` is at the exchange.
pub(super) fn trading(date: SessionDate) -> Trading {
    let (year, month, day) = date.ymd();
    if date.weekday() >= SATURDAY || SHUT_ONCE.contains(&(year, month, day)) || is_holiday(date) {
        Trading::Shut
    } else if HALF_ONCE.contains(&(year, month, day)) || is_eve(date) {
        Trading::Half
    } else {
        Trading::Full
    }
}

/// Whether `date`, a weekday, is closed by rule.
fn is_holiday(date: SessionDate) -> bool {
    let (year, month, day) = date.ymd();
    let weekday = date.weekday();
    let nth_monday = |n: i8| weekday == MONDAY && (day - 1) / 7 + 1 == n;
    match month {
        // New Year's Day; Martin Luther King Day, kept since 1998
        1 => observed(date, 1, OnSaturday::Lapses) || (year >= 1998 && nth_monday(3)),
        // Washington's birthday
        2 => nth_monday(3),
        3 | 4 => date.plus(2) == easter(year),
        // Memorial Day: the last Monday
        5 => weekday == MONDAY && day > 24,
        // Juneteenth, kept since 2022 although a holiday by law a year earlier
        6 => year >= 2022 && observed(date, 19, OnSaturday::Friday),
        // Independence Day
        7 => observed(date, 4, OnSaturday::Friday),
        // Labor Day
        9 => nth_monday(1),
        11 => is_thanksgiving(date),
        12 => observed(date, 25, OnSaturday::Friday),
        _ => false,
    }
}

/// Whether `date`, an open weekday, closes at 13:00 by rule.
fn is_eve(date: SessionDate) -> bool {
    let (year, month, day) = date.ymd();
    let weekday = date.weekday();
    match (month, day) {
        // Before Independence Day. A Wednesday had a full session up to 2012, when Friday the 5th was short instead
        // (2002); since 2013 it is the Wednesday. On a Friday the 3rd is the holiday itself.
        (7, 3) => matches!(weekday, MONDAY | TUESDAY | THURSDAY) || (weekday == WEDNESDAY && year >= 2013),
        (7, 5) => weekday == FRIDAY && year < 2013,
        // The day after Thanksgiving.
        (11, _) => is_thanksgiving(date.plus(-1)),
        // Christmas Eve; on a Friday it is the holiday itself.
        (12, 24) => weekday < FRIDAY,
        _ => false,
    }
}

/// Whether `date` is where the holiday on `day` of its month is kept.
fn observed(date: SessionDate, day: i8, saturday: OnSaturday) -> bool {
    let off = date.ymd().2 - day;
    match date.weekday() {
        // the holiday itself, or Saturday's kept a day early
        FRIDAY => off == 0 || (off == -1 && saturday == OnSaturday::Friday),
        // the holiday itself, or Sunday's kept a day late
        MONDAY => off == 0 || off == 1,
        SATURDAY | SUNDAY => false,
        _ => off == 0,
    }
}

/// The fourth Thursday of November.
fn is_thanksgiving(date: SessionDate) -> bool {
    let (_, month, day) = date.ymd();
    month == 11 && date.weekday() == THURSDAY && (22..=28).contains(&day)
}

/// Easter Sunday of the Gregorian calendar: the Sunday after the church's full moon on or after 21 March.
fn easter(year: i16) -> SessionDate {
    let century = i32::from(year) / 100 + 1;
    let golden = i32::from(year) % 19;
    // Leap days that centuries dropped, and the moon's slow drift against its cycle of 19 years.
    let dropped = 3 * century / 4 - 12;
    let drift = (8 * century + 5) / 25 - 5;
    let mut epact = (11 * (golden + 1) + 20 + drift - dropped).rem_euclid(30);
    if (epact == 25 && golden + 1 > 11) || epact == 24 {
        epact += 1;
    }
    let mut moon = 44 - epact;
    if moon < 21 {
        moon += 30;
    }
    // Counted from 1 March; the day is the next Sunday strictly after the moon.
    let full_moon = SessionDate::from_ymd(year, 3, 1).unwrap_or_default().plus(moon - 1);
    full_moon.plus(7 - (i32::from(full_moon.weekday()) + 1) % 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn easter_falls_where_almanacs_say() {
        for text in [
            "1998-04-12",
            "1999-04-04",
            "2000-04-23",
            "2005-03-27",
            "2008-03-23",
            "2011-04-24",
            "2016-03-27",
            "2018-04-01",
            "2019-04-21",
            "2024-03-31",
            "2025-04-20",
            "2026-04-05",
            "2027-03-28",
            "2030-04-21",
            // the extremes of two centuries
            "1943-04-25",
            "1913-03-23",
            "2038-04-25",
        ] {
            let date: SessionDate = text.parse().unwrap();
            assert_eq!(easter(date.ymd().0), date);
        }
    }
}
