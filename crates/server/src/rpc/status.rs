//! Engine errors as gRPC statuses with their details.

use std::time::Duration;

use panscan_core::Kind;
use panscan_core::catalog::CatalogError;
use panscan_core::port::SourceError;
use panscan_engine::EngineError;
use panscan_proto::Violations;
use panscan_proto::convert::expression::plan_status;
use panscan_proto::kind::{Details, Precondition, Quota, status};
use tonic::Status;

/// The status of an engine error.
pub(super) fn of(error: EngineError) -> Status {
    let (kind, reason, message) = (error.kind(), error.reason(), error.to_string());
    let details = match &error {
        EngineError::Plan(plan) => return plan_status(plan),
        EngineError::BadField { field, message } => {
            return Violations::of(*field, "INVALID_FIELD", message.clone()).into();
        }
        EngineError::NotFound { what, name } => {
            let kind = if *what == "symbol" { "panscan.v1.Symbol" } else { "panscan.v1.Universe" };
            Details::resource(kind, name.clone(), message.clone())
        }
        EngineError::SnapshotExpired { id } => precondition(reason, format!("snapshots/{id}"), &message),
        EngineError::NoSnapshot { .. } => precondition(reason, "snapshots".to_owned(), &message),
        EngineError::BackendUnavailable { backend, .. } => {
            precondition(reason, format!("backends/{backend}"), &message)
        }
        EngineError::QueueFull { retry_after, .. } => Details {
            quotas: vec![Quota { subject: "server".to_owned(), message: message.clone() }],
            ..Details::retry_after(*retry_after)
        },
        EngineError::Source(SourceError::RateLimited { retry_after, .. }) => Details {
            quotas: vec![Quota { subject: "provider".to_owned(), message: message.clone() }],
            ..Details::retry_after(*retry_after)
        },
        EngineError::Incomplete { .. } | EngineError::Source(_) => {
            Details::retry_after(Duration::from_secs(5))
        }
        _ => Details::default(),
    };
    if kind == Kind::Internal {
        tracing::error!(%error, "internal error");
        return status(kind, reason, "internal error; the server's log has it", details);
    }
    status(kind, reason, message, details)
}

/// The status of what the catalog did not do.
pub(super) fn of_catalog(error: CatalogError) -> Status {
    let (kind, reason, message) = (error.kind(), error.reason(), error.to_string());
    let details = match &error {
        CatalogError::NotFound { what, name }
        | CatalogError::Exists { what, name }
        | CatalogError::Changed { what, name } => {
            let (r#type, prefix) = match *what {
                "universe" => ("panscan.v1.Universe", "universes/"),
                _ => ("panscan.v1.SavedScan", "scans/"),
            };
            Details::resource(r#type, format!("{prefix}{name}"), message.clone())
        }
        CatalogError::Full { .. } => Details {
            quotas: vec![Quota { subject: "server".to_owned(), message: message.clone() }],
            ..Details::retry_after(Duration::from_secs(60))
        },
        _ => Details::retry_after(Duration::from_secs(5)),
    };
    if kind == Kind::Upstream {
        tracing::warn!(%error, "the catalog did not serve");
    }
    status(kind, reason, message, details)
}

/// A method or field that the contract has and this build has not.
pub(super) fn not_in_this_build(what: &str) -> Status {
    of(EngineError::Unimplemented { what: what.to_owned() })
}

/// The server stops taking calls.
pub(super) fn draining() -> Status {
    let wait = Details::retry_after(Duration::from_secs(1));
    status(Kind::Upstream, "DRAINING", "the server is draining; another one serves", wait)
}

fn precondition(word: &str, subject: String, message: &str) -> Details {
    let preconditions = vec![Precondition { word: word.to_owned(), subject, message: message.to_owned() }];
    Details { preconditions, ..Details::default() }
}
