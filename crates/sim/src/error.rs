//! The one error enum of this crate.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use panscan_core::Kind;

/// Why a simulator could not be built, started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The address could not be bound.
    #[error("cannot listen on {addr}: {source}; choose another port, or port 0 for any free one")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be opened, read or written.
    #[error("cannot {action} {path}: {source}; check that the path exists and its permissions")]
    File {
        /// What was tried, e.g. "read".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file was read but does not hold what it must.
    #[error("{path}: {what}; {remedy}")]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A setting is outside what the simulator can do.
    #[error("{field}: {what}")]
    Setting {
        /// The setting, named as on the command line.
        field: &'static str,
        /// What is wrong and what is accepted.
        what: String,
    },
    /// The server task ended abnormally.
    #[error("the simulator's server ended abnormally: {what}")]
    Ended {
        /// What was seen.
        what: String,
    },
}

impl SimError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Bind { .. } | Self::File { .. } | Self::Data { .. } => Kind::Precondition,
            Self::Setting { .. } => Kind::BadRequest,
            Self::Ended { .. } => Kind::Internal,
        }
    }

    pub(crate) fn data(path: &Path, what: impl Into<String>, remedy: &'static str) -> Self {
        Self::Data { path: path.to_path_buf(), what: what.into(), remedy }
    }

    pub(crate) fn file(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn setting(field: &'static str, what: impl Into<String>) -> Self {
        Self::Setting { field, what: what.into() }
    }
}
