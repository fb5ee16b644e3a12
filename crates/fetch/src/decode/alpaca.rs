//! A page of Alpaca's bars: a map from symbol to rows, and the token of the next page.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use panscan_core::time::Timestamp;

use super::Rows;
use super::typed::{Object, Scalar};
use crate::error::FetchError;

/// One page, as sent.
#[derive(Debug, Clone, Default)]
pub struct AlpacaPage {
    /// The rows, each with its symbol; stamps are the starts of the bars.
    pub rows: Rows,
    /// What the next page is asked for with; `None` on the last one.
    pub next_token: Option<String>,
}

#[derive(Deserialize)]
struct Body<'a> {
    /// Absent is no page of bars; null is a page without any.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    bars: Option<Bars<'a>>,
    #[serde(default, borrow)]
    next_page_token: Scalar<'a>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default, borrow)]
    t: Scalar<'a>,
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
    vw: Scalar<'a>,
    #[serde(default, borrow)]
    n: Scalar<'a>,
}

struct Bars<'a>(Vec<(Cow<'a, str>, Vec<Object<Line<'a>>>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Bars<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BySymbol)
    }
}

struct BySymbol;

impl<'de> Visitor<'de> for BySymbol {
    type Value = Bars<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from symbols to bars")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut bars = Vec::new();
        while let Some(name) = map.next_key::<Name<'de>>()? {
            bars.push((name.0, map.next_value::<Option<Vec<Object<Line<'de>>>>>()?.unwrap_or_default()));
        }
        Ok(Bars(bars))
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a page.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not JSON or has no `bars`.
pub fn alpaca_bars(body: &[u8]) -> Result<AlpacaPage, FetchError> {
    let Object::<Body<'_>>(body) = serde_json::from_slice(body).map_err(|error| FetchError::body(&error))?;
    let mut rows = Rows::default();
    for (symbol, lines) in body.bars.map(|bars| bars.0).unwrap_or_default() {
        for Object(line) in lines {
            let stamp = line.t.as_text().and_then(|text| text.parse::<Timestamp>().ok());
            let numbers = [&line.o, &line.h, &line.l, &line.c, &line.v, &line.vw, &line.n];
            rows.push(&symbol, stamp.map(Timestamp::as_millis), numbers.map(Scalar::number));
        }
    }
    Ok(AlpacaPage { rows, next_token: body.next_page_token.text().filter(|token| !token.is_empty()) })
}

/// Alpaca's own words of refusal, as `code: message` or one of the two.
#[must_use]
pub fn alpaca_words(body: &[u8]) -> (Option<i64>, Option<String>) {
    #[derive(Deserialize)]
    struct Words<'a> {
        #[serde(default, borrow)]
        code: Scalar<'a>,
        #[serde(default, borrow)]
        message: Scalar<'a>,
    }
    match serde_json::from_slice(body) {
        Ok(Object(Words { code, message })) => (code.whole(), message.text()),
        Err(_) => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_many_symbols_and_the_token() {
        let body =
            br#"{"bars":{"AAPL":[{"t":"2021-10-13T04:00:00Z","o":141.21,"h":141.4,"l":139.2,"c":140.91,
            "v":78993712,"n":595435,"vw":140.361873,"new":[1]}],"NIO":null,"X":[{"t":7,"o":"x"}]},
            "next_page_token":"TUVUQQ==","currency":"USD"}"#;
        let page = alpaca_bars(body).unwrap();
        let rows: Vec<_> = page.rows.iter().collect();
        assert_eq!((rows.len(), page.next_token.as_deref()), (2, Some("TUVUQQ==")));
        assert_eq!((rows[0].ticker, rows[0].stamp_ms), ("AAPL", Some(1_634_097_600_000)));
        assert_eq!(rows[0].values, [141.21, 141.4, 139.2, 140.91, 78_993_712.0, 140.361873, 595_435.0]);
        assert!(rows[1].stamp_ms.is_none() && rows[1].values[0].is_infinite() && rows[1].values[3].is_nan());
    }

    #[test]
    fn an_empty_page_is_one_and_anything_else_is_none() {
        for empty in [r#"{"bars":{},"next_page_token":null}"#, r#"{"bars":null}"#, r#"{"bars":{"A":[]}}"#] {
            let page = alpaca_bars(empty.as_bytes()).unwrap();
            assert!(page.rows.is_empty() && page.next_token.is_none(), "{empty}");
        }
        for none in [r#"{"message":"unauthorized"}"#, "[]", "<html>", r#"{"bars":[]}"#, ""] {
            assert!(alpaca_bars(none.as_bytes()).is_err(), "{none}");
        }
        assert_eq!(
            alpaca_words(br#"{"code":42210000,"message":"no"}"#),
            (Some(42_210_000), Some("no".into()))
        );
        assert_eq!(alpaca_words(b"Bad Gateway"), (None, None));
    }
}
