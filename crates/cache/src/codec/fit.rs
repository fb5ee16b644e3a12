//! Small whole numbers as a base, a width and a few exceptions. Not here: where the numbers come from.

use super::read::{Reader, put_signed};
use super::{CHUNK, Damaged, bits};

/// At most one value in so many is an exception: where more do not fit, a wider width is better.
const EXCEPTIONS_SHARE: usize = 4;

/// How a run of numbers is kept: `number - base` in `bits` bits, and what is above them apart for some.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    base: i32,
    bits: u32,
    /// Bytes of the upper part of an exception; 0: there is none.
    upper_bytes: usize,
    exceptions: usize,
    n: usize,
}

impl Fit {
    /// The cheapest one for these numbers.
    pub(super) fn of(numbers: &[i32]) -> Self {
        let n = numbers.len();
        let mut sorted = [0_i32; CHUNK];
        sorted[..n].copy_from_slice(numbers);
        let sorted = &mut sorted[..n];
        sorted.sort_unstable();
        let (Some(least), Some(most)) = (sorted.first().copied(), sorted.last().copied()) else {
            return Self { base: 0, bits: 0, upper_bytes: 0, exceptions: 0, n };
        };
        let range = (i64::from(most) - i64::from(least)) as u64;
        let full = 64 - range.leading_zeros();
        let mut best = Self { base: least, bits: full, upper_bytes: 0, exceptions: 0, n };
        for width in (0..full).rev() {
            let span = 1_i64 << width;
            let (mut end, mut inside, mut start) = (0, 0, 0);
            for first in 0..n {
                while end < n && i64::from(sorted[end]) - i64::from(sorted[first]) < span {
                    end += 1;
                }
                if end - first > inside {
                    (inside, start) = (end - first, first);
                }
            }
            if n - inside > n / EXCEPTIONS_SHARE {
                break;
            }
            let lowest = sorted.partition_point(|v| i64::from(*v) - i64::from(least) < span);
            for (base, inside) in [(sorted[start], inside), (least, lowest)] {
                let exceptions = n - inside;
                if exceptions > 255 {
                    continue;
                }
                let upper = |v: i32| (v.wrapping_sub(base) as u32) >> width;
                let upper_bytes = match upper(least).max(upper(most)) {
                    0 => 0,
                    1..=0xff => 1,
                    0x100..=0xffff => 2,
                    _ => 4,
                };
                let fit = Self { base, bits: width, upper_bytes, exceptions, n };
                if fit.bytes() < best.bytes() {
                    best = fit;
                }
            }
        }
        best
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        4 + bits::bytes(self.n, self.bits) + self.exceptions * (1 + self.upper_bytes)
    }

    /// Appends the numbers that it is for.
    pub(super) fn write(&self, numbers: &[i32], out: &mut Vec<u8>) {
        let code = match self.upper_bytes {
            0 => 0,
            1 => 1,
            2 => 2,
            _ => 3,
        };
        out.push(self.bits as u8 | code << 6);
        put_signed(self.base, out);
        let mut above = [0_u32; CHUNK];
        for (above, number) in above.iter_mut().zip(numbers) {
            *above = number.wrapping_sub(self.base) as u32;
        }
        let above = &above[..self.n];
        let is_exception = |u: &u32| self.bits < 32 && u >> self.bits > 0;
        if code > 0 {
            let places = above.iter().enumerate().filter(|(_, u)| is_exception(u));
            out.push(places.clone().count() as u8);
            out.extend(places.clone().map(|(i, _)| i as u8));
            for (_, u) in places {
                out.extend_from_slice(&(u >> self.bits).to_le_bytes()[..self.upper_bytes]);
            }
        }
        bits::pack(above, self.bits, out);
    }
}

/// Reads `n` numbers that [`Fit::write`] wrote.
#[inline]
pub(super) fn read(reader: &mut Reader<'_>, n: usize, out: &mut [i32; CHUNK]) -> Result<(), Damaged> {
    let head = reader.byte()?;
    let (width, code) = (u32::from(head & 0x3f), head >> 6);
    let base = reader.signed()?;
    let (places, uppers, upper_bytes) = if code > 0 {
        let count = usize::from(reader.byte()?);
        let upper_bytes = [0, 1, 2, 4][usize::from(code)];
        (reader.take(count)?, reader.take(count * upper_bytes)?, upper_bytes)
    } else {
        (&[][..], &[][..], 1)
    };
    if width >= 32 && code > 0 {
        return Err(Damaged("exceptions of the full width"));
    }
    let mut above = [0_u32; CHUNK];
    bits::unpack(reader, n, width, &mut above)?;
    for (place, upper) in places.iter().zip(uppers.chunks_exact(upper_bytes)) {
        let upper = upper.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        above[usize::from(*place)] |= upper << width;
    }
    for (out, above) in out.iter_mut().zip(&above) {
        *out = (*above as i32).wrapping_add(base);
    }
    Ok(())
}
