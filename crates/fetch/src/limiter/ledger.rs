//! The file in which a process leaves its calls for the next one, so that a restart does not forget the window.
//!
//! A call is written before it is made and again when it is answered. Nothing is synced: the file outlives the
//! process, kill -9 included, and a machine takes longer to start than pages take to be written. What cannot be
//! read counts as a call made just now, and a clock that went back makes calls count from now.
//!
//! ```text
//! offset  0  "PSCALLS1", u32 slots                         all records: 24 bytes, u32 crc of them, u32 0
//! offset 32  i64 no call before this instant               a record of zeros is an empty one
//! offset 64  a record per slot: i64 start, i64 answered    nanoseconds since 1970, 0 = not answered
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use panscan_core::limit::Quota;
use panscan_core::port::Clock;
use panscan_core::time::Timestamp;

use crate::error::FetchError;

const MAGIC: &[u8; 8] = b"PSCALLS1";
/// Length of a record.
const RECORD: usize = 32;
/// Of which this much is told and the rest a checksum.
const TOLD: usize = 24;
/// Records before the first slot.
const AHEAD: usize = 2;
/// Fewest slots.
const SLOTS_MIN: u32 = 64;
/// Largest file that is read; the largest quota needs half of it.
const BYTES_MAX: u64 = 128 << 20;

/// The file of one provider and key.
pub(super) struct Ledger {
    file: File,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// Until when a call can count, by slot; none is free.
    taken: Vec<Option<Instant>>,
    next: usize,
    /// How long a call counts from its start at most.
    longest: Duration,
    failed: bool,
}

/// A place in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    index: usize,
    start: Timestamp,
}

/// What an earlier process left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Left {
    /// Start of each call that still counts and the instant from which it does not; the oldest first.
    pub(crate) calls: Vec<(Timestamp, Timestamp)>,
    /// No call before this instant.
    pub(crate) paused_until: Option<Timestamp>,
    /// Records that could not be read.
    pub(crate) damaged: usize,
}

impl Ledger {
    /// Opens the file at `path`, or makes it, and reads what it says about calls of a `quota` that took at most
    /// `call_max` each.
    ///
    /// # Errors
    ///
    /// [`FetchError::Setting`] when it cannot be read or written, or when another process writes to it.
    pub(super) fn open(
        path: &Path,
        quota: Quota,
        call_max: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Left), FetchError> {
        let wrong = |what: &str, error: &dyn std::fmt::Display| {
            FetchError::setting("limit ledger", format!("{}: {what}: {error}", path.display()))
        };
        let now = clock.now();
        let window = quota.window() + quota.margin();
        let mut left = Left::default();
        let mut former = None;
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(mut file) => {
                lock(&file).map_err(|error| wrong("is used by another process", &error))?;
                let mut bytes = Vec::new();
                let mut reader = (&mut file).take(BYTES_MAX);
                reader.read_to_end(&mut bytes).map_err(|error| wrong("cannot be read", &error))?;
                left = read(&bytes, quota, window, call_max, now);
                former = Some(file);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(wrong("cannot be opened", &error)),
        }
        if left.damaged > 0 {
            tracing::warn!(path = %path.display(), damaged = left.damaged, "limit ledger damaged");
        }
        // As a new file that takes the old one's place at once, whatever happens meanwhile.
        let fresh = path.with_extension("new");
        let write = || -> std::io::Result<File> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&fresh)?;
            lock(&file)?;
            file.write_all_at(&image(quota, &left, window), 0)?;
            std::fs::rename(&fresh, path)?;
            Ok(file)
        };
        let file = write().map_err(|error| wrong("cannot be written", &error))?;
        drop(former);
        let longest = call_max + window;
        let mut taken = vec![None; slots(quota)];
        let began = Instant::now();
        for (place, (_, clear)) in taken.iter_mut().zip(&left.calls) {
            *place = Some(began + clear.since(now));
        }
        let path = path.to_owned();
        let next = left.calls.len() % taken.len();
        Ok((Self { file, path, clock, taken, next, longest, failed: false }, left))
    }

    /// Writes down that a call starts.
    pub(super) fn started(&mut self) -> Slot {
        let now = Instant::now();
        let count = self.taken.len();
        // As many slots as this are never taken at once; if they were, the oldest would go.
        let free = |index: &usize| self.taken.get(*index).is_some_and(|t| t.is_none_or(|until| until <= now));
        let index = (0..count).map(|step| (self.next + step) % count).find(free).unwrap_or(self.next);
        self.next = (index + 1) % count;
        if let Some(place) = self.taken.get_mut(index) {
            *place = Some(now + self.longest);
        }
        let start = self.clock.now();
        self.write(AHEAD + index, record(&[start.as_nanos(), 0]));
        Slot { index, start }
    }

    /// Writes down that it was answered, failed or was given up.
    pub(super) fn answered(&mut self, slot: Slot) {
        let told = [slot.start.as_nanos(), self.clock.now().as_nanos()];
        self.write(AHEAD + slot.index, record(&told));
    }

    /// Writes down that it was not made.
    pub(super) fn cancelled(&mut self, slot: Slot) {
        if let Some(place) = self.taken.get_mut(slot.index) {
            *place = None;
        }
        self.write(AHEAD + slot.index, [0; RECORD]);
    }

    /// Writes down that there is no call for `wait` from now.
    pub(super) fn paused(&mut self, wait: Duration) {
        let until = self.clock.now().after(wait);
        self.write(1, record(&[until.as_nanos(), 0]));
    }

    fn write(&mut self, record: usize, bytes: [u8; RECORD]) {
        if let Err(error) = self.file.write_all_at(&bytes, (record * RECORD) as u64)
            && !self.failed
        {
            self.failed = true;
            tracing::warn!(path = %self.path.display(), %error, "limit ledger cannot be written");
        }
    }
}

