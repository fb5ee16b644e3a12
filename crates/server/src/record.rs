//! The catalog kept up to date behind the snapshots: who is listed, by day, and the universes that other servers name.
//!
//! Nothing here is on the way of a scan: what it brings becomes part of the next snapshot.

use std::sync::Arc;
use std::time::Duration;

use panscan_core::catalog::Catalog;
use panscan_core::port::Clock;
use panscan_engine::Engine;
use tokio::time::Instant;

/// How often it is looked for universes that another server has changed, and a failed record is tried again.
const LOOK: Duration = Duration::from_secs(60);

/// Writes down what snapshots show.
pub struct Record {
    /// Where to.
    pub catalog: Arc<dyn Catalog>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Record {
    /// Gives the engine the universes that have a name.
    pub async fn recall(&self, engine: &Engine) {
        match self.catalog.universes().await {
            Ok(universes) => {
                if let Err(error) = engine.define_universes(universes).await {
                    tracing::warn!(%error, "named universes are not shown yet");
                }
            }
            Err(error) => tracing::warn!(%error, "named universes are not known"),
        }
    }

    /// Follows the newest snapshots until dropped. Each day's listings and each change of them is recorded once, and
    /// the statistics that are asked for most are worked out ahead.
    pub async fn follow(self, engine: Engine) {
        let mut published = engine.published();
        let (mut written, mut prepared) = (None, None);
        loop {
            published.mark_unchanged();
            if let Ok(current) = engine.current() {
                let snapshot = current.snapshot.clone();
                let shown = (snapshot.universe.version(), snapshot.newest());
                if written != Some(shown)
                    && let Some(on) = snapshot.newest()
                {
                    let universe = &snapshot.universe;
                    let listings = universe.ids().map(|id| universe.listing(id)).collect();
                    let market = snapshot.market.clone();
                    match self.catalog.record(market, on, listings, self.clock.now()).await {
                        Ok(recorded) => {
                            written = Some(shown);
                            tracing::debug!(?recorded, session = %on, "listings are recorded");
                        }
                        Err(error) => tracing::warn!(%error, "listings are not recorded yet"),
                    }
                }
                // While a market is being fetched every few calls make a snapshot; not each is worth it.
                let due = prepared.is_none_or(|(epoch, at): (u64, Instant)| {
                    epoch != snapshot.epoch && at.elapsed() >= LOOK
                });
                if due {
                    prepared = Some((snapshot.epoch, Instant::now()));
                    if let Err(error) = engine.prepare_statistics().await {
                        tracing::debug!(%error, "statistics are not prepared");
                    }
                }
            }
            tokio::select! {
                told = published.changed() => if told.is_err() { return },
                () = tokio::time::sleep(LOOK) => self.recall(&engine).await,
            }
        }
    }
}
