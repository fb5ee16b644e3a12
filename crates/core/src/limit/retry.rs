//! How long to wait before a retry, and whether there may be one.
//!
//! Not here: which failures are worth a retry, deadlines, and what a provider's own `Retry-After` says (it wins).

use std::time::Duration;

/// Longest wait before a retry.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Exponential backoff with full jitter: before retry k, a random time in [0, factor * 2^(k-1)], at most 20 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    factor: Duration,
}

impl Backoff {
    /// With `factor` as the longest wait before the first retry.
    #[must_use]
    pub const fn new(factor: Duration) -> Self {
        Self { factor }
    }

    /// The wait before retry number `retry` (from 1), for a random number of [0, 1) that the caller draws. Numbers
    /// outside are taken as the nearer end, NaN as 1.
    #[must_use]
    pub fn wait(&self, retry: u32, unit_random: f64) -> Duration {
        let doublings = retry.saturating_sub(1).min(31);
        let longest = self.factor.saturating_mul(1 << doublings).min(WAIT_MAX);
        longest.mul_f64(if unit_random.is_nan() { 1.0 } else { unit_random.clamp(0.0, 1.0) })
    }
}

/// Keeps retries a share of the calls, so that a provider in trouble is not asked several times as often.
///
/// Each first attempt brings `ratio` of a token, each retry takes one; a reserve of tokens lets the first failures
/// through. Over any stretch, retries are at most the reserve plus `ratio` times the first attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryBudget {
    /// In thousandths of a token.
    held: u64,
    most: u64,
    per_call: u64,
}

impl RetryBudget {
    /// `ratio` retries per call in the long run, rounded to thousandths and at most 1,000; up to `reserve` tokens can
    /// be held, and are at first.
    #[must_use]
    pub fn new(ratio: f64, reserve: u32) -> Self {
        let most = u64::from(reserve) * 1_000;
        // A cast of NaN gives 0.
        Self { held: most, most, per_call: (ratio.clamp(0.0, 1_000.0) * 1_000.0).round() as u64 }
    }

    /// Notes a first attempt.
    pub fn called(&mut self) {
        self.held = (self.held + self.per_call).min(self.most);
    }

    /// Takes a token for a retry; false when there is none, and the failure is to be given to the caller.
    #[must_use]
    pub fn retry(&mut self) -> bool {
        let allowed = self.held >= 1_000;
        if allowed {
            self.held -= 1_000;
        }
        allowed
    }
}
