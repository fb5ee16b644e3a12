//! The market status endpoints, by the simulator's clock.

use panscan_core::calendar::Calendar;
use panscan_core::time::{SessionDate, Timestamp};
use serde_json::json;

use crate::ask::{Answer, Ask};
use crate::fault::FaultName;
use crate::market::HOUR_MS;

/// Answers `/v1/marketstatus/now`.
pub(crate) fn now(ask: &Ask) -> Answer {
    let calendar = Calendar::us_equities();
    let now = ask.view.now;
    let today = calendar.session_of(now);
    let since_midnight = now.as_millis() - calendar.midnight(today).as_millis();
    let open = calendar.is_open(now);
    let session = calendar.is_session(today);
    let early = session && !open && since_midnight >= 4 * HOUR_MS && now < calendar.open(today);
    let late = session && now >= calendar.close(today) && since_midnight < 20 * HOUR_MS;
    let market = if open {
        "open"
    } else if early || late {
        "extended-hours"
    } else {
        "closed"
    };
    let skew = ask.tweaked(FaultName::ClockSkew);
    let told = if skew { Timestamp::from_millis(now.as_millis() + HOUR_MS) } else { now };
    let body = json!({
        "market": market,
        "earlyHours": early,
        "afterHours": late,
        "serverTime": eastern(told),
        "exchanges": {"nyse": market, "nasdaq": market, "otc": market},
        "currencies": {"fx": "open", "crypto": "open"},
    });
    Answer { tweaked: skew, ..Answer::json(200, &body) }
}

/// RFC 3339 with New York's offset, to the second.
pub(crate) fn eastern(at: Timestamp) -> String {
    let date = Calendar::us_equities().session_of(at);
    let behind = Calendar::us_equities().midnight(date).as_seconds() - i64::from(date.days()) * 86_400;
    let local = at.as_seconds() - behind;
    let (day, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let date = SessionDate::from_days(i32::try_from(day).unwrap_or(0));
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{date}T{hour:02}:{minute:02}:{second:02}-{:02}:00", behind / 3_600)
}

/// Answers `/v1/marketstatus/upcoming`: a bare array, one row per exchange and day of the coming year.
pub(crate) fn upcoming(ask: &Ask) -> Answer {
    let calendar = Calendar::us_equities();
    let today = ask.view.today();
    let mut rows = Vec::new();
    for date in (1..=366).map(|days| today.plus(days)) {
        let half = calendar.is_half_day(date);
        let announced = ask.view.changes.closures.contains(&date);
        let closed = announced || (date.weekday() < 5 && !calendar.is_session(date));
        if (!half && !closed) || date > calendar.last() {
            continue;
        }
        for exchange in ["NYSE", "NASDAQ"] {
            let mut row = json!({
                "exchange": exchange,
                "name": holiday(date),
                "date": date.to_string(),
                "status": if half { "early-close" } else { "closed" },
            });
            if half {
                row["open"] = calendar.open(date).to_string().into();
                row["close"] = calendar.close(date).to_string().into();
            }
            rows.push(row);
        }
    }
    Answer { rows: rows.len() as u64, ..Answer::json(200, &rows.into()) }
}

/// Each month has at most one reason to close that is known ahead, but January has two.
fn holiday(date: SessionDate) -> &'static str {
    match date.ymd() {
        (_, 1, day) if day < 10 => "New Years Day",
        (_, 1, _) => "Martin Luther King, Jr. Day",
        (_, 2, _) => "Washington's Birthday",
        (_, 3 | 4, _) => "Good Friday",
        (_, 5, _) => "Memorial Day",
        (_, 6, _) => "Juneteenth",
        (_, 7, _) => "Independence Day",
        (_, 9, _) => "Labor Day",
        (_, 11, _) => "Thanksgiving",
        (_, 12, _) => "Christmas",
        _ => "Market Holiday",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eastern_time_has_the_season_s_offset() {
        let at = |text: &str| eastern(text.parse().unwrap());
        assert_eq!(at("2022-04-28T20:48:08Z"), "2022-04-28T16:48:08-04:00");
        assert_eq!(at("2026-01-01T01:00:00Z"), "2025-12-31T20:00:00-05:00");
    }
}
