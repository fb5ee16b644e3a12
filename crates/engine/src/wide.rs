//! Bars of more sessions than a snapshot has: what a range of past sessions is scanned on. They are those of the newest
//! snapshot where it reaches far enough, else a panel of their own, of which the last one is kept for a while.
//!
//! Not here: the scan ([`crate::history`]), and what is fetched for one session ([`crate::run`]).

use std::sync::{Arc, PoisonError};

use panscan_core::block::WIDTH;
use panscan_core::calendar::Calendar;
use panscan_core::cover::Missing;
use panscan_core::dividend::Dividends;
use panscan_core::history::{HistoryBars, Moment};
use panscan_core::panel::{Panel, Splits};
use panscan_core::port::{BlockKey, Errand};
use panscan_core::scan::DataPolicy;
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::SymbolId;
use panscan_core::time::{SessionDate, Timestamp};
use panscan_core::universe::{Population, Universe};
use tokio::time::Instant;

use crate::admit::Fetching;
use crate::error::EngineError;
use crate::fill::Filled;
use crate::market::{Engine, State, held};
use crate::resident::Published;
use crate::run::{Cost, ROUNDS_MAX};

/// What everything in one answer is taken from, whatever is learned meanwhile.
#[derive(Clone)]
pub(crate) struct Known {
    /// The newest snapshot when the call came.
    pub(crate) base: Arc<Published>,
    pub(crate) universe: Arc<Universe>,
    pub(crate) splits: Arc<Splits>,
    pub(crate) dividends: Option<Arc<Dividends>>,
}

/// The panel that was made last.
#[derive(Debug)]
pub(crate) struct Kept {
    panel: Arc<Panel>,
    universe: Arc<Universe>,
    /// Version of the bars in it.
    bars: u64,
    used: Timestamp,
}

/// Cells that sessions need: every one from history start on, or back to so many bars.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needed {
    pub(crate) first: Moment,
    pub(crate) last: usize,
    pub(crate) bars: Option<usize>,
}

/// Who asks, and for how long.
pub(crate) struct Asking<'a> {
    pub(crate) population: &'a Population,
    pub(crate) beside: &'a [SymbolId],
    pub(crate) bars: Option<usize>,
    pub(crate) policy: DataPolicy,
    pub(crate) until: Option<Instant>,
    pub(crate) errand: Errand,
}

/// Bars of a stretch of sessions as far as they could be had.
pub(crate) struct Stretch {
    pub(crate) bars: Arc<HistoryBars>,
    pub(crate) cost: Option<Cost>,
    pub(crate) filled: Option<Filled>,
    pub(crate) still: Option<Missing>,
    pub(crate) calls: u64,
    pub(crate) fetched: u64,
    pub(crate) place: Option<Fetching>,
}

impl Engine {
    /// Whether the newest snapshot has every bar from `start` on that there can be.
    pub(crate) async fn reaches(&self, base: &Published, start: SessionDate) -> bool {
        let state = self.0.state.lock().await;
        base.snapshot.history_start <= start.max(state.first_session.unwrap_or(start))
    }

