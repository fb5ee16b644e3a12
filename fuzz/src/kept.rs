//! What is kept and read again: block files, packed columns, values of Redis, notes.

use std::sync::Arc;

use panscan_cache::{codec, doors};
use panscan_core::block::{BarKey, Block, Provenance, WIDTH};
use panscan_core::port::BlockKey;
use panscan_core::slab::Aligned;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};

use crate::tree::same;

/// Bytes as they are taken for numbers; zeros where they end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// A float of one of the kinds that columns are made of.
    fn float(&mut self) -> f64 {
        match self.byte() % 6 {
            0 => f64::from_bits(self.number()),
            1 => f64::NAN,
            2 => f64::from(self.byte()) / 100.0,
            3 => 100.0,
            4 => f64::from((f64::from(self.byte()) * 1.37) as f32),
            _ => f64::from(u16::from_be_bytes([self.byte(), self.byte()])) / 1e4,
        }
    }
}

/// A block that any bytes stand for, and where it belongs.
fn block(bytes: &mut Bytes<'_>) -> (BlockKey, Block) {
    let date = SessionDate::from_days(i32::from(bytes.byte()) + 19_000);
    let provider = ["polygon", "", "yahoo, of a very long name that fills the place of sixty byt"];
    let provenance = Provenance {
        provider: Arc::from(provider[usize::from(bytes.byte() % 3)]),
        fetched_at: Timestamp::from_nanos(bytes.number() as i64),
    };
    let (key, timeframe, symbols, rows, width) = if bytes.byte().is_multiple_of(2) {
        let count = usize::from(bytes.byte() % 70);
        let mut names: Vec<String> = (0..count).map(|i| format!("S{}", (i * 37) % 71)).collect();
        names.sort();
        let symbols: Vec<Symbol> = names.iter().filter_map(|name| Symbol::new(name).ok()).collect();
        (BlockKey::Day(date), Timeframe::Day, symbols, vec![BarKey::session(date)], WIDTH)
    } else {
        let symbol = Symbol::new(["A", "BRK.B", "BFp"][usize::from(bytes.byte() % 3)]).expect("a symbol");
        let count = usize::from(bytes.byte());
        let mut rows: Vec<BarKey> = (0..count).map(|i| BarKey(i as i64 * 60_000)).collect();
        rows.extend((0..bytes.byte() % 4).map(|_| BarKey(bytes.number() as i64)));
        rows.sort_unstable();
        rows.dedup();
        let timeframe = Timeframe::Minutes(5);
        (BlockKey::Symbol(timeframe, symbol.clone()), timeframe, vec![symbol], rows, 1)
    };
    let mut data = Aligned::filled(Block::floats(symbols.len(), rows.len(), width), f64::NAN);
    for number in data.as_mut_slice() {
        if bytes.0.is_empty() {
            break;
        }
        *number = bytes.float();
    }
    let (symbols, rows) = (symbols.into(), rows.into());
    let block = Block::from_parts(timeframe, symbols, rows, width, Arc::new(data), provenance);
    (key, block.expect("the parts fit each other"))
}

fn equal(a: &Block, b: &Block) {
    assert_eq!((a.symbols(), a.rows(), a.width()), (b.symbols(), b.rows(), b.width()));
    assert_eq!((a.timeframe(), a.provenance()), (b.timeframe(), b.provenance()));
    assert!(same(a.data(), b.data()));
}

/// Ways of one kind of kept block.
struct Form {
    write: fn(&MarketId, &Block) -> Option<Vec<u8>>,
    read: fn(&[u8], &MarketId, &BlockKey) -> Result<Block, String>,
    seal: fn(&mut [u8]) -> bool,
}

/// What is written is read back to the bit; a changed byte, a cut and another place are errors; a liar that knows the
/// checksums is refused, or taken at its word.
fn kept_as(form: &Form, input: &[u8]) {
    let market = MarketId::new("fuzz-1");
    let mut bytes = Bytes(input);
    let (step, place, flip) = (bytes.byte(), bytes.number() as usize, bytes.byte().max(1));
    let (key, block) = block(&mut bytes);
    let Some(good) = (form.write)(&market, &block) else { panic!("names of a block that are too long") };
    equal(&(form.read)(&good, &market, &key).expect("what was written is read"), &block);
    assert!((form.read)(&good, &MarketId::new("fuzz-2"), &key).is_err(), "another market");
    let elsewhere = BlockKey::Symbol(Timeframe::Minutes(5), Symbol::new("NONE").expect("a symbol"));
    assert!((form.read)(&good, &market, &elsewhere).is_err(), "another symbol");
    let mut bad = good.clone();
    match step % 3 {
        0 => bad[place % good.len()] ^= flip,
        1 => bad.truncate(place % good.len()),
        _ => bad.extend_from_slice(&input[..input.len().min(9)]),
    }
    if bad != good {
        assert!((form.read)(&bad, &market, &key).is_err(), "a changed file is an error");
        if (form.seal)(&mut bad)
            && let Ok(read) = (form.read)(&bad, &market, &key)
        {
            let again = (form.write)(&market, &read).expect("what was read can be written");
            equal(&(form.read)(&again, &market, &key).expect("what was written is read"), &read);
        }
    }
    let mut raw = input.to_vec();
    let _ = (form.read)(&raw, &market, &key);
    if (form.seal)(&mut raw) {
        let _ = (form.read)(&raw, &market, &key);
    }
}

