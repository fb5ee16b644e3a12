//! Alpaca market data: bars of many symbols with one limit over all of them, a page token, rate headers on
//! every answer, and a feed that sees a small share of the tape.
//!
//! Volumes are whole shares here, fractions are cut off.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use panscan_core::calendar::Calendar;
use panscan_core::time::{SessionDate, Timestamp};
use serde_json::json;

use crate::aggregates::{self, Query, Span};
use crate::ask::{Answer, Ask, cursor, uncursor};
use crate::audit::Room;
use crate::config::Plan;
use crate::fault::FaultName;
use crate::market::{HOUR_MS, MINUTE_MS, Ohlcv};
use crate::number::{Spelling, integer, number, text};
use crate::rng::mix;

const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 10_000;
/// How long the tape is for those who pay.
const DELAY_MS: i64 = 15 * MINUTE_MS;

pub(super) fn template(segments: &[&str]) -> &'static str {
    match segments {
        ["alpaca", "v2", "stocks", "bars"] => "/alpaca/v2/stocks/bars",
        ["alpaca", "v2", "stocks", "bars", "latest"] => "/alpaca/v2/stocks/bars/latest",
        _ => "alpaca other",
    }
}

fn message(status: u16, code: Option<u32>, text: &str) -> Answer {
    match code {
        Some(code) => Answer::json(status, &json!({"code": code, "message": text})),
        None => Answer::json(status, &json!({"message": text})),
    }
}

pub(super) fn caller(headers: &HeaderMap, known: impl Fn(&str) -> bool) -> (String, Option<Answer>) {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    let (id, secret) = (header("apca-api-key-id"), header("apca-api-secret-key"));
    let refusal = if id.is_empty() || secret.is_empty() {
        Some(message(401, None, "unauthorized"))
    } else if known(id) {
        None
    } else {
        Some(message(403, None, "forbidden"))
    };
    (id.to_owned(), refusal)
}

pub(super) fn too_many() -> Answer {
    message(429, None, "too many requests.")
}

pub(super) fn instead(fault: FaultName) -> Option<Answer> {
    Some(match fault {
        FaultName::ServerError => message(500, Some(50_010_000), "internal server error occurred"),
        FaultName::KeyRevoked => message(401, None, "unauthorized"),
        _ => return None,
    })
}

/// Says on every answer how much of the limit is left.
pub(super) fn with_rate_headers(mut response: Response, room: Option<Room>) -> Response {
    let Some(room) = room else { return response };
    #[expect(clippy::disallowed_methods, reason = "like the limit, its headers are about the wire's time")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let reset = (since + room.reset + Duration::from_millis(999)).as_secs();
    let headers = response.headers_mut();
    headers.insert("x-ratelimit-limit", HeaderValue::from(room.limit));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(room.left));
    headers.insert("x-ratelimit-reset", HeaderValue::from(reset));
    response
}

pub(super) fn answer(ask: &Ask, plan: Plan) -> Result<Answer, Answer> {
    let path: Vec<&str> = ask.segments.iter().map(String::as_str).collect();
    match path[..] {
        [_, "v2", "stocks", "bars"] => bars(ask, plan),
        [_, "v2", "stocks", "bars", "latest"] => latest(ask, plan),
        _ => Err(message(404, None, "endpoint not found.")),
    }
}

fn bad(text: impl AsRef<str>) -> Answer {
    message(400, None, text.as_ref())
}

/// Which trades a feed sees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    Sip,
    Iex,
    /// Over the counter and overnight: nothing of this market.
    Other,
}

impl Feed {
    fn of(ask: &Ask) -> Result<Self, Answer> {
        match ask.param("feed") {
            None | Some("" | "sip") => Ok(Self::Sip),
            Some("iex") => Ok(Self::Iex),
            Some("otc" | "boats") => Ok(Self::Other),
            Some(other) => Err(bad(format!("invalid feed: {other}"))),
        }
    }

