//! What is done behind the caller's back: writes, renewals, forgetting. One at a time of each kind and name, bounded;
//! what Redis could not take waits until it can. Not here: how a task becomes commands.

use std::collections::{HashMap, VecDeque};

use panscan_core::snapshot::MarketId;

use super::layout::Place;
use crate::key::Name;

/// Tasks that wait at most; what comes beyond that is not shared.
const TASKS_MAX: usize = 200_000;
/// Bytes that wait with them. What comes beyond that waits by its name, and is read again when its turn comes.
const BYTES_MAX: usize = 256 << 20;
/// Commands of one exchange, and bytes about at most.
const BATCH_TASKS: usize = 64;
const BATCH_BYTES: usize = 8 << 20;
/// Times that something that Redis refused is tried again.
pub(super) const TRIES_MAX: u8 = 3;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Task {
    /// Share a block.
    Block(Name),
    /// Share a note.
    Note(MarketId, String),
    /// Share a block if Redis lacks it.
    Restore(Name),
    /// Give a key its life again.
    Renew(String),
    /// Take a value away.
    Remove(Place),
}

/// The value that goes with a task, if it is at hand.
#[derive(Debug, Default)]
pub(super) struct Load<T> {
    pub(super) value: Option<T>,
    pub(super) bytes: usize,
    pub(super) tries: u8,
}

/// Tasks in the order in which they came.
#[derive(Debug)]
pub(super) struct Queue<T> {
    order: VecDeque<Task>,
    loads: HashMap<Task, Load<T>>,
    bytes: usize,
    /// Tasks that found no room.
    pub(super) dropped: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), loads: HashMap::new(), bytes: 0, dropped: 0 }
    }
}

impl<T> Queue<T> {
    /// Adds a task; one of the same kind and name that waits is replaced and keeps its turn.
    pub(super) fn push(&mut self, task: Task, value: Option<T>, bytes: usize) {
        self.put(task, Load { value, bytes, tries: 0 });
    }

    /// Puts a task back, without its value, to be tried again; false when it was tried often enough.
    pub(super) fn again(&mut self, task: Task, tries: u8) -> bool {
        let waits = self.loads.contains_key(&task);
        if !waits && tries < TRIES_MAX {
            self.put(task, Load { value: None, bytes: 0, tries: tries + 1 });
        }
        waits || tries < TRIES_MAX
    }

    fn put(&mut self, task: Task, mut load: Load<T>) {
        let old = self.loads.get(&task).map(|old| old.bytes);
        if old.is_none() && self.loads.len() >= TASKS_MAX {
            self.dropped += 1;
            return;
        }
        self.bytes -= old.unwrap_or(0);
        if self.bytes + load.bytes > BYTES_MAX {
            load = Load { value: None, bytes: 0, tries: load.tries };
        }
        self.bytes += load.bytes;
        if old.is_none() {
            self.order.push_back(task.clone());
        }
        self.loads.insert(task, load);
    }

    /// Takes a task off the list, e.g. because what it is about was forgotten.
    pub(super) fn cancel(&mut self, task: &Task) {
        if let Some(load) = self.loads.remove(task) {
            // Its turn stays on the list and is passed over.
            self.bytes -= load.bytes;
        }
    }

    /// The next tasks.
    pub(super) fn take(&mut self) -> Vec<(Task, Load<T>)> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_TASKS && bytes < BATCH_BYTES {
            let Some(task) = self.order.pop_front() else { break };
            let Some(load) = self.loads.remove(&task) else { continue };
            self.bytes -= load.bytes;
            // One that waits by its name is about as long as others.
            bytes += load.bytes.max(64 << 10);
            batch.push((task, load));
        }
        batch
    }

    /// Puts tasks back that nobody has done, in front, unless newer ones of the same name came meanwhile.
    pub(super) fn give_back(&mut self, batch: Vec<(Task, Load<T>)>) {
        for (task, load) in batch.into_iter().rev() {
            if !self.loads.contains_key(&task) {
                self.bytes += load.bytes;
                self.order.push_front(task.clone());
                self.loads.insert(task, load);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.loads.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(n: usize) -> Task {
        Task::Renew(n.to_string())
    }

    #[test]
    fn tasks_keep_their_turn_and_stay_within_bounds() {
        let mut queue: Queue<u32> = Queue::default();
        queue.push(task(1), Some(1), 10);
        queue.push(task(2), Some(2), 10);
        queue.push(task(1), Some(3), 20);
        assert_eq!((queue.len(), queue.bytes), (2, 30));
        let batch = queue.take();
        assert_eq!(
            batch.iter().map(|(t, l)| (t.clone(), l.value)).collect::<Vec<_>>(),
            [(task(1), Some(3)), (task(2), Some(2))]
        );
        queue.push(task(2), Some(4), 5);
        queue.push(task(3), None, 0);
        queue.give_back(batch);
        let order: Vec<_> = queue.take().into_iter().map(|(t, l)| (t, l.value)).collect();
        assert_eq!(order, [(task(1), Some(3)), (task(2), Some(4)), (task(3), None)]);
        assert_eq!((queue.len(), queue.bytes), (0, 0));
        queue.push(task(1), Some(1), BYTES_MAX + 1);
        assert_eq!((queue.bytes, queue.take()[0].1.value), (0, None), "it waits by its name");
        queue.push(task(9), None, 0);
        queue.cancel(&task(9));
        assert!(queue.take().is_empty());
        assert!(queue.again(task(1), 0) && !queue.again(task(2), TRIES_MAX));
        assert_eq!(queue.take()[0].1.tries, 1);
        (0..TASKS_MAX + 5).for_each(|n| queue.push(task(n), None, 0));
        assert_eq!((queue.len(), queue.dropped), (TASKS_MAX, 5));
        assert_eq!(queue.take().len(), BATCH_TASKS);
    }
}
