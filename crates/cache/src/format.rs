//! The block file, version 1: header, symbols, rows, checksums, numbers. `FORMAT.md` describes it for readers in
//! other languages. Not here: files; this module sees bytes only.
//!
//! Every byte is under a checksum: the header's own, one over everything from the header to the numbers, and one
//! for each chunk of the numbers. A length that differs from the one in the header is a fault as well.

use std::ops::Range;
use std::sync::Arc;

use panscan_core::bar::Field;
use panscan_core::block::{BarKey, Block, Provenance};
use panscan_core::port::BlockKey;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};

use crate::manifest::Kept;

const MAGIC: [u8; 8] = *b"panscan\x1a";
const VERSION: u32 = 1;
/// Reads so on a little-endian machine only.
const ENDIAN_MARK: u32 = 0x0102_0304;
/// Bytes of numbers under one checksum.
const CHUNK_BYTES: usize = 1 << 20;
/// The numbers start on a cache line.
const LINE: usize = 64;
/// Longest name of a provider, in bytes.
const PROVIDER_BYTES: usize = 60;

/// The first 256 bytes of a block file, little-endian. Offsets count from the start of the file.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Header {
    magic: [u8; 8],
    version: u32,
    endian_mark: u32,
    file_bytes: u64,
    /// ASCII, zero-padded, e.g. `1d`.
    timeframe: [u8; 8],
    /// Symbols per tile.
    width: u32,
    /// Fields per tile.
    fields: u32,
    symbols: u64,
    rows: u64,
    /// Nanoseconds since the Unix epoch.
    fetched_at: i64,
    table_at: u64,
    table_bytes: u64,
    rows_at: u64,
    checks_at: u64,
    data_at: u64,
    data_bytes: u64,
    chunk_bytes: u32,
    /// Of everything from the end of the header to the first number.
    meta_crc: u32,
    reserved: [u32; 2],
    /// UTF-8, zero-padded.
    provider: [u8; PROVIDER_BYTES],
    /// ASCII, zero-padded.
    market: [u8; 64],
    /// Of the 252 bytes before it.
    header_crc: u32,
}

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = size_of::<Header>();

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("it does not start with the mark of a store file")]
    Magic,
    #[error("it has format version {0}, which this build does not read")]
    Version(u32),
    #[error("its length is not the one it was written with")]
    Length,
    #[error("it is older than what was last kept in its place")]
    Stale,
    #[error("the checksum of its {0} does not match")]
    Checksum(&'static str),
    #[error("{0}")]
    Content(String),
}

impl Fault {
    pub(crate) fn content(text: impl Into<String>) -> Self {
        Self::Content(text.into())
    }
}

/// Where the parts of a file lie; follows from the sizes alone.
struct Layout {
    rows_at: usize,
    checks_at: usize,
    data_at: usize,
    file_bytes: usize,
}

impl Layout {
    fn of(table_bytes: usize, rows: usize, data_bytes: usize) -> Option<Self> {
        let rows_at = HEADER_BYTES.checked_add(table_bytes)?.checked_next_multiple_of(8)?;
        let checks_at = rows_at.checked_add(rows.checked_mul(8)?)?;
        let checks_bytes = data_bytes.div_ceil(CHUNK_BYTES) * 4;
        let data_at = checks_at.checked_add(checks_bytes)?.checked_next_multiple_of(LINE)?;
        Some(Self { rows_at, checks_at, data_at, file_bytes: data_at.checked_add(data_bytes)? })
    }
}

