//! A real Redis beside the tiers: shared, absent, hung, empty, full and lying. Not here: how it is reached (`reach`)
//! and how fast it is.

use std::time::{Duration, Instant};

use crate::sample::{block, day, same, symbol};
use panscan_cache::{CacheError, RedisAddress, RedisConfig, Tiers, TiersConfig};
use panscan_core::block::Block;
use panscan_core::port::{BlockKey, SeriesStore, TierStats};
use panscan_core::snapshot::MarketId;
use panscan_core::time::Timestamp;
use panscan_testkit::redis::RedisServer;

/// What anything here may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn market() -> MarketId {
    MarketId::new("test-market")
}

/// How a test uses a Redis: it waits for it as long as it takes, and remembers nothing of what is absent.
pub(crate) fn patient(url: &str) -> RedisConfig {
    RedisConfig {
        prefix: "test".to_owned(),
        timeout: PATIENCE,
        ttl_closed: Duration::from_secs(1000),
        ttl_absent: Duration::ZERO,
        ..RedisConfig::new(RedisAddress::new(url))
    }
}

/// A server's store: memory, and this Redis.
fn store(redis: &RedisServer) -> Tiers {
    with(patient(&redis.url()))
}

/// One that waits only so long, as a scan does.
fn hasty(redis: &RedisServer) -> Tiers {
    with(RedisConfig { timeout: Duration::from_millis(200), ..patient(&redis.url()) })
}

pub(crate) fn with(redis: RedisConfig) -> Tiers {
    Tiers::open(TiersConfig { redis: Some(redis), ..TiersConfig::default() }).unwrap()
}

