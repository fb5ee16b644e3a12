//! One scan as of every n-th session of a range, streamed session by session.
//!
//! All sessions of an answer see one universe, one list of splits and what is held; each sees of them what a scan as of
//! its own end sees. A long range goes in stretches whose bars fit a bound of memory, a stretch in batches whose
//! results do; no batch is begun while the reader has not taken the one before. Dropping the stream ends the work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use panscan_core::Kind;
use panscan_core::calendar::Calendar;
use panscan_core::cross;
use panscan_core::diagnostic::{Diagnostic, Reason};
use panscan_core::history::{HistoryBars, HistoryJob, SessionRows};
use panscan_core::named::is_default;
use panscan_core::plan::{NodeId, Plan};
use panscan_core::port::{Cancel, Errand};
use panscan_core::rank::RankedRows;
use panscan_core::scan::{Adjustment, DataPolicy, ScanSpec};
use panscan_core::select::Named;
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::SessionDate;
use panscan_core::universe::{Population, Universe};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::diagnose;
use crate::error::EngineError;
use crate::market::Engine;
use crate::resident::Published;
use crate::run::{CancelOnDrop, Cost, Pin, ScanRequest, early, incomplete};
use crate::wide::{Asking, Known, Stretch, is_complete};

/// Sessions that wait for the reader.
const QUEUE: usize = 16;
/// Bytes of bars of one stretch.
const STRETCH_BYTES: usize = 640 << 20;
/// Sessions of a stretch at least.
const STRETCH_MIN: usize = 64;
/// Bytes of columns, or of rows, of one batch.
const BATCH_BYTES: usize = 96 << 20;
/// Sessions of the first batch, so that the reader does not wait for long, and of a later one.
const BATCH_SESSIONS: (usize, usize) = (21, 256);

/// A scan of many sessions.
#[derive(Debug, Clone)]
pub struct HistoryRequest {
    /// What to scan.
    pub spec: ScanSpec,
    /// As of the end of each of these sessions, ascending.
    pub sessions: Vec<SessionDate>,
    /// What to do about missing bars.
    pub policy: DataPolicy,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// On whose behalf provider calls are made.
    pub errand: Errand,
}

/// The beginning of an answer.
#[derive(Debug, Clone)]
pub struct HistoryHead {
    /// Unique per run.
    pub scan_id: String,
    /// The plan.
    pub plan: Arc<Plan>,
    /// The newest snapshot when the call came; universe and splits are its.
    pub published: Arc<Published>,
    /// What it takes, as far as the first stretch of sessions goes.
    pub cost: Cost,
    /// First and last session.
    pub range: (SessionDate, SessionDate),
    /// History start of the first session.
    pub history_start: SessionDate,
    /// Whether attributes are what they were at each session.
    pub point_in_time: bool,
}

/// One session's answer.
#[derive(Debug)]
pub struct HistorySession {
    /// As of its end.
    pub session: SessionDate,
    /// Symbols of the population.
    pub scanned: usize,
    /// Whether every cell that it needs was held.
    pub complete: bool,
    /// Its rows; ids are those of the head's universe.
    pub rows: RankedRows,
}

/// How an answer ended; counts are over all sessions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistoryEnd {
    /// Sessions.
    pub sessions: u64,
    /// Counts of all of them, without rows.
    pub rows: RankedRows,
    /// Rows returned.
    pub returned: u64,
    /// Symbols of the populations.
    pub scanned: u64,
    /// Whether every session is complete.
    pub complete: bool,
    /// Provider calls made for it.
    pub provider_calls: u64,
    /// Bars fetched for it.
    pub fetched_bars: u64,
    /// Planning, waiting for the provider, computing and ranking, all of it.
    pub plan: Duration,
    /// See above.
    pub fetch: Duration,
    /// See above.
    pub compute: Duration,
    /// See above.
    pub elapsed: Duration,
}

