//! The provider's flat files: every symbol's raw bars of a session in one compressed object of an S3-compatible
//! bucket, a day after the session.
//!
//! They count against no rate limit, have no vwap, and open with keys of their own. A file streams through the
//! decompressor into columns: at any time a few pieces of it are in memory besides its bars. One file is one
//! [`Block`](panscan_core::block::Block) of 56 bytes a cell, cells being symbols times the minutes in which
//! anything traded: 115 MB for 5,277 symbols over the 390 minutes of a session, 284 MB with the 960 minutes of its
//! extended hours; the builder holds 72 bytes a bar beside it until it is laid out. Who wants a few symbols' minutes
//! asks another source for ranges.
//!
//! Not here: when files are worth it (the cover planner) and what the text means
//! ([`FlatFile`](crate::decode::FlatFile)).

mod beside;
mod config;
mod wire;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStoreExt, RetryConfig};
use panscan_core::block::{BlockBuilder, Provenance};
use panscan_core::calendar::Calendar;
use panscan_core::panel::Split;
use panscan_core::port::{
    BarAsk, BarSource, Clock, Errand, Fetched, Offers, Pending, SourceError, SourceStats, SourceStatus,
};
use panscan_core::time::{SessionDate, Timeframe};
use panscan_core::universe::Listing;
use tokio::sync::{Semaphore, mpsc};

use self::wire::Wire;
use crate::connections::Connections;
use crate::decode::FlatFile;
use crate::error::FetchError;
use crate::retry::{Failure, Retries};
use crate::secret::Secret;

pub use self::beside::WithFiles;
pub use self::config::FlatFilesConfig;

/// Its name in provenance, logs and errors.
const NAME: &str = "flatfiles";
/// Pieces of a file that may wait for the decoder.
const PIECES_MAX: usize = 16;
/// Largest file, compressed.
const FILE_MAX: u64 = 1 << 30;
/// Files whose tag is remembered.
const TAGS_MAX: usize = 4_096;

