//! A block as a value: mark, version and checksum, whose it is, its axes, and its numbers packed. `REDIS.md` has the
//! layout. A value may come from anywhere: it is checked before room is made for it.

use std::sync::Arc;

use panscan_core::bar::Field;
use panscan_core::block::{BarKey, Block, Provenance, WIDTH};
use panscan_core::port::BlockKey;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timestamp;

use crate::codec::{self, Reader, put_varint};
use crate::format::{Fault, fits};
use crate::packed;

const MAGIC: [u8; 8] = *b"panbloc\x1a";
/// Version of the layout; one that another build does not know is a miss to it.
const VERSION: u16 = 1;
pub(crate) const HEAD_BYTES: usize = MAGIC.len() + 2 + 4;

/// The bytes of a block.
pub(crate) fn encode(market: &MarketId, block: &Block) -> Vec<u8> {
    let mut body = Vec::with_capacity(block.bytes() / 4 + 256);
    let text = |text: &str, body: &mut Vec<u8>| {
        put_varint(text.len() as u64, body);
        body.extend_from_slice(text.as_bytes());
    };
    text(market.as_str(), &mut body);
    text(&block.timeframe().to_string(), &mut body);
    text(&block.provenance().provider, &mut body);
    body.extend_from_slice(&block.provenance().fetched_at.as_nanos().to_le_bytes());
    put_varint(block.width() as u64, &mut body);
    put_varint(block.symbols().len() as u64, &mut body);
    let mut before = "";
    for symbol in block.symbols().iter() {
        let symbol = symbol.as_str();
        let shared = before.bytes().zip(symbol.bytes()).take_while(|(a, b)| a == b).count();
        put_varint(shared as u64, &mut body);
        text(&symbol[shared..], &mut body);
        before = symbol;
    }
    put_varint(block.rows().len() as u64, &mut body);
    let mut last = 0_i64;
    for row in block.rows().iter() {
        let step = row.0.wrapping_sub(last);
        put_varint(((step << 1) ^ (step >> 63)) as u64, &mut body);
        last = row.0;
    }
    body.extend_from_slice(&packed::pack(block));
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.append(&mut body);
    bytes
}

/// The block that was kept for a market and key. Symbols that stand in `known` are shared with it.
pub(crate) fn decode(
    bytes: &[u8],
    market: &MarketId,
    key: &BlockKey,
    known: &Arc<[Symbol]>,
) -> Result<Block, Fault> {
    let (head, body) = bytes.split_at_checked(HEAD_BYTES).ok_or(Fault::Length)?;
    if head[..8] != MAGIC {
        return Err(Fault::Magic);
    }
    let version = u16::from_le_bytes([head[8], head[9]]);
    if version != VERSION {
        return Err(Fault::Version(version.into()));
    }
    if crc32fast::hash(body).to_le_bytes() != head[10..] {
        return Err(Fault::Checksum("value"));
    }
    let damaged = |e: codec::Damaged| Fault::Content(e.to_string());
    let mut reader = Reader::new(body);
    if text(&mut reader)? != market.as_str() {
        return Err(Fault::Content("it belongs to another market".to_owned()));
    }
    let timeframe = text(&mut reader)?.parse().map_err(|e| Fault::Content(format!("{e}")))?;
    let provider = Arc::from(text(&mut reader)?);
    let fetched_at = Timestamp::from_nanos(i64::from_le_bytes(reader.array().map_err(damaged)?));
    let width = usize::try_from(reader.varint().map_err(damaged)?).unwrap_or(usize::MAX);
    if width != 1 && width != WIDTH {
        return Err(Fault::Content("it has a width that does not exist".to_owned()));
    }
    let symbols = symbols(&mut reader, known)?;
    let count = count(&mut reader)?;
    let mut rows = Vec::with_capacity(count);
    let mut last = 0_i64;
    for _ in 0..count {
        let step = reader.varint().map_err(damaged)?;
        last = last.wrapping_add((step >> 1) as i64 ^ -((step & 1) as i64));
        rows.push(BarKey(last));
    }
    fits(key, timeframe, &symbols, &rows)?;
    let numbers = reader.rest();
    let floats = (symbols.len().div_ceil(width) as u128) * (rows.len() as u128 * width as u128 + 8);
    if floats * Field::COUNT as u128 > u128::from(u32::MAX) {
        return Err(Fault::Length);
    }
    let provenance = Provenance { provider, fetched_at };
    packed::unpack(numbers, timeframe, symbols, rows.into(), width, provenance).map_err(damaged)
}

