//! Blocks for tests of the store: any bits, told apart by a version. Not here: assertions.

use std::path::Path;
use std::sync::Arc;

use panscan_cache::{Tiers, TiersConfig};
use panscan_core::block::{BarKey, Block, Provenance, WIDTH};
use panscan_core::port::BlockKey;
use panscan_core::slab::Aligned;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};

/// The key of a session.
pub(crate) fn day(n: i32) -> BlockKey {
    BlockKey::Day(SessionDate::from_days(20_000 + n))
}

/// The key of a symbol's five-minute bars.
pub(crate) fn symbol(text: &str) -> BlockKey {
    BlockKey::Symbol(Timeframe::Minutes(5), Symbol::new(text).unwrap())
}

/// The block of a key: arbitrary bits that follow from the key, the size and the version.
pub(crate) fn block(key: &BlockKey, symbols: usize, rows: i64, version: u64) -> Block {
    let (timeframe, names, keys, width): (_, Vec<Symbol>, Vec<BarKey>, _) = match key {
        BlockKey::Day(date) => {
            let names = (0..symbols).map(|i| Symbol::new(&format!("S{i:05}")).unwrap());
            (Timeframe::Day, names.collect(), vec![BarKey::session(*date)], WIDTH)
        }
        BlockKey::Symbol(timeframe, name) => {
            (*timeframe, vec![name.clone()], (0..rows).map(|i| BarKey(i * 300_000)).collect(), 1)
        }
    };
    let mut data = Aligned::filled(Block::floats(names.len(), keys.len(), width), 0.0);
    let seed = format!("{key:?}").bytes().fold(version, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
    let mut random = fastrand::Rng::with_seed(seed);
    for value in data.as_mut_slice() {
        *value = f64::from_bits(random.u64(..));
    }
    let at = Timestamp::from_nanos(version as i64);
    let provenance = Provenance { provider: Arc::from("test"), fetched_at: at };
    Block::from_parts(timeframe, names.into(), keys.into(), width, Arc::new(data), provenance).unwrap()
}

/// Whether two blocks agree in everything, numbers to the bit.
pub(crate) fn same(a: &Block, b: &Block) -> bool {
    let bits = |block: &Block| block.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    a.timeframe() == b.timeframe()
        && a.symbols() == b.symbols()
        && a.rows() == b.rows()
        && a.width() == b.width()
        && a.provenance() == b.provenance()
        && bits(a) == bits(b)
}

/// A store with room for everything on disk.
pub(crate) fn open(dir: &Path, l1_bytes: u64) -> Tiers {
    Tiers::open(TiersConfig {
        dir: Some(dir.to_owned()),
        l1_bytes,
        l2_bytes: 0,
        l3_bytes: 1 << 30,
        redis: None,
    })
    .unwrap()
}
