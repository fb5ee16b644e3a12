//! Which failures are worth another try, and when. Every call of this client only reads, so a repeat does no
//! harm; what must not happen is that rows are handed out twice, and that is the caller's to see to: a call is
//! repeated only while nothing of its answer was handed out.

use std::time::Duration;

use panscan_core::limit::Backoff;

use crate::error::ClientError;

/// How often and how fast a failed call is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all; 1 never repeats.
    pub attempts: u32,
    /// Longest wait before the second try; it doubles with each further one, and a random part of it is taken.
    pub first_wait: Duration,
    /// A server that asks for a longer wait than this is not waited for.
    pub wait_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 4, first_wait: Duration::from_millis(200), wait_max: Duration::from_secs(20) }
    }
}

impl Retry {
    /// Never repeats.
    pub const NEVER: Self = Self { attempts: 1, first_wait: Duration::ZERO, wait_max: Duration::ZERO };

    /// How long to wait after try number `made` failed with `error`, when `left` of the deadline remains; `None`
    /// when the error is final. `random` is drawn from 0 to 1.
    pub(crate) fn wait(
        &self,
        error: &ClientError,
        made: u32,
        left: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        let asked = match error {
            ClientError::Unavailable { retry_after, forbids_retry: false, .. } => *retry_after,
            // A server that is busy and does not say for how long is left alone.
            ClientError::Busy { retry_after: Some(wait), forbids_retry: false, .. } => Some(*wait),
            _ => return None,
        };
        if made >= self.attempts || asked.is_some_and(|wait| wait > self.wait_max) {
            return None;
        }
        // Callers that were sent away together do not come back together.
        let jitter = Backoff::new(self.first_wait).wait(made, random);
        let wait = asked.unwrap_or_default().saturating_add(jitter);
        left.is_none_or(|left| wait < left).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use panscan_core::Kind;
    use panscan_proto::kind::{Details, status};
    use tonic::metadata::MetadataValue;

    use super::*;

    fn error(kind: Kind, wait: Option<u64>) -> ClientError {
        let details = Details { retry_after: wait.map(Duration::from_millis), ..Details::default() };
        ClientError::of(&status(kind, "X", "x", details), "r", None, false)
    }

    fn wait(error: &ClientError, made: u32, left: Option<u64>) -> Option<u64> {
        let wait = Retry::default().wait(error, made, left.map(Duration::from_millis), 0.5);
        wait.map(|w| w.as_millis() as u64)
    }

    #[test]
    fn waits_as_told_and_a_random_part_more() {
        assert_eq!(wait(&error(Kind::Busy, Some(1000)), 1, None), Some(1100));
        assert_eq!(wait(&error(Kind::Upstream, Some(1000)), 2, None), Some(1200));
        assert_eq!(wait(&error(Kind::Upstream, None), 1, None), Some(100));
        assert_eq!(wait(&error(Kind::Upstream, None), 3, None), Some(400));
    }

    #[test]
    fn gives_up_where_waiting_is_no_help() {
        assert_eq!(wait(&error(Kind::Busy, None), 1, None), None, "busy without a word on when");
        assert_eq!(wait(&error(Kind::Upstream, None), 4, None), None, "the fourth try was the last");
        assert_eq!(wait(&error(Kind::Upstream, Some(60_000)), 1, None), None, "a minute is too long");
        assert_eq!(wait(&error(Kind::Upstream, Some(1000)), 1, Some(1100)), None, "the deadline comes first");
        for kind in [Kind::BadRequest, Kind::NotFound, Kind::Timeout, Kind::Internal, Kind::Unauthenticated] {
            assert_eq!(wait(&error(kind, Some(1)), 1, None), None, "{kind:?}");
        }
        let mut refused = status(Kind::Upstream, "X", "x", Details::default());
        refused.metadata_mut().insert(panscan_proto::kind::PUSHBACK, MetadataValue::from_static("-1"));
        assert_eq!(wait(&ClientError::of(&refused, "r", None, false), 1, None), None);
        assert_eq!(Retry::NEVER.wait(&error(Kind::Upstream, None), 1, None, 0.5), None);
    }
}
