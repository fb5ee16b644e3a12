//! The connection, and what every call over it has in common.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use panscan_core::limit::RetryBudget;
use panscan_proto::convert::series::IndicatorsAsk;
use panscan_proto::convert::stats::Stats;
use panscan_proto::v1;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::bars::{BarsQuery, BatchBarsQuery};
use crate::call::Call;
use crate::error::ClientError;
use crate::indicators::IndicatorsQuery;
use crate::retry::Retry;
use crate::scan::Scan;
use crate::symbols::SymbolsQuery;

/// How long a call takes at most unless it says otherwise; the server's own default.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Messages are 1 MiB at most, but for a single row that is larger.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// HTTP/2 window of a stream: a whole market's columns arrive without waiting for an acknowledgement.
const WINDOW_BYTES: u32 = 4 << 20;

/// How the server compresses its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all: best on the same machine.
    #[default]
    None,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

/// A bearer key; shows nothing of itself.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) MetadataValue<Ascii>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What all calls share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) channel: Channel,
    pub(crate) key: Option<Key>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) compression: Compression,
    pub(crate) retry: Retry,
    pub(crate) budget: Mutex<RetryBudget>,
}

/// A connection to be made: set what differs from the default and await it.
#[derive(Debug, Clone)]
pub struct Connect {
    address: String,
    key: Option<String>,
    connect_timeout: Duration,
    timeout: Option<Duration>,
    compression: Compression,
    retry: Retry,
}

impl Connect {
    /// Sends this key with every call.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Bounds the making of the connection; 5 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, span: Duration) -> Self {
        self.connect_timeout = span;
        self
    }

    /// Bounds each call that sets no bound of its own; [`DEFAULT_TIMEOUT`] by default.
    #[must_use]
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = Some(span);
        self
    }

    /// Asks the server to compress what it sends.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets how failed calls are repeated.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// [`ClientError::Setting`] when address or key cannot be used, [`ClientError::Connect`] when nobody answers.
    pub async fn open(self) -> Result<Client, ClientError> {
        let key = self.key.as_deref().map(bearer).transpose()?;
        let address =
            if self.address.contains("://") { self.address } else { format!("http://{}", self.address) };
        if !address.starts_with("http://") {
            let message = format!("{address:?} does not start with http://, and this build has no TLS");
            return Err(ClientError::Setting { what: "the address", message });
        }
        let endpoint = Endpoint::from_shared(address.clone()).map_err(|_| ClientError::Setting {
            what: "the address",
            message: format!("{address:?} is none; expected http://HOST:PORT"),
        })?;
        let endpoint = endpoint
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES)
            .http2_keep_alive_interval(Duration::from_secs(30));
        let connecting = tokio::time::timeout(self.connect_timeout, endpoint.connect());
        let channel = match connecting.await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => {
                let message = innermost(&error);
                return Err(ClientError::Connect { address, message, source: Some(Box::new(error)) });
            }
            Err(_) => {
                let message = format!("no answer within {:?}", self.connect_timeout);
                return Err(ClientError::Connect { address, message, source: None });
            }
        };
        let shared = Shared {
            channel,
            key,
            timeout: self.timeout,
            compression: self.compression,
            retry: self.retry,
            budget: Mutex::new(RetryBudget::new(0.2, 10)),
        };
        Ok(Client { shared: Arc::new(shared) })
    }
}

