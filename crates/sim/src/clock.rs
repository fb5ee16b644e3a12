//! The simulator's clock: it starts where it is set and runs on in real time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use panscan_core::time::Timestamp;

/// A clock that runs and can be set.
pub(crate) struct SimClock(Mutex<(Timestamp, Instant)>);

impl SimClock {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self(Mutex::new((now, Instant::now())))
    }

    pub(crate) fn now(&self) -> Timestamp {
        let (start, at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        start.after(at.elapsed())
    }

    pub(crate) fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (now, Instant::now());
    }

    pub(crate) fn advance(&self, span: Duration) -> Timestamp {
        let now = self.now().after(span);
        self.set(now);
        now
    }
}

/// Reads `30s`, `15m`, `2h`, `1d`, `1w`.
pub(crate) fn span(text: &str) -> Option<Duration> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        b'w' => 604_800,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].parse().ok()?;
    // a century is enough for any test, and keeps the arithmetic far from its end
    count.checked_mul(unit).filter(|&seconds| seconds <= 3_155_760_000).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        assert_eq!(span("1d"), Some(Duration::from_secs(86_400)));
        assert_eq!(span("90s"), Some(Duration::from_secs(90)));
        for bad in ["", "d", "1y", "-1d", "1.5h", "99999999999999999999d", "1é"] {
            assert_eq!(span(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_clock_runs_on_from_where_it_was_set() {
        let start = Timestamp::from_seconds(1_000);
        let clock = SimClock::new(start);
        assert!(clock.now() >= start);
        assert!(clock.advance(Duration::from_secs(60)) >= Timestamp::from_seconds(1_060));
    }
}
