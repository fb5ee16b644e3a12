//! One scan: plan, pin, prefilter, complete, compute, and everything to be said about the answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use panscan_core::calendar::Calendar;
use panscan_core::cover::{Counts, Missing};
use panscan_core::diagnostic::{Diagnostic, Reason};
use panscan_core::expr::{PlanError, unknown_universes};
use panscan_core::plan::Plan;
use panscan_core::port::{Cancel, Errand, Memo, ScanJob, SourceError};
use panscan_core::rank::RankedRows;
use panscan_core::scan::{Adjustment, Backend, DataPolicy, Precision, ScanSpec};
use panscan_core::select::select;
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};
use panscan_core::universe::Population;
use tokio::time::Instant;

use crate::admit::Fetching;
use crate::diagnose;
use crate::error::EngineError;
use crate::fill::Filled;
use crate::market::Engine;
use crate::missing::{Need, missing};
use crate::resident::Published;

/// Cells (symbols x rows x nodes) up to which a scan runs on the thread that it is on: below half a millisecond,
/// less than it takes to wake another thread and be woken by it.
const INLINE_CELLS: u64 = 30_000_000;
/// Rounds of fetching: a symbol with gaps may need older cells after each.
pub(crate) const ROUNDS_MAX: usize = 64;

/// Which snapshot a scan runs on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pin {
    /// The newest.
    #[default]
    Newest,
    /// Exactly this one.
    Snapshot(String),
    /// What was known at an instant.
    AsOf(Timestamp),
}

/// A scan to run.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// What to scan.
    pub spec: ScanSpec,
    /// On what.
    pub pin: Pin,
    /// Ranked rows to leave out: those of earlier pages.
    pub skip: usize,
    /// What to do about missing bars.
    pub policy: DataPolicy,
    /// Bars older than this are refused; none: they are reported, by the server's own measure.
    pub max_staleness: Option<Duration>,
    /// What should run it; none: the server's choice.
    pub backend: Option<Backend>,
    /// Width of the arithmetic.
    pub precision: Precision,
    /// Stop at the plan.
    pub plan_only: bool,
    /// Use and keep node results.
    pub memo: bool,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// On whose behalf provider calls are made.
    pub errand: Errand,
}

impl Default for ScanRequest {
    fn default() -> Self {
        Self {
            spec: ScanSpec::default(),
            pin: Pin::Newest,
            skip: 0,
            policy: DataPolicy::BestEffort,
            max_staleness: None,
            backend: None,
            precision: Precision::F64,
            plan_only: false,
            memo: true,
            deadline: None,
            errand: Errand::interactive(0),
        }
    }
}

/// What a scan costs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Symbols of the universe.
    pub universe: usize,
    /// Symbols that pass the prefilter.
    pub population: usize,
    /// Cells that are not held.
    pub missing_cells: u64,
    /// Calls that would bring them.
    pub calls: u64,
    /// These calls by kind, and files, which count against no limit.
    pub kinds: Counts,
    /// Bytes of all their answers, estimated.
    pub fetch_bytes: u64,
    /// How long those calls take inside the rate limit.
    pub fetch_time: Duration,
    /// Bytes of bars that the computation reads.
    pub bytes: u64,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timing {
    /// Parsing and planning.
    pub plan: Duration,
    /// Waiting for the provider.
    pub fetch: Duration,
    /// Computing and ranking.
    pub compute: Duration,
}

/// The answer to a scan.
#[derive(Debug, Clone)]
pub struct ScanAnswer {
    /// Unique per run.
    pub scan_id: String,
    /// The one snapshot that all of it comes from.
    pub published: Arc<Published>,
    /// The plan.
    pub plan: Arc<Plan>,
    /// What it cost.
    pub cost: Cost,
    /// The rows; none when only the plan was asked for.
    pub rows: RankedRows,
    /// Symbols of the population.
    pub scanned: usize,
    /// Symbols refused for the age of their bars.
    pub stale: usize,
    /// Whether every cell that the plan needs was held and fresh.
    pub complete: bool,
    /// Whether what it says of the universe is what was so at its instant.
    pub point_in_time: bool,
    /// What else to know.
    pub diagnostics: Vec<Diagnostic>,
    /// Provider calls made for it.
    pub provider_calls: u64,
    /// Bars fetched for it.
    pub fetched_bars: u64,
    /// Where the time went.
    pub timing: Timing,
}

