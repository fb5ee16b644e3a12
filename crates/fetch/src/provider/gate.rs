//! A provider that said to stay away: until when, and in which words.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Open unless it was closed for a while.
#[derive(Default)]
pub(super) struct Gate(Mutex<Option<(Instant, String)>>);

impl Gate {
    /// Closes it for `span`; an earlier, longer closing stays.
    pub(super) fn close(&self, now: Instant, span: Duration, message: &str) {
        let until = now + span;
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_none_or(|(before, _)| *before < until) {
            *held = Some((until, message.to_owned()));
        }
    }

    /// How long it stays closed and why; `None` while it is open.
    pub(super) fn closed(&self, now: Instant) -> Option<(Duration, String)> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.take_if(|(until, _)| *until <= now);
        held.as_ref().map(|(until, message)| (*until - now, message.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_by_itself_and_the_longest_closing_counts() {
        let (gate, now) = (Gate::default(), Instant::now());
        assert_eq!(gate.closed(now), None);
        gate.close(now, Duration::from_secs(900), "slow down");
        gate.close(now, Duration::from_secs(60), "again");
        let later = now + Duration::from_secs(899);
        assert_eq!(gate.closed(later), Some((Duration::from_secs(1), "slow down".to_owned())));
        assert_eq!(gate.closed(now + Duration::from_secs(900)), None);
        assert_eq!(gate.closed(now), None, "once open it stays open");
    }
}
