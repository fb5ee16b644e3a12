//! The historical case of the scan suite: 1,250 sessions against one scan on the same panel, memo off.

use std::hint::black_box;
use std::sync::Arc;

use panscan_core::calendar::Calendar;
use panscan_core::history::{HistoryBars, HistoryJob, Moment};
use panscan_core::panel::Splits;
use panscan_core::plan::Plan;
use panscan_core::port::{Cancel, Compute, ScanJob};
use panscan_core::select::Named;
use panscan_core::snapshot::Snapshot;
use panscan_core::time::SessionDate;
use panscan_core::universe::Population;
use panscan_cpu::CpuBackend;

use super::{BenchError, Case, alternate};

/// Sessions of the range.
pub(super) const SESSIONS: usize = 1_250;
/// Sessions of history before each where it moves on with the month: the server's own default.
pub(super) const HISTORY: usize = 504;
/// Sessions that are computed at once, as the engine does.
const AT_ONCE: usize = 256;
/// Times of a single scan that the range may take.
const TIMES: f64 = 40.0;

/// Measures the last [`SESSIONS`] sessions of a market. With `history` each session's bars begin so many sessions
/// before it, at the start of a month; without, all begin with the market.
pub(super) fn measured(
    name: &str,
    backend: &CpuBackend,
    plan: &Plan,
    snapshot: &Snapshot,
    history: Option<usize>,
    rounds: usize,
) -> Result<Case, BenchError> {
    let plan = Arc::new(plan.clone());
    let sessions = snapshot.daily.sessions().clone();
    let start = |session: SessionDate| {
        let first = history.map(|history| Calendar::us_equities().history_start(session, history));
        first.map_or(0, |first| sessions.partition_point(|known| *known < first))
    };
    let moment = |session: usize| Moment { session, start: start(sessions[session]) };
    let moments: Vec<Moment> = (sessions.len() - SESSIONS..sessions.len()).map(moment).collect();
    let named = Arc::new(Named::new(&plan.universe, &snapshot.universe));
    let latest = sessions[sessions.len() - 1];
    let bars = Arc::new(HistoryBars::new(snapshot.clone(), Arc::new(Splits::default()), None, latest));
    let (population, cancel) = (Population::all(snapshot.universe.len()), Cancel::default());
    // One scan on the panel that the newest session has.
    let newest = moments.last().map_or_else(|| snapshot.clone(), |last| bars.snapshot_at(*last, 2));
    let job = ScanJob {
        plan: &plan,
        snapshot: &newest,
        population: &population,
        skip: 0,
        memo: None,
        cancel: &cancel,
    };
    let range = || {
        let mut answers = Vec::with_capacity(moments.len());
        for moments in moments.chunks(AT_ONCE) {
            let job = HistoryJob { plan: &plan, bars: &bars, named: &named, moments, cancel: &cancel };
            answers.extend(backend.history(&job).map_err(|e| BenchError::of("the range")(&e))?);
        }
        Ok::<_, BenchError>(answers)
    };
    let (answers, single) = (range()?, backend.scan(&job).map_err(|e| BenchError::of("the scan")(&e))?);
    let agrees =
        answers.len() == SESSIONS && answers.last().is_some_and(|last| last.rows.symbols == single.symbols);
    if !agrees {
        let message = "the newest session's rows are not those of a scan".to_owned();
        return Err(BenchError::Failed { what: "the range", message });
    }
    let taken = alternate(
        rounds,
        &mut [&mut || drop(black_box(range())), &mut || drop(black_box(backend.scan(&job)))],
    );
    let [range, single] = taken[..] else {
        return Err(BenchError::Failed { what: "the range", message: String::new() });
    };
    Ok(Case::time(name, range, rounds, ("single_session", single)).at_most_times(TIMES))
}
