//! When Redis is left alone: after failures in a row nobody asks, then one call tries, then all may again.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::locked;

/// Failures in a row after which it is left alone.
const FAILURES_MAX: u32 = 2;
/// First time it is left alone; doubles up to [`REST_MAX`].
const REST: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(15);

/// Whether calls go through.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    rest: Duration,
    until: Option<Instant>,
}

impl Breaker {
    /// Whether to make a call now. While it rests, one call goes through at the end of each rest.
    pub(super) fn lets_through(&self) -> bool {
        let state = &mut *locked(&self.0);
        match state.until {
            None => true,
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                state.until = Some(Instant::now() + state.rest);
                true
            }
        }
    }

    pub(super) fn succeeded(&self) {
        let was = std::mem::take(&mut *locked(&self.0));
        if was.until.is_some() {
            tracing::info!("Redis answers again");
        }
    }

    pub(super) fn failed(&self, message: &str) {
        let state = &mut *locked(&self.0);
        state.failures += 1;
        if state.failures < FAILURES_MAX {
            return;
        }
        if state.until.is_none() {
            tracing::info!(message, "Redis does not answer; this server goes on without it and looks again");
        }
        state.rest = (state.rest * 2).clamp(REST, REST_MAX);
        state.until = Some(Instant::now() + state.rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_after_failures_lets_one_try_and_recovers() {
        let breaker = Breaker::default();
        breaker.failed("x");
        assert!(breaker.lets_through());
        breaker.failed("x");
        assert!(!breaker.lets_through());
        locked(&breaker.0).until = Some(Instant::now());
        assert!(breaker.lets_through() && !breaker.lets_through(), "one of many");
        breaker.failed("x");
        assert!(!breaker.lets_through());
        assert_eq!(locked(&breaker.0).rest, 2 * REST);
        breaker.succeeded();
        assert!(breaker.lets_through());
        (0..40).for_each(|_| breaker.failed("x"));
        assert_eq!(locked(&breaker.0).rest, REST_MAX);
    }
}