pub(crate) fn cache_file(input: &[u8]) {
    kept_as(&Form { write: doors::file_bytes, read: doors::file_block, seal: doors::seal_file }, input);
}

pub(crate) fn redis_value(input: &[u8]) {
    let write = |market: &MarketId, block: &Block| Some(doors::value_bytes(market, block));
    kept_as(&Form { write, read: doors::value_block, seal: doors::seal_value }, input);
}

fn unpacked(bytes: &[u8], columns: usize, len: usize, width: usize) -> Option<Vec<Vec<f64>>> {
    if !codec::may_hold(bytes.len(), columns, len) {
        return None;
    }
    let mut out = vec![vec![0.0; len]; columns];
    let place = |column: usize, at: usize, values: &[f64]| {
        out[column][at..at + values.len()].copy_from_slice(values);
    };
    codec::unpack(bytes, columns, len, width, place).ok()?;
    Some(out)
}

fn packed(columns: &[Vec<f64>], width: usize) -> Vec<u8> {
    codec::pack(&columns.iter().map(Vec::as_slice).collect::<Vec<_>>(), width)
}

/// Any columns come back to the bit; any bytes are columns or an error, and what they are comes back too.
pub(crate) fn cache_codec(input: &[u8]) {
    let mut bytes = Bytes(input);
    let width = if bytes.byte().is_multiple_of(2) { 1 } else { WIDTH };
    let count = usize::from(bytes.byte() % 8) + 1;
    let len = usize::from(bytes.byte()) + usize::from(bytes.byte() % 2) * 256;
    // As bytes that somebody sent, and as what columns are made of.
    if let Some(read) = unpacked(bytes.0, count, len, width) {
        let back = unpacked(&packed(&read, width), count, len, width).expect("what was packed is unpacked");
        assert!(read.iter().zip(&back).all(|(a, b)| same(a, b)));
    }
    let columns: Vec<Vec<f64>> =
        (0..count).map(|_| (0..len.min(300)).map(|_| bytes.float()).collect()).collect();
    let (len, packed) = (len.min(300), packed(&columns, width));
    let back = unpacked(&packed, count, len, width).expect("what was packed is unpacked");
    assert!(columns.iter().zip(&back).all(|(a, b)| same(a, b)));
    if let Some((_, cut)) = packed.split_last() {
        assert!(unpacked(cut, count, len, width).is_none(), "a byte less is an error");
    }
}

/// Small documents, and the names of files.
pub(crate) fn notes(input: &[u8]) {
    let mut bytes = Bytes(input);
    let (place, flip) = (bytes.number() as usize, bytes.byte().max(1));
    let (at, body) = (Timestamp::from_nanos(place as i64), bytes.0);
    let good = doors::note_bytes(at, body);
    assert_eq!(doors::note_body(good.clone()), Ok((at, body.to_vec())));
    let mut bad = good.clone();
    bad[place % good.len()] ^= flip;
    assert!(doors::note_body(bad).is_err(), "a changed note is an error");
    assert!(doors::note_body(good[..place % good.len()].to_vec()).is_err(), "a note that was cut");
    let _ = doors::note_body(input.to_vec());
    for reread in [
        panscan_engine::doors::listings,
        panscan_engine::doors::splits,
        panscan_engine::doors::dividends,
        panscan_engine::doors::refused,
    ] {
        if let Some(written) = reread(input) {
            assert_eq!(reread(&written).as_ref(), Some(&written), "a document changes by being kept");
        }
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(symbol) = doors::symbol_of(text) {
        assert_eq!(doors::file_of(&symbol), text);
    }
    if let Ok(symbol) = Symbol::new(text) {
        assert_eq!(doors::symbol_of(&doors::file_of(&symbol)), Some(symbol));
    }
}
