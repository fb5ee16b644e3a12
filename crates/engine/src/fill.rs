//! Completing what is missing: the cover's calls, newest first, each made once however many scans want it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use panscan_core::block::{BarKey, Block, BlockBuilder, Quarantined};
use panscan_core::calendar::Calendar;
use panscan_core::cover::{Call, CostModel, Cover, Missing, cover};
use panscan_core::port::{BarAsk, BlockKey, Errand, Fetched, SourceError};
use panscan_core::time::{SessionDate, Timeframe};
use panscan_core::universe::Universe;
use tokio::time::Instant;

use crate::flight::Landed;
use crate::market::Engine;
use crate::notes::{self, QUARANTINED_MAX, RefusedNote};

/// For so long after its close, a market day without any bar is "not there yet" rather than empty.
const SETTLING: Duration = Duration::from_secs(36 * 3600);
/// Before that, it is asked for again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// What a round of fetching brought.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    /// Provider calls made by questions that this round asked or joined.
    pub(crate) calls: u64,
    /// Bars that came.
    pub(crate) bars: u64,
    /// Questions without an answer.
    pub(crate) failures: Vec<(BarAsk, SourceError)>,
    /// The deadline came first.
    pub(crate) out_of_time: bool,
}

impl Engine {
    /// The calls that would bring the missing cells.
    pub(crate) fn cover(&self, missing: &Missing) -> Cover {
        cover(missing, &CostModel::daily(missing.symbols() as u64))
    }