/// The bucket.
pub struct FlatFiles {
    name: Arc<str>,
    store: AmazonS3,
    keys: [Secret; 2],
    from: SessionDate,
    slots: Semaphore,
    connections: Connections,
    retries: Retries,
    clock: Arc<dyn Clock>,
    tags: Mutex<BTreeMap<(SessionDate, bool), String>>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    errors: AtomicU64,
    retries: AtomicU64,
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl FlatFiles {
    /// Sets the bucket up; nothing is called yet.
    ///
    /// # Errors
    ///
    /// [`FetchError::Setting`] for an address, bucket or key that cannot be used, [`FetchError::Client`] when the
    /// client cannot be built.
    pub fn new(config: FlatFilesConfig) -> Result<Self, FetchError> {
        let endpoint = config.checked()?;
        let store = AmazonS3Builder::new()
            .with_endpoint(endpoint.as_str().trim_end_matches('/'))
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(config.access_key.expose())
            .with_secret_access_key(config.secret_key.expose())
            .with_allow_http(endpoint.scheme() == "http")
            .with_virtual_hosted_style_request(false)
            .with_http_connector(Wire::build(&endpoint, &config)?)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: config.retry_factor,
                    max_backoff: Duration::from_secs(20),
                    base: 2.0,
                },
                max_retries: config.max_retries as usize,
                retry_timeout: config.total_timeout,
            })
            .build()
            .map_err(|error| FetchError::Client { message: error.to_string() })?;
        Ok(Self {
            name: Arc::from(NAME),
            store,
            keys: [config.access_key, config.secret_key],
            from: config.from,
            slots: Semaphore::new(config.files_max.max(1)),
            connections: config.connections,
            retries: Retries::new(config.max_retries, config.retry_factor),
            clock: config.clock,
            tags: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// The tag under which the file of a session was last read; another one means that it was published again.
    #[must_use]
    pub fn tag(&self, timeframe: Timeframe, session: SessionDate) -> Option<String> {
        self.tags().get(&(session, timeframe == Timeframe::Day)).cloned()
    }

    fn tags(&self) -> std::sync::MutexGuard<'_, BTreeMap<(SessionDate, bool), String>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn file(&self, ask: &BarAsk) -> Result<Fetched, SourceError> {
        let what = ask.to_string();
        let (timeframe, session) = match ask {
            BarAsk::FlatFile { timeframe: timeframe @ (Timeframe::Day | Timeframe::Minutes(1)), session }
                if *session >= self.from =>
            {
                (*timeframe, *session)
            }
            _ => return Err(SourceError::NotOffered { provider: self.name.clone(), what }),
        };
        // There is no file of a day without trading, and asking would not tell it from one that is late.
        if !Calendar::us_equities().is_session(session) {
            return Ok(self.nothing(timeframe, 0));
        }
        let _slot = self.slots.acquire().await;
        self.retries.first_attempt();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failure = match self.attempt(timeframe, session, &what).await {
                Ok(mut fetched) => {
                    fetched.calls = attempts;
                    return Ok(fetched);
                }
                Err(failure) => failure,
            };
            bump(&self.counters.errors);
            let wait = self.retries.next(attempts, failure).inspect_err(|error| {
                tracing::warn!(provider = NAME, what, attempts, %error, "file not read");
            })?;
            bump(&self.counters.retries);
            tracing::info!(provider = NAME, what, attempts, ?wait, "asking again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(
        &self,
        timeframe: Timeframe,
        session: SessionDate,
        what: &str,
    ) -> Result<Fetched, Failure> {
        let connection = self.connections.acquire().await;
        bump(&self.counters.calls);
        let got = match self.store.get(&Path::from(key(timeframe, session))).await {
            Ok(got) => got,
            // Not there yet, or never: whoever keeps the answer knows how old the session is.
            Err(object_store::Error::NotFound { .. }) => return Ok(self.nothing(timeframe, 1)),
            Err(error) => return Err(self.judged(what, &error)),
        };
        if got.meta.size > FILE_MAX {
            return Err(Failure::Final(self.unreadable(what, "it is larger than 1 GiB")));
        }
        let tag = got.meta.e_tag.clone();
        let bytes = got.meta.size;
        let (pieces, mut taken) = mpsc::channel(PIECES_MAX);
        // Away from the threads that serve connections: a file of minutes is seconds of work.
        let decoder = tokio::task::spawn_blocking(move || {
            decode(std::iter::from_fn(|| taken.blocking_recv()), timeframe, session)
        });
        let mut stream = got.into_stream();
        let mut broken = None;
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => {
                    // The decoder has given up, and says why below.
                    if pieces.send(piece).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        drop((pieces, connection));
        let decoded = decoder.await;
        if let Some(error) = broken {
            return Err(self.judged(what, &error));
        }
        let file = match decoded {
            Ok(Ok(file)) => file,
            // Damage on the way looks like this too, so that asking again can help.
            Ok(Err(error)) => return Err(Failure::passing(self.unreadable(what, &error.to_string()))),
            Err(error) => return Err(Failure::Final(self.unreadable(what, &error.to_string()))),
        };
        let rows = file.rows();
        let provenance = Provenance { provider: self.name.clone(), fetched_at: self.clock.now() };
        let laid = tokio::task::spawn_blocking(move || file.finish(provenance)).await;
        let (block, quarantined) = match laid {
            Ok(laid) => laid.map_err(|error| Failure::Final(self.unreadable(what, &error.to_string())))?,
            Err(error) => return Err(Failure::Final(self.unreadable(what, &error.to_string()))),
        };
        tracing::debug!(provider = NAME, what, bytes, rows, quarantined = quarantined.len(), "file read");
        self.remember(timeframe, session, tag, what);
        Ok(Fetched { block, quarantined, calls: 1 })
    }

    fn remember(&self, timeframe: Timeframe, session: SessionDate, tag: Option<String>, what: &str) {
        let Some(tag) = tag else { return };
        let mut tags = self.tags();
        let before = tags.insert((session, timeframe == Timeframe::Day), tag.clone());
        if before.is_some_and(|before| before != tag) {
            tracing::info!(provider = NAME, what, "the file was published again");
        }
        if tags.len() > TAGS_MAX {
            // Files are published again soon after their session, if at all.
            tags.pop_first();
        }
    }

    /// A file without a bar.
    fn nothing(&self, timeframe: Timeframe, calls: u32) -> Fetched {
        let provenance = Provenance { provider: self.name.clone(), fetched_at: self.clock.now() };
        let (block, quarantined) = BlockBuilder::new(timeframe).finish(None, Some(&[]), provenance);
        Fetched { block, quarantined, calls }
    }

    /// What a failure of the bucket means.
    fn judged(&self, what: &str, error: &object_store::Error) -> Failure {
        let message = self.strike(&words(error));
        let provider = self.name.clone();
        let what = what.to_owned();
        match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                let message = format!(
                    "{message}; give PANSCAN_S3_ACCESS_KEY and PANSCAN_S3_SECRET_KEY of a plan that opens it"
                );
                Failure::Final(SourceError::NotEntitled { provider, what, message })
            }
            object_store::Error::Generic { .. } => {
                Failure::passing(SourceError::Unavailable { provider, what, message })
            }
            _ => Failure::Final(SourceError::Unavailable { provider, what, message }),
        }
    }

    fn unreadable(&self, what: &str, message: &str) -> SourceError {
        let message = self.strike(message);
        SourceError::Unreadable { provider: self.name.clone(), what: what.to_owned(), message }
    }

    fn strike(&self, text: &str) -> String {
        self.keys.iter().fold(text.to_owned(), |text, key| key.strike_from(&text))
    }

    fn not_offered<'a, T: Send + 'a>(&self, what: &str) -> Pending<'a, Result<T, SourceError>> {
        let error = SourceError::NotOffered { provider: self.name.clone(), what: what.to_owned() };
        Box::pin(std::future::ready(Err(error)))
    }
}

