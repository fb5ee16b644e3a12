//! Where the numbers of blocks and panels lie: 64-byte aligned f64, owned or mapped.

use std::fmt;
use std::sync::Arc;

/// One cache line, and one AVX-512 register, of f64.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f64; 8]);

/// An owned, 64-byte aligned run of f64. A large `Vec<f64>` starts 16 bytes off a cache line, which cost the
/// scan kernel about a quarter of its speed where it was measured.
#[derive(Clone)]
pub struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    /// `len` numbers, all `value`.
    #[must_use]
    pub fn filled(len: usize, value: f64) -> Self {
        Self { lines: vec![Line([value; 8]); len.div_ceil(8)], len }
    }

    /// The numbers.
    #[must_use]
    pub fn as_slice(&self) -> &[f64] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    /// The numbers, to be written.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [f64] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl fmt::Debug for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aligned({} f64)", self.len)
    }
}

/// Somewhere numbers lie for as long as this lives; a mapped file is one.
pub trait Slab: Send + Sync + fmt::Debug {
    /// The numbers. The same slice at every call.
    fn floats(&self) -> &[f64];

    /// Gives memory back that can be filled again from where the numbers came from; they read the same afterwards.
    fn release(&self) {}
}

impl Slab for Aligned {
    fn floats(&self) -> &[f64] {
        self.as_slice()
    }
}

/// A slab that several blocks may share.
pub type SharedSlab = Arc<dyn Slab>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_cache_line() {
        for len in [0, 1, 7, 8, 9, 1_000_003] {
            let mut slab = Aligned::filled(len, 1.5);
            assert_eq!(slab.as_slice().len(), len);
            assert_eq!(slab.as_slice().as_ptr() as usize % 64, 0);
            slab.as_mut_slice().fill(2.5);
            assert!(slab.as_slice().iter().all(|v| *v == 2.5));
        }
    }
}
