//! Who called what how often: the limit that is enforced, and the ledger that tests read.
//!
//! Both are kept per key over sliding windows; the ledger shows the worst key. Times are real, not the
//! simulator's clock: a limit is about the wire.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Rate;
use crate::rng::hash;

/// Keys told apart; callers beyond share one ledger.
const KEYS_MAX: usize = 10_000;
/// Calls remembered per window and key; beyond it the oldest is forgotten, so that a flood cannot grow
/// memory.
const WINDOW_CALLS_MAX: usize = 1 << 20;

/// What was counted so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// Calls by path template, every call to a provider path.
    pub calls: BTreeMap<&'static str, u64>,
    /// Calls for bars and reference data.
    pub total: u64,
    /// Calls that asked for the market's status or calendar.
    pub status_calls: u64,
    /// Result rows served.
    pub rows: u64,
    /// Most calls of one key in any second.
    pub peak_per_second: u64,
    /// Most calls of one key in any minute.
    pub peak_per_minute: u64,
    /// Most calls of one key in any window of the limit's length (a minute without a limit).
    pub peak_in_window: u64,
    /// Calls allowed in that window; `None` without a limit.
    pub window_limit: Option<u32>,
    /// Length of that window.
    pub window: Duration,
    /// Calls beyond the limit, each answered with 429.
    pub violations: u64,
    /// Distinct keys seen.
    pub keys: usize,
    /// Calls to the bucket of flat files by method; no limit counts them, and nothing above does.
    pub file_calls: BTreeMap<&'static str, u64>,
    /// Of these, calls that were refused for their keys or their signature.
    pub file_refusals: u64,
    /// Bytes of flat files served.
    pub file_bytes: u64,
    /// Faults injected, by name.
    pub faults_injected: BTreeMap<&'static str, u64>,
    /// The same of every other provider that is spoken, by name. Calls, rows, violations and faults of these
    /// are part of the sums above; peaks, limit and keys above are Polygon's own.
    pub dialects: BTreeMap<&'static str, Self>,
}

impl Audit {
    /// As `GET /_sim/audit` answers it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut body = json!({
            "calls": self.calls,
            "total": self.total,
            "status_calls": self.status_calls,
            "rows": self.rows,
            "peak_per_second": self.peak_per_second,
            "peak_per_minute": self.peak_per_minute,
            "peak_in_window": self.peak_in_window,
            "window_limit": self.window_limit,
            "window_ms": u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX),
            "violations": self.violations,
            "keys": self.keys,
            "file_calls": self.file_calls,
            "file_refusals": self.file_refusals,
            "file_bytes": self.file_bytes,
            "faults_injected": self.faults_injected,
        });
        if !self.dialects.is_empty() {
            body["dialects"] = self.dialects.iter().map(|(name, own)| (*name, own.to_json())).collect();
        }
        body
    }
}

/// Calls within the last stretch of time.
struct Window {
    length: Duration,
    calls: VecDeque<Instant>,
}

impl Window {
    fn new(length: Duration) -> Self {
        Self { length, calls: VecDeque::new() }
    }

    /// How many calls there were in the window that ends at `now`. A call exactly one length ago is outside.
    fn count(&mut self, now: Instant) -> u64 {
        while self.calls.front().is_some_and(|&at| now.duration_since(at) >= self.length) {
            self.calls.pop_front();
        }
        self.calls.len() as u64
    }

    fn add(&mut self, now: Instant) -> u64 {
        if self.calls.len() >= WINDOW_CALLS_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(now);
        self.count(now)
    }
}

struct Caller {
    second: Window,
    minute: Window,
    window: Window,
    /// Only the calls that were let through: a refused one does not push the next one back.
    admitted: Window,
}

struct Ledger {
    audit: Audit,
    callers: HashMap<u64, Caller>,
}

/// Whether a call may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Granted,
    /// Beyond the limit; the oldest call leaves the window after this long.
    Refused {
        wait: Duration,
    },
}

/// What a key has left of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) limit: u32,
    pub(crate) left: u32,
    /// Until the oldest call leaves the window.
    pub(crate) reset: Duration,
}

/// The limit and the ledger.
pub(crate) struct Auditor {
    rate: Option<Rate>,
    ledger: Mutex<Ledger>,
}

