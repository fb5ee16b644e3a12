//! The way of one call to any provider: key, queue, request, verdict, retry.
//!
//! A provider brings its address, its credentials and a [`Judge`] that knows what its answers mean; paths and
//! rows are its own. Here is what every provider shares: the limiter, the pool, the retries, the key that was
//! refused, the counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use panscan_core::port::{Clock, Errand, SourceError, SourceStats};
use reqwest::header::HeaderMap;
use reqwest::{Client, Url};
use tokio::time::Instant;
use tracing::Instrument;

use crate::client::{self, Answer};
use crate::config::CallConfig;
use crate::error::FetchError;
use crate::limiter::{Bounds, Limiter, Turn};
use crate::pace::Pace;
use crate::retry::{Failure, KeyBreaker, Retries};
use crate::scribe::Scribe;
use crate::unpack;

/// Bodies from this size on, unpacked, are read away from the threads that serve connections.
const DECODE_APART_BYTES: usize = 64 << 10;

/// What a call is about, for logs, errors and counters.
#[derive(Clone, Copy)]
pub(crate) struct Topic<'a> {
    /// The path with its parts left out; never the address itself.
    pub(crate) template: &'static str,
    /// In words.
    pub(crate) what: &'a str,
    /// On whose behalf.
    pub(crate) errand: Errand,
    /// Whether it counts as a call for status and clock rather than for data.
    pub(crate) status: bool,
}

impl<'a> Topic<'a> {
    /// A call for data.
    pub(crate) fn data(template: &'static str, what: &'a str, errand: Errand) -> Self {
        Self { template, what, errand, status: false }
    }

    /// A call for status and clock.
    pub(crate) fn status(template: &'static str, what: &'a str) -> Self {
        Self { template, what, errand: Errand::interactive(0), status: true }
    }
}

/// Knows what a provider's answers mean.
pub(crate) trait Judge: Send + Sync {
    /// Whether the answer has a body to read; false says that there is no such thing. Called for every status
    /// but 429. A failure that is [`SourceError::RateLimited`] counts like a 429, a [`SourceError::Key`] ends
    /// all calls for a while.
    fn is_readable(&self, what: &str, answer: &Answer) -> Result<bool, Failure>;

    /// Whether calls may be made now; asked before a call waits for its turn and again when it has it.
    fn is_open(&self) -> Result<(), SourceError> {
        Ok(())
    }

    /// What a 429 means where it is more than "wait for the window"; `None` where it is that.
    fn too_many(&self, answer: &Answer) -> Option<Failure> {
        let _ = answer;
        None
    }
}

/// What an answer came to.
enum Opened<T> {
    Read(T),
    /// There is no such thing.
    Nothing,
    /// A 429 that is no more than that.
    TooMany,
    /// What the judge makes of it.
    Refused(Failure),
    /// The body cannot be unpacked.
    Damaged(String),
    /// It is not what was asked for.
    Unreadable(String),
}

/// Unpacks, judges and reads an answer: all that takes long with a large one.
fn open<T>(
    judge: &dyn Judge,
    what: &str,
    answer: &mut Answer,
    read: impl Fn(&[u8]) -> Result<T, FetchError>,
) -> Opened<T> {
    let damage = answer.unpack().err();
    if answer.status == 429 {
        // Whatever stands in its body.
        return judge.too_many(answer).map_or(Opened::TooMany, Opened::Refused);
    }
    if let Some(damage) = damage {
        return Opened::Damaged(damage);
    }
    match judge.is_readable(what, answer) {
        Ok(true) => {}
        Ok(false) => return Opened::Nothing,
        Err(failure) => return Opened::Refused(failure),
    }
    match read(&answer.body) {
        Ok(read) => Opened::Read(read),
        Err(error) => Opened::Unreadable(format!("{error}: {}", answer.describe())),
    }
}

/// How a provider is addressed.
pub(crate) struct Access {
    /// Where it is. No call is made to another origin.
    pub(crate) base: Url,
    /// Headers of every call. Those with keys are marked as sensitive.
    pub(crate) headers: HeaderMap,
    /// Why no call can be made, e.g. for want of a key.
    pub(crate) missing: Option<SourceError>,
}

