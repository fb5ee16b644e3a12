//! The store from outside, over real files: what it promises (`tiers`), what it notices (`manifest`), what a kill leaves
//! (`kill`), what looks after it (`upkeep`), what two servers share (`redis`) and how they reach it (`reach`), what of it
//! is in memory (`resident`), how fast it is (`speed`).

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, also in what its cases share")]

mod kill;
mod manifest;
mod reach;
mod redis;
mod resident;
mod sample;
mod speed;
mod tiers;
mod upkeep;
