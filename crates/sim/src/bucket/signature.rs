//! Who may open the bucket: version 4 of the signature, in the `Authorization` header.
//!
//! What is checked is the whole chain from the secret to the request's method, path, query and signed headers.
//! Not here: the age of a signature, as this clock is not the caller's.

use std::fmt::Write;

use axum::http::request::Parts;
use ring::{digest, hmac};

use crate::ask::{Answer, encode, params};
use crate::config::BucketKeys;

/// Checks the signature of a request.
pub(super) fn check(keys: &BucketKeys, parts: &Parts, query: &str) -> Result<(), Answer> {
    let denied = |code: &str, message: &str| super::refusal(403, code, message);
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = Given::parse(header("authorization"))
        .ok_or_else(|| denied("AccessDenied", "The call is not signed with version 4."))?;
    if given.access != keys.access {
        return Err(denied("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist."));
    }
    let mismatch = || {
        denied(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        )
    };
    let at = header("x-amz-date");
    if !at.starts_with(given.date) || !given.signed.contains(&"host") {
        return Err(mismatch());
    }
    let mut canonical = format!("{}\n{}\n{}\n", parts.method, parts.uri.path(), canonical_query(query));
    for name in &given.signed {
        let value = if *name == "host" { super::host(parts) } else { header(name) };
        // writing to a String cannot fail
        let _ = writeln!(canonical, "{name}:{}", value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let _ = write!(canonical, "\n{}\n{}", given.signed.join(";"), header("x-amz-content-sha256"));
    let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let scope = format!("{}/{}/{}/aws4_request", given.date, given.region, given.service);
    let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{digest}");
    let mut key = format!("AWS4{}", keys.secret).into_bytes();
    for part in [given.date, given.region, given.service, "aws4_request"] {
        key = sign(&key, part.as_bytes());
    }
    if hex(&sign(&key, text.as_bytes())) == given.signature { Ok(()) } else { Err(mismatch()) }
}

/// What the header says.
struct Given<'a> {
    access: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Given<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let fields = text.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let field = |name: &str| {
            let mut parts = fields.split(',').map(str::trim);
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let mut scope = field("Credential")?.split('/');
        let (access, date, region, service) = (scope.next()?, scope.next()?, scope.next()?, scope.next()?);
        (scope.next() == Some("aws4_request")).then_some(())?;
        let signed = field("SignedHeaders")?.split(';').collect();
        Some(Self { access, date, region, service, signed, signature: field("Signature")? })
    }
}

/// The parameters, encoded anew and in order.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> =
        params(query).iter().map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn sign(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    /// The example of the signature's own documentation: a part of an object of a bucket named in the host.
    #[test]
    fn the_documented_example_passes_and_nothing_near_it() {
        let keys = BucketKeys {
            access: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        };
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let signed = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                      SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
                      Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        let request = |path: &str, authorization: &str| {
            let request = Request::get(path)
                .header("host", "examplebucket.s3.amazonaws.com")
                .header("range", "bytes=0-9")
                .header("x-amz-content-sha256", empty)
                .header("x-amz-date", "20130524T000000Z")
                .header("authorization", authorization);
            request.body(()).unwrap().into_parts().0
        };
        assert!(check(&keys, &request("/test.txt", signed), "").is_ok());
        let status = |keys: &BucketKeys, parts: &Parts| check(keys, parts, "").unwrap_err().status;
        assert_eq!(status(&keys, &request("/other.txt", signed)), 403);
        assert_eq!(status(&keys, &request("/test.txt", "Bearer key")), 403);
        let other = BucketKeys { secret: "other".to_owned(), ..keys.clone() };
        assert_eq!(status(&other, &request("/test.txt", signed)), 403);
        let unknown = BucketKeys { access: "other".to_owned(), ..keys };
        let refused = check(&unknown, &request("/test.txt", signed), "").unwrap_err();
        assert!(String::from_utf8_lossy(&refused.body).contains("InvalidAccessKeyId"));
    }
}
