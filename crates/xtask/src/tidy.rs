//! Rules of the workspace that no compiler knows. Each rule is a pure function from files to findings, and the
//! tests plant a violation of each, so that a rule that stopped looking is noticed.

mod changelog;
mod imports;
mod readme;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::root;

/// Folders that hold what was built or fetched, not what was written.
const FOREIGN: [&str; 6] = ["target", ".git", ".venv", "panscan-store", "__pycache__", "node_modules"];

/// One file of the workspace.
pub(crate) struct Source {
    /// Path from the workspace root, with `/` between its parts.
    pub(crate) path: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Source {
    /// Its text; `None` for a binary file.
    #[must_use]
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok().filter(|text| !text.contains('\0'))
    }

    /// The end of its name after the last dot.
    #[must_use]
    pub(crate) fn extension(&self) -> &str {
        self.path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, end)| end)
    }
}

/// Applies every rule to the workspace.
///
/// # Errors
///
/// The number of findings, each of which is printed.
pub(crate) fn run() -> Result<(), String> {
    let sources = sources(&root())?;
    let findings = findings(&sources);
    for finding in &findings {
        println!("{finding}");
    }
    println!("xtask: tidy looked at {} files: {} findings", sources.len(), findings.len());
    if findings.is_empty() { Ok(()) } else { Err("the workspace is not tidy".to_owned()) }
}

/// What every rule finds.
fn findings(sources: &[Source]) -> Vec<String> {
    let mut findings = text::findings(sources);
    findings.extend(imports::findings(sources));
    findings.extend(changelog::findings(sources));
    findings.extend(readme::findings(sources));
    findings
}

/// Every file that was written by hand, ordered by path.
///
/// # Errors
///
/// The first folder or file that cannot be read.
pub(crate) fn sources(top: &Path) -> Result<Vec<Source>, String> {
    let mut found = Vec::new();
    let mut folders = vec![top.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
        for entry in entries {
            let entry = entry.map_err(|fault| format!("{}: {fault}", folder.display()))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(|fault| fault.to_string())?);
            let foreign = FOREIGN.iter().any(|name| entry.file_name() == *name);
            if foreign {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let bytes = fs::read(&path).map_err(|fault| format!("{}: {fault}", path.display()))?;
                found.push(Source { path: inside(top, &path), bytes });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn inside(top: &Path, path: &Path) -> String {
    let parts: PathBuf = path.strip_prefix(top).unwrap_or(path).to_path_buf();
    parts.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let findings = findings(&sources(&root()).unwrap());
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn sources_are_those_of_people() {
        let sources = sources(&root()).unwrap();
        assert!(sources.iter().any(|source| source.path == "crates/xtask/src/tidy.rs"));
        assert!(sources.iter().all(|source| !source.path.starts_with("target/")));
    }
}
