//! Lists of reference data: small answers, read with serde_json and lenient about what is absent.

use serde::Deserialize;

use super::typed::{Object, Scalar};
use crate::error::FetchError;

/// A page of reference rows.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// `OK`, `ERROR`, `NOT_AUTHORIZED`, ...
    pub status: Option<String>,
    /// What it says went wrong.
    pub message: Option<String>,
    /// Where the next page is.
    pub next_url: Option<String>,
    /// The rows that could be read.
    pub rows: Vec<T>,
    /// Rows that could not.
    pub refused: usize,
}

/// One row of the ticker list.
#[derive(Debug, Clone, PartialEq)]
pub struct TickerRow {
    /// The ticker.
    pub ticker: String,
    /// The company's or fund's name.
    pub name: Option<String>,
    /// Market identifier code.
    pub primary_exchange: Option<String>,
    /// Security type.
    pub kind: Option<String>,
    /// Currency code as the provider writes it.
    pub currency: Option<String>,
    /// Whether it trades.
    pub active: Option<bool>,
    /// When it ceased to, RFC 3339.
    pub delisted: Option<String>,
    /// The figi of its security.
    pub figi: Option<String>,
}

/// One row of the split list.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitRow {
    /// The ticker.
    pub ticker: String,
    /// First session at the new price level, `YYYY-MM-DD`.
    pub execution_date: String,
    /// Shares before.
    pub from: f64,
    /// Shares after.
    pub to: f64,
}

/// One row of the dividend list.
#[derive(Debug, Clone, PartialEq)]
pub struct DividendRow {
    /// The ticker.
    pub ticker: String,
    /// First session at which a buyer no longer gets it, `YYYY-MM-DD`.
    pub ex_date: String,
    /// A share.
    pub cash: f64,
    /// Currency code.
    pub currency: Option<String>,
    /// When it is paid, `YYYY-MM-DD`.
    pub pay_date: Option<String>,
    /// Payments a year; 0 for one that does not recur.
    pub frequency: Option<i64>,
    /// What it is, in the code of the path that was asked: `CD`, `SC`, ... or `recurring`, ...
    pub kind: Option<String>,
}

#[derive(Deserialize)]
struct RawPage<'a> {
    #[serde(default, borrow)]
    status: Scalar<'a>,
    #[serde(default, borrow)]
    message: Scalar<'a>,
    #[serde(default, borrow)]
    error: Scalar<'a>,
    #[serde(default, borrow)]
    next_url: Scalar<'a>,
    #[serde(default, borrow)]
    results: Option<Vec<Object<RawRow<'a>>>>,
}

/// The columns of every reference list that is read.
#[derive(Deserialize)]
struct RawRow<'a> {
    #[serde(default, borrow)]
    ticker: Scalar<'a>,
    #[serde(default, borrow)]
    name: Scalar<'a>,
    #[serde(default, borrow)]
    primary_exchange: Scalar<'a>,
    #[serde(default, borrow, rename = "type")]
    kind: Scalar<'a>,
    #[serde(default, borrow)]
    currency_name: Scalar<'a>,
    #[serde(default, borrow)]
    active: Scalar<'a>,
    #[serde(default, borrow)]
    delisted_utc: Scalar<'a>,
    #[serde(default, borrow)]
    composite_figi: Scalar<'a>,
    #[serde(default, borrow)]
    execution_date: Scalar<'a>,
    #[serde(default, borrow)]
    split_from: Scalar<'a>,
    #[serde(default, borrow)]
    split_to: Scalar<'a>,
    #[serde(default, borrow)]
    ex_dividend_date: Scalar<'a>,
    #[serde(default, borrow)]
    cash_amount: Scalar<'a>,
    #[serde(default, borrow)]
    currency: Scalar<'a>,
    #[serde(default, borrow)]
    pay_date: Scalar<'a>,
    #[serde(default, borrow)]
    frequency: Scalar<'a>,
    #[serde(default, borrow)]
    dividend_type: Scalar<'a>,
    #[serde(default, borrow)]
    distribution_type: Scalar<'a>,
}

