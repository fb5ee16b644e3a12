//! L1: decoded blocks in memory, bounded by the bytes that they own. Not here: files; a block whose numbers are
//! mapped costs only its symbols and rows.
//!
//! The policy is S3-FIFO: a new block waits in a small queue, and only one that is asked for again there (or soon
//! after it was put out) enters the main queue. One long read through everything passes through the small queue
//! and leaves the main one as it is.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use panscan_core::block::Block;
use panscan_core::port::{BlockKey, TierStats};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;

use crate::key::Name;
use crate::locked;
use crate::packed::{Packed, Ticket};

/// Charged for every block beside its own bytes: map slot, queue slot, key.
const OVERHEAD_BYTES: u64 = 256;
/// The small queue holds at most this part of the capacity.
const SMALL_SHARE: u64 = 10;
/// Uses that are counted; a block survives as many rounds of the main queue.
const USES_MAX: u8 = 3;
/// Names of blocks put out that are remembered at least.
const GHOSTS_MIN: usize = 1024;

/// The tier.
#[derive(Debug)]
pub(crate) struct Hot {
    capacity: u64,
    /// Where blocks go that are put out and own their numbers; mapped ones can be mapped again.
    below: Option<Arc<Packed>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<Name, Slot>,
    small: VecDeque<Name>,
    main: VecDeque<Name>,
    ghosts: VecDeque<Name>,
    ghost_set: HashSet<Name>,
    small_bytes: u64,
    main_bytes: u64,
    hits: u64,
    misses: u64,
    evictions: u64,
}

#[derive(Debug)]
struct Slot {
    block: Block,
    bytes: u64,
    uses: u8,
    in_main: bool,
}

/// Bytes on the heap of a block beside its numbers. The text of tickers is shared and not counted.
pub(crate) fn axis_bytes(block: &Block) -> u64 {
    (size_of_val(&block.symbols()[..]) + size_of_val(&block.rows()[..])) as u64
}

impl Hot {
    /// An empty tier of this many bytes.
    pub(crate) fn new(capacity: u64, below: Option<Arc<Packed>>) -> Self {
        Self { capacity, below, state: Mutex::default() }
    }

