//! A scan to be sent: what to look for, in what, and how the answer comes.

use std::time::Duration;

use panscan_core::scan::{Adjustment, Backend, BarSelection, DataPolicy, Order, Precision};
use panscan_core::snapshot::SnapshotId;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_proto::convert::request::{Format, ScanRequest};

use crate::connect::Client;
use crate::error::ClientError;
use crate::history::HistoryQuery;
use crate::row::ScanResult;
use crate::stream::ScanStream;

/// A scan to be sent. What is not set is the server's default.
#[derive(Debug, Clone)]
pub struct Scan {
    client: Client,
    request: ScanRequest,
    timeout: Option<Duration>,
}

impl Scan {
    pub(crate) fn new(client: Client, filter: String) -> Self {
        let mut request = ScanRequest { format: Format::Columns, ..ScanRequest::default() };
        request.spec.filter = filter;
        let timeout = client.shared.timeout;
        Self { client, request, timeout }
    }

    /// The request as it stands.
    #[must_use]
    pub fn request(&self) -> &ScanRequest {
        &self.request
    }

    /// Replaces the whole request, for one that was made elsewhere. Rows come as columns where it asks for Arrow.
    #[must_use]
    pub fn with_request(mut self, request: ScanRequest) -> Self {
        self.request = request;
        if self.request.format == Format::Arrow {
            self.request.format = Format::Columns;
        }
        self
    }

    /// Runs a saved scan, by its name without `scans/`. What is set here and is not the default overrides it; a list,
    /// and the conditions on the universe, as a whole.
    #[must_use]
    pub fn saved(mut self, id: impl Into<String>) -> Self {
        self.request.saved_scan = Some(id.into());
        self
    }

    /// Adds output columns: `expr` or `name = expr`.
    #[must_use]
    pub fn columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.request.spec.columns.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Names a sub-expression that is no output.
    #[must_use]
    pub fn define(mut self, name: impl Into<String>, expr: impl Into<String>) -> Self {
        self.request.spec.define.insert(name.into(), expr.into());
        self
    }

    /// Ranks by a numeric expression, largest first.
    #[must_use]
    pub fn rank_by(mut self, expr: impl Into<String>) -> Self {
        self.request.spec.rank_by = expr.into();
        self
    }

    /// Ranks smallest first.
    #[must_use]
    pub fn ascending(mut self) -> Self {
        self.request.spec.order = Order::Ascending;
        self
    }

