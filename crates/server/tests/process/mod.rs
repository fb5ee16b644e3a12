//! The binary as a child process, for the tests of this folder.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a child to be ready.
const READY_WAIT: Duration = Duration::from_secs(60);

/// The binary with none of the environment of this process.
pub(crate) fn panscan(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_panscan"));
    command.args(line.split_whitespace()).env_clear();
    command
}

/// Runs it to its end.
pub(crate) fn run(line: &str) -> Output {
    panscan(line).output().unwrap()
}

/// What it said for people.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What it answered.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Holds exit code and words against what is expected.
#[track_caller]
pub(crate) fn assert_ends(output: &Output, code: i32, part: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
    assert!(stderr(output).contains(part), "missing {part:?} in: {}", stderr(output));
}

/// Sends Ctrl-C and waits for the end.
pub(crate) fn interrupt(child: &mut Child) -> i32 {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    child.wait().unwrap().code().unwrap_or(-1)
}

/// The content of a ready file, once it is there.
pub(crate) fn ready(path: &Path, child: &mut Child) -> serde_json::Value {
    let started = Instant::now();
    while !path.exists() {
        assert!(started.elapsed() < READY_WAIT, "no ready file after {READY_WAIT:?}");
        assert!(child.try_wait().unwrap().is_none(), "the process ended before it was ready");
        std::thread::yield_now();
    }
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A simulator on a free port; ended when dropped.
pub(crate) struct Sim {
    /// The process.
    pub(crate) child: Child,
    /// Where it answers.
    pub(crate) url: String,
}

impl Sim {
    /// Starts one of 20 symbols and 5 sessions, or of what the flags say.
    pub(crate) fn start(flags: &str) -> Self {
        let shape = if flags.contains("--symbols") { "" } else { "--symbols 20 --sessions 5" };
        let mut child = panscan(&format!("sim --listen 127.0.0.1:0 {shape} {flags}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().next().unwrap_or_default().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{line}");
        Self { child, url }
    }
}

/// Tells a simulator something.
pub(crate) fn control(sim: &Sim, path: &str, body: &str) {
    use std::io::{Read as _, Write as _};
    let host = sim.url.trim_start_matches("http://");
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-length: {}", body.len());
    socket.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

impl Drop for Sim {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
