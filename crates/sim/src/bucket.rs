//! The provider's flat files: an S3-compatible bucket, path-style, on the same address as everything else.
//!
//! Here are the calls that it answers: one object or a part of it, its head, and the list of keys. What the
//! objects hold is in [`object`], who may call in [`signature`]. The bucket has no rate limit, and the audit
//! counts its calls apart.

mod object;
mod signature;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, IF_MATCH, IF_NONE_MATCH,
    LAST_MODIFIED, RANGE,
};
use axum::http::{HeaderValue, Method, StatusCode, request};
use axum::response::Response;

use self::object::{Key, Objects};
use crate::ask::{Answer, decode, find, params};
use crate::config::BucketKeys;
use crate::fault::FaultName;
use crate::http::{Shared, finish, wounded};
use crate::wire::Cut;

/// Its name, the first segment of every path.
pub const BUCKET: &str = "flatfiles";
/// Most keys of one page of a list; each of them is built for its size.
const LIST_MAX: usize = 100;

/// The bucket.
pub(crate) struct Bucket {
    keys: BucketKeys,
    objects: Objects,
}

impl Bucket {
    pub(crate) fn new(keys: BucketKeys) -> Self {
        Self { keys, objects: Objects::default() }
    }
}

/// Whether a request is for the bucket.
pub(crate) fn is_path(path: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|rest| rest.strip_prefix(BUCKET))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An error as S3 words it.
fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    Answer { content_type: "application/xml", ..Answer::new(status, body.into_bytes()) }
}

/// The answer that a fault puts in place of the real one.
fn instead(fault: FaultName) -> Option<Answer> {
    Some(match fault {
        FaultName::TooMany | FaultName::TooManyRetryAfter | FaultName::TooManyEmpty => {
            refusal(503, "SlowDown", "Please reduce your request rate.")
        }
        FaultName::ServerError => refusal(500, "InternalError", "We encountered an internal error."),
        FaultName::BadGatewayHtml => Answer {
            content_type: "text/html",
            ..Answer::new(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>".to_vec())
        },
        FaultName::Unavailable => Answer::new(503, Vec::new()),
        FaultName::GatewayTimeout => Answer::new(504, Vec::new()),
        FaultName::HtmlOk => Answer {
            content_type: "text/html",
            ..Answer::new(200, b"<html><body><h1>Scheduled maintenance</h1></body></html>".to_vec())
        },
        FaultName::NotAuthorizedOk => refusal(403, "AccessDenied", "Access Denied"),
        FaultName::KeyRevoked => {
            refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist.")
        }
        _ => return None,
    })
}

/// Answers a request for the bucket.
pub(crate) async fn serve(shared: Arc<Shared>, cut: &Cut, parts: &request::Parts, query: &str) -> Response {
    let path = parts.uri.path();
    let key: String = decode(path, false).split('/').skip(2).collect::<Vec<_>>().join("/");
    let verb = match parts.method {
        Method::GET if key.is_empty() => "list",
        Method::GET => "get",
        Method::HEAD => "head",
        _ => "other",
    };
    shared.auditor.file_call(verb);
    if let Err(refused) = signature::check(&shared.bucket.keys, parts, query) {
        shared.auditor.file_refusal();
        return finish(&shared, refused, "", None);
    }
    let fault = shared.faults.draw();
    if let Some((fault, answer)) = fault.and_then(|fault| Some((fault, instead(fault)?))) {
        shared.auditor.fault(fault.as_str());
        return finish(&shared, answer, "", None);
    }
    if fault == Some(FaultName::DropSocket) {
        shared.auditor.fault(FaultName::DropSocket.as_str());
        cut.now();
        // the connection ends at its next read; this answer is never written
        std::future::pending::<()>().await;
    }
    match verb {
        "list" => list(&shared, query).await,
        "get" | "head" => object(&shared, parts, &key, fault).await,
        _ => finish(&shared, refusal(405, "MethodNotAllowed", "only GET and HEAD are served"), "", None),
    }
}

/// The object under `key`, or the part of it that was asked for.
async fn object(
    shared: &Arc<Shared>,
    parts: &request::Parts,
    key: &str,
    fault: Option<FaultName>,
) -> Response {
    let missing = || refusal(404, "NoSuchKey", "The specified key does not exist.");
    let Some(key) = Key::parse(key) else { return finish(shared, missing(), "", None) };
    let built = {
        let shared = Arc::clone(shared);
        tokio::task::spawn_blocking(move || shared.bucket.objects.get(&shared.view(false), key)).await
    };
    let Ok(Some(object)) = built else { return finish(shared, missing(), "", None) };
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let names = |text: &str| text == "*" || text.split(',').any(|tag| tag.trim() == object.etag);
    if header(IF_MATCH).is_some_and(|text| !names(text)) {
        let answer = refusal(412, "PreconditionFailed", "At least one of the pre-conditions did not hold");
        return finish(shared, answer, "", None);
    }
    let (status, range) = match header(IF_NONE_MATCH).is_some_and(names) {
        true => (304, 0..0),
        false => match header(RANGE).map(|text| span(text, object.body.len())) {
            None => (200, 0..object.body.len()),
            Some(Some(range)) => (206, range),
            Some(None) => {
                let answer = refusal(416, "InvalidRange", "The requested range is not satisfiable");
                return finish(shared, answer, "", None);
            }
        },
    };
    let whole = object.body.len();
    let mut response = if parts.method == Method::HEAD || status == 304 {
        let mut response = Response::new(Body::empty());
        if status != 304 {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(range.len()));
        }
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        response
    } else {
        let mut bytes = object.body.slice(range.clone()).to_vec();
        shared.auditor.file_bytes(bytes.len() as u64);
        if fault == Some(FaultName::BadGzip) {
            shared.auditor.fault(FaultName::BadGzip.as_str());
            let half = bytes.len() / 2;
            bytes[half..].iter_mut().step_by(3).for_each(|byte| *byte ^= 0x5a);
        }
        let answer = Answer { content_type: "application/gzip", ..Answer::new(status, bytes) };
        wounded(shared, answer, None, "", fault).await
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == 206 {
        let text = format!("bytes {}-{}/{whole}", range.start, range.end.saturating_sub(1));
        headers.extend(HeaderValue::from_str(&text).map(|value| (CONTENT_RANGE, value)));
    }
    headers.extend(HeaderValue::from_str(&object.etag).map(|value| (ETAG, value)));
    headers.extend(HeaderValue::from_str(&object.modified).map(|value| (LAST_MODIFIED, value)));
    response
}

/// The one span of a `Range` header within `len` bytes; `None` where it cannot be satisfied.
fn span(text: &str, len: usize) -> Option<std::ops::Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => first..last.checked_add(1)?.min(len),
        (Ok(first), Err(_)) if last.is_empty() => first..len,
        (Err(_), Ok(tail)) if first.is_empty() => len.saturating_sub(tail)..len,
        _ => return None,
    };
    (range.start < range.end).then_some(range)
}