    /// Ranks largest first, which is the default.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.request.spec.order = Order::Descending;
        self
    }

    /// Returns this many rows at most; 100 by default, 50,000 at most.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.request.spec.limit = rows;
        self
    }

    /// Returns at most so many rows of each group of an attribute, e.g. `sector`.
    #[must_use]
    pub fn limit_per_group(mut self, attribute: impl Into<String>, rows: usize) -> Self {
        self.request.spec.group_by = attribute.into();
        self.request.spec.limit_per_group = rows;
        self
    }

    /// Scans another universe than the default one.
    #[must_use]
    pub fn universe(mut self, id: impl Into<String>) -> Self {
        self.request.spec.universe.universe = id.into();
        self
    }

    /// Looks at these symbols only; further calls add to them.
    #[must_use]
    pub fn symbols(mut self, symbols: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.request.spec.universe.symbols.extend(symbols.into_iter().map(Into::into));
        self
    }

    /// Leaves these symbols out; further calls add to them.
    #[must_use]
    pub fn exclude(mut self, symbols: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.request.spec.universe.exclude_symbols.extend(symbols.into_iter().map(Into::into));
        self
    }

    /// Looks at this sector; further calls add others.
    #[must_use]
    pub fn sector(mut self, sector: impl Into<String>) -> Self {
        self.request.spec.universe.sectors.push(sector.into());
        self
    }

    /// Looks at this industry; further calls add others.
    #[must_use]
    pub fn industry(mut self, industry: impl Into<String>) -> Self {
        self.request.spec.universe.industries.push(industry.into());
        self
    }

    /// Looks at this exchange, by market identifier code, e.g. `XNAS`; further calls add others.
    #[must_use]
    pub fn exchange(mut self, mic: impl Into<String>) -> Self {
        self.request.spec.universe.exchanges.push(mic.into());
        self
    }

    /// Looks at this type of security; further calls add others.
    #[must_use]
    pub fn security_type(mut self, name: impl Into<String>) -> Self {
        self.request.spec.universe.types.push(name.into());
        self
    }

    /// At least this market capitalisation, USD.
    #[must_use]
    pub fn min_market_cap(mut self, usd: f64) -> Self {
        self.request.spec.universe.min_market_cap = Some(usd);
        self
    }

    /// At most this market capitalisation, USD.
    #[must_use]
    pub fn max_market_cap(mut self, usd: f64) -> Self {
        self.request.spec.universe.max_market_cap = Some(usd);
        self
    }

    /// At least this last close, USD.
    #[must_use]
    pub fn min_price(mut self, usd: f64) -> Self {
        self.request.spec.universe.min_price = Some(usd);
        self
    }

    /// At most this last close, USD.
    #[must_use]
    pub fn max_price(mut self, usd: f64) -> Self {
        self.request.spec.universe.max_price = Some(usd);
        self
    }

    /// At least this mean daily dollar volume of the last 20 closed sessions, USD.
    #[must_use]
    pub fn min_dollar_volume(mut self, usd: f64) -> Self {
        self.request.spec.universe.min_dollar_volume = Some(usd);
        self
    }

    /// Delisted symbols take part too.
    #[must_use]
    pub fn include_delisted(mut self) -> Self {
        self.request.spec.universe.include_delisted = true;
        self
    }

    /// Computes on bars of this interval; a day by default.
    #[must_use]
    pub fn timeframe(mut self, timeframe: Timeframe) -> Self {
        self.request.spec.timeframe = timeframe;
        self
    }

    /// Adjusts prices so; for splits by default.
    #[must_use]
    pub fn adjustment(mut self, adjustment: Adjustment) -> Self {
        self.request.spec.adjustment = adjustment;
        self
    }

    /// Leaves the bar that is still forming out.
    #[must_use]
    pub fn closed_only(mut self) -> Self {
        self.request.spec.bars = BarSelection::ClosedOnly;
        self
    }

    /// Runs on exactly this snapshot; see [`Header::snapshot_id`](crate::Header::snapshot_id).
    #[must_use]
    pub fn snapshot(mut self, id: &str) -> Self {
        self.request.snapshot = Some(SnapshotId(id.into()));
        self
    }

    /// Uses only what was known at this instant.
    #[must_use]
    pub fn as_of(mut self, at: Timestamp) -> Self {
        self.request.as_of = Some(at);
        self
    }

    /// Continues behind an earlier answer; see [`Summary::next_page_token`](crate::Summary::next_page_token).
    #[must_use]
    pub fn page_token(mut self, token: impl Into<String>) -> Self {
        self.request.page_token = token.into();
        self
    }

    /// Takes what is held and makes no provider call.
    #[must_use]
    pub fn cached_only(mut self) -> Self {
        self.request.policy = DataPolicy::CachedOnly;
        self
    }

    /// Fails unless nothing is missing.
    #[must_use]
    pub fn complete(mut self) -> Self {
        self.request.policy = DataPolicy::RequireComplete;
        self
    }

    /// Takes data older than this for missing.
    #[must_use]
    pub fn max_staleness(mut self, age: Duration) -> Self {
        self.request.max_staleness = Some(age);
        self
    }

    /// Has the rows sent in this form; columns by default. What comes out of the stream is the same.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.request.format = if format == Format::Arrow { Format::Columns } else { format };
        self
    }

    /// Has this many rows sent in a message; the server's choice by default, 8,192 at most.
    #[must_use]
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.request.batch_rows = Some(rows);
        self
    }

    /// Has it run there; the server's choice by default.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.request.backend = Some(backend);
        self
    }

    /// Has it computed in this width; 64 bits by default.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.request.precision = precision;
        self
    }

    /// Checks and plans only: header and summary come, no rows.
    #[must_use]
    pub fn validate_only(mut self) -> Self {
        self.request.validate_only = true;
        self
    }

    /// Adds the timings of each node to the summary.
    #[must_use]
    pub fn analyze(mut self) -> Self {
        self.request.analyze = true;
        self
    }

    /// Ends the call after this long, fetching included.
    #[must_use]
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = Some(span);
        self
    }

    /// The same scan as of the end of every session from `from` to `to`, both included. Of this scan it takes what is
    /// scanned, the form of the rows, what is done about missing bars and the timeout.
    #[must_use]
    pub fn history(&self, from: SessionDate, to: SessionDate) -> HistoryQuery {
        HistoryQuery::new(self.client.clone(), self, from, to)
    }

    pub(crate) fn bound(&self) -> Option<Duration> {
        self.timeout
    }

    /// Sends it, and waits for the header.
    ///
    /// **Waits for** the server until the call's deadline. **If dropped**, the call is cancelled.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses or fails with before the header; see [`ClientError`].
    pub async fn send(self) -> Result<ScanStream, ClientError> {
        ScanStream::open(self.client, &self.request, self.timeout).await
    }

    /// Sends it, and waits for all of the answer.
    ///
    /// # Errors
    ///
    /// Those of [`Scan::send`] and [`ScanStream::collect`].
    pub async fn collect(self) -> Result<ScanResult, ClientError> {
        self.send().await?.collect().await
    }
}
