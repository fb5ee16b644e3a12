//! Bars and reference data from providers over HTTP, within their rate limits.
//!
//! A provider is a [`BarSource`](panscan_core::port::BarSource); [`Polygon`] is the one there is. Below it:
//! the connection pool, the queue in front of the rate limit, retries, and decoding.
//!
//! Deliberately absent: what to fetch and when (the engine decides), keeping it (the cache), and any read
//! of the environment or the system clock.

mod caller;
mod client;
mod config;
pub mod decode;
mod error;
mod httpdate;
mod limiter;
mod provider;
mod retry;
mod scribe;
mod secret;

pub use config::CallConfig;
pub use error::FetchError;
pub use limiter::{Scripts, SharedLimit};
pub use provider::flatfiles::{FlatFiles, FlatFilesConfig, WithFiles};
pub use provider::polygon::{self, Polygon, PolygonConfig};
pub use secret::Secret;
