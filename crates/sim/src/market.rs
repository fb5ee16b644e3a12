//! The bars, symbols and splits that are served, and the changes made to them while the simulator runs.
//!
//! Not here: how they come into being ([`crate::generate`], [`crate::recorded`]), and what of them is visible
//! at an instant and how it is spelled ([`crate::aggregates`]).

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use panscan_core::calendar::Calendar;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timestamp};

use crate::listing::Listing;
use crate::minute;

/// Milliseconds in a minute.
pub(crate) const MINUTE_MS: i64 = 60_000;
/// Milliseconds in an hour.
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;

/// One bar without its time; NaN is a field that the source lacks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ohlcv {
    pub(crate) o: f64,
    pub(crate) h: f64,
    pub(crate) l: f64,
    pub(crate) c: f64,
    pub(crate) v: f64,
    pub(crate) vw: f64,
    pub(crate) n: f64,
}

impl Ohlcv {
    /// Prices times `factor`, volume divided by it: what a split does to earlier bars.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        if factor == 1.0 {
            return self;
        }
        Self {
            o: self.o * factor,
            h: self.h * factor,
            l: self.l * factor,
            c: self.c * factor,
            v: self.v / factor,
            vw: self.vw * factor,
            n: self.n,
        }
    }

    /// Joins bars of consecutive base windows into one; `None` without bars.
    pub(crate) fn joined(bars: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut bars = bars.into_iter();
        let mut all = bars.next()?;
        let mut weighted = all.vw * all.v;
        for bar in bars {
            if all.o.is_nan() {
                all.o = bar.o;
            }
            // f64::max and f64::min prefer the number over NaN
            all.h = all.h.max(bar.h);
            all.l = all.l.min(bar.l);
            all.c = if bar.c.is_nan() { all.c } else { bar.c };
            all.v += bar.v;
            weighted += bar.vw * bar.v;
            all.n += bar.n;
            all.vw = weighted / all.v;
        }
        Some(all)
    }
}

/// A generated bar in 32 bytes: prices in whole cents, vwap in 1/10,000. Both divide out to the exact f64.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Packed {
    pub(crate) v: f64,
    pub(crate) o: u32,
    pub(crate) h: u32,
    pub(crate) l: u32,
    /// 0 = no bar.
    pub(crate) c: u32,
    /// 0 = lacking.
    pub(crate) vw: u32,
    /// 0 = lacking.
    pub(crate) n: u32,
}

impl Packed {
    fn open(self) -> Option<Ohlcv> {
        let cents = |x: u32| f64::from(x) / 100.0;
        (self.c != 0).then(|| Ohlcv {
            o: cents(self.o),
            h: cents(self.h),
            l: cents(self.l),
            c: cents(self.c),
            v: self.v,
            vw: if self.vw == 0 { f64::NAN } else { f64::from(self.vw) / 10_000.0 },
            n: if self.n == 0 { f64::NAN } else { f64::from(self.n) },
        })
    }
}

/// Daily bars, dense: [symbol][session].
pub(crate) enum Days {
    Generated(Vec<Packed>),
    Recorded(Vec<Option<Ohlcv>>),
}

/// Minute bars.
pub(crate) enum Minutes {
    /// Derived from the daily bar when asked for.
    Derived { seed: u64 },
    /// Per symbol, ascending by start.
    Recorded(Vec<Vec<(i64, Ohlcv)>>),
}

/// A split: `from` old shares became `to` new ones at the start of `date`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Split {
    pub(crate) symbol: u32,
    pub(crate) date: SessionDate,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// A session and its stamps in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) date: SessionDate,
    /// 00:00 in New York: the range endpoint's stamp of a daily bar.
    pub(crate) midnight: i64,
    pub(crate) open: i64,
    pub(crate) close: i64,
}

impl Session {
    pub(crate) fn new(date: SessionDate) -> Self {
        let calendar = Calendar::us_equities();
        Self {
            date,
            midnight: calendar.midnight(date).as_millis(),
            open: calendar.open(date).as_millis(),
            close: calendar.close(date).as_millis(),
        }
    }

    /// 16:00 in New York: the grouped endpoint's stamp. Clocks change on Sundays, so a session has no shift.
    pub(crate) fn four_pm(&self) -> i64 {
        self.midnight + 16 * HOUR_MS
    }
}

/// Everything that is served, as it is before any change.
pub(crate) struct Market {
    pub(crate) id: String,
    /// Ascending.
    pub(crate) sessions: Vec<Session>,
    /// Sorted by symbol, byte-wise.
    pub(crate) listings: Vec<Listing>,
    pub(crate) index: HashMap<Symbol, u32>,
    pub(crate) days: Days,
    pub(crate) minutes: Minutes,
    /// Sorted by (symbol, date).
    pub(crate) splits: Vec<Split>,
}

