//! No sliding window ever holds more than the quota, whatever the pattern; waits end when they say; budgets hold.

#![expect(clippy::unwrap_used, reason = "literals of the test itself")]

use std::time::Duration;

use panscan_core::limit::{Backoff, Quota, RetryBudget, WindowLog};
use panscan_core::time::Timestamp;
use proptest::prelude::*;

const MILLI: u64 = 1_000_000;

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis as i64)
}

fn millis(span: u64) -> Duration {
    Duration::from_millis(span)
}

/// The most stamps that any window of this length holds; its end is not part of it.
fn most_in_a_window(stamps: &[Timestamp], window: Duration) -> usize {
    let mut sorted = stamps.to_vec();
    sorted.sort_unstable();
    let inside =
        |first: usize| sorted[first..].iter().take_while(|stamp| stamp.since(sorted[first]) < window).count();
    (0..sorted.len()).map(inside).max().unwrap_or(0)
}

#[test]
fn limits_read_back_as_written() {
    for (text, calls, window) in [
        ("5/min", 5, 60_000),
        ("100/s", 100, 1_000),
        ("200/s", 200, 1_000),
        ("1000/h", 1_000, 3_600_000),
        ("25/d", 25, 86_400_000),
        ("200/10s", 200, 10_000),
        ("20/500ms", 20, 500),
        ("7/90s", 7, 90_000),
    ] {
        let quota = quota(text);
        assert_eq!((quota.calls(), quota.window(), quota.burst()), (calls, millis(window), calls), "{text}");
        assert_eq!(quota.to_string(), text);
    }
    assert_eq!(quota("5/minute"), quota("5/60s"));
    assert!(quota("unlimited").is_unlimited() && quota("unlimited").to_string() == "unlimited");
    for bad in [
        "",
        "5",
        "/s",
        "5/",
        "0/s",
        "5/0s",
        "-5/s",
        "+5/s",
        "5/fortnight",
        "5/s ",
        "5 /s",
        "5/2d",
        "9999999999/s",
        "1.5/s",
        "5/s/s",
        "5/99999999999s",
    ] {
        assert!(bad.parse::<Quota>().is_err(), "{bad:?}");
    }
    let message = "5/fortnight".parse::<Quota>().unwrap_err().to_string();
    assert!(message.contains("5/fortnight") && message.contains("5/min"), "{message}");
}

#[test]
fn a_spent_burst_does_not_refill_within_its_window() {
    let mut log = WindowLog::new(quota("5/min"));
    for start in [0, 0, 10, 20, 30] {
        assert_eq!(log.reserve(at(start)), Ok(()));
    }
    // A bucket would have refilled one call after twelve seconds.
    assert_eq!(log.reserve(at(12_000)), Err(at(61_500)), "the first start, a window and the margin");
    assert_eq!((log.available(at(61_499)), log.available(at(61_500)), log.available(at(61_600))), (0, 2, 5));
    assert_eq!(log.reserve(at(61_500)), Ok(()));
    assert_eq!(log.reserve(at(61_500)), Ok(()));
    assert_eq!(log.reserve(at(61_500)), Err(at(61_510)));
}

#[test]
fn a_smaller_burst_spreads_the_calls() {
    let mut even = WindowLog::new(quota("5/min").with_burst(1));
    assert_eq!(even.reserve(at(0)), Ok(()));
    assert_eq!(even.reserve(at(0)), Err(at(12_000)));
    let mut pairs = WindowLog::new(quota("100/s").with_burst(2));
    assert_eq!(
        (pairs.reserve(at(0)), pairs.reserve(at(5)), pairs.reserve(at(6))),
        (Ok(()), Ok(()), Err(at(20)))
    );
    assert_eq!((pairs.available(at(6)), pairs.available(at(20)), pairs.available(at(25))), (0, 1, 2));
    // The bounds of a burst are one call and the whole window.
    assert_eq!(quota("5/min").with_burst(0).burst(), 1);
    assert_eq!(quota("5/min").with_burst(99), quota("5/min"));
}

#[test]
fn a_restart_remembers_the_calls_before_it() {
    let mut before = WindowLog::new(quota("5/min"));
    (0..4).for_each(|n| before.reserve(at(n * 1_000)).unwrap());
    let mut after = WindowLog::seeded(quota("5/min"), before.starts());
    assert_eq!(after.available(at(10_000)), 1);
    assert_eq!((after.reserve(at(10_000)), after.reserve(at(10_000))), (Ok(()), Err(at(61_500))));
    // More than the quota holds, out of order: the newest five count.
    let mut full = WindowLog::seeded(quota("5/min"), [9, 1, 8, 2, 7, 3, 6].map(|n| at(n * 1_000)));
    assert_eq!(full.reserve(at(10_000)), Err(at(3_000 + 61_500)));
}

