//! Page tokens: opaque to callers, bound to the method, the request and the snapshot.

use panscan_core::plan::Digest;
use panscan_core::time::Timestamp;
use prost::Message;

use crate::error::Violations;

/// Where a page starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The snapshot that the chain of pages runs on.
    pub snapshot: String,
    /// Rows of earlier pages.
    pub skip: usize,
    /// The instant that the first page showed, where the snapshot alone does not say.
    pub until: Option<Timestamp>,
}

/// Writes a token for the rows after `page.skip` of `method` called with `request`.
#[must_use]
pub fn write(method: &str, request: Digest, page: &Page) -> String {
    let until = page.until.map(|at| at.as_nanos().to_string()).unwrap_or_default();
    let body = format!("{}~{}~{request}~{until}", page.skip, page.snapshot);
    let seal = seal(method, &body);
    hex(format!("{body}~{seal}").as_bytes())
}

/// Reads a token that [`write()`] made for the same method and request.
///
/// # Errors
///
/// A violation of `page_token`, where it was made for something else or changed.
pub fn read(method: &str, request: Digest, token: &str) -> Result<Page, Violations> {
    let refused = |why: &str| Violations::of("page_token", "PAGE_TOKEN_MISMATCH", why);
    let text = unhex(token).ok_or_else(|| refused("is no page token of this service"))?;
    let (body, sealed) = text.rsplit_once('~').ok_or_else(|| refused("is no page token of this service"))?;
    if sealed != seal(method, body).to_string() {
        return Err(refused("belongs to another method or was changed; start again without it"));
    }
    let mut parts = body.split('~');
    let (skip, snapshot, made_for) = (parts.next(), parts.next(), parts.next());
    let until = parts.next().unwrap_or_default().parse().ok().map(Timestamp::from_nanos);
    if made_for != Some(request.to_string().as_str()) {
        return Err(refused(
            "belongs to another request; only page_size may differ from the call that gave it",
        ));
    }
    match (skip.and_then(|s| s.parse().ok()), snapshot) {
        (Some(skip), Some(snapshot)) => Ok(Page { snapshot: snapshot.to_owned(), skip, until }),
        _ => Err(refused("is no page token of this service")),
    }
}

/// Entries of earlier pages of a list; an empty token is the first page.
///
/// # Errors
///
/// Those of [`read`].
pub fn skip(method: &str, request: Digest, token: &str) -> Result<usize, Violations> {
    if token.is_empty() { Ok(0) } else { read(method, request, token).map(|page| page.skip) }
}

/// The token of the page after this one; empty after the last.
#[must_use]
pub fn following(method: &str, request: Digest, page: &Page, more: bool) -> String {
    if more { write(method, request, page) } else { String::new() }
}

/// What a token is bound to: the request without its paging.
#[must_use]
pub fn bound_to(bare: &impl Message) -> Digest {
    Digest::of(&hex(&bare.encode_to_vec()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Not a secret: it tells a mistake from a token, not an attacker from a caller, who could ask for any page anyway.
fn seal(method: &str, body: &str) -> Digest {
    Digest::of(&format!("{method}~{body}"))
}

fn unhex(text: &str) -> Option<String> {
    if text.len() > 1024 || !text.is_ascii() {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_serves_its_own_method_and_request_only() {
        let page = Page { snapshot: "abc-1".to_owned(), skip: 100, until: Some(Timestamp::from_seconds(7)) };
        let token = write("Scan", Digest(7), &page);
        assert_eq!(read("Scan", Digest(7), &token).unwrap(), page);
        for (method, request, token) in [
            ("Other", Digest(7), token.clone()),
            ("Scan", Digest(8), token.clone()),
            ("Scan", Digest(7), token[2..].to_owned()),
            ("Scan", Digest(7), token.replacen("31", "32", 1)),
            ("Scan", Digest(7), "zz".to_owned()),
            ("Scan", Digest(7), "é".to_owned()),
        ] {
            let error = read(method, request, &token).unwrap_err();
            assert_eq!(error.as_slice()[0].reason, "PAGE_TOKEN_MISMATCH");
        }
    }
}
