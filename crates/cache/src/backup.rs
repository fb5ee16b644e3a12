//! Copies of a store: a backup is itself a store, whole from the moment that it has a manifest. Every file is verified on
//! its way. Not here: the folder of calls beside the layout, and everything else that is not this tier's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::error::CacheError;
use crate::format;
use crate::key::LAYOUT;
use crate::lock::Lock;
use crate::manifest::{Change, Kept, MANIFEST, Manifest, Shape};
use crate::note;
use crate::open::{head_of, open, read_manifest};
use crate::stage::{Staged, create_folder, sync_folder};
use crate::verify::{DamagedFile, Progress, existing, verify};
use crate::walk::{Walked, What, walk};

/// Files copied before those are synced and written down.
const BATCH: usize = 256;

/// What [`backup`] or [`restore`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copied {
    /// Block files copied.
    pub blocks: u64,
    /// Notes copied.
    pub notes: u64,
    /// Bytes copied.
    pub bytes: u64,
    /// Files left as they are, because what the store has is as new.
    pub kept: u64,
    /// Files left out, because they do not read back.
    pub damaged: Vec<DamagedFile>,
}

impl Copied {
    fn count(&mut self, file: &Walked, bytes: u64) {
        match file.what {
            What::Note => self.notes += 1,
            _ => self.blocks += 1,
        }
        self.bytes += bytes;
    }
}

/// Copies every block and note of the store in `dir` to the folder `to`, which must be absent or empty. May run beside a
/// server: each file is copied as it is at that moment. Damaged files are left out and named.
///
/// # Errors
///
/// [`CacheError::NotEmpty`], [`CacheError::Absent`], or when a file cannot be read or written; then `to` has no manifest
/// and is no backup.
pub fn backup(dir: &Path, to: &Path, progress: Progress<'_>) -> Result<Copied, CacheError> {
    let from_root = existing(dir)?;
    read_manifest(dir, &from_root)?;
    let in_use = fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some());
    if in_use {
        return Err(CacheError::NotEmpty { path: to.to_owned() });
    }
    let root = to.join(LAYOUT);
    fs::create_dir_all(&root).map_err(CacheError::io("create", &root))?;
    let _lock = Lock::take(to)?;
    let files = contents(&from_root)?;
    let (mut copied, mut entries) = (Copied::default(), BTreeMap::new());
    let mut folders = BTreeSet::new();
    let total = files.len() as u64;
    for (at, file) in files.iter().enumerate() {
        progress(at as u64, total);
        let place = file.place(&from_root);
        match checked(&from_root, file)? {
            None => {}
            Some(Err(message)) => copied.damaged.push(DamagedFile { path: file.path.clone(), message }),
            Some(Ok((bytes, kept))) => {
                folders.insert(place_file(&root, &place, &bytes)?);
                copied.count(file, kept.bytes);
                entries.insert(place, kept);
            }
        }
    }
    for folder in &folders {
        sync_folder(folder).map_err(CacheError::io("sync", folder))?;
    }
    Manifest::create(&root, entries).map_err(CacheError::io("write", &root.join(MANIFEST)))?;
    sync_folder(to).map_err(CacheError::io("sync", to))?;
    progress(total, total);
    Ok(copied)
}