/// The bytes that stand before the numbers of a block.
pub(crate) fn head(market: &MarketId, block: &Block) -> Result<Vec<u8>, Fault> {
    let mut table = String::with_capacity(block.symbols().len() * 6);
    for (i, symbol) in block.symbols().iter().enumerate() {
        if i > 0 {
            table.push('\n');
        }
        table.push_str(symbol.as_str());
    }
    let data: &[u8] = bytemuck::cast_slice(block.data());
    let layout = Layout::of(table.len(), block.rows().len(), data.len()).ok_or(Fault::Length)?;

    let mut bytes = vec![0_u8; layout.data_at];
    bytes[HEADER_BYTES..][..table.len()].copy_from_slice(table.as_bytes());
    for (row, out) in block.rows().iter().zip(bytes[layout.rows_at..].chunks_exact_mut(8)) {
        out.copy_from_slice(&row.0.to_le_bytes());
    }
    for (chunk, out) in data.chunks(CHUNK_BYTES).zip(bytes[layout.checks_at..].chunks_exact_mut(4)) {
        out.copy_from_slice(&crc32fast::hash(chunk).to_le_bytes());
    }
    let mut header = Header {
        magic: MAGIC,
        version: VERSION,
        endian_mark: ENDIAN_MARK,
        file_bytes: layout.file_bytes as u64,
        timeframe: padded(&block.timeframe().to_string(), "timeframe")?,
        width: u32::try_from(block.width()).map_err(|_| Fault::content("the block is too wide"))?,
        fields: Field::COUNT as u32,
        symbols: block.symbols().len() as u64,
        rows: block.rows().len() as u64,
        fetched_at: block.provenance().fetched_at.as_nanos(),
        table_at: HEADER_BYTES as u64,
        table_bytes: table.len() as u64,
        rows_at: layout.rows_at as u64,
        checks_at: layout.checks_at as u64,
        data_at: layout.data_at as u64,
        data_bytes: data.len() as u64,
        chunk_bytes: CHUNK_BYTES as u32,
        meta_crc: crc32fast::hash(&bytes[HEADER_BYTES..]),
        reserved: [0; 2],
        provider: padded(&block.provenance().provider, "provider")?,
        market: padded(market.as_str(), "market")?,
        header_crc: 0,
    };
    header.header_crc = crc32fast::hash(&bytemuck::bytes_of(&header)[..HEADER_BYTES - 4]);
    bytes[..HEADER_BYTES].copy_from_slice(bytemuck::bytes_of(&header));
    Ok(bytes)
}

/// A file taken apart, with every checksum verified.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) market: String,
    pub(crate) timeframe: Timeframe,
    pub(crate) symbols: Arc<[Symbol]>,
    pub(crate) rows: Arc<[BarKey]>,
    pub(crate) width: usize,
    pub(crate) provenance: Provenance,
    /// Whether a symbol of it was not in `known`.
    pub(crate) has_new_symbols: bool,
    /// Where the numbers lie.
    pub(crate) data: Range<usize>,
    /// The header's checksum, which covers all others.
    pub(crate) mark: u32,
}

impl Parts {
    /// Whether this is the block that the file's place says it is; a copied or renamed file is not.
    pub(crate) fn expect(&self, market: &MarketId, key: &BlockKey) -> Result<(), Fault> {
        if self.market != market.as_str() {
            return Err(Fault::content(format!("it belongs to market {:?}", self.market)));
        }
        fits(key, self.timeframe, &self.symbols, &self.rows)
    }

    /// Whether this is what was last kept in its place, or something newer: an older file came back from a disk that
    /// forgot a rename, or from somebody's copy.
    pub(crate) fn not_before(&self, kept: Option<Kept>) -> Result<(), Fault> {
        match kept {
            Some(kept) if self.mark != kept.mark && self.provenance.fetched_at.as_nanos() < kept.at => {
                Err(Fault::Stale)
            }
            _ => Ok(()),
        }
    }
}

/// Whether a block of these symbols and rows may be kept under `key`.
pub(crate) fn fits(
    key: &BlockKey,
    timeframe: Timeframe,
    symbols: &[Symbol],
    rows: &[BarKey],
) -> Result<(), Fault> {
    let ours = match key {
        BlockKey::Day(date) => timeframe == Timeframe::Day && rows == [BarKey::session(*date)],
        BlockKey::Symbol(wanted, symbol) => *wanted == timeframe && symbols == std::slice::from_ref(symbol),
    };
    if ours { Ok(()) } else { Err(Fault::content("it holds other sessions or symbols than its key says")) }
}

