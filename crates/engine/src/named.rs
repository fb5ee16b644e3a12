//! Universes that have a name: taking them over, and telling who follows that snapshots changed.
//!
//! Not here: where they are kept, and which symbols of a snapshot belong to one.

use std::sync::Arc;

use panscan_core::catalog::NamedUniverse;
use panscan_core::named::Definition;
use tokio::sync::watch;

use crate::error::EngineError;
use crate::market::Engine;

impl Engine {
    /// Makes these the named universes. Where that changes something, a snapshot is made that shows it; older ones
    /// keep theirs. One whose filter this version cannot read is left out with a warning.
    ///
    /// # Errors
    ///
    /// [`EngineError::Internal`] when the snapshot could not be made.
    pub async fn define_universes(&self, universes: Vec<NamedUniverse>) -> Result<(), EngineError> {
        let readable = |universe: NamedUniverse| {
            let id = universe.id.clone();
            Definition::new(universe)
                .map_err(|error| tracing::warn!(universe = id, %error, "the universe is left out"))
                .ok()
        };
        let named: Arc<[Definition]> = universes.into_iter().filter_map(readable).collect();
        {
            let mut state = self.0.state.lock().await;
            let same = state.named.len() == named.len()
                && state.named.iter().zip(&*named).all(|(a, b)| a.universe == b.universe);
            if same {
                return Ok(());
            }
            state.named = named;
            state.version += 1;
        }
        match self.newest_session() {
            Some(newest) => self.snapshot_ending(newest).await.map(drop),
            None => Ok(()),
        }
    }

    /// Tells the epoch of each snapshot that becomes the newest.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<u64> {
        self.0.resident.follow()
    }
}
