//! Fetching what is usually asked for before it is asked for, from spare budget only: nobody waits for the provider, half
//! of the calls that may be made now stay free, and all of it goes behind the calls that somebody waits for.
//!
//! What was brought so is watched for a day: asked for in time, it was a gain; else it was wasted. Not here: what is
//! expected when ([`panscan_core::habit`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use panscan_core::calendar::Calendar;
use panscan_core::cover::Call;
use panscan_core::habit::{Habits, NAMED_MAX, Want, Weight};
use panscan_core::port::{Errand, Urgency};
use panscan_core::scan::SessionHours;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::Population;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::intraday::{MINUTE, Patience, Wanted};
use crate::market::Engine;
use crate::missing::{Need, missing};
use crate::notes;

/// How far ahead is looked.
const AHEAD: Duration = Duration::from_secs(30 * 60);
/// How long one round may take.
const ROUND: Duration = Duration::from_secs(240);
/// What was not asked for so long after it came was fetched in vain.
const IN_VAIN: Duration = Duration::from_secs(24 * 3600);
/// Things that are watched at most.
const WATCHED_MAX: usize = 4096;
/// Newest sessions of minutes that are fetched ahead.
const MINUTE_SESSIONS: usize = 2;

/// What fetching ahead did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrefetchStats {
    /// Whether it is on.
    pub enabled: bool,
    /// Wants that are remembered.
    pub wants: u64,
    /// Provider calls made ahead.
    pub calls: u64,
    /// Bars that they brought.
    pub bars: u64,
    /// Sessions of the market, and symbols, that were asked for after they had been fetched ahead.
    pub gained: u64,
    /// Those that were not, within a day.
    pub wasted: u64,
}

/// Something that was fetched ahead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Ahead {
    Day(SessionDate),
    Symbol(Timeframe, Symbol),
}

/// What was learned and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Prefetch {
    on: bool,
    inside: Mutex<Inside>,
    /// Whether something fetched ahead waits to be asked for.
    watches: AtomicBool,
}

#[derive(Debug, Default)]
struct Inside {
    habits: Habits,
    unsaved: bool,
    /// The last want that was learned, with the half hour: most repeat it.
    last: Option<(Timeframe, u32, bool, i64)>,
    watched: BTreeMap<Ahead, Timestamp>,
    stats: PrefetchStats,
}

#[derive(Debug, Serialize, Deserialize)]
struct HabitNote {
    timeframe: String,
    symbols: Option<Vec<String>>,
    bars: u32,
    slot: u16,
    weight: f64,
    last: String,
}

impl Prefetch {
    pub(crate) fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns that bars were asked for; `symbols` names them where not all are meant.
    pub(crate) fn asked(
        &self,
        timeframe: Timeframe,
        symbols: &[String],
        bars: u32,
        newest: Option<SessionDate>,
        now: Timestamp,
    ) {
        if !self.on || bars == 0 {
            return;
        }
        let inside = &mut *self.inside();
        if self.watches.load(Ordering::Relaxed) {
            inside.used(timeframe, symbols, newest);
            self.watches.store(!inside.watched.is_empty(), Ordering::Relaxed);
        }
        let all = symbols.is_empty() || symbols.len() > NAMED_MAX;
        let brief = (timeframe, bars, all, now.as_seconds() / 1800);
        if all && inside.last == Some(brief) {
            return;
        }
        let named = || {
            let mut named: Vec<Symbol> = symbols.iter().filter_map(|s| Symbol::new(s).ok()).collect();
            named.sort_unstable();
            named.dedup();
            named
        };
        let want = Want { timeframe, symbols: (!all).then(named), bars };
        inside.unsaved |= inside.habits.asked(&want, now);
        inside.last = Some(brief);
    }

    pub(crate) fn stats(&self) -> PrefetchStats {
        let inside = self.inside();
        PrefetchStats { enabled: self.on, wants: inside.habits.len() as u64, ..inside.stats }
    }

    fn brought(&self, ahead: Vec<Ahead>, calls: u64, bars: u64, now: Timestamp) {
        let inside = &mut *self.inside();
        inside.stats.calls += calls;
        inside.stats.bars += bars;
        for one in ahead {
            if inside.watched.len() < WATCHED_MAX {
                inside.watched.insert(one, now);
            }
        }
        self.watches.store(!inside.watched.is_empty(), Ordering::Relaxed);
    }

    /// What is expected soon. What was fetched ahead long ago is counted as wasted.
    fn due(&self, now: Timestamp) -> Vec<Want> {
        let inside = &mut *self.inside();
        let before = inside.watched.len();
        inside.watched.retain(|_, since| now < since.after(IN_VAIN));
        inside.stats.wasted += (before - inside.watched.len()) as u64;
        inside.habits.due(now, AHEAD)
    }

    /// The note to keep, if there is news.
    fn unsaved(&self) -> Option<Vec<u8>> {
        let inside = &mut *self.inside();
        if !std::mem::take(&mut inside.unsaved) {
            return None;
        }
        let row = |(want, weight): (&Want, &Weight)| HabitNote {
            timeframe: want.timeframe.to_string(),
            symbols: want.symbols.as_ref().map(|named| named.iter().map(ToString::to_string).collect()),
            bars: want.bars,
            slot: weight.slot,
            weight: weight.weight,
            last: weight.last.to_string(),
        };
        Some(notes::to_bytes(&inside.habits.rows().map(row).collect::<Vec<_>>()))
    }

