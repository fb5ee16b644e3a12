//! Why a call gave no answer, and what to do about it.

use std::fmt;
use std::time::Duration;

use panscan_core::Kind;
use panscan_proto::Violation;
use panscan_proto::convert::expression::ExpressionFault;
use panscan_proto::kind::{Quota, Resource, Told, read};
use tonic::{Code, Status};

/// What a server said when it refused or failed, and the ids by which its log knows the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Stable upper-case word, e.g. `SNAPSHOT_EXPIRED`; empty where the server sent none.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Sent with the call as `x-request-id`.
    pub request_id: String,
    /// The scan, once the server had named it.
    pub scan_id: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.message.is_empty() { "no message" } else { &self.message })?;
        if !self.reason.is_empty() {
            write!(f, " [{}]", self.reason)?;
        }
        write!(f, " (request {}", self.request_id)?;
        if let Some(scan) = &self.scan_id {
            write!(f, ", scan {scan}")?;
        }
        f.write_str(")")
    }
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address or the key cannot be used; nothing was sent.
    #[error("{what} {message}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
    /// No connection could be made.
    #[error("cannot connect to {address}: {message}; is the server running there?")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        message: String,
        /// The transport's own error.
        #[source]
        source: Option<Box<tonic::transport::Error>>,
    },
    /// The request is wrong; it says where.
    #[error("{}", Invalid { report, violations, expressions })]
    Invalid {
        /// What the server said.
        report: Box<Report>,
        /// Fields that are wrong.
        violations: Vec<Violation>,
        /// Expressions that are wrong, with their places.
        expressions: Vec<ExpressionFault>,
    },
    /// A named thing does not exist.
    #[error("not found: {report}")]
    NotFound {
        /// What the server said.
        report: Box<Report>,
        /// What was not found, where it says so.
        resource: Option<Resource>,
    },
    /// The state does not allow it, e.g. the snapshot is gone.
    #[error("{report}")]
    Precondition {
        /// What the server said.
        report: Box<Report>,
    },
    /// Too much at once.
    #[error("busy: {report}{}", After(*retry_after))]
    Busy {
        /// What the server said.
        report: Box<Report>,
        /// When to come back, where it says so.
        retry_after: Option<Duration>,
        /// Which limits are reached.
        quotas: Vec<Quota>,
        /// The server forbids a retry by itself.
        forbids_retry: bool,
    },
    /// The server, or what it needs, cannot be reached or serve now.
    #[error("unavailable: {report}{}", After(*retry_after))]
    Unavailable {
        /// What the server said.
        report: Box<Report>,
        /// When to come back, where it says so.
        retry_after: Option<Duration>,
        /// The server forbids a retry by itself.
        forbids_retry: bool,
    },
    /// The deadline passed.
    #[error("the deadline passed: {report}; ask for less, or give it more time")]
    Deadline {
        /// What the server said, if it still did.
        report: Box<Report>,
    },
    /// The key is missing or wrong.
    #[error("the key is missing or wrong: {report}")]
    Unauthenticated {
        /// What the server said.
        report: Box<Report>,
    },
    /// The key may not do this.
    #[error("the key may not do this: {report}")]
    Denied {
        /// What the server said.
        report: Box<Report>,
    },
    /// The server's build lacks this.
    #[error("this server lacks it: {report}")]
    Unimplemented {
        /// What the server said.
        report: Box<Report>,
    },
    /// The server failed, or ended the call without a word that fits anything else.
    #[error("the server failed: {report}")]
    Server {
        /// What the server said.
        report: Box<Report>,
        /// What kind of failure it was.
        kind: Kind,
    },
    /// The answer breaks the contract.
    #[error("{message} (request {request_id}); client and server may be of different versions")]
    Broken {
        /// How.
        message: String,
        /// Sent with the call as `x-request-id`.
        request_id: String,
    },
}

impl ClientError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Setting { .. } | Self::Invalid { .. } => Kind::BadRequest,
            Self::Connect { .. } | Self::Unavailable { .. } => Kind::Upstream,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Precondition { .. } => Kind::Precondition,
            Self::Busy { .. } => Kind::Busy,
            Self::Deadline { .. } => Kind::Timeout,
            Self::Unauthenticated { .. } => Kind::Unauthenticated,
            Self::Denied { .. } => Kind::Denied,
            Self::Unimplemented { .. } => Kind::Unimplemented,
            Self::Server { kind, .. } => *kind,
            Self::Broken { .. } => Kind::Internal,
        }
    }

    /// What the server said; `None` when nothing came from one.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Setting { .. } | Self::Connect { .. } | Self::Broken { .. } => None,
            Self::Invalid { report, .. }
            | Self::NotFound { report, .. }
            | Self::Precondition { report }
            | Self::Busy { report, .. }
            | Self::Unavailable { report, .. }
            | Self::Deadline { report }
            | Self::Unauthenticated { report }
            | Self::Denied { report }
            | Self::Unimplemented { report }
            | Self::Server { report, .. } => Some(report),
        }
    }

    /// When the server asked to be called again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The error of a status. `expired` says that the call's own deadline has passed.
    pub(crate) fn of(status: &Status, request_id: &str, scan_id: Option<&str>, expired: bool) -> Self {
        let Told { kind, reason, message, details, forbids_retry } = read(status);
        let named = || status.metadata().get("panscan-scan-id").and_then(|v| v.to_str().ok());
        let report = Box::new(Report {
            reason,
            message,
            request_id: request_id.to_owned(),
            scan_id: scan_id.or_else(named).map(str::to_owned),
        });
        let retry_after = details.retry_after;
        // A status without a word of the server comes from the connection: it broke.
        let broke = status.code() == Code::Unknown && std::error::Error::source(status).is_some();
        match kind {
            Kind::Cancelled if expired => Self::Deadline { report },
            _ if broke => Self::Unavailable { report, retry_after, forbids_retry },
            Kind::BadRequest => {
                Self::Invalid { report, violations: details.violations, expressions: details.expressions }
            }
            Kind::NotFound => Self::NotFound { report, resource: details.resource },
            Kind::Precondition | Kind::AlreadyExists | Kind::Conflict | Kind::OutOfRange => {
                Self::Precondition { report }
            }
            Kind::Busy => Self::Busy { report, retry_after, quotas: details.quotas, forbids_retry },
            Kind::Timeout => Self::Deadline { report },
            Kind::Upstream => Self::Unavailable { report, retry_after, forbids_retry },
            Kind::Unauthenticated => Self::Unauthenticated { report },
            Kind::Denied => Self::Denied { report },
            Kind::Unimplemented => Self::Unimplemented { report },
            kind => Self::Server { report, kind },
        }
    }
}

/// A request's faults in full, which one line of message may have shortened.
struct Invalid<'a> {
    report: &'a Report,
    violations: &'a [Violation],
    expressions: &'a [ExpressionFault],
}

impl fmt::Display for Invalid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, violations, expressions } = self;
        if violations.is_empty() && expressions.is_empty() {
            return write!(f, "the request is wrong: {report}");
        }
        write!(f, "the request is wrong (request {}):", report.request_id)?;
        expressions.iter().try_for_each(|e| write!(f, "\n{e}"))?;
        // An expression's fault stands among the fields too; once is enough.
        let shown = |v: &&Violation| expressions.iter().any(|e| e.field == v.field && e.reason == v.reason);
        violations.iter().filter(|v| !shown(v)).try_for_each(|v| write!(f, "\n{v}"))
    }
}

struct After(Option<Duration>);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |wait| write!(f, "; come back in {:.1} s", wait.as_secs_f64()))
    }
}
