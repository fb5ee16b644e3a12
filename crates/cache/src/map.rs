//! A mapped file as a slab of core. The only unsafe code of this crate: mapping, and giving pages back. Not here: what the bytes mean.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;

use panscan_core::slab::Slab;

/// A whole file, mapped for reading.
pub(crate) struct Mapped {
    map: memmap2::Mmap,
}

impl Mapped {
    /// Maps `file` as it is now and brings its pages in.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the mapped bytes must not change while they are borrowed. Store files are written under another
        // name and only then renamed; this crate never opens a finished one for writing, and the advisory lock on
        // the store keeps other servers from doing so. Replacing, evicting or setting aside a file unlinks or
        // renames it, which leaves the mapped inode as it is.
        #[expect(unsafe_code, reason = "mapping is what makes opening a store cheap")]
        let map = unsafe { memmap2::MmapOptions::new().populate().map(file)? };
        Ok(Self { map })
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Its numbers at `range`, which must lie on a 64-byte line within it and hold whole numbers.
    pub(crate) fn into_floats(self, range: Range<usize>) -> Option<MappedFloats> {
        let bytes = self.map.get(range.clone())?;
        let aligned = bytes.as_ptr().addr().is_multiple_of(64);
        (aligned && bytemuck::try_cast_slice::<u8, f64>(bytes).is_ok())
            .then_some(MappedFloats { map: self.map, range })
    }
}

/// The numbers of a mapped file.
pub(crate) struct MappedFloats {
    map: memmap2::Mmap,
    range: Range<usize>,
}

impl Slab for MappedFloats {
    fn floats(&self) -> &[f64] {
        bytemuck::cast_slice(&self.map[self.range.clone()])
    }

    fn release(&self) {
        // SAFETY: the mapping is shared and read-only and its file is never changed (see `Mapped::new`), so a page that
        // is given back reads the same when it is touched again.
        #[expect(unsafe_code, reason = "giving pages back keeps what was only looked through out of memory")]
        let released = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        // Advice: where it is not taken, the pages stay.
        drop(released);
    }
}

impl fmt::Debug for MappedFloats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MappedFloats({} f64)", self.range.len() / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_outlive_the_file_name_and_refuse_a_crooked_range() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let numbers: Vec<f64> = (0..5000).map(f64::from).collect();
        std::fs::write(&path, bytemuck::cast_slice::<f64, u8>(&numbers)).unwrap();
        let open = || Mapped::new(&File::open(&path).unwrap()).unwrap();
        assert_eq!(open().bytes().len(), 40_000);
        for bad in [8..72, 64..65, 64..70_000, 39_999..40_000] {
            assert!(open().into_floats(bad.clone()).is_none(), "{bad:?}");
        }
        let floats = open().into_floats(64..40_000).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(floats.floats(), &numbers[8..]);
        floats.release();
        assert_eq!(floats.floats(), &numbers[8..], "also after its pages were given back");
        assert_eq!(floats.floats().as_ptr().addr() % 64, 0);
    }
}
