//! The codec of bars: columns of prices, volumes and counts to few bytes and back, to the bit. What the bytes mean
//! is written down in `CODEC.md`. Deliberately absent: symbols, rows and checksums; whoever keeps the bytes keeps
//! those.
//!
//! Columns are cut in chunks of `CHUNK` values and each chunk of a column is kept in the smallest form that was
//! found by trying: whole numbers of a tick, predicted from the bar before and from the other columns, as packed
//! differences; differences of the numbers' bits; or the numbers as they are. A value that a chosen form does not
//! reproduce to the bit is kept beside it as an escape, so every f64 goes through unchanged.

mod bits;
mod chunk;
mod fit;
mod mask;
mod read;
mod scale;
mod wide;

pub(crate) use self::read::{Reader, put_varint};

/// Values of one column that are encoded together.
pub(crate) const CHUNK: usize = 256;
/// Columns that a block may have.
const COLUMNS_MAX: usize = 64;
/// The fewest bytes that a chunk of one column takes.
const CHUNK_BYTES_MIN: usize = 3;

/// Bytes that are no encoded columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packed numbers are damaged: {0}")]
pub struct Damaged(pub(crate) &'static str);

/// Packs columns of equal length. The columns are those of [`Field`](panscan_core::bar::Field) in their order, or
/// the first few of them; a bar is predicted from the one `width` places before it.
#[must_use]
pub fn pack(columns: &[&[f64]], width: usize) -> Vec<u8> {
    let len = columns.first().map_or(0, |c| c.len());
    let mut out = Vec::with_capacity(len * columns.len() * 2);
    let mut parts: Vec<&[f64]> = Vec::with_capacity(columns.len());
    for at in (0..len).step_by(CHUNK) {
        parts.clear();
        parts.extend(columns.iter().map(|c| &c[at.min(c.len())..(at + CHUNK).min(c.len())]));
        chunk::write(&parts, width, &mut out);
    }
    out
}

/// Unpacks what [`pack`] made of `columns` columns of `len` values; `place` is given each piece with its column and
/// position, pieces of a column in order.
///
/// # Errors
///
/// [`Damaged`] when the bytes are not what [`pack`] writes for that many values.
pub fn unpack(
    bytes: &[u8],
    columns: usize,
    len: usize,
    width: usize,
    mut place: impl FnMut(usize, usize, &[f64]),
) -> Result<(), Damaged> {
    if columns > COLUMNS_MAX {
        return Err(Damaged("too many columns"));
    }
    let mut reader = Reader::new(bytes);
    let mut work = chunk::Work::new();
    for at in (0..len).step_by(CHUNK) {
        chunk::read(&mut reader, &mut work, columns, CHUNK.min(len - at), width, |column, values| {
            place(column, at, values);
        })?;
    }
    if reader.is_empty() { Ok(()) } else { Err(Damaged("bytes are left over")) }
}

/// Whether `bytes` bytes can hold that many values at all: asked before room is made for them.
#[must_use]
pub fn may_hold(bytes: usize, columns: usize, len: usize) -> bool {
    let least = len.div_ceil(CHUNK).saturating_mul(columns).saturating_mul(CHUNK_BYTES_MIN);
    columns <= COLUMNS_MAX && least <= bytes
}

#[cfg(test)]
mod tests;
