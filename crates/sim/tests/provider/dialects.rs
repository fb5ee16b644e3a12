//! The other providers' paths: the same market, each with its own quirks, limits and refusals.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use panscan_sim::{Dialect, Plan, Rate, SimConfig, Simulator};
use serde_json::Value;

use crate::client::{Reply, generated, post, send, start, truth};

const ALPACA: &str = "APCA-API-KEY-ID: id\r\nAPCA-API-SECRET-KEY: secret\r\n";
const BROWSER: &str = "User-Agent: Mozilla/5.0 (compatible; test)\r\n";

fn all(config: SimConfig) -> SimConfig {
    SimConfig { dialects: Dialect::ALL.iter().map(|&dialect| (dialect, None)).collect(), ..config }
}

async fn ask(sim: &Simulator, target: &str) -> Reply {
    let headers = match target.split('/').nth(1) {
        Some("alpaca") => ALPACA,
        Some("yahoo") => BROWSER,
        _ => "",
    };
    send(sim, "GET", target, headers, "").await.unwrap()
}

async fn with(sim: &Simulator, fault: &str) {
    assert_eq!(post(sim, "/_sim/faults", &format!("{{\"{fault}\":1}}")).await.status, 200);
}

/// A symbol that has a bar in each of the market's sessions.
async fn steady(sim: &Simulator, sessions: usize) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for row in truth(sim, "").await {
        *counts.entry(row["T"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts.into_iter().find(|(name, count)| *count == sessions && !name.contains('.')).unwrap().0
}

#[tokio::test]
async fn alpaca_pages_over_all_symbols_and_tells_its_limit() {
    let rate = Rate { calls: 200, window: Duration::from_secs(60) };
    let sim = start(SimConfig { dialects: vec![(Dialect::Alpaca, Some(rate))], ..generated(12, 20) }).await;
    let names: Vec<String> = sim.symbols().map(ToString::to_string).collect();
    let base = format!(
        "/alpaca/v2/stocks/bars?symbols={},NOSUCH&timeframe=1Day&start=2025-11-01&end=2025-12-31&limit=7",
        names.join(",")
    );
    let (mut token, mut seen, mut pages) = (String::new(), Vec::new(), 0_u64);
    loop {
        let reply = ask(&sim, &format!("{base}&page_token={token}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-ratelimit-limit"), "200");
        pages += 1;
        assert_eq!(reply.header("x-ratelimit-remaining"), (200 - pages).to_string());
        assert!(reply.header("x-ratelimit-reset").parse::<u64>().unwrap() > 1_600_000_000);
        let body = reply.json();
        let mut rows = 0;
        for (name, bars) in body["bars"].as_object().unwrap() {
            for bar in bars.as_array().unwrap() {
                rows += 1;
                assert!(bar["v"].is_i64() && bar["t"].as_str().unwrap().ends_with("05:00:00Z"), "{bar}");
                seen.push((name.clone(), bar.clone()));
            }
        }
        assert!(rows <= 7);
        match body["next_page_token"].as_str() {
            Some(next) => token = next.replace('=', "%3D").replace('+', "%2B").replace('/', "%2F"),
            None => break,
        }
    }
    let truth = truth(&sim, "").await;
    assert_eq!((seen.len(), pages), (truth.len(), truth.len().div_ceil(7) as u64));
    for ((name, bar), real) in seen.iter().zip(&truth) {
        assert_eq!(name, real["T"].as_str().unwrap());
        for field in ["o", "h", "l", "c", "vw"] {
            assert_eq!(bar[field].as_f64(), real[field].as_f64(), "{name} {field}");
        }
        assert_eq!(bar["v"].as_f64(), real["v"].as_f64().map(f64::floor));
    }
    // one exchange sees a fortieth
    let thin = ask(&sim, &format!("{base}&feed=iex&limit=1000").replace("limit=7&", "")).await.json();
    let bars = thin["bars"].as_object().unwrap();
    let bar = &bars[&names[0]][0];
    assert!(bar["v"].as_f64() < truth[0]["v"].as_f64().map(|v| v * 0.05), "{bar}");
    let latest = ask(&sim, &format!("/alpaca/v2/stocks/bars/latest?symbols={}", names[0])).await.json();
    assert!(latest["bars"][&names[0]].is_object());
    let audit = sim.audit();
    let own = &audit.dialects["alpaca"];
    assert_eq!((own.total, own.violations, own.window_limit), (pages + 2, 0, Some(200)));
    assert_eq!(audit.calls["/alpaca/v2/stocks/bars"], pages + 1);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn alpaca_refuses_in_its_own_words() {
    let keys = Some(vec!["id".to_owned()]);
    let sim = start(all(SimConfig { keys, plan: Plan::Free, ..generated(5, 10) })).await;
    let target = "/alpaca/v2/stocks/bars?symbols=SPY&timeframe=1Day&start=2025-12-01";
    let none = send(&sim, "GET", target, "", "").await.unwrap();
    assert_eq!((none.status, none.json()["message"].as_str()), (401, Some("unauthorized")));
    let other = ALPACA.replace(": id", ": other");
    assert_eq!(send(&sim, "GET", target, &other, "").await.unwrap().status, 403);
    // the clock stands at 20:00 of the last session
    let recent = ask(&sim, &format!("{target}&end=2026-01-01T00:59:00Z")).await;
    assert_eq!((recent.status, recent.json()["code"].as_u64()), (403, Some(42_210_000)));
    assert_eq!(ask(&sim, &format!("{target}&end=2026-01-01T00:59:00Z&feed=iex")).await.status, 200);
    assert_eq!(ask(&sim, &format!("{target}&end=2026-01-01T00:40:00Z")).await.status, 200);
    for bad in ["&limit=10001", "&feed=tape", "&end=2025-11-01", "&adjustment=none", "&page_token=x"] {
        assert_eq!(ask(&sim, &format!("{target}{bad}")).await.status, 400, "{bad}");
    }
    with(&sim, "key_revoked").await;
    assert_eq!(ask(&sim, target).await.status, 401);
    with(&sim, "503").await;
    assert_eq!(ask(&sim, target).await.status, 503);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn yahoo_widens_adjusts_and_leaves_holes() {
    let sim = start(all(generated(40, 120))).await;
    let name = steady(&sim, 120).await;
    let real = truth(&sim, &format!("symbol={name}")).await;
    let split = format!(
        "{{\"split\":{{\"symbol\":\"{name}\",\"execution_date\":\"2025-12-15\",\"split_from\":1,\"split_to\":4}},\
         \"halt\":{{\"symbol\":\"{name}\",\"from\":\"2025-12-10\",\"to\":\"2025-12-10\"}}}}"
    );
    assert_eq!(post(&sim, "/_sim/market", &split).await.status, 200);
    let span = "period1=1748736000&period2=1767225600&interval=1d&events=split|div";
    let reply = ask(&sim, &format!("/yahoo/v8/finance/chart/{name}?{span}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    let result = &body["chart"]["result"][0];
    let stamps = result["timestamp"].as_array().unwrap();
    let close = result["indicators"]["quote"][0]["close"].as_array().unwrap();
    assert_eq!((stamps.len(), close.len()), (real.len(), real.len()));
    let first = real[0]["c"].as_f64().unwrap();
    assert_eq!(close[0].as_f64(), Some(f64::from((first * 0.25) as f32)));
    // 09:30 Eastern of 2025-12-10, a session without a bar
    let hole = stamps.iter().position(|stamp| stamp == 1_765_377_000).unwrap();
    let quote = result["indicators"]["quote"][0].as_object().unwrap();
    assert!(quote.values().all(|column| column[hole].is_null()));
    let events = result["events"]["splits"].as_object().unwrap();
    assert_eq!(events.values().next().unwrap()["splitRatio"], "4:1");
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn yahoo_has_odd_ends() {
    let sim = start(all(generated(40, 60))).await;
    let name = steady(&sim, 60).await;
    let chart = |name: &str, query: &str| format!("/yahoo/v8/finance/chart/{name}?{query}");
    let unknown = ask(&sim, &chart("NOSUCH", "interval=1d")).await;
    assert_eq!((unknown.status, unknown.json()["chart"]["error"]["code"].as_str()), (404, Some("Not Found")));
    let none = ask(&sim, &chart(&name, "period1=946684800&period2=946771200&interval=1d")).await.json();
    let result = &none["chart"]["result"][0];
    assert!(result.get("timestamp").is_none());
    assert_eq!(result["indicators"]["quote"], serde_json::json!([{}]));
    // a short span is stamped five minutes after the close, a long one at the open
    let stamp = async |query: &str| -> Value {
        let body = ask(&sim, &chart(&name, query)).await.json();
        body["chart"]["result"][0]["timestamp"].as_array().unwrap().last().unwrap().clone()
    };
    assert_eq!(stamp("period1=1767139200&period2=1767225600&interval=1d").await, 1_767_215_100);
    assert_eq!(stamp("period1=1764547200&period2=1767225600&interval=1d").await, 1_767_191_400);
    assert_eq!(
        ask(&sim, &chart(&name, "period1=1764547200&period2=1767225600&interval=1m")).await.status,
        422
    );
    let minutes = ask(&sim, &chart(&name, "period1=1767139200&period2=1767225600&interval=1m")).await.json();
    let result = &minutes["chart"]["result"][0];
    assert!(result["timestamp"].as_array().unwrap().len() >= 389);
    assert!(result["indicators"].get("adjclose").is_none());
    // while a session runs its bar is partial and stamped now
    let clock = r#"{"now":"2025-12-31T17:00:00Z"}"#;
    assert_eq!(post(&sim, "/_sim/clock", clock).await.status, 200);
    let now = stamp("period1=1764547200&period2=1767225600&interval=1d").await.as_i64().unwrap();
    assert!((1_767_200_400..1_767_200_460).contains(&now), "{now}");
    // whoever is no browser, and whoever asks too often, gets plain text
    let bare = send(&sim, "GET", &chart(&name, "interval=1d"), "", "").await.unwrap();
    assert_eq!((bare.status, bare.text().as_str()), (429, "Edge: Too Many Requests"));
    assert_eq!(bare.header("content-type"), "text/plain");
    with(&sim, "key_revoked").await;
    assert!(ask(&sim, &chart(&name, "interval=1d")).await.json()["finance"]["error"].is_object());
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn alpha_vantage_tells_everything_as_text_with_status_200() {
    let day = Rate { calls: 6, window: Duration::from_secs(86_400) };
    let minute = Rate { calls: 1, window: Duration::from_secs(60) };
    let sim =
        start(SimConfig { dialects: vec![(Dialect::AlphaVantage, Some(day))], ..generated(40, 120) }).await;
    let name = steady(&sim, 120).await;
    let query = |rest: &str| format!("/alphavantage/query?apikey=k&symbol={name}&{rest}");
    let body = ask(&sim, &query("function=TIME_SERIES_DAILY")).await;
    let text = body.text();
    let series = body.json()["Time Series (Daily)"].as_object().unwrap().clone();
    assert_eq!(series.len(), 100);
    assert!(text.find("2025-12-31").unwrap() < text.find("2025-12-30").unwrap(), "newest first");
    let real = truth(&sim, &format!("symbol={name}")).await;
    let last = real.last().unwrap();
    let bar = &series["2025-12-31"];
    assert_eq!(bar["4. close"].as_str().unwrap().parse::<f64>().unwrap(), last["c"].as_f64().unwrap());
    assert_eq!(
        bar["5. volume"].as_str().unwrap().parse::<f64>().unwrap(),
        last["v"].as_f64().unwrap().floor()
    );
    let all = ask(&sim, &query("function=TIME_SERIES_DAILY&outputsize=full")).await.json();
    assert_eq!(all["Time Series (Daily)"].as_object().unwrap().len(), 120);
    let month = "function=TIME_SERIES_INTRADAY&interval=5min&month=2025-12&outputsize=full&adjusted=false";
    let minutes = ask(&sim, &query(month)).await.json();
    let minutes = minutes["Time Series (5min)"].as_object().unwrap();
    assert!(minutes.contains_key("2025-12-31 09:30:00") && !minutes.contains_key("2025-11-28 09:30:00"));
    let paid = ask(&sim, &query("function=TIME_SERIES_DAILY_ADJUSTED")).await;
    assert!(paid.status == 200 && paid.json()["Information"].as_str().unwrap().contains("premium"));
    let unknown = ask(&sim, "/alphavantage/query?apikey=k&symbol=NOSUCH&function=TIME_SERIES_DAILY").await;
    assert!(unknown.json()["Error Message"].as_str().unwrap().contains("Invalid API call"));
    let keyless = ask(&sim, "/alphavantage/query?symbol=SPY&function=TIME_SERIES_DAILY").await;
    assert!(keyless.json()["Error Message"].as_str().unwrap().contains("apikey"));
    assert!(ask(&sim, &query("function=GLOBAL_QUOTE")).await.json()["Global Quote"]["05. price"].is_string());
    let seventh = ask(&sim, &query("function=GLOBAL_QUOTE")).await;
    assert_eq!(seventh.status, 200);
    assert!(seventh.json()["Information"].as_str().unwrap().contains("6 requests per day"));
    assert_eq!(sim.audit().dialects["alphavantage"].violations, 1);
    let slow = SimConfig { dialects: vec![(Dialect::AlphaVantage, Some(minute))], ..generated(5, 5) };
    let slow = start(slow).await;
    ask(&slow, &query("function=GLOBAL_QUOTE")).await;
    let note = ask(&slow, &query("function=GLOBAL_QUOTE")).await.json();
    assert!(note["Note"].as_str().unwrap().contains("per minute"));
    sim.stop().await.unwrap();
}
