//! A real Redis beside the tiers: shared, absent, hung, empty, full and lying. Not here: how fast it is.

use std::time::{Duration, Instant};

use crate::sample::{block, day, same, symbol};
use panscan_cache::{CacheError, RedisConfig, Tiers, TiersConfig};
use panscan_core::block::Block;
use panscan_core::port::{BlockKey, SeriesStore, TierStats};
use panscan_core::snapshot::MarketId;
use panscan_core::time::Timestamp;
use panscan_testkit::redis::RedisServer;

/// What anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn market() -> MarketId {
    MarketId::new("test-market")
}

/// A server's store: memory, and this Redis.
fn store(redis: &RedisServer, timeout: Duration) -> Tiers {
    let redis = RedisConfig {
        url: redis.url(),
        prefix: "test".to_owned(),
        timeout,
        ttl_closed: Duration::from_secs(1000),
    };
    Tiers::open(TiersConfig { redis: Some(redis), ..TiersConfig::default() }).unwrap()
}

fn stats(store: &Tiers) -> TierStats {
    store.stats().into_iter().find(|t| t.tier == "redis").unwrap()
}

fn some_blocks(n: i32) -> Vec<(BlockKey, Block)> {
    (0..n)
        .map(|i| if i % 5 == 0 { symbol(&format!("S{i}")) } else { day(i) })
        .map(|key| (key.clone(), block(&key, 70, 70, 1)))
        .collect()
}

fn keys(blocks: &[(BlockKey, Block)]) -> Vec<BlockKey> {
    blocks.iter().map(|(key, _)| key.clone()).collect()
}

/// Asks Redis itself until it has so many keys: writes go behind the caller.
async fn until_keys(redis: &RedisServer, n: usize) {
    let began = Instant::now();
    while redis.command("DBSIZE") != format!(":{n}\r\n") {
        assert!(began.elapsed() < PATIENCE, "{}", redis.command("DBSIZE"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_finds_what_the_first_has() {
    let redis = RedisServer::start();
    let first = store(&redis, PATIENCE);
    let blocks = some_blocks(60);
    first.write(&market(), &blocks).await.unwrap();
    first.write_note(&market(), "listings", Timestamp::from_seconds(7), b"all of them").await.unwrap();
    until_keys(&redis, 61).await;

    let second = store(&redis, PATIENCE);
    for tier in ["redis", "l1"] {
        let found = second.read(&market(), &keys(&blocks)).await;
        for (found, (key, expected)) in found.iter().zip(&blocks) {
            let found = found.as_ref().unwrap();
            assert!(same(&found.block, expected) && found.tier == tier, "{key:?} from {}", found.tier);
        }
    }
    let note = second.read_note(&market(), "listings").await;
    assert_eq!(note, Some((Timestamp::from_seconds(7), b"all of them".to_vec())));
    assert!(second.read(&MarketId::new("other"), &keys(&blocks)).await.iter().all(Option::is_none));
    assert_eq!((stats(&second).hits, stats(&second).misses, stats(&second).errors), (60, 60, 0));
    let life: u64 = redis.command("TTL test:test-market:v1:5m:symbol:S0")[1..].trim().parse().unwrap();
    assert!((900..=1000).contains(&life), "{life}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_lie_are_refused_and_written_again() {
    let redis = RedisServer::start();
    let first = store(&redis, PATIENCE);
    let blocks =
        vec![(symbol("A"), block(&symbol("A"), 0, 50, 1)), (symbol("B"), block(&symbol("B"), 0, 50, 1))];
    first.write(&market(), &blocks).await.unwrap();
    until_keys(&redis, 2).await;
    let name = |symbol: &str| format!("test:test-market:v1:5m:symbol:{symbol}");
    assert!(redis.command(&format!("SETRANGE {} 90 x", name("A"))).starts_with(':'));
    assert!(redis.command(&format!("COPY {} {} REPLACE", name("B"), name("C"))).starts_with(":1"));
    assert!(redis.command(&format!("SET {} foreign", name("D"))).starts_with("+OK"));
    assert!(redis.command(&format!("RPUSH {} list", name("E"))).starts_with(':'));

    let second = store(&redis, PATIENCE);
    let asked: Vec<BlockKey> = ["A", "B", "C", "D", "E"].map(symbol).into();
    let found = second.read(&market(), &asked).await;
    let there: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(there, [false, true, false, false, false]);
    assert_eq!(stats(&second).errors, 3);
    second.write(&market(), &blocks[..1]).await.unwrap();
    let began = Instant::now();
    loop {
        let third = store(&redis, PATIENCE);
        if let Some(found) = &third.read(&market(), &asked[..1]).await[0] {
            assert!(same(&found.block, &blocks[0].1));
            break;
        }
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_or_dies_is_a_miss_and_comes_back_by_itself() {
    let mut redis = RedisServer::start();
    let first = store(&redis, PATIENCE);
    let blocks = some_blocks(10);
    first.write(&market(), &blocks).await.unwrap();
    until_keys(&redis, 10).await;

    let second = store(&redis, Duration::from_millis(200));
    redis.freeze();
    for _ in 0..50 {
        assert!(second.read(&market(), &keys(&blocks)).await.iter().all(Option::is_none));
    }
    // Two waits opened the breaker; without it the fifty reads would have failed fifty times.
    assert!(stats(&second).errors < 25, "{:?}", stats(&second));
    redis.thaw();
    let began = Instant::now();
    while second.read(&market(), &keys(&blocks)).await.iter().any(Option::is_none) {
        assert!(began.elapsed() < PATIENCE, "it comes back by itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    redis.kill();
    let third = store(&redis, Duration::from_millis(200));
    for _ in 0..50 {
        assert!(third.read(&market(), &keys(&blocks)[1..]).await.iter().all(Option::is_none));
        third.write(&market(), &blocks[..1]).await.unwrap();
    }
    assert!(third.read(&market(), &keys(&blocks)[..1]).await[0].is_some(), "memory answers");
    redis.restart();
    let began = Instant::now();
    while redis.command("DBSIZE") != ":1\r\n" {
        third.write(&market(), &blocks[..1]).await.unwrap();
        assert!(began.elapsed() < PATIENCE, "an empty one is filled again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_changes_nothing_here() {
    let redis = RedisServer::with(&["--maxmemory", "1500kb", "--maxmemory-policy", "noeviction"]);
    let store = store(&redis, PATIENCE);
    let blocks: Vec<_> = (0..40).map(|n| (day(n), block(&day(n), 2000, 0, 1))).collect();
    let began = Instant::now();
    while stats(&store).errors == 0 {
        store.write(&market(), &blocks).await.unwrap();
        assert!(began.elapsed() < PATIENCE, "it refuses at last");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = store.read(&market(), &keys(&blocks)).await;
    assert!(found.iter().zip(&blocks).all(|(f, (_, b))| same(&f.as_ref().unwrap().block, b)));
}

#[test]
fn an_address_that_is_none_is_refused_without_its_password() {
    let config = RedisConfig {
        url: "http://user:secret@host".to_owned(),
        prefix: "p".to_owned(),
        timeout: PATIENCE,
        ttl_closed: PATIENCE,
    };
    assert!(!format!("{config:?}").contains("secret"));
    let error = Tiers::open(TiersConfig { redis: Some(config), ..TiersConfig::default() }).unwrap_err();
    assert!(matches!(error, CacheError::RedisAddress) && !error.to_string().contains("secret"), "{error}");
}
