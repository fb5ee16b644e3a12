//! What the file tier holds, in memory: sizes, order of use, and a number that tells one write of a file from the
//! next. Not here: the files.

use std::collections::{HashMap, HashSet};

use panscan_core::port::BlockKey;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;

use crate::key::Name;

/// The files by name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: HashMap<Name, Entry>,
    bytes: u64,
    tick: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    /// Tick of its last use.
    used: u64,
    /// Tick of its last write.
    written: u64,
}

impl Index {
    /// Takes note of a read. Answers which write of the file it will see.
    pub(crate) fn touch(&mut self, name: &Name) -> Option<u64> {
        let entry = self.entries.get_mut(name)?;
        self.tick += 1;
        entry.used = self.tick;
        Some(entry.written)
    }

    /// Which write of a file is the present one.
    pub(crate) fn written(&self, name: &Name) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.written)
    }

    /// Takes note of a write.
    pub(crate) fn put(&mut self, name: Name, bytes: u64) {
        self.tick += 1;
        let entry = Entry { bytes, used: self.tick, written: self.tick };
        self.bytes += bytes;
        if let Some(old) = self.entries.insert(name, entry) {
            self.bytes -= old.bytes;
        }
    }

    /// Forgets a file.
    pub(crate) fn remove(&mut self, name: &Name) {
        if let Some(old) = self.entries.remove(name) {
            self.bytes -= old.bytes;
        }
    }

    /// Files held.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Which files to give up so that at most `capacity` bytes are left, and a little less, so that the next
    /// write need not ask again: single symbols first, the longest unused before others, then whole sessions,
    /// the oldest before others. What was just written goes last.
    pub(crate) fn surplus(&self, capacity: u64, fresh: &HashSet<Name>) -> Vec<Name> {
        if self.bytes <= capacity {
            return Vec::new();
        }
        let goal = capacity - capacity / 32;
        let mut order: Vec<_> = self
            .entries
            .iter()
            .map(|(name, entry)| {
                let (class, place) = match &name.1 {
                    BlockKey::Symbol(..) => (0, i128::from(entry.used)),
                    BlockKey::Day(date) => (1, i128::from(date.days())),
                };
                ((fresh.contains(name), class, place), entry.bytes, name)
            })
            .collect();
        order.sort_unstable_by_key(|(place, _, _)| *place);
        let mut left = self.bytes;
        let over = |(_, bytes, name): &(_, u64, &Name)| {
            let more = left > goal;
            left = left.saturating_sub(*bytes);
            more.then(|| (*name).clone())
        };
        order.iter().map_while(over).collect()
    }

    /// Symbols of one timeframe.
    pub(crate) fn symbols(&self, market: &MarketId, timeframe: Timeframe) -> Vec<Symbol> {
        let of = |(theirs, key): &Name| match key {
            BlockKey::Symbol(t, symbol) if theirs == market && *t == timeframe => Some(symbol.clone()),
            _ => None,
        };
        self.entries.keys().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panscan_core::time::SessionDate;

    #[test]
    fn gives_up_unused_symbols_then_old_days_then_what_is_fresh() {
        let market = MarketId::new("m");
        let day = |n| (market.clone(), BlockKey::Day(SessionDate::from_days(n)));
        let symbol = |s| (market.clone(), BlockKey::Symbol(Timeframe::Day, Symbol::new(s).unwrap()));
        let mut index = Index::default();
        for name in [day(7), symbol("A"), day(3), symbol("B"), symbol("C")] {
            index.put(name, 100);
        }
        index.put(day(3), 50);
        index.touch(&symbol("A"));
        let fresh = HashSet::from([symbol("C")]);
        assert_eq!((index.len(), index.bytes()), (5, 450));
        assert!(index.surplus(450, &fresh).is_empty());
        assert_eq!(index.surplus(449, &fresh), [symbol("B")]);
        assert_eq!(index.surplus(0, &fresh), [symbol("B"), symbol("A"), day(3), day(7), symbol("C")]);
        index.remove(&symbol("A"));
        assert_eq!((index.touch(&symbol("A")), index.bytes()), (None, 350));
        let mut left = index.symbols(&market, Timeframe::Day);
        left.sort();
        assert_eq!(left.len(), 2);
    }
}
