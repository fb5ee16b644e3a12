//! What outlives the process besides bars: who was listed when, universes that callers name, scans that they save.
//!
//! Here are the shapes and the port; the database behind it is another crate's, and how a name becomes the symbols of
//! a snapshot is in [`crate::named`].

use std::sync::Arc;

use crate::error::Kind;
use crate::plan::Digest;
use crate::port::Pending;
use crate::snapshot::MarketId;
use crate::symbol::Symbol;
use crate::time::{SessionDate, Timestamp};
use crate::universe::Listing;

/// Universes that can be named at most.
pub const UNIVERSES_MAX: usize = 256;
/// Scans that can be saved at most.
pub const SAVED_SCANS_MAX: usize = 10_000;
/// Bytes of a saved scan at most.
pub const SAVED_SCAN_BYTES_MAX: usize = 256 << 10;
/// Bytes of a description at most.
pub const DESCRIPTION_BYTES_MAX: usize = 1_000;

/// Whether a text names a saved scan or a universe: `[a-z][a-z0-9-]{0,62}`.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let more = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= 63 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(more)
}

/// That a symbol belongs to a universe from one session until before another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Whose.
    pub symbol: Symbol,
    /// First session; none: always before.
    pub since: Option<SessionDate>,
    /// First session without it; none: still.
    pub until: Option<SessionDate>,
}

impl Membership {
    /// Whether the symbol belonged on that session.
    #[must_use]
    pub fn holds(&self, on: SessionDate) -> bool {
        self.since.is_none_or(|since| since <= on) && self.until.is_none_or(|until| on < until)
    }
}

/// What decides who belongs to a named universe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// These symbols, each in its time.
    Symbols(Arc<[Membership]>),
    /// An expression over attributes.
    Filter(String),
}

/// A universe under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedUniverse {
    /// Its name without `universes/`.
    pub id: String,
    /// In words.
    pub description: String,
    /// Who belongs to it.
    pub rule: Rule,
    /// Grows with each change.
    pub revision: i64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
}

impl NamedUniverse {
    /// What an update must name to be made.
    #[must_use]
    pub fn etag(&self) -> String {
        etag(&self.id, self.revision, self.created)
    }
}

/// A scan under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedScan {
    /// Its name without `scans/`.
    pub id: String,
    /// In words.
    pub description: String,
    /// The scan as its owner wrote it, in the form of the wire.
    pub scan: Vec<u8>,
    /// Who made it; empty where callers are not told apart.
    pub owner: String,
    /// Grows with each change.
    pub revision: i64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
}

impl SavedScan {
    /// What an update must name to be made.
    #[must_use]
    pub fn etag(&self) -> String {
        etag(&self.id, self.revision, self.created)
    }
}

/// One that was removed and made again is another, though its revision starts over.
fn etag(id: &str, revision: i64, created: Timestamp) -> String {
    let digest = Digest::of(&format!("{id} {revision} {}", created.as_nanos()));
    format!("{revision}-{:016x}", digest.0 as u64)
}

/// Why the catalog did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// Nothing has this name.
    #[error("{what} {name:?} does not exist")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Something has this name already.
    #[error("{what} {name:?} exists already; choose another name, or update it")]
    Exists {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It was changed since the caller read it.
    #[error("{what} {name:?} was changed meanwhile; read it again and repeat the change with its new etag")]
    Changed {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There are as many as there may be.
    #[error("there are {max} {what}s already, which is the most; delete one first")]
    Full {
        /// What kind of thing.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// The database was written by a later version.
    #[error(
        "the database has the layout {found} and this version knows up to {known}; run the newer panscan, or set \
         PANSCAN_DATABASE_URL to another database"
    )]
    Newer {
        /// Its layout.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// The database does not answer, or not as it should.
    #[error("the database does not serve: {why}; check PANSCAN_DATABASE_URL and that it runs")]
    Unavailable {
        /// What it said.
        why: String,
    },
}

impl CatalogError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::Exists { .. } => Kind::AlreadyExists,
            Self::Changed { .. } => Kind::Conflict,
            Self::Full { .. } => Kind::Busy,
            Self::Newer { .. } => Kind::Precondition,
            Self::Unavailable { .. } => Kind::Upstream,
        }
    }

    /// The stable word of the contract.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "NOT_FOUND",
            Self::Exists { .. } => "ALREADY_EXISTS",
            Self::Changed { .. } => "ETAG_MISMATCH",
            Self::Full { .. } => "QUOTA_EXCEEDED",
            Self::Newer { .. } => "DATABASE_NEWER",
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
        }
    }
}