    /// The blocks that are here, in the order of `keys`.
    pub(crate) fn get(&self, market: &MarketId, keys: &[BlockKey]) -> Vec<Option<Block>> {
        let state = &mut *locked(&self.state);
        let mut name = (market.clone(), BlockKey::Day(panscan_core::time::SessionDate::from_days(0)));
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            name.1.clone_from(key);
            let slot = state.slots.get_mut(&name);
            match &slot {
                Some(_) => state.hits += 1,
                None => state.misses += 1,
            }
            found.push(slot.map(|slot| {
                slot.uses = (slot.uses + 1).min(USES_MAX);
                slot.block.clone()
            }));
        }
        found
    }

    /// Keeps a block of which `heap_bytes` lie on the heap, replacing what was there.
    pub(crate) fn put(&self, name: Name, block: Block, heap_bytes: u64) {
        self.put_into(&mut locked(&self.state), name, block, heap_bytes);
    }

    /// As [`Hot::put`], unless a version is here or below.
    pub(crate) fn put_absent(&self, name: Name, block: Block, heap_bytes: u64) {
        let state = &mut *locked(&self.state);
        if !state.slots.contains_key(&name) && !self.below.as_ref().is_some_and(|below| below.has(&name)) {
            self.put_into(state, name, block, heap_bytes);
        }
    }

    /// As [`Hot::put`], for a new version: an older one below is forgotten in the same moment.
    pub(crate) fn replace(&self, name: Name, block: Block, heap_bytes: u64) {
        let state = &mut *locked(&self.state);
        if let Some(below) = &self.below {
            below.forget(&name);
        }
        self.put_into(state, name, block, heap_bytes);
    }

    /// As [`Hot::put`], for a block from below, unless it was replaced since.
    pub(crate) fn promote(&self, name: Name, block: Block, heap_bytes: u64, ticket: Ticket) {
        let state = &mut *locked(&self.state);
        if self.below.as_ref().is_some_and(|below| below.is_current(&name, ticket)) {
            self.put_into(state, name, block, heap_bytes);
        }
    }

    /// Forgets a block, and what is below of it.
    pub(crate) fn forget(&self, name: &Name) {
        let state = &mut *locked(&self.state);
        if let Some(below) = &self.below {
            below.forget(name);
        }
        state.remove(name);
    }

    /// Forgets a block here; what is below of it stays.
    pub(crate) fn forget_here(&self, name: &Name) {
        locked(&self.state).remove(name);
    }

    fn put_into(&self, state: &mut State, name: Name, block: Block, heap_bytes: u64) {
        let bytes = heap_bytes.saturating_add(OVERHEAD_BYTES);
        let below = self.below.as_deref();
        if bytes > self.capacity {
            state.remove(&name);
            leave(name, block, bytes, below);
            return;
        }
        if let Some(slot) = state.slots.get_mut(&name) {
            let queue = if slot.in_main { &mut state.main_bytes } else { &mut state.small_bytes };
            *queue = *queue - slot.bytes + bytes;
            slot.block = block;
            slot.bytes = bytes;
        } else {
            let in_main = state.ghost_set.remove(&name);
            if in_main {
                state.ghosts.retain(|ghost| *ghost != name);
                state.main.push_back(name.clone());
                state.main_bytes += bytes;
            } else {
                state.small.push_back(name.clone());
                state.small_bytes += bytes;
            }
            state.slots.insert(name, Slot { block, bytes, uses: 0, in_main });
        }
        while state.small_bytes + state.main_bytes > self.capacity {
            if state.main.is_empty() || state.small_bytes > self.capacity / SMALL_SHARE {
                state.leave_small(below);
            } else {
                state.leave_main(below);
            }
        }
    }

    /// Symbols of one timeframe that are here.
    pub(crate) fn symbols(&self, market: &MarketId, timeframe: Timeframe) -> Vec<Symbol> {
        let state = locked(&self.state);
        let of = |(theirs, key): &Name| match key {
            BlockKey::Symbol(t, symbol) if theirs == market && *t == timeframe => Some(symbol.clone()),
            _ => None,
        };
        state.slots.keys().filter_map(of).collect()
    }

    /// A block, without counting that as use.
    pub(crate) fn peek(&self, name: &Name) -> Option<Block> {
        locked(&self.state).slots.get(name).map(|slot| slot.block.clone())
    }

    /// The blocks that are here.
    pub(crate) fn names(&self) -> Vec<Name> {
        locked(&self.state).slots.keys().cloned().collect()
    }

    /// Counters.
    pub(crate) fn stats(&self) -> TierStats {
        let state = locked(&self.state);
        TierStats {
            tier: "l1",
            entries: state.slots.len() as u64,
            bytes: state.small_bytes + state.main_bytes,
            capacity_bytes: self.capacity,
            hits: state.hits,
            misses: state.misses,
            evictions: state.evictions,
            ..TierStats::default()
        }
    }
}

impl State {
    /// Puts the oldest block of the small queue out, or into the main queue if it was used.
    fn leave_small(&mut self, below: Option<&Packed>) {
        let Some(name) = self.small.pop_front() else { return };
        let Some(slot) = self.slots.get_mut(&name) else { return };
        self.small_bytes -= slot.bytes;
        if slot.uses > 0 {
            slot.uses = 0;
            slot.in_main = true;
            self.main_bytes += slot.bytes;
            self.main.push_back(name);
            return;
        }
        if let Some(slot) = self.slots.remove(&name) {
            leave(name.clone(), slot.block, slot.bytes, below);
        }
        self.evictions += 1;
        if self.ghost_set.insert(name.clone()) {
            self.ghosts.push_back(name);
        }
        while self.ghosts.len() > GHOSTS_MIN.max(self.main.len()) {
            if let Some(old) = self.ghosts.pop_front() {
                self.ghost_set.remove(&old);
            }
        }
    }

