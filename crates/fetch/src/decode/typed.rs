//! The general decoder of aggregates: serde_json, lenient about the type of what is only passed on, and
//! about a single number that is none.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::number::whole;
use super::{Aggregates, Rows};
use crate::error::FetchError;

/// Reads a page of aggregates of any shape that JSON allows.
pub(super) fn decode(body: &[u8]) -> Result<Aggregates, FetchError> {
    let Object::<Body<'_>>(body) = serde_json::from_slice(body).map_err(|error| FetchError::body(&error))?;
    Ok(Aggregates {
        ticker: body.ticker.text(),
        adjusted: body.adjusted.flag(),
        status: body.status.text(),
        request_id: body.request_id.label(),
        message: body.message.text().or(body.error.text()),
        next_url: body.next_url.text(),
        results_count: body.results_count.whole().and_then(|n| u64::try_from(n).ok()),
        query_count: body.query_count.whole().and_then(|n| u64::try_from(n).ok()),
        empty_results: matches!(&body.results, Results(Some(rows)) if rows.is_empty()),
        rows: body.results.0.unwrap_or_default(),
    })
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default, borrow)]
    ticker: Scalar<'a>,
    #[serde(default, borrow)]
    adjusted: Scalar<'a>,
    #[serde(default, borrow)]
    status: Scalar<'a>,
    #[serde(default, borrow)]
    request_id: Scalar<'a>,
    #[serde(default, borrow)]
    message: Scalar<'a>,
    #[serde(default, borrow)]
    error: Scalar<'a>,
    #[serde(default, borrow)]
    next_url: Scalar<'a>,
    #[serde(default, borrow, rename = "resultsCount")]
    results_count: Scalar<'a>,
    #[serde(default, borrow, rename = "queryCount")]
    query_count: Scalar<'a>,
    #[serde(default)]
    results: Results,
}

#[derive(Deserialize)]
struct Line<'a> {
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
    #[serde(default, borrow)]
    t: Scalar<'a>,
    #[serde(default, borrow, rename = "T")]
    ticker: Scalar<'a>,
}

/// An object. A derived struct would take a list as well, its elements for the fields in the order of the
/// code.
#[derive(Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnObject(PhantomData))
    }
}

struct AnObject<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnObject<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// A value of any type; lists and objects are stepped over.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Scalar<'a> {
    #[default]
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Other,
}

impl Scalar<'_> {
    /// A number; absent and null are NaN, anything else is infinite so that its bar is refused.
    pub(super) fn number(&self) -> f64 {
        match self {
            Self::Null => f64::NAN,
            Self::Unsigned(n) => *n as f64,
            Self::Signed(n) => *n as f64,
            Self::Float(n) => *n,
            Self::Bool(_) | Self::Text(_) | Self::Other => f64::INFINITY,
        }
    }

    /// A whole number.
    pub(super) fn whole(&self) -> Option<i64> {
        match self {
            Self::Unsigned(n) => i64::try_from(*n).ok(),
            Self::Signed(n) => Some(*n),
            Self::Float(n) => whole(*n),
            _ => None,
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        if let Self::Bool(flag) = self { Some(*flag) } else { None }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text.into_owned()) } else { None }
    }

    /// Text, or a whole number as text: some answers number their requests.
    pub(super) fn label(self) -> Option<String> {
        match self {
            Self::Unsigned(n) => Some(n.to_string()),
            other => other.text(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Signed(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// The rows; `None` where the key is absent.
#[derive(Default)]
struct Results(Option<Rows>);

impl<'de> Deserialize<'de> for Results {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyRows)
    }
}

struct AnyRows;

impl<'de> Visitor<'de> for AnyRows {
    type Value = Results;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Results(Some(Rows::default())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut rows = Rows::default();
        while let Some(Object(line)) = seq.next_element::<Object<Line<'de>>>()? {
            let numbers = [&line.o, &line.h, &line.l, &line.c, &line.v, &line.vw, &line.n];
            rows.push(line.ticker.as_text().unwrap_or_default(), line.t.whole(), numbers.map(Scalar::number));
        }
        Ok(Results(Some(rows)))
    }
}
