//! The port of backends: what they are asked to compute, what they may keep, and how they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bar::Field;
use crate::error::Kind;
use crate::history::{HistoryJob, SessionRows};
use crate::plan::{Digest, NodeId, Plan};
use crate::rank::RankedRows;
use crate::snapshot::Snapshot;
use crate::universe::Population;

/// Tells a running computation that nobody waits any more.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// From now on [`Cancel::is_cancelled`] answers true.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to stop; asked once per tile.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Node results kept from one scan to the next. A key is a node of one snapshot; a value has one number per
/// symbol of the universe.
pub trait Memo: Send + Sync {
    /// What is kept.
    fn get(&self, epoch: u64, node: Digest) -> Option<Arc<[f64]>>;
    /// Keeps a result; may forget it at any time.
    fn put(&self, epoch: u64, node: Digest, values: Arc<[f64]>);
}

/// One evaluation of a plan.
#[derive(Clone, Copy)]
pub struct ScanJob<'a> {
    /// What to compute.
    pub plan: &'a Plan,
    /// On what.
    pub snapshot: &'a Snapshot,
    /// For whom.
    pub population: &'a Population,
    /// Ranked rows to leave out before the first that is returned (earlier pages).
    pub skip: usize,
    /// Results of earlier scans.
    pub memo: Option<&'a dyn Memo>,
    /// Asked between tiles.
    pub cancel: &'a Cancel,
}

/// What a backend is asked to compute over the bars of one symbol: whole series.
#[derive(Clone, Copy)]
pub struct SeriesJob<'a> {
    /// Whose nodes.
    pub plan: &'a Plan,
    /// Those that are asked for; none may look across symbols.
    pub nodes: &'a [NodeId],
    /// The bars, ascending, as columns of equal length in [`Field`] order. Where a node is over longer bars these are
    /// the longer ones.
    pub bars: &'a [Vec<f64>; Field::COUNT],
    /// The value of a node that is one number per symbol and does not come from these bars: an attribute, or the
    /// last value on longer bars. NaN is null.
    pub given: &'a dyn Fn(NodeId) -> f64,
    /// A column of another symbol's bars, one value for each of these bars; NaN where it has none.
    pub beside: &'a dyn Fn(&str, Field) -> Vec<f64>,
    /// Asked between nodes.
    pub cancel: &'a Cancel,
}

/// Why a backend did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ComputeError {
    /// Nobody waits any more.
    #[error("the scan was cancelled")]
    Cancelled,
    /// The snapshot has no panel for the plan's timeframe or adjustment.
    #[error("no {what} bars are resident")]
    NoPanel {
        /// Which.
        what: String,
    },
    /// The device failed; another backend may answer.
    #[error("{device}: {message}")]
    Device {
        /// Which.
        device: String,
        /// How.
        message: String,
    },
}

impl ComputeError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Cancelled => Kind::Cancelled,
            Self::NoPanel { .. } => Kind::Unimplemented,
            Self::Device { .. } => Kind::Device,
        }
    }
}

/// A device that evaluates a plan. Synchronous: the caller picks the thread.
pub trait Compute: Send + Sync {
    /// Its name with what it runs on, e.g. `cpu avx512, 2 threads`.
    fn describe(&self) -> String;

    /// Is told that a scan is about to come, so that what sleeps can wake meanwhile.
    fn rouse(&self) {}

    /// Evaluates the job and returns its best rows, ordered.
    ///
    /// # Errors
    ///
    /// [`ComputeError::Cancelled`], or when the device failed; the caller may then ask another backend.
    fn scan(&self, job: &ScanJob<'_>) -> Result<RankedRows, ComputeError>;

    /// The series of the job's nodes, in their order: one value per bar, or a single one for a node that has one per
    /// symbol. NaN is null. The last value is, to the bit, what [`scan`](Self::scan) finds on the same bars.
    ///
    /// # Errors
    ///
    /// As [`scan`](Self::scan).
    fn series(&self, job: &SeriesJob<'_>) -> Result<Vec<Vec<f64>>, ComputeError>;

    /// Evaluates a plan as of many sessions, one answer each, in their order: to the bit what [`scan`](Self::scan)
    /// finds on a snapshot that ends with the session. [`history::one_by_one`](crate::history::one_by_one) does it for
    /// a backend without a way of its own.
    ///
    /// # Errors
    ///
    /// As [`scan`](Self::scan).
    fn history(&self, job: &HistoryJob<'_>) -> Result<Vec<SessionRows>, ComputeError>;
}
