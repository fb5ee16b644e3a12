//! Looking after a store: counting, saving, bringing back, making smaller; and a disk that is full.

use std::fs;
use std::process::{Command, Stdio};

use crate::sample::{block, day, open, same, symbol};
use crate::tiers::{files, market, read_one, tier, write_one};
use panscan_cache::{CacheError, Census, Writer, backup, compact, restore, verify};
use panscan_core::block::{BarKey, BlockBuilder, Provenance};
use panscan_core::port::{BlockKey, SeriesStore};
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};

#[tokio::test]
async fn a_backup_beside_a_server_is_a_store_and_comes_back() {
    let (dir, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to = far.path().join("saved");
    let store = open(dir.path(), 0);
    let blocks = [day(1), day(2), symbol("BFp")].map(|key| (key.clone(), block(&key, 40, 9, 2)));
    store.write(&market(), &blocks).await.unwrap();
    store.write_note(&market(), "listings", Timestamp::from_seconds(1), b"body").await.unwrap();
    let mut steps = Vec::new();
    let copied = backup(dir.path(), &to, &mut |done, total| steps.push((done, total))).unwrap();
    assert_eq!((copied.blocks, copied.notes, copied.damaged.len()), (3, 1, 0));
    assert_eq!((steps.first(), steps.last()), (Some(&(0, 4)), Some(&(4, 4))));
    assert!(verify(&to, &mut |_, _| {}).unwrap().is_whole());
    assert!(matches!(backup(dir.path(), &to, &mut |_, _| {}), Err(CacheError::NotEmpty { .. })));
    let refused = restore(&to, dir.path(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(refused, CacheError::Locked { pid: Some(_), .. }), "{refused}");

    // One is lost, one is damaged, one is newer than the backup.
    let newer = block(&day(2), 40, 0, 3);
    write_one(&store, &day(2), &newer).await.unwrap();
    drop(store);
    let all = files(dir.path());
    fs::remove_file(&all[0]).unwrap();
    let pan = all.iter().find(|path| path.to_string_lossy().contains("symbols")).unwrap();
    fs::write(pan, b"x").unwrap();
    let copied = restore(&to, dir.path(), &mut |_, _| {}).unwrap();
    assert_eq!((copied.blocks, copied.notes, copied.kept), (2, 0, 2));
    let store = open(dir.path(), 0);
    for (key, expected) in [(&blocks[0].0, &blocks[0].1), (&day(2), &newer), (&blocks[2].0, &blocks[2].1)] {
        assert!(same(&read_one(&store, key).await.unwrap().0, expected), "{key:?}");
    }
    assert_eq!(tier(&store, "l3").errors, 0);
    let fresh = far.path().join("new");
    assert_eq!(restore(&to, &fresh, &mut |_, _| {}).unwrap().blocks, 3);
    assert_eq!(files(&fresh).len(), files(&to).len());
}

#[tokio::test]
async fn a_backup_that_is_not_whole_changes_nothing() {
    let (dir, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let to = far.path().join("saved");
    let store = open(dir.path(), 0);
    write_one(&store, &day(1), &block(&day(1), 3, 0, 1)).await.unwrap();
    write_one(&store, &day(2), &block(&day(2), 3, 0, 1)).await.unwrap();
    backup(dir.path(), &to, &mut |_, _| {}).unwrap();
    let saved = files(&to);
    let manifest = to.join("v1/manifest");
    let good = (fs::read(&saved[0]).unwrap(), fs::read(&manifest).unwrap());
    let mut flipped = good.0.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let fresh = far.path().join("new");
    for damage in 0..3 {
        match damage {
            0 => fs::write(&saved[0], &flipped).unwrap(),
            1 => fs::remove_file(&saved[0]).unwrap(),
            _ => fs::remove_file(&manifest).unwrap(),
        }
        let error = restore(&to, &fresh, &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, CacheError::NotWhole { .. }), "{damage}: {error}");
        assert!(!fresh.exists(), "{damage}");
        fs::write(&saved[0], &good.0).unwrap();
        fs::write(&manifest, &good.1).unwrap();
    }
    let damaged = files(dir.path()).remove(1);
    fs::write(&damaged, b"x").unwrap();
    let copied = backup(dir.path(), &far.path().join("other"), &mut |_, _| {}).unwrap();
    assert_eq!((copied.blocks, copied.damaged.len()), (1, 1));
    assert_eq!(copied.damaged[0].path, damaged);
}

#[tokio::test]
async fn a_census_counts_what_is_there_and_who_writes() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Census::take(dir.path()), Err(CacheError::Absent { .. })));
    let store = open(dir.path(), 0);
    let blocks = [day(2), day(1), symbol("B"), symbol("A")].map(|key| (key.clone(), block(&key, 40, 9, 2)));
    store.write(&market(), &blocks).await.unwrap();
    store.write_note(&market(), "listings", Timestamp::from_seconds(1), b"body").await.unwrap();
    let census = Census::take(dir.path()).unwrap();
    assert_eq!(census.writer, Writer::Process(Some(std::process::id())));
    assert_eq!((census.markets(), census.notes, census.manifest), (vec![market()], 1, "whole"));
    let days = &census.holdings[&(market(), Timeframe::Day)];
    assert_eq!((days.days.len(), days.symbols.len(), days.days[0] < days.days[1]), (2, 0, true));
    let symbols = &census.holdings[&(market(), Timeframe::Minutes(5))].symbols;
    assert_eq!(symbols.iter().map(Symbol::as_str).collect::<Vec<_>>(), ["A", "B"]);
    assert!(same(&census.block(&market(), &day(1)).unwrap().unwrap(), &blocks[1].1));
    assert!(census.block(&market(), &day(7)).unwrap().is_none());
    assert_eq!(census.note(&market(), "listings").unwrap().unwrap(), b"body");
    fs::write(&files(dir.path())[0], b"x").unwrap();
    assert!(matches!(census.block(&market(), &day(1)), Err(CacheError::Damaged { .. })));
}