    /// The bar as this feed has it. One exchange sees about a fortieth of the shares, and a price of its own
    /// for their average; the prices of the bar are left as they are.
    fn seen(self, bar: Ohlcv, seed: u64) -> Ohlcv {
        if self != Self::Iex {
            return bar;
        }
        let share = 0.02 + (mix(seed) % 1_000) as f64 * 1.5e-5;
        let vw = bar.vw + (bar.h - bar.l) * ((mix(seed ^ 1) % 1_000) as f64 / 1_000.0 - 0.5) * 0.1;
        Ohlcv {
            v: (bar.v * share).floor(),
            n: (bar.n * share).floor().max(1.0),
            vw: (vw * 1e6).round() / 1e6,
            ..bar
        }
    }
}

fn symbols(ask: &Ask) -> Result<Vec<String>, Answer> {
    let listed = ask.param("symbols").unwrap_or_default();
    let mut symbols: Vec<String> =
        listed.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if symbols.is_empty() {
        return Err(bad("symbols is required"));
    }
    symbols.sort_unstable();
    symbols.dedup();
    Ok(symbols)
}

fn timeframe(text: &str) -> Option<(Span, i64)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let count: i64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "Min" | "T" => (1..=59).contains(&count).then_some((Span::Minute, count)),
        "Hour" | "H" => (1..=23).contains(&count).then_some((Span::Hour, count)),
        "Day" | "D" => (count == 1).then_some((Span::Day, 1)),
        "Week" | "W" => (count == 1).then_some((Span::Week, 1)),
        "Month" | "M" => [1, 2, 3, 4, 6, 12].contains(&count).then_some((Span::Months(1), count)),
        _ => None,
    }
}

/// An instant or a date in New York, of which `end` means the last millisecond.
fn instant(text: &str, end: bool) -> Option<i64> {
    if let Ok(date) = text.parse::<SessionDate>() {
        let calendar = Calendar::us_equities();
        let midnight = |date| calendar.midnight(date).as_millis();
        return Some(if end { midnight(date.plus(1)) - 1 } else { midnight(date) });
    }
    text.parse().ok().map(Timestamp::as_millis)
}

/// A row with the symbol that it belongs to.
type Row = (String, i64, Ohlcv);

