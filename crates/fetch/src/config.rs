//! What the calls of any provider are set up with. Reading flags and the environment is the binary's work.

use std::path::PathBuf;
use std::time::Duration;

use panscan_core::limit::Quota;
use reqwest::Url;

use crate::connections::Connections;
use crate::error::FetchError;
use crate::limiter::SharedLimit;

/// How the calls to one provider are limited, sent and repeated.
#[derive(Debug, Clone)]
pub struct CallConfig {
    /// The rate limit that is kept to.
    pub quota: Quota,
    /// The folder in which a file for each provider and key remembers the calls, so that a restart does not
    /// forget the window; without one it does.
    pub ledger: Option<PathBuf>,
    /// The servers that share the limit; `None` where this is the only one.
    pub shared: Option<SharedLimit>,
    /// What calls on the way take one of each; a clone is shared by the providers whose sum is bounded.
    pub connections: Connections,
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
    /// A file of certificates (PEM) that are trusted beside the system's own.
    pub ca_file: Option<PathBuf>,
}

impl CallConfig {
    /// The defaults.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            ledger: None,
            shared: None,
            connections: Connections::new(50),
            max_pool_size: 20,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            max_retries: 3,
            retry_factor: Duration::from_millis(500),
            user_agent: concat!("panscan/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca_file: None,
        }
    }
}

/// Reads a provider's base address: scheme, host, port and, if need be, a path in front of the provider's own.
///
/// # Errors
///
/// [`FetchError::Setting`] says what is wrong with it; `example` is what it should look like.
pub(crate) fn base_address(text: &str, example: &str) -> Result<Url, FetchError> {
    let wrong = |message: &str| FetchError::setting("provider address", message);
    let url = Url::parse(text).map_err(|_| wrong(&format!("cannot be read; expected e.g. {example}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("must begin with http:// or https:// and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(wrong("must not hold a name, a password or a query; the key has its own setting"));
    }
    Ok(url)
}
