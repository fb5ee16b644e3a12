//! Instruction sets: which ones exist, which one this machine runs, and how a kernel gets compiled for each.
//!
//! A kernel is written once over [`Vector`], eight numbers, and marked for inlining. [`Isa::run`] inlines it into a
//! function that may use one instruction set, with that set's vector. Results do not depend on the set: every
//! operation rounds once, as IEEE 754 says, multiplying and adding in one where a kernel says so and nowhere else, and
//! nothing is reordered. This is the only module with
//! unsafe code; the vectors that need an instruction set cannot be named outside of it.
#![allow(unsafe_code, reason = "instructions that were detected at run time")]

mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;

pub(crate) use vector::Vector;
use vector::Wide;

use crate::lanes::Row;

/// How wide the processor's vectors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// What every processor of the architecture has (SSE2 on x86-64, NEON on AArch64).
    Baseline,
    /// AVX2 and FMA, 256 bits.
    Avx2,
    /// AVX-512 F, DQ, VL and BW, 512 bits.
    Avx512,
}

impl Level {
    /// All of them, narrowest first.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Avx2, Self::Avx512];

    /// The widest that this machine runs.
    #[must_use]
    pub fn detect() -> Self {
        Self::ALL.into_iter().rev().find(|level| level.is_available()).unwrap_or(Self::Baseline)
    }

    /// Whether this machine runs it.
    #[must_use]
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            match self {
                Self::Baseline => true,
                Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
                Self::Avx512 => {
                    Self::Avx2.is_available()
                        && is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512vl")
                        && is_x86_feature_detected!("avx512bw")
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Baseline
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

/// Work that is compiled once per instruction set.
pub(crate) trait Kernel {
    /// Its result.
    type Output;

    /// Does the work. `BLOCKS` is how many vectors the registers hold as state without spilling; it divides 4.
    /// Must be `#[inline(always)]`, as must all it calls in a loop.
    fn run<V: Vector, const BLOCKS: usize>(self) -> Self::Output;
}

/// A level that this machine was found to run; there is no other way to get one than [`Isa::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Isa(Level);

impl Isa {
    /// `None` when the machine lacks it.
    pub(crate) fn new(level: Level) -> Option<Self> {
        level.is_available().then_some(Self(level))
    }

    /// Its level.
    pub(crate) fn level(self) -> Level {
        self.0
    }

    /// Runs a kernel with these instructions.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Baseline => baseline(kernel),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `self` comes from `Isa::new`, which found AVX2 and FMA on this machine.
            Level::Avx2 => unsafe { avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `self` comes from `Isa::new`, which found every set that `avx512` names.
            Level::Avx512 => unsafe { avx512(kernel) },
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 => baseline(kernel),
        }
    }
}

/// Asks for vectors `first..first + count` of a row that will be read soon. Only a hint: without it values are the
/// same, later.
#[inline(always)]
pub(crate) fn prefetch(row: &Row, first: usize, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in &row.as_chunks::<8>().0[first..first + count] {
        // SAFETY: a prefetch neither reads nor writes, whatever the address; this one is of a live slice.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (row, first, count);
}

#[inline(never)]
fn baseline<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    return kernel.run::<Wide<x86::Xmm, 4>, 1>();
    #[cfg(not(target_arch = "x86_64"))]
    return kernel.run::<Wide<f64, 8>, 1>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Wide<x86::Ymm, 2>, 2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512vl,avx512bw")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Wide<x86::Zmm, 1>, 4>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation on pairs of awkward numbers; booleans come out as 1 and 0.
    struct Everything(Row, Row);

    impl Kernel for Everything {
        type Output = Vec<[u64; 8]>;

        #[inline(always)]
        fn run<V: Vector, const BLOCKS: usize>(self) -> Vec<[u64; 8]> {
            assert_eq!(4 % BLOCKS, 0);
            let mut all = Vec::new();
            for at in 0..4 {
                let (a, b) = (V::load(&self.0, at), V::load(&self.1, at));
                let flag = |mask| V::select(mask, V::splat(1.0), V::splat(0.0));
                for value in [
                    a.add(b),
                    a.sub(b),
                    a.mul(b),
                    a.div(b),
                    a.mul_add(b, a),
                    b.mul_add(b, V::splat(-0.1)),
                    a.abs().sqrt(),
                    a.finite(),
                    flag(a.less(b)),
                    flag(a.less_equal(b)),
                    flag(a.equal(b)),
                    flag(a.is_nan()),
                    flag(V::or(a.is_nan(), b.less(a))),
                    V::select(a.less(b), a, b),
                    V::splat(if V::any(a.less(b)) { 1.0 } else { 0.0 }),
                    V::splat(if V::any(a.is_nan()) { 1.0 } else { 0.0 }),
                    a.each(|x| x + 1.0),
                ] {
                    let mut row: Row = [0.0; _];
                    value.store(&mut row, 3);
                    let bits = |x: &f64| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() };
                    all.push(std::array::from_fn(|i| bits(&row[24 + i])));
                }
            }
            all
        }
    }

    #[test]
    fn every_available_level_agrees_with_single_numbers_to_the_bit() {
        let awkward = [0.0, -0.0, 1.0, -2.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, 5e-324, 0.1];
        for turn in 0..awkward.len() {
            let a: Row = std::array::from_fn(|i| awkward[i % awkward.len()]);
            let b: Row = std::array::from_fn(|i| awkward[(i + i / awkward.len() + turn) % awkward.len()]);
            let expected = Everything(a, b).run::<Wide<f64, 8>, 1>();
            for level in Level::ALL {
                match Isa::new(level) {
                    Some(isa) => assert_eq!(isa.run(Everything(a, b)), expected, "{level}"),
                    None => assert!(!level.is_available()),
                }
            }
        }
    }

    #[test]
    fn the_widest_level_is_found_and_the_baseline_is_everywhere() {
        assert!(Isa::new(Level::detect()).is_some());
        assert!(Isa::new(Level::Baseline).is_some());
    }
}