fn bars(ask: &Ask, plan: Plan) -> Result<Answer, Answer> {
    let symbols = symbols(ask)?;
    let span = ask.param("timeframe").ok_or_else(|| bad("timeframe is required"))?;
    let (span, multiplier) = timeframe(span).ok_or_else(|| bad(format!("invalid timeframe: {span}")))?;
    let feed = Feed::of(ask)?;
    let limit = match ask.param("limit") {
        None | Some("") => LIMIT_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| bad(format!("invalid limit: {text} must be between 1 and {LIMIT_MAX}")))?,
    };
    let adjusted = match ask.param("adjustment") {
        // this market pays no dividends
        None | Some("" | "raw" | "dividend" | "spin-off") => false,
        Some("split" | "all") => true,
        Some(other) => return Err(bad(format!("invalid adjustment: {other}"))),
    };
    let descending = match ask.param("sort") {
        None | Some("" | "asc") => false,
        Some("desc") => true,
        Some(other) => return Err(bad(format!("invalid sort: {other}"))),
    };
    let view = &ask.view;
    let newest = match (plan, feed) {
        (Plan::Realtime, _) | (_, Feed::Iex | Feed::Other) => i64::MAX,
        (Plan::Free | Plan::Delayed, Feed::Sip) => view.now.as_millis() - DELAY_MS,
    };
    let time = |name: &str, end| match ask.param(name) {
        None | Some("") => Ok(None),
        Some(text) => {
            instant(text, end).map(Some).ok_or_else(|| bad(format!("Invalid format for parameter {name}")))
        }
    };
    let today = Calendar::us_equities().midnight(view.today()).as_millis();
    let from = time("start", false)?.unwrap_or(today);
    let to = time("end", true)?;
    if to.is_some_and(|to| to > newest) {
        return Err(message(403, Some(42_210_000), "subscription does not permit querying recent SIP data"));
    }
    let to = to.unwrap_or_else(|| view.now.as_millis().min(newest));
    if from > to && ask.param("start").is_some() {
        return Err(bad("end should not be before start"));
    }
    let held = match ask.param("page_token") {
        None | Some("") => None,
        Some(text) => Some(held(text).ok_or_else(|| bad("invalid page token"))?),
    };

    let mut rows: Vec<Row> = Vec::new();
    for name in symbols.iter().filter(|name| held.as_ref().is_none_or(|(at, _)| at <= *name)) {
        let Some(symbol) = view.market.find(name).filter(|_| feed != Feed::Other) else { continue };
        let after = held.as_ref().filter(|(at, _)| at == name).map(|&(_, t)| t);
        let single = multiplier == 1 && matches!(span, Span::Minute | Span::Day);
        let (from, to) = match (after, descending) {
            (Some(t), false) if single => (from.max(t + 1), to),
            (Some(t), true) if single => (from, to.min(t - 1)),
            _ => (from, to),
        };
        let most = if single { limit + 1 - rows.len().min(limit) } else { aggregates::WINDOW_MAX };
        let query = Query { span, multiplier, from, to, descending, adjusted, limit: most };
        let page = aggregates::page(view, symbol, &query);
        let past = |t: i64| after.is_none_or(|after| if descending { t < after } else { t > after });
        rows.extend(
            page.rows
                .into_iter()
                .map(|(t, bar)| (monday(span, t), bar))
                .filter(|row| past(row.0))
                .map(|(t, bar)| (name.clone(), t, feed.seen(bar, (symbol as u64) << 40 ^ t.unsigned_abs()))),
        );
        if rows.len() > limit {
            break;
        }
    }
    let mut next = (rows.len() > limit).then(|| (rows[limit - 1].0.clone(), rows[limit - 1].1));
    rows.truncate(limit);
    let start = held.unwrap_or_else(|| (symbols[0].clone(), if descending { to + 1 } else { from - 1 }));
    let tweaked = damaged(ask, &mut rows, &mut next, start);
    let null = ask.tweaked(FaultName::NullResults) && !rows.is_empty();
    let count = rows.len() as u64;
    let body = render(if null { None } else { Some(&rows) }, next.filter(|_| !null).as_ref());
    Ok(Answer { rows: count, tweaked: tweaked || null, ..Answer::new(200, body) })
}

/// Weeks begin on Monday here.
fn monday(span: Span, t: i64) -> i64 {
    if span != Span::Week {
        return t;
    }
    let calendar = Calendar::us_equities();
    calendar.midnight(calendar.session_of(Timestamp::from_millis(t)).plus(1)).as_millis()
}

/// Damages a page as drawn and says whether it did. `start` is where the page begins.
fn damaged(ask: &Ask, rows: &mut Vec<Row>, next: &mut Option<(String, i64)>, start: (String, i64)) -> bool {
    let (Some(fault), Some(first), Some(last)) = (ask.tweak, rows.first().cloned(), rows.last().cloned())
    else {
        return false;
    };
    match fault {
        FaultName::DuplicateRows => {
            rows.insert(1, first);
            rows.push(last);
        }
        FaultName::ReorderedRows => rows.reverse(),
        FaultName::ForeignRow => rows.insert(0, ("X:BTCUSD".to_owned(), first.1, first.2)),
        FaultName::RowOutside => rows.push((last.0, last.1 + 400 * 24 * HOUR_MS, last.2)),
        // nothing on this page, and the rows on the next one: a client that stops here loses them
        FaultName::EmptyPage => {
            rows.clear();
            *next = Some(start);
        }
        FaultName::NextUrlLoop => *next = Some(start),
        _ => return false,
    }
    true
}

/// What a page token says: the symbol and the stamp of the last row that was sent.
fn held(token: &str) -> Option<(String, i64)> {
    let plain: String = token
        .chars()
        .map(|c| {
            if c == '+' {
                '-'
            } else if c == '/' {
                '_'
            } else {
                c
            }
        })
        .collect();
    let text = uncursor(&plain)?;
    let mut parts = text.split('|');
    let (symbol, _, at) = (parts.next()?, parts.next()?, parts.next()?);
    Some((symbol.to_owned(), at.parse::<Timestamp>().ok()?.as_millis()))
}

