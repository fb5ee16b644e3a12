//! A name for a snapshot that does not exist yet: the header of an answer that fetches names the snapshot that will show
//! all of it.
//!
//! The name can be pinned from the answer's end on. An answer that is cut short leaves none.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use panscan_core::snapshot::{Snapshot, SnapshotId};
use panscan_core::time::SessionDate;

use crate::error::EngineError;
use crate::market::Engine;
use crate::resident::Published;

/// The name.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    pub(crate) id: SnapshotId,
    epoch: u64,
    newest: SessionDate,
}

impl Engine {
    /// Names the snapshot ending with `newest` that will show what is about to be fetched.
    pub(crate) fn promise(&self, newest: SessionDate) -> Promise {
        let epoch = self.0.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        Promise { id: self.snapshot_id(epoch), epoch, newest }
    }

    /// Has what is held now shown under the name.
    pub(crate) async fn redeem(&self, promise: Promise) -> Result<(), EngineError> {
        let made = self.snapshot_ending(promise.newest).await?;
        let snapshot = Snapshot { id: promise.id, epoch: promise.epoch, ..(*made.snapshot).clone() };
        self.0.resident.keep(Arc::new(Published { snapshot: Arc::new(snapshot), ..(*made).clone() }));
        Ok(())
    }

    pub(crate) fn snapshot_id(&self, epoch: u64) -> SnapshotId {
        SnapshotId(format!("{:016x}-{epoch}", self.0.instance.0 as u64).into())
    }
}
