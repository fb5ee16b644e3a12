//! Minutes of single symbols: which sessions are held, which calls bring the others, and how they are kept.
//!
//! What is held says the stored block itself ([`panscan_core::minutes`]), so that a restart asks for nothing again;
//! only the age of a session that still trades is kept in memory. Callers that need the same cells wait for one
//! call. Not here: bars of other intervals, and the order in which symbols are answered ([`crate::stream`]).
//!
//! Files of a whole market's minutes are asked for before symbols are taken one by one ([`crate::minute_files`]);
//! [`Engine::minutes`] then finds them held.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use panscan_core::block::{Block, Quarantined};
use panscan_core::calendar::Calendar;
use panscan_core::cover::{Call, CostModel, Missing, cover};
use panscan_core::life::Stretch;
use panscan_core::minutes;
use panscan_core::port::{BarAsk, BlockKey, Errand, Fetched, SourceError};
use panscan_core::scan::SessionHours;
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::flight::Landed;
use crate::market::{Engine, Inner};
use crate::notes::{QUARANTINED_MAX, RefusedNote};
use crate::requeue::is_final;
use crate::unserved::Unserved;

/// The interval that is fetched and kept.
pub(crate) const MINUTE: Timeframe = Timeframe::Minutes(1);
/// Symbols are joined and written in so many lanes; one symbol is always in the same.
const LANES: usize = 16;
/// Symbols of which the age of the present session is remembered.
const FRESH_MAX: usize = 65_536;
/// Rounds of looking at what is missing and asking for it; more than two only where the store keeps nothing.
const ROUNDS_MAX: u32 = 8;

/// What is under way, and what is known of sessions that still trade.
pub(crate) struct Intraday {
    /// Held while a symbol's block is read, joined with new bars and written back.
    lanes: [tokio::sync::Mutex<()>; LANES],
    /// Bounds the calls at once.
    calls: Semaphore,
    /// Held while the file of a session is fetched.
    pub(crate) files: tokio::sync::Mutex<()>,
    /// Questions that are being asked, by symbol.
    open: Mutex<HashMap<Symbol, Vec<BarAsk>>>,
    /// When the newest session of a symbol was last asked for.
    fresh: Mutex<HashMap<Symbol, (SessionDate, Timestamp)>>,
    /// Minutes that were refused.
    refused: Mutex<BTreeMap<Symbol, Vec<RefusedNote>>>,
    /// Sessions whose minutes the provider does not serve.
    pub(crate) unserved: Unserved,
}

impl Intraday {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            lanes: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            calls: Semaphore::new(workers.max(1)),
            files: tokio::sync::Mutex::default(),
            open: Mutex::default(),
            fresh: Mutex::default(),
            refused: Mutex::default(),
            unserved: Unserved::default(),
        }
    }

    /// The questions of others that will bring some of `missing`; without any those of `plan`, which are others' to
    /// join from now on.
    fn claim(
        &self,
        symbol: &Symbol,
        missing: &[SessionDate],
        plan: impl FnOnce() -> Vec<BarAsk>,
    ) -> Vec<BarAsk> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let helps = |ask: &&BarAsk| match ask {
            BarAsk::Range { from, to, .. } => missing.iter().any(|d| from <= d && d <= to),
            BarAsk::Day(_) | BarAsk::FlatFile { .. } => false,
        };
        let theirs: Vec<BarAsk> = open.get(symbol).into_iter().flatten().filter(helps).cloned().collect();
        if !theirs.is_empty() {
            return theirs;
        }
        let mine = plan();
        if !mine.is_empty() {
            open.entry(symbol.clone()).or_default().extend(mine.iter().cloned());
        }
        mine
    }

    /// What is known of a symbol's newest session counts no more.
    pub(crate) fn forget(&self, symbol: &Symbol) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).remove(symbol);
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(symbol);
    }

    /// Sessions that were refused may be asked for again.
    pub(crate) fn forget_refusals(&self) {
        self.unserved.forget();
    }

    pub(crate) fn lane(&self, symbol: &Symbol) -> &tokio::sync::Mutex<()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(symbol);
        &self.lanes[(hash % LANES as u64) as usize]
    }

    fn asked_at(&self, symbol: &Symbol, session: SessionDate) -> Option<Timestamp> {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.get(symbol).filter(|(of, _)| *of == session).map(|(_, at)| *at)
    }

    fn note_asked(&self, symbol: &Symbol, session: SessionDate, at: Timestamp) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.len() >= FRESH_MAX && !fresh.contains_key(symbol) {
            fresh.clear();
        }
        fresh.insert(symbol.clone(), (session, at));
    }

    fn note_refused(&self, symbol: &Symbol, rows: &[Quarantined]) {
        if rows.is_empty() {
            return;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held: usize = refused.values().map(Vec::len).sum();
        let mine = refused.entry(symbol.clone()).or_default();
        for row in rows {
            let start = row.key.as_start();
            let note = RefusedNote {
                symbol: row.symbol.clone(),
                session: Calendar::us_equities().session_of(start).to_string(),
                why: format!("{start}: {}", row.fault),
            };
            tracing::debug!(symbol = note.symbol, why = note.why, "minute refused");
            if held < QUARANTINED_MAX && !mine.contains(&note) {
                mine.push(note);
                held += 1;
            }
        }
    }

    /// How many minutes of a symbol were refused in these sessions, and the first of them in words.
    pub(crate) fn refused(
        &self,
        symbol: &Symbol,
        from: SessionDate,
        to: SessionDate,
    ) -> Option<(u64, String)> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, to) = (from.to_string(), to.to_string());
        let inside = |note: &&RefusedNote| from <= note.session && note.session <= to;
        let mut mine = refused.get(symbol)?.iter().filter(inside);
        let first = mine.next()?.why.clone();
        Some((1 + mine.count() as u64, first))
    }
}

