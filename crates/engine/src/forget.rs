//! Held bars that are to be fetched anew, because an operator knows that they are wrong.
//!
//! Blocks go as a whole: where a session was fetched for the whole market it goes for all symbols, and one call brings
//! it back.

use std::collections::BTreeSet;

use panscan_core::calendar::Calendar;
use panscan_core::port::BlockKey;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe};

use crate::error::EngineError;
use crate::market::Engine;

/// What to forget.
#[derive(Debug, Clone, Default)]
pub struct Forget {
    /// Whose bars; none: everybody's.
    pub symbols: Option<Vec<Symbol>>,
    /// First session; none: the oldest.
    pub from: Option<SessionDate>,
    /// Last session; none: the newest.
    pub to: Option<SessionDate>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Cells of daily bars.
    pub cells: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
}

impl Engine {
    /// Forgets held daily bars in the store and in what is shown, so that the next scan fetches them.
    ///
    /// # Errors
    ///
    /// The store's, where a tier still has some of it; what went is gone and the rest can be asked for again.
    pub async fn forget(&self, what: &Forget) -> Result<Forgotten, EngineError> {
        let inner = &self.0;
        let within = |session: &SessionDate| {
            what.from.is_none_or(|from| *session >= from) && what.to.is_none_or(|to| *session <= to)
        };
        let named = |symbol: &Symbol| what.symbols.as_ref().is_none_or(|named| named.contains(symbol));
        if !what.dry_run {
            inner.requeue.forgive();
        }
        // No symbol's block is joined and written back meanwhile.
        let joining = inner.joining.lock().await;
        let (days, own, cells) = {
            let state = inner.state.lock().await;
            let days: BTreeSet<SessionDate> = state.days.iter().copied().filter(within).collect();
            let own =
                state.symbols.iter().filter(|(symbol, asked)| named(symbol) && asked.iter().any(within));
            let own: Vec<(Symbol, usize)> =
                own.map(|(symbol, asked)| (symbol.clone(), asked.len())).collect();
            let cells = days.len() * state.universe.len() + own.iter().map(|(_, asked)| asked).sum::<usize>();
            (days, own, cells as u64)
        };
        let mut keys: Vec<BlockKey> = days.iter().map(|day| BlockKey::Day(*day)).collect();
        keys.extend(own.iter().map(|(symbol, _)| BlockKey::Symbol(Timeframe::Day, symbol.clone())));
        let found = inner.parts.store.read(&inner.market, &keys).await;
        let bytes = found.iter().flatten().map(|found| found.block.bytes() as u64).sum();
        if what.dry_run || keys.is_empty() {
            return Ok(Forgotten { cells, bytes });
        }
        {
            let mut state = inner.state.lock().await;
            state.days.retain(|day| !days.contains(day));
            own.iter().for_each(|(symbol, _)| drop(state.symbols.remove(symbol)));
            state.bars_changed();
        }
        let gone = inner.parts.store.forget(&inner.market, &keys).await;
        drop(joining);
        if let Some(newest) = Calendar::us_equities().last_closed(inner.parts.clock.now()) {
            self.snapshot_ending(newest).await?;
        }
        tracing::info!(blocks = keys.len(), cells, "held bars are forgotten");
        gone.map_err(|error| EngineError::Internal(error.to_string()))?;
        Ok(Forgotten { cells, bytes })
    }
}