/// Checks a whole file and takes it apart. Symbols that stand in `known` are shared with it.
pub(crate) fn decode(bytes: &[u8], known: &[Symbol]) -> Result<Parts, Fault> {
    let header = header(bytes)?;
    let layout = agreed(&header, bytes.len())?;
    if crc32fast::hash(&bytes[HEADER_BYTES..layout.data_at]) != header.meta_crc {
        return Err(Fault::Checksum("symbols and rows"));
    }
    let data = layout.data_at..layout.file_bytes;
    let checks = bytes[layout.checks_at..].chunks_exact(4);
    for (chunk, check) in bytes[data.clone()].chunks(CHUNK_BYTES).zip(checks) {
        if crc32fast::hash(chunk).to_le_bytes() != check {
            return Err(Fault::Checksum("numbers"));
        }
    }
    let table = &bytes[HEADER_BYTES..][..header.table_bytes as usize];
    let rows = bytes[layout.rows_at..layout.checks_at].chunks_exact(8);
    let (symbols, has_new_symbols) = symbols(table, header.symbols as usize, known)?;
    Ok(Parts {
        market: text(&header.market)?.to_owned(),
        timeframe: text(&header.timeframe)?.parse().map_err(|e| Fault::content(format!("{e}")))?,
        symbols,
        has_new_symbols,
        rows: rows.map(|row| BarKey(bytemuck::pod_read_unaligned(row))).collect(),
        width: header.width as usize,
        provenance: Provenance {
            provider: Arc::from(text(&header.provider)?),
            fetched_at: Timestamp::from_nanos(header.fetched_at),
        },
        data,
        mark: header.header_crc,
    })
}

/// What the header alone says, its own checksum verified: whether the file is one of ours, its checksum and when its
/// bars were fetched.
pub(crate) fn head_of(first: &[u8]) -> Result<(u32, i64), Fault> {
    let header = header(first)?;
    Ok((header.header_crc, header.fetched_at))
}

fn header(bytes: &[u8]) -> Result<Header, Fault> {
    let first = bytes.get(..HEADER_BYTES).ok_or(Fault::Length)?;
    let header: Header = bytemuck::pod_read_unaligned(first);
    if header.magic != MAGIC {
        return Err(Fault::Magic);
    }
    if crc32fast::hash(&first[..HEADER_BYTES - 4]) != header.header_crc {
        return Err(Fault::Checksum("header"));
    }
    if header.version != VERSION || header.endian_mark != ENDIAN_MARK {
        return Err(Fault::Version(header.version));
    }
    Ok(header)
}

/// Puts the checksums right that a file of this layout should have; false where it is too short or does not agree.
pub(crate) fn sealed_again(bytes: &mut [u8]) -> bool {
    let Some(first) = bytes.get(..HEADER_BYTES) else { return false };
    let mut header: Header = bytemuck::pod_read_unaligned(first);
    let Ok(layout) = agreed(&header, bytes.len()) else { return false };
    let (meta, data) = bytes.split_at_mut(layout.data_at);
    for (chunk, out) in data.chunks(CHUNK_BYTES).zip(meta[layout.checks_at..].chunks_exact_mut(4)) {
        out.copy_from_slice(&crc32fast::hash(chunk).to_le_bytes());
    }
    header.meta_crc = crc32fast::hash(&meta[HEADER_BYTES..]);
    header.header_crc = crc32fast::hash(&bytemuck::bytes_of(&header)[..HEADER_BYTES - 4]);
    meta[..HEADER_BYTES].copy_from_slice(bytemuck::bytes_of(&header));
    true
}

/// The layout of a file of `length` bytes, where the header's own figures agree with it.
fn agreed(header: &Header, length: usize) -> Result<Layout, Fault> {
    if header.file_bytes != length as u64 {
        return Err(Fault::Length);
    }
    let size = |n: u64| usize::try_from(n).ok().filter(|n| *n <= length).ok_or(Fault::Length);
    let (symbols, rows) = (size(header.symbols)?, size(header.rows)?);
    let width = size(u64::from(header.width))?;
    let (table_bytes, data_bytes) = (size(header.table_bytes)?, size(header.data_bytes)?);
    let layout = Layout::of(table_bytes, rows, data_bytes).ok_or(Fault::Length)?;
    let stride = (rows as u128 * width as u128).next_multiple_of(8);
    let floats = symbols.div_ceil(width.max(1)) as u128 * Field::COUNT as u128 * stride;
    let places = [header.table_at, header.rows_at, header.checks_at, header.data_at, header.file_bytes];
    let computed = [HEADER_BYTES, layout.rows_at, layout.checks_at, layout.data_at, layout.file_bytes];
    let agree = places.iter().zip(computed).all(|(place, at)| *place == at as u64)
        && floats * 8 == data_bytes as u128
        && header.fields == Field::COUNT as u32
        && header.chunk_bytes == CHUNK_BYTES as u32;
    if agree { Ok(layout) } else { Err(Fault::content("its sizes do not agree with each other")) }
}

