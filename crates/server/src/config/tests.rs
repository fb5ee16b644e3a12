//! What a configuration does as a whole: precedence, problems, secrets.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::names::{self, Effect, Fallback};
use super::*;

fn no_file(path: &Path) -> io::Result<String> {
    Err(io::Error::new(io::ErrorKind::NotFound, format!("no file {}", path.display())))
}

fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>()
        .into_iter()
}

fn load_env(pairs: &[(&str, &str)]) -> Result<Settings, Vec<Problem>> {
    load(&FlagValues::default(), env(pairs), &no_file)
}

#[test]
fn defaults_are_those_of_the_table() {
    let settings = load_env(&[]).unwrap();
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(settings.provider.quota.to_string(), "5/min");
    assert_eq!(settings.data.history_daily, 504);
    assert_eq!(settings.tiers.l3_bytes, 64 << 30);
    assert_eq!(settings.provider.connect_timeout, Duration::from_secs(10));
    assert_eq!(settings.provider.backoff, Duration::from_millis(500));
    assert_eq!(settings.redis.url.as_ref().unwrap().expose(), "redis://localhost:6379/0");
    assert!(settings.shown.iter().all(|shown| shown.origin == Origin::Default));
    assert!(settings.idle().next().is_none());
}

#[test]
fn every_setting_is_read_once_and_shown() {
    let settings = load_env(&[]).unwrap();
    let shown: Vec<_> = settings.shown.iter().map(|shown| shown.entry.name).collect();
    let read: BTreeSet<_> = shown.iter().copied().collect();
    let twice: Vec<_> = read.iter().filter(|name| shown.iter().filter(|n| n == name).count() > 1).collect();
    assert!(twice.is_empty(), "read twice: {twice:?}");
    for entry in names::all() {
        assert!(read.contains(entry.name), "{} is in the table and never read", entry.name);
    }
}

#[test]
fn a_given_value_of_every_setting_is_looked_at() {
    for entry in names::all() {
        let wrong = load(&FlagValues::default(), env(&[(entry.name, "\u{1}")]), &no_file);
        let problems = wrong.err().unwrap_or_default();
        assert!(problems.iter().any(|p| p.name == entry.name), "{} takes anything", entry.name);
    }
}

#[test]
fn flag_beats_env_beats_file_beats_default() {
    let file = |_: &Path| Ok("history_daily = 100\nmax_workers = 7\nlog = 'warn'\n".to_owned());
    let mut flags = FlagValues::default();
    flags.set(&names::CONFIG, "some.toml");
    flags.set(&names::HISTORY_DAILY, "300");
    let pairs = [("PANSCAN_HISTORY_DAILY", "200"), ("MAX_WORKERS", "8")];
    let settings = load(&flags, env(&pairs), &file).unwrap();
    assert_eq!(settings.data.history_daily, 300);
    assert_eq!(settings.flow.workers, 8);
    assert_eq!(settings.server.log, "warn");
    let origin = |name| settings.shown(name).unwrap().origin;
    assert_eq!(origin("PANSCAN_HISTORY_DAILY"), Origin::Flag);
    assert_eq!(origin("MAX_WORKERS"), Origin::Env);
    assert_eq!(origin("PANSCAN_LOG"), Origin::File);
    assert_eq!(origin("BATCH_SIZE"), Origin::Default);
}

#[test]
fn a_panscan_name_beats_the_older_ones() {
    let older = load_env(&[("REDIS_HOST", "cache"), ("REDIS_PORT", "7000"), ("REDIS_DB", "3")]).unwrap();
    assert_eq!(older.redis.url.unwrap().expose(), "redis://cache:7000/3");
    let newer = load_env(&[("REDIS_HOST", "cache"), ("PANSCAN_REDIS_URL", "rediss://other:1/0")]).unwrap();
    assert_eq!(newer.redis.url.unwrap().expose(), "rediss://other:1/0");
    assert!(load_env(&[("PANSCAN_REDIS_URL", "")]).unwrap().redis.url.is_none());
}

