//! Every level of the CPU backend, on one thread and on several, against the reference and against itself.

use panscan_core::port::Compute;
use panscan_cpu::{CpuBackend, Level};
use panscan_testkit::on_every_backend;
use panscan_testkit::parity::{ACROSS, BESIDE, EXPRESSIONS, assert_alike, plan_of};
use panscan_testkit::plan::PlanBuilder;
use panscan_testkit::world::World;

fn backends() -> Vec<Box<dyn Compute>> {
    let mut backends: Vec<Box<dyn Compute>> = Vec::new();
    for level in Level::ALL {
        if !level.is_available() {
            #[expect(clippy::print_stdout, reason = "a level that is not tested is told")]
            {
                println!("skipped: {level} is not of this machine");
            }
            continue;
        }
        for threads in [1, 3] {
            let backend = CpuBackend::with_level(threads, level).unwrap_or_else(|e| panic!("{e}"));
            backends.push(Box::new(backend));
        }
    }
    backends
}

on_every_backend!(backends);

#[test]
fn levels_and_threads_agree_to_the_bit() {
    let world = World::with_habits(300, 260, 21);
    for columns in EXPRESSIONS.chunks(62).chain([ACROSS, BESIDE]) {
        let plan = plan_of(columns);
        let job = world.job(&plan);
        let answers: Vec<_> = backends().iter().map(|b| (b.describe(), b.scan(&job).unwrap())).collect();
        for (name, answer) in &answers[1..] {
            assert_alike(name, answer, &answers[0].1, |a, b| a.to_bits() == b.to_bits());
        }
    }
}

#[test]
fn what_a_backend_cannot_be_is_refused() {
    assert!(CpuBackend::new(0).is_err());
    assert!(CpuBackend::new(1 << 20).is_err());
    for level in Level::ALL {
        assert_eq!(CpuBackend::with_level(1, level).is_ok(), level.is_available());
    }
    let two = CpuBackend::with_level(2, Level::Baseline).unwrap();
    assert_eq!(two.describe(), "cpu baseline, 2 threads");
}

#[test]
fn a_plan_that_no_planner_makes_is_an_error_and_not_a_panic() {
    let world = World::plain(3, 30, 22);
    let backend = CpuBackend::new(1).unwrap();
    let mut builder = PlanBuilder::new();
    let [sma, ..] = builder.seed_set();
    let good = builder.finish(&[sma]);
    let mut backward = good.clone();
    backward.nodes[sma.index()].inputs = vec![sma];
    let mut bare = good.clone();
    bare.nodes[sma.index()].inputs.clear();
    assert!(backend.scan(&world.job(&good)).is_ok());
    assert!(backend.scan(&world.job(&backward)).is_err());
    assert!(backend.scan(&world.job(&bare)).is_err());
}
