//! Completing what is missing: the cover's calls, newest first, each made once however many scans want it, and
//! made again when it fails, until the caller's deadline.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use panscan_core::calendar::Calendar;
use panscan_core::cover::{Call, CostModel, Cover, Files, Missing, cover};
use panscan_core::life::Histories;
use panscan_core::port::{BarAsk, Errand, Fetched, SourceError, Urgency};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe};
use panscan_core::universe::Universe;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::flight::Landed;
use crate::market::{Engine, State};
use crate::notes;
use crate::requeue::{Backlog, is_final};
use crate::run::Cost;

/// How long a caller without a deadline goes on, a day; somebody has to look at what fails for longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// The same for work that nobody waits for; it comes back by itself.
const PATIENCE_BACKGROUND: Duration = Duration::from_secs(15 * 60);
/// A call of nobody in particular that somebody came to wait for gets this long to end; then it is asked again
/// with their urgency. One that is on the wire is likely to be through by then.
const HURRY: Duration = Duration::from_millis(250);

/// What a round of fetching brought.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    /// Provider calls made by questions that this round asked or joined.
    pub(crate) calls: u64,
    /// Bars that came.
    pub(crate) bars: u64,
    /// Questions without an answer: refused for good, or not again before the deadline.
    pub(crate) failures: Vec<(BarAsk, SourceError)>,
    /// It was learned that some of what was asked for is not served; another cover leaves that out.
    pub(crate) narrowed: bool,
    /// The deadline came first.
    pub(crate) out_of_time: bool,
}

impl Filled {
    /// The provider's refusal of the key, after which nothing else was asked.
    pub(crate) fn refusal(&self) -> Option<&SourceError> {
        self.failures.iter().map(|(_, error)| error).find(|error| matches!(error, SourceError::Key { .. }))
    }
}

/// Counts a round that somebody waits for, while it lasts.
struct Waits<'a>(&'a Engine);

