//! What the provider is set up with. Reading flags and the environment is the binary's work.

use std::fmt;
use std::sync::Arc;

use panscan_core::limit::Quota;
use panscan_core::port::Clock;

use crate::config::CallConfig;
use crate::secret::Secret;

/// Settings of a [`Polygon`](super::Polygon).
#[derive(Clone)]
pub struct PolygonConfig {
    /// Where it is: scheme, host, port and, if need be, a path in front of the provider's own.
    pub base_url: String,
    /// The key; without one every call fails at once and none is made.
    pub key: Option<Secret>,
    /// How calls are limited, sent and repeated.
    pub calls: CallConfig,
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
        Self { base_url: base_url.into(), key, calls: CallConfig::new(quota), clock }
    }
}

impl fmt::Debug for PolygonConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolygonConfig")
            .field("base_url", &self.base_url)
            .field("key", &self.key)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}
