//! What can be wrong with a message: a request's fields, all of them at once, or an answer that breaks the
//! contract. How that leaves as a gRPC status is in [`crate::kind`].

use std::fmt;

use panscan_core::Kind;

/// Violations kept of one request at most; the rest are only counted.
pub const VIOLATIONS_MAX: usize = 64;

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path in the request, e.g. `scan.columns[2]`.
    pub field: String,
    /// Stable upper-case word, e.g. `OUT_OF_RANGE`.
    pub reason: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// All that is wrong with a request, in the order of its fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Violations {
    found: Vec<Violation>,
    more: usize,
}

impl Violations {
    /// One violation alone.
    #[must_use]
    pub fn of(field: impl Into<String>, reason: &str, message: impl Into<String>) -> Self {
        let mut violations = Self::default();
        violations.push(field, reason, message);
        violations
    }

    /// Adds one.
    pub fn push(&mut self, field: impl Into<String>, reason: &str, message: impl Into<String>) {
        if self.found.len() < VIOLATIONS_MAX {
            let (field, message) = (field.into(), message.into());
            self.found.push(Violation { field, reason: reason.to_owned(), message });
        } else {
            self.more += 1;
        }
    }

    /// Those kept, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.found
    }

    /// How many more there were.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The stable word of the whole: that of the first.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.found.first().map_or("INVALID", |v| v.reason.as_str())
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::BadRequest
    }

    /// `value` when nothing was found.
    ///
    /// # Errors
    ///
    /// These violations, when there are any.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.found.iter().enumerate() {
            write!(f, "{}{violation}", if i == 0 { "" } else { "; " })?;
        }
        if self.more > 0 {
            write!(f, "; and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

/// Why a message could not be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request has wrong fields.
    #[error(transparent)]
    Request(#[from] Violations),
    /// An answer breaks the contract; the two sides are of different versions, or the sender is broken.
    #[error("the {what} breaks the contract: {message}")]
    Malformed {
        /// Which message.
        what: &'static str,
        /// How.
        message: String,
    },
}

impl Error {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Request(violations) => violations.kind(),
            Self::Malformed { .. } => Kind::Internal,
        }
    }

    pub(crate) fn malformed(what: &'static str, message: impl Into<String>) -> Self {
        Self::Malformed { what, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_violations_is_counted_and_not_kept() {
        let mut violations = Violations::default();
        for i in 0..VIOLATIONS_MAX + 3 {
            violations.push(format!("symbols[{i}]"), "INVALID_SYMBOL", "is empty");
        }
        assert_eq!((violations.as_slice().len(), violations.more()), (VIOLATIONS_MAX, 3));
        assert!(violations.to_string().ends_with("; and 3 more"));
        assert!(violations.or(()).is_err());
    }
}