    fn recall(&self, bytes: &[u8]) {
        let rows: Vec<HabitNote> = notes::from_bytes(bytes).unwrap_or_default();
        let row = |note: HabitNote| {
            let symbols = match note.symbols {
                Some(named) => {
                    let named = named.iter().take(NAMED_MAX).map(|s| Symbol::new(s).ok());
                    Some(named.collect::<Option<Vec<_>>>()?)
                }
                None => None,
            };
            let want = Want { timeframe: note.timeframe.parse().ok()?, symbols, bars: note.bars };
            Some((want, Weight { slot: note.slot, weight: note.weight, last: note.last.parse().ok()? }))
        };
        self.inside().habits = Habits::of_rows(rows.into_iter().filter_map(row));
    }
}

impl Inside {
    /// Takes what is asked for now off the list of what was fetched ahead.
    fn used(&mut self, timeframe: Timeframe, symbols: &[String], newest: Option<SessionDate>) {
        let before = self.watched.len();
        self.watched.retain(|ahead, _| match ahead {
            Ahead::Day(session) => {
                timeframe != Timeframe::Day || newest.is_some_and(|newest| newest < *session)
            }
            Ahead::Symbol(of, symbol) => {
                let asked = symbols.is_empty() || symbols.iter().any(|s| s == symbol.as_str());
                *of != timeframe || !asked
            }
        });
        self.stats.gained += (before - self.watched.len()) as u64;
    }
}

impl Engine {
    /// Reads what was learned before.
    pub(crate) async fn recall_habits(&self) {
        let inner = &self.0;
        if let Some((_, bytes)) = inner.parts.store.read_note(&inner.market, notes::HABITS).await {
            inner.prefetch.recall(&bytes);
        }
    }

    /// One round of fetching ahead: what is usually asked for within the next half hour. Says how many calls it made.
    pub async fn prefetch_once(&self) -> u64 {
        let inner = &self.0;
        if !inner.prefetch.on {
            return 0;
        }
        let before = inner.prefetch.stats().calls;
        let until = Instant::now() + ROUND;
        for want in inner.prefetch.due(inner.parts.clock.now()) {
            if self.is_wanted() || Instant::now() >= until {
                break;
            }
            match want.timeframe {
                Timeframe::Day => self.days_ahead(&want, until).await,
                _ => self.minutes_ahead(&want, until).await,
            }
        }
        self.save_habits().await;
        inner.prefetch.stats().calls - before
    }

    /// Keeps what was learned.
    pub(crate) async fn save_habits(&self) {
        let inner = &self.0;
        let Some(body) = inner.prefetch.unsaved() else { return };
        let now = inner.parts.clock.now();
        if let Err(error) = inner.parts.store.write_note(&inner.market, notes::HABITS, now, &body).await {
            tracing::warn!(%error, "what is usually asked for was not kept");
        }
    }

    /// Whether somebody waits for the provider.
    fn is_wanted(&self) -> bool {
        self.0.interactive.load(Ordering::Relaxed) > 0
    }

    /// Calls that may be made ahead now.
    fn spare(&self) -> usize {
        // The cast saturates: an unlimited source has no bound here.
        (self.0.parts.source.stats().available / 2.0) as usize
    }

    async fn days_ahead(&self, want: &Want, until: Instant) {
        let inner = &self.0;
        let Some(newest) = self.newest_session() else { return };
        let Ok(published) = self.snapshot_ending(newest).await else { return };
        let snapshot = &published.snapshot;
        let universe = &snapshot.universe;
        let members = universe.ids().map(|id| {
            want.symbols.as_ref().is_none_or(|named| named.binary_search(universe.symbol(id)).is_ok())
        });
        let population = Population::new(members.collect::<Vec<_>>());
        let need = if want.bars == u32::MAX { Need::Since(0) } else { Need::Bars(want.bars as usize) };
        let Some(lacking) = missing(snapshot, &population, need, &[]) else { return };
        let mut cover = self.cover(universe, &lacking).await;
        cover.calls.truncate(self.spare());
        if cover.calls.is_empty() {
            return;
        }
        let filled = self.fill(universe, &cover, Errand::background(), Some(until)).await;
        let ahead = {
            let state = inner.state.lock().await;
            let came = cover.calls.iter().filter_map(|call| match *call {
                Call::Day(session) | Call::FlatFile(session) => {
                    state.days.contains(&session).then_some(Ahead::Day(session))
                }
                Call::Range { symbol, .. } => {
                    let symbol = universe.symbol(symbol).clone();
                    state.symbols.contains_key(&symbol).then_some(Ahead::Symbol(Timeframe::Day, symbol))
                }
            });
            came.collect()
        };
        let now = inner.parts.clock.now();
        inner.prefetch.brought(ahead, filled.calls, filled.bars, now);
        if let Err(error) = self.snapshot_ending(newest).await {
            tracing::debug!(%error, "what was fetched ahead is not shown yet");
        }
    }

    async fn minutes_ahead(&self, want: &Want, until: Instant) {
        let inner = &self.0;
        let Some(newest) = self.newest_session() else { return };
        let from = Calendar::us_equities().back(newest, MINUTE_SESSIONS - 1).unwrap_or(newest);
        let wanted = Wanted { from, to: newest, hours: SessionHours::Regular };
        let patience =
            Patience { fetches: true, errand: Errand { urgency: Urgency::Background, caller: 0 }, until };
        // Minutes of everything are one call a symbol: nobody's spare budget.
        for symbol in want.symbols.iter().flatten() {
            if self.is_wanted() || self.spare() == 0 || Instant::now() >= until {
                return;
            }
            let found = self.minutes(symbol, wanted, patience).await;
            if found.calls > 0 && found.missing.is_empty() {
                let now = inner.parts.clock.now();
                let ahead = vec![Ahead::Symbol(MINUTE, symbol.clone())];
                inner.prefetch.brought(ahead, found.calls, found.bars, now);
            }
        }
    }
}
