//! The one error enum of this crate.

use panscan_core::Kind;

use crate::simd::Level;

/// Why a backend could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    /// No thread, or more than any machine has.
    #[error("compute threads are {given}; give 1 to {max}")]
    Threads {
        /// As given.
        given: usize,
        /// Most accepted.
        max: usize,
    },
    /// The processor lacks the instructions.
    #[error("this processor does not run {level}; use {available} or narrower")]
    Level {
        /// As asked for.
        level: Level,
        /// The widest that there is.
        available: Level,
    },
    /// The system gave no thread.
    #[error("a compute thread could not be started: {source}")]
    Spawn {
        /// What the system said.
        #[from]
        source: std::io::Error,
    },
}

impl CpuError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Threads { .. } => Kind::BadRequest,
            Self::Level { .. } => Kind::Precondition,
            Self::Spawn { .. } => Kind::Device,
        }
    }
}