impl Auditor {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self { rate, ledger: Mutex::new(Ledger { audit: Self::blank(rate), callers: HashMap::new() }) }
    }

    fn blank(rate: Option<Rate>) -> Audit {
        Audit {
            window_limit: rate.map(|rate| rate.calls),
            window: rate.map_or(Duration::from_secs(60), |rate| rate.window),
            ..Audit::default()
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Ledger) -> T) -> T {
        act(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a call and says whether it is within the limit.
    pub(crate) fn call(&self, key: &str, template: &'static str, status: bool) -> Admission {
        self.with(|ledger| {
            // the time is taken under the lock, so that the windows stay in order
            let now = Instant::now();
            let length = ledger.audit.window;
            let id = if ledger.callers.len() < KEYS_MAX { hash(key.as_bytes(), 0x6b65_7973) } else { 0 };
            let caller = ledger.callers.entry(id).or_insert_with(|| Caller {
                second: Window::new(Duration::from_secs(1)),
                minute: Window::new(Duration::from_secs(60)),
                window: Window::new(length),
                admitted: Window::new(length),
            });
            let audit = &mut ledger.audit;
            *audit.calls.entry(template).or_default() += 1;
            *(if status { &mut audit.status_calls } else { &mut audit.total }) += 1;
            audit.peak_per_second = audit.peak_per_second.max(caller.second.add(now));
            audit.peak_per_minute = audit.peak_per_minute.max(caller.minute.add(now));
            audit.peak_in_window = audit.peak_in_window.max(caller.window.add(now));
            audit.keys = ledger.callers.len();
            let Some(rate) = self.rate else { return Admission::Granted };
            let Some(caller) = ledger.callers.get_mut(&id) else { return Admission::Granted };
            if caller.admitted.count(now) >= u64::from(rate.calls) {
                ledger.audit.violations += 1;
                let oldest = caller.admitted.calls.front().map_or(now, |&at| at);
                return Admission::Refused { wait: (oldest + rate.window).duration_since(now) };
            }
            caller.admitted.add(now);
            Admission::Granted
        })
    }

    /// What a key has left; `None` without a limit.
    pub(crate) fn room(&self, key: &str) -> Option<Room> {
        let rate = self.rate?;
        self.with(|ledger| {
            let now = Instant::now();
            let id = hash(key.as_bytes(), 0x6b65_7973);
            let Some(caller) = ledger.callers.get_mut(&id) else {
                return Some(Room { limit: rate.calls, left: rate.calls, reset: Duration::ZERO });
            };
            let used = u32::try_from(caller.admitted.count(now)).unwrap_or(u32::MAX);
            let oldest = caller.admitted.calls.front().map_or(now, |&at| at);
            let reset = (oldest + rate.window).saturating_duration_since(now);
            Some(Room { limit: rate.calls, left: rate.calls.saturating_sub(used), reset })
        })
    }

    pub(crate) fn rows(&self, count: u64) {
        self.with(|ledger| ledger.audit.rows += count);
    }

    /// Counts a call to the bucket.
    pub(crate) fn file_call(&self, method: &'static str) {
        self.with(|ledger| *ledger.audit.file_calls.entry(method).or_default() += 1);
    }

    pub(crate) fn file_refusal(&self) {
        self.with(|ledger| ledger.audit.file_refusals += 1);
    }

    pub(crate) fn file_bytes(&self, count: u64) {
        self.with(|ledger| ledger.audit.file_bytes += count);
    }

    pub(crate) fn fault(&self, name: &'static str) {
        self.with(|ledger| *ledger.audit.faults_injected.entry(name).or_default() += 1);
    }

    pub(crate) fn snapshot(&self) -> Audit {
        self.with(|ledger| ledger.audit.clone())
    }

    /// Forgets what was counted; the limit goes on as if nothing had happened.
    pub(crate) fn reset(&self) {
        self.with(|ledger| {
            ledger.audit = Self::blank(self.rate);
            for caller in ledger.callers.values_mut() {
                for window in [&mut caller.second, &mut caller.minute, &mut caller.window] {
                    window.calls.clear();
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_per_key_and_refusals_are_counted() {
        let auditor = Auditor::new(Some(Rate { calls: 2, window: Duration::from_secs(3_600) }));
        assert_eq!(auditor.call("a", "/x", false), Admission::Granted);
        assert_eq!(auditor.call("a", "/x", false), Admission::Granted);
        assert!(matches!(auditor.call("a", "/x", false), Admission::Refused { .. }));
        assert_eq!(auditor.call("b", "/y", true), Admission::Granted);
        let audit = auditor.snapshot();
        assert_eq!((audit.total, audit.status_calls, audit.violations, audit.keys), (3, 1, 1, 2));
        assert_eq!((audit.peak_in_window, audit.window_limit), (3, Some(2)));
        auditor.reset();
        assert_eq!(auditor.snapshot().total, 0);
        // the limit still knows the two calls
        assert!(matches!(auditor.call("a", "/x", false), Admission::Refused { .. }));
    }
}
