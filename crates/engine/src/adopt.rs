//! What is held elsewhere is not fetched: before the provider is asked, the store is, with all that other servers have
//! put there since. Not here: the questions to the provider.

use std::collections::BTreeMap;

use panscan_core::block::Block;
use panscan_core::minutes;
use panscan_core::port::{BarAsk, BlockKey};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe};

use crate::fill::is_held;
use crate::intraday::{MINUTE, Wanted};
use crate::landing::joined;
use crate::market::Engine;

impl Engine {
    /// Takes on what the store has of these questions' answers, and gives back the questions that are still open.
    pub(crate) async fn adopt(&self, asks: Vec<BarAsk>) -> Vec<BarAsk> {
        let inner = &self.0;
        let asks = self.open_asks(asks).await;
        let days = asks.iter().filter_map(|ask| match ask {
            BarAsk::Day(session) | BarAsk::FlatFile { timeframe: Timeframe::Day, session } => Some(*session),
            _ => None,
        });
        let days: Vec<SessionDate> = days.collect();
        let symbols = asks.iter().filter_map(|ask| match ask {
            BarAsk::Range { symbol, timeframe: Timeframe::Day, .. } => Some((symbol.clone(), ())),
            _ => None,
        });
        let symbols: Vec<Symbol> = symbols.collect::<BTreeMap<_, _>>().into_keys().collect();
        let mut keys: Vec<BlockKey> = days.iter().map(|day| BlockKey::Day(*day)).collect();
        keys.extend(symbols.iter().map(|symbol| BlockKey::Symbol(Timeframe::Day, symbol.clone())));
        let found = inner.parts.store.read(&inner.market, &keys).await;
        let mut changed = false;
        {
            let mut state = inner.state.lock().await;
            for (key, found) in keys.iter().zip(&found) {
                let Some(found) = found else { continue };
                changed |= match key {
                    BlockKey::Day(day) => state.days.insert(*day),
                    BlockKey::Symbol(_, symbol) => state.hold(symbol, &found.block),
                };
            }
            if changed {
                state.bars_changed();
            }
        }
        let asks = if changed { self.open_asks(asks).await } else { asks };
        self.adopt_ranges(asks).await
    }

    /// Of symbols of which this server holds something, what others hold besides.
    async fn adopt_ranges(&self, asks: Vec<BarAsk>) -> Vec<BarAsk> {
        let inner = &self.0;
        let known = {
            let state = inner.state.lock().await;
            let known = asks.iter().filter_map(|ask| match ask {
                BarAsk::Range { symbol, timeframe: Timeframe::Day, .. }
                    if state.symbols.contains_key(symbol) =>
                {
                    Some((symbol.clone(), ()))
                }
                _ => None,
            });
            known.collect::<BTreeMap<_, _>>()
        };
        if known.is_empty() {
            return asks;
        }
        let keys: Vec<BlockKey> =
            known.into_keys().map(|symbol| BlockKey::Symbol(Timeframe::Day, symbol)).collect();
        let theirs = inner.parts.store.shared(&inner.market, &keys).await;
        let mut changed = false;
        for (key, theirs) in keys.into_iter().zip(theirs) {
            let (Some(theirs), BlockKey::Symbol(_, symbol)) = (theirs, &key) else { continue };
            let symbol = symbol.clone();
            let joining = inner.joining.lock().await;
            let ours = inner.parts.store.read(&inner.market, std::slice::from_ref(&key)).await;
            let block = match ours.into_iter().flatten().next().map(|found| found.block) {
                Some(ours) if adds(&ours, &theirs) => later_joined(&ours, &theirs),
                Some(_) => continue,
                None => theirs,
            };
            self.write(key, block.clone()).await;
            drop(joining);
            changed |= inner.state.lock().await.hold(&symbol, &block);
        }
        if !changed {
            return asks;
        }
        inner.state.lock().await.bars_changed();
        self.open_asks(asks).await
    }

    async fn open_asks(&self, mut asks: Vec<BarAsk>) -> Vec<BarAsk> {
        let state = self.0.state.lock().await;
        asks.retain(|ask| !is_held(&state, ask));
        asks
    }

    /// Takes on what another server knows of a symbol's minutes beyond what is held here. Says whether that helps.
    pub(crate) async fn adopt_minutes(
        &self,
        symbol: &Symbol,
        wanted: Wanted,
        missing: &[SessionDate],
    ) -> bool {
        let inner = &self.0;
        let key = BlockKey::Symbol(MINUTE, symbol.clone());
        let theirs = inner.parts.store.shared(&inner.market, std::slice::from_ref(&key)).await;
        let Some(theirs) = theirs.into_iter().flatten().next() else { return false };
        if !missing.iter().any(|session| minutes::is_final(&theirs, *session, wanted.hours)) {
            return false;
        }
        let _lane = inner.intraday.lane(symbol).lock().await;
        let block = match self.minute_block(symbol).await {
            Some(ours) => minutes::merged(&ours, &theirs),
            None => Ok(theirs),
        };
        match block {
            Ok(block) => self.write(key, block).await,
            Err(error) => {
                tracing::warn!(%symbol, %error, "minutes of another server were not joined");
                return false;
            }
        }
        true
    }
}

/// Whether some session was asked for in `theirs` and not in `ours`.
fn adds(ours: &Block, theirs: &Block) -> bool {
    theirs.rows().iter().any(|row| ours.rows().binary_search(row).is_err())
}

/// Both as one; where both have a bar the later fetch wins.
fn later_joined(ours: &Block, theirs: &Block) -> Block {
    if ours.provenance().fetched_at > theirs.provenance().fetched_at {
        joined(theirs, ours)
    } else {
        joined(ours, theirs)
    }
}