    /// Puts out the first block of the main queue that was not used since it last came by.
    fn leave_main(&mut self, below: Option<&Packed>) {
        while let Some(name) = self.main.pop_front() {
            let Some(slot) = self.slots.get_mut(&name) else { continue };
            if slot.uses > 0 {
                slot.uses -= 1;
                self.main.push_back(name);
                continue;
            }
            self.main_bytes -= slot.bytes;
            if let Some(slot) = self.slots.remove(&name) {
                leave(name, slot.block, slot.bytes, below);
            }
            self.evictions += 1;
            return;
        }
    }

    fn remove(&mut self, name: &Name) {
        if let Some(slot) = self.slots.remove(name) {
            let (queue, bytes) = if slot.in_main {
                (&mut self.main, &mut self.main_bytes)
            } else {
                (&mut self.small, &mut self.small_bytes)
            };
            *bytes -= slot.bytes;
            queue.retain(|other| other != name);
        }
    }
}

/// Hands a block that was put out to the tier below, where it owns its numbers: mapped ones can be mapped again.
fn leave(name: Name, block: Block, bytes: u64, below: Option<&Packed>) {
    if let Some(below) = below.filter(|_| bytes >= block.bytes() as u64) {
        below.take(name, block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panscan_core::block::{BarKey, BlockBuilder, Provenance};
    use panscan_core::time::SessionDate;

    fn day(n: i32) -> (Name, Block) {
        let date = SessionDate::from_days(n);
        let mut builder = BlockBuilder::new(Timeframe::Day);
        builder.push("A", BarKey::session(date), [1.0; 7]);
        let provenance = Provenance { provider: "test".into(), fetched_at: Default::default() };
        ((MarketId::new("m"), BlockKey::Day(date)), builder.finish(None, None, provenance).0)
    }

    fn put(hot: &Hot, n: i32) {
        let (name, block) = day(n);
        hot.put(name, block, 1024 - OVERHEAD_BYTES);
    }

    fn has(hot: &Hot, n: i32) -> bool {
        let ((market, key), _) = day(n);
        hot.get(&market, &[key])[0].is_some()
    }

    #[test]
    fn never_holds_more_than_its_bytes() {
        let hot = Hot::new(20 << 10, None);
        for n in 0..1000 {
            put(&hot, n % 137);
            if n % 3 == 0 {
                has(&hot, n % 11);
            }
            let stats = hot.stats();
            assert!(stats.bytes <= stats.capacity_bytes && stats.entries <= 20);
            let state = locked(&hot.state);
            assert_eq!(state.slots.len(), state.small.len() + state.main.len());
            assert!(state.ghosts.len() <= GHOSTS_MIN && state.ghosts.len() == state.ghost_set.len());
        }
        let (name, block) = day(5);
        hot.put(name, block, 1 << 20);
        assert!(!has(&hot, 5), "one that is larger than everything is not kept");
    }

    #[test]
    fn one_long_read_leaves_what_is_used_often() {
        let hot = Hot::new(20 << 10, None);
        for n in 0..10 {
            put(&hot, n);
            assert!(has(&hot, n));
        }
        for n in 100..1000 {
            put(&hot, n);
        }
        assert!((0..10).all(|n| has(&hot, n)));
        let stats = hot.stats();
        assert_eq!((stats.hits, stats.misses, stats.evictions), (20, 0, 890));
    }

    #[test]
    fn what_comes_back_soon_stays() {
        let hot = Hot::new(20 << 10, None);
        for n in 0..30 {
            put(&hot, n);
        }
        assert!(!has(&hot, 0));
        put(&hot, 0);
        for n in 30..100 {
            put(&hot, n);
        }
        assert!(has(&hot, 0));
    }

    #[test]
    fn replacing_changes_the_block_and_the_bytes() {
        let hot = Hot::new(20 << 10, None);
        put(&hot, 1);
        let (name, _) = day(1);
        hot.put(name, day(2).1, 100);
        assert_eq!(hot.stats().bytes, 100 + OVERHEAD_BYTES);
        let ((market, key), _) = day(1);
        let found = hot.get(&market, &[key])[0].clone().unwrap();
        assert_eq!(found.rows()[0], BarKey(2));
    }
}
