//! Yahoo's chart: parallel arrays with null holes, which are dropped by row, all columns together.

use serde::Deserialize;
use serde::de::IgnoredAny;

use panscan_core::bar::Field;

use super::Rows;
use super::typed::{Object, Scalar};
use crate::error::FetchError;

/// A chart, as sent.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    /// Its symbol in Yahoo's spelling.
    pub symbol: Option<String>,
    /// What its prices are in; `GBp` is pence.
    pub currency: Option<String>,
    /// The rows with a close. Prices are adjusted for splits, vwap and trades are never there.
    pub rows: Rows,
    /// Rows without a close, which are none.
    pub holes: usize,
    /// The splits within the time asked for.
    pub splits: Vec<ChartSplit>,
    /// The newest trade, in Unix seconds.
    pub market_time: Option<i64>,
    /// Start and end of the session that runs or comes next, in Unix seconds.
    pub regular: Option<(i64, i64)>,
}

/// A split: `denominator` old shares became `numerator` new ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChartSplit {
    /// The open of its session in Unix seconds; `None` where it cannot be read.
    pub date: Option<i64>,
    /// New shares; NaN where it is missing.
    pub numerator: f64,
    /// Old shares; NaN where it is missing.
    pub denominator: f64,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    chart: Object<Inner<'a>>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(default, borrow)]
    result: Option<Vec<Object<Outcome<'a>>>>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(default, borrow)]
    meta: Option<Object<Meta<'a>>>,
    #[serde(default, borrow)]
    timestamp: Option<Vec<Scalar<'a>>>,
    #[serde(default, borrow)]
    events: Option<Object<Events<'a>>>,
    #[serde(default, borrow)]
    indicators: Option<Object<Indicators<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(default, borrow)]
    symbol: Scalar<'a>,
    #[serde(default, borrow)]
    currency: Scalar<'a>,
    #[serde(default, borrow)]
    regular_market_time: Scalar<'a>,
    #[serde(default, borrow)]
    current_trading_period: Option<Object<Periods<'a>>>,
}

#[derive(Deserialize)]
struct Periods<'a> {
    #[serde(default, borrow)]
    regular: Option<Object<Period<'a>>>,
}

#[derive(Deserialize)]
struct Period<'a> {
    #[serde(default, borrow)]
    start: Scalar<'a>,
    #[serde(default, borrow)]
    end: Scalar<'a>,
}

#[derive(Deserialize)]
struct Events<'a> {
    #[serde(default, borrow)]
    splits: Option<std::collections::BTreeMap<String, Object<Split<'a>>>>,
    #[serde(default, rename = "dividends")]
    _dividends: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Split<'a> {
    #[serde(default, borrow)]
    date: Scalar<'a>,
    #[serde(default, borrow)]
    numerator: Scalar<'a>,
    #[serde(default, borrow)]
    denominator: Scalar<'a>,
}

#[derive(Deserialize)]
struct Indicators<'a> {
    #[serde(default, borrow)]
    quote: Option<Vec<Object<Quote<'a>>>>,
}

#[derive(Deserialize, Default)]
struct Quote<'a> {
    #[serde(default, borrow)]
    open: Option<Vec<Scalar<'a>>>,
    #[serde(default, borrow)]
    high: Option<Vec<Scalar<'a>>>,
    #[serde(default, borrow)]
    low: Option<Vec<Scalar<'a>>>,
    #[serde(default, borrow)]
    close: Option<Vec<Scalar<'a>>>,
    #[serde(default, borrow)]
    volume: Option<Vec<Scalar<'a>>>,
}

/// Reads a chart. Without the key `timestamp` it is empty.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not JSON, holds no result, or its columns differ in length, because rows
/// would shift.
pub fn yahoo_chart(body: &[u8]) -> Result<Chart, FetchError> {
    let Object::<Body<'_>>(body) = serde_json::from_slice(body).map_err(|error| FetchError::body(&error))?;
    let wrong = |message: &str| FetchError::Body { message: message.to_owned() };
    let Object(outcome) = body
        .chart
        .0
        .result
        .and_then(|all| all.into_iter().next())
        .ok_or_else(|| wrong("chart has no result"))?;
    let mut chart = Chart::default();
    if let Some(Object(meta)) = outcome.meta {
        chart.symbol = meta.symbol.text();
        chart.currency = meta.currency.text();
        chart.market_time = meta.regular_market_time.whole();
        let regular = meta.current_trading_period.and_then(|periods| periods.0.regular);
        chart.regular = regular.and_then(|Object(period)| Some((period.start.whole()?, period.end.whole()?)));
    }
    let splits = outcome.events.and_then(|events| events.0.splits).unwrap_or_default();
    chart.splits = splits
        .into_values()
        .map(|Object(split)| ChartSplit {
            date: split.date.whole(),
            numerator: split.numerator.number(),
            denominator: split.denominator.number(),
        })
        .collect();
    let stamps = outcome.timestamp.unwrap_or_default();
    let quote = outcome.indicators.and_then(|all| all.0.quote).and_then(|all| all.into_iter().next());
    let quote = quote.map(|quote| quote.0).unwrap_or_default();
    let columns = [&quote.open, &quote.high, &quote.low, &quote.close, &quote.volume]
        .map(|column| column.as_deref().unwrap_or_default());
    if columns.iter().any(|column| column.len() != stamps.len()) {
        return Err(wrong("the columns of the chart differ in length"));
    }
    for (at, stamp) in stamps.iter().enumerate() {
        let mut values = [f64::NAN; Field::COUNT];
        for (value, column) in values.iter_mut().zip(columns) {
            *value = column[at].number();
        }
        if values[Field::Close.index()].is_nan() {
            chart.holes += 1;
            continue;
        }
        chart.rows.push("", stamp.whole().and_then(|seconds| seconds.checked_mul(1_000)), values);
    }
    Ok(chart)
}

