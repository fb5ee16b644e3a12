//! Answers of a server as output: header, rows, diagnostics and summary in the forms that the writers take.

use std::sync::Arc;
use std::time::Duration;

use panscan_client::{
    Batch, Cell as WireCell, Diagnostic, Header, NodeTiming, Row, Severity, Summary, ValueKind,
};
use serde_json::{Value, json};

use super::output::{Cell, CellKind, Column, Head, RowWriter};

/// Symbols of a diagnostic that are shown to people.
const SYMBOLS_SHOWN: usize = 8;

/// The columns and what goes with them: rank and symbol first, then those of the header.
#[must_use]
pub fn head(header: &Header) -> Head {
    let mut columns = vec![Column::new("rank", CellKind::Rank), Column::new("symbol", CellKind::Text)];
    columns.extend(header.columns.iter().map(|column| Column {
        name: column.name.clone(),
        unit: column.unit.clone(),
        kind: match column.kind {
            ValueKind::Number => CellKind::Number,
            ValueKind::Integer => CellKind::Integer,
            ValueKind::Bool => CellKind::Bool,
            ValueKind::Text => CellKind::Text,
        },
    }));
    Head {
        columns,
        info: header_value(header),
        metadata: vec![
            ("snapshot_id".to_owned(), header.snapshot_id.clone()),
            ("fingerprint".to_owned(), header.fingerprint.clone()),
        ],
    }
}

/// The header as the JSON document has it, in the words of the wire.
#[must_use]
pub fn header_value(header: &Header) -> Value {
    let columns: Vec<Value> = header
        .columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "expr": column.expr,
                "type": kind(column.kind),
                "unit": column.unit,
                "lookback": column.lookback,
            })
        })
        .collect();
    let cost = &header.cost;
    json!({
        "scan_id": header.scan_id,
        "snapshot_id": header.snapshot_id,
        "as_of": header.as_of.to_string(),
        "history_start": header.history_start.to_string(),
        "columns": columns,
        "cost": {
            "universe_symbols": cost.universe_symbols,
            "population_symbols": cost.population_symbols,
            "nodes": cost.nodes,
            "cross_sectional_nodes": cost.cross_sectional_nodes,
            "lookback_bars": cost.lookback_bars,
            "missing_cells": cost.missing_cells,
            "provider_calls": cost.provider_calls,
            "estimated_fetch_seconds": cost.fetch_time.as_secs_f64(),
        },
        "fingerprint": header.fingerprint,
        "backend": format!("{:?}", header.backend).to_lowercase(),
        "precision": format!("{:?}", header.precision).to_lowercase(),
        "point_in_time": header.point_in_time,
        "server_version": header.server_version,
    })
}

fn kind(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Number => "number",
        ValueKind::Integer => "integer",
        ValueKind::Bool => "bool",
        ValueKind::Text => "string",
    }
}

/// Writes the rows of a batch, `lead` before the cells of each.
///
/// # Errors
///
/// What stdout says.
pub fn rows(lead: &[Cell], batch: &Batch, out: &mut dyn RowWriter) -> std::io::Result<()> {
    let mut cells = Vec::with_capacity(batch.columns.len() + 2);
    for (i, symbol) in batch.symbols.iter().enumerate() {
        cells.clear();
        cells.extend_from_slice(lead);
        cells.push(Cell::Integer(i64::try_from(batch.first_rank + i).unwrap_or(i64::MAX)));
        cells.push(Cell::Text(Arc::from(symbol.as_str())));
        cells.extend(batch.columns.iter().map(|column| taken(column.cell(i))));
        out.row(&cells)?;
    }
    out.flush()
}

/// The cells of one row.
#[must_use]
pub fn cells(row: &Row) -> Vec<Cell> {
    let lead =
        [Cell::Integer(i64::try_from(row.rank()).unwrap_or(i64::MAX)), Cell::Text(Arc::from(row.symbol()))];
    lead.into_iter().chain(row.cells().map(|(_, cell)| taken(cell))).collect()
}

fn taken(cell: WireCell<'_>) -> Cell {
    match cell {
        WireCell::Null => Cell::Null,
        WireCell::Number(value) => Cell::Number(value),
        WireCell::Integer(value) => Cell::Integer(value),
        WireCell::Bool(value) => Cell::Bool(value),
        WireCell::Text(text) => Cell::Text(Arc::from(text)),
    }
}

/// A diagnostic as the JSON document has it.
#[must_use]
pub fn diagnostic_value(diagnostic: &Diagnostic) -> Value {
    json!({
        "severity": severity(diagnostic.severity),
        "reason": diagnostic.reason,
        "message": diagnostic.message,
        "symbols": diagnostic.symbols,
        "count": diagnostic.count,
        "subject": diagnostic.subject,
        "age_seconds": diagnostic.age.map(|age| age.as_secs_f64()),
    })
}

/// A diagnostic in one line.
#[must_use]
pub fn diagnostic_line(diagnostic: &Diagnostic) -> String {
    let mut line = format!(
        "{}: {}: {}",
        severity(diagnostic.severity),
        diagnostic.reason,
        diagnostic.message.trim_end_matches('.')
    );
    let shown = &diagnostic.symbols[..diagnostic.symbols.len().min(SYMBOLS_SHOWN)];
    if !shown.is_empty() {
        line.push_str(&format!(" ({}", shown.join(", ")));
        let more = diagnostic.count.saturating_sub(shown.len() as u64);
        if more > 0 {
            line.push_str(&format!(" and {more} more"));
        }
        line.push(')');
    }
    line
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// The summary as the JSON document has it.
#[must_use]
pub fn summary_value(summary: &Summary) -> Value {
    let nodes: Vec<Value> = summary
        .nodes
        .iter()
        .map(|node| json!({"expr": node.expr, "time_us": micros(node.time), "memoized": node.memoized}))
        .collect();
    json!({
        "matched": summary.matched,
        "returned": summary.returned,
        "scanned": summary.scanned,
        "excluded": summary.excluded,
        "complete": summary.complete,
        "next_page_token": summary.next_page_token,
        "plan_us": micros(summary.plan_time),
        "fetch_us": micros(summary.fetch_time),
        "compute_us": micros(summary.compute_time),
        "total_us": micros(summary.total_time),
        "provider_calls": summary.provider_calls,
        "cells_by_tier": summary.cells_by_tier,
        "nodes": nodes,
    })
}

/// The time of a node in one line.
#[must_use]
pub fn node_line(node: &NodeTiming) -> String {
    let time = if node.memoized { "remembered".to_owned() } else { format!("{:.1} us", micros(node.time)) };
    format!("  {time:>12}  {}", node.expr)
}

/// The summary in one line.
#[must_use]
pub fn summary_line(summary: &Summary) -> String {
    let millis = |span: Duration| format!("{:.2} ms", span.as_secs_f64() * 1e3);
    let mut line = format!(
        "{} of {} matched rows, {} symbols scanned, {} (fetch {}, compute {})",
        summary.returned,
        summary.matched,
        summary.scanned,
        millis(summary.total_time),
        millis(summary.fetch_time),
        millis(summary.compute_time),
    );
    if summary.provider_calls > 0 {
        line.push_str(&format!(", {} provider calls", summary.provider_calls));
    }
    if !summary.complete {
        line.push_str("; not complete");
    }
    line
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}
