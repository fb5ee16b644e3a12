//! A market-data provider to test and demonstrate against: the real provider's paths, parameters, paging,
//! errors and limits over real HTTP, its flat files as an S3-compatible bucket beside them, with faults on request
//! and an audit of every call.
//!
//! It serves a market generated from a seed or recorded bars from Parquet files. Not here: anything that asks
//! a provider, and any part of the product itself; nothing but the binary's `sim` and `demo` and tests needs
//! this.

mod aggregates;
mod ask;
mod audit;
mod bucket;
mod clock;
mod company;
mod config;
mod control;
mod damage;
mod dialect;
mod error;
mod fault;
mod generate;
mod http;
mod listing;
mod market;
mod minute;
mod number;
mod recorded;
mod reference;
mod rng;
mod sector;
mod simulator;
mod snapshot;
mod status;
mod wire;

pub use audit::Audit;
pub use bucket::BUCKET;
pub use config::{
    BucketKeys, MarketSource, Plan, Rate, SESSIONS_MAX, SYMBOLS_DEFAULT, SYMBOLS_MAX, SimConfig,
};
pub use dialect::Dialect;
pub use error::SimError;
pub use fault::{FaultName, parse_fault};
pub use simulator::{Shape, Simulator};
