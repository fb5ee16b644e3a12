//! L2: blocks in memory, packed by the [`codec`](crate::codec), bounded in bytes. What L1 puts out comes here, and a
//! read unpacks it again. Not here: which block L1 gives up, and the threads.
//!
//! A block waits here as it is until a thread has packed it, without a lock, so a newer one may be written meanwhile.
//! Each version has a [`Ticket`]: L1 hands a version over and takes it back, when it is replaced, under its own lock,
//! and what is packed or read is kept above and here only while its ticket counts.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use panscan_core::bar::Field;
use panscan_core::block::{BarKey, Block, Provenance};
use panscan_core::port::{BlockKey, TierStats};
use panscan_core::slab::Aligned;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;

use crate::codec::{self, Damaged};
use crate::key::Name;
use crate::locked;

/// Charged for every block beside its packed numbers and its rows.
const OVERHEAD_BYTES: u64 = 320;
/// Bytes of blocks that wait to be packed; what comes beyond that is given up.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// One version of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// The tier.
#[derive(Debug)]
pub(crate) struct Packed {
    capacity: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<Name, Slot>,
    /// Blocks that are to be packed.
    waiting: HashMap<Name, (Ticket, Block)>,
    waiting_bytes: u64,
    queue: VecDeque<Name>,
    bytes: u64,
    tickets: u64,
    hits: u64,
    misses: u64,
    evictions: u64,
    errors: u64,
}

#[derive(Debug)]
struct Slot {
    block: Arc<PackedBlock>,
    ticket: Ticket,
    used: bool,
}

/// A block whose numbers are packed.
#[derive(Debug)]
struct PackedBlock {
    timeframe: Timeframe,
    symbols: Arc<[Symbol]>,
    rows: Arc<[BarKey]>,
    width: usize,
    provenance: Provenance,
    numbers: Box<[u8]>,
}

impl PackedBlock {
    fn of(block: &Block) -> Self {
        Self {
            timeframe: block.timeframe(),
            symbols: block.symbols().clone(),
            rows: block.rows().clone(),
            width: block.width(),
            provenance: block.provenance().clone(),
            numbers: pack(block).into_boxed_slice(),
        }
    }

    fn bytes(&self) -> u64 {
        let axes = size_of_val(&self.symbols[..]) + size_of_val(&self.rows[..]);
        (self.numbers.len() + axes) as u64 + OVERHEAD_BYTES
    }

    fn open(&self) -> Result<Block, Damaged> {
        let (symbols, rows) = (self.symbols.clone(), self.rows.clone());
        unpack(&self.numbers, self.timeframe, symbols, rows, self.width, self.provenance.clone())
    }
}

/// The numbers of a block, packed: each field's tiles one after the other.
pub(crate) fn pack(block: &Block) -> Vec<u8> {
    let stride = Block::stride(block.rows().len(), block.width());
    if stride == 0 {
        return Vec::new();
    }
    let tiles = block.data().chunks_exact(stride * Field::COUNT);
    let columns: Vec<Vec<f64>> = (0..Field::COUNT)
        .map(|field| tiles.clone().flat_map(|tile| &tile[field * stride..][..stride]).copied().collect())
        .collect();
    let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    codec::pack(&columns, block.width())
}

/// The block of [`pack`]ed numbers.
pub(crate) fn unpack(
    numbers: &[u8],
    timeframe: Timeframe,
    symbols: Arc<[Symbol]>,
    rows: Arc<[BarKey]>,
    width: usize,
    provenance: Provenance,
) -> Result<Block, Damaged> {
    let stride = Block::stride(rows.len(), width);
    let floats = Block::floats(symbols.len(), rows.len(), width);
    let len = floats / Field::COUNT;
    if !codec::may_hold(numbers.len(), Field::COUNT, len) {
        return Err(Damaged("they are too few for the block"));
    }
    let mut data = Aligned::filled(floats, 0.0);
    let out = data.as_mut_slice();
    codec::unpack(numbers, Field::COUNT, len, width, |field, mut at, mut values| {
        while !values.is_empty() {
            let (tile, within) = (at / stride, at % stride);
            let (now, later) = values.split_at(values.len().min(stride - within));
            out[(tile * Field::COUNT + field) * stride + within..][..now.len()].copy_from_slice(now);
            (at, values) = (at + now.len(), later);
        }
    })?;
    Block::from_parts(timeframe, symbols, rows, width, Arc::new(data), provenance)
        .map_err(|_| Damaged("the parts of the block do not fit each other"))
}

