//! Expressions at every bar: of symbols whose bars are held or can be fetched, and of bars that came along.
//!
//! Days, weeks and months are those of one snapshot, so that the last value is the scan's; minutes are read as
//! [`crate::stream`] reads them. Symbols are computed a few at a time on threads for blocking work and handed over in
//! order; no more are begun while the reader has not taken what is ready. Dropping the stream ends the work.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use panscan_core::attribute::attribute_column;
use panscan_core::bar::Field;
use panscan_core::calendar::Calendar;
use panscan_core::diagnostic::{Diagnostic, Reason};
use panscan_core::expr::plan_series;
use panscan_core::plan::{NodeId, Op, Plan};
use panscan_core::port::{Cancel, Errand, SeriesJob};
use panscan_core::range::BarRange;
use panscan_core::resample::{Series, bars_per_session, period};
use panscan_core::scan::{
    Adjustment, Backend, BarSelection, DataPolicy, Precision, ScanSpec, SessionHours, UniverseSelector,
};
use panscan_core::series::{Resident, given, of_stranger, spread};
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::{Timeframe, Timestamp};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::bars::found_in;
use crate::diagnose;
use crate::error::EngineError;
use crate::market::Engine;
use crate::missing::Need;
use crate::resident::Published;
use crate::run::{CancelOnDrop, Cost, Pin, ScanRequest, incomplete, known_universes};
use crate::series::SeriesRequest;
use crate::stream::{SeriesEnd, SeriesEvent};

/// Columns of a request that names none: the default four.
const DEFAULT_COLUMNS: [&str; 4] = ["sma(5)", "sma(20)", "vwap(20)", "rsi(14)"];
/// Events that wait for the reader.
const QUEUE: usize = 2;
/// Symbols of a snapshot that one piece of work takes.
const AT_ONCE: usize = 16;
/// Bars of minutes that are read of a symbol at most, those for warming up included.
const MINUTE_BARS_MAX: usize = 100_000;

/// Bars that came with a request.
#[derive(Debug, Clone, Default)]
pub struct GivenBars {
    /// Whose; a benchmark is found by it. May be empty.
    pub symbol: String,
    /// The bars.
    pub bars: Series,
}

/// Expressions over bars.
#[derive(Debug, Clone)]
pub struct IndicatorsRequest {
    /// The expressions; none: the default four.
    pub columns: Vec<String>,
    /// Whose bars, where none came along.
    pub symbols: Vec<String>,
    /// Bars to compute on instead; nothing is fetched or stored for them.
    pub given: Vec<GivenBars>,
    /// Interval of the bars.
    pub timeframe: Timeframe,
    /// Bars for which values are returned; none: the newest 500, or all that came along.
    pub range: Option<BarRange>,
    /// How prices of held bars are adjusted.
    pub adjustment: Adjustment,
    /// The symbol that benchmarks mean.
    pub benchmark: String,
    /// On which snapshot.
    pub pin: Pin,
    /// What to do about missing bars.
    pub policy: DataPolicy,
    /// What should run it; none: the server's choice.
    pub backend: Option<Backend>,
    /// Width of the arithmetic.
    pub precision: Precision,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// On whose behalf provider calls are made.
    pub errand: Errand,
}

impl Default for IndicatorsRequest {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            symbols: Vec::new(),
            given: Vec::new(),
            timeframe: Timeframe::Day,
            range: None,
            adjustment: Adjustment::default(),
            benchmark: ScanSpec::default().benchmark,
            pin: Pin::Newest,
            policy: DataPolicy::BestEffort,
            backend: None,
            precision: Precision::F64,
            deadline: None,
            errand: Errand::interactive(0),
        }
    }
}

/// The beginning of an answer.
#[derive(Debug, Clone)]
pub struct IndicatorsHead {
    /// Unique per run.
    pub scan_id: String,
    /// The snapshot of held bars.
    pub published: Option<Arc<Published>>,
    /// The plan; its outputs are the columns.
    pub plan: Arc<Plan>,
    /// What it takes.
    pub cost: Cost,
    /// No bar later than this takes part.
    pub as_of: Timestamp,
    /// No bar before this one does.
    pub history_start: Timestamp,
}

/// One symbol's values.
#[derive(Debug, Clone, Default)]
pub struct IndicatorValues {
    /// Whose.
    pub symbol: String,
    /// Start of each bar.
    pub start: Vec<Timestamp>,
    /// Per output, one value per bar; NaN is null.
    pub columns: Vec<Vec<f64>>,
}

