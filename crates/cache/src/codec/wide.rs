//! Numbers that are no ticks: differences of their bits from the number before, or the numbers as they are.

use super::read::Reader;
use super::{CHUNK, Damaged, bits};

/// Appends the numbers as differences of their bits; answers whether that is smaller than the numbers themselves,
/// and appends nothing where it is not.
pub(super) fn write(values: &[f64], width: usize, out: &mut Vec<u8>) -> bool {
    let mut steps = [0_u64; CHUNK];
    let mut all = 0;
    for (i, value) in values.iter().enumerate() {
        let before = if i < width { values[0] } else { values[i - width] };
        let step = value.to_bits().wrapping_sub(before.to_bits()) as i64;
        steps[i] = ((step << 1) ^ (step >> 63)) as u64;
        all |= steps[i];
    }
    let zeros = all.trailing_zeros().min(63);
    let bits = 64 - (all >> zeros).leading_zeros();
    let (low, high) = (bits.min(32), bits.saturating_sub(32));
    if 10 + bits::bytes(values.len(), low) + bits::bytes(values.len(), high) >= size_of_val(values) {
        return false;
    }
    out.extend_from_slice(&[zeros as u8, bits as u8]);
    out.extend_from_slice(&values[0].to_bits().to_le_bytes());
    let part = |shift: u32| -> [u32; CHUNK] { std::array::from_fn(|i| (steps[i] >> zeros >> shift) as u32) };
    bits::pack(&part(0)[..values.len()], low, out);
    bits::pack(&part(32)[..values.len()], high, out);
    true
}

/// Reads `n` numbers that [`write`] wrote.
pub(super) fn read(
    reader: &mut Reader<'_>,
    n: usize,
    width: usize,
    out: &mut [f64; CHUNK],
) -> Result<(), Damaged> {
    let [zeros, bits] = reader.array()?;
    let (zeros, bits) = (u32::from(zeros), u32::from(bits));
    if zeros > 63 || bits > 64 {
        return Err(Damaged("a width is above 64"));
    }
    let first = u64::from_le_bytes(reader.array()?);
    let (mut low, mut high) = ([0; CHUNK], [0; CHUNK]);
    bits::unpack(reader, n, bits.min(32), &mut low)?;
    bits::unpack(reader, n, bits.saturating_sub(32), &mut high)?;
    for i in 0..n {
        let step = (u64::from(low[i]) | u64::from(high[i]) << 32) << zeros;
        let before = if i < width { first } else { out[i - width].to_bits() };
        out[i] = f64::from_bits(before.wrapping_add((step >> 1) ^ (step & 1).wrapping_neg()));
    }
    Ok(())
}
