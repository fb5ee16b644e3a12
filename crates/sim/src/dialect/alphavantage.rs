//! Alpha Vantage: one path for every function, numbers as strings with four decimals, newest first, times of
//! New York without an offset, and errors and limits that are told with status 200.

use std::io::Write as _;
use std::time::Duration;

use panscan_core::calendar::Calendar;
use panscan_core::time::Timestamp;
use serde_json::json;

use crate::ask::{Answer, Ask};
use crate::config::Rate;
use crate::fault::FaultName;
use crate::market::{HOUR_MS, MINUTE_MS, Ohlcv, View};
use crate::number::text;

/// Points of a series unless all are asked for.
const COMPACT: usize = 100;
/// Days of a series within the day that reach without a month.
const TRAILING_DAYS: i64 = 30;

pub(super) fn template(segments: &[&str]) -> &'static str {
    match segments {
        ["alphavantage", "query"] => "/alphavantage/query",
        _ => "alphavantage other",
    }
}

fn information(text: &str) -> Answer {
    Answer::json(200, &json!({"Information": text}))
}

fn error(text: &str) -> Answer {
    Answer::json(200, &json!({"Error Message": text}))
}

fn bad_key() -> Answer {
    error(
        "the parameter apikey is invalid or missing. Please claim your free API key on \
         (https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds.",
    )
}

pub(super) fn caller(ask: &Ask, known: impl Fn(&str) -> bool) -> (String, Option<Answer>) {
    let key = ask.param("apikey").unwrap_or_default();
    (key.to_owned(), (key.is_empty() || !known(key)).then(bad_key))
}

/// A limit of a day is told in the words of 2025, one of minutes in those of 2018, and none in particular as
/// a burst.
pub(super) fn too_many(rate: Option<Rate>) -> Answer {
    const DAY: Duration = Duration::from_secs(86_400);
    let thanks = "Thank you for using Alpha Vantage!";
    match rate {
        Some(Rate { calls, window: DAY }) => information(&format!(
            "{thanks} Please consider spreading out your free API requests more sparingly. You may subscribe to any \
             of the premium plans at https://www.alphavantage.co/premium/ to lift the free key rate limit ({calls} \
             requests per day) and instantly unlock all premium endpoints"
        )),
        Some(Rate { calls, .. }) => {
            let text = format!(
                "{thanks} Our standard API call frequency is {calls} calls per minute and 500 calls per day. Please \
                 visit https://www.alphavantage.co/premium/ if you would like to target a higher API call frequency."
            );
            Answer::json(200, &json!({"Note": text}))
        }
        None => information(&format!(
            "{thanks} Please consider spreading out your free API requests more sparingly (1 request per second). You \
             may subscribe to a premium plan to raise the per-second burst limit"
        )),
    }
}

fn premium() -> Answer {
    information(
        "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of the premium plans \
         at https://www.alphavantage.co/premium/ to instantly unlock all premium endpoints",
    )
}

pub(super) fn instead(fault: FaultName) -> Option<Answer> {
    Some(match fault {
        FaultName::TooMany | FaultName::TooManyRetryAfter => too_many(None),
        FaultName::ServerError => Answer::json(500, &json!({"message": "Internal server error"})),
        FaultName::NotAuthorizedOk => premium(),
        FaultName::KeyRevoked => bad_key(),
        FaultName::NullResults => Answer::json(200, &json!({})),
        _ => return None,
    })
}

pub(super) fn answer(ask: &Ask) -> Result<Answer, Answer> {
    let function = ask.param("function").unwrap_or_default();
    if ask.segments.get(1).map(String::as_str) != Some("query") || ask.segments.len() != 2 {
        return Err(Answer::new(404, Vec::new()));
    }
    match function {
        "TIME_SERIES_DAILY" => daily(ask),
        "TIME_SERIES_INTRADAY" => intraday(ask),
        "GLOBAL_QUOTE" => quote(ask),
        "TIME_SERIES_DAILY_ADJUSTED" => Err(premium()),
        _ => Err(error(&format!("This API function ({function}) does not exist."))),
    }
}

fn invalid(function: &str) -> Answer {
    error(&format!(
        "Invalid API call. Please retry or visit the documentation (https://www.alphavantage.co/documentation/) for \
         {function}."
    ))
}

fn symbol(ask: &Ask, function: &str) -> Result<usize, Answer> {
    let name = ask.param("symbol").unwrap_or_default();
    ask.view.market.find(name).ok_or_else(|| invalid(function))
}

