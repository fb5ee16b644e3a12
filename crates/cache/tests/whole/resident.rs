//! Opening a store is listing it; reading a block is mapping it: what is resident of its files follows what is read and
//! not what is held.

#![cfg(target_os = "linux")]

use std::path::Path;

use crate::sample::{block, day, open, same};
use crate::tiers::market;
use panscan_core::bar::Field;
use panscan_core::port::{BlockKey, SeriesStore};

/// Files of the store that this process has mapped, and how many bytes of them are resident.
fn mapped(dir: &Path) -> (usize, u64) {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut files, mut resident, mut ours) = (0, 0, false);
    for line in smaps.lines() {
        if let Some(rest) = line.strip_prefix("Rss:") {
            let kib: u64 = rest.trim().trim_end_matches(" kB").parse().unwrap();
            resident += if ours { kib << 10 } else { 0 };
        } else if line.split_once('-').is_some_and(|(from, _)| u64::from_str_radix(from, 16).is_ok()) {
            ours = line.contains(dir.to_str().unwrap());
            files += usize::from(ours);
        }
    }
    (files, resident)
}

#[tokio::test]
async fn what_is_resident_follows_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let blocks: Vec<_> = (0..12).map(|n| (day(n), block(&day(n), 1500, 0, 1))).collect();
    open(dir.path(), 0).write(&market(), &blocks).await.unwrap();
    let file = blocks[0].1.bytes() as u64;

    let store = open(dir.path(), 1 << 30);
    assert_eq!(mapped(dir.path()), (0, 0), "opening maps nothing");
    let keys: Vec<BlockKey> = (0..4).map(day).collect();
    let found = store.read(&market(), &keys).await;
    let (files, resident) = mapped(dir.path());
    assert_eq!(files, 4, "one mapping for each block that was read");
    assert!(resident >= 4 * file, "verifying looked at every byte: {resident}");

    found.iter().flatten().for_each(|found| found.block.release());
    let (files, resident) = mapped(dir.path());
    assert_eq!(files, 4);
    assert!(resident < file, "given back: {resident}");
    let one = &found[2].as_ref().unwrap().block;
    assert_eq!(one.get(1499, 0, Field::Trades).to_bits(), blocks[2].1.get(1499, 0, Field::Trades).to_bits());
    // The system brings pages in with their neighbours, never with another file's.
    assert!(mapped(dir.path()).1 <= 2 * file);
    assert!(same(one, &blocks[2].1));
    assert!(mapped(dir.path()).1 >= file, "needed again, read again");
}