    /// The held bars between two sessions.
    async fn wide(
        &self,
        known: &Known,
        start: SessionDate,
        last: SessionDate,
    ) -> Result<Arc<HistoryBars>, EngineError> {
        let inner = &self.0;
        let calendar = Calendar::us_equities();
        let newest = known.base.snapshot.newest().unwrap_or(last);
        let mut state = inner.state.lock().await;
        self.look_back(&mut state, start).await;
        let reached = start.max(state.first_session.unwrap_or(start)).min(last);
        let symbols = known.universe.symbols();
        let shown = |published: &Arc<Published>| {
            let snapshot = &published.snapshot;
            published.bars == state.bars
                && snapshot.history_start <= reached
                && snapshot.newest().is_some_and(|newest| newest >= last)
                && snapshot.universe.symbols() == symbols
        };
        let resident = inner.resident.ending(newest, state.version).into_iter().chain([known.base.clone()]);
        let resident = resident.into_iter().find(shown);
        let covers = |panel: &Panel| {
            let sessions = panel.sessions();
            sessions.first().is_some_and(|first| *first <= reached) && sessions.last() >= Some(&last)
        };
        let kept = || {
            let kept = inner.wide.lock().unwrap_or_else(PoisonError::into_inner).take();
            kept.filter(|kept| {
                kept.bars == state.bars && kept.universe.symbols() == symbols && covers(&kept.panel)
            })
        };
        let ready = match resident {
            Some(published) => Some(published.snapshot.daily_raw.clone()),
            None => kept().map(|kept| kept.panel),
        };
        let sessions: Arc<[SessionDate]> = match &ready {
            Some(panel) => panel.sessions().clone(),
            None => calendar.sessions(reached, last).into(),
        };
        let blocks = match ready {
            Some(_) => Vec::new(),
            None => self.blocks(&mut state, &sessions).await.0,
        };
        let histories = state.histories(&known.universe, &sessions, inner.parts.clock.now());
        let (held, bars) = (held(&state, &known.universe, &sessions, &histories), state.bars);
        // Others go on while the panel is made.
        drop(state);
        let universe = known.universe.clone();
        let panel = match ready {
            Some(panel) => panel,
            None => {
                let (universe, threads) = (universe.clone(), inner.config.threads);
                let build = move || {
                    Panel::build_across(
                        &universe,
                        &sessions,
                        &blocks,
                        &Splits::default(),
                        &histories,
                        threads,
                    )
                    .1
                };
                let failed = |error| {
                    EngineError::Internal(format!("the panel of past sessions was not built: {error}"))
                };
                Arc::new(tokio::task::spawn_blocking(build).await.map_err(failed)?)
            }
        };
        if !Arc::ptr_eq(&panel, &known.base.snapshot.daily_raw) {
            let kept = Kept { panel: panel.clone(), universe, bars, used: inner.parts.clock.now() };
            *inner.wide.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
        let snapshot = Snapshot {
            universe: known.universe.clone(),
            as_of: calendar.close(last),
            history_start: start,
            daily: panel.clone(),
            daily_raw: panel,
            held: Arc::new(held),
            daily_paid: Arc::default(),
            ..Snapshot::clone(&known.base.snapshot)
        };
        let bars = HistoryBars::new(snapshot, known.splits.clone(), known.dividends.clone(), newest);
        Ok(Arc::new(bars))
    }

    /// Forgets the panel that was made last where nobody used it for as long as a snapshot can be pinned.
    pub(crate) fn drop_wide(&self) {
        let now = self.0.parts.clock.now();
        let mut kept = self.0.wide.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|kept| kept.used.after(self.0.config.snapshot_ttl) <= now) {
            *kept = None;
        }
    }

    /// Finds out what the store holds of sessions before those that were looked for at start.
    pub(crate) async fn look_back(&self, state: &mut State, from: SessionDate) {
        let before = state.looked.plus(-1);
        if from > before {
            return;
        }
        let inner = &self.0;
        let sessions = Calendar::us_equities().sessions(from, before);
        let keys: Vec<BlockKey> = sessions.iter().map(|day| BlockKey::Day(*day)).collect();
        let found = inner.parts.store.read(&inner.market, &keys).await;
        state.days.extend(sessions.iter().zip(&found).filter(|(_, f)| f.is_some()).map(|(day, _)| *day));
        state.looked = from;
    }

    /// Bars of a stretch of sessions, fetched as far as policy and time allow.
    pub(crate) async fn stretch(
        &self,
        known: &Known,
        dates: &[SessionDate],
        asking: &Asking<'_>,
    ) -> Result<Stretch, EngineError> {
        let calendar = Calendar::us_equities();
        let (Some(first), Some(last)) = (dates.first(), dates.last()) else {
            return Err(EngineError::Internal("a stretch without sessions".to_owned()));
        };
        let start = calendar.history_start(*first, self.0.config.history_daily);
        let bars = self.wide(known, start, *last).await?;
        let mut done =
            Stretch { bars, cost: None, filled: None, still: None, calls: 0, fetched: 0, place: None };
        let fetches = asking.policy != DataPolicy::CachedOnly;
        for _ in 0..ROUNDS_MAX {
            let snapshot = done.bars.snapshot();
            let needed = Needed {
                first: self.moment(&done.bars, *first),
                last: self.moment(&done.bars, *last).session,
                bars: asking.bars,
            };
            done.still = missing(snapshot, asking.population, needed, asking.beside);
            let Some(still) = &done.still else { break };
            let cover = self.cover(&known.universe, still).await;
            if done.cost.is_none() {
                done.cost = Some(self.price(&cover));
            }
            if cover.calls.is_empty() {
                break;
            }
            let stuck = done.filled.as_ref().is_some_and(|f| f.out_of_time || !f.failures.is_empty());
            if !fetches || stuck || asking.until.is_some_and(|until| Instant::now() >= until) {
                if fetches && done.filled.is_none() {
                    done.filled = Some(Filled { out_of_time: true, ..Filled::default() });
                }
                break;
            }
            if done.place.is_none() {
                done.place = Some(self.0.admission.fetch()?);
            }
            let filled = self.fill(&known.universe, &cover, asking.errand, asking.until).await;
            done.calls += filled.calls;
            done.fetched += filled.bars;
            let idle =
                filled.calls == 0 && filled.failures.is_empty() && !filled.out_of_time && !filled.narrowed;
            done.filled = Some(filled);
            let before = self.0.state.lock().await.version;
            done.bars = self.wide(known, start, *last).await?;
            if idle && before == self.0.state.lock().await.version {
                let snapshot = done.bars.snapshot();
                done.still = missing(snapshot, asking.population, needed, asking.beside);
                break;
            }
        }
        Ok(done)
    }