impl<'a> Waits<'a> {
    fn new(engine: &'a Engine) -> Self {
        engine.0.interactive.fetch_add(1, Ordering::Relaxed);
        Self(engine)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.0.interactive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// The calls that would bring the missing cells, as far as the provider is known to serve them.
    pub(crate) async fn cover(&self, universe: &Universe, missing: &Missing) -> Cover {
        let offers = self.0.parts.source.offers();
        let symbols = missing.symbols() as u64;
        let daily = CostModel { bars_per_call: offers.bars_per_call.max(1), ..CostModel::daily(symbols) };
        let model = match (offers.market_days, offers.files_from) {
            (true, _) => daily,
            // What is held is held for every plan, also for one that needs a vwap, which files do not have: they
            // serve only where nothing else has whole sessions.
            (false, Some(from)) => {
                let files = Files::daily(from, self.0.parts.clock.now(), symbols);
                CostModel { market_rows: None, ..daily }.with_files(files)
            }
            (false, None) => CostModel { market_rows: None, ..daily },
        };
        let now = self.0.parts.clock.now();
        let unserved = self.0.unserved.at(now);
        let mut cover = cover(&unserved.servable(missing), &model);
        let histories = self.0.state.lock().await.histories(universe, missing.sessions(), now);
        for call in cover.calls.iter().filter(|_| !histories.is_empty()) {
            // A call for each ticker that the company had meanwhile.
            cover.requests += (asks(universe, &histories, call).len() as u64).saturating_sub(1);
        }
        cover
    }

    /// What a cover costs.
    pub(crate) fn price(&self, cover: &Cover) -> Cost {
        Cost {
            missing_cells: cover.cells,
            calls: cover.requests,
            kinds: cover.count(),
            fetch_bytes: cover.bytes,
            fetch_time: self.0.parts.source.estimate(cover.requests),
            ..Cost::default()
        }
    }

    /// Makes the calls of a cover. One that fails is queued again until `until`; one that is refused is not.
    pub(crate) async fn fill(
        &self,
        universe: &Universe,
        cover: &Cover,
        errand: Errand,
        until: Option<Instant>,
    ) -> Filled {
        let until = until.unwrap_or_else(|| {
            let background = errand.urgency == Urgency::Background;
            Instant::now() + if background { PATIENCE_BACKGROUND } else { PATIENCE }
        });
        let asks: Vec<BarAsk> = {
            let calendar = Calendar::us_equities();
            let sessions = [calendar.first(), calendar.last()];
            let histories =
                self.0.state.lock().await.histories(universe, &sessions, self.0.parts.clock.now());
            cover.calls.iter().flat_map(|call| asks(universe, &histories, call)).collect()
        };
        let _waits = (errand.urgency == Urgency::Interactive).then(|| Waits::new(self));
        // Others may have brought some of it since.
        let asks = match tokio::time::timeout_at(until, self.adopt(asks.clone())).await {
            Ok(open) => open,
            Err(_) => asks,
        };
        let (oldest, example) = (asks.iter().filter_map(day).min(), asks.first().cloned());
        let mut filled = Filled::default();
        let mut learned = false;
        let mut newest_with_bars: Option<SessionDate> = None;
        let mut refusals = self.0.requeue.refusals();
        let mut backlog = Backlog::new(asks);
        // Tasks of their own rather than futures polled from here: one of them may hold what another call made
        // from this loop waits for. Dropping the set ends them.
        let mut under_way = tokio::task::JoinSet::new();
        loop {
            while under_way.len() < self.0.config.workers.max(1)
                && let Some(ask) = backlog.next()
            {
                if filled.narrowed && self.0.unserved.at(self.0.parts.clock.now()).has_all(&ask) {
                    continue;
                }
                match self.0.requeue.pending(&ask) {
                    Some(again) if again.at >= until => filled.failures.push((ask, again.error)),
                    Some(again) => backlog.later(ask, again),
                    None => {
                        let engine = self.clone();
                        under_way.spawn(async move { (engine.ask(&ask, errand).await, ask) });
                    }
                }
            }
            let (idle, wakes) = (under_way.is_empty(), backlog.wakes());
            if idle && wakes.is_none() {
                break;
            }
            let full = under_way.len() >= self.0.config.workers.max(1);
            let next = tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => {
                    filled.out_of_time = true;
                    break;
                }
                Ok(()) = refusals.changed() => {
                    // What is under way fails alike; what waits would, too.
                    let refusal = refusals.borrow_and_update().clone();
                    if let (Some(error), Some(example)) = (refusal, example) {
                        filled.failures = vec![(example, error)];
                    }
                    return filled;
                }
                next = under_way.join_next(), if !idle => next,
                () = tokio::time::sleep_until(wakes.unwrap_or(until)), if wakes.is_some() && !full => continue,
            };
            let Some(Ok((answer, ask))) = next else { continue };
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
                        let learning = self.learn_first_session(session, oldest, errand);
                        filled.calls += tokio::time::timeout_at(until, learning).await.unwrap_or(0);
                    }
                }
                Err(error @ SourceError::Key { .. }) => {
                    // Every other call would fail alike: one clear error at once.
                    filled.failures = vec![(ask, error)];
                    return filled;
                }
                Err(error) if self.0.unserved.learn(&ask, &error, self.0.parts.clock.now()) => {
                    filled.narrowed = true;
                }
                Err(error) if is_final(&error) => filled.failures.push((ask, error)),
                Err(error) => match self.0.requeue.pending(&ask) {
                    Some(again) if again.at >= until => filled.failures.push((ask, error)),
                    Some(again) => backlog.later(ask, again),
                    // Its wait is over already, or nothing more can be remembered.
                    None => backlog.later(ask, self.0.requeue.soon(error)),
                },
            }
        }
        filled.failures.extend(backlog.abandoned());
        filled
    }

    /// Asks for the oldest day wanted. If it is as empty as the one at hand, everything in between is taken to be,
    /// and that is remembered as the provider's first session.
    async fn learn_first_session(&self, empty: SessionDate, oldest: SessionDate, errand: Errand) -> u64 {
        if oldest >= empty {
            return 0;
        }
        let Ok(probe) = self.ask(&BarAsk::Day(oldest), errand).await else { return 0 };
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
    async fn ask(&self, ask: &BarAsk, errand: Errand) -> Result<Landed, SourceError> {
        let early = day(ask).is_some_and(|d| self.0.unserved.at(self.0.parts.clock.now()).has(d));
        if early || is_held(&*self.0.state.lock().await, ask) {
            return Ok(Landed::default());
        }
        if let Some(error) = self.0.requeue.refusal(ask) {
            return Err(error);
        }
        let engine = self.clone();
        let question = ask.clone();
        let bring = move |hurry: std::sync::Arc<Notify>| {
            async move { engine.bring(&question, errand, &hurry).await }.boxed()
        };
        self.0.flights.join(ask, errand.urgency, bring).await
    }

    /// Fetches, keeps and marks as held.
    async fn bring(&self, ask: &BarAsk, errand: Errand, hurry: &Notify) -> Result<Landed, SourceError> {
        let fetched = self.fetched(ask, errand, hurry).await;
        self.0.requeue.answered(ask, fetched.as_ref().err());
        let fetched = fetched?;
        let landed = Landed { bars: fetched.block.count_bars() as u64, calls: u64::from(fetched.calls) };
        self.keep(ask, fetched).await;
        Ok(landed)
    }

    pub(crate) async fn fetched(
        &self,
        ask: &BarAsk,
        errand: Errand,
        hurry: &Notify,
    ) -> Result<Fetched, SourceError> {
        let source = &self.0.parts.source;
        if errand.urgency == Urgency::Interactive {
            return source.fetch(ask, errand).await;
        }
        let mut patient = source.fetch(ask, errand);
        tokio::select! {
            biased;
            fetched = &mut patient => return fetched,
            () = hurry.notified() => {}
        }
        if let Ok(fetched) = tokio::time::timeout(HURRY, &mut patient).await {
            return fetched;
        }
        drop(patient);
        source.fetch(ask, Errand::interactive(errand.caller)).await
    }
}

