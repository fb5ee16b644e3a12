//! What Yahoo's answers mean: status and content type first, because a refusal may be plain text.

use std::time::Duration;

use panscan_core::port::SourceError;
use tokio::time::Instant;

use super::super::gate::Gate;
use crate::caller::Judge;
use crate::client::Answer;
use crate::decode::yahoo_words;
use crate::retry::{Failure, is_passing};
use crate::scribe::Scribe;

/// Knows this provider's answers, and stays away for a while after a 429.
pub(super) struct Verdict {
    scribe: Scribe,
    gate: Gate,
    pause: Duration,
}

impl Verdict {
    pub(super) fn new(scribe: Scribe, pause: Duration) -> Self {
        Self { scribe, gate: Gate::default(), pause }
    }

    fn suspended(&self, retry_after: Duration, message: String) -> SourceError {
        SourceError::Suspended { provider: self.scribe.provider().clone(), retry_after, message }
    }
}

impl Judge for Verdict {
    fn is_open(&self) -> Result<(), SourceError> {
        match self.gate.closed(Instant::now()) {
            Some((left, message)) => Err(self.suspended(left, message)),
            None => Ok(()),
        }
    }

    fn too_many(&self, answer: &Answer) -> Option<Failure> {
        let pause = self.pause.max(answer.retry_after.unwrap_or_default());
        let message = self.scribe.words(&format!("too many calls: {}", answer.describe()));
        self.gate.close(Instant::now(), pause, &message);
        Some(Failure::Final(self.suspended(pause, message)))
    }

    fn is_readable(&self, what: &str, answer: &Answer) -> Result<bool, Failure> {
        let status = answer.status;
        if status == 200 {
            if answer.content_type.starts_with("text/") {
                return Err(Failure::passing(self.scribe.unreadable(what, &answer.describe())));
            }
            return Ok(true);
        }
        let words = yahoo_words(&answer.body);
        let message = match &words {
            Some((code, text)) => format!("status {status}: {code}: {text}"),
            None => answer.describe(),
        };
        Err(match status {
            404 if words.is_some() => return Ok(false),
            404 => Failure::Final(self.scribe.unreadable(what, &message)),
            // It wants what browsers get with a page; there is no key that could be set.
            401 | 403 => Failure::Final(self.scribe.not_entitled(what, &message)),
            300..=399 => Failure::Final(
                self.scribe
                    .refused(what, "it redirects to another address, which is not followed; set that one"),
            ),
            _ if is_passing(status) => {
                Failure::Passing { error: self.scribe.unavailable(what, &message), wait: answer.retry_after }
            }
            500.. => Failure::Final(self.scribe.unavailable(what, &message)),
            _ => Failure::Final(self.scribe.refused(what, &message)),
        })
    }
}
