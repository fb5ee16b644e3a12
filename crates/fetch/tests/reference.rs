//! The decoders of small answers: the recorded samples as sent, and damage that none of them may fall over.

#![allow(clippy::print_stdout, reason = "a test without its data says that it is skipped")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::path::Path;

use panscan_fetch::FetchError;
use panscan_fetch::decode::{
    PriceField, dividends_page, holidays, market_status, open_close, provider_words, snapshots, splits_page,
    ticker_details, ticker_events, tickers_page,
};
use proptest::prelude::*;

fn sample(name: &str) -> Option<Vec<u8>> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/upstream/samples/polygon").join(name);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: the recorded sample polygon/{name} is not here");
    }
    bytes
}

#[test]
fn recorded_snapshots_of_both_shapes_are_read() {
    if let Some(body) = sample("snapshot_all.json") {
        let page = snapshots(&body).unwrap();
        assert_eq!((page.rows.len(), page.refused), (1, 0));
        let row = &page.rows[0];
        assert_eq!(row.last_price(), Some((20.506, PriceField::Trade)));
        assert_eq!((row.day.volume, row.minute.volume), (Some(37_216.0), Some(5_000.0)));
        assert_eq!(row.updated_ns, Some(1_605_192_894_630_916_600));
        assert_eq!((row.minute_ms, row.change), (Some(1_684_428_600_000), Some(-0.124)));
    }
    if let Some(body) = sample("snapshot_one_old_shape.json") {
        let row = snapshots(&body).unwrap().rows.remove(0);
        assert_eq!((row.ticker.as_str(), row.trade_ns), ("AAPL", Some(1_651_251_948_294_080_343)));
        assert_eq!((row.day.volume, row.previous.close), (Some(68_840_127.0), Some(163.64)));
    }
}

#[test]
fn recorded_details_and_days_are_read() {
    if let Some(body) = sample("reference_ticker_details.json") {
        let row = ticker_details(&body).unwrap().row.unwrap();
        assert_eq!((row.sic_code.as_deref(), row.market_cap), (Some("3571"), Some(2_488_795_282_370.0)));
        assert_eq!((row.weighted_shares, row.class_shares), (Some(16_185_181_000.0), Some(16_319_440_000.0)));
        assert_eq!(
            (row.list_date.as_deref(), row.figi.as_deref()),
            (Some("1980-12-12"), Some("BBG000B9XRY4"))
        );
    }
    if let Some(body) = sample("open_close.json") {
        let row = open_close(&body).unwrap().row.unwrap();
        assert_eq!((row.close, row.pre_market, row.after_hours), (Some(325.12), Some(324.5), Some(322.1)));
    }
}

#[test]
fn recorded_dividends_of_both_paths_are_read() {
    if let Some(body) = sample("reference_dividends.json") {
        let page = dividends_page(&body).unwrap();
        assert_eq!((page.rows.len(), page.refused), (10, 0));
        assert_eq!((page.rows[0].cash, page.rows[0].kind.as_deref()), (0.59375, Some("CD")));
    }
    if let Some(body) = sample("stocks_v1_dividends.json") {
        let row = dividends_page(&body).unwrap().rows.remove(0);
        assert_eq!((row.ex_date.as_str(), row.cash, row.frequency), ("2025-08-11", 0.26, Some(4)));
        assert_eq!((row.currency.as_deref(), row.kind.as_deref()), (Some("USD"), Some("recurring")));
    }
}

#[test]
fn recorded_hours_and_holidays_are_read_and_agree_with_the_calendar() {
    use panscan_core::calendar::{Announced, AnnouncedHours, Calendar};
    if let Some(body) = sample("marketstatus_now.json") {
        let row = market_status(&body).unwrap();
        assert_eq!((row.market.as_deref(), row.after_hours), (Some("extended-hours"), true));
    }
    if let Some(body) = sample("marketstatus_upcoming.json") {
        let (rows, refused) = holidays(&body).unwrap();
        assert_eq!((rows.len(), refused), (14, 0));
        let announced: Vec<Announced> = rows
            .into_iter()
            .map(|row| Announced {
                date: row.date.parse().unwrap(),
                exchange: row.exchange,
                name: row.name.unwrap(),
                hours: match row.close {
                    Some(at) => AnnouncedHours::EarlyClose(Some(at.parse().unwrap())),
                    None => AnnouncedHours::Closed,
                },
            })
            .collect();
        let today = "2022-04-28".parse().unwrap();
        assert_eq!(Calendar::us_equities().differences(&announced, today), []);
    }
}

