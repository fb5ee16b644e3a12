//! The store as its users see it: what is written comes back to the bit, also from another process's disk, and
//! what is damaged does not come back at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::sample::{block, day, open, same, symbol};
use panscan_cache::{CacheError, Tiers, TiersConfig, verify};
use panscan_core::block::Block;
use panscan_core::port::{BlockKey, SeriesStore, StoreError, TierStats};
use panscan_core::snapshot::MarketId;
use panscan_core::time::{Timeframe, Timestamp};

pub(crate) fn market() -> MarketId {
    MarketId::new("test-market")
}

pub(crate) fn tier(store: &Tiers, name: &str) -> TierStats {
    store.stats().into_iter().find(|t| t.tier == name).unwrap()
}

pub(crate) async fn read_one(store: &Tiers, key: &BlockKey) -> Option<(Block, &'static str)> {
    let found = store.read(&market(), std::slice::from_ref(key)).await;
    found.into_iter().next().unwrap().map(|found| (found.block, found.tier))
}

pub(crate) async fn write_one(store: &Tiers, key: &BlockKey, block: &Block) -> Result<(), StoreError> {
    store.write(&market(), &[(key.clone(), block.clone())]).await
}

/// Every file of the store that has a finished name, but the manifest.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut folders = vec![dir.join("v1")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.retain(|path| !path.ends_with("v1/manifest"));
    found.sort();
    found
}

#[tokio::test]
async fn comes_back_to_the_bit_from_each_tier_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let shapes = [(day(0), 1, 0), (day(1), 3000, 0), (symbol("BFp"), 0, 9), (symbol("BFP"), 0, 40_000)];
    let blocks: Vec<(BlockKey, Block)> =
        shapes.into_iter().map(|(k, n, rows)| (k.clone(), block(&k, n, rows, 1))).collect();
    let keys: Vec<BlockKey> = blocks.iter().map(|(key, _)| key.clone()).chain([day(7)]).collect();
    {
        let store = open(dir.path(), 64 << 20);
        store.write(&market(), &blocks).await.unwrap();
        for (found, (_, expected)) in store.read(&market(), &keys).await.iter().zip(&blocks) {
            let found = found.as_ref().unwrap();
            assert!(same(&found.block, expected) && found.tier == "l1");
        }
    }
    let store = open(dir.path(), 64 << 20);
    for tier_name in ["l3", "l1"] {
        let found = store.read(&market(), &keys).await;
        assert!(found[4].is_none());
        for (found, (key, expected)) in found.iter().zip(&blocks) {
            let found = found.as_ref().unwrap();
            assert!(same(&found.block, expected) && found.tier == tier_name, "{key:?}");
        }
    }
    let symbols = store.symbols(&market(), Timeframe::Minutes(5)).await;
    assert_eq!(symbols.iter().map(|s| s.as_str()).collect::<Vec<_>>(), ["BFP", "BFp"]);
    assert!(store.symbols(&MarketId::new("other"), Timeframe::Minutes(5)).await.is_empty());
    let other = store.read(&MarketId::new("other"), &keys).await;
    assert!(other.iter().all(Option::is_none));
    let (l1, l3) = (tier(&store, "l1"), tier(&store, "l3"));
    assert_eq!((l1.entries, l3.entries), (4, 4));
    assert!(l1.bytes * 4 < l3.bytes, "mapped numbers are not counted: {} of {}", l1.bytes, l3.bytes);
    let report = verify(dir.path(), &mut |_, _| {}).unwrap();
    assert_eq!((report.blocks, report.damaged.len()), (4, 0));
}

