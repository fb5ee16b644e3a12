//! What the provider is set up with. Reading flags and the environment is the binary's work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use panscan_core::limit::Quota;
use panscan_core::port::Clock;
use panscan_core::time::Timestamp;
use reqwest::Url;

use crate::client::Pool;
use crate::error::FetchError;
use crate::secret::Secret;

/// Settings of a [`Polygon`](super::Polygon).
#[derive(Clone)]
pub struct PolygonConfig {
    /// Where it is: scheme, host, port and, if need be, a path in front of the provider's own.
    pub base_url: String,
    /// The key; without one every call fails at once and none is made.
    pub key: Option<Secret>,
    /// The rate limit that is kept to.
    pub quota: Quota,
    /// Calls that still count against the limit from an earlier process.
    pub earlier_calls: Vec<Timestamp>,
    /// Connections in use at once.
    pub max_connections: usize,
    /// Idle connections that are kept.
    pub max_pool_size: usize,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest silence within an answer.
    pub read_timeout: Duration,
    /// Longest time of one attempt.
    pub total_timeout: Duration,
    /// Attempts beyond the first.
    pub max_retries: u32,
    /// Longest wait before the first retry; it doubles from one to the next.
    pub retry_factor: Duration,
    /// How it introduces itself.
    pub user_agent: String,
    /// The desk's clock; stamps what was fetched.
    pub clock: Arc<dyn Clock>,
}

impl PolygonConfig {
    /// The defaults.
    #[must_use]
    pub fn new(
        base_url: impl Into<String>,
        key: Option<Secret>,
        quota: Quota,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            base_url: base_url.into(),
            key,
            quota,
            earlier_calls: Vec::new(),
            max_connections: 50,
            max_pool_size: 20,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            max_retries: 3,
            retry_factor: Duration::from_millis(500),
            user_agent: concat!("panscan/", env!("CARGO_PKG_VERSION")).to_owned(),
            clock,
        }
    }

    /// The base address, checked.
    pub(super) fn base(&self) -> Result<Url, FetchError> {
        let wrong = |message: &str| FetchError::setting("provider address", message);
        let url = Url::parse(&self.base_url)
            .map_err(|_| wrong("cannot be read; expected e.g. https://api.polygon.io"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("must begin with http:// or https:// and name a host"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong("must not hold a name, a password or a query; the key has its own setting"));
        }
        Ok(url)
    }

    pub(super) fn pool<'a>(&'a self, base: &'a Url, key: &'a Secret) -> Pool<'a> {
        Pool {
            base,
            key,
            idle_max: self.max_pool_size,
            connect_timeout: self.connect_timeout,
            read_timeout: self.read_timeout,
            total_timeout: self.total_timeout,
            user_agent: &self.user_agent,
        }
    }
}

impl fmt::Debug for PolygonConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolygonConfig")
            .field("base_url", &self.base_url)
            .field("key", &self.key)
            .field("quota", &self.quota)
            .field("max_connections", &self.max_connections)
            .field("max_pool_size", &self.max_pool_size)
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("total_timeout", &self.total_timeout)
            .field("max_retries", &self.max_retries)
            .field("retry_factor", &self.retry_factor)
            .field("user_agent", &self.user_agent)
            .finish_non_exhaustive()
    }
}
