//! The scanner against the general decoder, bit for bit, on bodies of every shape; and the recorded samples.

#![allow(clippy::print_stdout, reason = "a test without its data says that it is skipped")]

use std::path::Path;

use panscan_core::bar::Field;
use panscan_fetch::decode::{Aggregates, aggregates, aggregates_serde, splits_page, tickers_page};
use proptest::prelude::*;

/// Everything of a page in a form that compares bits.
fn bits(page: &Aggregates) -> impl PartialEq + std::fmt::Debug + use<> {
    let head = (
        page.ticker.clone(),
        page.adjusted,
        page.status.clone(),
        page.request_id.clone(),
        page.message.clone(),
        page.next_url.clone(),
        page.results_count,
        page.query_count,
        page.empty_results,
    );
    let rows: Vec<_> = page
        .rows
        .iter()
        .map(|row| (row.ticker.to_owned(), row.stamp_ms, row.values.map(f64::to_bits)))
        .collect();
    (head, rows)
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0u32..1_000_000, 0u32..10_000).prop_map(|(whole, part)| format!("{whole}.{part:04}")),
        3 => any::<u32>().prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => any::<u32>().prop_map(|n| format!("{n}.0")),
        1 => (0u32..10_000_000, -30i32..30).prop_map(|(n, e)| format!("{}.{:06}e{e:+}", n % 10, n)),
        1 => any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f}")),
        1 => any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:E}")),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => number(),
        1 => Just("null".to_owned()),
        1 => Just("\"12.5\"".to_owned()),
        1 => Just("[1,{\"a\":[]}]".to_owned()),
        1 => Just("true".to_owned()),
    ]
}

fn ticker() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[A-Z]{1,5}(\\.[A-Z])?",
        1 => Just("A\\u0000B".to_owned()),
        1 => Just("\\u00c4\\n\\\"".to_owned()),
        1 => Just("ÄÖ".to_owned()),
        1 => Just(String::new()),
    ]
}

fn row() -> impl Strategy<Value = String> {
    let keys = ["o", "h", "l", "c", "v", "vw", "n", "t", "otc", "a", "op", "w", "\\u0076"];
    let fields: Vec<_> = keys
        .into_iter()
        .map(|key| proptest::option::weighted(0.9, value()).prop_map(move |v| (key, v)).boxed())
        .collect();
    (fields, proptest::option::of(ticker()), any::<u8>()).prop_map(|(fields, ticker, turn)| {
        let mut parts: Vec<String> = fields
            .into_iter()
            .filter_map(|(key, value)| Some(format!("\"{key}\":{}", value?)))
            // written with an escape it is the same key as the plain one, which may be there once
            .filter(|part| turn % 16 == 0 || !part.starts_with("\"\\u"))
            .collect();
        if turn % 16 == 0 {
            parts.retain(|part| !part.starts_with("\"v\":"));
        }
        parts.extend(ticker.map(|ticker| format!("\"T\":\"{ticker}\"")));
        let by = usize::from(turn) % parts.len().max(1);
        parts.rotate_left(by);
        format!("{{{}}}", parts.join(","))
    })
}

fn head() -> impl Strategy<Value = Vec<String>> {
    let choices = [
        "\"status\":\"OK\"",
        "\"ticker\":\"AAPL\"",
        "\"adjusted\":false",
        "\"adjusted\":true",
        "\"resultsCount\":7",
        "\"queryCount\":3.0",
        "\"request_id\":\"abc\"",
        "\"request_id\":17",
        "\"next_url\":\"https://api.massive.com/v2?cursor=bGlt\"",
        "\"next_url\":null",
        "\"message\":\"m\\u00e4h\"",
        "\"error\":{\"deep\":[1,2]}",
        "\"count\":2",
        "\"extra\":[{\"a\":null}]",
    ];
    proptest::sample::subsequence(choices.to_vec(), 0..=choices.len()).prop_map(|chosen| {
        let mut named: Vec<String> = Vec::new();
        for part in chosen {
            let key = part.split(':').next().unwrap_or_default();
            if !named.iter().any(|known: &String| known.starts_with(key)) {
                named.push(part.to_owned());
            }
        }
        named
    })
}

fn body() -> impl Strategy<Value = String> {
    let results = prop_oneof![
        8 => proptest::collection::vec(row(), 0..12).prop_map(|rows| Some(format!("[{}]", rows.join(",")))),
        1 => Just(Some("null".to_owned())),
        1 => Just(None),
        1 => Just(Some("[ ]".to_owned())),
    ];
    (head(), results, any::<u8>()).prop_map(|(mut parts, results, place)| {
        if let Some(results) = results {
            let at = usize::from(place) % (parts.len() + 1);
            parts.insert(at, format!("\"results\":{results}"));
        }
        format!("{{{}}}", parts.join(","))
    })
}