#[test]
fn a_rejection_pauses_halves_and_wears_off() {
    let mut log = WindowLog::new(quota("8/s"));
    log.reserve(at(0)).unwrap();
    log.rejected(at(100), None);
    assert_eq!(log.reserve(at(200)), Err(at(1_100)), "a window's pause where the provider names none");
    // Rejections of the same burst count once.
    log.rejected(at(150), None);
    log.rejected(at(180), Some(millis(500)));
    assert_eq!(log.reserve(at(200)), Err(at(1_150)));
    assert_eq!(log.available(at(1_140)), 0);
    // Half, and an eighth of the quota per second since.
    assert_eq!(log.available(at(1_150)), 5);
    assert_eq!(log.available(at(4_200)), 8);
    // A pause that the provider names wins, up to an hour.
    log.rejected(at(5_000), Some(millis(7_000)));
    assert_eq!(log.reserve(at(5_001)), Err(at(12_000)));
    log.rejected(at(20_000), Some(Duration::from_secs(1 << 40)));
    assert_eq!(log.reserve(at(20_001)), Err(at(20_000 + 3_600_000)));
    // However often, one call is left.
    let mut worst = WindowLog::new(quota("5/min"));
    (0..20).for_each(|n| worst.rejected(at(n * 60_000), None));
    assert_eq!(worst.available(at(20 * 60_000)), 2, "one, and one step of recovery");
}

#[test]
fn without_a_limit_only_rejections_count() {
    let mut log = WindowLog::new(Quota::UNLIMITED);
    (0..10_000).for_each(|_| log.reserve(at(0)).unwrap());
    assert_eq!((log.starts().count(), log.available(at(0))), (0, u32::MAX));
    log.rejected(at(0), Some(millis(300)));
    assert_eq!((log.reserve(at(1)), log.reserve(at(300))), (Err(at(300)), Ok(())));
    assert_eq!(log.estimated_time(at(300), 1_000_000), Duration::ZERO);
}

#[test]
fn a_clock_that_goes_back_costs_a_window_at_most() {
    let mut log = WindowLog::new(quota("5/min"));
    (0..5).for_each(|_| log.reserve(at(9_000_000)).unwrap());
    assert_eq!(log.available(at(1_000)), 0);
    assert_eq!(log.reserve(at(1_000)), Err(at(62_500)));
    assert_eq!(log.reserve(at(62_500)), Ok(()));
}

#[test]
fn a_held_call_counts_until_a_window_after_its_answer() {
    let mut log = WindowLog::new(quota("2/s")).holding(millis(30_000));
    log.reserve(at(0)).unwrap();
    log.reserve(at(10)).unwrap();
    assert_eq!(log.reserve(at(20)), Err(at(1_022)), "were they answered now");
    log.answered(at(0), at(700));
    assert_eq!(log.reserve(at(1_022)), Err(at(1_702)), "a window after the answer and a grain of clocks");
    assert_eq!(log.reserve(at(1_702)), Ok(()));
    // The other is still on the way, up to its longest time.
    assert_eq!((log.available(at(31_034)), log.available(at(31_035))), (0, 1));
    log.answered(at(1_702), at(1_710));
    assert_eq!((log.available(at(31_034)), log.available(at(31_035))), (1, 2));
}

#[test]
fn estimates_are_what_it_takes() {
    let time = |quota: Quota, calls: u64| WindowLog::new(quota).estimated_time(at(0), calls);
    assert_eq!((time(quota("5/min"), 0), time(quota("5/min"), 5)), (Duration::ZERO, Duration::ZERO));
    assert_eq!(time(quota("5/min"), 252), millis(50 * 61_500), "50 more windows after the first");
    assert_eq!(time(quota("5/min").with_burst(1), 5), millis(48_000));
    assert_eq!(time(quota("100/s"), 310), millis(3 * 1_025));
    let mut busy = WindowLog::new(quota("5/min"));
    (0..3).for_each(|_| busy.reserve(at(0)).unwrap());
    assert_eq!(busy.estimated_time(at(30_000), 3), millis(31_500));
    busy.rejected(at(30_000), Some(millis(50_000)));
    assert_eq!(busy.estimated_time(at(30_000), 1), millis(50_000));
}

#[test]
fn backoff_doubles_up_to_twenty_seconds() {
    let backoff = Backoff::new(millis(500));
    for (retry, longest) in [(1, 500), (2, 1_000), (3, 2_000), (6, 16_000), (7, 20_000), (u32::MAX, 20_000)] {
        assert_eq!(backoff.wait(retry, 1.0), millis(longest), "{retry}");
        assert_eq!(backoff.wait(retry, 0.5), millis(longest) / 2, "{retry}");
        assert_eq!(backoff.wait(retry, 0.0), Duration::ZERO);
    }
    assert_eq!(backoff.wait(0, 1.0), millis(500));
    assert_eq!(Backoff::new(Duration::MAX).wait(9, f64::NAN), millis(20_000));
    assert_eq!(backoff.wait(1, -3.0), Duration::ZERO);
}

