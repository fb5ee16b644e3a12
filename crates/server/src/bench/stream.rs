//! The stream suite: whole warm scans over real gRPC, from request to last decoded cell, memo off, against a bare
//! unary round trip on the same connection.
//!
//! The goals are differences, not ratios: a round trip on a shared machine swings by its wake-up time, and both
//! sides of a difference swing with it.

use std::time::{Duration, Instant};

use arrow_ipc::reader::StreamReader;
use panscan_core::scan::Order;
use panscan_proto::convert::answer::Column;
use panscan_proto::convert::frame::ScanFrame;
use panscan_proto::convert::request::{Format, ScanRequest};
use panscan_proto::v1;
use panscan_proto::v1::scanner_client::ScannerClient;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::scan::SEED_SET;
use super::served::{Served, failed};
use super::{BURST, BenchError, Case, Options, median};

/// Longest wait for the market to be fetched.
const COLD_TIMEOUT: Duration = Duration::from_secs(600);
/// Milliseconds that the first hundred rows may take beyond a bare round trip.
const TOP_ABOVE: f64 = 0.35;
/// Milliseconds that all rows by column may.
const ALL_ABOVE: f64 = 1.0;

pub(super) async fn run(options: &Options, progress: &dyn Fn(&Case)) -> Result<Vec<Case>, BenchError> {
    let served = Served::start(options.symbols, options.bars).await?;
    let cases = measured(options, &served, progress).await;
    served.end_server().await;
    cases
}

async fn measured(
    options: &Options,
    served: &Served,
    progress: &dyn Fn(&Case),
) -> Result<Vec<Case>, BenchError> {
    let failed = failed("the client");
    let client = served.client().await?;
    let channel = endpoint(&served.address()).connect().await.map_err(|e| failed(&e))?;
    let request = |format, limit, batch| {
        let mut scan = client.scan("").columns(SEED_SET).rank_by("rsi(14)").limit(limit).request().clone();
        scan.spec.order = Order::Descending;
        ScanRequest { format, batch_rows: Some(batch), ..scan }
    };
    let cold = client.scan("").columns(SEED_SET).rank_by("rsi(14)").timeout(COLD_TIMEOUT);
    let cold = cold.collect().await.map_err(|e| failed(&e))?;
    if !cold.summary.complete {
        return Err(failed(&"the market was not fetched whole"));
    }
    let all = options.symbols;
    let parts = [
        ("top100".to_owned(), request(Format::Columns, 100, 256), Some(TOP_ABOVE)),
        (format!("columns_{all}"), request(Format::Columns, all, 8192), Some(ALL_ABOVE)),
        (format!("rows_{all}"), request(Format::Rows, all, 256), None),
        (format!("arrow_{all}"), request(Format::Arrow, all, 8192), None),
    ];
    let rounds = options.iterations.unwrap_or(400);
    let mut cases = Vec::with_capacity(parts.len());
    for (name, request, above) in parts {
        let (taken, bare) = against_bare(&channel, &request, rounds).await?;
        let case = Case::time(name, taken, rounds, ("bare_tonic", bare));
        let case = match above {
            Some(above) => case.above_by_at_most(above),
            None => case,
        };
        progress(&case);
        cases.push(case);
    }
    Ok(cases)
}

/// The median times of a whole scan and of a bare round trip beside it.
pub(super) async fn against_bare(
    channel: &Channel,
    request: &ScanRequest,
    rounds: usize,
) -> Result<(Duration, Duration), BenchError> {
    let failed =
        |error: &dyn std::fmt::Display| BenchError::Failed { what: "the client", message: error.to_string() };
    let (mut taken, mut bare) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for _ in 0..rounds.div_ceil(BURST) {
        for run in 0..=BURST {
            let message: v1::ScanUniverseRequest = request.into();
            let started = Instant::now();
            once(channel, message, request.spec.limit).await?;
            // The first of a burst finds caches that the other part filled.
            if run > 0 {
                taken.push(started.elapsed());
            }
        }
        for run in 0..=BURST {
            let started = Instant::now();
            let asked = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
            asked.map_err(|e| failed(&e))?;
            if run > 0 {
                bare.push(started.elapsed());
            }
        }
    }
    Ok((median(&mut taken), median(&mut bare)))
}

pub(super) fn endpoint(address: &str) -> Endpoint {
    let endpoint = Endpoint::from_shared(address.to_owned());
    endpoint
        .unwrap_or_else(|_| Endpoint::from_static("http://127.0.0.1"))
        .tcp_nodelay(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
}

/// One scan, every cell decoded; fewer rows than asked for is an error, not a time.
async fn once(channel: &Channel, message: v1::ScanUniverseRequest, rows: usize) -> Result<(), BenchError> {
    let failed = failed("a scan");
    let mut request = Request::new(message);
    request.metadata_mut().insert("panscan-memo", MetadataValue::from_static("off"));
    let mut client = ScannerClient::new(channel.clone()).max_decoding_message_size(16 << 20);
    let mut stream = client.scan_universe(request).await.map_err(|e| failed(&e))?.into_inner();
    let mut columns: Option<Vec<Column>> = None;
    let mut ipc: Vec<u8> = Vec::new();
    let mut seen = 0;
    while let Some(message) = stream.message().await.map_err(|e| failed(&e))? {
        if let Some(v1::scan_universe_response::Frame::Arrow(batch)) = &message.frame {
            ipc.extend_from_slice(&batch.ipc_message);
            continue;
        }
        match ScanFrame::read(message, columns.as_deref()).map_err(|e| failed(&e))? {
            ScanFrame::Header(header) => columns = Some(header.columns),
            ScanFrame::Batch(batch) => seen += batch.symbols.len(),
            _ => {}
        }
    }
    if !ipc.is_empty() {
        for batch in StreamReader::try_new(ipc.as_slice(), None).map_err(|e| failed(&e))? {
            seen += batch.map_err(|e| failed(&e))?.num_rows();
        }
    }
    if seen == rows { Ok(()) } else { Err(failed(&format!("{seen} rows instead of {rows}"))) }
}
