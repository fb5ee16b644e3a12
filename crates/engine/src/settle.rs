//! Closed days that may still change: asked for once more after the next open, and again where the volume is out of
//! line or nothing came. Only a difference makes another snapshot.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use panscan_core::bar::{Bar, Field};
use panscan_core::block::Block;
use panscan_core::calendar::Calendar;
use panscan_core::port::{BarAsk, BlockKey, Errand};
use panscan_core::suspicion::{is_provisional, volume_spike};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};

use crate::landing::joined;
use crate::market::Engine;
use crate::resident::Published;

/// Sessions back to which a correction is looked for.
const SESSIONS: usize = 5;
/// Corrections are there so long after the open.
const AFTER_OPEN: Duration = Duration::from_secs(3600);
/// What is suspicious is asked for again after this long.
const LATER: Duration = Duration::from_secs(20 * 3600);
/// Bars before a day that its volume is measured by.
const USUAL: usize = 30;
/// Symbols with bars of their own that one round asks for again at most.
const SYMBOLS_MAX: usize = 50;

impl Engine {
    /// Asks again for the days that are due. Says how many changed.
    pub(crate) async fn settle_days(&self) -> usize {
        let inner = &self.0;
        let Some(newest) = self.newest_session() else { return 0 };
        let calendar = Calendar::us_equities();
        let from = calendar.back(newest, SESSIONS - 1).unwrap_or(newest);
        let keys: Vec<BlockKey> = {
            let state = inner.state.lock().await;
            let days = calendar.sessions(from, newest).iter().filter(|d| state.days.contains(d));
            days.map(|d| BlockKey::Day(*d)).collect()
        };
        let found = inner.parts.store.read(&inner.market, &keys).await;
        let mut changed = 0;
        for (key, found) in keys.iter().zip(found) {
            if let (BlockKey::Day(session), Some(found)) = (key, found)
                && self.is_due(*session, &found.block)
            {
                changed += usize::from(self.settle_day(*session, &found.block).await);
            }
        }
        changed + self.settle_symbols(from).await
    }

    fn is_due(&self, session: SessionDate, held: &Block) -> bool {
        let now = self.0.parts.clock.now();
        let fetched = held.provenance().fetched_at;
        if is_due_once(session, fetched, now) {
            return true;
        }
        let doubtful = || {
            let current = self.0.resident.current();
            held.count_bars() == 0 || current.is_some_and(|p| has_spike(&p, session))
        };
        now >= fetched.after(LATER) && doubtful()
    }

    async fn settle_day(&self, session: SessionDate, held: &Block) -> bool {
        let ask = BarAsk::Day(session);
        let Some(fresh) = self.again(&ask).await else { return false };
        if fresh.count_bars() * 10 < held.count_bars() * 9 {
            tracing::warn!(%session, "the day came again with fewer bars; it stays as it was");
            return false;
        }
        let same = is_same(held, &fresh);
        self.write(BlockKey::Day(session), fresh).await;
        if !same {
            tracing::info!(%session, "the day was corrected");
            self.0.state.lock().await.bars_changed();
        }
        !same
    }

    /// The same for the newest sessions of symbols that were fetched on their own.
    async fn settle_symbols(&self, from: SessionDate) -> usize {
        let inner = &self.0;
        let symbols: Vec<(Symbol, SessionDate)> = {
            let state = inner.state.lock().await;
            let last = state.symbols.iter().filter_map(|(s, asked)| Some((s.clone(), *asked.last()?)));
            last.filter(|(_, last)| *last >= from).collect()
        };
        let now = inner.parts.clock.now();
        let (mut changed, mut asked) = (0, 0);
        for (symbol, last) in symbols {
            let key = BlockKey::Symbol(Timeframe::Day, symbol.clone());
            let found = inner.parts.store.read(&inner.market, std::slice::from_ref(&key)).await;
            let Some(held) = found.into_iter().flatten().next() else { continue };
            if !is_due_once(last, held.block.provenance().fetched_at, now) {
                continue;
            }
            asked += 1;
            if asked > SYMBOLS_MAX {
                break;
            }
            let ask = BarAsk::Range { symbol, timeframe: Timeframe::Day, from: last, to: last };
            let Some(fresh) = self.again(&ask).await else { continue };
            let joining = inner.joining.lock().await;
            let before = inner.parts.store.read(&inner.market, std::slice::from_ref(&key)).await;
            let Some(before) = before.into_iter().flatten().next() else { continue };
            if fresh.count_bars() == 0 && before.block.count_bars() > 0 {
                continue;
            }
            let block = joined(&before.block, &fresh);
            let same = is_same(&before.block, &block);
            self.write(key, block).await;
            drop(joining);
            if !same {
                inner.state.lock().await.bars_changed();
                changed += 1;
            }
        }
        changed
    }

    async fn again(&self, ask: &BarAsk) -> Option<Block> {
        let fetched = self.0.parts.source.fetch(ask, Errand::background()).await;
        match fetched {
            Ok(fetched) => {
                self.0.refreshed.fetch_add(1, Ordering::Relaxed);
                self.note_refused(fetched.quarantined).await;
                Some(fetched.block)
            }
            // The next round comes back to it.
            Err(error) => {
                tracing::debug!(%ask, %error, "not asked again yet");
                None
            }
        }
    }
}

/// Whether a day was fetched while it could still change, and cannot any more.
fn is_due_once(session: SessionDate, fetched: Timestamp, now: Timestamp) -> bool {
    let calendar = Calendar::us_equities();
    let settled = calendar.next(session).map(|next| calendar.open(next).after(AFTER_OPEN));
    is_provisional(session, fetched) && settled.is_some_and(|settled| now >= settled)
}

/// Whether some symbol's volume of the session looks counted twice.
fn has_spike(published: &Published, session: SessionDate) -> bool {
    let (snapshot, calendar) = (&published.snapshot, Calendar::us_equities());
    let from = calendar.back(session, USUAL).unwrap_or(session);
    snapshot.universe.ids().any(|id| {
        let series = snapshot.daily.series(id, from, session);
        let bar = |row: usize| Bar::new(Field::ALL.map(|field| series.columns[field.index()][row])).ok();
        let bars: Vec<Bar> = (0..series.sessions.len()).filter_map(bar).collect();
        match (series.sessions.last() == Some(&session), bars.split_last()) {
            (true, Some((day, earlier))) => volume_spike(earlier, day).is_some(),
            _ => false,
        }
    })
}

/// Whether two blocks hold the same bars.
fn is_same(a: &Block, b: &Block) -> bool {
    let bits = |block: &Block, symbol: usize, row: usize| {
        block.bar(symbol, row).map(|bar| bar.values().map(f64::to_bits))
    };
    let cells = || (0..a.symbols().len()).flat_map(|s| (0..a.rows().len()).map(move |r| (s, r)));
    (Arc::ptr_eq(a.symbols(), b.symbols()) || a.symbols() == b.symbols())
        && a.rows() == b.rows()
        && cells().all(|(symbol, row)| bits(a, symbol, row) == bits(b, symbol, row))
}