/// What recording a market's listings changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// Symbols that are listed and were not before.
    pub joined: usize,
    /// Symbols that were and are not any more.
    pub left: usize,
    /// Symbols of which something else changed.
    pub changed: usize,
}

/// An answer of the catalog that is not here yet.
pub type Filed<'a, T> = Pending<'a, Result<T, CatalogError>>;

/// Where all of this is kept. Every change is whole or not made at all.
pub trait Catalog: Send + Sync {
    /// What it is, for people; no password in it.
    fn describe(&self) -> String;

    /// Replaces the attributes that came from a file.
    fn import(&self, listings: Vec<Listing>, at: Timestamp) -> Filed<'_, ()>;

    /// The attributes that came from a file.
    fn imported(&self) -> Filed<'_, Vec<Listing>>;

    /// Takes over what a market lists on a session: who joined, who left, what changed.
    fn record(
        &self,
        market: MarketId,
        on: SessionDate,
        listings: Vec<Listing>,
        at: Timestamp,
    ) -> Filed<'_, Recorded>;

    /// Everyone that a market was ever seen to list, with what was known last.
    fn listings(&self, market: MarketId) -> Filed<'_, Vec<Listing>>;

    /// Who was listed when, as far as it was seen.
    fn history(&self, market: MarketId) -> Filed<'_, Vec<Membership>>;

    /// The first session that was recorded of a market.
    fn recorded_since(&self, market: MarketId) -> Filed<'_, Option<SessionDate>>;

    /// Every named universe, by name.
    fn universes(&self) -> Filed<'_, Vec<NamedUniverse>>;

    /// Adds a universe; its revision and times are set here.
    fn create_universe(&self, universe: NamedUniverse, at: Timestamp) -> Filed<'_, NamedUniverse>;

    /// Changes a universe, if it still has the revision that is given. Symbols that are new belong from `on`, and
    /// those that are missing belonged until then.
    fn update_universe(
        &self,
        universe: NamedUniverse,
        on: SessionDate,
        at: Timestamp,
    ) -> Filed<'_, NamedUniverse>;

    /// Removes a universe, if it has that revision where one is given.
    fn delete_universe(&self, id: String, revision: Option<i64>) -> Filed<'_, ()>;

    /// Saved scans whose names come after `after`, by name.
    fn saved_scans(&self, after: String, limit: usize) -> Filed<'_, Vec<SavedScan>>;

    /// A saved scan.
    fn saved_scan(&self, id: String) -> Filed<'_, SavedScan>;

    /// Adds a saved scan; its revision and times are set here.
    fn create_saved_scan(&self, scan: SavedScan, at: Timestamp) -> Filed<'_, SavedScan>;

    /// Changes a saved scan, if it still has the revision that is given.
    fn update_saved_scan(&self, scan: SavedScan, at: Timestamp) -> Filed<'_, SavedScan>;

    /// Removes a saved scan, if it has that revision where one is given.
    fn delete_saved_scan(&self, id: String, revision: Option<i64>) -> Filed<'_, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        for good in ["a", "dips", "a-1", &"a".repeat(63)] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "A", "1a", "-a", "a_b", "a.b", "é", &"a".repeat(64)] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn one_made_again_has_another_etag() {
        let of = |revision, second| etag("a", revision, Timestamp::from_seconds(second));
        assert_eq!(of(1, 1), of(1, 1));
        assert_ne!(of(1, 1), of(2, 1));
        assert_ne!(of(1, 1), of(1, 2));
    }

    #[test]
    fn a_member_is_one_from_its_first_session_until_before_its_last() {
        let day = SessionDate::from_days;
        let member = |since, until| Membership { symbol: Symbol::new("A").unwrap(), since, until };
        assert!(member(None, None).holds(day(5)));
        let some = member(Some(day(5)), Some(day(7)));
        assert_eq!([4, 5, 6, 7].map(|d| some.holds(day(d))), [false, true, true, false]);
    }
}
