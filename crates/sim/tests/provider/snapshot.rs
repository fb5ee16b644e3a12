//! Snapshots, open and close of a day, and bars of seconds.

use panscan_core::time::Timestamp;
use panscan_sim::{Plan, SimConfig};
use serde_json::Value;

use crate::client::{generated, get, rows, start};

const ALL: &str = "/v2/snapshot/locale/us/markets/stocks/tickers";

/// A simulator at an instant, in seconds since the epoch.
async fn at(now: i64, plan: Plan) -> panscan_sim::Simulator {
    start(SimConfig { now: Some(Timestamp::from_seconds(now)), plan, ..generated(30, 10) }).await
}

#[tokio::test]
async fn the_snapshot_follows_the_day() {
    // before the open everything of today is zero, and the change is that to zero
    let sim = at(1_767_186_000, Plan::Realtime).await;
    let body = get(&sim, &format!("{ALL}?tickers=SPY,NOSUCH")).await.json();
    assert_eq!(body["count"], 1);
    let row = &body["tickers"][0];
    assert_eq!((row["day"]["c"].as_f64(), row["updated"].as_i64()), (Some(0.0), Some(0)));
    assert!(row["todaysChangePerc"].as_f64().unwrap() < -99.9 && row.get("lastTrade").is_none());
    let previous = row["prevDay"]["c"].clone();
    sim.set_now("2025-12-31T17:00:00Z".parse().unwrap());
    let row = get(&sim, &format!("{ALL}/SPY")).await.json()["ticker"].clone();
    assert_eq!(row["prevDay"]["c"], previous);
    assert_eq!(row["lastTrade"]["p"], row["min"]["c"]);
    assert!(row["lastTrade"]["t"].as_i64().unwrap() > row["min"]["t"].as_i64().unwrap() * 1_000_000);
    assert_eq!(
        row["day"]["v"].as_f64(),
        row["day"]["dv"].as_str().unwrap().parse::<f64>().ok().map(f64::floor)
    );
    // after the close the day is the day bar
    sim.set_now("2025-12-31T22:00:00Z".parse().unwrap());
    let row = get(&sim, &format!("{ALL}/SPY")).await.json()["ticker"].clone();
    let open_close = get(&sim, "/v1/open-close/SPY/2025-12-31?adjusted=false").await.json();
    assert_eq!(row["day"]["c"], open_close["close"]);
    let all = get(&sim, ALL).await.json();
    assert_eq!(all["tickers"].as_array().unwrap().len(), 30);
    let gainers = get(&sim, "/v2/snapshot/locale/us/markets/stocks/gainers").await.json();
    let moves: Vec<f64> = gainers["tickers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["todaysChangePerc"].as_f64().unwrap())
        .collect();
    assert!(moves.len() <= 20 && moves.windows(2).all(|two| two[0] >= two[1]));
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn a_weekend_has_no_snapshot_and_a_free_plan_none_at_all() {
    let sim = at(1_766_854_800, Plan::Realtime).await;
    assert_eq!(get(&sim, ALL).await.json()["count"], 0);
    let one = get(&sim, &format!("{ALL}/SPY")).await;
    assert_eq!((one.status, one.json()["status"].as_str()), (404, Some("NotFound")));
    let holiday = get(&sim, "/v1/open-close/SPY/2025-12-25").await;
    assert_eq!((holiday.status, holiday.json()["errorcode"].as_str()), (404, Some("001")));
    sim.stop().await.unwrap();
    let sim = at(1_767_200_400, Plan::Free).await;
    let refused = get(&sim, ALL).await;
    assert_eq!((refused.status, refused.json()["status"].as_str()), (403, Some("NOT_AUTHORIZED")));
    for target in ["/v1/open-close/SPY/2025-12-31", "/v2/aggs/ticker/SPY/range/1/day/2025-12-31/2025-12-31"] {
        let early = get(&sim, target).await;
        assert!(early.status == 403 && early.text().contains("before end of day"), "{}", early.text());
    }
    sim.stop().await.unwrap();
    let sim = at(1_767_200_400, Plan::Delayed).await;
    let delayed = get(&sim, &format!("{ALL}/SPY")).await.json();
    assert_eq!(
        (delayed["status"].as_str(), &delayed["ticker"]["lastTrade"]),
        (Some("DELAYED"), &Value::Null)
    );
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn seconds_agree_with_their_minute_in_open_close_and_volume() {
    let sim = at(1_767_218_400, Plan::Realtime).await;
    let range = |span: &str| {
        format!("/v2/aggs/ticker/SPY/range/{span}/2025-12-30/2025-12-30?limit=50000&adjusted=false")
    };
    let minutes = rows(&get(&sim, &range("1/minute")).await.json());
    let seconds = rows(&get(&sim, &range("1/second")).await.json());
    assert!(seconds.len() > minutes.len());
    let minute = &minutes[7];
    let start = minute["t"].as_i64().unwrap();
    let own: Vec<&Value> =
        seconds.iter().filter(|row| (start..start + 60_000).contains(&row["t"].as_i64().unwrap())).collect();
    assert_eq!((&own[0]["o"], &own.last().unwrap()["c"]), (&minute["o"], &minute["c"]));
    let shares: f64 = own.iter().map(|row| row["v"].as_f64().unwrap()).sum();
    assert_eq!(Some(shares), minute["v"].as_f64());
    let halves = rows(&get(&sim, &range("30/second")).await.json());
    assert!(
        halves.len() < seconds.len() && halves.iter().all(|row| row["t"].as_i64().unwrap() % 30_000 == 0)
    );
    sim.stop().await.unwrap();
}
