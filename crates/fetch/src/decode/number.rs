//! JSON numbers, read eight digits at a time and exactly: the f64 that comes out has the bits that
//! `str::parse::<f64>` gives.

/// Powers of ten that f64 holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// The same as integers, for up to eight digits.
const SHIFTS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
/// Integers up to here are f64 exactly.
const EXACT_MAX: u64 = 1 << 53;
/// Digits that a u64 takes without overflow.
const DIGITS_MAX: usize = 19;

/// How many of the eight bytes are digits before the first that is none, and their value.
#[inline(always)]
fn eight(bytes: [u8; 8]) -> (usize, u64) {
    let raw = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    // A carry out of a byte that is no digit reaches only bytes after it, which do not matter.
    let others = (raw.wrapping_add(0x7676_7676_7676_7676) | raw) & 0x8080_8080_8080_8080;
    let count = (others.trailing_zeros() / 8) as usize;
    if count == 0 {
        return (0, 0);
    }
    // Leading zeros take the place of what follows the digits; then neighbours join pairwise.
    let digits = raw << (8 * (8 - count));
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let low = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    (count, high.wrapping_add(low) >> 32)
}

/// Digits from `at` on: their value added to `value`, how many, and where they end. `None` near the end of
/// the body or when there are too many.
#[inline(always)]
fn run(body: &[u8], mut at: usize, mut value: u64, room: usize) -> Option<(u64, usize, usize)> {
    let begin = at;
    loop {
        let bytes: [u8; 8] = body.get(at..at + 8)?.try_into().ok()?;
        let (count, part) = eight(bytes);
        at += count;
        if at - begin > room {
            return None;
        }
        value = value.wrapping_mul(SHIFTS[count]).wrapping_add(part);
        if count < 8 {
            return Some((value, at - begin, at));
        }
    }
}

/// Reads the number at `at` and returns it with the position behind it; `None` when there is none.
#[inline(always)]
pub(super) fn float(body: &[u8], at: usize) -> Option<(f64, usize)> {
    match quick(body, at) {
        Some(read) => Some(read),
        None => slow(body, at),
    }
}

/// Without a sign or exponent, and few enough digits for one correctly rounded division.
#[inline(always)]
fn quick(body: &[u8], at: usize) -> Option<(f64, usize)> {
    let (whole, digits, mut end) = run(body, at, 0, DIGITS_MAX)?;
    if digits == 0 || (digits > 1 && body[at] == b'0') {
        return None;
    }
    let mut value = whole;
    let mut scale = 0;
    if body.get(end) == Some(&b'.') {
        (value, scale, end) = run(body, end + 1, whole, DIGITS_MAX - digits)?;
        if scale == 0 {
            return None;
        }
    }
    if matches!(body.get(end), Some(b'e' | b'E')) || value > EXACT_MAX {
        return None;
    }
    let number = value as f64;
    Some((if scale == 0 { number } else { number / POWERS[scale] }, end))
}

/// By the grammar, with the standard library's own reading of the text.
#[cold]
fn slow(body: &[u8], at: usize) -> Option<(f64, usize)> {
    let end = end(body, at)?;
    let text = std::str::from_utf8(&body[at..end]).ok()?;
    Some((text.parse().ok()?, end))
}

/// Reads a whole number of milliseconds; the outer `None` means that there is no number, the inner that it is
/// not whole or too large.
#[inline(always)]
pub(super) fn stamp(body: &[u8], at: usize) -> Option<(Option<i64>, usize)> {
    if let Some((value, digits, end)) = run(body, at, 0, 18)
        && digits > 0
        && !(digits > 1 && body[at] == b'0')
        && !matches!(body.get(end), Some(b'.' | b'e' | b'E'))
    {
        return Some((i64::try_from(value).ok(), end));
    }
    let end = end(body, at)?;
    let text = std::str::from_utf8(&body[at..end]).ok()?;
    if text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        return Some((whole(text.parse().ok()?), end));
    }
    Some((text.parse().ok(), end))
}