fn lock(file: &File) -> std::io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => std::io::Error::other("share the limit through Redis instead"),
        TryLockError::Error(error) => error,
    })
}

fn slots(quota: Quota) -> usize {
    quota.calls().saturating_mul(2).max(SLOTS_MIN) as usize
}

/// A record that says `numbers`.
fn record(numbers: &[i64; 2]) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    seal(&mut bytes);
    bytes
}

fn seal(record: &mut [u8; RECORD]) {
    let sum = crc32fast::hash(&record[..TOLD]);
    record[TOLD..TOLD + 4].copy_from_slice(&sum.to_le_bytes());
}

/// What a record says; `None` where it is empty.
fn told(record: &[u8]) -> Result<Option<[i64; 2]>, ()> {
    if record.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let number =
        |at: usize| -> Option<i64> { Some(i64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?)) };
    let sum = record.get(TOLD..TOLD + 4).map(|bytes| bytes.to_vec());
    let whole = record.get(..TOLD).map(|told| crc32fast::hash(told).to_le_bytes().to_vec());
    match (number(0), number(8)) {
        (Some(first), Some(second)) if record.len() == RECORD && sum == whole => Ok(Some([first, second])),
        _ => Err(()),
    }
}

fn head(slots: usize) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&u32::try_from(slots).unwrap_or(u32::MAX).to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// Reads a file of any content.
pub(crate) fn read(bytes: &[u8], quota: Quota, window: Duration, call_max: Duration, now: Timestamp) -> Left {
    let mut left = Left::default();
    if bytes.is_empty() {
        return left;
    }
    let count = bytes.get(8..12).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
    let known = count > 0 && bytes.get(..RECORD) == Some(head(count).as_slice());
    if !known {
        // Anything can have been made; the window is taken as spent.
        left.damaged = 1;
        left.calls = vec![(now, now.after(window)); quota.calls() as usize];
        return left;
    }
    match told(bytes.get(RECORD..2 * RECORD).unwrap_or(&[1])) {
        // No longer than from now, should the clock have been ahead.
        Ok(Some([until, _])) if until > now.as_nanos() => {
            left.paused_until = Some(Timestamp::from_nanos(until));
        }
        Ok(_) => {}
        Err(()) => left.damaged += 1,
    }
    for slot in 0..count {
        let at = (AHEAD + slot) * RECORD;
        let record = bytes.get(at..at + RECORD).unwrap_or(&[1]);
        let (start, seen) = match told(record) {
            Ok(None) => continue,
            Ok(Some([start, 0])) => {
                let start = Timestamp::from_nanos(start).min(now);
                // It may have been on its way for as long as a call takes, and is not any more.
                (start, start.after(call_max).min(now))
            }
            Ok(Some([start, answered])) => {
                (Timestamp::from_nanos(start).min(now), Timestamp::from_nanos(answered).min(now))
            }
            // As many as that are the whole window; what the head claims beyond the file is not followed further.
            Err(()) if left.damaged > quota.calls() as usize => break,
            Err(()) => {
                left.damaged += 1;
                (now, now)
            }
        };
        let clear = seen.max(start).after(window);
        if clear > now {
            left.calls.push((start, clear));
        }
    }
    left.calls.sort_unstable();
    left
}

