//! What an answer means: served, empty, refused for good, or worth asking again. The provider's own words
//! go into the error, without the key.

use panscan_core::port::SourceError;

use super::bars::Question;
use crate::caller::Judge;
use crate::client::Answer;
use crate::decode::{Aggregates, provider_words};
use crate::retry::{Failure, is_passing};
use crate::scribe::Scribe;

/// Knows this provider's answers.
pub(super) struct Verdict {
    scribe: Scribe,
}

impl Judge for Verdict {
    fn is_readable(&self, what: &str, answer: &Answer) -> Result<bool, Failure> {
        if answer.status == 200 {
            return self.check_refusal_within(what, answer).map(|()| true);
        }
        let (status, words) = provider_words(&answer.body);
        let message = words.unwrap_or_else(|| answer.describe());
        Err(match answer.status {
            401 => Failure::Final(self.scribe.bad_key(&message)),
            // Once seen with this status.
            400 if message.contains("API Key") => Failure::Final(self.scribe.bad_key(&message)),
            403 => Failure::Final(self.scribe.not_entitled(what, &message)),
            404 if status.is_some() => return Ok(false),
            404 => Failure::Final(self.scribe.unreadable(
                what,
                &format!("no provider of bars answers there; check its address: {message}"),
            )),
            300..=399 => Failure::Final(
                self.scribe
                    .refused(what, "it redirects to another address, which is not followed; set that one"),
            ),
            code if is_passing(code) => Failure::Passing {
                error: self.scribe.unavailable(what, &format!("status {code}: {message}")),
                wait: answer.retry_after,
            },
            code if code >= 500 => {
                Failure::Final(self.scribe.unavailable(what, &format!("status {code}: {message}")))
            }
            code => Failure::Final(self.scribe.refused(what, &format!("status {code}: {message}"))),
        })
    }
}

impl Verdict {
    pub(super) fn new(scribe: Scribe) -> Self {
        Self { scribe }
    }

    /// Some refusals come with status 200. They are short, so that pages of bars are not read twice.
    fn check_refusal_within(&self, what: &str, answer: &Answer) -> Result<(), Failure> {
        if answer.body.len() > 4 << 10 {
            return Ok(());
        }
        let (status, words) = provider_words(&answer.body);
        let message = words.unwrap_or_default();
        match status.as_deref() {
            Some("NOT_AUTHORIZED") => Err(Failure::Final(self.scribe.not_entitled(what, &message))),
            Some("ERROR") => Err(Failure::passing(self.scribe.unavailable(what, &message))),
            _ => Ok(()),
        }
    }

    /// Refuses a page whose own `status` says that it is none, whatever its length.
    pub(super) fn check_status(
        &self,
        what: &str,
        status: Option<&str>,
        message: Option<&str>,
    ) -> Result<(), SourceError> {
        match status {
            Some("NOT_AUTHORIZED") => Err(self.scribe.not_entitled(what, message.unwrap_or_default())),
            Some("ERROR") => Err(self.scribe.unavailable(what, message.unwrap_or_default())),
            _ => Ok(()),
        }
    }

    /// Refuses a page of bars that is not about what was asked for: nothing of it may be kept.
    pub(super) fn check_page(&self, question: &Question<'_>, page: &Aggregates) -> Result<(), SourceError> {
        let what = question.what;
        self.check_status(what, page.status.as_deref(), page.message.as_deref())?;
        // Said of an empty page it means nothing.
        if !page.rows.is_empty() && page.adjusted.is_some_and(|adjusted| adjusted != question.adjusted) {
            let message = match question.adjusted {
                false => "the prices are adjusted, and raw ones were asked for",
                true => "the prices are raw, and adjusted ones were asked for",
            };
            return Err(self.scribe.unreadable(what, message));
        }
        if let (Some(wanted), Some(ticker)) = (question.ticker, &page.ticker)
            && ticker != wanted
        {
            let ticker = panscan_core::error::shortened(ticker);
            return Err(self.scribe.unreadable(what, &format!("the page is about {ticker}")));
        }
        if let Some(claimed) = page.results_count
            && claimed != page.rows.len() as u64
        {
            tracing::info!(what, claimed, rows = page.rows.len(), "resultsCount differs from the rows");
        }
        Ok(())
    }
}
