//! An immutable version of the panels and the universe. Every scan runs on exactly one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::named::Named;
use crate::panel::Panel;
use crate::scan::Adjustment;
use crate::symbol::SymbolId;
use crate::time::{SessionDate, Timestamp};
use crate::universe::Universe;

/// Which world bars come from: a provider's name, or the simulator's id of its market. Part of every store path
/// and shared key, so that generated and real bars never mix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MarketId(Arc<str>);

impl MarketId {
    /// Keeps letters, digits, `-`, `_` and `.`; everything else becomes `_`, so that it is safe in a path.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let clean = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let safe: String = text.chars().take(64).map(clean).collect();
        Self(Arc::from(safe.trim_start_matches('.')))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MarketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Opaque, URL-safe name of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub Arc<str>);

impl SnapshotId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which (symbol, session) cells were asked for. A cell that was asked for and empty counts as held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// For each session of the panel, whether the whole market is held.
    pub market: Vec<bool>,
    /// For symbols that were fetched on their own, one flag per session.
    pub symbols: BTreeMap<SymbolId, Vec<bool>>,
}

impl Held {
    /// Whether a cell is held; `session` is an index into the panel's sessions.
    #[must_use]
    pub fn has(&self, symbol: SymbolId, session: usize) -> bool {
        self.market.get(session).copied().unwrap_or(false)
            || self.symbols.get(&symbol).and_then(|s| s.get(session).copied()).unwrap_or(false)
    }

    /// Whether every cell of the market is.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.market.iter().all(|held| *held)
    }
}

/// What a scan sees.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its name.
    pub id: SnapshotId,
    /// Grows with each snapshot of this process; the memo is keyed by it.
    pub epoch: u64,
    /// The world its bars come from.
    pub market: MarketId,
    /// No bar that ended later takes part.
    pub as_of: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// First session of its panels.
    pub history_start: SessionDate,
    /// Whether universe attributes are those of `as_of`.
    pub point_in_time: bool,
    /// The symbols and their attributes.
    pub universe: Arc<Universe>,
    /// The universes that have a name.
    pub named: Arc<Named>,
    /// Daily bars adjusted for splits.
    pub daily: Arc<Panel>,
    /// Daily bars as they traded; the same panel where no split applies.
    pub daily_raw: Arc<Panel>,
    /// Daily bars adjusted for splits and dividends, once somebody has asked for them.
    pub daily_paid: Arc<OnceLock<Arc<Panel>>>,
    /// Which cells were asked for.
    pub held: Arc<Held>,
    /// Provider of the bars, e.g. `polygon`.
    pub provider: Arc<str>,
}

impl Snapshot {
    /// The daily panel under an adjustment; `None` for dividends where they were not applied yet.
    #[must_use]
    pub fn panel(&self, adjustment: Adjustment) -> Option<&Arc<Panel>> {
        match adjustment {
            Adjustment::Splits => Some(&self.daily),
            Adjustment::Raw => Some(&self.daily_raw),
            Adjustment::SplitsAndDividends => self.daily_paid.get(),
        }
    }

    /// The newest session of its panels.
    #[must_use]
    pub fn newest(&self) -> Option<SessionDate> {
        self.daily.sessions().last().copied()
    }
}
