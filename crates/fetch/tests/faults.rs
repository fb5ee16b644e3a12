//! What goes wrong in practice with this provider, a test each; the list of rows is in `docs/provider-faults.md`.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod provider;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use panscan_core::bar::{BarFault, Field};
use panscan_core::block::BarKey;
use panscan_core::limit::Quota;
use panscan_core::panel::Splits;
use panscan_core::port::{BarAsk, BarSource, Clock, Errand, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::{Listing, TextAttribute};
use panscan_fetch::decode::PriceField;
use panscan_fetch::polygon::{AggregatesAsk, TickersAsk, Timespan};
use panscan_fetch::{CallConfig, Polygon, PolygonConfig};
use provider::{KEY, answer, day, json, page, serve};

const NOW: Errand = Errand::interactive(0);
const TOO_OLD: &str = "{\"status\":\"NOT_AUTHORIZED\",\"message\":\"Your plan doesn't include this data \
                       timeframe. Please upgrade your plan.\"}";
const TOO_EARLY: &str = "{\"status\":\"NOT_AUTHORIZED\",\"message\":\"Attempted to request today's data before \
                         end of day. Please upgrade your plan.\"}";

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).unwrap()
}

fn date(text: &str) -> SessionDate {
    text.parse().unwrap()
}

fn range(name: &str, timeframe: Timeframe, from: &str, to: &str) -> BarAsk {
    BarAsk::Range { symbol: symbol(name), timeframe, from: date(from), to: date(to) }
}

fn bar(stamp: i64, close: f64) -> String {
    format!("{{\"v\":10,\"vw\":2,\"o\":2,\"c\":{close},\"h\":3,\"l\":1,\"t\":{stamp},\"n\":3}}")
}

/// A page of one ticker's bars.
fn bars(ticker: &str, rows: &[String], more: &str) -> String {
    format!(
        "{{\"ticker\":\"{ticker}\",\"adjusted\":false,{more}\"results\":[{}],\"status\":\"OK\"}}",
        rows.join(",")
    )
}

/// A clock that the test sets.
#[derive(Clone)]
struct Hands(Arc<Mutex<Timestamp>>);

impl Hands {
    fn at(text: &str) -> Self {
        Self(Arc::new(Mutex::new(text.parse().unwrap())))
    }

