//! Splits and dividends, each from the older of its two paths and, where that one is gone, from the newer.

use panscan_core::panel::Split;
use panscan_core::port::{Dividend, SourceError};
use panscan_core::time::SessionDate;

use super::{Polygon, rows};
use crate::decode::{self, Page};
use crate::error::FetchError;

/// The path that has been there for years, and the one that is to take its place.
const SPLITS: [&str; 2] = ["/v3/reference/splits", "/stocks/v1/splits"];
const DIVIDENDS: [&str; 2] = ["/v3/reference/dividends", "/stocks/v1/dividends"];

impl Polygon {
    pub(super) async fn split_since(&self, from: SessionDate) -> Result<Vec<Split>, SourceError> {
        let query = format!("execution_date.gte={from}&limit=1000");
        Ok(rows::splits(self.either(SPLITS, &query, "the splits", decode::splits_page).await?))
    }

    pub(super) async fn dividends_since(&self, from: SessionDate) -> Result<Vec<Dividend>, SourceError> {
        let query = format!("ex_dividend_date.gte={from}&limit=1000");
        Ok(rows::dividends(self.either(DIVIDENDS, &query, "the dividends", decode::dividends_page).await?))
    }

    async fn either<T: Send + 'static>(
        &self,
        [older, newer]: [&'static str; 2],
        query: &str,
        what: &str,
        read: fn(&[u8]) -> Result<Page<T>, FetchError>,
    ) -> Result<Vec<T>, SourceError> {
        match self.list(older, query, what, read).await {
            Ok(Some(rows)) => Ok(rows),
            // Gone, or not part of this plan: the other path may be.
            Ok(None) | Err(SourceError::NotEntitled { .. } | SourceError::Refused { .. }) => {
                let rows = self.list(newer, query, what, read).await?;
                rows.ok_or_else(|| self.scribe.unreadable(what, "neither of the two paths is there"))
            }
            Err(error) => Err(error),
        }
    }
}