impl IntoFuture for Connect {
    type Output = Result<Client, ClientError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

fn bearer(key: &str) -> Result<Key, ClientError> {
    let value = MetadataValue::<Ascii>::try_from(format!("Bearer {key}"));
    let mut value = value.map_err(|_| ClientError::Setting {
        what: "the key",
        message: "holds a character that no key has; only visible ASCII is accepted".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(Key(value))
}

/// The cause at the bottom, e.g. `connection refused`; the layers above say nothing more.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// A connection to a panscan server. Clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

macro_rules! stub {
    ($name:ident, $client:ty) => {
        /// A stub with this connection's settings.
        pub(crate) fn $name(&self) -> $client {
            let stub = <$client>::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
            match self.compression {
                Compression::None => stub,
                Compression::Gzip => stub.accept_compressed(CompressionEncoding::Gzip),
                Compression::Zstd => stub.accept_compressed(CompressionEncoding::Zstd),
            }
        }
    };
}

impl Shared {
    stub!(scanner, v1::scanner_client::ScannerClient<Channel>);
    stub!(market_data, v1::market_data_client::MarketDataClient<Channel>);
    stub!(universes, v1::universes_client::UniversesClient<Channel>);
    stub!(indicators, v1::indicators_client::IndicatorsClient<Channel>);
    stub!(admin, v1::admin_client::AdminClient<Channel>);
}

impl Client {
    /// A connection to `address`, e.g. `http://127.0.0.1:50051`, to be awaited.
    #[must_use]
    pub fn connect(address: impl Into<String>) -> Connect {
        Connect {
            address: address.into(),
            key: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Some(DEFAULT_TIMEOUT),
            compression: Compression::None,
            retry: Retry::default(),
        }
    }

    /// A scan for the symbols of which `filter` is true; empty keeps all.
    #[must_use]
    pub fn scan(&self, filter: impl Into<String>) -> Scan {
        Scan::new(self.clone(), filter.into())
    }

    /// The bars of one symbol.
    #[must_use]
    pub fn bars(&self, symbol: impl Into<String>) -> BarsQuery {
        BarsQuery::new(self.clone(), symbol.into())
    }

    /// The bars of many symbols.
    #[must_use]
    pub fn batch_bars(&self, symbols: impl IntoIterator<Item = impl Into<String>>) -> BatchBarsQuery {
        BatchBarsQuery::new(self.clone(), symbols.into_iter().map(Into::into).collect())
    }

    /// Expressions at every bar of these symbols; of bars that are sent along where there is none.
    #[must_use]
    pub fn indicators(&self, symbols: impl IntoIterator<Item = impl Into<String>>) -> IndicatorsQuery {
        let symbols = symbols.into_iter().map(Into::into).collect();
        IndicatorsQuery::new(self.clone(), IndicatorsAsk { symbols, ..IndicatorsAsk::default() })
    }

    /// The symbols of a universe with their attributes.
    #[must_use]
    pub fn symbols(&self) -> SymbolsQuery {
        SymbolsQuery::new(self.clone())
    }

    /// The server's counters.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or the key lacks the scope `admin`.
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        let shared = &*self.shared;
        let call = Call::new(shared.timeout);
        let attempt = || async {
            let mut stub = shared.admin();
            let request = shared.request(v1::GetStatsRequest {}, &call);
            call.within(stub.get_stats(request)).await
        };
        Ok(shared.retried(&call, attempt).await?.into_inner().into())
    }

    /// Whether the server serves: all of it when `service` is empty, else one, e.g. `panscan.v1.Scanner`.
    ///
    /// Asked once, never repeated: what it answers now is what is asked for.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or does not know the service.
    pub async fn health(&self, service: &str) -> Result<bool, ClientError> {
        let call = Call::new(self.shared.timeout);
        let mut stub = HealthClient::new(self.shared.channel.clone());
        let request = self.shared.request(HealthCheckRequest { service: service.to_owned() }, &call);
        let answer = call.within(stub.check(request)).await?.into_inner();
        Ok(answer.status() == ServingStatus::Serving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn settings_are_checked_before_anything_is_sent() {
        for (address, key) in
            [("https://h:1", "k"), ("http://", "k"), ("http://h:1", "a\nb"), ("no way", "k")]
        {
            let error = Client::connect(address).key(key).await.unwrap_err();
            assert!(matches!(error, ClientError::Setting { .. }), "{address} {key}: {error}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_said_in_one_line() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Client::connect(&address).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot connect to http://{address}: ")), "{error}");
        assert!(error.ends_with("is the server running there?"), "{error}");
    }

    #[test]
    fn a_key_does_not_show() {
        let key = bearer("secret").unwrap();
        assert_eq!(format!("{key:?}"), "***");
        assert!(key.0.is_sensitive());
    }
}