/// The keys that begin with the prefix, as the second version of the listing has them.
async fn list(shared: &Arc<Shared>, query: &str) -> Response {
    let params = params(query);
    let prefix = find(&params, "prefix").unwrap_or_default().to_owned();
    let after = find(&params, "continuation-token").or_else(|| find(&params, "start-after"));
    let after = after.unwrap_or_default().to_owned();
    let max = find(&params, "max-keys").and_then(|text| text.parse().ok()).unwrap_or(LIST_MAX).min(LIST_MAX);
    let built = {
        let shared = Arc::clone(shared);
        let prefix = prefix.clone();
        tokio::task::spawn_blocking(move || {
            let view = shared.view(false);
            let keys: Vec<Key> = Key::all(&view)
                .filter(|key| {
                    let text = key.to_string();
                    text.starts_with(&prefix) && text > after
                })
                .take(max + 1)
                .collect();
            let more = keys.len() > max;
            let shown = keys.into_iter().take(max);
            let objects: Vec<_> =
                shown.filter_map(|key| Some((key, shared.bucket.objects.get(&view, key)?))).collect();
            (objects, more)
        })
        .await
    };
    let Ok((objects, more)) = built else {
        return finish(shared, refusal(500, "InternalError", "the simulator failed"), "", None);
    };
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><Name>{BUCKET}</Name><Prefix>{}</Prefix>\
         <KeyCount>{}</KeyCount><MaxKeys>{max}</MaxKeys><IsTruncated>{more}</IsTruncated>",
        prefix.replace(['<', '>', '&'], ""),
        objects.len()
    );
    if let (true, Some((key, _))) = (more, objects.last()) {
        text.push_str(&format!("<NextContinuationToken>{key}</NextContinuationToken>"));
    }
    for (key, object) in &objects {
        text.push_str(&format!(
            "<Contents><Key>{key}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            object.published,
            object.etag.replace('"', "&quot;"),
            object.body.len()
        ));
    }
    text.push_str("</ListBucketResult>");
    let answer = Answer { content_type: "application/xml", ..Answer::new(200, text.into_bytes()) };
    finish(shared, answer, "", None)
}

/// The host as the caller named it; part of what it signed.
fn host(parts: &request::Parts) -> &str {
    parts.headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
