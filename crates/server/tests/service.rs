//! The service and its callers as processes of their own: simulator, server, scans, bars, a whole demo.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test, in shared steps too")]

mod process;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use panscan_client::{
    Bars, Cell, Client, ClientError, GivenBars, IndicatorPart, IndicatorsQuery, ScanSpec, Timeframe, Values,
};
use panscan_core::range::BarRange;
use panscan_core::resample::Series;
use process::{Sim, assert_ends, interrupt, panscan, ready, run, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

/// A server against a simulator; both end when dropped.
struct Service {
    child: Child,
    url: String,
    sim: Sim,
    // Held for the store in it.
    _folder: TempDir,
}

fn serve(sim: &Sim, folder: &Path) -> Command {
    let store = folder.join("store");
    let mut command = panscan(&format!("serve --listen 127.0.0.1:0 --no-redis --store {}", store.display()));
    command.envs([
        ("PANSCAN_PROVIDER_URL", sim.url.as_str()),
        ("POLYGON_API_KEY", "k"),
        ("PANSCAN_RATE_LIMIT", "unlimited"),
        ("PANSCAN_CLOCK", "provider"),
        ("PANSCAN_HISTORY_DAILY", "40"),
    ]);
    command
}

impl Service {
    fn start() -> Self {
        Self::on(Sim::start("--symbols 60 --sessions 40 --rate unlimited"))
    }

    fn on(sim: Sim) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ready.json");
        let mut child = serve(&sim, folder.path())
            .args(["--warm", "--ready-file"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answer = ready(&file, &mut child);
        let url = format!("http://{}", answer["grpc"].as_str().unwrap());
        Self { child, url, sim, _folder: folder }
    }

    fn ask(&self, line: &str, words: &[&str]) -> Output {
        panscan(line).args(words).env("PANSCAN_SERVER", &self.url).output().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn scans_come_in_every_form() {
    let mut service = Service::start();
    let words = ["close > 0", "-c", "close", "-c", "s = sma(5)"];

    let lines = service.ask("scan -n 5 --rank-by close --strict --policy complete", &words);
    assert_ends(&lines, 0, "symbols scanned");
    let rows: Vec<Value> = stdout(&lines).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 5);
    assert!(stdout(&lines).starts_with("{\"rank\":1,\"symbol\":\""), "{}", stdout(&lines));
    assert!(rows.windows(2).all(|pair| pair[0]["close"].as_f64() >= pair[1]["close"].as_f64()));

    let document = service.ask("scan -n 5 --rank-by close -o json", &words);
    let document: Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!(document["rows"].as_array().unwrap(), &rows);
    assert_eq!(document["summary"]["returned"], 5);
    assert_eq!(document["header"]["columns"][1]["name"], "s");

    let csv = stdout(&service.ask("scan -n 5 --rank-by close -o csv", &words));
    assert!(csv.starts_with("rank,symbol,close,s\r\n"), "{csv}");
    let close: Vec<f64> =
        csv.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect();
    let expected: Vec<f64> = rows.iter().map(|row| row["close"].as_f64().unwrap()).collect();
    assert_eq!(close, expected);

    let arrow = service.ask("scan -n 5 --rank-by close -o arrow", &words);
    let mut reader = arrow_ipc::reader::StreamReader::try_new(arrow.stdout.as_slice(), None).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().num_rows(), 5);

    let symbol = rows[0]["symbol"].as_str().unwrap();
    let one = service.ask("scan -c close --quiet --symbols", &[symbol]);
    assert_eq!((stdout(&one).lines().count(), stderr(&one)), (1, String::new()));

    let snapshot = document["header"]["snapshot_id"].as_str().unwrap();
    assert_eq!(service.ask("scan -o csv --snapshot", &[snapshot]).status.code(), Some(0));
    assert_ends(&service.ask("scan --validate", &["rsi(14) < 30"]), 0, "valid");
    assert!(stdout(&service.ask("scan --explain -o table", &["rsi(14) < 30"])).contains("rsi"));

    assert_eq!(interrupt(&mut service.child), 0);
}

#[test]
fn what_is_wrong_with_a_scan_has_a_caret_and_a_code() {
    let service = Service::start();
    let wrong = service.ask("scan", &["rsi(14) < 30 and smaa(20) > close"]);
    assert_ends(&wrong, 3, "smaa");
    assert_ends(&wrong, 3, "^^^^");
    assert_ends(&service.ask("scan --explain", &["clos > 1"]), 3, "clos");
    assert_ends(&service.ask("scan --fail-empty", &["close < 0"]), 11, "no row");
    assert_ends(&service.ask("scan --as-of never", &[]), 2, "--as-of");
    assert_ends(&service.ask("scan --timeframe 7x", &[]), 2, "--timeframe");
    assert_ends(&service.ask("scan --symbols @/no/such/file", &[]), 9, "/no/such/file");
}

#[test]
fn bars_come_out_as_they_are_kept() {
    let service = Service::start();
    let rows = stdout(&service.ask("scan -n 1 -o csv", &["-c", "close"]));
    let symbol = rows.lines().nth(1).unwrap().split(',').nth(1).unwrap().to_owned();
    let bars = service.ask("fetch --last 3 -o csv", &[&symbol]);
    assert_ends(&bars, 0, "bars of 1 symbols");
    let text = stdout(&bars);
    assert!(text.starts_with("symbol,time,open,high,low,close,volume,vwap,trades\r\n"), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(service.ask("fetch --all --last 2", &[]).stdout.is_empty());
    let plan: Value =
        serde_json::from_slice(&service.ask("fetch --all --last 2 --dry-run", &[]).stdout).unwrap();
    assert_eq!(plan["provider_calls"], 0, "{plan}");
    assert_ends(&service.ask("fetch A --from 2025-02-01 --to 2025-01-01", &[]), 2, "lies before");
}

#[test]
fn a_renamed_company_comes_out_whole() {
    let sim = Sim::start("--symbols 60 --sessions 40 --rate unlimited");
    process::control(&sim, "/_sim/market", r#"{"rename":{"symbol":"SPY","to":"NEWCO","date":"2025-12-15"}}"#);
    let service = Service::on(sim);
    for (words, least) in [
        ("--from 2025-12-01 --to 2025-12-31 -o csv", 20),
        ("--from 2025-12-10 --to 2025-12-31 --timeframe 1h -o csv", 100),
    ] {
        let bars = service.ask(&format!("fetch NEWCO {words}"), &[]);
        assert_ends(&bars, 0, "bars of 1 symbols, 0 failed");
        let text = stdout(&bars);
        let before = text.lines().filter(|line| *line < "NEWCO,2025-12-15").count();
        assert!(text.lines().count() > least && before >= 10, "{text}");
    }
    let plan = service.ask("fetch NEWCO --timeframe 1m --from 2025-11-10 --to 2025-12-20 --dry-run", &[]);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    // The hours brought the minutes from the 10th on: what is missing lies under the former ticker alone.
    assert_eq!((&plan["provider_calls"], &plan["ranges"]), (&1.into(), &1.into()), "{plan}");
}

#[test]
fn nobody_there_is_five_and_says_what_to_do() {
    assert_ends(&run("scan --server http://127.0.0.1:1"), 5, "panscan serve");
    assert_ends(&run("fetch A --server http://127.0.0.1:1"), 5, "127.0.0.1:1");
    assert_ends(&run("scan --server ftp://x"), 2, "PANSCAN_SERVER");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let addr = service.url.trim_start_matches("http://");
    let taken = panscan(&format!("serve --listen {addr} --store {}", folder.path().display()))
        .envs([("PANSCAN_PROVIDER_URL", service.sim.url.as_str()), ("POLYGON_API_KEY", "k")])
        .output()
        .unwrap();
    assert_ends(&taken, 9, addr);
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let store = panscan(&format!("serve --listen 127.0.0.1:0 --store {}", file.display()))
        .envs([("PANSCAN_PROVIDER_URL", service.sim.url.as_str()), ("POLYGON_API_KEY", "k")])
        .output()
        .unwrap();
    assert_ends(&store, 9, &file.display().to_string());
    let universe = panscan(&format!("serve --listen 127.0.0.1:0 --universe {}", file.display()))
        .current_dir(folder.path())
        .env("POLYGON_API_KEY", "k")
        .output()
        .unwrap();
    assert_ends(&universe, 9, &file.display().to_string());
}

#[test]
fn a_key_that_is_refused_is_seven() {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::start("--keys right --rate unlimited");
    let refused = serve(&sim, folder.path()).output().unwrap();
    assert_ends(&refused, 7, "key");
}

/// All parts of an answer; each of these series fits in one message.
async fn parts(query: IndicatorsQuery) -> Vec<IndicatorPart> {
    let mut stream = query.send().await.unwrap();
    let mut parts = Vec::new();
    while let Some(part) = stream.next_part().await.unwrap() {
        parts.push(part);
    }
    let summary = stream.summary().unwrap();
    assert_eq!(summary.bars, parts.iter().map(|part| part.start.len() as u64).sum::<u64>());
    assert!(summary.complete, "{:?}", stream.diagnostics());
    parts
}

fn same(a: Cell<'_>, b: Cell<'_>) -> bool {
    match (a, b) {
        (Cell::Number(a), Cell::Number(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

fn along(bars: Bars) -> GivenBars {
    let trades = bars.trades.iter().map(|n| *n as f64).collect();
    let columns = [bars.open, bars.high, bars.low, bars.close, bars.volume, bars.vwap, trades];
    GivenBars { symbol: bars.symbol, bars: Series { start: bars.start, columns, forming: bars.forming } }
}

#[tokio::test]
async fn indicators_end_where_a_scan_stands() {
    const COLUMNS: [&str; 12] = [
        "sma(5)",
        "sma(20)",
        "vwap(20)",
        "rsi(14)",
        "ema(9)",
        "adx(5)",
        "macd(3, 8, 4).hist",
        "close > sma(10)",
        "stddev(close, 10)",
        "beta(10)",
        "rsi(3)@1w",
        "market_cap",
    ];
    let service = Service::start();
    let client = Client::connect(service.url.as_str()).await.unwrap();
    let scan = client.scan("").columns(COLUMNS).limit(100).complete().collect().await.unwrap();
    assert_eq!(scan.rows.len(), 60);
    let names: Vec<String> = scan.rows.iter().map(|row| row.symbol().to_owned()).collect();
    let query = COLUMNS.iter().fold(client.indicators(&names), |query, column| query.column(*column));
    let held = parts(query.clone()).await;
    assert_eq!(held.iter().map(|part| part.symbol.as_str()).collect::<Vec<_>>(), names);
    let last = parts(query.range(BarRange::Last(3))).await;
    for ((row, whole), short) in scan.rows.iter().zip(&held).zip(&last) {
        let from = whole.start.len() - short.start.len();
        assert_eq!((short.start.len(), &whole.start[from..]), (3, short.start.as_slice()));
        for (at, column) in scan.header.columns.iter().enumerate() {
            let cell = |part: &IndicatorPart, row: usize| format!("{:?}", part.columns[at].cell(row));
            let scanned = row.cell(&column.name).unwrap();
            let ended = whole.columns[at].cell(whole.start.len() - 1);
            assert!(same(ended, scanned), "{} {}: {ended:?} {scanned:?}", row.symbol(), column.name);
            (0..3).for_each(|row| assert_eq!(cell(whole, from + row), cell(short, row), "{}", column.name));
        }
    }

    // The same bars sent along give the same bits at every bar.
    let one = client.bars(&names[3]).send().await.unwrap().bars;
    let given = parts(client.indicators([""; 0]).over(along(one))).await;
    assert_eq!((given.len(), &given[0].symbol, &given[0].start), (1, &names[3], &held[3].start));
    for at in 0..4 {
        let (Values::Numbers(given), Values::Numbers(held)) = (&given[0].columns[at], &held[3].columns[at])
        else {
            panic!("no numbers");
        };
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(given), bits(held), "column {at}");
        assert!(!given.last().unwrap().is_nan(), "column {at}");
    }
}

#[tokio::test]
async fn indicators_run_over_minutes_and_refuse_what_has_no_series() {
    let service = Service::start();
    let client = Client::connect(service.url.as_str()).await.unwrap();
    let listed = client.symbols().send().await.unwrap();
    let names: Vec<String> = listed.symbols.iter().take(3).map(|s| s.symbol.to_string()).collect();
    let fives = Timeframe::Minutes(5);
    let query = client.indicators(&names).column("sma(20)").timeframe(fives).range(BarRange::Last(50));
    for (part, name) in parts(query).await.iter().zip(&names) {
        let bars = client.bars(name).timeframe(fives).last(69).send().await.unwrap().bars;
        assert_eq!((&part.symbol, part.start.len()), (name, 50));
        assert_eq!(part.start, bars.start[19..]);
        let Values::Numbers(values) = &part.columns[0] else { panic!("no numbers") };
        for (value, window) in values.iter().zip(bars.close.windows(20)) {
            assert_eq!(*value, window.iter().sum::<f64>() / 20.0);
        }
    }
    for (column, words) in [
        ("rank(close)", "columns[0]: rank(close) depends on other symbols"),
        ("sector", "columns[0]"),
        ("sma(rank(close), 5)", "columns[0]"),
        ("close +", "columns[0]"),
    ] {
        let error = client.indicators(&names).column(column).send().await.unwrap_err().to_string();
        assert!(error.contains(words), "{column}: {error}");
    }
    let mut bars = along(client.bars(&names[0]).send().await.unwrap().bars);
    bars.bars.start.swap(3, 4);
    let error = client.indicators([""; 0]).over(bars).send().await.unwrap_err().to_string();
    assert!(error.contains("inline_bars[0].start_time_ms"), "{error}");
    let unknown = client.indicators(["NOBODY"]).column("close").send().await.unwrap();
    assert_eq!(unknown.header().columns.len(), 1);
}

#[test]
fn a_scan_needs_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::start("--symbols 30 --sessions 10 --rate unlimited");
    let output = panscan("scan --local -n 3 -c close -o ndjson")
        .current_dir(folder.path())
        .envs([
            ("PANSCAN_PROVIDER_URL", sim.url.as_str()),
            ("POLYGON_API_KEY", "k"),
            ("PANSCAN_RATE_LIMIT", "unlimited"),
            ("PANSCAN_CLOCK", "provider"),
            ("PANSCAN_HISTORY_DAILY", "10"),
        ])
        .output()
        .unwrap();
    assert_ends(&output, 0, "3 of");
    assert_eq!(stdout(&output).lines().count(), 3);
}

#[test]
fn a_demo_ends_with_its_object() {
    let temp = tempfile::tempdir().unwrap();
    let output = panscan("demo --once --json --symbols 120 --sessions 30 --rate 500/s --seed 7")
        .env("TMPDIR", temp.path())
        .output()
        .unwrap();
    assert_ends(&output, 0, "provider calls");
    let text = stdout(&output);
    let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(report["symbols"], 120);
    assert_eq!(report["sessions"], 30);
    assert_eq!(report["seed"], 7);
    assert_eq!(report["limit_violations"], 0);
    assert_eq!(report["provider_calls_warm"], 0);
    assert_eq!(report["provider_calls_restart"], 0);
    assert!(report["rows"].as_u64().unwrap() > 0, "{report}");
    assert!(report["bars"].as_u64().unwrap() > 3_000, "{report}");
    assert!(report["provider_calls_cold"].as_u64().unwrap() <= 30 + 20, "{report}");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "the temporary folder is left");
}

#[test]
fn a_demo_can_be_interrupted() {
    let temp = tempfile::tempdir().unwrap();
    // At this rate the cold fetch takes minutes.
    let mut child = panscan("demo --symbols 50 --sessions 200 --rate 1/s")
        .env("TMPDIR", temp.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while std::fs::read_dir(temp.path()).unwrap().count() == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the demo ended by itself");
        std::thread::yield_now();
    }
    assert_eq!(interrupt(&mut child), 0);
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "the temporary folder is left");
}

#[tokio::test]
async fn saved_scans_and_statistics_come_through_the_client() {
    let service = Service::start();
    let client = Client::connect(service.url.as_str()).await.unwrap();
    let spec = ScanSpec {
        filter: "close > 0".to_owned(),
        columns: vec!["close".to_owned()],
        rank_by: "close".to_owned(),
        limit: 5,
        ..ScanSpec::default()
    };
    let made = client.create_saved_scan("top", "dearest", &spec).await.unwrap();
    assert_eq!((made.id.as_str(), made.description.as_str(), &made.spec), ("top", "dearest", &spec));
    let twice = client.create_saved_scan("top", "", &spec).await.unwrap_err();
    assert!(matches!(twice, ClientError::Precondition { .. }), "{twice}");
    let names: Vec<String> = client.saved_scans().await.unwrap().into_iter().map(|s| s.id).collect();
    assert!(names.contains(&"top".to_owned()) && names.contains(&"preset-balanced".to_owned()), "{names:?}");

    let run = client.scan("").saved("top").collect().await.unwrap();
    assert_eq!((run.summary.returned, run.summary.matched), (5, 60));
    let fewer = client.scan("").saved("top").limit(2).ascending().collect().await.unwrap();
    assert_eq!(fewer.summary.returned, 2);

    let mut changed = made.clone();
    changed.spec.limit = 3;
    let newer = client.update_saved_scan(&changed).await.unwrap();
    assert_eq!(client.get_saved_scan("top").await.unwrap(), newer);
    let stale = client.update_saved_scan(&made).await.unwrap_err();
    assert!(matches!(stale, ClientError::Precondition { .. }), "{stale}");
    assert!(client.delete_saved_scan("top", Some(&made.etag)).await.is_err());
    client.delete_saved_scan("top", Some(&newer.etag)).await.unwrap();
    let gone = client.get_saved_scan("top").await.unwrap_err();
    assert!(matches!(gone, ClientError::NotFound { .. }), "{gone}");

    let statistics =
        client.group_statistics(["close"]).by("exchange").percentiles([0.0, 100.0]).send().await.unwrap();
    let groups = &statistics.expressions[0].groups;
    assert!(groups.len() > 1 && groups.iter().map(|g| g.count + g.missing).sum::<u64>() <= 60);
    assert!(groups.iter().all(|g| g.count == 0 || g.percentiles[0] <= g.percentiles[1]), "{groups:?}");
}
