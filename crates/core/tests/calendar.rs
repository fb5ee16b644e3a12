//! The calendar against what the exchange did: session counts by year, closures, half days, clock changes.

#![expect(clippy::unwrap_used, reason = "literals of the test itself")]

use panscan_core::calendar::Calendar;
use panscan_core::time::{SessionDate, Timestamp};
use proptest::prelude::*;

fn date(text: &str) -> SessionDate {
    text.parse().unwrap()
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn calendar() -> &'static Calendar {
    Calendar::us_equities()
}

#[test]
fn every_year_has_as_many_sessions_as_it_had() {
    let counts = [
        (1998, 252),
        (1999, 252),
        (2000, 252),
        (2001, 248),
        (2002, 252),
        (2003, 252),
        (2004, 252),
        (2005, 252),
        (2006, 251),
        (2007, 251),
        (2008, 253),
        (2009, 252),
        (2010, 252),
        (2011, 252),
        (2012, 250),
        (2013, 252),
        (2014, 252),
        (2015, 252),
        (2016, 252),
        (2017, 251),
        (2018, 251),
        (2019, 252),
        (2020, 253),
        (2021, 252),
        (2022, 251),
        (2023, 250),
        (2024, 252),
        (2025, 250),
        (2026, 251),
        (2027, 251),
        (2028, 251),
        (2029, 251),
        (2030, 251),
    ];
    for (year, expected) in counts {
        let first = SessionDate::from_ymd(year, 1, 1).unwrap();
        let last = SessionDate::from_ymd(year, 12, 31).unwrap();
        assert_eq!(calendar().count(first, last), expected, "{year}");
    }
    assert_eq!(calendar().first(), date("1998-01-02"));
    assert_eq!(calendar().last(), date("2030-12-31"));
}

#[test]
fn one_off_closures_and_moved_holidays_are_no_sessions() {
    for closed in [
        "2001-09-11",
        "2001-09-12",
        "2001-09-13",
        "2001-09-14",
        "2004-06-11",
        "2007-01-02",
        "2012-10-29",
        "2012-10-30",
        "2018-12-05",
        "2025-01-09",
        // Saturday's holiday on Friday, Sunday's on Monday
        "1998-07-03",
        "1999-12-24",
        "2004-07-05",
        "2010-12-24",
        "2020-07-03",
        "2021-12-24",
        "2022-12-26",
        "2023-01-02",
        "2026-07-03",
        "2027-12-24",
        "2022-06-20",
        "2027-06-18",
        // by rule
        "1998-01-19",
        "2016-02-15",
        "2016-03-25",
        "2018-03-30",
        "2016-05-30",
        "2024-06-19",
        "2016-09-05",
        "2016-11-24",
        "2019-11-28",
        "2025-12-25",
        "2016-12-31",
        "2017-01-01",
    ] {
        assert!(!calendar().is_session(date(closed)), "{closed}");
    }
    for open in [
        "2001-09-10",
        "2001-09-17",
        "2004-06-10",
        "2012-10-26",
        "2012-10-31",
        // New Year's Day on a Saturday closes nothing
        "1999-12-31",
        "2004-12-31",
        "2010-12-31",
        "2021-12-31",
        "2027-12-31",
        // before Juneteenth was kept
        "2020-06-19",
        "2021-06-18",
        // holidays of banks but not of the exchange
        "2016-10-10",
        "2016-11-11",
    ] {
        assert!(calendar().is_session(date(open)), "{open}");
    }
}

