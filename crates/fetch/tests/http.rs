//! One call after the other against a provider that a test writes: keys, pages, refusals, damage.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod provider;

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Response, StatusCode};
use futures::StreamExt;
use panscan_core::bar::Field;
use panscan_core::port::{BarAsk, BarSource, Errand, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;
use panscan_fetch::{Connections, FetchError, Polygon, PolygonConfig, Secret};
use provider::{KEY, answer, day, json, page, serve, tuned};

const NOW: Errand = Errand::interactive(0);

fn range(symbol: &str, timeframe: Timeframe, from: &str, to: &str) -> BarAsk {
    BarAsk::Range {
        symbol: Symbol::new(symbol).unwrap(),
        timeframe,
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    }
}

/// Rows of one symbol, daily, from the stamps given.
fn rows(stamps: &[i64]) -> String {
    let row = |t: &i64| format!("{{\"v\":10,\"vw\":2,\"o\":2,\"c\":2,\"h\":3,\"l\":1,\"t\":{t},\"n\":3}}");
    stamps.iter().map(row).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn a_day_comes_back_bit_for_bit_with_the_key_in_a_header_only() {
    let provider = serve(|_, _| json(page("AAPL", ""))).await;
    let polygon = provider.polygon();
    let fetched = polygon.fetch(&day("2025-12-16"), NOW).await.unwrap();
    assert_eq!(fetched.calls, 1);
    assert_eq!(fetched.block.symbols()[0].as_str(), "AAPL");
    assert_eq!(fetched.block.get(0, 0, Field::Close).to_bits(), 156.8f64.to_bits());
    assert_eq!(fetched.block.get(0, 0, Field::Volume), 95_595_226.0);
    let asked = &provider.asked()[0];
    assert_eq!(asked.path, "/v2/aggs/grouped/locale/us/market/stocks/2025-12-16");
    assert_eq!(asked.query, "adjusted=false&include_otc=false");
    assert_eq!(asked.key.as_deref(), Some(format!("Bearer {KEY}").as_str()));
    let stats = polygon.stats();
    assert_eq!((stats.calls, stats.status_calls, stats.errors), (1, 0, 0));
}

#[tokio::test]
async fn pages_are_followed_with_the_key_and_raw_prices_asked_for_again() {
    let provider = serve(|asked, n| {
        let path = &asked.path;
        match n {
            0 => json(format!(
                "{{\"ticker\":\"AAPL\",\"adjusted\":false,\"next_url\":\"{path}/../1578114000000?cursor=bGltaXQ\",\
                 \"results\":[{}],\"status\":\"OK\"}}",
                rows(&[1_577_941_200_000, 1_578_027_600_000])
            )),
            _ => json(format!(
                "{{\"ticker\":\"AAPL\",\"adjusted\":false,\"next_url\":\" \",\"results\":[{}],\"status\":\"DELAYED\"}}",
                rows(&[1_578_286_800_000])
            )),
        }
    })
    .await;
    let ask = range("AAPL", Timeframe::Day, "2020-01-02", "2020-01-08");
    let fetched = provider.polygon().fetch(&ask, NOW).await.unwrap();
    assert_eq!((fetched.calls, fetched.block.rows().len(), fetched.block.count_bars()), (2, 5, 3));
    let asked = provider.asked();
    assert_eq!(asked[0].path, "/v2/aggs/ticker/AAPL/range/1/day/2020-01-02/2020-01-08");
    assert_eq!(asked[0].query, "adjusted=false&sort=asc&limit=50000");
    assert_eq!(asked[1].query, "cursor=bGltaXQ&adjusted=false");
    assert!(asked[1].key.is_some());
}

#[tokio::test]
async fn a_page_that_turns_adjusted_or_is_about_another_ticker_costs_the_whole_fetch() {
    let provider = serve(|asked, _| {
        let body = rows(&[1_577_941_200_000]);
        if asked.path.contains("/ADJ/") {
            return json(format!("{{\"ticker\":\"ADJ\",\"adjusted\":true,\"results\":[{body}]}}"));
        }
        json(format!("{{\"ticker\":\"TSLA\",\"adjusted\":false,\"results\":[{body}]}}"))
    })
    .await;
    let polygon = provider.polygon();
    for (symbol, says) in [("ADJ", "adjusted"), ("AAPL", "TSLA")] {
        let ask = range(symbol, Timeframe::Day, "2020-01-02", "2020-01-08");
        let error = polygon.fetch(&ask, NOW).await.unwrap_err();
        assert!(
            matches!(error, SourceError::Unreadable { .. }) && error.to_string().contains(says),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_next_url_to_another_host_is_refused_and_gets_no_key() {
    let elsewhere = serve(|_, _| json("{}")).await;
    let trap = format!("\"next_url\":\"{}/v2/aggs?cursor=x\",", elsewhere.url);
    let provider = serve(move |_, _| json(page("AAPL", &trap))).await;
    let error = provider.polygon().fetch(&day("2025-12-16"), NOW).await.unwrap_err();
    assert!(error.to_string().contains("another host"), "{error}");
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn a_next_url_that_leads_back_ends_the_fetch() {
    let provider = serve(|_, _| json(page("AAPL", "\"next_url\":\"/v2/aggs/more?cursor=x\","))).await;
    let error = provider.polygon().fetch(&day("2025-12-16"), NOW).await.unwrap_err();
    assert!(error.to_string().contains("leads back"), "{error}");
    assert_eq!(provider.asked().len(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = serve(|_, _| json("{}")).await;
    let to = elsewhere.url.clone();
    let provider = serve(move |_, _| {
        Response::builder().status(302).header("location", to.clone()).body(Body::empty()).unwrap()
    })
    .await;
    let error = provider.polygon().fetch(&day("2025-12-16"), NOW).await.unwrap_err();
    assert!(matches!(error, SourceError::Refused { .. }), "{error}");
    assert!(elsewhere.asked().is_empty() && provider.asked().len() == 1);
}

#[tokio::test]
async fn failures_that_pass_are_asked_again_and_others_are_not() {
    let provider = serve(|_, n| match n {
        0 => answer(StatusCode::INTERNAL_SERVER_ERROR, "{\"status\":\"ERROR\",\"error\":\"oops\"}"),
        1 => answer(StatusCode::BAD_GATEWAY, "<html>bad gateway</html>"),
        2 => json("<html>captive portal</html>"),
        _ => json(page("AAPL", "")),
    })
    .await;
    let polygon = provider.polygon();
    assert!(polygon.fetch(&day("2025-12-16"), NOW).await.is_ok());
    let stats = polygon.stats();
    assert_eq!((stats.calls, stats.retries, stats.errors), (4, 3, 3));

    let provider =
        serve(|_, _| answer(StatusCode::BAD_REQUEST, "{\"status\":\"ERROR\",\"error\":\"bad date\"}")).await;
    let error = provider.polygon().fetch(&day("2025-12-16"), NOW).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Refused { message, .. } if message.contains("bad date")),
        "{error}"
    );
    assert_eq!(provider.asked().len(), 1);
}

#[tokio::test]
async fn retries_end_and_name_what_failed() {
    let provider = serve(|_, _| answer(StatusCode::SERVICE_UNAVAILABLE, "")).await;
    let error = provider.polygon().fetch(&day("2025-12-16"), NOW).await.unwrap_err();
    assert!(matches!(error, SourceError::Unavailable { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("polygon") && text.contains("2025-12-16") && text.contains("503"), "{text}");
    assert_eq!(provider.asked().len(), 4);
}

#[tokio::test]
async fn nobody_there_is_unavailable_without_the_key_in_the_message() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let polygon = Polygon::new(tuned(provider::config(&url), |calls| {
        calls.max_retries = 1;
    }))
    .unwrap();
    let error = polygon.status().await.unwrap_err();
    assert!(matches!(error, SourceError::Unavailable { .. }), "{error}");
    assert!(!format!("{error:?}").contains(KEY));
    assert_eq!(polygon.stats().status_calls, 2);
}

#[tokio::test]
async fn an_answer_that_is_no_json_says_what_came() {
    let provider = serve(|_, _| {
        Response::builder()
            .header("content-type", "text/html")
            .body(Body::from("<html>\u{7}hello</html>"))
            .unwrap()
    })
    .await;
    let error = provider.polygon().fetch(&day("2025-12-16"), NOW).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SourceError::Unreadable { .. }), "{text}");
    assert!(text.contains("200") && text.contains("text/html") && text.contains("<html>"), "{text}");
    assert!(!text.contains('\u{7}'));
}

#[tokio::test]
async fn half_a_body_is_never_taken_for_a_whole_one() {
    let whole = page("AAPL", "");
    let half = whole[..whole.len() / 2].to_owned();
    let provider = serve(move |_, n| match n {
        // complete as a body, half as a document
        0 => json(half.clone()),
        // the connection ends in the middle of the body
        1 => {
            let part: Result<String, std::io::Error> = Ok(half.clone());
            let cut = Err(std::io::Error::other("cut"));
            let stream = futures::stream::iter([part, cut]);
            Response::builder().body(Body::from_stream(stream)).unwrap()
        }
        _ => json(whole.clone()),
    })
    .await;
    let polygon = provider.polygon();
    let fetched = polygon.fetch(&day("2025-12-16"), NOW).await.unwrap();
    assert_eq!(fetched.block.count_bars(), 1);
    assert_eq!(polygon.stats().retries, 2);
}

#[tokio::test]
async fn a_silent_provider_is_given_up_on() {
    let provider = serve(|_, _| {
        let stream = futures::StreamExt::chain(
            futures::stream::iter([Ok::<_, std::io::Error>("{\"results\"")]),
            futures::stream::pending(),
        );
        Response::builder().body(Body::from_stream(stream)).unwrap()
    })
    .await;
    let config = tuned(provider.config(), |calls| {
        calls.read_timeout = Duration::from_millis(50);
        calls.max_retries = 1;
    });
    let error = Polygon::new(config).unwrap().fetch(&day("2025-12-16"), NOW).await.unwrap_err();
    assert!(matches!(error, SourceError::Unavailable { .. }), "{error}");
    assert_eq!(provider.asked().len(), 2);
}

#[tokio::test]
async fn a_refused_key_ends_all_calls_at_once() {
    let provider = serve(|_, _| {
        answer(
            StatusCode::UNAUTHORIZED,
            format!("{{\"status\":\"ERROR\",\"error\":\"Unknown API Key {KEY}\"}}"),
        )
    })
    .await;
    let polygon = provider.polygon();
    for _ in 0..3 {
        let error = polygon.fetch(&day("2025-12-16"), NOW).await.unwrap_err();
        assert!(
            matches!(&error, SourceError::Key { message, .. } if message == "Unknown API Key ***"),
            "{error:?}"
        );
    }
    assert!(matches!(polygon.status().await, Err(SourceError::Key { .. })));
    assert_eq!(provider.asked().len(), 1, "no retry, and no further call");
}

#[tokio::test]
async fn without_a_key_no_call_is_made() {
    let provider = serve(|_, _| json("{}")).await;
    for key in [None, Some(Secret::new(" "))] {
        let polygon = Polygon::new(PolygonConfig { key, ..provider.config() }).unwrap();
        let error = polygon.listings().await.unwrap_err();
        assert!(
            matches!(&error, SourceError::Key { message, .. } if message.contains("POLYGON_API_KEY")),
            "{error}"
        );
    }
    assert!(provider.asked().is_empty());
}

#[tokio::test]
async fn nothing_held_is_an_empty_answer_and_a_wrong_address_is_not() {
    let provider = serve(|asked, _| match asked.path.rsplit('/').next().unwrap() {
        "2025-12-15" => answer(StatusCode::NOT_FOUND, "{\"status\":\"NOT_FOUND\"}"),
        "2025-12-16" => json("{\"queryCount\":0,\"resultsCount\":0,\"adjusted\":true,\"status\":\"OK\"}"),
        _ => answer(StatusCode::NOT_FOUND, "<html>no such page</html>"),
    })
    .await;
    let polygon = provider.polygon();
    for date in ["2025-12-15", "2025-12-16"] {
        let fetched = polygon.fetch(&day(date), NOW).await.unwrap();
        assert_eq!((fetched.calls, fetched.block.rows().len(), fetched.block.symbols().len()), (1, 1, 0));
    }
    let error = polygon.fetch(&day("2025-12-17"), NOW).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn null_results_are_asked_for_once_more() {
    let provider = serve(|_, n| match n {
        0 => json("{\"results\":null,\"resultsCount\":0,\"status\":\"OK\"}"),
        1 => json(page("AAPL", "")),
        _ => json("{\"results\":null,\"status\":\"OK\"}"),
    })
    .await;
    let polygon = provider.polygon();
    let fetched = polygon.fetch(&day("2025-12-16"), NOW).await.unwrap();
    assert_eq!((fetched.calls, fetched.block.count_bars()), (2, 1));
    let fetched = polygon.fetch(&day("2025-12-16"), NOW).await.unwrap();
    assert_eq!((fetched.calls, fetched.block.count_bars()), (2, 0));
}

#[tokio::test]
async fn compressed_answers_are_read() {
    // gzip with one stored block
    let plain = br#"{"status":"OK","resultsCount":0}"#;
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let length = plain.len() as u16;
    body.extend(length.to_le_bytes());
    body.extend((!length).to_le_bytes());
    body.extend(plain);
    body.extend(crc32(plain).to_le_bytes());
    body.extend(u32::from(length).to_le_bytes());
    let provider = serve(move |_, n| {
        let mut sent = body.clone();
        if n == 0 {
            // damaged on the way
            sent[20] ^= 0xff;
        }
        Response::builder().header("content-encoding", "gzip").body(Body::from(sent)).unwrap()
    })
    .await;
    let polygon = provider.polygon();
    assert!(polygon.fetch(&day("2025-12-16"), NOW).await.is_ok());
    assert_eq!(polygon.stats().retries, 1);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[tokio::test]
async fn reference_lists_are_paged_and_mapped() {
    let provider = serve(|asked, _| match (asked.path.as_str(), asked.query.contains("cursor")) {
        ("/v3/reference/tickers", false) => json(
            "{\"results\":[{\"ticker\":\"A\",\"name\":\"Agilent\",\"primary_exchange\":\"XNYS\",\"type\":\"CS\",\
             \"active\":true,\"currency_name\":\"usd\"},{\"ticker\":\"NO TICKER\"}],\
             \"next_url\":\"/v3/reference/tickers?cursor=YWN0\"}",
        ),
        ("/v3/reference/tickers", true) => json("{\"results\":[{\"ticker\":\"AAA\",\"name\":\" \"}]}"),
        ("/v3/reference/splits", _) => json(
            "{\"results\":[{\"ticker\":\"GOOG\",\"execution_date\":\"2022-07-18\",\"split_from\":1,\"split_to\":20},\
             {\"ticker\":\"X\",\"execution_date\":\"soon\",\"split_from\":1,\"split_to\":2}]}",
        ),
        ("/v1/marketstatus/now", _) => Response::builder()
            .header("x-panscan-market", "sim/../1")
            .body(Body::from("{\"market\":\"open\",\"serverTime\":\"2022-04-28T16:48:08-04:00\"}"))
            .unwrap(),
        _ => answer(StatusCode::NOT_FOUND, ""),
    })
    .await;
    let polygon = provider.polygon();
    let listings = polygon.listings().await.unwrap();
    assert_eq!(listings.iter().map(|l| l.symbol.as_str()).collect::<Vec<_>>(), ["A", "AAA"]);
    let text: Vec<Option<&str>> = listings[0].text.iter().map(|t| t.as_deref()).collect();
    assert_eq!(text, [Some("Agilent"), Some("XNYS"), Some("CS"), None, None, None, Some("USD")]);
    assert_eq!((listings[0].active, &listings[1].text[0]), (Some(true), &None));
    let splits = polygon.splits("2022-01-01".parse().unwrap()).await.unwrap();
    assert_eq!((splits.len(), splits[0].to), (1, 20.0));
    let status = polygon.status().await.unwrap();
    assert_eq!(status.now, "2022-04-28T20:48:08Z".parse().unwrap());
    assert_eq!(status.market.as_str(), "sim_.._1");
    let queries: Vec<String> = provider.asked().into_iter().map(|asked| asked.query).collect();
    assert_eq!(
        queries,
        [
            "market=stocks&active=true&limit=1000",
            "cursor=YWN0",
            "execution_date.gte=2022-01-01&limit=1000",
            ""
        ]
    );
    assert_eq!((polygon.stats().calls, polygon.stats().status_calls), (3, 1));
}

#[tokio::test]
async fn a_symbol_cannot_leave_its_place_in_the_path() {
    let provider = serve(|_, _| json("{\"status\":\"OK\"}")).await;
    let ask = range("A/../B#^+", Timeframe::Minutes(5), "2025-12-16", "2025-12-16");
    provider.polygon().fetch(&ask, NOW).await.unwrap();
    assert_eq!(
        provider.asked()[0].path,
        "/v2/aggs/ticker/A%2F..%2FB%23%5E%2B/range/5/minute/2025-12-16/2025-12-16"
    );
}

#[tokio::test]
async fn asks_that_make_no_sense_cost_no_call() {
    let provider = serve(|_, _| json("{}")).await;
    let polygon = provider.polygon();
    for ask in [
        range("A", Timeframe::Week, "2025-12-01", "2025-12-16"),
        range("A", Timeframe::Day, "2025-12-16", "2025-12-01"),
    ] {
        assert!(matches!(polygon.fetch(&ask, NOW).await, Err(SourceError::Refused { .. })));
    }
    assert!(provider.asked().is_empty());
}

#[tokio::test]
async fn a_dropped_future_that_had_no_turn_makes_no_call() {
    let provider = serve(|_, _| json(page("AAPL", ""))).await;
    let config = tuned(provider.config(), |calls| {
        calls.quota = "1/200ms".parse().unwrap();
    });
    let polygon = Polygon::new(config).unwrap();
    polygon.fetch(&day("2025-12-16"), NOW).await.unwrap();
    let ask = day("2025-12-17");
    let abandoned = tokio::time::timeout(Duration::from_millis(20), polygon.fetch(&ask, NOW)).await;
    assert!(abandoned.is_err());
    polygon.fetch(&day("2025-12-18"), NOW).await.unwrap();
    let paths: Vec<String> = provider.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(paths[1].ends_with("2025-12-18"));
}

#[tokio::test]
async fn a_429_is_waited_out_as_told_or_for_the_window() {
    for (told, least) in [(Some("1"), 1_000), (None, 300)] {
        let provider = serve(move |_, n| {
            if n > 0 {
                return json(page("AAPL", ""));
            }
            let builder = Response::builder().status(429);
            let builder = if let Some(told) = told { builder.header("retry-after", told) } else { builder };
            builder.body(Body::empty()).unwrap()
        })
        .await;
        let config = tuned(provider.config(), |calls| {
            calls.quota = "50/300ms".parse().unwrap();
        });
        let polygon = Polygon::new(config).unwrap();
        polygon.fetch(&day("2025-12-16"), NOW).await.unwrap();
        let asked = provider.asked();
        let waited = asked[1].at - asked[0].at;
        assert!(waited >= Duration::from_millis(least), "{told:?}: {waited:?}");
        assert_eq!((asked.len(), polygon.stats().rate_limited), (2, 1));
    }
}

#[tokio::test]
async fn a_429_that_stays_ends_in_the_error() {
    let provider = serve(|_, _| answer(StatusCode::TOO_MANY_REQUESTS, "")).await;
    let config = tuned(provider.config(), |calls| {
        calls.quota = "50/50ms".parse().unwrap();
    });
    let began = Instant::now();
    let error = Polygon::new(config).unwrap().fetch(&day("2025-12-16"), NOW).await.unwrap_err();
    assert!(matches!(error, SourceError::RateLimited { .. }), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(150));
    assert_eq!(provider.asked().len(), 4);
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_used_at_once() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (busy_seen, most_seen) = (busy, most.clone());
    let provider = serve(move |_, _| {
        let (busy, most) = (busy_seen.clone(), most_seen.clone());
        let stream = futures::stream::once(async move {
            most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            busy.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(page("AAPL", ""))
        });
        Response::builder().body(Body::from_stream(stream)).unwrap()
    })
    .await;
    let polygon = Polygon::new(tuned(provider.config(), |calls| {
        calls.connections = Connections::new(3);
    }))
    .unwrap();
    let ask = day("2025-12-16");
    let all = futures::future::join_all((0..30).map(|_| polygon.fetch(&ask, NOW))).await;
    assert!(all.iter().all(Result::is_ok));
    assert!((2..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[test]
fn settings_that_cannot_work_are_named() {
    for url in ["", "api.polygon.io", "ftp://x", "http://user:pw@x", "http://x?apiKey=1", "http://"] {
        let error = Polygon::new(provider::config(url)).err().unwrap();
        assert!(matches!(&error, FetchError::Setting { field: "provider address", .. }), "{url}: {error}");
        assert!(!error.to_string().contains("pw"));
    }
    let bad = PolygonConfig { key: Some(Secret::new("a\nb")), ..provider::config("http://127.0.0.1:1") };
    assert!(!format!("{bad:?}").contains("a\\nb"));
    let error = Polygon::new(bad).err().unwrap();
    assert!(matches!(error, FetchError::Setting { field: "key", .. }), "{error}");
}

/// Calls after which it is known what is usual.
const USUAL: usize = 20;

/// An answer that never ends.
fn endless() -> Response<Body> {
    let pieces = futures::stream::once(async { Ok::<_, std::io::Error>(" ".to_owned()) });
    Response::new(Body::from_stream(pieces.chain(futures::stream::pending())))
}

#[tokio::test]
async fn a_straggler_is_asked_for_again_and_the_first_answer_wins() {
    let provider = serve(|_, n| if n == USUAL { endless() } else { json(page("AAPL", "")) }).await;
    let polygon = provider.polygon();
    let began = Instant::now();
    for _ in 0..=USUAL {
        assert_eq!(polygon.fetch(&day("2025-12-16"), NOW).await.unwrap().block.count_bars(), 1);
    }
    assert_eq!(provider.asked().len(), USUAL + 2);
    let stats = polygon.stats();
    assert_eq!((stats.hedges, stats.errors, stats.retries, stats.calls), (1, 0, 0, USUAL as u64 + 2));
    assert!(began.elapsed() < Duration::from_secs(9), "sooner than the read timeout");
}

#[tokio::test]
async fn a_straggler_is_not_asked_for_again_where_the_limit_has_no_room() {
    let provider = serve(|_, n| if n >= USUAL { endless() } else { json(page("AAPL", "")) }).await;
    let config = tuned(provider.config(), |calls| {
        calls.quota = format!("{}/h", USUAL + 2).parse().unwrap();
        calls.read_timeout = Duration::from_millis(1_500);
        calls.max_retries = 0;
    });
    let polygon = Polygon::new(config).unwrap();
    for _ in 0..USUAL {
        polygon.fetch(&day("2025-12-16"), NOW).await.unwrap();
    }
    assert!(polygon.fetch(&day("2025-12-16"), NOW).await.is_err());
    assert_eq!((provider.asked().len(), polygon.stats().hedges), (USUAL + 1, 0));
}
