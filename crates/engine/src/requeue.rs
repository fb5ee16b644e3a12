//! Questions that failed and are asked again: when each may be, on what schedule a round of fetching goes on
//! meanwhile, and which failures are final.
//!
//! The schedule is shared: however many callers want a question that failed, it is asked again once per wait.
//! Retries of a single call, within seconds, are the source's own; here a question comes back after those.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use panscan_core::limit::Backoff;
use panscan_core::port::{BarAsk, SourceError};
use tokio::sync::watch;
use tokio::time::Instant;

/// Longest wait after the first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait at all, except where the provider names a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Failures of a question whose wait ended so long ago are no longer held against it.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Questions that are remembered; beyond it those whose wait is over are forgotten.
const HELD_MAX: usize = 100_000;

/// Whether asking again is pointless.
pub(crate) fn is_final(error: &SourceError) -> bool {
    matches!(
        error,
        SourceError::Key { .. }
            | SourceError::NotEntitled { .. }
            | SourceError::OutsidePlan { .. }
            // It names its own time, which is hours away.
            | SourceError::NotYet { .. }
            | SourceError::Refused { .. }
            | SourceError::NotOffered { .. }
    )
}

/// When a failed question may be asked again, and how it failed.
#[derive(Debug, Clone)]
pub(crate) struct Again {
    pub(crate) at: Instant,
    pub(crate) error: SourceError,
    failures: u32,
}

/// The shared schedule.
pub(crate) struct Requeue {
    /// Questions that were refused for good, for a while.
    absent: Mutex<HashMap<BarAsk, (Instant, SourceError)>>,
    absent_ttl: Duration,
    held: Mutex<HashMap<BarAsk, Again>>,
    requeued: AtomicU64,
    refused: watch::Sender<Option<SourceError>>,
}

impl Requeue {
    /// One that remembers so long what was refused for good.
    pub(crate) fn new(absent_ttl: Duration) -> Self {
        Self {
            absent: Mutex::default(),
            absent_ttl,
            held: Mutex::default(),
            requeued: AtomicU64::new(0),
            refused: watch::Sender::new(None),
        }
    }