    fn set(&self, text: &str) {
        *self.0.lock().unwrap() = text.parse().unwrap();
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn with_clock(url: &str, hands: &Hands) -> Polygon {
    Polygon::new(PolygonConfig { clock: Arc::new(hands.clone()), ..provider::config(url) }).unwrap()
}

const T0: i64 = 1_577_941_200_000; // 2020-01-02 00:00 Eastern
const T1: i64 = 1_578_027_600_000; // 2020-01-03

// Row 1.
#[tokio::test]
async fn a_second_page_that_turns_adjusted_drops_the_whole_fetch() {
    let provider = serve(|_, n| match n {
        0 => json(bars("AAPL", &[bar(T0, 2.0)], "\"next_url\":\"/v2/more?cursor=x\",")),
        _ => json(bars("AAPL", &[bar(T1, 2.0)], "").replace("\"adjusted\":false", "\"adjusted\":true")),
    })
    .await;
    let polygon = provider.polygon();
    let ask = range("AAPL", Timeframe::Day, "2020-01-02", "2020-01-08");
    for _ in 0..2 {
        let error = polygon.fetch(&ask, NOW).await.unwrap_err();
        assert!(matches!(&error, SourceError::Unreadable { message, .. } if message.contains("adjusted")));
        if provider.asked().len() > 2 {
            break;
        }
    }
    let asked = provider.asked();
    assert!(asked[1].query.contains("adjusted=false"), "raw prices are asked for again on every page");
    assert!(asked[2].path.contains("/range/1/day/"), "nothing of the dropped fetch is gone on with");
}

// Rows 2 and 6.
#[tokio::test]
async fn the_last_page_is_the_one_without_next_url_however_short_it_is() {
    let provider = serve(|_, n| match n {
        0 => json(bars("AAPL", &[bar(T0, 2.0)], "\"next_url\":\"/v2/a?cursor=x\",\"queryCount\":50000,")),
        1 => json(bars("AAPL", &[], "\"next_url\":\"/v2/b?cursor=x\",").replace("\"results\":[],", "")),
        _ => json(bars("AAPL", &[bar(T1, 2.0)], "")),
    })
    .await;
    let ask = range("AAPL", Timeframe::Minutes(60), "2020-01-02", "2020-01-08");
    let fetched = provider.polygon().fetch(&ask, NOW).await.unwrap();
    assert_eq!((fetched.calls, fetched.block.count_bars()), (3, 2));
    assert!(provider.asked()[0].query.contains("limit=50000"));
    let bearer = format!("Bearer {KEY}");
    for asked in provider.asked() {
        assert_eq!(
            asked.key.as_deref(),
            Some(bearer.as_str()),
            "the key goes with every page, in the header"
        );
        assert!(!asked.query.contains(KEY));
    }
}

// Row 3.
#[tokio::test]
async fn counts_that_differ_from_the_rows_are_hints() {
    let provider = serve(|_, _| {
        json(bars("AAPL", &[bar(T0, 2.0), bar(T1, 2.0)], "\"resultsCount\":7,\"queryCount\":1,"))
    })
    .await;
    let ask = range("AAPL", Timeframe::Day, "2020-01-02", "2020-01-08");
    let fetched = provider.polygon().fetch(&ask, NOW).await.unwrap();
    assert_eq!((fetched.calls, fetched.block.count_bars()), (1, 2));
}

// Rows 4 and 5.
#[tokio::test]
async fn absent_results_are_empty_and_null_ones_are_asked_for_once_more() {
    for (first, calls) in [
        ("{\"status\":\"OK\",\"resultsCount\":0}", 1),
        ("{\"status\":\"OK\",\"results\":null}", 2),
        ("{\"status\":\"OK\",\"results\":[]}", 2),
        ("{\"status\":\"OK\",\"queryCount\":3,\"resultsCount\":0}", 2),
    ] {
        let provider = serve(move |_, n| if n == 0 { json(first) } else { json(page("AAPL", "")) }).await;
        let fetched = provider.polygon().fetch(&day("2025-12-16"), NOW).await.unwrap();
        assert_eq!((fetched.calls, fetched.block.count_bars()), (calls, calls as usize - 1), "{first}");
    }
}

// Row 9.
#[tokio::test]
async fn a_429_between_pages_is_waited_out_and_the_same_page_asked_for() {
    let provider = serve(|_, n| match n {
        0 => json(bars("AAPL", &[bar(T0, 2.0)], "\"next_url\":\"/v2/second?cursor=x\",")),
        1 | 2 => answer(StatusCode::TOO_MANY_REQUESTS, ""),
        _ => json(bars("AAPL", &[bar(T1, 2.0)], "")),
    })
    .await;
    let calls = CallConfig { quota: "50/20ms".parse::<Quota>().unwrap(), ..provider.config().calls };
    let polygon = Polygon::new(PolygonConfig { calls, ..provider.config() }).unwrap();
    let ask = range("AAPL", Timeframe::Day, "2020-01-02", "2020-01-08");
    let fetched = polygon.fetch(&ask, NOW).await.unwrap();
    assert_eq!(fetched.block.count_bars(), 2);
    let paths: Vec<String> = provider.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths[1..], ["/v2/second", "/v2/second", "/v2/second"]);
    assert_eq!(polygon.stats().rate_limited, 2);
}

// Row 9, when the retries are used up.
#[tokio::test]
async fn what_was_read_before_a_page_failed_is_not_fetched_again() {
    let provider = serve(|_, n| match n {
        0 => json(bars("AAPL", &[bar(T0, 2.0)], "\"next_url\":\"/v2/second?cursor=x\",")),
        1 => answer(StatusCode::SERVICE_UNAVAILABLE, ""),
        _ => json(bars("AAPL", &[bar(T1, 2.0)], "")),
    })
    .await;
    let calls = CallConfig { max_retries: 0, ..provider.config().calls };
    let polygon = Polygon::new(PolygonConfig { calls, ..provider.config() }).unwrap();
    let ask = range("AAPL", Timeframe::Day, "2020-01-02", "2020-01-08");
    assert!(matches!(polygon.fetch(&ask, NOW).await, Err(SourceError::Unavailable { .. })));
    let fetched = polygon.fetch(&ask, NOW).await.unwrap();
    assert_eq!((fetched.calls, fetched.block.count_bars()), (1, 2));
    let paths: Vec<String> = provider.asked().into_iter().map(|asked| asked.path).collect();
    assert!(paths[0].contains("/range/") && paths[1..] == ["/v2/second", "/v2/second"], "{paths:?}");
    // it is used once
    polygon.fetch(&ask, NOW).await.unwrap();
    assert!(provider.asked()[3].path.contains("/range/"));
}

// Rows 11 and 13.
#[tokio::test]
async fn rows_outside_the_range_or_of_another_ticker_are_refused_and_counted() {
    let foreign = bar(T1, 2.0).replace("{\"v\"", "{\"T\":\"TSLA\",\"v\"");
    let rows = [foreign, bar(T0, 2.0), bar(T0 - 86_400_000, 2.0), bar(T1 + 400 * 86_400_000, 2.0)];
    let provider = serve(move |_, _| json(bars("AAPL", &rows, ""))).await;
    let ask = range("AAPL", Timeframe::Day, "2020-01-02", "2020-01-08");
    let fetched = provider.polygon().fetch(&ask, NOW).await.unwrap();
    assert_eq!(fetched.block.count_bars(), 1);
    assert_eq!(fetched.quarantined.len(), 3);
    assert!(fetched.quarantined.iter().all(|row| row.fault == BarFault::Foreign));
}

// Row 12.
#[tokio::test]
async fn equal_repeats_count_once_and_two_that_differ_are_fetched_again() {
    let ask = range("AAPL", Timeframe::Day, "2020-01-02", "2020-01-08");
    let equal = serve(|_, _| json(bars("AAPL", &[bar(T0, 2.0), bar(T0, 2.0)], ""))).await;
    let fetched = equal.polygon().fetch(&ask, NOW).await.unwrap();
    assert_eq!((fetched.calls, fetched.block.count_bars(), fetched.quarantined.len()), (1, 1, 0));

    let once = serve(|_, n| {
        let second = if n == 0 { 2.5 } else { 2.0 };
        json(bars("AAPL", &[bar(T0, 2.0), bar(T0, second)], ""))
    })
    .await;
    let fetched = once.polygon().fetch(&ask, NOW).await.unwrap();
    assert_eq!((fetched.calls, fetched.block.count_bars(), fetched.quarantined.len()), (2, 1, 0));

    let always = serve(|_, _| json(bars("AAPL", &[bar(T0, 2.0), bar(T0, 2.5), bar(T1, 2.0)], ""))).await;
    let fetched = always.polygon().fetch(&ask, NOW).await.unwrap();
    assert_eq!((fetched.calls, fetched.block.count_bars()), (2, 1));
    assert!(!fetched.quarantined.is_empty());
    assert!(fetched.quarantined.iter().all(|row| row.fault == BarFault::Conflicting));
}

// Row 14.
#[tokio::test]
async fn a_ticker_with_a_nul_costs_its_row_and_not_the_day() {
    let provider = serve(|_, _| {
        let whole = page("AAPL", "");
        let (head, row) = whole.split_once("\"results\":[").unwrap();
        let row = row.split_once(']').unwrap().0.to_owned();
        let bad = row.replace("\"AAPL\"", "\"NUL\\u0000X\"");
        json(format!("{head}\"results\":[{bad},{row}]}}"))
    })
    .await;
    let fetched = provider.polygon().fetch(&day("2025-12-16"), NOW).await.unwrap();
    assert_eq!((fetched.block.count_bars(), fetched.quarantined.len()), (1, 1));
    assert_eq!(fetched.quarantined[0].fault, BarFault::BadSymbol);
}

// Rows 15 and 17.
#[tokio::test]
async fn volumes_of_any_spelling_and_a_vwap_outside_the_range_are_kept() {
    for (sent, read) in [
        ("1.0E+8", 1.0e8),
        ("2.384421e+06", 2_384_421.0),
        ("95595226.0", 95_595_226.0),
        ("25933.6", 25_933.6),
    ] {
        let row = bar(T0, 2.0).replace("\"v\":10,\"vw\":2,", &format!("\"v\":{sent},\"vw\":9.75,"));
        let provider = serve(move |_, _| json(bars("AAPL", std::slice::from_ref(&row), ""))).await;
        let ask = range("AAPL", Timeframe::Day, "2020-01-02", "2020-01-02");
        let block = provider.polygon().fetch(&ask, NOW).await.unwrap().block;
        assert_eq!((block.get(0, 0, Field::Volume), block.get(0, 0, Field::Vwap)), (read, 9.75));
    }
}

// Rows 18, 19 and 20.
#[tokio::test]
async fn a_day_is_the_providers_own_and_minutes_are_as_they_come() {
    // 2020-01-02 at 09:30, 09:32 and 16:00 Eastern
    let minutes = [1_577_975_400_000, 1_577_975_520_000, 1_577_998_800_000];
    let provider = serve(move |asked, _| match asked.path.contains("/1/minute/") {
        true => json(bars("AAPL", &minutes.map(|t| bar(t, 2.0)), "")),
        false => json(bars("AAPL", &[bar(T0, 2.5).replace("\"v\":10,", "\"v\":1000,")], "")),
    })
    .await;
    let polygon = provider.polygon();
    let of = |timeframe| range("AAPL", timeframe, "2020-01-02", "2020-01-02");
    let fetched = polygon.fetch(&of(Timeframe::Minutes(1)), NOW).await.unwrap();
    assert_eq!(
        fetched.block.rows().as_ref(),
        minutes.map(BarKey),
        "the closing minute stays, a gap stays a gap"
    );
    let day = polygon.fetch(&of(Timeframe::Day), NOW).await.unwrap().block;
    assert_eq!((day.get(0, 0, Field::Volume), day.get(0, 0, Field::Close)), (1_000.0, 2.5));
}

// Rows 22 and 23.
#[tokio::test]
async fn both_stamps_of_a_day_are_the_same_session_on_either_side_of_a_clock_change() {
    // Friday and Monday around 2025-03-09 and 2025-11-02: 00:00 and 16:00 Eastern
    for (session, midnight, four) in [
        ("2025-03-07", "2025-03-07T05:00:00Z", "2025-03-07T21:00:00Z"),
        ("2025-03-10", "2025-03-10T04:00:00Z", "2025-03-10T20:00:00Z"),
        ("2025-10-31", "2025-10-31T04:00:00Z", "2025-10-31T20:00:00Z"),
        ("2025-11-03", "2025-11-03T05:00:00Z", "2025-11-03T21:00:00Z"),
    ] {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millis();
        let (midnight, four) = (at(midnight), at(four));
        let provider = serve(move |asked, _| match asked.path.contains("/grouped/") {
            true => json(page("AAPL", "").replace("1765918800000", &four.to_string())),
            false => json(bars("AAPL", &[bar(midnight, 2.0)], "")),
        })
        .await;
        let polygon = provider.polygon();
        for ask in [day(session), range("AAPL", Timeframe::Day, session, session)] {
            let block = polygon.fetch(&ask, NOW).await.unwrap().block;
            assert_eq!(block.rows().as_ref(), [BarKey::session(date(session))], "{ask}");
            assert_eq!(block.count_bars(), 1, "{ask}");
        }
    }
}

// Row 24.
#[tokio::test]
async fn a_day_without_a_session_costs_no_call() {
    let provider = serve(|_, _| json(page("AAPL", ""))).await;
    let polygon = provider.polygon();
    for ask in [day("2025-12-25"), day("2025-12-20"), range("A", Timeframe::Day, "2025-12-20", "2025-12-21")]
    {
        let fetched = polygon.fetch(&ask, NOW).await.unwrap();
        assert_eq!((fetched.calls, fetched.block.count_bars()), (0, 0));
    }
    assert_eq!(polygon.open_close(&symbol("A"), date("2025-12-25"), false, NOW).await, Ok(None));
    assert!(provider.asked().is_empty());
    // and where the calendar does not know better, both answers mean empty
    let holiday =
        "{\"success\":false,\"status\":\"ERROR\",\"errorcode\":\"001\",\"error\":\"Unknown database error\"}";
    let provider = serve(move |_, _| answer(StatusCode::NOT_FOUND, holiday)).await;
    assert_eq!(provider.polygon().open_close(&symbol("A"), date("2025-12-16"), false, NOW).await, Ok(None));
    assert_eq!(provider.asked().len(), 1);
}

// Row 25.
#[tokio::test]
async fn the_plans_window_is_learned_from_the_first_refusal_and_kept_to() {
    let provider = serve(|asked, _| match asked.path.rsplit('/').next().unwrap() {
        date if date < "2023-12-31" => answer(StatusCode::FORBIDDEN, TOO_OLD),
        _ => json(page("AAPL", "")),
    })
    .await;
    let hands = Hands::at("2025-12-31T23:00:00Z");
    let polygon = with_clock(&provider.url, &hands);
    let error = polygon.fetch(&day("2022-06-08"), NOW).await.unwrap_err();
    let SourceError::OutsidePlan { from: Some(from), until: None, .. } = error else { panic!("{error:?}") };
    assert_eq!(from, date("2023-12-28"), "where the next shorter plan begins");
    for old in ["2022-06-08", "2021-01-04", "2015-01-05"] {
        assert!(matches!(polygon.fetch(&day(old), NOW).await, Err(SourceError::OutsidePlan { .. })));
    }
    assert_eq!(provider.asked().len(), 1, "neither retried nor asked for again");
    assert!(polygon.fetch(&day("2024-01-02"), NOW).await.is_ok());
    // a day ahead is refused with the same words and says nothing of the past
    let ahead = polygon.fetch(&day("2026-01-02"), NOW).await;
    assert!(ahead.is_ok(), "{ahead:?}");
    // the plan may have been changed since
    hands.set("2026-01-02T23:00:00Z");
    assert!(matches!(polygon.fetch(&day("2015-01-05"), NOW).await, Err(SourceError::OutsidePlan { .. })));
    assert_eq!(provider.asked().len(), 4);
}

// Row 26.
#[tokio::test]
async fn todays_data_is_asked_for_again_after_the_close() {
    let provider = serve(|_, n| match n {
        0 => answer(StatusCode::FORBIDDEN, TOO_EARLY),
        _ => json(page("AAPL", "")),
    })
    .await;
    let hands = Hands::at("2025-12-16T19:00:00Z");
    let polygon = with_clock(&provider.url, &hands);
    for _ in 0..3 {
        let error = polygon.fetch(&day("2025-12-16"), NOW).await.unwrap_err();
        let SourceError::NotYet { retry_at, .. } = error else { panic!("{error:?}") };
        assert_eq!(retry_at, "2025-12-16T21:00:00Z".parse().unwrap());
    }
    assert_eq!(provider.asked().len(), 1);
    hands.set("2025-12-16T21:00:00Z");
    assert!(polygon.fetch(&day("2025-12-16"), NOW).await.is_ok());
}

// Row 27.
#[tokio::test]
async fn not_authorized_is_a_refusal_whatever_the_status_of_the_answer() {
    for status in [StatusCode::OK, StatusCode::FORBIDDEN] {
        let words = "{\"status\":\"NOT_AUTHORIZED\",\"message\":\"You are not entitled to this data.\"}";
        let provider = serve(move |_, _| answer(status, words)).await;
        let polygon = provider.polygon();
        for _ in 0..2 {
            let error = polygon.fetch(&day("2025-12-16"), NOW).await.unwrap_err();
            assert!(matches!(error, SourceError::NotEntitled { .. }), "{error:?}");
        }
        assert_eq!(provider.asked().len(), 1, "remembered");
        let error = polygon.snapshot_one(&symbol("A"), NOW).await.unwrap_err();
        assert!(matches!(error, SourceError::NotEntitled { .. }));
        assert_eq!(provider.asked().len(), 2, "of that kind of data only");
    }
}

// Row 28.
#[tokio::test]
async fn delayed_answers_are_data_and_are_known_to_be_late() {
    let provider = serve(|_, n| match n {
        0 => json(page("AAPL", "").replace("\"OK\"", "\"DELAYED\"")),
        _ => json(page("AAPL", "")),
    })
    .await;
    let polygon = provider.polygon();
    assert!(!polygon.is_delayed());
    assert_eq!(polygon.fetch(&day("2025-12-16"), NOW).await.unwrap().block.count_bars(), 1);
    assert!(polygon.is_delayed());
    polygon.fetch(&day("2025-12-16"), NOW).await.unwrap();
    assert!(!polygon.is_delayed());
}

// Rows 31 and 64, and both paths.
#[tokio::test]
async fn splits_come_by_either_path_and_unsound_ones_are_kept_apart() {
    let rows = "[{\"ticker\":\"AFL\",\"execution_date\":\"2018-03-16\",\"split_from\":1,\"split_to\":1},\
                {\"ticker\":\"GOOG\",\"execution_date\":\"2022-07-18\",\"split_from\":1,\"split_to\":20},\
                {\"ticker\":\"GOOG\",\"execution_date\":\"2022-07-18\",\"split_from\":1,\"split_to\":20},\
                {\"ticker\":\"X\",\"execution_date\":\"2022-07-18\",\"split_from\":1,\"split_to\":2},\
                {\"ticker\":\"X\",\"execution_date\":\"2022-07-18\",\"split_from\":1,\"split_to\":3}]";
    for gone in [None, Some(StatusCode::NOT_FOUND), Some(StatusCode::FORBIDDEN)] {
        let provider = serve(move |asked, _| match (asked.path.as_str(), gone) {
            ("/v3/reference/splits", Some(status)) => answer(status, "{\"status\":\"NOT_FOUND\"}"),
            _ => json(format!("{{\"status\":\"OK\",\"results\":{rows}}}")),
        })
        .await;
        let listed = provider.polygon().splits(date("2018-01-01")).await.unwrap();
        assert_eq!(listed.len(), 5, "every row is kept");
        let splits = Splits::new(&listed);
        assert!(splits.of("AFL").is_empty(), "factor 1 changes nothing");
        assert_eq!(splits.of("GOOG").len(), 1);
        assert!(splits.of("X").is_empty(), "of two that differ neither");
        assert_eq!(splits.suspicious().len(), 2);
        let path = provider.asked().last().unwrap().path.clone();
        assert_eq!(path == "/stocks/v1/splits", gone.is_some());
    }
}

// Row 33.
#[tokio::test]
async fn dividends_come_on_their_own_and_are_no_part_of_adjusted_prices() {
    let provider = serve(|asked, _| match asked.path.as_str() {
        "/v3/reference/dividends" => json(
            "{\"results\":[{\"ticker\":\"AAPL\",\"ex_dividend_date\":\"2025-08-11\",\"cash_amount\":0.26,\
             \"currency\":\"USD\",\"frequency\":4},{\"ticker\":\"X\",\"ex_dividend_date\":\"2025-08-11\"},\
             {\"ticker\":\"Y\",\"ex_dividend_date\":\"soon\",\"cash_amount\":1}]}",
        ),
        _ => json("{\"results\":[]}"),
    })
    .await;
    let polygon = provider.polygon();
    let dividends = polygon.dividends(date("2025-01-01")).await.unwrap();
    assert_eq!(dividends.len(), 1);
    assert_eq!((dividends[0].ex_date, dividends[0].cash), (date("2025-08-11"), 0.26));
    assert_eq!(dividends[0].currency.as_deref(), Some("USD"));
    assert!(polygon.splits(date("2025-01-01")).await.unwrap().is_empty(), "a dividend is never a split");
    assert_eq!(provider.asked()[0].query, "ex_dividend_date.gte=2025-01-01&limit=1000");
}

// Row 34.
#[tokio::test]
async fn the_tickers_of_a_company_come_oldest_first_and_join_its_history() {
    let provider = serve(|_, _| {
        json(
            "{\"results\":{\"name\":\"Meta\",\"composite_figi\":\"BBG000MM2P62\",\"events\":[\
             {\"type\":\"ticker_change\",\"date\":\"2022-06-09\",\"ticker_change\":{\"ticker\":\"META\"}},\
             {\"type\":\"ticker_change\",\"date\":\"2012-05-18\",\"ticker_change\":{\"ticker\":\"FB\"}}]},\
             \"status\":\"OK\"}",
        )
    })
    .await;
    let renames = provider.polygon().renames(&symbol("META"), NOW).await.unwrap();
    assert_eq!(provider.asked()[0].path, "/vX/reference/tickers/META/events");
    assert_eq!(renames.iter().map(|r| r.symbol.as_str()).collect::<Vec<_>>(), ["FB", "META"]);
    let mut lives = panscan_core::life::Lives::new();
    lives.learn(&renames, None);
    let history =
        lives.history(&symbol("META"), date("2025-01-02"), date("2022-06-01"), date("2022-06-30"), 0);
    let told: Vec<String> =
        history.iter().map(|s| format!("{} {} {}", s.symbol.as_str(), s.from, s.to)).collect();
    assert_eq!(told, ["FB 2022-06-01 2022-06-08", "META 2022-06-09 2022-06-30"]);
    let unknown = serve(|_, _| answer(StatusCode::NOT_FOUND, "{\"status\":\"NOT_FOUND\"}")).await;
    assert!(unknown.polygon().renames(&symbol("NOSUCH"), NOW).await.unwrap().is_empty());
}

// Rows 36 and 38.
#[tokio::test]
async fn a_field_that_is_missing_today_does_not_erase_the_value_held() {
    let provider = serve(|_, n| match n {
        0 => json(
            "{\"results\":{\"ticker\":\"AAPL\",\"primary_exchange\":\"XNAS\",\"sic_code\":\"3571\",\
             \"market_cap\":2488795282370,\"weighted_shares_outstanding\":16185181000,\
             \"list_date\":\"1980-12-12\"},\"request_id\":1}",
        ),
        1 => json("{\"results\":{\"ticker\":\"AAPL\",\"market_cap\":2.5e12},\"request_id\":\"x\"}"),
        2 => json(
            "{\"results\":{\"ticker\":\"AAPL\",\"last_updated_utc\":\"2022-04-27T00:00:00.123456789Z\"}}",
        ),
        _ => answer(StatusCode::NOT_FOUND, "{\"status\":\"NotFound\"}"),
    })
    .await;
    let polygon = provider.polygon();
    let mut held = Listing::new(symbol("AAPL"));
    for _ in 0..3 {
        held.update(&polygon.details(&symbol("AAPL"), NOW).await.unwrap().unwrap());
    }
    let text = |attribute: TextAttribute| held.text[attribute as usize].as_deref();
    assert_eq!(text(TextAttribute::Exchange), Some("XNAS"));
    assert_eq!(text(TextAttribute::Sector), Some("Technology"));
    assert_eq!(text(TextAttribute::Industry), Some("Computer Hardware"));
    assert_eq!((held.market_cap, held.shares_outstanding), (Some(2.5e12), Some(16_185_181_000.0)));
    assert_eq!(held.list_date, Some(date("1980-12-12")));
    assert_eq!(polygon.details(&symbol("AAPL"), NOW).await.unwrap(), None);
}

#[tokio::test]
async fn inactive_tickers_are_listed_as_of_a_day() {
    let provider = serve(|_, _| {
        json("{\"results\":[{\"ticker\":\"FB\",\"active\":false,\"delisted_utc\":\"2022-06-09T00:00:00Z\"}]}")
    })
    .await;
    let ask = TickersAsk { active: false, date: Some(date("2022-06-30")) };
    let listed = provider.polygon().tickers(ask).await.unwrap();
    assert_eq!((listed[0].active, listed[0].delist_date), (Some(false), Some(date("2022-06-09"))));
    assert_eq!(provider.asked()[0].query, "market=stocks&active=false&limit=1000&date=2022-06-30");
}

// Row 39.
#[tokio::test]
async fn before_the_open_zeros_are_missing() {
    let provider = serve(|_, _| {
        let zeros = "{\"o\":0,\"h\":0,\"l\":0,\"c\":0,\"v\":0,\"vw\":0}";
        json(format!(
            "{{\"status\":\"OK\",\"tickers\":[{{\"ticker\":\"A\",\"todaysChangePerc\":-100,\"updated\":0,\
             \"day\":{zeros},\"min\":{zeros},\"prevDay\":{{\"o\":2,\"h\":3,\"l\":1,\"c\":2.5,\"v\":7}}}}]}}"
        ))
    })
    .await;
    let rows = provider.polygon().snapshot_all(NOW).await.unwrap();
    assert_eq!((rows[0].day, rows[0].minute, rows[0].change_percent), (None, None, None));
    assert_eq!(rows[0].price, Some((2.5, PriceField::PreviousDay)));
    assert_eq!(rows[0].previous.unwrap().get(Field::Volume), 7.0);
}

// Row 40.
#[tokio::test]
async fn no_snapshot_is_an_answer_and_not_an_outage() {
    let provider = serve(|asked, _| match asked.path.ends_with("/tickers") {
        true => json("{\"status\":\"OK\",\"count\":0}"),
        false => answer(StatusCode::NOT_FOUND, "{\"status\":\"NotFound\"}"),
    })
    .await;
    let polygon = provider.polygon();
    assert!(polygon.snapshot_all(NOW).await.unwrap().is_empty());
    assert!(polygon.snapshot_of(&[symbol("A"), symbol("B^C")], NOW).await.unwrap().is_empty());
    assert_eq!(polygon.snapshot_one(&symbol("A"), NOW).await, Ok(None));
    assert_eq!(provider.asked()[1].query, "tickers=A,B%5EC");
    let stats = polygon.stats();
    assert_eq!((stats.errors, stats.retries), (0, 0));
}

#[tokio::test]
async fn adjusted_aggregates_are_asked_for_as_such_on_every_page_and_raw_ones_refused() {
    let ask = AggregatesAsk {
        symbol: symbol("AAPL"),
        multiplier: 2,
        timespan: Timespan::Week,
        from: date("2020-01-02"),
        to: date("2020-03-31"),
        adjusted: true,
    };
    let provider = serve(|_, n| match n {
        0 => json(
            bars("AAPL", &[bar(T1, 2.0)], "\"next_url\":\"/v2/more?cursor=x\",")
                .replace("\"adjusted\":false", "\"adjusted\":true"),
        ),
        1 => json(bars("AAPL", &[bar(T0, 2.0)], "").replace("\"adjusted\":false", "\"adjusted\":true")),
        _ => json(bars("AAPL", &[bar(T0, 2.0)], "")),
    })
    .await;
    let polygon = provider.polygon();
    let series = polygon.aggregates(&ask, NOW).await.unwrap();
    assert_eq!((series.calls, series.aggregates.len(), series.refused.len()), (2, 2, 0));
    assert!(series.aggregates[0].start < series.aggregates[1].start);
    let asked = provider.asked();
    assert!(asked[0].path.contains("/range/2/week/") && asked[1].query.contains("adjusted=true"));
    assert!(matches!(polygon.aggregates(&ask, NOW).await, Err(SourceError::Unreadable { .. })));
    for wrong in
        [AggregatesAsk { multiplier: 0, ..ask.clone() }, AggregatesAsk { to: date("2019-01-02"), ..ask }]
    {
        assert!(matches!(polygon.aggregates(&wrong, NOW).await, Err(SourceError::Refused { .. })));
    }
    assert_eq!(provider.asked().len(), 3);
}

#[tokio::test]
async fn the_calendar_stays_in_force_and_differences_are_named() {
    let provider = serve(|_, _| {
        json(
            "[{\"exchange\":\"NYSE\",\"name\":\"New Years Day\",\"date\":\"2026-01-01\",\"status\":\"closed\"},\
             {\"exchange\":\"NYSE\",\"name\":\"Mourning\",\"date\":\"2026-01-06\",\"status\":\"closed\"},\
             {\"exchange\":\"NYSE\",\"status\":\"closed\"}]",
        )
    })
    .await;
    let polygon = provider.polygon();
    let found: Vec<String> =
        polygon.calendar_differences().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("2026-01-06") && found[0].contains("Mourning"), "{found:?}");
}

