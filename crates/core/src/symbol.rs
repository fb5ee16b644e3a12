//! The provider's ticker as a checked newtype, and the dense id it is interned to.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, shortened};

/// Longest ticker accepted, in bytes.
pub const SYMBOL_BYTES_MAX: usize = 24;

/// A provider's ticker, e.g. `BRK.B`. Case matters and is kept: providers use it to tell share classes apart.
///
/// Ordered byte-wise, which is the order of ties in a ranking.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Arc<str>);

/// Why a text is no symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SymbolFault {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than [`SYMBOL_BYTES_MAX`].
    #[error("is longer than 24 bytes")]
    TooLong,
    /// A byte that no ticker has.
    #[error("holds a character that no ticker has (letters, digits and . - ^ / = + : _ * $ # are accepted)")]
    Character,
}

impl Symbol {
    /// Checks `text` and keeps it as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Symbol`] naming what is wrong.
    pub fn new(text: &str) -> Result<Self, Error> {
        match Self::fault(text) {
            None => Ok(Self(Arc::from(text))),
            Some(fault) => Err(Error::Symbol { text: shortened(text), fault }),
        }
    }

    /// What keeps `text` from being a symbol, if anything. Allocates nothing, so that a decoder can ask per row.
    #[must_use]
    pub fn fault(text: &str) -> Option<SymbolFault> {
        if text.is_empty() {
            return Some(SymbolFault::Empty);
        }
        if text.len() > SYMBOL_BYTES_MAX {
            return Some(SymbolFault::TooLong);
        }
        let ok = |b: u8| b.is_ascii_alphanumeric() || b".-^/=+:_*$#".contains(&b);
        if text.bytes().all(ok) { None } else { Some(SymbolFault::Character) }
    }

    /// The ticker.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Symbol {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Symbol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text)
    }
}

/// Position of a symbol in its [`Universe`](crate::universe::Universe), which is sorted by symbol. Valid for
/// that version of the universe only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub u32);

impl SymbolId {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_case_and_refuses_what_no_ticker_has() {
        assert_eq!(Symbol::new("BRK.B").unwrap().as_str(), "BRK.B");
        assert_ne!(Symbol::new("BFp").unwrap(), Symbol::new("BFP").unwrap());
        for bad in ["", "A B", "A\0", "Ä", "THIS.TICKER.IS.FAR.TOO.LONG"] {
            assert!(Symbol::new(bad).is_err(), "{bad:?}");
        }
    }
}
