//! Ranges, grouped days and the previous close: stamps, limits, paging, adjustment.

use std::collections::{BTreeMap, HashMap};

use panscan_core::calendar::Calendar;
use panscan_core::time::SessionDate;
use serde_json::Value;

use crate::client::{bits, generated, get, post, rows, start, target, truth};

const SPY: &str = "/v2/aggs/ticker/SPY/range";

#[tokio::test]
async fn grouped_days_hold_the_truth_stamped_at_four() {
    let sim = start(generated(200, 12)).await;
    let calendar = Calendar::us_equities();
    let mut expected: BTreeMap<(i64, String), Vec<Option<u64>>> = BTreeMap::new();
    for row in truth(&sim, "").await {
        expected.insert((row["t"].as_i64().unwrap(), row["T"].as_str().unwrap().to_owned()), bits(&row));
    }
    let last: SessionDate = "2025-12-31".parse().unwrap();
    let first = calendar.back(last, 11).unwrap();
    let mut served = 0;
    for &date in calendar.sessions(first, last) {
        let body = get(&sim, &format!("/v2/aggs/grouped/locale/us/market/stocks/{date}?adjusted=false"))
            .await
            .json();
        assert_eq!(body["resultsCount"].as_u64().unwrap() as usize, rows(&body).len());
        assert_eq!(body["adjusted"], false);
        let midnight = calendar.midnight(date).as_millis();
        for row in rows(&body) {
            assert_eq!(row["t"].as_i64().unwrap(), midnight + 16 * 3_600_000, "{date}");
            let key = (midnight, row["T"].as_str().unwrap().to_owned());
            assert_eq!(Some(&bits(&row)), expected.get(&key), "{key:?}");
            served += 1;
        }
    }
    assert_eq!(served, expected.len());
    // a Sunday and a holiday have no results at all
    for date in ["2025-12-28", "2025-12-25"] {
        let body = get(&sim, &format!("/v2/aggs/grouped/locale/us/market/stocks/{date}")).await.json();
        assert_eq!((&body["resultsCount"], body.get("results")), (&Value::from(0), None), "{body}");
    }
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn pages_joined_equal_one_large_page_and_no_page_is_empty() {
    let sim = start(generated(5, 100)).await;
    for (span, limit, multiplier) in [
        ("day", 30, 1),
        ("day", 25, 1),
        ("week", 7, 1),
        ("month", 40, 1),
        ("hour", 1_000, 1),
        ("minute", 5_000, 5),
    ] {
        let path = format!("{SPY}/{multiplier}/{span}/2025-12-01/2025-12-31");
        let path =
            if span == "hour" || span == "minute" { path } else { path.replace("2025-12-01", "2020-01-01") };
        let whole = get(&sim, &format!("{path}?limit=50000&adjusted=false")).await.json();
        assert!(whole.get("next_url").is_none());
        let mut joined = Vec::new();
        let mut next = format!("{path}?limit={limit}&adjusted=false");
        loop {
            let body = get(&sim, &next).await.json();
            assert!(!rows(&body).is_empty(), "{next} is empty");
            joined.extend(rows(&body));
            match body["next_url"].as_str() {
                Some(link) => {
                    assert!(!link.contains("apiKey") && !link.contains("adjusted"), "{link}");
                    next = format!("{}&adjusted=false", target(&sim, link));
                }
                None => break,
            }
        }
        assert_eq!(joined.len(), rows(&whole).len(), "{span}");
        for (a, b) in joined.iter().zip(rows(&whole)) {
            assert_eq!((a["t"].as_i64(), bits(a)), (b["t"].as_i64(), bits(&b)), "{span}");
        }
    }
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn a_limit_counts_base_bars() {
    let sim = start(generated(5, 40)).await;
    // 100 minutes from 14:00: one whole hour, and the partial one is left to the next page
    let from = Calendar::us_equities().midnight("2025-12-30".parse().unwrap()).as_millis() + 14 * 3_600_000;
    let to = from + 2 * 3_600_000;
    let body = get(&sim, &format!("{SPY}/1/hour/{from}/{to}?limit=100")).await.json();
    assert_eq!(rows(&body).len(), 1, "{body}");
    assert_eq!(rows(&body)[0]["t"].as_i64(), Some(from));
    let next = body["next_url"].as_str().unwrap();
    assert!(next.contains(&format!("/{}/", from + 3_600_000)), "{next}");
    // a full last page has no follower
    let all = rows(&get(&sim, &format!("{SPY}/1/day/2020-01-01/2025-12-31?limit=40")).await.json()).len();
    assert_eq!(all, 40);
    let body = get(&sim, &format!("{SPY}/1/day/2020-01-01/2025-12-31?limit=40")).await.json();
    assert!(body.get("next_url").is_none());
    for bad in ["limit=0", "limit=50001", "limit=x", "sort=up", "adjusted=maybe"] {
        assert_eq!(get(&sim, &format!("{SPY}/1/day/2020-01-01/2025-12-31?{bad}")).await.status, 400, "{bad}");
    }
    for bad in [
        "0/day/2025-01-01/2025-02-01",
        "1/decade/2025-01-01/2025-02-01",
        "1/day/2025-02-01/2025-01-01",
        "1/day/x/2025-01-01",
    ] {
        let reply = get(&sim, &format!("{SPY}/{bad}")).await;
        assert_eq!((reply.status, reply.json()["status"].as_str()), (400, Some("ERROR")), "{bad}");
    }
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn descending_is_ascending_turned_round() {
    let sim = start(generated(5, 60)).await;
    let path = format!("{SPY}/1/day/2020-01-01/2025-12-31");
    let mut up = rows(&get(&sim, &path).await.json());
    up.reverse();
    let mut down = Vec::new();
    let mut next = format!("{path}?sort=desc&limit=25");
    for _ in 0..3 {
        let body = get(&sim, &next).await.json();
        down.extend(rows(&body));
        next = body["next_url"].as_str().map(|link| target(&sim, link).to_owned()).unwrap_or_default();
    }
    assert!(next.is_empty());
    let stamps = |rows: &[Value]| rows.iter().map(|row| row["t"].as_i64()).collect::<Vec<_>>();
    assert_eq!(stamps(&up), stamps(&down));
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn the_next_page_forgets_that_raw_was_asked() {
    let sim = start(generated(400, 250)).await;
    let splits = rows(&get(&sim, "/v3/reference/splits?limit=1000").await.json());
    let split = &splits[0];
    let path =
        format!("/v2/aggs/ticker/{}/range/1/day/2020-01-01/2025-12-31", split["ticker"].as_str().unwrap());
    let body = get(&sim, &format!("{path}?adjusted=false&limit=10")).await.json();
    assert_eq!(body["adjusted"], false);
    let link = target(&sim, body["next_url"].as_str().unwrap()).to_owned();
    assert_eq!(get(&sim, &link).await.json()["adjusted"], true);
    assert_eq!(get(&sim, &format!("{link}&adjusted=false")).await.json()["adjusted"], false);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn splits_adjust_what_lies_before_them() {
    let sim = start(generated(600, 250)).await;
    let splits = rows(&get(&sim, "/v3/reference/splits?limit=1000&order=asc").await.json());
    assert!(splits.len() > 5);
    let mut steps = 0;
    for split in &splits {
        let ticker = split["ticker"].as_str().unwrap();
        let date: SessionDate = split["execution_date"].as_str().unwrap().parse().unwrap();
        let executed = Calendar::us_equities().midnight(date).as_millis();
        let factor = split["split_from"].as_f64().unwrap() / split["split_to"].as_f64().unwrap();
        let path = format!("/v2/aggs/ticker/{ticker}/range/1/day/2020-01-01/2025-12-31");
        let raw = rows(&get(&sim, &format!("{path}?adjusted=false")).await.json());
        let adjusted = rows(&get(&sim, &path).await.json());
        assert_eq!(raw.len(), adjusted.len());
        for (raw, adjusted) in raw.iter().zip(&adjusted) {
            let factor = if raw["t"].as_i64().unwrap() < executed { factor } else { 1.0 };
            let (close, volume) = (raw["c"].as_f64().unwrap() * factor, raw["v"].as_f64().unwrap() / factor);
            // this side's parser is off by a unit in the last place on long fractions
            let near = |name: &str, x: f64| (adjusted[name].as_f64().unwrap() / x - 1.0).abs() < 1e-14;
            assert!(near("c", close) && near("v", volume), "{adjusted} {close} {volume}");
        }
        // the raw price steps by the factor, the adjusted one does not
        let at = raw.iter().position(|row| row["t"].as_i64() == Some(executed)).unwrap_or_default();
        if at > 0 && raw[at - 1]["t"].as_i64().unwrap() > executed - 5 * 86_400_000 {
            let step = |rows: &[Value]| rows[at]["o"].as_f64().unwrap() / rows[at - 1]["c"].as_f64().unwrap();
            assert!((step(&raw) / factor - 1.0).abs() < 0.2, "{ticker} {}", step(&raw));
            assert!((step(&adjusted) - 1.0).abs() < 0.2, "{ticker} {}", step(&adjusted));
            steps += 1;
        }
    }
    assert!(steps > 3, "{steps}");
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn minutes_agree_with_their_day() {
    let sim = start(generated(30, 20)).await;
    let days: HashMap<(String, i64), Value> = truth(&sim, "")
        .await
        .into_iter()
        .map(|row| ((row["T"].as_str().unwrap().to_owned(), row["t"].as_i64().unwrap()), row))
        .collect();
    let half_day: SessionDate = "2025-12-24".parse().unwrap();
    for ((ticker, midnight), day) in days.iter().take(150) {
        let minutes = rows(
            &get(
                &sim,
                &format!(
                    "/v2/aggs/ticker/{ticker}/range/1/minute/{midnight}/{}?limit=50000&adjusted=false",
                    midnight + 86_399_999
                ),
            )
            .await
            .json(),
        );
        let number = |row: &Value, name: &str| row[name].as_f64().unwrap();
        let most = minutes.iter().map(|row| number(row, "h")).fold(0.0, f64::max);
        let least = minutes.iter().map(|row| number(row, "l")).fold(f64::MAX, f64::min);
        let (first, last) = (&minutes[0], minutes.last().unwrap());
        assert_eq!(number(first, "o"), number(day, "o"));
        assert_eq!(number(last, "c"), number(day, "c"));
        assert_eq!((most, least), (number(day, "h"), number(day, "l")));
        let volume: f64 = minutes.iter().map(|row| number(row, "v")).sum();
        assert!((volume - number(day, "v")).abs() < 1e-3, "{volume}");
        for row in &minutes {
            assert!(number(row, "h") >= number(row, "o").max(number(row, "c")));
            assert!(number(row, "l") <= number(row, "o").min(number(row, "c")));
        }
        if *midnight == Calendar::us_equities().midnight(half_day).as_millis() {
            assert!(last["t"].as_i64().unwrap() < midnight + 13 * 3_600_000);
        }
    }
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn previous_close_is_the_last_grouped_row() {
    let sim = start(generated(5, 10)).await;
    let body = get(&sim, "/v2/aggs/ticker/SPY/prev").await.json();
    let row = &rows(&body)[0];
    assert_eq!(row["T"], "SPY");
    let grouped = get(&sim, "/v2/aggs/grouped/locale/us/market/stocks/2025-12-31").await.json();
    let same = rows(&grouped).into_iter().find(|row| row["T"] == "SPY").unwrap();
    assert_eq!((row["t"].as_i64(), bits(row)), (same["t"].as_i64(), bits(&same)));
    assert!(get(&sim, "/v2/aggs/ticker/NOSUCH/prev").await.json().get("results").is_none());
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn changes_to_the_market_show_at_once() {
    let sim = start(generated(5, 30)).await;
    let reply = post(
        &sim,
        "/_sim/market",
        r#"{"late_bar":{"symbol":"SPY","session":"2025-12-31","bar":{"o":1,"h":3,"l":1,"c":2,"v":10}},
            "halt":{"symbol":"QQQ","from":"2025-12-30","to":"2025-12-31"}}"#,
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = get(&sim, "/v2/aggs/grouped/locale/us/market/stocks/2025-12-31").await.json();
    let spy = rows(&body).into_iter().find(|row| row["T"] == "SPY").unwrap();
    assert_eq!((spy["c"].as_f64(), spy["v"].as_f64(), spy.get("vw")), (Some(2.0), Some(10.0), None));
    assert!(!rows(&body).iter().any(|row| row["T"] == "QQQ"));
    let split = r#"{"split":{"symbol":"QQQ","execution_date":"2025-12-15","split_from":1,"split_to":2}}"#;
    assert_eq!(post(&sim, "/_sim/market", split).await.status, 200);
    let path = "/v2/aggs/ticker/QQQ/range/1/day/2025-12-12/2025-12-15";
    let raw = rows(&get(&sim, &format!("{path}?adjusted=false")).await.json());
    let step = raw[1]["o"].as_f64().unwrap() / raw[0]["c"].as_f64().unwrap();
    assert!((step - 0.5).abs() < 0.05, "{step}");
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"rename":{}}"#,
        r#"{"rename":{"symbol":"SPY","to":"SPY","date":"2025-12-31"}}"#,
        r#"{"halt":{"symbol":"NOSUCH"}}"#,
    ] {
        let reply = post(&sim, "/_sim/market", bad).await;
        assert_eq!(reply.status, 400, "{bad}");
        assert!(reply.json()["error"].as_str().is_some());
    }
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn csv_on_request() {
    let sim = start(generated(5, 5)).await;
    let reply = crate::client::send(
        &sim,
        "GET",
        &format!("{SPY}/1/day/2025-12-30/2025-12-31"),
        "Accept: text/csv\r\nAuthorization: Bearer test\r\n",
        "",
    )
    .await
    .unwrap();
    let text = reply.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "c,h,l,n,o,t,v,vw"));
    assert!(lines[1..].iter().all(|line| line.split(',').count() == 8));
    sim.stop().await.unwrap();
}
