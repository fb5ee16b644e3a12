//! The process that is killed: writes, replaces and forgets without end, and says on its pipe what it begins and what was
//! acknowledged to it.

use std::io::Write as _;
use std::path::Path;

use panscan_core::port::SeriesStore as _;
use panscan_core::time::Timestamp;

use crate::contents::{BLOCKS, KEYS, block, block_key, market, note, note_name, open};

/// The child works in a folder that has this file and ends at once in any other.
pub(crate) const MARK: &str = "written-by-crash-test";
/// Steps after which it ends by itself, should its parent have gone.
const STEPS_MAX: u64 = 20_000;

/// Tells the child its first version, its seed and its bound in bytes.
pub(crate) fn instruct(dir: &Path, version: u64, seed: u64, l3_bytes: u64) {
    std::fs::write(dir.join(MARK), format!("{version} {seed} {l3_bytes}")).unwrap();
}

#[tokio::test]
#[ignore = "the process that the crash harness kills"]
async fn child() {
    let dir = std::env::current_dir().unwrap();
    let Ok(mark) = std::fs::read_to_string(dir.join(MARK)) else { return };
    let words: Vec<u64> = mark.split(' ').map(|word| word.parse().unwrap()).collect();
    let [first, seed, l3_bytes] = words[..] else { panic!("{mark}") };
    let (store, market) = (open(&dir, l3_bytes), market());
    let mut random = fastrand::Rng::with_seed(seed);
    for version in first..first + STEPS_MAX {
        match random.u8(0..100) {
            0..60 => {
                let keys = some_blocks(&mut random, 3);
                put(&store, &keys, version).await;
            }
            60..75 => {
                let keys = some_blocks(&mut random, 4);
                let (some, others) = keys.split_at(keys.len() / 2);
                tokio::join!(put(&store, some, version), put(&store, others, version));
            }
            75..90 => {
                let key = random.usize(BLOCKS..KEYS);
                say("begin", version, key);
                let at = Timestamp::from_nanos(version as i64);
                store.write_note(&market, &note_name(key), at, &note(key, version)).await.unwrap();
                say("done", version, key);
            }
            _ => {
                let key = random.usize(0..BLOCKS);
                say("begin", 0, key);
                store.forget(&market, &[block_key(key)]).await.unwrap();
                say("done", 0, key);
            }
        }
    }
}

fn some_blocks(random: &mut fastrand::Rng, most: usize) -> Vec<usize> {
    let mut keys: Vec<usize> = (0..BLOCKS).collect();
    random.shuffle(&mut keys);
    keys.truncate(random.usize(1..=most));
    keys
}

async fn put(store: &panscan_cache::Tiers, keys: &[usize], version: u64) {
    if keys.is_empty() {
        return;
    }
    keys.iter().for_each(|key| say("begin", version, *key));
    let blocks: Vec<_> = keys.iter().map(|key| (block_key(*key), block(*key, version))).collect();
    store.write(&market(), &blocks).await.unwrap();
    keys.iter().for_each(|key| say("done", version, *key));
}

/// Version 0 says that the key was forgotten.
fn say(what: &str, version: u64, key: usize) {
    let mut out = std::io::stdout().lock();
    write!(out, "\n{what} {version} {key}\n").and_then(|()| out.flush()).unwrap();
}