/// Makes the calls of one provider.
pub(crate) struct Caller {
    scribe: Scribe,
    judge: Arc<dyn Judge>,
    base: Url,
    client: Result<Client, SourceError>,
    limiter: Arc<Limiter>,
    retries: Retries,
    breaker: KeyBreaker,
    pace: Pace,
    clock: Arc<dyn Clock>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    status_calls: AtomicU64,
    errors: AtomicU64,
    rate_limited: AtomicU64,
    retries: AtomicU64,
    hedges: AtomicU64,
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Caller {
    /// Sets the calls up; none is made yet.
    ///
    /// # Errors
    ///
    /// [`FetchError::Client`] when the HTTP client cannot be built, [`FetchError::Setting`] for a ledger or
    /// certificates that cannot be used.
    pub(crate) fn new(
        scribe: Scribe,
        access: Access,
        config: &CallConfig,
        judge: Arc<dyn Judge>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FetchError> {
        let client = match access.missing {
            Some(error) => Err(error),
            None => Ok(client::build(&access.base, access.headers, config)?),
        };
        let (provider, print) = (scribe.provider(), scribe.fingerprint());
        let (name, shared_name) = (format!("{provider}-{print}"), format!("{provider}:{print}"));
        let bounds = Bounds {
            quota: config.quota,
            connections: config.connections.clone(),
            // An answer that has not begun by then is given up, and begins no sooner than the call was counted.
            call_max: config.total_timeout.min(config.read_timeout),
            ledger: config.ledger.as_ref().map(|folder| folder.join(format!("{name}.calls"))),
            shared: config.shared.clone().map(|shared| (shared, shared_name)),
        };
        let limiter = Limiter::new(bounds, &clock)?;
        Ok(Self {
            scribe,
            judge,
            base: access.base,
            client,
            limiter,
            retries: Retries::new(config.max_retries, config.retry_factor),
            breaker: KeyBreaker::default(),
            pace: Pace::default(),
            clock,
            counters: Counters::default(),
        })
    }

    /// The provider's name.
    pub(crate) fn provider(&self) -> &Arc<str> {
        self.scribe.provider()
    }

    /// Where the provider is.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// The desk's clock.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The address of a path, which begins with a slash and may have a query.
    ///
    /// # Errors
    ///
    /// [`SourceError::Refused`] when it is no address.
    pub(crate) fn url(&self, path_and_query: &str) -> Result<Url, SourceError> {
        let text = format!("{}{path_and_query}", self.base.as_str().trim_end_matches('/'));
        Url::parse(&text).map_err(|error| self.scribe.refused(path_and_query, &error.to_string()))
    }

    /// Makes one call, and again where that is worth it, and reads its answer; `None` is "no such thing". If
    /// dropped while it waits for its turn, no call is made.
    ///
    /// # Errors
    ///
    /// What the judge says, or what happened on the way, after the retries.
    pub(crate) async fn call<T, R>(
        &self,
        topic: Topic<'_>,
        url: &Url,
        read: R,
    ) -> Result<Option<(T, Answer)>, SourceError>
    where
        T: Send + 'static,
        R: Fn(&[u8]) -> Result<T, FetchError> + Clone + Send + 'static,
    {
        let span =
            tracing::debug_span!("panscan.fetch", provider = &**self.provider(), path = topic.template);
        self.attempts(topic, url, read).instrument(span).await
    }

    async fn attempts<T, R>(
        &self,
        topic: Topic<'_>,
        url: &Url,
        read: R,
    ) -> Result<Option<(T, Answer)>, SourceError>
    where
        T: Send + 'static,
        R: Fn(&[u8]) -> Result<T, FetchError> + Clone + Send + 'static,
    {
        let (provider, path) = (&**self.provider(), topic.template);
        self.retries.first_attempt();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failure = match self.attempt(topic, url, &read).await {
                Ok(read) => return Ok(read),
                Err(failure) => failure,
            };
            let wait = self.retries.next(attempts, failure).inspect_err(|error| {
                tracing::warn!(provider, path, attempts, %error, "call failed");
            })?;
            tracing::info!(provider, path, attempts, ?wait, "asking again");
            bump(&self.counters.retries);
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt<T, R>(
        &self,
        topic: Topic<'_>,
        url: &Url,
        read: &R,
    ) -> Result<Option<(T, Answer)>, Failure>
    where
        T: Send + 'static,
        R: Fn(&[u8]) -> Result<T, FetchError> + Clone + Send + 'static,
    {
        let client = self.client.as_ref().map_err(|error| Failure::Final(error.clone()))?;
        let turn = self.turn(topic).await?;
        let first = self.exchange(client, topic, url, read, turn);
        let Some(usual) = self.pace.straggles_after(topic.template) else { return first.await };
        tokio::pin!(first);
        if let Ok(outcome) = tokio::time::timeout(usual, &mut first).await {
            return outcome;
        }
        if !self.limiter.has_room() || !self.retries.may_hedge() {
            return first.await;
        }
        let second = async {
            let turn = self.turn(topic).await?;
            bump(&self.counters.hedges);
            tracing::info!(provider = &**self.provider(), path = topic.template, ?usual, "asking twice");
            self.exchange(client, topic, url, read, turn).await
        };
        tokio::pin!(second);
        // The first answer wins; the other call is dropped. A failure waits for the other one.
        tokio::select! {
            outcome = &mut first => match outcome {
                Err(failure @ Failure::Passing { .. }) => second.await.map_err(|_| failure),
                ended => ended,
            },
            outcome = &mut second => match outcome {
                Err(Failure::Passing { .. }) => first.await,
                ended => ended,
            },
        }
    }

    /// Waits for a turn with a key that is not known to be refused.
    async fn turn(&self, topic: Topic<'_>) -> Result<Turn, Failure> {
        self.breaker.check().and_then(|()| self.judge.is_open()).map_err(Failure::Final)?;
        let turn = self.limiter.turn(topic.errand).await.map_err(|_| {
            Failure::Final(SourceError::RateLimited {
                provider: self.provider().clone(),
                retry_after: Duration::from_secs(60),
            })
        })?;
        // The key may have been refused while this call waited.
        self.breaker.check().and_then(|()| self.judge.is_open()).map_err(Failure::Final)?;
        Ok(turn)
    }

    async fn exchange<T, R>(
        &self,
        client: &Client,
        topic: Topic<'_>,
        url: &Url,
        read: &R,
        mut turn: Turn,
    ) -> Result<Option<(T, Answer)>, Failure>
    where
        T: Send + 'static,
        R: Fn(&[u8]) -> Result<T, FetchError> + Clone + Send + 'static,
    {
        bump(if topic.status { &self.counters.status_calls } else { &self.counters.calls });
        let (now, began) = (self.clock.now(), Instant::now());
        turn.begin();
        let answer = client::get(client, url.clone(), now, || turn.answered()).await;
        drop(turn);
        let outcome = match answer {
            Ok(answer) => self.judged(topic, answer, read).await,
            Err(message) => Err(Failure::passing(self.scribe.unavailable(topic.what, &message))),
        };
        match &outcome {
            Ok(_) => self.pace.took(topic.template, began.elapsed()),
            Err(failure) => self.note(topic, failure.error()),
        }
        outcome
    }

    fn note(&self, topic: Topic<'_>, error: &SourceError) {
        bump(&self.counters.errors);
        match error {
            SourceError::Key { .. } => self.breaker.open(error),
            SourceError::RateLimited { .. } => bump(&self.counters.rate_limited),
            _ => {}
        }
        tracing::debug!(provider = &**self.provider(), path = topic.template, %error, "attempt failed");
    }

    async fn judged<T, R>(
        &self,
        topic: Topic<'_>,
        answer: Answer,
        read: &R,
    ) -> Result<Option<(T, Answer)>, Failure>
    where
        T: Send + 'static,
        R: Fn(&[u8]) -> Result<T, FetchError> + Clone + Send + 'static,
    {
        tracing::debug!(
            provider = &**self.provider(),
            path = topic.template,
            status = answer.status,
            bytes = answer.body.len(),
            "answered"
        );
        if let Some(wait) = answer.spent_for.filter(|_| answer.status != 429) {
            self.limiter.pause(wait);
        }
        let mut answer = answer;
        let (opened, answer) = if answer.body_estimate() < DECODE_APART_BYTES {
            (open(&*self.judge, topic.what, &mut answer, read), answer)
        } else {
            let (judge, what, read) = (self.judge.clone(), topic.what.to_owned(), read.clone());
            let task = tokio::task::spawn_blocking(move || {
                let opened = open(&*judge, &what, &mut answer, &read);
                unpack::reuse(std::mem::take(&mut answer.body));
                (opened, answer)
            });
            task.await
                .map_err(|error| Failure::Final(self.scribe.unreadable(topic.what, &error.to_string())))?
        };
        match opened {
            Opened::Read(read) => Ok(Some((read, answer))),
            Opened::Nothing => Ok(None),
            Opened::TooMany => {
                self.limiter.rejected(answer.retry_after);
                let retry_after = answer.retry_after.unwrap_or_else(|| self.limiter.estimate(1));
                let error = SourceError::RateLimited { provider: self.provider().clone(), retry_after };
                Err(Failure::Passing { error, wait: answer.retry_after })
            }
            Opened::Refused(failure) => {
                if answer.status != 429
                    && let SourceError::RateLimited { retry_after, .. } = failure.error()
                {
                    self.limiter.rejected(Some(*retry_after));
                }
                Err(failure)
            }
            Opened::Damaged(message) => Err(Failure::passing(self.scribe.unavailable(topic.what, &message))),
            // Damage on the way looks like this too, so that asking again can help.
            Opened::Unreadable(message) => {
                Err(Failure::passing(self.scribe.unreadable(topic.what, &message)))
            }
        }
    }

    /// How long `calls` calls from now would take.
    pub(crate) fn estimate(&self, calls: u64) -> Duration {
        self.limiter.estimate(calls)
    }

    /// The counters since start.
    pub(crate) fn stats(&self) -> SourceStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SourceStats {
            calls: read(&self.counters.calls),
            status_calls: read(&self.counters.status_calls),
            errors: read(&self.counters.errors),
            rate_limited: read(&self.counters.rate_limited),
            retries: read(&self.counters.retries),
            available: self.limiter.available(),
            refill_per_second: self.limiter.refill_per_second(),
            adapted_per_second: self.limiter.adapted_per_second(),
            hedges: read(&self.counters.hedges),
        }
    }
}
