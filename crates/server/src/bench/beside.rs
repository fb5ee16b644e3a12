//! Last values of the seed set beside other people's libraries and beside the read of the same bytes, taking turns in
//! one run. The market here has every bar of every symbol, because the fastest peers know no gaps.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use panscan_core::bar::Field;
use panscan_core::plan::{NodeId, Op, Plan, Tail};
use panscan_core::port::{Cancel, ScanJob};
use panscan_core::universe::Population;
use panscan_cpu::{CpuBackend, Level};

use super::peers::Peers;
use super::{BenchError, Case, market, median};

/// How long a part goes on in its turn: what is measured is warm, whatever ran before.
const TURN: Duration = Duration::from_millis(25);
/// Turns of each part.
const ROUNDS: usize = 12;
/// How far a peer's value may lie from ours, relative: their sums run on, ours start afresh.
const TOLERANCE: f64 = 1e-6;

/// What is held against what.
pub(super) struct Goals {
    /// Times the fastest crate.
    pub(super) crates: f64,
    /// Times the read of the same bytes, at most 1.
    pub(super) read: f64,
    /// Times the faster numba, where that is a goal.
    pub(super) numba: Option<f64>,
    /// Times TA-Lib's loop and polars, where that is a goal.
    pub(super) python: Option<f64>,
    /// Times the fastest crate with AVX2.
    pub(super) narrow: Option<f64>,
}

struct Part {
    name: String,
    taken: Vec<Duration>,
}

/// All cases of one size.
pub(super) fn measured(
    name: &str,
    plan: &Plan,
    (symbols, bars, threads): (usize, usize, usize),
    folder: &Path,
    goals: &Goals,
) -> Result<Vec<Case>, BenchError> {
    let failed = BenchError::of("the scan");
    let snapshot = market::dense(symbols, bars, threads)?;
    let mut peers = Peers::start(folder, &snapshot.daily, threads)?;
    let best = CpuBackend::new(threads).map_err(|e| BenchError::of("cpu backend")(&e))?;
    let narrow = match goals.narrow {
        Some(_) if best.level() > Level::Avx2 => CpuBackend::with_level(threads, Level::Avx2).ok(),
        _ => None,
    };
    let population = Population::all(snapshot.universe.len());
    let cancel = Cancel::default();
    let job =
        ScanJob { plan, snapshot: &snapshot, population: &population, skip: 0, memo: None, cancel: &cancel };
    let roots: Vec<NodeId> = plan.outputs.iter().map(|output| output.node).collect();
    let ours = best.columns(&job, &roots).map_err(|e| failed(&e))?;
    let names = peers.names();
    for peer in &names {
        agree(peer, &ours, &peers.values(peer)?)?;
    }
    let read: Vec<(Field, Tail)> = fields(plan);
    let mut parts: Vec<Part> = ["panscan", "panscan_avx2", "memory_read"]
        .into_iter()
        .chain(names.iter().copied())
        .map(|name| Part { name: name.to_owned(), taken: Vec::new() })
        .collect();
    for _ in 0..ROUNDS {
        for part in &mut parts {
            let taken = match part.name.as_str() {
                "panscan" => turn(|| drop(black_box(best.columns(&job, &roots)))),
                "panscan_avx2" => match &narrow {
                    Some(narrow) => turn(|| drop(black_box(narrow.columns(&job, &roots)))),
                    None => Vec::new(),
                },
                "memory_read" => turn(|| {
                    black_box(best.read_floor(&snapshot.daily, &read));
                }),
                peer => {
                    let first = peers.time(peer, 1)?;
                    let one = first.first().copied().unwrap_or(TURN).max(Duration::from_micros(1));
                    let runs = (TURN.as_nanos() / one.as_nanos()).clamp(1, 50) as usize;
                    peers.time(peer, runs)?
                }
            };
            part.taken.extend(taken);
        }
    }
    Ok(cases(name, parts, goals, &peers))
}

