//! `panscan-fuzz TARGET EXECUTIONS [SEED] [keep]`: runs a target over inputs grown from its corpus, and keeps the input
//! that breaks it under `fuzz/found`; with `keep`, the small ones that tell most apart go into its corpus. `cargo xtask fuzz` builds it with instrumentation and calls it.

#![expect(clippy::print_stdout, reason = "a program for people that says what it ran")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use fastrand::Rng;
use panscan_fuzz::coverage::Seen;
use panscan_fuzz::mutate::mutated;
use panscan_fuzz::{TARGETS, Target};

/// Inputs that are kept to grow others from; beyond, a random one makes room.
const KEPT_MAX: usize = 4_096;
/// Grown inputs that `keep` leaves in a corpus, and the longest of them in bytes.
const GROWN_MAX: usize = 16;
const GROWN_BYTES_MAX: usize = 1_024;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let target = words.first().and_then(|name| TARGETS.iter().find(|target| target.name == name));
    let executions = words.get(1).and_then(|text| text.parse().ok());
    let (Some(target), Some(executions)) = (target, executions) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        println!("usage: panscan-fuzz TARGET EXECUTIONS [SEED] [keep]; targets: {}", names.join(", "));
        return ExitCode::FAILURE;
    };
    let seed = words.get(2).and_then(|text| text.parse().ok()).unwrap_or(1);
    run(target, executions, seed, words.iter().any(|word| word == "keep"))
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn run(target: &Target, executions: u64, seed: u64, keep: bool) -> ExitCode {
    let mut rng = Rng::with_seed(seed);
    let mut corpus: Vec<Vec<u8>> = vec![Vec::new()];
    if let Ok(files) = std::fs::read_dir(folder("corpus").join(target.name)) {
        let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
        paths.sort();
        corpus.extend(paths.iter().filter_map(|path| std::fs::read(path).ok()));
    }
    let mut seen = Seen::default();
    let began = Instant::now();
    let mut made = 0;
    let seeds = corpus.clone();
    for input in &seeds {
        if !survives(target, input) {
            return broken(target, input);
        }
        seen.add();
    }
    while made < executions {
        made += 1;
        let parent = rng.usize(0..corpus.len());
        let other = rng.usize(0..corpus.len());
        let input = mutated(&mut rng, &corpus[parent], &corpus[other], target.words);
        if !survives(target, &input) {
            return broken(target, &input);
        }
        if seen.add() {
            if corpus.len() < KEPT_MAX {
                corpus.push(input);
            } else {
                let at = rng.usize(seeds.len()..KEPT_MAX);
                corpus[at] = input;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{}: {made} executions, none broke it; {} of {} edges met, {} inputs kept, {seconds:.0} s, {:.0} a second",
        target.name,
        seen.met(),
        Seen::edges(),
        corpus.len(),
        made as f64 / seconds
    );
    if keep && let Err(error) = kept(target, &corpus, seeds.len()) {
        println!("{}: the grown inputs were not kept: {error}", target.name);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Writes the grown inputs that add most branches to those written by hand, which are the first `seeds`.
fn kept(target: &Target, corpus: &[Vec<u8>], seeds: usize) -> std::io::Result<()> {
    let mut seen = Seen::default();
    let (by_hand, grown) = corpus.split_at(seeds);
    for input in by_hand {
        survives(target, input);
        seen.add();
    }
    let mut small: Vec<&Vec<u8>> = grown.iter().filter(|input| input.len() <= GROWN_BYTES_MAX).collect();
    small.sort_by_key(|input| input.len());
    let mut found: Vec<(usize, &Vec<u8>)> = Vec::new();
    for input in small {
        let before = seen.met();
        survives(target, input);
        seen.add();
        found.push((seen.met() - before, input));
    }
    found.sort_by_key(|(new, _)| std::cmp::Reverse(*new));
    for (_, input) in found.iter().take(GROWN_MAX).filter(|(new, _)| *new > 0) {
        std::fs::write(
            folder("corpus").join(target.name).join(format!("grown-{:016x}", digest(input))),
            input,
        )?;
    }
    Ok(())
}

fn digest(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn survives(target: &Target, input: &[u8]) -> bool {
    Seen::begin();
    std::panic::catch_unwind(|| (target.run)(input)).is_ok()
}

fn broken(target: &Target, input: &[u8]) -> ExitCode {
    let path = folder("found").join(format!("{}-{:016x}", target.name, digest(input)));
    let kept = std::fs::create_dir_all(folder("found")).and_then(|()| std::fs::write(&path, input));
    match kept {
        Ok(()) => println!("{}: broken by {}", target.name, path.display()),
        Err(error) => println!("{}: broken, and the input was not kept: {error}", target.name),
    }
    ExitCode::FAILURE
}
