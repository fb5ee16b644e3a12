//! Opening a store for writing: whose it is, of which version, what it holds, and what should be there and is not.
//! Not here: reading a block, which happens when it is first asked for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::CacheError;
use crate::format::{self, Fault};
use crate::index::Index;
use crate::key;
use crate::lock::Lock;
use crate::manifest::{self, Kept, Listed, Manifest, Shape};
use crate::note;
use crate::walk::{Walked, What, walk};

/// Lost files that are named one by one.
const NAMED_MAX: usize = 8;

/// A store that this process may write.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The folder of the layout.
    pub(crate) root: PathBuf,
    pub(crate) lock: Lock,
    pub(crate) manifest: Manifest,
    pub(crate) index: Index,
    /// Files set aside earlier.
    pub(crate) damaged: u64,
    /// Files that were kept and are gone.
    pub(crate) lost: u64,
}

/// Opens the store in `folder`, creating it if needed. What an earlier process left unfinished is removed, and the
/// manifest is brought in line with the files.
pub(crate) fn open(folder: &Path) -> Result<Opened, CacheError> {
    check_layout(folder)?;
    let root = folder.join(key::LAYOUT);
    fs::create_dir_all(&root).map_err(CacheError::io("create", &root))?;
    let lock = Lock::take(folder)?;
    let manifest_path = root.join(manifest::MANIFEST);
    let listed = read_manifest(folder, &root)?;
    let (mut files, mut entries, mut changed, mut damaged) = (Vec::new(), BTreeMap::new(), false, 0);
    for file in walk(&root)? {
        match &file.what {
            What::Unfinished => {
                fs::remove_file(&file.path).map_err(CacheError::io("remove", &file.path))?;
                continue;
            }
            What::Damaged => {
                damaged += 1;
                continue;
            }
            What::Block(_) | What::Note => {}
        }
        let place = file.place(&root);
        let before = listed.entries.get(&place).copied();
        let kept = reconciled(folder, &file, before, listed.shape)?;
        changed |= kept != before;
        if let Some(kept) = kept {
            entries.insert(place, kept);
        }
        if let What::Block(name) = file.what {
            files.push((file.modified, name, file.bytes, kept));
        }
    }
    files.sort_unstable_by_key(|(modified, ..)| *modified);
    let mut index = Index::default();
    for (_, name, bytes, kept) in files {
        index.put(name, bytes, kept);
    }
    let lost: Vec<&String> = listed.entries.keys().filter(|place| !entries.contains_key(*place)).collect();
    report(folder, &listed, &lost, entries.len());
    let lost = lost.len() as u64;
    let manifest = if changed || lost > 0 {
        Manifest::create(&root, entries)
    } else {
        Manifest::resume(&root, Listed { entries, ..listed })
    };
    let manifest = manifest.map_err(CacheError::io("write", &manifest_path))?;
    Ok(Opened { root, lock, manifest, index, damaged, lost })
}

/// Reads the manifest and refuses that of another version.
pub(crate) fn read_manifest(folder: &Path, root: &Path) -> Result<Listed, CacheError> {
    let path = root.join(manifest::MANIFEST);
    let listed = manifest::read(root).map_err(CacheError::io("read", &path))?;
    match listed.shape {
        Shape::Other(version) => {
            Err(CacheError::Version { path: folder.to_owned(), found: format!("manifest version {version}") })
        }
        _ => Ok(listed),
    }
}

/// Refuses a folder that holds a store of another layout and none of this one.
pub(crate) fn check_layout(folder: &Path) -> Result<(), CacheError> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut other = None;
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let is_layout = name.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok());
        if name == key::LAYOUT {
            return Ok(());
        } else if is_layout {
            other = other.max(Some(name));
        }
    }
    match other {
        Some(found) => Err(CacheError::Version { path: folder.to_owned(), found: format!("layout {found}") }),
        None => Ok(()),
    }
}

/// What the manifest is to say of a file that is there.
fn reconciled(
    folder: &Path,
    file: &Walked,
    before: Option<Kept>,
    shape: Shape,
) -> Result<Option<Kept>, CacheError> {
    if let Some(kept) = before.filter(|kept| kept.bytes == file.bytes) {
        return Ok(Some(kept));
    }
    // Named and not written down before a kill; or damaged, which shows when it is read; or of an older build.
    match head_of(file) {
        Ok((mark, at)) if before.is_none_or(|kept| at >= kept.at) => {
            Ok(Some(Kept { bytes: file.bytes, mark, at }))
        }
        Err(Fault::Version(version)) if shape == Shape::Absent => {
            Err(CacheError::Version { path: folder.to_owned(), found: format!("block version {version}") })
        }
        _ => Ok(before),
    }
}

/// The mark of a file and when it was made, by its head alone.
pub(crate) fn head_of(file: &Walked) -> Result<(u32, i64), Fault> {
    let mut first = Vec::with_capacity(format::HEADER_BYTES);
    let opened = File::open(&file.path);
    let read = opened.and_then(|f| f.take(format::HEADER_BYTES as u64).read_to_end(&mut first));
    read.map_err(|error| Fault::content(error.to_string()))?;
    match file.what {
        What::Note => note::head_of(&first).ok_or(Fault::Length),
        _ => format::head_of(&first),
    }
}

fn report(folder: &Path, listed: &Listed, lost: &[&String], files: usize) {
    let store = folder.display();
    match listed.shape {
        Shape::Absent if files > 0 => {
            tracing::info!(%store, files, "the store is of an older build; its manifest is written");
        }
        Shape::Damaged(lines) => {
            tracing::warn!(%store, lines, "the store's manifest is damaged; it is written again from the files");
        }
        _ => {}
    }
    if !lost.is_empty() {
        let places = &lost[..lost.len().min(NAMED_MAX)];
        tracing::warn!(%store, files = lost.len(), ?places, "files of the store are gone; they are fetched again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_another_version_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("v7")).unwrap();
        fs::create_dir(folder.path().join("vendor")).unwrap();
        let text = open(folder.path()).unwrap_err().to_string();
        assert!(text.contains("layout v7") && text.contains("store export"), "{text}");
        fs::create_dir(folder.path().join("v1")).unwrap();
        open(folder.path()).unwrap();

        let line = "panscan manifest 9";
        let text = format!("{:08x} {line}\n", crc32fast::hash(line.as_bytes()));
        fs::write(folder.path().join("v1/manifest"), text).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("manifest version 9"), "{error}");
    }
}