/// A part of an answer.
#[derive(Debug)]
pub enum IndicatorsEvent {
    /// One symbol, whole.
    Values(IndicatorValues),
    /// Something to know.
    Diagnostic(Diagnostic),
    /// The last one.
    End(SeriesEnd),
}

/// Values of many symbols as they get ready.
#[derive(Debug)]
pub struct IndicatorsStream {
    head: IndicatorsHead,
    events: mpsc::Receiver<Result<IndicatorsEvent, EngineError>>,
    // Ends with the stream.
    _driver: JoinSet<()>,
}

impl IndicatorsStream {
    /// What is known before the first symbol.
    #[must_use]
    pub fn head(&self) -> &IndicatorsHead {
        &self.head
    }

    /// The next part; `None` after the end.
    ///
    /// # Errors
    ///
    /// [`EngineError`] as the last part where the deadline passed or computing failed.
    pub async fn next(&mut self) -> Result<Option<IndicatorsEvent>, EngineError> {
        self.events.recv().await.transpose()
    }
}

type Reader = mpsc::Sender<Result<IndicatorsEvent, EngineError>>;

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

async fn send(reader: &Reader, event: IndicatorsEvent) -> Result<(), Ended> {
    reader.send(Ok(event)).await.map_err(|_| Ended::Gone)
}

/// What is the same for every symbol.
#[derive(Clone)]
struct Desk {
    engine: Engine,
    plan: Arc<Plan>,
    nodes: Arc<[NodeId]>,
    range: Option<BarRange>,
    cancel: Cancel,
}

type Computed = Result<Vec<IndicatorValues>, EngineError>;

/// Work under way, handed over in order.
struct Line {
    tasks: VecDeque<JoinHandle<Computed>>,
    room: usize,
    end: SeriesEnd,
}

impl Line {
    fn new(room: usize) -> Self {
        let end = SeriesEnd { complete: true, ..SeriesEnd::default() };
        Self { tasks: VecDeque::new(), room: room.max(1), end }
    }

    /// Begins a piece of work once there is room for it.
    async fn begin(
        &mut self,
        desk: &Desk,
        reader: &Reader,
        work: impl FnOnce(&Desk) -> Computed + Send + 'static,
    ) -> Result<(), Ended> {
        while self.tasks.len() >= self.room {
            self.pass(reader).await?;
        }
        let permit = desk.engine.0.admission.enter(None).await?;
        let desk = desk.clone();
        self.tasks.push_back(tokio::task::spawn_blocking(move || {
            let computed = work(&desk);
            drop(permit);
            computed
        }));
        Ok(())
    }

    async fn pass(&mut self, reader: &Reader) -> Result<(), Ended> {
        let Some(task) = self.tasks.pop_front() else { return Ok(()) };
        let ended = |error| EngineError::Internal(format!("the computation ended: {error}"));
        for values in task.await.map_err(ended)?? {
            self.end.returned += 1;
            self.end.bars += values.start.len() as u64;
            send(reader, IndicatorsEvent::Values(values)).await?;
        }
        Ok(())
    }

    async fn finish(&mut self, reader: &Reader) -> Result<(), Ended> {
        while !self.tasks.is_empty() {
            self.pass(reader).await?;
        }
        Ok(())
    }
}

impl Engine {
    /// Starts to compute expressions at every bar of a range, of symbols or of bars that came along.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; an unknown symbol is a diagnostic, not an error.
    pub async fn indicators(&self, request: IndicatorsRequest) -> Result<IndicatorsStream, EngineError> {
        let deadline = request.deadline;
        let begun = self.begin_indicators(request);
        match deadline {
            None => begun.await,
            Some(deadline) => tokio::time::timeout_at(deadline, begun)
                .await
                .unwrap_or(Err(EngineError::Deadline { stage: "fetching bars" })),
        }
    }

