//! From the bytes of an answer to bars and reference rows, without I/O.
//!
//! [`aggregates`] reads the usual shape with a scanner that goes from the bytes straight to numbers, and
//! leaves everything else to [`aggregates_serde`]; both give the same bits. What is checked here is the
//! text only: whether a row is a bar, and the one that was asked for, is decided where it is put into a
//! block.

mod alpaca;
mod alphavantage;
mod details;
mod flatfile;
mod lenient;
mod market;
mod number;
mod reference;
mod scan;
mod snapshot;
mod text;
mod typed;
mod yahoo;

use panscan_core::bar::Field;

use crate::error::FetchError;

pub use alpaca::{AlpacaPage, alpaca_bars, alpaca_words};
pub use alphavantage::{Notice, alpha_vantage_notice, alpha_vantage_series};
pub use details::{DetailsRow, EventsRow, OpenCloseRow, open_close, ticker_details, ticker_events};
pub use flatfile::FlatFile;
pub use lenient::One;
pub use market::{HolidayRow, MarketRow, holidays, market_status};
pub use reference::{
    DividendRow, Page, SplitRow, TickerRow, dividends_page, provider_words, splits_page, tickers_page,
};
pub use snapshot::{PriceField, SnapshotBar, SnapshotRow, Snapshots, snapshots};
pub use yahoo::{Chart, ChartSplit, yahoo_chart, yahoo_words};

/// One page of aggregates, as sent.
#[derive(Debug, Clone, Default)]
pub struct Aggregates {
    /// The ticker that the page says it is about.
    pub ticker: Option<String>,
    /// Whether its prices are adjusted for splits.
    pub adjusted: Option<bool>,
    /// `OK`, `DELAYED`, `ERROR`, `NOT_AUTHORIZED`, ...
    pub status: Option<String>,
    /// The provider's words for the log of its support.
    pub request_id: Option<String>,
    /// What it says went wrong.
    pub message: Option<String>,
    /// Where the next page is.
    pub next_url: Option<String>,
    /// Rows that it claims to have sent; a hint.
    pub results_count: Option<u64>,
    /// Base bars that it claims to have read; a hint.
    pub query_count: Option<u64>,
    /// Whether `results` was there and empty or null, which an honest empty answer leaves out.
    pub empty_results: bool,
    /// The rows.
    pub rows: Rows,
}

impl Aggregates {
    /// Whether the answer is empty in a way that an honest empty one is not: it has a `results` without rows,
    /// or claims rows that it did not send.
    #[must_use]
    pub fn is_suspiciously_empty(&self) -> bool {
        let claims = self.results_count.unwrap_or(0).max(self.query_count.unwrap_or(0)) > 0;
        self.rows.is_empty() && (self.empty_results || claims)
    }
}

/// The rows of a page, one array per bar in [`Field`] order, which is how a block takes them.
///
/// A number that is absent or null is NaN. What stands where a number belongs and is none is infinite, so
/// that the bar is refused rather than taken for one without that number.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    starts: Vec<Option<i64>>,
    values: Vec<[f64; Field::COUNT]>,
    tickers: String,
    /// Where the ticker of each row ends; empty while none had one, as in the pages of one symbol.
    ends: Vec<usize>,
}

/// One row of a page.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its ticker; empty where the row names none.
    pub ticker: &'a str,
    /// The provider's stamp in milliseconds; `None` where there is none or it is no whole number.
    pub stamp_ms: Option<i64>,
    /// Its numbers in [`Field`] order.
    pub values: [f64; Field::COUNT],
}

impl Rows {
    fn with_capacity(rows: usize) -> Self {
        Self {
            starts: Vec::with_capacity(rows),
            values: Vec::with_capacity(rows),
            tickers: String::new(),
            ends: Vec::new(),
        }
    }

    fn push(&mut self, ticker: &str, stamp_ms: Option<i64>, values: [f64; Field::COUNT]) {
        if !(ticker.is_empty() && self.ends.is_empty()) {
            self.name(ticker);
        }
        self.starts.push(stamp_ms);
        self.values.push(values);
    }

    fn name(&mut self, ticker: &str) {
        if self.ends.is_empty() {
            self.ends.reserve(self.values.capacity());
            self.ends.resize(self.values.len(), 0);
        }
        self.tickers.push_str(ticker);
        self.ends.push(self.tickers.len());
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All of them, as sent.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.starts.iter().zip(&self.values).enumerate().map(|(row, (&stamp_ms, &values))| {
            let begin = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
            let end = self.ends.get(row).copied().unwrap_or(0);
            Row { ticker: self.tickers.get(begin..end).unwrap_or_default(), stamp_ms, values }
        })
    }
}

/// Reads a page of aggregates.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not JSON or not a page of aggregates.
pub fn aggregates(body: &[u8]) -> Result<Aggregates, FetchError> {
    match scan::scan(body) {
        Some(page) => Ok(page),
        None => aggregates_serde(body),
    }
}

/// Reads a page of aggregates with serde_json, whatever its shape.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not JSON or not a page of aggregates.
pub fn aggregates_serde(body: &[u8]) -> Result<Aggregates, FetchError> {
    typed::decode(body)
}
