//! Bars of many symbols as they get ready, at the reader's pace.
//!
//! Minutes are made ready symbol by symbol, so many at once as there are workers, and no more are begun while the
//! reader has not taken what is ready: a request of any size holds a bounded number of symbols. Days come in groups,
//! because one call may bring the whole market: those that are held, those that ranges of their own complete, and the
//! rest. Dropping the stream ends all work for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use panscan_core::Kind;
use panscan_core::calendar::Calendar;
use panscan_core::cover::{Call, Missing};
use panscan_core::diagnostic::{Diagnostic, NAMED_MAX, Reason};
use panscan_core::port::SourceError;
use panscan_core::scan::DataPolicy;
use panscan_core::snapshot::SnapshotId;
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::{Timeframe, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bars::{BarsRequest, Settled, found_in};
use crate::error::EngineError;
use crate::fill::Filled;
use crate::intraday::MINUTE;
use crate::market::Engine;
use crate::origins::Elsewhere;
use crate::resident::Published;
use crate::run::{Cost, Pin, incomplete};
use crate::series::{Job, Outcome, SeriesAnswer, SeriesRequest, SymbolSeries, Trouble, of_days};

/// From midnight to the end of the extended hours.
const EXTENDED_END: Duration = Duration::from_secs(20 * 3600);
/// Events that wait for the reader.
const QUEUE: usize = 2;
/// Symbols with daily bars that are taken out of a snapshot at once.
pub(crate) const TAKEN_AT_ONCE: usize = 128;
/// Groups of symbols that are made ready at once: the one that waits for market days, and one of those that do not.
pub(crate) const GROUPS_AT_ONCE: usize = 2;

/// The beginning of an answer.
#[derive(Debug, Clone)]
pub struct SeriesHead {
    /// The snapshot at the time.
    pub published: Arc<Published>,
    /// The snapshot that shows the answer's bars. Where days are fetched for it, it can be pinned from the end on.
    pub snapshot: SnapshotId,
    /// The instant shown.
    pub until: Timestamp,
    /// Symbols that are known.
    pub symbols: usize,
    /// What it takes.
    pub cost: Cost,
}

/// A part of an answer.
#[derive(Debug)]
pub enum SeriesEvent {
    /// One symbol, whole.
    Bars(SymbolSeries),
    /// Something to know.
    Diagnostic(Diagnostic),
    /// The last one.
    End(SeriesEnd),
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeriesEnd {
    /// Symbols whose bars came.
    pub returned: u64,
    /// Symbols without an answer.
    pub failed: u64,
    /// Bars that came.
    pub bars: u64,
    /// Provider calls made for it.
    pub provider_calls: u64,
    /// Bars fetched for it.
    pub fetched_bars: u64,
    /// Whether every cell asked for was held.
    pub complete: bool,
    /// How long it took.
    pub elapsed: Duration,
}

/// Bars of many symbols as they get ready.
#[derive(Debug)]
pub struct SeriesStream {
    head: SeriesHead,
    events: mpsc::Receiver<Result<SeriesEvent, EngineError>>,
    // Ends with the stream.
    _driver: JoinSet<()>,
}

impl SeriesStream {
    /// What is known before the first symbol.
    #[must_use]
    pub fn head(&self) -> &SeriesHead {
        &self.head
    }

    /// The next part; `None` after the end.
    ///
    /// # Errors
    ///
    /// [`EngineError`] as the last part where nothing at all could be answered, or the deadline passed.
    pub async fn next(&mut self) -> Result<Option<SeriesEvent>, EngineError> {
        self.events.recv().await.transpose()
    }
}

pub(crate) type Reader = mpsc::Sender<Result<SeriesEvent, EngineError>>;

/// The reader is gone.
pub(crate) struct Gone;

async fn send(reader: &Reader, event: SeriesEvent) -> Result<(), Gone> {
    reader.send(Ok(event)).await.map_err(|_| Gone)
}

impl Engine {
    /// Starts to read bars of many symbols, fetching those that are missing as policy and deadline say. Under
    /// [`DataPolicy::RequireComplete`] it waits until all are held.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; an unknown symbol is a diagnostic, not an error.
    pub async fn stream(&self, request: SeriesRequest) -> Result<SeriesStream, EngineError> {
        let started = Instant::now();
        let of_minutes = matches!(request.timeframe, Timeframe::Minutes(_));
        let published = match of_minutes {
            true => self.pin(&request.pin).await?,
            false => self.pin_held(&request.pin).await?,
        };
        let until = self.shown_at(&request, &published);
        let snapshot = &published.snapshot;
        let (known, unknown) = found_in(&snapshot.universe, &request.symbols);
        let symbols: Vec<Symbol> = known.iter().map(|id| snapshot.universe.symbol(*id).clone()).collect();
        let mut tally = Tally::new(started);
        tally.unknown(&unknown, request.symbols.len() - known.len().min(request.symbols.len()));
        let head = |cost| SeriesHead {
            snapshot: published.snapshot.id.clone(),
            published: published.clone(),
            until: if of_minutes { until } else { snapshot.as_of },
            symbols: symbols.len(),
            cost: Cost { universe: snapshot.universe.len(), population: symbols.len(), ..cost },
        };
        let (reader, events) = mpsc::channel(QUEUE);
        let mut driver = JoinSet::new();
        let deadline = request.deadline;
        let engine = self.clone();
        let head = if let Timeframe::Minutes(minutes) = request.timeframe {
            if request.pin == Pin::Newest && request.policy != DataPolicy::CachedOnly {
                let newest = snapshot.newest();
                self.0.prefetch.asked(MINUTE, &request.symbols, 1, newest, self.clock().now());
            }
            let job = Arc::new(self.job(&request, minutes, until).await);
            let stored = self.0.parts.store.symbols(&self.0.market, MINUTE).await;
            let plan = self.minute_plan(&job, &symbols, &stored).await;
            let (head, files) = (head(plan.cost), plan.files);
            if request.policy == DataPolicy::RequireComplete {
                let all = self.all_held(&job, &symbols);
                match deadline {
                    Some(deadline) => tokio::time::timeout_at(deadline, all).await.unwrap_or(Err(LATE))?,
                    None => all.await?,
                }
            }
            let (ordered, pin) = (request.ordered, request.pin.clone());
            let mut tally = tally;
            driver.spawn(async move {
                let late = engine.delayed(&pin);
                let work = async {
                    let (calls, bars) = engine.bring_files(&job, &symbols, &files).await;
                    tally.fetched(calls, bars);
                    tally.elsewhere(late.into_iter());
                    engine.clone().send_minutes(job, symbols, ordered, tally, &reader).await
                };
                end(work, deadline, &reader).await;
            });
            head
        } else {
            let mut days = self.in_days(&request, snapshot);
            days.symbols = symbols.iter().map(ToString::to_string).collect();
            let lacking = self.lacking_days(&published, &known, &days).await;
            let cover = match &lacking {
                Some(lacking) => Some(self.cover(&snapshot.universe, lacking).await),
                None => None,
            };
            let mut cost = Cost::default();
            let fetches = request.policy != DataPolicy::CachedOnly;
            if let Some(cover) = &cover {
                cost = self.price(cover);
            }
            let mut head = head(cost);
            let mut promise = None;
            let mut groups = vec![symbols.clone()];
            if request.policy == DataPolicy::RequireComplete {
                // Held, or an error before anything is said.
                let held = self.settle(&days);
                let held = match deadline {
                    Some(deadline) => tokio::time::timeout_at(deadline, held).await.unwrap_or(Err(LATE))?,
                    None => held.await?,
                };
                tally.end.provider_calls += held.provider_calls;
                head.snapshot = held.published.snapshot.id.clone();
            } else if let (true, Some(lacking), Some(cover)) = (fetches, &lacking, &cover) {
                groups = grouped(&known, &symbols, lacking, &cover.calls, self.0.config.workers.max(1));
                if let Some(newest) = snapshot.newest() {
                    let promised = self.promise(newest);
                    head.snapshot = promised.id.clone();
                    promise = Some(promised);
                }
            }
            driver.spawn(async move {
                let work = async {
                    let (request, sender) = (Arc::new(request), engine.clone());
                    let mut tally = match request.ordered {
                        true => {
                            let order = (symbols, groups);
                            sender.send_days_in_order(request, days, until, order, tally, &reader).await?
                        }
                        false => sender.send_days(request, days, until, groups, tally, &reader).await?,
                    };
                    if let Some(promise) = promise
                        && let Err(error) = engine.redeem(promise).await
                    {
                        tally.failed(error);
                    }
                    Ok(tally)
                };
                end(work, deadline, &reader).await;
            });
            head
        };
        Ok(SeriesStream { head, events, _driver: driver })
    }

    /// The same as a whole, for few symbols.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream) and its parts.
    pub async fn series(&self, request: SeriesRequest) -> Result<SeriesAnswer, EngineError> {
        if !matches!(request.timeframe, Timeframe::Minutes(_)) {
            let pinned = self.pin(&request.pin).await?;
            let days = self.in_days(&request, &pinned.snapshot);
            let answer = self.bars(&days).await?;
            let until = self.shown_at(&request, &answer.published);
            let whole = |found| of_days(found, &request, until);
            return Ok(SeriesAnswer {
                until,
                series: answer.series.into_iter().map(whole).collect(),
                published: answer.published,
                complete: answer.complete,
                diagnostics: answer.diagnostics,
                provider_calls: answer.provider_calls,
            });
        }
        let mut stream = self.stream(SeriesRequest { ordered: true, ..request }).await?;
        let mut answer = SeriesAnswer {
            published: stream.head.published.clone(),
            until: stream.head.until,
            series: Vec::new(),
            complete: false,
            diagnostics: Vec::new(),
            provider_calls: 0,
        };
        while let Some(event) = stream.next().await? {
            match event {
                SeriesEvent::Bars(bars) => answer.series.push(bars),
                SeriesEvent::Diagnostic(diagnostic) => answer.diagnostics.push(diagnostic),
                SeriesEvent::End(end) => {
                    (answer.complete, answer.provider_calls) = (end.complete, end.provider_calls);
                }
            }
        }
        Ok(answer)
    }

    pub(crate) async fn lacking_days(
        &self,
        published: &Published,
        known: &[SymbolId],
        days: &BarsRequest,
    ) -> Option<Missing> {
        if matches!(days.pin, Pin::Snapshot(_)) {
            return None;
        }
        let snapshot = &published.snapshot;
        let newest = snapshot.newest().unwrap_or_default();
        let from = days.from.unwrap_or(snapshot.history_start);
        let sessions = Calendar::us_equities().sessions(from, days.to.unwrap_or(newest).min(newest));
        self.lacking(published, known, sessions, from >= snapshot.history_start, days.last).await
    }

    /// Has every symbol held; the first that cannot be is the error.
    async fn all_held(&self, job: &Arc<Job>, symbols: &[Symbol]) -> Result<(), EngineError> {
        let mut tasks = JoinSet::new();
        let mut waiting = symbols.iter();
        loop {
            while tasks.len() < self.0.config.workers.max(1)
                && let Some(symbol) = waiting.next()
            {
                let (engine, job, symbol) = (self.clone(), job.clone(), symbol.clone());
                tasks.spawn(async move { engine.symbol_series(&job, &symbol).await.trouble });
            }
            let Some(done) = tasks.join_next().await else { return Ok(()) };
            if let Some((cells, why)) = done.map_err(|error| EngineError::Internal(error.to_string()))? {
                return Err(refusal(cells, why));
            }
        }
    }

    /// That what is new is late, where the provider's plan makes it so.
    fn delayed(&self, pin: &Pin) -> Option<Diagnostic> {
        let delay = self.0.parts.source.delay().filter(|_| *pin == Pin::Newest)?;
        let calendar = Calendar::us_equities();
        let now = self.clock().now();
        // Once everything of the session has come, nothing is late any more.
        let session = calendar.current(now)?;
        let over = calendar.midnight(session).after(EXTENDED_END).after(delay);
        if now >= over {
            return None;
        }
        let minutes = delay.as_secs() / 60;
        let message = format!("the provider's plan serves bars {minutes} minutes late");
        let mut found = Diagnostic::new(Reason::StaleData, message);
        found.age = Some(delay);
        found.subject = self.0.parts.source.name().to_string();
        Some(found)
    }

    async fn send_minutes(
        self,
        job: Arc<Job>,
        symbols: Vec<Symbol>,
        ordered: bool,
        mut tally: Tally,
        reader: &Reader,
    ) -> Result<Tally, Gone> {
        let workers = self.0.config.workers.max(1);
        let mut tasks = JoinSet::new();
        let mut waiting = symbols.into_iter().enumerate();
        let mut ready: BTreeMap<usize, Outcome> = BTreeMap::new();
        let mut next = 0;
        loop {
            while tasks.len() + ready.len() < workers
                && let Some((place, symbol)) = waiting.next()
            {
                let (engine, job) = (self.clone(), job.clone());
                tasks.spawn(async move { (place, engine.symbol_series(&job, &symbol).await) });
            }
            let Some(done) = tasks.join_next().await else { break };
            let Ok((place, outcome)) = done else {
                tally.end.failed += 1;
                tally.end.complete = false;
                continue;
            };
            if !ordered {
                tally.pass(outcome, reader).await?;
                continue;
            }
            ready.insert(place, outcome);
            while let Some(outcome) = ready.remove(&next) {
                next += 1;
                tally.pass(outcome, reader).await?;
            }
        }
        Ok(tally)
    }

    async fn send_days(
        self,
        request: Arc<SeriesRequest>,
        days: BarsRequest,
        until: Timestamp,
        groups: Vec<Vec<Symbol>>,
        mut tally: Tally,
        reader: &Reader,
    ) -> Result<Tally, Gone> {
        let mut tasks = JoinSet::new();
        let mut waiting = groups.into_iter().filter(|group| !group.is_empty());
        loop {
            while tasks.len() < GROUPS_AT_ONCE
                && let Some(group) = waiting.next()
            {
                let symbols = group.iter().map(ToString::to_string).collect();
                let days = BarsRequest { symbols, ..days.clone() };
                let (engine, request, reader) = (self.clone(), request.clone(), reader.clone());
                tasks.spawn(async move { engine.send_group(&request, &days, until, &reader).await });
            }
            let Some(done) = tasks.join_next().await else { return Ok(tally) };
            match done {
                Ok(Ok(Ok(part))) => tally.add(part),
                Ok(Ok(Err(gone))) => return Err(gone),
                Ok(Err(error)) => tally.failed(error),
                Err(error) => tally.failed(EngineError::Internal(error.to_string())),
            }
        }
    }

    async fn send_group(
        &self,
        request: &SeriesRequest,
        days: &BarsRequest,
        until: Timestamp,
        reader: &Reader,
    ) -> Result<Result<Tally, Gone>, EngineError> {
        let mut tally = Tally::new(Instant::now());
        let settled = self.settle(days).await?;
        tally.settled(&settled);
        let (mut elsewhere, primary) = (Elsewhere::default(), &settled.published.snapshot.provider);
        for symbols in settled.known.chunks(TAKEN_AT_ONCE) {
            let series = self.take(&settled, symbols, days).await;
            elsewhere.add(&series, primary);
            for found in series {
                if tally.bars(of_days(found, request, until), reader).await.is_err() {
                    return Ok(Err(Gone));
                }
            }
        }
        tally.last.extend(elsewhere.diagnostics(primary));
        Ok(Ok(tally))
    }
}

const LATE: EngineError = EngineError::Deadline { stage: "fetching bars" };

/// Waits for the work and says how it ended.
async fn end(work: impl Future<Output = Result<Tally, Gone>>, deadline: Option<Instant>, reader: &Reader) {
    let done = match deadline {
        Some(deadline) => match tokio::time::timeout_at(deadline, work).await {
            Ok(done) => done,
            Err(_) => {
                drop(reader.send(Err(LATE)).await);
                return;
            }
        },
        None => work.await,
    };
    if let Ok(tally) = done {
        // Where the reader has gone nothing is left to say.
        drop(tally.finish(reader).await);
    }
}

/// Splits symbols into those that miss nothing, those that ranges of their own complete, so many at a time, and those
/// that wait for whole market days. The last come first: they take longest.
fn grouped(
    known: &[SymbolId],
    symbols: &[Symbol],
    lacking: &Missing,
    calls: &[Call],
    at_a_time: usize,
) -> Vec<Vec<Symbol>> {
    let mut ranges: BTreeMap<SymbolId, Vec<(usize, usize)>> = BTreeMap::new();
    let sessions = lacking.sessions();
    for call in calls {
        if let Call::Range { symbol, from, to } = call {
            let span = (sessions.partition_point(|d| d < from), sessions.partition_point(|d| d <= to));
            ranges.entry(*symbol).or_default().push(span);
        }
    }
    let (mut held, mut single, mut market) = (Vec::new(), Vec::new(), Vec::new());
    for (id, symbol) in known.iter().zip(symbols) {
        let mut missed = (0..sessions.len()).filter(|s| lacking.is_missing(*id, *s)).peekable();
        let own = ranges.get(id).map_or(&[][..], Vec::as_slice);
        let group = if missed.peek().is_none() {
            &mut held
        } else if missed.all(|s| own.iter().any(|(from, to)| (*from..*to).contains(&s))) {
            &mut single
        } else {
            &mut market
        };
        group.push(symbol.clone());
    }
    let mut groups = vec![market, held];
    groups.extend(single.chunks(at_a_time).map(<[Symbol]>::to_vec));
    groups
}

fn refusal(cells: u64, why: Trouble) -> EngineError {
    let mut filled = Filled::default();
    match why {
        Trouble::Failed(_, error @ SourceError::Key { .. }) => return error.into(),
        Trouble::Failed(Some(ask), error) => filled.failures.push((ask, error)),
        Trouble::Failed(None, error) => {
            return EngineError::Incomplete { cells, why: error.to_string() };
        }
        Trouble::OutOfTime => filled.out_of_time = true,
        Trouble::NotHeld => {}
    }
    incomplete(cells, Some(&filled), None)
}

/// What was sent, and what is still to be said.
pub(crate) struct Tally {
    started: Instant,
    end: SeriesEnd,
    /// Symbols that are named together at the end.
    late: Named,
    not_held: Named,
    refused: Named,
    /// Failures that were said one by one.
    said: usize,
    failure: Option<SourceError>,
    error: Option<EngineError>,
    /// Diagnostics for the end.
    last: Vec<Diagnostic>,
}

/// Symbols of one diagnostic with the number of their cells.
#[derive(Default)]
struct Named {
    symbols: Vec<Symbol>,
    count: u64,
    cells: u64,
}

impl Named {
    fn add(&mut self, symbol: &Symbol, cells: u64) {
        if self.symbols.len() < NAMED_MAX {
            self.symbols.push(symbol.clone());
        }
        self.count += 1;
        self.cells += cells;
    }

    fn said(self, reason: Reason, kind: Option<Kind>, message: String) -> Option<Diagnostic> {
        let mut diagnostic = Diagnostic::new(reason, message).about(&self.symbols);
        (diagnostic.count, diagnostic.kind) = (self.count, kind);
        (self.count > 0).then_some(diagnostic)
    }
}

impl Tally {
    fn new(started: Instant) -> Self {
        Self {
            started,
            end: SeriesEnd { complete: true, ..SeriesEnd::default() },
            late: Named::default(),
            not_held: Named::default(),
            refused: Named::default(),
            said: 0,
            failure: None,
            error: None,
            last: Vec::new(),
        }
    }

    fn unknown(&mut self, symbols: &[Symbol], count: usize) {
        self.end.failed += count as u64;
        if !symbols.is_empty() {
            self.end.complete = false;
            self.last.push(Diagnostic::new(Reason::SymbolUnknown, "not in the universe").about(symbols));
        }
    }

    fn add(&mut self, part: Self) {
        self.end.returned += part.end.returned;
        self.end.bars += part.end.bars;
        self.end.provider_calls += part.end.provider_calls;
        self.end.complete &= part.end.complete;
        self.last.extend(part.last);
    }

    /// Counts a group that is ready.
    pub(crate) fn settled(&mut self, settled: &Settled) {
        self.end.provider_calls += settled.provider_calls;
        self.end.complete &= settled.complete;
        self.last.extend(settled.diagnostics.iter().cloned());
    }

    /// Notes a failure of all or of some; the first is said.
    pub(crate) fn failed(&mut self, error: EngineError) {
        self.error = self.error.take().or(Some(error));
    }

    /// What to say at the end.
    pub(crate) fn elsewhere(&mut self, said: impl Iterator<Item = Diagnostic>) {
        self.last.extend(said);
    }

    pub(crate) async fn bars(&mut self, series: SymbolSeries, reader: &Reader) -> Result<(), Gone> {
        self.end.returned += 1;
        self.end.bars += series.bars.len() as u64;
        send(reader, SeriesEvent::Bars(series)).await
    }

    /// Counts what files brought for all.
    fn fetched(&mut self, calls: u64, bars: u64) {
        self.end.provider_calls += calls;
        self.end.fetched_bars += bars;
    }

    /// Hands over what came of one symbol.
    async fn pass(&mut self, outcome: Outcome, reader: &Reader) -> Result<(), Gone> {
        self.end.provider_calls += outcome.calls;
        self.end.fetched_bars += outcome.fetched_bars;
        let symbol = outcome.series.symbol.clone();
        let empty = outcome.series.bars.is_empty();
        if let Some((rows, first)) = outcome.refused {
            let message = format!("{rows} minutes failed validation and are left out, e.g. {first}");
            let found = Diagnostic::new(Reason::BarsQuarantined, message).about([&symbol]);
            send(reader, SeriesEvent::Diagnostic(found)).await?;
        }
        let troubled = outcome.trouble.is_some();
        if let Some((cells, why)) = outcome.trouble {
            self.end.complete = false;
            match why {
                Trouble::OutOfTime => self.late.add(&symbol, cells),
                Trouble::NotHeld => self.not_held.add(&symbol, cells),
                Trouble::Failed(Some(ask), error) if self.said < NAMED_MAX => {
                    self.said += 1;
                    let (reason, kind) = match error {
                        SourceError::RateLimited { .. } => (Reason::RateBudgetPartial, Kind::Busy),
                        _ => (Reason::SymbolFetchFailed, Kind::Upstream),
                    };
                    let message = format!("{cells} sessions are missing; {ask}: {error}");
                    let mut found = Diagnostic::new(reason, message).about([&symbol]);
                    found.kind = Some(kind);
                    self.failure = self.failure.take().or(Some(error));
                    send(reader, SeriesEvent::Diagnostic(found)).await?;
                }
                Trouble::Failed(_, error) => {
                    self.refused.add(&symbol, cells);
                    self.failure = self.failure.take().or(Some(error));
                }
            }
        }
        if troubled && empty {
            self.end.failed += 1;
            return Ok(());
        }
        self.bars(outcome.series, reader).await
    }

    async fn finish(mut self, reader: &Reader) -> Result<(), Gone> {
        let nothing = self.end.bars == 0;
        let error = self.error.take().or_else(|| self.failure.clone().filter(|_| nothing).map(Into::into));
        if let Some(error) = error {
            return reader.send(Err(error)).await.map_err(|_| Gone);
        }
        let (late, not_held, refused) = (self.late.cells, self.not_held.cells, self.refused.cells);
        let why = self.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        let groups = [
            self.refused.said(
                Reason::SymbolFetchFailed,
                Some(Kind::Upstream),
                format!("{refused} sessions are missing: {why}"),
            ),
            self.late.said(
                Reason::DeadlinePartial,
                Some(Kind::Timeout),
                format!("the deadline came first; {late} sessions are missing"),
            ),
            self.not_held.said(
                Reason::SymbolNoBars,
                None,
                format!("{not_held} sessions are not held, and the call makes no provider call for them"),
            ),
        ];
        for diagnostic in groups.into_iter().flatten().chain(self.last) {
            send(reader, SeriesEvent::Diagnostic(diagnostic)).await?;
        }
        self.end.elapsed = self.started.elapsed();
        send(reader, SeriesEvent::End(self.end)).await
    }
}
