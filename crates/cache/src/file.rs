//! L3: one file per block below the store's folder. Blocking; [`Tiers`](crate::Tiers) picks the threads. Not here:
//! the layout of a file ([`crate::format`]) and its place ([`crate::key`]).

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use panscan_core::block::Block;
use panscan_core::port::{BlockKey, StoreError, TierStats};
use panscan_core::slab::{Aligned, SharedSlab};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{Timeframe, Timestamp};

use crate::error::{CacheError, ReadFault, store_io};
use crate::format::{self, Fault, Parts};
use crate::hot::axis_bytes;
use crate::index::Index;
use crate::key::{self, Name};
use crate::lock::Lock;
use crate::locked;
use crate::manifest::{Change, Kept, Manifest};
use crate::map::Mapped;
use crate::note;
use crate::open::{self, Opened};
use crate::stage::{Staged, create_folder, sync_folder};

/// Smaller files are read: a mapping of its own would cost more than the copy.
const MAPPED_BYTES_MIN: u64 = 64 << 10;
/// Threads that read or write one batch.
const THREADS_MAX: usize = 4;
/// Keys that are worth a second thread.
const KEYS_PER_THREAD: usize = 8;
/// Files kept aside for a look; further damaged ones are removed.
const DAMAGED_MAX: u64 = 32;
/// Warnings written one by one; then only each time that their number has doubled.
const WARNINGS_MAX: u64 = 20;
/// Symbols shared between blocks at most.
const KNOWN_MAX: usize = 200_000;

/// The tier.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// The folder of this layout.
    root: PathBuf,
    capacity: u64,
    /// Held as long as the store is open.
    _lock: Lock,
    /// What is acknowledged. Locked before the index, never while that is.
    manifest: Manifest,
    index: Mutex<Index>,
    /// Held while files get or lose their names, so that the index says what the folder does.
    naming: Mutex<()>,
    /// Held while a note is kept.
    noting: Mutex<()>,
    /// Tickers met so far, ascending: blocks share their text.
    known: Mutex<Arc<[Symbol]>>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    errors: AtomicU64,
    damaged: AtomicU64,
}

/// A block that was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) block: Block,
    /// Bytes of it that lie on the heap.
    pub(crate) heap_bytes: u64,
}

impl Shelf {
    /// Opens the store in `folder`, creating it if needed, and removes what an earlier process left unfinished.
    pub(crate) fn open(folder: &Path, capacity: u64) -> Result<Self, CacheError> {
        let Opened { root, lock, manifest, index, damaged, lost } = open::open(folder)?;
        Ok(Self {
            root,
            capacity,
            _lock: lock,
            manifest,
            index: Mutex::new(index),
            naming: Mutex::default(),
            noting: Mutex::default(),
            known: Mutex::new(Arc::from([])),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            errors: AtomicU64::new(lost),
            damaged: AtomicU64::new(damaged),
        })
    }

    /// Reads blocks in the order of `keys`. `promote` is called for each, unless it was replaced meanwhile.
    pub(crate) fn read(
        &self,
        market: &MarketId,
        keys: &[BlockKey],
        promote: &(dyn Fn(Name, &Loaded) + Sync),
    ) -> Vec<Option<Block>> {
        in_threads(keys, |key| {
            let name = (market.clone(), key.clone());
            let there = locked(&self.index).touch(&name);
            let loaded = there.and_then(|(written, kept)| self.load(&name, written, kept));
            let counter = if loaded.is_some() { &self.hits } else { &self.misses };
            counter.fetch_add(1, Ordering::Relaxed);
            let loaded = loaded?;
            let index = locked(&self.index);
            if index.written(&name) == there.map(|(written, _)| written) {
                promote(name, &loaded);
            }
            Some(loaded.block)
        })
    }

    /// Calls `put` unless there is a file of this name; none is written meanwhile.
    pub(crate) fn unless_there(&self, name: &Name, put: impl FnOnce()) {
        let index = locked(&self.index);
        if index.written(name).is_none() {
            put();
        }
    }

