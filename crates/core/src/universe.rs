//! What can be scanned: symbols with their attributes, as dictionary-encoded columns sorted by symbol.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::calendar::Calendar;
use crate::plan::Digest;
use crate::symbol::{Symbol, SymbolId};
use crate::time::{SessionDate, Timestamp};

/// A text attribute of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TextAttribute {
    /// The company's or fund's name.
    Name,
    /// Market identifier code, e.g. `XNAS`.
    Exchange,
    /// Security type, e.g. `CS`, `ETF`.
    Type,
    /// Sector.
    Sector,
    /// Industry.
    Industry,
    /// Country.
    Country,
    /// Currency code.
    Currency,
}

impl TextAttribute {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All of them.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Name, Self::Exchange, Self::Type, Self::Sector, Self::Industry, Self::Country, Self::Currency];

    /// Its name in expressions, files and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Exchange => "exchange",
            Self::Type => "type",
            Self::Sector => "sector",
            Self::Industry => "industry",
            Self::Country => "country",
            Self::Currency => "currency",
        }
    }

    /// Whether it may stand in `by=` and `group_by`.
    #[must_use]
    pub const fn is_group(self) -> bool {
        matches!(self, Self::Exchange | Self::Type | Self::Sector | Self::Industry | Self::Country)
    }
}

/// One symbol as a source of reference data lists it. `None` is "not known", which an update never turns into
/// an erasure.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The ticker.
    pub symbol: Symbol,
    /// Text attributes, in [`TextAttribute`] order.
    pub text: [Option<Arc<str>>; TextAttribute::COUNT],
    /// Market capitalisation, USD.
    pub market_cap: Option<f64>,
    /// Shares outstanding.
    pub shares_outstanding: Option<f64>,
    /// First session.
    pub list_date: Option<SessionDate>,
    /// Last session, for one that is gone.
    pub delist_date: Option<SessionDate>,
    /// Whether it still trades.
    pub active: Option<bool>,
    /// The figi of its security, which outlives its tickers.
    pub figi: Option<Arc<str>>,
}

impl Listing {
    /// A listing of which only the ticker is known.
    #[must_use]
    pub fn new(symbol: Symbol) -> Self {
        Self {
            symbol,
            text: Default::default(),
            market_cap: None,
            shares_outstanding: None,
            list_date: None,
            delist_date: None,
            active: None,
            figi: None,
        }
    }

    /// Takes over what `newer` knows and keeps the rest.
    pub fn update(&mut self, newer: &Self) {
        for (mine, theirs) in self.text.iter_mut().zip(&newer.text) {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        self.market_cap = newer.market_cap.or(self.market_cap);
        self.shares_outstanding = newer.shares_outstanding.or(self.shares_outstanding);
        self.list_date = newer.list_date.or(self.list_date);
        self.delist_date = newer.delist_date.or(self.delist_date);
        self.active = newer.active.or(self.active);
        if newer.figi.is_some() {
            self.figi.clone_from(&newer.figi);
        }
    }
}

/// A text column: codes into a dictionary. Code 0 is "not known".
#[derive(Debug, Clone, Default)]
pub struct TextColumn {
    codes: Vec<u32>,
    dictionary: Vec<Arc<str>>,
}

impl TextColumn {
    fn from_values<'a>(values: impl Iterator<Item = Option<&'a Arc<str>>>) -> Self {
        let mut column = Self { codes: Vec::new(), dictionary: vec![Arc::from("")] };
        let mut seen: HashMap<Arc<str>, u32> = HashMap::new();
        for value in values {
            let code = value.filter(|v| !v.is_empty()).map_or(0, |text| {
                *seen.entry(text.clone()).or_insert_with(|| {
                    column.dictionary.push(text.clone());
                    u32::try_from(column.dictionary.len() - 1).unwrap_or(0)
                })
            });
            column.codes.push(code);
        }
        column
    }

    /// One code per symbol; 0 is "not known".
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Text of each code; entry 0 is empty.
    #[must_use]
    pub fn dictionary(&self) -> &[Arc<str>] {
        &self.dictionary
    }

    /// The text of a symbol.
    #[must_use]
    pub fn get(&self, id: SymbolId) -> Option<&Arc<str>> {
        match self.codes.get(id.index()) {
            None | Some(0) => None,
            Some(code) => self.dictionary.get(*code as usize),
        }
    }
}

/// All symbols that can be scanned, sorted byte-wise; immutable. A change is a new version with a new number. Cheap to
/// clone: columns are shared.
#[derive(Debug, Clone)]
pub struct Universe {
    name: Arc<str>,
    version: u64,
    updated: Timestamp,
    symbols: Arc<[Symbol]>,
    text: Arc<[TextColumn; TextAttribute::COUNT]>,
    market_cap: Arc<[f64]>,
    shares_outstanding: Arc<[f64]>,
    list_date: Arc<[Option<SessionDate>]>,
    delist_date: Arc<[Option<SessionDate>]>,
    active: Arc<[bool]>,
}