fn full(ask: &Ask, function: &str) -> Result<bool, Answer> {
    match ask.param("outputsize") {
        None | Some("" | "compact") => Ok(false),
        Some("full") => Ok(true),
        Some(_) => Err(invalid(function)),
    }
}

/// Date and, within the day, time in New York.
fn eastern(t: i64, with_time: bool) -> String {
    let calendar = Calendar::us_equities();
    let date = calendar.session_of(Timestamp::from_millis(t));
    if !with_time {
        return date.to_string();
    }
    let second = (t - calendar.midnight(date).as_millis()) / 1_000;
    format!("{date} {:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

fn daily(ask: &Ask) -> Result<Answer, Answer> {
    let function = "TIME_SERIES_DAILY";
    let symbol = symbol(ask, function)?;
    let full = full(ask, function)?;
    let market = &ask.view.market;
    let rows = market
        .sessions
        .iter()
        .enumerate()
        .rev()
        .filter_map(|(at, session)| Some((session.midnight, ask.view.day(symbol, at)?)));
    let rows: Vec<(i64, Ohlcv)> = rows.take(if full { usize::MAX } else { COMPACT }).collect();
    let about = "Daily Prices (open, high, low, close) and Volumes";
    let size = if full { "Full size" } else { "Compact" };
    let meta = [("1. Information", about), ("4. Output Size", size), ("5. Time Zone", "US/Eastern")];
    Ok(series(ask, "Time Series (Daily)", &meta, rows, false))
}

fn intraday(ask: &Ask) -> Result<Answer, Answer> {
    let function = "TIME_SERIES_INTRADAY";
    let symbol = symbol(ask, function)?;
    let full = full(ask, function)?;
    let interval = ask.param("interval").unwrap_or_default();
    let n: i64 = match interval {
        "1min" => 1,
        "5min" => 5,
        "15min" => 15,
        "30min" => 30,
        "60min" => 60,
        _ => return Err(invalid(function)),
    };
    let adjusted = ask.param("adjusted").unwrap_or("true") != "false";
    let view = &ask.view;
    let month = match ask.param("month") {
        None | Some("") => None,
        Some(text) => Some(format!("{text}-01").parse().map_err(|_| invalid(function))?),
    };
    let (from, to) = match month {
        Some(first) => {
            let next = (28..=31).map(|days| first_of(first, days)).find(Option::is_some).flatten();
            (midnight(first), next.map_or(i64::MAX, |next| midnight(next) - 1))
        }
        None => (view.now.as_millis() - TRAILING_DAYS * 24 * HOUR_MS, view.now.as_millis()),
    };
    let mut rows: Vec<(i64, Ohlcv)> = Vec::new();
    for at in view.market.sessions_between(from, to) {
        rows.extend(bars(view, symbol, at, n, adjusted));
    }
    rows.reverse();
    rows.truncate(if full { usize::MAX } else { COMPACT });
    let about = format!("Intraday ({interval}) open, high, low, close prices and volume");
    let size = if full { "Full size" } else { "Compact" };
    let meta = [
        ("1. Information", about.as_str()),
        ("4. Interval", interval),
        ("5. Output Size", size),
        ("6. Time Zone", "US/Eastern"),
    ];
    Ok(series(ask, &format!("Time Series ({interval})"), &meta, rows, true))
}

type Date = panscan_core::time::SessionDate;

fn midnight(date: Date) -> i64 {
    Calendar::us_equities().midnight(date).as_millis()
}

/// The first of the next month, if it is `days` after `first`.
fn first_of(first: Date, days: i32) -> Option<Date> {
    let next = first.plus(days);
    (next.ymd().1 != first.ymd().1).then_some(next)
}

/// One session's bars, counted from midnight.
fn bars(view: &View, symbol: usize, at: usize, n: i64, adjusted: bool) -> Vec<(i64, Ohlcv)> {
    let session = &view.market.sessions[at];
    let factor = if adjusted { view.factor(symbol, session.date) } else { 1.0 };
    let unit = n * MINUTE_MS;
    let start = |t: i64| session.midnight + (t - session.midnight).div_euclid(unit) * unit;
    view.minutes(symbol, at)
        .chunk_by(|a, b| start(a.0) == start(b.0))
        .filter_map(|part| {
            Some((start(part[0].0), Ohlcv::joined(part.iter().map(|row| row.1))?.scaled(factor)))
        })
        .collect()
}

fn price(x: f64) -> String {
    format!("{x:.4}")
}

/// A series, newest first, as the function's own key names it.
fn series(
    ask: &Ask,
    key: &str,
    about: &[(&str, &str)],
    mut rows: Vec<(i64, Ohlcv)>,
    with_time: bool,
) -> Answer {
    let tweaked = match ask.tweak {
        Some(FaultName::ReorderedRows) if rows.len() > 1 => {
            let middle = rows.len() / 2;
            rows.rotate_left(middle);
            true
        }
        Some(FaultName::DuplicateRows) if !rows.is_empty() => {
            rows.insert(1, rows[0]);
            true
        }
        Some(FaultName::EmptyPage) if !rows.is_empty() => {
            rows.clear();
            true
        }
        _ => false,
    };
    let count = rows.len() as u64;
    if ask.param("datatype") == Some("csv") {
        return Answer {
            rows: count,
            tweaked,
            content_type: "application/x-download",
            ..csv(&rows, with_time)
        };
    }
    let newest = rows.first().map(|row| eastern(row.0, with_time)).unwrap_or_default();
    let symbol = ask.param("symbol").unwrap_or_default();
    let mut meta: Vec<(&str, &str)> = about.to_vec();
    meta.extend([("2. Symbol", symbol), ("3. Last Refreshed", newest.as_str())]);
    meta.sort_unstable();
    let mut out = Vec::with_capacity(rows.len() * 170 + 512);
    out.extend_from_slice(b"{\n    \"Meta Data\": {");
    for (at, (name, value)) in meta.into_iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"\n        " } else { b",\n        " });
        text(&mut out, name);
        out.extend_from_slice(b": ");
        text(&mut out, value);
    }
    out.extend_from_slice(b"\n    },\n    ");
    text(&mut out, key);
    out.extend_from_slice(b": {");
    for (at, (t, bar)) in rows.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"\n        " } else { b",\n        " });
        text(&mut out, &eastern(*t, with_time));
        // writing to a Vec cannot fail
        let _ = write!(
            out,
            ": {{\"1. open\": \"{}\", \"2. high\": \"{}\", \"3. low\": \"{}\", \"4. close\": \"{}\", \
             \"5. volume\": \"{}\"}}",
            price(bar.o),
            price(bar.h),
            price(bar.l),
            price(bar.c),
            bar.v.floor() as i64
        );
    }
    out.extend_from_slice(b"\n    }\n}");
    Answer { rows: count, tweaked, ..Answer::new(200, out) }
}