/// Takes a question off the list of those under way.
struct Asking {
    inner: Arc<Inner>,
    symbol: Symbol,
    ask: BarAsk,
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut open = self.inner.intraday.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asks) = open.get_mut(&self.symbol) {
            asks.retain(|ask| *ask != self.ask);
            if asks.is_empty() {
                open.remove(&self.symbol);
            }
        }
    }
}

/// Which minutes of a symbol are to be held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) from: SessionDate,
    pub(crate) to: SessionDate,
    pub(crate) hours: SessionHours,
}

/// Who asks, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// May the provider be asked at all?
    pub(crate) fetches: bool,
    pub(crate) errand: Errand,
    pub(crate) until: Instant,
}

/// What is held of one symbol once nothing more can be had.
#[derive(Debug, Default)]
pub(crate) struct Minutes {
    /// What the store has.
    pub(crate) block: Option<Block>,
    /// Sessions that are still not held.
    pub(crate) missing: Vec<SessionDate>,
    /// Provider calls made by questions that were asked or joined.
    pub(crate) calls: u64,
    /// Bars that they brought.
    pub(crate) bars: u64,
    /// The last question without an answer.
    pub(crate) failure: Option<(BarAsk, SourceError)>,
    /// The deadline came first.
    pub(crate) out_of_time: bool,
}

/// One company's minutes, under whatever tickers it had.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// What can be had: `block` is that of the newest ticker.
    pub(crate) found: Minutes,
    /// Stretches of days with their blocks; a later one has the better claim to a session.
    pub(crate) laid: Vec<(Stretch, Block)>,
}

impl Engine {
    /// Has the minutes held of the company that a symbol belongs to.
    pub(crate) async fn company_minutes(
        &self,
        symbol: &Symbol,
        wanted: Wanted,
        patience: Patience,
    ) -> Joined {
        let (exact, wide) = self.stretches(symbol, wanted.from, wanted.to).await;
        let mut joined = Joined::default();
        let mut blocks: BTreeMap<Symbol, Block> = BTreeMap::new();
        for stretch in &wide {
            let part = Wanted { from: stretch.from, to: stretch.to, ..wanted };
            let mut found = self.minutes(&stretch.symbol, part, patience).await;
            if let Some(block) = &found.block {
                blocks.insert(stretch.symbol.clone(), block.clone());
            }
            let all = &mut joined.found;
            all.block = found.block.take().or(all.block.take());
            all.missing.append(&mut found.missing);
            all.calls += found.calls;
            all.bars += found.bars;
            all.out_of_time |= found.out_of_time;
            all.failure = found.failure.or(all.failure.take());
        }
        let again = if wide == exact { [].iter() } else { exact.iter() };
        let laid = wide.iter().chain(again);
        joined.laid = laid.filter_map(|s| Some((s.clone(), blocks.get(&s.symbol)?.clone()))).collect();
        joined
    }

