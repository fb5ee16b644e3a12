//! The right to write a store: one process at a time. The system gives the lock back when its holder ends, however it
//! ends; the number in the file is for messages only. Not here: what the right is used for.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::error::CacheError;

/// Name of the file, below the store's folder.
const LOCK: &str = "lock";
/// How often the lock is tried: somebody may be looking whether it is held.
const TRIES: u32 = 25;
/// Wait between two tries.
const BETWEEN: Duration = Duration::from_millis(10);

/// Held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

impl Lock {
    /// Takes the lock of the store in `folder` and leaves the number of this process in it.
    pub(crate) fn take(folder: &Path) -> Result<Self, CacheError> {
        let path = folder.join(LOCK);
        let options = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = options.map_err(CacheError::io("open", &path))?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => std::thread::sleep(BETWEEN),
                Err(TryLockError::WouldBlock) => {
                    return Err(CacheError::Locked { path: folder.to_owned(), pid: number(&mut file) });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(CacheError::Io { what: "lock", path, source });
                }
            }
            tries += 1;
        }
        // Where the disk is full the lock holds without the number.
        let written =
            file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        drop(written);
        Ok(Self(file))
    }
}

/// Who writes a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Nobody.
    None,
    /// A process, by its number where that could be read.
    Process(Option<u32>),
}

impl Writer {
    /// Looks who holds the lock of the store in `folder`.
    pub(crate) fn of(folder: &Path) -> Self {
        let Ok(mut file) = fs::File::open(folder.join(LOCK)) else { return Self::None };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Self::Process(number(&mut file)),
            _ => Self::None,
        }
    }
}

fn number(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_what_a_dead_one_left_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Writer::of(folder.path()), Writer::None);
        fs::write(folder.path().join(LOCK), "4711 and more than a number").unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let own = std::process::id();
        assert_eq!(Writer::of(folder.path()), Writer::Process(Some(own)));
        let error = Lock::take(folder.path()).unwrap_err();
        assert!(matches!(error, CacheError::Locked { pid: Some(pid), .. } if pid == own));
        drop(lock);
        assert_eq!(Writer::of(folder.path()), Writer::None);
        Lock::take(folder.path()).unwrap();
    }
}