    fn load(&self, name: &Name, written: u64, kept: Option<Kept>) -> Option<Loaded> {
        let path = key::block_path(&self.root, &name.0, &name.1);
        let known = locked(&self.known).clone();
        let read = open_block(&path, &known).and_then(|(loaded, parts)| {
            parts.expect(&name.0, &name.1)?;
            parts.not_before(kept)?;
            Ok((loaded, parts.has_new_symbols))
        });
        match read {
            Ok((loaded, has_new_symbols)) => {
                if has_new_symbols && loaded.block.symbols().len() > 1 {
                    self.remember(loaded.block.symbols());
                }
                Some(loaded)
            }
            Err(fault) => {
                let _naming = locked(&self.naming);
                if locked(&self.index).written(name) != Some(written) {
                    // Replaced or given up while it was read: the fault is not that of the file which is there.
                    return None;
                }
                self.report(&path, &fault);
                match &fault {
                    // Another build's, and no worse for that: it stays until something takes its place.
                    ReadFault::Damaged(Fault::Version(_)) => locked(&self.index).remove(name),
                    ReadFault::Damaged(_) => {
                        self.set_aside(&path);
                        locked(&self.index).remove(name);
                    }
                    ReadFault::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                        locked(&self.index).remove(name);
                        self.note_gone(&path);
                    }
                    ReadFault::Io(_) => {}
                }
                None
            }
        }
    }

    /// Adds the tickers of a block to those that are shared.
    fn remember(&self, symbols: &[Symbol]) {
        let known = &mut *locked(&self.known);
        if known.len() < KNOWN_MAX && symbols.iter().any(|s| known.binary_search(s).is_err()) {
            let all: BTreeSet<&Symbol> = known.iter().chain(symbols).collect();
            *known = all.into_iter().cloned().collect();
        }
    }

    /// Keeps blocks durably, replacing what was there. `kept` is called for each as soon as readers may see it.
    pub(crate) fn write(
        &self,
        market: &MarketId,
        blocks: &[(BlockKey, Block)],
        kept: &dyn Fn(Name, &Block),
    ) -> Result<(), StoreError> {
        self.write_where(market, blocks, &|_, _| true, kept)
    }

    /// As [`Shelf::write`], for blocks that came from elsewhere: one that is here already, or that is not wanted any
    /// more at the moment at which it would get its name, is left out.
    pub(crate) fn adopt(
        &self,
        market: &MarketId,
        blocks: &[(BlockKey, Block)],
        wanted: &dyn Fn(&Name) -> bool,
    ) -> Result<(), StoreError> {
        self.write_where(market, blocks, &|name, is_here| !is_here && wanted(name), &|_, _| ())
    }

    fn write_where(
        &self,
        market: &MarketId,
        blocks: &[(BlockKey, Block)],
        wanted: &dyn Fn(&Name, bool) -> bool,
        kept: &dyn Fn(Name, &Block),
    ) -> Result<(), StoreError> {
        let result = self.try_write(market, blocks, wanted, kept);
        if let Err(error) = &result {
            self.failed(error);
        }
        result
    }

    fn try_write(
        &self,
        market: &MarketId,
        blocks: &[(BlockKey, Block)],
        wanted: &dyn Fn(&Name, bool) -> bool,
        kept: &dyn Fn(Name, &Block),
    ) -> Result<(), StoreError> {
        let mut folders = BTreeSet::new();
        for (key, _) in blocks {
            let path = key::block_path(&self.root, market, key);
            folders.extend(path.parent().map(Path::to_owned));
        }
        for folder in &folders {
            self.create(folder).map_err(|e| store_io("create", folder, &e))?;
        }
        let staged = in_threads(blocks, |(key, block)| self.stage(market, key, block));
        let staged: Vec<(Staged, Kept)> = staged.into_iter().collect::<Result<_, _>>()?;
        let (mut fresh, mut puts, mut named) = (HashSet::new(), Vec::new(), Ok(()));
        {
            let _naming = locked(&self.naming);
            for ((staged, file), (key, block)) in staged.into_iter().zip(blocks) {
                // The index stays locked from the new name to the block in memory. A reader that found the new
                // file takes this lock before it answers, so nobody finds the older block in memory after it;
                // and two writers of one key leave the same block in both tiers.
                let mut index = locked(&self.index);
                let name = (market.clone(), key.clone());
                if !wanted(&name, index.written(&name).is_some()) {
                    continue;
                }
                if let Err(error) = staged.rename() {
                    named = Err(store_io("rename into", &key::block_path(&self.root, market, key), &error));
                    break;
                }
                let written = index.put(name.clone(), file.bytes, Some(file));
                kept(name.clone(), block);
                drop(index);
                fresh.insert(name.clone());
                puts.push((name, written, file));
            }
            self.give_up_surplus(&fresh);
        }
        for folder in &folders {
            sync_folder(folder).map_err(|e| store_io("sync", folder, &e))?;
        }
        // What was replaced or given up since is for whoever did that to write down; nobody is about to.
        let written = {
            let _naming = locked(&self.naming);
            let still =
                |(name, written, _): &(Name, u64, Kept)| locked(&self.index).written(name) == Some(*written);
            let changes = puts.into_iter().filter(still);
            self.manifest.append(changes.map(|(name, _, kept)| Change::Put(key::block_place(&name), kept)))
        };
        written
            .and_then(|manifest| manifest.sync_data())
            .map_err(|e| store_io("write the manifest of", &self.root, &e))?;
        named
    }

    fn stage(&self, market: &MarketId, key: &BlockKey, block: &Block) -> Result<(Staged, Kept), StoreError> {
        let path = key::block_path(&self.root, market, key);
        let head = format::fits(key, block.timeframe(), block.symbols(), block.rows())
            .and_then(|()| format::head(market, block))
            .and_then(|head| Ok((format::head_of(&head)?, head)));
        let ((mark, at), head) = head.map_err(|fault| StoreError::Damaged {
            store: "l3",
            what: format!("the block for {}", path.display()),
            message: fault.to_string(),
        })?;
        let data = bytemuck::cast_slice(block.data());
        let staged = Staged::write(&path, &[&head, data]).map_err(|e| store_io("write", &path, &e))?;
        Ok((staged, Kept { bytes: (head.len() + data.len()) as u64, mark, at }))
    }

    /// Creates a folder, durably. One at a time: who finds it there may rely on its being on disk.
    fn create(&self, folder: &Path) -> io::Result<()> {
        let _naming = locked(&self.naming);
        create_folder(&self.root, folder)
    }

    /// Removes the files of these keys. `gone` is called for each before a reader can find it gone.
    pub(crate) fn forget(
        &self,
        market: &MarketId,
        keys: &[BlockKey],
        gone: &dyn Fn(&Name),
    ) -> Result<(), StoreError> {
        let _naming = locked(&self.naming);
        let mut folders = BTreeSet::new();
        self.record_gone(keys.iter().map(|key| (market.clone(), key.clone())));
        for key in keys {
            let (path, name) = (key::block_path(&self.root, market, key), (market.clone(), key.clone()));
            let mut index = locked(&self.index);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let error = store_io("remove", &path, &error);
                    self.failed(&error);
                    return Err(error);
                }
                _ => index.remove(&name),
            }
            gone(&name);
            drop(index);
            folders.extend(path.parent().filter(|folder| folder.is_dir()).map(Path::to_owned));
        }
        for folder in &folders {
            sync_folder(folder).map_err(|e| store_io("sync", folder, &e))?;
        }
        Ok(())
    }

    /// Removes files beyond the bound. The naming lock is held.
    fn give_up_surplus(&self, fresh: &HashSet<Name>) {
        let surplus = locked(&self.index).surplus(self.capacity, fresh);
        if !surplus.is_empty() {
            self.record_gone(surplus.iter().cloned());
        }
        for name in surplus {
            let path = key::block_path(&self.root, &name.0, &name.1);
            match fs::remove_file(&path) {
                Ok(()) => {
                    self.evictions.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.report(&path, &ReadFault::Io(error));
                    continue;
                }
            }
            locked(&self.index).remove(&name);
        }
    }

    /// Writes down that files are given up, before they are: one that is gone without that was lost. Where it cannot be
    /// written, on a full disk, they are given up all the same.
    fn record_gone(&self, names: impl Iterator<Item = Name>) {
        let changes = names.map(|name| Change::Gone(key::block_place(&name)));
        if let Err(error) = self.manifest.record(changes) {
            self.report(&self.root, &ReadFault::Io(error));
        }
    }

    /// Reads a note.
    pub(crate) fn read_note(&self, market: &MarketId, name: &str) -> Option<(Timestamp, Vec<u8>)> {
        let path = key::note_path(&self.root, market, name);
        let _naming = locked(&self.naming);
        let fault = match fs::read(&path) {
            Ok(bytes) => match self.checked_note(&self.place(&path), bytes) {
                Ok(note) => return Some(note),
                Err(fault) => ReadFault::Damaged(fault),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => ReadFault::Io(error),
        };
        self.report(&path, &fault);
        if let ReadFault::Damaged(_) = fault {
            self.set_aside(&path);
        }
        None
    }

    fn checked_note(&self, place: &str, bytes: Vec<u8>) -> Result<(Timestamp, Vec<u8>), Fault> {
        let (mark, at) = note::verified(place, &bytes)?;
        match self.manifest.entry(place) {
            Some(kept) if kept.mark != mark && at < kept.at => Err(Fault::Stale),
            _ => note::decode_at(place, bytes),
        }
    }

    /// Keeps a note durably.
    pub(crate) fn write_note(
        &self,
        market: &MarketId,
        name: &str,
        at: Timestamp,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let path = key::note_path(&self.root, market, name);
        let folder = key::market_folder(&self.root, market).join(key::NOTES);
        let head = note::head_at(&self.place(&path), at, body);
        let bytes = (head.len() + body.len()) as u64;
        let kept = note::head_of(&head).map(|(mark, at)| Kept { bytes, mark, at });
        let _noting = locked(&self.noting);
        let result = self
            .create(&folder)
            .and_then(|()| Staged::write(&path, &[&head, body]))
            .and_then(|staged| {
                // Until the manifest says so, a reader would take what looks older for a name that came back.
                let _naming = locked(&self.naming);
                staged.rename()?;
                sync_folder(&folder)?;
                self.manifest.record(kept.map(|kept| Change::Put(self.place(&path), kept)))
            })
            .map_err(|e| store_io("write", &path, &e));
        if let Err(error) = &result {
            self.failed(error);
        }
        result
    }

    /// The blocks that are here.
    pub(crate) fn names(&self) -> Vec<Name> {
        locked(&self.index).names()
    }

    /// Symbols of one timeframe.
    pub(crate) fn symbols(&self, market: &MarketId, timeframe: Timeframe) -> Vec<Symbol> {
        locked(&self.index).symbols(market, timeframe)
    }

    /// Counters.
    pub(crate) fn stats(&self) -> TierStats {
        let (entries, bytes) = {
            let index = locked(&self.index);
            (index.len() as u64, index.bytes())
        };
        TierStats {
            tier: "l3",
            entries,
            bytes,
            capacity_bytes: self.capacity,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            ..TierStats::default()
        }
    }

    /// Renames a damaged file so that nobody reads it again and somebody can look at it.
    fn set_aside(&self, path: &Path) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(key::DAMAGED_ENDING);
        let moved = if self.damaged.fetch_add(1, Ordering::Relaxed) < DAMAGED_MAX {
            fs::rename(path, &aside)
        } else {
            fs::remove_file(path)
        };
        if let Err(error) = moved {
            self.report(path, &ReadFault::Io(error));
        }
        self.note_gone(path);
    }

    fn note_gone(&self, path: &Path) {
        if let Err(error) = self.manifest.record([Change::Gone(self.place(path))]) {
            self.report(&self.root, &ReadFault::Io(error));
        }
    }

    fn place(&self, path: &Path) -> String {
        key::place(path.strip_prefix(&self.root).unwrap_or(path))
    }

    fn report(&self, path: &Path, fault: &ReadFault) {
        if self.worth_a_line() {
            tracing::warn!(path = %path.display(), %fault, "a file of the store was not usable");
        }
    }

    fn failed(&self, error: &StoreError) {
        if self.worth_a_line() {
            tracing::error!(%error, "a write to the store failed; the data stays in memory only");
        }
    }

    /// Counts an error and says whether to log it.
    fn worth_a_line(&self) -> bool {
        let n = self.errors.fetch_add(1, Ordering::Relaxed) + 1;
        n <= WARNINGS_MAX || n.is_power_of_two()
    }
}

