//! What a store holds, counted by place and size alone, and its blocks for whoever reads it without serving. Changes
//! nothing, so that it may run beside a server. Not here: what blocks are read for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use panscan_core::block::Block;
use panscan_core::port::BlockKey;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe};

use crate::error::{CacheError, ReadFault};
use crate::file::open_block;
use crate::key::{self, Name};
use crate::lock::Writer;
use crate::manifest::Shape;
use crate::note;
use crate::open::read_manifest;
use crate::verify::existing;
use crate::walk::{What, walk};

/// The blocks of one market and timeframe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holding {
    /// Whole sessions, ascending.
    pub days: Vec<SessionDate>,
    /// Single symbols, ascending.
    pub symbols: Vec<Symbol>,
    /// Bytes of their files.
    pub bytes: u64,
}

/// A store as it lies there.
#[derive(Debug, Clone)]
pub struct Census {
    root: PathBuf,
    /// Blocks by market and timeframe.
    pub holdings: BTreeMap<(MarketId, Timeframe), Holding>,
    /// Notes.
    pub notes: u64,
    /// Bytes of notes.
    pub note_bytes: u64,
    /// Files that were set aside.
    pub set_aside: u64,
    /// Bytes of them.
    pub set_aside_bytes: u64,
    /// Files that are being written, or were when somebody was killed.
    pub unfinished: u64,
    /// How the manifest stands, in a word: `whole`, `torn`, `damaged` or `absent`.
    pub manifest: &'static str,
    /// Who writes it.
    pub writer: Writer,
}

impl Census {
    /// Counts the store in `dir`.
    ///
    /// # Errors
    ///
    /// [`CacheError::Absent`] where there is no store, [`CacheError::Version`] where there is another build's, or when a
    /// folder cannot be listed.
    pub fn take(dir: &Path) -> Result<Self, CacheError> {
        let root = existing(dir)?;
        let manifest = match read_manifest(dir, &root)?.shape {
            Shape::Whole => "whole",
            Shape::Torn => "torn",
            Shape::Damaged(_) | Shape::Other(_) => "damaged",
            Shape::Absent => "absent",
        };
        let mut census = Self {
            root,
            holdings: BTreeMap::new(),
            notes: 0,
            note_bytes: 0,
            set_aside: 0,
            set_aside_bytes: 0,
            unfinished: 0,
            manifest,
            writer: Writer::of(dir),
        };
        for file in walk(&census.root)? {
            match file.what {
                What::Block((market, key)) => {
                    let timeframe = match &key {
                        BlockKey::Day(_) => Timeframe::Day,
                        BlockKey::Symbol(timeframe, _) => *timeframe,
                    };
                    let holding = census.holdings.entry((market, timeframe)).or_default();
                    holding.bytes += file.bytes;
                    match key {
                        BlockKey::Day(day) => holding.days.push(day),
                        BlockKey::Symbol(_, symbol) => holding.symbols.push(symbol),
                    }
                }
                What::Note => {
                    census.notes += 1;
                    census.note_bytes += file.bytes;
                }
                What::Damaged => {
                    census.set_aside += 1;
                    census.set_aside_bytes += file.bytes;
                }
                What::Unfinished => census.unfinished += 1,
            }
        }
        for holding in census.holdings.values_mut() {
            holding.days.sort_unstable();
            holding.symbols.sort_unstable();
        }
        Ok(census)
    }

    /// Markets that it holds blocks of.
    #[must_use]
    pub fn markets(&self) -> Vec<MarketId> {
        let mut markets: Vec<MarketId> = self.holdings.keys().map(|(market, _)| market.clone()).collect();
        markets.dedup();
        markets
    }

    /// Reads and verifies a block. Nothing where a server gave it up since the count.
    ///
    /// # Errors
    ///
    /// What is wrong with its file.
    pub fn block(&self, market: &MarketId, key: &BlockKey) -> Result<Option<Block>, CacheError> {
        let path = key::block_path(&self.root, market, key);
        block_at(&path, &(market.clone(), key.clone()))
    }

    /// Reads and verifies a note; nothing where there is none.
    ///
    /// # Errors
    ///
    /// What is wrong with its file.
    pub fn note(&self, market: &MarketId, name: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let path = key::note_path(&self.root, market, name);
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CacheError::io("read", &path)(error)),
            Ok(bytes) => {
                match note::decode_at(&key::place(path.strip_prefix(&self.root).unwrap_or(&path)), bytes) {
                    Ok((_, body)) => Ok(Some(body)),
                    Err(fault) => Err(CacheError::Damaged { path, message: fault.to_string() }),
                }
            }
        }
    }
}

/// Reads and verifies the block at `path`; nothing where there is none.
pub(crate) fn block_at(path: &Path, name: &Name) -> Result<Option<Block>, CacheError> {
    let read = open_block(path, &[]).and_then(|(loaded, parts)| {
        parts.expect(&name.0, &name.1)?;
        Ok(loaded.block)
    });
    match read {
        Ok(block) => Ok(Some(block)),
        Err(ReadFault::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(ReadFault::Io(error)) => Err(CacheError::io("read", path)(error)),
        Err(ReadFault::Damaged(fault)) => {
            Err(CacheError::Damaged { path: path.to_owned(), message: fault.to_string() })
        }
    }
}
