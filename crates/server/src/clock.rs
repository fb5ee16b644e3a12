//! The clocks that a server can go by: the system's, the provider's, or one fixed instant.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use panscan_core::port::{BarSource, Clock};
use panscan_core::time::Timestamp;
use tokio::time::Instant;

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port's one reader of the system's time")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().after(since)
    }
}

/// One instant, for replays.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// The provider's clock: its last answer, moved on by the time since.
#[derive(Debug)]
pub struct ProviderClock {
    began: Instant,
    /// Provider's time at `began`, in nanoseconds.
    base: AtomicI64,
}

impl ProviderClock {
    /// Starts at the system's time, until the provider has said its own.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now(), base: AtomicI64::new(SystemClock.now().as_nanos()) }
    }

    /// Takes over what the provider says that the time is.
    pub fn set(&self, now: Timestamp) {
        let past = i64::try_from(self.began.elapsed().as_nanos()).unwrap_or(i64::MAX);
        self.base.store(now.as_nanos().saturating_sub(past), Ordering::Relaxed);
    }

    /// Asks the provider again and again, seldom enough to leave the rate limit to bars.
    pub async fn follow(self: Arc<Self>, source: Arc<dyn BarSource>) {
        loop {
            match source.status().await {
                Ok(status) => self.set(status.now),
                Err(error) => tracing::warn!(%error, "the provider did not say what time it is"),
            }
            // With a call a second or more to spare, a poll every two seconds is lost in the noise.
            let plenty = source.stats().refill_per_second >= 1.0;
            tokio::time::sleep(Duration::from_secs(if plenty { 2 } else { 60 })).await;
        }
    }
}

impl Clock for ProviderClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.base.load(Ordering::Relaxed)).after(self.began.elapsed())
    }
}
