//! Bars of longer intervals out of shorter ones: weeks and months from days, 5m to 4h from minutes.
//!
//! Pure functions over one symbol's columns. Windows of minutes count from midnight in New York, a week runs from
//! Monday to Friday, a month is the calendar's. A bar is labelled by the start of its window and exists only where
//! something traded. Not here: where the shorter bars come from, and which are missing.

use std::ops::Range;

use crate::bar::Field;
use crate::calendar::Calendar;
use crate::panel::SeriesBars;
use crate::scan::{BarSelection, SessionHours};
use crate::time::{NANOS_PER_SECOND, SessionDate, Timeframe, Timestamp};

const MINUTE: i64 = 60 * NANOS_PER_SECOND;

/// One symbol's bars of one interval as columns of equal length, ascending by start.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// Start of each bar's window.
    pub start: Vec<Timestamp>,
    /// Columns in [`Field`] order; NaN where vwap or trades are not known.
    pub columns: [Vec<f64>; Field::COUNT],
    /// The last bar's window had not ended at the instant shown.
    pub forming: bool,
}

impl Series {
    /// Daily bars, each labelled by its midnight. All of them are closed.
    #[must_use]
    pub fn of_days(days: SeriesBars) -> Self {
        let calendar = Calendar::us_equities();
        let start = days.sessions.iter().map(|session| calendar.midnight(*session)).collect();
        Self { start, columns: days.columns, forming: false }
    }

    /// Bars in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.start.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start.is_empty()
    }

    /// One column.
    #[must_use]
    pub fn column(&self, field: Field) -> &[f64] {
        &self.columns[field.index()]
    }

    /// Adds a bar, its fields in [`Field`] order. Its start must lie after all others.
    pub fn push(&mut self, start: Timestamp, values: [f64; Field::COUNT]) {
        self.start.push(start);
        self.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }

    /// A part of it; `forming` stays with the last bar.
    ///
    /// # Panics
    ///
    /// When the range reaches beyond its bars.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self {
            forming: self.forming && range.end == self.len() && !range.is_empty(),
            start: self.start[range.clone()].to_vec(),
            columns: std::array::from_fn(|i| self.columns[i][range.clone()].to_vec()),
        }
    }

    /// Leaves the newest `bars` of it.
    pub fn keep_last(&mut self, bars: usize) {
        let cut = self.len().saturating_sub(bars);
        self.start.drain(..cut);
        self.columns.iter_mut().for_each(|column| drop(column.drain(..cut)));
    }

    /// Leaves the bars that start at or after `from` and before `to`; `None` is open.
    pub fn keep_between(&mut self, from: Option<Timestamp>, to: Option<Timestamp>) {
        let end = to.map_or(self.len(), |to| self.start.partition_point(|at| *at < to));
        let first = from.map_or(0, |from| self.start.partition_point(|at| *at < from)).min(end);
        self.forming = self.forming && end == self.len();
        self.start.truncate(end);
        self.start.drain(..first);
        for column in &mut self.columns {
            column.truncate(end);
            column.drain(..first);
        }
    }

    /// Applies the splits of `factors` (price factors by execution date, ascending) that were executed by `last`:
    /// to every bar of an earlier session, newest split first, as panels do.
    pub fn adjust(&mut self, factors: &[(SessionDate, f64)], last: SessionDate) {
        self.apply(factors, last, true);
    }

    /// Applies the factors of dividends likewise; volumes stay as they are.
    pub fn pay(&mut self, factors: &[(SessionDate, f64)], last: SessionDate) {
        self.apply(factors, last, false);
    }

    fn apply(&mut self, factors: &[(SessionDate, f64)], last: SessionDate, shares: bool) {
        let calendar = Calendar::us_equities();
        let executed = factors.partition_point(|(at, _)| *at <= last);
        let mut factor = 1.0;
        let mut end = self.len();
        for (at, by) in factors[..executed].iter().rev() {
            let midnight = calendar.midnight(*at);
            let first = self.start.partition_point(|start| *start < midnight).min(end);
            self.scale(first..end, factor, shares);
            factor *= by;
            end = first;
        }
        self.scale(0..end, factor, shares);
    }

    fn scale(&mut self, rows: Range<usize>, factor: f64, shares: bool) {
        if factor == 1.0 {
            return;
        }
        for field in Field::ALL {
            let column = &mut self.columns[field.index()][rows.clone()];
            if field.is_price() {
                column.iter_mut().for_each(|value| *value *= factor);
            } else if shares && field == Field::Volume {
                column.iter_mut().for_each(|value| *value /= factor);
            }
        }
    }
}

/// What of the bars is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Which hours count; weeks and months have the exchange's in any case.
    pub hours: SessionHours,
    /// Whether the last bar may be one that has not ended.
    pub selection: BarSelection,
    /// The instant shown: what starts at or after it is left out, what ends after it is forming.
    pub until: Timestamp,
}

/// The first and last civil day of the week (Monday to Sunday) or month that `date` lies in; the date itself for any
/// shorter interval.
#[must_use]
pub fn period(timeframe: Timeframe, date: SessionDate) -> (SessionDate, SessionDate) {
    match timeframe {
        Timeframe::Week => {
            let monday = date.plus(-i32::from(date.weekday()));
            (monday, monday.plus(6))
        }
        Timeframe::Month => {
            let (year, month, day) = date.ymd();
            let first = date.plus(1 - i32::from(day));
            let next = match month {
                12 => SessionDate::from_ymd(year.saturating_add(1), 1, 1),
                _ => SessionDate::from_ymd(year, month + 1, 1),
            };
            (first, next.map_or(date, |next| next.plus(-1)))
        }
        Timeframe::Day | Timeframe::Minutes(_) => (date, date),
    }
}

