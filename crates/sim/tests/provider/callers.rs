//! Keys, the limit and what the audit says about callers.

use std::time::Duration;

use panscan_sim::{Plan, Rate, SimConfig};
use serde_json::Value;

use crate::client::{generated, get, post, send, start};

const DAY: &str = "/v2/aggs/grouped/locale/us/market/stocks/2025-12-31";

#[tokio::test]
async fn keys_are_checked_in_header_and_query() {
    let sim = start(SimConfig { keys: Some(vec!["good".into()]), ..generated(5, 5) }).await;
    let ask = |headers: &'static str, target: String| {
        let sim = &sim;
        async move { send(sim, "GET", &target, headers, "").await.unwrap() }
    };
    let none = ask("", DAY.to_owned()).await;
    assert_eq!((none.status, none.json()["error"].as_str().unwrap()), (401, "API Key was not provided"));
    let wrong = ask("Authorization: Bearer bad\r\n", DAY.to_owned()).await;
    assert_eq!((wrong.status, wrong.json()["error"].as_str().unwrap()), (401, "Unknown API Key"));
    assert_eq!(ask("Authorization: Bearer good\r\n", DAY.to_owned()).await.status, 200);
    let by_query = ask("", format!("{DAY}?apiKey=good")).await;
    assert_eq!(by_query.status, 200);
    assert!(!by_query.text().contains("good"));
    assert_eq!(by_query.header("x-panscan-market"), sim.market_id());
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_and_counted_per_key() {
    let rate = Rate { calls: 3, window: Duration::from_secs(600) };
    let sim = start(SimConfig { rate: Some(rate), ..generated(5, 5) }).await;
    let statuses = [
        get(&sim, DAY).await,
        get(&sim, "/v1/marketstatus/now").await,
        get(&sim, DAY).await,
        get(&sim, DAY).await,
    ]
    .map(|reply| (reply.status, reply.header("retry-after").to_owned()));
    assert_eq!(statuses.map(|status| status.0), [200, 200, 200, 429]);
    let other = send(&sim, "GET", DAY, "Authorization: Bearer other\r\n", "").await.unwrap();
    assert_eq!(other.status, 200);
    let audit = get(&sim, "/_sim/audit").await.json();
    assert_eq!(audit["violations"], 1);
    assert_eq!(audit["total"], 4);
    assert_eq!(audit["status_calls"], 1);
    assert_eq!(audit["calls"]["/v2/aggs/grouped/locale/us/market/stocks/{date}"], 4);
    assert_eq!((&audit["peak_in_window"], &audit["window_limit"]), (&Value::from(4), &Value::from(3)));
    assert!(audit["rows"].as_u64().unwrap() > 0 && audit["peak_per_minute"] == 4);
    post(&sim, "/_sim/audit/reset", "").await;
    assert_eq!(get(&sim, "/_sim/audit").await.json()["total"], 0);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn a_window_passes_and_calls_are_let_in_again() {
    let window = Duration::from_millis(300);
    let sim = start(SimConfig { rate: Some(Rate { calls: 2, window }), ..generated(5, 5) }).await;
    let began = std::time::Instant::now();
    let mut granted = 0;
    while granted < 6 {
        granted += usize::from(get(&sim, "/v1/marketstatus/now").await.status == 200);
    }
    // six calls need three windows, of which the first two must have passed whole
    assert!(began.elapsed() >= 2 * window);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn plans_refuse_what_they_do_not_include() {
    let now = "2025-12-31T18:00:00Z".parse().unwrap();
    let free = start(SimConfig { plan: Plan::Free, now: Some(now), ..generated(5, 20) }).await;
    for date in ["2025-12-31", "2026-06-01", "2020-01-02"] {
        let reply = get(&free, &format!("/v2/aggs/grouped/locale/us/market/stocks/{date}")).await;
        assert_eq!((reply.status, reply.json()["status"].as_str()), (403, Some("NOT_AUTHORIZED")), "{date}");
        assert!(reply.json()["message"].is_string());
    }
    assert_eq!(get(&free, "/v2/aggs/grouped/locale/us/market/stocks/2025-12-30").await.status, 200);
    free.stop().await.unwrap();
    let late = start(SimConfig { plan: Plan::Delayed, ..generated(5, 20) }).await;
    assert_eq!(get(&late, DAY).await.json()["status"], "DELAYED");
    late.stop().await.unwrap();
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_and_fifty_callers_served() {
    let sim = start(generated(300, 5)).await;
    assert_eq!(get(&sim, "/v9/nothing").await.status, 404);
    assert_eq!(get(&sim, "/_sim/nothing").await.status, 404);
    let posted = send(&sim, "POST", DAY, "Authorization: Bearer test\r\n", "").await.unwrap();
    assert_eq!(posted.status, 405);
    let calls = (0..50).map(|_| get(&sim, DAY));
    let replies = futures::future::join_all(calls).await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn the_audit_is_written_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.json");
    let sim = start(SimConfig { audit_file: Some(path.clone()), ..generated(5, 5) }).await;
    get(&sim, DAY).await;
    let audit = sim.stop().await.unwrap();
    let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!((written["total"].as_u64(), audit.total), (Some(1), 1));
}
