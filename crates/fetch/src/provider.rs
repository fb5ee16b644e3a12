//! One module a provider: its paths, its words, its quirks. What they share stands a level up.

pub(crate) mod alpaca;
pub(crate) mod alphavantage;
pub(crate) mod flatfiles;
mod gate;
pub(crate) mod paging;
pub mod polygon;
mod range;
pub(crate) mod yahoo;
