//! The `/_sim` paths: audit, faults, clock, changes to the market, and the truth. They need no key and are
//! neither counted nor limited.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timestamp};
use serde_json::{Value, json};

use crate::aggregates::{Row, write_row};
use crate::ask::{Answer, find, params};
use crate::clock;
use crate::error::SimError;
use crate::fault::FaultName;
use crate::http::Shared;
use crate::market::{Ohlcv, Rename, Split, View};

/// A control answer: a small body, or the truth as a stream.
pub(crate) enum Reply {
    Whole(Answer),
    Stream(Body),
}

type Outcome = Result<Reply, String>;

/// Answers one control request.
pub(crate) fn answer(shared: &Shared, method: &str, path: &str, query: &str, body: &[u8]) -> Reply {
    let outcome = match (method, path) {
        ("GET", "/_sim/audit") => good(shared.audit().to_json()),
        ("POST", "/_sim/audit/reset") => {
            shared.reset_audit();
            good(shared.audit().to_json())
        }
        ("GET", "/_sim/faults") => good(faults(shared)),
        ("POST", "/_sim/faults") => set_faults(shared, body),
        ("GET", "/_sim/clock") => good(json!({"now": shared.clock.now().to_string()})),
        ("POST", "/_sim/clock") => set_clock(shared, body),
        ("POST", "/_sim/market") => change(shared, body),
        ("GET", "/_sim/truth") => truth(shared, query),
        _ => {
            let text = format!(
                "{method} {path} is unknown; there are GET audit, faults, clock, truth and POST audit/reset, \
                 faults, clock, market"
            );
            return Reply::Whole(Answer::json(404, &json!({"error": text})));
        }
    };
    outcome.unwrap_or_else(|text| Reply::Whole(Answer::json(400, &json!({"error": text}))))
}

fn good(body: Value) -> Outcome {
    Ok(Reply::Whole(Answer::json(200, &body)))
}

fn object(body: &[u8]) -> Result<serde_json::Map<String, Value>, String> {
    serde_json::from_slice(body).map_err(|fault| format!("the body must be a JSON object: {fault}"))
}

fn faults(shared: &Shared) -> Value {
    shared.faults.list().into_iter().map(|(name, chance)| (name.as_str().to_owned(), json!(chance))).collect()
}

fn set_faults(shared: &Shared, body: &[u8]) -> Outcome {
    let wanted = object(body)?
        .iter()
        .map(|(name, chance)| {
            let name: FaultName = name.parse().map_err(|fault: SimError| fault.to_string())?;
            let chance =
                chance.as_f64().ok_or_else(|| format!("{name}: the probability must be a number"))?;
            Ok((name, chance))
        })
        .collect::<Result<Vec<_>, String>>()?;
    shared.faults.replace(&wanted).map_err(|fault| fault.to_string())?;
    good(faults(shared))
}

fn set_clock(shared: &Shared, body: &[u8]) -> Outcome {
    let body = object(body)?;
    match (body.get("now").and_then(Value::as_str), body.get("advance").and_then(Value::as_str)) {
        (Some(text), None) => {
            let now: Timestamp = text.parse().map_err(|fault: panscan_core::Error| fault.to_string())?;
            shared.clock.set(now);
        }
        (None, Some(text)) => {
            let span = clock::span(text)
                .ok_or_else(|| format!("advance: {text:?} is no span; write 30s, 15m, 2h, 1d or 1w"))?;
            shared.clock.advance(span);
        }
        _ => return Err("the body must be {\"now\":\"RFC 3339\"} or {\"advance\":\"1d\"}".to_owned()),
    }
    good(json!({"now": shared.clock.now().to_string()}))
}

