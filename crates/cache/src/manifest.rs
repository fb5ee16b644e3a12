//! The manifest: one line for each file that was acknowledged, one more when it is replaced or given up. It says what
//! must be there, so that a file that went away, or that is older than what was kept, is noticed. Not here: the files;
//! where manifest and folder differ by more than a loss, the files are right and the manifest is written again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::locked;
use crate::stage::{Staged, sync_folder};

/// Name of the file, below the folder of the layout.
pub(crate) const MANIFEST: &str = "manifest";
/// Version of the manifest and of the files that it lists; a build that writes others counts it up.
pub(crate) const VERSION: u32 = 1;
/// Lines beyond twice those that are needed before it is written again.
const SLACK_LINES: u64 = 4096;

/// What the manifest says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its length.
    pub(crate) bytes: u64,
    /// The checksum in its header, which covers all others.
    pub(crate) mark: u32,
    /// When its content was made, nanoseconds since the Unix epoch.
    pub(crate) at: i64,
}

/// A line to come.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// The file at this place is now this one.
    Put(String, Kept),
    /// There is none any more.
    Gone(String),
}

/// How a manifest was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// There is none: an older build's store, or a new one.
    Absent,
    /// Every line is right.
    Whole,
    /// Its last line was cut off while it was written.
    Torn,
    /// So many lines are not what was written.
    Damaged(u64),
    /// Of a version that this build does not read.
    Other(u32),
}

/// A manifest that was read.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// The files by place below the folder, with `/` between its parts.
    pub(crate) entries: BTreeMap<String, Kept>,
    pub(crate) shape: Shape,
    pub(crate) lines: u64,
}

/// Reads the manifest of the store in `root` and changes nothing.
pub(crate) fn read(root: &Path) -> io::Result<Listed> {
    match fs::read(root.join(MANIFEST)) {
        Ok(bytes) => Ok(parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Listed { entries: BTreeMap::new(), shape: Shape::Absent, lines: 0 })
        }
        Err(error) => Err(error),
    }
}

