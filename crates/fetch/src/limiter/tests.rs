//! Waiting for turns: order, bounds, what is given back, and what a restart knows.

use std::path::Path;

use futures::FutureExt;

use super::*;

/// The desk's clock stands still; the limiter's own goes on.
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_000)
    }
}

const NOW: Errand = Errand::interactive(0);

fn bounds(quota: &str, connections: usize) -> Bounds {
    let call_max = Duration::from_secs(30);
    let connections = Connections::new(connections);
    Bounds { quota: quota.parse().unwrap(), connections, call_max, ledger: None, shared: None }
}

fn limiter(quota: &str, connections: usize) -> Arc<Limiter> {
    let clock: Arc<dyn Clock> = Arc::new(Fixed);
    Limiter::new(bounds(quota, connections), &clock).unwrap()
}

fn with_ledger(quota: &str, path: &Path) -> Arc<Limiter> {
    let clock: Arc<dyn Clock> = Arc::new(Fixed);
    Limiter::new(Bounds { ledger: Some(path.to_owned()), ..bounds(quota, 10) }, &clock).unwrap()
}

/// A call that is made and answered at once.
async fn call(limiter: &Arc<Limiter>) {
    let mut turn = limiter.turn(NOW).await.unwrap();
    turn.begin();
    turn.answered();
}

#[tokio::test]
async fn interactive_goes_before_background_and_who_leaves_makes_no_call() {
    let limiter = limiter("unlimited", 1);
    let first = limiter.turn(Errand::background()).await.unwrap();
    let mut background = Box::pin(limiter.turn(Errand::background()));
    let mut gone = Box::pin(limiter.turn(NOW));
    let mut interactive = Box::pin(limiter.turn(NOW));
    assert!((&mut background).now_or_never().is_none());
    assert!((&mut gone).now_or_never().is_none());
    assert!((&mut interactive).now_or_never().is_none());
    drop(gone);
    drop(first);
    assert!((&mut background).now_or_never().is_none(), "the interactive one is first");
    let second = (&mut interactive).now_or_never().unwrap().unwrap();
    assert!((&mut background).now_or_never().is_none(), "the connection is taken");
    drop(second);
    drop((&mut background).now_or_never().unwrap().unwrap());
    assert_eq!(limiter.connections.used(), 0);
    assert_eq!(limiter.state().queue.len(), 0);
}

#[tokio::test]
async fn a_callers_single_call_waits_for_one_turn_of_each_other_caller() {
    let limiter = limiter("unlimited", 1);
    let first = limiter.turn(NOW).await.unwrap();
    let mut many: Vec<_> = (0..20).map(|_| Box::pin(limiter.turn(Errand::interactive(1)))).collect();
    for turn in &mut many {
        assert!(turn.now_or_never().is_none());
    }
    let mut single = Box::pin(limiter.turn(Errand::interactive(2)));
    assert!((&mut single).now_or_never().is_none());
    drop(first);
    drop((&mut many[0]).now_or_never().unwrap().unwrap());
    assert!((&mut single).now_or_never().is_some(), "second, not twenty-first");
}

#[tokio::test]
async fn a_turn_that_nobody_takes_or_uses_costs_nothing() {
    let limiter = limiter("2/min", 10);
    let unused = limiter.turn(NOW).await.unwrap();
    let mut used = limiter.turn(NOW).await.unwrap();
    used.begin();
    let mut third = Box::pin(limiter.turn(NOW));
    assert!((&mut third).now_or_never().is_none(), "the window is spent");
    drop(unused);
    assert!((&mut third).now_or_never().is_some(), "the unused turn is free again");
    // handed over, and dropped before it was looked at
    let mut fourth = Box::pin(limiter.turn(NOW));
    assert!((&mut fourth).now_or_never().is_some());
    assert_eq!(limiter.available(), 1.0);
    drop(used);
    assert_eq!((limiter.available(), limiter.connections.used()), (1.0, 0));
}

