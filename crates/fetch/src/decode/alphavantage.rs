//! Alpha Vantage: a series under a key that depends on the function, numbers as text, times of New York
//! without an offset, and refusals with status 200.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use panscan_core::calendar::Calendar;
use panscan_core::time::SessionDate;

use super::Rows;
use super::typed::{Object, Scalar};
use crate::error::FetchError;

/// What stands in place of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `Note` or `Information`: the rate or the plan, by its text.
    Limit(String),
    /// `Error Message`: a wrong call, an unknown symbol or a bad key, by its text.
    Error(String),
}

/// Reads what stands in place of data; `None` where it is neither of the three.
#[must_use]
pub fn alpha_vantage_notice(body: &[u8]) -> Option<Notice> {
    #[derive(Deserialize)]
    struct Said<'a> {
        #[serde(default, borrow, rename = "Note")]
        note: Scalar<'a>,
        #[serde(default, borrow, rename = "Information")]
        information: Scalar<'a>,
        #[serde(default, borrow, rename = "Error Message")]
        error: Scalar<'a>,
    }
    let Object::<Said<'_>>(said) = serde_json::from_slice(body).ok()?;
    let limit = said.note.text().or(said.information.text()).map(Notice::Limit);
    said.error.text().map(Notice::Error).or(limit)
}

/// One object in which the key of the series is looked for; all other keys are stepped over.
struct Body(Option<Rows>);

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnyKeys)
    }
}

struct AnyKeys;

impl<'de> Visitor<'de> for AnyKeys {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut rows = None;
        while let Some(name) = map.next_key::<Name<'de>>()? {
            if name.0.starts_with("Time Series (") {
                rows = Some(map.next_value::<Series>()?.0);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Body(rows))
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Series(Rows);

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByTime)
    }
}

struct ByTime;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default, borrow, rename = "1. open")]
    open: Scalar<'a>,
    #[serde(default, borrow, rename = "2. high")]
    high: Scalar<'a>,
    #[serde(default, borrow, rename = "3. low")]
    low: Scalar<'a>,
    #[serde(default, borrow, rename = "4. close")]
    close: Scalar<'a>,
    #[serde(default, borrow, rename = "5. volume")]
    volume: Scalar<'a>,
}

impl<'de> Visitor<'de> for ByTime {
    type Value = Series;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from times to bars")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut rows = Rows::default();
        while let Some((time, Object(line))) = map.next_entry::<Name<'de>, Object<Line<'de>>>()? {
            let columns = [&line.open, &line.high, &line.low, &line.close, &line.volume];
            let [open, high, low, close, volume] = columns.map(number);
            rows.push("", eastern(&time.0), [open, high, low, close, volume, f64::NAN, f64::NAN]);
        }
        Ok(Series(rows))
    }
}

/// A number as text; what is no number is infinite, so that its bar is refused.
fn number(value: &Scalar<'_>) -> f64 {
    match value.as_text() {
        Some(text) => text.trim().parse().ok().filter(|x: &f64| x.is_finite()).unwrap_or(f64::INFINITY),
        None => value.number(),
    }
}

/// Milliseconds of a date, or of a date and a time with or without seconds, in New York.
fn eastern(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ').unwrap_or((text, "00:00"));
    let midnight = Calendar::us_equities().midnight(date.parse::<SessionDate>().ok()?).as_millis();
    let mut parts = time.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    // Clocks change on Sundays at night, when there is no bar.
    let in_day = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    in_day.then(|| midnight + ((hour * 60 + minute) * 60 + second) * 1_000)
}

/// Reads a series of bars, newest first as it is sent.
///
/// # Errors
///
/// [`FetchError::Body`] when it is not JSON or has no series: success is that the key is there.
pub fn alpha_vantage_series(body: &[u8]) -> Result<Rows, FetchError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| FetchError::body(&error))?;
    body.0.ok_or_else(|| FetchError::Body { message: "there is no time series in it".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_text_in_the_time_of_new_york() {
        let body = br#"{"Meta Data":{"1. Information":"x","6. Time Zone":"US/Eastern"},"Time Series (1min)":{
            "2017-12-18 14:56:00":{"1. open":"86.4900","2. high":"86.5000","3. low":"86.4750","4. close":"86.5000",
            "5. volume":"10494"},"2017-07-18 14:55":{"1. open":"x"},"soon":{}}}"#;
        let rows = alpha_vantage_series(body).unwrap();
        let rows: Vec<_> = rows.iter().collect();
        let stamp = |at: usize| rows[at].stamp_ms;
        assert_eq!((stamp(0), stamp(1), stamp(2)), (Some(1_513_626_960_000), Some(1_500_404_100_000), None));
        assert_eq!(rows[0].values[..5], [86.49, 86.5, 86.475, 86.5, 10_494.0]);
        assert!(rows[0].values[5].is_nan());
        assert!(rows[1].values[0].is_infinite() && rows[1].values[3].is_nan());
        assert_eq!(eastern("2017-12-18"), Some(1_513_573_200_000));
        for bad in [
            "2017-12-18 24:00",
            "2017-12-18 1",
            "2017-12-18 a:b",
            "2017-12-18 999999999999999999:00",
            "18.12.2017",
            "",
        ] {
            assert_eq!(eastern(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_series_is_a_notice_or_an_error() {
        for none in [r#"{"Note":"5 per minute"}"#, "{}", "[]", "<html>", r#"{"Time Series (Daily)":[]}"#] {
            assert!(alpha_vantage_series(none.as_bytes()).is_err(), "{none}");
        }
        assert!(alpha_vantage_series(br#"{"Time Series (Daily)":{}}"#).unwrap().is_empty());
        let notice = |text: &str| alpha_vantage_notice(text.as_bytes());
        assert_eq!(notice(r#"{"Note":"a"}"#), Some(Notice::Limit("a".into())));
        assert_eq!(notice(r#"{"Information":"b"}"#), Some(Notice::Limit("b".into())));
        assert_eq!(notice(r#"{"Error Message":"c"}"#), Some(Notice::Error("c".into())));
        assert_eq!(notice(r#"{"Global Quote":{}}"#), None);
    }
}