    /// Has one symbol's minutes held as far as patience goes.
    ///
    /// If dropped, calls that nobody else waits for are not made; what has come is kept.
    pub(crate) async fn minutes(&self, symbol: &Symbol, wanted: Wanted, patience: Patience) -> Minutes {
        let mut found = Minutes::default();
        let mut refusals = self.0.requeue.refusals();
        let mut unserved = None;
        for round in 0.. {
            found.block = self.minute_block(symbol).await;
            found.missing = self.missing_minutes(symbol, found.block.as_ref(), wanted).await;
            if round == 0 && patience.fetches && !found.missing.is_empty() && found.block.is_some() {
                // Another server may have asked for what is missing.
                if self.adopt_minutes(symbol, wanted, &found.missing).await {
                    found.block = self.minute_block(symbol).await;
                    found.missing = self.missing_minutes(symbol, found.block.as_ref(), wanted).await;
                }
            }
            let over = found.failure.is_some() || found.out_of_time || round >= ROUNDS_MAX;
            if found.missing.is_empty() || over || !patience.fetches {
                break;
            }
            let plan = || self.minute_asks(symbol, &found.missing);
            let asks = self.0.intraday.claim(symbol, &found.missing, plan);
            if asks.is_empty() {
                let known = self.0.intraday.unserved.at(self.0.parts.clock.now());
                unserved = unserved.or_else(|| known.refusal(symbol, MINUTE, &found.missing));
                break;
            }
            let mut under_way: FuturesUnordered<_> = asks
                .iter()
                .map(|ask| async move { (ask, self.insist(symbol, ask, patience).await) })
                .collect();
            loop {
                let next = tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(patience.until) => {
                        found.out_of_time = true;
                        break;
                    }
                    Ok(()) = refusals.changed() => {
                        // What is under way fails alike; what waits would, too.
                        let refusal = refusals.borrow_and_update().clone();
                        found.failure = refusal.zip(asks.first().cloned()).map(|(error, ask)| (ask, error));
                        break;
                    }
                    next = under_way.next() => next,
                };
                match next {
                    Some((_, Ok(landed))) => {
                        found.calls += landed.calls;
                        found.bars += landed.bars;
                    }
                    Some((ask, Err(error))) => {
                        let now = self.0.parts.clock.now();
                        let narrowed = self.0.intraday.unserved.learn(ask, &error, now);
                        let failure = Some((ask.clone(), error));
                        // The rest of what was asked for is worth another question.
                        *if narrowed { &mut unserved } else { &mut found.failure } = failure;
                    }
                    None => break,
                }
            }
        }
        if !found.missing.is_empty() && !found.out_of_time {
            found.failure = found.failure.or(unserved);
        }
        found
    }

    /// Asks until there is an answer, the failure is final, or patience would end before the next try.
    async fn insist(&self, symbol: &Symbol, ask: &BarAsk, patience: Patience) -> Result<Landed, SourceError> {
        let requeue = &self.0.requeue;
        let mut again = requeue.pending(ask);
        loop {
            if let Some(again) = again.take() {
                if again.at >= patience.until {
                    return Err(again.error);
                }
                tokio::time::sleep_until(again.at).await;
            }
            match self.ask_minutes(symbol, ask, patience.errand).await {
                Err(error) if !is_final(&error) => {
                    again = Some(requeue.pending(ask).unwrap_or_else(|| requeue.soon(error)));
                }
                answer => return answer,
            }
        }
    }

    /// The sessions of `wanted` that are not held, or that still trade and were asked for too long ago.
    pub(crate) async fn missing_minutes(
        &self,
        symbol: &Symbol,
        block: Option<&Block>,
        wanted: Wanted,
    ) -> Vec<SessionDate> {
        let first = self.0.state.lock().await.first_session;
        let now = self.0.parts.clock.now();
        let held = |session: SessionDate| {
            first.is_some_and(|first| session < first)
                || block.is_some_and(|block| minutes::is_final(block, session, wanted.hours))
                || (!minutes::settled(session, wanted.hours, now)
                    && self
                        .0
                        .intraday
                        .asked_at(symbol, session)
                        .is_some_and(|at| now < at.after(self.0.config.provisional_ttl)))
        };
        let sessions = Calendar::us_equities().sessions(wanted.from, wanted.to);
        sessions.iter().copied().filter(|session| !held(*session)).collect()
    }

    /// The cells of a symbol that are not held, and the calls that would bring them.
    pub(crate) async fn minute_cost(&self, symbol: &Symbol, wanted: Wanted, stored: bool) -> (u64, u64) {
        let (_, wide) = self.stretches(symbol, wanted.from, wanted.to).await;
        let (mut cells, mut calls) = (0, 0);
        for stretch in wide {
            let wanted = Wanted { from: stretch.from, to: stretch.to, ..wanted };
            let look = stored || stretch.symbol != *symbol;
            let block = if look { self.minute_block(&stretch.symbol).await } else { None };
            let missing = self.missing_minutes(&stretch.symbol, block.as_ref(), wanted).await;
            cells += missing.len() as u64;
            calls += self.minute_asks(&stretch.symbol, &missing).len() as u64;
        }
        (cells, calls)
    }

    /// The calls that bring these sessions, newest first.
    fn minute_asks(&self, symbol: &Symbol, sessions: &[SessionDate]) -> Vec<BarAsk> {
        let Ok(mut missing) = Missing::new(1, sessions.to_vec()) else { return Vec::new() };
        missing.mark_span(SymbolId(0), 0..sessions.len());
        let missing = self.0.intraday.unserved.at(self.0.parts.clock.now()).servable(&missing);
        let bars_per_call = self.0.parts.source.offers().bars_per_call;
        let model = CostModel { bars_per_call, ..CostModel::minute() };
        let mut asks = Vec::new();
        for call in cover(&missing, &model).calls {
            // The model offers ranges only: minutes of a whole market are no matter of one symbol.
            if let Call::Range { from, to, .. } = call {
                asks.push(BarAsk::Range { symbol: symbol.clone(), timeframe: MINUTE, from, to });
            }
        }
        asks
    }

    /// What the store has of a symbol's minutes.
    pub(crate) async fn minute_block(&self, symbol: &Symbol) -> Option<Block> {
        let key = BlockKey::Symbol(MINUTE, symbol.clone());
        let found = self.0.parts.store.read(&self.0.market, std::slice::from_ref(&key)).await;
        found.into_iter().flatten().next().map(|found| found.block)
    }

    /// One question, joined with whoever asks the same.
    async fn ask_minutes(
        &self,
        symbol: &Symbol,
        ask: &BarAsk,
        errand: Errand,
    ) -> Result<Landed, SourceError> {
        if let Some(error) = self.0.requeue.refusal(ask) {
            return Err(error);
        }
        let engine = self.clone();
        let (symbol, question) = (symbol.clone(), ask.clone());
        let make = move |hurry: Arc<Notify>| {
            // From here on: a question of others that is joined stays on the list.
            let asking = Asking { inner: engine.0.clone(), symbol, ask: question };
            async move { engine.bring_minutes(asking, errand, &hurry).await }.boxed()
        };
        self.0.flights.join(ask, errand.urgency, make).await
    }

    async fn bring_minutes(
        &self,
        asking: Asking,
        errand: Errand,
        hurry: &Notify,
    ) -> Result<Landed, SourceError> {
        let inner = &self.0;
        let Ok(_place) = inner.intraday.calls.acquire().await else { return Ok(Landed::default()) };
        let asked_at = inner.parts.clock.now();
        let fetched = self.fetched(&asking.ask, errand, hurry).await;
        inner.requeue.answered(&asking.ask, fetched.as_ref().err());
        let fetched = fetched?;
        let (calls, bars) = (u64::from(fetched.calls), fetched.block.count_bars() as u64);
        self.keep_minutes(&asking.symbol, &asking.ask, fetched, asked_at).await;
        Ok(Landed { bars, calls })
    }

    async fn keep_minutes(&self, symbol: &Symbol, ask: &BarAsk, fetched: Fetched, asked_at: Timestamp) {
        let BarAsk::Range { from, to, .. } = *ask else { return };
        self.keep_sessions(symbol, (from, to), fetched, asked_at).await;
    }

    /// Keeps a symbol's minutes of these sessions; nothing older of them is left.
    pub(crate) async fn keep_sessions(
        &self,
        symbol: &Symbol,
        (from, to): (SessionDate, SessionDate),
        fetched: Fetched,
        asked_at: Timestamp,
    ) {
        let inner = &self.0;
        inner.intraday.note_refused(symbol, &fetched.quarantined);
        let lane = inner.intraday.lane(symbol).lock().await;
        let old = self.minute_block(symbol).await;
        let new = fetched.block;
        let join = move || minutes::joined(old.as_ref(), &new, from, to, asked_at);
        match tokio::task::spawn_blocking(join).await {
            Ok(Ok(block)) => self.write(BlockKey::Symbol(MINUTE, symbol.clone()), block).await,
            Ok(Err(error)) => tracing::warn!(%symbol, %error, "minutes were not joined"),
            Err(error) => tracing::warn!(%symbol, %error, "minutes were not joined"),
        }
        drop(lane);
        let calendar = Calendar::us_equities();
        if let Some(newest) = calendar.at_or_before(to).filter(|session| *session >= from) {
            // Counted from the answer: a question may wait for the rate limit longer than an answer is fresh.
            inner.intraday.note_asked(symbol, newest, inner.parts.clock.now());
        }
    }
}