#[test]
fn retries_stay_a_share_of_the_calls() {
    let mut budget = RetryBudget::new(0.25, 3);
    let granted = |budget: &mut RetryBudget| (0..100).take_while(|_| budget.retry()).count();
    assert_eq!(granted(&mut budget), 3, "the reserve");
    (0..8).for_each(|_| budget.called());
    assert_eq!(granted(&mut budget), 2);
    (0..1_000).for_each(|_| budget.called());
    assert_eq!(granted(&mut budget), 3, "no more than the reserve is held");
    assert!(!RetryBudget::new(f64::NAN, 0).retry());
}

/// What a caller does next: wait this long (in units of a thousandth of the window), then ask; sometimes rejected.
fn steps() -> impl Strategy<Value = Vec<(u64, u8)>> {
    let gap = prop_oneof![3 => Just(0_u64), 4 => 0_u64..30, 2 => 0_u64..400, 1 => 900_u64..3_000];
    proptest::collection::vec((gap, any::<u8>()), 1..300)
}

fn quotas() -> impl Strategy<Value = Quota> {
    (1_u32..20, 50_u64..120_000, 1_u32..25)
        .prop_map(|(calls, window, burst)| Quota::new(calls, millis(window)).unwrap().with_burst(burst))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_window_holds_more_than_the_quota(quota in quotas(), steps in steps(), seed in 0_usize..20) {
        let unit = quota.window().as_nanos() as u64 / 1_000;
        let mut now = at(1_000_000_000);
        let mut starts: Vec<Timestamp> = (0..seed.min(quota.calls() as usize)).map(|_| now).collect();
        let mut log = WindowLog::seeded(quota, starts.iter().copied());
        let seeded = starts.len();
        let mut reduced = false;
        for (gap, dice) in steps {
            now = now.after(Duration::from_nanos(gap * unit));
            let free = log.available(now);
            match log.reserve(now) {
                Ok(()) => {
                    prop_assert!(free > 0);
                    prop_assert_eq!(log.available(now), free - 1);
                    starts.push(now);
                }
                Err(again) => {
                    prop_assert!(free == 0 && again > now);
                    // Granted then and, unless a reduction wears off meanwhile, not a moment before.
                    let early = Timestamp::from_nanos(again.as_nanos() - 1);
                    prop_assert!(reduced || early == now || log.clone().reserve(early).is_err());
                    prop_assert_eq!(log.clone().reserve(again), Ok(()));
                    prop_assert_eq!(log.estimated_time(now, 1), again.since(now));
                    if dice % 2 == 0 {
                        now = again;
                    }
                }
            }
            if dice > 250 {
                reduced = true;
                log.rejected(now, (dice > 253).then(|| Duration::from_nanos(gap * unit)));
            }
            prop_assert!(log.starts().count() <= quota.calls() as usize);
        }
        prop_assert!(most_in_a_window(&starts, quota.window() + quota.margin()) <= quota.calls() as usize);
        prop_assert!(most_in_a_window(&starts[seeded..], quota.burst_span()) <= quota.burst() as usize);
    }

    #[test]
    fn held_calls_never_arrive_too_densely_however_slow_the_way(
        quota in quotas(),
        steps in proptest::collection::vec((0_u64..400, 0_u64..2_000, 0_u64..=100), 1..200),
    ) {
        let unit = quota.window().as_nanos() as u64 / 1_000;
        let longest = Duration::from_nanos(2_000 * unit);
        let mut log = WindowLog::new(quota).holding(longest);
        let mut now = at(1_000_000_000);
        let mut arrivals = Vec::new();
        let mut answers: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (gap, latency, share) in steps {
            now = now.after(Duration::from_nanos(gap * unit));
            answers.sort_unstable();
            while answers.first().is_some_and(|&(answer, _)| answer <= now) {
                let (answer, start) = answers.remove(0);
                log.answered(start, answer);
            }
            if log.reserve(now).is_ok() {
                let way = Duration::from_nanos(latency * unit);
                arrivals.push(now.after(way * share as u32 / 100));
                answers.push((now.after(way), now));
            }
        }
        prop_assert!(most_in_a_window(&arrivals, quota.window()) <= quota.calls() as usize);
    }

    #[test]
    fn an_estimate_is_what_going_as_early_as_allowed_takes(quota in quotas(), calls in 1_u64..200, past in 0_u64..30) {
        let mut log = WindowLog::new(quota);
        let mut now = at(0);
        for _ in 0..past {
            let _ = log.reserve(now);
            now = now.after(Duration::from_nanos(MILLI * 7));
        }
        let begin = now;
        let estimate = log.estimated_time(begin, calls);
        for _ in 0..calls {
            while let Err(again) = log.reserve(now) {
                now = again;
            }
        }
        prop_assert_eq!(now.since(begin), estimate);
    }
}
