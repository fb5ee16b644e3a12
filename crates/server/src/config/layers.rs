//! Where a value comes from: flag, then environment, then file, then default. Collects every problem on the
//! way instead of ending at the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::names::{self, Effect, Entry, Fallback, Show};
use super::value::{self, Expected};

/// Names that start like settings and are none.
const PREFIX: &str = "PANSCAN_";
/// A configuration file or a file with one value is small; more is a mistake.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nothing was set.
    Default,
    /// The configuration file.
    File,
    /// The environment.
    Env,
    /// The command line.
    Flag,
}

impl Origin {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Env => "env",
            Self::Flag => "flag",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting as it was written, e.g. `PANSCAN_LISTEN`.
    pub name: String,
    /// Where it stood.
    pub origin: Origin,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

/// A value as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The setting.
    pub entry: &'static Entry,
    /// Its value, secrets as `***`; empty where there is none.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Values given on the command line, by setting.
#[derive(Debug, Clone, Default)]
pub struct FlagValues {
    values: Vec<(&'static Entry, String)>,
    insecure_listen: bool,
}

impl FlagValues {
    /// No values; `insecure_listen` as on the command line.
    #[must_use]
    pub fn new(insecure_listen: bool) -> Self {
        Self { values: Vec::new(), insecure_listen }
    }

    /// Notes the value of a flag; an earlier one of the same setting is replaced.
    pub fn set(&mut self, entry: &'static Entry, value: impl Into<String>) {
        self.values.retain(|(held, _)| held.name != entry.name);
        self.values.push((entry, value.into()));
    }

    /// Notes the value of a flag that may be absent.
    pub fn set_some(&mut self, entry: &'static Entry, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.set(entry, value);
        }
    }

    fn get(&self, entry: &Entry) -> Option<&str> {
        self.values.iter().find(|(held, _)| held.name == entry.name).map(|(_, value)| value.as_str())
    }
}

/// How a file is read; a parameter so that tests need no files.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// The layers, the problems found so far and what was settled.
pub(super) struct Layers<'a> {
    flags: &'a FlagValues,
    env: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    read_file: ReadFile<'a>,
    problems: Vec<Problem>,
    shown: Vec<Shown>,
}

impl<'a> Layers<'a> {
    /// Takes in flags and environment, then the configuration file that they name.
    pub(super) fn new(
        flags: &'a FlagValues,
        env: impl Iterator<Item = (String, String)>,
        read_file: ReadFile<'a>,
    ) -> Self {
        let known: BTreeSet<&str> = names::all().map(|entry| entry.name).collect();
        let mut layers = Self {
            flags,
            env: BTreeMap::new(),
            file: BTreeMap::new(),
            read_file,
            problems: Vec::new(),
            shown: Vec::new(),
        };
        for (name, value) in env {
            let stem = name.strip_suffix("_FILE").unwrap_or(&name);
            if known.contains(name.as_str()) || known.contains(stem) || name == "HOME" {
                layers.env.insert(name, value);
            } else if name.starts_with(PREFIX) {
                let message = match names::nearest(stem, known.iter().copied()) {
                    Some(near) => format!("no such setting; did you mean {near}?"),
                    None => "no such setting; unset it, or look it up with `panscan reference`".to_owned(),
                };
                layers.problems.push(Problem { name, origin: Origin::Env, message });
            }
        }
        layers
    }

    /// Reads the configuration file, whose settings are then below those of the environment.
    pub(super) fn take_file(&mut self, path: &Path) {
        let name = path.display().to_string();
        let text = match (self.read_file)(path) {
            Ok(text) if text.len() > FILE_BYTES_MAX => {
                return self.file_problem(name, format!("is larger than {FILE_BYTES_MAX} bytes"));
            }
            Ok(text) => text,
            Err(error) => {
                return self.file_problem(name, format!("the configuration file cannot be read: {error}"));
            }
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                // The message alone: the full error quotes the line, which may hold a secret.
                let line = error.span().map_or(1, |span| {
                    text.as_bytes()[..span.start.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
                });
                return self.file_problem(format!("{name}:{line}"), format!("not TOML: {}", error.message()));
            }
        };
        let keys: BTreeSet<&str> = names::all().map(|entry| entry.key).collect();
        for (key, value) in table {
            if !keys.contains(key.as_str()) {
                let message = match names::nearest(&key, keys.iter().copied()) {
                    Some(near) => format!("no such setting; did you mean `{near}`?"),
                    None => "no such setting".to_owned(),
                };
                self.file_problem(format!("{name}: {key}"), message);
            } else if let Some(text) = as_text(&value) {
                self.file.insert(key, text);
            } else {
                self.file_problem(
                    format!("{name}: {key}"),
                    "expected text, a number, a switch or a list of texts".to_owned(),
                );
            }
        }
    }

    fn file_problem(&mut self, name: String, message: String) {
        self.problems.push(Problem { name, origin: Origin::File, message });
    }

    /// Reports a problem that concerns more than one value.
    pub(super) fn problem(&mut self, entry: &Entry, origin: Origin, message: impl Into<String>) {
        self.problems.push(Problem { name: entry.name.to_owned(), origin, message: message.into() });
    }

