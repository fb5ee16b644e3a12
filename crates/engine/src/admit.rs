//! Admission: so many scans plan or compute at once, so many wait, and beyond that a caller is told at once.
//!
//! A permit is taken for computing only. Waiting for the provider and streaming rows hold none. Who waits for the
//! provider has a place of their own kind instead, and with it is not refused for the queue when the data is there:
//! a thousand callers who waited for the same bars are all served, one after the other.

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
    fetching: Arc<AtomicUsize>,
    fetching_max: usize,
}

/// The place of one who waits for the provider, kept until the computation has its permit.
#[derive(Debug)]
pub(crate) struct Fetching(Arc<AtomicUsize>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One place in the queue, given back on drop.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(crate) fn new(concurrent: usize, queue_max: usize, fetching_max: usize) -> Self {
        let permits_max = concurrent.max(1);
        Self {
            permits: Arc::new(Semaphore::new(permits_max)),
            permits_max,
            queued: AtomicUsize::new(0),
            queue_max,
            fetching: Arc::default(),
            fetching_max,
        }
    }

    /// Takes a place among those who wait for the provider.
    pub(crate) fn fetch(&self) -> Result<Fetching, EngineError> {
        let queued = self.fetching.fetch_add(1, Ordering::Relaxed);
        let place = Fetching(self.fetching.clone());
        if queued >= self.fetching_max {
            return Err(EngineError::QueueFull { queued, retry_after: Duration::from_secs(1) });
        }
        Ok(place)
    }

    /// Waits for a permit, first come first served. One who has waited for the provider is not refused.
    pub(crate) async fn enter(&self, fetched: Option<Fetching>) -> Result<OwnedSemaphorePermit, EngineError> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let queued = self.queued.fetch_add(1, Ordering::Relaxed);
        let _place = Place(&self.queued);
        if queued >= self.queue_max && fetched.is_none() {
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

    /// Callers that wait for the provider, or came from there and wait for a permit.
    #[must_use]
    pub fn fetching(&self) -> usize {
        self.fetching.load(Ordering::Relaxed)
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
        let gate = Arc::new(Admission::new(1, 1, 1));
        let first = gate.enter(None).await.unwrap();
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(None).await.is_ok() }
        });
        while gate.queued() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(gate.enter(None).await, Err(EngineError::QueueFull { queued: 1, .. })));
        assert_eq!(gate.active(), 1);
        let place = gate.fetch().unwrap();
        assert!(matches!(gate.fetch(), Err(EngineError::QueueFull { .. })));
        let patient = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(Some(place)).await.is_ok() }
        });
        drop(first);
        assert!(waiting.await.unwrap());
        assert!(patient.await.unwrap(), "who waited for the provider is not refused");
        assert_eq!((gate.active(), gate.queued(), gate.fetching()), (0, 0, 0));
    }
}
