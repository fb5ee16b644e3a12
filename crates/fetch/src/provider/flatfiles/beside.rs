//! A provider with its flat files beside it, as one source.
//!
//! Not here: falling back from one provider to another.

use std::sync::Arc;
use std::time::Duration;

use panscan_core::calendar::Announced;
use panscan_core::panel::Split;
use panscan_core::port::{
    BarAsk, BarSource, Dividend, Errand, Fetched, Offers, Pending, Rename, SourceError, SourceHealth,
    SourceStats, SourceStatus,
};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe};
use panscan_core::universe::Listing;

use super::FlatFiles;

/// Asks the provider for everything but files, and for a session's file where its plan does not reach back to a
/// session's bars. Its name, clock and limit are the provider's.
pub struct WithFiles {
    provider: Arc<dyn BarSource>,
    files: FlatFiles,
}

impl WithFiles {
    /// Puts the two together.
    #[must_use]
    pub fn new(provider: Arc<dyn BarSource>, files: FlatFiles) -> Self {
        Self { provider, files }
    }

    async fn answer(&self, ask: &BarAsk, errand: Errand) -> Result<Fetched, SourceError> {
        let refused = match ask {
            BarAsk::FlatFile { .. } => return self.files.fetch(ask, errand).await,
            _ => match self.provider.fetch(ask, errand).await {
                Err(error @ (SourceError::NotEntitled { .. } | SourceError::OutsidePlan { .. })) => error,
                answer => return answer,
            },
        };
        let BarAsk::Day(session) = ask else { return Err(refused) };
        let file = BarAsk::FlatFile { timeframe: Timeframe::Day, session: *session };
        match self.files.fetch(&file, errand).await {
            // A block without rows would be taken for a session without bars.
            Ok(fetched) if !fetched.block.symbols().is_empty() => {
                tracing::info!(%session, "taken from its file, without vwap: the plan does not hold it");
                Ok(fetched)
            }
            _ => Err(refused),
        }
    }
}

impl BarSource for WithFiles {
    fn name(&self) -> Arc<str> {
        self.provider.name()
    }

    fn primary(&self) -> Arc<str> {
        self.provider.primary()
    }

    fn fetch<'a>(&'a self, ask: &'a BarAsk, errand: Errand) -> Pending<'a, Result<Fetched, SourceError>> {
        Box::pin(self.answer(ask, errand))
    }

    fn offers(&self) -> Offers {
        Offers { files_from: self.files.offers().files_from, ..self.provider.offers() }
    }

    fn listings(&self) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        self.provider.listings()
    }

    fn splits(&self, from: SessionDate) -> Pending<'_, Result<Vec<Split>, SourceError>> {
        self.provider.splits(from)
    }

    fn dividends(&self, from: SessionDate) -> Pending<'_, Result<Vec<Dividend>, SourceError>> {
        self.provider.dividends(from)
    }

    fn details<'a>(
        &'a self,
        symbol: &'a Symbol,
        errand: Errand,
    ) -> Pending<'a, Result<Option<Listing>, SourceError>> {
        self.provider.details(symbol, errand)
    }

    fn gone(&self, errand: Errand) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        self.provider.gone(errand)
    }

    fn renames<'a>(
        &'a self,
        symbol: &'a Symbol,
        errand: Errand,
    ) -> Pending<'a, Result<Vec<Rename>, SourceError>> {
        self.provider.renames(symbol, errand)
    }

    fn announced(&self) -> Pending<'_, Result<Vec<Announced>, SourceError>> {
        self.provider.announced()
    }

    fn delay(&self) -> Option<Duration> {
        self.provider.delay()
    }

    fn reset(&self, provider: &str) -> bool {
        self.provider.reset(provider)
    }

    fn status(&self) -> Pending<'_, Result<SourceStatus, SourceError>> {
        self.provider.status()
    }

    fn estimate(&self, calls: u64) -> Duration {
        self.provider.estimate(calls)
    }

    fn stats(&self) -> SourceStats {
        self.provider.stats()
    }

    fn health(&self) -> Vec<SourceHealth> {
        self.provider.health()
    }
}
