//! What a crash of the machine, or a disk, does to files below the file layer: torn writes, flipped bits, sectors of
//! nothing, writes that went elsewhere, names that were forgotten. Not here: what the store makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A sector of a disk.
const SECTOR: usize = 4096;

/// What befell a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Flipped,
    Cut,
    Grown,
    Zeroed,
    Emptied,
    Swapped,
    Removed,
    /// As it was at the last start: a rename that was not durable.
    Older,
}

/// Damaged files by path.
pub(crate) type Hurt = BTreeMap<PathBuf, Kind>;

/// Files of the store that have a finished name, with their content; the manifest among them.
pub(crate) fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut folders = vec![dir.join("v1")];
    let mut found = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with('.') && !name.ends_with(".damaged") {
                let bytes = fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// Damages some files, of those that are `fair`. `before` is what the folder held at the last start.
pub(crate) fn strike(
    dir: &Path,
    random: &mut fastrand::Rng,
    before: &BTreeMap<PathBuf, Vec<u8>>,
    fair: impl Fn(&Path) -> bool,
) -> Hurt {
    let now = files(dir);
    let manifest = dir.join("v1/manifest");
    let mut hurt = Hurt::new();
    if random.u8(..) < 40 && now.contains_key(&manifest) {
        let kinds = [Kind::Flipped, Kind::Cut, Kind::Grown, Kind::Zeroed, Kind::Emptied, Kind::Removed];
        let kind = kinds[random.usize(..kinds.len())];
        if befall(&manifest, kind, &now, before, random) {
            hurt.insert(manifest.clone(), kind);
        }
    }
    // Without its witness, a file that is gone or older than it should be cannot be told from one that never was.
    let witnessed = hurt.is_empty();
    let mut paths: Vec<&PathBuf> = now.keys().filter(|path| **path != manifest && fair(path)).collect();
    random.shuffle(&mut paths);
    for path in paths.into_iter().take(random.usize(0..4)) {
        let kinds = [
            Kind::Flipped,
            Kind::Flipped,
            Kind::Cut,
            Kind::Grown,
            Kind::Zeroed,
            Kind::Emptied,
            Kind::Swapped,
            Kind::Removed,
            Kind::Older,
        ];
        let kind = kinds[random.usize(..if witnessed { kinds.len() } else { kinds.len() - 2 })];
        if befall(path, kind, &now, before, random) {
            hurt.insert(path.clone(), kind);
        }
    }
    hurt
}

/// Damages one file; `false` where that left it as it was.
fn befall(
    path: &Path,
    kind: Kind,
    now: &BTreeMap<PathBuf, Vec<u8>>,
    before: &BTreeMap<PathBuf, Vec<u8>>,
    random: &mut fastrand::Rng,
) -> bool {
    let good = &now[path];
    let mut bytes = good.clone();
    match kind {
        Kind::Removed => {
            fs::remove_file(path).unwrap();
            return true;
        }
        Kind::Flipped if !bytes.is_empty() => {
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] ^= 1 << random.u8(0..8);
            }
        }
        Kind::Cut => bytes.truncate(random.usize(..=bytes.len())),
        Kind::Grown => {
            let more = random.usize(1..SECTOR);
            bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(more));
        }
        Kind::Zeroed => {
            let sector = random.usize(..bytes.len().div_ceil(SECTOR).max(1)) * SECTOR;
            let end = bytes.len().min(sector + SECTOR);
            bytes[sector.min(end)..end].fill(0);
        }
        Kind::Emptied => bytes.clear(),
        Kind::Swapped => {
            let others: Vec<&PathBuf> = now.keys().filter(|other| *other != path).collect();
            if let Some(other) = random.choice(others) {
                bytes.clone_from(&now[other]);
            }
        }
        Kind::Older => {
            if let Some(older) = before.get(path) {
                bytes.clone_from(older);
            }
        }
        Kind::Flipped => {}
    }
    // Another file under the old name, so that whoever has the old one open keeps seeing that.
    let aside = path.with_extension("struck");
    fs::write(&aside, &bytes).unwrap();
    fs::rename(&aside, path).unwrap();
    bytes != *good
}
