//! The part of the decode suite that goes over HTTP: whole fetches through the product's own client, from request
//! to validated columns, against a server on loopback that answers every request with the same bytes.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use panscan_core::calendar::Calendar;
use panscan_core::limit::Quota;
use panscan_core::port::{BarAsk, BarSource, Errand};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe};
use panscan_fetch::{Polygon, PolygonConfig, Secret, gunzip};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::decode::{gzip, typed};
use super::{BenchError, Case, median};
use crate::clock::SystemClock;

/// Minutes of a session with its extended hours.
const MINUTES: usize = 960;
/// What end-to-end fetching of plain bodies has to reach, records a second.
const PLAIN_GOAL: f64 = 5e6;
/// What a gzipped one has to reach of inflating alone.
const GZIP_GOAL: f64 = 0.6;
/// Fetches under way at once: a core decodes while the other one receives.
const AT_ONCE: usize = 4;
/// Largest request head that is read.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A question with the body that answers it.
struct Page {
    name: &'static str,
    ask: BarAsk,
    rows: usize,
    /// Fetches of one sample.
    fetches: usize,
    body: Vec<u8>,
}

pub(super) async fn run(rounds: usize, progress: &dyn Fn(&Case)) -> Result<Vec<Case>, BenchError> {
    let mut cases = Vec::new();
    for page in [minutes(50_000)?, days(252)?] {
        let plain = taken(&page, &answer(&page.body, false), rounds).await?;
        let typed = in_parallel(rounds, page.fetches, &page.body, |body, _| {
            black_box(typed(body));
        });
        let records = (page.rows * page.fetches) as f64;
        let rate = |taken: Duration| records / taken.as_secs_f64();
        let case = Case::rate(page.name, rate(plain), "records/s", rounds, ("serde_json", rate(typed)));
        cases.push(if page.rows > MINUTES { case.value_at_least(PLAIN_GOAL) } else { case });
        if page.rows > MINUTES {
            let packed = gzip(&page.body)?;
            let fetched = taken(&page, &answer(&packed, true), rounds).await?;
            let inflated = in_parallel(rounds, page.fetches, &packed, |packed, body| {
                black_box(gunzip(packed, body).map_or(0, |()| body.len()));
            });
            let name = format!("{}_gzip", page.name);
            let case = Case::rate(name, rate(fetched), "records/s", rounds, ("inflate", rate(inflated)));
            cases.push(case.at_least(GZIP_GOAL));
        }
    }
    cases.iter().for_each(progress);
    Ok(cases)
}

/// The median time of a sample: all its fetches, a few under way at once.
async fn taken(page: &Page, answer: &Arc<[u8]>, rounds: usize) -> Result<Duration, BenchError> {
    let stop = CancellationToken::new();
    let addr = serve(answer.clone(), stop.clone()).await.map_err(|e| BenchError::of("the socket")(&e))?;
    let outcome = sampled(page, addr, rounds).await;
    stop.cancel();
    outcome
}

async fn sampled(page: &Page, addr: SocketAddr, rounds: usize) -> Result<Duration, BenchError> {
    let key = Some(Secret::new("bench"));
    let config = PolygonConfig::new(format!("http://{addr}"), key, Quota::UNLIMITED, Arc::new(SystemClock));
    let source = Polygon::new(config).map_err(|e| BenchError::of("the client")(&e))?;
    let source = Arc::new(source);
    let mut times = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        let started = Instant::now();
        let loops = (0..AT_ONCE).map(|n| {
            let (source, ask, rows) = (source.clone(), page.ask.clone(), page.rows);
            let fetches = page.fetches / AT_ONCE + usize::from(n < page.fetches % AT_ONCE);
            async move {
                let fetching = tokio::spawn(async move {
                    for _ in 0..fetches {
                        let fetched = source.fetch(&ask, Errand::background()).await;
                        let fetched = fetched.map_err(|e| BenchError::of("a fetch")(&e))?;
                        let bars = fetched.block.count_bars();
                        if bars != rows {
                            let message = format!("{bars} of {rows} bars came");
                            return Err(BenchError::Failed { what: "a fetch", message });
                        }
                        black_box(fetched);
                    }
                    Ok(())
                });
                fetching.await.map_err(|e| BenchError::of("a fetch")(&e))?
            }
        });
        try_join_all(loops).await?;
        if round > 0 {
            times.push(started.elapsed());
        }
    }
    Ok(median(&mut times))
}

