//! Node results kept from one scan to the next, by (snapshot, node), bounded in bytes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use panscan_core::plan::Digest;
use panscan_core::port::Memo;

type Key = (u64, Digest);

/// A bounded map. When it is full, results of the oldest snapshots go first.
#[derive(Debug)]
pub(crate) struct NodeMemo {
    bytes_max: usize,
    kept: RwLock<Kept>,
}

/// The results and their bytes.
#[derive(Debug, Default)]
struct Kept {
    map: HashMap<Key, Arc<[f64]>>,
    bytes: usize,
}

impl NodeMemo {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: RwLock::default() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

impl Memo for NodeMemo {
    fn get(&self, epoch: u64, node: Digest) -> Option<Arc<[f64]>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).map.get(&(epoch, node)).cloned()
    }

    fn put(&self, epoch: u64, node: Digest, values: Arc<[f64]>) {
        let size = size_of_val(&*values);
        if size > self.bytes_max {
            return;
        }
        let mut guard = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let Kept { map, bytes } = &mut *guard;
        if let Some(old) = map.remove(&(epoch, node)) {
            *bytes -= size_of_val(&*old);
        }
        while *bytes + size > self.bytes_max {
            let Some(oldest) = map.keys().map(|(epoch, _)| *epoch).min() else { break };
            map.retain(|key, values| {
                let keep = key.0 != oldest;
                if !keep {
                    *bytes -= size_of_val(&**values);
                }
                keep
            });
        }
        map.insert((epoch, node), values);
        *bytes += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bytes_and_forgets_old_snapshots_first() {
        let memo = NodeMemo::new(8 * 10);
        let column = |v: f64| Arc::from(vec![v; 4]);
        memo.put(1, Digest(1), column(1.0));
        memo.put(2, Digest(1), column(2.0));
        assert_eq!(memo.get(1, Digest(1)).unwrap()[0], 1.0);
        memo.put(2, Digest(2), column(3.0));
        assert!(memo.get(1, Digest(1)).is_none());
        assert_eq!(memo.get(2, Digest(1)).unwrap()[0], 2.0);
        assert_eq!(memo.bytes(), 64);
        memo.put(2, Digest(2), column(4.0));
        assert_eq!(memo.bytes(), 64);
        memo.put(3, Digest(9), Arc::from(vec![0.0; 99]));
        assert!(memo.get(3, Digest(9)).is_none(), "larger than the whole memo");
    }
}
