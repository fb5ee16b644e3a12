//! Element-wise kernels: the result of a row depends on that row of the inputs only.
//!
//! The values are those of [`panscan_core::scalar`]; here they are written on vectors.

use panscan_core::plan::{Binary, Unary};
use panscan_core::scalar;

use crate::lanes::{EIGHTS, Row, View};
use crate::simd::{Isa, Kernel, Vector};

/// A function of one value, known at compile time.
trait One: Copy {
    fn apply<V: Vector>(self, x: V) -> V;
}

/// A function of two values, known at compile time.
trait Two: Copy {
    fn apply<V: Vector>(self, a: V, b: V) -> V;
}

macro_rules! functions {
    ($trait:ident, $(($name:ident, |$($arg:ident),+| $body:expr)),+ $(,)?) => {$(
        #[derive(Clone, Copy)]
        struct $name;

        impl $trait for $name {
            #[inline(always)]
            fn apply<V: Vector>(self, $($arg: V),+) -> V {
                $body
            }
        }
    )+};
}

/// 1 where the flag is set, else 0.
#[inline(always)]
fn truth<V: Vector>(flag: V::Mask) -> V {
    V::select(flag, V::splat(1.0), V::splat(0.0))
}

/// The value, or null where one of the inputs is.
#[inline(always)]
fn known<V: Vector>(a: V, b: V, value: V) -> V {
    V::select(V::or(a.is_nan(), b.is_nan()), V::splat(f64::NAN), value)
}

functions!(
    One,
    (Negate, |x| x.each(|x| -x)),
    (Abs, |x| x.abs()),
    (Sign, |x| x.each(|x| scalar::unary(Unary::Sign, x))),
    (Sqrt, |x| x.sqrt().finite()),
    (Exp, |x| x.each(f64::exp).finite()),
    (Log, |x| x.each(f64::ln).finite()),
    (Floor, |x| x.each(f64::floor)),
    (Ceil, |x| x.each(f64::ceil)),
    (Not, |x| known(x, x, truth(x.equal(V::splat(0.0))))),
    (IsNull, |x| truth(x.is_nan())),
);

functions!(
    Two,
    (Add, |a, b| a.add(b).finite()),
    (Subtract, |a, b| a.sub(b).finite()),
    (Multiply, |a, b| a.mul(b).finite()),
    (Divide, |a, b| a.div(b).finite()),
    (Power, |a, b| {
        // One by one: the exponents are as different as the bases.
        let mut bases: Row = [0.0; _];
        let mut exponents: Row = [0.0; _];
        a.store(&mut bases, 0);
        b.store(&mut exponents, 0);
        for (base, exponent) in bases.iter_mut().zip(exponents).take(8) {
            *base = scalar::binary(Binary::Power, *base, exponent);
        }
        V::load(&bases, 0)
    }),
    (Less, |a, b| known(a, b, truth(a.less(b)))),
    (LessEqual, |a, b| known(a, b, truth(a.less_equal(b)))),
    (Greater, |a, b| known(a, b, truth(b.less(a)))),
    (GreaterEqual, |a, b| known(a, b, truth(b.less_equal(a)))),
    (Equal, |a, b| known(a, b, truth(a.equal(b)))),
    (NotEqual, |a, b| known(a, b, V::select(a.equal(b), V::splat(0.0), V::splat(1.0)))),
    (And, |a, b| {
        let zero = V::splat(0.0);
        V::select(V::or(a.equal(zero), b.equal(zero)), zero, known(a, b, V::splat(1.0)))
    }),
    (Or, |a, b| {
        let one = V::splat(1.0);
        V::select(V::or(a.equal(one), b.equal(one)), one, known(a, b, V::splat(0.0)))
    }),
    (Minimum, |a, b| known(a, b, V::select(b.less(a), b, a))),
    (Maximum, |a, b| known(a, b, V::select(a.less(b), b, a))),
    (Coalesce, |a, b| V::select(a.is_nan(), b, a)),
);