impl Universe {
    /// Builds a version from listings in any order; of two for one symbol the later one updates the earlier.
    #[must_use]
    pub fn new(
        name: &str,
        version: u64,
        updated: Timestamp,
        listings: impl IntoIterator<Item = Listing>,
    ) -> Self {
        let mut merged: BTreeMap<Symbol, Listing> = BTreeMap::new();
        for listing in listings {
            match merged.get_mut(&listing.symbol) {
                Some(known) => known.update(&listing),
                None => {
                    merged.insert(listing.symbol.clone(), listing);
                }
            }
        }
        let all: Vec<Listing> = merged.into_values().collect();
        let today = Calendar::us_equities().session_of(updated);
        let known = |value: Option<f64>| value.filter(|v| v.is_finite()).unwrap_or(f64::NAN);
        Self {
            name: name.into(),
            version,
            updated,
            text: Arc::new(std::array::from_fn(|i| {
                TextColumn::from_values(all.iter().map(|l| l.text[i].as_ref()))
            })),
            market_cap: all.iter().map(|l| known(l.market_cap)).collect(),
            shares_outstanding: all.iter().map(|l| known(l.shares_outstanding)).collect(),
            list_date: all.iter().map(|l| l.list_date).collect(),
            delist_date: all.iter().map(|l| l.delist_date).collect(),
            active: all
                .iter()
                .map(|l| l.active.unwrap_or_else(|| l.delist_date.is_none_or(|to| to >= today)))
                .collect(),
            symbols: all.into_iter().map(|l| l.symbol).collect(),
        }
    }

    /// The same with market capitalisation as close times shares outstanding where only the shares are known.
    #[must_use]
    pub fn valued(self: &Arc<Self>, close: impl Fn(SymbolId) -> f64) -> Arc<Self> {
        let lacking = |i: &usize| self.market_cap[*i].is_nan() && !self.shares_outstanding[*i].is_nan();
        if !(0..self.len()).any(|i| lacking(&i)) {
            return self.clone();
        }
        let mut market_cap = self.market_cap.to_vec();
        for i in (0..self.len()).filter(lacking) {
            let close = close(SymbolId(u32::try_from(i).unwrap_or(u32::MAX)));
            market_cap[i] = close * self.shares_outstanding[i];
        }
        Arc::new(Self { market_cap: market_cap.into(), ..Self::clone(self) })
    }

    /// Whether a symbol's market capitalisation is made of its close.
    #[must_use]
    pub fn is_valued(&self) -> bool {
        self.market_cap.iter().zip(&*self.shares_outstanding).any(|(cap, shares)| {
            // Known shares with an unknown value.
            cap.is_nan() && !shares.is_nan()
        })
    }

    /// The same as of the end of a past session: listed are the symbols that were by then and were not gone yet. One
    /// whose dates are not known was what it is now.
    #[must_use]
    pub fn at(self: &Arc<Self>, session: SessionDate) -> Arc<Self> {
        let was = |i: usize| {
            let came = self.list_date[i].is_none_or(|from| from <= session);
            came && self.delist_date[i].map_or(self.active[i], |to| to >= session)
        };
        if (0..self.len()).all(|i| was(i) == self.active[i]) {
            return self.clone();
        }
        Arc::new(Self { active: (0..self.len()).map(was).collect(), ..Self::clone(self) })
    }

    /// Whether it is known of every symbol when it came and, of one that is gone, when that was.
    #[must_use]
    pub fn knows_membership(&self) -> bool {
        (0..self.len())
            .all(|i| self.list_date[i].is_some() && (self.active[i] || self.delist_date[i].is_some()))
    }

    /// Its name, e.g. `default`; the resource name is `universes/` before it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Grows with each version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When this version was made.
    #[must_use]
    pub fn updated(&self) -> Timestamp {
        self.updated
    }

    /// How many symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The symbols, ascending; the index is the [`SymbolId`].
    #[must_use]
    pub fn symbols(&self) -> &Arc<[Symbol]> {
        &self.symbols
    }

    /// The ticker of an id of this version.
    ///
    /// # Panics
    ///
    /// When the id is of another universe and beyond this one.
    #[must_use]
    pub fn symbol(&self, id: SymbolId) -> &Symbol {
        &self.symbols[id.index()]
    }

    /// The id of a ticker, spelled exactly so.
    #[must_use]
    pub fn find(&self, symbol: &str) -> Option<SymbolId> {
        let at = self.symbols.binary_search_by(|s| s.as_str().cmp(symbol)).ok()?;
        u32::try_from(at).ok().map(SymbolId)
    }

    /// All ids, ascending.
    pub fn ids(&self) -> impl Iterator<Item = SymbolId> + use<> {
        (0..u32::try_from(self.symbols.len()).unwrap_or(u32::MAX)).map(SymbolId)
    }

