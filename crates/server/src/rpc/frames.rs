//! The messages of a scan stream, made one by one as the reader takes them: header, rows, diagnostics, summary.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use panscan_core::plan::Shape;
use panscan_engine::ScanAnswer;
use panscan_proto::convert::answer::{self, Cost, Header, Summary};
use panscan_proto::convert::request::Format;
use panscan_proto::convert::table;
use panscan_proto::v1::{self, ArrowBatch, ScanUniverseResponse, scan_universe_response::Frame};
use tokio::time::Instant;
use tonic::Status;

use super::arrow::ArrowFrames;

/// How the rows of an answer are to leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) format: Format,
    pub(super) batch_rows: usize,
    /// Rank of the first row.
    pub(super) first_rank: usize,
    /// When the call came in.
    pub(super) started: Instant,
}

/// The header of an answer.
pub(super) fn header(answer: &ScanAnswer) -> v1::ScanHeader {
    let plan = &answer.plan;
    let cost = Cost {
        universe_symbols: answer.cost.universe as u64,
        population_symbols: answer.cost.population as u64,
        cross_sectional_nodes: plan.nodes.iter().filter(|n| n.shape == Shape::Cross).count() as u64,
        missing_cells: answer.cost.missing_cells,
        provider_calls: answer.cost.calls,
        fetch_time: answer.cost.fetch_time,
        kinds: answer.cost.kinds,
        fetch_bytes: answer.cost.fetch_bytes,
        // Ten bytes a nanosecond and thread is what scans of resident panels were measured to read.
        compute_time: Duration::from_nanos(answer.cost.bytes / 10),
        bytes_touched: answer.cost.bytes,
        ..Cost::of(plan)
    };
    let snapshot = &answer.published.snapshot;
    let header = Header::new(&answer.scan_id, plan, snapshot, cost, env!("CARGO_PKG_VERSION"));
    (&Header { point_in_time: answer.point_in_time, ..header }).into()
}

/// The whole stream of an answer.
pub(super) fn frames(
    answer: Arc<ScanAnswer>,
    form: Form,
    next_page_token: String,
) -> impl Stream<Item = Result<ScanUniverseResponse, Status>> + Send + 'static {
    let first = stream::iter([Ok(message(Frame::Header(header(&answer))))]);
    let diagnostics: Vec<_> =
        answer.diagnostics.iter().map(|d| Ok(message(Frame::Diagnostic(d.into())))).collect();
    let last = summary(answer.clone(), form, next_page_token);
    first.chain(rows(answer, form)).chain(stream::iter(diagnostics)).chain(stream::once(last))
}

fn rows(
    answer: Arc<ScanAnswer>,
    form: Form,
) -> impl Stream<Item = Result<ScanUniverseResponse, Status>> + Send {
    let total = answer.rows.symbols.len();
    let ranges = (0..total).step_by(form.batch_rows).map(move |at| at..(at + form.batch_rows).min(total));
    let mut arrow = (form.format == Format::Arrow).then(|| ArrowFrames::new(&answer));
    let schema = arrow.as_mut().map(|a| a.schema().map(ipc));
    let head = schema.map(|s| s.map_err(|error| internal(&error)));
    let batches = ranges.flat_map(move |range| {
        let snapshot = &answer.published.snapshot;
        match &mut arrow {
            Some(arrow) => match arrow.batch(&answer, range.clone(), form.first_rank + range.start) {
                Ok(messages) => messages.into_iter().map(|m| Ok(ipc(m))).collect(),
                Err(error) => vec![Err(internal(&error))],
            },
            None => table::frames(form.format, &answer.rows, &answer.plan, snapshot, range, form.first_rank)
                .into_iter()
                .map(Ok)
                .collect::<Vec<_>>(),
        }
    });
    stream::iter(head.into_iter().chain(batches))
}

async fn summary(
    answer: Arc<ScanAnswer>,
    form: Form,
    next_page_token: String,
) -> Result<ScanUniverseResponse, Status> {
    let mut summary = Summary {
        scanned: answer.scanned as u64,
        complete: answer.complete,
        next_page_token,
        plan_time: answer.timing.plan,
        fetch_time: answer.timing.fetch,
        compute_time: answer.timing.compute,
        total_time: form.started.elapsed(),
        provider_calls: answer.provider_calls,
        nodes: answer::Summary::timings(&answer.plan, &answer.rows),
        ..Summary::of(&answer.rows)
    };
    if answer.stale > 0 {
        summary.excluded.insert("stale".to_owned(), answer.stale as u64);
    }
    if answer.fetched_bars > 0 {
        summary.cells_by_tier.insert("provider".to_owned(), answer.fetched_bars);
    }
    Ok(message(Frame::Summary((&summary).into())))
}

fn message(frame: Frame) -> ScanUniverseResponse {
    ScanUniverseResponse { frame: Some(frame) }
}

fn ipc(ipc_message: Vec<u8>) -> ScanUniverseResponse {
    message(Frame::Arrow(ArrowBatch { ipc_message: ipc_message.into() }))
}

fn internal(error: &dyn std::error::Error) -> Status {
    super::status::of(panscan_engine::EngineError::Internal(error.to_string()))
}
