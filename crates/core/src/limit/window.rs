//! The sliding-window log of one provider key.
//!
//! Every start is kept until it cannot count any more; there is no bucket that refills while its burst is spent. Not
//! here: waiting, and sharing a window between servers.

use std::collections::VecDeque;
use std::time::Duration;

use super::Quota;
use crate::time::Timestamp;

/// Longest wait after a rejection that says no time of its own, and the pace at which the allowance recovers.
const PENALTY_MAX: Duration = Duration::from_secs(60);
/// Longest `Retry-After` that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// What an answered call counts beyond its window: clocks that stamp in whole milliseconds.
const GRAIN: Duration = Duration::from_millis(2);
/// The allowance recovers by this part of the quota per step.
const RECOVERY_STEPS: u32 = 8;

/// Decides when calls may start so that a [`Quota`] is never exceeded where it is counted: at the provider.
///
/// A start counts for the window and a margin ([`Quota::margin`]), which makes up for calls that travel at different
/// speeds. Where that is not enough (a busy machine, a first call that still connects), [`holding`](Self::holding)
/// makes it exact: a call then counts from its start until one window after it was surely counted, which is when
/// [`answered`](Self::answered) is called.
///
/// The log holds at most as many entries as the quota has calls.
#[derive(Debug, Clone)]
pub struct WindowLog {
    quota: Quota,
    hold: Duration,
    /// In the order in which they were granted.
    log: VecDeque<Entry>,
    /// No call before this instant.
    blocked_until: Timestamp,
    /// Calls in a window after the last rejection, and when that was; `None` while the quota is trusted.
    reduced: Option<(u32, Timestamp)>,
    /// Calls in a window that this log may have of a quota that it shares.
    ceiling: u32,
}

/// One call that started.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: Timestamp,
    /// The instant from which it does not count any more.
    clear: Timestamp,
    /// Whether an answer may still move `clear`.
    pending: bool,
}

