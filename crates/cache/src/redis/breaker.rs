//! When Redis is left alone: after failures in a row nobody asks, then one call tries, then all may again. How long
//! is partly chance, so that servers which lost the same Redis do not come back to it at once.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use panscan_core::port::BreakerState;

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

impl State {
    fn rests(&mut self) {
        self.until = Some(Instant::now() + self.rest.mul_f64(0.75 + 0.5 * fastrand::f64()));
    }
}

impl Breaker {
    /// Whether to make a call now. While it rests, one call goes through at the end of each rest.
    pub(super) fn lets_through(&self) -> bool {
        let state = &mut *locked(&self.0);
        match state.until {
            None => true,
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                state.rests();
                true
            }
        }
    }

    pub(super) fn succeeded(&self) {
        let state = &mut *locked(&self.0);
        state.failures = 0;
        state.rest = Duration::ZERO;
        if state.until.take().is_some() {
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
        state.rests();
    }

    /// How long nobody asks from now on.
    pub(super) fn rest(&self) -> Duration {
        let until = locked(&self.0).until;
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    pub(super) fn state(&self) -> BreakerState {
        match locked(&self.0).until {
            None => BreakerState::Closed,
            Some(until) if Instant::now() < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_after_failures_lets_one_try_and_recovers() {
        let breaker = Breaker::default();
        breaker.failed("x");
        assert!(breaker.lets_through() && breaker.state() == BreakerState::Closed);
        breaker.failed("x");
        assert_eq!(locked(&breaker.0).rest, REST);
        let hour = Duration::from_secs(3600);
        locked(&breaker.0).until = Some(Instant::now() + hour);
        assert!(breaker.state() == BreakerState::Open && breaker.rest() > hour / 2);
        locked(&breaker.0).until = Some(Instant::now());
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        locked(&breaker.0).rest = hour;
        assert!(breaker.lets_through() && !breaker.lets_through(), "one of many");
        locked(&breaker.0).rest = REST;
        breaker.failed("x");
        assert_eq!(locked(&breaker.0).rest, 2 * REST);
        breaker.succeeded();
        assert!(breaker.lets_through() && breaker.rest() == Duration::ZERO);
        (0..40).for_each(|_| breaker.failed("x"));
        assert_eq!(locked(&breaker.0).rest, REST_MAX);
        assert!(breaker.rest() <= REST_MAX.mul_f64(1.25));
    }
}
