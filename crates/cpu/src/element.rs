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

struct Nulls<'a> {
    a: View<'a>,
    rows: usize,
    found: &'a mut Vec<usize>,
}

impl Kernel for Nulls<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        for i in 0..self.rows {
            let row = self.a.row(i);
            let mut sum = V::load(row, 0);
            for at in 1..EIGHTS {
                sum = sum.add(V::load(row, at));
            }
            // Nothing but a null makes a sum of what is not infinite null.
            if V::any(sum.is_nan()) {
                self.found.push(i);
            }
        }
    }
}

/// Those of the first `rows` rows of a view that hold a null.
pub(crate) fn nulls(isa: Isa, a: View<'_>, rows: usize, found: &mut Vec<usize>) {
    found.clear();
    isa.run(Nulls { a, rows, found });
}

struct Finite<'a>(&'a Row, &'a mut Row);

impl Kernel for Finite<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector, const BLOCKS: usize>(self) {
        for at in 0..EIGHTS {
            V::load(self.0, at).finite().store(self.1, at);
        }
    }
}

/// A row with null where it is not finite.
pub(crate) fn finite(isa: Isa, row: &Row, out: &mut Row) {
    isa.run(Finite(row, out));
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
