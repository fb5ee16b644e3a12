//! Wire to domain and back, one module a subject; here the parts that all of them use.

pub mod answer;
pub mod bars;
pub mod batch;
pub mod expression;
pub mod frame;
pub mod history;
pub mod listing;
pub mod mask;
pub mod plan;
pub mod request;
pub mod saved;
pub mod series;
pub mod spec;
pub mod statistics;
pub mod stats;
pub mod table;
pub mod universe;
mod word;

use std::time::Duration;

use panscan_core::time::Timestamp;

use crate::error::Violations;

const NANOS: i64 = panscan_core::time::NANOS_PER_SECOND;

/// An instant for the wire.
#[must_use]
pub fn wire_timestamp(at: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.as_nanos().rem_euclid(NANOS)).unwrap_or(0);
    prost_types::Timestamp { seconds: at.as_seconds(), nanos }
}

/// An instant off the wire; `None` when it is none or lies outside the years 1678 to 2262.
#[must_use]
pub fn read_timestamp(at: &prost_types::Timestamp) -> Option<Timestamp> {
    if !(0..1_000_000_000).contains(&at.nanos) {
        return None;
    }
    let nanos = at.seconds.checked_mul(NANOS)?.checked_add(i64::from(at.nanos))?;
    Some(Timestamp::from_nanos(nanos))
}

/// A span for the wire; longer ones than the wire can say are the longest that it can.
#[must_use]
pub fn wire_duration(span: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0) }
}

/// A span off the wire; `None` when it is negative or none.
#[must_use]
pub fn read_duration(span: &prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(span.nanos).ok().filter(|n| *n < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(span.seconds).ok()?, nanos))
}

/// Reads an optional instant of a request.
fn instant(found: &mut Violations, field: &str, at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let read = read_timestamp(at?);
    if read.is_none() {
        found.push(field, "OUT_OF_RANGE", "is no instant between the years 1678 and 2262");
    }
    read
}

/// Reads an optional span of a request.
fn span(found: &mut Violations, field: &str, span: Option<&prost_types::Duration>) -> Option<Duration> {
    let read = read_duration(span?);
    if read.is_none() {
        found.push(field, "OUT_OF_RANGE", "is no duration of zero or more");
    }
    read
}

/// Reads a count: 0 is `default`, more than `max` is a violation, and so is a negative one.
fn count(found: &mut Violations, field: &str, value: i32, default: usize, max: usize) -> usize {
    match usize::try_from(value) {
        Ok(0) => default,
        Ok(n) if n <= max => n,
        _ => {
            found.push(
                field,
                "OUT_OF_RANGE",
                format!("is {value}; it must be between 0 (meaning {default}) and {max}"),
            );
            default
        }
    }
}

/// Reads a page size: 0 is `default`, more than `max` is `max`, and a negative one is a violation.
fn page_size(found: &mut Violations, value: i32, default: usize, max: usize) -> usize {
    match usize::try_from(value) {
        Ok(0) => default,
        Ok(n) => n.min(max),
        Err(_) => {
            found.push("page_size", "OUT_OF_RANGE", format!("is {value}; it must be 0 or more"));
            default
        }
    }
}

/// Reads a resource name such as `universes/default`: the id after `prefix`, or empty when nothing is given.
fn resource(found: &mut Violations, field: &str, prefix: &str, name: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
    let id = name.strip_prefix(prefix).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.is_empty() || id.len() > 64 || !id.chars().all(plain) {
        let shown = panscan_core::error::shortened(name);
        found.push(
            field,
            "INVALID_NAME",
            format!("is {shown:?}; expected {prefix} and an id of letters, digits, - _ ."),
        );
        return String::new();
    }
    id.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_spans_come_back() {
        for nanos in [0, 1, -1, 1_767_214_800_123_456_789, -1_500_000_000, i64::MAX, i64::MIN + 1_000_000_000]
        {
            let at = Timestamp::from_nanos(nanos);
            assert_eq!(read_timestamp(&wire_timestamp(at)), Some(at), "{nanos}");
        }
        assert_eq!(read_timestamp(&prost_types::Timestamp { seconds: 0, nanos: -1 }), None);
        assert_eq!(read_timestamp(&prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), None);
        let span = Duration::new(3, 999_999_999);
        assert_eq!(read_duration(&wire_duration(span)), Some(span));
        assert_eq!(read_duration(&prost_types::Duration { seconds: -1, nanos: 0 }), None);
        assert_eq!(read_duration(&prost_types::Duration { seconds: 0, nanos: -5 }), None);
    }

    #[test]
    fn names_keep_their_id_alone() {
        let mut found = Violations::default();
        assert_eq!(
            resource(&mut found, "scan.universe.universe", "universes/", "universes/us-2016"),
            "us-2016"
        );
        assert_eq!(resource(&mut found, "scan.universe.universe", "universes/", ""), "");
        assert!(found.is_empty());
        for bad in ["default", "universes/", "universes/../x", "scans/a", "universes/ä"] {
            resource(&mut found, "scan.universe.universe", "universes/", bad);
        }
        assert_eq!(found.as_slice().len(), 5);
    }
}
