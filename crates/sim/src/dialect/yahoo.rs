//! Yahoo's chart: stamps in seconds, parallel arrays with null holes, prices adjusted for splits and as wide
//! as an f32, no key, and a rate that is refused in plain text.

use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use panscan_core::calendar::Calendar;
use panscan_core::time::{SessionDate, Timestamp};
use serde_json::{Map, Value, json};

use crate::ask::{Answer, Ask};
use crate::fault::FaultName;
use crate::market::{HOUR_MS, MINUTE_MS, Ohlcv, View};

/// Days of minutes that one call may cover, and how far back they reach; longer bars within a day reach
/// twice as far.
const MINUTE_DAYS: i64 = 8;
const MINUTE_REACH_DAYS: i64 = 30;
const DAY_S: i64 = 86_400;
/// Calls that ask for less than this get daily stamps from after the close.
const SHORT_S: i64 = 5 * DAY_S;

pub(super) fn template(segments: &[&str]) -> &'static str {
    match segments {
        ["yahoo", "v8", "finance", "chart", _] => "/yahoo/v8/finance/chart/{symbol}",
        _ => "yahoo other",
    }
}

/// Callers are told apart by nothing that they send; who does not look like a browser is turned away.
pub(super) fn caller(headers: &HeaderMap) -> (String, Option<Answer>) {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ("address".to_owned(), (!agent.starts_with("Mozilla/")).then(too_many))
}

pub(super) fn too_many() -> Answer {
    Answer { content_type: "text/plain", ..Answer::new(429, b"Edge: Too Many Requests".to_vec()) }
}

fn failed(status: u16, code: &str, description: &str) -> Answer {
    let error = json!({"code": code, "description": description});
    Answer::json(status, &json!({"chart": {"result": null, "error": error}}))
}

pub(super) fn instead(fault: FaultName) -> Option<Answer> {
    Some(match fault {
        FaultName::ServerError => failed(500, "internal-error", "Internal Server Error"),
        FaultName::KeyRevoked => {
            let error = json!({"code": "Unauthorized", "description": "Invalid Crumb"});
            Answer::json(401, &json!({"finance": {"result": null, "error": error}}))
        }
        FaultName::NullResults => Answer::json(200, &json!({"chart": {"result": null, "error": null}})),
        _ => return None,
    })
}

/// How wide a bar is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interval {
    Minutes(i64),
    Day,
    Week,
    Months(i64),
}

impl Interval {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "1m" => Self::Minutes(1),
            "2m" => Self::Minutes(2),
            "5m" => Self::Minutes(5),
            "15m" => Self::Minutes(15),
            "30m" => Self::Minutes(30),
            "60m" | "1h" => Self::Minutes(60),
            "90m" => Self::Minutes(90),
            "1d" => Self::Day,
            "1wk" => Self::Week,
            "1mo" => Self::Months(1),
            "3mo" => Self::Months(3),
            _ => return None,
        })
    }

    /// The first day of the stretch that a session belongs to.
    fn first_day(self, date: SessionDate) -> SessionDate {
        match self {
            Self::Minutes(_) | Self::Day => date,
            Self::Week => date.plus(-i32::from(date.weekday())),
            Self::Months(months) => {
                let (year, month, _) = date.ymd();
                let months = i8::try_from(months).unwrap_or(1);
                let first = (month - 1) / months * months + 1;
                SessionDate::from_ymd(year, first, 1).unwrap_or(date)
            }
        }
    }
}

/// A row: its stamp in seconds and its bar, or a hole.
type Row = (i64, Option<Ohlcv>);

pub(super) fn answer(ask: &Ask) -> Result<Answer, Answer> {
    let path: Vec<&str> = ask.segments.iter().map(String::as_str).collect();
    let [_, "v8", "finance", "chart", ticker] = path[..] else {
        return Err(failed(404, "Not Found", "no such path"));
    };
    let view = &ask.view;
    let now = view.now.as_seconds();
    let text = ask.param("interval").unwrap_or("1d");
    let interval = Interval::parse(text).ok_or_else(|| {
        failed(422, "Unprocessable Entity", &format!("Invalid input - interval={text} is not supported."))
    })?;
    let (from, to) = span(ask, now)?;
    if let Interval::Minutes(n) = interval {
        reach(n, from, to, now)?;
    }
    // A dot in a symbol is a dash here.
    let name = ticker.replace('-', ".");
    let found = if ticker.contains('.') {
        None
    } else {
        view.market.find(ticker).or_else(|| view.market.find(&name))
    };
    let symbol = found.ok_or_else(|| failed(404, "Not Found", "No data found, symbol may be delisted"))?;

    let mut rows = match interval {
        Interval::Minutes(n) => minutes(view, symbol, n, from, to),
        Interval::Day | Interval::Week | Interval::Months(_) => days(view, symbol, interval, from, to),
    };
    let tweaked = damaged(ask, &mut rows);
    let count = rows.iter().filter(|row| row.1.is_some()).count() as u64;
    let events = events(ask, symbol, from, to);
    let mut result = json!({
        "meta": meta(view, symbol, ticker, text, ask.param("range").unwrap_or_default()),
        "indicators": indicators(&rows, !matches!(interval, Interval::Minutes(_))),
    });
    // nothing held: the key is left out
    if !rows.is_empty() {
        result["timestamp"] = rows.iter().map(|row| row.0).collect();
    }
    if !events.is_empty() {
        result["events"] = events.into();
    }
    let body = json!({"chart": {"result": [result], "error": null}});
    Ok(Answer { rows: count, tweaked, ..Answer::json(200, &body) })
}

