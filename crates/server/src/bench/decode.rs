//! The decode suite: an answer's bytes to columns, against the general parser.

use std::hint::black_box;
use std::io::Write as _;
use std::time::Duration;

use panscan_fetch::decode::{Aggregates, aggregates, aggregates_serde};
use panscan_fetch::gunzip;
use serde::Deserialize;

use super::http::{self, body};
use super::{BenchError, Case, Options, alternate};

/// The first stamp of the body, and the distance from one to the next.
const FIRST_MS: i64 = 1_577_941_200_000;
const DAY_MS: i64 = 86_400_000;
/// Rows of the large body: what one call of the provider returns at most.
const ROWS: usize = 50_000;

pub(super) async fn run(options: &Options, progress: &dyn Fn(&Case)) -> Result<Vec<Case>, BenchError> {
    let rounds = options.iterations.unwrap_or(25);
    let body = body("AAPL", (0..ROWS as i64).map(|row| FIRST_MS + row * DAY_MS));
    let packed = gzip(&body)?;
    same(&read(&body)?, &aggregates_serde(&body).map_err(|e| BenchError::of("serde_json")(&e))?)?;
    let (mut room, mut space) = (Vec::new(), Vec::new());
    let taken = alternate(
        rounds,
        &mut [
            &mut || drop(black_box(aggregates(black_box(&body)))),
            &mut || {
                black_box(typed(black_box(&body)));
            },
            &mut || drop(black_box(gunzip(&packed, &mut room).map(|()| aggregates(&room)))),
            &mut || drop(black_box(gunzip(&packed, &mut space).map(|()| typed(&space)))),
        ],
    );
    let rate = |taken: Duration| ROWS as f64 / taken.as_secs_f64();
    let [plain, serde, packed, packed_serde] = taken[..] else { return Ok(Vec::new()) };
    let mut cases = vec![
        Case::rate("aggs_50000", rate(plain), "records/s", rounds, ("serde_json", rate(serde))).at_least(2.5),
        Case::rate("aggs_50000_gzip", rate(packed), "records/s", rounds, ("serde_json", rate(packed_serde))),
    ];
    cases.iter().for_each(progress);
    cases.extend(http::run(rounds, progress).await?);
    Ok(cases)
}

/// The baseline: what a program would write with serde_json, without any of the checks.
#[derive(Deserialize)]
struct Plain {
    results: Vec<PlainRow>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "decoding them is what is measured")]
struct PlainRow {
    v: f64,
    vw: Option<f64>,
    o: f64,
    c: f64,
    h: f64,
    l: f64,
    t: i64,
    n: Option<u64>,
}

pub(super) fn typed(body: &[u8]) -> usize {
    serde_json::from_slice::<Plain>(body).map_or(0, |plain| plain.results.len())
}

fn read(body: &[u8]) -> Result<Aggregates, BenchError> {
    aggregates(body).map_err(|e| BenchError::of("the decoder")(&e))
}

fn same(a: &Aggregates, b: &Aggregates) -> Result<(), BenchError> {
    let bits = |rows: &Aggregates| {
        rows.rows.iter().map(|r| (r.stamp_ms, r.values.map(f64::to_bits))).collect::<Vec<_>>()
    };
    if a.rows.len() == ROWS && bits(a) == bits(b) {
        return Ok(());
    }
    let message = format!("{} and {} rows, or different bits", a.rows.len(), b.rows.len());
    Err(BenchError::Failed { what: "the decoders", message })
}

pub(super) fn gzip(body: &[u8]) -> Result<Vec<u8>, BenchError> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.map_err(|e| BenchError::of("gzip")(&e))
}
