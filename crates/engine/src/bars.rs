//! Bars of named symbols over a range, fetched where they are missing, out of a snapshot or beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use panscan_core::calendar::Calendar;
use panscan_core::cover::Missing;
use panscan_core::diagnostic::{Diagnostic, Reason};
use panscan_core::panel::{Panel, SeriesBars};
use panscan_core::port::Errand;
use panscan_core::scan::{Adjustment, DataPolicy};
use panscan_core::symbol::Symbol;
use panscan_core::time::SessionDate;
use panscan_core::universe::{Listing, Population, Universe};
use tokio::time::Instant;

use crate::diagnose;
use crate::error::EngineError;
use crate::market::{Engine, held};
use crate::missing::{Need, missing};
use crate::resident::Published;
use crate::run::{Cost, Pin};

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
        if request.adjustment == Adjustment::SplitsAndDividends {
            return Err(EngineError::Unimplemented { what: "adjustment for dividends".to_owned() });
        }
        let mut published = self.pin(&request.pin).await?;
        let snapshot = published.snapshot.clone();
        let newest = snapshot.newest().unwrap_or_default();
        let to = request.to.unwrap_or(newest).min(newest);
        let from = request.from.unwrap_or(snapshot.history_start);
        let mut known = Vec::new();
        let mut unknown = Vec::new();
        for symbol in &request.symbols {
            match snapshot.universe.find(symbol) {
                Some(id) if !known.contains(&id) => known.push(id),
                Some(_) => {}
                None => unknown.extend(Symbol::new(symbol).ok()),
            }
        }
        let mut answer = BarsAnswer {
            published: published.clone(),
            series: Vec::new(),
            failed: request.symbols.len() - known.len().min(request.symbols.len()),
            complete: true,
            diagnostics: Vec::new(),
            cost: Cost { universe: snapshot.universe.len(), population: known.len(), ..Cost::default() },
            provider_calls: 0,
            elapsed: Duration::ZERO,
        };
        if !unknown.is_empty() {
            answer.complete = false;
            answer
                .diagnostics
                .push(Diagnostic::new(Reason::SymbolUnknown, "not in the universe").about(&unknown));
        }
        let calendar = Calendar::us_equities();
        let sessions = calendar.sessions(from, to);
        let inside = from >= snapshot.history_start;
        let mut rounds = 0;
        let still = loop {
            let lacking = self.lacking(&published, &known, sessions, inside, request.last).await;
            let Some(lacking) = lacking else { break None };
            let cover = self.cover(&lacking);
            if rounds == 0 {
                answer.cost.missing_cells = cover.cells;
                answer.cost.calls = cover.requests;
                answer.cost.fetch_time = self.0.parts.source.estimate(cover.requests);
            }
            rounds += 1;
            let pinned = matches!(request.pin, Pin::Snapshot(_)) && inside;
            if request.policy == DataPolicy::CachedOnly || pinned || rounds > 16 {
                break Some((lacking, None));
            }
            let until = request.deadline.map(crate::run::early);
            let filled = self.fill(&snapshot.universe, &cover, request.errand, until).await;
            if let Some(refusal) = filled.refusal()
                && published.snapshot.daily.total_bars() == 0
            {
                return Err(refusal.clone().into());
            }
            answer.provider_calls += filled.calls;
            let stuck = filled.out_of_time || !filled.failures.is_empty() || filled.calls == 0;
            if inside {
                published = self.snapshot_ending(newest).await?;
                answer.published = published.clone();
            }
            if stuck {
                let lacking = self.lacking(&published, &known, sessions, inside, request.last).await;
                break lacking.map(|lacking| (lacking, Some(filled)));
            }
        };
        if let Some((lacking, filled)) = still {
            if request.policy == DataPolicy::RequireComplete {
                return Err(crate::run::incomplete(lacking.cells(), filled.as_ref()));
            }
            answer.complete = false;
            answer.diagnostics.extend(diagnose::still_missing(&snapshot, &lacking, filled.as_ref()));
        }
        let beside = if inside { None } else { Some(self.beside(&published, &known, sessions).await) };
        for id in known {
            let symbol = snapshot.universe.symbol(id).clone();
            let series = match &beside {
                None => published.snapshot.panel(request.adjustment).map(|panel| panel.series(id, from, to)),
                Some((universe, adjusted, raw)) => universe.find(symbol.as_str()).map(|id| {
                    let panel = if request.adjustment == Adjustment::Raw { raw } else { adjusted };
                    panel.series(id, from, to)
                }),
            };
            let mut bars = series.unwrap_or_default();
            if request.last > 0 && bars.sessions.len() > request.last {
                let cut = bars.sessions.len() - request.last;
                bars.sessions.drain(..cut);
                bars.columns.iter_mut().for_each(|column| drop(column.drain(..cut)));
            }
            answer.series.push(SymbolBars { symbol, bars });
        }
        answer.elapsed = started.elapsed();
        Ok(answer)
    }

    /// The cells of these symbols and sessions that are not held.
    async fn lacking(
        &self,
        published: &Published,
        symbols: &[panscan_core::symbol::SymbolId],
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
        let held = held(&state, sessions);
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
        published: &Published,
        symbols: &[panscan_core::symbol::SymbolId],
        sessions: &[SessionDate],
    ) -> (Universe, Panel, Panel) {
        let snapshot = &published.snapshot;
        let listings: Vec<Listing> =
            symbols.iter().map(|id| Listing::new(snapshot.universe.symbol(*id).clone())).collect();
        let universe = Universe::new("beside", 0, snapshot.created, listings);
        let mut state = self.0.state.lock().await;
        // Only these symbols' own blocks, besides the market days.
        let others: BTreeMap<_, _> =
            state.symbols.extract_if(.., |symbol, _| universe.find(symbol.as_str()).is_none()).collect();
        let blocks = self.blocks(&mut state, sessions).await;
        state.symbols.extend(others);
        let splits = state.splits.clone();
        drop(state);
        let (adjusted, raw) = Panel::build(&universe, sessions, &blocks, &splits, self.0.config.threads);
        (universe, adjusted, raw)
    }
}