/// Random writes, reads and restarts against a record of what should be there.
#[tokio::test]
async fn holds_what_a_recorder_says_over_many_restarts() {
    for seed in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut store = open(dir.path(), 64 << 10);
        let mut recorder: BTreeMap<BlockKey, Block> = BTreeMap::new();
        let mut note = None;
        for step in 1..=150_u64 {
            let mut key = || {
                if random.bool() {
                    day(random.i32(0..12))
                } else {
                    symbol(["A", "a", "Aa"][random.usize(0..3)])
                }
            };
            let keys: Vec<BlockKey> = (0..5).map(|_| key()).collect();
            match random.u32(0..10) {
                0 => {
                    drop(store);
                    store = open(dir.path(), [0, 4 << 10, 64 << 10][random.usize(0..3)]);
                }
                1 => {
                    let body = vec![step as u8; random.usize(0..3000)];
                    store.write_note(&market(), "listings", Timestamp::from_seconds(9), &body).await.unwrap();
                    note = Some((Timestamp::from_seconds(9), body));
                }
                2..6 => {
                    let size = random.usize(1..80);
                    let blocks: Vec<(BlockKey, Block)> = keys
                        .into_iter()
                        .take(random.usize(1..5))
                        .map(|key| (key.clone(), block(&key, size, size as i64, step)))
                        .collect();
                    store.write(&market(), &blocks).await.unwrap();
                    recorder.extend(blocks);
                }
                _ => {
                    let found = store.read(&market(), &keys).await;
                    for (found, key) in found.iter().zip(&keys) {
                        match (found, recorder.get(key)) {
                            (Some(found), Some(expected)) => assert!(same(&found.block, expected)),
                            (None, None) => {}
                            other => panic!("seed {seed} step {step} {key:?}: {other:?}"),
                        }
                    }
                    assert_eq!(store.read_note(&market(), "listings").await, note);
                }
            }
        }
        assert_eq!(verify(dir.path(), &mut |_, _| {}).unwrap().blocks, recorder.len() as u64);
    }
}

#[tokio::test]
async fn a_damaged_file_is_a_miss_and_is_set_aside() {
    for damage in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let keys = [day(1), day(2)];
        let blocks = keys.clone().map(|key| (key.clone(), block(&key, 1000, 0, 1)));
        {
            let store = open(dir.path(), 0);
            store.write(&market(), &blocks).await.unwrap();
            store.write_note(&market(), "listings", Timestamp::from_seconds(1), b"body").await.unwrap();
        }
        let all = files(dir.path());
        let [first, second, .., note] = &all[..] else { panic!("{all:?}") };
        let mut bytes = fs::read(first).unwrap();
        match damage {
            0 => *bytes.last_mut().unwrap() ^= 1,
            1 => bytes.truncate(bytes.len() / 2),
            2 => bytes.clear(),
            _ => bytes = fs::read(second).unwrap(),
        }
        fs::write(first, bytes).unwrap();
        fs::write(note, b"pannote\x1a").unwrap();
        let report = verify(dir.path(), &mut |_, _| {}).unwrap();
        assert_eq!(report.damaged.iter().map(|d| &d.path).collect::<Vec<_>>(), [first, note]);
        let store = open(dir.path(), 0);
        assert!(read_one(&store, &keys[0]).await.is_none());
        assert!(read_one(&store, &keys[0]).await.is_none());
        assert!(same(&read_one(&store, &keys[1]).await.unwrap().0, &blocks[1].1));
        assert_eq!(store.read_note(&market(), "listings").await, None);
        assert_eq!((tier(&store, "l3").errors, tier(&store, "l3").entries), (2, 1));
        assert!(!first.exists() && fs::exists(format!("{}.damaged", first.display())).unwrap());
        write_one(&store, &keys[0], &blocks[0].1).await.unwrap();
        assert!(same(&read_one(&store, &keys[0]).await.unwrap().0, &blocks[0].1));
        let report = verify(dir.path(), &mut |_, _| {}).unwrap();
        assert_eq!((report.damaged.len(), report.set_aside.len()), (0, 2));
    }
}

