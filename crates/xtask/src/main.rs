//! `cargo xtask JOB`: one name per job of the workspace, the same for people and for `.ci/run`.
//!
//! Depends on nothing but the standard library, so that the first job on a bare machine starts within seconds.
//! What a job does lives in the module of its name.

#![expect(clippy::print_stdout, reason = "the jobs report to the terminal")]

mod bench;
mod crash;
mod deny;
mod fuzz;
mod golden;
mod lint;
mod python;
mod shell;
mod soak;
mod tally;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask JOB

  test [--rust] [--python]   everything: Rust tests, doctests and the Python client against real processes
  lint                       formatting, clippy and docs, warnings refused
  tidy                       rules that no compiler knows: imports, names, words, file shapes
  soak fetch [--seconds N]   fetching under fire: cut connections, dying providers, faults (600 s)
  crash [--kills N] [--seed N]
                             kills a process that writes a store, damages its files, and counts what is lost (500)
  fuzz [TARGET] [--executions N] [--keep]
                             grows inputs that break a reader of bytes, guided by coverage (100000 each)
  deny                       licences, sources, duplicate versions, refused crates, size of the client's tree
  bench-peers [OPTION..]     installs other libraries and runs `panscan bench scan OPTION..` beside them
  golden                     writes the generated pages again (docs/configuration.md)
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| fuzz::is_compiler(word)) {
        return fuzz::compile(&words);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test", options @ ..] => match test::Parts::read(options) {
            Ok(parts) => test::run(parts),
            Err(word) => return wrong(&format!("unknown option {word:?} of test")),
        },
        ["lint"] => lint::run(),
        ["tidy"] => tidy::run(),
        ["deny"] => deny::run(),
        ["fuzz", words @ ..] => match fuzz::Fuzz::read(words) {
            Ok(fuzz) => fuzz::run(&fuzz),
            Err(message) => return wrong(&message),
        },
        ["bench-peers", words @ ..] => bench::peers(words),
        ["golden"] => golden::run(),
        ["soak", words @ ..] => match soak::Soak::read(words) {
            Ok(soak) => soak::run(soak),
            Err(message) => return wrong(&message),
        },
        ["crash", words @ ..] => match crash::Crash::read(words) {
            Ok(crash) => crash::run(crash),
            Err(message) => return wrong(&message),
        },
        ["-h" | "--help" | "help"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [] => return wrong("no job given"),
        [job, ..] => return wrong(&format!("unknown job or arguments: {job}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn wrong(message: &str) -> ExitCode {
    print!("xtask: {message}\n\n{USAGE}");
    ExitCode::from(2)
}
