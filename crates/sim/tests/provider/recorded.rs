//! Recorded bars: a small file made here for everyone, and the real ones where they lie beside the project.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Float64Array, RecordBatch, StringArray};
use panscan_core::calendar::Calendar;
use panscan_core::time::SessionDate;
use panscan_sim::{MarketSource, SimConfig, Simulator};
use parquet::arrow::ArrowWriter;

use crate::client::{generated, get, rows, start, truth};

/// The folder of recorded data, unless it is absent, which is said by name.
fn data(test: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests find recorded data by this name")]
    let named = std::env::var_os("PANSCAN_TEST_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = named.unwrap_or(beside);
    if folder.join("daily").is_dir() {
        return Some(folder);
    }
    #[expect(clippy::print_stderr, reason = "a skipped test must say so")]
    {
        eprintln!("skipped {test}: no recorded data in {}", folder.display());
    }
    None
}

fn config(files: Vec<PathBuf>, universe: Option<PathBuf>) -> SimConfig {
    SimConfig { market: MarketSource::Recorded { files, universe }, ..SimConfig::default() }
}

#[tokio::test]
async fn a_file_with_defects_is_served_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daily.parquet");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("symbol", Arc::new(StringArray::from(vec!["NA", "NA", "NAN"]))),
        ("date", Arc::new(Date32Array::from(vec![16_804, 16_805, 16_805]))),
        ("open", Arc::new(Float64Array::from(vec![Some(10.125), None, Some(0.000_4)]))),
        ("high", Arc::new(Float64Array::from(vec![Some(9.0), Some(11.0), Some(0.000_5)]))),
        ("low", Arc::new(Float64Array::from(vec![9.5, 10.0, 0.000_3]))),
        ("close", Arc::new(Float64Array::from(vec![45.560_001, 10.5, 0.000_4]))),
        ("volume", Arc::new(Float64Array::from(vec![0.0, 3.0, 200.5]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let sim = start(config(vec![path.clone()], None)).await;
    assert!(sim.market_id().starts_with("rec-"));
    let body = get(&sim, "/v2/aggs/grouped/locale/us/market/stocks/2016-01-04").await.json();
    let row = &rows(&body)[0];
    assert_eq!(
        (row["T"].as_str(), row["c"].as_f64(), row["h"].as_f64()),
        (Some("NA"), Some(45.560_001), Some(9.0))
    );
    assert_eq!((row["v"].as_f64(), row.get("vw"), row.get("n")), (Some(0.0), None, None));
    let body = get(&sim, "/v2/aggs/grouped/locale/us/market/stocks/2016-01-05").await.json();
    let both = rows(&body);
    assert!(
        both.len() == 2 && both[0].get("o").is_none() && both[1]["T"] == "NAN" && both[1]["o"] == 0.000_4
    );
    assert_eq!(rows(&get(&sim, "/v3/reference/tickers").await.json()).len(), 2);
    assert_eq!(truth(&sim, "").await.len(), 3);
    sim.stop().await.unwrap();

    let missing =
        RecordBatch::try_from_iter(vec![("symbol", Arc::new(StringArray::from(vec!["A"])) as ArrayRef)])
            .unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), missing.schema(), None).unwrap();
    writer.write(&missing).unwrap();
    writer.close().unwrap();
    let fault = panscan_sim::Simulator::start(config(vec![path], None)).await.err().unwrap().to_string();
    assert!(fault.contains("daily.parquet") && fault.contains("`open`"), "{fault}");
}

#[tokio::test]
async fn the_market_of_2016_is_served() {
    let Some(folder) = data("the_market_of_2016_is_served") else { return };
    let file = folder.join("daily/us_universe_daily_2016.parquet");
    let sim = start(config(vec![file], Some(folder.join("universe/us_universe_2016_join.csv.gz")))).await;
    let shape = sim.shape();
    assert_eq!((shape.symbols, shape.sessions, shape.days), (6_596, 252, 1_517_173));
    let thin = get(&sim, "/v2/aggs/grouped/locale/us/market/stocks/2016-09-01").await.json();
    assert_eq!(thin["resultsCount"], 4_981);
    let a = get(&sim, "/v2/aggs/ticker/A/range/1/day/2016-12-30/2016-12-30").await.json();
    assert_eq!(rows(&a)[0]["c"], 45.560_001);
    let details = get(&sim, "/v3/reference/tickers/A").await.json();
    assert_eq!(details["results"]["primary_exchange"], "XNYS");
    assert_eq!(details["results"]["market_cap"].as_f64(), Some(36_874_107_539.0));
    let path = std::env::temp_dir().join(format!("panscan-sim-{}.csv", std::process::id()));
    sim.write_universe(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(text.lines().count(), 6_597);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn recorded_minutes_and_defective_days_are_served() {
    let Some(folder) = data("recorded_minutes_and_defective_days_are_served") else { return };
    let minutes = folder.join("minute/eqker_minute_2019-02.parquet");
    let universe = folder.join("universe/us_symbols_2026-08-22.csv.gz");
    let sim =
        start(config(vec![folder.join("daily/lean_daily_long.parquet"), minutes], Some(universe))).await;
    let msft = get(&sim, "/v3/reference/tickers/MSFT").await.json();
    assert_eq!(msft["results"]["primary_exchange"], "XNAS");
    let body =
        get(&sim, "/v2/aggs/ticker/AAPL/range/1/minute/2019-02-12/2019-02-12?limit=50000").await.json();
    assert!((380..=391).contains(&rows(&body).len()), "{}", rows(&body).len());
    let hours = rows(&get(&sim, "/v2/aggs/ticker/AAPL/range/1/hour/2019-02-12/2019-02-12").await.json());
    assert_eq!(hours.len(), 7);
    assert_eq!(sim.shape().minutes, 25_819);
    let long = get(&sim, "/v2/aggs/ticker/SPY/range/1/day/1998-01-01/2021-12-31?limit=50000").await.json();
    assert_eq!(rows(&long).len(), 5_849);
    sim.stop().await.unwrap();

    let sim = start(config(vec![folder.join("daily/sp500_daily_2013_2018.parquet")], None)).await;
    let body = get(&sim, "/v2/aggs/ticker/BHF/range/1/day/2017-07-26/2017-07-26").await.json();
    assert!(rows(&body)[0].get("o").is_none() && rows(&body)[0]["v"] == 3, "{body}");
    sim.stop().await.unwrap();

    let seconds = config(vec![folder.join("minute/lean_second_trades_2013-10-07_08.parquet")], None);
    let fault = panscan_sim::Simulator::start(seconds).await.err().unwrap().to_string();
    assert!(fault.contains("lean_second_trades") && fault.contains("minute"), "{fault}");
}

/// Not a measurement: only that a grouped day is no work of seconds in the build that tests use.
#[tokio::test]
async fn a_grouped_day_of_a_whole_market_is_quick() {
    let sim = start(generated(5_277, 20)).await;
    let began = std::time::Instant::now();
    for _ in 0..5 {
        get(&sim, "/v2/aggs/grouped/locale/us/market/stocks/2025-12-31").await;
    }
    println!("one grouped day: {:?}", began.elapsed() / 5);
    assert!(began.elapsed().as_secs() < 5);
    sim.stop().await.unwrap();
}

#[tokio::test]
async fn the_calendar_has_exactly_the_sessions_on_which_spy_traded() {
    let Some(folder) = data("the_calendar_has_exactly_the_sessions_on_which_spy_traded") else { return };
    let sim =
        Simulator::start(config(vec![folder.join("daily/lean_daily_long.parquet")], None)).await.unwrap();
    let traded: Vec<SessionDate> = sim.truth("SPY").into_iter().map(|(date, _)| date).collect();
    let (first, last) = (traded[0], *traded.last().unwrap());
    assert_eq!((first.to_string().as_str(), last.to_string().as_str()), ("1998-01-02", "2021-03-31"));
    assert_eq!(traded, Calendar::us_equities().sessions(first, last));
}