impl Packed {
    /// An empty tier of this many bytes.
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, state: Mutex::default() }
    }

    /// Takes a block that L1 puts out, unless its version is here already.
    pub(crate) fn take(&self, name: Name, block: Block) {
        let state = &mut *locked(&self.state);
        let bytes = block.bytes() as u64;
        let is_here = state.slots.contains_key(&name) || state.waiting.contains_key(&name);
        if is_here || state.waiting_bytes + bytes > WAITING_BYTES_MAX {
            return;
        }
        state.tickets += 1;
        state.waiting_bytes += bytes;
        state.waiting.insert(name, (Ticket(state.tickets), block));
    }

    /// Forgets a block, also one that waits or is being packed: a newer version was written.
    pub(crate) fn forget(&self, name: &Name) {
        let state = &mut *locked(&self.state);
        state.stop_waiting(name);
        if let Some(slot) = state.slots.remove(name) {
            state.bytes -= slot.block.bytes();
            state.queue.retain(|other| other != name);
        }
    }

    /// Whether blocks wait to be packed.
    pub(crate) fn has_waiting(&self) -> bool {
        !locked(&self.state).waiting.is_empty()
    }

    /// Packs a block that waits; false when there is none.
    pub(crate) fn pack_one(&self) -> bool {
        let next = {
            let state = locked(&self.state);
            state.waiting.iter().next().map(|(name, (ticket, block))| (name.clone(), *ticket, block.clone()))
        };
        let Some((name, ticket, block)) = next else { return false };
        let packed = Arc::new(PackedBlock::of(&block));
        let bytes = packed.bytes();
        let state = &mut *locked(&self.state);
        if state.waiting.get(&name).is_none_or(|(current, _)| *current != ticket) {
            return true;
        }
        state.stop_waiting(&name);
        if bytes <= self.capacity {
            state.bytes += bytes;
            state.queue.push_back(name.clone());
            state.slots.insert(name, Slot { block: packed, ticket, used: false });
            state.shrink(self.capacity);
        }
        true
    }

    /// Unpacks a block.
    pub(crate) fn get(&self, name: &Name) -> Option<(Block, Ticket)> {
        let (packed, ticket) = {
            let state = &mut *locked(&self.state);
            if let Some((ticket, block)) = state.waiting.get(name) {
                state.hits += 1;
                return Some((block.clone(), *ticket));
            }
            let Some(slot) = state.slots.get_mut(name) else {
                state.misses += 1;
                return None;
            };
            slot.used = true;
            state.hits += 1;
            (slot.block.clone(), slot.ticket)
        };
        match packed.open() {
            Ok(block) => Some((block, ticket)),
            Err(_) => {
                locked(&self.state).errors += 1;
                self.forget(name);
                None
            }
        }
    }

    /// Whether a version is here.
    pub(crate) fn has(&self, name: &Name) -> bool {
        let state = locked(&self.state);
        state.slots.contains_key(name) || state.waiting.contains_key(name)
    }

    /// Whether the version that [`Packed::get`] answered is still the one that counts.
    pub(crate) fn is_current(&self, name: &Name, ticket: Ticket) -> bool {
        let state = locked(&self.state);
        let waits = state.waiting.get(name).is_some_and(|(current, _)| *current == ticket);
        waits || state.slots.get(name).is_some_and(|slot| slot.ticket == ticket)
    }

    /// Symbols of one timeframe that are here.
    pub(crate) fn symbols(&self, market: &MarketId, timeframe: Timeframe) -> Vec<Symbol> {
        let state = locked(&self.state);
        let of = |(theirs, key): &Name| match key {
            BlockKey::Symbol(t, symbol) if theirs == market && *t == timeframe => Some(symbol.clone()),
            _ => None,
        };
        state.slots.keys().chain(state.waiting.keys()).filter_map(of).collect()
    }

    /// The blocks that are here.
    pub(crate) fn names(&self) -> Vec<Name> {
        let state = locked(&self.state);
        state.slots.keys().chain(state.waiting.keys()).cloned().collect()
    }

    /// Counters.
    pub(crate) fn stats(&self) -> TierStats {
        let state = locked(&self.state);
        TierStats {
            tier: "l2",
            entries: (state.slots.len() + state.waiting.len()) as u64,
            bytes: state.bytes + state.waiting_bytes,
            capacity_bytes: self.capacity,
            hits: state.hits,
            misses: state.misses,
            evictions: state.evictions,
            errors: state.errors,
            ..TierStats::default()
        }
    }
}

