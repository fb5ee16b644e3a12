//! Statistics of an expression's values within each group of a universe, kept until the snapshot changes or for a day.
//!
//! The values are those of a scan, and what that scan computes is remembered for others. Not here: which percentiles
//! a caller wants; those are read off the sorted values.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use panscan_core::diagnostic::Diagnostic;
use panscan_core::plan::{Digest, ValueKind};
use panscan_core::port::Errand;
use panscan_core::preset::FACTORS;
use panscan_core::rank::Cells;
use panscan_core::scan::{DataPolicy, LIMIT_MAX, ScanSpec, UniverseSelector};
use panscan_core::select::select;
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::SymbolId;
use panscan_core::time::Timestamp;
use panscan_core::universe::TextAttribute;
use tokio::time::Instant;

use crate::error::EngineError;
use crate::market::Engine;
use crate::resident::Published;
use crate::run::{Pin, ScanRequest, known_universes};

/// Tables that are kept at most; each has a number per symbol.
const KEPT_MAX: usize = 64;
/// What to work out.
#[derive(Debug, Clone)]
pub struct StatisticsRequest {
    /// Whose values.
    pub universe: UniverseSelector,
    /// What makes a group.
    pub by: TextAttribute,
    /// Of what; numeric expressions.
    pub exprs: Vec<String>,
    /// On which snapshot.
    pub pin: Pin,
    /// What to do about missing bars.
    pub policy: DataPolicy,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// On whose behalf provider calls are made.
    pub errand: Errand,
}

/// The values of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The group's text.
    pub name: Arc<str>,
    /// The values that are there, ascending.
    pub sorted: Vec<f64>,
    /// Symbols without one.
    pub missing: usize,
    /// Their mean; NaN for none.
    pub mean: f64,
    /// Their deviation, divided by their number.
    pub deviation: f64,
}

impl Group {
    fn new(name: Arc<str>, mut values: Vec<f64>, missing: usize) -> Self {
        // In the order of symbols, as every sum over symbols.
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let deviation = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count).sqrt();
        values.sort_by(f64::total_cmp);
        Self { name, sorted: values, missing, mean, deviation }
    }

    /// The value below which a share of the others lies, linear between neighbours; NaN for no values. `percent` is
    /// from 0 to 100.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.sorted, percent)
    }

    /// Median distance from the median; NaN for no values.
    #[must_use]
    pub fn median_deviation(&self) -> f64 {
        let median = self.percentile(50.0);
        let mut away: Vec<f64> = self.sorted.iter().map(|v| (v - median).abs()).collect();
        away.sort_by(f64::total_cmp);
        percentile(&away, 50.0)
    }
}

fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = percent / 100.0 * last as f64;
    let below = (place.floor() as usize).min(last);
    let (a, b) = (sorted[below], sorted[(below + 1).min(last)]);
    a + (b - a) * (place - below as f64)
}

/// One expression's groups.
#[derive(Debug, Clone)]
pub struct ExprStatistics {
    /// Canonical text.
    pub expr: String,
    /// Unit of its values.
    pub unit: String,
    /// Groups in the order of their texts; symbols without one are in none.
    pub groups: Arc<[Group]>,
    /// Whether it was kept from before.
    pub kept: bool,
}

/// The answer.
#[derive(Debug, Clone)]
pub struct StatisticsAnswer {
    /// The snapshot that all of it comes from.
    pub published: Arc<Published>,
    /// One entry per expression, in the order of the request.
    pub exprs: Vec<ExprStatistics>,
    /// Whether no cell was missing.
    pub complete: bool,
    /// What else to know.
    pub diagnostics: Vec<Diagnostic>,
}

/// What a table is of: snapshot, expression, population, attribute.
type Key = (u64, Digest, Digest, TextAttribute);

/// A table with when it was made and whether its cells were all there.
#[derive(Debug, Clone)]
struct Kept {
    key: Key,
    made: Timestamp,
    complete: bool,
    groups: Arc<[Group]>,
}

/// The tables that are kept, oldest first.
#[derive(Debug)]
pub(crate) struct Statistics {
    kept: Mutex<VecDeque<Kept>>,
    ttl: Duration,
}

