//! How numbers are spelled in a body: the ways the real provider is known to, each reading back to the same
//! f64.

use std::io::Write;

/// Largest integer that every f64 below is exact for.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The spelling of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// `12`, `12.5`.
    Plain,
    /// Whole numbers as `12.0`.
    Point,
    /// Numbers from a million on as `1.25e+06`.
    Exponent,
}

impl Spelling {
    /// Of a volume, from a few random bits.
    pub(crate) fn of_volume(bits: u64) -> Self {
        match bits & 15 {
            0 | 1 => Self::Point,
            2 => Self::Exponent,
            _ => Self::Plain,
        }
    }

    /// Of a price, from a few random bits.
    pub(crate) fn of_price(bits: u64) -> Self {
        if bits & 3 == 0 { Self::Point } else { Self::Plain }
    }
}

/// Appends the integer.
pub(crate) fn integer(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a finite number.
pub(crate) fn number(out: &mut Vec<u8>, x: f64, spelling: Spelling) {
    let size = x.abs();
    if spelling == Spelling::Exponent && (1.0e6..1.0e300).contains(&size) {
        let text = format!("{x:e}");
        if let Some((digits, power)) = text.split_once('e') {
            out.extend_from_slice(digits.as_bytes());
            out.extend_from_slice(b"e+");
            if power.len() < 2 {
                out.push(b'0');
            }
            out.extend_from_slice(power.as_bytes());
            return;
        }
    }
    if size < EXACT && x.fract() == 0.0 {
        integer(out, x as i64);
        if spelling == Spelling::Point {
            out.extend_from_slice(b".0");
        }
        return;
    }
    // k/100 and k/10000 with k exact are the f64 nearest to that decimal, so the decimal reads back to them
    if scaled(out, x, 100.0, 2) || scaled(out, x, 10_000.0, 4) {
        return;
    }
    // writing to a Vec cannot fail
    let _ = if size < 1.0e-5 { write!(out, "{x:e}") } else { write!(out, "{x}") };
}

fn scaled(out: &mut Vec<u8>, x: f64, scale: f64, places: usize) -> bool {
    let units = (x * scale).round();
    if units.abs() >= EXACT || units / scale != x {
        return false;
    }
    let (units, scale) = (units.abs() as u64, scale as u64);
    if x < 0.0 {
        out.push(b'-');
    }
    integer(out, (units / scale) as i64);
    out.push(b'.');
    let mut rest = units % scale;
    let start = out.len();
    for place in (0..places).rev() {
        let unit = 10_u64.pow(place as u32);
        out.push(b'0' + (rest / unit) as u8);
        rest %= unit;
    }
    while out.len() > start + 1 && out.last() == Some(&b'0') {
        out.pop();
    }
    true
}

/// Appends a JSON string.
pub(crate) fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn spelled(x: f64, spelling: Spelling) -> String {
        let mut out = Vec::new();
        number(&mut out, x, spelling);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn spellings() {
        assert_eq!(spelled(12.0, Spelling::Plain), "12");
        assert_eq!(spelled(12.0, Spelling::Point), "12.0");
        assert_eq!(spelled(12.5, Spelling::Point), "12.5");
        assert_eq!(spelled(2_384_421.0, Spelling::Exponent), "2.384421e+06");
        assert_eq!(spelled(1.0e8, Spelling::Exponent), "1e+08");
        assert_eq!(spelled(12.0, Spelling::Exponent), "12");
        assert_eq!(spelled(158.6074, Spelling::Plain), "158.6074");
        assert_eq!(spelled(0.05, Spelling::Plain), "0.05");
        assert_eq!(spelled(-0.25, Spelling::Plain), "-0.25");
    }

    #[test]
    fn every_number_reads_back_to_the_same_bits() {
        let mut rng = Rng::new(1, 1);
        for _ in 0..200_000 {
            let x = match rng.below(5) {
                0 => rng.below(10_000_000) as f64 / 100.0,
                1 => rng.below(10_000_000_000) as f64 / 10_000.0,
                2 => rng.unit() * 1.0e9,
                3 => f64::from_bits(rng.bits()),
                _ => rng.below(1 << 60) as f64,
            };
            if !x.is_finite() {
                continue;
            }
            for spelling in [Spelling::Plain, Spelling::Point, Spelling::Exponent] {
                let text = spelled(x, spelling);
                assert_eq!(text.parse::<f64>().unwrap(), x, "{text}");
                assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
            }
        }
    }
}