/// A part of an answer.
#[derive(Debug)]
pub enum HistoryEvent {
    /// One session, whole.
    Session(HistorySession),
    /// Something to know.
    Diagnostic(Diagnostic),
    /// The last one.
    End(Box<HistoryEnd>),
}

/// Sessions as they get ready, in order.
#[derive(Debug)]
pub struct HistoryStream {
    head: HistoryHead,
    universe: Snapshot,
    events: mpsc::Receiver<Result<HistoryEvent, EngineError>>,
    // Ends with the stream.
    _driver: JoinSet<()>,
}

impl HistoryStream {
    /// What is known before the first session.
    #[must_use]
    pub fn head(&self) -> &HistoryHead {
        &self.head
    }

    /// A snapshot with the universe that the ids of rows belong to.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.universe
    }

    /// The next part; `None` after the end.
    ///
    /// # Errors
    ///
    /// [`EngineError`] as the last part where the deadline passed or computing failed.
    pub async fn next(&mut self) -> Result<Option<HistoryEvent>, EngineError> {
        self.events.recv().await.transpose()
    }
}

type Reader = mpsc::Sender<Result<HistoryEvent, EngineError>>;

/// Why the work ended early.
enum Ended {
    /// The reader is gone.
    Gone,
    Failed(EngineError),
}

impl From<EngineError> for Ended {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

async fn send(reader: &Reader, event: HistoryEvent) -> Result<(), Ended> {
    reader.send(Ok(event)).await.map_err(|_| Ended::Gone)
}

/// What is the same for every session.
struct Desk {
    engine: Engine,
    plan: Arc<Plan>,
    named: Arc<Named>,
    known: Known,
    /// Whoever takes part at any of the sessions.
    population: Population,
    beside: Vec<SymbolId>,
    policy: DataPolicy,
    until: Option<Instant>,
    errand: Errand,
    cancel: Cancel,
    point_in_time: bool,
}

impl Engine {
    /// Starts a scan as of each of the sessions.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; where something is missing and the policy wants everything, before the first session.
    pub async fn history(&self, request: HistoryRequest) -> Result<HistoryStream, EngineError> {
        let deadline = request.deadline;
        let begun = self.begin_history(request);
        match deadline {
            None => begun.await,
            Some(deadline) => tokio::time::timeout_at(deadline, begun)
                .await
                .unwrap_or(Err(EngineError::Deadline { stage: "fetching bars" })),
        }
    }

