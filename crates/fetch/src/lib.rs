//! Bars and reference data from providers over HTTP, within their rate limits.
//!
//! A provider is a [`BarSource`](panscan_core::port::BarSource): [`Polygon`], [`Alpaca`], [`Yahoo`] and
//! [`AlphaVantage`]; a [`Chain`] asks one after the other and is a source itself. Below them: the connection
//! pool, the queue in front of the rate limit, retries, and decoding.
//!
//! Deliberately absent: what to fetch and when (the engine decides), keeping it (the cache), and any read
//! of the environment or the system clock.

mod breaker;
mod caller;
mod chain;
mod client;
mod compare;
mod config;
mod connections;
pub mod decode;
#[doc(hidden)]
pub mod doors;
mod error;
mod httpdate;
mod limiter;
mod pace;
mod provider;
mod retry;
mod scribe;
mod secret;
mod unpack;

pub use chain::{Chain, ChainConfig};
pub use compare::{Comparison, Disagreement, Tolerance, compare_blocks};
pub use config::CallConfig;
pub use connections::Connections;
pub use error::FetchError;
pub use limiter::{Scripts, SharedLimit};
pub use provider::alpaca::{Alpaca, AlpacaConfig, AlpacaFeed};
pub use provider::alphavantage::{AlphaVantage, AlphaVantageConfig};
pub use provider::flatfiles::{FlatFiles, FlatFilesConfig, WithFiles};
pub use provider::polygon::{self, Polygon, PolygonConfig};
pub use provider::yahoo::{Yahoo, YahooConfig};
pub use secret::Secret;
pub use unpack::gunzip;
