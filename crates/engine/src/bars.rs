//! Bars of named symbols over a range, fetched where they are missing, out of a snapshot or beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::calendar::Calendar;
use panscan_core::cover::Missing;
use panscan_core::diagnostic::{Diagnostic, Reason};
use panscan_core::dividend::{self, Dividends};
use panscan_core::panel::{Panel, SeriesBars, Splits};
use panscan_core::port::Errand;
use panscan_core::scan::{Adjustment, DataPolicy};
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::{SessionDate, Timestamp};
use panscan_core::universe::{Listing, Population, Universe};
use tokio::time::Instant;

use crate::diagnose;
use crate::error::EngineError;
use crate::market::{Engine, held};
use crate::missing::{Need, missing};
use crate::origins::{Elsewhere, Origins};
use crate::resident::Published;
use crate::run::{Cost, Pin};

/// Rounds of fetching: a symbol with gaps, or a plan whose window is still being learned, takes several.
const ROUNDS_MAX: usize = 32;

/// Bars to read.
#[derive(Debug, Clone)]
pub struct BarsRequest {
    /// Whose.
    pub symbols: Vec<String>,
    /// First session; none: history start.
    pub from: Option<SessionDate>,
    /// Last session; none: the newest.
    pub to: Option<SessionDate>,
    /// The newest so many of them; 0: all.
    pub last: usize,
    /// How prices are adjusted.
    pub adjustment: Adjustment,
    /// On which snapshot.
    pub pin: Pin,
    /// What to do about missing bars.
    pub policy: DataPolicy,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// On whose behalf provider calls are made.
    pub errand: Errand,
}

/// Bars of one symbol.
#[derive(Debug, Clone)]
pub struct SymbolBars {
    /// Whose.
    pub symbol: Symbol,
    /// The bars, ascending.
    pub bars: SeriesBars,
    /// The provider of the newest of them, e.g. `polygon`.
    pub provider: Arc<str>,
    /// When it was fetched, where that is known.
    pub fetched: Option<Timestamp>,
}

/// The answer to a [`BarsRequest`].
#[derive(Debug, Clone)]
pub struct BarsAnswer {
    /// The snapshot that it belongs to.
    pub published: Arc<Published>,
    /// One entry per symbol that is known, in the order asked for.
    pub series: Vec<SymbolBars>,
    /// Symbols without an answer.
    pub failed: usize,
    /// Whether every cell asked for was held.
    pub complete: bool,
    /// What else to know.
    pub diagnostics: Vec<Diagnostic>,
    /// What it cost.
    pub cost: Cost,
    /// Provider calls made for it.
    pub provider_calls: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Bars that are held as far as they can be had, to be taken out by symbol.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) published: Arc<Published>,
    /// The symbols that are known, in the order asked for.
    pub(crate) known: Vec<Symbol>,
    pub(crate) failed: usize,
    pub(crate) complete: bool,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) cost: Cost,
    pub(crate) provider_calls: u64,
    /// Where they are to be applied.
    dividends: Option<Arc<Dividends>>,
    /// The snapshot's panel has all sessions.
    inside: bool,
    from: SessionDate,
    to: SessionDate,
}

/// The ids of those that a universe has, each once and in this order, and those that it has not.
pub(crate) fn found_in(universe: &Universe, symbols: &[String]) -> (Vec<SymbolId>, Vec<Symbol>) {
    let mut seen = vec![false; universe.len()];
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for symbol in symbols {
        match universe.find(symbol) {
            Some(id) if !std::mem::replace(&mut seen[id.index()], true) => known.push(id),
            Some(_) => {}
            None => unknown.extend(Symbol::new(symbol).ok()),
        }
    }
    (known, unknown)
}

impl Engine {
    /// Reads bars, fetching those that are missing as policy and deadline say.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; an unknown symbol among several is a diagnostic, not an error.
    pub async fn bars(&self, request: &BarsRequest) -> Result<BarsAnswer, EngineError> {
        match request.deadline {
            None => self.read_bars(request).await,
            Some(deadline) => tokio::time::timeout_at(deadline, self.read_bars(request))
                .await
                .unwrap_or(Err(EngineError::Deadline { stage: "fetching bars" })),
        }
    }

    async fn read_bars(&self, request: &BarsRequest) -> Result<BarsAnswer, EngineError> {
        let started = Instant::now();
        let settled = self.settle(request).await?;
        let series = self.take(&settled, &settled.known, request).await;
        let (mut elsewhere, primary) = (Elsewhere::default(), &settled.published.snapshot.provider);
        elsewhere.add(&series, primary);
        let mut diagnostics = settled.diagnostics;
        diagnostics.extend(elsewhere.diagnostics(primary));
        Ok(BarsAnswer {
            series,
            failed: settled.failed,
            complete: settled.complete,
            diagnostics,
            cost: settled.cost,
            provider_calls: settled.provider_calls,
            elapsed: started.elapsed(),
            published: settled.published,
        })
    }