impl WindowLog {
    /// An empty log.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            hold: Duration::ZERO,
            log: VecDeque::new(),
            blocked_until: Timestamp::from_nanos(i64::MIN),
            reduced: None,
            ceiling: u32::MAX,
        }
    }

    /// A log of calls that started before, e.g. before a restart; the newest ones count, in any order.
    #[must_use]
    pub fn seeded(quota: Quota, starts: impl IntoIterator<Item = Timestamp>) -> Self {
        let mut log = Self::new(quota);
        if quota.is_unlimited() {
            return log;
        }
        let mut starts: Vec<Timestamp> = starts.into_iter().collect();
        starts.sort_unstable();
        let surplus = starts.len().saturating_sub(quota.calls() as usize);
        for &start in &starts[surplus..] {
            log.log.push_back(Entry { start, clear: log.clear_of(start), pending: false });
        }
        log
    }

    /// Lets each call count until it is [`answered`](Self::answered), but for no more than `longest` beyond its usual
    /// time. Set `longest` to the total timeout of a call: then no call can be counted by the provider outside the time
    /// for which it counts here.
    #[must_use]
    pub fn holding(self, longest: Duration) -> Self {
        Self { hold: longest, ..self }
    }

    /// The quota that is kept to.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// The starts that may still count, oldest first: what [`seeded`](Self::seeded) takes.
    pub fn starts(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.log.iter().map(|entry| entry.start)
    }

    /// The earliest instant from `now` on at which a call may start, as things are.
    #[must_use]
    pub fn earliest(&mut self, now: Timestamp) -> Timestamp {
        self.forget(now);
        self.next_free(now)
    }

    /// Starts a call at `now` and notes it, if it may start now.
    ///
    /// # Errors
    ///
    /// The instant, later than `now`, at which to ask again. Unless others start calls meanwhile it is granted then;
    /// with [`holding`](Self::holding) it is taken that calls on the way are answered at once, and asking again gives
    /// a later instant where they were not.
    pub fn reserve(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let at = self.earliest(now);
        if at > now {
            return Err(at);
        }
        if !self.quota.is_unlimited() {
            let clear = self.clear_of(now).after(self.hold);
            self.log.push_back(Entry { start: now, clear, pending: !self.hold.is_zero() });
        }
        Ok(())
    }

    /// Notes a call that somebody else made at `start` and that counts until `clear`, e.g. an earlier process. To be
    /// told before the first [`reserve`](Self::reserve), oldest first.
    pub fn note(&mut self, start: Timestamp, clear: Timestamp) {
        if !self.quota.is_unlimited() {
            self.log.push_back(Entry { start, clear, pending: false });
        }
    }

    /// Takes back what was reserved at `start` for a call that was not made; an unknown `start` is ignored.
    pub fn cancel(&mut self, start: Timestamp) {
        if let Some(index) = self.log.iter().rposition(|entry| entry.start == start) {
            self.log.remove(index);
        }
    }

    /// Allows at most `calls` in a window from now on, 0 counting as 1; `None` allows the whole quota.
    pub fn set_ceiling(&mut self, calls: Option<u32>) {
        self.ceiling = calls.map_or(u32::MAX, |calls| calls.max(1));
    }

    /// Lets no call start before `wait` from `now` is over (at most an hour is believed); the allowance stays.
    pub fn pause(&mut self, now: Timestamp, wait: Duration) {
        self.blocked_until = self.blocked_until.max(now.after(wait.min(RETRY_AFTER_MAX)));
    }

    /// The instant before which no call starts whatever the window says; in the past when there is none.
    #[must_use]
    pub fn blocked_until(&self) -> Timestamp {
        self.blocked_until
    }

    /// Notes that the call that started at `start` was answered, failed or was given up at `now`, so that the provider
    /// counted it at `now` at the latest. It matters with [`holding`](Self::holding) only, and then is owed
    /// for every call; an unknown `start` is ignored.
    pub fn answered(&mut self, start: Timestamp, now: Timestamp) {
        let clear = now.max(start).after(self.quota.window()).after(GRAIN);
        if let Some(entry) = self.log.iter_mut().find(|entry| entry.pending && entry.start == start) {
            entry.pending = false;
            entry.clear = entry.clear.min(clear);
        }
    }

    /// How many calls could start at `now`.
    #[must_use]
    pub fn available(&self, now: Timestamp) -> u32 {
        if now < self.blocked_until {
            return 0;
        }
        if self.quota.is_unlimited() {
            return u32::MAX;
        }
        let counting = self.log.iter().filter(|entry| self.clear_by(entry, now) > now).count();
        let span = self.quota.burst_span();
        let recent = self.log.iter().filter(|entry| entry.start.min(now).after(span) > now).count();
        let left = |most: u32, taken: usize| most.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        left(self.allowed(now), counting).min(left(self.quota.burst(), recent))
    }

    /// Notes that the provider answered "too many calls". No call starts before its `retry_after` is over (at most an
    /// hour is believed) or, where it named none, for a window (at most a minute); callers add jitter when they try
    /// again. From then on half as many calls are allowed per window, down to one; several rejections within one window
    /// count once. The allowance returns by an eighth of the quota per window (at most a minute) without a rejection.
    pub fn rejected(&mut self, now: Timestamp, retry_after: Option<Duration>) {
        let pause = retry_after.map_or(self.pace(), |told| told.min(RETRY_AFTER_MAX));
        self.blocked_until = self.blocked_until.max(now.after(pause));
        if self.quota.is_unlimited() {
            return;
        }
        let fresh = self.reduced.is_none_or(|(_, since)| now.since(since) >= self.quota.window());
        if fresh {
            self.reduced = Some(((self.trusted(now) / 2).max(1), now));
        }
    }

    /// How long after `now` the last of `calls` calls could start if all went as early as they may, answers came at
    /// once and nothing were rejected. A present reduction is taken as lasting. Time and memory grow with `calls` and
    /// the quota.
    #[must_use]
    pub fn estimated_time(&self, now: Timestamp, calls: u64) -> Duration {
        let mut at = now.max(self.blocked_until);
        if self.quota.is_unlimited() || calls == 0 {
            return if calls == 0 { Duration::ZERO } else { at.since(now) };
        }
        let span = self.quota.burst_span();
        // When each of the places in a window, and in a burst, gets free; the earliest first.
        let places = |most: u32, mut busy: Vec<Timestamp>| -> VecDeque<Timestamp> {
            busy.sort_unstable();
            let most = most as usize;
            let free = most.saturating_sub(busy.len());
            let surplus = busy.len().saturating_sub(most);
            std::iter::repeat_n(now, free).chain(busy.drain(surplus..)).collect()
        };
        let mut window = places(self.allowed(now), self.log.iter().map(|e| self.soonest(e, now)).collect());
        let mut burst =
            places(self.quota.burst(), self.log.iter().map(|e| e.start.min(now).after(span)).collect());
        for _ in 0..calls {
            at = [window.pop_front(), burst.pop_front()].into_iter().flatten().fold(at, Timestamp::max);
            window.push_back(self.clear_of(at));
            burst.push_back(at.after(span));
        }
        at.since(now)
    }

    /// When a call that starts at `start` does not count any more, answers aside.
    fn clear_of(&self, start: Timestamp) -> Timestamp {
        start.after(self.quota.window()).after(self.quota.margin())
    }

    /// The same of an entry as seen at `now`. After a clock went back, what lies in the future started by now at the
    /// latest, so that it counts for its usual time from now and not for as long as the clock was ahead.
    fn clear_by(&self, entry: &Entry, now: Timestamp) -> Timestamp {
        if entry.start <= now { entry.clear } else { entry.clear.min(self.clear_of(now).after(self.hold)) }
    }

    /// When an entry stops counting if it is answered at `now` at the earliest.
    fn soonest(&self, entry: &Entry, now: Timestamp) -> Timestamp {
        let clear = self.clear_by(entry, now);
        if entry.pending { clear.min(now.after(self.quota.window()).after(GRAIN)) } else { clear }
    }

    /// Forgets what does not count any more.
    fn forget(&mut self, now: Timestamp) {
        if self.log.iter().any(|entry| entry.start > now) {
            let moved: Vec<Timestamp> = self.log.iter().map(|entry| self.clear_by(entry, now)).collect();
            for (entry, clear) in self.log.iter_mut().zip(moved) {
                entry.clear = clear;
                entry.start = entry.start.min(now);
            }
        }
        // Scanned in full only when there is something to win: entries end nearly in the order of their starts.
        if self.log.len() >= self.allowed(now) as usize || self.log.front().is_some_and(|e| e.clear <= now) {
            self.log.retain(|entry| entry.clear > now);
        }
        if self.reduced.is_some() && self.trusted(now) == self.quota.calls() {
            self.reduced = None;
        }
    }

    /// The earliest instant from `now` on at which a call may start, after [`forget`](Self::forget).
    fn next_free(&self, now: Timestamp) -> Timestamp {
        let mut at = now.max(self.blocked_until);
        if self.quota.is_unlimited() {
            return at;
        }
        let allowed = self.allowed(now) as usize;
        if self.log.len() >= allowed {
            // So many must be over that one place is free.
            let mut clears: Vec<Timestamp> = self.log.iter().map(|entry| self.soonest(entry, now)).collect();
            let surplus = clears.len() - allowed;
            at = at.max(*clears.select_nth_unstable(surplus).1);
        }
        let burst = self.quota.burst() as usize;
        if let Some(entry) = self.log.len().checked_sub(burst).and_then(|index| self.log.get(index)) {
            at = at.max(entry.start.after(self.quota.burst_span()));
        }
        at
    }

    /// Calls in a window as allowed at `now`: the quota, less what rejections and a ceiling take away.
    #[must_use]
    pub fn allowed(&self, now: Timestamp) -> u32 {
        self.trusted(now).min(self.ceiling)
    }

    /// The same without the ceiling.
    fn trusted(&self, now: Timestamp) -> u32 {
        let calls = self.quota.calls();
        let Some((reduced, since)) = self.reduced else { return calls };
        let steps = now.since(since).as_nanos() / self.pace().as_nanos().max(1);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        reduced.saturating_add(calls.div_ceil(RECOVERY_STEPS).saturating_mul(steps)).min(calls)
    }

    /// The time of one step of recovery, and of a pause that nobody named.
    fn pace(&self) -> Duration {
        if self.quota.is_unlimited() { Duration::from_secs(1) } else { self.quota.window().min(PENALTY_MAX) }
    }
}
