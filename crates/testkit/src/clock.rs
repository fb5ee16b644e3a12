//! A clock that stands until it is set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use panscan_core::port::Clock;
use panscan_core::time::Timestamp;

/// Time as a test says it is.
#[derive(Debug, Default)]
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// Stands at `at`.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.as_nanos()))
    }

    /// From now on it is `at`.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_nanos(), Ordering::SeqCst);
    }

    /// Moves on by `span`.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().after(span));
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_until_it_is_set_or_moved() {
        let clock = FixedClock::new(Timestamp::from_seconds(5));
        assert_eq!((clock.now(), clock.now()), (Timestamp::from_seconds(5), Timestamp::from_seconds(5)));
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now(), Timestamp::from_seconds(7));
        clock.set(Timestamp::from_seconds(1));
        assert_eq!(clock.now(), Timestamp::from_seconds(1));
    }
}
