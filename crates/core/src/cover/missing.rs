//! Which cells are missing: bitsets of sessions by symbol, with whole sessions kept apart.
//!
//! Not here: how they are fetched.

use crate::error::Error;
use crate::symbol::SymbolId;
use crate::time::SessionDate;

/// The (symbol, session) cells that are not held.
///
/// "Every symbol misses these sessions" costs one bit per session however many symbols there are; a symbol
/// with cells of its own costs one bit per session more.
#[derive(Debug, Clone)]
pub struct Missing {
    sessions: Vec<SessionDate>,
    /// Sessions that every symbol misses.
    whole: Vec<u64>,
    /// By symbol, what it misses besides `whole`; empty when nothing.
    own: Vec<Vec<u64>>,
}

impl Missing {
    /// Nothing missing among `symbols` symbols (ids from 0 up) and `sessions`.
    ///
    /// # Errors
    ///
    /// [`Error::Inconsistent`] when `sessions` are not strictly ascending, or there are more symbols than ids.
    pub fn new(symbols: usize, sessions: Vec<SessionDate>) -> Result<Self, Error> {
        if !sessions.is_sorted_by(|a, b| a < b) {
            return Err(Error::inconsistent("sessions of missing cells must ascend without duplicates"));
        }
        if u32::try_from(symbols).is_err() {
            return Err(Error::inconsistent(format!("{symbols} symbols are more than there are ids")));
        }
        let words = sessions.len().div_ceil(64);
        Ok(Self { sessions, whole: vec![0; words], own: vec![Vec::new(); symbols] })
    }

    /// Every symbol misses the session at this index.
    ///
    /// # Panics
    ///
    /// When there is no such session.
    pub fn mark_session(&mut self, session: usize) {
        self.check(session);
        self.whole[session / 64] |= 1 << (session % 64);
    }

    /// `symbol` misses the session at this index.
    ///
    /// # Panics
    ///
    /// When there is no such symbol or session.
    pub fn mark(&mut self, symbol: SymbolId, session: usize) {
        self.mark_span(symbol, session..session + 1);
    }

    /// `symbol` misses all sessions of this range of indices.
    ///
    /// # Panics
    ///
    /// When there is no such symbol or session.
    pub fn mark_span(&mut self, symbol: SymbolId, sessions: std::ops::Range<usize>) {
        if sessions.is_empty() {
            return;
        }
        self.check(sessions.end - 1);
        let words = self.whole.len();
        let own = &mut self.own[symbol.index()];
        own.resize(words, 0);
        for session in sessions {
            own[session / 64] |= 1 << (session % 64);
        }
    }

    /// The sessions, ascending; indices are positions in it.
    #[must_use]
    pub fn sessions(&self) -> &[SessionDate] {
        &self.sessions
    }

    /// How many symbols there are, missing cells or not.
    #[must_use]
    pub fn symbols(&self) -> usize {
        self.own.len()
    }

    /// Whether `symbol` misses the session at this index; false for an unknown one.
    #[must_use]
    pub fn is_missing(&self, symbol: SymbolId, session: usize) -> bool {
        let set = |words: &[u64]| words.get(session / 64).is_some_and(|word| word >> (session % 64) & 1 == 1);
        self.own.get(symbol.index()).is_some_and(|own| set(own) || set(&self.whole))
    }

    /// How many cells are missing.
    #[must_use]
    pub fn cells(&self) -> u64 {
        let whole: u64 = self.whole.iter().map(|word| u64::from(word.count_ones())).sum();
        let own = self.own.iter().flat_map(|own| own.iter().zip(&self.whole));
        whole * self.own.len() as u64
            + own.map(|(own, whole)| u64::from((own & !whole).count_ones())).sum::<u64>()
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells() == 0
    }

    /// The same without the sessions, by index, for which `taken` answers true.
    #[must_use]
    pub fn without(&self, taken: impl Fn(usize) -> bool) -> Self {
        let mut kept = self.clone();
        for session in (0..self.sessions.len()).filter(|session| taken(*session)) {
            let (word, mask) = (session / 64, !(1 << (session % 64)));
            kept.whole[word] &= mask;
            kept.own.iter_mut().filter_map(|own| own.get_mut(word)).for_each(|own| *own &= mask);
        }
        kept
    }

    /// Whether any symbol misses the session at this index.
    #[must_use]
    pub fn is_wanted(&self, session: usize) -> bool {
        let set = |words: &[u64]| words.get(session / 64).is_some_and(|word| word >> (session % 64) & 1 == 1);
        !self.own.is_empty() && (set(&self.whole) || self.own.iter().any(|own| set(own)))
    }

    /// What `symbol` misses besides whole sessions, where it does.
    pub(super) fn own(&self, symbol: SymbolId) -> Option<&[u64]> {
        self.own.get(symbol.index()).filter(|own| !own.is_empty()).map(Vec::as_slice)
    }

    /// All that `symbol` misses, one bit per session.
    pub(super) fn row(&self, symbol: SymbolId) -> Vec<u64> {
        match self.own(symbol) {
            None => self.whole.clone(),
            Some(own) => own.iter().zip(&self.whole).map(|(own, whole)| own | whole).collect(),
        }
    }

    /// Words of a bitset of sessions.
    pub(super) fn words(&self) -> usize {
        self.whole.len()
    }

    fn check(&self, session: usize) {
        let count = self.sessions.len();
        assert!(session < count, "session index {session} of {count}");
    }
}

/// Positions of the bits that are set, ascending, or descending from the back.
pub(super) fn ones(words: &[u64]) -> impl DoubleEndedIterator<Item = usize> {
    words.iter().enumerate().flat_map(|(index, &word)| Ones(word).map(move |bit| index * 64 + bit))
}

/// Bits of one word that are set and not yet given out.
struct Ones(u64);

impl Iterator for Ones {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (bit < 64).then_some(bit as usize)
    }
}

impl DoubleEndedIterator for Ones {
    fn next_back(&mut self) -> Option<usize> {
        let bit = 63_u32.checked_sub(self.0.leading_zeros())?;
        self.0 &= !(1 << bit);
        Some(bit as usize)
    }
}
