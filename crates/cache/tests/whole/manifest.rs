//! What the manifest is for: a file that went away or came back older is noticed, and nothing that was acknowledged is
//! lost with the manifest itself.

use std::fs;
use std::path::Path;

use crate::sample::{block, day, open, same};
use crate::tiers::{files, market, read_one, tier, write_one};
use panscan_cache::verify;
use panscan_core::port::SeriesStore;
use panscan_core::time::Timestamp;

fn whole(dir: &Path) -> bool {
    verify(dir, &mut |_, _| {}).unwrap().is_whole()
}

#[tokio::test]
async fn a_file_that_went_away_between_two_lives_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path(), 0);
        for n in 0..3 {
            write_one(&store, &day(n), &block(&day(n), 3, 0, 1)).await.unwrap();
        }
        store.write_note(&market(), "listings", Timestamp::from_seconds(1), b"body").await.unwrap();
        store.forget(&market(), &[day(2)]).await.unwrap();
    }
    assert!(whole(dir.path()), "what was forgotten is not missing");
    let all = files(dir.path());
    let gone = [all[0].clone(), all.last().unwrap().clone()];
    gone.iter().for_each(|path| fs::remove_file(path).unwrap());
    let report = verify(dir.path(), &mut |_, _| {}).unwrap();
    assert_eq!((report.missing, report.damaged.len()), (gone.to_vec(), 0));
    let store = open(dir.path(), 0);
    assert_eq!(tier(&store, "l3").errors, 2);
    assert!(read_one(&store, &day(0)).await.is_none() && read_one(&store, &day(1)).await.is_some());
    assert!(whole(dir.path()), "told once");
}

#[tokio::test]
async fn an_older_file_in_the_place_of_a_newer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (block(&day(1), 3, 0, 1), block(&day(1), 3, 0, 2));
    let store = open(dir.path(), 0);
    write_one(&store, &day(1), &old).await.unwrap();
    let path = files(dir.path()).remove(0);
    let before = fs::read(&path).unwrap();
    write_one(&store, &day(1), &new).await.unwrap();
    drop(store);
    let newer = fs::read(&path).unwrap();
    fs::write(&path, before).unwrap();
    assert!(!whole(dir.path()));
    let store = open(dir.path(), 0);
    assert!(read_one(&store, &day(1)).await.is_none());
    assert_eq!(tier(&store, "l3").errors, 1);
    drop(store);
    // Named before a kill and not written down: whole, newer, and therefore good.
    let store = open(dir.path(), 0);
    write_one(&store, &day(1), &old).await.unwrap();
    drop(store);
    fs::write(&path, newer).unwrap();
    assert!(whole(dir.path()));
    assert!(same(&read_one(&open(dir.path(), 0), &day(1)).await.unwrap().0, &new));
}

#[tokio::test]
async fn a_store_without_manifest_or_with_a_damaged_one_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write_one(&open(dir.path(), 0), &day(1), &block(&day(1), 3, 0, 1)).await.unwrap();
    let path = dir.path().join("v1/manifest");
    let good = fs::read(&path).unwrap();
    let bad: [Option<&[u8]>; 4] = [None, Some(b""), Some(&good[..good.len() - 2]), Some(b"\xff\n\xfe\n")];
    for bad in bad {
        match bad {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        let told = bad.is_some_and(|bytes| bytes.is_empty() || bytes[0] == 0xFF);
        assert_eq!(whole(dir.path()), !told, "{bad:?}");
        let store = open(dir.path(), 0);
        assert!(read_one(&store, &day(1)).await.is_some(), "{bad:?}");
        assert_eq!((tier(&store, "l3").errors, whole(dir.path())), (0, true), "{bad:?}");
        assert_eq!(fs::read(&path).unwrap(), good, "{bad:?}");
    }
}

#[tokio::test]
async fn a_block_of_another_version_is_neither_served_nor_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    write_one(&open(dir.path(), 0), &day(1), &block(&day(1), 3, 0, 1)).await.unwrap();
    let path = files(dir.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    let sum = crc32fast::hash(&bytes[..252]).to_le_bytes();
    bytes[252..256].copy_from_slice(&sum);
    fs::write(&path, &bytes).unwrap();
    let store = open(dir.path(), 0);
    assert!(read_one(&store, &day(1)).await.is_none());
    assert_eq!((tier(&store, "l3").errors, fs::read(&path).unwrap()), (1, bytes));
    drop(store);
    fs::remove_file(dir.path().join("v1/manifest")).unwrap();
    let text = panscan_cache::Tiers::open(panscan_cache::TiersConfig {
        dir: Some(dir.path().to_owned()),
        ..panscan_cache::TiersConfig::default()
    })
    .unwrap_err()
    .to_string();
    assert!(text.contains("block version 9") && text.contains("panscan store export"), "{text}");
}