#[tokio::test]
async fn damaged_files_are_kept_up_to_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let blocks: Vec<_> = (0..50).map(|n| (day(n), block(&day(n), 1, 0, 1))).collect();
    open(dir.path(), 0).write(&market(), &blocks).await.unwrap();
    for path in files(dir.path()) {
        fs::write(path, b"x").unwrap();
    }
    let store = open(dir.path(), 0);
    let keys: Vec<BlockKey> = (0..50).map(day).collect();
    assert!(store.read(&market(), &keys).await.iter().all(Option::is_none));
    assert_eq!(files(dir.path()).len(), 32);
}

#[tokio::test]
async fn what_was_not_finished_is_removed_and_strangers_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    write_one(&open(dir.path(), 0), &day(1), &block(&day(1), 1, 0, 1)).await.unwrap();
    let whole = files(dir.path()).remove(0);
    let torn = whole.with_file_name(".unfinished-7");
    let stranger = whole.with_file_name("read me.txt");
    fs::write(&torn, &fs::read(&whole).unwrap()[..99]).unwrap();
    fs::write(&stranger, "hello").unwrap();
    let store = open(dir.path(), 0);
    assert!(!torn.exists() && stranger.exists());
    assert_eq!(tier(&store, "l3").entries, 1);
    assert!(read_one(&store, &day(1)).await.is_some());
}

#[tokio::test]
async fn a_file_that_vanished_is_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 0);
    write_one(&store, &day(1), &block(&day(1), 1, 0, 1)).await.unwrap();
    fs::remove_file(&files(dir.path())[0]).unwrap();
    assert!(read_one(&store, &day(1)).await.is_none());
    assert_eq!(tier(&store, "l3").entries, 0);
}

#[test]
fn one_folder_has_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 0);
    let config =
        TiersConfig { dir: Some(dir.path().to_owned()), l1_bytes: 0, l2_bytes: 0, l3_bytes: 0, redis: None };
    let error = Tiers::open(config.clone()).unwrap_err();
    assert!(matches!(&error, CacheError::Locked { path, pid: Some(_) } if path == dir.path()));
    assert!(error.to_string().contains("--store"), "{error}");
    drop(store);
    Tiers::open(config).unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let config = TiersConfig { dir: Some(file), l1_bytes: 0, l2_bytes: 0, l3_bytes: 0, redis: None };
    assert!(matches!(Tiers::open(config), Err(CacheError::Io { .. })));
}

#[tokio::test]
async fn a_write_that_cannot_be_stored_says_so_and_stays_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1 << 20);
    fs::create_dir_all(dir.path().join("v1/test-market/1d")).unwrap();
    fs::write(dir.path().join("v1/test-market/1d/days"), "in the way").unwrap();
    let kept = block(&day(1), 1, 0, 1);
    let error = write_one(&store, &day(1), &kept).await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    let (found, tier_name) = read_one(&store, &day(1)).await.unwrap();
    assert!(same(&found, &kept) && tier_name == "l1");
    assert_eq!(tier(&store, "l3").errors, 1);
    let foreign = write_one(&store, &symbol("A"), &kept).await.unwrap_err();
    assert!(matches!(foreign, StoreError::Damaged { .. }), "{foreign}");
    assert!(read_one(&store, &symbol("A")).await.is_none());
}

#[tokio::test]
async fn the_file_tier_stays_within_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let l3_bytes = 100 << 10;
    let config =
        TiersConfig { dir: Some(dir.path().to_owned()), l1_bytes: 0, l2_bytes: 0, l3_bytes, redis: None };
    let store = Tiers::open(config).unwrap();
    for n in 0..40 {
        let names = [day(n), symbol(&format!("S{n}"))];
        let blocks = names.map(|key| (key.clone(), block(&key, 100, 100, 1)));
        store.write(&market(), &blocks).await.unwrap();
        let on_disk: u64 = files(dir.path()).iter().map(|f| f.metadata().unwrap().len()).sum();
        assert_eq!(on_disk, tier(&store, "l3").bytes);
        assert!(on_disk <= l3_bytes);
    }
    assert!(read_one(&store, &day(39)).await.is_some() && read_one(&store, &day(0)).await.is_none());
    assert!(tier(&store, "l3").evictions > 40);
}