impl Statistics {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { kept: Mutex::default(), ttl }
    }

    fn get(&self, key: &Key, now: Timestamp) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|k| k.key == *key && now < k.made.after(self.ttl)).cloned()
    }

    /// Keeps tables of a snapshot. What is of no snapshot that can be pinned goes.
    fn put(&self, tables: Vec<Kept>, now: Timestamp, pinnable: &[u64]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let new = |key: &Key| tables.iter().any(|table| table.key == *key);
        kept.retain(|k| now < k.made.after(self.ttl) && pinnable.contains(&k.key.0) && !new(&k.key));
        kept.extend(tables);
        while kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    }
}

impl Engine {
    /// Works out the statistics of each group, or finds them kept.
    ///
    /// # Errors
    ///
    /// As [`Engine::scan`]; [`EngineError::BadField`] for an expression that is no number.
    pub async fn group_statistics(
        &self,
        request: &StatisticsRequest,
    ) -> Result<StatisticsAnswer, EngineError> {
        let spec = ScanSpec {
            columns: request.exprs.clone(),
            universe: request.universe.clone(),
            limit: LIMIT_MAX,
            ..ScanSpec::default()
        };
        let plan = self.0.plans.get(&spec)?;
        for (at, output) in plan.outputs.iter().enumerate() {
            if !matches!(plan.node(output.node).kind, ValueKind::Number | ValueKind::Integer) {
                let message = format!("the expression {at} is no number; statistics are of numbers");
                return Err(EngineError::BadField { field: "exprs", message });
            }
        }
        let now = self.clock().now();
        let published = self.pin(&request.pin).await?;
        known_universes(&spec, &plan, &published)?;
        let population = select(&spec.universe, &published.snapshot).population.digest();
        let keys = |epoch: u64, population: Digest| -> Vec<Key> {
            plan.outputs.iter().map(|o| (epoch, plan.node(o.node).digest, population, request.by)).collect()
        };
        let entry = |at: usize, groups: Arc<[Group]>, kept: bool| ExprStatistics {
            expr: plan.node(plan.outputs[at].node).text.to_string(),
            unit: plan.outputs[at].unit.clone(),
            groups,
            kept,
        };
        let known: Option<Vec<Kept>> = keys(published.snapshot.epoch, population)
            .iter()
            .map(|key| self.0.statistics.get(key, now))
            // What lacked cells is tried again where fetching is allowed.
            .map(|kept| kept.filter(|k| k.complete || request.policy == DataPolicy::CachedOnly))
            .collect();
        if let Some(known) = known {
            let complete = known.iter().all(|k| k.complete);
            let exprs = known.into_iter().enumerate().map(|(at, k)| entry(at, k.groups, true)).collect();
            return Ok(StatisticsAnswer { published, exprs, complete, diagnostics: Vec::new() });
        }
        let mut scan = ScanRequest {
            spec: spec.clone(),
            pin: request.pin.clone(),
            policy: request.policy,
            deadline: request.deadline,
            errand: request.errand,
            ..ScanRequest::default()
        };
        let mut answer = self.scan(&scan).await?;
        let published = answer.published.clone();
        let mut ids = std::mem::take(&mut answer.rows.symbols);
        let mut columns = std::mem::take(&mut answer.rows.columns);
        // One scan returns so many rows; the rest comes off the same snapshot.
        while ids.len() < answer.rows.matched {
            scan.pin = Pin::Snapshot(published.snapshot.id.as_str().to_owned());
            scan.skip = ids.len();
            let more = self.scan(&scan).await?;
            if more.rows.symbols.is_empty() {
                break;
            }
            ids.extend(more.rows.symbols);
            for (all, more) in columns.iter_mut().zip(more.rows.columns) {
                if let (Cells::Numbers(all), Cells::Numbers(more)) = (all, more) {
                    all.extend(more);
                }
            }
        }
        let snapshot = &published.snapshot;
        let population = select(&spec.universe, snapshot).population.digest();
        let mut tables = Vec::new();
        let mut exprs = Vec::new();
        for (at, (key, cells)) in keys(snapshot.epoch, population).into_iter().zip(columns).enumerate() {
            let Cells::Numbers(values) = cells else { continue };
            let groups: Arc<[Group]> = grouped(snapshot, request.by, &ids, &values).into();
            tables.push(Kept { key, made: now, complete: answer.complete, groups: groups.clone() });
            exprs.push(entry(at, groups, false));
        }
        let pinnable: Vec<u64> = self.snapshots().iter().map(|(p, _)| p.snapshot.epoch).collect();
        self.0.statistics.put(tables, now, &pinnable);
        Ok(StatisticsAnswer {
            published,
            exprs,
            complete: answer.complete,
            diagnostics: std::mem::take(&mut answer.diagnostics),
        })
    }

