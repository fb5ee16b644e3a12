//! What is kept in the store under test: any bits, which follow from the key and a version. Not here: who keeps it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use panscan_cache::{Tiers, TiersConfig};
use panscan_core::block::{BarKey, Block, Provenance, WIDTH};
use panscan_core::port::BlockKey;
use panscan_core::slab::Aligned;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};

/// Symbols of the whole sessions, which are the first keys: files of 3 kB to 74 kB, read and mapped.
const DAYS: [usize; 6] = [40, 300, 1300, 1, 300, 1300];
/// Rows of the single symbols, which are the next keys.
const MINUTES: [i64; 6] = [1, 60, 390, 1500, 30, 2000];
/// Keys of blocks; those beyond are notes.
pub(crate) const BLOCKS: usize = DAYS.len() + MINUTES.len();
/// Keys in all.
pub(crate) const KEYS: usize = BLOCKS + 3;

/// The market of all of them.
pub(crate) fn market() -> MarketId {
    MarketId::new("m")
}

/// The key of a block.
pub(crate) fn block_key(key: usize) -> BlockKey {
    if key < DAYS.len() {
        BlockKey::Day(SessionDate::from_days(20_000 + key as i32))
    } else {
        BlockKey::Symbol(Timeframe::Minutes(1), Symbol::new(&format!("S{key}")).unwrap())
    }
}

/// The name of a note.
pub(crate) fn note_name(key: usize) -> String {
    format!("n{key}")
}

/// Where a key's file lies.
pub(crate) fn path_of(dir: &Path, key: usize) -> PathBuf {
    let folder = dir.join("v1/m");
    if key >= BLOCKS {
        return folder.join(format!("notes/n{key}.note"));
    }
    match block_key(key) {
        BlockKey::Day(date) => folder.join(format!("1d/days/{date}.pan")),
        BlockKey::Symbol(_, symbol) => folder.join(format!("1m/symbols/{symbol}.pan")),
    }
}

/// The block of a key and version.
pub(crate) fn block(key: usize, version: u64) -> Block {
    let (timeframe, symbols, rows, width) = match block_key(key) {
        BlockKey::Day(date) => {
            let names = (0..DAYS[key]).map(|i| Symbol::new(&format!("T{i:05}")).unwrap());
            (Timeframe::Day, names.collect::<Vec<_>>(), vec![BarKey::session(date)], WIDTH)
        }
        BlockKey::Symbol(timeframe, symbol) => {
            let rows = (0..MINUTES[key - DAYS.len()]).map(|row| BarKey(row * 60_000));
            (timeframe, vec![symbol], rows.collect(), 1)
        }
    };
    let mut data = Aligned::filled(Block::floats(symbols.len(), rows.len(), width), 0.0);
    let mut random = fastrand::Rng::with_seed(version.wrapping_mul(1000) + key as u64);
    data.as_mut_slice().iter_mut().for_each(|value| *value = f64::from_bits(random.u64(..)));
    let provenance =
        Provenance { provider: Arc::from("crash"), fetched_at: Timestamp::from_nanos(version as i64) };
    Block::from_parts(timeframe, symbols.into(), rows.into(), width, Arc::new(data), provenance).unwrap()
}

/// The body of a note of a version, which stands at its start.
pub(crate) fn note(key: usize, version: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(version.wrapping_mul(1000) + key as u64);
    let mut body = version.to_le_bytes().to_vec();
    let more = random.usize(0..5000);
    body.extend(std::iter::repeat_with(|| random.u8(..)).take(more));
    body
}

/// Whether two blocks agree in everything, numbers to the bit.
pub(crate) fn same(a: &Block, b: &Block) -> bool {
    let bits = |block: &Block| block.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let axes = a.symbols() == b.symbols() && a.rows() == b.rows() && a.width() == b.width();
    axes && a.timeframe() == b.timeframe() && a.provenance() == b.provenance() && bits(a) == bits(b)
}

/// The store in `dir`, of which nothing stays in memory.
pub(crate) fn open(dir: &Path, l3_bytes: u64) -> Tiers {
    let config = TiersConfig { dir: Some(dir.to_owned()), l1_bytes: 0, l3_bytes, ..TiersConfig::default() };
    Tiers::open(config).unwrap()
}
