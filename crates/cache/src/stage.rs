//! Replacing a file in one step: written under another name, synced, renamed. Not here: what is in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::key::UNFINISHED;

/// Tells the unfinished files of this process apart; the store's lock keeps other processes away.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file whose content is on disk, under a name that no reader looks at. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Staged {
    unfinished: PathBuf,
    finished: PathBuf,
    renamed: bool,
}

impl Staged {
    /// Writes `parts` one after the other beside `path` and waits until they are on disk.
    pub(crate) fn write(path: &Path, parts: &[&[u8]]) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let unfinished = folder.join(format!("{UNFINISHED}{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&unfinished)?;
        let staged = Self { unfinished, finished: path.to_owned(), renamed: false };
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_data()?;
        Ok(staged)
    }

    /// Gives the file its name. It is durable once the folder is synced.
    pub(crate) fn rename(mut self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.finished)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.renamed {
            // What cannot be removed now is removed when the store is next opened.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

/// Whether there is no room left, on the disk or in a quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Makes names given in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates `folder` and those above it up to `root`, durably.
pub(crate) fn create_folder(root: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(root)) {
        sync_folder(above)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changes_in_one_step_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        create_folder(root, &root.join("a/b")).unwrap();
        let path = root.join("a/b/file");
        Staged::write(&path, &[b"old"]).unwrap().rename().unwrap();
        let staged = Staged::write(&path, &[b"n", b"ew"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        staged.rename().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        drop(Staged::write(&path, &[b"given up"]).unwrap());
        assert_eq!(fs::read_dir(root.join("a/b")).unwrap().count(), 1);
        assert!(Staged::write(&root.join("absent/file"), &[b"x"]).is_err());
    }
}
