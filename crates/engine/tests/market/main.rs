//! The engine against a real provider over HTTP (the simulator), real tiers and the real CPU backend.

#![allow(clippy::unwrap_used, reason = "a desk that cannot be set up is a failed test")]

mod ahead;
mod answers;
mod desk;
mod faults;
mod fetching;
mod history;
mod intraday;
mod origins;
mod past;
mod plan;
mod refresh;
mod renames;
mod scans;
mod shared;
mod trace;
