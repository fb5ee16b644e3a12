//! What tests and benches of more than one crate need: recorded data, seeded worlds, a settable clock, plans built
//! by hand, and bodies that every backend has to pass.
//!
//! Never a normal dependency of anything, and it names no backend: those are handed in.

pub mod clock;
pub mod parity;
pub mod plan;
pub mod postgres;
pub mod proxy;
pub mod recorded;
pub mod redis;
pub mod world;
