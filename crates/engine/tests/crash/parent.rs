//! The parent of a writer that is killed: what it may find afterwards, and what it does find.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use panscan_cache::{Report, Tiers, verify};
use panscan_core::port::SeriesStore as _;
use panscan_core::time::Timestamp;

use crate::Counts;
use crate::contents::{BLOCKS, KEYS, block, block_key, market, note, note_name, open, path_of, same};
use crate::damage::{self, Hurt, Kind};
use crate::writer::instruct;

/// Bytes of the file tier where nothing is to be given up.
const ROOM: u64 = 1 << 30;
/// Bytes in a round in which much is given up.
const LITTLE_ROOM: u64 = 200 << 10;

/// A store that is killed and damaged again and again.
pub(crate) struct Store {
    folder: tempfile::TempDir,
    /// Version of what was acknowledged last, by key; 0: nothing is there.
    kept: [u64; KEYS],
    version: u64,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

/// What may be found of a key after a kill.
#[derive(Debug, Clone, Copy)]
struct May {
    kept: u64,
    /// Begun and not acknowledged.
    begun: Option<u64>,
    /// It may have been given up for room, or found damaged.
    gone: bool,
}

impl Store {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, kept: [0; KEYS], version: 1, before: BTreeMap::new() }
    }

    /// One kill, some damage, and a look at everything.
    pub(crate) async fn round(&mut self, random: &mut fastrand::Rng, counts: &mut Counts) {
        let dir = self.folder.path().to_owned();
        let room = if random.u8(0..8) == 0 { LITTLE_ROOM } else { ROOM };
        instruct(&dir, self.version, random.u64(..), room);
        let mut may = self.kept.map(|kept| May { kept, begun: None, gone: room != ROOM });
        let mut child = spawn("writer::child", &dir);
        let mut newest = self.version;
        let acknowledged = killed(&mut child, random, |line| heard(line, &mut may, &mut newest));
        counts.acknowledged += acknowledged;
        self.version = newest + 1;

        let hurt = if random.u8(0..3) > 0 {
            damage::strike(&dir, random, &self.before, |_| true)
        } else {
            Hurt::new()
        };
        let report = verify(&dir, &mut |_, _| {});
        // A child that was killed before it made its folder leaves no store.
        if let Ok(report) = &report {
            check_report(&dir, report, &hurt, &may, counts);
        }
        self.before = damage::files(&dir);
        counts.hurt += hurt.len() as u64;
        let store = open(&dir, ROOM);
        let mut found_damaged = 0;
        for key in 0..KEYS {
            let path = path_of(&dir, key);
            let kind = hurt.get(&path).copied();
            let mut may = may[key];
            may.gone |= kind.is_some();
            let found = read(&store, key).await;
            if let Some(version) = found {
                counts.read += 1;
                let wrong = kind.is_some_and(|kind| kind != Kind::Older || may.begun.is_none());
                assert!(!wrong, "key {key}, {kind:?}: a damaged file was served");
                assert!(
                    version == may.kept || Some(version) == may.begun,
                    "key {key}: version {version} was served, not {may:?}"
                );
            } else {
                assert!(
                    may.gone || may.kept == 0 || may.begun == Some(0),
                    "key {key} is lost: {may:?}, {hurt:?}"
                );
                found_damaged +=
                    u64::from(kind.is_some_and(|kind| kind != Kind::Removed && kind != Kind::Older));
            }
            self.kept[key] = found.unwrap_or(0);
        }
        let errors: u64 = store.stats().iter().filter(|tier| tier.tier == "l3").map(|tier| tier.errors).sum();
        assert!(errors >= found_damaged, "{errors} reported, {found_damaged} damaged: {hurt:?}");
        self.repair(&store, &hurt, counts).await;
        drop(store);
        let report = verify(&dir, &mut |_, _| {}).unwrap();
        assert!(report.is_whole(), "after the store was opened and read: {report:?}");
        remove_set_aside(&report);
    }

    /// Writes what was damaged again, as whoever fetches it again would.
    async fn repair(&mut self, store: &Tiers, hurt: &Hurt, counts: &mut Counts) {
        for key in 0..KEYS {
            let path = path_of(self.folder.path(), key);
            if self.kept[key] != 0 || !hurt.contains_key(&path) {
                continue;
            }
            let version = self.version;
            if key < BLOCKS {
                store.write(&market(), &[(block_key(key), block(key, version))]).await.unwrap();
            } else {
                let at = Timestamp::from_nanos(version as i64);
                store.write_note(&market(), &note_name(key), at, &note(key, version)).await.unwrap();
            }
            assert_eq!(read(store, key).await, Some(version));
            self.kept[key] = version;
            counts.again += 1;
        }
        self.version += 1;
    }
}

