//! Reads every file of a store and says which do not read back, and which are not there. Changes nothing, so that it may
//! run beside a server.

use std::path::{Path, PathBuf};

use crate::error::{CacheError, ReadFault};
use crate::file::open_block;
use crate::format::Fault;
use crate::key::LAYOUT;
use crate::manifest::{self, MANIFEST, Shape};
use crate::note;
use crate::open::{check_layout, read_manifest};
use crate::walk::{What, walk};

/// Told after each step of a long job: steps done, steps in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// A file that does not read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Block files read.
    pub blocks: u64,
    /// Bytes of block files.
    pub bytes: u64,
    /// Notes read.
    pub notes: u64,
    /// Files that do not read back, by path; the manifest is one of them.
    pub damaged: Vec<DamagedFile>,
    /// Files that were kept and are not there, by path.
    pub missing: Vec<PathBuf>,
    /// Files that a server set aside earlier.
    pub set_aside: Vec<PathBuf>,
}

impl Report {
    /// Whether everything that was kept is there and reads back.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.missing.is_empty()
    }
}

/// Checks every file of the store in `dir`, each checksum and each name, and that none is missing.
///
/// # Errors
///
/// [`CacheError::Absent`] where there is no store, [`CacheError::Version`] where there is another build's, or when a
/// folder cannot be listed.
pub fn verify(dir: &Path, progress: Progress<'_>) -> Result<Report, CacheError> {
    let root = existing(dir)?;
    let listed = read_manifest(dir, &root)?;
    let mut report = Report::default();
    if let Shape::Damaged(lines) = listed.shape {
        let message = format!("{lines} lines of it are not what was written");
        report.damaged.push(DamagedFile { path: root.join(MANIFEST), message });
    }
    let mut files = walk(&root)?;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let total = files.len() as u64;
    for (done, file) in files.into_iter().enumerate() {
        progress(done as u64, total);
        let place = file.place(&root);
        let kept = listed.entries.get(&place).copied();
        let read = match &file.what {
            What::Block((market, key)) => {
                report.blocks += 1;
                report.bytes += file.bytes;
                open_block(&file.path, &[]).and_then(|(_, parts)| {
                    let checked = parts.expect(market, key).and_then(|()| parts.not_before(kept));
                    checked.map_err(ReadFault::Damaged)
                })
            }
            What::Note => {
                report.notes += 1;
                std::fs::read(&file.path)
                    .map_err(ReadFault::Io)
                    .and_then(|bytes| Ok(note::verified(&place, &bytes)?))
                    .and_then(|(mark, at)| match kept {
                        Some(kept) if mark != kept.mark && at < kept.at => Err(Fault::Stale.into()),
                        _ => Ok(()),
                    })
            }
            What::Damaged => {
                report.set_aside.push(file.path.clone());
                continue;
            }
            What::Unfinished => continue,
        };
        match read {
            // A server beside this one may have given the file up meanwhile.
            Err(ReadFault::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(fault) => report.damaged.push(DamagedFile { path: file.path, message: fault.to_string() }),
            Ok(()) => {}
        }
    }
    // What a server gives up is written down before it goes, so what is still listed after it was not found is lost.
    let path = |place: &String| place.split('/').fold(root.clone(), |path, part| path.join(part));
    let mut missing: Vec<_> = listed.entries.iter().filter(|(place, _)| !path(place).exists()).collect();
    if !missing.is_empty() {
        let now = manifest::read(&root).map_err(CacheError::io("read", &root.join(MANIFEST)))?;
        missing.retain(|(place, kept)| now.entries.get(*place) == Some(kept) && !path(place).exists());
    }
    report.missing = missing.into_iter().map(|(place, _)| path(place)).collect();
    report.damaged.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    progress(total, total);
    Ok(report)
}

/// The folder of the layout of a store that must be there.
pub(crate) fn existing(dir: &Path) -> Result<PathBuf, CacheError> {
    check_layout(dir)?;
    let root = dir.join(LAYOUT);
    if root.is_dir() { Ok(root) } else { Err(CacheError::Absent { path: dir.to_owned() }) }
}
