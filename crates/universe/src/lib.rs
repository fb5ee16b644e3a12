//! What can be scanned, kept: universe files, and the database of listings, named universes and saved scans.
//!
//! [`read_universe_file`] reads CSV, gzipped CSV or Parquet with one row per symbol and answers with the listings and
//! with everything that it could not take over; [`Store`] is the catalog behind
//! [`Catalog`](panscan_core::catalog::Catalog). Deliberately absent: the provider's reference list, merging (that is
//! [`Universe::new`](panscan_core::universe::Universe::new)) and the prefilter ([`panscan_core::select`]), which never
//! asks the database.

mod column;
mod error;
mod import;
mod parquet;
mod store;
mod text;

pub use error::UniverseError;
pub use import::{Import, LISTINGS_MAX, REJECTED_MAX, Rejected, read_universe_file};
pub use store::{FILE, LAYOUT, Store};
