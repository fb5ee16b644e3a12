//! What an answer means: served, empty, refused for good, or worth asking again. The provider's own words
//! go into the error, without the key.

use std::sync::Arc;

use panscan_core::port::SourceError;

use super::rows::Asked;
use crate::client::Answer;
use crate::decode::{Aggregates, provider_words};
use crate::retry::{Failure, is_passing};
use crate::secret::Secret;

/// Longest text of the provider that an error repeats.
const WORDS_MAX: usize = 300;

/// Words errors.
pub(super) struct Scribe {
    provider: Arc<str>,
    key: Secret,
}

impl Scribe {
    pub(super) fn new(provider: Arc<str>, key: Secret) -> Self {
        Self { provider, key }
    }

    fn clean(&self, text: &str) -> String {
        let text = self.key.strike_from(text);
        let escape = |c: char| if c.is_control() { ' ' } else { c };
        text.chars().take(WORDS_MAX).map(escape).collect::<String>().trim().to_owned()
    }

    pub(super) fn no_key(&self) -> SourceError {
        self.bad_key("no key is configured; set POLYGON_API_KEY")
    }

    fn bad_key(&self, message: &str) -> SourceError {
        SourceError::Key { provider: self.provider.clone(), message: self.clean(message) }
    }

    fn not_entitled(&self, what: &str, message: &str) -> SourceError {
        SourceError::NotEntitled {
            provider: self.provider.clone(),
            what: what.to_owned(),
            message: self.clean(message),
        }
    }

    pub(super) fn unavailable(&self, what: &str, message: &str) -> SourceError {
        SourceError::Unavailable {
            provider: self.provider.clone(),
            what: what.to_owned(),
            message: self.clean(message),
        }
    }

    pub(super) fn unreadable(&self, what: &str, message: &str) -> SourceError {
        SourceError::Unreadable {
            provider: self.provider.clone(),
            what: what.to_owned(),
            message: self.clean(message),
        }
    }

    pub(super) fn refused(&self, what: &str, message: &str) -> SourceError {
        SourceError::Refused {
            provider: self.provider.clone(),
            what: what.to_owned(),
            message: self.clean(message),
        }
    }

    /// Whether the answer has a body to read; false says that there is no such ticker or day. Called for
    /// every status but 429.
    pub(super) fn is_readable(&self, what: &str, answer: &Answer) -> Result<bool, Failure> {
        if answer.status == 200 {
            return self.check_refusal_within(what, answer).map(|()| true);
        }
        let (status, words) = provider_words(&answer.body);
        let message = words.unwrap_or_else(|| answer.describe());
        Err(match answer.status {
            401 => Failure::Final(self.bad_key(&message)),
            // Once seen with this status.
            400 if message.contains("API Key") => Failure::Final(self.bad_key(&message)),
            403 => Failure::Final(self.not_entitled(what, &message)),
            404 if status.is_some() => return Ok(false),
            404 => Failure::Final(self.unreadable(
                what,
                &format!("no provider of bars answers there; check its address: {message}"),
            )),
            300..=399 => Failure::Final(
                self.refused(what, "it redirects to another address, which is not followed; set that one"),
            ),
            code if is_passing(code) => Failure::Passing {
                error: self.unavailable(what, &format!("status {code}: {message}")),
                wait: answer.retry_after,
            },
            code if code >= 500 => {
                Failure::Final(self.unavailable(what, &format!("status {code}: {message}")))
            }
            code => Failure::Final(self.refused(what, &format!("status {code}: {message}"))),
        })
    }

    /// Some refusals come with status 200. They are short, so that pages of bars are not read twice.
    fn check_refusal_within(&self, what: &str, answer: &Answer) -> Result<(), Failure> {
        if answer.body.len() > 4 << 10 {
            return Ok(());
        }
        let (status, words) = provider_words(&answer.body);
        let message = words.unwrap_or_default();
        match status.as_deref() {
            Some("NOT_AUTHORIZED") => Err(Failure::Final(self.not_entitled(what, &message))),
            Some("ERROR") => Err(Failure::passing(self.unavailable(what, &message))),
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
            Some("NOT_AUTHORIZED") => Err(self.not_entitled(what, message.unwrap_or_default())),
            Some("ERROR") => Err(self.unavailable(what, message.unwrap_or_default())),
            _ => Ok(()),
        }
    }

    /// Refuses a page of bars that is not about what was asked for: nothing of it may be kept.
    pub(super) fn check_page(&self, what: &str, asked: &Asked, page: &Aggregates) -> Result<(), SourceError> {
        self.check_status(what, page.status.as_deref(), page.message.as_deref())?;
        if page.adjusted == Some(true) && !page.rows.is_empty() {
            return Err(self.unreadable(what, "the prices are adjusted, and raw ones were asked for"));
        }
        if let (Some(symbol), Some(ticker)) = (asked.symbol(), &page.ticker)
            && ticker != symbol.as_str()
        {
            let ticker = panscan_core::error::shortened(ticker);
            return Err(self.unreadable(what, &format!("the page is about {ticker}")));
        }
        if let Some(claimed) = page.results_count
            && claimed != page.rows.len() as u64
        {
            tracing::debug!(what, claimed, rows = page.rows.len(), "resultsCount differs from the rows");
        }
        Ok(())
    }
}
