//! Two servers on one Redis: what the first has fetched the second does not, and both answer the same of closed sessions.

use std::sync::Arc;
use std::time::Duration;

use panscan_cache::{RedisAddress, RedisConfig, Tiers, TiersConfig};
use panscan_core::calendar::Calendar;
use panscan_core::diagnostic::Reason;
use panscan_core::port::Errand;
use panscan_core::range::BarRange;
use panscan_core::scan::{Adjustment, BarSelection, DataPolicy, SessionHours};
use panscan_core::time::Timestamp;
use panscan_engine::{Engine, Forget, Pin, SeriesRequest};
use panscan_testkit::redis::RedisServer;
use tokio::time::Instant;

use crate::desk::{Desk, bits, scan_of, within};

/// What anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a test uses a Redis: it waits for it as long as it takes, and remembers nothing of what is absent.
pub(crate) fn patient(redis: &RedisServer) -> RedisConfig {
    let address = RedisAddress::new(&redis.url());
    RedisConfig { timeout: PATIENCE, ttl_absent: Duration::ZERO, ..RedisConfig::new(address) }
}

/// A server with a store of its own beside a Redis.
struct Server {
    engine: Engine,
    tiers: Arc<Tiers>,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(desk: &Desk, redis: &RedisServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = TiersConfig {
            dir: Some(folder.path().to_owned()),
            redis: Some(patient(redis)),
            ..TiersConfig::default()
        };
        let tiers = Arc::new(Tiers::open(config).unwrap());
        let engine = desk.engine_with(tiers.clone(), |_| ()).await;
        Self { engine, tiers, _folder: folder }
    }

    /// What goes on behind the callers is done.
    async fn settled(&self) {
        assert!(self.tiers.settle(PATIENCE).await);
    }

    async fn minutes(&self, symbols: &[&str], sessions: usize) -> Vec<(String, Vec<(Timestamp, u64)>)> {
        let request = SeriesRequest {
            symbols: symbols.iter().map(|s| (*s).to_owned()).collect(),
            timeframe: "1m".parse().unwrap(),
            range: self.newest(sessions),
            hours: SessionHours::Regular,
            selection: BarSelection::IncludeForming,
            adjustment: Adjustment::Raw,
            pin: Pin::Newest,
            until: None,
            policy: DataPolicy::BestEffort,
            deadline: Some(Instant::now() + PATIENCE),
            errand: Errand::interactive(1),
            limit: 0,
            ordered: true,
        };
        let answer = self.engine.series(request).await.unwrap();
        assert!(answer.complete);
        let close = |bars: &panscan_core::resample::Series| {
            let closes = bars.column(panscan_core::bar::Field::Close);
            bars.start.iter().copied().zip(closes.iter().map(|c| c.to_bits())).collect()
        };
        answer.series.iter().map(|s| (s.symbol.to_string(), close(&s.bars))).collect()
    }

    fn newest(&self, sessions: usize) -> BarRange {
        let newest = Calendar::us_equities().last_closed(self.engine.clock().now()).unwrap();
        BarRange::Sessions(Calendar::us_equities().back(newest, sessions - 1), Some(newest))
    }
}

