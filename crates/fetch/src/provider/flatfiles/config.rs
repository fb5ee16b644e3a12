//! What the bucket of flat files is opened with. Reading flags and the environment is the binary's work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use panscan_core::port::Clock;
use panscan_core::time::SessionDate;
use reqwest::Url;

use crate::connections::Connections;
use crate::error::FetchError;
use crate::secret::Secret;

/// Settings of a [`FlatFiles`](super::FlatFiles).
#[derive(Clone)]
pub struct FlatFilesConfig {
    /// Where the bucket is: scheme, host and port.
    pub endpoint: String,
    /// Its name.
    pub bucket: String,
    /// The name that calls are signed under; not the provider's other key.
    pub access_key: Secret,
    /// What signs them.
    pub secret_key: Secret,
    /// Part of every signature.
    pub region: String,
    /// The first session that files are asked for; a plan may open fewer.
    pub from: SessionDate,
    /// Files on the way at once. Each holds its session's bars in memory.
    pub files_max: usize,
    /// What files on the way take one of each; a clone is shared with the providers.
    pub connections: Connections,
    /// Idle connections that are kept.
    pub max_pool_size: usize,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest silence within a file.
    pub read_timeout: Duration,
    /// Longest time of one attempt; a file of minutes is tens of megabytes.
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

impl FlatFilesConfig {
    /// Where the provider has them.
    pub const ENDPOINT: &str = "https://files.massive.com";
    /// The provider's name of the bucket.
    pub const BUCKET: &str = "flatfiles";

    /// The defaults.
    #[must_use]
    pub fn new(
        endpoint: impl Into<String>,
        bucket: impl Into<String>,
        access_key: Secret,
        secret_key: Secret,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            bucket: bucket.into(),
            access_key,
            secret_key,
            region: "us-east-1".to_owned(),
            // 2003-09-10
            from: SessionDate::from_days(12_305),
            files_max: 2,
            connections: Connections::new(50),
            max_pool_size: 4,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(600),
            max_retries: 3,
            retry_factor: Duration::from_millis(500),
            user_agent: concat!("panscan/", env!("CARGO_PKG_VERSION")).to_owned(),
            clock,
        }
    }

    /// The address, checked.
    pub(super) fn checked(&self) -> Result<Url, FetchError> {
        let wrong = |message: &str| FetchError::setting("flat file address", message);
        let url = Url::parse(&self.endpoint)
            .map_err(|_| wrong("cannot be read; expected e.g. https://files.massive.com"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("must begin with http:// or https:// and name a host"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong(
                "must not hold a name, a password or a query; the keys have their own settings",
            ));
        }
        if self.access_key.is_empty() || self.secret_key.is_empty() {
            return Err(FetchError::setting("flat file key", "needs both its name and its secret"));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if self.bucket.is_empty() || !self.bucket.bytes().all(plain) {
            return Err(FetchError::setting("flat file bucket", "must be letters, digits, dots and dashes"));
        }
        Ok(url)
    }
}

impl fmt::Debug for FlatFilesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatFilesConfig")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .field("access_key", &self.access_key)
            .field("secret_key", &self.secret_key)
            .field("region", &self.region)
            .field("from", &self.from)
            .field("files_max", &self.files_max)
            .finish_non_exhaustive()
    }
}
