//! The one error enum of this crate: why a universe file was not read at all. Single rows that could not be taken
//! are no error; [`Import`](crate::Import) lists them.

use std::io;
use std::path::PathBuf;

use panscan_core::Kind;

use crate::column::NAMES;

/// Why a universe file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UniverseError {
    /// It could not be opened.
    #[error("cannot open the universe file {}: {source}; check the path and its permissions", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its name does not say what it is.
    #[error(
        "the universe file {} has no known ending; rename it to .csv, .csv.gz or .parquet, as it is",
        path.display()
    )]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// Its content is not what its name says, or ends early.
    #[error("cannot read the universe file {}: {message}; check that it is whole and is {expected}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// What its name says that it is.
        expected: &'static str,
    },
    /// No column holds the symbols.
    #[error(
        "the universe file {} has no column symbol, only {found}; name the tickers' column symbol (known are {NAMES})",
        path.display()
    )]
    NoSymbolColumn {
        /// The file.
        path: PathBuf,
        /// The columns that it has, shortened.
        found: String,
    },
    /// A known column is there more than once.
    #[error("the universe file {} has the column {column} twice; remove one", path.display())]
    RepeatedColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
    },
    /// It lists more than is accepted.
    #[error("the universe file {} has more than {max} rows; split it or keep the symbols to be scanned", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Rows accepted.
        max: usize,
    },
}

impl UniverseError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::Open { .. } => Kind::Precondition,
            _ => Kind::BadRequest,
        }
    }
}
