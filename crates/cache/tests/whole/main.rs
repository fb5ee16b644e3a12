<<<<<<< HEAD
//! The store from outside, over real files: what it promises (`tiers`), what it notices (`manifest`), what a kill leaves
//! (`kill`), what looks after it (`upkeep`), what two servers share (`redis`), how fast it is (`speed`).
=======
//! The store from outside, over real files: what it promises (`tiers`), what a kill leaves (`kill`), what two servers share (`redis`, `reach`),
//! how fast it is (`speed`).
>>>>>>> b8028fa (cache: share blocks of symbols, put what Redis had on disk, and write what it missed once it is back)

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, also in what its cases share")]

mod kill;
<<<<<<< HEAD
mod manifest;
=======
mod reach;
>>>>>>> b8028fa (cache: share blocks of symbols, put what Redis had on disk, and write what it missed once it is back)
mod redis;
mod sample;
mod speed;
mod tiers;
mod upkeep;