    async fn begin_indicators(&self, request: IndicatorsRequest) -> Result<IndicatorsStream, EngineError> {
        let started = Instant::now();
        let named = |columns: Vec<String>| match columns.is_empty() {
            true => DEFAULT_COLUMNS.map(str::to_owned).to_vec(),
            false => columns,
        };
        let scan = ScanRequest {
            spec: ScanSpec {
                columns: named(request.columns),
                timeframe: request.timeframe,
                adjustment: request.adjustment,
                benchmark: request.benchmark,
                universe: UniverseSelector {
                    symbols: request.symbols.clone(),
                    include_delisted: true,
                    ..UniverseSelector::default()
                },
                ..ScanSpec::default()
            },
            pin: request.pin,
            policy: request.policy,
            backend: request.backend,
            precision: request.precision,
            deadline: request.deadline,
            errand: request.errand,
            ..ScanRequest::default()
        };
        self.check(&scan)?;
        let plan = Arc::new(plan_series(&scan.spec)?);
        if let Some(current) = self.0.resident.current() {
            known_universes(&scan.spec, &plan, &current).map_err(bare)?;
        }
        let number = self.0.scans.fetch_add(1, Ordering::Relaxed);
        let desk = Desk {
            engine: self.clone(),
            nodes: plan.outputs.iter().map(|output| output.node).collect(),
            plan: plan.clone(),
            range: request.range,
            cancel: Cancel::default(),
        };
        let threads = self.0.config.threads;
        let (reader, events) = mpsc::channel(QUEUE);
        let mut driver = JoinSet::new();
        let head;
        if request.symbols.is_empty() {
            if plan.nodes.iter().any(|node| matches!(node.op, Op::At(_))) {
                return Err(EngineError::Unimplemented { what: "x@timeframe on bars sent along".to_owned() });
            }
            let cost = Cost { population: request.given.len(), ..Cost::default() };
            let ends = |end: fn(&[Timestamp]) -> Option<&Timestamp>| {
                request.given.iter().filter_map(move |given| end(&given.bars.start).copied())
            };
            head = IndicatorsHead {
                scan_id: format!("given-{number:x}"),
                published: None,
                plan,
                cost,
                as_of: ends(<[_]>::last).max().unwrap_or_default(),
                history_start: ends(<[_]>::first).min().unwrap_or_default(),
            };
            let given: Arc<[GivenBars]> = request.given.into();
            let (cancel, mine) = (desk.cancel.clone(), reader.clone());
            drive(&mut driver, cancel, request.deadline, started, reader, async move {
                let mut line = Line::new(threads);
                for place in 0..given.len() {
                    let given = given.clone();
                    line.begin(&desk, &mine, move |desk| desk.over_given(&given, place)).await?;
                }
                line.finish(&mine).await?;
                Ok(line.end)
            });
        } else if let Timeframe::Minutes(minutes) = request.timeframe {
            let range = request.range.unwrap_or_default();
            let mut source = self
                .stream(SeriesRequest {
                    symbols: request.symbols,
                    timeframe: request.timeframe,
                    range: warmed(range, minutes, &plan),
                    hours: SessionHours::Regular,
                    selection: BarSelection::IncludeForming,
                    adjustment: request.adjustment,
                    pin: scan.pin,
                    until: None,
                    policy: request.policy,
                    deadline: request.deadline,
                    errand: request.errand,
                    limit: MINUTE_BARS_MAX,
                    ordered: true,
                })
                .await?;
            let published = source.head().published.clone();
            let cost = source.head().cost;
            let snapshot = &published.snapshot;
            let attributes: HashMap<NodeId, Vec<f64>> = given(&plan, &desk.nodes)
                .into_iter()
                .map(|node| (node, attribute_column(&plan, node, snapshot)))
                .collect();
            let scan_id = format!("{}-{number:x}", snapshot.id);
            let universe = snapshot.universe.clone();
            let (as_of, start) = (source.head().until, snapshot.history_start);
            let history_start = Calendar::us_equities().midnight(start);
            head = IndicatorsHead { scan_id, published: Some(published), plan, cost, as_of, history_start };
            let attributes = Arc::new(attributes);
            let desk = Desk { range: Some(range), ..desk };
            let (cancel, mine) = (desk.cancel.clone(), reader.clone());
            drive(&mut driver, cancel, request.deadline, started, reader, async move {
                let mut line = Line::new(threads);
                let mut end = SeriesEnd::default();
                while let Some(event) = source.next().await? {
                    match event {
                        SeriesEvent::Bars(found) => {
                            let (attributes, id) = (attributes.clone(), universe.find(found.symbol.as_str()));
                            let work = move |desk: &Desk| {
                                let known = |node| {
                                    let column = attributes.get(&node).zip(id);
                                    column.map_or(f64::NAN, |(column, id)| column[id.index()])
                                };
                                let name = found.symbol.to_string();
                                desk.over(name, &found.bars, &known, &|_, _| Vec::new()).map(|v| vec![v])
                            };
                            line.begin(&desk, &mine, work).await?;
                        }
                        SeriesEvent::Diagnostic(found) => {
                            send(&mine, IndicatorsEvent::Diagnostic(found)).await?;
                        }
                        SeriesEvent::End(found) => end = found,
                    }
                }
                line.finish(&mine).await?;
                Ok(SeriesEnd { returned: line.end.returned, bars: line.end.bars, ..end })
            });
        } else {
            let held = self.held_days(&scan, &plan, &request.symbols).await?;
            let snapshot = &held.published.snapshot;
            let scan_id = format!("{}-{number:x}", snapshot.id);
            let published = Some(held.published.clone());
            let (as_of, cost) = (snapshot.as_of, held.cost);
            let history_start = Calendar::us_equities().midnight(snapshot.history_start);
            head = IndicatorsHead { scan_id, published, plan, cost, as_of, history_start };
            let desk = Desk { range: Some(request.range.unwrap_or_default()), ..desk };
            let (cancel, mine) = (desk.cancel.clone(), reader.clone());
            drive(&mut driver, cancel, request.deadline, started, reader, async move {
                let mut line = Line::new(threads);
                for ids in held.known.chunks(AT_ONCE) {
                    let (published, ids) = (held.published.clone(), ids.to_vec());
                    line.begin(&desk, &mine, move |desk| desk.over_days(&published, &ids)).await?;
                }
                line.finish(&mine).await?;
                for diagnostic in held.diagnostics {
                    send(&mine, IndicatorsEvent::Diagnostic(diagnostic)).await?;
                }
                Ok(SeriesEnd { returned: line.end.returned, bars: line.end.bars, ..held.end })
            });
        }
        Ok(IndicatorsStream { head, events, _driver: driver })
    }