    /// How this question was refused a short while ago: it is not worth another call yet.
    pub(crate) fn refusal(&self, ask: &BarAsk) -> Option<SourceError> {
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, error) = absent.get(ask)?;
        (since.elapsed() < self.absent_ttl).then(|| error.clone())
    }

    /// From now on every question is worth a call again.
    pub(crate) fn forgive(&self) {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn note_refusal(&self, ask: &BarAsk, error: &SourceError) {
        let lasting = matches!(
            error,
            SourceError::Refused { .. } | SourceError::NotEntitled { .. } | SourceError::NotOffered { .. }
        );
        if !lasting || self.absent_ttl.is_zero() {
            return;
        }
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if absent.len() >= HELD_MAX {
            absent.retain(|_, (since, _)| since.elapsed() < self.absent_ttl);
        }
        if absent.len() < HELD_MAX {
            absent.insert(ask.clone(), (Instant::now(), error.clone()));
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<BarAsk, Again>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the answer to a question, once per answer: a failure that may pass puts it back with a wait, a refused
    /// key is told to everybody who waits for anything.
    pub(crate) fn answered(&self, ask: &BarAsk, error: Option<&SourceError>) {
        let mut held = self.held();
        let Some(error) = error.filter(|error| !is_final(error)) else {
            held.remove(ask);
            drop(held);
            if let Some(error) = error {
                self.note_refusal(ask, error);
            }
            if let Some(refusal @ SourceError::Key { .. }) = error {
                self.refused.send_replace(Some(refusal.clone()));
            }
            return;
        };
        let now = Instant::now();
        let earlier = held.get(ask).filter(|again| now < again.at + FORGOTTEN).map_or(0, |a| a.failures);
        if held.len() >= HELD_MAX {
            held.retain(|_, again| now < again.at);
        }
        if held.len() >= HELD_MAX {
            return;
        }
        self.requeued.fetch_add(1, Ordering::Relaxed);
        let again = Again { at: now + wait(earlier + 1, error), error: error.clone(), failures: earlier + 1 };
        tracing::debug!(%ask, %error, again_in = ?again.at - now, failures = again.failures, "queued again");
        held.insert(ask.clone(), again);
    }

    /// The schedule of a question that failed and must not be asked yet.
    pub(crate) fn pending(&self, ask: &BarAsk) -> Option<Again> {
        self.held().get(ask).filter(|again| Instant::now() < again.at).cloned()
    }

    /// Forgets all waits: whatever failed may be asked again at once.
    pub(crate) fn forget(&self) {
        self.held().clear();
    }

    /// For a failure that has no schedule.
    pub(crate) fn soon(&self, error: SourceError) -> Again {
        Again { at: Instant::now() + wait(1, &error), error, failures: 1 }
    }

    /// Tells of keys refused from now on.
    pub(crate) fn refusals(&self) -> watch::Receiver<Option<SourceError>> {
        self.refused.subscribe()
    }

    /// Questions that were put back so far.
    pub(crate) fn requeued(&self) -> u64 {
        self.requeued.load(Ordering::Relaxed)
    }
}

/// Half of it is fixed and half random, so that questions which failed together come back apart.
fn wait(failures: u32, error: &SourceError) -> Duration {
    let backoff = Backoff::new(FIRST_WAIT).wait(failures, 1.0).min(LONGEST_WAIT) / 2;
    let jittered = backoff + backoff.mul_f64(fastrand::f64());
    match error {
        SourceError::RateLimited { retry_after, .. } | SourceError::Suspended { retry_after, .. } => {
            jittered.max(*retry_after + backoff.mul_f64(fastrand::f64()))
        }
        _ => jittered,
    }
}

/// The questions of one round of fetching: those not asked yet, in order, and those that wait.
pub(crate) struct Backlog {
    fresh: std::vec::IntoIter<BarAsk>,
    later: BTreeMap<(Instant, u64), (BarAsk, SourceError)>,
    count: u64,
}

impl Backlog {
    pub(crate) fn new(asks: Vec<BarAsk>) -> Self {
        Self { fresh: asks.into_iter(), later: BTreeMap::new(), count: 0 }
    }

    /// What to ask now: what waited long enough, then the next one.
    pub(crate) fn next(&mut self) -> Option<BarAsk> {
        if let Some(first) = self.later.first_entry()
            && first.key().0 <= Instant::now()
        {
            return Some(first.remove().0);
        }
        self.fresh.next()
    }

    /// Puts a question back.
    pub(crate) fn later(&mut self, ask: BarAsk, again: Again) {
        self.count += 1;
        self.later.insert((again.at, self.count), (ask, again.error));
    }

    /// When the next of those that wait may be asked.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// Those that wait, with their last failures.
    pub(crate) fn abandoned(self) -> impl Iterator<Item = (BarAsk, SourceError)> {
        self.later.into_values()
    }
}

#[cfg(test)]
mod tests {
    use panscan_core::time::SessionDate;

    use super::*;

    fn ask() -> BarAsk {
        BarAsk::Day(SessionDate::from_days(1))
    }

    fn down() -> SourceError {
        SourceError::Unavailable { provider: "test".into(), what: "a day".into(), message: "503".into() }
    }

    #[test]
    fn what_the_plan_leaves_out_is_not_asked_for_again_in_this_round() {
        let (provider, what, message) = ("test".into(), "a day".to_owned(), "timeframe".to_owned());
        let outside = SourceError::OutsidePlan { provider, what, from: None, until: None, message };
        assert!(is_final(&outside));
        let (provider, what, message) = ("test".into(), "a day".to_owned(), "before end of day".to_owned());
        let retry_at = panscan_core::time::Timestamp::from_seconds(1);
        assert!(is_final(&SourceError::NotYet { provider, what, retry_at, message }));
        assert!(!is_final(&SourceError::RateLimited { provider: "test".into(), retry_after: LONGEST_WAIT }));
    }

    #[test]
    fn waits_grow_to_a_bound_and_an_answer_ends_them() {
        let requeue = Requeue::new(Duration::from_secs(60));
        assert!(requeue.pending(&ask()).is_none());
        for failures in 1..=40 {
            let before = Instant::now();
            requeue.answered(&ask(), Some(&down()));
            let again = requeue.pending(&ask()).unwrap();
            let longest = FIRST_WAIT.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_WAIT);
            assert!(again.at >= before + longest / 2 && again.at <= Instant::now() + longest, "{failures}");
        }
        requeue.answered(&ask(), None);
        assert!(requeue.pending(&ask()).is_none());
        assert_eq!(requeue.requeued(), 40);
    }

    #[test]
    fn the_provider_names_its_own_wait_and_final_failures_are_not_put_back() {
        let requeue = Requeue::new(Duration::from_secs(60));
        let limited = SourceError::RateLimited { provider: "test".into(), retry_after: LONGEST_WAIT * 4 };
        let before = Instant::now();
        requeue.answered(&ask(), Some(&limited));
        assert!(requeue.pending(&ask()).unwrap().at >= before + LONGEST_WAIT * 4);
        let refusals = requeue.refusals();
        let refused = SourceError::Key { provider: "test".into(), message: "unknown".into() };
        requeue.answered(&ask(), Some(&refused));
        assert!(requeue.pending(&ask()).is_none());
        assert!(refusals.has_changed().unwrap());
        assert!(!requeue.refusals().has_changed().unwrap(), "who comes later asks for itself");
    }

    #[test]
    fn a_backlog_goes_on_with_what_is_fresh_while_the_failed_wait() {
        let day = |n| BarAsk::Day(SessionDate::from_days(n));
        let mut backlog = Backlog::new(vec![day(3), day(2)]);
        assert_eq!(backlog.next(), Some(day(3)));
        let now = Instant::now();
        backlog.later(day(3), Again { at: now + LONGEST_WAIT, error: down(), failures: 1 });
        backlog.later(day(9), Again { at: now, error: down(), failures: 1 });
        assert_eq!((backlog.next(), backlog.next()), (Some(day(9)), Some(day(2))));
        assert_eq!((backlog.next(), backlog.wakes()), (None, Some(now + LONGEST_WAIT)));
        assert_eq!(backlog.abandoned().collect::<Vec<_>>(), [(day(3), down())]);
    }
}
