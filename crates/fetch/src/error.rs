//! The one error enum of this crate. What goes wrong in a call reaches the engine as the port's own
//! [`SourceError`](panscan_core::port::SourceError).

use panscan_core::Kind;

/// Why a provider cannot be set up, or a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A setting is wrong.
    #[error("{field} {message}")]
    Setting {
        /// Which one.
        field: &'static str,
        /// What is wrong with it and what is accepted.
        message: String,
    },
    /// The HTTP client could not be built, e.g. for want of root certificates.
    #[error("the http client cannot be set up: {message}")]
    Client {
        /// What the library said.
        message: String,
    },
    /// A body is not what it should be.
    #[error("{message}")]
    Body {
        /// What is wrong, with line and column.
        message: String,
    },
}

impl FetchError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Setting { .. } => Kind::BadRequest,
            Self::Client { .. } => Kind::Precondition,
            Self::Body { .. } => Kind::Upstream,
        }
    }

    pub(crate) fn setting(field: &'static str, message: impl Into<String>) -> Self {
        Self::Setting { field, message: message.into() }
    }

    pub(crate) fn body(error: &serde_json::Error) -> Self {
        Self::Body { message: error.to_string() }
    }
}
