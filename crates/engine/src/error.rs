//! The one error enum of this crate.

use std::time::Duration;

use panscan_core::Kind;
use panscan_core::expr::PlanError;
use panscan_core::port::{ComputeError, SourceError};

/// Why a request has no answer. What merely makes an answer incomplete is a diagnostic instead.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The scan does not make sense; every problem is listed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A field of the request is wrong.
    #[error("{field}: {message}")]
    BadField {
        /// Path of the field.
        field: &'static str,
        /// What is wrong, and the remedy.
        message: String,
    },
    /// A universe or symbol does not exist.
    #[error("{what} {name:?} does not exist")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The pinned snapshot is gone.
    #[error(
        "snapshot {id} is gone; snapshots can be pinned for a while only, leave snapshot_id out for the newest"
    )]
    SnapshotExpired {
        /// Its id.
        id: String,
    },
    /// Nothing can be scanned yet.
    #[error("there is no snapshot yet: {why}")]
    NoSnapshot {
        /// What start-up is waiting for.
        why: String,
    },
    /// The instant asked for lies before anything that can be had.
    #[error("as_of {asked} is before the first session that can be had, {first}")]
    BeforeHistory {
        /// What was asked for.
        asked: String,
        /// The first session.
        first: String,
    },
    /// The contract has it, this build has not.
    #[error("{what} is not in this build")]
    Unimplemented {
        /// What.
        what: String,
    },
    /// The backend asked for is not there.
    #[error("the {backend} backend is not available: {why}")]
    BackendUnavailable {
        /// Which.
        backend: &'static str,
        /// Why, and the remedy.
        why: String,
    },
    /// Too many scans wait already.
    #[error("{queued} scans wait already; come back later")]
    QueueFull {
        /// How many.
        queued: usize,
        /// When to come back.
        retry_after: Duration,
    },
    /// The answer would lack cells, and the caller wants all or nothing.
    #[error("{cells} cells could not be had: {why}")]
    Incomplete {
        /// How many.
        cells: u64,
        /// The first reason.
        why: String,
    },
    /// The deadline passed.
    #[error("the deadline passed while {stage}")]
    Deadline {
        /// What was being done.
        stage: &'static str,
    },
    /// The provider did not serve and nothing is held.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The backend failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// A broken invariant.
    #[error("internal error: {0}")]
    Internal(String),
}

impl EngineError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Plan(error) => error.kind(),
            Self::BadField { .. } => Kind::BadRequest,
            Self::NotFound { .. } => Kind::NotFound,
            Self::SnapshotExpired { .. } | Self::NoSnapshot { .. } | Self::BackendUnavailable { .. } => {
                Kind::Precondition
            }
            Self::BeforeHistory { .. } => Kind::OutOfRange,
            Self::Unimplemented { .. } => Kind::Unimplemented,
            Self::QueueFull { .. } => Kind::Busy,
            Self::Incomplete { .. } => Kind::Upstream,
            Self::Deadline { .. } => Kind::Timeout,
            Self::Source(error) => error.kind(),
            Self::Compute(error) => error.kind(),
            Self::Internal(_) => Kind::Internal,
        }
    }

    /// The stable word of the contract.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Plan(_) => "INVALID_SCAN",
            Self::BadField { .. } => "INVALID_FIELD",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::SnapshotExpired { .. } => "SNAPSHOT_EXPIRED",
            Self::NoSnapshot { .. } => "NO_SNAPSHOT",
            Self::BeforeHistory { .. } => "BEFORE_HISTORY",
            Self::Unimplemented { .. } => "UNIMPLEMENTED",
            Self::BackendUnavailable { .. } => "BACKEND_UNAVAILABLE",
            Self::QueueFull { .. } => "QUEUE_FULL",
            Self::Incomplete { .. } => "DATA_INCOMPLETE",
            Self::Deadline { .. } => "DEADLINE_EXCEEDED",
            Self::Source(SourceError::RateLimited { .. }) => "PROVIDER_BUDGET",
            Self::Source(_) => "PROVIDER_DOWN",
            Self::Compute(ComputeError::Cancelled) => "CANCELLED",
            Self::Compute(_) => "COMPUTE_FAILED",
            Self::Internal(_) => "INTERNAL",
        }
    }
}