#[tokio::test]
async fn the_previous_close_is_keyed_by_the_session_of_its_stamp() {
    let provider = serve(|asked, _| match asked.path.contains("/AAPL/") {
        true => json(page("AAPL", "")),
        false => json("{\"status\":\"OK\",\"resultsCount\":0}"),
    })
    .await;
    let polygon = provider.polygon();
    let found = polygon.previous_close(&symbol("AAPL"), false, NOW).await.unwrap().unwrap();
    assert_eq!((found.session, found.bar.get(Field::Close)), (date("2025-12-16"), 156.8));
    assert_eq!(polygon.previous_close(&symbol("NONE"), false, NOW).await.unwrap(), None);
    assert_eq!(provider.asked()[0].query, "adjusted=false");
}

// Row 10: without a header the window is waited out; beside it the unit tests of the limiter.
#[tokio::test]
async fn a_429_without_a_header_waits_for_the_window() {
    let provider = serve(|_, n| match n {
        0 => answer(StatusCode::TOO_MANY_REQUESTS, "{\"status\":\"ERROR\",\"error\":\"You've exceeded\"}"),
        _ => json(page("AAPL", "")),
    })
    .await;
    let calls = CallConfig { quota: "50/250ms".parse::<Quota>().unwrap(), ..provider.config().calls };
    let polygon = Polygon::new(PolygonConfig { calls, ..provider.config() }).unwrap();
    polygon.fetch(&day("2025-12-16"), NOW).await.unwrap();
    let asked = provider.asked();
    assert!(asked[1].at - asked[0].at >= Duration::from_millis(250));
}