/// The median time of `times` runs over the same bytes on every core, each with memory of its own that it uses again.
fn in_parallel(
    rounds: usize,
    times: usize,
    bytes: &[u8],
    work: impl Fn(&[u8], &mut Vec<u8>) + Sync,
) -> Duration {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut taken = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for n in 0..cores {
                let (work, mine) = (&work, times / cores + usize::from(n < times % cores));
                scope.spawn(move || {
                    let mut room = Vec::new();
                    (0..mine).for_each(|_| work(black_box(bytes), &mut room));
                });
            }
        });
        taken.push(started.elapsed());
    }
    median(&mut taken)
}

/// A whole answer, head included.
fn answer(body: &[u8], packed: bool) -> Arc<[u8]> {
    let encoding = if packed { "content-encoding: gzip\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{encoding}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat().into()
}

async fn serve(answer: Arc<[u8]>, stop: CancellationToken) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                taken = listener.accept() => {
                    let Ok((stream, _)) = taken else { return };
                    let (answer, stop) = (answer.clone(), stop.clone());
                    tokio::spawn(async move {
                        tokio::select! { () = stop.cancelled() => {}, _ = converse(stream, &answer) => {} }
                    });
                }
            }
        }
    });
    Ok(addr)
}

/// Answers each request of a connection alike.
async fn converse(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(1 << 10);
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 || head.len() > HEAD_BYTES_MAX {
                return Ok(());
            }
        }
        stream.write_all(answer).await?;
    }
}

/// Minute bars of one symbol, as many as one call returns.
fn minutes(rows: usize) -> Result<Page, BenchError> {
    let calendar = Calendar::us_equities();
    let from = session(2024, 1, 2)?;
    let to = calendar.sessions(from, calendar.last()).get(rows / MINUTES).copied();
    let to = to.ok_or_else(|| BenchError::Failed { what: "the calendar", message: "it ends".into() })?;
    let stamps = calendar.sessions(from, to).iter().flat_map(|day| {
        let first = calendar.midnight(*day).as_millis() + 4 * 3_600_000;
        (0..MINUTES as i64).map(move |minute| first + minute * 60_000)
    });
    let body = body("AAPL", stamps.take(rows));
    let ask = BarAsk::Range { symbol: symbol()?, timeframe: Timeframe::Minutes(1), from, to };
    Ok(Page { name: "http_50000", ask, rows, fetches: 16, body })
}

/// A year of daily bars of one symbol.
fn days(rows: usize) -> Result<Page, BenchError> {
    let calendar = Calendar::us_equities();
    let from = session(2024, 1, 2)?;
    let sessions = calendar.sessions(from, calendar.last());
    let sessions = sessions.get(..rows).unwrap_or(sessions);
    let to = sessions.last().copied().unwrap_or(from);
    let body = body("AAPL", sessions.iter().map(|day| calendar.midnight(*day).as_millis()));
    let ask = BarAsk::Range { symbol: symbol()?, timeframe: Timeframe::Day, from, to };
    Ok(Page { name: "http_252", ask, rows: sessions.len(), fetches: 400, body })
}

fn session(year: i16, month: i8, day: i8) -> Result<SessionDate, BenchError> {
    SessionDate::from_ymd(year, month, day)
        .ok_or_else(|| BenchError::Failed { what: "the calendar", message: "no such day".to_owned() })
}

fn symbol() -> Result<Symbol, BenchError> {
    Symbol::new("AAPL").map_err(|e| BenchError::of("the symbol")(&e))
}

/// A page as the provider writes it: whole and fractional volumes, two to four decimals.
pub(super) fn body(ticker: &str, stamps: impl Iterator<Item = i64>) -> Vec<u8> {
    let mut text = format!(
        r#"{{"ticker":"{ticker}","queryCount":50000,"resultsCount":50000,"adjusted":false,"results":["#
    );
    let mut state = 7_u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for (row, stamp) in stamps.enumerate() {
        let comma = if row == 0 { "" } else { "," };
        let (units, cents, volume) = (50 + random(300), random(100), 1_000_000 + random(90_000_000));
        let fraction = if random(12) == 0 { format!(".{}", random(9) + 1) } else { String::new() };
        let more = random(10_000);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{comma}{{\"v\":{volume}{fraction},\"vw\":{units}.{more:04},\"o\":{units}.{cents:02},\
             \"c\":{units}.{:02},\"h\":{}.{cents:02},\"l\":{}.{more:04},\"t\":{stamp},\"n\":{}}}",
            random(100),
            units + 1,
            units - 1,
            random(900_000)
        );
    }
    text.push_str(r#"],"status":"OK","request_id":"6a7e466379af0a71039d60cc78e72282","count":50000}"#);
    text.into_bytes()
}
