//! Fetching ahead of need: what is missing of some symbols and timeframes, with how far it has come.
//!
//! The bars come as they do for a reader ([`crate::stream`]), who here only counts. What was kept when it ends, however
//! it ends, is not fetched again.

use std::sync::Arc;
use std::time::Duration;

use panscan_core::cover::Missing;
use panscan_core::diagnostic::Diagnostic;
use panscan_core::port::Errand;
use panscan_core::range::BarRange;
use panscan_core::scan::{Adjustment, BarSelection, DataPolicy, SessionHours};
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::Timeframe;
use panscan_core::universe::Universe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::bars::found_in;
use crate::error::EngineError;
use crate::intraday::MINUTE;
use crate::market::{Engine, held};
use crate::run::Pin;
use crate::series::SeriesRequest;
use crate::stream::SeriesEvent;

/// How often it is said how far it has come.
const TICK: Duration = Duration::from_secs(1);
/// Messages that wait for the reader.
const QUEUE: usize = 2;

/// What to fetch.
#[derive(Debug, Clone)]
pub struct WarmRequest {
    /// Whose; empty: everybody's.
    pub symbols: Vec<String>,
    /// Of which intervals.
    pub timeframes: Vec<Timeframe>,
    /// Which bars; none: the resident history.
    pub range: Option<BarRange>,
    /// When it ends, done or not.
    pub deadline: Option<Instant>,
    /// On whose behalf.
    pub errand: Errand,
    /// Only say what it would take.
    pub dry_run: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Default)]
pub struct Warmed {
    /// Cells that were missing and are held by now.
    pub cells_done: u64,
    /// Cells that were missing at first.
    pub cells_total: u64,
    /// Provider calls made since, those for others included until it is over.
    pub provider_calls: u64,
    /// How long the rest takes at the limit.
    pub remaining: Duration,
    /// Something to know.
    pub diagnostic: Option<Diagnostic>,
    /// This is the last message.
    pub done: bool,
}

/// The messages; dropping it ends the work.
#[derive(Debug)]
pub struct WarmStream {
    messages: mpsc::Receiver<Result<Warmed, EngineError>>,
    _driver: JoinSet<()>,
}

impl WarmStream {
    /// The next message; `None` after the last. The first comes at once and says what is missing.
    ///
    /// # Errors
    ///
    /// [`EngineError`] as the last message where it cannot go on, e.g. as the provider refuses the key.
    pub async fn next(&mut self) -> Result<Option<Warmed>, EngineError> {
        self.messages.recv().await.transpose()
    }
}

/// The bars of one timeframe.
struct Part {
    ask: SeriesRequest,
    universe: Arc<Universe>,
    /// Missing days; minutes are counted by symbol.
    lacking: Option<Missing>,
    cells: u64,
    calls: u64,
    symbols: u64,
}

/// What is counted while it runs.
struct Tally {
    reader: mpsc::Sender<Result<Warmed, EngineError>>,
    total: u64,
    /// Cells of parts that are over.
    before: u64,
    /// Calls of parts that come later.
    later: u64,
    calls_at_start: u64,
}

/// The reader is gone.
struct Gone;

