//! Pages of a fetch that failed in the middle, so that the next attempt at it goes on where it stopped.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

use crate::decode::Rows;
use crate::provider::paging::Pages;

/// Fetches that are remembered; the oldest one makes room.
const FETCHES_MAX: usize = 32;
/// For so long. Raw bars of the past change seldom, but a page that is an hour old does not belong to one of now.
const AGE_MAX: Duration = Duration::from_secs(600);

/// The pages read, and where the next one is.
pub(super) struct Part {
    pub(super) rows: Vec<Rows>,
    pub(super) pages: Pages,
    pub(super) next: Url,
    pub(super) since: Instant,
}

/// Fetches that stopped in the middle, by their first address.
#[derive(Default)]
pub(super) struct Unfinished(Mutex<HashMap<String, Part>>);

impl Unfinished {
    /// Keeps what was read.
    pub(super) fn keep(&self, first: &Url, part: Part) {
        let now = part.since;
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, part| now.duration_since(part.since) < AGE_MAX);
        if held.len() >= FETCHES_MAX {
            let oldest = held.iter().min_by_key(|(_, part)| part.since).map(|(first, _)| first.clone());
            oldest.and_then(|oldest| held.remove(&oldest));
        }
        held.insert(first.as_str().to_owned(), part);
    }

    /// Takes out what was read, if it is not too old.
    pub(super) fn take(&self, first: &Url, now: Instant) -> Option<Part> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(first.as_str()).filter(|part| now.duration_since(part.since) < AGE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(n: usize) -> Url {
        Url::parse(&format!("http://127.0.0.1/{n}")).unwrap()
    }

    fn part(since: Instant) -> Part {
        Part { rows: Vec::new(), pages: Pages::new(&url(0), &url(0), None), next: url(1), since }
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_age() {
        let (unfinished, begin) = (Unfinished::default(), Instant::now());
        let at = |n: usize| begin + Duration::from_millis(n as u64);
        for n in 0..FETCHES_MAX + 1 {
            unfinished.keep(&url(n), part(at(n)));
        }
        let now = at(FETCHES_MAX + 1);
        assert!(unfinished.take(&url(0), now).is_none(), "the oldest made room");
        assert!(unfinished.take(&url(1), now).is_some());
        assert!(unfinished.take(&url(1), now).is_none(), "taken once");
        assert!(unfinished.take(&url(2), at(2) + AGE_MAX).is_none());
    }
}
