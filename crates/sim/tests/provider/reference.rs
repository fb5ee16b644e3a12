//! Tickers, details, splits, dividends and the market status.

use std::collections::BTreeSet;

use panscan_sim::SimConfig;
use serde_json::Value;

use crate::client::{generated, get, post, rows, start, target};

async fn all(sim: &panscan_sim::Simulator, first: &str) -> (Vec<Value>, usize) {
    let (mut found, mut pages, mut next) = (Vec::new(), 0, first.to_owned());
    loop {
        let body = get(sim, &next).await.json();
        found.extend(rows(&body));
        pages += 1;
        match body["next_url"].as_str() {
            Some(link) => next = target(sim, link).to_owned(),
            None => return (found, pages),
        }
    }
}

#[tokio::test]
async fn tickers_page_through_the_whole_list_in_order() {
    let sim = start(generated(2_500, 5)).await;
    let (found, pages) = all(&sim, "/v3/reference/tickers?market=stocks&active=true&limit=1000").await;
    assert_eq!((found.len(), pages), (2_500, 3));
    let names: Vec<_> = found.iter().map(|row| row["ticker"].as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.contains(&"SPY") && names.iter().any(|name| name.contains('.')));
    assert!(found.iter().all(|row| row.get("market_cap").is_none() && row.get("sector").is_none()));
    let kinds: BTreeSet<_> = found.iter().map(|row| row["type"].as_str().unwrap()).collect();
    let venues: BTreeSet<_> = found.iter().map(|row| row["primary_exchange"].as_str().unwrap()).collect();
    assert!(kinds.contains("CS") && kinds.contains("ETF") && venues.len() == 4, "{kinds:?} {venues:?}");
    // the cursor carries every parameter
    let (funds, pages) = all(&sim, "/v3/reference/tickers?type=ETF&limit=50&order=desc").await;
    assert!(pages > 2 && funds.iter().all(|row| row["type"] == "ETF"));
    assert!(funds.windows(2).all(|two| two[0]["ticker"].as_str() > two[1]["ticker"].as_str()));
    assert_eq!(rows(&get(&sim, "/v3/reference/tickers").await.json()).len(), 100);
    assert_eq!(rows(&get(&sim, "/v3/reference/tickers?ticker=SPY").await.json()).len(), 1);
    assert_eq!(rows(&get(&sim, "/v3/reference/tickers?ticker=spy").await.json()).len(), 0);
    assert_eq!(rows(&get(&sim, "/v3/reference/tickers?active=false").await.json()).len(), 0);
    assert_eq!(get(&sim, "/v3/reference/tickers?limit=1001").await.status, 400);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn details_have_what_the_list_lacks() {
    let sim = start(generated(300, 5)).await;
    let stocks = rows(&get(&sim, "/v3/reference/tickers?type=CS&limit=1000").await.json());
    let name = stocks[0]["ticker"].as_str().unwrap();
    let body = get(&sim, &format!("/v3/reference/tickers/{name}")).await.json();
    let row = &body["results"];
    assert!(row["market_cap"].as_f64().unwrap() > 1.0e6, "{row}");
    assert!(
        row["sic_code"].is_string()
            && row["weighted_shares_outstanding"].is_i64()
            && row["list_date"].is_string()
    );
    let missing = get(&sim, "/v3/reference/tickers/NOSUCH").await;
    assert_eq!((missing.status, missing.json()["status"].as_str()), (404, Some("NOT_FOUND")));
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn splits_are_filtered_and_paged() {
    let sim = start(generated(1_500, 250)).await;
    let (found, pages) = all(&sim, "/v3/reference/splits").await;
    assert!(found.len() > 20 && pages == found.len().div_ceil(10));
    let dates: Vec<_> = found.iter().map(|row| row["execution_date"].as_str().unwrap()).collect();
    assert!(dates.iter().rev().is_sorted());
    let middle = dates[dates.len() / 2];
    let (later, _) =
        all(&sim, &format!("/v3/reference/splits?execution_date.gte={middle}&limit=7&order=asc")).await;
    assert_eq!(later.len(), dates.iter().filter(|date| **date >= middle).count());
    let (earlier, _) =
        all(&sim, &format!("/v3/reference/splits?execution_date.lt={middle}&limit=1000")).await;
    assert_eq!(later.len() + earlier.len(), found.len());
    let newer = get(&sim, "/stocks/v1/splits?limit=5000").await.json();
    assert_eq!((rows(&newer).len(), newer["request_id"].as_i64()), (found.len(), Some(1)));
    assert!(rows(&newer).iter().all(|row| row["adjustment_type"].is_string()));
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn dividends_are_paid_by_some_and_listed_on_both_paths() {
    let sim = start(generated(60, 250)).await;
    let (older, pages) = all(&sim, "/v3/reference/dividends?limit=20").await;
    assert!(older.len() > 40 && pages == older.len().div_ceil(20), "{}", older.len());
    let newer = rows(&get(&sim, "/stocks/v1/dividends?limit=5000").await.json());
    assert_eq!(newer.len(), older.len());
    assert!(
        older.iter().all(|row| row["cash_amount"].as_f64().unwrap() > 0.0 && row["dividend_type"] == "CD")
    );
    assert!(newer.iter().all(|row| row["distribution_type"] == "recurring"));
    let name = older[0]["ticker"].as_str().unwrap();
    let (own, _) = all(&sim, &format!("/v3/reference/dividends?ticker={name}")).await;
    assert!((3..=5).contains(&own.len()) && own.iter().all(|row| row["ticker"] == name), "{}", own.len());
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn a_renamed_symbol_has_its_bars_under_the_ticker_of_the_day() {
    let sim = start(generated(20, 10)).await;
    let change = r#"{"rename":{"symbol":"SPY","to":"SPYX","date":"2025-12-29"}}"#;
    assert_eq!(post(&sim, "/_sim/market", change).await.json()["renames"], 1);
    let dates = |body: &Value| rows(body).len();
    let range =
        |name: &str| format!("/v2/aggs/ticker/{name}/range/1/day/2025-12-18/2025-12-31?adjusted=false");
    let old = get(&sim, &range("SPY")).await.json();
    let new = get(&sim, &range("SPYX")).await.json();
    assert_eq!((dates(&old), dates(&new)), (6, 3));
    for (day, name, other) in [("2025-12-26", "SPY", "SPYX"), ("2025-12-29", "SPYX", "SPY")] {
        let body = get(&sim, &format!("/v2/aggs/grouped/locale/us/market/stocks/{day}")).await.json();
        let held = |name: &str| rows(&body).iter().any(|row| row["T"] == name);
        assert!(held(name) && !held(other), "{day}");
    }
    let events = get(&sim, "/vX/reference/tickers/SPYX/events").await.json()["results"].clone();
    let told: Vec<_> =
        events["events"].as_array().unwrap().iter().map(|e| e["ticker_change"]["ticker"].clone()).collect();
    assert_eq!(told, ["SPYX", "SPY"]);
    assert_eq!(events["events"][0]["date"], "2025-12-29");
    let figi = events["composite_figi"].as_str().unwrap();
    assert_eq!(get(&sim, &format!("/vX/reference/tickers/{figi}/events")).await.status, 200);
    let listed = |query: &str| {
        let target = format!("/v3/reference/tickers?{query}");
        let sim = &sim;
        async move { rows(&get(sim, &target).await.json()) }
    };
    assert_eq!(listed("ticker=SPYX").await[0]["composite_figi"], figi);
    assert!(listed("ticker=SPY").await.is_empty() && listed("ticker=SPYX&date=2025-12-26").await.is_empty());
    let gone = listed("active=false").await;
    assert_eq!((gone.len(), gone[0]["ticker"].as_str()), (1, Some("SPY")));
    assert_eq!(gone[0]["delisted_utc"], "2025-12-29T00:00:00Z");
    assert_eq!(get(&sim, "/v3/reference/tickers/SPY").await.status, 404);
    assert_eq!(get(&sim, "/v3/reference/tickers/SPY?date=2025-12-26").await.status, 200);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn the_status_follows_the_clock() {
    let now = "2025-12-30T14:00:00Z".parse().unwrap();
    let sim = start(SimConfig { now: Some(now), ..generated(5, 10) }).await;
    let market = |body: Value| body["market"].as_str().unwrap().to_owned();
    let status = || async { get(&sim, "/v1/marketstatus/now").await.json() };
    let body = status().await;
    assert!(body["serverTime"].as_str().unwrap().starts_with("2025-12-30T09:00:0"), "{body}");
    assert_eq!((market(body.clone()), body["earlyHours"].as_bool()), ("extended-hours".into(), Some(true)));
    for (advance, expected) in [("2h", "open"), ("6h", "extended-hours"), ("4h", "closed")] {
        post(&sim, "/_sim/clock", &format!("{{\"advance\":\"{advance}\"}}")).await;
        assert_eq!(market(status().await), expected);
    }
    let coming = get(&sim, "/v1/marketstatus/upcoming").await.json();
    let first = &coming.as_array().unwrap()[0];
    assert_eq!((first["date"].as_str(), first["status"].as_str()), (Some("2026-01-01"), Some("closed")));
    let half = coming.as_array().unwrap().iter().find(|row| row["status"] == "early-close").unwrap();
    assert_eq!(half["close"], "2026-11-27T18:00:00Z");
    sim.stop().await.unwrap();
}