type Decoder = fn(&[u8]) -> Result<(), FetchError>;

const DECODERS: [(&str, Decoder); 10] = [
    ("tickers_page", |b| tickers_page(b).map(drop)),
    ("splits_page", |b| splits_page(b).map(drop)),
    ("dividends_page", |b| dividends_page(b).map(drop)),
    ("ticker_details", |b| ticker_details(b).map(drop)),
    ("ticker_events", |b| ticker_events(b).map(drop)),
    ("open_close", |b| open_close(b).map(drop)),
    ("snapshots", |b| snapshots(b).map(drop)),
    ("market_status", |b| market_status(b).map(drop)),
    ("holidays", |b| holidays(b).map(drop)),
    ("provider_words", |b| {
        let _ = provider_words(b);
        Ok(())
    }),
];

/// One body of each shape, with everything in it that is looked at.
const BODIES: [&str; 8] = [
    r#"{"results":[{"ticker":"A","name":"x","type":"CS","active":true,"currency_name":"usd","delisted_utc":"2022-04-27T00:00:00Z"}],"status":"OK","next_url":"/v3?cursor=x"}"#,
    r#"{"results":[{"ticker":"A","execution_date":"2022-07-18","split_from":1,"split_to":20.5}],"request_id":1}"#,
    r#"{"results":[{"ticker":"A","ex_dividend_date":"2025-08-11","cash_amount":0.26,"frequency":4,"currency":"USD"}]}"#,
    r#"{"results":{"ticker":"A","market_cap":2.4e12,"sic_code":"3571","weighted_shares_outstanding":161851,"address":{"city":"x"}}}"#,
    r#"{"results":{"name":"M","composite_figi":"B","events":[{"type":"ticker_change","date":"2022-06-09","ticker_change":{"ticker":"META"}}]}}"#,
    r#"{"afterHours":322.1,"close":325.12,"from":"2023-01-09","symbol":"A","status":"OK","volume":26122646}"#,
    r#"{"tickers":[{"ticker":"A","day":{"c":1.5,"dv":"37216.0","v":37216},"lastTrade":{"p":1,"t":1605192894630916600},"min":{"t":1684428600000}}]}"#,
    r#"[{"exchange":"NYSE","name":"x","date":"2022-05-30","status":"early-close","close":"2022-11-25T18:00:00.000Z"}]"#,
];

#[test]
fn what_is_no_document_is_an_error_and_not_a_panic() {
    let deep = "[".repeat(200_000);
    for (name, decode) in DECODERS {
        for body in ["", "<html>", "{", "nul", &deep] {
            assert!(decode(body.as_bytes()).is_err() || name == "provider_words", "{name} {body:.9}");
        }
        for body in BODIES {
            let _ = decode(body.as_bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Half a document is never taken for a whole one, and no damage ends in a panic.
    #[test]
    fn cut_and_damaged_bodies_are_survived(
        which in 0..BODIES.len(), cut in any::<prop::sample::Index>(), byte: u8, replace in any::<bool>(),
    ) {
        let mut bytes = BODIES[which].as_bytes().to_vec();
        let at = cut.index(bytes.len());
        if replace { bytes[at] = byte } else { bytes.truncate(at) }
        for (name, decode) in DECODERS {
            let read = decode(&bytes);
            prop_assert!(replace || read.is_err() || name == "provider_words", "{name}");
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, decode) in DECODERS {
            let _ = decode(&bytes);
        }
    }
}