/// Cancels a computation when the future that waits for it is dropped.
pub(crate) struct CancelOnDrop(pub(crate) Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// What completing the data brought.
pub(crate) struct Completed {
    pub(crate) published: Arc<Published>,
    pub(crate) first_cost: Option<Cost>,
    pub(crate) filled: Option<Filled>,
    pub(crate) calls: u64,
    pub(crate) bars: u64,
    pub(crate) still: Option<Missing>,
    /// Where the caller waited for the provider.
    place: Option<Fetching>,
}

impl Engine {
    /// Runs a scan.
    ///
    /// Waits for the provider where cells are missing, until the deadline or as the policy says. If dropped,
    /// computing stops, and provider calls that nobody else waits for are not made.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; a partial answer is none.
    pub async fn scan(&self, request: &ScanRequest) -> Result<ScanAnswer, EngineError> {
        match request.deadline {
            None => self.run(request).await,
            Some(deadline) => tokio::time::timeout_at(deadline, self.run(request))
                .await
                .unwrap_or(Err(EngineError::Deadline { stage: "fetching and computing" })),
        }
    }

    async fn run(&self, request: &ScanRequest) -> Result<ScanAnswer, EngineError> {
        let started = Instant::now();
        self.check(request)?;
        if !request.plan_only {
            self.0.parts.compute.rouse();
        }
        let number = self.0.scans.fetch_add(1, Ordering::Relaxed);
        let plan = self.0.plans.get(&request.spec)?;
        let planned = started.elapsed();

        let published = self.pin(&request.pin).await?;
        known_universes(&request.spec, &plan, &published)?;
        if request.pin == Pin::Newest && !request.plan_only && plan.touches_bars() {
            let bars = if plan.is_recursive() { u32::MAX } else { plan.bars_read() };
            let symbols = &plan.universe.symbols;
            self.0.prefetch.asked(
                Timeframe::Day,
                symbols,
                bars,
                published.snapshot.newest(),
                self.clock().now(),
            );
        }
        let mut done = self.complete(&plan, Need::of(&plan), request, published).await?;
        let fetched = started.elapsed() - planned;
        let (published, place) = (done.published, done.place.take());
        let snapshot = &published.snapshot;
        if let Some(refusal) = done.filled.as_ref().and_then(Filled::refusal)
            && snapshot.daily.total_bars() == 0
        {
            // Not one row has a value: that is no answer.
            return Err(refusal.clone().into());
        }
        let selection = select(&plan.universe, snapshot);
        let mut population = selection.population;
        let scanned = population.count();

        let mut diagnostics = Vec::new();
        if !selection.unknown_symbols.is_empty() {
            let known: Vec<Symbol> =
                selection.unknown_symbols.iter().filter_map(|s| Symbol::new(s).ok()).collect();
            let mut unknown = Diagnostic::new(Reason::SymbolUnknown, "not in the universe").about(&known);
            unknown.count = selection.unknown_symbols.len() as u64;
            diagnostics.push(unknown);
        }
        let mut complete = true;
        if let Some(still) = &done.still {
            let unserved = self.0.unserved.at(self.clock().now());
            if request.policy == DataPolicy::RequireComplete && !request.plan_only {
                return Err(incomplete(still.cells(), done.filled.as_ref(), unserved.why(still)));
            }
            complete = false;
            diagnostics.extend(diagnose::still_missing(snapshot, still, done.filled.as_ref(), &unserved));
        }
        let stale = if plan.touches_bars() {
            self.refuse_stale(request, &published, &mut population, &mut complete, &mut diagnostics)
        } else {
            0
        };
        if request.policy == DataPolicy::RequireComplete && !complete && !request.plan_only {
            return Err(EngineError::Incomplete {
                cells: stale as u64,
                why: format!("{stale} symbols have bars older than allowed"),
            });
        }
        let point_in_time = snapshot.point_in_time || plan.is_point_in_time(&published.today);
        if matches!(request.pin, Pin::AsOf(_)) && !point_in_time {
            diagnostics.push(diagnose::not_point_in_time());
        }
        diagnostics.extend(diagnose::history(&plan, &published, &population));
        if plan.touches_bars() {
            diagnostics.extend(diagnose::gaps(&published, &population));
            diagnostics.extend(diagnose::refused(&published, &population));
            diagnostics.extend(diagnose::spikes(&plan, &published, &population));
            diagnostics.extend(diagnose::elsewhere(&plan, &published, &population));
            if plan.adjustment != Adjustment::Raw {
                diagnostics.extend(diagnose::doubtful_splits(&published, &population));
            }
        }
        diagnostics.extend(diagnose::coverage(&plan, snapshot, &population));
        diagnostics.extend(self.old_reference());
        diagnostics.extend(diagnose::benchmarks(&plan, snapshot));

        if plan.adjustment == Adjustment::SplitsAndDividends && !request.plan_only {
            self.pay(&published).await?;
        }
        let computing = Instant::now();
        let rows = if request.plan_only {
            RankedRows::default()
        } else {
            self.compute(&plan, &published, population, request, place).await?
        };
        Ok(ScanAnswer {
            scan_id: format!("{}-{number:x}", snapshot.id),
            cost: Cost {
                universe: snapshot.universe.len(),
                population: scanned,
                bytes: bytes_read(&plan, &published),
                ..done.first_cost.unwrap_or_default()
            },
            rows,
            scanned,
            stale,
            complete,
            point_in_time,
            diagnostics,
            provider_calls: done.calls,
            fetched_bars: done.bars,
            timing: Timing { plan: planned, fetch: fetched, compute: computing.elapsed() },
            plan,
            published: published.clone(),
        })
    }

    /// Says so where listings and splits are older than they should be, because the provider did not serve newer ones.
    fn old_reference(&self) -> Option<Diagnostic> {
        let (ttl, age) = (self.0.config.reference_ttl, self.reference_age(self.clock().now()));
        let at = self.0.reference_at.load(Ordering::Relaxed);
        // Once they are due they are asked for; only what that did not mend is worth a word.
        let due = Timestamp::from_nanos(at).after(ttl).as_nanos();
        if age < ttl || at == 0 || self.0.reference_asked.load(Ordering::Relaxed) < due {
            return None;
        }
        let hours = age.as_secs() / 3600;
        let message = format!("listings and splits are {hours} hours old; newer ones could not be had");
        let mut old = Diagnostic::new(Reason::StaleData, message);
        old.subject = "reference".to_owned();
        old.age = Some(age);
        Some(old)
    }

    pub(crate) fn check(&self, request: &ScanRequest) -> Result<(), EngineError> {
        if request.precision == Precision::F32 {
            return Err(EngineError::Unimplemented { what: "precision F32".to_owned() });
        }
        if request.backend == Some(Backend::Cuda) {
            return Err(EngineError::BackendUnavailable {
                backend: "cuda",
                why: "this build computes on the CPU only; leave backend out".to_owned(),
            });
        }
        Ok(())
    }

    /// The snapshot that a request names, brought up to date where it is the newest.
    pub(crate) async fn pin(&self, pin: &Pin) -> Result<Arc<Published>, EngineError> {
        match pin {
            Pin::Snapshot(id) => self.pinned(id),
            Pin::Newest => {
                let current = self.current()?;
                if self.clock().now() < current.outdated_at {
                    return Ok(current);
                }
                self.revalidate().await;
                match self.newest_session() {
                    Some(newest) => self.snapshot_ending(newest).await,
                    None => Ok(current),
                }
            }
            Pin::AsOf(at) => {
                let current = self.pin_newest().await?;
                let first = self.0.state.lock().await.first_session;
                let calendar = Calendar::us_equities();
                let first = first.unwrap_or_else(|| calendar.first());
                let newest = calendar.last_closed(*at).filter(|d| *d >= first).ok_or_else(|| {
                    EngineError::BeforeHistory { asked: at.to_string(), first: first.to_string() }
                })?;
                match current.snapshot.newest() {
                    // Bars that somebody fetched meanwhile may be held and not be shown yet.
                    Some(d) if newest >= d && !current.snapshot.held.is_complete() => {
                        return self.snapshot_ending(d).await;
                    }
                    Some(d) if newest < d => {}
                    _ => return Ok(current),
                }
                self.snapshot_ending(newest).await
            }
        }
    }

    async fn pin_newest(&self) -> Result<Arc<Published>, EngineError> {
        Box::pin(self.pin(&Pin::Newest)).await
    }

    /// Fetches what the plan's population needs and the snapshot lacks, as far as policy and deadline go.
    pub(crate) async fn complete(
        &self,
        plan: &Plan,
        need: Need,
        request: &ScanRequest,
        mut published: Arc<Published>,
    ) -> Result<Completed, EngineError> {
        let fetches = request.policy != DataPolicy::CachedOnly
            && !request.plan_only
            && !matches!(request.pin, Pin::Snapshot(_));
        let until = request.deadline.map(early);
        let mut done = Completed {
            published: published.clone(),
            first_cost: None,
            filled: None,
            calls: 0,
            bars: 0,
            still: None,
            place: None,
        };
        for round in 0..ROUNDS_MAX {
            let population = select(&plan.universe, &published.snapshot).population;
            let universe = &published.snapshot.universe;
            let beside: Vec<_> = plan.benchmarks().filter_map(|symbol| universe.find(symbol)).collect();
            done.still = missing(&published.snapshot, &population, need, &beside);
            done.published = published.clone();
            let Some(still) = &done.still else { break };
            // Bars that somebody else fetched may be held and not be shown yet. While rounds of fetching are under way,
            // each of them will show what it brings.
            if round == 0 && request.pin == Pin::Newest && self.0.interactive.load(Ordering::Relaxed) == 0 {
                let fresh = self.pin_held(&request.pin).await?;
                if fresh.version != published.version {
                    published = fresh;
                    continue;
                }
            }
            let cover = self.cover(&published.snapshot.universe, still).await;
            if done.first_cost.is_none() {
                done.first_cost = Some(self.price(&cover));
            }
            let stuck = done.filled.as_ref().is_some_and(|f| f.out_of_time || !f.failures.is_empty());
            if cover.calls.is_empty() {
                // Nothing of it is served, or not yet.
                break;
            }
            if !fetches || stuck || until.is_some_and(|until| Instant::now() >= until) {
                if fetches && done.filled.is_none() {
                    done.filled = Some(Filled { out_of_time: true, ..Filled::default() });
                }
                break;
            }
            if done.place.is_none() {
                done.place = Some(self.0.admission.fetch()?);
            }
            let filled = self.fill(&published.snapshot.universe, &cover, request.errand, until).await;
            let (calls, failed) = (filled.calls, !filled.failures.is_empty());
            done.calls += calls;
            done.bars += filled.bars;
            let idle = calls == 0 && !failed && !filled.out_of_time && !filled.narrowed;
            done.filled = Some(filled);
            let Some(newest) = published.snapshot.newest() else { break };
            let before = published.version;
            published = self.snapshot_ending(newest).await?;
            if idle && published.version == before {
                // Nothing can be asked for right now, e.g. a day that is not there yet.
                done.published = published;
                break;
            }
        }
        Ok(done)
    }

    /// Takes symbols with old bars out of the population where the request refuses them, else reports them.
    fn refuse_stale(
        &self,
        request: &ScanRequest,
        published: &Published,
        population: &mut Population,
        complete: &mut bool,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> usize {
        let allowed = request.max_staleness.unwrap_or(self.0.config.max_staleness);
        let now = match request.pin {
            Pin::Newest => self.clock().now(),
            _ => published.snapshot.as_of,
        };
        let stale = diagnose::stale(published, now, allowed);
        let Some(found) = diagnose::stale_diagnostic(&published.snapshot, population, &stale) else {
            return 0;
        };
        diagnostics.push(found);
        let snapshot = &published.snapshot;
        let age = |session| now.since(Calendar::us_equities().close(session));
        // A symbol that did not trade is old and yet complete: its cells were asked for and empty.
        if request.max_staleness.is_some() || snapshot.newest().is_none_or(|newest| age(newest) > allowed) {
            *complete = false;
        }
        if request.max_staleness.is_none() {
            return 0;
        }
        let mut members = population.members().to_vec();
        let before = population.count();
        stale.iter().for_each(|(id, _)| members[id.index()] = false);
        *population = Population::new(members);
        before - population.count()
    }

    async fn compute(
        &self,
        plan: &Arc<Plan>,
        published: &Arc<Published>,
        population: Population,
        request: &ScanRequest,
        place: Option<Fetching>,
    ) -> Result<RankedRows, EngineError> {
        let permit = self.0.admission.enter(place).await?;
        let cancel = Cancel::default();
        let _guard = CancelOnDrop(cancel.clone());
        let (skip, memo) = (request.skip, request.memo);
        let (inner, plan, published) = (self.0.clone(), plan.clone(), published.clone());
        let heavy = cells(&plan, &published) > INLINE_CELLS;
        let work = move || {
            let memo: Option<&dyn Memo> = memo.then_some(&inner.memo);
            let job = ScanJob {
                plan: &plan,
                snapshot: &published.snapshot,
                population: &population,
                skip,
                memo,
                cancel: &cancel,
            };
            let rows = inner.parts.compute.scan(&job);
            drop(permit);
            rows
        };
        if !heavy {
            return Ok(work()?);
        }
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| EngineError::Internal(format!("the computation ended: {error}")))?
            .map_err(EngineError::from)
    }
}

/// Whether the snapshot has every universe that a scan names.
pub(crate) fn known_universes(
    spec: &ScanSpec,
    plan: &Plan,
    published: &Published,
) -> Result<(), EngineError> {
    let named = &published.snapshot.named;
    let id = &spec.universe.universe;
    if !named.knows(id) {
        return Err(EngineError::NotFound { what: "universe", name: format!("universes/{id}") });
    }
    if plan.universes().all(|id| named.knows(id)) {
        return Ok(());
    }
    let known: Vec<&str> = named.names().collect();
    Err(PlanError { errors: unknown_universes(spec, &known) }.into())
}

/// When fetching stops so that rows still arrive: 10 % (at least 20 ms) before the deadline.
pub(crate) fn early(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    deadline - (left / 10).max(Duration::from_millis(20)).min(left)
}

pub(crate) fn incomplete(cells: u64, filled: Option<&Filled>, unserved: Option<String>) -> EngineError {
    match filled.and_then(|f| f.failures.first()) {
        Some((_, error @ (SourceError::RateLimited { .. } | SourceError::Key { .. }))) => {
            error.clone().into()
        }
        Some((_, error)) => EngineError::Incomplete { cells, why: error.to_string() },
        None if filled.is_some_and(|f| f.out_of_time) => {
            EngineError::Deadline { stage: "fetching what is missing" }
        }
        None => {
            let why = unserved.unwrap_or_else(|| "they are not held and were not fetched".to_owned());
            EngineError::Incomplete { cells, why }
        }
    }
}

fn cells(plan: &Plan, published: &Published) -> u64 {
    let snapshot = &published.snapshot;
    (snapshot.universe.len() * snapshot.daily.sessions().len() * plan.nodes.len()) as u64
}

fn bytes_read(plan: &Plan, published: &Published) -> u64 {
    let snapshot = &published.snapshot;
    let rows = if plan.is_recursive() { snapshot.daily.sessions().len() } else { plan.bars_read() as usize };
    let fields = plan.nodes.iter().filter(|n| matches!(n.op, panscan_core::plan::Op::Field(_))).count();
    (snapshot.universe.len() * rows * fields * 8) as u64
}
