//! Fuzzing with the stable toolchain: the compiler puts a counter on every edge of this workspace's own code.
//!
//! The flags go to the workspace's crates alone, through the wrapper that cargo calls the compiler by, which is this
//! program again; everything else is built once for this and for the tests. Not here: targets and inputs, which are
//! the package `panscan-fuzz`'s.

use std::process::{Command, ExitCode};

use crate::shell::{command, step};

/// Executions of a target where none are named.
const EXECUTIONS: &str = "100000";
/// The targets, in the order of the package.
const TARGETS: [&str; 20] = [
    "aggregates",
    "alpaca_bars",
    "yahoo_chart",
    "alpha_vantage_series",
    "flatfile",
    "flatfile_gz",
    "tickers",
    "actions",
    "details",
    "hours",
    "snapshots",
    "http_date",
    "next_url",
    "ledger",
    "cache_file",
    "cache_codec",
    "redis_value",
    "notes",
    "expression",
    "page_token",
];
/// What puts the counters there.
const FLAGS: [&str; 3] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
];

/// What to run.
pub(crate) struct Fuzz {
    targets: Vec<String>,
    executions: String,
    keep: bool,
}

impl Fuzz {
    /// Reads `[TARGET] [--executions N] [--keep]`.
    ///
    /// # Errors
    ///
    /// A word that is neither.
    pub(crate) fn read(words: &[&str]) -> Result<Self, String> {
        let mut fuzz = Self { targets: Vec::new(), executions: EXECUTIONS.to_owned(), keep: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if *word == "--executions" {
                let number = words.next().filter(|text| text.parse::<u64>().is_ok());
                fuzz.executions = number.ok_or("--executions needs a number")?.to_string();
            } else if *word == "--keep" {
                fuzz.keep = true;
            } else if TARGETS.contains(word) {
                fuzz.targets.push((*word).to_owned());
            } else {
                return Err(format!("{word:?} is no target of fuzz; there are {}", TARGETS.join(", ")));
            }
        }
        if fuzz.targets.is_empty() {
            fuzz.targets = TARGETS.map(str::to_owned).to_vec();
        }
        Ok(fuzz)
    }
}

/// Builds the package with counters and runs the targets one after the other.
///
/// # Errors
///
/// A target that broke, or a build that failed.
pub(crate) fn run(fuzz: &Fuzz) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    for target in &fuzz.targets {
        let mut words = vec!["run", "--quiet", "-p", "panscan-fuzz", "--", target, &fuzz.executions];
        if fuzz.keep {
            words.extend(["1", "keep"]);
        }
        let mut cargo = command("cargo", &words);
        cargo.env("RUSTC_WORKSPACE_WRAPPER", &this);
        step(&format!("fuzz {target}"), &mut cargo)?;
    }
    Ok(())
}

/// Whether this program was called in the compiler's place.
pub(crate) fn is_compiler(word: &str) -> bool {
    std::path::Path::new(word).file_stem().is_some_and(|name| name == "rustc")
}

/// Calls the compiler with the flags.
pub(crate) fn compile(words: &[String]) -> ExitCode {
    let Some((rustc, words)) = words.split_first() else { return ExitCode::FAILURE };
    let mut rustc = Command::new(rustc);
    rustc.args(words);
    if words.iter().any(|word| word.starts_with("panscan_")) {
        rustc.args(FLAGS);
    }
    match rustc.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
