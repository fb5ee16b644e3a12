//! What Alpha Vantage's answers mean. Nearly all have status 200: what counts is whether the series is there,
//! and else the text.

use std::sync::Arc;
use std::time::Duration;

use panscan_core::calendar::Calendar;
use panscan_core::port::{Clock, SourceError};
use tokio::time::Instant;

use super::super::gate::Gate;
use crate::caller::Judge;
use crate::client::Answer;
use crate::decode::{Notice, alpha_vantage_notice};
use crate::retry::{Failure, is_passing};
use crate::scribe::Scribe;

/// Notices are short; a longer body is a series and not read twice.
const NOTICE_BYTES_MAX: usize = 4 << 10;
/// What a limit a second is waited out with.
const BURST_WAIT: Duration = Duration::from_secs(2);
const MINUTE_WAIT: Duration = Duration::from_secs(60);

/// Knows this provider's answers, and stays away until the next day once the day's calls are spent.
pub(super) struct Verdict {
    scribe: Scribe,
    gate: Gate,
    clock: Arc<dyn Clock>,
}

/// What a notice about the rate or the plan asks for.
#[derive(Debug, PartialEq, Eq)]
enum Limit {
    Wait(Duration),
    NextDay,
    Premium,
    Unknown,
}

/// Tells notices apart by their text, the shortest wait first: the texts name several limits at once, and all
/// of them end with an offer of premium plans.
fn limit(text: &str) -> Limit {
    let text = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["burst", "per second"]) {
        Limit::Wait(BURST_WAIT)
    } else if says(&["per minute"]) {
        Limit::Wait(MINUTE_WAIT)
    } else if says(&["per day", "daily"]) {
        Limit::NextDay
    } else if says(&["premium"]) {
        Limit::Premium
    } else {
        Limit::Unknown
    }
}

impl Verdict {
    pub(super) fn new(scribe: Scribe, clock: Arc<dyn Clock>) -> Self {
        Self { scribe, gate: Gate::default(), clock }
    }

    fn suspended(&self, retry_after: Duration, message: String) -> SourceError {
        SourceError::Suspended { provider: self.scribe.provider().clone(), retry_after, message }
    }

    /// Until midnight in New York.
    fn until_next_day(&self) -> Duration {
        let (calendar, now) = (Calendar::us_equities(), self.clock.now());
        calendar.midnight(calendar.session_of(now).plus(1)).since(now)
    }

    fn refusal(&self, what: &str, notice: Notice) -> Result<bool, Failure> {
        let text = match notice {
            Notice::Error(text) if text.contains("apikey") => {
                return Err(Failure::Final(self.scribe.bad_key(&text)));
            }
            // Calls are well-formed, so that it is the symbol that is unknown.
            Notice::Error(text) if text.contains("Invalid API call") => return Ok(false),
            Notice::Error(text) => return Err(Failure::Final(self.scribe.refused(what, &text))),
            Notice::Limit(text) if text.contains("demo") && text.contains("key") => {
                return Err(Failure::Final(self.scribe.bad_key(&text)));
            }
            Notice::Limit(text) => text,
        };
        Err(match limit(&text) {
            Limit::Wait(wait) => {
                let provider = self.scribe.provider().clone();
                Failure::Passing {
                    error: SourceError::RateLimited { provider, retry_after: wait },
                    wait: Some(wait),
                }
            }
            Limit::NextDay => {
                let left = self.until_next_day();
                // The text may repeat the key.
                let message = self.scribe.words(&text);
                tracing::warn!(provider = "alphavantage", %message, "the calls of the day are spent");
                self.gate.close(Instant::now(), left, &message);
                Failure::Final(self.suspended(left, message))
            }
            Limit::Premium => Failure::Final(self.scribe.not_entitled(what, &text)),
            Limit::Unknown => Failure::Final(self.scribe.unavailable(what, &text)),
        })
    }
}

impl Judge for Verdict {
    fn is_open(&self) -> Result<(), SourceError> {
        match self.gate.closed(Instant::now()) {
            Some((left, message)) => Err(self.suspended(left, message)),
            None => Ok(()),
        }
    }

    fn is_readable(&self, what: &str, answer: &Answer) -> Result<bool, Failure> {
        let status = answer.status;
        if status == 200 {
            let short = answer.body.len() <= NOTICE_BYTES_MAX;
            return match short.then(|| alpha_vantage_notice(&answer.body)).flatten() {
                Some(notice) => self.refusal(what, notice),
                None => Ok(true),
            };
        }
        let message = answer.describe();
        Err(match status {
            300..=399 => Failure::Final(
                self.scribe
                    .refused(what, "it redirects to another address, which is not followed; set that one"),
            ),
            401 => Failure::Final(self.scribe.bad_key(&message)),
            403 => Failure::Final(self.scribe.not_entitled(what, &message)),
            _ if is_passing(status) => {
                Failure::Passing { error: self.scribe.unavailable(what, &message), wait: answer.retry_after }
            }
            500.. => Failure::Final(self.scribe.unavailable(what, &message)),
            _ => Failure::Final(self.scribe.refused(what, &message)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_told_apart_by_their_text() {
        let day = "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more \
                   sparingly. You may subscribe to any of the premium plans at https://www.alphavantage.co/premium/ to \
                   lift the free key rate limit (25 requests per day) and instantly unlock all premium endpoints";
        assert_eq!(limit(day), Limit::NextDay);
        let minute = "Our standard API call frequency is 5 calls per minute and 500 calls per day. Please visit \
                      https://www.alphavantage.co/premium/";
        assert_eq!(limit(minute), Limit::Wait(MINUTE_WAIT));
        assert_eq!(
            limit("more sparingly (1 request per second), 25 requests per day"),
            Limit::Wait(BURST_WAIT)
        );
        assert_eq!(limit("This is a premium endpoint."), Limit::Premium);
        assert_eq!(limit("Good morning"), Limit::Unknown);
    }
}
