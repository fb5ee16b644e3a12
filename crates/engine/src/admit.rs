//! Admission: so many scans plan or compute at once, so many wait, and beyond that a caller is told at once.
//!
//! A permit is taken for planning and computing only. Waiting for the provider and streaming rows hold none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::EngineError;

/// The gate.
#[derive(Debug)]
pub struct Admission {
    permits: Arc<Semaphore>,
    permits_max: usize,
    queued: AtomicUsize,
    queue_max: usize,
}

/// One place in the queue, given back on drop.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(crate) fn new(concurrent: usize, queue_max: usize) -> Self {
        let permits_max = concurrent.max(1);
        Self {
            permits: Arc::new(Semaphore::new(permits_max)),
            permits_max,
            queued: AtomicUsize::new(0),
            queue_max,
        }
    }

    /// Waits for a permit, first come first served.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, EngineError> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let queued = self.queued.fetch_add(1, Ordering::Relaxed);
        let _place = Place(&self.queued);
        if queued >= self.queue_max {
            return Err(EngineError::QueueFull { queued, retry_after: Duration::from_millis(100) });
        }
        self.permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| EngineError::Internal("the admission gate was closed".to_owned()))
    }

    /// Scans that hold a permit.
    #[must_use]
    pub fn active(&self) -> usize {
        self.permits_max - self.permits.available_permits()
    }

    /// Scans that wait for one.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refuses_at_once_when_the_queue_is_full_and_loses_no_place() {
        let gate = Arc::new(Admission::new(1, 1));
        let first = gate.enter().await.unwrap();
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter().await.is_ok() }
        });
        while gate.queued() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(gate.enter().await, Err(EngineError::QueueFull { queued: 1, .. })));
        assert_eq!(gate.active(), 1);
        drop(first);
        assert!(waiting.await.unwrap());
        assert_eq!((gate.active(), gate.queued()), (0, 0));
    }
}