#[test]
fn all_problems_are_listed_at_once() {
    let problems = load_env(&[
        ("PANSCAN_LISTEN", "nowhere"),
        ("PANSCAN_L1_BYTES", "lots"),
        ("MAX_RETRIES", "-1"),
        ("PANSCAN_LISTN", "127.0.0.1:1"),
        ("POLYGON_API_KEY", "one"),
        ("MASSIVE_API_KEY", "two"),
        ("PANSCAN_KEYS", "keys.toml"),
        ("PANSCAN_BACKEND", "cuda"),
        ("PANSCAN_LIVE", "on"),
        ("PANSCAN_CONFIG", "gone.toml"),
    ])
    .unwrap_err();
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for part in [
        "PANSCAN_LISTEN: `nowhere`: expected address:port",
        "PANSCAN_L1_BYTES: `lots`: expected a number with a unit",
        "MAX_RETRIES: `-1`: expected a whole number from 0 to 20",
        "PANSCAN_LISTN: no such setting; did you mean PANSCAN_LISTEN?",
        "MASSIVE_API_KEY: differs from POLYGON_API_KEY",
        "PANSCAN_KEYS: callers' keys are not in this build",
        "PANSCAN_BACKEND: `cuda`: expected auto or cpu",
        "PANSCAN_LIVE: `on`: expected off",
        "gone.toml: the configuration file cannot be read",
    ] {
        assert!(text.contains(part), "missing {part:?} in:\n{text}");
    }
    assert_eq!(problems.len(), 9, "{text}");
}

#[test]
fn names_of_tests_are_known_and_others_are_not() {
    assert!(load_env(&[("PANSCAN_TEST_DATA", "x"), ("PANSCAN_PEERS", "y"), ("OTHER", "z")]).is_ok());
    let problems = load_env(&[("PANSCAN_XYZZY_PLUGH", "1")]).unwrap_err();
    assert_eq!(problems[0].name, "PANSCAN_XYZZY_PLUGH");
    assert!(!problems[0].message.contains("did you mean"));
}

#[test]
fn one_key_under_both_names_is_fine() {
    let settings = load_env(&[("POLYGON_API_KEY", "same"), ("MASSIVE_API_KEY", "same")]).unwrap();
    assert_eq!(settings.provider.api_key.unwrap().expose(), "same");
    let settings = load_env(&[("MASSIVE_API_KEY", "newer"), ("POLYGON_API_KEY", "")]).unwrap();
    assert_eq!(settings.provider.api_key.unwrap().expose(), "newer");
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let file = |path: &Path| match path.to_str() {
        Some("/run/key") => Ok("topsecret\n".to_owned()),
        Some("/run/empty") => Ok("\n".to_owned()),
        _ => no_file(path),
    };
    let flags = FlagValues::default();
    let pairs = [("POLYGON_API_KEY_FILE", "/run/key"), ("PANSCAN_REDIS_URL", "redis://u:hidden@h/0")];
    let settings = load(&flags, env(&pairs), &file).unwrap();
    assert_eq!(settings.provider.api_key.as_ref().unwrap().expose(), "topsecret");
    let all = format!("{settings:?}");
    assert!(!all.contains("topsecret") && !all.contains("hidden"), "{all}");
    assert_eq!(settings.shown("POLYGON_API_KEY").unwrap().value, "***");
    assert_eq!(settings.shown("PANSCAN_REDIS_URL").unwrap().value, "redis://u:***@h/0");

    let both = [("POLYGON_API_KEY_FILE", "/run/key"), ("POLYGON_API_KEY", "other")];
    assert!(load(&flags, env(&both), &file).unwrap_err()[0].message.contains("unset one of them"));
    let empty = load(&flags, env(&[("POLYGON_API_KEY_FILE", "/run/empty")]), &file).unwrap_err();
    assert_eq!(empty[0].to_string(), "POLYGON_API_KEY_FILE: `/run/empty`: is empty");
    let bad = load_env(&[("POLYGON_API_KEY", "top secret")]).unwrap_err();
    assert!(!bad[0].to_string().contains("top secret"), "{}", bad[0]);
}

