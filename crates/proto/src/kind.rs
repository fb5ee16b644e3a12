//! Errors on the wire: the one map between [`Kind`] and gRPC codes, and `google.rpc.Status` with its details in
//! both directions.
//!
//! Details travel in one HTTP/2 header, whose size peers bound (Python's default is 8 KiB for all of them), so
//! they are cut to [`DETAILS_BYTES_MAX`]; what was left out is counted in the `ErrorInfo`.

use std::time::Duration;

use panscan_core::Kind;
use prost::Message;
use prost_types::Any;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::pb::{self, bad_request, precondition_failure, quota_failure};

use crate::convert::expression::ExpressionFault;
use crate::convert::{read_duration, wire_duration};
use crate::error::{Violation, Violations};
use crate::v1;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "panscan";
/// Bytes of a status's details at most, before base64.
pub const DETAILS_BYTES_MAX: usize = 4096;
/// Bytes of a status's message at most.
pub const MESSAGE_BYTES_MAX: usize = 1024;
/// Trailer that tells a gRPC client how long to wait before it tries again, in milliseconds.
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";

const TYPE_PREFIX: &str = "type.googleapis.com/";
const OMITTED: &str = "omitted_details";

/// The gRPC code of a kind.
#[must_use]
pub fn code(kind: Kind) -> Code {
    match kind {
        Kind::BadRequest => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::Conflict => Code::Aborted,
        Kind::Precondition => Code::FailedPrecondition,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Busy => Code::ResourceExhausted,
        Kind::Timeout => Code::DeadlineExceeded,
        Kind::Cancelled => Code::Cancelled,
        Kind::Upstream => Code::Unavailable,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Denied => Code::PermissionDenied,
        Kind::Unimplemented => Code::Unimplemented,
        // `Device` is answered by another backend where there is one; what arrives here is a failure.
        _ => Code::Internal,
    }
}

/// The kind of a gRPC code, as a client sees it; `None` for OK.
#[must_use]
pub fn kind(code: Code) -> Option<Kind> {
    Some(match code {
        Code::Ok => return None,
        Code::InvalidArgument => Kind::BadRequest,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::FailedPrecondition => Kind::Precondition,
        Code::Aborted => Kind::Conflict,
        Code::OutOfRange => Kind::OutOfRange,
        Code::ResourceExhausted => Kind::Busy,
        Code::DeadlineExceeded => Kind::Timeout,
        Code::Cancelled => Kind::Cancelled,
        Code::Unavailable => Kind::Upstream,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::Denied,
        Code::Unimplemented => Kind::Unimplemented,
        Code::Internal | Code::Unknown | Code::DataLoss => Kind::Internal,
    })
}

/// A quota that is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Whose, e.g. `key:desk` or `server`.
    pub subject: String,
    /// Which, and what would help.
    pub message: String,
}

/// A state that does not allow the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// Stable upper-case word, e.g. `SNAPSHOT_EXPIRED`.
    pub word: String,
    /// What it is about, e.g. `snapshots/abc`.
    pub subject: String,
    /// What would help.
    pub message: String,
}

/// A named thing that the error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its type, e.g. `panscan.v1.Symbol`.
    pub r#type: String,
    /// Its name, e.g. `universes/tech`.
    pub name: String,
    /// What happened to it.
    pub message: String,
}

/// What a status says besides code and message.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details {
    /// Fields that are wrong.
    pub violations: Vec<Violation>,
    /// Expressions that are wrong, with their positions.
    pub expressions: Vec<ExpressionFault>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// Quotas that are used up.
    pub quotas: Vec<Quota>,
    /// States that do not allow the call.
    pub preconditions: Vec<Precondition>,
    /// The thing it is about.
    pub resource: Option<Resource>,
}

impl Details {
    /// With a time to come back after.
    #[must_use]
    pub fn retry_after(wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::default() }
    }

    /// About a named thing.
    #[must_use]
    pub fn resource(r#type: &str, name: impl Into<String>, message: impl Into<String>) -> Self {
        let resource = Resource { r#type: r#type.to_owned(), name: name.into(), message: message.into() };
        Self { resource: Some(resource), ..Self::default() }
    }
}

