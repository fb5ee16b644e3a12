//! The queue in front of a provider: one call at a time gets its turn, when both the rate limit and the
//! connections allow it.
//!
//! The arithmetic is the core's window log; here is the waiting. Interactive calls go before background ones,
//! otherwise the first to come is the first to go. Who stops waiting leaves the queue and makes no call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use panscan_core::limit::{Quota, WindowLog};
use panscan_core::port::Urgency;
use panscan_core::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Calls that may wait; the callers' own bounds are far below.
const WAITING_MAX: usize = 100_000;
/// Calls up to which an estimate follows the window exactly.
const ESTIMATED_MAX: u64 = 100_000;

/// Hands out turns.
pub(crate) struct Limiter {
    state: Mutex<State>,
    connections: usize,
    /// The instant `began`, in the clock of the log: monotonic whatever the desk's clock does.
    base: Timestamp,
    began: Instant,
}

struct State {
    log: WindowLog,
    in_flight: usize,
    waiting: BTreeMap<(Urgency, u64), Arc<Notify>>,
    tickets: u64,
}

impl State {
    /// Lets the first in the queue look again.
    fn ring(&self) {
        if let Some((_, bell)) = self.waiting.first_key_value() {
            bell.notify_one();
        }
    }
}

/// The queue is full.
#[derive(Debug)]
pub(crate) struct Full;

/// Permission for one call. A connection is taken until it is dropped.
pub(crate) struct Turn<'a> {
    limiter: &'a Limiter,
    start: Timestamp,
    answered: bool,
}

/// A place in the queue.
struct Ticket<'a> {
    limiter: &'a Limiter,
    place: (Urgency, u64),
    bell: Arc<Notify>,
}

enum Look {
    Go(Timestamp),
    After(Duration),
    WhenCalled,
}

impl Limiter {
    /// Keeps to `quota` with at most `connections` calls on the way, each of which ends within `call_max`.
    /// `starts` are calls that were made before.
    pub(crate) fn new(
        quota: Quota,
        starts: impl IntoIterator<Item = Timestamp>,
        connections: usize,
        call_max: Duration,
        now: Timestamp,
    ) -> Self {
        let log = WindowLog::seeded(quota, starts).holding(call_max);
        let state = State { log, in_flight: 0, waiting: BTreeMap::new(), tickets: 0 };
        Self { state: Mutex::new(state), connections, base: now, began: Instant::now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.base.after(self.began.elapsed())
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self, urgency: Urgency) -> Result<Turn<'_>, Full> {
        let ticket = self.enter(urgency)?;
        loop {
            match ticket.look() {
                Look::Go(start) => return Ok(Turn { limiter: self, start, answered: false }),
                Look::After(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = ticket.bell.notified() => {}
                    }
                }
                Look::WhenCalled => ticket.bell.notified().await,
            }
        }
    }

    fn enter(&self, urgency: Urgency) -> Result<Ticket<'_>, Full> {
        let mut state = self.state();
        if state.waiting.len() >= WAITING_MAX {
            return Err(Full);
        }
        state.tickets += 1;
        let place = (urgency, state.tickets);
        let bell = Arc::new(Notify::new());
        state.waiting.insert(place, bell.clone());
        Ok(Ticket { limiter: self, place, bell })
    }

    /// The provider said that there were too many calls.
    pub(crate) fn rejected(&self, retry_after: Option<Duration>) {
        let now = self.now();
        self.state().log.rejected(now, retry_after);
    }

    /// How long `calls` calls from now would take.
    pub(crate) fn estimate(&self, calls: u64) -> Duration {
        // On a copy, so that nobody waits for a long estimate; what is beyond it takes the usual pace.
        let log = self.state().log.clone();
        let near = log.estimated_time(self.now(), calls.min(ESTIMATED_MAX));
        let beyond = calls.saturating_sub(ESTIMATED_MAX) as f64 / self.refill_per_second();
        near.saturating_add(Duration::try_from_secs_f64(beyond).unwrap_or(Duration::MAX))
    }

    /// Calls that could be made now; infinite without a limit.
    pub(crate) fn available(&self) -> f64 {
        let now = self.now();
        match self.state().log.available(now) {
            u32::MAX => f64::INFINITY,
            calls => f64::from(calls),
        }
    }

    /// How many calls come free a second in the long run; infinite without a limit.
    pub(crate) fn refill_per_second(&self) -> f64 {
        let quota = self.state().log.quota();
        if quota.is_unlimited() {
            return f64::INFINITY;
        }
        f64::from(quota.calls()) / (quota.window() + quota.margin()).as_secs_f64()
    }

    /// The starts that still count, for a later process.
    pub(crate) fn log(&self) -> Vec<Timestamp> {
        self.state().log.starts().collect()
    }
}