    /// Has the days of the symbols held, as far as policy and deadline go.
    async fn held_days(
        &self,
        scan: &ScanRequest,
        plan: &Plan,
        symbols: &[String],
    ) -> Result<HeldDays, EngineError> {
        let published = self.pin(&scan.pin).await?;
        // The range and what warms up before it reach to history start or nearly.
        let done = self.complete(plan, Need::Since(0), scan, published).await?;
        let snapshot = &done.published.snapshot;
        let (known, unknown) = found_in(&snapshot.universe, symbols);
        let mut diagnostics = Vec::new();
        if !unknown.is_empty() {
            diagnostics.push(Diagnostic::new(Reason::SymbolUnknown, "not in the universe").about(&unknown));
        }
        if let Some(still) = &done.still {
            let unserved = self.0.unserved.at(self.clock().now());
            if scan.policy == DataPolicy::RequireComplete {
                return Err(incomplete(still.cells(), done.filled.as_ref(), unserved.why(still)));
            }
            diagnostics.extend(diagnose::still_missing(snapshot, still, done.filled.as_ref(), &unserved));
        }
        diagnostics.extend(diagnose::benchmarks(plan, snapshot));
        if plan.adjustment == Adjustment::SplitsAndDividends {
            self.pay(&done.published).await?;
        }
        let cost = Cost {
            universe: snapshot.universe.len(),
            population: known.len(),
            ..done.first_cost.unwrap_or_default()
        };
        let end = SeriesEnd {
            failed: unknown.len() as u64,
            provider_calls: done.calls,
            fetched_bars: done.bars,
            complete: done.still.is_none() && unknown.is_empty(),
            ..SeriesEnd::default()
        };
        Ok(HeldDays { published: done.published, known, cost, diagnostics, end })
    }
}

/// Symbols whose days are there, or not to be had.
struct HeldDays {
    published: Arc<Published>,
    known: Vec<SymbolId>,
    cost: Cost,
    diagnostics: Vec<Diagnostic>,
    end: SeriesEnd,
}

/// Does the work until the deadline or until the reader has gone, and says how it ended.
fn drive(
    driver: &mut JoinSet<()>,
    cancel: Cancel,
    deadline: Option<Instant>,
    started: Instant,
    reader: Reader,
    work: impl Future<Output = Result<SeriesEnd, Ended>> + Send + 'static,
) {
    driver.spawn(async move {
        let _guard = CancelOnDrop(cancel);
        let late = || Err(Ended::Failed(EngineError::Deadline { stage: "computing indicators" }));
        let done = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| late()),
            None => work.await,
        };
        // Where the reader has gone nothing is left to say.
        match done {
            Ok(end) => {
                let end = SeriesEnd { elapsed: started.elapsed(), ..end };
                drop(send(&reader, IndicatorsEvent::End(end)).await);
            }
            Err(Ended::Failed(error)) => drop(reader.send(Err(error)).await),
            Err(Ended::Gone) => {}
        }
    });
}

