//! The one error enum of this crate. The port's methods answer with core's [`StoreError`] instead.

use std::io;
use std::path::{Path, PathBuf};

use panscan_core::Kind;
use panscan_core::port::StoreError;

/// Why a store could not be opened or walked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Another process writes this store.
    #[error(
        "the store {} is in use by another process; stop that one or choose another folder (--store)",
        path.display()
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The address of Redis cannot be read.
    #[error(
        "the redis address cannot be read; expected redis://[user:password@]host:port/db, or rediss: (PANSCAN_REDIS_URL)"
    )]
    RedisAddress,
    /// A file or folder could not be read or written.
    #[error("cannot {what} {}: {source}; check that the folder exists and may be read and written", path.display())]
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
            Self::Locked { .. } | Self::RedisAddress | Self::Io { .. } => Kind::Precondition,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
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
    StoreError::Io { store: "l3", what: format!("{what} {}", path.display()), message: error.to_string() }
}