impl Market {
    pub(crate) fn find(&self, symbol: &str) -> Option<usize> {
        self.index.get(symbol).map(|&index| index as usize)
    }

    /// Position of the session `date`.
    pub(crate) fn session(&self, date: SessionDate) -> Option<usize> {
        self.sessions.binary_search_by_key(&date, |session| session.date).ok()
    }

    /// Sessions whose midnight stamp lies in [from, to].
    pub(crate) fn sessions_between(&self, from: i64, to: i64) -> Range<usize> {
        let first = self.sessions.partition_point(|session| session.midnight < from);
        let end = self.sessions.partition_point(|session| session.midnight <= to);
        first..end.max(first)
    }

    fn day(&self, symbol: usize, session: usize) -> Option<Ohlcv> {
        let at = symbol * self.sessions.len() + session;
        match &self.days {
            Days::Generated(rows) => rows.get(at).and_then(|packed| packed.open()),
            Days::Recorded(rows) => rows.get(at).copied().flatten(),
        }
    }

    /// How many daily bars there are.
    pub(crate) fn count_days(&self) -> usize {
        match &self.days {
            Days::Generated(rows) => rows.iter().filter(|packed| packed.c != 0).count(),
            Days::Recorded(rows) => rows.iter().filter(|row| row.is_some()).count(),
        }
    }

    /// How many minute bars are recorded.
    pub(crate) fn count_minutes(&self) -> usize {
        match &self.minutes {
            Minutes::Derived { .. } => 0,
            Minutes::Recorded(rows) => rows.iter().map(Vec::len).sum(),
        }
    }
}

/// Changes made through `/_sim/market`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    pub(crate) late: HashMap<(u32, SessionDate), Ohlcv>,
    pub(crate) halts: Vec<(u32, SessionDate, SessionDate)>,
    pub(crate) splits: Vec<Split>,
    pub(crate) renames: Vec<Rename>,
    /// Symbols that trade and are not in the reference data.
    pub(crate) unlisted: HashSet<u32>,
    /// Days that are announced as closed beside those that are.
    pub(crate) closures: HashSet<SessionDate>,
}

/// A symbol trades under `name` from `date` on.
#[derive(Debug, Clone)]
pub(crate) struct Rename {
    pub(crate) symbol: u32,
    pub(crate) date: SessionDate,
    pub(crate) name: Symbol,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.late.is_empty() && self.halts.is_empty() && self.splits.is_empty()
    }
}

/// The market at one instant: what a single request is answered from.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) market: Arc<Market>,
    pub(crate) changes: Arc<Changes>,
    /// The newest instant whose bars are visible (behind the clock on a delayed plan).
    pub(crate) visible: Timestamp,
    /// The simulator's clock.
    pub(crate) now: Timestamp,
}

impl View {
    /// The civil date in New York by the simulator's clock.
    pub(crate) fn today(&self) -> SessionDate {
        Calendar::us_equities().session_of(self.now)
    }

    /// Whether the reference data has a symbol.
    pub(crate) fn is_listed(&self, symbol: usize) -> bool {
        u32::try_from(symbol).is_ok_and(|id| !self.changes.unlisted.contains(&id))
    }

    /// The tickers of a symbol with the day on which each was taken on, oldest first.
    pub(crate) fn names(&self, symbol: usize) -> impl Iterator<Item = (Option<SessionDate>, &str)> {
        let own = self.market.listings[symbol].symbol.as_str();
        let later = self.changes.renames.iter().filter(move |rename| rename.symbol as usize == symbol);
        std::iter::once((None, own)).chain(later.map(|rename| (Some(rename.date), rename.name.as_str())))
    }

    /// The ticker of a symbol on a day.
    pub(crate) fn name(&self, symbol: usize, date: SessionDate) -> &str {
        let held = self.names(symbol).filter(|(from, _)| from.is_none_or(|from| from <= date));
        held.last().map_or("", |(_, name)| name)
    }

    /// Which symbol has this ticker on a day.
    pub(crate) fn bearer(&self, name: &str, date: SessionDate) -> Option<usize> {
        let renamed = self.changes.renames.iter().filter(|rename| rename.name.as_str() == name);
        let candidates = renamed.map(|rename| rename.symbol as usize).chain(self.market.find(name));
        candidates.into_iter().find(|symbol| self.name(*symbol, date) == name)
    }

