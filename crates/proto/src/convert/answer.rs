//! What stands around the rows of an answer: header, diagnostics and summary, as the server says them and as a
//! client reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use panscan_core::Kind;
use panscan_core::calendar::Calendar;
use panscan_core::cover::Counts;
use panscan_core::diagnostic::{self, Severity};
use panscan_core::plan::{Plan, Stage, ValueKind};
use panscan_core::rank::RankedRows;
use panscan_core::scan::{Backend, Precision};
use panscan_core::snapshot::Snapshot;
use panscan_core::time::Timestamp;

use super::word::Word;
use super::{read_duration, read_timestamp, wire_duration, wire_timestamp};
use crate::error::Error;
use crate::{kind, v1};

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Canonical text of its expression.
    pub expr: String,
    /// What its values are.
    pub kind: ValueKind,
    /// Their unit, e.g. `USD`; may be empty.
    pub unit: String,
    /// Bars before its first value.
    pub lookback: u32,
}

/// What a scan touches and costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Symbols of the universe.
    pub universe_symbols: u64,
    /// Symbols that the scan looks at.
    pub population_symbols: u64,
    /// Nodes of the plan.
    pub nodes: u64,
    /// Nodes that compare symbols.
    pub cross_sectional_nodes: u64,
    /// Bars per symbol that must be held.
    pub lookback_bars: u64,
    /// Cells (one symbol, one session) that are not held yet.
    pub missing_cells: u64,
    /// Provider calls that would bring them.
    pub provider_calls: u64,
    /// How long those take inside the rate limit.
    pub fetch_time: Duration,
    /// How long the computation takes; zero where it is not known.
    pub compute_time: Duration,
    /// Bytes that the computation reads.
    pub bytes_touched: u64,
    /// The calls by kind: days of the whole market, spans of one symbol, and files, which count against no limit.
    pub kinds: Counts,
    /// Bytes of all answers, estimated.
    pub fetch_bytes: u64,
}

impl Cost {
    /// The part that the plan alone says.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let cross = plan.nodes.iter().filter(|n| n.stage == Stage::CrossSection).count();
        Self {
            nodes: plan.nodes.len() as u64,
            cross_sectional_nodes: cross as u64,
            lookback_bars: plan.bars_needed().into(),
            ..Self::default()
        }
    }
}

/// The first message of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Unique per run.
    pub scan_id: String,
    /// The snapshot that it runs on.
    pub snapshot_id: String,
    /// No bar later than this takes part.
    pub as_of: Timestamp,
    /// Start of the first bar of the panel.
    pub history_start: Timestamp,
    /// Columns in output order.
    pub columns: Vec<Column>,
    /// What it touches and costs.
    pub cost: Cost,
    /// Equal for scans that mean the same.
    pub fingerprint: String,
    /// What runs it.
    pub backend: Backend,
    /// Width of the arithmetic.
    pub precision: Precision,
    /// Universe attributes are those of `as_of`.
    pub point_in_time: bool,
    /// Version of the server.
    pub server_version: String,
}

impl Header {
    /// The header of a plan's run on a snapshot, on the processor in 64 bits.
    #[must_use]
    pub fn new(scan_id: &str, plan: &Plan, snapshot: &Snapshot, cost: Cost, server_version: &str) -> Self {
        Self {
            scan_id: scan_id.to_owned(),
            snapshot_id: snapshot.id.to_string(),
            as_of: snapshot.as_of,
            history_start: Calendar::us_equities().midnight(snapshot.history_start),
            columns: columns(plan),
            cost,
            fingerprint: plan.fingerprint.to_string(),
            backend: Backend::Cpu,
            precision: Precision::F64,
            point_in_time: snapshot.point_in_time,
            server_version: server_version.to_owned(),
        }
    }
}

/// The columns of a plan.
#[must_use]
pub fn columns(plan: &Plan) -> Vec<Column> {
    let column = |output: &panscan_core::plan::Output| {
        let node = plan.node(output.node);
        Column {
            name: output.name.clone(),
            expr: node.text.to_string(),
            kind: node.kind,
            unit: output.unit.clone(),
            lookback: node.lookback,
        }
    };
    plan.outputs.iter().map(column).collect()
}

impl From<&Column> for v1::ColumnInfo {
    fn from(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            expr: column.expr.clone(),
            r#type: Some(column.kind).number(),
            unit: column.unit.clone(),
            lookback: saturated(column.lookback.into()),
        }
    }
}