    /// Has the bars held, as far as they can be had.
    pub(crate) async fn settle(&self, request: &BarsRequest) -> Result<Settled, EngineError> {
        let mut published = self.pin_held(&request.pin).await?;
        let snapshot = published.snapshot.clone();
        let newest = snapshot.newest().unwrap_or_default();
        let to = request.to.unwrap_or(newest).min(newest);
        let from = request.from.unwrap_or(snapshot.history_start);
        let (mut known, unknown) = found_in(&snapshot.universe, &request.symbols);
        let mut settled = Settled {
            published: published.clone(),
            known: known.iter().map(|id| snapshot.universe.symbol(*id).clone()).collect(),
            failed: request.symbols.len() - known.len().min(request.symbols.len()),
            complete: true,
            diagnostics: Vec::new(),
            cost: Cost { universe: snapshot.universe.len(), population: known.len(), ..Cost::default() },
            provider_calls: 0,
            dividends: None,
            inside: from >= snapshot.history_start,
            from,
            to,
        };
        if !unknown.is_empty() {
            settled.complete = false;
            settled
                .diagnostics
                .push(Diagnostic::new(Reason::SymbolUnknown, "not in the universe").about(&unknown));
        }
        let sessions = Calendar::us_equities().sessions(from, to);
        let inside = settled.inside;
        let mut rounds = 0;
        let still = loop {
            let lacking = self.lacking(&published, &known, sessions, inside, request.last).await;
            let Some(lacking) = lacking else { break None };
            let universe = published.snapshot.universe.clone();
            let cover = self.cover(&universe, &lacking).await;
            if rounds == 0 {
                let Cost { universe, population, .. } = settled.cost;
                settled.cost = Cost { universe, population, ..self.price(&cover) };
            }
            rounds += 1;
            let pinned = matches!(request.pin, Pin::Snapshot(_)) && inside;
            let served = !cover.calls.is_empty();
            if request.policy == DataPolicy::CachedOnly || pinned || !served || rounds > ROUNDS_MAX {
                break Some((lacking, None));
            }
            let until = request.deadline.map(crate::run::early);
            let filled = self.fill(&universe, &cover, request.errand, until).await;
            if let Some(refusal) = filled.refusal()
                && published.snapshot.daily.total_bars() == 0
            {
                return Err(refusal.clone().into());
            }
            settled.provider_calls += filled.calls;
            let idle = filled.calls == 0 && !filled.narrowed;
            let stuck = filled.out_of_time || !filled.failures.is_empty() || idle;
            if inside {
                published = self.snapshot_ending(newest).await?;
                settled.published = published.clone();
                // What was fetched may have brought symbols that the universe lacked.
                known = found_in(&published.snapshot.universe, &request.symbols).0;
            }
            if stuck {
                let lacking = self.lacking(&published, &known, sessions, inside, request.last).await;
                break lacking.map(|lacking| (lacking, Some(filled)));
            }
        };
        if let Some((lacking, filled)) = still {
            let unserved = self.0.unserved.at(self.clock().now());
            if request.policy == DataPolicy::RequireComplete {
                return Err(crate::run::incomplete(lacking.cells(), filled.as_ref(), unserved.why(&lacking)));
            }
            settled.complete = false;
            settled.diagnostics.extend(diagnose::still_missing(
                &published.snapshot,
                &lacking,
                filled.as_ref(),
                &unserved,
            ));
        }
        if request.adjustment == Adjustment::SplitsAndDividends {
            settled.dividends = Some(self.dividends(from.min(snapshot.history_start)).await?);
        }
        Ok(settled)
    }

    /// The snapshot that a request names; the newest one shows also what was fetched beside the one before it.
    pub(crate) async fn pin_held(&self, pin: &Pin) -> Result<Arc<Published>, EngineError> {
        let published = self.pin(pin).await?;
        match published.snapshot.newest() {
            Some(newest) if *pin == Pin::Newest && !published.snapshot.held.is_complete() => {
                self.snapshot_ending(newest).await
            }
            _ => Ok(published),
        }
    }

