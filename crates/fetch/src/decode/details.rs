//! Answers about one ticker: its details, the tickers it had, its open and close of a day.

use serde::Deserialize;

use super::lenient::{Maybe, One, above_zero, filled, finite};
use super::typed::{Object, Scalar};
use crate::error::FetchError;

/// A ticker's details, as sent. Most are absent for funds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DetailsRow {
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
    /// When it was listed, `YYYY-MM-DD`.
    pub list_date: Option<String>,
    /// When it ceased to trade, RFC 3339.
    pub delisted: Option<String>,
    /// The figi of its security, which outlives its ticker.
    pub figi: Option<String>,
    /// USD.
    pub market_cap: Option<f64>,
    /// Code of the Standard Industrial Classification.
    pub sic_code: Option<String>,
    /// What that code means.
    pub sic_description: Option<String>,
    /// Shares of this class.
    pub class_shares: Option<f64>,
    /// Shares of all classes, as shares of this one.
    pub weighted_shares: Option<f64>,
}

/// The tickers that a company had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsRow {
    /// Its name.
    pub name: Option<String>,
    /// The figi of its security.
    pub figi: Option<String>,
    /// Each ticker with the day on which it was taken on, `YYYY-MM-DD`, in the order sent.
    pub changes: Vec<(String, String)>,
    /// Changes that could not be read; events of other types are not among them.
    pub refused: usize,
}

/// A ticker's prices of one day, with those outside the session.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OpenCloseRow {
    /// The ticker.
    pub ticker: String,
    /// The day, `YYYY-MM-DD`.
    pub day: Option<String>,
    /// First price.
    pub open: Option<f64>,
    /// Highest price.
    pub high: Option<f64>,
    /// Lowest price.
    pub low: Option<f64>,
    /// Last price.
    pub close: Option<f64>,
    /// Shares traded.
    pub volume: Option<f64>,
    /// First price before the session.
    pub pre_market: Option<f64>,
    /// Last price after it.
    pub after_hours: Option<f64>,
}

#[derive(Deserialize)]
struct RawOne<'a, T> {
    #[serde(default, borrow)]
    status: Scalar<'a>,
    #[serde(default, borrow)]
    message: Scalar<'a>,
    #[serde(default, borrow)]
    error: Scalar<'a>,
    #[serde(default = "Maybe::default")]
    results: Maybe<T>,
}

fn one<'a, R: Deserialize<'a>, T>(body: &'a [u8], read: fn(R) -> Option<T>) -> Result<One<T>, FetchError> {
    let Object::<RawOne<'a, R>>(raw) =
        serde_json::from_slice(body).map_err(|error| FetchError::body(&error))?;
    Ok(One {
        status: raw.status.text(),
        message: raw.message.text().or(raw.error.text()),
        row: raw.results.0.and_then(read),
    })
}

/// Reads a ticker's details.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not a JSON object.
pub fn ticker_details(body: &[u8]) -> Result<One<DetailsRow>, FetchError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
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
        list_date: Scalar<'a>,
        #[serde(default, borrow)]
        delisted_utc: Scalar<'a>,
        #[serde(default, borrow)]
        composite_figi: Scalar<'a>,
        #[serde(default, borrow)]
        market_cap: Scalar<'a>,
        #[serde(default, borrow)]
        sic_code: Scalar<'a>,
        #[serde(default, borrow)]
        sic_description: Scalar<'a>,
        #[serde(default, borrow)]
        share_class_shares_outstanding: Scalar<'a>,
        #[serde(default, borrow)]
        weighted_shares_outstanding: Scalar<'a>,
    }
    one(body, |raw: Raw<'_>| {
        Some(DetailsRow {
            ticker: filled(raw.ticker)?,
            name: filled(raw.name),
            primary_exchange: filled(raw.primary_exchange),
            kind: filled(raw.kind),
            currency: filled(raw.currency_name),
            active: raw.active.flag(),
            list_date: filled(raw.list_date),
            delisted: filled(raw.delisted_utc),
            figi: filled(raw.composite_figi),
            market_cap: above_zero(&raw.market_cap),
            // documented as text, and a number is as good
            sic_code: raw.sic_code.label(),
            sic_description: filled(raw.sic_description),
            class_shares: above_zero(&raw.share_class_shares_outstanding),
            weighted_shares: above_zero(&raw.weighted_shares_outstanding),
        })
    })
}