/// A status with its details. `reason` is the stable upper-case word.
///
/// With a time to come back after, the trailer [`PUSHBACK`] is set too.
#[must_use]
pub fn status(kind: Kind, reason: &str, message: impl Into<String>, details: Details) -> Status {
    let code = code(kind);
    let message = cut(message.into(), MESSAGE_BYTES_MAX);
    let mut status = Status::with_details(code, &message, encode(code, reason, &message, &details).into());
    if let Some(wait) = details.retry_after {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        status.metadata_mut().insert(PUSHBACK, MetadataValue::from(millis));
    }
    status
}

impl From<Violations> for Status {
    fn from(violations: Violations) -> Self {
        let reason = violations.reason().to_owned();
        let details = Details { violations: violations.as_slice().to_vec(), ..Details::default() };
        status(Kind::BadRequest, &reason, violations.to_string(), details)
    }
}

impl From<crate::Error> for Status {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Request(violations) => violations.into(),
            malformed => status(malformed.kind(), "INTERNAL", malformed.to_string(), Details::default()),
        }
    }
}

/// A status as the other side meant it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What to do about it.
    pub kind: Kind,
    /// The stable word; empty where the status did not come from panscan.
    pub reason: String,
    /// In words.
    pub message: String,
    /// The rest.
    pub details: Details,
    /// The server forbids another try: its trailer [`PUSHBACK`] is no number of milliseconds.
    pub forbids_retry: bool,
}

/// Reads a status and its details. What cannot be read is left out: an error about an error helps nobody.
#[must_use]
pub fn read(status: &Status) -> Told {
    let mut told = Told {
        kind: kind(status.code()).unwrap_or(Kind::Internal),
        reason: String::new(),
        message: status.message().to_owned(),
        details: Details::default(),
        forbids_retry: false,
    };
    let details = &mut told.details;
    for any in pb::Status::decode(status.details()).map(|s| s.details).unwrap_or_default() {
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        let bytes = any.value.as_slice();
        match name {
            "google.rpc.ErrorInfo" => {
                if let Ok(info) = pb::ErrorInfo::decode(bytes)
                    && info.domain == DOMAIN
                {
                    told.reason = info.reason;
                }
            }
            "google.rpc.BadRequest" => {
                let found = pb::BadRequest::decode(bytes).map(|b| b.field_violations).unwrap_or_default();
                details.violations.extend(found.into_iter().map(|v| Violation {
                    field: v.field,
                    reason: v.reason,
                    message: v.description,
                }));
            }
            "google.rpc.RetryInfo" => {
                let delay = pb::RetryInfo::decode(bytes).ok().and_then(|r| r.retry_delay);
                details.retry_after = delay.and_then(|d| read_duration(&d));
            }
            "google.rpc.QuotaFailure" => {
                let found = pb::QuotaFailure::decode(bytes).map(|q| q.violations).unwrap_or_default();
                let quota =
                    |v: quota_failure::Violation| Quota { subject: v.subject, message: v.description };
                details.quotas.extend(found.into_iter().map(quota));
            }
            "google.rpc.PreconditionFailure" => {
                let found = pb::PreconditionFailure::decode(bytes).map(|p| p.violations).unwrap_or_default();
                details.preconditions.extend(found.into_iter().map(|v| Precondition {
                    word: v.r#type,
                    subject: v.subject,
                    message: v.description,
                }));
            }
            "google.rpc.ResourceInfo" => {
                details.resource = pb::ResourceInfo::decode(bytes).ok().map(|r| Resource {
                    r#type: r.resource_type,
                    name: r.resource_name,
                    message: r.description,
                });
            }
            "panscan.v1.ExpressionError" => {
                details.expressions.extend(v1::ExpressionError::decode(bytes).ok().map(Into::into));
            }
            _ => {}
        }
    }
    if let Some(pushback) = status.metadata().get(PUSHBACK) {
        match pushback.to_str().ok().and_then(|v| v.parse().ok()) {
            Some(millis) => {
                details.retry_after.get_or_insert(Duration::from_millis(millis));
            }
            None => told.forbids_retry = true,
        }
    }
    told
}

