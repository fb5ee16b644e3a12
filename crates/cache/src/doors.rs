//! Ways for fuzzing to readers that this crate keeps to itself. No part of the interface: they change as the readers do.

use std::path::Path;
use std::sync::Arc;

use panscan_core::block::Block;
use panscan_core::port::BlockKey;
use panscan_core::slab::Aligned;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};

use crate::redis::value;
use crate::{format, key, note};

/// The block file of a block; `None` where a name in it is too long for one.
#[must_use]
pub fn file_bytes(market: &MarketId, block: &Block) -> Option<Vec<u8>> {
    let mut bytes = format::head(market, block).ok()?;
    bytes.extend_from_slice(bytemuck::cast_slice(block.data()));
    Some(bytes)
}

/// The block of a block file that lies where `key` says, with its numbers copied instead of mapped.
///
/// # Errors
///
/// What is wrong with it.
pub fn file_block(bytes: &[u8], market: &MarketId, key: &BlockKey) -> Result<Block, String> {
    let parts = format::decode(bytes, &[]).map_err(|fault| fault.to_string())?;
    parts.expect(market, key).map_err(|fault| fault.to_string())?;
    let numbers = &bytes[parts.data];
    let mut data = Aligned::filled(numbers.len() / 8, 0.0);
    for (number, bytes) in data.as_mut_slice().iter_mut().zip(numbers.chunks_exact(8)) {
        *number = bytemuck::pod_read_unaligned(bytes);
    }
    let (symbols, rows) = (parts.symbols, parts.rows);
    Block::from_parts(parts.timeframe, symbols, rows, parts.width, Arc::new(data), parts.provenance)
        .map_err(|error| error.to_string())
}

/// Puts the checksums of a block file right; false where its sizes do not agree.
pub fn seal_file(bytes: &mut [u8]) -> bool {
    format::sealed_again(bytes)
}

/// A block as a value of Redis.
#[must_use]
pub fn value_bytes(market: &MarketId, block: &Block) -> Vec<u8> {
    value::encode(market, block)
}

/// The block of a value of Redis.
///
/// # Errors
///
/// What is wrong with it.
pub fn value_block(bytes: &[u8], market: &MarketId, key: &BlockKey) -> Result<Block, String> {
    value::decode(bytes, market, key, &Arc::from([])).map_err(|fault| fault.to_string())
}

/// Puts the checksum of a value of Redis right; false where it is too short.
pub fn seal_value(bytes: &mut [u8]) -> bool {
    let Some((head, body)) = bytes.split_at_mut_checked(value::HEAD_BYTES) else { return false };
    head[value::HEAD_BYTES - 4..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    true
}

/// The file of a note.
#[must_use]
pub fn note_bytes(at: Timestamp, body: &[u8]) -> Vec<u8> {
    [note::head(at, body), body.to_vec()].concat()
}

/// The note of a file.
///
/// # Errors
///
/// What is wrong with it.
pub fn note_body(bytes: Vec<u8>) -> Result<(Timestamp, Vec<u8>), String> {
    note::decode(bytes).map_err(|fault| fault.to_string())
}

/// The symbol that a file name stands for.
#[must_use]
pub fn symbol_of(file: &str) -> Option<Symbol> {
    key::symbol_of(file)
}

/// The file name that stands for a symbol.
#[must_use]
pub fn file_of(symbol: &Symbol) -> String {
    let key = BlockKey::Symbol(Timeframe::Day, symbol.clone());
    let path = key::block_path(Path::new(""), &MarketId::new("m"), &key);
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