    /// Makes the calls of a cover until `until`.
    pub(crate) async fn fill(&self, universe: &Universe, cover: &Cover, until: Option<Instant>) -> Filled {
        let asks: Vec<BarAsk> = cover.calls.iter().map(|call| ask(universe, call)).collect();
        let oldest = asks.iter().filter_map(day).min();
        let mut filled = Filled::default();
        let mut learned = false;
        let mut newest_with_bars: Option<SessionDate> = None;
        let mut waiting = asks.into_iter();
        // Tasks of their own rather than futures polled from here: one of them may hold what another call made
        // from this loop waits for. Dropping the set ends them.
        let mut under_way = tokio::task::JoinSet::new();
        loop {
            while under_way.len() < self.0.config.workers.max(1)
                && let Some(ask) = waiting.next()
            {
                let engine = self.clone();
                under_way.spawn(async move { (engine.ask(&ask).await, ask) });
            }
            let next = match until {
                Some(until) => match tokio::time::timeout_at(until, under_way.join_next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        filled.out_of_time = true;
                        break;
                    }
                },
                None => under_way.join_next().await,
            };
            let Some(next) = next else { break };
            let Ok((answer, ask)) = next else { continue };
            match answer {
                Ok(landed) => {
                    filled.calls += landed.calls;
                    filled.bars += landed.bars;
                    if landed.bars > 0 {
                        newest_with_bars = newest_with_bars.max(day(&ask));
                    }
                    // A day without bars below one with bars may be where the provider's history begins.
                    let empty = landed.bars == 0 && landed.calls > 0 && day(&ask) < newest_with_bars;
                    if let (true, false, Some(session), Some(oldest)) = (empty, learned, day(&ask), oldest) {
                        learned = true;
                        let learning = self.learn_first_session(session, oldest);
                        filled.calls += match until {
                            Some(until) => tokio::time::timeout_at(until, learning).await.unwrap_or(0),
                            None => learning.await,
                        };
                    }
                }
                Err(error @ SourceError::Key { .. }) => {
                    // Every other call would fail alike: one clear error at once.
                    filled.failures.push((ask, error));
                    break;
                }
                Err(error) => filled.failures.push((ask, error)),
            }
        }
        filled
    }

    /// Asks for the oldest day wanted. If it is as empty as the one at hand, everything in between is taken to be,
    /// and that is remembered as the provider's first session.
    async fn learn_first_session(&self, empty: SessionDate, oldest: SessionDate) -> u64 {
        if oldest >= empty {
            return 0;
        }
        let Ok(probe) = self.ask(&BarAsk::Day(oldest)).await else { return 0 };
        if probe.bars == 0
            && let Some(first) = Calendar::us_equities().next(empty)
        {
            let mut state = self.0.state.lock().await;
            if state.first_session.is_none_or(|known| known < first) {
                state.first_session = Some(first);
                state.version += 1;
                let body = notes::to_bytes(&first.to_string());
                let now = self.0.parts.clock.now();
                let kept =
                    self.0.parts.store.write_note(&self.0.market, notes::FIRST_SESSION, now, &body).await;
                if let Err(error) = kept {
                    tracing::warn!(%error, "the provider's first session was not kept");
                }
                tracing::info!(%first, "the provider's history begins here");
            }
        }
        probe.calls
    }

    /// One question, joined with whoever asks the same.
    async fn ask(&self, ask: &BarAsk) -> Result<Landed, SourceError> {
        if let Some(session) = day(ask) {
            let state = self.0.state.lock().await;
            let now = self.0.parts.clock.now();
            let early = state.not_yet.get(&session).is_some_and(|again| now < *again);
            if state.is_empty_session(session) || state.days.contains(&session) || early {
                return Ok(Landed::default());
            }
        }
        let engine = self.clone();
        let question = ask.clone();
        self.0.flights.join(ask, move || async move { engine.bring(&question).await }.boxed()).await
    }

    /// Fetches, keeps and marks as held.
    async fn bring(&self, ask: &BarAsk) -> Result<Landed, SourceError> {
        let source = &self.0.parts.source;
        let fetched = source.fetch(ask, Errand::interactive(0)).await?;
        let calls = u64::from(fetched.calls);
        let bars = fetched.block.count_bars() as u64;
        self.keep(ask, fetched).await;
        Ok(Landed { bars, calls })
    }

    async fn keep(&self, ask: &BarAsk, fetched: Fetched) {
        let inner = &self.0;
        let now = inner.parts.clock.now();
        // Before the bars are held, so that the snapshot that first shows them also says what is not among them.
        self.note_refused(fetched.quarantined).await;
        match ask {
            // Only days are asked for as files.
            BarAsk::Day(session) | BarAsk::FlatFile { session, .. } => {
                let settled = now >= Calendar::us_equities().close(*session).after(SETTLING);
                if fetched.block.symbols().is_empty() && !settled {
                    inner.state.lock().await.not_yet.insert(*session, now.after(ASK_AGAIN));
                    return;
                }
                self.write(BlockKey::Day(*session), fetched.block).await;
                let mut state = inner.state.lock().await;
                state.days.insert(*session);
                state.version += 1;
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
                state.version += 1;
            }
        }
    }

    async fn note_refused(&self, quarantined: Vec<Quarantined>) {
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

    async fn write(&self, key: BlockKey, block: Block) {
        // A store that is down costs a warning, not the scan: the block stays in memory.
        if let Err(error) = self.0.parts.store.write(&self.0.market, &[(key, block)]).await {
            tracing::warn!(%error, "a block was not kept on disk");
        }
    }
}

fn ask(universe: &Universe, call: &Call) -> BarAsk {
    match *call {
        Call::Day(session) => BarAsk::Day(session),
        Call::Range { symbol, from, to } => {
            BarAsk::Range { symbol: universe.symbol(symbol).clone(), timeframe: Timeframe::Day, from, to }
        }
    }
}

fn day(ask: &BarAsk) -> Option<SessionDate> {
    match ask {
        BarAsk::Day(session) | BarAsk::FlatFile { timeframe: Timeframe::Day, session } => Some(*session),
        BarAsk::FlatFile { .. } | BarAsk::Range { .. } => None,
    }
}

/// Both blocks of one symbol as one; where both have a bar the newer fetch wins.
fn joined(old: &Block, new: &Block) -> Block {
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