/// Puts white space between the tokens of JSON.
fn spaced(text: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::new(), false, false);
    for c in text.chars() {
        if !quoted && "{}[]:,".contains(c) {
            out.push_str(" \n");
            out.push(c);
            out.push('\t');
        } else {
            out.push(c);
        }
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn both_decoders_agree_bit_for_bit(body in body(), space in any::<bool>()) {
        let body = if space { spaced(&body) } else { body };
        let slow = aggregates_serde(body.as_bytes()).map(|page| bits(&page));
        let quick = aggregates(body.as_bytes()).map(|page| bits(&page));
        prop_assert!(slow.is_ok(), "{slow:?}\n{body}");
        prop_assert_eq!(quick, slow);
    }

    #[test]
    fn a_cut_or_damaged_body_is_read_like_the_general_decoder_reads_it(
        body in body(), cut in any::<prop::sample::Index>(), byte in 0x20u8..0x7f, replace in any::<bool>(),
    ) {
        let mut bytes = body.into_bytes();
        let at = cut.index(bytes.len());
        if replace { bytes[at] = byte } else { bytes.truncate(at) }
        let slow = aggregates_serde(&bytes).map(|page| bits(&page));
        let quick = aggregates(&bytes).map(|page| bits(&page));
        // The scanner refuses the bar and not the page where a number is too large for f64 (infinite to it) or a
        // text holds bytes that are no UTF-8 (such a ticker is none).
        if slow.is_err() && quick.is_ok() {
            let text = slow.unwrap_err().to_string();
            let lenient = ["out of range", "invalid unicode code point"].iter().any(|why| text.contains(why));
            prop_assert!(lenient, "{text}: {}", String::from_utf8_lossy(&bytes));
        } else {
            prop_assert_eq!(quick, slow);
        }
    }
}

#[test]
fn an_absurd_number_costs_its_bar_and_not_the_page() {
    let page = aggregates(br#"{"results":[{"o":1e999,"h":1,"l":1,"c":1,"v":1}]}"#).unwrap();
    assert!(page.rows.iter().next().unwrap().values[0].is_infinite());
}

#[test]
fn bodies_that_are_none_are_refused() {
    for body in [
        "",
        "[]",
        "null",
        "{",
        "{\"results\":[1]}",
        "{\"results\":[[1,2,1,2]]}",
        "{\"results\":{}}",
        "{}x",
        "<html>",
        "{\"results\":[{}]",
    ] {
        assert!(aggregates(body.as_bytes()).is_err(), "{body}");
    }
    assert!(aggregates(&[b'['; 200_000]).is_err());
}

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
fn recorded_pages_of_bars_are_read_as_sent() {
    let cases: [(&str, usize, &[f64; 7]); 5] = [
        ("aggs_grouped.json", 3, &[26.07, 26.25, 25.91, 25.9102, 4369.0, 26.0407, 74.0]),
        ("aggs_grouped_one_row.json", 1, &[9.99, 10.02, 9.9, 10.02, 895_345.0, 9.9979, 96.0]),
        ("aggs_prev.json", 1, &[162.25, 162.34, 156.72, 156.8, 95_595_226.0, 158.6074, 899_965.0]),
        ("aggs_range_1day.json", 2, &[1.5032, 1.5064, 1.4489, 1.4604, 642_646_396.0, 1.469, 82_132.0]),
        ("aggs_range_next_url.json", 2, &[74.06, 75.15, 73.7975, 75.0875, 135_647_456.0, 74.6099, 1.0]),
    ];
    for (name, rows, first) in cases {
        let Some(body) = sample(name) else { continue };
        let page = aggregates(&body).unwrap();
        assert_eq!(bits(&page), bits(&aggregates_serde(&body).unwrap()), "{name}");
        assert_eq!((page.rows.len(), page.results_count), (rows, Some(rows as u64)), "{name}");
        let read = page.rows.iter().next().unwrap();
        for field in Field::ALL {
            let (read, sent) = (read.values[field.index()], first[field.index()]);
            assert_eq!(read.to_bits(), sent.to_bits(), "{name} {}", field.name());
        }
        assert_eq!((page.status.as_deref(), page.adjusted), (Some("OK"), Some(true)), "{name}");
    }
    if let Some(body) = sample("aggs_range_next_url.json") {
        let page = aggregates(&body).unwrap();
        assert!(page.next_url.unwrap().ends_with("?cursor=bGltaXQ9MiZzb3J0PWFzYw"));
        assert_eq!(page.ticker.as_deref(), Some("AAPL"));
    }
}

#[test]
fn recorded_errors_tell_the_providers_words() {
    for (name, status, words) in [
        ("error_401_unknown_key.json", "ERROR", "Unknown API Key"),
        ("error_403_not_entitled.json", "NOT_AUTHORIZED", "not entitled"),
        ("error_429.json", "ERROR", "maximum requests per minute"),
    ] {
        let Some(body) = sample(name) else { continue };
        let page = aggregates(&body).unwrap();
        assert_eq!(page.status.as_deref(), Some(status), "{name}");
        assert!(page.message.unwrap().contains(words), "{name}");
        assert!(page.rows.is_empty());
    }
}

#[test]
fn recorded_reference_pages_are_read() {
    if let Some(body) = sample("reference_tickers_page1.json") {
        let page = tickers_page(&body).unwrap();
        assert_eq!((page.rows.len(), page.refused), (2, 0));
        assert_eq!(page.rows[0].primary_exchange.as_deref(), Some("XNYS"));
        assert!(page.next_url.is_some());
    }
    if let Some(body) = sample("reference_tickers_page2.json") {
        assert!(tickers_page(&body).unwrap().next_url.is_none());
    }
    if let Some(body) = sample("reference_splits.json") {
        let page = splits_page(&body).unwrap();
        assert_eq!((page.rows.len(), page.refused), (10, 0));
        assert_eq!((page.rows[0].ticker.as_str(), page.rows[0].from, page.rows[0].to), ("GOOGL", 1.0, 20.0));
    }
    if let Some(body) = sample("stocks_v1_splits.json") {
        assert_eq!(splits_page(&body).unwrap().rows.len(), 1);
    }
    if let Some(body) = sample("marketstatus_now.json") {
        let row = panscan_fetch::decode::market_status(&body).unwrap();
        assert_eq!(row.now.as_deref(), Some("2022-04-28T16:48:08-04:00"));
    }
}