impl From<&Cost> for v1::PlanCost {
    fn from(cost: &Cost) -> Self {
        Self {
            universe_symbols: saturated(cost.universe_symbols),
            population_symbols: saturated(cost.population_symbols),
            nodes: saturated(cost.nodes),
            cross_sectional_nodes: saturated(cost.cross_sectional_nodes),
            lookback_bars: saturated(cost.lookback_bars),
            missing_cells: signed(cost.missing_cells),
            provider_calls: signed(cost.provider_calls),
            estimated_fetch_time: Some(wire_duration(cost.fetch_time)),
            estimated_compute_time: Some(wire_duration(cost.compute_time)),
            bytes_touched: signed(cost.bytes_touched),
            market_days: signed(cost.kinds.days),
            ranges: signed(cost.kinds.ranges),
            files: signed(cost.kinds.files),
            fetch_bytes: signed(cost.fetch_bytes),
        }
    }
}

impl From<&Header> for v1::ScanHeader {
    fn from(header: &Header) -> Self {
        Self {
            scan_id: header.scan_id.clone(),
            snapshot_id: header.snapshot_id.clone(),
            as_of: Some(wire_timestamp(header.as_of)),
            history_start: Some(wire_timestamp(header.history_start)),
            columns: header.columns.iter().map(Into::into).collect(),
            cost: Some((&header.cost).into()),
            fingerprint: header.fingerprint.clone(),
            backend: Some(header.backend).number(),
            precision: header.precision.number(),
            point_in_time: header.point_in_time,
            server_version: header.server_version.clone(),
        }
    }
}

impl TryFrom<v1::ScanHeader> for Header {
    type Error = Error;

    fn try_from(wire: v1::ScanHeader) -> Result<Self, Error> {
        let malformed = |message: &str| Error::malformed("scan header", message);
        let column = |c: v1::ColumnInfo| {
            let kind = <Option<ValueKind>>::read(c.r#type).flatten();
            let kind = kind.ok_or_else(|| malformed("a column has no known type"))?;
            let lookback = u32::try_from(c.lookback).unwrap_or(0);
            Ok(Column { name: c.name, expr: c.expr, kind, unit: c.unit, lookback })
        };
        let at = |at: &Option<prost_types::Timestamp>, field: &str| {
            at.as_ref().and_then(read_timestamp).ok_or_else(|| malformed(&format!("{field} is missing")))
        };
        Ok(Self {
            as_of: at(&wire.as_of, "as_of")?,
            history_start: at(&wire.history_start, "history_start")?,
            columns: wire.columns.into_iter().map(column).collect::<Result<_, Error>>()?,
            cost: wire.cost.as_ref().map(Cost::from).unwrap_or_default(),
            backend: <Option<Backend>>::read(wire.backend)
                .flatten()
                .ok_or_else(|| malformed("no known backend"))?,
            precision: Precision::read(wire.precision).ok_or_else(|| malformed("no known precision"))?,
            scan_id: wire.scan_id,
            snapshot_id: wire.snapshot_id,
            fingerprint: wire.fingerprint,
            point_in_time: wire.point_in_time,
            server_version: wire.server_version,
        })
    }
}

impl From<&v1::PlanCost> for Cost {
    fn from(wire: &v1::PlanCost) -> Self {
        Self {
            universe_symbols: unsigned(wire.universe_symbols.into()),
            population_symbols: unsigned(wire.population_symbols.into()),
            nodes: unsigned(wire.nodes.into()),
            cross_sectional_nodes: unsigned(wire.cross_sectional_nodes.into()),
            lookback_bars: unsigned(wire.lookback_bars.into()),
            missing_cells: unsigned(wire.missing_cells),
            provider_calls: unsigned(wire.provider_calls),
            fetch_time: elapsed(wire.estimated_fetch_time.as_ref()),
            compute_time: elapsed(wire.estimated_compute_time.as_ref()),
            bytes_touched: unsigned(wire.bytes_touched),
            kinds: Counts {
                days: unsigned(wire.market_days),
                ranges: unsigned(wire.ranges),
                files: unsigned(wire.files),
            },
            fetch_bytes: unsigned(wire.fetch_bytes),
        }
    }
}

/// Something to know about an answer, as a client reads it: the word may be newer than this build.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// The stable word, e.g. `STALE_DATA`.
    pub reason: String,
    /// What kind of failure it was, where it was one.
    pub kind: Option<Kind>,
    /// In words.
    pub message: String,
    /// The symbols concerned, as far as they are named.
    pub symbols: Vec<String>,
    /// How many there are.
    pub count: u64,
    /// The column, provider or source concerned; may be empty.
    pub subject: String,
    /// Age of what it is about.
    pub age: Option<Duration>,
}