#[test]
fn half_days_are_those_of_the_exchange() {
    let mut found: Vec<String> = Vec::new();
    for &session in calendar().sessions(date("1998-01-01"), date("2028-12-31")) {
        if calendar().is_half_day(session) && session.ymd().1 != 11 {
            found.push(session.to_string());
        }
    }
    let expected = [
        "1998-12-24",
        "1999-12-31",
        "2000-07-03",
        "2001-07-03",
        "2001-12-24",
        "2002-07-05",
        "2002-12-24",
        "2003-07-03",
        "2003-12-24",
        "2003-12-26",
        "2006-07-03",
        "2007-07-03",
        "2007-12-24",
        "2008-07-03",
        "2008-12-24",
        "2009-12-24",
        "2012-07-03",
        "2012-12-24",
        "2013-07-03",
        "2013-12-24",
        "2014-07-03",
        "2014-12-24",
        "2015-12-24",
        "2017-07-03",
        "2018-07-03",
        "2018-12-24",
        "2019-07-03",
        "2019-12-24",
        "2020-12-24",
        "2023-07-03",
        "2024-07-03",
        "2024-12-24",
        "2025-07-03",
        "2025-12-24",
        "2026-12-24",
        "2028-07-03",
    ];
    assert_eq!(found, expected);
    for text in ["1998-11-27", "2002-11-29", "2016-11-25", "2024-11-29", "2025-11-28", "2030-11-29"] {
        assert!(calendar().is_half_day(date(text)), "{text}");
    }
    assert!(!calendar().is_half_day(date("2002-07-03")) && !calendar().is_half_day(date("2013-07-05")));
    assert!(!calendar().is_half_day(date("2021-12-24")), "a closed day is no half day");
}

#[test]
fn hours_follow_daylight_saving() {
    // (session, midnight, open, close) around both changes, under the rules before and after 2007
    for (session, midnight, open, close) in [
        ("2006-03-31", "05:00", "14:30", "21:00"),
        ("2006-04-03", "04:00", "13:30", "20:00"),
        ("2006-10-27", "04:00", "13:30", "20:00"),
        ("2006-10-30", "05:00", "14:30", "21:00"),
        ("2024-03-08", "05:00", "14:30", "21:00"),
        ("2024-03-11", "04:00", "13:30", "20:00"),
        ("2024-11-01", "04:00", "13:30", "20:00"),
        ("2024-11-04", "05:00", "14:30", "21:00"),
        ("2024-11-29", "05:00", "14:30", "18:00"),
        ("2024-07-03", "04:00", "13:30", "17:00"),
    ] {
        let day = date(session);
        let utc = |hour: &str| instant(&format!("{session}T{hour}:00Z"));
        assert_eq!(calendar().midnight(day), utc(midnight), "{session}");
        assert_eq!(calendar().open(day), utc(open), "{session}");
        assert_eq!(calendar().close(day), utc(close), "{session}");
    }
    // On the days of the change itself midnight and noon differ in their offset.
    assert_eq!(calendar().midnight(date("2024-03-10")), instant("2024-03-10T05:00:00Z"));
    assert_eq!(calendar().open(date("2024-03-10")), instant("2024-03-10T13:30:00Z"));
    assert_eq!(calendar().midnight(date("2024-11-03")), instant("2024-11-03T04:00:00Z"));
    assert_eq!(calendar().open(date("2024-11-03")), instant("2024-11-03T14:30:00Z"));
}

#[test]
fn instants_belong_to_the_date_in_new_york() {
    for (at, expected) in [
        ("2024-07-02T03:59:59Z", "2024-07-01"),
        ("2024-07-02T04:00:00Z", "2024-07-02"),
        ("2024-01-02T04:59:59Z", "2024-01-01"),
        ("2024-01-02T05:00:00Z", "2024-01-02"),
        ("2024-03-11T03:59:59Z", "2024-03-10"),
        ("2024-11-04T04:59:59Z", "2024-11-03"),
        ("1950-01-02T05:00:00Z", "1950-01-02"),
        ("2090-01-02T05:00:00Z", "2090-01-02"),
    ] {
        assert_eq!(calendar().session_of(instant(at)), date(expected), "{at}");
    }
}

