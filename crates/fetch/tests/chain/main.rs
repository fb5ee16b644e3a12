//! All four providers and the chain of them over real HTTP: one market, told by the simulator in four ways.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod desk;
mod fallback;
mod quirks;
mod same;
