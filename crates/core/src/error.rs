//! The one error enum of this crate, and the [`Kind`] that every crate's errors map to.

use crate::symbol::SymbolFault;

/// What a caller can do about an error. One function of `panscan-proto` turns it into a gRPC code, so adding
/// a kind is a considered act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request is wrong; fix the field that is named.
    BadRequest,
    /// A named thing does not exist.
    NotFound,
    /// A named thing exists already.
    AlreadyExists,
    /// A named thing was changed meanwhile; read it again.
    Conflict,
    /// The request is right but the state does not allow it (snapshot gone, backend absent).
    Precondition,
    /// Beyond what is held and obtainable.
    OutOfRange,
    /// Too much at once; wait as told.
    Busy,
    /// The deadline passed.
    Timeout,
    /// The caller went away.
    Cancelled,
    /// A provider or store that this answer needs did not serve it; retry later.
    Upstream,
    /// The caller's key is missing or wrong.
    Unauthenticated,
    /// The caller's key lacks the scope.
    Denied,
    /// Known to the contract, absent from this build.
    Unimplemented,
    /// A compute device failed.
    Device,
    /// A broken invariant; never caused by input.
    Internal,
}

/// A value that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A symbol's text is not one.
    #[error("symbol {text:?} {fault}")]
    Symbol {
        /// The text as given, shortened.
        text: String,
        /// What is wrong with it.
        fault: SymbolFault,
    },
    /// A date, instant, timeframe or number could not be read.
    #[error("{what} {text:?} cannot be read; expected {expected}")]
    Unreadable {
        /// What was being read, e.g. "session date".
        what: &'static str,
        /// The text as given, shortened.
        text: String,
        /// The accepted form, with an example.
        expected: &'static str,
    },
    /// A number lies outside its range.
    #[error("{name} is {value}; it must be between {min} and {max}")]
    OutOfRange {
        /// The field.
        name: &'static str,
        /// The value as given.
        value: i64,
        /// Smallest accepted.
        min: i64,
        /// Largest accepted.
        max: i64,
    },
    /// Columns or keys that must agree do not.
    #[error("{what}")]
    Inconsistent {
        /// What disagrees, in words.
        what: String,
    },
}

impl Error {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Symbol { .. } | Self::Unreadable { .. } | Self::OutOfRange { .. } => Kind::BadRequest,
            Self::Inconsistent { .. } => Kind::Internal,
        }
    }

    pub(crate) fn inconsistent(what: impl Into<String>) -> Self {
        Self::Inconsistent { what: what.into() }
    }
}

/// Shortens hostile text for a message: at most 40 characters, control characters escaped.
#[must_use]
pub fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}