fn encode(code: Code, reason: &str, message: &str, details: &Details) -> Vec<u8> {
    let mut packed = Packed { room: DETAILS_BYTES_MAX, anys: Vec::new(), omitted: 0 };
    // The status repeats the message, and ErrorInfo is put in front at the end.
    packed.room -= message.len() + reason.len() + 128;
    if let Some(wait) = details.retry_after {
        let info = pb::RetryInfo { retry_delay: Some(wire_duration(wait)) };
        packed.push("google.rpc.RetryInfo", &info);
    }
    if !details.quotas.is_empty() {
        let violation = |q: &Quota| quota_failure::Violation {
            subject: q.subject.clone(),
            description: q.message.clone(),
            ..Default::default()
        };
        let info = pb::QuotaFailure { violations: details.quotas.iter().map(violation).collect() };
        packed.push("google.rpc.QuotaFailure", &info);
    }
    if !details.preconditions.is_empty() {
        let violation = |p: &Precondition| precondition_failure::Violation {
            r#type: p.word.clone(),
            subject: p.subject.clone(),
            description: p.message.clone(),
        };
        let violations = details.preconditions.iter().map(violation).collect();
        packed.push("google.rpc.PreconditionFailure", &pb::PreconditionFailure { violations });
    }
    if let Some(resource) = &details.resource {
        let info = pb::ResourceInfo {
            resource_type: resource.r#type.clone(),
            resource_name: resource.name.clone(),
            owner: String::new(),
            description: resource.message.clone(),
        };
        packed.push("google.rpc.ResourceInfo", &info);
    }
    // Fields take half of what is left at most, so that expressions, which also say where, find room.
    packed.violations(&details.violations);
    for error in &details.expressions {
        packed.push("panscan.v1.ExpressionError", &v1::ExpressionError::from(error));
    }
    let mut info =
        pb::ErrorInfo { reason: reason.to_owned(), domain: DOMAIN.to_owned(), ..Default::default() };
    if packed.omitted > 0 {
        info.metadata.insert(OMITTED.to_owned(), packed.omitted.to_string());
    }
    packed.anys.insert(0, any("google.rpc.ErrorInfo", &info));
    pb::Status { code: code.into(), message: message.to_owned(), details: packed.anys }.encode_to_vec()
}

/// Details that fit.
struct Packed {
    room: usize,
    anys: Vec<Any>,
    omitted: usize,
}

impl Packed {
    fn push(&mut self, name: &str, message: &impl Message) -> bool {
        let any = any(name, message);
        let size = any.encoded_len() + 4;
        let fits = size <= self.room;
        if fits {
            self.room -= size;
            self.anys.push(any);
        } else {
            self.omitted += 1;
        }
        fits
    }

    fn violations(&mut self, violations: &[Violation]) {
        let mut left = self.room / 2;
        let mut kept = pb::BadRequest::default();
        for violation in violations {
            let wire = bad_request::FieldViolation {
                field: cut(violation.field.clone(), 128),
                description: cut(violation.message.clone(), 256),
                reason: violation.reason.clone(),
                localized_message: None,
            };
            let size = wire.encoded_len() + 4;
            if size <= left {
                left -= size;
                kept.field_violations.push(wire);
            } else {
                self.omitted += 1;
            }
        }
        if !kept.field_violations.is_empty() {
            self.push("google.rpc.BadRequest", &kept);
        }
    }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("{TYPE_PREFIX}{name}"), value: message.encode_to_vec() }
}