/// Reads a key and holds it against what its version says, to the bit.
async fn read(store: &Tiers, key: usize) -> Option<u64> {
    if key < BLOCKS {
        let found = store.read(&market(), &[block_key(key)]).await.remove(0)?;
        let version = found.block.provenance().fetched_at.as_nanos() as u64;
        assert!(same(&found.block, &block(key, version)), "key {key}: wrong values of version {version}");
        return Some(version);
    }
    let (at, body) = store.read_note(&market(), &note_name(key)).await?;
    let version = at.as_nanos() as u64;
    assert!(body == note(key, version), "key {key}: a wrong note of version {version}");
    Some(version)
}

/// What is damaged must be named, and nothing else.
fn check_report(dir: &Path, report: &Report, hurt: &Hurt, may: &[May; KEYS], counts: &mut Counts) {
    for file in &report.damaged {
        assert!(hurt.contains_key(&file.path), "{} was not touched: {}", file.path.display(), file.message);
    }
    // A manifest that lost the line of what was given up misses it.
    let forgetful = hurt.contains_key(&dir.join("v1/manifest"));
    for path in report.missing.iter().filter(|_| !forgetful) {
        assert_eq!(hurt.get(path), Some(&Kind::Removed), "{} is missing", path.display());
    }
    for (key, may) in may.iter().enumerate() {
        let path = path_of(dir, key);
        let Some(kind) = hurt.get(&path) else { continue };
        let damaged = report.damaged.iter().any(|file| file.path == path);
        let missing = report.missing.contains(&path);
        counts.detected += u64::from(damaged);
        counts.missing += u64::from(missing);
        match kind {
            // Not acknowledged: it may never have been written down.
            Kind::Removed | Kind::Older if may.begun.is_some() => {}
            Kind::Removed => assert!(missing, "key {key} is gone and not missed"),
            _ => assert!(damaged, "key {key} is {kind:?} and was not found out"),
        }
    }
}

/// Files set aside are looked at by nobody here.
fn remove_set_aside(report: &Report) {
    report.set_aside.iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

/// Starts this program again as one of its ignored tests.
pub(crate) fn spawn(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture", "--test-threads=1"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets a child work for a while, kills it and hears it out; answers how often it said that something was done.
pub(crate) fn killed(child: &mut Child, random: &mut fastrand::Rng, mut hear: impl FnMut(&str)) -> u64 {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut done = 0;
    let mut listen = |lines: &mut dyn Iterator<Item = String>, until: u64| {
        let mut here = 0;
        while here < until {
            let Some(line) = lines.next() else { break };
            hear(&line);
            here += u64::from(line.starts_with("done "));
        }
        done += here;
    };
    if random.u8(0..6) == 0 {
        // While it starts, which opens the store.
        std::thread::sleep(Duration::from_micros(random.u64(0..60_000)));
    } else {
        listen(&mut lines, random.u64(1..25));
        // Spread over the steps of a write.
        for _ in 0..random.u32(0..600_000) {
            std::hint::spin_loop();
        }
    }
    child.kill().unwrap();
    listen(&mut lines, u64::MAX);
    child.wait().unwrap();
    done
}

fn heard(line: &str, may: &mut [May; KEYS], newest: &mut u64) {
    let words: Vec<&str> = line.split(' ').collect();
    let [what @ ("begin" | "done"), version, key] = words[..] else { return };
    let (Ok(version), Ok(key)) = (version.parse::<u64>(), key.parse::<usize>()) else { return };
    *newest = version.max(*newest);
    let may = &mut may[key];
    match what {
        "begin" => may.begun = Some(version),
        _ => (may.kept, may.begun) = (version, None),
    }
}
