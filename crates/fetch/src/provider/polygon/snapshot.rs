//! The snapshot: what the market or one ticker is at right now. No snapshot, e.g. on a weekend, is an answer and
//! not an outage.

use panscan_core::bar::Bar;
use panscan_core::port::{Errand, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::Timestamp;

use super::{NAME, Polygon, in_path};
use crate::decode::{self, PriceField, SnapshotBar, SnapshotRow};

const ALL: &str = "/v2/snapshot/locale/us/markets/stocks/tickers";
const ONE: &str = "/v2/snapshot/locale/us/markets/stocks/tickers/{ticker}";
const MOVERS: &str = "/v2/snapshot/locale/us/markets/stocks/{direction}";
/// Tickers that one call names: their list stands in its address.
const NAMED_MAX: usize = 250;

/// What one ticker is at. Before the first trade of a day there is nothing of today.
#[derive(Debug, Clone, PartialEq)]
pub struct TickerSnapshot {
    /// Whose.
    pub symbol: Symbol,
    /// When it was last changed.
    pub updated: Option<Timestamp>,
    /// Today so far.
    pub day: Option<Bar>,
    /// The session before.
    pub previous: Option<Bar>,
    /// The last minute and its start.
    pub minute: Option<(Timestamp, Bar)>,
    /// Time and price of the last trade, where the plan has trades.
    pub trade: Option<(Option<Timestamp>, f64)>,
    /// The newest price there is, and which field it was taken from: the last trade, else the minute, else today,
    /// else the session before.
    pub price: Option<(f64, PriceField)>,
    /// Change since the session before, in USD.
    pub change: Option<f64>,
    /// The same in percent.
    pub change_percent: Option<f64>,
}

/// Which movers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movers {
    /// The largest gains in percent.
    Gainers,
    /// The largest losses.
    Losers,
}

impl Polygon {
    /// The snapshot of every ticker; empty outside of the hours in which there is one.
    ///
    /// # Errors
    ///
    /// What a call can end in; [`SourceError::NotEntitled`] on a plan without snapshots.
    pub async fn snapshot_all(&self, errand: Errand) -> Result<Vec<TickerSnapshot>, SourceError> {
        self.snapshot(ALL, &format!("{ALL}?include_otc=false"), "the snapshot of the market", errand).await
    }

    /// The snapshots of these tickers; those that the provider does not know are left out.
    ///
    /// # Errors
    ///
    /// What a call can end in.
    pub async fn snapshot_of(
        &self,
        symbols: &[Symbol],
        errand: Errand,
    ) -> Result<Vec<TickerSnapshot>, SourceError> {
        let mut all = Vec::with_capacity(symbols.len());
        for part in symbols.chunks(NAMED_MAX) {
            let names: Vec<String> = part.iter().map(in_path).collect();
            let query = format!("{ALL}?tickers={}", names.join(","));
            let mut found = self.snapshot(ALL, &query, "the snapshot of some tickers", errand).await?;
            found.retain(|row| part.contains(&row.symbol));
            all.append(&mut found);
        }
        Ok(all)
    }

    /// The snapshot of one ticker; `None` where there is none now.
    ///
    /// # Errors
    ///
    /// What a call can end in.
    pub async fn snapshot_one(
        &self,
        symbol: &Symbol,
        errand: Errand,
    ) -> Result<Option<TickerSnapshot>, SourceError> {
        let what = format!("the snapshot of {symbol}");
        let query = format!("{ALL}/{}", in_path(symbol));
        let found = self.snapshot(ONE, &query, &what, errand).await?;
        Ok(found.into_iter().find(|row| row.symbol == *symbol))
    }

    /// The largest movers of the day, as the provider picks them.
    ///
    /// # Errors
    ///
    /// What a call can end in.
    pub async fn movers(&self, which: Movers, errand: Errand) -> Result<Vec<TickerSnapshot>, SourceError> {
        let direction = match which {
            Movers::Gainers => "gainers",
            Movers::Losers => "losers",
        };
        let query = format!("/v2/snapshot/locale/us/markets/stocks/{direction}");
        self.snapshot(MOVERS, &query, "the largest movers", errand).await
    }

    async fn snapshot(
        &self,
        template: &'static str,
        query: &str,
        what: &str,
        errand: Errand,
    ) -> Result<Vec<TickerSnapshot>, SourceError> {
        let page = self.part(template, query, what, None, errand, decode::snapshots).await?;
        let Some(page) = page else { return Ok(Vec::new()) };
        self.verdict.check_status(what, page.status.as_deref(), page.message.as_deref())?;
        self.note_status(page.status.as_deref());
        let count = page.rows.len() + page.refused;
        let rows: Vec<TickerSnapshot> = page.rows.into_iter().filter_map(read).collect();
        if rows.len() < count {
            tracing::warn!(provider = NAME, what, rows = count - rows.len(), "rows that cannot be read");
        }
        Ok(rows)
    }
}

fn read(row: SnapshotRow) -> Option<TickerSnapshot> {
    let price = row.last_price();
    let minute = row.minute_ms.map(Timestamp::from_millis).zip(bar(row.minute));
    Some(TickerSnapshot {
        symbol: Symbol::new(&row.ticker).ok()?,
        updated: row.updated_ns.map(Timestamp::from_nanos),
        day: bar(row.day),
        previous: bar(row.previous),
        minute,
        trade: row.trade.map(|price| (row.trade_ns.map(Timestamp::from_nanos), price)),
        price,
        change: row.change,
        change_percent: row.change_percent,
    })
}

fn bar(bar: SnapshotBar) -> Option<Bar> {
    let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
    Bar::new([bar.open, bar.high, bar.low, bar.close, bar.volume, bar.vwap, bar.trades].map(number)).ok()
}