/// The seconds asked for, the end not included.
fn span(ask: &Ask, now: i64) -> Result<(i64, i64), Answer> {
    let bad = |text: &str| failed(400, "Bad Request", &format!("Invalid input - {text}"));
    let second = |name: &str| match ask.param(name) {
        None | Some("") => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| bad(name)),
    };
    if let Some(from) = second("period1")? {
        let to = second("period2")?.unwrap_or(now);
        if from >= to || to.abs() > 9_000_000_000 {
            return Err(bad("start date cannot be after end date."));
        }
        return Ok((from, to));
    }
    let days = match ask.param("range").unwrap_or("1d") {
        "1d" => 1,
        "5d" => 7,
        "1mo" => 31,
        "3mo" => 92,
        "6mo" => 183,
        "1y" => 366,
        "2y" => 731,
        "5y" => 1_827,
        "10y" => 3_653,
        "max" => 20_000,
        other => return Err(bad(&format!("range={other} is not supported."))),
    };
    Ok((now - days * DAY_S, now + 1))
}

/// Refuses bars within a day that are too many or too old.
fn reach(n: i64, from: i64, to: i64, now: i64) -> Result<(), Answer> {
    let days = if n == 1 { MINUTE_REACH_DAYS } else { 2 * MINUTE_REACH_DAYS };
    let refused = |rule: &str| {
        let text = format!("{n}m data not available for startTime={from} and endTime={to}. {rule}");
        Err(failed(422, "Unprocessable Entity", &text))
    };
    if n == 1 && to - from > MINUTE_DAYS * DAY_S {
        return refused("Only 8 days worth of 1m granularity data are allowed to be fetched per request.");
    }
    if from < now - days * DAY_S {
        return refused(&format!("The requested range must be within the last {days} days."));
    }
    Ok(())
}

/// The bars of sessions or longer, adjusted for splits. A session between two bars that has none is a hole.
fn days(view: &View, symbol: usize, interval: Interval, from: i64, to: i64) -> Vec<Row> {
    let market = &view.market;
    let first = market.sessions.partition_point(|session| session.open / 1_000 < from);
    let end = market.sessions.partition_point(|session| session.open / 1_000 < to);
    let mut rows: Vec<(SessionDate, i64, Option<Ohlcv>)> = Vec::new();
    for at in first..end.max(first) {
        let session = &market.sessions[at];
        if session.open > view.now.as_millis() {
            break;
        }
        let factor = view.factor(symbol, session.date);
        let bar = view.day(symbol, at).map(|bar| bar.scaled(factor));
        let running = !view.ended(at);
        let (stamp, bar) = if running {
            // the session that runs: what there is of it so far, stamped now
            let so_far = view.minutes(symbol, at).into_iter().map(|row| row.1);
            (view.now.as_seconds(), Ohlcv::joined(so_far))
        } else if to - from < SHORT_S {
            (session.close / 1_000 + 300, bar)
        } else {
            (session.open / 1_000, bar)
        };
        rows.push((session.date, stamp, bar));
    }
    let known = |row: &(SessionDate, i64, Option<Ohlcv>)| row.2.is_some();
    let begin = rows.iter().position(known).unwrap_or(rows.len());
    let stop = rows.iter().rposition(known).map_or(begin, |last| last + 1);
    let rows = &rows[begin..stop];
    if interval == Interval::Day {
        return rows.iter().map(|row| (row.1, row.2)).collect();
    }
    rows.chunk_by(|a, b| interval.first_day(a.0) == interval.first_day(b.0))
        .map(|part| {
            let first = Calendar::us_equities().midnight(interval.first_day(part[0].0));
            (first.as_seconds(), Ohlcv::joined(part.iter().filter_map(|row| row.2)))
        })
        .collect()
}

/// Bars within the day, counted from the open. A minute without a trade is a hole.
fn minutes(view: &View, symbol: usize, n: i64, from: i64, to: i64) -> Vec<Row> {
    let market = &view.market;
    let mut rows: Vec<Row> = Vec::new();
    for at in market.sessions_between((from - DAY_S).saturating_mul(1_000), to.saturating_mul(1_000)) {
        let session = &market.sessions[at];
        let factor = view.factor(symbol, session.date);
        let known = view.minutes(symbol, at);
        let Some(last) = known.last().map(|row| row.0) else { continue };
        let place = |t: i64| (t - session.open).div_euclid(n * MINUTE_MS);
        let mut parts = known.chunk_by(|a, b| place(a.0) == place(b.0)).peekable();
        for slot in 0..=place(last) {
            let stamp = (session.open + slot * n * MINUTE_MS) / 1_000;
            let part = parts.next_if(|part| place(part[0].0) <= slot);
            if (from..to).contains(&stamp) {
                let bar = part.and_then(|part| Ohlcv::joined(part.iter().map(|row| row.1)));
                rows.push((stamp, bar.map(|bar| bar.scaled(factor))));
            }
        }
    }
    rows
}

