//! The request for statistics of groups. Not here: what they are.

use panscan_core::scan::DataPolicy;
use panscan_core::snapshot::SnapshotId;
use panscan_core::time::Timestamp;
use panscan_core::universe::TextAttribute;

use super::word::word;
use super::{instant, resource};
use crate::error::Violations;
use crate::v1;

/// Expressions, and percentiles, of a request at most.
pub const LIST_MAX: usize = 64;
/// The percentiles of a request that names none.
pub const PERCENTILES: [f64; 7] = [5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0];

/// One call of `GetGroupStatistics`.
#[derive(Debug, Clone, PartialEq)]
pub struct StatisticsAsk {
    /// Id of the universe; empty is the default one.
    pub universe: String,
    /// What makes a group.
    pub by: TextAttribute,
    /// Of what; empty: the built-in factors.
    pub exprs: Vec<String>,
    /// From 0 to 100.
    pub percentiles: Vec<f64>,
    /// Exactly this snapshot.
    pub snapshot: Option<SnapshotId>,
    /// Only data known at this instant; never together with `snapshot`.
    pub as_of: Option<Timestamp>,
    /// What to do about bars that are not held.
    pub policy: DataPolicy,
}

impl TryFrom<&v1::GetGroupStatisticsRequest> for StatisticsAsk {
    type Error = Violations;

    fn try_from(wire: &v1::GetGroupStatisticsRequest) -> Result<Self, Violations> {
        let mut found = Violations::default();
        for (field, count) in [("exprs", wire.exprs.len()), ("percentiles", wire.percentiles.len())] {
            if count > LIST_MAX {
                let message = format!("has {count} entries; at most {LIST_MAX} are accepted");
                found.push(field, "TOO_MANY", message);
            }
        }
        for (at, percent) in wire.percentiles.iter().take(LIST_MAX).enumerate() {
            if !(0.0..=100.0).contains(percent) {
                let message = format!("is {percent}; it must be from 0 to 100");
                found.push(format!("percentiles[{at}]"), "OUT_OF_RANGE", message);
            }
        }
        let wanted = if wire.by.is_empty() { "sector" } else { &wire.by };
        let by =
            TextAttribute::ALL.into_iter().find(|a| a.is_group() && a.name().eq_ignore_ascii_case(wanted));
        if by.is_none() {
            let shown = panscan_core::error::shortened(wanted);
            let message = format!("is {shown:?}; expected sector, industry, exchange, type or country");
            found.push("by", "GROUP_REQUIRED", message);
        }
        let snapshot = super::request::snapshot(&mut found, &wire.snapshot_id);
        if snapshot.is_some() && wire.as_of.is_some() {
            found.push("as_of", "CONTRADICTION", "cannot stand together with snapshot_id; leave one out");
        }
        let some = &wire.percentiles;
        let ask = Self {
            universe: resource(&mut found, "universe", "universes/", &wire.universe),
            by: by.unwrap_or(TextAttribute::Sector),
            exprs: wire.exprs.clone(),
            percentiles: if some.is_empty() { PERCENTILES.to_vec() } else { some.clone() },
            snapshot,
            as_of: instant(&mut found, "as_of", wire.as_of.as_ref()),
            policy: word(&mut found, "data_policy", wire.data_policy),
        };
        found.or(ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_request_has_defaults_and_every_fault_is_named() {
        let ask = StatisticsAsk::try_from(&v1::GetGroupStatisticsRequest::default()).unwrap();
        assert_eq!((ask.by, ask.percentiles.len(), ask.exprs.len()), (TextAttribute::Sector, 7, 0));
        let wire = v1::GetGroupStatisticsRequest {
            universe: "tech".to_owned(),
            by: "name".to_owned(),
            percentiles: vec![50.0, 101.0, f64::NAN],
            exprs: vec![String::new(); 65],
            ..Default::default()
        };
        let found = StatisticsAsk::try_from(&wire).unwrap_err();
        let fields: Vec<&str> = found.as_slice().iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["exprs", "percentiles[1]", "percentiles[2]", "by", "universe"]);
    }
}
