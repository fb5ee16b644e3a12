//! Words errors of a provider: its own words are repeated, shortened, without control characters and without
//! its keys.

use std::sync::Arc;

use panscan_core::port::SourceError;
use ring::digest;

use crate::secret::Secret;

/// Longest text of the provider that an error repeats.
const WORDS_MAX: usize = 300;

/// Words errors.
#[derive(Clone)]
pub(crate) struct Scribe {
    provider: Arc<str>,
    secrets: Vec<Secret>,
}

impl Scribe {
    /// For a provider whose `secrets` are struck out of every text.
    pub(crate) fn new(provider: Arc<str>, secrets: Vec<Secret>) -> Self {
        Self { provider, secrets }
    }

    /// Whose errors these are.
    pub(crate) fn provider(&self) -> &Arc<str> {
        &self.provider
    }

    /// A name for the provider and its keys from which no key can be told: what shares one limit has one name.
    pub(crate) fn fingerprint(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for text in std::iter::once(&*self.provider).chain(self.secrets.iter().map(Secret::expose)) {
            context.update(&(text.len() as u64).to_le_bytes());
            context.update(text.as_bytes());
        }
        context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    fn clean(&self, text: &str) -> String {
        let struck = self.secrets.iter().fold(text.to_owned(), |text, secret| secret.strike_from(&text));
        let escape = |c: char| if c.is_control() { ' ' } else { c };
        struck.chars().take(WORDS_MAX).map(escape).collect::<String>().trim().to_owned()
    }

    pub(crate) fn bad_key(&self, message: &str) -> SourceError {
        SourceError::Key { provider: self.provider.clone(), message: self.clean(message) }
    }

    pub(crate) fn not_entitled(&self, what: &str, message: &str) -> SourceError {
        SourceError::NotEntitled {
            provider: self.provider.clone(),
            what: what.to_owned(),
            message: self.clean(message),
        }
    }

    pub(crate) fn unavailable(&self, what: &str, message: &str) -> SourceError {
        SourceError::Unavailable {
            provider: self.provider.clone(),
            what: what.to_owned(),
            message: self.clean(message),
        }
    }

    pub(crate) fn unreadable(&self, what: &str, message: &str) -> SourceError {
        SourceError::Unreadable {
            provider: self.provider.clone(),
            what: what.to_owned(),
            message: self.clean(message),
        }
    }

    pub(crate) fn refused(&self, what: &str, message: &str) -> SourceError {
        SourceError::Refused {
            provider: self.provider.clone(),
            what: what.to_owned(),
            message: self.clean(message),
        }
    }

    /// A provider's words as an error may repeat them.
    pub(crate) fn words(&self, text: &str) -> String {
        self.clean(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_keys_apart_and_shows_none() {
        let print =
            |provider: &str, key: &str| Scribe::new(provider.into(), vec![Secret::new(key)]).fingerprint();
        assert_eq!(print("a", "key"), print("a", "key"));
        assert_eq!(print("a", "key").len(), 16);
        assert_ne!(print("a", "key"), print("b", "key"));
        assert_ne!(print("a", "key"), print("a", "yek"));
        assert_ne!(print("ak", "ey"), print("a", "key"));
    }

    #[test]
    fn repeats_no_key_and_no_control_characters() {
        let secrets = vec![Secret::new("first"), Secret::new("second"), Secret::new("")];
        let scribe = Scribe::new("test".into(), secrets);
        let error = scribe.refused("a day", "no\tsuch first, nor second\n").to_string();
        assert!(error.contains("no such ***, nor ***") && !error.contains('\n'), "{error}");
        assert!(scribe.refused("a day", &"x".repeat(10_000)).to_string().len() < 400);
    }
}