/// Where the provider keeps the file of a session.
fn key(timeframe: Timeframe, session: SessionDate) -> String {
    let folder = if timeframe == Timeframe::Day { "day_aggs_v1" } else { "minute_aggs_v1" };
    let (year, month, _) = session.ymd();
    format!("us_stocks_sip/{folder}/{year:04}/{month:02}/{session}.csv.gz")
}

/// Takes the pieces as they come, decompresses and reads them.
pub(crate) fn decode(
    pieces: impl Iterator<Item = Bytes>,
    timeframe: Timeframe,
    session: SessionDate,
) -> Result<FlatFile, FetchError> {
    let wrong = |error: &std::io::Error| FetchError::Body { message: error.to_string() };
    let mut inflater = MultiGzDecoder::new(FlatFile::new(timeframe, session));
    for piece in pieces {
        inflater.write_all(&piece).map_err(|error| wrong(&error))?;
    }
    inflater.finish().map_err(|error| wrong(&error))
}

/// An error of the bucket in one line, without the addresses of calls.
fn words(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(400).collect()
}

impl BarSource for FlatFiles {
    fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    fn fetch<'a>(&'a self, ask: &'a BarAsk, _: Errand) -> Pending<'a, Result<Fetched, SourceError>> {
        Box::pin(self.file(ask))
    }

    fn offers(&self) -> Offers {
        Offers { market_days: false, files_from: Some(self.from), bars_per_call: 0 }
    }

    fn listings(&self) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        self.not_offered("the ticker list")
    }

    fn splits(&self, _: SessionDate) -> Pending<'_, Result<Vec<Split>, SourceError>> {
        self.not_offered("splits")
    }

    fn status(&self) -> Pending<'_, Result<SourceStatus, SourceError>> {
        self.not_offered("the market status")
    }

    fn estimate(&self, _: u64) -> Duration {
        Duration::ZERO
    }

    fn stats(&self) -> SourceStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SourceStats {
            calls: read(&self.counters.calls),
            errors: read(&self.counters.errors),
            retries: read(&self.counters.retries),
            ..SourceStats::default()
        }
    }
}
