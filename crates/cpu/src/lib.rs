//! The CPU backend: [`CpuBackend`] evaluates a plan's nodes in order over tiles of 32 symbols, with kernels
//! compiled for each instruction set and chosen once at construction.
//!
//! Deliberately absent: anything asynchronous, any I/O, and a pool shared with others.

mod backend;
mod beside;
mod crew;
mod element;
mod error;
mod floor;
mod history;
mod lanes;
mod program;
mod recursive;
pub mod scalar;
mod series;
mod simd;
mod tile;
mod window;

pub use backend::{CpuBackend, THREADS_MAX};
pub use error::CpuError;
pub use simd::Level;
