//! The order of an answer: rank key, then symbol; null last both ways; and how ranked rows leave a backend.

use std::sync::Arc;

use crate::plan::{NodeId, Op, Plan, TextSource, ValueKind};
use crate::scan::Order;
use crate::snapshot::Snapshot;
use crate::symbol::SymbolId;
use crate::universe::Population;

/// One column of ranked rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// Numbers, whole numbers and bools; NaN is null.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<Option<Arc<str>>>),
}

/// What a backend answers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RankedRows {
    /// Symbols of the page, best first.
    pub symbols: Vec<SymbolId>,
    /// Columns in the plan's output order, each as long as `symbols`.
    pub columns: Vec<Cells>,
    /// Rows that passed the filter, before any limit.
    pub matched: usize,
    /// Rows whose filter was false.
    pub filter_false: usize,
    /// Rows whose filter was null.
    pub filter_null: usize,
    /// Rows left out because the symbol has no bar and the plan needs one.
    pub no_bars: usize,
    /// Time spent per node, where it was measured.
    pub timings: Vec<(NodeId, std::time::Duration)>,
    /// Nodes answered from the memo.
    pub memoized: Vec<NodeId>,
}

/// A number that sorts ascending the way its key ranks: in the direction of the ranking, null last in both.
/// Integers compare several times faster than floats that may be null.
fn place(order: Order, key: f64) -> u64 {
    if key.is_nan() {
        return u64::MAX;
    }
    // Adding zero makes the two zeros one; then the sign bit is turned so that bits order as the numbers do.
    let bits = (key + 0.0).to_bits();
    let ascending = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    if order == Order::Descending { !ascending } else { ascending }
}

/// A symbol at its place.
fn ranked(place: u64, id: SymbolId) -> u128 {
    u128::from(place) << 32 | u128::from(id.0)
}

/// Filters, ranks and cuts. `column` gives the last values of a root node, one per symbol of the universe;
/// it is asked for the filter, the rank key and every output that is not text.
///
/// Only the page is sorted: the rest of the matches are split off by selection.
#[must_use]
pub fn select<'v>(
    plan: &Plan,
    snapshot: &Snapshot,
    population: &Population,
    skip: usize,
    column: &dyn Fn(NodeId) -> &'v [f64],
) -> RankedRows {
    let mut rows = RankedRows::default();
    let panel = snapshot.panel(plan.adjustment);
    let needs_bars = plan.touches_bars();
    let filter = plan.filter.map(column);
    let key = plan.rank_by.map(column);
    // Place above symbol in one integer: equal keys go by symbol, ascending, and one comparison does.
    let mut matched: Vec<u128> = Vec::with_capacity(population.count());
    for id in population.ids() {
        if needs_bars && panel.is_none_or(|p| p.bars(id) == 0) {
            rows.no_bars += 1;
            continue;
        }
        match filter.map(|f| f[id.index()]) {
            Some(v) if v.is_nan() => rows.filter_null += 1,
            Some(0.0) => rows.filter_false += 1,
            _ => matched.push(ranked(key.map_or(0, |k| place(plan.order, k[id.index()])), id)),
        }
    }
    rows.matched = matched.len();
    if let Some(attribute) = plan.group_by.filter(|_| plan.limit_per_group > 0) {
        // Symbols whose attribute is not known are one group of their own.
        let codes = snapshot.universe.text(attribute).codes();
        let mut taken = vec![0_usize; snapshot.universe.text(attribute).dictionary().len()];
        matched.sort_unstable();
        matched.retain(|row| {
            let taken = &mut taken[codes[*row as u32 as usize] as usize];
            *taken += 1;
            *taken <= plan.limit_per_group
        });
    }
    let end = skip.saturating_add(plan.limit).min(matched.len());
    if plan.rank_by.is_some() {
        if end < matched.len() {
            matched.select_nth_unstable(end);
            matched.truncate(end);
        }
        matched.sort_unstable();
    }
    rows.symbols = matched.get(skip..end).unwrap_or_default().iter().map(|m| SymbolId(*m as u32)).collect();
    rows.columns =
        plan.outputs.iter().map(|o| gather(plan, snapshot, o.node, &rows.symbols, column)).collect();
    rows
}

fn gather<'v>(
    plan: &Plan,
    snapshot: &Snapshot,
    node: NodeId,
    symbols: &[SymbolId],
    column: &dyn Fn(NodeId) -> &'v [f64],
) -> Cells {
    let universe = &snapshot.universe;
    match &plan.node(node).op {
        Op::Text(TextSource::Symbol) => {
            Cells::Texts(symbols.iter().map(|id| Some(Arc::from(universe.symbol(*id).as_str()))).collect())
        }
        Op::Text(TextSource::Attribute(attribute)) => {
            let text = universe.text(*attribute);
            Cells::Texts(symbols.iter().map(|id| text.get(*id).cloned()).collect())
        }
        _ => {
            let values = column(node);
            Cells::Numbers(symbols.iter().map(|id| values[id.index()]).collect())
        }
    }
}

/// Whether a root's values come as numbers from a backend (text columns are read off the universe).
#[must_use]
pub fn is_numeric(plan: &Plan, node: NodeId) -> bool {
    plan.node(node).kind != ValueKind::Text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_last_both_ways_and_ties_go_by_symbol() {
        let keys = [f64::NAN, 1.0, -0.0, 0.0, 2.0, -3.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -1e-300];
        for order in [Order::Ascending, Order::Descending] {
            let mut rows: Vec<u128> =
                keys.iter().zip(0..).map(|(k, i)| ranked(place(order, *k), SymbolId(i))).collect();
            rows.sort_unstable();
            let ids: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
            match order {
                Order::Ascending => assert_eq!(ids, [7, 5, 9, 2, 3, 8, 1, 4, 6, 0]),
                Order::Descending => assert_eq!(ids, [6, 4, 1, 8, 2, 3, 9, 5, 7, 0]),
            }
        }
    }
}