/// Shortens to at most `bytes`, at a character's border.
fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let mut end = bytes - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 15] = [
        Kind::BadRequest,
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::Conflict,
        Kind::Precondition,
        Kind::OutOfRange,
        Kind::Busy,
        Kind::Timeout,
        Kind::Cancelled,
        Kind::Upstream,
        Kind::Unauthenticated,
        Kind::Denied,
        Kind::Unimplemented,
        Kind::Device,
        Kind::Internal,
    ];

    fn full() -> Details {
        Details {
            violations: vec![Violation {
                field: "scan.limit".into(),
                reason: "OUT_OF_RANGE".into(),
                message: "is -1".into(),
            }],
            expressions: vec![ExpressionFault {
                field: "scan.filter".into(),
                start: 17,
                end: 21,
                line: 1,
                column: 18,
                reason: "UNKNOWN_FUNCTION".into(),
                message: "unknown function `smaa`".into(),
                suggestion: "sma".into(),
                excerpt: "smaa(20)\n^^^^".into(),
            }],
            retry_after: Some(Duration::from_millis(1500)),
            quotas: vec![Quota { subject: "key:desk".into(), message: "60 scans a minute".into() }],
            preconditions: vec![Precondition {
                word: "SNAPSHOT_EXPIRED".into(),
                subject: "snapshots/a".into(),
                message: "scan the newest".into(),
            }],
            resource: Some(Resource {
                r#type: "panscan.v1.Symbol".into(),
                name: "ZZZZ".into(),
                message: "unknown".into(),
            }),
        }
    }

    #[test]
    fn kinds_come_back_but_for_the_device() {
        for k in KINDS {
            let back = kind(code(k)).unwrap();
            assert_eq!(back, if k == Kind::Device { Kind::Internal } else { k });
        }
        assert_eq!(kind(Code::Ok), None);
    }

    #[test]
    fn details_come_back_over_http_headers() {
        let sent = status(Kind::Busy, "QUOTA_EXCEEDED", "too many scans — wait", full());
        assert_eq!(sent.metadata().get(PUSHBACK).unwrap(), "1500");
        let mut headers = tonic::codegen::http::HeaderMap::new();
        sent.add_header(&mut headers).unwrap();
        let got = read(&Status::from_header_map(&headers).unwrap());
        assert_eq!(got.kind, Kind::Busy);
        assert_eq!(got.reason, "QUOTA_EXCEEDED");
        assert_eq!(got.message, "too many scans — wait");
        assert_eq!(got.details, full());
    }

    #[test]
    fn details_never_outgrow_the_header() {
        let long = "ä".repeat(5000);
        let mut details = full();
        details.expressions = vec![
            ExpressionFault {
                field: "scan.filter".into(),
                excerpt: "x".repeat(300),
                ..Default::default()
            };
            20
        ];
        details.violations =
            vec![Violation { field: long.clone(), reason: "TOO_MANY".into(), message: long.clone() }; 60];
        let sent = status(Kind::BadRequest, "TOO_MANY", long, details);
        assert!(sent.details().len() <= DETAILS_BYTES_MAX, "{}", sent.details().len());
        let got = read(&sent);
        assert_eq!(got.reason, "TOO_MANY");
        assert!(!got.details.violations.is_empty() && !got.details.expressions.is_empty());
        assert!(got.message.len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_foreign_status_is_read_for_what_it_says() {
        let got = read(&Status::with_details(Code::Unavailable, "no route", vec![0xff, 1, 2].into()));
        assert_eq!((got.kind, got.reason.as_str(), got.message.as_str()), (Kind::Upstream, "", "no route"));
        let pushed = status(Kind::Busy, "QUEUE_FULL", "", Details::retry_after(Duration::from_secs(2)));
        assert_eq!(read(&pushed).details.retry_after, Some(Duration::from_secs(2)));
        let mut never = Status::unavailable("gone");
        assert!(!read(&never).forbids_retry);
        never.metadata_mut().insert(PUSHBACK, MetadataValue::from_static("-1"));
        assert!(read(&never).forbids_retry);
    }
}