fn parse(bytes: &[u8]) -> Listed {
    let mut listed = Listed { entries: BTreeMap::new(), shape: Shape::Whole, lines: 0 };
    let mut bad = 0;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    for (at, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate().filter(|(_, l)| !l.is_empty()) {
        listed.lines += 1;
        let words = checked(line);
        let taken = match words.as_deref() {
            Some(["panscan", "manifest", version]) if at == 0 => match version.parse() {
                Ok(VERSION) => true,
                Ok(other) => return Listed { shape: Shape::Other(other), ..listed },
                Err(_) => false,
            },
            Some(["put", bytes, mark, made, place]) if at > 0 => {
                let kept = (bytes.parse().ok(), u32::from_str_radix(mark, 16).ok(), made.parse().ok());
                if let (Some(bytes), Some(mark), Some(made)) = kept {
                    listed.entries.insert((*place).to_owned(), Kept { bytes, mark, at: made });
                    true
                } else {
                    false
                }
            }
            Some(["gone", place]) if at > 0 => {
                listed.entries.remove(*place);
                true
            }
            _ => false,
        };
        bad += u64::from(!taken);
    }
    if bad > 0 || listed.lines == 0 {
        listed.shape = Shape::Damaged(bad);
    } else if whole < bytes.len() {
        listed.shape = Shape::Torn;
    }
    listed
}

/// The words of a line whose checksum is right.
fn checked(line: &[u8]) -> Option<Vec<&str>> {
    let (sum, rest) = line.split_at_checked(9)?;
    let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
    let right = sum == format!("{:08x}", crc32fast::hash(rest));
    right.then(|| std::str::from_utf8(rest).ok())?.map(|rest| rest.split(' ').collect())
}

fn line(to: &mut String, rest: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(to, "{:08x} {rest}", crc32fast::hash(rest.as_bytes()));
}

fn put(to: &mut String, place: &str, kept: Kept) {
    line(to, &format!("put {} {:08x} {} {place}", kept.bytes, kept.mark, kept.at));
}

/// The manifest of the store that this process writes.
#[derive(Debug)]
pub(crate) struct Manifest {
    root: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: Arc<File>,
    entries: BTreeMap<String, Kept>,
    lines: u64,
    /// Whether a line may have been cut off at the end.
    torn: bool,
}

impl Manifest {
    /// Writes a manifest of these entries in the place of whatever is there.
    pub(crate) fn create(root: &Path, entries: BTreeMap<String, Kept>) -> io::Result<Self> {
        let file = Arc::new(write_whole(root, &entries)?);
        let lines = entries.len() as u64 + 1;
        Ok(Self { root: root.to_owned(), inner: Mutex::new(Inner { file, entries, lines, torn: false }) })
    }

    /// Goes on with the manifest that was read, if it is whole and not overgrown.
    pub(crate) fn resume(root: &Path, listed: Listed) -> io::Result<Self> {
        if listed.shape != Shape::Whole || overgrown(listed.lines, listed.entries.len()) {
            return Self::create(root, listed.entries);
        }
        let file = Arc::new(File::options().append(true).open(root.join(MANIFEST))?);
        let inner = Inner { file, entries: listed.entries, lines: listed.lines, torn: false };
        Ok(Self { root: root.to_owned(), inner: Mutex::new(inner) })
    }

    /// Writes `changes` down and waits until they are on disk.
    pub(crate) fn record(&self, changes: impl IntoIterator<Item = Change>) -> io::Result<()> {
        self.append(changes)?.sync_data()
    }

    /// Writes `changes` down; they are on disk once the file that is answered is synced. They are asked for when nobody
    /// else writes.
    pub(crate) fn append(&self, changes: impl IntoIterator<Item = Change>) -> io::Result<Arc<File>> {
        let mut inner = locked(&self.inner);
        let mut text = String::new();
        for change in changes {
            inner.lines += 1;
            match change {
                Change::Put(place, kept) => {
                    put(&mut text, &place, kept);
                    inner.entries.insert(place, kept);
                }
                Change::Gone(place) => {
                    line(&mut text, &format!("gone {place}"));
                    inner.entries.remove(&place);
                }
            }
        }
        if overgrown(inner.lines, inner.entries.len()) {
            inner.file = Arc::new(write_whole(&self.root, &inner.entries)?);
            inner.lines = inner.entries.len() as u64 + 1;
            inner.torn = false;
            return Ok(inner.file.clone());
        }
        if inner.torn {
            text.insert(0, '\n');
        }
        if let Err(error) = (&*inner.file).write_all(text.as_bytes()) {
            inner.torn = true;
            return Err(error);
        }
        inner.torn = false;
        Ok(inner.file.clone())
    }

    /// What it says of the file at this place.
    pub(crate) fn entry(&self, place: &str) -> Option<Kept> {
        locked(&self.inner).entries.get(place).copied()
    }

    /// The files that it lists.
    pub(crate) fn entries(&self) -> BTreeMap<String, Kept> {
        locked(&self.inner).entries.clone()
    }
}

fn overgrown(lines: u64, entries: usize) -> bool {
    lines > 2 * entries as u64 + SLACK_LINES
}

fn write_whole(root: &Path, entries: &BTreeMap<String, Kept>) -> io::Result<File> {
    let mut text = String::with_capacity(entries.len() * 96 + 64);
    line(&mut text, &format!("panscan manifest {VERSION}"));
    for (place, kept) in entries {
        put(&mut text, place, *kept);
    }
    let path = root.join(MANIFEST);
    Staged::write(&path, &[text.as_bytes()])?.rename()?;
    sync_folder(root)?;
    File::options().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(n: u64) -> Kept {
        Kept { bytes: n, mark: 0xABCD_0000 + n as u32, at: -5 }
    }

    fn places(listed: &Listed) -> Vec<&str> {
        listed.entries.keys().map(String::as_str).collect()
    }

    #[test]
    fn what_is_recorded_reads_back_also_behind_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(read(root).unwrap().shape, Shape::Absent);
        let manifest = Manifest::create(root, BTreeMap::from([("m/a".to_owned(), kept(1))])).unwrap();
        manifest.record([Change::Put("m/b".to_owned(), kept(2))]).unwrap();
        manifest.record([Change::Gone("m/a".to_owned())]).unwrap();
        assert_eq!(manifest.entry("m/b"), Some(kept(2)));
        let listed = read(root).unwrap();
        assert_eq!((places(&listed), listed.shape), (vec!["m/b"], Shape::Whole));
        assert_eq!(listed.entries["m/b"], kept(2));

        let path = root.join(MANIFEST);
        let whole = fs::read(&path).unwrap();
        for cut in 1..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let listed = read(root).unwrap();
            assert!(listed.entries.keys().all(|place| place == "m/a" || place == "m/b"), "{cut}");
            let at_a_line = whole[cut - 1] == b'\n';
            assert_eq!(listed.shape == Shape::Whole, at_a_line, "{cut}: {:?}", listed.shape);
        }
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let resumed = Manifest::resume(root, read(root).unwrap()).unwrap();
        resumed.record([Change::Put("m/c".to_owned(), kept(3))]).unwrap();
        let listed = read(root).unwrap();
        assert_eq!((places(&listed), listed.shape), (vec!["m/a", "m/b", "m/c"], Shape::Whole));
    }

    #[test]
    fn a_flipped_bit_costs_its_line_and_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let entries: BTreeMap<_, _> = (1..4).map(|n| (format!("m/{n}"), kept(n))).collect();
        Manifest::create(folder.path(), entries.clone()).unwrap();
        let path = folder.path().join(MANIFEST);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() * 8 {
            let mut bad = whole.clone();
            bad[at / 8] ^= 1 << (at % 8);
            let listed = parse(&bad);
            assert_ne!(listed.shape, Shape::Whole, "bit {at}");
            assert!(listed.entries.iter().all(|(place, kept)| entries.get(place) == Some(kept)), "bit {at}");
        }
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let mut text = String::new();
        line(&mut text, "panscan manifest 7");
        assert_eq!(parse(text.as_bytes()).shape, Shape::Other(7));
        assert_eq!(parse(b"").shape, Shape::Damaged(0));
    }

    #[test]
    fn it_is_written_again_before_it_grows_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = Manifest::create(folder.path(), BTreeMap::new()).unwrap();
        for round in 0..30 {
            manifest.record((0..500).map(|_| Change::Put("m/a".to_owned(), kept(round)))).unwrap();
        }
        let lines = fs::read_to_string(folder.path().join(MANIFEST)).unwrap().lines().count();
        assert!((1..=SLACK_LINES as usize + 8).contains(&lines), "{lines}");
        assert_eq!(read(folder.path()).unwrap().entries["m/a"], kept(29));
    }
}
