//! Rows: which are bars, which are refused, and what their stamps mean.

use crate::*;

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