/// Reads and checks one file.
pub(crate) fn open_block(path: &Path, known: &[Symbol]) -> Result<(Loaded, Parts), ReadFault> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    // Where the system has no mapping left to give, the file is read instead.
    let mapped = if length >= MAPPED_BYTES_MIN { Mapped::new(&file).ok() } else { None };
    let (parts, data, heap_bytes): (Parts, SharedSlab, u64) = if let Some(map) = mapped {
        let parts = format::decode(map.bytes(), known)?;
        (parts.clone(), Arc::new(map.into_floats(parts.data).ok_or(Fault::Length)?), 0)
    } else {
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        (&file).take(length + 1).read_to_end(&mut bytes)?;
        let parts = format::decode(&bytes, known)?;
        let numbers = &bytes[parts.data.clone()];
        let mut owned = Aligned::filled(numbers.len() / 8, 0.0);
        bytemuck::cast_slice_mut::<f64, u8>(owned.as_mut_slice()).copy_from_slice(numbers);
        let heap_bytes = numbers.len() as u64;
        (parts, Arc::new(owned), heap_bytes)
    };
    let block = Block::from_parts(
        parts.timeframe,
        parts.symbols.clone(),
        parts.rows.clone(),
        parts.width,
        data,
        parts.provenance.clone(),
    )
    .map_err(|e| Fault::Content(e.to_string()))?;
    let heap_bytes = heap_bytes + axis_bytes(&block);
    Ok((Loaded { block, heap_bytes }, parts))
}

/// Applies `work` to each item in order, on a few threads where there are many.
fn in_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = items.len().div_ceil(KEYS_PER_THREAD).clamp(1, THREADS_MAX);
    if threads == 1 {
        return items.iter().map(work).collect();
    }
    let share = items.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let parts: Vec<_> = items
            .chunks(share)
            .map(|part| scope.spawn(|| part.iter().map(&work).collect::<Vec<R>>()))
            .collect();
        let join = |part: std::thread::ScopedJoinHandle<'_, Vec<R>>| match part.join() {
            Ok(results) => results,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        parts.into_iter().flat_map(join).collect()
    })
}