    async fn begin_history(&self, request: HistoryRequest) -> Result<HistoryStream, EngineError> {
        let started = Instant::now();
        let scan = ScanRequest { spec: request.spec, ..ScanRequest::default() };
        self.check(&scan)?;
        let plan = self.0.plans.get(&scan.spec)?;
        if !is_default(&scan.spec.universe.universe) || plan.universes().next().is_some() {
            return Err(EngineError::Unimplemented {
                what: "a named universe over many sessions".to_owned(),
            });
        }
        self.0.parts.compute.rouse();
        let number = self.0.scans.fetch_add(1, Ordering::Relaxed);
        let planned = started.elapsed();
        let base = self.pin(&Pin::Newest).await?;
        let newest = base.snapshot.newest();
        let (Some(first), Some(last)) = (request.sessions.first(), request.sessions.last()) else {
            let message = "there is no session in the range; give a range of trading days".to_owned();
            return Err(EngineError::BadField { field: "start_date", message });
        };
        let range = (*first, *last);
        if newest.is_none_or(|newest| range.1 > newest) {
            let newest = newest.map(|newest| newest.to_string()).unwrap_or_default();
            let message = format!(
                "{} has not ended; the newest session that has is {newest}",
                request.sessions[request.sessions.len() - 1]
            );
            return Err(EngineError::BadField { field: "end_date", message });
        }
        let start = Calendar::us_equities().history_start(range.0, self.0.config.history_daily);
        let dividends = match plan.adjustment {
            Adjustment::SplitsAndDividends => Some(self.dividends(start).await?),
            _ => None,
        };
        let known = {
            let state = self.0.state.lock().await;
            if let Some(oldest) = state.first_session.filter(|oldest| range.0 < *oldest) {
                let (asked, first) = (format!("session {}", range.0), oldest.to_string());
                return Err(EngineError::BeforeHistory { asked, first });
            }
            let (universe, splits) = (state.universe.clone(), state.splits.clone());
            Known { base: base.clone(), universe, splits, dividends }
        };
        let universe = known.universe.clone();
        let named = Arc::new(Named::new(&plan.universe, &universe));
        let present = newest == Some(range.0);
        let desk = Desk {
            engine: self.clone(),
            population: ever(&named, &plan, &universe, range),
            beside: plan.benchmarks().filter_map(|symbol| universe.find(symbol)).collect(),
            point_in_time: present || plan.is_point_in_time(&universe),
            named,
            known,
            policy: request.policy,
            until: request.deadline.map(early),
            errand: request.errand,
            cancel: Cancel::default(),
            plan: plan.clone(),
        };
        let mut stretches = desk.stretches(&request.sessions).await;
        let waiting = Instant::now();
        let front = stretches.remove(0);
        let opened = desk.stretch(&front).await?;
        if request.policy == DataPolicy::RequireComplete {
            // All of it, before the first row leaves.
            desk.all_held(&opened)?;
            for dates in &stretches {
                desk.all_held(&desk.stretch(dates).await?)?;
            }
        }
        if let Some(refusal) = opened.filled.as_ref().and_then(|filled| filled.refusal())
            && opened.bars.panel().total_bars() == 0
        {
            return Err(refusal.clone().into());
        }
        let waited = waiting.elapsed();
        let head = HistoryHead {
            scan_id: format!("{}-{number:x}", base.snapshot.id),
            cost: Cost {
                universe: universe.len(),
                population: desk.population.count(),
                ..opened.cost.unwrap_or_default()
            },
            published: base,
            range,
            history_start: start,
            point_in_time: desk.point_in_time,
            plan,
        };
        let (reader, events) = mpsc::channel(QUEUE);
        let end = HistoryEnd { complete: true, plan: planned, fetch: waited, ..HistoryEnd::default() };
        let snapshot = opened.bars.snapshot().clone();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _guard = CancelOnDrop(desk.cancel.clone());
            let work = desk.drive((front, opened), stretches, end, &reader);
            let done = match request.deadline {
                None => work.await,
                Some(deadline) => {
                    let late = EngineError::Deadline { stage: "scanning past sessions" };
                    tokio::time::timeout_at(deadline, work).await.unwrap_or(Err(Ended::Failed(late)))
                }
            };
            // Where the reader has gone nothing is left to say.
            match done {
                Ok(end) => {
                    let end = HistoryEnd { elapsed: started.elapsed(), ..end };
                    drop(send(&reader, HistoryEvent::End(Box::new(end))).await);
                }
                Err(Ended::Failed(error)) => drop(reader.send(Err(error)).await),
                Err(Ended::Gone) => {}
            }
        });
        Ok(HistoryStream { head, universe: snapshot, events, _driver: driver })
    }
}

/// Whoever may take part at a session of the range.
fn ever(named: &Named, plan: &Plan, universe: &Universe, range: (SessionDate, SessionDate)) -> Population {
    let delisted = plan.universe.include_delisted;
    let is_in = |(id, named): (SymbolId, &bool)| {
        let i = id.index();
        let came = universe.list_date()[i].is_none_or(|from| from <= range.1);
        let stayed = universe.delist_date()[i].map_or(universe.active()[i] || delisted, |to| to >= range.0);
        *named && (universe.active()[i] || (came && stayed))
    };
    Population::new(universe.ids().zip(named.members()).map(is_in).collect())
}

