//! Bars of longer intervals against a plain reference that works on civil time, over clock changes and half days; and
//! minutes that are joined piece by piece against those that came at once.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::collections::BTreeMap;

use panscan_core::bar::Field;
use panscan_core::block::{BarKey, Block, BlockBuilder, Provenance};
use panscan_core::calendar::Calendar;
use panscan_core::minutes;
use panscan_core::panel::{Panel, SeriesBars, Split, Splits};
use panscan_core::resample::{Series, View, bars_per_session, from_days, from_minutes, period};
use panscan_core::scan::{BarSelection, SessionHours};
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::{Listing, Universe};
use proptest::prelude::*;

const MINUTES: [u16; 7] = [1, 5, 15, 30, 60, 120, 240];

fn date(text: &str) -> SessionDate {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const ALL_DAY: View = View {
    hours: SessionHours::Extended,
    selection: BarSelection::IncludeForming,
    until: Timestamp::from_nanos(i64::MAX),
};

fn numbers(seed: u64) -> [f64; 7] {
    let unit = |k: u64| (seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(k * 977) >> 33) as f64;
    let (a, b) = (unit(1) % 9_999.0 / 100.0 + 1.0, unit(2) % 9_999.0 / 100.0 + 1.0);
    let vwap = if seed.is_multiple_of(37) { f64::NAN } else { unit(3) % 9_999.0 / 77.0 };
    [a, a.max(b) + 0.5, a.min(b) - 0.25, b, unit(4) % 100_000.0 / 8.0, vwap, (unit(5) % 100.0).floor()]
}

/// The wall clock in New York, by the offset that the calendar's midnights have.
fn wall(at: Timestamp) -> (SessionDate, i64) {
    let calendar = Calendar::us_equities();
    let day = calendar.session_of(at);
    (day, (at.as_seconds() - calendar.midnight(day).as_seconds()) / 60)
}

/// What a bar of the naive reference is made of, by window.
fn naive(source: &Series, minutes: i64, view: View) -> Vec<(Timestamp, [f64; 7], bool)> {
    let calendar = Calendar::us_equities();
    let mut windows: BTreeMap<(SessionDate, i64), Vec<usize>> = BTreeMap::new();
    for (row, start) in source.start.iter().enumerate() {
        let (day, minute) = wall(*start);
        let close = if calendar.is_half_day(day) { 13 * 60 } else { 16 * 60 };
        let open = calendar.is_session(day) && (9 * 60 + 30..close).contains(&minute);
        if (view.hours == SessionHours::Extended || open) && *start < view.until {
            windows.entry((day, minute / minutes)).or_default().push(row);
        }
    }
    let mut bars = Vec::new();
    for ((day, k), rows) in windows {
        let midnight = calendar.midnight(day);
        let start = midnight.as_seconds() + k * minutes * 60;
        let last = match view.hours {
            SessionHours::Regular => calendar.close(day),
            SessionHours::Extended => calendar.midnight(day.plus(1)),
        };
        let end = Timestamp::from_seconds(start + minutes * 60).min(last);
        let forming = end > view.until;
        if forming && view.selection == BarSelection::ClosedOnly {
            continue;
        }
        bars.push((Timestamp::from_seconds(start), joined(source, &rows), forming));
    }
    bars
}

fn joined(source: &Series, rows: &[usize]) -> [f64; 7] {
    let column = |field: Field| rows.iter().map(|r| source.column(field)[*r]).collect::<Vec<f64>>();
    let (volume, vwap) = (column(Field::Volume), column(Field::Vwap));
    let total = volume.iter().copied().reduce(|a, b| a + b).unwrap();
    let weighted = volume.iter().zip(&vwap).map(|(v, w)| w * v).reduce(|a, b| a + b).unwrap();
    let vwap = match rows {
        [_] => vwap[0],
        _ if total == 0.0 => f64::NAN,
        _ => weighted / total,
    };
    [
        column(Field::Open)[0],
        column(Field::High).into_iter().fold(f64::MIN, f64::max),
        column(Field::Low).into_iter().fold(f64::MAX, f64::min),
        *column(Field::Close).last().unwrap(),
        total,
        vwap,
        column(Field::Trades).into_iter().reduce(|a, b| a + b).unwrap(),
    ]
}

fn bits(series: &Series) -> Vec<(Timestamp, [u64; 7])> {
    let row = |i: usize| (series.start[i], Field::ALL.map(|f| canonical(series.column(f)[i])));
    (0..series.len()).map(row).collect()
}

fn canonical(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

fn expect_equal(got: &Series, expected: &[(Timestamp, [f64; 7], bool)]) {
    let want: Vec<_> = expected.iter().map(|(at, v, _)| (*at, v.map(canonical))).collect();
    assert_eq!(bits(got), want);
    assert_eq!(got.forming, expected.last().is_some_and(|(_, _, forming)| *forming));
}

/// Minutes of some days, each with some of its minutes, extended hours included.
fn tape(days: &[SessionDate], keep: u64, seed: u64) -> Series {
    let calendar = Calendar::us_equities();
    let mut series = Series::default();
    for day in days {
        let midnight = calendar.midnight(*day).as_seconds();
        let end = calendar.midnight(day.plus(1)).as_seconds();
        for minute in 0..(end - midnight) / 60 {
            let here = seed ^ (midnight + minute).unsigned_abs().wrapping_mul(0x9E37_79B9);
            if (here >> 7) % 16 < keep {
                series.push(Timestamp::from_seconds(midnight + minute * 60), numbers(here));
            }
        }
    }
    series
}

fn some_days() -> impl Strategy<Value = Vec<SessionDate>> {
    // Around clock changes (a Sunday, with minutes all the same), Thanksgiving's half day, and anywhere.
    let near = prop_oneof![
        Just(date("2025-03-07")),
        Just(date("2025-10-31")),
        Just(date("2025-11-26")),
        Just(date("2024-12-23")),
        (9_000..22_000_i32).prop_map(SessionDate::from_days),
    ];
    (near, 1..5_i32).prop_map(|(first, n)| (0..n).map(|i| first.plus(i)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_of_minutes_equal_the_reference(
        days in some_days(), keep in 0..=16_u64, seed: u64, which in 0..MINUTES.len(),
        regular: bool, closed: bool, cut in 0.0..1.2_f64,
    ) {
        let source = tape(&days, keep, seed);
        let calendar = Calendar::us_equities();
        let (from, to) = (calendar.midnight(days[0]), calendar.midnight(days.last().unwrap().plus(1)));
        let span = (to.as_nanos() - from.as_nanos()) as f64;
        let view = View {
            hours: if regular { SessionHours::Regular } else { SessionHours::Extended },
            selection: if closed { BarSelection::ClosedOnly } else { BarSelection::IncludeForming },
            until: Timestamp::from_nanos(from.as_nanos() + (span * cut) as i64),
        };
        let got = from_minutes(&source, MINUTES[which], view);
        expect_equal(&got, &naive(&source, i64::from(MINUTES[which]), view));
        prop_assert!(got.columns.iter().flatten().all(|v| !v.is_infinite()));
    }

    #[test]
    fn weeks_and_months_equal_the_reference(first in 10_300..22_000_i32, n in 1..90_usize, keep in 1..=16_u64, seed: u64,
        month: bool, closed: bool, ahead in -10..10_i32) {
        let calendar = Calendar::us_equities();
        let days: Vec<SessionDate> = calendar
            .sessions(SessionDate::from_days(first), SessionDate::from_days(first + 200)).iter().copied().take(n)
            .filter(|day| (seed ^ u64::from(day.days().unsigned_abs()).wrapping_mul(0x9E37_79B9)) >> 9 & 15 < keep)
            .collect();
        let mut source = SeriesBars { sessions: days.clone(), ..Default::default() };
        for day in &days {
            let values = numbers(seed ^ u64::from(day.days().unsigned_abs()));
            source.columns.iter_mut().zip(values).for_each(|(c, v)| c.push(v));
        }
        let timeframe = if month { Timeframe::Month } else { Timeframe::Week };
        let last = days.last().copied().unwrap_or_default();
        let selection = if closed { BarSelection::ClosedOnly } else { BarSelection::IncludeForming };
        let view = View { selection, until: calendar.close(last.plus(ahead)), ..ALL_DAY };
        let flat = Series::of_days(source.clone());
        let mut groups: BTreeMap<SessionDate, Vec<usize>> = BTreeMap::new();
        for (row, day) in days.iter().enumerate() {
            let (year, month, _) = day.ymd();
            let label = match timeframe {
                Timeframe::Month => SessionDate::from_ymd(year, month, 1).unwrap(),
                _ => (0..7).map(|back| day.plus(-back)).find(|d| d.weekday() == 0).unwrap(),
            };
            groups.entry(label).or_default().push(row);
        }
        let mut expected = Vec::new();
        for (label, rows) in groups {
            // The end is the close of the last session that the next label does not precede.
            let next = (1..40).map(|k| label.plus(k)).find(|d| if month { d.ymd().2 == 1 } else { d.weekday() == 0 });
            let end = calendar.close(calendar.previous(next.unwrap()).unwrap());
            let forming = end > view.until;
            if !(forming && closed) {
                expected.push((calendar.midnight(label), joined(&flat, &rows), forming));
            }
        }
        expect_equal(&from_days(source, timeframe, view), &expected);
    }

    #[test]
    fn minutes_joined_piece_by_piece_are_those_that_came_at_once(
        seed: u64, keep in 0..=6_u64, cuts in prop::collection::vec((0..9_usize, 0..9_usize), 1..7),
    ) {
        let calendar = Calendar::us_equities();
        let sessions = calendar.sessions(date("2025-03-03"), date("2025-03-13"));
        let source = tape(sessions, keep, seed);
        let later = at("2026-01-01T00:00:00Z");
        let mut held: Option<Block> = None;
        let mut asked = [false; 9];
        for (a, b) in cuts {
            let (a, b) = (a.min(b), a.max(b));
            asked[a..=b].fill(true);
            let part = block(&source, sessions[a], sessions[b]);
            held = Some(minutes::joined(held.as_ref(), &part, sessions[a], sessions[b], later).unwrap());
        }
        let held = held.unwrap();
        for (k, session) in sessions.iter().enumerate() {
            for hours in [SessionHours::Regular, SessionHours::Extended] {
                prop_assert_eq!(minutes::is_final(&held, *session, hours), asked[k]);
            }
            let mut want = source.clone();
            want.keep_between(Some(calendar.midnight(*session)), Some(calendar.midnight(session.plus(1))));
            let got = minutes::series(&held, *session, *session);
            prop_assert_eq!(bits(&got), if asked[k] { bits(&want) } else { Vec::new() });
        }
    }
}

fn block(source: &Series, from: SessionDate, to: SessionDate) -> Block {
    let calendar = Calendar::us_equities();
    let symbol = [Symbol::new("AAPL").unwrap()];
    let mut builder = BlockBuilder::new(Timeframe::Minutes(1));
    for row in 0..source.len() {
        let day = calendar.session_of(source.start[row]);
        if from <= day && day <= to {
            let values = Field::ALL.map(|field| source.column(field)[row]);
            builder.push("AAPL", BarKey::start(source.start[row]), values);
        }
    }
    let provenance = Provenance { provider: "test".into(), fetched_at: Timestamp::default() };
    builder.finish(Some(&symbol), None, provenance).0
}

#[test]
fn a_day_that_is_not_over_is_not_final_and_is_replaced_whole() {
    let calendar = Calendar::us_equities();
    let day = date("2025-11-28"); // closes at 13:00
    let source = tape(&[day], 16, 5);
    let early = calendar.open(day).after(std::time::Duration::from_secs(1800));
    let mut seen = source.clone();
    seen.keep_between(None, Some(early));
    let first = minutes::joined(None, &block(&seen, day, day), day, day, early).unwrap();
    assert!(!minutes::is_final(&first, day, SessionHours::Regular));
    assert_eq!(bits(&minutes::series(&first, day, day)), bits(&seen));
    let closed = calendar.close(day).after(std::time::Duration::from_secs(20 * 60));
    let second = minutes::joined(Some(&first), &block(&source, day, day), day, day, closed).unwrap();
    assert!(minutes::is_final(&second, day, SessionHours::Regular));
    assert!(!minutes::is_final(&second, day, SessionHours::Extended));
    assert_eq!(bits(&minutes::series(&second, day, day)), bits(&source));
    let other = BlockBuilder::new(Timeframe::Minutes(1)).finish(
        Some(&[Symbol::new("TSLA").unwrap()]),
        None,
        second.provenance().clone(),
    );
    assert!(minutes::joined(Some(&second), &other.0, day, day, closed).is_err());
}

#[test]
fn hours_are_counted_from_midnight_and_regular_hours_end_with_the_session() {
    let day = date("2025-07-03"); // closes at 13:00
    let source = tape(&[day], 16, 9);
    let regular = View { hours: SessionHours::Regular, ..ALL_DAY };
    let four = from_minutes(&source, 240, regular);
    let labels: Vec<String> = four.start.iter().map(ToString::to_string).collect();
    assert_eq!(labels, ["2025-07-03T12:00:00Z", "2025-07-03T16:00:00Z"]);
    assert_eq!(four.column(Field::Open)[0], source.column(Field::Open)[9 * 60 + 30]);
    assert_eq!(four.column(Field::Close)[1], source.column(Field::Close)[13 * 60 - 1]);
    let at_close = View { until: Calendar::us_equities().close(day), ..regular };
    assert!(!from_minutes(&source, 240, at_close).forming, "the session is over, and so is its last bar");
    for (minutes, bars) in [(1, 390), (5, 78), (15, 26), (30, 13), (60, 7), (120, 4), (240, 2)] {
        assert_eq!(bars_per_session(minutes, SessionHours::Regular), bars, "{minutes}");
        let whole = tape(&[date("2025-07-02")], 16, 9);
        assert_eq!(from_minutes(&whole, minutes, regular).len(), bars, "{minutes}");
    }
    assert_eq!(bars_per_session(1, SessionHours::Extended), 960);
}

#[test]
fn splits_apply_to_minutes_as_to_days() {
    let calendar = Calendar::us_equities();
    let sessions = calendar.sessions(date("2025-01-02"), date("2025-01-31"));
    let symbol = Symbol::new("AAPL").unwrap();
    let split = |day: &str, from, to| Split { symbol: symbol.clone(), execution: date(day), from, to };
    let splits = Splits::new(&[
        split("2025-01-10", 1.0, 4.0),
        split("2025-01-17", 3.0, 1.0),
        split("2025-02-20", 1.0, 2.0),
    ]);
    let mut builder = BlockBuilder::new(Timeframe::Day);
    for (i, session) in sessions.iter().enumerate() {
        builder.push("AAPL", BarKey::session(*session), numbers(i as u64 * 7 + 1));
    }
    let provenance = Provenance { provider: "test".into(), fetched_at: Timestamp::default() };
    let block = builder.finish(Some(std::slice::from_ref(&symbol)), None, provenance).0;
    let universe = Universe::new("default", 1, Timestamp::default(), [Listing::new(symbol)]);
    let (adjusted, raw) = Panel::build(&universe, sessions, &[block], &splits, 1);
    let (from, to) = (sessions[0], *sessions.last().unwrap());
    let want = Series::of_days(adjusted.series(SymbolId(0), from, to));
    let mut got = Series::of_days(raw.series(SymbolId(0), from, to));
    got.adjust(splits.of("AAPL"), to);
    assert_eq!(bits(&got), bits(&want));
}

#[test]
fn periods_have_their_first_and_last_day() {
    assert_eq!(period(Timeframe::Week, date("2025-01-05")), (date("2024-12-30"), date("2025-01-05")));
    assert_eq!(period(Timeframe::Month, date("2024-02-14")), (date("2024-02-01"), date("2024-02-29")));
    assert_eq!(period(Timeframe::Month, date("2024-12-31")), (date("2024-12-01"), date("2024-12-31")));
    assert_eq!(period(Timeframe::Day, date("2024-12-31")), (date("2024-12-31"), date("2024-12-31")));
}
