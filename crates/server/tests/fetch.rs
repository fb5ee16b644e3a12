//! `panscan fetch` as a process: it takes as long as it needs, says how far it has come, and goes on where it stopped.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test, in shared steps too")]

mod process;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use process::{Sim, assert_ends, interrupt, panscan, ready, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for something on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const SESSIONS: u64 = 60;

/// A server that holds nothing yet, against a simulator with a limit; both end when dropped.
struct Service {
    child: Child,
    url: String,
    sim: Sim,
    folder: TempDir,
}

impl Service {
    /// With the limit that server and simulator keep to.
    fn start(rate: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sim = Sim::start(&format!("--symbols 100 --sessions {SESSIONS} --rate {rate}"));
        let (child, url) = serve(&sim, folder.path(), rate, "");
        Self { child, url, sim, folder }
    }

    fn fetch(&self, line: &str) -> std::process::Command {
        let mut command = panscan(&format!("fetch {line}"));
        command.env("PANSCAN_SERVER", &self.url);
        command
    }

    fn run(&self, line: &str) -> Output {
        self.fetch(line).output().unwrap()
    }

    /// Calls for market days that the provider counted, and whether the limit held.
    fn audit(&self) -> (u64, u64) {
        let audit = get(&self.sim.url, "/_sim/audit");
        let calls = audit["calls"].as_object().unwrap().iter();
        let days = calls.filter(|(path, _)| path.contains("grouped")).map(|(_, n)| n.as_u64().unwrap()).sum();
        (days, audit["violations"].as_u64().unwrap())
    }

    fn until_days(&self, days: u64) {
        let began = Instant::now();
        while self.audit().0 < days {
            assert!(began.elapsed() < PATIENCE, "no more than {:?} calls", self.audit());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn serve(sim: &Sim, folder: &Path, rate: &str, more: &str) -> (Child, String) {
    let (store, file) = (folder.join("store"), folder.join("ready.json"));
    drop(std::fs::remove_file(&file));
    let line =
        format!("serve --listen 127.0.0.1:0 --no-redis {more} --store {} --ready-file", store.display());
    let mut child = panscan(&line)
        .arg(&file)
        .envs([
            ("PANSCAN_PROVIDER_URL", sim.url.as_str()),
            ("POLYGON_API_KEY", "k"),
            ("PANSCAN_RATE_LIMIT", rate),
            ("PANSCAN_RATE_BURST", "1"),
            ("PANSCAN_CLOCK", "provider"),
            ("PANSCAN_PREFETCH", "off"),
            ("PANSCAN_HISTORY_DAILY", "60"),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let answer = ready(&file, &mut child);
    (child, format!("http://{}", answer["grpc"].as_str().unwrap()))
}

/// What the simulator's control endpoint answers.
fn get(url: &str, path: &str) -> Value {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn planned(service: &Service, line: &str) -> Value {
    serde_json::from_slice(&service.run(line).stdout).unwrap()
}

#[test]
fn a_fetch_shows_progress_stops_cleanly_and_goes_on_where_it_stopped() {
    let service = Service::start("10/s");
    assert_eq!(planned(&service, "--all --last 40 --dry-run")["provider_calls"], 40);

    let mut child =
        service.fetch("--all --last 40").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    service.until_days(5);
    assert_eq!(interrupt(&mut child), 0, "the first Ctrl-C is a clean end");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("fetching: 0 of 4000 cells"), "{said}");
    assert!(said.contains("the same command goes on from there"), "{said}");
    let (before, _) = service.audit();
    assert!(before < 40, "{before}: the fetch was over before it was stopped");

    // A deadline ends it too, and what came until then is kept.
    let late = service.run("--all --last 40 --timeout 600ms");
    assert_ends(&late, 6, "the others are kept");

    let done = service.run("--all --last 40");
    assert_ends(&done, 0, "cells fetched");
    assert!(stderr(&done).contains("s left"), "{}", stderr(&done));
    assert!(stdout(&done).is_empty());
    // Nothing twice, but for what was under way when it was stopped.
    let (calls, violations) = service.audit();
    assert!((40..=60).contains(&calls) && violations == 0, "{calls} calls, {violations} violations");
    assert_ends(&service.run("--all --last 40"), 0, "nothing is missing");
    assert_eq!(planned(&service, "--all --last 40 --dry-run")["provider_calls"], 0);

    let quiet = service.run("--all --last 45 --quiet");
    assert_eq!((quiet.status.code(), stderr(&quiet)), (Some(0), String::new()));
}

#[test]
fn symbols_of_a_file_and_a_range_of_dates_come_out_in_the_form_asked_for() {
    let service = Service::start("50/s");
    let rows = stdout(&service.run("--all --last 1 -o csv --quiet"));
    let mut symbols: Vec<&str> = rows.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    symbols.truncate(3);
    let list = service.folder.path().join("list");
    std::fs::write(&list, symbols.join("\n")).unwrap();
    let line = format!("@{} --from 2025-12-22 --to 2025-12-31 --adjustment raw -o csv", list.display());
    let bars = service.run(&line);
    assert_ends(&bars, 0, "bars of 3 symbols");
    let text = stdout(&bars);
    assert!(text.lines().skip(1).all(|line| symbols.contains(&line.split(',').next().unwrap())), "{text}");
    // Seven sessions, of which a symbol may lack some.
    assert!((4..=22).contains(&text.lines().count()), "{text}");
    let server = format!("{} --last 2 -o json --server {}", symbols[0], service.url);
    let document: Value =
        serde_json::from_slice(&panscan(&format!("fetch {server}")).output().unwrap().stdout).unwrap();
    assert_eq!(document["rows"].as_array().unwrap().len(), 2);
    let unknown = service.run("NOSUCH --last 2");
    assert_ends(&unknown, 0, "not in the universe");
}

#[test]
fn a_server_told_to_warm_has_its_history_when_it_is_ready() {
    let sim = Sim::start(&format!("--symbols 100 --sessions {SESSIONS} --rate unlimited"));
    let folder = tempfile::tempdir().unwrap();
    let (child, url) = serve(&sim, folder.path(), "unlimited", "--warm");
    let service = Service { child, url, sim, folder };
    assert!(service.audit().0 >= SESSIONS - 1, "{:?}", service.audit());
    assert_ends(&service.run("--all --last 50"), 0, "nothing is missing");
}
