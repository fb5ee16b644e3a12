//! What happens to companies: the dividends that a generated market pays, and the tickers that a company had.

use panscan_core::calendar::Calendar;
use panscan_core::time::SessionDate;
use serde_json::{Value, json};

use crate::ask::{Answer, Ask};
use crate::market::{Minutes, View};
use crate::reference::figi_of;
use crate::rng::hash;

/// A dividend is announced this many days ahead.
const ANNOUNCED_DAYS: i32 = 30;

/// A dividend: cash a share to those who hold it before `ex`.
pub(crate) struct Dividend {
    pub(crate) symbol: usize,
    pub(crate) ex: SessionDate,
    pub(crate) cash: f64,
}

/// The dividends that are known, by symbol and date. A third of a generated market's symbols pays every three
/// months about half a percent of the price; nobody knows what a recorded market paid.
pub(crate) fn dividends(view: &View) -> Vec<Dividend> {
    let market = &view.market;
    if !matches!(market.minutes, Minutes::Derived { .. }) {
        return Vec::new();
    }
    let (calendar, known) = (Calendar::us_equities(), view.today().plus(ANNOUNCED_DAYS));
    let mut all = Vec::new();
    for (symbol, listing) in market.listings.iter().enumerate() {
        let fate = hash(listing.symbol.as_str().as_bytes(), 0x6469_7669);
        if !fate.is_multiple_of(3) {
            continue;
        }
        let mut paid_in = None;
        for (session, day) in market.sessions.iter().enumerate().skip(1) {
            let (year, month, of_month) = day.date.ymd();
            let due = (i64::from(month) + (fate >> 8 & 3) as i64) % 3 == 0
                && i64::from(of_month) > (fate >> 16 & 15) as i64;
            if !due || paid_in == Some((year, month)) || day.date > known {
                continue;
            }
            paid_in = Some((year, month));
            debug_assert!(calendar.is_session(day.date));
            if let Some(before) = view.day_ahead(symbol, session - 1) {
                let cash = (before.c * 0.5).round().max(1.0) / 100.0;
                all.push(Dividend { symbol, ex: day.date, cash });
            }
        }
    }
    all
}

/// Answers `/vX/reference/tickers/{id}/events`; the id is a ticker or a figi.
pub(crate) fn events(ask: &Ask) -> Result<Answer, Answer> {
    let view = &ask.view;
    let (id, today) = (&ask.segments[3], view.today());
    let market = &view.market;
    let by_figi = || market.listings.iter().position(|listing| figi_of(listing) == *id);
    let symbol = view
        .bearer(id, today)
        .or_else(by_figi)
        .ok_or_else(|| Answer::not_found(&ask.request_id, "Ticker not found."))?;
    let listing = &market.listings[symbol];
    let first = listing.list_date.or_else(|| market.sessions.first().map(|session| session.date));
    let mut events: Vec<Value> = view
        .names(symbol)
        .filter(|(from, _)| from.is_none_or(|from| from <= today))
        .filter_map(|(from, name)| {
            let date = from.or(first)?.to_string();
            Some(json!({"type": "ticker_change", "date": date, "ticker_change": {"ticker": name}}))
        })
        .collect();
    events.reverse();
    let rows = events.len() as u64;
    let results = json!({"name": listing.name, "composite_figi": figi_of(listing), "events": events});
    let body = json!({"results": results, "status": ask.status, "request_id": ask.request_id});
    Ok(Answer { rows, ..Answer::json(200, &body) })
}
