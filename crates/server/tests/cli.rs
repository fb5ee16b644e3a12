//! The binary as scripts see it: exit codes, what stands on stdout and what on stderr.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test, in shared steps too")]

mod process;

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Stdio;

use process::{Sim, assert_ends, control, interrupt, panscan, ready, run};

#[test]
fn help_and_version_end_with_zero() {
    for line in ["--help", "--version", "scan --help", "demo -h"] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert!(!output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn wrong_usage_is_two() {
    for line in ["", "frobnicate", "scan --no-such-flag", "scan -n 0", "sim --symbols 0", "sim --rate fast"] {
        assert_eq!(run(line).status.code(), Some(2), "{line}");
    }
    assert_ends(&run("sim --listen 127.0.0.1:0 --fault nothing=1"), 2, "fault");
    assert_ends(&run("sim --listen 127.0.0.1:0 --end yesterday"), 2, "--end");
    assert_ends(&run("serve --listen nowhere"), 2, "PANSCAN_LISTEN");
    assert_ends(&run("scan --history 2016-01-04"), 2, "FROM..TO");
    assert_ends(&run("scan --factor momentum"), 2, "--factor");
}

#[test]
fn what_this_build_lacks_is_said() {
    for line in [
        "keys add me --scopes read",
        "serve --live",
        "serve --tls-cert x",
        "serve --keys x",
        "scan --watch",
        "sim --dialects xai",
    ] {
        assert_ends(&run(line), 2, "not in this build");
    }
}

#[test]
fn every_problem_of_the_environment_is_named() {
    let output = panscan("serve")
        .envs([
            ("PANSCAN_LISTN", "x"),
            ("MAX_WORKERS", "many"),
            ("POLYGON_API_KEY", "a"),
            ("MASSIVE_API_KEY", "b"),
        ])
        .output()
        .unwrap();
    for part in ["PANSCAN_LISTN", "PANSCAN_LISTEN?", "MAX_WORKERS", "MASSIVE_API_KEY"] {
        assert_ends(&output, 9, part);
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn a_file_that_is_not_there_is_nine() {
    assert_ends(&run("--config /no/such/file sim"), 9, "/no/such/file");
    assert_ends(&run("sim --listen 127.0.0.1:0 --data /no/such/folder/bars.parquet"), 9, "/no/such/folder");
    let folder = tempfile::tempdir().unwrap();
    let line = format!("sim --listen 127.0.0.1:0 --data {}", folder.path().display());
    assert_ends(&run(&line), 9, &folder.path().display().to_string());
}

#[test]
fn a_port_in_use_is_nine() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = held.local_addr().unwrap();
    assert_ends(&run(&format!("sim --listen {addr} --symbols 5 --sessions 3")), 9, &addr.to_string());
}

#[test]
fn a_simulator_says_where_it_is_and_ends_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let (ready_file, audit) = (folder.path().join("ready.json"), folder.path().join("audit.json"));
    let mut sim = Sim::start(&format!("--ready-file {} --audit {}", ready_file.display(), audit.display()));
    let value = ready(&ready_file, &mut sim.child);
    assert_eq!(format!("http://{}", value["http"].as_str().unwrap()), sim.url);
    assert_eq!(value["pid"], sim.child.id());
    assert_eq!(interrupt(&mut sim.child), 0);
    let value: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&audit).unwrap()).unwrap();
    assert_eq!(value["total"], 0);
}

#[test]
fn a_check_names_everything() {
    let folder = tempfile::tempdir().unwrap();
    let output = panscan("check --offline -o json").current_dir(folder.path()).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> =
        answer["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    for name in [
        "config",
        "key",
        "provider",
        "redis",
        "store",
        "universe",
        "cpu",
        "gpu.driver",
        "gpu.nvrtc",
        "gpu.device",
        "clock",
        "disk",
    ] {
        assert!(names.contains(&name), "{name} is missing");
    }
    assert_eq!(output.status.code(), Some(if answer["ok"] == true { 0 } else { 10 }));

    let output = panscan("check --offline").env("PANSCAN_BOGUS_NAME", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(10));
    assert!(String::from_utf8_lossy(&output.stdout).contains("PANSCAN_BOGUS_NAME"));
}

#[test]
fn a_check_asks_the_provider() {
    let sim = Sim::start("--keys right --rate unlimited");
    let folder = tempfile::tempdir().unwrap();
    let ask = |key: &str| {
        let output = panscan("check -o json")
            .current_dir(folder.path())
            .envs([
                ("PANSCAN_PROVIDER_URL", sim.url.as_str()),
                ("POLYGON_API_KEY", key),
                ("PANSCAN_REDIS_URL", ""),
            ])
            .output()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = answer["checks"].as_array().unwrap().clone();
        let provider = checks.into_iter().find(|check| check["name"] == "provider").unwrap();
        (output.status.code(), provider)
    };
    let (code, provider) = ask("right");
    assert_eq!((code, &provider["state"]), (Some(0), &serde_json::json!("ok")), "{provider}");
    let (code, provider) = ask("wrong");
    assert_eq!((code, &provider["state"]), (Some(10), &serde_json::json!("fail")), "{provider}");
    assert!(!provider.to_string().contains("wrong\""), "the key is shown: {provider}");
}

#[test]
fn a_check_names_every_setting_and_the_days_that_differ() {
    let sim = Sim::start("--rate unlimited");
    let folder = tempfile::tempdir().unwrap();
    let check = |form: &str| {
        let mut command = panscan(&format!("check {form}"));
        command.current_dir(folder.path()).envs([
            ("PANSCAN_PROVIDER_URL", sim.url.as_str()),
            ("POLYGON_API_KEY", "sesame"),
            ("PANSCAN_REDIS_URL", ""),
            ("MAX_RETRIES", "7"),
        ]);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("sesame"), "the key is shown: {text}");
        text
    };
    let row = |text: &str| {
        let answer: serde_json::Value = serde_json::from_str(text).unwrap();
        let checks = answer["checks"].as_array().unwrap().clone();
        let settings = answer["settings"].as_array().unwrap().clone();
        (checks.into_iter().find(|check| check["name"] == "calendar").unwrap(), settings)
    };
    let (calendar, settings) = row(&check("-o json"));
    assert_eq!(calendar["state"], "ok", "{calendar}");
    let shown = |name: &str| {
        let found = settings.iter().find(|setting| setting["name"] == name).unwrap();
        (found["value"].as_str().unwrap(), found["origin"].as_str().unwrap())
    };
    assert_eq!(shown("POLYGON_API_KEY"), ("***", "env"));
    assert_eq!((shown("MAX_RETRIES"), shown("MAX_WORKERS")), (("7", "env"), ("10", "default")));
    // A Tuesday that nobody else takes off.
    control(&sim, "/_sim/market", r#"{"announce":{"date":"2026-03-17"}}"#);
    let (calendar, _) = row(&check("-o json"));
    assert_eq!(calendar["state"], "warn");
    assert!(calendar["detail"].as_str().unwrap().starts_with("2026-03-17"), "{calendar}");
    let table = check("");
    let line = table.lines().find(|line| line.trim_start().starts_with("MAX_RETRIES")).unwrap();
    assert!(line.split_whitespace().eq(["MAX_RETRIES", "7", "env"]), "{line}");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let mut child = panscan("reference").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut words = String::new();
    child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{words}");
    assert_eq!(words, "");
}
