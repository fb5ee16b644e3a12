//! The scanner of aggregates: one pass over the bytes, no tree. It gives up (`None`) on anything that is
//! not the usual shape, and then the general decoder has the say.

use super::number;
use super::text::{expect, skip, space, string, word};
use super::{Aggregates, Rows};

/// Bytes of a row in a typical page; only sizes the first allocation.
const ROW_BYTES: usize = 90;

/// Slot of the stamp, behind those of the numbers.
const STAMP: usize = 7;
/// Slot of the ticker.
const TICKER: usize = 8;
/// A key that is not read.
const UNKNOWN: usize = 9;

/// Reads a page of aggregates, if it has the usual shape.
pub(super) fn scan(body: &[u8]) -> Option<Aggregates> {
    let mut page = Aggregates::default();
    let (mut error, mut seen) = (None, 0u16);
    let mut at = expect(body, 0, b'{')?;
    loop {
        let (key, behind) = string(body, space(body, at))?;
        at = space(body, expect(body, behind, b':')?);
        let mut first = |bit: u16| {
            let fresh = seen & (1 << bit) == 0;
            seen |= 1 << bit;
            fresh.then_some(())
        };
        match key.as_ref() {
            "results" => {
                first(0)?;
                (page.rows, at) = rows(body, at)?;
                page.empty_results = page.rows.is_empty();
            }
            "ticker" => {
                first(1)?;
                (page.ticker, at) = text(body, at)?;
            }
            "status" => {
                first(2)?;
                (page.status, at) = text(body, at)?;
            }
            "next_url" => {
                first(3)?;
                (page.next_url, at) = text(body, at)?;
            }
            "message" => {
                first(4)?;
                (page.message, at) = text(body, at)?;
            }
            "error" => {
                first(5)?;
                (error, at) = text(body, at)?;
            }
            "request_id" => {
                first(6)?;
                (page.request_id, at) = text(body, at)?;
            }
            "adjusted" => {
                first(7)?;
                (page.adjusted, at) = flag(body, at)?;
            }
            "resultsCount" => {
                first(8)?;
                (page.results_count, at) = count(body, at)?;
            }
            "queryCount" => {
                first(9)?;
                (page.query_count, at) = count(body, at)?;
            }
            _ => at = skip(body, at)?,
        }
        at = space(body, at);
        match body.get(at)? {
            b',' => at += 1,
            b'}' => break,
            _ => return None,
        }
    }
    page.message = page.message.or(error);
    (space(body, at + 1) == body.len()).then_some(page)
}

fn text(body: &[u8], at: usize) -> Option<(Option<String>, usize)> {
    if let Some(end) = word(body, at, b"null") {
        return Some((None, end));
    }
    let (text, end) = string(body, at)?;
    Some((Some(text.into_owned()), end))
}

fn flag(body: &[u8], at: usize) -> Option<(Option<bool>, usize)> {
    let known = [(&b"true"[..], Some(true)), (b"false", Some(false)), (b"null", None)];
    known.into_iter().find_map(|(name, value)| word(body, at, name).map(|end| (value, end)))
}

fn count(body: &[u8], at: usize) -> Option<(Option<u64>, usize)> {
    let (value, end) = number::stamp(body, at)?;
    Some((Some(u64::try_from(value?).ok()?), end))
}

fn rows(body: &[u8], at: usize) -> Option<(Rows, usize)> {
    if let Some(end) = word(body, at, b"null") {
        return Some((Rows::default(), end));
    }
    let mut at = space(body, expect(body, at, b'[')?);
    if body.get(at) == Some(&b']') {
        return Some((Rows::default(), at + 1));
    }
    let mut rows = Rows::with_capacity((body.len() - at) / ROW_BYTES + 1);
    loop {
        at = row(body, expect(body, at, b'{')?, &mut rows)?;
        if body.get(at) == Some(&b',') {
            at += 1;
            continue;
        }
        at = space(body, at);
        match body.get(at)? {
            b',' => at += 1,
            b']' => return Some((rows, at + 1)),
            _ => return None,
        }
    }
}

/// One row, from behind its opening brace to behind its closing one.
#[inline(always)]
fn row(body: &[u8], mut at: usize, rows: &mut Rows) -> Option<usize> {
    let mut values = [f64::NAN; 7];
    let mut stamp = None;
    let mut ticker = std::borrow::Cow::Borrowed("");
    let mut seen = 0u16;
    at = space(body, at);
    if body.get(at) == Some(&b'}') {
        rows.push("", None, values);
        return Some(at + 1);
    }
    loop {
        let (slot, behind) = key(body, space(body, at))?;
        at = space(body, expect(body, behind, b':')?);
        if slot != UNKNOWN {
            if seen & (1 << slot) != 0 {
                return None;
            }
            seen |= 1 << slot;
        }
        match slot {
            STAMP => (stamp, at) = number::stamp(body, at).or_else(|| Some((None, skip(body, at)?)))?,
            TICKER => (ticker, at) = string(body, at)?,
            UNKNOWN => at = skip(body, at)?,
            _ => {
                (values[slot], at) = match number::float(body, at) {
                    Some(read) => read,
                    None => no_number(body, at)?,
                }
            }
        }
        match body.get(at)? {
            b',' => at += 1,
            b'}' => break,
            _ => {
                at = space(body, at);
                match body.get(at)? {
                    b',' => at += 1,
                    b'}' => break,
                    _ => return None,
                }
            }
        }
    }
    rows.push(&ticker, stamp, values);
    Some(at + 1)
}

/// What stands where a number belongs: null is "absent", anything else is refused with its bar.
#[cold]
fn no_number(body: &[u8], at: usize) -> Option<(f64, usize)> {
    match word(body, at, b"null") {
        Some(end) => Some((f64::NAN, end)),
        None => Some((f64::INFINITY, skip(body, at)?)),
    }
}

/// The slot of the key at `at`, and the position behind it.
#[inline(always)]
fn key(body: &[u8], at: usize) -> Option<(usize, usize)> {
    let head: &[u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
    match *head {
        [b'"', b'o', b'"', _] => Some((0, at + 3)),
        [b'"', b'h', b'"', _] => Some((1, at + 3)),
        [b'"', b'l', b'"', _] => Some((2, at + 3)),
        [b'"', b'c', b'"', _] => Some((3, at + 3)),
        [b'"', b'v', b'"', _] => Some((4, at + 3)),
        [b'"', b'v', b'w', b'"'] => Some((5, at + 4)),
        [b'"', b'n', b'"', _] => Some((6, at + 3)),
        [b'"', b't', b'"', _] => Some((STAMP, at + 3)),
        [b'"', b'T', b'"', _] => Some((TICKER, at + 3)),
        _ => {
            let (name, behind) = string(body, at)?;
            Some((slot(&name), behind))
        }
    }
}

/// The slot of a key that was written with escapes, or of one that nobody reads.
#[cold]
fn slot(name: &str) -> usize {
    match name {
        "o" => 0,
        "h" => 1,
        "l" => 2,
        "c" => 3,
        "v" => 4,
        "vw" => 5,
        "n" => 6,
        "t" => STAMP,
        "T" => TICKER,
        _ => UNKNOWN,
    }
}
