//! Splits, dividends, names, details and lists of tickers.

use crate::*;

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