fn names(desk: &Desk, count: usize) -> Vec<String> {
    desk.sim.symbols().take(count).map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_calls_nobody_for_what_the_first_has_and_answers_the_same() {
    let desk = Desk::new(40, 60).await;
    let redis = RedisServer::start();
    let all = within(60, scan_of(&["close", "rsi(14)", "rank(sma(5))", "sector"]));
    let names = names(&desk, 5);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = Server::start(&desk, &redis).await;
    let cold = first.engine.scan(&all).await.unwrap();
    assert!(cold.complete && cold.provider_calls > 0);
    first.engine.refresh_details(40).await;
    let minutes = first.minutes(&names, 3).await;
    first.settled().await;

    let before = desk.calls();
    let second = Server::start(&desk, &redis).await;
    let warm = second.engine.scan(&all).await.unwrap();
    assert!(warm.complete && warm.provider_calls == 0);
    assert_eq!(bits(&warm), bits(&cold));
    assert_eq!(second.minutes(&names, 3).await, minutes);
    assert_eq!(second.engine.refresh_details(40).await, 0, "details are as new as they should be");
    assert_eq!(desk.calls(), before, "bars, minutes, listings, splits and details came from Redis");

    // A session closes while both run: the first fetches it, the second finds it.
    let newest = warm.published.snapshot.newest().unwrap();
    let earlier = Calendar::us_equities().back(newest, 3).unwrap();
    for server in [&first, &second] {
        server.settled().await;
    }
    let what = Forget { from: Some(earlier), ..Forget::default() };
    for server in [&first, &second] {
        server.engine.forget(&what).await.unwrap();
        server.settled().await;
    }
    let again = first.engine.scan(&all).await.unwrap();
    assert!(again.complete && again.provider_calls > 0);
    first.settled().await;
    let before = desk.calls();
    let found = second.engine.scan(&all).await.unwrap();
    assert!(found.complete);
    assert_eq!(bits(&found), bits(&again));
    assert_eq!(desk.calls(), before);

    // The second goes further back than the first, which then finds that too.
    let longer = second.minutes(&names, 5).await;
    second.settled().await;
    let before = desk.calls();
    assert_eq!(first.minutes(&names, 5).await, longer);
    assert_eq!(desk.calls(), before);
    // And after a restart without Redis all of it is in the server's own files.
    drop(redis);
    let alone = second.minutes(&names, 5).await;
    assert_eq!(alone, longer);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_hold_different_sessions_of_a_symbol_learn_from_each_other() {
    let desk = Desk::new(400, 60).await;
    let redis = RedisServer::start();
    let name = names(&desk, 1).remove(0);
    let (first, second) = (Server::start(&desk, &redis).await, Server::start(&desk, &redis).await);
    let one = |columns: &[&str]| {
        let mut request = within(60, scan_of(columns));
        request.spec.universe.symbols = vec![name.clone()];
        request
    };
    let short = second.engine.scan(&one(&["sma(3)"])).await.unwrap();
    assert!(short.complete && short.provider_calls > 0);
    let long = first.engine.scan(&one(&["sma(12)"])).await.unwrap();
    assert!(long.complete);
    first.settled().await;
    let before = desk.calls();
    let found = second.engine.scan(&one(&["sma(12)"])).await.unwrap();
    assert!(found.complete);
    assert_eq!(bits(&found), bits(&long));
    assert_eq!(desk.calls(), before, "what the first went back for is shared");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_reference_data_is_answered_with_its_age_while_the_provider_is_down() {
    let desk = Desk::new(20, 40).await;
    let redis = RedisServer::start();
    let first = Server::start(&desk, &redis).await;
    let scan = within(60, scan_of(&["close"]));
    assert!(first.engine.scan(&scan).await.unwrap().complete);
    let old = |answer: &panscan_engine::ScanAnswer| {
        let mut found = answer.diagnostics.iter().filter(|d| d.reason == Reason::StaleData);
        found.find(|d| d.subject == "reference").and_then(|d| d.age)
    };
    assert_eq!(old(&first.engine.scan(&scan).await.unwrap()), None);
    desk.control("/_sim/faults", r#"{"500": 1.0}"#).await;
    let later = desk.clock_now().after(Duration::from_secs(30 * 3600));
    desk.set_now(later);
    let until = Instant::now() + PATIENCE;
    loop {
        first.engine.refresh_once().await;
        let mut cached = scan.clone();
        cached.policy = DataPolicy::CachedOnly;
        let answer = first.engine.scan(&cached).await.unwrap();
        assert!(!answer.rows.symbols.is_empty());
        if let Some(age) = old(&answer) {
            assert!(age >= Duration::from_secs(24 * 3600), "{age:?}");
            break;
        }
        assert!(Instant::now() < until);
    }
}
