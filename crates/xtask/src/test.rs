//! The test command of the README: Rust tests, doctests, and the Python client against real processes.

use std::fs;

use crate::python;
use crate::shell::{answers, command, root, step, watched};
use crate::tally::Tally;
use crate::tidy::{Source, sources};

/// Which parts of the tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    rust: bool,
    python: bool,
}

impl Parts {
    /// Reads the options; none means everything.
    ///
    /// # Errors
    ///
    /// The word that is no option.
    pub(crate) fn read(options: &[&str]) -> Result<Self, String> {
        let mut parts = Self { rust: false, python: false };
        for option in options {
            match *option {
                "--rust" => parts.rust = true,
                "--python" => parts.python = true,
                word => return Err(word.to_owned()),
            }
        }
        Ok(if parts.rust || parts.python { parts } else { Self { rust: true, python: true } })
    }
}

/// Runs the parts and closes with one line of counts.
///
/// # Errors
///
/// When a test failed or a part could not be run.
pub(crate) fn run(parts: Parts) -> Result<(), String> {
    let mut tally = Tally::default();
    let mut faults = Vec::new();
    let mut take = |name: &str, outcome: Result<Tally, String>| {
        let part = outcome.unwrap_or_else(|fault| {
            faults.push(format!("{name}: {fault}"));
            Tally { failed: 1, ..Tally::default() }
        });
        println!("xtask: {name}: {part}");
        tally.add(part);
    };
    if parts.rust {
        take("Rust tests", rust());
        take("Rust doctests", doctests());
    }
    if parts.python {
        take("Python end to end", end_to_end());
    }
    for reason in &tally.reasons {
        println!("xtask: {reason}");
    }
    for fault in &faults {
        println!("xtask: {fault}");
    }
    println!("{tally}");
    if tally.failed > 0 { Err("tests failed".to_owned()) } else { Ok(()) }
}

/// nextest where it is installed; the plain runner needs no installation and runs the same tests.
fn rust() -> Result<Tally, String> {
    redis()?;
    postgres();
    if answers("cargo", &["nextest", "--version"]) {
        let report = root().join("target/nextest/default/junit.xml");
        // an old report must not speak for a run that did not get to its own
        let _ = fs::remove_file(&report);
        let run = ["nextest", "run", "--workspace", "--locked", "--no-fail-fast"];
        let said = watched(command("cargo", &run).env("CARGO_TERM_COLOR", "never"))?;
        let report = fs::read_to_string(&report).unwrap_or_default();
        let mut tally = Tally::of_nextest(&said.err, &report).or_failed(said.good);
        tally.reasons.extend(ignored(&sources(&root())?));
        return Ok(tally);
    }
    println!("xtask: cargo-nextest is not installed; the plain test runner is used");
    let run =
        ["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"];
    let said =
        watched(command("cargo", &run).args(["--", "--show-output"]).env("CARGO_TERM_COLOR", "never"))?;
    let mut tally = Tally::of_libtest(&said.out).or_failed(said.good);
    tally.reasons.extend(ignored(&sources(&root())?));
    Ok(tally)
}

/// Tests start Redis servers of their own; where the program is missing it is installed from the system's packages.
fn redis() -> Result<(), String> {
    if answers("redis-server", &["--version"]) {
        return Ok(());
    }
    let install = "apt-get install -y -q --no-install-recommends redis-server";
    let script = format!("{install} || {{ apt-get update -q && {install}; }}");
    let mut sh = command("sh", &["-c", &script]);
    sh.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    step("install redis-server from the system's packages", &mut sh)
        .map_err(|fault| format!("{fault}; install redis-server 7 or newer and try again"))
}

/// The catalog is tested in a real PostgreSQL, too; where it is missing it is installed from the system's packages. A
/// system without it runs the rest, and the tests say what they skip.
fn postgres() {
    let installed = || fs::read_dir("/usr/lib/postgresql").is_ok_and(|found| found.count() > 0);
    if installed() || !answers("apt-get", &["--version"]) {
        return;
    }
    let install = "apt-get install -y -q --no-install-recommends postgresql";
    let script = format!("{install} || {{ apt-get update -q && {install}; }}");
    let mut sh = command("sh", &["-c", &script]);
    sh.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    if let Err(fault) = step("install postgresql from the system's packages", &mut sh) {
        println!("xtask: {fault}; tests of the catalog in PostgreSQL are skipped");
    }
}

/// Tests that are left out on purpose, with the reason that stands at them: the runners only count them.
fn ignored(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.extension() == "rs") {
        let mut lines = source.text().unwrap_or("").lines().map(str::trim);
        while let Some(line) = lines.next() {
            let Some(reason) = line.strip_prefix("#[ignore = \"").and_then(|rest| rest.strip_suffix("\"]"))
            else {
                continue;
            };
            let function = lines.find_map(|line| line.strip_prefix("fn "));
            let name = function.and_then(|rest| rest.split('(').next()).unwrap_or("?");
            found.push(format!("skipped: {}: {name}: {reason}", source.path));
        }
    }
    found
}

fn doctests() -> Result<Tally, String> {
    let run = ["test", "--doc", "--workspace", "--locked", "--no-fail-fast"];
    let said = watched(command("cargo", &run).env("CARGO_TERM_COLOR", "never"))?;
    Ok(Tally::of_libtest(&said.out).or_failed(said.good))
}

fn end_to_end() -> Result<Tally, String> {
    // with the tests, so that dependencies are built with the features that they were just built with
    let build = ["build", "--workspace", "--locked", "--bins", "--tests"];
    step("build of the panscan binary", &mut command("cargo", &build))?;
    let python = python::environment()?;
    let stubs = python::stubs(&python)?;
    let binary = root().join("target/debug").join(format!("panscan{}", std::env::consts::EXE_SUFFIX));
    let paths = std::env::join_paths([stubs, root().join("python")]).map_err(|fault| fault.to_string())?;
    let run = ["-u", "-m", "unittest", "discover", "-v", "-s", "python/tests", "-t", "python/tests"];
    let said = watched(
        command(&python, &run)
            .env("PYTHONPATH", paths)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("BINARY_UNDER_TEST", binary),
    )?;
    Ok(Tally::of_unittest(&said.err).or_failed(said.good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_are_left_out_are_named() {
        let text = "//! A.\n#[test]\n#[ignore = \"a measurement\"]\nfn slow() {}\n#[test]\nfn fast() {}\n";
        let source = Source { path: "a.rs".to_owned(), bytes: text.into() };
        assert_eq!(ignored(&[source]), ["skipped: a.rs: slow: a measurement"]);
    }

    #[test]
    fn no_option_means_everything() {
        let all = Parts { rust: true, python: true };
        assert_eq!(Parts::read(&[]), Ok(all));
        assert_eq!(Parts::read(&["--rust"]), Ok(Parts { python: false, ..all }));
        assert_eq!(Parts::read(&["--rust", "--python"]), Ok(all));
        assert_eq!(Parts::read(&["--fast"]), Err("--fast".to_owned()));
    }
}