    /// A value with a fallback in the table.
    pub(super) fn get<T>(&mut self, entry: &'static Entry, read: impl Fn(&str) -> Result<T, Expected>) -> T {
        let given = self.given(entry, &read);
        if let Some((value, _)) = given {
            return value;
        }
        let Fallback::Value(fallback) = entry.fallback else {
            unreachable!("{} has no fallback", entry.name)
        };
        self.show(entry, fallback.to_owned(), Origin::Default);
        #[expect(clippy::expect_used, reason = "a test reads every fallback of the table")]
        read(fallback).expect("fallbacks of the table are values")
    }

    /// A value without a fallback in the table.
    pub(super) fn find<T>(
        &mut self,
        entry: &'static Entry,
        read: impl Fn(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        let given = self.given(entry, &read);
        if given.is_none() {
            self.show(entry, String::new(), Origin::Default);
        }
        given.map(|(value, _)| value)
    }

    /// A value whose fallback depends on the machine.
    pub(super) fn get_or<T: fmt::Display>(
        &mut self,
        entry: &'static Entry,
        fallback: T,
        read: impl Fn(&str) -> Result<T, Expected>,
    ) -> T {
        match self.given(entry, &read) {
            Some((value, _)) => value,
            None => {
                self.show(entry, fallback.to_string(), Origin::Default);
                fallback
            }
        }
    }

    /// Whether callers from other machines are accepted as they come.
    pub(super) fn insecure_listen(&self) -> bool {
        self.flags.insecure_listen
    }

    /// Where the value that was settled for `entry` came from.
    pub(super) fn origin(&self, entry: &Entry) -> Origin {
        self.shown.iter().find(|shown| shown.entry.name == entry.name).map_or(Origin::Default, |s| s.origin)
    }

    /// A folder or file name with a leading `~` replaced.
    pub(super) fn home(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), self.env.get("HOME")) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            _ => PathBuf::from(path),
        }
    }

    /// What was found: every problem, or what may be shown.
    pub(super) fn finish(mut self) -> Result<Vec<Shown>, Vec<Problem>> {
        if self.problems.is_empty() {
            self.shown.sort_by_key(|shown| names::all().position(|entry| entry.name == shown.entry.name));
            Ok(self.shown)
        } else {
            Err(self.problems)
        }
    }

    /// The value given in the highest layer, read. A problem counts as nothing given.
    fn given<T>(
        &mut self,
        entry: &'static Entry,
        read: &impl Fn(&str) -> Result<T, Expected>,
    ) -> Option<(T, Origin)> {
        let (text, origin) = self.text(entry)?;
        if let Effect::Refused(why) = entry.effect {
            self.problem(entry, origin, format!("{why}; unset it"));
            return None;
        }
        match read(&text) {
            Ok(value) => {
                let shown = match entry.show {
                    Show::Plain => text,
                    Show::Url => value::without_password(&text),
                    Show::Secret => "***".to_owned(),
                };
                self.show(entry, shown, origin);
                Some((value, origin))
            }
            Err(expected) => {
                let message = match entry.show {
                    Show::Plain => format!("{} {expected}", quoted(&text)),
                    Show::Url | Show::Secret => expected,
                };
                self.problem(entry, origin, message);
                None
            }
        }
    }

    fn text(&mut self, entry: &'static Entry) -> Option<(String, Origin)> {
        if let Some(text) = self.flags.get(entry) {
            return Some((text.to_owned(), Origin::Flag));
        }
        // Compose files pass unset variables on as empty ones.
        let empty_counts = entry.name == names::REDIS_URL.name;
        let named = |name: &str| self.env.get(name).filter(|text| empty_counts || !text.is_empty()).cloned();
        let in_file = format!("{}_FILE", entry.name);
        match (named(entry.name), self.env.get(&in_file).filter(|path| !path.is_empty()).cloned()) {
            (Some(_), Some(_)) => {
                self.problem(entry, Origin::Env, format!("is set, and so is {in_file}; unset one of them"));
                None
            }
            (Some(text), None) => Some((text, Origin::Env)),
            (None, Some(path)) => match (self.read_file)(Path::new(&path)) {
                Ok(text) if text.trim().is_empty() => {
                    self.problems.push(Problem {
                        name: in_file,
                        origin: Origin::Env,
                        message: format!("{} is empty", quoted(&path)),
                    });
                    None
                }
                Ok(text) => Some((text.trim().to_owned(), Origin::Env)),
                Err(error) => {
                    self.problems.push(Problem {
                        name: in_file,
                        origin: Origin::Env,
                        message: format!("{} cannot be read: {error}", quoted(&path)),
                    });
                    None
                }
            },
            (None, None) => self.file.get(entry.key).map(|text| (text.clone(), Origin::File)),
        }
    }

    fn show(&mut self, entry: &'static Entry, value: String, origin: Origin) {
        self.shown.push(Shown { entry, value, origin });
    }
}

/// Hostile text for a message.
fn quoted(text: &str) -> String {
    format!("`{}`:", panscan_core::error::shortened(text))
}

fn as_text(value: &toml::Value) -> Option<String> {
    Some(match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(on) => on.to_string(),
        toml::Value::Datetime(at) => at.to_string(),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            texts?.join(",")
        }
        toml::Value::Table(_) => return None,
    })
}
