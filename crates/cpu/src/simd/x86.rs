//! Registers of x86-64. Private: only `Isa::run` names them, after detection.

use std::arch::x86_64::*;

use super::vector::Native;

#[derive(Clone, Copy)]
pub(super) struct Xmm(__m128d);

#[derive(Clone, Copy)]
pub(super) struct Ymm(__m256d);

#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512d);

macro_rules! instruction {
    ($call:expr) => {
        // SAFETY: values of this type are made by kernels under `Isa::run` only, which has found the
        // instruction set on this machine; loads and stores were checked to lie within their slice.
        unsafe { $call }
    };
}

macro_rules! native {
    (
        $name:ident, $lanes:literal, mask $mask:ty,
        $splat:ident $load:ident $store:ident $add:ident $sub:ident $mul:ident $div:ident $sqrt:ident,
        mul_add |$ma_a:ident, $ma_b:ident, $ma_c:ident| $mul_add:expr,
        abs |$abs_x:ident| $abs:expr,
        less |$l_a:ident, $l_b:ident| $less:expr,
        less_equal |$le_a:ident, $le_b:ident| $less_equal:expr,
        equal |$e_a:ident, $e_b:ident| $equal:expr,
        is_nan |$n_x:ident| $is_nan:expr,
        select |$s_m:ident, $s_a:ident, $s_b:ident| $select:expr,
        or |$o_a:ident, $o_b:ident| $or:expr,
        any |$y_m:ident| $any:expr $(,)?
    ) => {
        impl Native for $name {
            const LANES: usize = $lanes;
            type Mask = $mask;

            #[inline(always)]
            fn splat(value: f64) -> Self {
                Self(instruction!($splat(value)))
            }

            #[inline(always)]
            fn load(from: &[f64]) -> Self {
                let from = &from[..$lanes];
                Self(instruction!($load(from.as_ptr())))
            }

            #[inline(always)]
            fn store(self, to: &mut [f64]) {
                let to = &mut to[..$lanes];
                instruction!($store(to.as_mut_ptr(), self.0))
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self(instruction!($add(self.0, other.0)))
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self(instruction!($sub(self.0, other.0)))
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                Self(instruction!($mul(self.0, other.0)))
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                Self(instruction!($div(self.0, other.0)))
            }

            #[inline(always)]
            fn sqrt(self) -> Self {
                Self(instruction!($sqrt(self.0)))
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, term: Self) -> Self {
                let ($ma_a, $ma_b, $ma_c) = (self.0, factor.0, term.0);
                Self(instruction!($mul_add))
            }

            #[inline(always)]
            fn abs(self) -> Self {
                let $abs_x = self.0;
                Self(instruction!($abs))
            }

            #[inline(always)]
            fn less(self, other: Self) -> Self::Mask {
                let ($l_a, $l_b) = (self.0, other.0);
                instruction!($less)
            }

            #[inline(always)]
            fn less_equal(self, other: Self) -> Self::Mask {
                let ($le_a, $le_b) = (self.0, other.0);
                instruction!($less_equal)
            }

            #[inline(always)]
            fn equal(self, other: Self) -> Self::Mask {
                let ($e_a, $e_b) = (self.0, other.0);
                instruction!($equal)
            }

            #[inline(always)]
            fn is_nan(self) -> Self::Mask {
                let $n_x = self.0;
                instruction!($is_nan)
            }

            #[inline(always)]
            fn select($s_m: Self::Mask, a: Self, b: Self) -> Self {
                let ($s_a, $s_b) = (a.0, b.0);
                Self(instruction!($select))
            }

            #[inline(always)]
            fn or($o_a: Self::Mask, $o_b: Self::Mask) -> Self::Mask {
                $or
            }

            #[inline(always)]
            fn any($y_m: Self::Mask) -> bool {
                $any
            }
        }
    };
}

/// Processors of the baseline need not have the instruction: the library's function looks for it.
#[inline(always)]
unsafe fn one_by_one(a: __m128d, b: __m128d, c: __m128d) -> __m128d {
    let (mut x, mut y, mut z) = ([0.0_f64; 2], [0.0_f64; 2], [0.0_f64; 2]);
    // SAFETY: each array takes the two numbers that are stored to it or loaded from it.
    unsafe {
        _mm_storeu_pd(x.as_mut_ptr(), a);
        _mm_storeu_pd(y.as_mut_ptr(), b);
        _mm_storeu_pd(z.as_mut_ptr(), c);
        _mm_loadu_pd([x[0].mul_add(y[0], z[0]), x[1].mul_add(y[1], z[1])].as_ptr())
    }
}

native!(
    Xmm, 2, mask __m128d,
    _mm_set1_pd _mm_loadu_pd _mm_storeu_pd _mm_add_pd _mm_sub_pd _mm_mul_pd _mm_div_pd _mm_sqrt_pd,
    mul_add |a, b, c| one_by_one(a, b, c),
    abs |x| _mm_andnot_pd(_mm_set1_pd(-0.0), x),
    less |a, b| _mm_cmplt_pd(a, b),
    less_equal |a, b| _mm_cmple_pd(a, b),
    equal |a, b| _mm_cmpeq_pd(a, b),
    is_nan |x| _mm_cmpunord_pd(x, x),
    select |mask, a, b| _mm_or_pd(_mm_and_pd(mask, a), _mm_andnot_pd(mask, b)),
    or |a, b| instruction!(_mm_or_pd(a, b)),
    any |mask| instruction!(_mm_movemask_pd(mask)) != 0,
);

native!(
    Ymm, 4, mask __m256d,
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd
    _mm256_div_pd _mm256_sqrt_pd,
    mul_add |a, b, c| _mm256_fmadd_pd(a, b, c),
    abs |x| _mm256_andnot_pd(_mm256_set1_pd(-0.0), x),
    less |a, b| _mm256_cmp_pd::<_CMP_LT_OQ>(a, b),
    less_equal |a, b| _mm256_cmp_pd::<_CMP_LE_OQ>(a, b),
    equal |a, b| _mm256_cmp_pd::<_CMP_EQ_OQ>(a, b),
    is_nan |x| _mm256_cmp_pd::<_CMP_UNORD_Q>(x, x),
    select |mask, a, b| _mm256_blendv_pd(b, a, mask),
    or |a, b| instruction!(_mm256_or_pd(a, b)),
    any |mask| instruction!(_mm256_movemask_pd(mask)) != 0,
);

native!(
    Zmm, 8, mask __mmask8,
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd
    _mm512_div_pd _mm512_sqrt_pd,
    mul_add |a, b, c| _mm512_fmadd_pd(a, b, c),
    abs |x| _mm512_abs_pd(x),
    less |a, b| _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, b),
    less_equal |a, b| _mm512_cmp_pd_mask::<_CMP_LE_OQ>(a, b),
    equal |a, b| _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(a, b),
    is_nan |x| _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(x, x),
    select |mask, a, b| _mm512_mask_blend_pd(mask, b, a),
    or |a, b| a | b,
    any |mask| mask != 0,
);
