//! The market's hours: what they are now, the provider's clock, and the days ahead that differ.

use panscan_core::calendar::{Announced, AnnouncedHours, Calendar, Difference};
use panscan_core::port::{SourceError, SourceStatus};
use panscan_core::snapshot::MarketId;
use panscan_core::time::Timestamp;

use super::{NAME, Polygon};
use crate::caller::Topic;
use crate::decode::{self, HolidayRow};

const NOW: &str = "/v1/marketstatus/now";
const UPCOMING: &str = "/v1/marketstatus/upcoming";

/// The market's hours as the provider sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarketHours {
    /// In session.
    Open,
    /// Before or after a session.
    Extended,
    /// Neither.
    Closed,
}

/// What the provider says of the market now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketStatus {
    /// Its hours; `None` for a word that is not known.
    pub hours: Option<MarketHours>,
    /// The provider's clock.
    pub now: Timestamp,
}

impl Polygon {
    /// The market's hours now.
    ///
    /// # Errors
    ///
    /// What a call can end in; [`SourceError::Unreadable`] where no clock is told.
    pub async fn market_status(&self) -> Result<MarketStatus, SourceError> {
        Ok(self.hours_and_market().await?.0)
    }

    pub(super) async fn clock_and_market(&self) -> Result<SourceStatus, SourceError> {
        let (status, market) = self.hours_and_market().await?;
        Ok(SourceStatus { market: MarketId::new(market.as_deref().unwrap_or(NAME)), now: status.now })
    }

    async fn hours_and_market(&self) -> Result<(MarketStatus, Option<String>), SourceError> {
        let what = "the market status";
        let url = self.caller.url(NOW)?;
        let answer = self.caller.call(Topic::status(NOW, what), &url, decode::market_status).await?;
        let (row, answer) = answer.ok_or_else(|| self.scribe.unreadable(what, "there is none"))?;
        let now = row.now.ok_or_else(|| self.scribe.unreadable(what, "it tells no serverTime"))?;
        let now = now.parse().map_err(|error: panscan_core::Error| {
            self.scribe.unreadable(what, &format!("serverTime: {error}"))
        })?;
        let hours = match row.market.as_deref() {
            Some("open") => Some(MarketHours::Open),
            Some("extended-hours" | "early_trading" | "late_trading") => Some(MarketHours::Extended),
            Some("closed") => Some(MarketHours::Closed),
            _ => None,
        };
        Ok((MarketStatus { hours, now }, answer.market))
    }

    /// The days ahead whose hours differ, one entry an exchange.
    ///
    /// # Errors
    ///
    /// What a call can end in.
    pub async fn holidays(&self) -> Result<Vec<Announced>, SourceError> {
        let what = "the upcoming holidays";
        let url = self.caller.url(UPCOMING)?;
        let answer = self.caller.call(Topic::status(UPCOMING, what), &url, decode::holidays).await?;
        let Some(((rows, refused), _)) = answer else { return Ok(Vec::new()) };
        let count = rows.len() + refused;
        let announced: Vec<Announced> = rows.into_iter().filter_map(announced).collect();
        if announced.len() < count {
            tracing::warn!(provider = NAME, what, rows = count - announced.len(), "rows that cannot be read");
        }
        Ok(announced)
    }

    /// Where the days ahead, as the provider announces them, differ from panscan's own calendar, which stays in
    /// force: one of the two has to be mended by hand.
    ///
    /// # Errors
    ///
    /// What a call can end in.
    pub async fn calendar_differences(&self) -> Result<Vec<Difference>, SourceError> {
        let calendar = Calendar::us_equities();
        let today = calendar.session_of(self.caller.clock().now());
        let differences = calendar.differences(&self.holidays().await?, today);
        for difference in &differences {
            tracing::warn!(provider = NAME, %difference, "the exchange calendar differs from the provider's");
        }
        Ok(differences)
    }
}

fn announced(row: HolidayRow) -> Option<Announced> {
    let hours = match row.status.as_deref() {
        Some("closed") => AnnouncedHours::Closed,
        Some("early-close") => AnnouncedHours::EarlyClose(row.close.and_then(|at| at.parse().ok())),
        _ => return None,
    };
    Some(Announced {
        date: row.date.get(..10)?.parse().ok()?,
        exchange: row.exchange,
        name: row.name.unwrap_or_default(),
        hours,
    })
}