impl Engine {
    /// Starts to fetch what is missing.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where what is missing cannot be told.
    pub async fn warm(&self, request: WarmRequest) -> Result<WarmStream, EngineError> {
        let mut parts = Vec::new();
        for timeframe in &request.timeframes {
            parts.push(self.part(&request, *timeframe).await?);
        }
        let (reader, messages) = mpsc::channel(QUEUE);
        let sum = |of: fn(&Part) -> u64| parts.iter().map(of).sum::<u64>();
        let mut tally = Tally {
            reader,
            total: sum(|part| part.cells),
            before: 0,
            later: sum(|part| part.calls),
            calls_at_start: self.0.parts.source.stats().calls,
        };
        let first = Warmed {
            cells_total: tally.total,
            remaining: self.0.parts.source.estimate(tally.later),
            done: request.dry_run,
            ..Warmed::default()
        };
        let (engine, dry_run) = (self.clone(), request.dry_run);
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Where the reader has gone there is nobody to tell.
            if tally.reader.send(Ok(first)).await.is_ok() && !dry_run {
                drop(engine.fetch_parts(parts, &mut tally).await);
            }
        });
        Ok(WarmStream { messages, _driver: driver })
    }

    async fn part(&self, request: &WarmRequest, timeframe: Timeframe) -> Result<Part, EngineError> {
        let published = self.pin_held(&Pin::Newest).await?;
        let snapshot = &published.snapshot;
        let symbols = match &request.symbols[..] {
            [] => snapshot.universe.symbols().iter().map(ToString::to_string).collect(),
            named => named.to_vec(),
        };
        let ask = SeriesRequest {
            symbols,
            timeframe,
            range: request.range.unwrap_or(BarRange::Sessions(Some(snapshot.history_start), None)),
            hours: SessionHours::Regular,
            selection: BarSelection::default(),
            adjustment: Adjustment::Raw,
            pin: Pin::Newest,
            until: None,
            policy: DataPolicy::BestEffort,
            deadline: request.deadline,
            errand: request.errand,
            limit: 0,
            ordered: false,
        };
        let (known, _) = found_in(&snapshot.universe, &ask.symbols);
        if let Timeframe::Minutes(minutes) = timeframe {
            let job = self.job(&ask, minutes, self.shown_at(&ask, &published)).await;
            let names: Vec<Symbol> = known.iter().map(|id| snapshot.universe.symbol(*id).clone()).collect();
            let stored = self.0.parts.store.symbols(&self.0.market, MINUTE).await;
            let cost = self.minute_plan(&job, &names, &stored).await.cost;
            let (cells, calls) = (cost.missing_cells, cost.calls);
            let universe = snapshot.universe.clone();
            return Ok(Part { ask, universe, lacking: None, cells, calls, symbols: names.len() as u64 });
        }
        let days = self.in_days(&ask, snapshot);
        let lacking = self.lacking_days(&published, &known, &days).await;
        let now = self.clock().now();
        let lacking = lacking.map(|lacking| self.0.unserved.at(now).servable(&lacking));
        let universe = snapshot.universe.clone();
        let (cells, calls) = match &lacking {
            Some(lacking) => {
                let cover = self.cover(&universe, lacking).await;
                (cover.cells, cover.requests)
            }
            None => (0, 0),
        };
        Ok(Part { ask, universe, lacking, cells, calls, symbols: known.len() as u64 })
    }

    async fn fetch_parts(&self, parts: Vec<Part>, tally: &mut Tally) -> Result<(), Gone> {
        let mut calls = 0;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.reset();
        for part in parts {
            tally.later = tally.later.saturating_sub(part.calls);
            let mut came = 0;
            let mut stream = match self.stream(part.ask.clone()).await {
                Ok(stream) => stream,
                Err(error) => return tally.failed(error).await,
            };
            loop {
                tokio::select! {
                    event = stream.next() => match event {
                        Ok(Some(SeriesEvent::Bars(_))) => came += 1,
                        Ok(Some(SeriesEvent::Diagnostic(said))) => {
                            let told = self.come(&part, came, tally).await;
                            tally.say(Warmed { diagnostic: Some(said), ..told }).await?;
                        }
                        Ok(Some(SeriesEvent::End(end))) => calls += end.provider_calls,
                        Ok(None) => break,
                        Err(error) => return tally.failed(error).await,
                    },
                    _ = tick.tick() => {
                        let told = self.come(&part, came, tally).await;
                        tally.say(told).await?;
                    }
                }
            }
            tally.before += self.come(&part, came, tally).await.cells_done - tally.before;
        }
        tally
            .say(Warmed {
                cells_done: tally.before,
                cells_total: tally.total,
                provider_calls: calls,
                done: true,
                ..Warmed::default()
            })
            .await
    }

    /// How far a part has come, of which `came` symbols are through.
    async fn come(&self, part: &Part, came: u64, tally: &Tally) -> Warmed {
        let (left, calls) = match &part.lacking {
            Some(lacking) => self.still(&part.universe, lacking).await,
            None => {
                let left = part.symbols.saturating_sub(came);
                let of = |all: u64| (all as f64 * left as f64 / part.symbols.max(1) as f64).ceil() as u64;
                (of(part.cells), of(part.calls))
            }
        };
        let source = &self.0.parts.source;
        Warmed {
            cells_done: tally.before + part.cells.saturating_sub(left),
            cells_total: tally.total,
            provider_calls: source.stats().calls.saturating_sub(tally.calls_at_start),
            remaining: source.estimate(calls + tally.later),
            diagnostic: None,
            done: false,
        }
    }

    /// How many of these cells are still missing, and the calls that they take.
    async fn still(&self, universe: &Universe, lacking: &Missing) -> (u64, u64) {
        let held = {
            let state = self.0.state.lock().await;
            let histories = state.histories(universe, lacking.sessions(), self.clock().now());
            held(&state, universe, lacking.sessions(), &histories)
        };
        let Ok(mut missing) = Missing::new(lacking.symbols(), lacking.sessions().to_vec()) else {
            return (0, 0);
        };
        for id in (0..lacking.symbols()).filter_map(|id| u32::try_from(id).ok().map(SymbolId)) {
            for session in 0..lacking.sessions().len() {
                if lacking.is_missing(id, session) && !held.has(id, session) {
                    missing.mark(id, session);
                }
            }
        }
        if missing.is_empty() {
            return (0, 0);
        }
        (missing.cells(), self.cover(universe, &missing).await.requests)
    }
}

impl Tally {
    async fn say(&self, message: Warmed) -> Result<(), Gone> {
        self.reader.send(Ok(message)).await.map_err(|_| Gone)
    }

    async fn failed(&self, error: EngineError) -> Result<(), Gone> {
        self.reader.send(Err(error)).await.map_err(|_| Gone)
    }
}