fn on_disk(dir: &std::path::Path, redis: Option<RedisConfig>) -> Tiers {
    let began = Instant::now();
    loop {
        let config =
            TiersConfig { dir: Some(dir.to_owned()), redis: redis.clone(), ..TiersConfig::default() };
        match Tiers::open(config) {
            Ok(store) => return store,
            // What the one before still wrote behind its last caller.
            Err(CacheError::Locked { .. }) => assert!(began.elapsed() < PATIENCE),
            Err(error) => panic!("{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn stats(store: &Tiers) -> TierStats {
    store.stats().into_iter().find(|t| t.tier == "redis").unwrap()
}

/// Days and single symbols.
pub(crate) fn some_blocks(n: i32) -> Vec<(BlockKey, Block)> {
    (0..n)
        .map(|i| if i % 5 == 0 { symbol(&format!("S{i}")) } else { day(i) })
        .map(|key| (key.clone(), block(&key, 70, 70, 1)))
        .collect()
}

pub(crate) fn keys(blocks: &[(BlockKey, Block)]) -> Vec<BlockKey> {
    blocks.iter().map(|(key, _)| key.clone()).collect()
}

/// Waits for what happens behind the caller.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until another server finds all of this.
pub(crate) async fn until_shared(config: &RedisConfig, blocks: &[(BlockKey, Block)]) {
    let other = with(config.clone());
    until("all of it is shared", async || {
        let found = other.read(&market(), &keys(blocks)).await;
        found
            .iter()
            .zip(blocks)
            .all(|(found, (_, block))| found.as_ref().is_some_and(|f| same(&f.block, block)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_finds_what_the_first_has() {
    let redis = RedisServer::start();
    let first = store(&redis);
    let blocks = some_blocks(60);
    first.write(&market(), &blocks).await.unwrap();
    first.write_note(&market(), "listings", Timestamp::from_seconds(7), b"all of them").await.unwrap();
    until_shared(&patient(&redis.url()), &blocks).await;

    let second = store(&redis);
    for tier in ["redis", "l1"] {
        let found = second.read(&market(), &keys(&blocks)).await;
        for (found, (key, expected)) in found.iter().zip(&blocks) {
            let found = found.as_ref().unwrap();
            assert!(same(&found.block, expected) && found.tier == tier, "{key:?} from {}", found.tier);
        }
    }
    until("the note too", async || {
        let note = second.read_note(&market(), "listings").await;
        note == Some((Timestamp::from_seconds(7), b"all of them".to_vec()))
    })
    .await;
    assert!(second.read(&MarketId::new("other"), &keys(&blocks)).await.iter().all(Option::is_none));
    assert_eq!((stats(&second).hits, stats(&second).misses, stats(&second).errors), (60, 60, 0));
    until("it says how much it holds", async || stats(&second).entries > 0 && stats(&second).bytes > 0).await;

    // Symbols share keys, and every key ends some day.
    let names = redis.command("KEYS test:test-market:v2:5m:symbols:*");
    assert!(names.starts_with('*') && names.contains("symbols:"), "{names}");
    let name = names.lines().find(|line| line.starts_with("test:")).unwrap();
    for name in [name, "test:test-market:v2:1d:day:2024-10-05"] {
        let life: u64 = redis.command(&format!("TTL {name}"))[1..].trim().parse().unwrap();
        assert!((900..=1000).contains(&life), "{name}: {life}");
    }
    let life: u64 = redis.command("TTL test:test-market:v2:note:listings")[1..].trim().parse().unwrap();
    assert!((3500..=3600).contains(&life), "{life}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_version_replaces_the_older_one_and_shared_tells_which_it_is() {
    let redis = RedisServer::start();
    let (first, second) = (store(&redis), store(&redis));
    let key = symbol("A");
    let version = |n| vec![(key.clone(), block(&key, 0, 30, n))];
    first.write(&market(), &version(1)).await.unwrap();
    until_shared(&patient(&redis.url()), &version(1)).await;
    assert!(second.read(&market(), std::slice::from_ref(&key)).await[0].is_some());
    first.write(&market(), &version(2)).await.unwrap();
    until_shared(&patient(&redis.url()), &version(2)).await;
    let held = second.read(&market(), std::slice::from_ref(&key)).await.remove(0).unwrap();
    assert!(same(&held.block, &version(1)[0].1), "what is held stays until it is written");
    let there = second.shared(&market(), std::slice::from_ref(&key)).await.remove(0).unwrap();
    assert!(same(&there, &version(2)[0].1));
    first.forget(&market(), std::slice::from_ref(&key)).await.unwrap();
    assert!(store(&redis).read(&market(), std::slice::from_ref(&key)).await[0].is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_longer_than_a_part_come_back_and_torn_ones_do_not() {
    let redis = RedisServer::start();
    let first = store(&redis);
    // Random bits do not pack: each takes several parts.
    let blocks: Vec<_> =
        [day(1), symbol("BIG")].map(|key| (key.clone(), block(&key, 30_000, 30_000, 1))).into();
    first.write(&market(), &blocks).await.unwrap();
    until_shared(&patient(&redis.url()), &blocks).await;
    let day_key = "test:test-market:v2:1d:day:2024-10-05";
    assert!(redis.command(&format!("EXISTS \"{day_key} 1\" \"{day_key} 2\"")).starts_with(":2"));
    assert!(redis.command(&format!("DEL \"{day_key} 2\"")).starts_with(":1"));
    let second = store(&redis);
    let found = second.read(&market(), &keys(&blocks)).await;
    assert!(found[0].is_none() && found[1].is_some());
    assert_eq!(stats(&second).errors, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_lie_are_refused_taken_away_and_written_again() {
    let redis = RedisServer::start();
    let first = store(&redis);
    let blocks: Vec<_> =
        [day(1), day(2), symbol("B"), symbol("C")].map(|key| (key.clone(), block(&key, 50, 50, 1))).into();
    first.write(&market(), &blocks).await.unwrap();
    until_shared(&patient(&redis.url()), &blocks).await;
    let date = |n: u32| format!("test:test-market:v2:1d:day:2024-10-{n:02}");
    let bucket = |symbol: &str| {
        let names = redis.command("KEYS test:test-market:v2:5m:symbols:*");
        let mut names = names.lines().filter(|line| line.starts_with("test:"));
        let has = |name: &&str| redis.command(&format!("HEXISTS {name} {symbol}")).starts_with(":1");
        names.find(has).unwrap().to_owned()
    };
    let (b, c) = (bucket("B"), bucket("C"));
    // A flipped byte, another day's value, no value of ours, a value of another kind.
    assert!(redis.command(&format!("SETRANGE {} 90 xx", date(5))).starts_with(':'));
    assert!(redis.command(&format!("COPY {} {} REPLACE", date(6), date(7))).starts_with(":1"));
    assert!(redis.command(&format!("HSET {b} B foreign")).starts_with(":0"));
    assert!(redis.command(&format!("DEL {c}")).starts_with(":1"));
    assert!(redis.command(&format!("RPUSH {c} list")).starts_with(':'));

    let second = store(&redis);
    let asked: Vec<BlockKey> = [day(1), day(2), day(3), symbol("B"), symbol("C")].into();
    let found = second.read(&market(), &asked).await;
    let there: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(there, [false, true, false, false, false]);
    assert!(stats(&second).errors >= 4, "{:?}", stats(&second));
    let gone = async || {
        let days = redis.command(&format!("EXISTS {} {} {c}", date(5), date(7)));
        days.starts_with(":0") && redis.command(&format!("HEXISTS {b} B")).starts_with(":0")
    };
    until("they are taken away", gone).await;
    second.write(&market(), &blocks).await.unwrap();
    until_shared(&patient(&redis.url()), &blocks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_under_the_key_of_a_block_of_symbols_gives_way_to_a_write() {
    let redis = RedisServer::start();
    let blocks = vec![(symbol("A"), block(&symbol("A"), 0, 30, 1))];
    let first = store(&redis);
    first.write(&market(), &blocks).await.unwrap();
    until_shared(&patient(&redis.url()), &blocks).await;
    let names = redis.command("KEYS test:test-market:v2:5m:symbols:*");
    let name = names.lines().find(|line| line.starts_with("test:")).unwrap();
    assert!(redis.command(&format!("DEL {name}")).starts_with(":1"));
    assert!(redis.command(&format!("RPUSH {name} list")).starts_with(':'));
    let second = store(&redis);
    second.write(&market(), &blocks).await.unwrap();
    // A reader that meets the list takes it away too, and may take with it what was written meanwhile.
    until("the list gives way", async || redis.command(&format!("TYPE {name}")).contains("hash")).await;
    until_shared(&patient(&redis.url()), &blocks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_a_miss_and_comes_back_by_itself() {
    let redis = RedisServer::start();
    let first = store(&redis);
    let blocks = some_blocks(10);
    first.write(&market(), &blocks).await.unwrap();
    until_shared(&patient(&redis.url()), &blocks).await;

    let second = hasty(&redis);
    redis.freeze();
    for _ in 0..50 {
        assert!(second.read(&market(), &keys(&blocks)).await.iter().all(Option::is_none));
    }
    // Two waits opened the breaker; without it the fifty reads would have failed fifty times.
    assert!(stats(&second).errors < 25, "{:?}", stats(&second));
    let more: Vec<_> = (100..110).map(|n| (day(n), block(&day(n), 70, 0, 1))).collect();
    second.write(&market(), &more).await.unwrap();
    redis.thaw();
    until("it comes back by itself", async || {
        second.read(&market(), &keys(&blocks)).await.iter().all(Option::is_some)
    })
    .await;
    // What was written meanwhile is shared without being written again.
    until_shared(&patient(&redis.url()), &more).await;
    until("nothing waits any more", async || stats(&second).waiting == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_lost_everything_is_given_back_what_is_held_here() {
    let mut redis = RedisServer::start();
    let dir = tempfile::tempdir().unwrap();
    let (in_memory, on_file) = (hasty(&redis), on_disk(dir.path(), Some(patient(&redis.url()))));
    let blocks = some_blocks(20);
    let (mine, theirs) = blocks.split_at(10);
    in_memory.write(&market(), mine).await.unwrap();
    on_file.write(&market(), theirs).await.unwrap();
    on_file.write_note(&market(), "splits", Timestamp::from_seconds(7), b"none").await.unwrap();
    until_shared(&patient(&redis.url()), &blocks).await;
    until("both have seen who it is", async || stats(&in_memory).entries > 0 && stats(&on_file).entries > 0)
        .await;

    redis.kill();
    for _ in 0..50 {
        assert!(in_memory.read(&market(), &keys(theirs)).await.iter().all(Option::is_none));
    }
    assert!(in_memory.read(&market(), &keys(mine)).await.iter().all(Option::is_some), "memory answers");
    let late = vec![(day(500), block(&day(500), 70, 0, 1))];
    in_memory.write(&market(), &late).await.unwrap();
    redis.restart();
    until_shared(&patient(&redis.url()), &late).await;
    until_shared(&patient(&redis.url()), &blocks).await;
    let third = store(&redis);
    until("the note too", async || third.read_note(&market(), "splits").await.is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_had_is_there_after_a_restart_without_it() {
    let mut redis = RedisServer::start();
    let blocks = some_blocks(40);
    let first = store(&redis);
    first.write(&market(), &blocks).await.unwrap();
    let config = patient(&redis.url());
    until_shared(&config, &blocks).await;
    first.write_note(&market(), "splits", Timestamp::from_seconds(7), b"none").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let second = on_disk(dir.path(), Some(config));
    let found = second.read(&market(), &keys(&blocks)).await;
    assert!(found.iter().flatten().all(|found| found.tier == "redis") && found.iter().all(Option::is_some));
    until("the note came", async || second.read_note(&market(), "splits").await.is_some()).await;
    let files = || second.stats().into_iter().find(|t| t.tier == "l3").unwrap().entries;
    until("they are kept", async || files() == 40).await;
    drop(second);
    redis.kill();
    let alone = on_disk(dir.path(), None);
    let found = alone.read(&market(), &keys(&blocks)).await;
    for (found, (key, block)) in found.iter().zip(&blocks) {
        let found = found.as_ref().unwrap();
        assert!(same(&found.block, block) && found.tier == "l3", "{key:?}");
    }
    let note = alone.read_note(&market(), "splits").await;
    assert_eq!(note, Some((Timestamp::from_seconds(7), b"none".to_vec())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_changes_nothing_here_and_gets_the_rest_once_it_has_room() {
    let redis = RedisServer::with(&["--maxmemory", "2500kb", "--maxmemory-policy", "noeviction"]);
    let first = store(&redis);
    let blocks: Vec<_> = (0..40).map(|n| (day(n), block(&day(n), 2000, 0, 1))).collect();
    first.write(&market(), &blocks).await.unwrap();
    until("it refuses at last", async || stats(&first).errors > 0).await;
    let found = first.read(&market(), &keys(&blocks)).await;
    assert!(found.iter().zip(&blocks).all(|(f, (_, b))| same(&f.as_ref().unwrap().block, b)));
    let second = store(&redis);
    let found = second.read(&market(), &keys(&blocks)).await;
    for (found, (_, block)) in found.iter().zip(&blocks) {
        assert!(found.as_ref().is_none_or(|found| same(&found.block, block)));
    }
    until("it says how full it is", async || stats(&first).capacity_bytes == 2500 << 10).await;
    assert_eq!(redis.command("CONFIG SET maxmemory 0"), "+OK\r\n");
    until_shared(&patient(&redis.url()), &blocks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_readers_of_what_is_not_here_ask_once() {
    let redis = RedisServer::start();
    let blocks = some_blocks(8);
    let first = store(&redis);
    first.write(&market(), &blocks).await.unwrap();
    until_shared(&patient(&redis.url()), &blocks).await;
    let second = std::sync::Arc::new(store(&redis));
    redis.freeze();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (second, keys) = (second.clone(), keys(&blocks));
        readers.spawn(async move { second.read(&market(), &keys).await.iter().all(Option::is_some) });
    }
    let l1 = || second.stats().into_iter().find(|t| t.tier == "l1").unwrap();
    until("all of them wait", async || l1().misses == 800).await;
    redis.thaw();
    assert!(readers.join_all().await.into_iter().all(|found| found));
    assert_eq!((stats(&second).hits, stats(&second).misses), (8, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_absent_is_not_asked_for_again_for_a_while() {
    let redis = RedisServer::start();
    let second = with(RedisConfig { ttl_absent: Duration::from_secs(3600), ..patient(&redis.url()) });
    let blocks = some_blocks(3);
    let asked =
        || redis.command("INFO stats").split("keyspace_misses:").nth(1).unwrap()[..2].trim().to_owned();
    assert!(second.read(&market(), &keys(&blocks)).await.iter().all(Option::is_none));
    let before = asked();
    for _ in 0..5 {
        assert!(second.read(&market(), &keys(&blocks)).await.iter().all(Option::is_none));
    }
    assert_eq!(asked(), before);
    // A read that comes while the one before it is still being put away has its answer.
    assert!((6..=18).contains(&stats(&second).misses), "{:?}", stats(&second));
    second.write(&market(), &blocks).await.unwrap();
    assert!(second.read(&market(), &keys(&blocks)).await.iter().all(Option::is_some));
}
