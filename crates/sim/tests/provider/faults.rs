//! Every fault does what its name says, and is counted.

use std::time::{Duration, Instant};

use panscan_sim::{FaultName, SimConfig, Simulator};
use serde_json::Value;

use crate::client::{Reply, generated, get, post, rows, send, start};

const DAY: &str = "/v2/aggs/grouped/locale/us/market/stocks/2025-12-31";
const RANGE: &str = "/v2/aggs/ticker/SPY/range/1/day/2025-01-01/2025-12-31?limit=10";

async fn with(sim: &Simulator, fault: &str) {
    let reply = post(sim, "/_sim/faults", &format!("{{\"{fault}\":1}}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn ask(sim: &Simulator, target: &str) -> Result<Reply, String> {
    send(sim, "GET", target, "Authorization: Bearer test\r\nAccept-Encoding: gzip\r\n", "").await
}

#[tokio::test]
async fn answers_that_are_replaced() {
    let sim = start(generated(60, 20)).await;
    for (fault, status, kind) in [
        ("429", 429, "application/json"),
        ("429_empty", 429, "application/json"),
        ("500", 500, "application/json"),
        ("502_html", 502, "text/html"),
        ("503", 503, "application/json"),
        ("504", 504, "application/json"),
        ("html_200", 200, "text/html"),
        ("not_authorized_200", 200, "application/json"),
        ("key_revoked", 401, "application/json"),
    ] {
        with(&sim, fault).await;
        let reply = ask(&sim, DAY).await.unwrap();
        assert_eq!((reply.status, reply.header("content-type")), (status, kind), "{fault}");
        assert!(reply.header("retry-after").is_empty());
    }
    with(&sim, "429_retry_after").await;
    let reply = ask(&sim, DAY).await.unwrap();
    assert_eq!((reply.status, reply.header("retry-after")), (429, "1"));
    with(&sim, "not_authorized_200").await;
    assert_eq!(ask(&sim, DAY).await.unwrap().json()["status"], "NOT_AUTHORIZED");
    assert_eq!(sim.audit().faults_injected["503"], 1);
    assert_eq!(sim.audit().faults_injected.len(), 10);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn bytes_and_connections_that_break() {
    let sim = start(generated(200, 20)).await;
    for fault in ["truncate", "drop_socket", "bad_gzip", "short_length"] {
        with(&sim, fault).await;
        assert!(ask(&sim, DAY).await.is_err(), "{fault}");
        assert_eq!(sim.audit().faults_injected[fault], 1, "{fault}");
    }
    with(&sim, "bad_json").await;
    let reply = ask(&sim, DAY).await.unwrap();
    assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
    for fault in ["slow_first_byte", "slow_drip"] {
        with(&sim, fault).await;
        let began = Instant::now();
        assert!(!rows(&ask(&sim, DAY).await.unwrap().json()).is_empty(), "{fault}");
        assert!(began.elapsed() >= Duration::from_millis(1_900), "{fault}");
    }
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn rows_and_links_that_are_wrong() {
    let sim = start(generated(60, 30)).await;
    let (day, page) = (get(&sim, DAY).await.json(), get(&sim, RANGE).await.json());
    let count = rows(&day).len();
    let damaged = |fault: &'static str, target: &'static str| {
        let sim = &sim;
        async move {
            with(sim, fault).await;
            get(sim, target).await.json()
        }
    };
    assert_eq!(rows(&damaged("duplicate_rows", DAY).await).len(), count + 2);
    let turned = rows(&damaged("reordered_rows", DAY).await);
    assert!(turned.len() == count && turned[0]["T"] != rows(&day)[0]["T"]);
    assert_eq!(rows(&damaged("foreign_row", DAY).await)[0]["T"], "X:BTCUSD");
    assert!(rows(&damaged("nul_ticker", DAY).await)[count]["T"].as_str().unwrap().contains('\0'));
    let outside = rows(&damaged("row_outside", RANGE).await);
    assert!(outside[10]["t"].as_i64() > rows(&page)[9]["t"].as_i64().map(|t| t + 86_400_000 * 300));
    let null = damaged("null_results", DAY).await;
    assert!(null.get("results").is_some_and(Value::is_null) && null["resultsCount"] == 0);
    let empty = damaged("empty_page", RANGE).await;
    assert!(empty.get("results").is_none() && empty["next_url"].is_string());
    let looped = damaged("next_url_loop", RANGE).await;
    assert_eq!(looped["next_url"].as_str().unwrap(), format!("{}{RANGE}", sim.url()));
    let elsewhere = damaged("next_url_elsewhere", RANGE).await;
    assert!(!elsewhere["next_url"].as_str().unwrap().starts_with(&sim.url()));
    assert_eq!(damaged("adjusted_flip", DAY).await["adjusted"], false);
    let skewed = damaged("clock_skew", "/v1/marketstatus/now").await;
    assert!(skewed["serverTime"].as_str().unwrap().starts_with("2025-12-31T21:"), "{skewed}");
    // where a fault makes no sense it is neither done nor counted
    assert_eq!(rows(&damaged("nul_ticker", RANGE).await).len(), 10);
    assert_eq!(sim.audit().faults_injected["nul_ticker"], 1);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn faults_are_listed_and_unknown_ones_refused() {
    let sim = start(SimConfig { faults: vec![(FaultName::Unavailable, 0.25)], ..generated(5, 5) }).await;
    let listed = get(&sim, "/_sim/faults").await.json();
    assert_eq!(listed.as_object().unwrap().len(), FaultName::ALL.len());
    assert_eq!((&listed["503"], &listed["stall"]), (&Value::from(0.25), &Value::from(0.0)));
    for bad in [r#"{"flood":1}"#, r#"{"503":2}"#, r#"{"503":"x"}"#, "503"] {
        assert_eq!(post(&sim, "/_sim/faults", bad).await.status, 400, "{bad}");
    }
    let mixed = post(&sim, "/_sim/faults", r#"{"mixed":0.2}"#).await.json();
    assert!(mixed["503"].as_f64().unwrap() > 0.0 && mixed["key_revoked"] == 0.0);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_ends_what_stalls() {
    let sim = start(generated(200, 20)).await;
    with(&sim, "stall").await;
    let addr = sim.addr();
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let head = format!("GET {DAY} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer test\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
    let mut some = [0_u8; 1_024];
    assert!(tokio::io::AsyncReadExt::read(&mut stream, &mut some).await.unwrap() > 0);
    let began = Instant::now();
    sim.stop().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}
