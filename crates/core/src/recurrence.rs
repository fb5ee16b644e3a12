//! One step of each recursive function, as every backend takes it: the same operations in the same order, so that
//! values agree to the bit. Deliberately not here: loops, warm-up counting and null handling, which each backend
//! does in its own way.
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
    e + alpha * (x - e)
}

/// What remains of a Wilder sum after one more value: (n-1)/n.
#[inline(always)]
#[must_use]
pub fn wilder_keep(n: u32) -> f64 {
    f64::from(n - 1) / f64::from(n)
}

/// The gain in a change; its loss is the gain of the negated change.
#[inline(always)]
#[must_use]
pub fn gain(change: f64) -> f64 {
    if change > 0.0 { change } else { 0.0 }
}

/// The next Wilder sum: n times Wilder's mean, which spares two operations a bar and leaves the ratio of gains to
/// losses as it is. Seeded with the sum of the first n values.
#[inline(always)]
#[must_use]
pub fn wilder_sum(sum: f64, keep: f64, x: f64) -> f64 {
    sum * keep + x
}

/// The relative strength index of two Wilder sums; 0 when both are 0. The quotient comes first, so that nothing but
/// gains is 100 exactly.
#[inline(always)]
#[must_use]
pub fn strength(gains: f64, losses: f64) -> f64 {
    let total = gains + losses;
    if total == 0.0 { 0.0 } else { 100.0 * (gains / total) }
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
        for gains in [2.0, 0.1, 0.07, 1e-300] {
            assert_eq!(strength(gains, 0.0), 100.0);
        }
        assert_eq!(strength(0.0, 2.0), 0.0);
        assert_eq!(strength(1.0, 1.0), 50.0);
    }
}
