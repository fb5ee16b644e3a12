//! The scan suite: the compute of a warm scan, memo off, against a plain per-symbol loop and the memory read.

use std::hint::black_box;

use panscan_core::expr::plan;
use panscan_core::plan::Plan;
use panscan_core::port::{Cancel, Compute, ScanJob};
use panscan_core::rank::{Cells, RankedRows};
use panscan_core::scan::ScanSpec;
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::SymbolId;
use panscan_core::universe::Population;
use panscan_cpu::{CpuBackend, Level, scalar};

use super::beside::{self, Goals};
use super::{BenchError, Case, Options, alternate, history, market, request, wide};

/// The four indicators that every measurement of this field starts with.
pub(super) const SEED_SET: [&str; 4] = ["sma(5)", "sma(20)", "rsi(14)", "vwap(20)"];
/// Symbols of the large case.
const LARGE: usize = 50_000;

pub(super) async fn run(options: &Options, progress: &dyn Fn(&Case)) -> Result<Vec<Case>, BenchError> {
    let mut cases = Vec::new();
    let mut done = |case: Case| {
        progress(&case);
        cases.push(case);
    };
    let plan = plan(&spec(options))?;
    let threads = options.threads;
    let best = CpuBackend::new(threads).map_err(|e| BenchError::of("cpu backend")(&e))?;
    let wide = Level::detect() == Level::Avx512;
    {
        let snapshot = market::snapshot(options.symbols, options.bars, threads)?;
        let name = format!("last_{}", options.symbols);
        let rounds = options.iterations.unwrap_or(200);
        let goal = if wide { 25.0 } else { 15.0 };
        for case in measured(&name, &best, &plan, &snapshot, threads, rounds)? {
            let scalar = case.baseline.name == "scalar";
            done(if scalar { case.at_least(goal) } else { case });
        }
        if wide {
            let narrow = CpuBackend::with_level(threads, Level::Avx2)
                .map_err(|e| BenchError::of("cpu backend")(&e))?;
            let name = format!("{name}_avx2");
            for case in measured(&name, &narrow, &plan, &snapshot, threads, rounds)? {
                let scalar = case.baseline.name == "scalar";
                done(if scalar { case.at_least(15.0) } else { case });
            }
        }
    }
    if options.scan.is_none() {
        let goals =
            Goals { crates: 40.0, read: 0.5, numba: Some(4.0), python: Some(400.0), narrow: Some(25.0) };
        let size = (options.symbols, options.bars, threads);
        let name = format!("last_{}", options.symbols);
        beside::measured(&name, &plan, size, &options.peers, &goals)?.into_iter().for_each(&mut done);
        if options.symbols < LARGE {
            let goals = Goals { crates: 12.0, read: 0.6, numba: None, python: None, narrow: None };
            let size = (LARGE, options.bars, threads);
            beside::measured("last_50000", &plan, size, &options.peers, &goals)?
                .into_iter()
                .for_each(&mut done);
        }
    }
    if options.symbols < LARGE {
        let snapshot = market::snapshot(LARGE, options.bars, threads)?;
        let rounds = options.iterations.unwrap_or(30);
        for case in measured("last_50000", &best, &plan, &snapshot, threads, rounds)? {
            done(case);
        }
        for case in wide::measured("wide_50000", &best, &plan, &snapshot, rounds)? {
            done(case);
        }
    }
    for (name, history) in [("history_1250", None), ("history_1250_moving", Some(history::HISTORY))] {
        // Moved to the start of a month, a history is up to a month longer.
        let bars = history::SESSIONS + history.map_or(0, |sessions| sessions + 23);
        let snapshot = market::snapshot(options.symbols, bars, threads)?;
        let rounds = options.iterations.unwrap_or(10);
        done(history::measured(name, &best, &plan, &snapshot, history, rounds)?);
    }
    cases.extend(request::run(options, progress).await?);
    Ok(cases)
}

fn spec(options: &Options) -> ScanSpec {
    ScanSpec {
        filter: options.scan.clone().unwrap_or_default(),
        columns: SEED_SET.map(str::to_owned).to_vec(),
        rank_by: "rsi(14)".to_owned(),
        limit: 100,
        ..ScanSpec::default()
    }
}

/// One backend against each baseline. The answers are compared before anything is timed.
fn measured(
    name: &str,
    backend: &CpuBackend,
    plan: &Plan,
    snapshot: &Snapshot,
    threads: usize,
    rounds: usize,
) -> Result<Vec<Case>, BenchError> {
    let population = Population::all(snapshot.universe.len());
    let cancel = Cancel::default();
    let job = ScanJob { plan, snapshot, population: &population, skip: 0, memo: None, cancel: &cancel };
    let rows = backend.scan(&job).map_err(|e| BenchError::of("the scan")(&e))?;
    let columns = scalar::columns(&snapshot.daily);
    agree(&rows, &scalar::last_values(&columns, threads))?;
    let taken = alternate(
        rounds,
        &mut [&mut || drop(black_box(backend.scan(&job))), &mut || {
            drop(black_box(scalar::last_values(&columns, threads)))
        }],
    );
    let [scan, plain] = taken[..] else { return Ok(Vec::new()) };
    Ok(vec![
        Case::time(name, scan, rounds, ("scalar", plain))
            .note("with filter and ranking, on a market with gaps"),
    ])
}

fn agree(rows: &RankedRows, plain: &[scalar::LastValues]) -> Result<(), BenchError> {
    let failed = |what: String| BenchError::Failed { what: "the scan and the plain loop", message: what };
    for (row, SymbolId(id)) in rows.symbols.iter().enumerate() {
        let value = &plain[*id as usize];
        let expected = [value.sma5, value.sma20, value.rsi14, value.vwap20];
        for (column, expected) in rows.columns.iter().zip(expected) {
            let Cells::Numbers(values) = column else {
                return Err(failed("a column is no number".to_owned()));
            };
            if (values[row] - expected).abs() > 1e-9 * expected.abs().max(1.0) {
                return Err(failed(format!("symbol {id}: {} and {expected}", values[row])));
            }
        }
    }
    Ok(())
}