/// Yahoo's own words of refusal: code and description, from either of the two places.
#[must_use]
pub fn yahoo_words(body: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Words<'a> {
        #[serde(default, borrow)]
        chart: Option<Object<Holder<'a>>>,
        #[serde(default, borrow)]
        finance: Option<Object<Holder<'a>>>,
    }
    #[derive(Deserialize)]
    struct Holder<'a> {
        #[serde(default, borrow)]
        error: Option<Object<Said<'a>>>,
    }
    #[derive(Deserialize)]
    struct Said<'a> {
        #[serde(default, borrow)]
        code: Scalar<'a>,
        #[serde(default, borrow)]
        description: Scalar<'a>,
    }
    let Object::<Words<'_>>(words) = serde_json::from_slice(body).ok()?;
    let Object(said) = words.chart.or(words.finance)?.0.error?;
    Some((said.code.text()?, said.description.text().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(result: &str) -> Result<Chart, FetchError> {
        yahoo_chart(format!("{{\"chart\":{{\"result\":[{result}],\"error\":null}}}}").as_bytes())
    }

    #[test]
    fn holes_go_by_row() {
        let read = chart(
            r#"{"meta":{"currency":"USD","symbol":"A","regularMarketTime":5,"currentTradingPeriod":
            {"regular":{"start":1,"end":9}}},"timestamp":[10,20,30,40],"events":{"dividends":{"1":{"amount":1}},
            "splits":{"20":{"date":20,"numerator":4,"denominator":1,"splitRatio":"4:1"}}},
            "indicators":{"quote":[{"open":[1,null,3,null],"high":[1,null,3,4],"low":[1,null,3,4],
            "close":[1,null,3.5,4],"volume":[7,null,9,1]}],"adjclose":[{"adjclose":[1,null,3,4]}]}}"#,
        )
        .unwrap();
        let rows: Vec<_> = read.rows.iter().map(|row| (row.stamp_ms, row.values[3])).collect();
        assert_eq!(rows, [(Some(10_000), 1.0), (Some(30_000), 3.5), (Some(40_000), 4.0)]);
        assert!(
            read.rows.iter().nth(2).unwrap().values[0].is_nan(),
            "a null beside a close is kept as missing"
        );
        assert_eq!((read.holes, read.market_time, read.regular), (1, Some(5), Some((1, 9))));
        assert_eq!(read.splits, [ChartSplit { date: Some(20), numerator: 4.0, denominator: 1.0 }]);
    }

    #[test]
    fn no_stamps_is_empty_and_shifted_columns_are_refused() {
        let empty = chart(r#"{"meta":{"symbol":"A"},"indicators":{"quote":[{}],"adjclose":[{}]}}"#).unwrap();
        assert!(empty.rows.is_empty() && empty.splits.is_empty());
        assert!(chart(r#"{"timestamp":[1,2],"indicators":{"quote":[{"open":[1]}]}}"#).is_err());
        assert!(yahoo_chart(br#"{"chart":{"result":null,"error":null}}"#).is_err());
        assert!(yahoo_chart(b"Edge: Too Many Requests").is_err());
    }

    #[test]
    fn words_come_from_both_places() {
        let words =
            yahoo_words(br#"{"chart":{"result":null,"error":{"code":"Not Found","description":"no"}}}"#);
        assert_eq!(words, Some(("Not Found".into(), "no".into())));
        let words =
            yahoo_words(br#"{"finance":{"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}"#);
        assert_eq!(words.unwrap().0, "Unauthorized");
        assert_eq!(yahoo_words(b"Edge: Too Many Requests"), None);
    }
}
