//! Reads every file of a store and says which do not read back. Changes nothing, so that it may run beside a
//! server.

use std::path::{Path, PathBuf};

use crate::error::{CacheError, ReadFault};
use crate::file::open_block;
use crate::key::LAYOUT;
use crate::note;
use crate::walk::{What, walk};

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
    /// Files that do not read back, by path.
    pub damaged: Vec<DamagedFile>,
    /// Files that a server set aside earlier.
    pub set_aside: Vec<PathBuf>,
}

/// Checks every file of the store in `dir`, each checksum and each name.
///
/// # Errors
///
/// When a folder of it cannot be listed.
pub fn verify(dir: &Path) -> Result<Report, CacheError> {
    let mut report = Report::default();
    let mut files = walk(&dir.join(LAYOUT))?;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    for file in files {
        let read = match &file.what {
            What::Block((market, key)) => {
                report.blocks += 1;
                report.bytes += file.bytes;
                open_block(&file.path, &[])
                    .and_then(|(_, parts)| parts.expect(market, key).map_err(ReadFault::Damaged))
            }
            What::Note => {
                report.notes += 1;
                std::fs::read(&file.path)
                    .map_err(ReadFault::Io)
                    .and_then(|bytes| note::decode(bytes).map(drop).map_err(ReadFault::Damaged))
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
    Ok(report)
}
