//! Bars of one symbol by pages, of many as a stream.

use std::time::Duration;

use panscan_core::scan::{Adjustment, BarSelection, DataPolicy, UniverseSelector};
use panscan_core::snapshot::SnapshotId;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;
use panscan_proto::convert::answer::Diagnostic;
use panscan_proto::convert::bars::{
    BARS_DEFAULT, BarRange, Bars, BarsAsk, BarsRequest, BarsSummary, BatchBarsRequest,
};
use panscan_proto::convert::frame::{BarsFrame, BarsHeader, BarsPage};
use panscan_proto::v1;
use tonic::Streaming;

use crate::call::Call;
use crate::connect::Client;
use crate::error::ClientError;

macro_rules! ask {
    () => {
        /// Bars of this interval; a day by default.
        #[must_use]
        pub fn timeframe(mut self, timeframe: Timeframe) -> Self {
            self.ask.timeframe = timeframe;
            self
        }

        /// These bars; the newest 500 by default.
        #[must_use]
        pub fn range(mut self, range: BarRange) -> Self {
            self.ask.range = range;
            self
        }

        /// The newest so many.
        #[must_use]
        pub fn last(self, bars: usize) -> Self {
            self.range(BarRange::Last(bars))
        }

        /// Adjusts prices so; for splits by default.
        #[must_use]
        pub fn adjustment(mut self, adjustment: Adjustment) -> Self {
            self.ask.adjustment = adjustment;
            self
        }

        /// Leaves the bar that is still forming out.
        #[must_use]
        pub fn closed_only(mut self) -> Self {
            self.ask.bars = BarSelection::ClosedOnly;
            self
        }

        /// Takes them from exactly this snapshot.
        #[must_use]
        pub fn snapshot(mut self, id: &str) -> Self {
            self.ask.snapshot = Some(SnapshotId(id.into()));
            self
        }

        /// Takes what is held and makes no provider call.
        #[must_use]
        pub fn cached_only(mut self) -> Self {
            self.ask.policy = DataPolicy::CachedOnly;
            self
        }

        /// Fails unless nothing is missing.
        #[must_use]
        pub fn complete(mut self) -> Self {
            self.ask.policy = DataPolicy::RequireComplete;
            self
        }

        /// Ends the call after this long, fetching included.
        #[must_use]
        pub fn timeout(mut self, span: Duration) -> Self {
            self.timeout = Some(span);
            self
        }
    };
}

/// Bars of one symbol to be asked for.
#[derive(Debug, Clone)]
pub struct BarsQuery {
    client: Client,
    symbol: String,
    ask: BarsAsk,
    page_size: usize,
    page_token: String,
    timeout: Option<Duration>,
}

impl BarsQuery {
    pub(crate) fn new(client: Client, symbol: String) -> Self {
        let timeout = client.shared.timeout;
        let (page_size, page_token) = (BARS_DEFAULT, String::new());
        Self { client, symbol, ask: BarsAsk::default(), page_size, page_token, timeout }
    }

    ask!();

    /// Bars of a page; 10,000 by default, 50,000 at most.
    #[must_use]
    pub fn page_size(mut self, bars: usize) -> Self {
        self.page_size = bars;
        self
    }

    /// Continues behind an earlier page.
    #[must_use]
    pub fn page_token(mut self, token: impl Into<String>) -> Self {
        self.page_token = token.into();
        self
    }

    /// Sends it, and waits for one page.
    ///
    /// # Errors
    ///
    /// [`ClientError::Setting`] when the symbol is none; else what the server refuses or fails with.
    pub async fn send(self) -> Result<BarsPage, ClientError> {
        let symbol = Symbol::new(&self.symbol)
            .map_err(|e| ClientError::Setting { what: "the symbol", message: e.to_string() })?;
        let request =
            BarsRequest { symbol, ask: self.ask, page_size: self.page_size, page_token: self.page_token };
        let message = v1::GetBarsRequest::from(&request);
        let shared = &*self.client.shared;
        let call = Call::new(self.timeout);
        let attempt = || async {
            let mut stub = shared.market_data();
            call.within(stub.get_bars(shared.request(message.clone(), &call))).await
        };
        let page = shared.retried(&call, attempt).await?.into_inner();
        page.try_into().map_err(|e| call.broken(&e))
    }
}