fn cases(name: &str, parts: Vec<Part>, goals: &Goals, peers: &Peers) -> Vec<Case> {
    let mut times: Vec<(String, Duration, usize)> = parts
        .into_iter()
        .filter(|part| !part.taken.is_empty())
        .map(|mut part| (part.name, median(&mut part.taken), part.taken.len()))
        .collect();
    let mut take = |wanted: &str| {
        let at = times.iter().position(|(name, ..)| name == wanted);
        at.map(|at| times.remove(at))
    };
    let Some((_, own, samples)) = take("panscan") else { return Vec::new() };
    let narrow = take("panscan_avx2");
    let read = take("memory_read").map_or(Duration::ZERO, |(_, taken, _)| taken);
    // Of numba's forms the faster one counts; its series is another case.
    take("numba_series");
    let fused = take("numba_fused");
    if let (Some((_, fused, _)), Some(numba)) = (fused, times.iter_mut().find(|(name, ..)| name == "numba")) {
        numba.1 = numba.1.min(fused);
    }
    let fastest = |name: &str| ["yata", "vector_ta", "ta", "kand"].contains(&name);
    let best = times.iter().filter(|(name, ..)| fastest(name)).map(|(_, taken, _)| *taken).min();
    let mut out = vec![
        Case::time(name, own, samples, ("memory_read", read))
            .at_least(goals.read)
            .note("read on as many threads"),
    ];
    for (peer, taken, _) in &times {
        let Some(baseline) = known(peer) else { continue };
        let case = Case::time(name, own, samples, (baseline, *taken));
        let goal = match baseline {
            "numba" => goals.numba,
            "talib" | "polars" => goals.python,
            _ => (Some(*taken) == best).then_some(goals.crates),
        };
        out.push(goal.map_or(case.clone(), |goal| case.at_least(goal)));
        if let (Some((_, narrow, samples)), Some(goal)) = (&narrow, goals.narrow)
            && Some(*taken) == best
        {
            let name = format!("{name}_avx2");
            out.push(Case::time(name, *narrow, *samples, (baseline, *taken)).at_least(goal));
        }
    }
    for skipped in &peers.skipped {
        out.push(Case::skipped(name, skipped.name, &skipped.why));
    }
    out
}

/// A peer's name as reports have it; `None` for what is no baseline.
fn known(name: &str) -> Option<&'static str> {
    ["yata", "vector_ta", "ta", "kand", "numba", "talib", "polars"].into_iter().find(|known| *known == name)
}

fn turn(mut part: impl FnMut()) -> Vec<Duration> {
    let begun = Instant::now();
    part();
    let mut taken = Vec::new();
    while begun.elapsed() < TURN || taken.is_empty() {
        let started = Instant::now();
        part();
        taken.push(started.elapsed());
    }
    taken
}

/// The columns that a plan reads, each as far back as it does.
fn fields(plan: &Plan) -> Vec<(Field, Tail)> {
    let field = |node: &panscan_core::plan::Node| match node.op {
        Op::Field(field) => Some((field, node.tail)),
        _ => None,
    };
    plan.nodes.iter().filter_map(field).collect()
}

/// A wrong answer is never a time. Two peers define the index differently: `ta` smooths with 2/(n+1), and polars'
/// average starts with the first change.
fn agree(peer: &str, ours: &[std::sync::Arc<[f64]>], theirs: &[f64]) -> Result<(), BenchError> {
    for (symbol, values) in theirs.as_chunks::<4>().0.iter().enumerate() {
        for (at, (value, column)) in values.iter().zip(ours).enumerate() {
            let allowed = match (peer, at) {
                ("ta", 2) => continue,
                ("polars", 2) => 1e-3,
                _ => TOLERANCE,
            };
            let ours = column[symbol];
            if (value - ours).abs() > allowed * ours.abs().max(1.0) || value.is_nan() != ours.is_nan() {
                return Err(BenchError::Failed {
                    what: "a peer",
                    message: format!("{peer}, symbol {symbol}, value {at}: {value} and {ours}"),
                });
            }
        }
    }
    Ok(())
}