#[tokio::test]
async fn compaction_drops_what_is_held_twice_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 0);
    let bar = |price: f64| [price, price, price, price, 100.0, f64::NAN, 3.0];
    let made = || Provenance { provider: "test".into(), fetched_at: Timestamp::from_seconds(1) };
    let key = |n| match day(n) {
        BlockKey::Day(date) => BarKey::session(date),
        BlockKey::Symbol(..) => unreachable!(),
    };
    for n in 0..2 {
        let mut builder = BlockBuilder::new(Timeframe::Day);
        for name in ["A", "B"] {
            builder.push(name, key(n), bar(f64::from(n) + 1.0));
        }
        write_one(&store, &day(n), &builder.finish(None, Some(&[key(n)]), made()).0).await.unwrap();
    }
    // Alike; a session that is not held; another price; nothing traded and nothing held.
    let cases =
        [("A", vec![0, 1], 0.0), ("C", vec![0, 7], 0.0), ("B", vec![1], 0.25), ("Z", vec![0, 1], f64::NAN)];
    for (name, rows, more) in &cases {
        let mut builder = BlockBuilder::new(Timeframe::Day);
        for n in rows.iter().filter(|_| !more.is_nan()) {
            builder.push(name, key(*n), bar(f64::from(*n) + 1.0 + more));
        }
        let (only, keys) = ([Symbol::new(name).unwrap()], rows.iter().map(|n| key(*n)).collect::<Vec<_>>());
        let made = builder.finish(Some(&only), Some(&keys), made()).0;
        write_one(&store, &BlockKey::Symbol(Timeframe::Day, only[0].clone()), &made).await.unwrap();
    }
    assert!(matches!(compact(dir.path(), &mut |_, _| {}), Err(CacheError::Locked { .. })));
    drop(store);
    let aside = dir.path().join("v1/test-market/1d/days/x.pan.damaged");
    let torn = dir.path().join("v1/test-market/1d/days/.unfinished-3");
    let stranger = dir.path().join("v1/test-market/1d/days/readme");
    [&aside, &torn, &stranger].iter().for_each(|path| fs::write(path, b"12345").unwrap());
    fs::create_dir_all(dir.path().join("v1/other/1d/days")).unwrap();
    let done = compact(dir.path(), &mut |_, _| {}).unwrap();
    assert_eq!((done.leftovers, done.doubles, done.folders), (2, 2, 3), "{done:?}");
    assert!(done.freed_bytes > 10 && !aside.exists() && !torn.exists() && stranger.exists());
    let census = Census::take(dir.path()).unwrap();
    let left = &census.holdings[&(market(), Timeframe::Day)];
    assert_eq!(left.symbols.iter().map(Symbol::as_str).collect::<Vec<_>>(), ["B", "C"]);
    assert_eq!(left.days.len(), 2);
    assert!(verify(dir.path(), &mut |_, _| {}).unwrap().is_whole());
}

/// The folder that the child below writes to; it ends at once in any other.
const MARK: &str = "written-by-full-disk-test";

#[tokio::test]
#[ignore = "the child process of `a_full_disk_is_an_error_and_never_a_corrupt_store`"]
async fn child_on_a_full_disk() {
    let dir = std::env::current_dir().unwrap();
    if !dir.join(MARK).exists() {
        return;
    }
    let store = open(&dir, 1 << 20);
    let (small, large) = (block(&day(1), 40, 0, 2), block(&day(2), 4000, 0, 2));
    write_one(&store, &day(1), &small).await.unwrap();
    let error = write_one(&store, &day(2), &large).await.unwrap_err().to_string();
    assert!(error.contains("free space") && error.contains("PANSCAN_L3_BYTES"), "{error}");
    let (found, tier_name) = read_one(&store, &day(2)).await.unwrap();
    assert!(same(&found, &large) && tier_name == "l1", "memory still answers");
    assert_eq!(tier(&store, "l3").errors, 1);
    write_one(&store, &day(3), &small_again()).await.unwrap();
    fs::write(dir.join(MARK), "done").unwrap();
}

fn small_again() -> panscan_core::block::Block {
    block(&day(3), 40, 0, 2)
}

/// A limit on the size of a file stands for the disk: the write fails halfway through the same way.
#[tokio::test]
async fn a_full_disk_is_an_error_and_never_a_corrupt_store() {
    let dir = tempfile::tempdir().unwrap();
    let old = block(&day(2), 4000, 0, 1);
    write_one(&open(dir.path(), 0), &day(2), &old).await.unwrap();
    fs::write(dir.path().join(MARK), "").unwrap();
    let script = "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "upkeep::child_on_a_full_disk", "--nocapture", "--test-threads=1"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(fs::read_to_string(dir.path().join(MARK)).unwrap(), "done", "{said}");
    let report = verify(dir.path(), &mut |_, _| {}).unwrap();
    assert!(report.is_whole() && report.blocks == 3, "{report:?}");
    let store = open(dir.path(), 0);
    assert!(same(&read_one(&store, &day(2)).await.unwrap().0, &old), "what was there stays");
    assert!(same(&read_one(&store, &day(1)).await.unwrap().0, &block(&day(1), 40, 0, 2)));
    assert!(same(&read_one(&store, &day(3)).await.unwrap().0, &small_again()));
}
