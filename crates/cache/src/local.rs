//! What this server holds itself: memory above packed memory above files, with the notes beside them. All of it
//! blocks; [`Tiers`](crate::Tiers) picks the threads. Not here: Redis.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use panscan_core::block::Block;
use panscan_core::port::{BlockKey, Found, StoreError};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};

use crate::file::Shelf;
use crate::hot::{Hot, axis_bytes};
use crate::key::Name;
use crate::locked;
use crate::packed::Packed;

/// Notes kept where there is no folder.
const NOTES_MAX: usize = 256;

/// A small document and when it was kept.
pub(crate) type Note = (Timestamp, Vec<u8>);

/// The tiers of this process.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) hot: Arc<Hot>,
    pub(crate) packed: Option<Arc<Packed>>,
    pub(crate) shelf: Option<Arc<Shelf>>,
    /// Notes where there is no folder, by market and name.
    notes: Mutex<BTreeMap<(MarketId, String), Note>>,
}

impl Local {
    pub(crate) fn new(hot: Arc<Hot>, packed: Option<Arc<Packed>>, shelf: Option<Arc<Shelf>>) -> Self {
        Self { hot, packed, shelf, notes: Mutex::default() }
    }

    /// What the tiers below L1 have of `keys`, in their order; L1 is given it too.
    pub(crate) fn below(&self, market: &MarketId, keys: &[BlockKey]) -> Vec<Option<Found>> {
        let mut found: Vec<Option<Found>> = vec![None; keys.len()];
        if let Some(packed) = &self.packed {
            for (found, key) in found.iter_mut().zip(keys) {
                let name = (market.clone(), key.clone());
                let Some((block, ticket)) = packed.get(&name) else { continue };
                self.hot.promote(name, block.clone(), block.bytes() as u64 + axis_bytes(&block), ticket);
                *found = Some(Found { block, tier: "l2" });
            }
        }
        let Some(shelf) = &self.shelf else { return found };
        let missing: Vec<usize> = (0..keys.len()).filter(|i| found[*i].is_none()).collect();
        let asked: Vec<BlockKey> = missing.iter().map(|i| keys[*i].clone()).collect();
        let loaded = shelf.read(market, &asked, &|name, loaded| {
            self.hot.put(name, loaded.block.clone(), loaded.heap_bytes);
        });
        for (i, block) in missing.into_iter().zip(loaded) {
            found[i] = block.map(|block| Found { block, tier: "l3" });
        }
        found
    }

    /// Symbols of one timeframe, ascending.
    pub(crate) fn symbols(&self, market: &MarketId, timeframe: Timeframe) -> Vec<Symbol> {
        let mut symbols = self.hot.symbols(market, timeframe);
        symbols.extend(self.packed.iter().flat_map(|packed| packed.symbols(market, timeframe)));
        symbols.extend(self.shelf.iter().flat_map(|shelf| shelf.symbols(market, timeframe)));
        symbols.sort_unstable();
        symbols.dedup();
        symbols
    }

    pub(crate) fn read_note(&self, market: &MarketId, name: &str) -> Option<Note> {
        match &self.shelf {
            None => locked(&self.notes).get(&(market.clone(), name.to_owned())).cloned(),
            Some(shelf) => shelf.read_note(market, name),
        }
    }

    pub(crate) fn write_note(
        &self,
        market: &MarketId,
        name: &str,
        at: Timestamp,
        body: &[u8],
    ) -> Result<(), StoreError> {
        if let Some(shelf) = &self.shelf {
            return shelf.write_note(market, name, at, body);
        }
        let key = (market.clone(), name.to_owned());
        let mut notes = locked(&self.notes);
        if notes.len() >= NOTES_MAX && !notes.contains_key(&key) {
            let (what, message) = (format!("keep note {name}"), format!("there are {NOTES_MAX} already"));
            return Err(StoreError::Io { store: "notes", what, message });
        }
        notes.insert(key, (at, body.to_vec()));
        Ok(())
    }
}

impl crate::redis::Local for Local {
    fn block(&self, name: &Name) -> Option<Block> {
        self.hot.peek(name).or_else(|| {
            let packed = self.packed.as_ref().and_then(|packed| packed.get(name)).map(|(block, _)| block);
            let read = |shelf: &Arc<Shelf>| {
                shelf.read(&name.0, std::slice::from_ref(&name.1), &|_, _| ()).into_iter().flatten().next()
            };
            packed.or_else(|| self.shelf.as_ref().and_then(read))
        })
    }

    fn note(&self, market: &MarketId, name: &str) -> Option<Note> {
        self.read_note(market, name)
    }

    fn names(&self) -> Vec<Name> {
        let mut names = self.hot.names();
        names.extend(self.packed.iter().flat_map(|packed| packed.names()));
        names.extend(self.shelf.iter().flat_map(|shelf| shelf.names()));
        names.sort_unstable();
        names.dedup();
        names
    }
}
