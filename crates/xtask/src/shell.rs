//! Running other programs: from the workspace root, without a terminal to read from, with the time they took.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The workspace root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// What a program said and whether it was content.
pub(crate) struct Said {
    /// Whether it ended with success.
    pub(crate) good: bool,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

/// A program with its arguments, to be run in the workspace root.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a step of a job with its output on the terminal.
///
/// # Errors
///
/// When the program cannot be started or fails.
pub(crate) fn step(name: &str, command: &mut Command) -> Result<(), String> {
    println!("xtask: {name}");
    let begin = Instant::now();
    let status = command.status().map_err(|fault| absent(command, &fault))?;
    let took = begin.elapsed().as_secs_f64();
    if status.success() {
        println!("xtask: {name}: done in {took:.1} s");
        Ok(())
    } else {
        Err(format!("{name} failed after {took:.1} s ({status})"))
    }
}

/// Runs a program, shows what it writes while it writes it, and keeps it.
///
/// # Errors
///
/// When the program cannot be started.
pub(crate) fn watched(command: &mut Command) -> Result<Said, String> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|fault| absent(command, &fault))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = std::thread::scope(|scope| {
        let out = scope.spawn(|| out.map_or_else(String::new, |pipe| copied(pipe, std::io::stdout())));
        let err = err.map_or_else(String::new, |pipe| copied(pipe, std::io::stderr()));
        (out.join().unwrap_or_default(), err)
    });
    let status = child.wait().map_err(|fault| absent(command, &fault))?;
    Ok(Said { good: status.success(), out, err })
}

/// Runs a program and keeps what it writes to itself.
///
/// # Errors
///
/// When the program cannot be started.
pub(crate) fn asked(command: &mut Command) -> Result<Said, String> {
    let output = command.output().map_err(|fault| absent(command, &fault))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { good: output.status.success(), out: text(output.stdout), err: text(output.stderr) })
}

/// Whether a program answers this call with success; one that is not there does not.
pub(crate) fn answers(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> bool {
    asked(&mut command(program, arguments)).is_ok_and(|said| said.good)
}

fn copied(pipe: impl Read, mut to: impl Write) -> String {
    let mut reader = BufReader::new(pipe);
    let (mut kept, mut line) = (String::new(), Vec::new());
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // a terminal that went away is no reason to stop reading: the program would block
        let _ = to.write_all(&line).and_then(|()| to.flush());
        kept.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    kept
}

fn absent(command: &Command, fault: &std::io::Error) -> String {
    format!("{} cannot be run: {fault}", command.get_program().to_string_lossy())
}
