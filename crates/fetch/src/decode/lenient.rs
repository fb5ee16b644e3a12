//! What small answers share: objects of which any part may be absent or of another type than documented, and the
//! numbers in them.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::typed::Scalar;

/// An object, or nothing where anything else stands.
pub(super) struct Maybe<T>(pub(super) Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnObjectOrNot(PhantomData))
    }
}

struct AnObjectOrNot<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnObjectOrNot<T> {
    type Value = Maybe<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Maybe(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Maybe(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|object| Maybe(Some(object)))
    }
}

/// An answer about one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct One<T> {
    /// `OK`, `DELAYED`, `ERROR`, `NOT_AUTHORIZED`, ...
    pub status: Option<String>,
    /// What it says went wrong.
    pub message: Option<String>,
    /// The thing; `None` where the answer holds none that can be read.
    pub row: Option<T>,
}

/// A number that is one and above zero. The provider writes zero for what it does not have.
pub(super) fn above_zero(value: &Scalar<'_>) -> Option<f64> {
    Some(value.number()).filter(|x| x.is_finite() && *x > 0.0)
}

/// A number that is one.
pub(super) fn finite(value: &Scalar<'_>) -> Option<f64> {
    Some(value.number()).filter(|x| x.is_finite())
}

/// A text with something in it.
pub(super) fn filled(value: Scalar<'_>) -> Option<String> {
    value.text().filter(|text| !text.trim().is_empty())
}

/// Shares as a decimal text where there is one, which is exact, and else as the number beside it.
pub(super) fn shares(decimal: &Scalar<'_>, number: &Scalar<'_>) -> Option<f64> {
    let exact = decimal.as_text().and_then(|text| text.trim().parse::<f64>().ok());
    exact.filter(|x| x.is_finite() && *x >= 0.0).or_else(|| finite(number).filter(|x| *x >= 0.0))
}