/// Reads the tickers that a company had.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not a JSON object, or its events are no list of objects.
pub fn ticker_events(body: &[u8]) -> Result<One<EventsRow>, FetchError> {
    #[derive(Deserialize)]
    struct Change<'a> {
        #[serde(default, borrow)]
        ticker: Scalar<'a>,
    }
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(default, borrow, rename = "type")]
        kind: Scalar<'a>,
        #[serde(default, borrow)]
        date: Scalar<'a>,
        #[serde(default, borrow)]
        ticker_change: Maybe<Change<'a>>,
    }
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(default, borrow)]
        name: Scalar<'a>,
        #[serde(default, borrow)]
        composite_figi: Scalar<'a>,
        #[serde(default, borrow)]
        events: Option<Vec<Object<Event<'a>>>>,
    }
    one(body, |raw: Raw<'_>| {
        let mut row =
            EventsRow { name: filled(raw.name), figi: filled(raw.composite_figi), ..EventsRow::default() };
        for Object(event) in raw.events.unwrap_or_default() {
            if event.kind.as_text().is_some_and(|kind| kind != "ticker_change") {
                continue;
            }
            let ticker = event.ticker_change.0.and_then(|change| filled(change.ticker));
            match (ticker, filled(event.date)) {
                (Some(ticker), Some(date)) => row.changes.push((ticker, date)),
                _ => row.refused += 1,
            }
        }
        Some(row)
    })
}

/// Reads a ticker's prices of one day. That answer is flat: it has no `results`.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not a JSON object.
pub fn open_close(body: &[u8]) -> Result<One<OpenCloseRow>, FetchError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(default, borrow)]
        status: Scalar<'a>,
        #[serde(default, borrow)]
        message: Scalar<'a>,
        #[serde(default, borrow)]
        error: Scalar<'a>,
        #[serde(default, borrow)]
        symbol: Scalar<'a>,
        #[serde(default, borrow)]
        from: Scalar<'a>,
        #[serde(default, borrow)]
        open: Scalar<'a>,
        #[serde(default, borrow)]
        high: Scalar<'a>,
        #[serde(default, borrow)]
        low: Scalar<'a>,
        #[serde(default, borrow)]
        close: Scalar<'a>,
        #[serde(default, borrow)]
        volume: Scalar<'a>,
        #[serde(default, borrow, rename = "preMarket")]
        pre_market: Scalar<'a>,
        #[serde(default, borrow, rename = "afterHours")]
        after_hours: Scalar<'a>,
    }
    let Object::<Raw<'_>>(raw) = serde_json::from_slice(body).map_err(|error| FetchError::body(&error))?;
    let row = filled(raw.symbol).map(|ticker| OpenCloseRow {
        ticker,
        day: filled(raw.from),
        open: above_zero(&raw.open),
        high: above_zero(&raw.high),
        low: above_zero(&raw.low),
        close: above_zero(&raw.close),
        volume: finite(&raw.volume),
        pre_market: above_zero(&raw.pre_market),
        after_hours: above_zero(&raw.after_hours),
    });
    Ok(One { status: raw.status.text(), message: raw.message.text().or(raw.error.text()), row })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_may_be_absent_or_of_another_type() {
        let read = |body: &str| ticker_details(body.as_bytes()).unwrap();
        let row = read(
            r#"{"results":{"ticker":"X","market_cap":"huge","sic_code":3571,"list_date":null,
                "weighted_shares_outstanding":0,"active":"yes","name":" ","address":{"a":[1]}},"request_id":7}"#,
        )
        .row
        .unwrap();
        assert_eq!(
            row,
            DetailsRow { ticker: "X".into(), sic_code: Some("3571".into()), ..DetailsRow::default() }
        );
        for none in [
            r#"{"results":[]}"#,
            r#"{"results":null}"#,
            "{}",
            r#"{"results":{"name":"x"}}"#,
            r#"{"results":7}"#,
        ] {
            assert_eq!(read(none).row, None, "{none}");
        }
        assert!(ticker_details(b"[]").is_err() && ticker_details(b"<html>").is_err());
    }

    #[test]
    fn ticker_changes_are_told_from_other_events() {
        let body =
            br#"{"results":{"name":"Meta","composite_figi":"BBG000MM2P62","cik":"0001326801","events":[
            {"type":"ticker_change","date":"2022-06-09","ticker_change":{"ticker":"META"}},
            {"ticker_change":{"ticker":"FB"},"date":"2012-05-18"},
            {"type":"ticker_change","date":"2012-05-18"},
            {"type":"spin_off","date":"2020-01-01"}]},"status":"OK"}"#;
        let row = ticker_events(body).unwrap().row.unwrap();
        let changes: Vec<_> = row.changes.iter().map(|(t, d)| (t.as_str(), d.as_str())).collect();
        assert_eq!(changes, [("META", "2022-06-09"), ("FB", "2012-05-18")]);
        assert_eq!((row.refused, row.figi.as_deref()), (1, Some("BBG000MM2P62")));
        assert!(ticker_events(br#"{"results":{"events":[3]}}"#).is_err());
    }

    #[test]
    fn a_flat_answer_without_a_symbol_holds_nothing() {
        let row =
            open_close(br#"{"symbol":"A","from":"2023-01-09","open":0,"close":1.5,"volume":0}"#).unwrap().row;
        let row = row.unwrap();
        assert_eq!((row.open, row.close, row.volume), (None, Some(1.5), Some(0.0)));
        let none = open_close(br#"{"status":"ERROR","errorcode":"001","error":"Unknown"}"#).unwrap();
        assert_eq!((none.row, none.message.as_deref()), (None, Some("Unknown")));
    }
}
