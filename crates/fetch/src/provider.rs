//! One module a provider: its paths, its words, its quirks. What they share stands a level up.

pub(crate) mod flatfiles;
mod paging;
pub mod polygon;
