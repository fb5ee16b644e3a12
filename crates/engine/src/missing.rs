//! Which (symbol, session) cells a plan needs and a snapshot lacks.
//!
//! For each symbol these are the cells from the newest session back until fetching more could not change its
//! values: as many bars as the plan's lookback with no unheld session among them, or every cell to history start
//! where a recursive function is in it.

use panscan_core::block::WIDTH;
use panscan_core::cover::Missing;
use panscan_core::plan::Plan;
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::SymbolId;
use panscan_core::universe::Population;

/// What a computation needs of each symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The newest so many bars.
    Bars(usize),
    /// Every session from this index of the panel on.
    Since(usize),
}

impl Need {
    /// What a plan needs.
    pub(crate) fn of(plan: &Plan) -> Self {
        if plan.is_recursive() { Self::Since(0) } else { Self::Bars(plan.bars_read() as usize) }
    }
}

/// The cells that are not held; `None` when there is none, which on a complete snapshot costs one look. Of the
/// symbols `beside` the population, which it is compared with, these are the cells of every session that one of it
/// needs.
pub(crate) fn missing(
    snapshot: &Snapshot,
    population: &Population,
    need: Need,
    beside: &[SymbolId],
) -> Option<Missing> {
    if snapshot.held.is_complete() || need == Need::Bars(0) {
        return None;
    }
    let sessions = snapshot.daily.sessions();
    let mut missing = Missing::new(snapshot.universe.len(), sessions.to_vec()).ok()?;
    match need {
        Need::Since(first) if population.is_all() && snapshot.held.symbols.is_empty() => {
            let open = snapshot.held.market.iter().enumerate().skip(first).filter(|(_, held)| !**held);
            open.for_each(|(session, _)| missing.mark_session(session));
        }
        Need::Since(first) => {
            for id in population.ids().chain(beside.iter().copied()) {
                let open = (first..sessions.len()).filter(|s| !snapshot.held.has(id, *s));
                open.for_each(|session| missing.mark(id, session));
            }
        }
        Need::Bars(bars) => {
            let first = population.ids().map(|id| walk(snapshot, id, bars, &mut missing)).min();
            for id in beside {
                let open = (first.unwrap_or(sessions.len())..sessions.len())
                    .filter(|session| !snapshot.held.has(*id, *session));
                open.for_each(|session| missing.mark(*id, session));
            }
        }
    }
    (!missing.is_empty()).then_some(missing)
}

/// Goes back from the newest session until `bars` bars were met; an unheld cell may hold one and counts as one.
/// Gives the first session that it met.
fn walk(snapshot: &Snapshot, id: SymbolId, bars: usize, missing: &mut Missing) -> usize {
    let panel = &snapshot.daily;
    let Some(tile) = panel.tiles().get(id.index() / WIDTH) else { return panel.sessions().len() };
    let lane = id.index() % WIDTH;
    let first = tile.rows() - tile.bars()[lane] as usize;
    let mut row = tile.rows();
    let mut met = 0;
    for session in (0..panel.sessions().len()).rev() {
        if met >= bars {
            return session + 1;
        }
        let here = row > first && usize::from(tile.session()[(row - 1) * WIDTH + lane]) == session;
        if here {
            row -= 1;
        }
        let held = snapshot.held.has(id, session);
        if !held {
            missing.mark(id, session);
        }
        met += usize::from(here || !held);
    }
    0
}
