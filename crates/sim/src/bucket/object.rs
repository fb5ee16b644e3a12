//! What the flat files hold: a day's or a day's minutes' raw bars of every symbol, as compressed CSV.
//!
//! A file is there from 11:00 Eastern of the day after its session on. The few that were asked for last are
//! kept, as a file of minutes takes a while to make.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use panscan_core::calendar::Calendar;
use panscan_core::time::SessionDate;

use crate::market::{Changes, HOUR_MS, Ohlcv, View};
use crate::number::{Spelling, integer, number};
use crate::rng::hash;

/// The first line; the order of the prices is the provider's.
const HEADER: &[u8] = b"ticker,volume,open,close,high,low,window_start,transactions\n";
/// When a file appears: 11:00 of the next day.
const READY_MS: i64 = 11 * HOUR_MS;
/// Files kept.
const KEPT_MAX: usize = 8;

/// Which interval the bars of a file have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Day,
    Minute,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Self::Day => "day_aggs_v1",
            Self::Minute => "minute_aggs_v1",
        }
    }
}

/// A key that an object can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    kind: Kind,
    date: SessionDate,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, _) = self.date.ymd();
        write!(f, "us_stocks_sip/{}/{year:04}/{month:02}/{}.csv.gz", self.kind.folder(), self.date)
    }
}

impl Key {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let date = text.rsplit('/').next()?.strip_suffix(".csv.gz")?.parse().ok()?;
        [Kind::Day, Kind::Minute]
            .into_iter()
            .map(|kind| Self { kind, date })
            .find(|key| key.to_string() == text)
    }

    /// Every key there is now, ascending.
    pub(crate) fn all(view: &View) -> impl Iterator<Item = Self> {
        [Kind::Day, Kind::Minute].into_iter().flat_map(move |kind| {
            let dates = view.market.sessions.iter().map(|session| session.date);
            dates.map(move |date| Self { kind, date }).filter(|key| key.ready(view))
        })
    }

    fn ready_at(self) -> i64 {
        Calendar::us_equities().midnight(self.date.plus(1)).as_millis() + READY_MS
    }

    fn ready(self, view: &View) -> bool {
        view.now.as_millis() >= self.ready_at()
    }
}

/// A file.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) body: Bytes,
    /// In quotes.
    pub(crate) etag: String,
    /// As an HTTP header says it.
    pub(crate) modified: String,
    /// As a list says it.
    pub(crate) published: String,
}

struct Kept {
    key: Key,
    changes: Arc<Changes>,
    object: Object,
}

/// The files, made when asked for.
#[derive(Default)]
pub(crate) struct Objects(Mutex<Vec<Kept>>);

impl Objects {
    /// The file under `key`; `None` where there is none, or not yet.
    pub(crate) fn get(&self, view: &View, key: Key) -> Option<Object> {
        if !key.ready(view) {
            return None;
        }
        let session = view.market.session(key.date)?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // a change of the market publishes files again
        kept.retain(|kept| Arc::ptr_eq(&kept.changes, &view.changes));
        if let Some(at) = kept.iter().position(|kept| kept.key == key) {
            let found = kept.remove(at);
            let object = found.object.clone();
            kept.push(found);
            return Some(object);
        }
        let body = pack(&text(view, session, key.kind))?;
        let object = Object {
            etag: format!("\"{:016x}{:016x}\"", hash(&body, 1), hash(&body, 2)),
            body: Bytes::from(body),
            modified: http_date(key.ready_at()),
            published: panscan_core::time::Timestamp::from_millis(key.ready_at()).to_string(),
        };
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Kept { key, changes: Arc::clone(&view.changes), object: object.clone() });
        Some(object)
    }
}

fn text(view: &View, session: usize, kind: Kind) -> Vec<u8> {
    let at = view.market.sessions[session];
    let mut out = HEADER.to_vec();
    for (symbol, listing) in view.market.listings.iter().enumerate() {
        let mut row = |start_ms: i64, bar: &Ohlcv| {
            out.extend_from_slice(listing.symbol.as_str().as_bytes());
            for value in [bar.v, bar.o, bar.c, bar.h, bar.l] {
                out.push(b',');
                if !value.is_nan() {
                    number(&mut out, value, Spelling::Plain);
                }
            }
            out.push(b',');
            integer(&mut out, start_ms * 1_000_000);
            out.push(b',');
            if !bar.n.is_nan() {
                number(&mut out, bar.n, Spelling::Plain);
            }
            out.push(b'\n');
        };
        match kind {
            Kind::Day => view.day(symbol, session).iter().for_each(|bar| row(at.midnight, bar)),
            Kind::Minute => view.minutes(symbol, session).iter().for_each(|(start, bar)| row(*start, bar)),
        }
    }
    out
}

fn pack(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 3 + 64), Compression::fast());
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}

/// `Tue, 15 Nov 1994 12:45:26 GMT`
fn http_date(ms: i64) -> String {
    let seconds = ms.div_euclid(1_000);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = SessionDate::from_days(i32::try_from(days).unwrap_or(0)).ymd();
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days.rem_euclid(7) as usize];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[usize::from(month.unsigned_abs()).clamp(1, 12) - 1];
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_nothing_else_is_one() {
        let text = "us_stocks_sip/minute_aggs_v1/2025/04/2025-04-16.csv.gz";
        assert_eq!(Key::parse(text).unwrap().to_string(), text);
        for other in
            ["us_stocks_sip/minute_aggs_v1/2025/05/2025-04-16.csv.gz", "2025-04-16.csv.gz", "", "a/b"]
        {
            assert_eq!(Key::parse(other), None, "{other}");
        }
    }

    #[test]
    fn dates_of_headers() {
        assert_eq!(http_date(784_903_526_000), "Tue, 15 Nov 1994 12:45:26 GMT");
    }
}
