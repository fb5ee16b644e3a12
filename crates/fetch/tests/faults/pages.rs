//! Pages and calls: which come, which are asked for again.

use crate::*;

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