/// Reads the symbol table, tickers in ascending order, one a line, and says whether one was not in `known`.
fn symbols(table: &[u8], count: usize, known: &[Symbol]) -> Result<(Arc<[Symbol]>, bool), Fault> {
    let table = std::str::from_utf8(table).map_err(|_| Fault::content("its symbols are no text"))?;
    let mut out = Vec::with_capacity(count);
    let few = count.saturating_mul(16) < known.len();
    let mut ahead = known.iter().peekable();
    let mut has_new = false;
    for line in table.split('\n').filter(|_| count > 0) {
        let shared = if few {
            known.binary_search_by(|s| s.as_str().cmp(line)).ok().map(|at| &known[at])
        } else {
            while ahead.next_if(|s| s.as_str() < line).is_some() {}
            ahead.next_if(|s| s.as_str() == line)
        };
        out.push(match shared {
            Some(symbol) => symbol.clone(),
            None => {
                has_new = true;
                Symbol::new(line).map_err(|e| Fault::content(format!("{e}")))?
            }
        });
    }
    if out.len() == count {
        Ok((out.into(), has_new))
    } else {
        Err(Fault::content("it has not the symbols it says"))
    }
}

fn padded<const N: usize>(text: &str, what: &str) -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    if text.len() > N || text.contains('\0') {
        return Err(Fault::content(format!("the {what} {text:?} is longer than {N} bytes")));
    }
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Ok(bytes)
}