impl Desk {
    /// The sessions cut into stretches that fit the bound of memory.
    async fn stretches(&self, sessions: &[SessionDate]) -> Vec<Vec<SessionDate>> {
        let calendar = Calendar::us_equities();
        let start = |date: &SessionDate| calendar.history_start(*date, self.engine.0.config.history_daily);
        let each = self.known.universe.len().max(1) * panscan_core::bar::Field::COUNT * size_of::<f64>();
        let most = (STRETCH_BYTES / each).max(1);
        if let Some(first) = sessions.first()
            && self.engine.reaches(&self.known.base, start(first)).await
        {
            return vec![sessions.to_vec()];
        }
        let mut stretches: Vec<Vec<SessionDate>> = Vec::new();
        for date in sessions {
            let fits = |open: &&mut Vec<SessionDate>| {
                let first = open.first().map_or(*date, &start);
                open.len() < STRETCH_MIN || calendar.count(first, *date) <= most
            };
            match stretches.last_mut().filter(fits) {
                Some(open) => open.push(*date),
                None => stretches.push(vec![*date]),
            }
        }
        stretches
    }

    async fn stretch(&self, dates: &[SessionDate]) -> Result<Stretch, EngineError> {
        let asking = Asking {
            population: &self.population,
            beside: &self.beside,
            bars: self.bars(),
            policy: self.policy,
            until: self.until,
            errand: self.errand,
        };
        self.engine.stretch(&self.known, dates, &asking).await
    }

    /// Bars that a session needs, where it does not need all.
    fn bars(&self) -> Option<usize> {
        (!self.plan.is_recursive()).then(|| self.plan.bars_read() as usize)
    }

    fn all_held(&self, stretch: &Stretch) -> Result<(), EngineError> {
        let Some(still) = &stretch.still else { return Ok(()) };
        let unserved = self.engine.0.unserved.at(self.engine.clock().now());
        Err(incomplete(still.cells(), stretch.filled.as_ref(), unserved.why(still)))
    }

    async fn drive(
        &self,
        (front, opened): (Vec<SessionDate>, Stretch),
        stretches: Vec<Vec<SessionDate>>,
        mut end: HistoryEnd,
        reader: &Reader,
    ) -> Result<HistoryEnd, Ended> {
        for diagnostic in self.diagnostics(opened.bars.snapshot()) {
            send(reader, HistoryEvent::Diagnostic(diagnostic)).await?;
        }
        let mut worst: (usize, Option<SessionDate>) = (0, None);
        self.over(front, opened, &mut end, &mut worst, reader).await?;
        for dates in stretches {
            let waiting = Instant::now();
            let stretch = self.stretch(&dates).await?;
            end.fetch += waiting.elapsed();
            self.over(dates, stretch, &mut end, &mut worst, reader).await?;
        }
        if let (short, Some(session)) = worst {
            let needed = self.plan.bars_needed();
            let message = format!(
                "as of {session}, the worst of the sessions, {short} symbols have fewer than the {needed} bars that \
                 the longest lookback takes; such values are null"
            );
            let mut found = Diagnostic::new(Reason::InsufficientHistory, message);
            found.count = short as u64;
            send(reader, HistoryEvent::Diagnostic(found)).await?;
        }
        Ok(end)
    }

