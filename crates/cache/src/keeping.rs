//! Blocks that Redis had and the file tier lacks, on their way to disk: a restart while Redis is gone finds them. Not
//! here: reading them.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use panscan_core::block::Block;
use panscan_core::port::BlockKey;
use panscan_core::snapshot::MarketId;

use crate::file::Shelf;
use crate::key::Name;
use crate::locked;

/// Bytes that wait at most; what comes beyond that is read from Redis again.
const BYTES_MAX: usize = 512 << 20;
/// Blocks that are written at once.
const BATCH: usize = 16;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    waiting: Mutex<Waiting>,
    /// Whether somebody writes.
    pub(crate) busy: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<Name>,
    blocks: HashMap<Name, Block>,
    bytes: usize,
}

impl Keeping {
    /// Adds a block.
    pub(crate) fn push(&self, name: Name, block: Block) {
        let waiting = &mut *locked(&self.waiting);
        if waiting.bytes + block.bytes() > BYTES_MAX || waiting.blocks.contains_key(&name) {
            return;
        }
        waiting.bytes += block.bytes();
        waiting.order.push_back(name.clone());
        waiting.blocks.insert(name, block);
    }

    /// Takes a block off the list, because it was written anew or forgotten, or because it is being kept. Says whether
    /// it was there.
    pub(crate) fn take(&self, name: &Name) -> bool {
        let waiting = &mut *locked(&self.waiting);
        let block = waiting.blocks.remove(name);
        waiting.bytes -= block.as_ref().map_or(0, Block::bytes);
        block.is_some()
    }

    /// Writes all that waits, for as long as it comes. Blocks.
    pub(crate) fn work(&self, shelf: &Shelf) {
        loop {
            while let Some((market, blocks)) = self.batch() {
                let kept = shelf.adopt(&market, &blocks, &|name| self.take(name));
                for (key, _) in &blocks {
                    self.take(&(market.clone(), key.clone()));
                }
                if let Err(error) = kept {
                    tracing::debug!(%error, "what Redis had was not kept on disk");
                }
            }
            self.busy.store(false, Ordering::Release);
            // What came between the last look and the sign that nobody works is done as well.
            if locked(&self.waiting).order.is_empty() || self.busy.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Some blocks of one market. They stay on the list until they have their names.
    fn batch(&self) -> Option<(MarketId, Vec<(BlockKey, Block)>)> {
        let waiting = &mut *locked(&self.waiting);
        let mut market = None;
        let mut blocks = Vec::new();
        while let Some(name) = waiting.order.front() {
            if blocks.len() == BATCH || market.as_ref().is_some_and(|market| *market != name.0) {
                break;
            }
            let Some(name) = waiting.order.pop_front() else { break };
            if let Some(block) = waiting.blocks.get(&name) {
                market = Some(name.0.clone());
                blocks.push((name.1, block.clone()));
            }
        }
        Some((market?, blocks))
    }
}
