//! Ticks: how a whole number stands for an f64. Not here: how whole numbers become few bits.

use super::read::{Reader, put_varint};
use super::{CHUNK, Damaged};

/// Whole numbers stay below this, so that sums and differences of two fit.
const WHOLE_MAX: f64 = (1_u32 << 30) as f64;
/// Adding and taking away this rounds a number of that size to a whole one.
const ROUNDING: f64 = 6_755_399_441_055_744.0;
const TENS: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
const TENTHS: [f64; 7] = [1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6];

/// What a whole number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// `n / 10^k`: what a decimal of `k` places parses to.
    Decimal(u8),
    /// `n / 10^k` that went through f32 and was written with six decimals.
    Narrowed(u8),
    /// `n / 10^k` that went through f32.
    Widened(u8),
    /// `n * m`.
    Multiple(u32),
    /// The f32 with the bits `n`.
    Single,
}

impl Scale {
    /// The number that `n` stands for.
    #[inline]
    fn value(self, n: i32) -> f64 {
        let whole = f64::from(n);
        match self {
            Self::Decimal(k) => whole / TENS[usize::from(k)],
            Self::Narrowed(k) => narrowed(whole, TENTHS[usize::from(k)]),
            Self::Widened(k) => f64::from((whole / TENS[usize::from(k)]) as f32),
            Self::Multiple(m) => whole * f64::from(m),
            Self::Single => f64::from(f32::from_bits(n as u32)),
        }
    }

    /// The whole number nearest to `value` in this scale; `None` where there is none of a usable size.
    pub(super) fn nearest(self, value: f64) -> Option<i32> {
        let whole = match self {
            Self::Decimal(k) | Self::Narrowed(k) | Self::Widened(k) => value * TENS[usize::from(k)],
            Self::Multiple(m) => value / f64::from(m),
            Self::Single => return (!value.is_nan()).then_some((value as f32).to_bits() as i32),
        };
        (whole.abs() < WHOLE_MAX).then_some(((whole + ROUNDING) - ROUNDING) as i32)
    }

    /// The whole number that stands for `value` to the bit.
    pub(super) fn exact(self, value: f64) -> Option<i32> {
        self.nearest(value).filter(|n| self.value(*n).to_bits() == value.to_bits())
    }

    /// Puts the numbers in place of the whole ones.
    #[inline]
    pub(super) fn apply(self, whole: &[i32; CHUNK], out: &mut [f64; CHUNK]) {
        match self {
            Self::Decimal(0) | Self::Multiple(1) => each(whole, out, f64::from),
            Self::Decimal(k) => {
                let tens = TENS[usize::from(k)];
                each(whole, out, |n| f64::from(n) / tens);
            }
            Self::Narrowed(k) => {
                let tenth = TENTHS[usize::from(k)];
                each(whole, out, |n| narrowed(f64::from(n), tenth));
            }
            Self::Widened(k) => {
                let tens = TENS[usize::from(k)];
                each(whole, out, |n| f64::from((f64::from(n) / tens) as f32));
            }
            Self::Multiple(m) => {
                let m = f64::from(m);
                each(whole, out, |n| f64::from(n) * m);
            }
            Self::Single => each(whole, out, |n| f64::from(f32::from_bits(n as u32))),
        }
    }

    /// How many decimals a tick has.
    pub(super) fn decimals(self) -> Option<u8> {
        match self {
            Self::Decimal(k) | Self::Narrowed(k) | Self::Widened(k) => Some(k),
            Self::Multiple(_) | Self::Single => None,
        }
    }

    /// Bits that a whole number of this scale needs more than one of whole cents, for a first guess.
    pub(super) fn extra_bits(self) -> usize {
        match self {
            Self::Decimal(k) | Self::Narrowed(k) | Self::Widened(k) => {
                usize::from(k.saturating_sub(2)) * 10 / 3
            }
            Self::Multiple(_) => 0,
            Self::Single => 12,
        }
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Decimal(k) => out.push(k),
            Self::Narrowed(k) => out.push(0x10 | k),
            Self::Widened(k) => out.push(0x20 | k),
            Self::Multiple(m) => {
                out.push(0x30);
                put_varint(u64::from(m), out);
            }
            Self::Single => out.push(0x40),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let byte = reader.byte()?;
        let k = byte & 0xf;
        match byte >> 4 {
            0..=2 if usize::from(k) >= TENS.len() => Err(Damaged("a tick is too small")),
            0 => Ok(Self::Decimal(k)),
            1 => Ok(Self::Narrowed(k)),
            2 => Ok(Self::Widened(k)),
            3 if k == 0 => {
                let m = u32::try_from(reader.varint()?).map_err(|_| Damaged("a tick is too large"))?;
                Ok(Self::Multiple(m))
            }
            4 if k == 0 => Ok(Self::Single),
            _ => Err(Damaged("a tick of a kind that does not exist")),
        }
    }
}

#[inline]
fn narrowed(whole: f64, tenth: f64) -> f64 {
    let single = f64::from((whole * tenth) as f32);
    ((single * 1e6 + ROUNDING) - ROUNDING) / 1e6
}

#[inline]
fn each(whole: &[i32; CHUNK], out: &mut [f64; CHUNK], value: impl Fn(i32) -> f64) {
    for (out, n) in out.iter_mut().zip(whole) {
        *out = value(*n);
    }
}

/// The largest whole number that divides every value, as far as they are whole.
pub(super) fn common_factor(values: &[f64]) -> Option<u32> {
    let mut factor = 0_u64;
    for value in values {
        if *value >= 0.0 && *value < 9e15 && value.fract() == 0.0 {
            let (mut a, mut b) = (factor, *value as u64);
            while b != 0 {
                (a, b) = (b, a % b);
            }
            factor = a;
        }
    }
    u32::try_from(factor).ok().filter(|f| *f > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_and_a_single_number_agree() {
        let scales = [0, 2, 4, 6]
            .into_iter()
            .flat_map(|k| [Scale::Decimal(k), Scale::Narrowed(k), Scale::Widened(k)])
            .chain([Scale::Multiple(1), Scale::Multiple(100), Scale::Single]);
        let mut random = fastrand::Rng::with_seed(3);
        for scale in scales {
            let whole: [i32; CHUNK] = std::array::from_fn(|_| random.i32(-(1 << 30)..1 << 30));
            let mut out = [0.0; CHUNK];
            scale.apply(&whole, &mut out);
            for (n, value) in whole.into_iter().zip(out) {
                assert_eq!(scale.value(n).to_bits(), value.to_bits(), "{scale:?} {n}");
            }
            let mut bytes = Vec::new();
            scale.write(&mut bytes);
            assert_eq!(Scale::read(&mut Reader::new(&bytes)), Ok(scale));
        }
    }

    #[test]
    fn cents_that_went_through_a_narrow_number_are_cents() {
        assert_eq!(Scale::Narrowed(2).exact(41.060001), Some(4106));
        assert_eq!(Scale::Narrowed(2).exact(41.06), None);
        assert_eq!(Scale::Decimal(2).exact(41.06), Some(4106));
        assert_eq!(Scale::Widened(2).exact(f64::from(41.06_f32)), Some(4106));
        assert_eq!(Scale::Decimal(2).exact(-0.0), None);
        assert_eq!(Scale::Decimal(2).exact(f64::NAN), None);
        assert_eq!(common_factor(&[500.0, 0.0, 1200.0, 0.5]), Some(100));
        assert_eq!(common_factor(&[0.0]), None);
    }
}
