//! Which key a block or note has, and how a long value is cut into parts. `REDIS.md` has the layout. Nothing here
//! depends on a process: every server and version with this layout says the same.

use panscan_core::port::BlockKey;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;

use crate::format::Fault;
use crate::key::Name;

/// Version of keys and values; a build with another one uses keys of its own.
const LAYOUT: &str = "v2";
/// Keys over which the symbols of one timeframe are spread: some twenty symbols a key for a whole market.
const BUCKETS: u64 = 256;
/// Longest value, or part of one: a longer one would hold up everybody else's.
pub(super) const PART_BYTES: usize = 512 << 10;
/// Parts of one value at most.
const PARTS_MAX: usize = 64;
/// Mark of the first part of a value that has more.
const PARTS: [u8; 8] = *b"panpart\x1a";
/// Mark, parts, bytes of the whole, checksum of the whole.
const FIRST_HEAD: usize = 8 + 2 + 4 + 4;
/// Checksum of the whole, number of the part.
const NEXT_HEAD: usize = 4 + 2;

/// Where a value lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    /// A key of its own.
    Key(String),
    /// A field of a key that holds a block of symbols.
    Field(String, String),
}

impl Place {
    pub(super) fn key(&self) -> &str {
        let (Self::Key(key) | Self::Field(key, _)) = self;
        key
    }

    /// Where the n-th part lies; part 0 is the place itself. No symbol and no date holds a space.
    pub(super) fn part(&self, n: usize) -> Self {
        match (self, n) {
            (place, 0) => place.clone(),
            (Self::Key(key), n) => Self::Key(format!("{key} {n}")),
            (Self::Field(key, field), n) => Self::Field(key.clone(), format!("{field} {n}")),
        }
    }
}

/// Names keys below a prefix.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) prefix: String,
}

impl Layout {
    pub(super) fn block(&self, (market, key): &Name) -> Place {
        let head = format!("{}:{}:{LAYOUT}", self.prefix, market.as_str());
        match key {
            BlockKey::Day(date) => Place::Key(format!("{head}:1d:day:{date}")),
            BlockKey::Symbol(timeframe, symbol) => Place::Field(
                format!("{head}:{timeframe}:symbols:{:03}", bucket(symbol)),
                symbol.as_str().to_owned(),
            ),
        }
    }

    pub(super) fn note(&self, market: &MarketId, name: &str) -> Place {
        Place::Key(format!("{}:{}:{LAYOUT}:note:{name}", self.prefix, market.as_str()))
    }
}

/// The block of symbols that a symbol is in: FNV-1a of its text.
fn bucket(symbol: &Symbol) -> u64 {
    let hash = symbol.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash % BUCKETS
}

/// The value as it is written: whole, or in parts; `None` when it is too long for this.
pub(super) fn cut(value: Vec<u8>) -> Option<Vec<Vec<u8>>> {
    if value.len() <= PART_BYTES {
        return Some(vec![value]);
    }
    let parts = value.len().div_ceil(PART_BYTES);
    if parts > PARTS_MAX {
        return None;
    }
    let sum = crc32fast::hash(&value).to_le_bytes();
    let part = |(n, bytes): (usize, &[u8])| {
        let mut out = Vec::with_capacity(FIRST_HEAD + bytes.len());
        if n == 0 {
            out.extend_from_slice(&PARTS);
            out.extend_from_slice(&(parts as u16).to_le_bytes());
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(&sum);
        } else {
            out.extend_from_slice(&sum);
            out.extend_from_slice(&(n as u16).to_le_bytes());
        }
        out.extend_from_slice(bytes);
        out
    };
    Some(value.chunks(PART_BYTES).enumerate().map(part).collect())
}

/// How many parts a value has that begins with these bytes.
pub(super) fn parts(first: &[u8]) -> usize {
    match first.get(..FIRST_HEAD) {
        Some(head) if head[..8] == PARTS => {
            usize::from(u16::from_le_bytes([head[8], head[9]])).clamp(1, PARTS_MAX)
        }
        _ => 1,
    }
}