impl State {
    fn stop_waiting(&mut self, name: &Name) {
        if let Some((_, block)) = self.waiting.remove(name) {
            self.waiting_bytes -= block.bytes() as u64;
        }
    }

    /// Gives up the oldest blocks that were not read since they last came by.
    fn shrink(&mut self, capacity: u64) {
        while self.bytes > capacity {
            let Some(oldest) = self.queue.pop_front() else { break };
            match self.slots.get_mut(&oldest) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.queue.push_back(oldest);
                }
                _ => {
                    if let Some(slot) = self.slots.remove(&oldest) {
                        self.bytes -= slot.block.bytes();
                        self.evictions += 1;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panscan_core::block::{BlockBuilder, WIDTH};
    use panscan_core::time::SessionDate;

    fn day(n: i32, symbols: usize) -> (Name, Block) {
        let date = SessionDate::from_days(n);
        let mut builder = BlockBuilder::new(Timeframe::Day);
        for i in 0..symbols {
            let close = 10.0 + ((i * 37 + n as usize * 11) % 5000) as f64 / 100.0;
            let bar = [close, close + 0.25, close - 0.5, close, (i * 100) as f64, f64::NAN, 7.0];
            builder.push(&format!("S{i:04}"), BarKey::session(date), bar);
        }
        let provenance = Provenance { provider: "test".into(), fetched_at: Default::default() };
        ((MarketId::new("m"), BlockKey::Day(date)), builder.finish(None, None, provenance).0)
    }

    fn same(a: &Block, b: &Block) -> bool {
        let bits = |block: &Block| block.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        a.symbols() == b.symbols() && a.rows() == b.rows() && bits(a) == bits(b)
    }

    #[test]
    fn a_day_of_a_market_becomes_small_and_comes_back() {
        for symbols in [1, 2, WIDTH, WIDTH + 1, 700] {
            let (_, block) = day(3, symbols);
            let packed = PackedBlock::of(&block);
            assert!(same(&packed.open().unwrap(), &block), "{symbols}");
            if symbols == 700 {
                assert!(packed.numbers.len() * 4 < block.bytes(), "{}", packed.numbers.len());
            }
        }
    }

    #[test]
    fn what_was_written_meanwhile_is_not_replaced_by_what_was_put_out() {
        let tier = Packed::new(1 << 20);
        let (name, block) = day(1, 40);
        tier.take(name.clone(), block.clone());
        tier.forget(&name);
        assert!(!tier.pack_one() && tier.get(&name).is_none());
        tier.take(name.clone(), block.clone());
        let (found, ticket) = tier.get(&name).unwrap();
        assert!(same(&found, &block), "also while it waits");
        assert!(tier.pack_one() && !tier.has_waiting());
        let (found, again) = tier.get(&name).unwrap();
        assert!(same(&found, &block) && again == ticket && tier.is_current(&name, ticket));
        tier.take(name.clone(), block);
        assert!(!tier.has_waiting(), "this version is here");
        tier.forget(&name);
        assert!(!tier.is_current(&name, ticket));
        let stats = tier.stats();
        assert_eq!((stats.entries, stats.bytes, stats.hits, stats.misses), (0, 0, 2, 1));
    }

    #[test]
    fn stays_within_its_bytes_and_keeps_what_is_read() {
        let tier = Packed::new(20 << 10);
        for n in 0..200 {
            let (name, block) = day(n, 60);
            tier.take(name, block);
            tier.pack_one();
            tier.get(&day(0, 60).0).unwrap();
            assert!(tier.stats().bytes <= 20 << 10);
        }
        assert!(tier.stats().evictions > 100);
    }
}
