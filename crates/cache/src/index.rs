//! What the file tier holds, in memory: sizes, worth, what the manifest says of each file, and a number that tells one
//! write of a file from the next. Not here: the files.

use std::collections::{HashMap, HashSet};

use panscan_core::port::BlockKey;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;

use crate::key::Name;
use crate::manifest::Kept;

/// Base bars that one provider call brings.
const BARS_PER_CALL: u64 = 50_000;
/// Bytes of a bar.
const BAR_BYTES: u64 = 56;

/// The files by name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: HashMap<Name, Entry>,
    bytes: u64,
    tick: u64,
    /// Worth of the last symbol given up: what comes or is used later starts from there, so that use fades.
    floor: f64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    /// Reads and writes of it.
    uses: u32,
    /// What giving it up would cost: calls to fetch it again per byte that it frees, times its uses, above the floor of
    /// its last use.
    worth: f64,
    /// Tick of its last use; of two that are worth the same, the longest unused goes first.
    used: u64,
    /// Tick of its last write.
    written: u64,
    /// What is known of the file; nothing where its head could not be read.
    kept: Option<Kept>,
}

impl Entry {
    fn use_now(&mut self, tick: u64, floor: f64) {
        self.used = tick;
        self.uses = self.uses.saturating_add(1);
        let bytes = self.bytes.max(1);
        let calls = (bytes / BAR_BYTES).div_ceil(BARS_PER_CALL).max(1);
        self.worth = floor + f64::from(self.uses) * calls as f64 / bytes as f64;
    }
}

impl Index {
    /// Takes note of a read. Answers which write of the file it will see, and what is known of that.
    pub(crate) fn touch(&mut self, name: &Name) -> Option<(u64, Option<Kept>)> {
        let entry = self.entries.get_mut(name)?;
        self.tick += 1;
        entry.use_now(self.tick, self.floor);
        Some((entry.written, entry.kept))
    }

    /// Which write of a file is the present one.
    pub(crate) fn written(&self, name: &Name) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.written)
    }

    /// Takes note of a write, and answers its number.
    pub(crate) fn put(&mut self, name: Name, bytes: u64, kept: Option<Kept>) -> u64 {
        self.tick += 1;
        let uses = self.entries.get(&name).map_or(0, |old| old.uses);
        let mut entry = Entry { bytes, uses, worth: 0.0, used: 0, written: self.tick, kept };
        entry.use_now(self.tick, self.floor);
        self.bytes += bytes;
        if let Some(old) = self.entries.insert(name, entry) {
            self.bytes -= old.bytes;
        }
        self.tick
    }

    /// Forgets a file.
    pub(crate) fn remove(&mut self, name: &Name) {
        if let Some(old) = self.entries.remove(name) {
            self.bytes -= old.bytes;
        }
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> Vec<Name> {
        self.entries.keys().cloned().collect()
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
    /// write need not ask again, those of the least value first: single symbols before whole sessions, which serve
    /// every scan; a symbol by its worth, sessions by age. What was just written goes last.
    pub(crate) fn surplus(&mut self, capacity: u64, fresh: &HashSet<Name>) -> Vec<Name> {
        if self.bytes <= capacity {
            return Vec::new();
        }
        let goal = capacity - capacity / 32;
        let mut order: Vec<_> = self
            .entries
            .iter()
            .map(|(name, entry)| {
                let (is_day, worth, place) = match &name.1 {
                    BlockKey::Symbol(..) => (false, entry.worth, i128::from(entry.used)),
                    BlockKey::Day(date) => (true, 0.0, i128::from(date.days())),
                };
                ((fresh.contains(name), is_day), worth, place, entry.bytes, name)
            })
            .collect();
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        let (mut left, mut floor, mut surplus) = (self.bytes, self.floor, Vec::new());
        for (_, worth, _, bytes, name) in order {
            if left <= goal {
                break;
            }
            left = left.saturating_sub(bytes);
            floor = floor.max(worth);
            surplus.push(name.clone());
        }
        self.floor = floor;
        surplus
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
            index.put(name, 100, None);
        }
        index.put(day(3), 50, None);
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

    #[test]
    fn a_symbol_is_worth_its_calls_and_uses_per_byte_and_old_use_fades() {
        let market = MarketId::new("m");
        let symbol = |s| (market.clone(), BlockKey::Symbol(Timeframe::Minutes(1), Symbol::new(s).unwrap()));
        let mut index = Index::default();
        index.put(symbol("LARGE"), 2_000_000, None);
        index.put(symbol("SMALL"), 20_000, None);
        index.put(symbol("LOVED"), 2_000_000, None);
        for _ in 0..5 {
            index.touch(&symbol("LOVED"));
        }
        let none = HashSet::new();
        assert_eq!(index.surplus(0, &none), [symbol("LARGE"), symbol("LOVED"), symbol("SMALL")]);
        // All of them were given up once: what is used from now on outweighs what was loved before that.
        index.put(symbol("NEW"), 2_000_000, None);
        index.touch(&symbol("NEW"));
        let order = index.surplus(0, &none);
        assert_eq!(order.last(), Some(&symbol("NEW")), "{order:?}");
    }
}