/// Reads a page of the ticker list.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not JSON or not a page of rows.
pub fn tickers_page(body: &[u8]) -> Result<Page<TickerRow>, FetchError> {
    page(body, |row| {
        Some(TickerRow {
            ticker: row.ticker.text()?,
            name: row.name.text(),
            primary_exchange: row.primary_exchange.text(),
            kind: row.kind.text(),
            currency: row.currency_name.text(),
            active: row.active.flag(),
            delisted: row.delisted_utc.text(),
            figi: row.composite_figi.text(),
        })
    })
}

/// Reads a page of the split list. Factors are passed on as sent, sound or not.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not JSON or not a page of rows.
pub fn splits_page(body: &[u8]) -> Result<Page<SplitRow>, FetchError> {
    page(body, |row| {
        Some(SplitRow {
            ticker: row.ticker.text()?,
            execution_date: row.execution_date.text()?,
            from: row.split_from.number(),
            to: row.split_to.number(),
        })
    })
}

/// Reads a page of the dividend list, of either path.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not JSON or not a page of rows.
pub fn dividends_page(body: &[u8]) -> Result<Page<DividendRow>, FetchError> {
    page(body, |row| {
        Some(DividendRow {
            ticker: row.ticker.text()?,
            ex_date: row.ex_dividend_date.text()?,
            cash: row.cash_amount.number(),
            currency: row.currency.text(),
            pay_date: row.pay_date.text(),
            frequency: row.frequency.whole(),
            kind: row.dividend_type.text().or(row.distribution_type.text()),
        })
    })
}

/// The `status` and the provider's own words in an answer of any kind; neither where it is not JSON.
#[must_use]
pub fn provider_words(body: &[u8]) -> (Option<String>, Option<String>) {
    #[derive(Deserialize, Default)]
    struct Words<'a> {
        #[serde(default, borrow)]
        status: Scalar<'a>,
        #[serde(default, borrow)]
        message: Scalar<'a>,
        #[serde(default, borrow)]
        error: Scalar<'a>,
    }
    let Object::<Words<'_>>(words) = serde_json::from_slice(body).unwrap_or_default();
    (words.status.text(), words.message.text().or(words.error.text()))
}

fn page<'a, T>(body: &'a [u8], read: fn(RawRow<'a>) -> Option<T>) -> Result<Page<T>, FetchError> {
    let Object::<RawPage<'a>>(page) =
        serde_json::from_slice(body).map_err(|error| FetchError::body(&error))?;
    let sent = page.results.unwrap_or_default();
    let count = sent.len();
    let rows: Vec<T> = sent.into_iter().filter_map(|Object(row)| read(row)).collect();
    Ok(Page {
        status: page.status.text(),
        message: page.message.text().or(page.error.text()),
        next_url: page.next_url.text(),
        refused: count - rows.len(),
        rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_its_key_is_counted_and_does_not_cost_the_page() {
        let page = tickers_page(
            br#"{"results":[{"ticker":"A","active":true,"cik":7},{"name":"nobody"}],"request_id":1}"#,
        )
        .unwrap();
        assert_eq!((page.rows.len(), page.refused), (1, 1));
        assert_eq!((page.rows[0].ticker.as_str(), page.rows[0].active), ("A", Some(true)));
        assert!(page.rows[0].name.is_none() && page.next_url.is_none());
    }

    #[test]
    fn splits_keep_fractions_and_absent_factors_are_no_numbers() {
        let page = splits_page(
            br#"{"status":"OK","results":[{"ticker":"A","execution_date":"2022-07-18","split_from":1,"split_to":1.5},
                {"ticker":"B","execution_date":"2022-07-18"}]}"#,
        )
        .unwrap();
        assert_eq!((page.rows[0].from, page.rows[0].to), (1.0, 1.5));
        assert!(page.rows[1].from.is_nan());
    }

    #[test]
    fn no_results_is_an_empty_page_and_html_is_none() {
        assert!(tickers_page(br#"{"results":null}"#).unwrap().rows.is_empty());
        assert!(splits_page(b"{}").unwrap().rows.is_empty());
        assert!(tickers_page(b"<html>").is_err());
        assert!(dividends_page(br#"{"results":[]}"#).unwrap().rows.is_empty());
        assert_eq!(provider_words(b"<html>"), (None, None));
        assert_eq!(provider_words(br#"{"error":"no","status":3}"#), (None, Some("no".to_owned())));
    }
}
