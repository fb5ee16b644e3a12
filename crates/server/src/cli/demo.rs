//! `panscan demo`: a simulated provider, a server against it, a client against the server; a cold scan, many
//! warm ones, a restart. Each talks to the next over real HTTP and real gRPC.

mod caller;
mod progress;
mod report;

use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::answer;
use super::args::{DemoArgs, Format};
use super::exit::Exit;
use super::failure::Failure;
use super::output::{self, Notes};
use super::stage::Stage;
use super::stop::Stop;
use crate::app;

use self::caller::Caller;
use self::progress::Progress;
use self::report::{Laps, Report, resident_bytes};

/// Filter of a demo that is not given one: oversold, traded, and no penny stock.
pub(super) const FILTER: &str = "rsi(14) < 40 and close > 5 and volume > 100000";
/// The columns of every demo: the four indicators that the figures of this project are about.
pub(super) const COLUMNS: [&str; 6] = ["close", "volume", "sma(5)", "sma(20)", "rsi(14)", "vwap(20)"];
/// What it is ranked by, smallest first.
pub(super) const RANK_BY: &str = "rsi(14)";
/// Rows of an answer.
pub(super) const LIMIT: u32 = 100;
/// Rows that are shown.
const ROWS_SHOWN: usize = 10;
/// Warm scans are measured this often, or this long, whatever comes first.
const LAPS_MAX: usize = 2_000;
const LAPS_TIME: Duration = Duration::from_secs(3);
/// Laps that do not count.
const LAPS_UNCOUNTED: usize = 50;
/// Calls that a cold start makes beside one for each session, at least: reference pages and splits.
const CALLS_BESIDE: u64 = 8;

/// Runs the demo; the first Ctrl-C ends it wherever it is.
pub async fn run(args: DemoArgs, color: bool, stop: &Stop) -> Result<Exit, Failure> {
    let notes = Notes::new(false);
    tokio::select! {
        ended = perform(&args, color, notes) => ended,
        () = stop.asked() => {
            notes.say("interrupted; simulator and server are down, the temporary folder is gone");
            Ok(Exit::Done)
        }
    }
}

async fn perform(args: &DemoArgs, color: bool, notes: Notes) -> Result<Exit, Failure> {
    let stage = Stage::set(args).await?;
    let shape = stage.simulator.shape();
    notes.say(format!(
        "provider  {}  {} symbols, {} sessions {} to {}, limit {}",
        stage.simulator.url(),
        shape.symbols,
        shape.sessions,
        shape.first,
        shape.last,
        args.rate,
    ));
    let mut report = Report { seed: args.seed, ..Report::default() };

    let server = cold(args, &stage, &mut report, color, notes).await?;
    let caller = Caller::connect(server.grpc, args).await?;
    warm(&caller, &mut report).await?;
    report.provider_calls_warm = stage.simulator.audit().total - report.provider_calls_cold;
    drop(caller);
    server.stop().await;

    let before = stage.simulator.audit().total;
    let started = Instant::now();
    let server = app::start(&stage.settings).await?;
    server.ready().await?;
    let caller = Caller::connect(server.grpc, args).await?;
    caller.scan().await?;
    report.restart_ms = millis(started.elapsed());
    let audit = stage.simulator.audit();
    report.provider_calls_restart = audit.total - before;
    report.limit_violations = audit.violations;
    report.peak_calls_in_window = audit.peak_in_window;
    report.window_limit = audit.window_limit;
    report.rss_bytes = resident_bytes();

    notes.say(format!("\n{}", report.summary(audit.window)));
    if args.keep {
        print_line(&tries(server.grpc.port()))?;
        notes.say("Ctrl-C ends it");
    }
    if args.json {
        let object = serde_json::to_string(&report).map_err(|e| Failure::Unexpected(e.to_string()))?;
        print_line(&object)?;
    }
    if args.keep {
        std::future::pending::<()>().await;
    }
    drop(caller);
    server.stop().await;
    stage.simulator.stop().await?;
    Ok(Exit::Done)
}

