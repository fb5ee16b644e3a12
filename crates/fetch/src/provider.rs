//! One module a provider: its paths, its words, its quirks. What they share stands a level up.

mod paging;
pub mod polygon;