#[tokio::test]
async fn without_a_folder_memory_alone_answers() {
    let store =
        Tiers::open(TiersConfig { dir: None, l1_bytes: 1 << 20, l2_bytes: 0, l3_bytes: 0, redis: None })
            .unwrap();
    let kept = block(&symbol("A"), 0, 5, 1);
    write_one(&store, &symbol("A"), &kept).await.unwrap();
    assert!(same(&read_one(&store, &symbol("A")).await.unwrap().0, &kept));
    assert_eq!(store.symbols(&market(), Timeframe::Minutes(5)).await.len(), 1);
    store.write_note(&market(), "n", Timestamp::from_seconds(3), b"x").await.unwrap();
    assert_eq!(store.read_note(&market(), "n").await, Some((Timestamp::from_seconds(3), b"x".to_vec())));
    assert_eq!(store.stats().len(), 1);
}

/// Many writers and readers of few keys: a reader sees a whole version, never an older one than it saw before,
/// and in the end both tiers hold the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_and_readers_at_once_see_whole_versions() {
    let dir = tempfile::tempdir().unwrap();
    let config = TiersConfig {
        dir: Some(dir.path().to_owned()),
        l1_bytes: 40 << 10,
        l2_bytes: 1 << 20,
        l3_bytes: 1 << 30,
        redis: None,
    };
    let store = std::sync::Arc::new(Tiers::open(config).unwrap());
    let keys = [day(0), day(1), symbol("A")];
    let mut tasks = tokio::task::JoinSet::new();
    for key in keys.clone() {
        let writer = store.clone();
        let written = key.clone();
        tasks.spawn(async move {
            for version in 1..=60 {
                write_one(&writer, &written, &block(&written, 60, 60, version)).await.unwrap();
            }
        });
        for _ in 0..2 {
            let (store, key) = (store.clone(), key.clone());
            tasks.spawn(async move {
                let mut newest = 0;
                while newest < 60 {
                    if let Some((found, _)) = read_one(&store, &key).await {
                        let version = found.provenance().fetched_at.as_nanos() as u64;
                        assert!(same(&found, &block(&key, 60, 60, version)));
                        assert!(version >= newest, "{version} after {newest}");
                        newest = version;
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    drop(store);
    let store = open(dir.path(), 0);
    for key in keys {
        assert!(same(&read_one(&store, &key).await.unwrap().0, &block(&key, 60, 60, 60)));
    }
}

#[tokio::test]
async fn what_memory_puts_out_is_packed_and_comes_back_from_there() {
    let config = TiersConfig { dir: None, l1_bytes: 40 << 10, l2_bytes: 1 << 20, l3_bytes: 0, redis: None };
    let store = Tiers::open(config).unwrap();
    let keys: Vec<BlockKey> = (0..40).map(day).collect();
    for key in &keys {
        write_one(&store, key, &block(key, 60, 0, 1)).await.unwrap();
    }
    for key in &keys {
        let (found, tier_name) = read_one(&store, key).await.unwrap();
        assert!(same(&found, &block(key, 60, 0, 1)), "{key:?} from {tier_name}");
    }
    let (l1, l2) = (tier(&store, "l1"), tier(&store, "l2"));
    assert!(l1.bytes <= l1.capacity_bytes && l2.hits > 20, "{l1:?} {l2:?}");
    // A newer version is never hidden by the packed older one.
    for key in &keys {
        write_one(&store, key, &block(key, 60, 0, 2)).await.unwrap();
        assert!(same(&read_one(&store, key).await.unwrap().0, &block(key, 60, 0, 2)));
    }
    for key in &keys {
        assert!(same(&read_one(&store, key).await.unwrap().0, &block(key, 60, 0, 2)));
    }
    assert_eq!(store.symbols(&market(), Timeframe::Day).await, []);
}