/// The value whose first part this is.
pub(super) fn join(first: Vec<u8>, rest: &[Option<Vec<u8>>]) -> Result<Vec<u8>, Fault> {
    if rest.is_empty() {
        return if first.starts_with(&PARTS) { Err(Fault::Length) } else { Ok(first) };
    }
    let (head, body) = first.split_at_checked(FIRST_HEAD).ok_or(Fault::Length)?;
    let bytes = u32::from_le_bytes([head[10], head[11], head[12], head[13]]) as usize;
    let sum = &head[14..];
    if bytes > PART_BYTES * PARTS_MAX {
        return Err(Fault::Length);
    }
    let mut value = Vec::with_capacity(bytes);
    value.extend_from_slice(body);
    for (n, part) in rest.iter().enumerate() {
        let part = part.as_deref().ok_or(Fault::Length)?;
        let (head, body) = part.split_at_checked(NEXT_HEAD).ok_or(Fault::Length)?;
        if head[..4] != *sum || head[4..] != ((n + 1) as u16).to_le_bytes() {
            return Err(Fault::Content("its parts are not of one value".to_owned()));
        }
        value.extend_from_slice(body);
    }
    match value.len() == bytes && crc32fast::hash(&value).to_le_bytes() == *sum {
        true => Ok(value),
        false => Err(Fault::Checksum("value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panscan_core::time::{SessionDate, Timeframe};

    #[test]
    fn keys_are_the_same_everywhere() {
        let layout = Layout { prefix: "p".to_owned() };
        let market = MarketId::new("polygon");
        let day = BlockKey::Day(SessionDate::from_days(20_000));
        assert_eq!(layout.block(&(market.clone(), day)), Place::Key("p:polygon:v2:1d:day:2024-10-04".into()));
        for (symbol, bucket) in [("A", "236"), ("AAPL", "203"), ("BRK.B", "154")] {
            let key = BlockKey::Symbol(Timeframe::Minutes(1), Symbol::new(symbol).unwrap());
            let expected = Place::Field(format!("p:polygon:v2:1m:symbols:{bucket}"), symbol.into());
            assert_eq!(layout.block(&(market.clone(), key)), expected);
        }
        let note = layout.note(&market, "splits.json");
        assert_eq!(note, Place::Key("p:polygon:v2:note:splits.json".into()));
        assert_eq!(note.part(2).key(), "p:polygon:v2:note:splits.json 2");
    }

    #[test]
    fn long_values_are_cut_and_only_their_own_parts_join() {
        let short = vec![1; PART_BYTES];
        assert_eq!(cut(short.clone()).unwrap(), std::slice::from_ref(&short));
        assert_eq!((parts(&short), join(short.clone(), &[]).unwrap()), (1, short));
        let mut random = fastrand::Rng::with_seed(5);
        let mut long = || -> Vec<u8> { (0..PART_BYTES * 2 + 9).map(|_| random.u8(..)).collect() };
        let (value, other) = (long(), long());
        let mut all = cut(value.clone()).unwrap();
        let foreign = Some(cut(other).unwrap().remove(1));
        let first = all.remove(0);
        assert!(parts(&first) == 3 && all.len() == 2);
        let all: Vec<Option<Vec<u8>>> = all.into_iter().map(Some).collect();
        assert_eq!(join(first.clone(), &all).unwrap(), value);
        let [one, two] = &all[..] else { unreachable!() };
        for bad in
            [vec![one.clone(), None], vec![two.clone(), one.clone()], vec![foreign, two.clone()], vec![]]
        {
            assert!(join(first.clone(), &bad).is_err());
        }
        let mut flipped = one.clone();
        flipped.as_mut().unwrap()[100] ^= 1;
        assert_eq!(join(first, &[flipped, two.clone()]), Err(Fault::Checksum("value")));
        assert_eq!(cut(vec![0; PART_BYTES * PARTS_MAX + 1]), None);
    }
}
