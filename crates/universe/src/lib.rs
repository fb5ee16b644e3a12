//! What can be scanned, from a file: CSV, gzipped CSV or Parquet with one row per symbol.
//!
//! [`read_universe_file`] answers with the listings and with everything that it could not take over. Deliberately
//! absent: the provider's reference list, merging (that is [`Universe::new`](panscan_core::universe::Universe::new))
//! and the prefilter ([`panscan_core::select`]).

mod column;
mod error;
mod import;
mod parquet;
mod text;

pub use error::UniverseError;
pub use import::{Import, LISTINGS_MAX, REJECTED_MAX, Rejected, read_universe_file};
