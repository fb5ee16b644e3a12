//! The way to Redis: one task of a limiter speaks for it, with a bounded wait, and nobody else waits for Redis.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use panscan_core::port::Pending;
use tokio::sync::Notify;

use super::Limiter;
use super::share::{Message, Reply, SILENCE, micros};

/// The script that grants.
const SCRIPT: &str = include_str!("share.lua");
/// Longest time to connect.
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// Wait before Redis is tried again, doubled each time up to a second.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often Redis is asked at most while the limit is spent, as part of its window.
const POLLS_PER_WINDOW: u32 = 50;
const POLL_MIN: Duration = Duration::from_millis(10);

/// Something that runs scripts for several servers, one after the other: Redis.
pub trait Scripts: Send + Sync {
    /// Sees to it that there is a connection; false when there is none to be had.
    fn connect(&self) -> Pending<'_, bool>;

    /// Runs `script` on `key` and answers its numbers; `None` when that failed. If dropped, the script may still
    /// be run.
    fn run<'a>(
        &'a self,
        script: &'static str,
        key: &'a str,
        arguments: &'a [String],
    ) -> Pending<'a, Option<Vec<i64>>>;
}

/// A limit that several servers share through Redis.
#[derive(Clone)]
pub struct SharedLimit {
    /// The way to Redis.
    pub scripts: Arc<dyn Scripts>,
    /// What its keys begin with.
    pub prefix: String,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Servers that share the key. While Redis is gone each keeps to its share; while it is there it keeps back the
    /// share of those that it does not hear.
    pub peers: u32,
}

impl fmt::Debug for SharedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLimit")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

/// What the task needs to know.
#[derive(Clone)]
pub(super) struct Link {
    scripts: Arc<dyn Scripts>,
    key: String,
    /// This server, to the others.
    me: String,
    pub(super) timeout: Duration,
    /// Rings when there is something to tell or to ask.
    pub(super) bell: Arc<Notify>,
}

impl Link {
    /// Nothing is connected yet. `name` tells provider and key apart from others.
    pub(super) fn new(shared: &SharedLimit, name: &str) -> Self {
        Self {
            scripts: shared.scripts.clone(),
            key: format!("{}:limit:{name}", shared.prefix),
            me: format!("{:016x}", fastrand::u64(..)),
            timeout: shared.timeout,
            bell: Arc::new(Notify::new()),
        }
    }

    async fn ask(&self, message: &Message, terms: Terms) -> Option<Reply> {
        let mut arguments = vec![self.me.clone()];
        let calls = i64::from(terms.calls);
        let first = i64::try_from(message.first).ok()?;
        let (heard, want) = (i64::from(message.heard), i64::from(message.want));
        let (own, peers) = (i64::from(terms.own), i64::from(terms.peers));
        let numbers = [message.epoch, message.not_after, heard, want, first, calls, terms.hold];
        let numbers = numbers.into_iter().chain([own, peers, micros(SILENCE)]);
        arguments.extend(numbers.map(|number| number.to_string()));
        for (number, left) in &message.told {
            arguments.extend([number.to_string(), left.to_string()]);
        }
        let answer = self.scripts.run(SCRIPT, &self.key, &arguments);
        let numbers = tokio::time::timeout(self.timeout, answer).await.ok()??;
        let [verdict, epoch, now, granted, wait] = numbers.try_into().ok()?;
        let (granted, wait) = (u32::try_from(granted).ok()?, u64::try_from(wait).ok()?);
        Some(Reply { verdict, epoch, now, granted, wait: Duration::from_micros(wait) })
    }
}

/// What all servers agree on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) calls: u32,
    pub(super) own: u32,
    pub(super) peers: u32,
    pub(super) hold: i64,
}

/// Speaks for the limiter until it is dropped.
pub(super) async fn run(link: Link, limiter: Weak<Limiter>) {
    let mut failures = 0_u32;
    loop {
        let connected = tokio::time::timeout(CONNECT_MAX, link.scripts.connect()).await.unwrap_or(false);
        let Some(limiter) = limiter.upgrade() else { return };
        let rest = if connected {
            let Some((message, terms)) = limiter.compose(link.timeout) else { return };
            match link.ask(&message, terms).await {
                Some(reply) => Some(limiter.absorb(&message, &reply)),
                None => {
                    limiter.lost(Some(&message));
                    None
                }
            }
        } else {
            limiter.lost(None);
            None
        };
        drop(limiter);
        match rest {
            // Something may have come up meanwhile.
            Some(rest) => {
                if failures > 0 {
                    failures = 0;
                    tracing::info!("shared limit: Redis answers");
                }
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = link.bell.notified() => {}
                }
            }
            None => {
                if failures == 0 {
                    tracing::warn!("shared limit: Redis does not answer; keeping to a share of the limit");
                }
                let pause = PAUSE.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
                failures = failures.saturating_add(1);
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// How long to wait when the limit is spent and `wait` is what Redis said; calls of others that are answered end it
/// sooner.
pub(super) fn poll(wait: Duration, window: Duration) -> Duration {
    wait.min((window / POLLS_PER_WINDOW).max(POLL_MIN))
}
