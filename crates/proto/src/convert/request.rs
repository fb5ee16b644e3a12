//! The request of a scan: what to scan, on which snapshot, and how the answer comes.

use std::time::Duration;

use panscan_core::scan::{Backend, DataPolicy, Precision, ScanSpec};
use panscan_core::snapshot::SnapshotId;
use panscan_core::time::Timestamp;

use super::spec::{scan_spec, wire_count};
use super::word::{Word, word};
use super::{count, instant, resource, span, wire_duration, wire_timestamp};
use crate::error::Violations;
use crate::v1;

/// Rows of a message at most.
pub const BATCH_ROWS_MAX: usize = 8192;

/// Form of the rows of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// A row at a time, by name.
    #[default]
    Rows,
    /// By column, typed and packed.
    Columns,
    /// Arrow IPC.
    Arrow,
}

/// One call of `ScanUniverse`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScanRequest {
    /// What to scan.
    pub spec: ScanSpec,
    /// Id of the saved scan that `spec` overrides.
    pub saved_scan: Option<String>,
    /// Exactly this snapshot.
    pub snapshot: Option<SnapshotId>,
    /// Only data known at this instant; never together with `snapshot`.
    pub as_of: Option<Timestamp>,
    /// Continues an earlier call; empty: from the first row.
    pub page_token: String,
    /// Form of the rows.
    pub format: Format,
    /// Rows per message; `None`: the server's choice.
    pub batch_rows: Option<usize>,
    /// What to do about bars that are not held.
    pub policy: DataPolicy,
    /// Older data counts as missing.
    pub max_staleness: Option<Duration>,
    /// What runs it; `None`: the server's choice.
    pub backend: Option<Backend>,
    /// Width of the arithmetic.
    pub precision: Precision,
    /// Checks and plans only.
    pub validate_only: bool,
    /// Adds timings of each node.
    pub analyze: bool,
}

impl TryFrom<&v1::ScanUniverseRequest> for ScanRequest {
    type Error = Violations;

    fn try_from(wire: &v1::ScanUniverseRequest) -> Result<Self, Violations> {
        let mut found = Violations::default();
        let spec = wire.scan.as_ref().map(|s| scan_spec(&mut found, "scan", s)).unwrap_or_default();
        let saved_scan = resource(&mut found, "saved_scan", "scans/", &wire.saved_scan);
        let snapshot = snapshot(&mut found, &wire.snapshot_id);
        if snapshot.is_some() && wire.as_of.is_some() {
            found.push("as_of", "CONTRADICTION", "cannot stand together with snapshot_id; leave one out");
        }
        let request = Self {
            spec,
            saved_scan: Some(saved_scan).filter(|s| !s.is_empty()),
            snapshot,
            as_of: instant(&mut found, "as_of", wire.as_of.as_ref()),
            page_token: wire.page_token.clone(),
            format: word(&mut found, "format", wire.format),
            batch_rows: Some(count(&mut found, "batch_rows", wire.batch_rows, 0, BATCH_ROWS_MAX))
                .filter(|n| *n > 0),
            policy: word(&mut found, "data_policy", wire.data_policy),
            max_staleness: span(&mut found, "max_staleness", wire.max_staleness.as_ref()),
            backend: word(&mut found, "backend", wire.backend),
            precision: word(&mut found, "precision", wire.precision),
            validate_only: wire.validate_only,
            analyze: wire.analyze,
        };
        found.or(request)
    }
}

/// Reads the id of a snapshot; empty is none.
pub(super) fn snapshot(found: &mut Violations, id: &str) -> Option<SnapshotId> {
    if id.is_empty() {
        return None;
    }
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    if id.len() > 128 || !id.bytes().all(safe) {
        let message = "is no id of a snapshot; take it from a header as it is";
        found.push("snapshot_id", "INVALID_NAME", message);
        return None;
    }
    Some(SnapshotId(id.into()))
}

impl From<&ScanRequest> for v1::ScanUniverseRequest {
    fn from(request: &ScanRequest) -> Self {
        let scan = match &request.saved_scan {
            // Over a saved scan, a default that was filled in would override what is saved.
            Some(_) => super::saved::sparse(&request.spec),
            None => (&request.spec).into(),
        };
        Self {
            scan: Some(scan),
            saved_scan: request.saved_scan.as_ref().map(|id| format!("scans/{id}")).unwrap_or_default(),
            snapshot_id: request.snapshot.as_ref().map(ToString::to_string).unwrap_or_default(),
            as_of: request.as_of.map(wire_timestamp),
            page_token: request.page_token.clone(),
            format: request.format.number(),
            batch_rows: wire_count(request.batch_rows.unwrap_or(0)),
            data_policy: request.policy.number(),
            max_staleness: request.max_staleness.map(wire_duration),
            backend: request.backend.number(),
            precision: request.precision.number(),
            validate_only: request.validate_only,
            analyze: request.analyze,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_request_is_the_default() {
        assert_eq!(
            ScanRequest::try_from(&v1::ScanUniverseRequest::default()).unwrap(),
            ScanRequest::default()
        );
    }

    #[test]
    fn a_request_comes_back() {
        let mut request = ScanRequest {
            saved_scan: Some("dips".into()),
            snapshot: Some(SnapshotId("s-1.a~b".into())),
            page_token: "t".into(),
            format: Format::Columns,
            batch_rows: Some(8192),
            policy: DataPolicy::RequireComplete,
            max_staleness: Some(Duration::from_millis(1500)),
            backend: Some(Backend::Cpu),
            precision: Precision::F32,
            validate_only: true,
            analyze: true,
            ..Default::default()
        };
        assert_eq!(ScanRequest::try_from(&v1::ScanUniverseRequest::from(&request)).unwrap(), request);
        request.snapshot = None;
        request.as_of = Some(Timestamp::from_nanos(1_767_214_800_000_000_001));
        assert_eq!(ScanRequest::try_from(&v1::ScanUniverseRequest::from(&request)).unwrap(), request);
    }

    #[test]
    fn what_is_wrong_around_the_scan_is_named_with_what_is_wrong_in_it() {
        let wire = v1::ScanUniverseRequest {
            scan: Some(v1::ScanSpec { limit: -5, ..Default::default() }),
            saved_scan: "dips".into(),
            snapshot_id: "a".into(),
            as_of: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
            format: 8,
            batch_rows: 8193,
            data_policy: 8,
            max_staleness: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            backend: 8,
            precision: 8,
            ..Default::default()
        };
        let violations = ScanRequest::try_from(&wire).unwrap_err();
        let fields: Vec<&str> = violations.as_slice().iter().map(|v| v.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "scan.limit",
                "saved_scan",
                "as_of",
                "as_of",
                "format",
                "batch_rows",
                "data_policy",
                "max_staleness",
                "backend",
                "precision"
            ]
        );
    }
}