impl From<&diagnostic::Diagnostic> for v1::Diagnostic {
    fn from(diagnostic: &diagnostic::Diagnostic) -> Self {
        let severity = match diagnostic.reason.severity() {
            Severity::Info => v1::Severity::Info,
            Severity::Warning => v1::Severity::Warning,
            Severity::Error => v1::Severity::Error,
        };
        Self {
            severity: severity.into(),
            reason: diagnostic.reason.as_str().to_owned(),
            code: diagnostic.kind.map_or(0, |k| kind::code(k).into()),
            message: diagnostic.message.clone(),
            symbols: diagnostic.symbols.iter().map(|s| s.as_str().to_owned()).collect(),
            count: signed(diagnostic.count),
            subject: diagnostic.subject.clone(),
            age: diagnostic.age.map(wire_duration),
        }
    }
}

impl From<v1::Diagnostic> for Diagnostic {
    fn from(wire: v1::Diagnostic) -> Self {
        Self {
            severity: match v1::Severity::try_from(wire.severity) {
                Ok(v1::Severity::Error) => Severity::Error,
                Ok(v1::Severity::Warning) => Severity::Warning,
                _ => Severity::Info,
            },
            reason: wire.reason,
            kind: kind::kind(wire.code.into()),
            message: wire.message,
            symbols: wire.symbols,
            count: unsigned(wire.count),
            subject: wire.subject,
            age: wire.age.as_ref().and_then(read_duration),
        }
    }
}

/// The time that one node took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTiming {
    /// Its canonical text.
    pub expr: String,
    /// How long it took; zero where it was not measured alone.
    pub time: Duration,
    /// Its value came from the memo.
    pub memoized: bool,
}

/// The last message of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows that passed the filter, before the limit.
    pub matched: u64,
    /// Rows sent.
    pub returned: u64,
    /// Symbols looked at.
    pub scanned: u64,
    /// Symbols left out, by reason.
    pub excluded: BTreeMap<String, u64>,
    /// Nothing that the plan needs was missing or too old.
    pub complete: bool,
    /// Continues behind the last row; empty at the end.
    pub next_page_token: String,
    /// Time spent on checking and planning.
    pub plan_time: Duration,
    /// Time spent on fetching.
    pub fetch_time: Duration,
    /// Time spent on computing.
    pub compute_time: Duration,
    /// Time from the request to the summary.
    pub total_time: Duration,
    /// Provider calls made for this answer.
    pub provider_calls: u64,
    /// Cells by where they came from.
    pub cells_by_tier: BTreeMap<String, u64>,
    /// Timings, where they were asked for.
    pub nodes: Vec<NodeTiming>,
}

impl Summary {
    /// Takes over what the ranked rows say: rows by fate, so that `matched` and `excluded` add up to `scanned`.
    #[must_use]
    pub fn of(rows: &RankedRows) -> Self {
        let fates = [
            ("filter_false", rows.filter_false),
            ("filter_null", rows.filter_null),
            ("no_bars", rows.no_bars),
        ];
        let excluded: BTreeMap<String, u64> =
            fates.into_iter().filter(|(_, n)| *n > 0).map(|(why, n)| (why.to_owned(), n as u64)).collect();
        Self {
            matched: rows.matched as u64,
            returned: rows.symbols.len() as u64,
            scanned: rows.matched as u64 + excluded.values().sum::<u64>(),
            excluded,
            ..Self::default()
        }
    }

    /// The timings that the rows carry.
    #[must_use]
    pub fn timings(plan: &Plan, rows: &RankedRows) -> Vec<NodeTiming> {
        let timing = |id, time, memoized| NodeTiming { expr: plan.node(id).text.to_string(), time, memoized };
        let measured = rows.timings.iter().map(|(id, time)| timing(*id, *time, rows.memoized.contains(id)));
        let others = rows.memoized.iter().filter(|id| rows.timings.iter().all(|(t, _)| t != *id));
        measured.chain(others.map(|id| timing(*id, Duration::ZERO, true))).collect()
    }
}

impl From<&Summary> for v1::ScanSummary {
    fn from(summary: &Summary) -> Self {
        let counts = |map: &BTreeMap<String, u64>| map.iter().map(|(k, n)| (k.clone(), signed(*n))).collect();
        Self {
            matched: signed(summary.matched),
            returned: signed(summary.returned),
            scanned: signed(summary.scanned),
            excluded: counts(&summary.excluded),
            complete: summary.complete,
            next_page_token: summary.next_page_token.clone(),
            plan_time: Some(wire_duration(summary.plan_time)),
            fetch_time: Some(wire_duration(summary.fetch_time)),
            compute_time: Some(wire_duration(summary.compute_time)),
            total_time: Some(wire_duration(summary.total_time)),
            provider_calls: signed(summary.provider_calls),
            cells_by_tier: counts(&summary.cells_by_tier),
            nodes: summary
                .nodes
                .iter()
                .map(|n| v1::NodeTiming {
                    expr: n.expr.clone(),
                    time: Some(wire_duration(n.time)),
                    memoized: n.memoized,
                })
                .collect(),
        }
    }
}

