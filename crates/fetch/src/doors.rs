//! Ways for fuzzing to readers that this crate keeps to itself. No part of the interface: they change as the readers do.

use std::time::Duration;

use bytes::Bytes;
use panscan_core::limit::Quota;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use reqwest::Url;

use crate::decode::FlatFile;
use crate::error::FetchError;
use crate::httpdate;
use crate::limiter::ledger::{self, Left};
use crate::provider::flatfiles;
use crate::provider::paging;

/// What a `Retry-After` says.
#[must_use]
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    httpdate::retry_after(text, now)
}

/// The instant of a date as HTTP writes it.
#[must_use]
pub fn http_date(text: &str) -> Option<Timestamp> {
    httpdate::instant(text)
}

/// The pages of a question that began at `base` with the path and query `first`.
pub struct Pages(paging::Pages);

impl Pages {
    /// None are read yet; `None` where the address is none.
    #[must_use]
    pub fn new(base: &str, first: &str) -> Option<Self> {
        let base = Url::parse(base).ok()?;
        let first = base.join(first).ok()?;
        Some(Self(paging::Pages::new(&base, &first, Some(("adjusted", "false")))))
    }

    /// The address that `next_url` leads to.
    ///
    /// # Errors
    ///
    /// Why it is not followed.
    pub fn next(&mut self, next_url: &str) -> Result<Option<String>, String> {
        self.0.next(Some(next_url)).map(|url| url.map(String::from))
    }
}

/// Calls that count, each with its start and the instant from which it does not, and the end of a pause.
pub type Calls = (Vec<(Timestamp, Timestamp)>, Option<Timestamp>);

fn span(quota: Quota) -> Duration {
    quota.window() + quota.margin()
}

/// What a ledger of the limiter says about calls that took at most `call_max` each, and how many of its records could
/// not be read.
#[must_use]
pub fn calls_left(bytes: &[u8], quota: Quota, call_max: Duration, now: Timestamp) -> (Calls, usize) {
    let Left { calls, paused_until, damaged } = ledger::read(bytes, quota, span(quota), call_max, now);
    ((calls, paused_until), damaged)
}

/// A ledger that says this.
#[must_use]
pub fn calls_written(quota: Quota, (calls, paused_until): &Calls) -> Vec<u8> {
    let left = Left { calls: calls.clone(), paused_until: *paused_until, damaged: 0 };
    ledger::image(quota, &left, span(quota))
}

/// A compressed flat file that arrives in `pieces`.
///
/// # Errors
///
/// What is wrong with it.
pub fn compressed_file(
    pieces: impl Iterator<Item = Bytes>,
    timeframe: Timeframe,
    session: SessionDate,
) -> Result<FlatFile, FetchError> {
    flatfiles::decode(pieces, timeframe, session)
}