    /// Takes the bars of some symbols out, in this order.
    pub(crate) async fn take(
        &self,
        settled: &Settled,
        symbols: &[Symbol],
        request: &BarsRequest,
    ) -> Vec<SymbolBars> {
        let (from, to) = (settled.from, settled.to);
        let snapshot = &settled.published.snapshot;
        let beside = if settled.inside {
            None
        } else {
            let sessions = Calendar::us_equities().sessions(from, to);
            Some(self.beside(snapshot.created, symbols, sessions).await)
        };
        let mut series = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            let panels = match &beside {
                None => snapshot
                    .universe
                    .find(symbol.as_str())
                    .map(|id| (id, &*snapshot.daily, &*snapshot.daily_raw)),
                Some((universe, adjusted, raw, _)) => {
                    universe.find(symbol.as_str()).map(|id| (id, adjusted, raw))
                }
            };
            let mut bars = match (panels, &settled.dividends) {
                (None, _) => SeriesBars::default(),
                (Some((id, _, raw)), _) if request.adjustment == Adjustment::Raw => raw.series(id, from, to),
                (Some((id, adjusted, _)), None) => adjusted.series(id, from, to),
                (Some((id, adjusted, raw)), Some(dividends)) => {
                    paid(symbol, (adjusted, raw, id), &settled.published.splits, dividends, (from, to))
                }
            };
            if request.last > 0 && bars.sessions.len() > request.last {
                let cut = bars.sessions.len() - request.last;
                bars.sessions.drain(..cut);
                bars.columns.iter_mut().for_each(|column| drop(column.drain(..cut)));
            }
            let origins = beside.as_ref().map_or(&*settled.published.origins, |(.., origins)| origins);
            let origin = bars.sessions.last().and_then(|newest| origins.at(symbol, *newest));
            let provider = origin.map_or(&snapshot.provider, |origin| &origin.provider).clone();
            let fetched = origin.map(|origin| origin.fetched_at);
            series.push(SymbolBars { symbol: symbol.clone(), bars, provider, fetched });
        }
        series
    }

    /// The cells of these symbols and sessions that are not held.
    pub(crate) async fn lacking(
        &self,
        published: &Published,
        symbols: &[SymbolId],
        sessions: &[SessionDate],
        inside: bool,
        last: usize,
    ) -> Option<Missing> {
        let snapshot = &published.snapshot;
        let first = *sessions.first()?;
        if inside && snapshot.newest() == sessions.last().copied() {
            let mut members = vec![false; snapshot.universe.len()];
            symbols.iter().for_each(|id| members[id.index()] = true);
            let population = Population::new(members);
            let since = snapshot.daily.sessions().partition_point(|s| *s < first);
            let need = if last > 0 && since == 0 { Need::Bars(last) } else { Need::Since(since) };
            return missing(snapshot, &population, need, &[]);
        }
        let state = self.0.state.lock().await;
        let now = self.clock().now();
        let histories = state.histories(&snapshot.universe, sessions, now);
        let held = held(&state, &snapshot.universe, sessions, &histories);
        let mut missing = Missing::new(snapshot.universe.len(), sessions.to_vec()).ok()?;
        for id in symbols {
            for session in (0..sessions.len()).filter(|s| !held.has(*id, *s)) {
                missing.mark(*id, session);
            }
        }
        (!missing.is_empty()).then_some(missing)
    }

    /// Panels of just these symbols over sessions that reach beyond the resident ones.
    async fn beside(
        &self,
        at: Timestamp,
        symbols: &[Symbol],
        sessions: &[SessionDate],
    ) -> (Universe, Panel, Panel, Origins) {
        let listings = symbols.iter().cloned().map(Listing::new);
        let universe = Universe::new("beside", 0, at, listings);
        let mut state = self.0.state.lock().await;
        let histories = state.histories(&universe, sessions, self.clock().now());
        let former: BTreeSet<Symbol> =
            histories.ids().flat_map(|id| histories.laid(id)).map(|stretch| stretch.symbol.clone()).collect();
        // Only these symbols' own blocks, besides the market days.
        let is_other = |symbol: &Symbol| universe.find(symbol.as_str()).is_none() && !former.contains(symbol);
        let others: BTreeMap<_, _> = state.symbols.extract_if(.., |symbol, _| is_other(symbol)).collect();
        let (blocks, origins) = self.blocks(&mut state, sessions).await;
        state.symbols.extend(others);
        let splits = state.splits.clone();
        drop(state);
        let (adjusted, raw) =
            Panel::build_across(&universe, sessions, &blocks, &splits, &histories, self.0.config.threads);
        (universe, adjusted, raw, origins)
    }
}

/// One symbol's bars from `from` to `to`, adjusted for the dividends too that were paid by the panel's last session.
fn paid(
    symbol: &Symbol,
    (adjusted, raw, id): (&Panel, &Panel, SymbolId),
    splits: &Splits,
    dividends: &Dividends,
    (from, to): (SessionDate, SessionDate),
) -> SeriesBars {
    let Some((first, last)) = adjusted.sessions().first().zip(adjusted.sessions().last()) else {
        return SeriesBars::default();
    };
    let traded = raw.series(id, *first, *last);
    let closes: Vec<_> =
        traded.sessions.iter().copied().zip(traded.columns[Field::Close.index()].iter().copied()).collect();
    let symbol = symbol.as_str();
    let factors = dividend::factors(dividends.of(symbol), splits.of(symbol), &closes, *last);
    let mut series = adjusted.series(id, *first, to);
    dividend::apply(&mut series, &factors);
    let before = series.sessions.partition_point(|session| *session < from);
    series.sessions.drain(..before);
    series.columns.iter_mut().for_each(|column| drop(column.drain(..before)));
    series
}