#[tokio::test]
async fn waits_for_the_window_and_wakes_by_itself() {
    let limiter = limiter("3/200ms", 10);
    let began = Instant::now();
    for _ in 0..7 {
        call(&limiter).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert!(limiter.estimate(3) > Duration::ZERO);
    assert!(limiter.estimate(u64::MAX) > Duration::from_secs(1 << 40));
}

#[tokio::test]
async fn a_call_on_the_way_keeps_its_place_in_the_window() {
    let limiter = limiter("1/50ms", 10);
    let mut slow = limiter.turn(NOW).await.unwrap();
    slow.begin();
    let waited = tokio::time::timeout(Duration::from_millis(150), limiter.turn(NOW)).await;
    assert!(waited.is_err(), "the first call may not have arrived yet");
    slow.answered();
    drop(slow);
    let answered = Instant::now();
    let _next = limiter.turn(NOW).await.unwrap();
    assert!(answered.elapsed() >= Duration::from_millis(49));
}

#[tokio::test]
async fn a_rejection_holds_everybody_back_and_lowers_the_pace() {
    let limiter = limiter("100/s", 10);
    let before = limiter.adapted_per_second();
    assert_eq!(before, limiter.refill_per_second());
    limiter.rejected(Some(Duration::from_millis(120)));
    assert_eq!(limiter.available(), 0.0);
    assert_eq!(limiter.adapted_per_second(), before / 2.0);
    let began = Instant::now();
    let _turn = limiter.turn(NOW).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(115));
}

#[tokio::test]
async fn a_limit_that_the_provider_calls_spent_is_waited_out_at_full_pace() {
    let limiter = limiter("100/s", 10);
    limiter.pause(Duration::from_millis(80));
    assert_eq!((limiter.available(), limiter.adapted_per_second()), (0.0, limiter.refill_per_second()));
    let began = Instant::now();
    let _turn = limiter.turn(NOW).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(75));
}

#[tokio::test]
async fn the_queue_has_a_bound() {
    let limiter = limiter("unlimited", 1);
    let _first = limiter.turn(NOW).await.unwrap();
    let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| limiter.enter(NOW).unwrap()).collect();
    assert!(limiter.turn(NOW).await.is_err());
    waiting.pop();
    assert!(limiter.enter(NOW).is_ok());
}

#[tokio::test]
async fn a_restart_knows_the_window_and_the_pause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls");
    let first = with_ledger("3/min", &path);
    call(&first).await;
    call(&first).await;
    drop(first.turn(NOW).await.unwrap());
    drop(first);
    let second = with_ledger("3/min", &path);
    assert_eq!(second.available(), 1.0);
    second.rejected(Some(Duration::from_secs(40)));
    drop(second);
    let third = with_ledger("3/min", &path);
    assert_eq!(third.available(), 0.0);
    assert!(third.estimate(1) > Duration::from_secs(30));
    assert!(Ledger::open(&path, "3/min".parse().unwrap(), Duration::ZERO, Arc::new(Fixed)).is_err());
    drop(third);
    std::fs::write(&path, [7; 500]).unwrap();
    assert_eq!(with_ledger("3/min", &path).available(), 0.0);
}

#[tokio::test]
async fn providers_share_the_connections_and_take_turns() {
    let connections = Connections::new(2);
    let clock: Arc<dyn Clock> = Arc::new(Fixed);
    let with = |quota: &str| {
        let bounds = Bounds { connections: connections.clone(), ..bounds(quota, 1) };
        Limiter::new(bounds, &clock).unwrap()
    };
    let (one, other, slow) = (with("unlimited"), with("unlimited"), with("1/min"));
    call(&slow).await;
    let held = [one.turn(NOW).await.unwrap(), one.turn(NOW).await.unwrap()];
    let mut own = Box::pin(one.turn(NOW));
    assert!((&mut own).now_or_never().is_none(), "both are in use");
    // Waits for its rate limit, and is in nobody's way.
    let mut limited = Box::pin(slow.turn(NOW));
    assert!((&mut limited).now_or_never().is_none());
    let mut theirs = Box::pin(other.turn(NOW));
    let mut later = Box::pin(one.turn(NOW));
    assert!((&mut theirs).now_or_never().is_none(), "whoever uses them");
    assert!((&mut later).now_or_never().is_none());
    let [first, second] = held;
    drop(first);
    let own = (&mut own).now_or_never().expect("it waited longest").unwrap();
    drop(second);
    let theirs = (&mut theirs).now_or_never().expect("before the next of the other provider").unwrap();
    assert!((&mut later).now_or_never().is_none());
    assert_eq!(connections.used(), 2);
    drop(theirs);
    let later = (&mut later).now_or_never().expect("its turn").unwrap();
    drop((own, later, limited));
    assert_eq!(connections.used(), 0);
}