fn damaged(ask: &Ask, rows: &mut Vec<Row>) -> bool {
    let (Some(fault), Some(&first), Some(&last)) = (ask.tweak, rows.first(), rows.last()) else {
        return false;
    };
    match fault {
        FaultName::DuplicateRows => {
            rows.insert(1, first);
            rows.push(last);
        }
        FaultName::ReorderedRows => {
            let middle = rows.len() / 2;
            rows.rotate_left(middle);
        }
        FaultName::RowOutside => rows.insert(0, (first.0 - 400 * DAY_S, last.1)),
        FaultName::EmptyPage => rows.clear(),
        _ => return false,
    }
    true
}

/// Splits within the seconds asked for, under the stamp of their session's open.
fn events(ask: &Ask, symbol: usize, from: i64, to: i64) -> Map<String, Value> {
    let wanted = ask.param("events").unwrap_or_default();
    if !wanted.split(['|', ',']).any(|name| name == "split" || name == "splits") {
        return Map::new();
    }
    let calendar = Calendar::us_equities();
    let whole = |x: f64| if x.fract() == 0.0 { json!(x as i64) } else { json!(x) };
    let splits: Map<String, Value> = ask
        .view
        .splits_of(symbol)
        .filter(|split| split.date <= ask.view.today())
        .map(|split| (calendar.open(split.date).as_seconds(), split))
        .filter(|(stamp, _)| (from..to).contains(stamp))
        .map(|(stamp, split)| {
            let event = json!({
                "date": stamp,
                "numerator": whole(split.to),
                "denominator": whole(split.from),
                "splitRatio": format!("{}:{}", split.to, split.from),
            });
            (stamp.to_string(), event)
        })
        .collect();
    if splits.is_empty() { Map::new() } else { Map::from_iter([("splits".to_owned(), splits.into())]) }
}

/// As wide as an f32, written with all the digits that this has as an f64.
fn widened(x: f64) -> Value {
    json!(f64::from(x as f32))
}

fn indicators(rows: &[Row], with_adjusted: bool) -> Value {
    if rows.is_empty() {
        return json!({"quote": [{}], "adjclose": [{}]});
    }
    let column = |of: fn(&Ohlcv) -> Value| -> Value {
        rows.iter().map(|row| row.1.as_ref().map_or(Value::Null, of)).collect()
    };
    let quote = json!([{
        "open": column(|bar| widened(bar.o)),
        "high": column(|bar| widened(bar.h)),
        "low": column(|bar| widened(bar.l)),
        "close": column(|bar| widened(bar.c)),
        "volume": column(|bar| json!(bar.v.round() as i64)),
    }]);
    if with_adjusted {
        // this market pays no dividends
        return json!({"quote": quote, "adjclose": [{"adjclose": column(|bar| widened(bar.c))}]});
    }
    json!({"quote": quote})
}

fn meta(view: &View, symbol: usize, ticker: &str, interval: &str, range: &str) -> Value {
    let calendar = Calendar::us_equities();
    let (now, today) = (view.now, view.today());
    let ended = (0..view.market.sessions.len()).rev().find(|&at| view.ended(at));
    let last = ended.and_then(|at| view.day(symbol, at));
    let closed = ended.map_or(0, |at| view.market.sessions[at].close / 1_000 + 1);
    let time = if calendar.is_open(now) { now.as_seconds() } else { closed };
    let current = calendar.at_or_after(today).unwrap_or(today);
    let behind = calendar.midnight(today).as_seconds() - i64::from(today.days()) * DAY_S;
    let zone = if behind == 4 * HOUR_MS / 1_000 { "EDT" } else { "EST" };
    let period = |start: Timestamp, end: Timestamp| json!({"timezone": zone, "start": start.as_seconds(), "end": end.as_seconds(), "gmtoffset": -behind});
    let at = |hour: i64| Timestamp::from_millis(calendar.midnight(current).as_millis() + hour * HOUR_MS);
    let (open, close) = (calendar.open(current), calendar.close(current));
    json!({
        "currency": "USD",
        "symbol": ticker,
        "exchangeName": "NMS",
        "fullExchangeName": "NasdaqGS",
        "instrumentType": "EQUITY",
        "firstTradeDate": view.market.sessions.first().map(|session| session.open / 1_000),
        "regularMarketTime": time,
        "hasPrePostMarketData": false,
        "gmtoffset": -behind,
        "timezone": zone,
        "exchangeTimezoneName": "America/New_York",
        "regularMarketPrice": last.map(|bar| bar.c),
        "priceHint": 2,
        "currentTradingPeriod": {
            "pre": period(at(4), open),
            "regular": period(open, close),
            "post": period(close, at(20)),
        },
        "dataGranularity": interval,
        "range": range,
        "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "max"],
    })
}
