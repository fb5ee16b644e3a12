//! The one error enum of this crate. The port's methods answer with core's [`StoreError`] instead.

use std::io;
use std::path::{Path, PathBuf};

use panscan_core::Kind;
use panscan_core::port::StoreError;

use crate::stage::is_full;

/// Why a store could not be opened or walked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Another process writes this store.
    #[error(
        "the store {} is in use by another process{}; stop that one or choose another folder (--store)",
        path.display(),
        pid.map(|pid| format!(" ({pid})")).unwrap_or_default()
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Its number, where it could be read.
        pid: Option<u32>,
    },
    /// The store is of a version that this build does not read.
    #[error(
        "the store {} has {found}, which this build does not read; save or export it with the build that wrote it \
         (panscan store backup, panscan store export), or choose another folder (--store)",
        path.display()
    )]
    Version {
        /// The folder.
        path: PathBuf,
        /// What it has.
        found: String,
    },
    /// A file of the store does not read back.
    #[error("{} is damaged: {message}; a server sets it aside and fetches it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        message: String,
    },
    /// There is no store.
    #[error("there is no store in {}; name its folder with --store or PANSCAN_STORE", path.display())]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that a store is to be written into is in use for something.
    #[error("the folder {} is not empty; remove it or choose another (--to)", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A backup that cannot be relied on.
    #[error("the backup {} is not whole: {message}; nothing was restored", path.display())]
    NotWhole {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The address of Redis cannot be read.
    #[error(
        "the redis address cannot be read; expected redis://[user:password@]host:port/db, or rediss: (PANSCAN_REDIS_URL)"
    )]
    RedisAddress,
    /// A file or folder could not be read or written.
    #[error("cannot {what} {}: {source}; {}", path.display(), remedy(source))]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl CacheError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Locked { .. }
            | Self::Version { .. }
            | Self::Absent { .. }
            | Self::Damaged { .. }
            | Self::NotEmpty { .. }
            | Self::NotWhole { .. }
            | Self::RedisAddress
            | Self::Io { .. } => Kind::Precondition,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    if is_full(error) {
        "free space there or choose another folder"
    } else {
        "check that the folder exists and may be read and written"
    }
}

/// Why a file was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Damaged(#[from] crate::format::Fault),
}

/// The port's error for a failed file operation.
pub(crate) fn store_io(what: &str, path: &Path, error: &io::Error) -> StoreError {
    let remedy = if is_full(error) { "; free space below the store or lower PANSCAN_L3_BYTES" } else { "" };
    let message = format!("{error}{remedy}");
    StoreError::Io { store: "l3", what: format!("{what} {}", path.display()), message }
}
