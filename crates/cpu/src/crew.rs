//! The backend's threads. A scan takes a tenth of a millisecond, which is about what waking a thread costs on a
//! virtual machine, so the calling thread works itself and the others join in when they get there: nothing waits
//! for a thread that has not started, and a worker looks for more for a moment before it sleeps.
//!
//! Not a general pool: one kind of work, split into numbered parts that are handed out in order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::tile::Scratch;

/// How long a worker looks for more work before it sleeps, and a caller for the last part before it does. Waking a
/// sleeping thread costs a fifth of a millisecond of a scan's half; this costs at most so much of a core after
/// each scan, and nothing when none comes.
const SPIN: Duration = Duration::from_millis(1);

/// Scratch kept for calling threads.
const SPARE_MAX: usize = 16;

/// Something to be done in parts, each once, on any thread.
pub(crate) trait Work: Send + Sync {
    /// Does one part.
    fn part(&self, part: usize, scratch: &mut Scratch);
}

/// Work that is being handed out.
struct Batch {
    work: Arc<dyn Work>,
    parts: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    panicked: AtomicBool,
    finished: Mutex<bool>,
    wake: Condvar,
}

impl Batch {
    /// Does parts until none is left.
    fn help(&self, scratch: &mut Scratch) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= self.parts {
                return;
            }
            // A part that is never counted would leave the caller waiting for ever.
            if catch_unwind(AssertUnwindSafe(|| self.work.part(part, scratch))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            if self.done.fetch_add(1, Ordering::AcqRel) + 1 == self.parts {
                *lock(&self.finished) = true;
                self.wake.notify_all();
            }
        }
    }

    fn is_handed_out(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.parts
    }

    fn wait(&self) {
        let started = Instant::now();
        while self.done.load(Ordering::Acquire) < self.parts {
            if started.elapsed() > SPIN {
                let mut finished = lock(&self.finished);
                while !*finished {
                    finished = self.wake.wait(finished).unwrap_or_else(PoisonError::into_inner);
                }
                return;
            }
            std::hint::spin_loop();
        }
    }
}

#[derive(Default)]
struct Board {
    queue: VecDeque<Arc<Batch>>,
    sleeping: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    board: Mutex<Board>,
    wake: Condvar,
    /// Batches ever posted: what a worker watches while it does not sleep yet.
    posted: AtomicUsize,
}

/// The threads; they end when it is dropped.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    spare: Mutex<Vec<Scratch>>,
}

impl Crew {
    /// `threads` with the calling one.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let mut crew = Self { shared: Arc::default(), workers: Vec::new(), spare: Mutex::new(Vec::new()) };
        for number in 1..threads {
            let shared = crew.shared.clone();
            let named = std::thread::Builder::new().name(format!("panscan-cpu-{number}"));
            crew.workers.push(named.spawn(move || attend(&shared))?);
        }
        Ok(crew)
    }

    /// Threads, the calling one included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Wakes the workers for work that is about to come: waking takes as long as half a scan, and goes on beside
    /// what the caller still has to do.
    pub(crate) fn rouse(&self) {
        let board = lock(&self.shared.board);
        if board.sleeping > 0 {
            self.shared.posted.fetch_add(1, Ordering::Release);
            drop(board);
            self.shared.wake.notify_all();
        }
    }

    /// Does all parts and returns when the last is done. False when a part panicked.
    pub(crate) fn run(&self, work: Arc<dyn Work>, parts: usize) -> bool {
        if parts == 0 {
            return true;
        }
        let batch = Arc::new(Batch {
            work,
            parts,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            finished: Mutex::new(false),
            wake: Condvar::new(),
        });
        let alone = parts == 1 || self.workers.is_empty();
        if !alone {
            let mut board = lock(&self.shared.board);
            board.queue.push_back(batch.clone());
            self.shared.posted.fetch_add(1, Ordering::Release);
            let sleeping = board.sleeping;
            drop(board);
            if sleeping > 0 {
                self.shared.wake.notify_all();
            }
        }
        let mut scratch = lock(&self.spare).pop().unwrap_or_default();
        batch.help(&mut scratch);
        let mut spare = lock(&self.spare);
        if spare.len() < SPARE_MAX {
            spare.push(scratch);
        }
        drop(spare);
        if !alone {
            lock(&self.shared.board).queue.retain(|other| !Arc::ptr_eq(other, &batch));
            batch.wait();
        }
        !batch.panicked.load(Ordering::Relaxed)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        lock(&self.shared.board).closed = true;
        self.shared.posted.fetch_add(1, Ordering::Release);
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches what its work throws, so there is nothing to report.
            let _ = worker.join();
        }
    }
}

/// A worker's life.
fn attend(shared: &Shared) {
    let mut scratch = Scratch::default();
    loop {
        let seen = shared.posted.load(Ordering::Acquire);
        let mut board = lock(&shared.board);
        if board.closed {
            return;
        }
        board.queue.retain(|batch| !batch.is_handed_out());
        if let Some(batch) = board.queue.front().cloned() {
            drop(board);
            batch.help(&mut scratch);
            continue;
        }
        drop(board);
        let started = Instant::now();
        while shared.posted.load(Ordering::Acquire) == seen && started.elapsed() < SPIN {
            std::hint::spin_loop();
        }
        let mut board = lock(&shared.board);
        while shared.posted.load(Ordering::Acquire) == seen {
            board.sleeping += 1;
            board = shared.wake.wait(board).unwrap_or_else(PoisonError::into_inner);
            board.sleeping -= 1;
        }
    }
}

/// The data behind these locks is whole at every moment, also after a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tally(Vec<AtomicUsize>);

    impl Work for Tally {
        fn part(&self, part: usize, _: &mut Scratch) {
            self.0[part].fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn every_part_is_done_once_also_with_many_callers() {
        for threads in [1, 2, 5] {
            let crew = Crew::new(threads).unwrap();
            assert_eq!(crew.threads(), threads);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for parts in [0, 1, 2, 7, 300] {
                            let tally = Arc::new(Tally((0..parts).map(|_| AtomicUsize::new(0)).collect()));
                            assert!(crew.run(tally.clone(), parts));
                            assert!(tally.0.iter().all(|n| n.load(Ordering::Relaxed) == 1));
                        }
                    });
                }
            });
        }
    }

    struct Faulty;

    impl Work for Faulty {
        fn part(&self, part: usize, _: &mut Scratch) {
            assert!(part != 3, "planted");
        }
    }

    #[test]
    fn a_panic_in_a_part_is_told_and_leaves_the_crew_usable() {
        let crew = Crew::new(2).unwrap();
        assert!(!crew.run(Arc::new(Faulty), 10));
        assert!(crew.run(Arc::new(Tally((0..9).map(|_| AtomicUsize::new(0)).collect())), 9));
    }
}