/// Bars of many symbols to be asked for.
#[derive(Debug, Clone)]
pub struct BatchBarsQuery {
    client: Client,
    symbols: Vec<String>,
    universe: Option<UniverseSelector>,
    ask: BarsAsk,
    limit: usize,
    ordered: bool,
    timeout: Option<Duration>,
}

impl BatchBarsQuery {
    pub(crate) fn new(client: Client, symbols: Vec<String>) -> Self {
        let timeout = client.shared.timeout;
        let ask = BarsAsk::default();
        Self { client, symbols, universe: None, ask, limit: BARS_DEFAULT, ordered: false, timeout }
    }

    ask!();

    /// And those of the symbols that this selects.
    #[must_use]
    pub fn universe(mut self, selector: UniverseSelector) -> Self {
        self.universe = Some(selector);
        self
    }

    /// This many bars of a symbol at most, the newest; 10,000 by default, 50,000 at most.
    #[must_use]
    pub fn limit(mut self, bars: usize) -> Self {
        self.limit = bars;
        self
    }

    /// Has the symbols sent in the order asked for, not as they get ready.
    #[must_use]
    pub fn ordered(mut self) -> Self {
        self.ordered = true;
        self
    }

    /// Sends it, and waits for the header.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses or fails with before the header.
    pub async fn send(self) -> Result<BarsStream, ClientError> {
        let request = BatchBarsRequest {
            symbols: self.symbols,
            universe: self.universe,
            ask: self.ask,
            limit: self.limit,
            ordered: self.ordered,
        };
        let message = v1::BatchGetBarsRequest::from(&request);
        let shared = &*self.client.shared;
        let call = Call::new(self.timeout);
        let attempt = || async {
            let mut stub = shared.market_data();
            let request = shared.request(message.clone(), &call);
            let mut stream = call.within(stub.batch_get_bars(request)).await?.into_inner();
            let first = call.within(stream.message()).await?;
            let first = first.ok_or_else(|| call.breach("the answer ended before its header"))?;
            match BarsFrame::try_from(first).map_err(|e| call.broken(&e))? {
                BarsFrame::Header(header) => Ok((stream, header)),
                _ => Err(call.breach("the answer does not start with a header")),
            }
        };
        let (stream, header) = shared.retried(&call, attempt).await?;
        Ok(BarsStream { call, stream, header, diagnostics: Vec::new(), summary: None, failed: false })
    }
}

/// Bars of many symbols as they arrive. Dropped early, it cancels the call.
#[derive(Debug)]
pub struct BarsStream {
    call: Call,
    stream: Streaming<v1::BatchGetBarsResponse>,
    header: BarsHeader,
    diagnostics: Vec<Diagnostic>,
    summary: Option<BarsSummary>,
    failed: bool,
}

impl BarsStream {
    /// The snapshot, and what the answer costs.
    #[must_use]
    pub fn header(&self) -> &BarsHeader {
        &self.header
    }

    /// What was said of the answer so far, one entry for each reason that symbols are missing.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Counts and times; there once the last bars were handed out.
    #[must_use]
    pub fn summary(&self) -> Option<&BarsSummary> {
        self.summary.as_ref()
    }

    /// The next bars; a long symbol may take several calls, in time order. `None` after the last.
    ///
    /// # Errors
    ///
    /// Whatever ends the stream before its summary; after an error the stream is at its end.
    pub async fn next_bars(&mut self) -> Result<Option<Bars>, ClientError> {
        if self.failed {
            return Ok(None);
        }
        let outcome = self.advance().await;
        self.failed = outcome.is_err();
        outcome
    }

    async fn advance(&mut self) -> Result<Option<Bars>, ClientError> {
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
            match BarsFrame::try_from(message).map_err(|e| self.call.broken(&e))? {
                BarsFrame::Header(_) => return Err(self.call.breach("the answer has a second header")),
                BarsFrame::Bars(bars) => return Ok(Some(bars)),
                BarsFrame::Diagnostic(diagnostic) => self.diagnostics.push(diagnostic),
                BarsFrame::Summary(summary) => self.summary = Some(summary),
            }
        }
    }
}
