//! What every call brings and takes along besides its message: deadline, request id, switches.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use panscan_core::port::Errand;
use tokio::time::Instant;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Status};

use super::status;
use crate::host::Host;

/// A call without a deadline of its own gets this one.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// Longest request id that is echoed.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The call's deadline, from `grpc-timeout`.
pub(super) fn deadline(metadata: &MetadataMap) -> Instant {
    let asked = metadata.get("grpc-timeout").and_then(|v| v.to_str().ok()).and_then(timeout);
    Instant::now() + asked.unwrap_or(DEADLINE_DEFAULT)
}

/// Whether node results of earlier scans may be used: `panscan-memo: off` says no, for measurements.
pub(super) fn uses_memo(metadata: &MetadataMap) -> bool {
    metadata.get("panscan-memo").is_none_or(|v| v.as_encoded_bytes() != b"off")
}

/// On whose behalf a call fetches: callers are told apart by their key, without one by their connection, and take
/// turns. `panscan-priority: batch` goes after everyone who does not say so.
pub(super) fn errand<T>(request: &Request<T>) -> Errand {
    let metadata = request.metadata();
    let mut hasher = DefaultHasher::new();
    match metadata.get("authorization") {
        Some(key) => key.as_encoded_bytes().hash(&mut hasher),
        None => request.remote_addr().hash(&mut hasher),
    }
    let errand = Errand::interactive(hasher.finish());
    match metadata.get("panscan-priority") {
        Some(priority) if priority.as_encoded_bytes() == b"batch" => {
            Errand { urgency: panscan_core::port::Urgency::Background, ..errand }
        }
        _ => errand,
    }
}

/// Refuses a call while the server drains.
pub(super) fn admitted(host: &Host) -> Result<(), Status> {
    if host.is_draining() { Err(status::draining()) } else { Ok(()) }
}

/// Leaves answers uncompressed unless the call itself came compressed. Most clients accept gzip without being told
/// to, and a scan of a hundred rows spends more time in it than in computing.
pub(super) fn compressed_on_request(mut request: Request<()>) -> Result<Request<()>, Status> {
    let asked = request.metadata().get("grpc-encoding").is_some_and(|v| v.as_encoded_bytes() != b"identity");
    if !asked {
        request.metadata_mut().remove("grpc-accept-encoding");
    }
    Ok(request)
}

/// Puts the ids of an answer, and the caller's own, into its metadata.
pub(super) fn answer(incoming: &MetadataMap, outgoing: &mut MetadataMap, snapshot_id: &str, scan_id: &str) {
    for (name, value) in [("panscan-snapshot-id", snapshot_id), ("panscan-scan-id", scan_id)] {
        if let Ok(value) = MetadataValue::try_from(value) {
            outgoing.insert(name, value);
        }
    }
    if let Some(id) = incoming.get("x-request-id")
        && id.as_encoded_bytes().len() <= REQUEST_ID_BYTES_MAX
    {
        outgoing.insert("x-request-id", id.clone());
    }
}

/// Reads the wire form of a timeout: up to eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_apart_and_batches_yield() {
        let of = |headers: &[(&'static str, &'static str)]| {
            let mut request = Request::new(());
            for (name, value) in headers {
                request.metadata_mut().insert(*name, value.parse().unwrap());
            }
            errand(&request)
        };
        assert_eq!(of(&[("authorization", "Bearer a")]), of(&[("authorization", "Bearer a")]));
        assert_ne!(of(&[("authorization", "Bearer a")]).caller, of(&[("authorization", "Bearer b")]).caller);
        assert!(of(&[("panscan-priority", "batch")]).urgency > of(&[("panscan-priority", "usual")]).urgency);
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(timeout("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in ["", "m", "1", "-1S", "1x", "123456789S", "é"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }
}