/// `{"halt":{symbol,from,to}}`, `{"split":{symbol,execution_date,split_from,split_to}}` or
/// `{"late_bar":{symbol,session,bar:{o,h,l,c,v,vw?,n?}}}`, `{"rename":{symbol,to,date}}`,
/// `{"unlist":{symbol}}`, `{"announce":{date}}` (a closure that no calendar has).
fn change(shared: &Shared, body: &[u8]) -> Outcome {
    let body = object(body)?;
    let market = &shared.market;
    let symbol = |of: &Value| {
        let name = of["symbol"].as_str().ok_or("symbol: give the ticker")?;
        let at = market.find(name).ok_or_else(|| format!("symbol: the market has no {name:?}"))?;
        u32::try_from(at).map_err(|fault| fault.to_string())
    };
    let date = |of: &Value, name: &str| -> Result<SessionDate, String> {
        let text = of[name].as_str().ok_or_else(|| format!("{name}: give a date, e.g. 2025-12-31"))?;
        text.parse().map_err(|fault: panscan_core::Error| fault.to_string())
    };
    let number = |of: &Value, name: &str| {
        of[name].as_f64().filter(|x| *x > 0.0).ok_or_else(|| format!("{name}: give a number above 0"))
    };
    let mut changes = shared.changes().as_ref().clone();
    if body.is_empty() {
        return Err("the body must hold halt, split, late_bar, rename, unlist or announce".to_owned());
    }
    for (what, of) in &body {
        match what.as_str() {
            "halt" => changes.halts.push((symbol(of)?, date(of, "from")?, date(of, "to")?)),
            "split" => changes.splits.push(Split {
                symbol: symbol(of)?,
                date: date(of, "execution_date")?,
                from: number(of, "split_from")?,
                to: number(of, "split_to")?,
            }),
            "late_bar" => {
                let session = date(of, "session")?;
                if market.session(session).is_none() {
                    return Err(format!("session: {session} is none of this market"));
                }
                let bar = &of["bar"];
                let maybe = |name: &str| bar[name].as_f64().unwrap_or(f64::NAN);
                let bar = Ohlcv {
                    o: number(bar, "o")?,
                    h: number(bar, "h")?,
                    l: number(bar, "l")?,
                    c: number(bar, "c")?,
                    v: number(bar, "v")?,
                    vw: maybe("vw"),
                    n: maybe("n"),
                };
                changes.late.insert((symbol(of)?, session), bar);
            }
            "rename" => {
                let name = of["to"].as_str().ok_or("to: give the new ticker")?;
                let name = Symbol::new(name).map_err(|fault| fault.to_string())?;
                let (symbol, date) = (symbol(of)?, date(of, "date")?);
                let view = View { changes: Arc::new(changes.clone()), ..shared.view(true) };
                if view.bearer(name.as_str(), date).is_some() {
                    return Err(format!("to: {name} is the ticker of another symbol on {date}"));
                }
                if view.names(symbol as usize).last().is_some_and(|(from, _)| from >= Some(date)) {
                    return Err(format!("date: {date} is not after the symbol's last change of name"));
                }
                changes.renames.push(Rename { symbol, date, name });
            }
            "unlist" => drop(changes.unlisted.insert(symbol(of)?)),
            "announce" => drop(changes.closures.insert(date(of, "date")?)),
            other => {
                return Err(format!(
                    "{other:?} is no change that is simulated; there are halt, split, late_bar, rename, \
                     unlist and announce"
                ));
            }
        }
    }
    let held = json!({
        "halts": changes.halts.len(),
        "splits": changes.splits.len(),
        "late_bars": changes.late.len(),
        "renames": changes.renames.len(),
        "unlisted": changes.unlisted.len(),
        "closures": changes.closures.len(),
    });
    shared.set_changes(changes);
    good(held)
}

/// The bars as they truly are, up to the clock: NDJSON, raw, ascending, symbol by symbol.
fn truth(shared: &Shared, query: &str) -> Outcome {
    let given = params(query);
    let minutes = match find(&given, "timeframe") {
        None | Some("" | "1d") => false,
        Some("1m") => true,
        Some(other) => return Err(format!("timeframe: {other:?} is none of 1d, 1m")),
    };
    let view = shared.view(true);
    let symbols = match find(&given, "symbol") {
        None | Some("") => 0..view.market.listings.len(),
        Some(name) => {
            let at = view.market.find(name).ok_or_else(|| format!("symbol: the market has no {name:?}"))?;
            at..at + 1
        }
    };
    // one symbol at a time, made when the one before is taken: a whole market does not fit into one body
    let view = Arc::new(view);
    let parts = symbols.map(move |symbol| Ok::<_, Infallible>(Bytes::from(lines(&view, symbol, minutes))));
    Ok(Reply::Stream(Body::from_stream(futures::stream::iter(parts))))
}

fn lines(view: &View, symbol: usize, minutes: bool) -> Vec<u8> {
    let mut out = Vec::new();
    // bits that spell every number plainly and add no field
    let style = u64::MAX;
    for (at, session) in view.market.sessions.iter().enumerate() {
        let ticker = Some(view.name(symbol, session.date));
        if minutes {
            for (t, bar) in view.minutes(symbol, at) {
                write_row(&mut out, &Row { ticker, t, bar, style });
                out.push(b'\n');
            }
        } else if let Some(bar) = view.day(symbol, at) {
            write_row(&mut out, &Row { ticker, t: session.midnight, bar, style });
            out.push(b'\n');
        }
    }
    out
}
