//! Eight numbers as every kernel sees them, made of whatever registers an instruction set has.

use crate::lanes::Row;

/// Eight numbers. Comparisons with NaN are false.
pub(crate) trait Vector: Copy {
    /// One flag per number.
    type Mask: Copy;

    fn splat(value: f64) -> Self;
    /// Numbers `8 * at` to `8 * at + 7` of a row.
    fn load(row: &Row, at: usize) -> Self;
    fn store(self, row: &mut Row, at: usize);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `self * factor + term`, rounded once.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn less(self, other: Self) -> Self::Mask;
    fn less_equal(self, other: Self) -> Self::Mask;
    fn equal(self, other: Self) -> Self::Mask;
    fn is_nan(self) -> Self::Mask;
    /// `a` where the flag is set, else `b`.
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self;
    fn or(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// Whether a flag is set.
    fn any(mask: Self::Mask) -> bool;

    /// The values, or null where they are not finite.
    #[inline(always)]
    fn finite(self) -> Self {
        Self::select(self.abs().less(Self::splat(f64::INFINITY)), self, Self::splat(f64::NAN))
    }

    /// A function that has no vector form, number by number.
    #[inline(always)]
    fn each(self, f: impl Fn(f64) -> f64) -> Self {
        let mut row: Row = [0.0; _];
        self.store(&mut row, 0);
        for value in &mut row[..8] {
            *value = f(*value);
        }
        Self::load(&row, 0)
    }
}

/// A register's worth of numbers.
pub(super) trait Native: Copy {
    const LANES: usize;
    type Mask: Copy;

    fn splat(value: f64) -> Self;
    fn load(from: &[f64]) -> Self;
    fn store(self, to: &mut [f64]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn mul_add(self, factor: Self, term: Self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn less(self, other: Self) -> Self::Mask;
    fn less_equal(self, other: Self) -> Self::Mask;
    fn equal(self, other: Self) -> Self::Mask;
    fn is_nan(self) -> Self::Mask;
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self;
    fn or(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    fn any(mask: Self::Mask) -> bool;
}

/// `K` registers side by side that make eight numbers.
#[derive(Clone, Copy)]
pub(super) struct Wide<N, const K: usize>([N; K]);

macro_rules! wide {
    (unary $($name:ident)+) => {$(
        #[inline(always)]
        fn $name(self) -> Self {
            let mut out = self.0;
            for out in &mut out {
                *out = out.$name();
            }
            Self(out)
        }
    )+};
    (binary $($name:ident)+) => {$(
        #[inline(always)]
        fn $name(self, other: Self) -> Self {
            let mut out = self.0;
            for (out, other) in out.iter_mut().zip(other.0) {
                *out = out.$name(other);
            }
            Self(out)
        }
    )+};
    (compare $($name:ident)+) => {$(
        #[inline(always)]
        fn $name(self, other: Self) -> Self::Mask {
            let mut out = [self.0[0].$name(other.0[0]); K];
            for (out, (a, b)) in out.iter_mut().zip(self.0.into_iter().zip(other.0)) {
                *out = a.$name(b);
            }
            out
        }
    )+};
}

impl<N: Native, const K: usize> Vector for Wide<N, K> {
    type Mask = [N::Mask; K];

    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self([N::splat(value); K])
    }

    #[inline(always)]
    fn load(row: &Row, at: usize) -> Self {
        let eight = &row[at * 8..at * 8 + 8];
        let mut out = [N::load(eight); K];
        for (i, out) in out.iter_mut().enumerate() {
            *out = N::load(&eight[i * N::LANES..]);
        }
        Self(out)
    }

    #[inline(always)]
    fn store(self, row: &mut Row, at: usize) {
        let eight = &mut row[at * 8..at * 8 + 8];
        for (i, native) in self.0.into_iter().enumerate() {
            native.store(&mut eight[i * N::LANES..]);
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        let mut out = self.0;
        for (out, (factor, term)) in out.iter_mut().zip(factor.0.into_iter().zip(term.0)) {
            *out = out.mul_add(factor, term);
        }
        Self(out)
    }

    wide!(unary sqrt abs);
    wide!(binary add sub mul div);
    wide!(compare less less_equal equal);

    #[inline(always)]
    fn is_nan(self) -> Self::Mask {
        self.0.map(N::is_nan)
    }

    #[inline(always)]
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self {
        let mut out = b.0;
        for (out, (mask, a)) in out.iter_mut().zip(mask.into_iter().zip(a.0)) {
            *out = N::select(mask, a, *out);
        }
        Self(out)
    }

    #[inline(always)]
    fn or(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        let mut out = a;
        for (out, b) in out.iter_mut().zip(b) {
            *out = N::or(*out, b);
        }
        out
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        let mut all = mask[0];
        for one in mask {
            all = N::or(all, one);
        }
        N::any(all)
    }
}

/// One number: the vector of architectures that have none here, and what the others are tested against.
#[cfg(any(test, not(target_arch = "x86_64")))]
impl Native for f64 {
    const LANES: usize = 1;
    type Mask = bool;

    #[inline(always)]
    fn splat(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn load(from: &[f64]) -> Self {
        from[0]
    }

    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        to[0] = self;
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self - other
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self * other
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self / other
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        f64::mul_add(self, factor, term)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        f64::abs(self)
    }

    #[inline(always)]
    fn less(self, other: Self) -> bool {
        self < other
    }

    #[inline(always)]
    fn less_equal(self, other: Self) -> bool {
        self <= other
    }

    #[inline(always)]
    fn equal(self, other: Self) -> bool {
        self == other
    }

    #[inline(always)]
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }

    #[inline(always)]
    fn select(mask: bool, a: Self, b: Self) -> Self {
        if mask { a } else { b }
    }

    #[inline(always)]
    fn or(a: bool, b: bool) -> bool {
        a | b
    }

    #[inline(always)]
    fn any(mask: bool) -> bool {
        mask
    }
}
