//! The snapshot endpoints and open-close: what a ticker is at now, and what it was at on a day.
//!
//! The odd rules are the provider's: what is not there yet is zero, so that before the open a change of -100 %
//! stands there; stamps are of two units in one row; a weekend has no snapshot.

use panscan_core::calendar::Calendar;
use panscan_core::time::SessionDate;
use serde_json::{Value, json};

use crate::ask::{Answer, Ask};
use crate::config::Plan;
use crate::market::{HOUR_MS, MINUTE_MS, Ohlcv, View};

/// Rows of a list of movers.
const MOVERS: usize = 20;
/// Shares below which a symbol is no mover.
const MOVER_SHARES: f64 = 10_000.0;

/// Which rows are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All, or those named.
    Many,
    /// One.
    One,
    /// The largest gains.
    Gainers,
    /// The largest losses.
    Losers,
}

/// Answers the snapshot paths.
pub(crate) fn snapshot(ask: &Ask, plan: Plan, which: Which) -> Result<Answer, Answer> {
    if plan == Plan::Free {
        let text =
            "You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing";
        return Err(Answer::not_authorized(403, &ask.request_id, text));
    }
    let view = &ask.view;
    let today = view.today();
    let now = view.visible.as_millis();
    // cleared in the night, filled again from 04:00
    let begun = now - Calendar::us_equities().midnight(today).as_millis() >= 3 * HOUR_MS + HOUR_MS / 2;
    let session = view.market.session(today).filter(|_| begun);
    let row = |symbol: usize| session.map(|session| row(view, plan, symbol, session));
    let missing = || {
        Answer::json(
            404,
            &json!({"status": "NotFound", "request_id": ask.request_id, "message": "Ticker not found."}),
        )
    };
    if which == Which::One {
        let symbol = ask.segments.last().and_then(|name| view.bearer(name, today)).ok_or_else(missing)?;
        let ticker = row(symbol).ok_or_else(missing)?;
        let body = json!({"request_id": ask.request_id, "status": ask.status, "ticker": ticker});
        return Ok(Answer { rows: 1, ..Answer::json(200, &body) });
    }
    let named: Option<Vec<usize>> = ask
        .param("tickers")
        .filter(|text| !text.is_empty())
        .map(|text| text.split(',').filter_map(|name| view.bearer(name, today)).collect());
    let mut rows: Vec<Value> = match named {
        Some(named) => named.into_iter().filter_map(row).collect(),
        None => (0..view.market.listings.len()).filter_map(row).collect(),
    };
    if which != Which::Many {
        let change = |row: &Value| row["todaysChangePerc"].as_f64().unwrap_or_default();
        rows.retain(|row| row["day"]["v"].as_f64().unwrap_or_default() > MOVER_SHARES);
        rows.sort_by(|a, b| change(a).total_cmp(&change(b)));
        if which == Which::Gainers {
            rows.reverse();
        }
        rows.truncate(MOVERS);
    }
    let count = rows.len();
    let body = json!({"count": count, "status": ask.status, "tickers": rows});
    Ok(Answer { rows: count as u64, ..Answer::json(200, &body) })
}

fn number(x: f64) -> Value {
    if x.is_nan() { Value::Null } else { x.into() }
}

/// A bar with zeros where there is none.
fn bar(bar: Option<Ohlcv>, exact: bool) -> Value {
    let zero = Ohlcv { o: 0.0, h: 0.0, l: 0.0, c: 0.0, v: 0.0, vw: 0.0, n: 0.0 };
    let bar = bar.unwrap_or(zero);
    let mut row = json!({
        "o": number(bar.o), "h": number(bar.h), "l": number(bar.l), "c": number(bar.c),
        "v": number(bar.v), "vw": number(bar.vw),
    });
    if exact {
        // whole shares beside the exact number, as since shares are traded in fractions
        row["v"] = bar.v.floor().into();
        row["dv"] = format!("{:?}", bar.v).into();
    }
    row
}

fn row(view: &View, plan: Plan, symbol: usize, session: usize) -> Value {
    let day = &view.market.sessions[session];
    let minutes = view.minutes(symbol, session);
    let last = minutes.last().copied();
    let so_far = view.day(symbol, session).or_else(|| Ohlcv::joined(minutes.iter().map(|minute| minute.1)));
    let before = session.checked_sub(1).and_then(|before| view.day(symbol, before));
    let (close, previous) = (so_far.map_or(0.0, |bar| bar.c), before.map_or(0.0, |bar| bar.c));
    let cents = |x: f64| (x * 1e4).round() / 1e4;
    let change = cents(close - previous);
    let percent = if previous > 0.0 { cents(change / previous * 100.0) } else { 0.0 };
    let traded = last.map(|(start, bar)| ((start + MINUTE_MS - 500) * 1_000_000 + 417, bar.c));
    let mut min = bar(last.map(|minute| minute.1), true);
    min["t"] = last.map_or(0, |minute| minute.0).into();
    min["n"] = last.map_or(0.0, |minute| if minute.1.n.is_nan() { 1.0 } else { minute.1.n }).into();
    min["av"] = so_far.map_or(0.0, |bar| bar.v.floor()).into();
    let mut row = json!({
        "ticker": view.name(symbol, day.date),
        "todaysChange": change,
        "todaysChangePerc": percent,
        "updated": traded.map_or(0, |trade| trade.0),
        "day": bar(so_far, true),
        "min": min,
        "prevDay": bar(before, false),
    });
    if let (Plan::Realtime, Some((at, price))) = (plan, traded) {
        row["lastTrade"] =
            json!({"p": price, "s": 100, "ds": "100.0", "t": at, "x": 4, "i": "1", "c": [14, 41]});
        row["lastQuote"] = json!({"P": cents(price + 0.01), "S": 2, "p": price, "s": 3, "t": at});
    }
    row
}

/// Answers `/v1/open-close/{ticker}/{date}`.
pub(crate) fn open_close(ask: &Ask, plan: Plan) -> Result<Answer, Answer> {
    let date: SessionDate =
        ask.segments[3].parse().map_err(|_| ask.bad("Could not parse the time parameter: 'date'"))?;
    let adjusted = ask.flag("adjusted", true)?;
    crate::aggregates::too_early(ask, plan, date)?;
    crate::aggregates::too_old(ask, plan, Calendar::us_equities().midnight(date).as_millis())?;
    let view = &ask.view;
    let found = view.bearer(&ask.segments[2], date).zip(view.market.session(date));
    let bar = found.and_then(|(symbol, session)| {
        let factor = if adjusted { view.factor(symbol, date) } else { 1.0 };
        Some(view.day(symbol, session)?.scaled(factor))
    });
    let Some(bar) = bar else {
        let text = "Unknown database error ( Error Code: 001 )";
        let body = json!({"success": false, "status": "ERROR", "errorcode": "001", "error": text});
        return Err(Answer::json(404, &body));
    };
    let body = json!({
        "status": "OK", "from": date.to_string(), "symbol": ask.segments[2],
        "open": bar.o, "high": bar.h, "low": bar.l, "close": bar.c, "volume": bar.v,
        "preMarket": bar.o, "afterHours": bar.c,
    });
    Ok(Answer { rows: 1, ..Answer::json(200, &body) })
}
