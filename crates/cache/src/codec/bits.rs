//! Numbers of equal width in few words. Value `8 * row + lane` has its bits in lane `lane`: one instruction then
//! moves eight neighbours, and the compiler needs no help to see it. Not here: which width.

use super::read::Reader;
use super::{CHUNK, Damaged};

/// Values that move together.
const LANES: usize = 8;
/// Values in a lane of a full chunk.
const ROWS: usize = CHUNK / LANES;

/// Words that a lane of `n` values of `bits` bits takes.
fn lane_words(n: usize, bits: u32) -> usize {
    (n.div_ceil(LANES) * bits as usize).div_ceil(32)
}

/// Bytes that `n` values of `bits` bits take.
pub(super) fn bytes(n: usize, bits: u32) -> usize {
    lane_words(n, bits) * LANES * 4
}

/// Appends the low `bits` bits of each value.
pub(super) fn pack(values: &[u32], bits: u32, out: &mut Vec<u8>) {
    let mut words = [[0_u32; LANES]; ROWS + 1];
    let mask = if bits == 32 { u32::MAX } else { (1 << bits) - 1 };
    for (i, value) in values.iter().enumerate().take(CHUNK) {
        let (row, lane) = (i / LANES, i % LANES);
        let at = row * bits as usize;
        let wide = u64::from(value & mask) << (at % 32);
        words[at / 32][lane] |= wide as u32;
        words[at / 32 + 1][lane] |= (wide >> 32) as u32;
    }
    for word in &words[..lane_words(values.len(), bits)] {
        word.iter().for_each(|lane| out.extend_from_slice(&lane.to_le_bytes()));
    }
}

/// Reads `n` values of `bits` bits; those beyond `n` are unspecified.
#[inline]
pub(super) fn unpack(
    reader: &mut Reader<'_>,
    n: usize,
    bits: u32,
    out: &mut [u32; CHUNK],
) -> Result<(), Damaged> {
    if bits > 32 {
        return Err(Damaged("a width is above 32"));
    }
    let packed = reader.take(bytes(n, bits))?;
    let mut words = [0_u32; CHUNK];
    for (word, bytes) in words.iter_mut().zip(packed.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    macro_rules! by_width {
        ($($bits:literal)*) => {
            match bits {
                $($bits => lanes::<$bits>(&words, out),)*
                _ => *out = words,
            }
        };
    }
    by_width!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    Ok(())
}

/// All values of one width below 32. The shifts are constants once the loop over rows is unrolled.
#[inline]
fn lanes<const BITS: usize>(words: &[u32; CHUNK], out: &mut [u32; CHUNK]) {
    let mask = (1_u32 << BITS) - 1;
    for row in 0..ROWS {
        let (at, shift) = (row * BITS / 32, row * BITS % 32);
        for lane in 0..LANES {
            let low = words[at * LANES + lane] >> shift;
            let value =
                if shift + BITS > 32 { low | words[(at + 1) * LANES + lane] << (32 - shift) } else { low };
            out[row * LANES + lane] = value & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_length_comes_back() {
        let mut random = fastrand::Rng::with_seed(1);
        for bits in 0..=32 {
            for n in [1, 7, 8, 9, 31, 32, 33, 100, 240, 255, 256] {
                let mask = if bits == 32 { u32::MAX } else { (1 << bits) - 1 };
                let values: Vec<u32> = (0..n).map(|_| random.u32(..)).collect();
                let mut packed = Vec::new();
                pack(&values, bits, &mut packed);
                assert_eq!(packed.len(), bytes(n, bits));
                let mut out = [0; CHUNK];
                unpack(&mut Reader::new(&packed), n, bits, &mut out).unwrap();
                assert!(values.iter().zip(out).all(|(v, o)| v & mask == o), "{bits} bits, {n} values");
                if !packed.is_empty() {
                    packed.pop();
                    assert!(unpack(&mut Reader::new(&packed), n, bits, &mut out).is_err());
                }
            }
        }
        assert!(unpack(&mut Reader::new(&[0; 2000]), 256, 33, &mut [0; CHUNK]).is_err());
    }
}
