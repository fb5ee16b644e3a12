//! How long do 252 sessions of a whole market take to be kept, and to be read again after a restart? Small in a
//! debug build; `cargo test --release -p panscan-cache speed -- --nocapture` is the real size.

use std::time::Instant;

use crate::sample::{block, day, open, same, symbol};
use panscan_core::port::{BlockKey, SeriesStore};
use panscan_core::snapshot::MarketId;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_and_reads_a_year_of_the_market() {
    let (symbols, sessions, singles) = if cfg!(debug_assertions) { (300, 12, 50) } else { (5277, 252, 2000) };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let market = MarketId::new("m");
    let blocks: Vec<_> = (0..sessions).map(|n| (day(n), block(&day(n), symbols, 0, 1))).collect();
    let bytes: usize = blocks.iter().map(|(_, b)| b.bytes()).sum();
    let keys: Vec<BlockKey> = blocks.iter().map(|(key, _)| key.clone()).collect();
    let report = |what: &str, from: Instant| {
        let seconds = from.elapsed().as_secs_f64();
        println!("{what}: {:.1} ms, {:.0} MB/s", seconds * 1e3, bytes as f64 / 1e6 / seconds);
    };
    println!("{sessions} sessions of {symbols} symbols, {:.1} MB", bytes as f64 / 1e6);
    {
        let store = open(dir.path(), 1 << 30);
        let from = Instant::now();
        store.write(&market, &blocks).await.unwrap();
        report("write, one batch", from);
        let from = Instant::now();
        for one in &blocks {
            store.write(&market, std::slice::from_ref(one)).await.unwrap();
        }
        report("write, one by one", from);
        let from = Instant::now();
        let (store, mut done) = (std::sync::Arc::new(store), tokio::task::JoinSet::new());
        for one in blocks.clone() {
            let (store, market) = (store.clone(), market.clone());
            done.spawn(async move { store.write(&market, &[one]).await.unwrap() });
        }
        done.join_all().await;
        report("write, all at once", from);
    }
    let from = Instant::now();
    let store = open(dir.path(), 1 << 30);
    report("open", from);
    for what in ["read, mapped", "read, from memory"] {
        let from = Instant::now();
        let found = store.read(&market, &keys).await;
        report(what, from);
        for (found, (_, expected)) in found.iter().zip(&blocks) {
            assert!(same(&found.as_ref().unwrap().block, expected));
        }
    }
    println!("memory tier: {:?}", store.stats()[0]);
    let single: Vec<_> = (0..singles).map(|n| symbol(&format!("S{n}"))).collect();
    let blocks: Vec<_> = single.iter().map(|key| (key.clone(), block(key, 1, 252, 1))).collect();
    let from = Instant::now();
    store.write(&market, &blocks).await.unwrap();
    println!("write {singles} single symbols: {:?}", from.elapsed());
    drop(store);
    let from = Instant::now();
    let store = open(dir.path(), 1 << 30);
    println!("open: {:?}", from.elapsed());
    let from = Instant::now();
    assert!(store.read(&market, &single).await.iter().all(Option::is_some));
    println!("read {singles} single symbols: {:?}", from.elapsed());
}
