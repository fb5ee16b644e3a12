//! What was fetched becomes held: written to the store, entered into the state, refused rows noted.
//!
//! Not here: which calls are made and when they are made again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use panscan_core::block::{BarKey, Block, BlockBuilder, Quarantined};
use panscan_core::calendar::Calendar;
use panscan_core::port::{BarAsk, BlockKey, Fetched};
use panscan_core::time::SessionDate;

use crate::market::Engine;
use crate::notes::{self, QUARANTINED_MAX, RefusedNote};

/// For so long after its close, a market day without any bar is "not there yet" rather than empty.
const SETTLING: Duration = Duration::from_secs(36 * 3600);
/// Before that, it is asked for again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(60);

impl Engine {
    /// Keeps an answer; from now on its cells are held.
    pub(crate) async fn keep(&self, ask: &BarAsk, fetched: Fetched) {
        let inner = &self.0;
        let now = inner.parts.clock.now();
        // Before the bars are held, so that the snapshot that first shows them also says what is not among them.
        self.note_refused(fetched.quarantined).await;
        match ask {
            // Only days are asked for as files.
            BarAsk::Day(session) | BarAsk::FlatFile { session, .. } => {
                let settled = now >= Calendar::us_equities().close(*session).after(SETTLING);
                if fetched.block.symbols().is_empty() && !settled {
                    inner.unserved.wait(*session, now.after(ASK_AGAIN));
                    return;
                }
                let symbols = fetched.block.symbols().clone();
                self.write(BlockKey::Day(*session), fetched.block).await;
                let mut state = inner.state.lock().await;
                if state.note_traded(&symbols) {
                    inner.unlisted.store(true, Ordering::Relaxed);
                }
                state.days.insert(*session);
                state.bars_changed();
            }
            BarAsk::Range { symbol, timeframe, from, to } => {
                let key = BlockKey::Symbol(*timeframe, symbol.clone());
                let joining = inner.joining.lock().await;
                let before = inner.parts.store.read(&inner.market, std::slice::from_ref(&key)).await;
                let block = match before.into_iter().flatten().next() {
                    Some(found) => joined(&found.block, &fetched.block),
                    None => fetched.block,
                };
                self.write(key, block).await;
                drop(joining);
                let asked: BTreeSet<SessionDate> =
                    Calendar::us_equities().sessions(*from, *to).iter().copied().collect();
                let mut state = inner.state.lock().await;
                state.symbols.entry(symbol.clone()).or_default().extend(asked);
                state.bars_changed();
            }
        }
    }

    pub(crate) async fn note_refused(&self, quarantined: Vec<Quarantined>) {
        if quarantined.is_empty() {
            return;
        }
        let inner = &self.0;
        let mut state = inner.state.lock().await;
        for row in quarantined {
            let session = row.key.as_session().to_string();
            let refused = RefusedNote { symbol: row.symbol, session, why: row.fault.to_string() };
            tracing::debug!(
                symbol = refused.symbol,
                session = refused.session,
                why = refused.why,
                "bar refused"
            );
            if state.refused.len() < QUARANTINED_MAX && !state.refused.contains(&refused) {
                state.refused.push(refused);
            }
        }
        let body = notes::to_bytes(&state.refused);
        drop(state);
        let now = inner.parts.clock.now();
        if let Err(error) = inner.parts.store.write_note(&inner.market, notes::QUARANTINE, now, &body).await {
            tracing::warn!(%error, "the list of refused bars was not kept");
        }
    }

    pub(crate) async fn write(&self, key: BlockKey, block: Block) {
        // A store that is down costs a warning, not the scan: the block stays in memory.
        if let Err(error) = self.0.parts.store.write(&self.0.market, &[(key, block)]).await {
            tracing::warn!(%error, "a block was not kept on disk");
        }
    }
}

/// Both blocks of one symbol as one; where both have a bar the newer fetch wins.
pub(crate) fn joined(old: &Block, new: &Block) -> Block {
    let mut builder = BlockBuilder::new(new.timeframe());
    let mut rows: BTreeSet<BarKey> = old.rows().iter().copied().collect();
    rows.extend(new.rows().iter().copied());
    for (block, other) in [(new, None), (old, Some(new))] {
        for (symbol, name) in block.symbols().iter().enumerate() {
            for (row, key) in block.rows().iter().enumerate() {
                let asked_again = other.is_some_and(|o: &Block| o.rows().binary_search(key).is_ok());
                if let (false, Some(bar)) = (asked_again, block.bar(symbol, row)) {
                    builder.push(name.as_str(), *key, *bar.values());
                }
            }
        }
    }
    let rows: Vec<BarKey> = rows.into_iter().collect();
    builder.finish(Some(&Arc::clone(new.symbols())), Some(&rows), new.provenance().clone()).0
}
