//! `panscan check`: what stands and what does not, one line each, with what to do.

mod machine;
mod redis;
mod upstream;

use std::io::{self, Write as _};
use std::sync::Arc;

use panscan_core::port::BarSource;
use serde_json::{Value, json};

use super::args::{CheckArgs, CheckFormat};
use super::exit::Exit;
use super::failure::Failure;
use super::output::plain_table;
use crate::config::{Problem, Settings, Shown};

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warn,
    Fail,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line of the answer.
#[derive(Debug, Clone)]
struct Row {
    name: &'static str,
    state: State,
    detail: String,
    remedy: String,
}

impl Row {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, state: State::Ok, detail: detail.into(), remedy: String::new() }
    }

    fn warn(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Warn, detail: detail.into(), remedy: remedy.into() }
    }

    fn fail(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Fail, detail: detail.into(), remedy: remedy.into() }
    }
}

/// How the provider's client is built; a message where that fails.
pub type MakeSource = fn(&Settings) -> Result<Arc<dyn BarSource>, String>;

/// Looks at everything and says how it stands.
pub async fn run(
    args: CheckArgs,
    loaded: Result<Settings, Vec<Problem>>,
    source: MakeSource,
) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    let mut shown = Vec::new();
    match loaded {
        Ok(settings) => {
            shown.clone_from(&settings.shown);
            rows.push(config(&settings));
            rows.push(key(&settings));
            let asked = upstream::ask(&settings, source(&settings), args.offline).await;
            rows.push(upstream::provider(&settings, &asked));
            rows.push(upstream::clock(&settings, &asked));
            rows.push(upstream::calendar(&asked));
            rows.push(upstream::universe(&settings));
            rows.push(if args.offline {
                Row::ok("redis", "not looked at (--offline)")
            } else {
                redis::row(&settings).await
            });
            rows.push(machine::store(&settings));
            rows.push(machine::disk(&settings));
            if let Some(server) = &args.server {
                rows.push(upstream::server(server).await);
            }
        }
        Err(problems) => {
            rows.push(invalid(&problems));
            for name in ["key", "provider", "redis", "store", "universe", "clock", "calendar", "disk"] {
                rows.push(Row::warn(name, "not looked at: the configuration is invalid", "see config"));
            }
        }
    }
    rows.push(machine::cpu());
    rows.extend(machine::gpu());
    rows.sort_by_key(|row| ORDER.iter().position(|name| *name == row.name));
    let failed = rows.iter().any(|row| row.state == State::Fail);
    let text = match args.output {
        CheckFormat::Json => document(&rows, &shown).to_string(),
        CheckFormat::Table => {
            plain_table(
                ["check", "state", "detail", "what to do"],
                rows.iter().map(|row| {
                    [
                        row.name.to_owned(),
                        row.state.as_str().to_owned(),
                        row.detail.clone(),
                        row.remedy.clone(),
                    ]
                }),
            ) + &effective(&shown)
        }
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(if failed { Exit::CheckFailed } else { Exit::Done })
}

/// The order in which the rows are shown.
const ORDER: &[&str] = &[
    "config",
    "key",
    "provider",
    "server",
    "redis",
    "store",
    "universe",
    "cpu",
    "gpu.driver",
    "gpu.nvrtc",
    "gpu.device",
    "clock",
    "calendar",
    "disk",
];

/// Every setting as it is in effect, with where its value came from; secrets are masked.
fn effective(shown: &[Shown]) -> String {
    if shown.is_empty() {
        return String::new();
    }
    let rows = shown
        .iter()
        .map(|shown| [shown.entry.name.to_owned(), shown.value.clone(), shown.origin.as_str().to_owned()]);
    format!("\n\n{}", plain_table(["setting", "value", "from"], rows))
}

fn document(rows: &[Row], shown: &[Shown]) -> Value {
    let checks: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name, "state": row.state.as_str(), "detail": row.detail, "remedy": row.remedy,
            })
        })
        .collect();
    let settings: Vec<Value> = shown
        .iter()
        .map(|shown| json!({"name": shown.entry.name, "value": shown.value, "origin": shown.origin.as_str()}))
        .collect();
    let ok = rows.iter().all(|row| row.state != State::Fail);
    json!({"ok": ok, "checks": checks, "settings": settings})
}

fn config(settings: &Settings) -> Row {
    let given = settings.shown.iter().filter(|shown| shown.origin != crate::config::Origin::Default);
    let names: Vec<_> = given.map(|shown| format!("{} ({})", shown.entry.name, shown.origin)).collect();
    let detail = if names.is_empty() { "all defaults".to_owned() } else { names.join(", ") };
    let idle: Vec<_> = settings.idle().map(|shown| shown.entry.name).collect();
    if idle.is_empty() {
        Row::ok("config", detail)
    } else {
        Row::warn("config", detail, format!("no effect in this build: {}", idle.join(", ")))
    }
}

fn invalid(problems: &[Problem]) -> Row {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Row::fail(
        "config",
        texts.join("; "),
        "correct or unset what is named; `panscan reference` lists all settings",
    )
}

fn key(settings: &Settings) -> Row {
    match &settings.provider.api_key {
        Some(_) => Row::ok("key", "set"),
        None => Row::warn(
            "key",
            "none; nothing can be fetched, what is stored can be scanned",
            "set POLYGON_API_KEY, or POLYGON_API_KEY_FILE to a file that holds it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_failed() {
        let rows = [Row::ok("cpu", "x"), Row::fail("store", "y", "z")];
        let document = document(&rows, &[]);
        assert_eq!(document["ok"], false);
        assert_eq!(document["checks"][1]["state"], "fail");
        assert_eq!(document["checks"][1]["remedy"], "z");
    }

    #[test]
    fn every_problem_is_in_the_row() {
        let problem = |name: &str| Problem {
            name: name.to_owned(),
            origin: crate::config::Origin::Env,
            message: "wrong".into(),
        };
        let row = invalid(&[problem("A"), problem("B")]);
        assert_eq!(row.detail, "A: wrong; B: wrong");
    }
}