#[derive(Clone, Copy)]
struct Round(i32);

impl One for Round {
    #[inline(always)]
    fn apply<V: Vector>(self, x: V) -> V {
        x.each(|x| scalar::round(self.0, x))
    }
}

struct Map<'a, F> {
    f: F,
    a: View<'a>,
    out: &'a mut [Row],
}

impl<F: One> Kernel for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self { f, a, out } = self;
        for (i, out) in out.iter_mut().enumerate() {
            let a = a.row(i);
            for at in 0..EIGHTS {
                f.apply(V::load(a, at)).store(out, at);
            }
        }
    }
}

struct Zip<'a, F> {
    f: F,
    a: View<'a>,
    b: View<'a>,
    out: &'a mut [Row],
}

impl<F: Two> Kernel for Zip<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self { f, a, b, out } = self;
        for (i, out) in out.iter_mut().enumerate() {
            let (a, b) = (a.row(i), b.row(i));
            for at in 0..EIGHTS {
                f.apply(V::load(a, at), V::load(b, at)).store(out, at);
            }
        }
    }
}

struct Choose<'a> {
    condition: View<'a>,
    then: View<'a>,
    otherwise: View<'a>,
    out: &'a mut [Row],
}

impl Kernel for Choose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        let Self { condition, then, otherwise, out } = self;
        for (i, out) in out.iter_mut().enumerate() {
            let (condition, then, otherwise) = (condition.row(i), then.row(i), otherwise.row(i));
            for at in 0..EIGHTS {
                let c = V::load(condition, at);
                let (a, b) = (V::load(then, at), V::load(otherwise, at));
                known(c, c, V::select(c.equal(V::splat(0.0)), b, a)).store(out, at);
            }
        }
    }
}

struct HasNull<'a>(View<'a>, usize);

impl Kernel for HasNull<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) -> bool {
        let mut found = [V::splat(0.0); EIGHTS];
        for i in 0..self.1 {
            let row = self.0.row(i);
            for (at, found) in found.iter_mut().enumerate() {
                *found = V::select(V::load(row, at).is_nan(), V::splat(1.0), *found);
            }
        }
        let mut flags: Row = [0.0; _];
        for (at, found) in found.into_iter().enumerate() {
            found.store(&mut flags, at);
        }
        flags.iter().any(|flag| *flag != 0.0)
    }
}

/// Whether there is a null among the first `rows` rows of a view.
pub(crate) fn has_null(isa: Isa, a: View<'_>, rows: usize) -> bool {
    isa.run(HasNull(a, rows))
}

/// A function of one input, row by row.
pub(crate) fn unary(isa: Isa, op: Unary, a: View<'_>, out: &mut [Row]) {
    macro_rules! by {
        ($($name:ident)+) => {
            match op {
                $(Unary::$name => isa.run(Map { f: $name, a, out }),)+
            }
        };
    }
    by!(Negate Abs Sign Sqrt Exp Log Floor Ceil Not IsNull);
}

/// A function of two inputs, row by row.
pub(crate) fn binary(isa: Isa, op: Binary, a: View<'_>, b: View<'_>, out: &mut [Row]) {
    macro_rules! by {
        ($($name:ident)+) => {
            match op {
                $(Binary::$name => isa.run(Zip { f: $name, a, b, out }),)+
            }
        };
    }
    by!(
        Add Subtract Multiply Divide Power Less LessEqual Greater GreaterEqual Equal NotEqual And Or Minimum
        Maximum Coalesce
    );
}

/// Rounds half away from zero, row by row.
pub(crate) fn round(isa: Isa, digits: i32, a: View<'_>, out: &mut [Row]) {
    isa.run(Map { f: Round(digits), a, out });
}

/// Picks between two inputs, row by row.
pub(crate) fn choose(isa: Isa, condition: View<'_>, then: View<'_>, otherwise: View<'_>, out: &mut [Row]) {
    isa.run(Choose { condition, then, otherwise, out });
}
