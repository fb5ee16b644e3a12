//! The symbols of a universe, by pages.

use std::time::Duration;

use panscan_core::scan::Order;
use panscan_core::time::Timestamp;
use panscan_core::universe::Listing;
use panscan_proto::convert::frame::SymbolsPage;
use panscan_proto::convert::universe::{PAGE_MAX, SymbolsRequest};
use panscan_proto::v1;

use crate::call::Call;
use crate::connect::Client;
use crate::error::ClientError;

/// Symbols to be asked for.
#[derive(Debug, Clone)]
pub struct SymbolsQuery {
    client: Client,
    request: SymbolsRequest,
    timeout: Option<Duration>,
}

impl SymbolsQuery {
    pub(crate) fn new(client: Client) -> Self {
        let timeout = client.shared.timeout;
        Self { client, request: SymbolsRequest { page_size: PAGE_MAX, ..Default::default() }, timeout }
    }

    /// Those of another universe than the default one.
    #[must_use]
    pub fn universe(mut self, id: impl Into<String>) -> Self {
        self.request.universe = id.into();
        self
    }

    /// Those for which an expression over attributes is true.
    #[must_use]
    pub fn filter(mut self, expr: impl Into<String>) -> Self {
        self.request.filter = expr.into();
        self
    }

    /// Ordered by an attribute; further calls break its ties. By symbol without.
    #[must_use]
    pub fn order_by(mut self, attribute: impl Into<String>, order: Order) -> Self {
        self.request.order_by.push((attribute.into(), order));
        self
    }

    /// Attributes as known at this instant.
    #[must_use]
    pub fn as_of(mut self, at: Timestamp) -> Self {
        self.request.as_of = Some(at);
        self
    }

    /// Symbols of a page; 10,000, the most, by default.
    #[must_use]
    pub fn page_size(mut self, symbols: usize) -> Self {
        self.request.page_size = symbols;
        self
    }

    /// Continues behind an earlier page.
    #[must_use]
    pub fn page_token(mut self, token: impl Into<String>) -> Self {
        self.request.page_token = token.into();
        self
    }

    /// Ends each call after this long.
    #[must_use]
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = Some(span);
        self
    }

    /// Sends it, and waits for one page.
    ///
    /// # Errors
    ///
    /// What the server refuses or fails with.
    pub async fn send(self) -> Result<SymbolsPage, ClientError> {
        self.page().await
    }

    /// Sends it, and waits for all pages from here on.
    ///
    /// # Errors
    ///
    /// What the server refuses or fails with on any page.
    pub async fn collect(mut self) -> Result<Vec<Listing>, ClientError> {
        let mut all = Vec::new();
        loop {
            let page = self.page().await?;
            let none = page.symbols.is_empty();
            all.extend(page.symbols);
            // A page without symbols ends it too: a server that goes on so would never end.
            if page.next_page_token.is_empty() || none {
                return Ok(all);
            }
            self.request.page_token = page.next_page_token;
        }
    }

    async fn page(&self) -> Result<SymbolsPage, ClientError> {
        let message = v1::ListSymbolsRequest::from(&self.request);
        let shared = &*self.client.shared;
        let call = Call::new(self.timeout);
        let attempt = || async {
            let mut stub = shared.universes();
            call.within(stub.list_symbols(shared.request(message.clone(), &call))).await
        };
        let page = shared.retried(&call, attempt).await?.into_inner();
        page.try_into().map_err(|e| call.broken(&e))
    }
}
