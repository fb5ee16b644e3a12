//! The tiers that keep fetched bars: decoded blocks in memory, packed ones below them, memory-mapped files on disk, and
//! Redis beside them, shared between servers.
//!
//! [`Tiers`] is the [`SeriesStore`](panscan_core::port::SeriesStore) of one server. What a file looks like, byte
//! by byte and with a NumPy reader, is written down in `FORMAT.md`. Deliberately absent: providers, splits,
//! expiry and every decision about what to fetch; a block is kept as it came, to the bit.

#[cfg(target_endian = "big")]
compile_error!(
    "store files are little-endian and are mapped as they are; big-endian targets are not supported"
);

mod backup;
mod census;
pub mod codec;
mod compaction;
#[doc(hidden)]
pub mod doors;
mod error;
mod file;
mod format;
mod hot;
mod index;
mod keeping;
mod key;
mod loads;
mod local;
mod lock;
mod manifest;
mod map;
mod note;
mod open;
mod packed;
mod redis;
mod script;
mod stage;
mod tiers;
mod verify;
mod walk;

pub use backup::{Copied, backup, restore};
pub use census::{Census, Holding};
pub use compaction::{Compacted, compact};
pub use error::CacheError;
pub use lock::Writer;
pub use redis::{RedisAddress, RedisConfig, RedisReport, probe};
pub use script::RedisScripts;
pub use tiers::{Tiers, TiersConfig};
pub use verify::{DamagedFile, Progress, Report, verify};

/// Takes a lock whose data no panic can leave half-changed in a way that matters.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