/// Starts the first server and scans it while it has nothing.
async fn cold(
    args: &DemoArgs,
    stage: &Stage,
    report: &mut Report,
    color: bool,
    notes: Notes,
) -> Result<app::Running, Failure> {
    let shape = stage.simulator.shape();
    let sessions = shape.sessions.min(args.sessions as usize);
    let pages = (shape.symbols as u64).div_ceil(1_000);
    let calls = sessions as u64 + pages + CALLS_BESIDE;
    let seen = color || io::stderr().is_terminal();
    let started = Instant::now();
    let server = app::start(&stage.settings).await?;
    notes.say(format!("server    http://{}  store {}", server.grpc, stage.folder().display()));
    let progress = Progress::new(calls, shape.symbols, seen);
    let scanned = progress
        .during(&stage.simulator, shape.symbols, async {
            server.ready().await?;
            Caller::connect(server.grpc, args).await?.scan().await
        })
        .await?;
    report.cold_ms = millis(started.elapsed());
    report.provider_calls_cold = stage.simulator.audit().total;
    report.sessions = sessions as u64;
    let summary = &scanned.summary;
    report.symbols = summary.scanned;
    report.rows = summary.returned;
    report.bars = summary.cells_by_tier.get("provider").copied().unwrap_or(0);
    notes.say(format!(
        "scan      {}\n          {}\n",
        args.filter.as_deref().unwrap_or(FILTER),
        answer::summary_line(&scanned.summary)
    ));
    for diagnostic in &scanned.diagnostics {
        notes.say(answer::diagnostic_line(diagnostic));
    }
    // With --json the object is to stand alone on stdout.
    let target: Box<dyn io::Write> = if args.json { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    let mut table = output::writer(Format::Table, target);
    table
        .head(&answer::head(&scanned.header))
        .and_then(|()| {
            scanned.rows.iter().take(ROWS_SHOWN).try_for_each(|row| table.row(&answer::cells(row)))
        })
        .and_then(|()| table.finish(Vec::new(), serde_json::Value::Null))
        .map_err(Failure::Output)?;
    Ok(server)
}

/// Round trips of the same scan on a connection that is warm, and of a call that does nothing.
async fn warm(caller: &Caller, report: &mut Report) -> Result<(), Failure> {
    let mut off = laps(|| caller.scan_again(false)).await?;
    let mut on = laps(|| caller.scan_again(true)).await?;
    let mut bare = laps(|| caller.bare()).await?;
    report.warm_p50_us = off.quantile_us(0.5);
    report.warm_p99_us = off.quantile_us(0.99);
    report.warm_iterations = off.len() as u64;
    report.memo_p50_us = on.quantile_us(0.5);
    report.bare_unary_p50_us = bare.quantile_us(0.5);
    report.snapshot_id = caller.scan().await?.header.snapshot_id.clone();
    Ok(())
}

async fn laps<F: Future<Output = Result<(), Failure>>>(call: impl Fn() -> F) -> Result<Laps, Failure> {
    for _ in 0..LAPS_UNCOUNTED {
        call().await?;
    }
    let mut laps = Laps::with_capacity(LAPS_MAX);
    let began = Instant::now();
    while laps.len() < LAPS_MAX && began.elapsed() < LAPS_TIME {
        let started = Instant::now();
        call().await?;
        laps.push(started.elapsed());
    }
    Ok(laps)
}

/// Lines to try against a server that stays up.
fn tries(port: u16) -> String {
    format!(
        "grpcurl -plaintext -d '{{\"scan\":{{\"filter\":\"rsi(14) < 30\"}}}}' 127.0.0.1:{port} \
         panscan.v1.Scanner/ScanUniverse\n\
         panscan scan --server http://127.0.0.1:{port} -c close -c 'rsi(14)' 'rsi(14) < 30'\n\
         python3 -m pip install grpcio-tools && mkdir -p /tmp/panscan-py && python3 -m grpc_tools.protoc -I proto \
         --python_out=/tmp/panscan-py --grpc_python_out=/tmp/panscan-py proto/panscan/v1/*.proto && \
         PYTHONPATH=/tmp/panscan-py python3 -c \"import grpc; from panscan.v1 import scanner_pb2 as p, \
         scanner_pb2_grpc as s, types_pb2 as t; [print(f) for f in \
         s.ScannerStub(grpc.insecure_channel('127.0.0.1:{port}')).ScanUniverse(p.ScanUniverseRequest(\
         scan=t.ScanSpec(filter='rsi(14) < 30')))]\""
    )
}

fn print_line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::Output)
}

fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e4).round() / 10.0
}