#[test]
fn mistakes_in_the_file_are_named_without_its_text() {
    let flags = {
        let mut flags = FlagValues::default();
        flags.set(&names::CONFIG, "c.toml");
        flags
    };
    let broken = |_: &Path| Ok("log = 'info'\npolygon_api_key = topsecret'\n".to_owned());
    let problems = load(&flags, env(&[]), &broken).unwrap_err();
    assert!(problems[0].name.starts_with("c.toml:2"), "{}", problems[0]);
    assert!(!problems[0].to_string().contains("topsecret"), "{}", problems[0]);

    let unknown = |_: &Path| Ok("liste = '127.0.0.1:1'\n[signals]\nx = 1\n".to_owned());
    let problems = load(&flags, env(&[]), &unknown).unwrap_err();
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        text,
        ["c.toml: liste: no such setting; did you mean `listen`?", "c.toml: signals: no such setting"]
    );
}

#[test]
fn an_open_listener_must_be_spelled_out() {
    let open = [("PANSCAN_LISTEN", "0.0.0.0:50051")];
    let problems = load_env(&open).unwrap_err();
    assert!(problems[0].message.contains("--insecure-listen"), "{}", problems[0]);
    let flags = FlagValues::new(true);
    assert!(load(&flags, env(&open), &no_file).is_ok());
}

#[test]
fn a_share_of_the_limit_is_kept() {
    let pairs = [("PANSCAN_RATE_LIMIT", "100/s"), ("PANSCAN_RATE_BURST", "20"), ("PANSCAN_LIMIT_PEERS", "4")];
    let quota = load_env(&pairs).unwrap().provider.share;
    assert_eq!((quota.calls(), quota.burst()), (25, 5));
}

#[test]
fn a_log_filter_is_checked() {
    for good in ["warn", "INFO", "info,panscan_fetch=debug", "off,panscan::rpc=trace"] {
        assert!(load_env(&[("PANSCAN_LOG", good)]).is_ok(), "{good}");
    }
    for bad in ["verbose", "info,", "=debug", "a b=info", "panscan=loud"] {
        assert!(load_env(&[("PANSCAN_LOG", bad)]).is_err(), "{bad}");
    }
}

#[test]
fn flat_files_take_both_keys_and_neither_is_shown() {
    assert!(load_env(&[]).unwrap().files.is_none());
    let both = [("PANSCAN_S3_ACCESS_KEY", "name4711"), ("PANSCAN_S3_SECRET_KEY", "secret4711")];
    let settings = load_env(&both).unwrap();
    let files = settings.files.as_ref().unwrap();
    assert!(files.endpoint.is_none() && files.bucket.is_none());
    assert_eq!(files.secret_key.expose(), "secret4711");
    assert!(!format!("{settings:?}").contains("4711"));
    for alone in both {
        let problems = load_env(&[alone]).unwrap_err();
        assert!(problems.iter().any(|problem| problem.to_string().contains("give both")), "{}", alone.0);
    }
}

#[test]
fn idle_settings_are_told() {
    let settings = load_env(&[("PANSCAN_TTL_ANALYSIS", "1h"), ("PANSCAN_L1_BYTES", "2GiB")]).unwrap();
    let idle: Vec<_> = settings.idle().map(|shown| shown.entry.name).collect();
    assert_eq!(idle, ["PANSCAN_TTL_ANALYSIS"]);
}

#[test]
fn names_and_keys_are_unique_and_fallbacks_have_words() {
    let mut seen = BTreeSet::new();
    for entry in names::all() {
        assert!(seen.insert(entry.name) && seen.insert(entry.key), "{} twice", entry.name);
        assert!(!entry.meaning.is_empty() && !entry.unit.is_empty(), "{}", entry.name);
        if let Fallback::Absent(words) = entry.fallback {
            assert!(!words.is_empty(), "{}", entry.name);
        }
        if let Effect::Refused(why) = entry.effect {
            assert!(!why.is_empty(), "{}", entry.name);
        }
    }
}