fn text(padded: &[u8]) -> Result<&str, Fault> {
    let end = padded.iter().position(|b| *b == 0).unwrap_or(padded.len());
    std::str::from_utf8(&padded[..end]).map_err(|_| Fault::content("a name in it is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use panscan_core::slab::Aligned;
    use std::mem::offset_of;

    fn block(symbols: &[&str], rows: &[i64], width: usize) -> Block {
        let symbols: Arc<[Symbol]> = symbols.iter().map(|s| Symbol::new(s).unwrap()).collect();
        let rows: Arc<[BarKey]> = rows.iter().map(|r| BarKey(*r)).collect();
        let mut data = Aligned::filled(Block::floats(symbols.len(), rows.len(), width), f64::NAN);
        for (i, v) in data.as_mut_slice().iter_mut().enumerate() {
            *v = f64::from_bits((i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        }
        let provenance = Provenance {
            provider: Arc::from("polygon"),
            fetched_at: Timestamp::from_nanos(1_767_214_800_123_456_789),
        };
        Block::from_parts(Timeframe::Day, symbols, rows, width, Arc::new(data), provenance).unwrap()
    }

    fn file(block: &Block) -> Vec<u8> {
        let mut bytes = head(&MarketId::new("m-1"), block).unwrap();
        bytes.extend_from_slice(bytemuck::cast_slice(block.data()));
        bytes
    }

    #[test]
    fn the_header_lies_as_documented() {
        assert_eq!(HEADER_BYTES, 256);
        let at = [
            offset_of!(Header, version),
            offset_of!(Header, file_bytes),
            offset_of!(Header, timeframe),
            offset_of!(Header, width),
            offset_of!(Header, symbols),
            offset_of!(Header, rows),
            offset_of!(Header, fetched_at),
            offset_of!(Header, table_at),
            offset_of!(Header, rows_at),
            offset_of!(Header, data_at),
            offset_of!(Header, chunk_bytes),
            offset_of!(Header, provider),
            offset_of!(Header, market),
            offset_of!(Header, header_crc),
        ];
        assert_eq!(at, [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 188, 252]);
    }

    #[test]
    fn reads_back_to_the_bit() {
        let many: Vec<String> = (0..70).map(|i| format!("S{i:03}")).collect();
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        for (symbols, rows, width) in [
            (&names[..], &[20_000_i64][..], 32),
            (&["BFp"], &[-5, 0, 7], 1),
            (&[], &[], 32),
            (&["A"], &[], 1),
        ] {
            let block = block(symbols, rows, width);
            let bytes = file(&block);
            let parts = decode(&bytes, block.symbols()).unwrap();
            assert_eq!((&parts.symbols, parts.has_new_symbols), (block.symbols(), false));
            assert_eq!((&parts.rows, parts.width), (block.rows(), width));
            assert_eq!(&parts.provenance, block.provenance());
            assert_eq!((parts.market.as_str(), parts.timeframe), ("m-1", Timeframe::Day));
            assert_eq!(parts.data.start % 64, 0);
            assert_eq!(&bytes[parts.data], bytemuck::cast_slice::<f64, u8>(block.data()));
            assert_eq!(decode(&bytes, &[]).unwrap().symbols, *block.symbols());
        }
    }

    /// A file that older builds wrote must stay readable: whoever changes its bytes needs a version 2.
    #[test]
    fn version_1_stays_as_it_is() {
        let sums = [block(&["A", "BRK.B"], &[1], 32), block(&["BFp"], &[-5, 0, 7], 1)]
            .map(|block| crc32fast::hash(&file(&block)));
        assert_eq!(sums, [3_165_365_009, 1_231_371_162]);
    }

    #[test]
    fn every_flip_and_every_truncation_is_seen() {
        for whole in [file(&block(&["A", "BRK.B"], &[1], 32)), file(&block(&["A"], &[1, 2, 3], 1))] {
            assert!(decode(&whole, &[]).is_ok());
            for at in 0..whole.len() {
                assert!(decode(&whole[..at], &[]).is_err(), "cut at {at}");
                for bit in 0..8 {
                    let mut bad = whole.clone();
                    bad[at] ^= 1 << bit;
                    assert!(decode(&bad, &[]).is_err(), "byte {at} bit {bit}");
                }
            }
            assert!(decode(&[&whole[..], b"x"].concat(), &[]).is_err());
        }
    }

    #[test]
    fn a_well_signed_lie_is_refused() {
        let lies: [fn(&mut Header); 6] = [
            |h| h.symbols = u64::MAX,
            |h| h.rows = u64::MAX / 8,
            |h| h.width = 0,
            |h| h.data_at += 64,
            |h| h.fields = 6,
            |h| h.version = 2,
        ];
        for (i, lie) in lies.iter().enumerate() {
            let mut bytes = file(&block(&["A"], &[1], 1));
            let mut header: Header = bytemuck::pod_read_unaligned(&bytes[..HEADER_BYTES]);
            lie(&mut header);
            header.header_crc = crc32fast::hash(&bytemuck::bytes_of(&header)[..HEADER_BYTES - 4]);
            bytes[..HEADER_BYTES].copy_from_slice(bytemuck::bytes_of(&header));
            assert!(decode(&bytes, &[]).is_err(), "lie {i}");
        }
    }

    #[test]
    fn a_file_in_the_wrong_place_is_refused() {
        let bytes = file(&block(&["A"], &[1], 1));
        let parts = decode(&bytes, &[]).unwrap();
        let key = |s: &str| BlockKey::Symbol(Timeframe::Day, Symbol::new(s).unwrap());
        let market = MarketId::new("m-1");
        assert!(parts.expect(&market, &key("A")).is_ok());
        assert!(parts.expect(&market, &key("B")).is_err());
        assert!(parts.expect(&MarketId::new("m-2"), &key("A")).is_err());
        assert!(
            parts.expect(&market, &BlockKey::Day(panscan_core::time::SessionDate::from_days(2))).is_err()
        );
        assert!(parts.expect(&market, &BlockKey::Day(panscan_core::time::SessionDate::from_days(1))).is_ok());
    }
}
