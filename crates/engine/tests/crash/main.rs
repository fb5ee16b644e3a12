//! A store that is written while its process is killed, and that a crash of the machine damages in between: what was
//! acknowledged must be there to the bit, what is damaged must be found, named and fetched again, and no number that was
//! never written may come out.
//!
//! The parent knows from a pipe what its child began and what was acknowledged to it. A short form runs with the other
//! tests; `cargo xtask crash` runs it for as many kills as it is told to through `PANSCAN_CRASH_KILLS`.

#![allow(clippy::unwrap_used, reason = "a harness that cannot set itself up has failed")]

mod contents;
mod damage;
mod market;
mod parent;
mod writer;

use std::io::Write as _;
use std::time::Instant;

/// Kills where nothing else is said.
const KILLS_DEFAULT: usize = 8;
/// One kill in so many is of an engine that fills its store from the simulator.
const MARKET_EVERY: usize = 5;

/// What happened, for the line at the end.
#[derive(Debug, Default)]
struct Counts {
    kills: usize,
    acknowledged: u64,
    read: u64,
    bars: u64,
    hurt: u64,
    detected: u64,
    missing: u64,
    again: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_wrong_is_served() {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is no setting of the product")]
    let kills =
        std::env::var("PANSCAN_CRASH_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS_DEFAULT);
    #[expect(clippy::disallowed_methods, reason = "as above")]
    let seed = std::env::var("PANSCAN_CRASH_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let (started, mut counts) = (Instant::now(), Counts::default());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut store = parent::Store::new();
    let market = market::Market::start().await;
    for kill in 0..kills {
        if kill % MARKET_EVERY == MARKET_EVERY - 1 {
            market.round(&mut random, &mut counts).await;
        } else {
            store.round(&mut random, &mut counts).await;
        }
        counts.kills += 1;
        if (kill + 1) % 50 == 0 {
            said(&format!("{} of {kills} kills", kill + 1));
        }
    }
    assert!(
        counts.acknowledged > 0 && counts.read > 0,
        "the kills came too early to show anything: {counts:?}"
    );
    said(&format!(
        "{} kills in {:.0} s: {} writes acknowledged, {} blocks and notes read back to the bit, {} bars held against the \
         simulator's truth; {} files damaged and {} removed, all of them found and named, {} fetched or written again; 0 \
         lost, 0 wrong values",
        counts.kills,
        started.elapsed().as_secs_f64(),
        counts.acknowledged,
        counts.read,
        counts.bars,
        counts.detected,
        counts.missing,
        counts.again
    ));
}

fn said(text: &str) {
    // A terminal that went away is no reason to fail.
    let _ = writeln!(std::io::stderr(), "crash: {text}");
}
