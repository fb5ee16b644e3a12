//! Which failures are worth asking again, and the state that retries and refusals share between calls.
//!
//! Every call is a GET and thus safe to repeat. Waiting for the rate limit is the limiter's.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use panscan_core::limit::{Backoff, RetryBudget};
use panscan_core::port::SourceError;
use tokio::time::Instant;

/// Retries per call that are afforded in the long run.
const BUDGET_RATIO: f64 = 0.5;
/// Retries that are afforded beyond it, for the first failures.
const BUDGET_RESERVE: u32 = 50;
/// Second attempts beside a slow first one, per call in the long run, and beyond it.
const HEDGE_RATIO: f64 = 0.05;
const HEDGE_RESERVE: u32 = 5;
/// A provider that asks for more than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// For how long a refused key is not tried again.
const KEY_PAUSE: Duration = Duration::from_secs(60);

/// How an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Asking again is pointless.
    Final(SourceError),
    /// It may pass, after the time that the provider named or a random one.
    Passing {
        /// What to say when it does not.
        error: SourceError,
        /// The provider's `Retry-After`.
        wait: Option<Duration>,
    },
}

impl Failure {
    pub(crate) fn passing(error: SourceError) -> Self {
        Self::Passing { error, wait: None }
    }

    /// What to say about it.
    pub(crate) fn error(&self) -> &SourceError {
        match self {
            Self::Final(error) | Self::Passing { error, .. } => error,
        }
    }
}

/// Whether a status says that the same call may succeed later.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 429 | 499 | 500 | 502 | 503 | 504)
}

/// Decides on retries for all calls of one provider.
pub(crate) struct Retries {
    most: u32,
    backoff: Backoff,
    budget: Mutex<RetryBudget>,
    hedges: Mutex<RetryBudget>,
}

impl Retries {
    pub(crate) fn new(most: u32, factor: Duration) -> Self {
        let budget = Mutex::new(RetryBudget::new(BUDGET_RATIO, BUDGET_RESERVE));
        let hedges = Mutex::new(RetryBudget::new(HEDGE_RATIO, HEDGE_RESERVE));
        Self { most, backoff: Backoff::new(factor), budget, hedges }
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, RetryBudget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hedges(&self) -> std::sync::MutexGuard<'_, RetryBudget> {
        self.hedges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the first attempt of a call.
    pub(crate) fn first_attempt(&self) {
        self.budget().called();
        self.hedges().called();
    }

    /// Whether a second attempt may be made beside a slow first one: it takes from both budgets.
    pub(crate) fn may_hedge(&self) -> bool {
        self.most > 0 && self.hedges().retry() && self.budget().retry()
    }

    /// After `attempts` attempts: how long to wait before the next one, or the error to give to the caller.
    pub(crate) fn next(&self, attempts: u32, failure: Failure) -> Result<Duration, SourceError> {
        let (error, told) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing { error, wait } => (error, wait),
        };
        let too_long = told.is_some_and(|wait| wait > PATIENCE);
        if attempts > self.most || too_long || !self.budget().retry() {
            return Err(error);
        }
        let jitter = self.backoff.wait(attempts, fastrand::f64());
        // The rate limit holds the next attempt back for as long as the provider said; what is added here
        // only keeps callers from coming back in step.
        Ok(match told {
            Some(wait) if !matches!(error, SourceError::RateLimited { .. }) => wait + jitter,
            _ => jitter,
        })
    }
}

/// Remembers that the key was refused, so that calls fail at once instead of asking again.
#[derive(Default)]
pub(crate) struct KeyBreaker(Mutex<Option<(Instant, SourceError)>>);

impl KeyBreaker {
    /// The error of the refusal, while it is fresh.
    pub(crate) fn check(&self) -> Result<(), SourceError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((since, error)) if since.elapsed() < KEY_PAUSE => Err(error.clone()),
            Some(_) => {
                *held = None;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes a refusal.
    pub(crate) fn open(&self, error: &SourceError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> SourceError {
        SourceError::Unavailable { provider: "test".into(), what: "a day".into(), message: "500".into() }
    }

    #[test]
    fn retries_end_with_the_error() {
        let retries = Retries::new(3, Duration::from_millis(500));
        for attempts in 1..=3 {
            let wait = retries.next(attempts, Failure::passing(down())).unwrap();
            assert!(wait <= Duration::from_millis(500 << (attempts - 1)));
        }
        assert_eq!(retries.next(4, Failure::passing(down())), Err(down()));
        assert_eq!(retries.next(1, Failure::Final(down())), Err(down()));
    }

    #[test]
    fn an_outage_does_not_multiply_the_calls() {
        let retries = Retries::new(3, Duration::ZERO);
        let mut made = 0;
        for _ in 0..1_000 {
            retries.first_attempt();
            made += 1;
            for attempts in 1.. {
                if retries.next(attempts, Failure::passing(down())).is_err() {
                    break;
                }
                made += 1;
            }
        }
        assert!(made <= 1_000 + 500 + 50, "{made}");
    }

    #[test]
    fn the_providers_own_wait_wins_unless_it_is_absurd() {
        let retries = Retries::new(3, Duration::ZERO);
        let told = |seconds| Failure::Passing { error: down(), wait: Some(Duration::from_secs(seconds)) };
        assert_eq!(retries.next(1, told(7)), Ok(Duration::from_secs(7)));
        assert!(retries.next(1, told(3_600)).is_err());
    }
}
