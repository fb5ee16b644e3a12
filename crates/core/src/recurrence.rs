//! One step of each recursive function, as every backend takes it: the same operations in the same order, so that
//! values agree to the bit. Deliberately not here: loops, warm-up counting and null handling, which each backend
//! does in its own way.
//!
//! Multiplying and adding are one operation that rounds once: every processor of the last ten years has it, it is
//! twice as fast as the two, and where it is missing the system's library gives the same bits, slowly.
//!
//! All of them start at the first non-null input and see non-null inputs only. A seed sums its values from the
//! oldest to the newest, beginning with 0.

/// Seed of [`Ema`](crate::plan::Recursive::Ema) and [`Rma`](crate::plan::Recursive::Rma): the sum of the first n
/// values over n.
#[inline(always)]
#[must_use]
pub fn mean_seed(sum: f64, n: u32) -> f64 {
    sum / f64::from(n)
}

/// The next value of `ema` or `rma`; `alpha` is [`Recursive::alpha`](crate::plan::Recursive::alpha).
#[inline(always)]
#[must_use]
pub fn smooth(e: f64, alpha: f64, x: f64) -> f64 {
    alpha.mul_add(x - e, e)
}

/// What remains of a Wilder sum after one more value: (n-1)/n.
#[inline(always)]
#[must_use]
pub fn wilder_keep(n: u32) -> f64 {
    f64::from(n - 1) / f64::from(n)
}

/// The next Wilder sum: n times Wilder's mean, which spares operations and leaves ratios as they are. Seeded with
/// the sum of the first n values.
#[inline(always)]
#[must_use]
pub fn wilder_sum(sum: f64, keep: f64, x: f64) -> f64 {
    sum.mul_add(keep, x)
}

/// The relative strength index from the Wilder sums of the changes and of their sizes: with G and D the sums of
/// gains and losses these are G - D and G + D. 0 when nothing changed.
///
/// Rounding is monotone and symmetric, so the first sum never exceeds the second in size, and the index is within
/// 0 to 100: exactly 100 when there were only gains, exactly 0 when there were only losses.
#[inline(always)]
#[must_use]
pub fn strength(changes: f64, sizes: f64) -> f64 {
    if sizes == 0.0 { 0.0 } else { 50.0 * ((sizes + changes) / sizes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wilder_sum_is_n_times_wilders_mean() {
        let (n, keep) = (14_u32, wilder_keep(14));
        let (mut sum, mut mean) = (28.0, 2.0);
        for x in [1.0, 0.0, 3.5, 0.25, 7.0] {
            sum = wilder_sum(sum, keep, x);
            mean = (mean * 13.0 + x) / 14.0;
            assert!((sum / f64::from(n) - mean).abs() < 1e-14);
        }
    }

    #[test]
    fn strength_spans_0_to_100_and_is_0_on_flat_prices() {
        assert_eq!(strength(0.0, 0.0), 0.0);
        assert_eq!(strength(0.0, 2.0), 50.0);
        for keep in [wilder_keep(2), wilder_keep(3), wilder_keep(14)] {
            let (mut up, mut down, mut size) = (0.1, -0.1, 0.1);
            for x in [0.07, 3.3, 1e-9, 0.0, 123.456] {
                up = wilder_sum(up, keep, x);
                down = wilder_sum(down, keep, -x);
                size = wilder_sum(size, keep, x);
                assert_eq!([strength(up, size), strength(down, size)], [100.0, 0.0]);
            }
        }
    }

    #[test]
    fn strength_is_the_ratio_of_gains() {
        let keep = wilder_keep(14);
        let (mut gains, mut losses, mut changes, mut sizes) = (1.0, 2.0, -1.0, 3.0);
        for x in [1.0, -0.5, 2.25, -3.0, 0.125_f64] {
            gains = wilder_sum(gains, keep, x.max(0.0));
            losses = wilder_sum(losses, keep, (-x).max(0.0));
            changes = wilder_sum(changes, keep, x);
            sizes = wilder_sum(sizes, keep, x.abs());
            let expected = 100.0 * gains / (gains + losses);
            assert!((strength(changes, sizes) - expected).abs() < 1e-12);
        }
    }
}
