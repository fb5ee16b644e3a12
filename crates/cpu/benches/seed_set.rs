//! How long do the last values of SMA5, SMA20, RSI14 and VWAP20 take, against the usual scalar way and against
//! merely reading the bytes? Warm: the panel is resident, there is no memo.
//!
//! `cargo bench -p panscan-cpu` takes the full sizes; any other run a small one, to see that it works.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::expect_used, reason = "a bench may stop on the first surprise")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use panscan_core::bar::Field;
use panscan_core::plan::{NodeId, Plan, Tail};
use panscan_core::port::Compute;
use panscan_cpu::{CpuBackend, Level, scalar};
use panscan_testkit::plan::PlanBuilder;
use panscan_testkit::world::World;

const ROUNDS: usize = 7;

/// Bytes of the seed set: closes for RSI, twenty rows of the others.
const FIELDS: [(Field, Tail); 5] = [
    (Field::Close, Tail::All),
    (Field::High, Tail::Rows(20)),
    (Field::Low, Tail::Rows(20)),
    (Field::Volume, Tail::Rows(20)),
    (Field::Vwap, Tail::Rows(20)),
];

struct Sample {
    name: String,
    times: Vec<Duration>,
}

fn main() {
    let full = std::env::args().any(|a| a == "--bench");
    let sizes: &[(usize, usize, usize)] =
        if full { &[(5_277, 252, 60), (50_000, 252, 12)] } else { &[(100, 60, 2)] };
    for (symbols, bars, repeats) in sizes {
        let world = World::plain(*symbols, *bars, 1);
        let mut builder = PlanBuilder::new();
        let roots = builder.seed_set();
        let mut plan = builder.finish(&roots);
        plan.rank_by = Some(roots[2]);
        plan.limit = 100;
        println!(
            "{symbols} symbols x {bars} bars; medians of {ROUNDS} rounds of {repeats}, best in brackets"
        );
        measure(&world, &plan, &roots, *repeats);
    }
}

fn measure(world: &World, plan: &Plan, roots: &[NodeId], repeats: usize) {
    let columns = scalar::columns(&world.snapshot.daily);
    let backends: Vec<CpuBackend> = Level::ALL
        .into_iter()
        .filter(|level| level.is_available())
        .flat_map(|level| [1, 2].map(|threads| CpuBackend::with_level(threads, level).expect("a backend")))
        .collect();
    let job = world.job(plan);
    let hash = |values: &[f64]| values.iter().fold(0_u64, |h, v| h.rotate_left(5) ^ v.to_bits());
    let results: Vec<u64> = backends
        .iter()
        .map(|b| b.columns(&job, roots).expect("columns").iter().fold(0, |h, c| h ^ hash(c)))
        .collect();
    assert!(results.windows(2).all(|w| w[0] == w[1]), "levels and threads agree to the bit");
    println!("  result {:016x}", results[0]);
    let mut samples: Vec<Sample> = Vec::new();
    for _ in 0..ROUNDS {
        for backend in &backends {
            let name = backend.describe();
            take(&mut samples, &format!("columns, {name}"), repeats, || {
                black_box(backend.columns(&job, roots).expect("columns"));
            });
            take(&mut samples, &format!("scan top 100, {name}"), repeats, || {
                black_box(backend.scan(&job).expect("a scan"));
            });
            take(&mut samples, &format!("read floor, {name}"), repeats, || {
                black_box(backend.read_floor(&world.snapshot.daily, &FIELDS));
            });
        }
        for threads in [1, 2] {
            take(&mut samples, &format!("scalar, {threads} threads"), repeats.div_ceil(4), || {
                black_box(scalar::last_values(&columns, threads));
            });
        }
    }
    for sample in &mut samples {
        sample.times.sort_unstable();
        let median = sample.times[sample.times.len() / 2];
        println!("  {:<42} {:>9.1?}  [{:.1?}]", sample.name, median, sample.times[0]);
    }
}

/// Times `body` after one untimed run.
fn take(samples: &mut Vec<Sample>, name: &str, repeats: usize, mut body: impl FnMut()) {
    let at = samples.iter().position(|s| s.name == name).unwrap_or_else(|| {
        samples.push(Sample { name: name.to_owned(), times: Vec::new() });
        samples.len() - 1
    });
    body();
    for _ in 0..repeats {
        let started = Instant::now();
        body();
        samples[at].times.push(started.elapsed());
    }
}
