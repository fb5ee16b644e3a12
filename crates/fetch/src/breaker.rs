//! A circuit breaker for one provider: after repeated failures it is left alone for a while, then one call
//! tries whether it is back. A refused key keeps it open for good.
//!
//! Time is handed in; nothing here reads a clock or waits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use panscan_core::port::BreakerState;
use tokio::time::Instant;

/// Longest pause, however often it failed.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// Far enough to stand for "until the settings change".
const FOR_GOOD: Duration = Duration::from_secs(100 * 365 * 86_400);

/// One provider's breaker.
pub(crate) struct Breaker {
    /// Failures in a row that open it.
    most: u32,
    /// The first pause; each one after a failed trial is twice as long.
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// Pauses since the last success.
    pauses: u32,
    /// Open until then.
    until: Option<Instant>,
    /// Whether the call that tries it is on its way.
    trying: bool,
    message: String,
}

/// What can be seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) state: BreakerState,
    /// How long it stays open; `None` while it is not.
    pub(crate) left: Option<Duration>,
    pub(crate) failures: u32,
    /// The last failure, while it counts.
    pub(crate) message: Option<String>,
}

/// Permission for a call. Dropped without a verdict it leaves the breaker as it was.
pub(crate) struct Pass<'a> {
    breaker: &'a Breaker,
    trial: bool,
}

impl Breaker {
    pub(crate) fn new(most: u32, pause: Duration) -> Self {
        Self { most: most.max(1), pause, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call through, or says how long none is and why.
    pub(crate) fn pass(&self, now: Instant) -> Result<Pass<'_>, (Duration, String)> {
        let mut state = self.state();
        match state.until {
            None => Ok(Pass { breaker: self, trial: false }),
            Some(until) if until > now => Err((until - now, state.message.clone())),
            Some(_) if state.trying => Err((self.pause, state.message.clone())),
            Some(_) => {
                state.trying = true;
                Ok(Pass { breaker: self, trial: true })
            }
        }
    }

    /// Whether a call would be let through.
    pub(crate) fn is_passable(&self, now: Instant) -> bool {
        let state = self.state();
        state.until.is_none_or(|until| until <= now && !state.trying)
    }

    pub(crate) fn seen(&self, now: Instant) -> Seen {
        let held = self.state();
        let left =
            held.until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero());
        let state = match (held.until, left) {
            (None, _) => BreakerState::Closed,
            (Some(_), Some(_)) => BreakerState::Open,
            (Some(_), None) => BreakerState::HalfOpen,
        };
        let message = (!held.message.is_empty()).then(|| held.message.clone());
        Seen { state, left, failures: held.failures, message }
    }

    /// Forgets every failure: the settings have changed, or somebody says so.
    pub(crate) fn reset(&self) {
        *self.state() = State::default();
    }
}

impl Pass<'_> {
    /// The provider answered, be it with a refusal of its own good sense.
    pub(crate) fn answered(self) {
        let mut state = self.breaker.state();
        // A call that began before the breaker opened does not close it.
        if state.until.is_none() || self.trial {
            *state = State::default();
        }
    }

    /// The provider failed.
    pub(crate) fn failed(self, now: Instant, message: &str) {
        let mut state = self.breaker.state();
        message.clone_into(&mut state.message);
        state.failures = state.failures.saturating_add(1);
        let opens = self.trial || (state.until.is_none() && state.failures >= self.breaker.most);
        if opens {
            let pause = self.breaker.pause.saturating_mul(1 << state.pauses.min(10)).min(PAUSE_MAX);
            state.pauses = state.pauses.saturating_add(1);
            state.until = Some(now + pause);
        }
    }

    /// The provider said how long to stay away.
    pub(crate) fn sent_away(self, now: Instant, span: Duration, message: &str) {
        let mut state = self.breaker.state();
        message.clone_into(&mut state.message);
        state.failures = state.failures.saturating_add(1);
        state.until = state.until.max(Some(now + span.min(FOR_GOOD)));
    }

    /// The provider refuses the key: there is no use in asking again.
    pub(crate) fn shut(self, now: Instant, message: &str) {
        self.sent_away(now, FOR_GOOD, message);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.state().trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn pass(breaker: &Breaker, now: Instant) -> Pass<'_> {
        breaker.pass(now).unwrap_or_else(|(left, message)| panic!("open for {left:?}: {message}"))
    }

    #[test]
    fn opens_after_failures_in_a_row_and_tries_with_one_call() {
        let (breaker, start) = (Breaker::new(3, PAUSE), Instant::now());
        pass(&breaker, start).failed(start, "500");
        pass(&breaker, start).failed(start, "500");
        pass(&breaker, start).answered();
        for _ in 0..3 {
            assert_eq!(breaker.seen(start).state, BreakerState::Closed);
            pass(&breaker, start).failed(start, "502");
        }
        let seen = breaker.seen(start);
        assert_eq!((seen.state, seen.left, seen.failures), (BreakerState::Open, Some(PAUSE), 3));
        assert!(breaker.pass(start).is_err_and(|(left, message)| left == PAUSE && message == "502"));

        let later = start + PAUSE;
        assert_eq!(breaker.seen(later).state, BreakerState::HalfOpen);
        let trial = pass(&breaker, later);
        assert!(breaker.pass(later).is_err(), "one call tries it");
        assert!(!breaker.is_passable(later));
        trial.failed(later, "503");
        assert_eq!(breaker.seen(later).left, Some(2 * PAUSE), "each pause is longer");

        let again = later + 2 * PAUSE;
        drop(pass(&breaker, again));
        assert!(breaker.is_passable(again), "a trial that was given up on lets the next one try");
        pass(&breaker, again).answered();
        assert_eq!(breaker.seen(again).state, BreakerState::Closed);
        assert_eq!(breaker.seen(again).message, None);
    }

    #[test]
    fn a_late_answer_does_not_close_what_opened_meanwhile() {
        let (breaker, now) = (Breaker::new(1, PAUSE), Instant::now());
        let early = pass(&breaker, now);
        pass(&breaker, now).failed(now, "500");
        early.answered();
        assert_eq!(breaker.seen(now).state, BreakerState::Open);
    }

    #[test]
    fn a_provider_says_how_long_and_a_key_is_for_good() {
        let (breaker, now) = (Breaker::new(3, PAUSE), Instant::now());
        pass(&breaker, now).sent_away(now, Duration::from_secs(900), "429");
        assert_eq!(breaker.seen(now).left, Some(Duration::from_secs(900)));
        breaker.reset();
        pass(&breaker, now).shut(now, "unknown key");
        assert!(breaker.pass(now + Duration::from_secs(10 * 365 * 86_400)).is_err());
        breaker.reset();
        assert!(breaker.is_passable(now));
    }
}