/// Reads an integer without a sign, of up to 19 digits.
#[inline(always)]
pub(super) fn integer(body: &[u8], at: usize) -> Option<(u64, usize)> {
    if let Some((value, digits, end)) = run(body, at, 0, DIGITS_MAX) {
        return (digits > 0).then_some((value, end));
    }
    let digits = body[at.min(body.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&body[at..at + digits]).ok()?;
    Some((text.parse().ok()?, at + digits))
}

/// A float that stands for a whole number.
pub(super) fn whole(value: f64) -> Option<i64> {
    // 2^63 is exact as f64, and i64::MAX is not.
    (value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0).then_some(value as i64)
}

/// Where the number at `at` ends by the grammar of JSON.
pub(super) fn end(body: &[u8], mut at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let begin = at;
        while body.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > begin).then_some(at)
    };
    if body.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if body.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if body.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(body.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(body.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits(at)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<f64> {
        let padded = format!("{text},\"behind\":0}}");
        let (value, end) = float(padded.as_bytes(), 0)?;
        assert_eq!(end, text.len(), "{text}");
        let close = format!("{text}}}");
        assert_eq!(float(close.as_bytes(), 0).map(|(v, e)| (v.to_bits(), e)), Some((value.to_bits(), end)));
        Some(value)
    }

    #[test]
    fn reads_what_providers_send() {
        for text in [
            "0",
            "7",
            "162.25",
            "158.6074",
            "95595226.0",
            "2.384421e+06",
            "1.0E+8",
            "25933.6",
            "1651003200000",
            "0.0001",
            "9007199254740993",
            "9007199254740992",
            "123456789.123456789",
            "0.30000000000000004",
            "1e-7",
            "-0",
            "-1.5",
            "12345678",
            "123456789",
            "1234567890123456789",
            "12345678901234567890123",
            "179769313486231570000000000000000000000",
            "5e-324",
            "1e400",
            "0.00000000000000000001",
        ] {
            assert_eq!(read(text).map(f64::to_bits), Some(text.parse::<f64>().unwrap().to_bits()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in ["", "-", ".5", "1.", "1e", "1e+", "+1", "NaN", "null", "\"1\"", "1.e5"] {
            let padded = format!("{text},\"behind\":0}}");
            assert!(float(padded.as_bytes(), 0).is_none(), "{text}");
            assert!(stamp(padded.as_bytes(), 0).is_none(), "{text}");
        }
        // A leading zero ends the number, so that what follows it is refused as no separator.
        assert_eq!(float(b"0123456789,", 0), Some((0.0, 1)));
    }

    #[test]
    fn stamps_are_whole_numbers() {
        let read = |text: &str| stamp(format!("{text},        ").as_bytes(), 0).unwrap().0;
        assert_eq!(read("1651003200000"), Some(1_651_003_200_000));
        assert_eq!(read("-1"), Some(-1));
        assert_eq!(read("1.6510032e12"), Some(1_651_003_200_000));
        assert_eq!(read("1651251948294080343"), Some(1_651_251_948_294_080_343));
        assert_eq!(read("0.5"), None);
        assert_eq!(read("99999999999999999999"), None);
        assert_eq!(read("1e30"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn has_the_bits_of_the_standard_library(
            whole in 0u64.., fraction in "[0-9]{0,24}", exponent in -340i32..330, shape in 0u8..4,
        ) {
            let whole = whole >> (whole % 64);
            let text = match (shape, fraction.is_empty()) {
                (0, _) | (1, true) => whole.to_string(),
                (1, false) => format!("{whole}.{fraction}"),
                (2, false) => format!("{whole}.{fraction}e{exponent}"),
                _ => format!("{whole}E{exponent:+}"),
            };
            prop_assert_eq!(read(&text).map(f64::to_bits), Some(text.parse::<f64>().unwrap().to_bits()));
        }

        #[test]
        fn shortest_forms_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(read(&format!("{value}")).map(f64::to_bits), Some(bits));
            prop_assert_eq!(read(&format!("{value:e}")).map(f64::to_bits), Some(bits));
        }
    }
}