    /// What is to be said of the whole range.
    fn diagnostics(&self, snapshot: &Snapshot) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let unknown = &self.named.unknown_symbols;
        if !unknown.is_empty() {
            let known: Vec<Symbol> = unknown.iter().filter_map(|s| Symbol::new(s).ok()).collect();
            let mut said = Diagnostic::new(Reason::SymbolUnknown, "not in the universe").about(&known);
            said.count = unknown.len() as u64;
            found.push(said);
        }
        if !self.point_in_time {
            found.push(diagnose::not_point_in_time());
        }
        found.extend(diagnose::coverage(&self.plan, snapshot, &self.population));
        found.extend(diagnose::benchmarks(&self.plan, snapshot));
        found
    }

    /// One stretch, batch by batch.
    async fn over(
        &self,
        dates: Vec<SessionDate>,
        mut stretch: Stretch,
        end: &mut HistoryEnd,
        worst: &mut (usize, Option<SessionDate>),
        reader: &Reader,
    ) -> Result<(), Ended> {
        end.provider_calls += stretch.calls;
        end.fetched_bars += stretch.fetched;
        let mut place = stretch.place.take();
        let unserved = self.engine.0.unserved.at(self.engine.clock().now());
        if let Some(still) = &stretch.still {
            let filled = stretch.filled.as_ref();
            for mut said in diagnose::still_missing(stretch.bars.snapshot(), still, filled, &unserved) {
                if said.kind == Some(Kind::Timeout) {
                    let (from, to) = (dates[0], dates[dates.len() - 1]);
                    said.message = format!("{}, of what the sessions from {from} to {to} need", said.message);
                }
                send(reader, HistoryEvent::Diagnostic(said)).await?;
            }
        }
        let batch = self.batch();
        let mut done = 0;
        while done < dates.len() {
            let first = end.sessions == 0;
            let size = if first { batch.min(BATCH_SESSIONS.0) } else { batch };
            let now = &dates[done..(done + size).min(dates.len())];
            let computing = Instant::now();
            let permit = self.engine.0.admission.enter(place.take()).await?;
            let answers = self.compute(&stretch.bars, now, permit).await?;
            end.compute += computing.elapsed();
            for (date, answer) in now.iter().zip(answers) {
                let moment = self.engine.moment(&stretch.bars, *date);
                let complete = stretch.still.as_ref().is_none_or(|still| {
                    is_complete(&stretch.bars, still, &self.population, &self.beside, moment, self.bars())
                });
                if answer.short > worst.0 {
                    *worst = (answer.short, Some(answer.session));
                }
                end.count(&answer, complete);
                let SessionRows { session, scanned, rows, .. } = answer;
                let event = HistorySession { session, scanned, complete, rows };
                send(reader, HistoryEvent::Session(event)).await?;
            }
            done += now.len();
        }
        Ok(())
    }

    /// Sessions of a batch, whose columns and rows stay within their bound.
    fn batch(&self) -> usize {
        let plan = &self.plan;
        let roots: Vec<NodeId> = plan.roots();
        let symbols = self.known.universe.len().max(1);
        // Beside the plan's own there are counts of bars and what the selector reads.
        let columns = (cross::ground_of_series(plan, &roots).len() + 4) * symbols;
        let rows = (plan.outputs.len() + 1) * plan.limit.min(symbols);
        let each = columns.max(rows) * size_of::<f64>();
        (BATCH_BYTES / each.max(1)).clamp(1, BATCH_SESSIONS.1)
    }

    async fn compute(
        &self,
        bars: &Arc<HistoryBars>,
        dates: &[SessionDate],
        permit: impl Send + 'static,
    ) -> Result<Vec<SessionRows>, EngineError> {
        let moments: Vec<_> = dates.iter().map(|date| self.engine.moment(bars, *date)).collect();
        let (plan, bars, named) = (self.plan.clone(), bars.clone(), self.named.clone());
        let (compute, cancel) = (self.engine.0.parts.compute.clone(), self.cancel.clone());
        let work = move || {
            let job =
                HistoryJob { plan: &plan, bars: &bars, named: &named, moments: &moments, cancel: &cancel };
            let answers = compute.history(&job);
            drop(permit);
            answers
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| EngineError::Internal(format!("the computation ended: {error}")))?
            .map_err(EngineError::from)
    }
}

impl HistoryEnd {
    fn count(&mut self, answer: &SessionRows, complete: bool) {
        let (sum, rows) = (&mut self.rows, &answer.rows);
        sum.matched += rows.matched;
        sum.filter_false += rows.filter_false;
        sum.filter_null += rows.filter_null;
        sum.no_bars += rows.no_bars;
        self.sessions += 1;
        self.returned += rows.symbols.len() as u64;
        self.scanned += answer.scanned as u64;
        self.complete &= complete;
    }
}
