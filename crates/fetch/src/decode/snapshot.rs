//! The snapshot of the market or of one ticker. The provider writes zero for what it does not have yet, so that a
//! zero is read as absent; stamps are of two units in one row.

use serde::Deserialize;

use super::lenient::{Maybe, above_zero, filled, finite, shares};
use super::typed::{Object, Scalar};
use crate::error::FetchError;

/// A snapshot, as sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshots {
    /// `OK`, `DELAYED`, ...
    pub status: Option<String>,
    /// What it says went wrong.
    pub message: Option<String>,
    /// The rows that could be read; none on a weekend.
    pub rows: Vec<SnapshotRow>,
    /// Rows that could not.
    pub refused: usize,
}

/// One ticker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SnapshotRow {
    /// The ticker.
    pub ticker: String,
    /// Nanoseconds since the epoch.
    pub updated_ns: Option<i64>,
    /// Since the day before, in USD; absent as long as there is no price of today.
    pub change: Option<f64>,
    /// The same in percent.
    pub change_percent: Option<f64>,
    /// Today so far.
    pub day: SnapshotBar,
    /// The day before.
    pub previous: SnapshotBar,
    /// The last minute.
    pub minute: SnapshotBar,
    /// Start of that minute in milliseconds.
    pub minute_ms: Option<i64>,
    /// Price of the last trade.
    pub trade: Option<f64>,
    /// Its time in nanoseconds.
    pub trade_ns: Option<i64>,
}

/// A bar within a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SnapshotBar {
    /// First price.
    pub open: Option<f64>,
    /// Highest price.
    pub high: Option<f64>,
    /// Lowest price.
    pub low: Option<f64>,
    /// Last price.
    pub close: Option<f64>,
    /// Shares traded, exact where the provider sends them as text.
    pub volume: Option<f64>,
    /// Average price weighted with volume.
    pub vwap: Option<f64>,
    /// Number of trades.
    pub trades: Option<f64>,
}

/// Where a last price was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PriceField {
    /// The last trade.
    Trade,
    /// The close of the last minute.
    Minute,
    /// The close of today so far.
    Day,
    /// The close of the day before.
    PreviousDay,
}

impl SnapshotRow {
    /// The newest price there is, and which field it is of.
    #[must_use]
    pub fn last_price(&self) -> Option<(f64, PriceField)> {
        let of = |price: Option<f64>, field| price.map(|price| (price, field));
        of(self.trade, PriceField::Trade)
            .or_else(|| of(self.minute.close, PriceField::Minute))
            .or_else(|| of(self.day.close, PriceField::Day))
            .or_else(|| of(self.previous.close, PriceField::PreviousDay))
    }
}

#[derive(Deserialize)]
struct RawBar<'a> {
    #[serde(default, borrow)]
    o: Scalar<'a>,
    #[serde(default, borrow)]
    h: Scalar<'a>,
    #[serde(default, borrow)]
    l: Scalar<'a>,
    #[serde(default, borrow)]
    c: Scalar<'a>,
    #[serde(default, borrow)]
    v: Scalar<'a>,
    #[serde(default, borrow)]
    dv: Scalar<'a>,
    #[serde(default, borrow)]
    vw: Scalar<'a>,
    #[serde(default, borrow)]
    n: Scalar<'a>,
    #[serde(default, borrow)]
    t: Scalar<'a>,
}

impl RawBar<'_> {
    fn read(&self) -> SnapshotBar {
        let close = above_zero(&self.c);
        SnapshotBar {
            open: above_zero(&self.o),
            high: above_zero(&self.h),
            low: above_zero(&self.l),
            close,
            // no shares can be a fact, but not where there is no price either
            volume: shares(&self.dv, &self.v).filter(|volume| *volume > 0.0 || close.is_some()),
            vwap: above_zero(&self.vw),
            trades: above_zero(&self.n),
        }
    }
}

#[derive(Deserialize)]
struct RawTrade<'a> {
    #[serde(default, borrow)]
    p: Scalar<'a>,
    #[serde(default, borrow)]
    t: Scalar<'a>,
}

#[derive(Deserialize)]
struct RawRow<'a> {
    #[serde(default, borrow)]
    ticker: Scalar<'a>,
    #[serde(default, borrow)]
    updated: Scalar<'a>,
    #[serde(default, borrow, rename = "todaysChange")]
    change: Scalar<'a>,
    #[serde(default, borrow, rename = "todaysChangePerc")]
    change_percent: Scalar<'a>,
    #[serde(default, borrow)]
    day: Maybe<RawBar<'a>>,
    #[serde(default, borrow, rename = "prevDay")]
    previous: Maybe<RawBar<'a>>,
    #[serde(default, borrow)]
    min: Maybe<RawBar<'a>>,
    #[serde(default, borrow, rename = "lastTrade")]
    trade: Maybe<RawTrade<'a>>,
}

