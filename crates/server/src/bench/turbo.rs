//! The turbo suite: what the earlier clients made their claims about, end to end: minute bars of several symbols in
//! one call, from the simulated provider through the server to a client, then their indicators at every bar.

use std::hint::black_box;
use std::time::{Duration, Instant};

use panscan_client::{Bars, Client, Timeframe};
use panscan_core::calendar::Calendar;
use panscan_core::range::BarRange;
use panscan_core::time::SessionDate;
use panscan_cpu::scalar::{Columns, last_values};

use super::decode::typed;
use super::http::body;
use super::{BenchError, Case, Options, median};
use crate::app::{self, Running};
use crate::cli::args::DemoArgs;
use crate::cli::stage::Stage;

const SYMBOLS: usize = 8;
const SYMBOLS_U32: u32 = 8;
/// Sessions of the market, and bars that are asked for of each symbol: those of about 115 sessions.
const SESSIONS: u32 = 140;
const BARS: usize = 45_000;
/// Longest wait for either answer.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Minutes of a regular session.
const MINUTES: i64 = 390;

pub(super) async fn run(options: &Options, progress: &dyn Fn(&Case)) -> Result<Vec<Case>, BenchError> {
    let failed = failed("the server");
    let args = DemoArgs {
        symbols: SYMBOLS_U32,
        sessions: SESSIONS,
        seed: 1,
        rate: "1000/s".to_owned(),
        filter: None,
        port: 0,
        once: true,
        json: false,
        keep: false,
        data: Vec::new(),
        universe: None,
    };
    let stage = Stage::set(&args).await.map_err(|e| failed(&e))?;
    let running = app::start(&stage.settings).await.map_err(|e| failed(&e))?;
    running.ready().await.map_err(|e| failed(&e))?;
    let cases = measured(options, &running, progress).await;
    running.stop().await;
    cases
}

async fn measured(
    options: &Options,
    running: &Running,
    progress: &dyn Fn(&Case),
) -> Result<Vec<Case>, BenchError> {
    let failed = failed("the client");
    let client = Client::connect(format!("http://{}", running.grpc)).await.map_err(|e| failed(&e))?;
    let listed = client.symbols().send().await.map_err(|e| failed(&e))?;
    let names: Vec<String> = listed.symbols.iter().take(SYMBOLS).map(|s| s.symbol.to_string()).collect();

    let started = Instant::now();
    let held = fetched(&client, &names).await?;
    let taken = started.elapsed();
    let bars: usize = held.iter().map(|columns| columns.close.len()).sum();
    if held.len() != names.len() || bars < names.len() * BARS / 2 {
        return Err(failed(&format!("{bars} bars of {} symbols came", held.len())));
    }
    let bodies: Vec<Vec<u8>> = held.iter().map(|columns| body("AAPL", stamps(columns.close.len()))).collect();
    let rounds = options.iterations.unwrap_or(5).max(1);
    let decoded = timed(rounds, || {
        bodies.iter().for_each(|body| {
            black_box(typed(black_box(body)));
        });
    });
    let rate = |taken: Duration| bars as f64 / taken.as_secs_f64();
    let fetch = Case::rate("turbo_fetch", rate(taken), "records/s", 1, ("serde_json", rate(decoded)))
        .note("earlier clients claim 734,000 records/s, on a machine that is not known");
    progress(&fetch);

    let mut times = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        let started = Instant::now();
        let values = computed(&client, &names).await?;
        if values != bars {
            return Err(failed(&format!("values of {values} bars instead of {bars} came")));
        }
        if round > 0 {
            times.push(started.elapsed());
        }
    }
    let scalar = timed(rounds, || {
        black_box(last_values(black_box(&held), options.threads));
    });
    let compute = rate(median(&mut times));
    let compute = Case::rate("turbo_indicators", compute, "records/s", rounds, ("scalar", rate(scalar)))
        .note("earlier clients claim 17,000 records/s, on a machine that is not known");
    progress(&compute);
    Ok(vec![fetch, compute])
}

fn failed(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> BenchError {
    move |error| BenchError::Failed { what, message: error.to_string() }
}

/// All bars in one call, each symbol's pages joined.
async fn fetched(client: &Client, names: &[String]) -> Result<Vec<Columns>, BenchError> {
    let failed = failed("a fetch");
    let asked = client.batch_bars(names.iter().map(String::as_str)).timeframe(Timeframe::Minutes(1));
    let asked = asked.last(BARS).limit(BARS).ordered().timeout(TIMEOUT);
    let mut stream = asked.send().await.map_err(|e| failed(&e))?;
    let mut held: Vec<(String, Columns)> = Vec::with_capacity(names.len());
    while let Some(Bars { symbol, high, low, close, volume, vwap, .. }) =
        stream.next_bars().await.map_err(|e| failed(&e))?
    {
        if held.last().is_none_or(|(last, _)| *last != symbol) {
            held.push((symbol, Columns::default()));
        }
        if let Some((_, columns)) = held.last_mut() {
            columns.high.extend(high);
            columns.low.extend(low);
            columns.close.extend(close);
            columns.volume.extend(volume);
            columns.vwap.extend(vwap);
        }
    }
    Ok(held.into_iter().map(|(_, columns)| columns).collect())
}

/// The default indicators at the same bars; how many bars they are of.
async fn computed(client: &Client, names: &[String]) -> Result<usize, BenchError> {
    let failed = failed("a computation");
    let asked = client.indicators(names.iter().map(String::as_str)).timeframe(Timeframe::Minutes(1));
    let asked = asked.range(BarRange::Last(BARS)).timeout(TIMEOUT);
    let mut stream = asked.send().await.map_err(|e| failed(&e))?;
    let mut bars = 0;
    while let Some(part) = stream.next_part().await.map_err(|e| failed(&e))? {
        bars += part.start.len();
        black_box(&part.columns);
    }
    Ok(bars)
}

/// Starts of so many minutes of regular sessions.
fn stamps(rows: usize) -> impl Iterator<Item = i64> {
    let calendar = Calendar::us_equities();
    let from = SessionDate::from_ymd(2024, 1, 2).unwrap_or_else(|| calendar.first());
    let minutes = |day: &SessionDate| {
        let open = calendar.open(*day).as_millis();
        (0..MINUTES).map(move |minute| open + minute * 60_000)
    };
    calendar.sessions(from, calendar.last()).iter().flat_map(minutes).take(rows)
}

fn timed(rounds: usize, work: impl Fn()) -> Duration {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let started = Instant::now();
        work();
        times.push(started.elapsed());
    }
    median(&mut times)
}