impl From<v1::ScanSummary> for Summary {
    fn from(wire: v1::ScanSummary) -> Self {
        let counts = |map: BTreeMap<String, i64>| map.into_iter().map(|(k, n)| (k, unsigned(n))).collect();
        Self {
            matched: unsigned(wire.matched),
            returned: unsigned(wire.returned),
            scanned: unsigned(wire.scanned),
            excluded: counts(wire.excluded),
            complete: wire.complete,
            next_page_token: wire.next_page_token,
            plan_time: elapsed(wire.plan_time.as_ref()),
            fetch_time: elapsed(wire.fetch_time.as_ref()),
            compute_time: elapsed(wire.compute_time.as_ref()),
            total_time: elapsed(wire.total_time.as_ref()),
            provider_calls: unsigned(wire.provider_calls),
            cells_by_tier: counts(wire.cells_by_tier),
            nodes: wire
                .nodes
                .into_iter()
                .map(|n| NodeTiming { expr: n.expr, time: elapsed(n.time.as_ref()), memoized: n.memoized })
                .collect(),
        }
    }
}

pub(super) fn saturated(n: u64) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

pub(super) fn elapsed(span: Option<&prost_types::Duration>) -> Duration {
    span.and_then(read_duration).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use panscan_core::diagnostic::Reason;
    use panscan_core::plan::NodeId;

    use super::*;

    #[test]
    fn a_header_comes_back_and_a_broken_one_is_refused() {
        let header = Header {
            scan_id: "s1".into(),
            snapshot_id: "a".into(),
            as_of: Timestamp::from_seconds(1_767_214_800),
            history_start: Timestamp::from_seconds(1_735_707_600),
            columns: vec![Column {
                name: "r".into(),
                expr: "rsi(close, 14)".into(),
                kind: ValueKind::Number,
                unit: "0..100".into(),
                lookback: 14,
            }],
            cost: Cost {
                nodes: 3,
                missing_cells: 1 << 40,
                fetch_time: Duration::from_secs(9),
                ..Cost::default()
            },
            fingerprint: "f".into(),
            backend: Backend::Cpu,
            precision: Precision::F64,
            point_in_time: false,
            server_version: "0.1.0".into(),
        };
        let wire = v1::ScanHeader::from(&header);
        assert_eq!(Header::try_from(wire.clone()).unwrap(), header);
        let mut broken = wire.clone();
        broken.as_of = None;
        assert!(Header::try_from(broken).is_err());
        let mut broken = wire.clone();
        broken.columns[0].r#type = 77;
        assert!(Header::try_from(broken).is_err());
        let mut broken = wire;
        broken.backend = 0;
        assert!(Header::try_from(broken).is_err());
    }

    #[test]
    fn rows_by_fate_add_up() {
        let rows = RankedRows {
            matched: 7,
            filter_false: 5,
            no_bars: 2,
            memoized: vec![NodeId(0)],
            ..RankedRows::default()
        };
        let mut summary = Summary::of(&rows);
        assert_eq!(summary.scanned, 14);
        assert_eq!(summary.excluded.keys().collect::<Vec<_>>(), ["filter_false", "no_bars"]);
        summary.complete = true;
        summary.cells_by_tier.insert("l1".into(), 9);
        summary.nodes.push(NodeTiming {
            expr: "close".into(),
            time: Duration::from_nanos(5),
            memoized: true,
        });
        assert_eq!(Summary::from(v1::ScanSummary::from(&summary)), summary);
    }

    #[test]
    fn a_diagnostic_keeps_word_code_and_age() {
        let mut told = diagnostic::Diagnostic::new(Reason::StaleData, "old");
        told.kind = Some(Kind::Upstream);
        told.age = Some(Duration::from_secs(60));
        told.count = 3;
        let wire = v1::Diagnostic::from(&told);
        assert_eq!((wire.code, wire.severity), (14, 2));
        let read = Diagnostic::from(wire);
        assert_eq!((read.reason.as_str(), read.kind, read.count), ("STALE_DATA", Some(Kind::Upstream), 3));
        assert_eq!((read.severity, read.age), (Severity::Warning, told.age));
    }
}