    /// A text attribute of all symbols.
    #[must_use]
    pub fn text(&self, attribute: TextAttribute) -> &TextColumn {
        &self.text[attribute as usize]
    }

    /// Market capitalisation in USD; NaN where it is not known.
    #[must_use]
    pub fn market_cap(&self) -> &[f64] {
        &self.market_cap
    }

    /// Shares outstanding; NaN where it is not known.
    #[must_use]
    pub fn shares_outstanding(&self) -> &[f64] {
        &self.shares_outstanding
    }

    /// First sessions, where known.
    #[must_use]
    pub fn list_date(&self) -> &[Option<SessionDate>] {
        &self.list_date
    }

    /// Last sessions of those that are gone, where known.
    #[must_use]
    pub fn delist_date(&self) -> &[Option<SessionDate>] {
        &self.delist_date
    }

    /// Whether each still trades.
    #[must_use]
    pub fn active(&self) -> &[bool] {
        &self.active
    }

    /// All that can be scanned of one symbol; its figi is no part of a universe.
    #[must_use]
    pub fn listing(&self, id: SymbolId) -> Listing {
        let i = id.index();
        let known = |v: f64| (!v.is_nan()).then_some(v);
        Listing {
            symbol: self.symbols[i].clone(),
            text: std::array::from_fn(|a| self.text[a].get(id).cloned()),
            market_cap: known(self.market_cap[i]),
            shares_outstanding: known(self.shares_outstanding[i]),
            list_date: self.list_date[i],
            delist_date: self.delist_date[i],
            active: Some(self.active[i]),
            figi: None,
        }
    }
}

/// The symbols that a scan looks at: one flag each, in id order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Population {
    members: Vec<bool>,
    count: usize,
}

impl Population {
    /// From one flag per symbol.
    #[must_use]
    pub fn new(members: Vec<bool>) -> Self {
        let count = members.iter().filter(|m| **m).count();
        Self { members, count }
    }

    /// A name that two populations share only where they have the same members.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let words = self
            .members
            .chunks(64)
            .map(|flags| flags.iter().rev().fold(0_u64, |word, member| word << 1 | u64::from(*member)));
        Digest::of_words(words.chain([self.members.len() as u64]))
    }

    /// Everyone.
    #[must_use]
    pub fn all(symbols: usize) -> Self {
        Self { members: vec![true; symbols], count: symbols }
    }

    /// How many take part.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether every symbol takes part.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.count == self.members.len()
    }

    /// One flag per symbol.
    #[must_use]
    pub fn members(&self) -> &[bool] {
        &self.members
    }

    /// Whether a symbol takes part.
    #[must_use]
    pub fn contains(&self, id: SymbolId) -> bool {
        self.members.get(id.index()).copied().unwrap_or(false)
    }

    /// The ids that take part, ascending.
    pub fn ids(&self) -> impl Iterator<Item = SymbolId> + '_ {
        self.members
            .iter()
            .enumerate()
            .filter(|(_, m)| **m)
            .map(|(i, _)| SymbolId(u32::try_from(i).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(symbol: &str, sector: Option<&str>, cap: Option<f64>) -> Listing {
        let mut listing = Listing::new(Symbol::new(symbol).unwrap());
        listing.text[TextAttribute::Sector as usize] = sector.map(Arc::from);
        listing.market_cap = cap;
        listing
    }

    #[test]
    fn is_sorted_and_an_update_erases_nothing() {
        let universe = Universe::new(
            "default",
            1,
            Timestamp::default(),
            [
                listing("B", Some("Energy"), None),
                listing("A", None, Some(2.0)),
                listing("B", None, Some(3.0)),
            ],
        );
        assert_eq!(universe.symbols().iter().map(Symbol::as_str).collect::<Vec<_>>(), ["A", "B"]);
        let b = universe.find("B").unwrap();
        assert_eq!(universe.text(TextAttribute::Sector).get(b).map(|s| &**s), Some("Energy"));
        assert_eq!(universe.market_cap()[b.index()], 3.0);
        assert!(universe.text(TextAttribute::Sector).get(universe.find("A").unwrap()).is_none());
        assert!(universe.find("C").is_none());
        let universe = Arc::new(universe);
        assert!(Arc::ptr_eq(&universe.valued(|_| 1.0), &universe), "nobody's shares are known");
        let mut shares = listing("A", None, None);
        shares.shares_outstanding = Some(50.0);
        let mut both = listing("B", None, Some(3.0));
        both.shares_outstanding = Some(50.0);
        let shares = Arc::new(Universe::new("default", 1, Timestamp::default(), [shares, both]));
        assert_eq!(shares.valued(|_| 2.0).market_cap(), [100.0, 3.0]);
        assert_eq!(universe.listing(b).market_cap, Some(3.0));
    }
}
