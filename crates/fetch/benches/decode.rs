//! Records per second and core of the two decoders of aggregates and of a plain serde_json struct, on a
//! page of 50,000 bars: `cargo bench -p panscan-fetch --bench decode`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for people that prints what it measured"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use panscan_fetch::decode::{aggregates, aggregates_serde};

const ROUNDS: usize = 40;

/// A row as one would first write it: every field there, every number a float.
#[derive(serde::Deserialize)]
struct Line {
    v: f64,
    vw: f64,
    o: f64,
    c: f64,
    h: f64,
    l: f64,
    t: i64,
    n: f64,
}

#[derive(serde::Deserialize)]
struct Page {
    results: Vec<Line>,
}

fn plain(body: &[u8]) -> usize {
    let page: Page = serde_json::from_slice(body).unwrap();
    let mut columns: [Vec<f64>; 7] = std::array::from_fn(|_| Vec::with_capacity(page.results.len()));
    let mut starts = Vec::with_capacity(page.results.len());
    for line in &page.results {
        let values = [line.o, line.h, line.l, line.c, line.v, line.vw, line.n];
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        starts.push(line.t);
    }
    black_box((&columns, &starts));
    starts.len()
}

/// Bars like the market's: prices with two decimals, 15 % with four, 8 % of the volumes fractional.
fn body(rows: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut text =
        String::from("{\"ticker\":\"AAPL\",\"queryCount\":50000,\"resultsCount\":50000,\"adjusted\":false,");
    text.push_str("\"results\":[");
    for i in 0..rows {
        let price = 20.0 + 400.0 * rng.f64();
        let decimals = |rng: &mut fastrand::Rng| if rng.f64() < 0.15 { 4 } else { 2 };
        let (open, close) = (decimals(&mut rng), decimals(&mut rng));
        let volume = match rng.f64() < 0.08 {
            true => format!("{:.1}", rng.f64() * 1e6),
            false => format!("{}", rng.u32(100..5_000_000)),
        };
        if i > 0 {
            text.push(',');
        }
        text.push_str(&format!(
            "{{\"v\":{volume},\"vw\":{:.4},\"o\":{:.open$},\"c\":{:.close$},\"h\":{:.2},\"l\":{:.2},\"t\":{},\"n\":{}}}",
            price,
            price + rng.f64(),
            price - rng.f64(),
            price + 2.0,
            price - 2.0,
            1_651_003_200_000u64 + 60_000 * i as u64,
            rng.u32(1..90_000),
        ));
    }
    text.push_str("],\"status\":\"OK\",\"request_id\":\"5e5378d5ecaf3df794bb52e45d015d2e\",\"count\":50000}");
    text.into_bytes()
}

fn best(rounds: usize, mut work: impl FnMut() -> usize) -> (Duration, usize) {
    let mut best = Duration::MAX;
    let mut rows = 0;
    for _ in 0..rounds {
        let began = Instant::now();
        rows = black_box(work());
        best = best.min(began.elapsed());
    }
    (best, rows)
}

fn main() {
    for (count, rounds) in [(50_000, ROUNDS), (252, ROUNDS * 100)] {
        let body = body(count);
        println!("{count} rows, {} bytes, {:.1} a row", body.len(), body.len() as f64 / count as f64);
        let read = |name: &str, baseline: Option<f64>, work: &mut dyn FnMut() -> usize| {
            let (time, rows) = best(rounds, work);
            assert_eq!(rows, count);
            let rate = rows as f64 / time.as_secs_f64() / 1e6;
            let speed = body.len() as f64 / time.as_secs_f64() / 1e6;
            let ratio =
                baseline.map_or(String::new(), |base| format!(", {:.2} times the plain struct", rate / base));
            println!(
                "  {name:<24} {:>8.3} ms {rate:>6.2} M records/s {speed:>6.0} MB/s{ratio}",
                time.as_secs_f64() * 1e3
            );
            rate
        };
        let base = read("serde_json plain struct", None, &mut || plain(&body));
        read("serde_json lenient", Some(base), &mut || {
            aggregates_serde(&body).map_or(0, |page| page.rows.len())
        });
        read("scanner", Some(base), &mut || aggregates(&body).map_or(0, |page| page.rows.len()));
    }
}
