//! A process that is killed leaves its window to the next one.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::io::{BufRead, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use panscan_core::port::{BarAsk, BarSource, Clock, Errand};
use panscan_core::time::Timestamp;
use panscan_fetch::{Polygon, PolygonConfig, Secret};
use panscan_sim::{MarketSource, Rate, SimConfig, Simulator};

const NOW: Errand = Errand::interactive(0);

struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "this is the clock of the test")]
    fn now(&self) -> Timestamp {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_nanos(i64::try_from(now.as_nanos()).unwrap())
    }
}

const RATE: &str = "20/3s";

fn with_ledger(url: &str, folder: &str) -> Arc<Polygon> {
    let key = Some(Secret::new("any"));
    let mut config = PolygonConfig::new(url, key, RATE.parse().unwrap(), Arc::new(System));
    config.calls.ledger = Some(folder.into());
    Arc::new(Polygon::new(config).unwrap())
}

/// Calls as often as it may, with several callers.
async fn busy(polygon: &Arc<Polygon>, calls: usize) {
    let ask = BarAsk::Day("2025-12-31".parse().unwrap());
    let one = |_| async { polygon.fetch(&ask, NOW).await.map(|_| ()) };
    let done: Vec<_> = futures::stream::iter(0..calls).map(one).buffer_unordered(8).collect().await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
}

/// The process that is killed: told an address and a folder, it calls without end.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn a_process_to_be_killed() {
    let mut lines = std::io::stdin().lock().lines().map(Result::unwrap);
    let (Some(url), Some(folder)) = (lines.next(), lines.next()) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { busy(&with_ledger(&url, &folder), usize::MAX).await });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_its_window_to_the_next_one() {
    let end = "2025-12-31".parse().unwrap();
    let sim = Simulator::start(SimConfig {
        market: MarketSource::Generated { symbols: 10, sessions: 3, seed: 7, end },
        rate: Some(RATE.parse::<Rate>().unwrap()),
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let told = format!("{}\n{}\n", sim.url(), folder.path().display());
    for kill_at in [9, 27, 44] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_to_be_killed", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
        let began = Instant::now();
        while sim.audit().total < kill_at {
            assert!(began.elapsed() < Duration::from_secs(60), "no progress");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // SIGKILL: nothing is closed or flushed.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let polygon = with_ledger(&sim.url(), &folder.path().display().to_string());
    busy(&polygon, 25).await;
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(files.len() == 1 && files[0].to_string_lossy().starts_with("polygon-"), "{files:?}");
    let audit = sim.stop().await.unwrap();
    assert_eq!(audit.violations, 0);
    assert!(audit.peak_in_window <= 20 && audit.total >= 60, "{audit:?}");
}
