//! Statistics of groups: the engine's sorted values as the percentiles that a caller wants.

use std::sync::Arc;

use panscan_core::expr::{ExprError, PlanError};
use panscan_core::preset::FACTORS;
use panscan_core::scan::UniverseSelector;
use panscan_engine::{EngineError, ExprStatistics, Group, Pin as Snapshots, StatisticsRequest};
use panscan_proto::convert::statistics::StatisticsAsk;
use panscan_proto::convert::wire_timestamp;
use panscan_proto::v1;
use tonic::{Request, Status};

use super::{call, status};
use crate::host::Host;

/// The answer to a request.
pub(super) async fn answer(
    host: &Arc<Host>,
    request: &Request<v1::GetGroupStatisticsRequest>,
) -> Result<v1::GroupStatistics, Status> {
    let ask = StatisticsAsk::try_from(request.get_ref())?;
    let exprs = if ask.exprs.is_empty() { FACTORS.map(str::to_owned).to_vec() } else { ask.exprs };
    let wanted = StatisticsRequest {
        universe: UniverseSelector { universe: ask.universe, ..UniverseSelector::default() },
        by: ask.by,
        exprs,
        pin: match (ask.snapshot, ask.as_of) {
            (Some(id), _) => Snapshots::Snapshot(id.as_str().to_owned()),
            (None, Some(at)) => Snapshots::AsOf(at),
            (None, None) => Snapshots::Newest,
        },
        policy: ask.policy,
        deadline: Some(call::deadline(request.metadata())),
        errand: call::errand(request),
    };
    let engine = host.engine().map_err(status::of)?;
    let found = engine.group_statistics(&wanted).await.map_err(|error| status::of(of_request(error)))?;
    let snapshot = &found.published.snapshot;
    Ok(v1::GroupStatistics {
        snapshot_id: snapshot.id.to_string(),
        as_of: Some(wire_timestamp(snapshot.as_of)),
        by: ask.by.name().to_owned(),
        expressions: found.exprs.iter().map(|e| expression(e, &ask.percentiles)).collect(),
        percentiles: ask.percentiles,
        diagnostics: found.diagnostics.iter().map(Into::into).collect(),
        complete: found.complete,
    })
}

/// Errors of expressions with the places that they have in this request.
fn of_request(error: EngineError) -> EngineError {
    let EngineError::Plan(plan) = error else { return error };
    let place = |e: ExprError| ExprError { field: e.field.replace("scan.columns", "exprs"), ..e };
    EngineError::Plan(PlanError { errors: plan.errors.into_iter().map(place).collect() })
}

fn expression(found: &ExprStatistics, percentiles: &[f64]) -> v1::ExpressionStatistics {
    v1::ExpressionStatistics {
        expr: found.expr.clone(),
        unit: found.unit.clone(),
        groups: found.groups.iter().map(|g| group(g, percentiles)).collect(),
        memoized: found.kept,
    }
}

fn group(group: &Group, percentiles: &[f64]) -> v1::GroupStatistic {
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let known = |value: f64| Some(value).filter(|v| v.is_finite());
    let of = if group.sorted.is_empty() { &[] } else { percentiles };
    v1::GroupStatistic {
        group: group.name.to_string(),
        count: count(group.sorted.len()),
        missing: count(group.missing),
        mean: known(group.mean),
        deviation: known(group.deviation),
        median_deviation: known(group.median_deviation()),
        percentiles: of.iter().map(|p| group.percentile(*p)).collect(),
    }
}
