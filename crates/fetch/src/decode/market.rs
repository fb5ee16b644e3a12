//! The market's hours: what they are now, and which days differ from the usual ones.

use serde::Deserialize;

use super::lenient::{Maybe, filled};
use super::typed::{Object, Scalar};
use crate::error::FetchError;

/// The market's hours now, as sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MarketRow {
    /// `open`, `closed`, `extended-hours`.
    pub market: Option<String>,
    /// Before the session.
    pub early_hours: bool,
    /// After it.
    pub after_hours: bool,
    /// The provider's clock, RFC 3339.
    pub now: Option<String>,
    /// The same word for one exchange.
    pub nyse: Option<String>,
    /// The same word for another.
    pub nasdaq: Option<String>,
}

/// A day whose hours differ, one row an exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HolidayRow {
    /// `YYYY-MM-DD`.
    pub date: String,
    /// As the provider spells it.
    pub exchange: String,
    /// Why.
    pub name: Option<String>,
    /// `closed`, `early-close`.
    pub status: Option<String>,
    /// When it opens, RFC 3339.
    pub open: Option<String>,
    /// When it closes.
    pub close: Option<String>,
}

/// Reads the market's hours now.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not a JSON object.
pub fn market_status(body: &[u8]) -> Result<MarketRow, FetchError> {
    #[derive(Deserialize)]
    struct Exchanges<'a> {
        #[serde(default, borrow)]
        nyse: Scalar<'a>,
        #[serde(default, borrow)]
        nasdaq: Scalar<'a>,
    }
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(default, borrow)]
        market: Scalar<'a>,
        #[serde(default, borrow, rename = "earlyHours")]
        early_hours: Scalar<'a>,
        #[serde(default, borrow, rename = "afterHours")]
        after_hours: Scalar<'a>,
        #[serde(default, borrow, rename = "serverTime")]
        server_time: Scalar<'a>,
        #[serde(default, borrow)]
        exchanges: Maybe<Exchanges<'a>>,
    }
    let Object::<Raw<'_>>(raw) = serde_json::from_slice(body).map_err(|error| FetchError::body(&error))?;
    let (nyse, nasdaq) = raw.exchanges.0.map(|of| (filled(of.nyse), filled(of.nasdaq))).unwrap_or_default();
    Ok(MarketRow {
        market: filled(raw.market),
        early_hours: raw.early_hours.flag().unwrap_or_default(),
        after_hours: raw.after_hours.flag().unwrap_or_default(),
        now: filled(raw.server_time),
        nyse,
        nasdaq,
    })
}

/// Reads the days ahead whose hours differ: a bare list, and how many of its rows cannot be read.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not a JSON list of objects.
pub fn holidays(body: &[u8]) -> Result<(Vec<HolidayRow>, usize), FetchError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(default, borrow)]
        date: Scalar<'a>,
        #[serde(default, borrow)]
        exchange: Scalar<'a>,
        #[serde(default, borrow)]
        name: Scalar<'a>,
        #[serde(default, borrow)]
        status: Scalar<'a>,
        #[serde(default, borrow)]
        open: Scalar<'a>,
        #[serde(default, borrow)]
        close: Scalar<'a>,
    }
    let sent: Vec<Object<Raw<'_>>> =
        serde_json::from_slice(body).map_err(|error| FetchError::body(&error))?;
    let count = sent.len();
    let read = |Object(raw): Object<Raw<'_>>| {
        Some(HolidayRow {
            date: filled(raw.date)?,
            exchange: filled(raw.exchange)?,
            name: filled(raw.name),
            status: filled(raw.status),
            open: filled(raw.open),
            close: filled(raw.close),
        })
    };
    let rows: Vec<HolidayRow> = sent.into_iter().filter_map(read).collect();
    let refused = count - rows.len();
    Ok((rows, refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_lack_anything() {
        let row = market_status(br#"{"market":"closed","exchanges":{"nyse":"open","otc":1},"afterHours":1}"#)
            .unwrap();
        assert_eq!((row.market.as_deref(), row.nyse.as_deref()), (Some("closed"), Some("open")));
        assert!(row.now.is_none() && !row.after_hours && row.nasdaq.is_none());
        assert_eq!(market_status(b"{}").unwrap(), MarketRow::default());
        assert!(market_status(b"[]").is_err());
    }

    #[test]
    fn holidays_are_a_bare_list() {
        let (rows, refused) = holidays(
            br#"[{"exchange":"NYSE","name":"Labor Day","date":"2022-09-05","status":"closed"},{"status":"closed"}]"#,
        )
        .unwrap();
        assert_eq!((rows.len(), refused, rows[0].date.as_str()), (1, 1, "2022-09-05"));
        assert_eq!(holidays(b"[]").unwrap(), (Vec::new(), 0));
        assert!(holidays(b"{}").is_err() && holidays(b"[1]").is_err());
    }
}