    /// The symbol that has this ticker at the end of a span or else at some time in it, and the part of the span, in
    /// milliseconds, in which it has it.
    pub(crate) fn tenure(&self, name: &str, from: i64, to: i64) -> Option<(usize, i64, i64)> {
        if self.changes.renames.is_empty() {
            return self.market.find(name).map(|symbol| (symbol, from, to));
        }
        let calendar = Calendar::us_equities();
        let midnight = |date: SessionDate| calendar.midnight(date).as_millis();
        let renamed = self.changes.renames.iter().filter(|rename| rename.name.as_str() == name);
        let candidates = renamed.map(|rename| rename.symbol as usize).chain(self.market.find(name));
        candidates
            .into_iter()
            .flat_map(|symbol| {
                let names: Vec<(Option<SessionDate>, &str)> = self.names(symbol).collect();
                let ends: Vec<i64> = names
                    .iter()
                    .skip(1)
                    .filter_map(|(from, _)| *from)
                    .map(|next| midnight(next) - 1)
                    .collect();
                let held = names.into_iter().enumerate().filter(|(_, (_, held))| *held == name);
                held.map(|(at, (begin, _))| {
                    let begin = begin.map_or(from, midnight).max(from);
                    (symbol, begin, ends.get(at).copied().unwrap_or(to).min(to))
                })
                .collect::<Vec<_>>()
            })
            .filter(|(_, begin, end)| begin <= end)
            .max_by_key(|(_, _, end)| *end)
    }

    /// The raw daily bar whether or not its session has ended by the clock.
    pub(crate) fn day_ahead(&self, symbol: usize, session: usize) -> Option<Ohlcv> {
        let row = self.market.day(symbol, session);
        if self.changes.is_empty() {
            return row;
        }
        let date = self.market.sessions[session].date;
        let id = u32::try_from(symbol).ok()?;
        if let Some(late) = self.changes.late.get(&(id, date)) {
            return Some(*late);
        }
        if self.changes.halts.iter().any(|&(s, from, to)| s == id && from <= date && date <= to) {
            return None;
        }
        let cents = |x: f64| (x * 100.0).round().max(1.0) / 100.0;
        self.changes.splits.iter().filter(|split| split.symbol == id && split.date <= date).fold(
            row,
            |row, split| {
                row.map(|bar| {
                    let bar = bar.scaled(split.from / split.to);
                    Ohlcv {
                        o: cents(bar.o),
                        h: cents(bar.h),
                        l: cents(bar.l),
                        c: cents(bar.c),
                        v: bar.v.round(),
                        vw: (bar.vw * 1e4).round() / 1e4,
                        n: bar.n,
                    }
                })
            },
        )
    }

    /// Whether the session has ended as far as this view can see.
    pub(crate) fn ended(&self, session: usize) -> bool {
        self.market.sessions[session].close <= self.visible.as_millis()
    }

    /// The raw daily bar, once its session has ended.
    pub(crate) fn day(&self, symbol: usize, session: usize) -> Option<Ohlcv> {
        if self.ended(session) { self.day_ahead(symbol, session) } else { None }
    }

    /// Raw minute bars of one session, ascending, with their starts in milliseconds; only ended minutes.
    pub(crate) fn minutes(&self, symbol: usize, session: usize) -> Vec<(i64, Ohlcv)> {
        let at = self.market.sessions[session];
        let end = self.visible.as_millis() - MINUTE_MS;
        let mut rows = match &self.market.minutes {
            Minutes::Derived { seed } => match self.day_ahead(symbol, session) {
                Some(day) => minute::derive(*seed, &self.market.listings[symbol].symbol, &at, &day),
                None => Vec::new(),
            },
            Minutes::Recorded(rows) => {
                let rows = rows.get(symbol).map_or(&[][..], Vec::as_slice);
                let first = rows.partition_point(|row| row.0 < at.midnight);
                let last = rows.partition_point(|row| row.0 < at.midnight + 24 * HOUR_MS);
                rows[first..last].to_vec()
            }
        };
        rows.truncate(rows.partition_point(|row| row.0 <= end));
        rows
    }

    /// Splits of one symbol.
    pub(crate) fn splits_of(&self, symbol: usize) -> impl Iterator<Item = &Split> {
        let all = &self.market.splits;
        let first = all.partition_point(|split| (split.symbol as usize) < symbol);
        all[first..]
            .iter()
            .take_while(move |split| split.symbol as usize == symbol)
            .chain(self.changes.splits.iter().filter(move |split| split.symbol as usize == symbol))
    }

    /// All splits, unordered.
    pub(crate) fn splits(&self) -> impl Iterator<Item = &Split> {
        self.market.splits.iter().chain(&self.changes.splits)
    }

    /// What a raw price of `date` is multiplied by to be comparable with today's.
    pub(crate) fn factor(&self, symbol: usize, date: SessionDate) -> f64 {
        let today = self.today();
        self.splits_of(symbol)
            .filter(|split| split.date > date && split.date <= today)
            .fold(1.0, |factor, split| factor * (split.from / split.to))
    }
}
