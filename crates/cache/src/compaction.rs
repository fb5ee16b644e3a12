//! Making a store smaller without losing a bar: what nobody will read goes, and so do bars that are held twice. Not here:
//! the size bound, which the server keeps by itself.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use panscan_core::bar::Field;
use panscan_core::block::Block;
use panscan_core::port::BlockKey;
use panscan_core::snapshot::MarketId;
use panscan_core::time::{SessionDate, Timeframe};

use crate::census::block_at;
use crate::error::CacheError;
use crate::key::{self, Name};
use crate::manifest::{Change, MANIFEST, Manifest, read};
use crate::open::open;
use crate::verify::{Progress, existing};
use crate::walk::{What, walk};

/// What [`compact`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Files left unfinished or set aside that were removed.
    pub leftovers: u64,
    /// Single symbols' daily bars that whole sessions hold too, to the bit.
    pub doubles: u64,
    /// Empty folders removed.
    pub folders: u64,
    /// Bytes that are free now.
    pub freed_bytes: u64,
    /// Lines of the manifest that were not needed.
    pub manifest_lines: u64,
}

/// Removes leftovers, files set aside, single symbols' daily bars that whole sessions hold to the bit, and empty
/// folders; and writes the manifest again.
///
/// # Errors
///
/// [`CacheError::Locked`] while a server has the store, or when a file cannot be removed.
pub fn compact(dir: &Path, progress: Progress<'_>) -> Result<Compacted, CacheError> {
    let root = existing(dir)?;
    let mut done = Compacted::default();
    // Unfinished files of a server that runs are none of ours: looked at here, removed only once the store is.
    let before = walk(&root)?;
    let lines = read(&root).map_err(CacheError::io("read", &root.join(MANIFEST)))?.lines;
    let opened = open(dir)?;
    for file in before.iter().filter(|file| matches!(file.what, What::Unfinished)) {
        done.leftovers += 1;
        done.freed_bytes += file.bytes;
    }
    let files = walk(&root)?;
    let total = files.len() as u64;
    let mut sessions = Sessions { root: &root, read: HashMap::new() };
    let (mut removable, mut gone) = (Vec::new(), Vec::new());
    for (at, file) in files.into_iter().enumerate() {
        progress(at as u64, total);
        match &file.what {
            What::Damaged => done.leftovers += 1,
            What::Block(name) if sessions.hold(&file.path, name) => {
                gone.push(Change::Gone(key::block_place(name)));
                done.doubles += 1;
            }
            _ => continue,
        }
        removable.push(file);
    }
    opened.manifest.record(gone).map_err(CacheError::io("write", &root.join(MANIFEST)))?;
    for file in removable {
        fs::remove_file(&file.path).map_err(CacheError::io("remove", &file.path))?;
        done.freed_bytes += file.bytes;
    }
    done.folders = remove_empty(&root, 0)?;
    let entries = opened.manifest.entries();
    done.manifest_lines = lines.saturating_sub(entries.len() as u64 + 1);
    Manifest::create(&root, entries).map_err(CacheError::io("write", &root.join(MANIFEST)))?;
    progress(total, total);
    Ok(done)
}

/// Whole sessions, read when first asked for.
struct Sessions<'a> {
    root: &'a Path,
    read: HashMap<(MarketId, SessionDate), Option<Block>>,
}

impl Sessions<'_> {
    /// Whether whole sessions hold everything that this file does. A file that does not read back is not one to
    /// compare, nor to remove.
    fn hold(&mut self, path: &Path, name: &Name) -> bool {
        let BlockKey::Symbol(Timeframe::Day, symbol) = &name.1 else { return false };
        let Ok(Some(block)) = block_at(path, name) else { return false };
        block.rows().iter().enumerate().all(|(row, at)| {
            let session = at.as_session();
            let Some(day) = self.session(&name.0, session) else { return false };
            match day.symbols().binary_search(symbol) {
                Ok(id) => {
                    Field::ALL.iter().all(|f| day.get(id, 0, *f).to_bits() == block.get(0, row, *f).to_bits())
                }
                // A session lists everybody who traded in it.
                Err(_) => block.bar(0, row).is_none(),
            }
        })
    }

    fn session(&mut self, market: &MarketId, session: SessionDate) -> Option<&Block> {
        let root = self.root;
        let read = self.read.entry((market.clone(), session)).or_insert_with(|| {
            let name = (market.clone(), BlockKey::Day(session));
            block_at(&key::block_path(root, &name.0, &name.1), &name).ok().flatten()
        });
        read.as_ref()
    }
}

fn remove_empty(folder: &Path, depth: u32) -> Result<u64, CacheError> {
    let entries = fs::read_dir(folder).map_err(CacheError::io("list", folder))?;
    let folders: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    let mut removed = 0;
    for below in folders {
        removed += remove_empty(&below, depth + 1)?;
    }
    // One that is not empty is refused by the system.
    if depth > 0 && fs::remove_dir(folder).is_ok() {
        removed += 1;
    }
    Ok(removed)
}