impl Desk {
    fn over_days(&self, published: &Published, ids: &[SymbolId]) -> Computed {
        let snapshot = &published.snapshot;
        let resident = Resident::new(&self.plan, snapshot, &self.nodes)?;
        let calendar = Calendar::us_equities();
        let of = |id: &SymbolId| {
            let found = resident.of(&*self.engine.0.parts.compute, *id, &self.cancel)?;
            let start = found.sessions.iter().map(|session| calendar.midnight(*session)).collect();
            let symbol: &Symbol = snapshot.universe.symbol(*id);
            Ok(self.cut(IndicatorValues { symbol: symbol.to_string(), start, columns: found.columns }))
        };
        ids.iter().map(of).collect()
    }

    fn over_given(&self, given: &[GivenBars], place: usize) -> Computed {
        let own = &given[place];
        let known = |node| of_stranger(&self.plan, node);
        let beside = |symbol: &str, field: Field| {
            let theirs = given.iter().find(|other| other.symbol.eq_ignore_ascii_case(symbol));
            let value = |at: &Timestamp| {
                let row = theirs.and_then(|t| t.bars.start.binary_search(at).ok().map(|row| (t, row)));
                row.map_or(f64::NAN, |(theirs, row)| theirs.bars.column(field)[row])
            };
            own.bars.start.iter().map(value).collect()
        };
        Ok(vec![self.over(own.symbol.clone(), &own.bars, &known, &beside)?])
    }

    fn over(
        &self,
        symbol: String,
        bars: &Series,
        given: &dyn Fn(NodeId) -> f64,
        beside: &dyn Fn(&str, Field) -> Vec<f64>,
    ) -> Result<IndicatorValues, EngineError> {
        let columns = self.engine.0.parts.compute.series(&SeriesJob {
            plan: &self.plan,
            nodes: &self.nodes,
            bars: &bars.columns,
            given,
            beside,
            cancel: &self.cancel,
        })?;
        let columns = spread(columns, bars.len());
        Ok(self.cut(IndicatorValues { symbol, start: bars.start.clone(), columns }))
    }

    /// Leaves the bars of the range.
    fn cut(&self, mut values: IndicatorValues) -> IndicatorValues {
        let calendar = Calendar::us_equities();
        let all = values.start.len();
        let before = |at: Timestamp| values.start.partition_point(|start| *start < at);
        let (first, end) = match self.range {
            None => (0, all),
            Some(BarRange::Last(bars)) => (all.saturating_sub(bars), all),
            Some(BarRange::Instants(from, to)) => (from.map_or(0, before), to.map_or(all, before)),
            Some(BarRange::Sessions(from, to)) => {
                let timeframe = self.plan.timeframe;
                let first = from.map(|day| calendar.midnight(period(timeframe, day).0));
                let end = to.map(|day| calendar.midnight(day.plus(1)));
                (first.map_or(0, before), end.map_or(all, before))
            }
        };
        values.start.truncate(end);
        values.start.drain(..first.min(end));
        for column in &mut values.columns {
            column.truncate(end);
            column.drain(..first.min(end));
        }
        values
    }
}

/// The range with the bars before it that its first value needs.
fn warmed(range: BarRange, minutes: u16, plan: &Plan) -> BarRange {
    let calendar = Calendar::us_equities();
    let bars = plan.bars_settled().max(plan.bars_read()) as usize;
    let each = bars_per_session(minutes, SessionHours::Regular).max(1);
    // A quarter more, as not every minute trades.
    let sessions = (bars + bars / 4).div_ceil(each);
    let back = |day| calendar.back(day, sessions).unwrap_or_else(|| calendar.first());
    match range {
        BarRange::Last(last) => BarRange::Last(last.saturating_add(bars)),
        BarRange::Sessions(from, to) => BarRange::Sessions(from.map(back), to),
        BarRange::Instants(from, to) => {
            let earlier = |at| calendar.midnight(back(calendar.session_of(at)));
            BarRange::Instants(from.map(earlier), to)
        }
    }
}

/// An error of an expression with the place that it has in this request.
fn bare(error: EngineError) -> EngineError {
    let EngineError::Plan(mut plan) = error else { return error };
    for error in &mut plan.errors {
        error.field = error.field.strip_prefix("scan.").unwrap_or(&error.field).to_owned();
    }
    plan.into()
}