    /// A session and its history start as places in a panel.
    pub(crate) fn moment(&self, bars: &HistoryBars, session: SessionDate) -> Moment {
        let start = Calendar::us_equities().history_start(session, self.0.config.history_daily);
        let place = |date: SessionDate| bars.sessions().partition_point(|known| *known < date);
        Moment { session: place(session), start: place(start) }
    }
}

/// The cells that are not held; `None` when there is none. Of the symbols `beside` the population, which it is
/// compared with, these are the cells of every session that one of it needs.
fn missing(
    snapshot: &Snapshot,
    population: &Population,
    needed: Needed,
    beside: &[SymbolId],
) -> Option<Missing> {
    if snapshot.held.is_complete() || needed.bars == Some(0) {
        return None;
    }
    let sessions = snapshot.daily.sessions();
    let mut missing = Missing::new(snapshot.universe.len(), sessions.to_vec()).ok()?;
    let Needed { first, last, bars } = needed;
    let everyone = population.is_all() && snapshot.held.symbols.is_empty();
    if bars.is_none() && everyone {
        let open = (first.start..=last).filter(|session| !snapshot.held.market[*session]);
        open.for_each(|session| missing.mark_session(session));
        return (!missing.is_empty()).then_some(missing);
    }
    let mut oldest = first.session;
    for id in population.ids() {
        let from = match bars {
            None => first.start,
            Some(bars) => walk(snapshot, id, bars, first).0,
        };
        oldest = oldest.min(from);
        let open = (from..=last).filter(|session| !snapshot.held.has(id, *session));
        open.for_each(|session| missing.mark(id, session));
    }
    for id in beside {
        let open = (oldest..=last).filter(|session| !snapshot.held.has(*id, *session));
        open.for_each(|session| missing.mark(*id, session));
    }
    (!missing.is_empty()).then_some(missing)
}

/// Goes back from a session until `bars` bars were met; an unheld cell may hold one and counts as one. Gives the first
/// session that it met, and whether all cells from there on are held.
fn walk(snapshot: &Snapshot, id: SymbolId, bars: usize, moment: Moment) -> (usize, bool) {
    let Some((tile, lane)) = snapshot.daily.place(id) else { return (moment.session, true) };
    let at = |row: usize| usize::from(tile.session()[row * WIDTH + lane]);
    let first = tile.rows() - tile.bars()[lane] as usize;
    let mut row = tile.rows();
    let (mut met, mut is_held) = (0, true);
    for session in (moment.start..=moment.session).rev() {
        if met >= bars {
            return (session + 1, is_held);
        }
        while row > first && at(row - 1) > session {
            row -= 1;
        }
        let (here, held) = (row > first && at(row - 1) == session, snapshot.held.has(id, session));
        is_held &= held;
        met += usize::from(here || !held);
    }
    (moment.start, is_held)
}

/// Whether every cell that a session needs is held, where some cells of the stretch are not.
pub(crate) fn is_complete(
    bars: &HistoryBars,
    still: &Missing,
    population: &Population,
    beside: &[SymbolId],
    moment: Moment,
    count: Option<usize>,
) -> bool {
    let snapshot = bars.snapshot();
    let lacks =
        |id: SymbolId, from: usize| (from..=moment.session).any(|session| still.is_missing(id, session));
    let mut oldest = moment.session;
    let mut all = population.ids().map(|id| match count {
        None => {
            oldest = moment.start;
            !lacks(id, moment.start)
        }
        Some(count) => {
            let (from, is_held) = walk(snapshot, id, count, moment);
            oldest = oldest.min(from);
            is_held
        }
    });
    all.all(|held| held) && !beside.iter().any(|id| lacks(*id, oldest))
}