/// The whole file that says what is left.
pub(crate) fn image(quota: Quota, left: &Left, window: Duration) -> Vec<u8> {
    let count = slots(quota);
    let mut bytes = vec![0; (AHEAD + count) * RECORD];
    let mut records = bytes.chunks_exact_mut(RECORD);
    let mut put = |record: [u8; RECORD]| {
        if let Some(place) = records.next() {
            place.copy_from_slice(&record);
        }
    };
    put(head(count));
    put(left.paused_until.map_or([0; RECORD], |until| record(&[until.as_nanos(), 0])));
    // The newest ones should there be more, which a smaller quota than before can cause.
    let surplus = left.calls.len().saturating_sub(count);
    for (start, clear) in left.calls.iter().skip(surplus) {
        let window = i64::try_from(window.as_nanos()).unwrap_or(i64::MAX);
        let seen = clear.as_nanos().saturating_sub(window).max(1);
        put(record(&[start.as_nanos(), seen]));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Hand(AtomicI64);

    impl Hand {
        fn at(seconds: i64) -> Arc<Self> {
            Arc::new(Self(AtomicI64::new(seconds)))
        }

        fn set(&self, seconds: i64) {
            self.0.store(seconds, Ordering::Relaxed);
        }
    }

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_seconds(self.0.load(Ordering::Relaxed))
        }
    }

    const CALL_MAX: Duration = Duration::from_secs(30);

    fn quota() -> Quota {
        "5/min".parse().unwrap()
    }

    fn open(path: &Path, clock: &Arc<Hand>) -> (Ledger, Left) {
        Ledger::open(path, quota(), CALL_MAX, clock.clone()).unwrap()
    }

    /// Start and end of what counts, in seconds.
    fn seconds(left: &Left) -> Vec<(i64, i64)> {
        left.calls.iter().map(|(start, clear)| (start.as_seconds(), clear.as_seconds())).collect()
    }

    #[test]
    fn the_next_process_knows_the_calls_of_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/calls");
        let clock = Hand::at(1_000);
        let (mut ledger, left) = open(&path, &clock);
        assert_eq!(left, Left::default());
        let slots: Vec<Slot> = (0..4).map(|_| ledger.started()).collect();
        clock.set(1_010);
        ledger.answered(slots[0]);
        ledger.cancelled(slots[1]);
        ledger.paused(Duration::from_secs(90));
        drop(ledger);
        clock.set(1_020);
        let (ledger, left) = open(&path, &clock);
        // answered at 1010; the others may have been on the way until now
        let window = 61;
        assert_eq!(
            seconds(&left),
            [(1_000, 1_010 + window), (1_000, 1_020 + window), (1_000, 1_020 + window)]
        );
        assert_eq!(left.paused_until.unwrap().as_seconds(), 1_100);
        drop(ledger);
        clock.set(1_075);
        let (ledger, left) = open(&path, &clock);
        assert_eq!(seconds(&left), [(1_000, 1_081), (1_000, 1_081)]);
        drop(ledger);
        clock.set(1_200);
        assert_eq!(open(&path, &clock).1, Left::default());
    }

    #[test]
    fn a_clock_that_went_back_makes_calls_count_from_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls");
        let clock = Hand::at(9_000);
        let (mut ledger, _) = open(&path, &clock);
        let slot = ledger.started();
        ledger.answered(slot);
        drop(ledger);
        clock.set(1_000);
        assert_eq!(seconds(&open(&path, &clock).1), [(1_000, 1_061)]);
    }

    #[test]
    fn what_cannot_be_read_counts_as_made_just_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls");
        let clock = Hand::at(1_000);
        let (mut ledger, _) = open(&path, &clock);
        let slot = ledger.started();
        ledger.answered(slot);
        drop(ledger);
        let whole = std::fs::read(&path).unwrap();
        clock.set(1_030);
        for at in 0..whole.len() {
            for flip in [1, 0x80] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let left = read(&bytes, quota(), Duration::from_secs(61), CALL_MAX, clock.now());
                let counts = left.calls.iter().any(|(_, clear)| clear.as_seconds() >= 1_061);
                assert!(counts, "byte {at}: {left:?}");
                assert!(left.damaged > 0 || left.calls.len() == 1, "byte {at}: {left:?}");
            }
        }
        for length in 1..whole.len() {
            let left = read(&whole[..length], quota(), Duration::from_secs(61), CALL_MAX, clock.now());
            assert!(!left.calls.is_empty() && left.damaged > 0, "{length} bytes: {left:?}");
        }
        std::fs::write(&path, "something else altogether").unwrap();
        let (_, left) = open(&path, &clock);
        assert_eq!((left.calls.len(), left.damaged), (5, 1));
    }

    #[test]
    fn slots_are_used_again_and_two_processes_do_not_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls");
        let clock = Hand::at(1_000);
        let (mut ledger, _) = open(&path, &clock);
        let error = Ledger::open(&path, quota(), CALL_MAX, clock.clone()).err().unwrap();
        assert!(error.to_string().contains("Redis"), "{error}");
        for _ in 0..1_000 {
            let slot = ledger.started();
            ledger.cancelled(slot);
        }
        let kept = ledger.started();
        ledger.answered(kept);
        drop(ledger);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 66 * 32);
        assert_eq!(open(&path, &clock).1.calls.len(), 1);
    }
}
