//! A process that writes is killed at any moment: what it acknowledged is there, whole, after a restart.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::sample::{block, day, open, same};
use panscan_cache::verify;
use panscan_core::port::SeriesStore;
use panscan_core::snapshot::MarketId;

const KEYS: i32 = 5;
const SYMBOLS: usize = 500;
/// The child works in a folder that has this file and ends at once in any other.
const MARK: &str = "written-by-kill-test";

/// The process that is killed: writes version after version and says which were acknowledged.
#[tokio::test]
#[ignore = "the child process of `acknowledged_blocks_survive_kill_9`"]
async fn child() {
    let dir = std::env::current_dir().unwrap();
    if !dir.join(MARK).exists() {
        return;
    }
    let store = open(&dir, 1 << 20);
    let market = MarketId::new("m");
    let mut out = std::io::stdout();
    let first: u64 = std::fs::read_to_string(dir.join(MARK)).unwrap().parse().unwrap();
    for version in first..first + 5000 {
        let keys = [version as i32 % KEYS, (version as i32 + 1) % KEYS].map(day);
        let blocks = keys.map(|key| (key.clone(), block(&key, SYMBOLS, 0, version)));
        store.write(&market, &blocks).await.unwrap();
        writeln!(out, "\nacknowledged {version}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn acknowledged_blocks_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let market = MarketId::new("m");
    let mut random = fastrand::Rng::with_seed(7);
    let mut last = 0_u64;
    let mut survivors: BTreeMap<i32, u64> = BTreeMap::new();
    for round in 0..12 {
        // The write that was under way at the kill may have been named without being acknowledged: skip it.
        std::fs::write(dir.path().join(MARK), (last + 2).to_string()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "kill::child", "--nocapture", "--test-threads=1"])
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map(|line| line.unwrap());
        let mut acknowledged = |lines: &mut dyn Iterator<Item = String>, until: usize| {
            for line in lines.filter(|l| l.starts_with("acknowledged ")).take(until) {
                let version: u64 = line["acknowledged ".len()..].parse().unwrap();
                for key in [version as i32 % KEYS, (version as i32 + 1) % KEYS] {
                    survivors.insert(key, version);
                }
                last = version;
            }
        };
        acknowledged(&mut lines, random.usize(1..12));
        // Spread the kill over the steps of a write.
        for _ in 0..random.u32(0..400_000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        acknowledged(&mut lines, usize::MAX);
        child.wait().unwrap();

        let report = verify(dir.path(), &mut |_, _| {}).unwrap();
        assert!(report.damaged.is_empty(), "round {round}: {:?}", report.damaged);
        let store = open(dir.path(), 0);
        for key in 0..KEYS {
            let found = store.read(&market, &[day(key)]).await.remove(0);
            let least = survivors.get(&key).copied().unwrap_or(0);
            match found {
                None => assert_eq!(least, 0, "round {round}: session {key} is lost"),
                Some(found) => {
                    let version = found.block.provenance().fetched_at.as_nanos() as u64;
                    assert!(version >= least, "round {round}: {version} of session {key}, not {least}");
                    assert!(same(&found.block, &block(&day(key), SYMBOLS, 0, version)));
                }
            }
        }
    }
    assert!(survivors.len() == KEYS as usize, "the rounds were too short to show anything: {survivors:?}");
}