#[test]
fn closed_and_current_sessions_change_at_close_and_open() {
    let closed = |at: &str| calendar().last_closed(instant(at)).unwrap().to_string();
    let current = |at: &str| calendar().current(instant(at)).unwrap().to_string();
    assert_eq!(closed("2024-07-03T16:59:59Z"), "2024-07-02");
    assert_eq!(closed("2024-07-03T17:00:00Z"), "2024-07-03");
    assert_eq!(closed("2024-07-05T19:59:59Z"), "2024-07-03");
    assert_eq!(closed("2024-07-07T12:00:00Z"), "2024-07-05");
    assert_eq!(current("2024-07-03T13:29:59Z"), "2024-07-02");
    assert_eq!(current("2024-07-03T13:30:00Z"), "2024-07-03");
    assert_eq!(current("2024-07-04T15:00:00Z"), "2024-07-03");
    assert!(calendar().is_open(instant("2024-07-03T13:30:00Z")));
    assert!(!calendar().is_open(instant("2024-07-03T17:00:00Z")));
    assert!(!calendar().is_open(instant("2024-07-04T15:00:00Z")));
    assert_eq!(calendar().last_closed(instant("1990-01-01T00:00:00Z")), None);
    assert_eq!(calendar().last_closed(instant("2050-01-01T00:00:00Z")), Some(date("2030-12-31")));
}

#[test]
fn steps_count_sessions() {
    let c = calendar();
    assert_eq!(c.next(date("2001-09-10")), Some(date("2001-09-17")));
    assert_eq!(c.previous(date("2001-09-17")), Some(date("2001-09-10")));
    assert_eq!(c.back(date("2025-12-31"), 0), Some(date("2025-12-31")));
    assert_eq!(c.back(date("2025-12-31"), 250), Some(date("2024-12-31")));
    assert_eq!(c.back(date("2025-12-28"), 0), Some(date("2025-12-26")), "counted from the newest session");
    assert_eq!(c.back(date("1998-01-05"), 2), None);
    assert_eq!(c.month_start(date("2016-01-20")), date("2016-01-04"));
    assert_eq!(c.month_start(date("2016-05-01")), date("2016-05-02"));
    assert_eq!(c.history_start(date("2025-12-31"), 504), date("2023-12-01"));
    assert_eq!(c.history_start(date("2025-12-31"), 0), date("2025-12-01"));
    assert_eq!(c.history_start(date("2025-12-31"), 100_000), c.first());
    assert_eq!(c.sessions(date("2012-10-26"), date("2012-10-31")), [date("2012-10-26"), date("2012-10-31")]);
    assert!(c.sessions(date("2016-01-05"), date("2016-01-04")).is_empty());
}

proptest! {
    #[test]
    fn look_ups_agree_with_one_another(days in -20_000_i32..40_000) {
        let c = calendar();
        let day = SessionDate::from_days(days);
        if let Some(next) = c.next(day) {
            prop_assert!(next > day && c.is_session(next));
            prop_assert_eq!(c.at_or_before(next.plus(-1)), c.at_or_before(day));
        }
        if let Some(index) = c.index_of(day) {
            prop_assert_eq!(c.sessions(c.first(), day).len(), index + 1);
            prop_assert_eq!(c.back(day, index), Some(c.first()));
            prop_assert!(day.weekday() < 5);
            prop_assert_eq!(c.session_of(c.open(day)), day);
            prop_assert_eq!(c.session_of(c.close(day)), day);
            prop_assert_eq!(c.last_closed(c.close(day)), Some(day));
            prop_assert_eq!(c.current(c.open(day)), Some(day));
        }
        prop_assert_eq!(c.session_of(c.midnight(day)), day);
        prop_assert_eq!(c.session_of(Timestamp::from_nanos(c.midnight(day).as_nanos() - 1)), day.plus(-1));
    }

    #[test]
    fn no_date_or_instant_panics(days: i32, other: i32, nanos: i64) {
        let c = calendar();
        let day = SessionDate::from_days(days);
        let _ = (c.sessions(day, SessionDate::from_days(other)), c.open(day), c.close(day), c.month_start(day));
        let _ = (c.back(day, other.unsigned_abs() as usize), c.last_closed(Timestamp::from_nanos(nanos)));
    }
}
