//! One request and one answer, apart from HTTP: parameters, cursors and the bodies of errors.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::market::View;

/// A request to a provider path, as far as its handlers look at it.
pub(crate) struct Ask {
    /// The path's segments, decoded.
    pub(crate) segments: Vec<String>,
    /// The query's parameters, decoded, in order.
    pub(crate) params: Vec<(String, String)>,
    /// `http://host`, as the caller named it.
    pub(crate) origin: String,
    /// Path and query as they came, without the key.
    pub(crate) target: String,
    pub(crate) request_id: String,
    pub(crate) view: View,
    /// What to put into `status` of a good answer.
    pub(crate) status: &'static str,
    /// Whether the answer is to be CSV.
    pub(crate) csv: bool,
    /// Damage that only the one who builds the rows can do.
    pub(crate) tweak: Option<crate::fault::FaultName>,
}

impl Ask {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        find(&self.params, name)
    }

    /// A parameter that is true or false.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Answer> {
        match self.param(name) {
            None | Some("") => Ok(default),
            Some("true" | "True" | "1") => Ok(true),
            Some("false" | "False" | "0") => Ok(false),
            Some(_) => Err(self.bad(&format!("Could not parse '{name}': expected true or false"))),
        }
    }

    /// A limit from a parameter, between 1 and `max`.
    pub(crate) fn limit(&self, text: Option<&str>, default: usize, max: usize) -> Result<usize, Answer> {
        let Some(text) = text else { return Ok(default) };
        text.parse()
            .ok()
            .filter(|limit| (1..=max).contains(limit))
            .ok_or_else(|| self.bad(&format!("Could not parse 'limit': expected an integer from 1 to {max}")))
    }

    /// 400 with the provider's shape.
    pub(crate) fn bad(&self, what: &str) -> Answer {
        Answer::error(400, &self.request_id, what)
    }

    /// Whether this fault was drawn; says so once, so that the one who asks does it.
    pub(crate) fn tweaked(&self, name: crate::fault::FaultName) -> bool {
        self.tweak == Some(name)
    }
}

/// The first parameter of that name.
pub(crate) fn find<'a>(params: &'a [(String, String)], name: &str) -> Option<&'a str> {
    params.iter().find(|param| param.0 == name).map(|param| param.1.as_str())
}

/// An answer before damage, compression and headers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    /// Result rows in it.
    pub(crate) rows: u64,
    pub(crate) retry_after: Option<u64>,
    /// Whether a drawn tweak was carried out.
    pub(crate) tweaked: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, content_type: "application/json", body, rows: 0, retry_after: None, tweaked: false }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, body.to_string().into_bytes())
    }

    /// The common shape of errors: `error` holds the text.
    pub(crate) fn error(status: u16, request_id: &str, text: &str) -> Self {
        Self::json(status, &json!({"status": "ERROR", "request_id": request_id, "error": text}))
    }

    /// The shape of refusals by plan: `message` holds the text.
    pub(crate) fn not_authorized(status: u16, request_id: &str, text: &str) -> Self {
        Self::json(status, &json!({"status": "NOT_AUTHORIZED", "request_id": request_id, "message": text}))
    }

    pub(crate) fn not_found(request_id: &str, text: &str) -> Self {
        Self::json(404, &json!({"status": "NOT_FOUND", "request_id": request_id, "message": text}))
    }
}

/// Undoes percent-encoding, and `+` where it means a space.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match byte {
            b'%' => {
                let mut ahead = rest.clone();
                if let (Some(high), Some(low)) = (hex(ahead.next()), hex(ahead.next())) {
                    bytes.push((high * 16 + low) as u8);
                    rest = ahead;
                } else {
                    bytes.push(byte);
                }
            }
            b'+' if plus => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes what a query value or path segment cannot hold as it is.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // writing to a String cannot fail
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Parameters of a query string.
pub(crate) fn params(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        })
        .collect()
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 without padding, safe in a URL: the dress of a cursor.
pub(crate) fn cursor(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 4 / 3 + 3);
    for chunk in text.as_bytes().chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            out.push(char::from(LETTERS[(word >> (18 - 6 * at) & 63) as usize]));
        }
    }
    out
}

/// Takes the dress off; `None` if it is no cursor.
pub(crate) fn uncursor(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        word = word << 6 | LETTERS.iter().position(|&letter| letter == byte)? as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits & 0xff) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_look_like_the_documented_one() {
        assert_eq!(cursor("limit=2&sort=asc"), "bGltaXQ9MiZzb3J0PWFzYw");
        for text in ["", "a", "ab", "abc", "ticker=BRK.B&limit=1000"] {
            assert_eq!(uncursor(&cursor(text)).as_deref(), Some(text));
        }
        assert_eq!(uncursor("not a cursor!"), None);
    }

    #[test]
    fn percent_encoding_reads_back() {
        assert_eq!(decode("BF%5EA", false), "BF^A");
        assert_eq!(decode("100%", false), "100%");
        assert_eq!(decode("%zz", false), "%zz");
        assert_eq!(decode(&encode("a b&c=d/é"), true), "a b&c=d/é");
        assert_eq!(
            params("a=1&b=x+y&c"),
            [("a", "1"), ("b", "x y"), ("c", "")].map(|(a, b)| (a.into(), b.into()))
        );
    }
}