/// What to ask for: one question, or one for each ticker that a company had.
fn asks(universe: &Universe, histories: &Histories, call: &Call) -> Vec<BarAsk> {
    let range = |symbol: Symbol, from, to| BarAsk::Range { symbol, timeframe: Timeframe::Day, from, to };
    match *call {
        Call::Day(session) => vec![BarAsk::Day(session)],
        Call::FlatFile(session) => vec![BarAsk::FlatFile { timeframe: Timeframe::Day, session }],
        Call::Range { symbol, from, to } => match histories.asked(symbol, from, to) {
            None => vec![range(universe.symbol(symbol).clone(), from, to)],
            Some(stretches) => stretches.into_iter().map(|s| range(s.symbol, s.from, s.to)).collect(),
        },
    }
}

/// Whether nothing that is asked for is missing: a snapshot may be older than what came meanwhile.
pub(crate) fn is_held(state: &State, ask: &BarAsk) -> bool {
    match ask {
        BarAsk::Day(session) | BarAsk::FlatFile { session, .. } => {
            state.is_empty_session(*session) || state.days.contains(session)
        }
        BarAsk::Range { symbol, from, to, .. } => {
            let own = state.symbols.get(symbol);
            let held = |session| {
                own.is_some_and(|own| own.contains(session))
                    || state.days.contains(session)
                    || state.is_empty_session(*session)
            };
            Calendar::us_equities().sessions(*from, *to).iter().all(held)
        }
    }
}

fn day(ask: &BarAsk) -> Option<SessionDate> {
    match ask {
        BarAsk::Day(session) | BarAsk::FlatFile { timeframe: Timeframe::Day, session } => Some(*session),
        BarAsk::FlatFile { .. } | BarAsk::Range { .. } => None,
    }
}
