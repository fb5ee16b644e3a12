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
use super::served::{Served, failed};
use super::{BenchError, Case, Options, median};

const SYMBOLS: usize = 8;
/// Sessions of the market, and bars that are asked for of each symbol: those of about 115 sessions.
const SESSIONS: usize = 140;
const BARS: usize = 45_000;
/// Longest wait for either answer.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Minutes of a regular session.
const MINUTES: i64 = 390;

pub(super) async fn run(options: &Options, progress: &dyn Fn(&Case)) -> Result<Vec<Case>, BenchError> {
    let rounds = options.iterations.unwrap_or(5).max(1);
    let served = Served::start(SYMBOLS * (rounds + 1), SESSIONS).await?;
    let cases = measured(options, rounds, &served, progress).await;
    served.end_server().await;
    cases
}

async fn measured(
    options: &Options,
    rounds: usize,
    served: &Served,
    progress: &dyn Fn(&Case),
) -> Result<Vec<Case>, BenchError> {
    let failed = failed("the client");
    let client = served.client().await?;
    let listed = client.symbols().send().await.map_err(|e| failed(&e))?;
    let names: Vec<String> = listed.symbols.iter().map(|s| s.symbol.to_string()).collect();

    // Symbols that nobody has asked for, in each round; the first one warms the way, not the bars.
    let (mut held, mut bars, mut rates) = (Vec::new(), 0, Vec::with_capacity(rounds));
    for (round, names) in names.chunks_exact(SYMBOLS).take(rounds + 1).enumerate() {
        let started = Instant::now();
        held = fetched(&client, names).await?;
        let taken = started.elapsed();
        bars = held.iter().map(|columns| columns.close.len()).sum();
        // Some were listed late.
        if held.len() != names.len() || bars < names.len() * BARS / 2 {
            return Err(failed(&format!("{bars} bars of {} symbols came", held.len())));
        }
        if round > 0 {
            rates.push(bars as f64 / taken.as_secs_f64());
        }
    }
    rates.sort_unstable_by(f64::total_cmp);
    let fetched = rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN);
    let names: Vec<String> = names.into_iter().skip(SYMBOLS * rounds).take(SYMBOLS).collect();
    let bodies: Vec<Vec<u8>> = held.iter().map(|columns| body("AAPL", stamps(columns.close.len()))).collect();
    let decoded = timed(rounds, || {
        bodies.iter().for_each(|body| {
            black_box(typed(black_box(body)));
        });
    });
    let rate = |taken: Duration| bars as f64 / taken.as_secs_f64();
    let fetch = Case::rate("turbo_fetch", fetched, "records/s", rounds, ("serde_json", rate(decoded)))
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
