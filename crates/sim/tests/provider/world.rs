//! What is the same each time, what the clock shows, and what is refused at the start.

use panscan_core::Kind;
use panscan_sim::{FaultName, MarketSource, SimConfig, SimError, Simulator};

use crate::client::{generated, get, post, rows, send, start, truth};

#[tokio::test]
async fn the_same_seed_gives_the_same_bytes() {
    let paths = [
        "/v2/aggs/grouped/locale/us/market/stocks/2025-12-31",
        "/v2/aggs/ticker/SPY/range/1/minute/2025-12-31/2025-12-31?limit=50000",
        "/v3/reference/splits?limit=1000",
    ];
    let (one, two) = (start(generated(500, 60)).await, start(generated(500, 60)).await);
    assert_eq!(one.market_id(), two.market_id());
    for path in paths {
        assert_eq!(get(&one, path).await.body, get(&two, path).await.body, "{path}");
    }
    let MarketSource::Generated { symbols, sessions, end, .. } = generated(500, 60).market else { panic!() };
    let other = MarketSource::Generated { symbols, sessions, seed: 2, end };
    let other = start(SimConfig { market: other, ..SimConfig::default() }).await;
    assert_ne!(one.market_id(), other.market_id());
    assert_ne!(get(&one, paths[0]).await.body, get(&other, paths[0]).await.body);
    for sim in [one, two, other] {
        sim.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_compressed_answer_is_the_plain_one() {
    let sim = start(generated(500, 5)).await;
    let path = "/v2/aggs/grouped/locale/us/market/stocks/2025-12-31";
    let plain = get(&sim, path).await;
    let headers = "Authorization: Bearer test\r\nAccept-Encoding: br, gzip;q=0.5\r\n";
    let packed = send(&sim, "GET", path, headers, "").await.unwrap();
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.raw.len() * 2 < plain.body.len());
    assert_eq!(packed.body, plain.body);
    assert_eq!(packed.header("x-panscan-market"), sim.market_id());
    assert_eq!(packed.header("x-request-id"), plain.json()["request_id"].as_str().unwrap());
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn bars_are_hidden_until_their_session_ends() {
    let now = "2025-12-30T20:59:00Z".parse().unwrap();
    let sim = start(SimConfig { now: Some(now), ..generated(20, 10) }).await;
    let path = "/v2/aggs/grouped/locale/us/market/stocks/2025-12-30";
    let range = "/v2/aggs/ticker/SPY/range/1/day/2025-12-29/2025-12-31";
    assert_eq!(rows(&get(&sim, path).await.json()).len(), 0);
    assert_eq!(rows(&get(&sim, range).await.json()).len(), 1);
    let minutes = rows(&get(&sim, &range.replace("day", "minute")).await.json());
    let last = minutes.last().unwrap()["t"].as_i64().unwrap();
    assert!(last + 60_000 <= sim.now().as_millis() && last + 300_000 > sim.now().as_millis());
    let before = truth(&sim, "symbol=SPY").await.len();
    post(&sim, "/_sim/clock", r#"{"advance":"2m"}"#).await;
    assert!(!rows(&get(&sim, path).await.json()).is_empty());
    assert_eq!(truth(&sim, "symbol=SPY").await.len(), before + 1);
    post(&sim, "/_sim/clock", r#"{"now":"2026-01-05T00:00:00Z"}"#).await;
    assert_eq!(rows(&get(&sim, range).await.json()).len(), 3);
    for bad in
        ["{}", r#"{"now":"soon"}"#, r#"{"advance":"1y"}"#, r#"{"now":"2026-01-05T00:00:00Z","advance":"1d"}"#]
    {
        assert_eq!(post(&sim, "/_sim/clock", bad).await.status, 400, "{bad}");
    }
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn the_clock_starts_in_the_evening_of_the_last_session() {
    let sim = start(generated(5, 5)).await;
    assert_eq!(sim.now().as_seconds() / 60, 1_767_229_200 / 60);
    assert_eq!(sim.now().to_string()[..16], *"2026-01-01T01:00");
    let shape = sim.shape();
    assert_eq!((shape.symbols, shape.sessions, shape.last.to_string().as_str()), (5, 5, "2025-12-31"));
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn a_test_in_the_same_process_needs_no_http_for_control() {
    let now = "2025-12-30T12:00:00Z".parse().unwrap();
    let sim = start(SimConfig { now: Some(now), ..generated(50, 30) }).await;
    assert_eq!(sim.symbols().count(), 50);
    let spy = sim.truth("SPY");
    let told = truth(&sim, "symbol=SPY").await;
    assert_eq!((spy.len(), told.len()), (28, 28));
    for ((_, bar), row) in spy.iter().zip(&told) {
        let ours: Vec<_> = bar.iter().map(|x| (!x.is_nan()).then(|| x.to_bits())).collect();
        assert_eq!(ours, crate::client::bits(row));
    }
    sim.advance(std::time::Duration::from_secs(86_400));
    assert_eq!(sim.truth("SPY").len(), 29);
    assert!(sim.truth("NOSUCH").is_empty());
    sim.set_faults(&[(FaultName::Unavailable, 1.0)]).unwrap();
    assert_eq!(get(&sim, "/v3/reference/splits").await.status, 503);
    sim.set_faults(&[]).unwrap();
    assert_eq!(get(&sim, "/v3/reference/splits").await.status, 200);
    sim.reset_audit();
    assert_eq!(sim.audit().total, 0);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn the_universe_file_names_every_symbol() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("universe.csv");
    let sim = start(generated(400, 5)).await;
    sim.write_universe(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 401);
    assert!(text.starts_with("symbol,name,exchange,type,sector,industry,country,currency,market_cap,"));
    assert!(text.contains(",Technology,") && text.contains(",XNYS,"));
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn wrong_settings_are_refused_with_the_remedy() {
    let refused = |config: SimConfig| async { Simulator::start(config).await.err().unwrap() };
    let held = start(generated(5, 5)).await;
    let taken = refused(SimConfig { listen: held.addr(), ..generated(5, 5) }).await;
    assert!(matches!(taken, SimError::Bind { .. }) && taken.to_string().contains("port 0"), "{taken}");
    held.stop().await.unwrap();
    for (symbols, sessions) in [(0, 5), (5, 0), (200_000, 5), (5, 100_000)] {
        assert_eq!(refused(generated(symbols, sessions)).await.kind(), Kind::BadRequest);
    }
    let end = "1998-02-01".parse().unwrap();
    let early = MarketSource::Generated { symbols: 5, sessions: 252, seed: 1, end };
    let early = refused(SimConfig { market: early, ..SimConfig::default() }).await.to_string();
    assert!(early.contains("1998-01-02"), "{early}");
    let faults = vec![(FaultName::Stall, 1.5)];
    assert_eq!(refused(SimConfig { faults, ..generated(5, 5) }).await.kind(), Kind::BadRequest);
    let none = MarketSource::Recorded { files: vec!["/no/such.parquet".into()], universe: None };
    let none = refused(SimConfig { market: none, ..SimConfig::default() }).await;
    assert!(none.kind() == Kind::Precondition && none.to_string().contains("/no/such.parquet"), "{none}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.parquet");
    std::fs::write(&path, "symbol,date\n").unwrap();
    let text = MarketSource::Recorded { files: vec![path], universe: None };
    let text = refused(SimConfig { market: text, ..SimConfig::default() }).await.to_string();
    assert!(text.contains("text.parquet") && text.contains("columns"), "{text}");
}