impl Ticket<'_> {
    fn look(&self) -> Look {
        let now = self.limiter.now();
        let mut state = self.limiter.state();
        if state.waiting.first_key_value().is_none_or(|(place, _)| *place != self.place) {
            return Look::WhenCalled;
        }
        if state.in_flight >= self.limiter.connections {
            return Look::WhenCalled;
        }
        match state.log.reserve(now) {
            Ok(()) => {
                state.in_flight += 1;
                Look::Go(now)
            }
            Err(at) => Look::After(at.since(now)),
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        state.waiting.remove(&self.place);
        state.ring();
    }
}

impl Turn<'_> {
    /// Notes that the answer began, so that the provider has counted the call by now.
    pub(crate) fn answered(&mut self) {
        if !self.answered {
            self.answered = true;
            let now = self.limiter.now();
            self.limiter.state().log.answered(self.start, now);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let now = self.limiter.now();
        let mut state = self.limiter.state();
        if !self.answered {
            // Given up on: what was sent may still be on its way.
            let margin = state.log.quota().margin();
            state.log.answered(self.start, now.after(margin));
        }
        state.in_flight -= 1;
        state.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use panscan_core::port::Urgency::{Background, Interactive};

    fn limiter(quota: &str, connections: usize) -> Limiter {
        let now = Timestamp::from_seconds(1_000);
        Limiter::new(quota.parse().unwrap(), [], connections, Duration::from_secs(30), now)
    }

    #[tokio::test]
    async fn interactive_goes_before_background_and_who_leaves_makes_no_call() {
        let limiter = limiter("unlimited", 1);
        let first = limiter.turn(Background).await.unwrap();
        let mut background = Box::pin(limiter.turn(Background));
        let mut gone = Box::pin(limiter.turn(Interactive));
        let mut interactive = Box::pin(limiter.turn(Interactive));
        assert!((&mut background).now_or_never().is_none());
        assert!((&mut gone).now_or_never().is_none());
        assert!((&mut interactive).now_or_never().is_none());
        drop(gone);
        drop(first);
        assert!((&mut background).now_or_never().is_none(), "the interactive one is first");
        let second = (&mut interactive).now_or_never().unwrap().unwrap();
        assert!((&mut background).now_or_never().is_none(), "the connection is taken");
        drop(second);
        drop((&mut background).now_or_never().unwrap().unwrap());
        assert_eq!(limiter.state().in_flight, 0);
        assert!(limiter.state().waiting.is_empty());
    }

    #[tokio::test]
    async fn waits_for_the_window_and_wakes_by_itself() {
        let limiter = limiter("3/200ms", 10);
        let began = Instant::now();
        for _ in 0..7 {
            let mut turn = limiter.turn(Interactive).await.unwrap();
            turn.answered();
        }
        assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
        assert!(limiter.estimate(3) > Duration::ZERO);
        assert!(limiter.estimate(u64::MAX) > Duration::from_secs(1 << 40));
        assert!(limiter.log().len() <= 3);
    }

    #[tokio::test]
    async fn a_call_on_the_way_keeps_its_place_in_the_window() {
        let limiter = limiter("1/50ms", 10);
        let mut slow = limiter.turn(Interactive).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(150), limiter.turn(Interactive)).await;
        assert!(waited.is_err(), "the first call may not have arrived yet");
        slow.answered();
        drop(slow);
        let answered = Instant::now();
        let _next = limiter.turn(Interactive).await.unwrap();
        assert!(answered.elapsed() >= Duration::from_millis(49));
    }

    #[tokio::test]
    async fn a_rejection_holds_everybody_back() {
        let limiter = limiter("100/s", 10);
        limiter.rejected(Some(Duration::from_millis(120)));
        assert_eq!(limiter.available(), 0.0);
        let began = Instant::now();
        let _turn = limiter.turn(Interactive).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(115));
    }
}
