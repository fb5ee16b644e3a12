//! The stream of `ScanHistory`: header, then each session's rows as it gets ready, diagnostics, summary.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt, stream};
use panscan_core::calendar::Calendar;
use panscan_core::scan::{Backend, Precision};
use panscan_core::snapshot::Snapshot;
use panscan_engine::{EngineError, HistoryEnd, HistoryEvent, HistoryHead, HistorySession, HistoryStream};
use panscan_proto::convert::answer::{Cost, Header, Summary, columns};
use panscan_proto::convert::history::{SessionCounts, finished, frames};
use panscan_proto::convert::request::Format;
use panscan_proto::v1::{self, ArrowBatch, ScanHistoryResponse, scan_history_response::Frame};
use tonic::Status;

use super::arrow::ArrowFrames;
use super::status;

/// The header of an answer.
pub(super) fn header(head: &HistoryHead) -> Header {
    let calendar = Calendar::us_equities();
    let cost = Cost {
        universe_symbols: head.cost.universe as u64,
        population_symbols: head.cost.population as u64,
        missing_cells: head.cost.missing_cells,
        provider_calls: head.cost.calls,
        fetch_time: head.cost.fetch_time,
        ..Cost::of(&head.plan)
    };
    Header {
        scan_id: head.scan_id.clone(),
        snapshot_id: head.published.snapshot.id.to_string(),
        as_of: calendar.close(head.range.1),
        history_start: calendar.midnight(head.history_start),
        columns: columns(&head.plan),
        cost,
        fingerprint: head.plan.fingerprint.to_string(),
        backend: Backend::Cpu,
        precision: Precision::F64,
        point_in_time: head.point_in_time,
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Turns sessions into messages.
struct Writer {
    head: HistoryHead,
    snapshot: Snapshot,
    format: Format,
    batch_rows: usize,
    arrow: Option<ArrowFrames>,
    /// The schema is still to be sent.
    is_first: bool,
}

impl Writer {
    fn session(&mut self, session: &HistorySession) -> Result<Vec<v1::HistoryBatch>, EngineError> {
        let counted = Summary::of(&session.rows);
        let counts = SessionCounts {
            matched: counted.matched,
            scanned: session.scanned as u64,
            excluded: counted.excluded,
            complete: session.complete,
        };
        let plan = &self.head.plan;
        let Some(arrow) = &mut self.arrow else {
            let (rows, snapshot) = (&session.rows, &self.snapshot);
            return Ok(frames(self.format, session.session, rows, &counts, plan, snapshot, self.batch_rows));
        };
        let failed = |error: arrow_schema::ArrowError| EngineError::Internal(error.to_string());
        let mut messages = Vec::new();
        if std::mem::take(&mut self.is_first) {
            messages.push(arrow.schema().map_err(failed)?);
        }
        let total = session.rows.symbols.len();
        for at in (0..total).step_by(self.batch_rows) {
            let range = at..(at + self.batch_rows).min(total);
            messages.extend(arrow.session(plan, &session.rows, range).map_err(failed)?);
        }
        let batch = |message: Vec<u8>| v1::HistoryBatch {
            arrow: Some(ArrowBatch { ipc_message: message.into() }),
            ..Default::default()
        };
        Ok(finished(session.session, &counts, messages.into_iter().map(batch).collect()))
    }
}

/// The whole stream of an answer.
pub(super) fn stream(
    source: HistoryStream,
    format: Format,
    batch_rows: usize,
) -> impl Stream<Item = Result<ScanHistoryResponse, Status>> + Send + 'static {
    let (head, snapshot) = (source.head().clone(), source.snapshot().clone());
    let first = stream::iter([Ok(Frame::Header((&header(&head)).into()))]);
    let arrow = (format == Format::Arrow).then(|| ArrowFrames::of(&head.plan, &snapshot, None));
    let mut writer = Writer { head, snapshot, format, batch_rows: batch_rows.max(1), arrow, is_first: true };
    // One event at a time is taken from the engine, when the reader has room for it.
    let events = stream::unfold(Some(source), |source| async move {
        let mut source = source?;
        match source.next().await {
            Ok(Some(event)) => Some((Ok(event), Some(source))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    let messages = events.flat_map(move |event| {
        let frames = match event {
            Ok(HistoryEvent::Session(session)) => match writer.session(&session) {
                Ok(batches) => batches.into_iter().map(|batch| Ok(Frame::Batch(batch))).collect(),
                Err(error) => vec![Err(status::of(error))],
            },
            Ok(HistoryEvent::Diagnostic(said)) => vec![Ok(Frame::Diagnostic((&said).into()))],
            Ok(HistoryEvent::End(end)) => vec![Ok(Frame::Summary((&summary(&end)).into()))],
            Err(error) => vec![Err(status::of(error))],
        };
        stream::iter(frames)
    });
    first.chain(messages).map(|frame| Ok(ScanHistoryResponse { frame: Some(frame?) }))
}

fn summary(end: &HistoryEnd) -> Summary {
    let mut cells_by_tier = BTreeMap::new();
    if end.fetched_bars > 0 {
        cells_by_tier.insert("provider".to_owned(), end.fetched_bars);
    }
    Summary {
        returned: end.returned,
        scanned: end.scanned,
        complete: end.complete,
        plan_time: end.plan,
        fetch_time: end.fetch,
        compute_time: end.compute,
        total_time: end.elapsed,
        provider_calls: end.provider_calls,
        cells_by_tier,
        ..Summary::of(&end.rows)
    }
}
