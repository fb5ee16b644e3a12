//! JSON strings, and stepping over values that nobody asked for.

use std::borrow::Cow;

use super::number;

/// Nesting that is stepped over; deeper is left to the general decoder, which has its own bound.
const DEPTH_MAX: usize = 32;

/// Steps over white space.
#[inline(always)]
pub(super) fn space(body: &[u8], mut at: usize) -> usize {
    while matches!(body.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

/// Steps over white space and `wanted`; `None` when something else stands there.
#[inline(always)]
pub(super) fn expect(body: &[u8], at: usize, wanted: u8) -> Option<usize> {
    let at = if body.get(at) == Some(&wanted) { at } else { space(body, at) };
    (body.get(at) == Some(&wanted)).then_some(at + 1)
}

/// Reads the string whose opening quote is at `at`, and the position behind it.
///
/// More lenient than JSON: control characters and bytes that are not UTF-8 pass, because one ticker with
/// such a byte must not cost the rows around it.
#[inline]
pub(super) fn string(body: &[u8], at: usize) -> Option<(Cow<'_, str>, usize)> {
    if body.get(at) != Some(&b'"') {
        return None;
    }
    let begin = at + 1;
    let mut end = begin;
    loop {
        match body.get(end)? {
            b'"' => return Some((String::from_utf8_lossy(&body[begin..end]), end + 1)),
            b'\\' => return escaped(body, at),
            _ => end += 1,
        }
    }
}

#[cold]
fn escaped(body: &[u8], at: usize) -> Option<(Cow<'_, str>, usize)> {
    let mut end = at + 1;
    loop {
        match body.get(end)? {
            b'"' => break,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    let text: String = serde_json::from_slice(body.get(at..=end)?).ok()?;
    Some((Cow::Owned(text), end + 1))
}

/// The position behind the value at `at`, which may be anything.
pub(super) fn skip(body: &[u8], at: usize) -> Option<usize> {
    skip_nested(body, at, 0)
}

fn skip_nested(body: &[u8], at: usize, depth: usize) -> Option<usize> {
    if depth > DEPTH_MAX {
        return None;
    }
    let at = space(body, at);
    match body.get(at)? {
        b'"' => string(body, at).map(|(_, end)| end),
        b't' => word(body, at, b"true"),
        b'f' => word(body, at, b"false"),
        b'n' => word(body, at, b"null"),
        b'[' => {
            let mut at = space(body, at + 1);
            if body.get(at) == Some(&b']') {
                return Some(at + 1);
            }
            loop {
                at = space(body, skip_nested(body, at, depth + 1)?);
                match body.get(at)? {
                    b',' => at += 1,
                    b']' => return Some(at + 1),
                    _ => return None,
                }
            }
        }
        b'{' => {
            let mut at = space(body, at + 1);
            if body.get(at) == Some(&b'}') {
                return Some(at + 1);
            }
            loop {
                let (_, behind) = string(body, space(body, at))?;
                at = expect(body, behind, b':')?;
                at = space(body, skip_nested(body, at, depth + 1)?);
                match body.get(at)? {
                    b',' => at += 1,
                    b'}' => return Some(at + 1),
                    _ => return None,
                }
            }
        }
        _ => number::end(body, at),
    }
}

/// Steps over the literal `word`.
pub(super) fn word(body: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    body.get(at..)?.starts_with(word).then_some(at + word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_unescaped_and_bad_bytes_pass() {
        let read = |body: &'static [u8]| string(body, 0).map(|(text, end)| (text.into_owned(), end));
        assert_eq!(read(b"\"AAPL\",1"), Some(("AAPL".to_owned(), 6)));
        assert_eq!(read(br#""A\u0000\"B" "#), Some(("A\0\"B".to_owned(), 12)));
        assert_eq!(read(b"\"A\0\" "), Some(("A\0".to_owned(), 4)));
        assert_eq!(read(b"\"A\xff\" ").map(|(text, _)| text), Some("A\u{fffd}".to_owned()));
        assert_eq!(read(b"\"open"), None);
        assert_eq!(read(br#""open\"#), None);
        assert_eq!(read(br#""bad \q" "#), None);
    }

    #[test]
    fn any_value_is_stepped_over() {
        for value in ["1", "-2.5e3", "\"x\"", "true", "false", "null", "[]", "{}", "[1, [2], {\"a\": [ ]}]"] {
            let body = format!(" {value},");
            assert_eq!(skip(body.as_bytes(), 0), Some(body.len() - 1), "{value}");
        }
        for value in ["tru", "[1", "{\"a\"}", "{\"a\":1,}", "[1,]", "{a:1}", "", "}", "[1 2]"] {
            assert_eq!(skip(value.as_bytes(), 0), None, "{value}");
        }
        assert_eq!(skip("[".repeat(100_000).as_bytes(), 0), None);
    }
}