fn csv(rows: &[(i64, Ohlcv)], with_time: bool) -> Answer {
    let mut out = b"timestamp,open,high,low,close,volume\r\n".to_vec();
    for (t, bar) in rows {
        let _ = write!(
            out,
            "{},{},{},{},{},{}\r\n",
            eastern(*t, with_time),
            price(bar.o),
            price(bar.h),
            price(bar.l),
            price(bar.c),
            bar.v.floor() as i64
        );
    }
    Answer::new(200, out)
}

fn quote(ask: &Ask) -> Result<Answer, Answer> {
    let view = &ask.view;
    let ended = (0..view.market.sessions.len()).rev().filter(|&at| view.ended(at));
    let symbol = view.market.find(ask.param("symbol").unwrap_or_default());
    let mut bars = symbol.into_iter().flat_map(|symbol| {
        ended.clone().filter_map(move |at| Some((view.market.sessions[at].date, view.day(symbol, at)?)))
    });
    // nothing held is an empty object, not an error
    let Some((date, bar)) = bars.next() else { return Ok(Answer::json(200, &json!({"Global Quote": {}}))) };
    let before = bars.next().map_or(bar.c, |row| row.1.c);
    let body = json!({"Global Quote": {
        "01. symbol": ask.param("symbol"),
        "02. open": price(bar.o),
        "03. high": price(bar.h),
        "04. low": price(bar.l),
        "05. price": price(bar.c),
        "06. volume": (bar.v.floor() as i64).to_string(),
        "07. latest trading day": date.to_string(),
        "08. previous close": price(before),
        "09. change": price(bar.c - before),
        "10. change percent": format!("{:.4}%", (bar.c / before - 1.0) * 100.0),
    }});
    Ok(Answer { rows: 1, ..Answer::json(200, &body) })
}
