//! Fetching ahead: what is usually asked for at a time of day is there before it is asked for, from spare budget only.

use std::sync::Arc;
use std::time::Duration;

use panscan_cache::{Tiers, TiersConfig};
use panscan_core::calendar::Calendar;
use panscan_core::port::SeriesStore;
use panscan_core::time::{SessionDate, Timestamp};
use panscan_engine::Engine;

use crate::desk::{Desk, scan_of, within};

fn memory() -> Arc<dyn SeriesStore> {
    Arc::new(Tiers::open(TiersConfig::default()).unwrap())
}

/// Half an hour after a session's close.
fn evening(session: SessionDate) -> Timestamp {
    Calendar::us_equities().close(session).after(Duration::from_secs(1800))
}

/// Sessions in a row of the simulator's market, before the half days at the end of the year.
fn sessions(desk: &Desk, count: usize) -> Vec<SessionDate> {
    let newest = Calendar::us_equities().last_closed(desk.clock_now()).unwrap();
    let from = Calendar::us_equities().back(newest, count + 7).unwrap();
    Calendar::us_equities().sessions(from, newest)[..count].to_vec()
}

async fn scan_calls(engine: &Engine) -> u64 {
    let answer = engine.scan(&within(60, scan_of(&["sma(3)"]))).await.unwrap();
    assert!(answer.complete);
    answer.provider_calls
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_every_evening_is_there_before_and_what_is_not_asked_is_counted_as_wasted() {
    let desk = Desk::new(40, 60).await;
    let days = sessions(&desk, 6);
    let store = memory();
    desk.set_now(evening(days[0]));
    let engine = desk.engine_with(store.clone(), |_| ()).await;
    assert!(scan_calls(&engine).await > 0);
    assert_eq!(engine.prefetch_once().await, 0, "all of it is held");

    // The next evening, minutes before the usual time.
    let before = |session| Timestamp::from_nanos(evening(session).as_nanos() - 600_000_000_000);
    desk.set_now(before(days[1]));
    let called = engine.prefetch_once().await;
    assert!(called > 0);
    let stats = engine.stats().prefetch;
    assert!(stats.enabled && stats.wants == 1 && stats.calls == called && stats.bars > 0);
    assert_eq!((stats.gained, stats.wasted), (0, 0));
    desk.set_now(evening(days[1]));
    assert_eq!(scan_calls(&engine).await, 0, "it was fetched ahead");
    assert_eq!(engine.stats().prefetch.gained, 1);

    // What was learned outlives the process.
    engine.prefetch_once().await;
    drop(engine);
    desk.set_now(before(days[2]));
    let engine = desk.engine_with(store.clone(), |_| ()).await;
    assert_eq!(engine.stats().prefetch.wants, 1);
    assert!(engine.prefetch_once().await > 0);
    // Nobody comes, for two days.
    desk.set_now(Timestamp::from_nanos(before(days[4]).as_nanos() - 4 * 3600 * 1_000_000_000));
    engine.prefetch_once().await;
    let stats = engine.stats().prefetch;
    assert_eq!((stats.gained, stats.wasted), (0, 1));

    // Switched off it learns and fetches nothing.
    let off = desk.engine_with(memory(), |config| config.prefetch = false).await;
    assert!(scan_calls(&off).await > 0);
    desk.set_now(before(days[5]));
    assert_eq!(off.prefetch_once().await, 0);
    assert!(!off.stats().prefetch.enabled && off.stats().prefetch.wants == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_what_is_left_of_the_budget_is_left_alone() {
    // The clock stands still: no call comes free.
    let desk = Desk::limited(40, 60, "20/h").await;
    let engine = desk.engine_with(memory(), |_| ()).await;
    let mut cached = scan_of(&["sma(18)"]);
    cached.policy = panscan_core::scan::DataPolicy::CachedOnly;
    engine.scan(&cached).await.unwrap();
    assert_eq!(engine.stats().prefetch.wants, 1);
    for _ in 0..6 {
        let available = engine.stats().source.available;
        let called = engine.prefetch_once().await;
        assert!(called as f64 <= available / 2.0, "{called} of {available}");
        assert_eq!(called > 0, available >= 2.0, "{called} of {available}");
    }
}