/// Puts every block and note of the backup in `from` into the store in `dir`, creating it if needed. Nothing is changed
/// before the whole backup was verified. What the store has that is as new or newer and reads back stays, and so does
/// what the backup has not.
///
/// # Errors
///
/// [`CacheError::NotWhole`] when the backup is damaged, incomplete or was not finished, [`CacheError::Locked`] while a
/// server has the store, or when a file cannot be read or written.
pub fn restore(from: &Path, dir: &Path, progress: Progress<'_>) -> Result<Copied, CacheError> {
    let from_root = existing(from)?;
    let not_whole = |message: String| CacheError::NotWhole { path: from.to_owned(), message };
    if read_manifest(from, &from_root)?.shape != Shape::Whole {
        return Err(not_whole("it has no whole manifest: it was not finished, or is damaged".to_owned()));
    }
    let report = verify(from, &mut |done, total| progress(done, total * 2))?;
    if let Some(first) = report.damaged.first() {
        let (count, path) = (report.damaged.len(), first.path.display());
        return Err(not_whole(format!("{count} files are damaged, first {path}: {}", first.message)));
    }
    if let Some(first) = report.missing.first() {
        return Err(not_whole(format!(
            "{} files are missing, first {}",
            report.missing.len(),
            first.display()
        )));
    }
    let opened = open(dir)?;
    let root = &opened.root;
    let entries = opened.manifest.entries();
    let files = contents(&from_root)?;
    let total = files.len() as u64;
    let mut copied = Copied::default();
    for (batch, files) in files.chunks(BATCH).enumerate() {
        let (mut folders, mut changes) = (BTreeSet::new(), Vec::new());
        for (at, file) in files.iter().enumerate() {
            progress(total + (batch * BATCH + at) as u64, total * 2);
            let place = file.place(&from_root);
            let here = Walked { path: place_path(root, &place), ..file.clone() };
            let (bytes, kept) = match checked(&from_root, file)? {
                Some(Ok(content)) => content,
                Some(Err(message)) => return Err(not_whole(format!("{}: {message}", file.path.display()))),
                None => return Err(not_whole(format!("{} went away", file.path.display()))),
            };
            // Cheap first: most files are not there at all, or the same.
            let newer = head_of(&here).is_ok_and(|(_, made)| made >= kept.at);
            if newer && matches!(checked(root, &here)?, Some(Ok(_))) {
                copied.kept += 1;
                continue;
            }
            folders.insert(place_file(root, &place, &bytes)?);
            copied.count(file, kept.bytes);
            if entries.get(&place) != Some(&kept) {
                changes.push(Change::Put(place, kept));
            }
        }
        for folder in &folders {
            sync_folder(folder).map_err(CacheError::io("sync", folder))?;
        }
        opened.manifest.record(changes).map_err(CacheError::io("write", &root.join(MANIFEST)))?;
    }
    progress(total * 2, total * 2);
    Ok(copied)
}

/// Blocks and notes by place.
fn contents(root: &Path) -> Result<Vec<Walked>, CacheError> {
    let mut files = walk(root)?;
    files.retain(|file| matches!(file.what, What::Block(_) | What::Note));
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// A file's bytes and what a manifest says of them.
type Content = (Vec<u8>, Kept);

/// Reads a file and verifies it: nothing where it is gone, words where it is damaged.
fn checked(root: &Path, file: &Walked) -> Result<Option<Result<Content, String>>, CacheError> {
    let bytes = match fs::read(&file.path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CacheError::io("read", &file.path)(error)),
    };
    let length = bytes.len() as u64;
    let verified = match &file.what {
        What::Block((market, key)) => format::decode(&bytes, &[]).and_then(|parts| {
            parts.expect(market, key)?;
            Ok((parts.mark, parts.provenance.fetched_at.as_nanos()))
        }),
        _ => note::verified(&file.place(root), &bytes),
    };
    Ok(Some(match verified {
        Ok((mark, at)) => Ok((bytes, Kept { bytes: length, mark, at })),
        Err(fault) => Err(fault.to_string()),
    }))
}

fn place_path(root: &Path, place: &str) -> std::path::PathBuf {
    place.split('/').fold(root.to_owned(), |path, part| path.join(part))
}

/// Writes a file to its place and answers the folder that has to be synced.
fn place_file(root: &Path, place: &str, bytes: &[u8]) -> Result<std::path::PathBuf, CacheError> {
    let path = place_path(root, place);
    let folder = path.parent().unwrap_or(root).to_owned();
    create_folder(root, &folder).map_err(CacheError::io("create", &folder))?;
    let staged = Staged::write(&path, &[bytes]).map_err(CacheError::io("write", &path))?;
    staged.rename().map_err(CacheError::io("rename into", &path))?;
    Ok(folder)
}
