//! The answer of a scan as it arrives, held to the order that the contract promises.

use std::sync::Arc;
use std::time::Duration;

use panscan_proto::convert::answer::{Diagnostic, Header, Summary};
use panscan_proto::convert::batch::Batch;
use panscan_proto::convert::frame::ScanFrame;
use panscan_proto::convert::request::ScanRequest;
use panscan_proto::v1;
use tonic::Streaming;

use crate::call::Call;
use crate::connect::Client;
use crate::error::ClientError;
use crate::row::{Row, ScanResult};

/// The answer of a scan as it arrives. Dropped early, it cancels the call.
#[derive(Debug)]
pub struct ScanStream {
    call: Call,
    stream: Streaming<v1::ScanUniverseResponse>,
    header: Arc<Header>,
    /// Rows that [`ScanStream::next_row`] has not handed out yet.
    open: Option<Row>,
    next_rank: Option<usize>,
    diagnostics: Vec<Diagnostic>,
    summary: Option<Summary>,
    failed: bool,
}

impl ScanStream {
    pub(crate) async fn open(
        client: Client,
        request: &ScanRequest,
        timeout: Option<Duration>,
    ) -> Result<Self, ClientError> {
        let shared = &*client.shared;
        let mut call = Call::new(timeout);
        let message = v1::ScanUniverseRequest::from(request);
        let attempt = || async {
            let mut stub = shared.scanner();
            let request = shared.request(message.clone(), &call);
            let mut stream = call.within(stub.scan_universe(request)).await?.into_inner();
            let first = call.within(stream.message()).await?;
            let first = first.ok_or_else(|| call.breach("the answer ended before its header"))?;
            match ScanFrame::read(first, None).map_err(|e| call.broken(&e))? {
                ScanFrame::Header(header) => Ok((stream, header)),
                _ => Err(call.breach("the answer does not start with a header")),
            }
        };
        let (stream, header) = shared.retried(&call, attempt).await?;
        call.scan_id = Some(header.scan_id.clone());
        Ok(Self {
            call,
            stream,
            header: Arc::from(header),
            open: None,
            next_rank: None,
            diagnostics: Vec::new(),
            summary: None,
            failed: false,
        })
    }

    /// What runs, on which snapshot, and the columns.
    #[must_use]
    pub fn header(&self) -> &Arc<Header> {
        &self.header
    }

    /// What was said of the answer so far.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Counts and times; there once the last row was handed out.
    #[must_use]
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    /// The next rows as they were sent, by column; `None` after the last. Rows that [`ScanStream::next_row`]
    /// began to hand out are not among them.
    ///
    /// **Waits for** the server until the call's deadline. **If dropped** while it waits, nothing is lost: the
    /// next call goes on.
    ///
    /// # Errors
    ///
    /// Whatever ends the stream before its summary; after an error the stream is at its end.
    pub async fn next_batch(&mut self) -> Result<Option<Arc<Batch>>, ClientError> {
        if self.failed {
            return Ok(None);
        }
        let outcome = self.advance().await;
        self.failed = outcome.is_err();
        outcome
    }

    async fn advance(&mut self) -> Result<Option<Arc<Batch>>, ClientError> {
        loop {
            let message = self.call.within(self.stream.message()).await?;
            let Some(message) = message else {
                return match self.summary {
                    Some(_) => Ok(None),
                    None => Err(self.call.breach("the answer ended without a summary")),
                };
            };
            if self.summary.is_some() {
                return Err(self.call.breach("the answer goes on after its summary"));
            }
            let frame = ScanFrame::read(message, Some(&self.header.columns));
            match frame.map_err(|e| self.call.broken(&e))? {
                ScanFrame::Header(_) => return Err(self.call.breach("the answer has a second header")),
                ScanFrame::Batch(batch) if batch.symbols.is_empty() => {}
                ScanFrame::Batch(batch) => {
                    if self.next_rank.is_some_and(|rank| rank != batch.first_rank) {
                        return Err(self.call.breach("the answer has a hole in its ranks"));
                    }
                    self.next_rank = Some(batch.first_rank + batch.symbols.len());
                    return Ok(Some(Arc::new(batch)));
                }
                ScanFrame::Diagnostic(diagnostic) => self.diagnostics.push(diagnostic),
                ScanFrame::Summary(summary) => self.summary = Some(*summary),
            }
        }
    }

    /// The next row, best first; `None` after the last.
    ///
    /// # Errors
    ///
    /// Those of [`ScanStream::next_batch`].
    pub async fn next_row(&mut self) -> Result<Option<Row>, ClientError> {
        let row = match self.open.take() {
            Some(row) => row,
            None => match self.next_batch().await? {
                Some(batch) => Row { header: self.header.clone(), batch, at: 0 },
                None => return Ok(None),
            },
        };
        if row.at + 1 < row.batch.symbols.len() {
            self.open = Some(Row { at: row.at + 1, ..row.clone() });
        }
        Ok(Some(row))
    }

    /// The rest of the answer.
    ///
    /// # Errors
    ///
    /// Those of [`ScanStream::next_batch`]; rows that arrived before it are lost. To keep them, ask row by row.
    pub async fn collect(mut self) -> Result<ScanResult, ClientError> {
        let mut rows = Vec::new();
        if let Some(open) = self.open.take() {
            let rest = open.at..open.batch.symbols.len();
            rows.extend(rest.map(|at| Row { at, ..open.clone() }));
        }
        while let Some(batch) = self.next_batch().await? {
            let all = 0..batch.symbols.len();
            rows.extend(all.map(|at| Row { header: self.header.clone(), batch: batch.clone(), at }));
        }
        let summary = self.summary.ok_or_else(|| self.call.breach("the answer had failed before"))?;
        Ok(ScanResult { header: self.header, rows, diagnostics: self.diagnostics, summary })
    }
}
