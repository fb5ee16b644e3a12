//! Expressions at every bar: of held bars, or of bars that are sent along.

use std::time::Duration;

use panscan_core::scan::{Adjustment, DataPolicy};
use panscan_core::snapshot::SnapshotId;
use panscan_core::time::Timeframe;
use panscan_proto::convert::answer::{Diagnostic, Header};
use panscan_proto::convert::bars::{BarRange, BarsSummary};
use panscan_proto::convert::series::{GivenBars, IndicatorPart, IndicatorsAsk, IndicatorsFrame};
use panscan_proto::v1;
use tonic::Streaming;

use crate::call::Call;
use crate::connect::Client;
use crate::error::ClientError;

/// Expressions to be computed at every bar.
#[derive(Debug, Clone)]
pub struct IndicatorsQuery {
    client: Client,
    ask: IndicatorsAsk,
    timeout: Option<Duration>,
}

impl IndicatorsQuery {
    pub(crate) fn new(client: Client, ask: IndicatorsAsk) -> Self {
        let timeout = client.shared.timeout;
        Self { client, ask, timeout }
    }

    /// Adds an expression; sma(5), sma(20), vwap(20) and rsi(14) where there is none.
    #[must_use]
    pub fn column(mut self, expression: impl Into<String>) -> Self {
        self.ask.columns.push(expression.into());
        self
    }

    /// Adds bars of this symbol to compute on instead of held ones.
    #[must_use]
    pub fn over(mut self, bars: GivenBars) -> Self {
        self.ask.given.push(bars);
        self
    }

    /// On bars of this interval; a day by default.
    #[must_use]
    pub fn timeframe(mut self, timeframe: Timeframe) -> Self {
        self.ask.timeframe = timeframe;
        self
    }

    /// The values of these bars; the newest 500, or all that are sent along, by default.
    #[must_use]
    pub fn range(mut self, range: BarRange) -> Self {
        self.ask.range = Some(range);
        self
    }

    /// Adjusts prices so; for splits by default.
    #[must_use]
    pub fn adjustment(mut self, adjustment: Adjustment) -> Self {
        self.ask.adjustment = adjustment;
        self
    }

    /// Takes the bars from exactly this snapshot.
    #[must_use]
    pub fn snapshot(mut self, id: &str) -> Self {
        self.ask.snapshot = Some(SnapshotId(id.into()));
        self
    }

    /// What to do about bars that are not held.
    #[must_use]
    pub fn policy(mut self, policy: DataPolicy) -> Self {
        self.ask.policy = policy;
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
    /// # Errors
    ///
    /// Whatever the server refuses or fails with before the header.
    pub async fn send(self) -> Result<IndicatorsStream, ClientError> {
        let message = v1::ComputeIndicatorsRequest::from(&self.ask);
        let shared = &*self.client.shared;
        let call = Call::new(self.timeout);
        let attempt = || async {
            let mut stub = shared.indicators();
            let request = shared.request(message.clone(), &call);
            let mut stream = call.within(stub.compute_indicators(request)).await?.into_inner();
            let first = call.within(stream.message()).await?;
            let first = first.ok_or_else(|| call.breach("the answer ended before its header"))?;
            match IndicatorsFrame::read(first, &[]).map_err(|e| call.broken(&e))? {
                IndicatorsFrame::Header(header) => Ok((stream, *header)),
                _ => Err(call.breach("the answer does not start with a header")),
            }
        };
        let (stream, header) = shared.retried(&call, attempt).await?;
        Ok(IndicatorsStream { call, stream, header, diagnostics: Vec::new(), summary: None, failed: false })
    }
}

/// Values as they arrive. Dropped early, it cancels the call.
#[derive(Debug)]
pub struct IndicatorsStream {
    call: Call,
    stream: Streaming<v1::ComputeIndicatorsResponse>,
    header: Header,
    diagnostics: Vec<Diagnostic>,
    summary: Option<BarsSummary>,
    failed: bool,
}

impl IndicatorsStream {
    /// The snapshot, and the columns.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What was said of the answer so far.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Counts and times; there once the last values were handed out.
    #[must_use]
    pub fn summary(&self) -> Option<&BarsSummary> {
        self.summary.as_ref()
    }

    /// The next values; a long symbol may take several calls, in time order. `None` after the last.
    ///
    /// # Errors
    ///
    /// Whatever ends the stream before its summary; after an error the stream is at its end.
    pub async fn next_part(&mut self) -> Result<Option<IndicatorPart>, ClientError> {
        if self.failed {
            return Ok(None);
        }
        let outcome = self.advance().await;
        self.failed = outcome.is_err();
        outcome
    }

    async fn advance(&mut self) -> Result<Option<IndicatorPart>, ClientError> {
        loop {
            let Some(message) = self.call.within(self.stream.message()).await? else {
                return match self.summary {
                    Some(_) => Ok(None),
                    None => Err(self.call.breach("the answer ended without a summary")),
                };
            };
            if self.summary.is_some() {
                return Err(self.call.breach("the answer goes on after its summary"));
            }
            match IndicatorsFrame::read(message, &self.header.columns).map_err(|e| self.call.broken(&e))? {
                IndicatorsFrame::Header(_) => return Err(self.call.breach("the answer has a second header")),
                IndicatorsFrame::Series(part) => return Ok(Some(part)),
                IndicatorsFrame::Diagnostic(diagnostic) => self.diagnostics.push(diagnostic),
                IndicatorsFrame::Summary(summary) => self.summary = Some(summary),
            }
        }
    }
}