fn token(symbol: &str, t: i64) -> String {
    let seconds = Timestamp::from_seconds(t.div_euclid(1_000)).to_string();
    let at = format!("{}.{:03}000000Z", seconds.trim_end_matches('Z'), t.rem_euclid(1_000));
    let mut text = cursor(&format!("{symbol}|D|{at}")).replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

fn render(rows: Option<&[Row]>, next: Option<&(String, i64)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.map_or(0, <[Row]>::len) * 112 + 64);
    out.extend_from_slice(b"{\"bars\":");
    match rows {
        None => out.extend_from_slice(b"null"),
        Some(rows) => {
            out.push(b'{');
            for (at, part) in rows.chunk_by(|a, b| a.0 == b.0).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                text(&mut out, &part[0].0);
                out.extend_from_slice(b":[");
                for (at, (_, t, bar)) in part.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    row(&mut out, *t, bar);
                }
                out.push(b']');
            }
            out.push(b'}');
        }
    }
    out.extend_from_slice(b",\"next_page_token\":");
    match next {
        Some((symbol, t)) => text(&mut out, &token(symbol, *t)),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    out
}

fn row(out: &mut Vec<u8>, t: i64, bar: &Ohlcv) {
    out.extend_from_slice(b"{\"t\":");
    text(out, &Timestamp::from_millis(t).to_string());
    for (name, value) in [("o", bar.o), ("h", bar.h), ("l", bar.l), ("c", bar.c), ("vw", bar.vw)] {
        if value.is_finite() {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            number(out, value, Spelling::Plain);
        }
    }
    for (name, value) in [("v", bar.v), ("n", bar.n)] {
        if value.is_finite() {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            integer(out, value as i64);
        }
    }
    out.push(b'}');
}

/// The newest minute of each symbol: a map of objects, not of arrays.
fn latest(ask: &Ask, plan: Plan) -> Result<Answer, Answer> {
    let symbols = symbols(ask)?;
    let feed = Feed::of(ask)?;
    if plan != Plan::Realtime && feed == Feed::Sip {
        return Err(message(403, Some(42_210_000), "subscription does not permit querying recent SIP data"));
    }
    let view = &ask.view;
    let today = Calendar::us_equities().midnight(view.today()).as_millis();
    let sessions = view.market.sessions_between(today - 7 * 24 * HOUR_MS, today);
    let mut out = b"{\"bars\":{".to_vec();
    let mut count = 0;
    for name in symbols {
        let Some(symbol) = view.market.find(&name).filter(|_| feed != Feed::Other) else { continue };
        let Some((t, bar)) = sessions.clone().rev().find_map(|at| view.minutes(symbol, at).pop()) else {
            continue;
        };
        if count > 0 {
            out.push(b',');
        }
        text(&mut out, &name);
        out.push(b':');
        row(&mut out, t, &feed.seen(bar, (symbol as u64) << 40 ^ t.unsigned_abs()));
        count += 1;
    }
    out.extend_from_slice(b"}}");
    Ok(Answer { rows: count, ..Answer::new(200, out) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_look_like_the_documented_one_and_read_back() {
        let t = "2022-06-09T04:00:00Z".parse::<Timestamp>().unwrap().as_millis();
        assert_eq!(token("META", t), "TUVUQXxEfDIwMjItMDYtMDlUMDQ6MDA6MDAuMDAwMDAwMDAwWg==");
        assert_eq!(held(&token("BRK.B", t + 1)), Some(("BRK.B".to_owned(), t + 1)));
        assert_eq!(held("nonsense"), None);
    }

    #[test]
    fn timeframes_are_read() {
        assert_eq!(timeframe("1Day"), Some((Span::Day, 1)));
        assert_eq!(timeframe("59Min"), Some((Span::Minute, 59)));
        for bad in ["60Min", "2Day", "5Month", "Day", "1day", ""] {
            assert_eq!(timeframe(bad), None, "{bad}");
        }
    }
}
