//! The simulator over real HTTP, asked by a client of its own that shares no code with it.

mod aggregates;
mod callers;
mod client;
mod dialects;
mod faults;
mod recorded;
mod reference;
mod snapshot;
mod world;
