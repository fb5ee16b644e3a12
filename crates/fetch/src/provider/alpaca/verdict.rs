//! What Alpaca's answers mean.

use std::sync::Arc;
use std::time::Duration;

use panscan_core::port::{Clock, SourceError};

use crate::caller::Judge;
use crate::client::Answer;
use crate::decode::alpaca_words;
use crate::retry::{Failure, is_passing};
use crate::scribe::Scribe;

/// The plan lacks the newest trades.
const RECENT: i64 = 42_210_000;

/// Knows this provider's answers.
pub(super) struct Verdict {
    scribe: Scribe,
    clock: Arc<dyn Clock>,
}

impl Verdict {
    pub(super) fn new(scribe: Scribe, clock: Arc<dyn Clock>) -> Self {
        Self { scribe, clock }
    }
}

impl Judge for Verdict {
    fn is_readable(&self, what: &str, answer: &Answer) -> Result<bool, Failure> {
        if answer.status == 200 {
            return Ok(true);
        }
        let (code, words) = alpaca_words(&answer.body);
        let message = words.unwrap_or_else(|| answer.describe());
        let status = answer.status;
        Err(match status {
            401 => Failure::Final(self.scribe.bad_key(&message)),
            403 if code == Some(RECENT) => Failure::Final(SourceError::NotYet {
                provider: self.scribe.provider().clone(),
                what: what.to_owned(),
                retry_at: self.clock.now().after(Duration::from_secs(15 * 60)),
                message: self.scribe.words(&message),
            }),
            403 if message.eq_ignore_ascii_case("forbidden") => Failure::Final(self.scribe.bad_key(&message)),
            403 => Failure::Final(self.scribe.not_entitled(what, &message)),
            300..=399 => Failure::Final(
                self.scribe
                    .refused(what, "it redirects to another address, which is not followed; set that one"),
            ),
            _ if is_passing(status) => Failure::Passing {
                error: self.scribe.unavailable(what, &format!("status {status}: {message}")),
                wait: answer.retry_after,
            },
            500.. => Failure::Final(self.scribe.unavailable(what, &format!("status {status}: {message}"))),
            _ => Failure::Final(self.scribe.refused(what, &format!("status {status}: {message}"))),
        })
    }
}