/// Bars that a session of these hours can have at most, for a guess at how far back "the newest n" reaches.
#[must_use]
pub fn bars_per_session(minutes: u16, hours: SessionHours) -> usize {
    let minutes = usize::from(minutes.max(1));
    let (open, close) = match hours {
        SessionHours::Regular => (9 * 60 + 30, 16 * 60),
        SessionHours::Extended => (4 * 60, 20 * 60),
    };
    (close - 1) / minutes - open / minutes + 1
}

/// Bars of `minutes` minutes out of bars of one minute; with `minutes` = 1 those that the view shows.
#[must_use]
pub fn from_minutes(source: &Series, minutes: u16, view: View) -> Series {
    let width = i64::from(minutes.max(1)) * MINUTE;
    let mut out = Series::default();
    let mut day: Option<Day> = None;
    let mut fold: Option<(Window, Fold)> = None;
    for row in 0..source.len() {
        let at = source.start[row];
        if at >= view.until {
            break;
        }
        let day = match &mut day {
            Some(day) if day.midnight <= at && at < day.next => day,
            other => other.insert(Day::of(at)),
        };
        if view.hours == SessionHours::Regular && !day.is_open(at) {
            continue;
        }
        let since = at.as_nanos() - day.midnight.as_nanos();
        let start = Timestamp::from_nanos(at.as_nanos() - since % width);
        match &mut fold {
            Some((window, fold)) if window.start == start => fold.add(source, row),
            _ => {
                if let Some((window, fold)) = fold.take() {
                    fold.close(window, view, &mut out);
                }
                let last = if view.hours == SessionHours::Regular { day.close } else { day.next };
                let end = Timestamp::from_nanos(start.as_nanos().saturating_add(width)).min(last);
                fold = Some((Window { start, end }, Fold::new(source, row)));
            }
        }
    }
    if let Some((window, fold)) = fold {
        fold.close(window, view, &mut out);
    }
    out
}

/// Bars of weeks or months out of daily ones; daily bars themselves for any other interval. A week or month ends with
/// the close of its last session.
#[must_use]
pub fn from_days(source: SeriesBars, timeframe: Timeframe, view: View) -> Series {
    let calendar = Calendar::us_equities();
    let days = Series::of_days(source);
    if !matches!(timeframe, Timeframe::Week | Timeframe::Month) {
        return days;
    }
    let mut out = Series::default();
    let mut fold: Option<(Window, Fold)> = None;
    // Bounds of the window at hand, so that a date is worked out once a window.
    let (mut from, mut to) = (Timestamp::from_nanos(i64::MAX), Timestamp::from_nanos(i64::MIN));
    for row in 0..days.len() {
        let at = days.start[row];
        match &mut fold {
            Some((_, fold)) if from <= at && at < to => fold.add(&days, row),
            _ => {
                if let Some((window, fold)) = fold.take() {
                    fold.close(window, view, &mut out);
                }
                let (first, last) = period(timeframe, calendar.session_of(at));
                (from, to) = (calendar.midnight(first), calendar.midnight(last.plus(1)));
                let end = calendar.at_or_before(last).map_or(to, |session| calendar.close(session));
                fold = Some((Window { start: from, end }, Fold::new(&days, row)));
            }
        }
    }
    if let Some((window, fold)) = fold {
        fold.close(window, view, &mut out);
    }
    out
}

/// One civil day in New York.
struct Day {
    midnight: Timestamp,
    next: Timestamp,
    open: Timestamp,
    close: Timestamp,
    session: bool,
}

impl Day {
    fn of(at: Timestamp) -> Self {
        let calendar = Calendar::us_equities();
        let date = calendar.session_of(at);
        Self {
            midnight: calendar.midnight(date),
            next: calendar.midnight(date.plus(1)),
            open: calendar.open(date),
            close: calendar.close(date),
            session: calendar.is_session(date),
        }
    }

    fn is_open(&self, at: Timestamp) -> bool {
        self.session && self.open <= at && at < self.close
    }
}

/// The time that a bar stands for.
#[derive(Clone, Copy)]
struct Window {
    start: Timestamp,
    end: Timestamp,
}

/// Bars joined into one. Sums run from the first to the last, so that they are the same everywhere.
struct Fold {
    values: [f64; Field::COUNT],
    /// Sum of vwap times volume; NaN once a part has no vwap.
    weighted: f64,
    parts: usize,
}

impl Fold {
    fn new(source: &Series, row: usize) -> Self {
        let values: [f64; Field::COUNT] = std::array::from_fn(|i| source.columns[i][row]);
        let weighted = values[Field::Vwap.index()] * values[Field::Volume.index()];
        Self { values, weighted, parts: 1 }
    }

    fn add(&mut self, source: &Series, row: usize) {
        let of = |field: Field| source.columns[field.index()][row];
        let high = &mut self.values[Field::High.index()];
        *high = high.max(of(Field::High));
        let low = &mut self.values[Field::Low.index()];
        *low = low.min(of(Field::Low));
        self.values[Field::Close.index()] = of(Field::Close);
        self.values[Field::Volume.index()] += of(Field::Volume);
        self.values[Field::Trades.index()] += of(Field::Trades);
        self.weighted += of(Field::Vwap) * of(Field::Volume);
        self.parts += 1;
    }

    fn close(mut self, window: Window, view: View, out: &mut Series) {
        let forming = window.end > view.until;
        if forming && view.selection == BarSelection::ClosedOnly {
            return;
        }
        if self.parts > 1 {
            let vwap = self.weighted / self.values[Field::Volume.index()];
            self.values[Field::Vwap.index()] = if vwap.is_finite() { vwap } else { f64::NAN };
        }
        out.push(window.start, self.values);
        out.forming = forming;
    }
}