/// How many follow; each takes a byte at least.
fn count(reader: &mut Reader<'_>) -> Result<usize, Fault> {
    let count = reader.varint().ok().and_then(|n| usize::try_from(n).ok());
    count.filter(|n| *n <= reader.rest().len()).ok_or(Fault::Length)
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Fault> {
    let length = count(reader)?;
    let bytes = reader.take(length).map_err(|_| Fault::Length)?;
    std::str::from_utf8(bytes).map_err(|_| Fault::Content("a name in it is no text".to_owned()))
}

fn symbols(reader: &mut Reader<'_>, known: &Arc<[Symbol]>) -> Result<Arc<[Symbol]>, Fault> {
    let count = count(reader)?;
    let mut out = Vec::with_capacity(count);
    let mut name = String::new();
    let mut ahead = known.iter().peekable();
    let mut shared_all = count == known.len();
    for _ in 0..count {
        let shared = reader.varint().ok().and_then(|n| usize::try_from(n).ok()).ok_or(Fault::Length)?;
        if !name.is_char_boundary(shared) {
            return Err(Fault::Content("a symbol begins like none before it".to_owned()));
        }
        name.truncate(shared);
        name.push_str(text(reader)?);
        while ahead.next_if(|s| s.as_str() < name.as_str()).is_some() {}
        out.push(match ahead.next_if(|s| s.as_str() == name) {
            Some(symbol) => symbol.clone(),
            None => {
                shared_all = false;
                Symbol::new(&name).map_err(|e| Fault::Content(format!("{e}")))?
            }
        });
    }
    Ok(if shared_all { known.clone() } else { out.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use panscan_core::block::BlockBuilder;
    use panscan_core::time::{SessionDate, Timeframe};

    fn day(n: i32) -> (BlockKey, Block) {
        let date = SessionDate::from_days(n);
        let mut builder = BlockBuilder::new(Timeframe::Day);
        for i in 0..300 {
            let close = f64::from(1000 + i * 7) / 100.0;
            let bar = [close, close + 0.5, close - 0.5, close, f64::from(i * 100), f64::NAN, f64::NAN];
            builder.push(&format!("S{i}"), BarKey::session(date), bar);
        }
        let provenance = Provenance { provider: "polygon".into(), fetched_at: Timestamp::from_nanos(5) };
        (BlockKey::Day(date), builder.finish(None, None, provenance).0)
    }

    #[test]
    fn comes_back_and_shares_its_symbols() {
        let market = MarketId::new("m");
        let (key, block) = day(3);
        let bytes = encode(&market, &block);
        assert!(bytes.len() * 5 < block.bytes(), "{}", bytes.len());
        let known = block.symbols().clone();
        for known in [Arc::from([]), known.clone()] {
            let back = decode(&bytes, &market, &key, &known).unwrap();
            let bits = |b: &Block| b.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert!(bits(&back) == bits(&block) && back.symbols() == block.symbols());
            assert_eq!((back.rows(), back.provenance()), (block.rows(), block.provenance()));
            assert_eq!(Arc::ptr_eq(back.symbols(), &known), !known.is_empty());
        }
    }

    #[test]
    fn foreign_and_damaged_values_are_refused() {
        let market = MarketId::new("m");
        let (key, block) = day(3);
        let good = encode(&market, &block);
        let none: Arc<[Symbol]> = Arc::from([]);
        assert!(decode(&good, &MarketId::new("other"), &key, &none).is_err());
        assert!(decode(&good, &market, &day(4).0, &none).is_err());
        let mut newer = good.clone();
        newer[8] = 9;
        assert_eq!(decode(&newer, &market, &key, &none).unwrap_err(), Fault::Version(9));
        for cut in 0..good.len() {
            assert!(decode(&good[..cut], &market, &key, &none).is_err());
        }
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..3000 {
            let mut bad = good.clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(HEAD_BYTES..bad.len());
                bad[at] = random.u8(..);
            }
            if random.bool() {
                // A liar that knows the checksum is answered with numbers or a refusal, never with harm.
                let sum = crc32fast::hash(&bad[HEAD_BYTES..]).to_le_bytes();
                bad[10..14].copy_from_slice(&sum);
                let _ = decode(&bad, &market, &key, &none);
            } else if bad != good {
                assert!(decode(&bad, &market, &key, &none).is_err());
            }
        }
    }
}
