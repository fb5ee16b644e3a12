//! A scan as of every session of a range: how it is asked for, and its answer as it arrives.

use std::sync::Arc;
use std::time::Duration;

use panscan_core::time::SessionDate;
use panscan_proto::convert::answer::{Diagnostic, Header, Summary};
use panscan_proto::convert::history::{HistoryAsk, HistoryFrame, SessionBatch};
use panscan_proto::convert::request::Format;
use panscan_proto::v1;
use tonic::Streaming;

use crate::call::Call;
use crate::connect::Client;
use crate::error::ClientError;
use crate::row::Row;
use crate::scan::Scan;

/// A scan of past sessions to be sent; made by [`Scan::history`].
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    client: Client,
    ask: HistoryAsk,
    timeout: Option<Duration>,
}

impl HistoryQuery {
    pub(crate) fn new(client: Client, scan: &Scan, from: SessionDate, to: SessionDate) -> Self {
        let request = scan.request();
        let ask = HistoryAsk {
            spec: request.spec.clone(),
            saved_scan: request.saved_scan.clone(),
            from,
            to,
            step: 1,
            format: request.format,
            policy: request.policy,
        };
        Self { client, ask, timeout: scan.bound() }
    }

    /// Takes every so many sessions.
    #[must_use]
    pub fn step(mut self, sessions: usize) -> Self {
        self.ask.step = sessions.max(1);
        self
    }

    /// Has the rows sent in this form; columns by default. What comes out of the stream is the same.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.ask.format = if format == Format::Arrow { Format::Columns } else { format };
        self
    }

    /// Ends the call after this long, fetching included.
    #[must_use]
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = Some(span);
        self
    }

    /// Sends it, and waits for the header.
    ///
    /// **Waits for** the server until the call's deadline. **If dropped**, the call is cancelled.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses or fails with before the header; see [`ClientError`].
    pub async fn send(self) -> Result<HistoryStream, ClientError> {
        HistoryStream::open(self.client, &self.ask, self.timeout).await
    }
}

/// The answer session by session as it arrives. Dropped early, it cancels the call.
#[derive(Debug)]
pub struct HistoryStream {
    call: Call,
    stream: Streaming<v1::ScanHistoryResponse>,
    header: Arc<Header>,
    diagnostics: Vec<Diagnostic>,
    summary: Option<Summary>,
    /// The session whose last batch has not come yet, with the rank that its next row has.
    open: Option<(SessionDate, usize)>,
    /// The newest session that came whole.
    whole: Option<SessionDate>,
    failed: bool,
}

impl HistoryStream {
    async fn open(client: Client, ask: &HistoryAsk, timeout: Option<Duration>) -> Result<Self, ClientError> {
        let shared = &*client.shared;
        let mut call = Call::new(timeout);
        let message = v1::ScanHistoryRequest::from(ask);
        let attempt = || async {
            let mut stub = shared.scanner();
            let request = shared.request(message.clone(), &call);
            let mut stream = call.within(stub.scan_history(request)).await?.into_inner();
            let first = call.within(stream.message()).await?;
            let first = first.ok_or_else(|| call.breach("the answer ended before its header"))?;
            match HistoryFrame::read(first, None).map_err(|e| call.broken(&e))? {
                HistoryFrame::Header(header) => Ok((stream, header)),
                _ => Err(call.breach("the answer does not start with a header")),
            }
        };
        let (stream, header) = shared.retried(&call, attempt).await?;
        call.scan_id = Some(header.scan_id.clone());
        Ok(Self {
            call,
            stream,
            header: Arc::from(header),
            diagnostics: Vec::new(),
            summary: None,
            open: None,
            whole: None,
            failed: false,
        })
    }

    /// What runs, and the columns; the instant is the end of the last session.
    #[must_use]
    pub fn header(&self) -> &Arc<Header> {
        &self.header
    }

    /// What was said of the answer so far.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Counts over all sessions, and times; there once the last batch was handed out.
    #[must_use]
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    /// The next rows of the next session as they were sent, with what is said of the session where they are its last;
    /// `None` after the end.
    ///
    /// **Waits for** the server until the call's deadline. **If dropped** while it waits, nothing is lost: the
    /// next call goes on.
    ///
    /// # Errors
    ///
    /// Whatever ends the stream before its summary; after an error the stream is at its end.
    pub async fn next_batch(&mut self) -> Result<Option<SessionBatch>, ClientError> {
        if self.failed {
            return Ok(None);
        }
        let outcome = self.advance().await;
        self.failed = outcome.is_err();
        outcome
    }

    async fn advance(&mut self) -> Result<Option<SessionBatch>, ClientError> {
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
            let frame = HistoryFrame::read(message, Some(&self.header.columns));
            match frame.map_err(|e| self.call.broken(&e))? {
                HistoryFrame::Header(_) => return Err(self.call.breach("the answer has a second header")),
                HistoryFrame::Batch(batch) => return self.taken(batch).map(Some),
                HistoryFrame::Diagnostic(diagnostic) => self.diagnostics.push(diagnostic),
                HistoryFrame::Summary(_) if self.open.is_some() => {
                    return Err(self.call.breach("a session ended without its last batch"));
                }
                HistoryFrame::Summary(summary) => self.summary = Some(*summary),
            }
        }
    }

    /// Holds a batch to the order of sessions and ranks.
    fn taken(&mut self, batch: SessionBatch) -> Result<SessionBatch, ClientError> {
        let next = match self.open {
            Some((session, next)) if session == batch.session => next,
            None if self.whole.is_none_or(|whole| whole < batch.session) => 1,
            _ => return Err(self.call.breach("the sessions of the answer are out of order")),
        };
        let rows = batch.batch.symbols.len();
        if rows > 0 && batch.batch.first_rank != next {
            return Err(self.call.breach("a session has a hole in its ranks"));
        }
        self.open = match batch.counts {
            Some(_) => None,
            None => Some((batch.session, next + rows)),
        };
        if self.open.is_none() {
            self.whole = Some(batch.session);
        }
        Ok(batch)
    }

    /// The next session with all of its rows; `None` after the last.
    ///
    /// # Errors
    ///
    /// Those of [`HistoryStream::next_batch`].
    pub async fn next_session(&mut self) -> Result<Option<(SessionDate, Vec<Row>)>, ClientError> {
        let mut rows = Vec::new();
        while let Some(SessionBatch { session, batch, counts }) = self.next_batch().await? {
            let batch = Arc::new(batch);
            let all = 0..batch.symbols.len();
            rows.extend(all.map(|at| Row { header: self.header.clone(), batch: batch.clone(), at }));
            if counts.is_some() {
                return Ok(Some((session, rows)));
            }
        }
        Ok(None)
    }
}
