//! Lists that are paged and take nothing else: functions of the registry and snapshots that can be pinned.

use std::ops::Range;

use panscan_core::indicator::{Definition, FunctionKind, Parameter};
use panscan_core::snapshot::Snapshot;
use panscan_core::time::Timestamp;

use super::answer::saturated;
use super::word::Word;
use super::{page_size, wire_timestamp};
use crate::error::Violations;
use crate::v1;

/// Entries of a page where a request does not say.
const PAGE_DEFAULT: usize = 100;
/// Entries of a page at most.
const PAGE_MAX: usize = 1000;

/// Entries of a page of such a list that begins after `skip` of `total`, and whether more follow.
///
/// # Errors
///
/// A page size below 0.
pub fn page(asked: i32, skip: usize, total: usize) -> Result<(Range<usize>, bool), Violations> {
    let mut found = Violations::default();
    let size = page_size(&mut found, asked, PAGE_DEFAULT, PAGE_MAX);
    let begin = skip.min(total);
    let end = begin.saturating_add(size).min(total);
    found.or((begin..end, end < total))
}

/// Entries of a page of such a list.
///
/// # Errors
///
/// A page size below 0.
pub fn page_size_of_list(asked: i32) -> Result<usize, Violations> {
    let mut found = Violations::default();
    let size = page_size(&mut found, asked, PAGE_DEFAULT, PAGE_MAX);
    found.or(size)
}

/// An entry of the registry as callers read it.
#[must_use]
pub fn function(definition: &Definition) -> v1::Function {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    v1::Function {
        name: definition.name.to_owned(),
        parameters: definition.parameters.iter().map(parameter).collect(),
        result: Some(definition.result()).number(),
        members: definition.members().iter().map(|member| member.name.to_owned()).collect(),
        kind: match definition.kind {
            FunctionKind::Field => v1::FunctionKind::Field,
            FunctionKind::Attribute => v1::FunctionKind::Attribute,
            FunctionKind::Elementwise => v1::FunctionKind::Elementwise,
            FunctionKind::Series => v1::FunctionKind::Series,
            FunctionKind::CrossSection => v1::FunctionKind::CrossSection,
            FunctionKind::Part => v1::FunctionKind::Unspecified,
        }
        .into(),
        lookback: definition.lookback.to_owned(),
        definition: definition.definition.to_owned(),
        unit: definition.unit.to_owned(),
        source: definition.source.to_owned(),
        examples: texts(definition.examples),
    }
}

fn parameter(parameter: &Parameter) -> v1::Parameter {
    v1::Parameter {
        name: parameter.name.to_owned(),
        r#type: Some(parameter.kind.value()).number(),
        default_value: parameter.default.unwrap_or_default().to_owned(),
        min: parameter.min,
        max: parameter.max,
    }
}

/// A snapshot that can be pinned until `expires`.
#[must_use]
pub fn snapshot(snapshot: &Snapshot, expires: Timestamp) -> v1::Snapshot {
    v1::Snapshot {
        snapshot_id: snapshot.id.as_str().to_owned(),
        as_of: Some(wire_timestamp(snapshot.as_of)),
        create_time: Some(wire_timestamp(snapshot.created)),
        expire_time: Some(wire_timestamp(expires)),
        symbols: saturated(snapshot.universe.len() as u64),
        timeframes: vec!["1d".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_overlap() {
        assert_eq!(page(0, 0, 250).unwrap(), (0..100, true));
        assert_eq!(page(7, 100, 250).unwrap(), (100..107, true));
        assert_eq!(page(5000, 0, 1000).unwrap(), (0..1000, false));
        assert_eq!(page(10, 300, 250).unwrap(), (250..250, false));
        assert_eq!(page(-1, 0, 250).unwrap_err().as_slice()[0].field, "page_size");
    }

    #[test]
    fn every_function_says_what_it_is() {
        for definition in panscan_core::indicator::all() {
            let wire = function(definition);
            assert_ne!(wire.kind, v1::FunctionKind::Unspecified as i32, "{}", wire.name);
            assert!(wire.result > 0, "{}", wire.name);
            let sma = wire.name == "sma";
            assert!(
                !sma || (wire.parameters[0].default_value == "close" && wire.parameters[1].min == Some(1.0))
            );
        }
    }
}
