//! What is kept up to date while nobody asks: reference data, closed days, ticker details.
//!
//! All of it goes behind the calls that somebody waits for, and details take their own small share of the limit.

use std::sync::atomic::Ordering;
use std::time::Duration;

use panscan_core::calendar::Calendar;
use panscan_core::time::Timestamp;
use tokio::time::Instant;

use crate::details::Asked;
use crate::market::{Engine, Listed};

/// How often it is looked whether something is old. A snapshot is made at most that often for its sake.
const ROUND: Duration = Duration::from_secs(300);
/// The first look comes after a start has settled.
const FIRST: Duration = Duration::from_secs(60);
/// Of so many calls that the limit permits, one is for details.
const SHARE: f64 = 20.0;
/// Details are asked for this often at most and at least, whatever the limit.
const PACE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(600));
/// While somebody waits for the provider, details wait this long.
const YIELD: Duration = Duration::from_secs(1);

/// Listings and splits that could not be had are asked for again after this long.
const REFERENCE_AGAIN: Duration = Duration::from_secs(60);
/// Who needs them waits for fresh ones so long, and goes on with old ones.
const REVALIDATE: Duration = Duration::from_secs(2);

/// What a round of refreshing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refreshed {
    /// Days, or newest bars of single symbols, that came back different.
    pub corrected: usize,
    /// Whether another snapshot was made.
    pub snapshot: bool,
}

impl Engine {
    /// Keeps everything up to date until dropped.
    pub async fn refresh(self) {
        tokio::time::sleep(FIRST).await;
        loop {
            self.refresh_once().await;
            self.prefetch_once().await;
            let next = Instant::now() + ROUND;
            while Instant::now() < next {
                if self.0.interactive.load(Ordering::Relaxed) > 0 {
                    tokio::time::sleep(YIELD).await;
                    continue;
                }
                let asked = match self.ask_renames().await {
                    Asked::Nothing | Asked::NotOffered => self.ask_details().await,
                    asked => asked,
                };
                match asked {
                    Asked::Answered | Asked::Failed => tokio::time::sleep(self.pace()).await,
                    Asked::Nothing | Asked::NotOffered => tokio::time::sleep_until(next).await,
                }
            }
        }
    }

    /// One round of [`Engine::refresh`] without the details that it asks for in between.
    pub async fn refresh_once(&self) -> Refreshed {
        let inner = &self.0;
        let before = inner.state.lock().await.version;
        self.refresh_reference().await;
        if inner.state.lock().await.dividends.is_known()
            && let Some(current) = inner.resident.current()
            && let Err(error) = self.dividends(current.snapshot.history_start).await
        {
            tracing::debug!(%error, "dividends are not refreshed");
        }
        self.refresh_lives(false).await;
        let corrected = self.settle_days().await;
        self.save_details().await;
        self.show_details().await;
        self.drop_wide();
        let changed = inner.state.lock().await.version != before;
        let mut refreshed = Refreshed { corrected, snapshot: false };
        if let (true, Some(newest)) = (changed, self.newest_session()) {
            match self.snapshot_ending(newest).await {
                Ok(_) => refreshed.snapshot = true,
                Err(error) => tracing::warn!(%error, "what was refreshed is not shown yet"),
            }
        }
        refreshed
    }

    /// Asks for up to `most` symbols' details, oldest first, at once. Says for how many there was an answer.
    pub async fn refresh_details(&self, most: usize) -> usize {
        let mut answered = 0;
        for _ in 0..most {
            match self.ask_details().await {
                Asked::Answered => answered += 1,
                Asked::Failed => {}
                Asked::Nothing | Asked::NotOffered => break,
            }
        }
        self.save_details().await;
        answered
    }

    /// Puts fresh details into the universe.
    pub(crate) async fn show_details(&self) {
        let inner = &self.0;
        let mut details = inner.details.lock().await;
        if !std::mem::take(&mut details.fresh) {
            return;
        }
        drop(details);
        self.renew_universe().await;
    }

    /// How old the listings are.
    pub(crate) fn reference_age(&self, now: Timestamp) -> Duration {
        now.since(Timestamp::from_nanos(self.0.reference_at.load(Ordering::Relaxed)))
    }

    /// Has listings and splits asked for again if they are old, and waits a moment for that: what is known is answered
    /// meanwhile, and what comes later is shown when it is there.
    pub(crate) async fn revalidate(&self) {
        if self.reference_age(self.0.parts.clock.now()) < self.0.config.reference_ttl {
            return;
        }
        let engine = self.clone();
        let asking = tokio::spawn(async move {
            let before = engine.0.state.lock().await.version;
            engine.refresh_reference().await;
            if engine.0.state.lock().await.version != before
                && let Some(newest) = engine.newest_session()
                && let Err(error) = engine.snapshot_ending(newest).await
            {
                tracing::warn!(%error, "what was refreshed is not shown yet");
            }
        });
        // Dropping the handle leaves the task to itself.
        let _ = tokio::time::timeout(REVALIDATE, asking).await;
    }

    /// How long to wait between two calls for details.
    fn pace(&self) -> Duration {
        let a_second = self.0.parts.source.stats().refill_per_second;
        Duration::try_from_secs_f64(SHARE / a_second).unwrap_or(PACE.1).clamp(PACE.0, PACE.1)
    }

    /// Asks the provider again for listings and splits once they are old. A failure keeps the old ones.
    pub(crate) async fn refresh_reference(&self) {
        let inner = &self.0;
        // One at a time; whoever comes meanwhile goes on with what is known.
        let Ok(_one) = inner.refreshing.try_lock() else { return };
        let now = inner.parts.clock.now();
        let last = Timestamp::from_nanos(inner.reference_asked.load(Ordering::Relaxed));
        let is_fresh = self.reference_age(now) < inner.config.reference_ttl;
        if is_fresh || (last <= now && now < last.after(REFERENCE_AGAIN)) {
            return;
        }
        inner.reference_asked.store(now.as_nanos(), Ordering::Relaxed);
        let (listings, splits) = (
            crate::market::listings(&inner.parts, &inner.market, &inner.config, now).await,
            crate::market::splits(
                &inner.parts,
                &inner.market,
                &inner.config,
                now,
                Calendar::us_equities().first(),
            )
            .await,
        );
        let mut before = None;
        let mut state = inner.state.lock().await;
        if let Ok(listed) = &listings {
            inner.reference_at.store(listed.at.as_nanos(), Ordering::Relaxed);
        }
        match listings {
            Ok(Listed { listings, .. }) if listings != state.listings => {
                before = Some(std::mem::replace(&mut state.listings, listings));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "listings stay as they were"),
        }
        match splits {
            Ok(splits) if splits != state.splits_listed => {
                state.splits_listed = splits;
                state.resplit(now);
                state.version += 1;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "splits stay as they were"),
        }
        if let Some(before) = before {
            let listed = state.listings.clone();
            drop(state);
            inner.former.lock().await.compare(&before, &listed);
            self.renew_universe().await;
        } else {
            drop(state);
        }
        self.refresh_lives(true).await;
    }
}
