//! Tickers: the list of them, the details of one, and those that a company had.

use std::sync::Arc;

use panscan_core::port::{Errand, Rename, SourceError};
use panscan_core::sic;
use panscan_core::symbol::Symbol;
use panscan_core::time::SessionDate;
use panscan_core::universe::{Listing, TextAttribute};

use super::{NAME, Polygon, in_path, rows};
use crate::decode::{self, DetailsRow};

const TICKERS: &str = "/v3/reference/tickers";
const DETAILS: &str = "/v3/reference/tickers/{ticker}";
const EVENTS: &str = "/vX/reference/tickers/{id}/events";

/// Which tickers to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickersAsk {
    /// Those that trade, else those that ceased to.
    pub active: bool,
    /// As of this day; today where it is not given.
    pub date: Option<SessionDate>,
}

/// What is known of one ticker.
#[derive(Debug, Clone, PartialEq)]
pub struct TickerDetails {
    /// Its attributes; sector and industry come from panscan's own table of SIC codes.
    pub listing: Listing,
    /// The code of the Standard Industrial Classification, and the provider's words for it.
    pub sic: Option<(String, Option<String>)>,
}

impl Polygon {
    /// The tickers of US stocks.
    ///
    /// # Errors
    ///
    /// What a call can end in.
    pub async fn tickers(&self, ask: TickersAsk) -> Result<Vec<Listing>, SourceError> {
        self.tickers_for(ask, Errand::interactive(0)).await
    }

    pub(super) async fn tickers_for(
        &self,
        ask: TickersAsk,
        errand: Errand,
    ) -> Result<Vec<Listing>, SourceError> {
        let mut query = format!("market=stocks&active={}&limit=1000", ask.active);
        if let Some(date) = ask.date {
            query.push_str(&format!("&date={date}"));
        }
        let rows = self.list_for(TICKERS, &query, "the ticker list", decode::tickers_page, errand).await?;
        Ok(rows::listings(rows.unwrap_or_default()))
    }

    /// One ticker's details, as of a day or today; `None` where the provider does not know it, or not on that day.
    ///
    /// # Errors
    ///
    /// What a call can end in.
    pub async fn ticker_details(
        &self,
        symbol: &Symbol,
        date: Option<SessionDate>,
        errand: Errand,
    ) -> Result<Option<TickerDetails>, SourceError> {
        let what = format!("the details of {symbol}");
        let date = date.map(|date| format!("?date={date}")).unwrap_or_default();
        let query = format!("{TICKERS}/{}{date}", in_path(symbol));
        let row = self.one(DETAILS, &query, &what, None, errand, decode::ticker_details).await?;
        let Some(row) = row else { return Ok(None) };
        if row.ticker != symbol.as_str() {
            let other = panscan_core::error::shortened(&row.ticker);
            return Err(self.scribe.unreadable(&what, &format!("the answer is about {other}")));
        }
        Ok(Some(details(symbol, row)))
    }

    /// The tickers of the company that `symbol` belongs to, oldest first; none where the provider knows no company.
    pub(super) async fn tickers_of(
        &self,
        symbol: &Symbol,
        errand: Errand,
    ) -> Result<Vec<Rename>, SourceError> {
        let what = format!("the tickers that {symbol} had");
        let query = format!("/vX/reference/tickers/{}/events?types=ticker_change", in_path(symbol));
        let row = self.one(EVENTS, &query, &what, None, errand, decode::ticker_events).await?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let figi: Option<Arc<str>> = row.figi.map(Arc::from);
        let count = row.changes.len() + row.refused;
        let read = |(ticker, date): (String, String)| {
            Some(Rename {
                symbol: Symbol::new(&ticker).ok()?,
                from: date.get(..10)?.parse().ok()?,
                figi: figi.clone(),
            })
        };
        let mut renames: Vec<Rename> = row.changes.into_iter().filter_map(read).collect();
        if renames.len() < count {
            tracing::warn!(
                provider = NAME,
                what,
                rows = count - renames.len(),
                "ticker changes that cannot be read"
            );
        }
        renames.sort_by_key(|rename| rename.from);
        Ok(renames)
    }
}

fn details(symbol: &Symbol, row: DetailsRow) -> TickerDetails {
    let mut listing = Listing::new(symbol.clone());
    let mut set = |attribute: TextAttribute, text: Option<String>| {
        listing.text[attribute as usize] = text.map(Arc::from);
    };
    let industry = row.sic_code.as_deref().and_then(sic::industry_of);
    set(TextAttribute::Name, row.name);
    set(TextAttribute::Exchange, row.primary_exchange);
    set(TextAttribute::Type, row.kind);
    set(TextAttribute::Currency, row.currency.map(|code| code.to_ascii_uppercase()));
    set(TextAttribute::Sector, industry.map(|industry| industry.sector.name().to_owned()));
    set(TextAttribute::Industry, industry.map(|industry| industry.name.to_owned()));
    let day = |text: Option<String>| text.and_then(|text| text.get(..10)?.parse().ok());
    listing.market_cap = row.market_cap;
    // The market capitalisation is close times the shares of all classes.
    listing.shares_outstanding = row.weighted_shares.or(row.class_shares);
    listing.list_date = day(row.list_date);
    listing.delist_date = day(row.delisted);
    listing.active = row.active;
    listing.figi = row.figi.map(Arc::from);
    let sic = row.sic_code.map(|code| (code, row.sic_description));
    TickerDetails { listing, sic }
}