    /// Works out ahead what is asked for most: the factors' values and their places within each sector, which scans
    /// of the same snapshot then find. Makes no provider call.
    ///
    /// # Errors
    ///
    /// As [`Engine::scan`].
    pub async fn prepare_statistics(&self) -> Result<(), EngineError> {
        let request = StatisticsRequest {
            universe: UniverseSelector::default(),
            by: TextAttribute::Sector,
            exprs: FACTORS.map(str::to_owned).to_vec(),
            pin: Pin::Newest,
            policy: DataPolicy::CachedOnly,
            deadline: None,
            errand: Errand::background(),
        };
        self.group_statistics(&request).await?;
        let places = FACTORS.iter().flat_map(|factor| {
            ["percentile", "zscore", "robust_zscore"].map(|place| format!("{place}({factor}, by=sector)"))
        });
        let spec = ScanSpec { columns: places.collect(), limit: 1, ..ScanSpec::default() };
        let scan = ScanRequest { spec, policy: DataPolicy::CachedOnly, ..ScanRequest::default() };
        self.scan(&scan).await.map(drop)
    }
}

/// The values of each group, by its text.
fn grouped(snapshot: &Snapshot, by: TextAttribute, ids: &[SymbolId], values: &[f64]) -> Vec<Group> {
    let column = snapshot.universe.text(by);
    let mut found: BTreeMap<Arc<str>, (Vec<f64>, usize)> = BTreeMap::new();
    for (id, value) in ids.iter().zip(values) {
        let Some(name) = column.get(*id) else { continue };
        let (there, missing) = match found.get_mut(name) {
            Some(group) => group,
            None => found.entry(name.clone()).or_default(),
        };
        if value.is_nan() { *missing += 1 } else { there.push(*value) }
    }
    found.into_iter().map(|(name, (values, missing))| Group::new(name, values, missing)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_linear_between_neighbours() {
        let group = Group::new(Arc::from("Energy"), vec![4.0, 1.0, 2.0, 3.0], 1);
        assert_eq!([0.0, 50.0, 100.0, 25.0].map(|p| group.percentile(p)), [1.0, 2.5, 4.0, 1.75]);
        assert_eq!((group.mean, group.deviation), (2.5, 1.25_f64.sqrt()));
        assert_eq!(group.median_deviation(), 1.0);
        let none = Group::new(Arc::from("Energy"), Vec::new(), 3);
        assert!(none.percentile(50.0).is_nan() && none.mean.is_nan() && none.median_deviation().is_nan());
    }

    #[test]
    fn tables_go_with_their_snapshot_and_after_a_day_and_are_bounded() {
        let statistics = Statistics::new(Duration::from_secs(86_400));
        let kept = |epoch: u64, node: u128, made: i64| Kept {
            key: (epoch, Digest(node), Digest(0), TextAttribute::Sector),
            made: Timestamp::from_seconds(made),
            complete: true,
            groups: Arc::from([]),
        };
        let get = |epoch: u64, node: u128, at: i64| {
            statistics.get(&kept(epoch, node, 0).key, Timestamp::from_seconds(at)).is_some()
        };
        statistics.put(vec![kept(1, 1, 0)], Timestamp::from_seconds(0), &[1]);
        assert!(get(1, 1, 86_399) && !get(1, 1, 86_400) && !get(2, 1, 0) && !get(1, 2, 0));
        statistics.put(vec![kept(2, 1, 10)], Timestamp::from_seconds(10), &[2]);
        assert!(!get(1, 1, 10) && get(2, 1, 10));
        for node in 0..200 {
            statistics.put(vec![kept(2, node, 20)], Timestamp::from_seconds(20), &[2]);
        }
        assert_eq!(statistics.kept.lock().unwrap().len(), KEPT_MAX);
        assert!(get(2, 199, 20) && !get(2, 0, 20));
    }
}
