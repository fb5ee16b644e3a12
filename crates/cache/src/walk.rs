//! Listing a store: every file that is part of it, by place and name. Not here: what is in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use panscan_core::port::BlockKey;
use panscan_core::time::Timeframe;

use crate::error::CacheError;
use crate::key::{self, Name};

/// A file below the store's folder.
#[derive(Debug, Clone)]
pub(crate) struct Walked {
    pub(crate) path: PathBuf,
    pub(crate) what: What,
    pub(crate) bytes: u64,
    /// When it was last written, where the system says so.
    pub(crate) modified: Option<SystemTime>,
}

impl Walked {
    /// Its place below the folder of the layout.
    pub(crate) fn place(&self, root: &Path) -> String {
        key::place(self.path.strip_prefix(root).unwrap_or(&self.path))
    }
}

/// What a file is, by its place and name.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A block.
    Block(Name),
    /// A note.
    Note,
    /// Written halfway by a process that ended.
    Unfinished,
    /// Set aside.
    Damaged,
}

/// Lists the files of a store; whatever else lies there is left alone.
pub(crate) fn walk(root: &Path) -> Result<Vec<Walked>, CacheError> {
    let mut found = Vec::new();
    for (market_folder, market_name) in entries(root)?.into_iter().filter(|(path, _)| path.is_dir()) {
        let Some(market) = key::market_of(&market_name) else { continue };
        for (folder, name) in some_entries(&market_folder)?.into_iter().filter(|(path, _)| path.is_dir()) {
            if name == key::NOTES {
                collect(&folder, &mut found, |file| file.ends_with(key::NOTE_ENDING).then_some(What::Note))?;
            } else if let Ok(timeframe) = name.parse::<Timeframe>() {
                let days = folder.join(key::DAYS);
                if timeframe == Timeframe::Day && days.is_dir() {
                    collect(&days, &mut found, |file| {
                        Some(What::Block((market.clone(), BlockKey::Day(key::day_of(file)?))))
                    })?;
                }
                let symbols = folder.join(key::SYMBOLS);
                if symbols.is_dir() {
                    collect(&symbols, &mut found, |file| {
                        let symbol = key::symbol_of(file)?;
                        Some(What::Block((market.clone(), BlockKey::Symbol(timeframe, symbol))))
                    })?;
                }
            }
        }
    }
    Ok(found)
}

fn collect(
    folder: &Path,
    found: &mut Vec<Walked>,
    what: impl Fn(&str) -> Option<What>,
) -> Result<(), CacheError> {
    for (path, name) in some_entries(folder)? {
        let kind = if name.starts_with(key::UNFINISHED) {
            Some(What::Unfinished)
        } else if name.ends_with(key::DAMAGED_ENDING) {
            Some(What::Damaged)
        } else {
            what(&name)
        };
        let Some(what) = kind else { continue };
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(CacheError::io("read", &path))?,
        };
        if metadata.is_file() {
            found.push(Walked { path, what, bytes: metadata.len(), modified: metadata.modified().ok() });
        }
    }
    Ok(())
}

/// As [`entries`]; a folder that went away meanwhile has none.
fn some_entries(folder: &Path) -> Result<Vec<(PathBuf, String)>, CacheError> {
    match entries(folder) {
        Err(CacheError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

fn entries(folder: &Path) -> Result<Vec<(PathBuf, String)>, CacheError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(CacheError::io("list", folder))? {
        let entry = entry.map_err(CacheError::io("list", folder))?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((entry.path(), name));
        }
    }
    Ok(found)
}