impl RawRow<'_> {
    fn read(self) -> Option<SnapshotRow> {
        let bar = |bar: &Maybe<RawBar<'_>>| bar.0.as_ref().map(RawBar::read).unwrap_or_default();
        let stamp = |stamp: &Scalar<'_>| stamp.whole().filter(|t| *t > 0);
        let (day, minute) = (bar(&self.day), bar(&self.min));
        let trade = self.trade.0.as_ref().and_then(|trade| above_zero(&trade.p));
        // Without a price of today the change is that to zero.
        let traded = day.close.is_some() || minute.close.is_some();
        Some(SnapshotRow {
            ticker: filled(self.ticker)?,
            updated_ns: stamp(&self.updated),
            change: finite(&self.change).filter(|_| traded),
            change_percent: finite(&self.change_percent).filter(|_| traded),
            day,
            previous: bar(&self.previous),
            minute,
            minute_ms: self.min.0.as_ref().and_then(|bar| stamp(&bar.t)),
            trade,
            trade_ns: self.trade.0.as_ref().and_then(|trade| stamp(&trade.t)),
        })
    }
}

#[derive(Deserialize)]
struct RawPage<'a> {
    #[serde(default, borrow)]
    status: Scalar<'a>,
    #[serde(default, borrow)]
    message: Scalar<'a>,
    #[serde(default, borrow)]
    error: Scalar<'a>,
    /// The form of many.
    #[serde(default, borrow)]
    tickers: Option<Vec<Object<RawRow<'a>>>>,
    /// The form of one.
    #[serde(default, borrow)]
    ticker: Maybe<RawRow<'a>>,
}

/// Reads a snapshot of many tickers or of one.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not a JSON object, or its `tickers` are no list of objects.
pub fn snapshots(body: &[u8]) -> Result<Snapshots, FetchError> {
    let Object::<RawPage<'_>>(page) =
        serde_json::from_slice(body).map_err(|error| FetchError::body(&error))?;
    let sent = page.tickers.unwrap_or_default().into_iter().map(|Object(row)| row).chain(page.ticker.0);
    let (mut rows, mut refused) = (Vec::new(), 0);
    for row in sent {
        match row.read() {
            Some(row) => rows.push(row),
            None => refused += 1,
        }
    }
    Ok(Snapshots {
        status: page.status.text(),
        message: page.message.text().or(page.error.text()),
        rows,
        refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(body: &str) -> SnapshotRow {
        snapshots(body.as_bytes()).unwrap().rows.remove(0)
    }

    #[test]
    fn before_the_open_zero_is_missing_and_the_change_is_none() {
        let zeros = r#"{"o":0,"h":0,"l":0,"c":0,"v":0,"vw":0}"#;
        let row = row(&format!(
            r#"{{"tickers":[{{"ticker":"A","todaysChange":-20.63,"todaysChangePerc":-100,"updated":0,"day":{zeros},
                "min":{zeros},"prevDay":{{"o":20.79,"h":21,"l":20.5,"c":20.63,"v":292738,"vw":20.6939}}}}]}}"#
        ));
        assert_eq!((row.day, row.minute), (SnapshotBar::default(), SnapshotBar::default()));
        assert_eq!((row.change, row.change_percent, row.updated_ns), (None, None, None));
        assert_eq!(row.last_price(), Some((20.63, PriceField::PreviousDay)));
    }

    #[test]
    fn the_last_price_is_the_newest_there_is_and_says_of_what() {
        let bar = |close: f64| format!(r#"{{"c":{close}}}"#);
        for (trade, minute, day, previous, expected) in [
            (4.0, 3.0, 2.0, 1.0, Some((4.0, PriceField::Trade))),
            (0.0, 3.0, 2.0, 1.0, Some((3.0, PriceField::Minute))),
            (0.0, 0.0, 2.0, 1.0, Some((2.0, PriceField::Day))),
            (0.0, 0.0, 0.0, 1.0, Some((1.0, PriceField::PreviousDay))),
            (0.0, 0.0, 0.0, 0.0, None),
        ] {
            let row = row(&format!(
                r#"{{"ticker":{{"ticker":"A","lastTrade":{{"p":{trade}}},"min":{},"day":{},"prevDay":{}}}}}"#,
                bar(minute),
                bar(day),
                bar(previous)
            ));
            assert_eq!(row.last_price(), expected);
        }
        let nothing = row(r#"{"tickers":[{"ticker":"A","lastTrade":null,"day":"none","min":[1]}]}"#);
        assert_eq!(nothing.last_price(), None);
    }

    #[test]
    fn stamps_keep_their_nanoseconds_and_volumes_their_fractions() {
        let row = row(
            r#"{"tickers":[{"ticker":"A","updated":1651251948294080343,"lastTrade":{"p":1,"t":1651251948294080343},
                "day":{"c":1,"v":17798,"dv":"17798.430378"},"min":{"c":1,"t":1684428600000,"v":2.384421e+06}}]}"#,
        );
        assert_eq!((row.updated_ns, row.trade_ns), (Some(1_651_251_948_294_080_343), row.updated_ns));
        assert_eq!((row.minute_ms, row.day.volume), (Some(1_684_428_600_000), Some(17_798.430_378)));
        assert_eq!(row.minute.volume, Some(2_384_421.0));
    }

    #[test]
    fn no_tickers_are_an_empty_snapshot_and_a_nameless_row_is_counted() {
        for empty in ["{}", r#"{"tickers":null,"count":0}"#, r#"{"tickers":[],"status":"OK"}"#] {
            assert!(snapshots(empty.as_bytes()).unwrap().rows.is_empty());
        }
        assert_eq!(snapshots(br#"{"tickers":[{"day":{}}]}"#).unwrap().refused, 1);
        assert!(snapshots(b"[]").is_err() && snapshots(br#"{"tickers":[1]}"#).is_err());
    }
}
