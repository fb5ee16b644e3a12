//! Functions over a population and over its groups, and what is computed from them: one number per symbol each.
//! Shared by every backend, because by then there is only one number per symbol left.
//!
//! Sums run in symbol order, so that neither threads nor tiles change a bit. Not here: anything over bars.

use std::collections::HashMap;
use std::sync::Arc;

use crate::attribute::attribute_column;
use crate::plan::{Cross, NodeId, Op, Plan, Shape, Stage};
use crate::scalar::{self, finite};
use crate::snapshot::Snapshot;
use crate::symbol::SymbolId;
use crate::universe::{Population, TextAttribute, Universe};

/// One value per symbol of the universe.
pub type Column = Arc<[f64]>;

/// Group of a symbol that is in none.
const NO_GROUP: u32 = u32::MAX;

/// Whether a node is computed from whole columns, after a backend has done what is below.
#[must_use]
pub fn is_upper(plan: &Plan, node: NodeId) -> bool {
    matches!(plan.node(node).stage, Stage::CrossSection | Stage::Scalar)
}

/// The nodes whose columns a backend has to compute for `roots`, each once: those of the roots that depend on no
/// other symbol, and what the others read from below. `known` says which columns are there already.
#[must_use]
pub fn ground(plan: &Plan, roots: &[NodeId], known: &dyn Fn(NodeId) -> bool) -> Vec<NodeId> {
    below(plan, roots, known, &|id| is_upper(plan, id))
}

/// The same where a backend computes whole series alone: everything with one number per symbol is left to
/// [`raise`].
#[must_use]
pub fn ground_of_series(plan: &Plan, roots: &[NodeId]) -> Vec<NodeId> {
    let single = |id: NodeId| {
        let node = plan.node(id);
        let elementwise = matches!(node.op, Op::Unary(_) | Op::Binary(_) | Op::Round(_) | Op::If);
        is_upper(plan, id) || (node.shape != Shape::Series && node.stage != Stage::Attribute && elementwise)
    };
    let found = below(plan, roots, &|_| false, &single);
    found.into_iter().filter(|id| plan.node(*id).stage != Stage::Attribute).collect()
}

fn below(
    plan: &Plan,
    roots: &[NodeId],
    known: &dyn Fn(NodeId) -> bool,
    is_upper: &dyn Fn(NodeId) -> bool,
) -> Vec<NodeId> {
    let mut seen = vec![false; plan.nodes.len()];
    let mut open: Vec<(NodeId, bool)> = roots.iter().rev().map(|root| (*root, true)).collect();
    let mut found = Vec::new();
    while let Some((id, is_root)) = open.pop() {
        if std::mem::replace(&mut seen[id.index()], true) || known(id) {
            continue;
        }
        let node = plan.node(id);
        if is_upper(id) {
            open.extend(node.inputs.iter().rev().map(|input| (*input, false)));
        } else if is_root || node.stage != Stage::Attribute {
            found.push(id);
        }
    }
    found
}

/// Fills in the columns of `roots` that depend on other symbols, level by level, from those that [`ground`] named.
/// Columns are in node order.
pub fn raise(
    plan: &Plan,
    snapshot: &Snapshot,
    population: &Population,
    roots: &[NodeId],
    columns: &mut [Option<Column>],
) {
    let mut needed = vec![false; plan.nodes.len()];
    for root in roots {
        needed[root.index()] |= columns[root.index()].is_none();
    }
    for index in (0..plan.nodes.len()).rev() {
        let node = &plan.nodes[index];
        if needed[index] && columns[index].is_none() && node.stage != Stage::Attribute {
            for input in &node.inputs {
                needed[input.index()] = true;
            }
        }
    }
    let mut grouped: HashMap<Arc<[TextAttribute]>, Groups> = HashMap::new();
    for index in (0..plan.nodes.len()).filter(|index| needed[*index]) {
        if columns[index].is_some() {
            continue;
        }
        let node = &plan.nodes[index];
        let input = |k: usize| columns[node.inputs[k].index()].as_deref().unwrap_or_default();
        let column: Column = match &node.op {
            Op::Cross(op, by) => {
                let groups = grouped.entry(by.clone()).or_insert_with(|| Groups::new(&snapshot.universe, by));
                let condition = (node.inputs.len() > 1).then(|| input(1));
                across(*op, input(0), condition, groups, population).into()
            }
            _ if node.stage == Stage::Attribute => {
                attribute_column(plan, NodeId(u32::try_from(index).unwrap_or(u32::MAX)), snapshot).into()
            }
            Op::Unary(op) => input(0).iter().map(|x| scalar::unary(*op, *x)).collect(),
            Op::Binary(op) => {
                input(0).iter().zip(input(1)).map(|(a, b)| scalar::binary(*op, *a, *b)).collect()
            }
            Op::Round(digits) => input(0).iter().map(|x| scalar::round(*digits, *x)).collect(),
            Op::If => {
                let (c, a, b) = (input(0), input(1), input(2));
                (0..c.len()).map(|i| scalar::choose(c[i], a[i], b[i])).collect()
            }
            _ => vec![f64::NAN; snapshot.universe.len()].into(),
        };
        columns[index] = Some(column);
    }
}

/// The group of every symbol.
#[derive(Debug, Clone)]
pub struct Groups {
    codes: Vec<u32>,
    count: usize,
}

impl Groups {
    /// Symbols alike in all of `by` are one group; one that lacks any of them is in none. Without attributes
    /// everybody is one group.
    #[must_use]
    pub fn new(universe: &Universe, by: &[TextAttribute]) -> Self {
        let Some((first, rest)) = by.split_first() else {
            return Self { codes: vec![0; universe.len()], count: 1 };
        };
        let column = universe.text(*first);
        let place = |code: &u32| if *code == 0 { NO_GROUP } else { *code };
        let mut codes: Vec<u32> = column.codes().iter().map(place).collect();
        let mut count = column.dictionary().len();
        for attribute in rest {
            let mut pairs: HashMap<(u32, u32), u32> = HashMap::new();
            for (code, other) in codes.iter_mut().zip(universe.text(*attribute).codes()) {
                *code = if *code == NO_GROUP || *other == 0 {
                    NO_GROUP
                } else {
                    let next = u32::try_from(pairs.len()).unwrap_or(NO_GROUP);
                    *pairs.entry((*code, *other)).or_insert(next)
                };
            }
            count = pairs.len();
        }
        Self { codes, count }
    }

    /// The group of a symbol.
    #[must_use]
    pub fn of(&self, id: SymbolId) -> Option<usize> {
        let code = *self.codes.get(id.index())?;
        (code != NO_GROUP).then_some(code as usize)
    }
}

/// A function over the members of a population for whom `condition` is true, in groups.
#[must_use]
pub fn across(
    op: Cross,
    x: &[f64],
    condition: Option<&[f64]>,
    groups: &Groups,
    population: &Population,
) -> Vec<f64> {
    let takes_part = |index: usize| {
        !x[index].is_nan() && groups.codes[index] != NO_GROUP && condition.is_none_or(|c| c[index] == 1.0)
    };
    // Members by group, within one in symbol order: a counting sort.
    let mut ends = vec![0_usize; groups.count + 1];
    let members: Vec<usize> = population.ids().map(SymbolId::index).filter(|i| takes_part(*i)).collect();
    for member in &members {
        ends[groups.codes[*member] as usize + 1] += 1;
    }
    for at in 1..ends.len() {
        ends[at] += ends[at - 1];
    }
    let mut places = ends.clone();
    let mut sorted = vec![0_usize; members.len()];
    for member in members {
        let place = &mut places[groups.codes[member] as usize];
        sorted[*place] = member;
        *place += 1;
    }
    let mut out = vec![f64::NAN; x.len()];
    let mut values: Vec<f64> = Vec::new();
    let mut results: Vec<f64> = Vec::new();
    for bounds in ends.windows(2) {
        let group = &sorted[bounds[0]..bounds[1]];
        if group.is_empty() {
            continue;
        }
        values.clear();
        values.extend(group.iter().map(|member| x[*member]));
        results.clear();
        results.resize(group.len(), f64::NAN);
        within(op, &values, &mut results);
        for (member, result) in group.iter().zip(&results) {
            out[*member] = finite(*result);
        }
    }
    out
}

/// A function over the values of one group; there is at least one.
fn within(op: Cross, x: &[f64], out: &mut [f64]) {
    let count = x.len() as f64;
    let mean = || x.iter().sum::<f64>() / count;
    match op {
        Cross::Rank => ties(x, |below, equal| count - (below + equal) + 1.0, out),
        Cross::Percentile => ties(x, |below, equal| percentile(below, equal, count), out),
        Cross::Bucket(n) => {
            let n = f64::from(n);
            ties(x, |below, equal| (1.0 + (percentile(below, equal, count) * n / 100.0).floor()).min(n), out);
        }
        Cross::ZScore => {
            if x.iter().all(|v| *v == x[0]) {
                return;
            }
            let mean = mean();
            let squares = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
            let deviation = (squares / count).sqrt();
            each(x, out, |v| (v - mean) / deviation);
        }
        Cross::RobustZScore { clip } => {
            let mut scratch = x.to_vec();
            let middle = median(&mut scratch);
            scratch.clear();
            scratch.extend(x.iter().map(|v| (v - middle).abs()));
            let scale = 1.4826 * median(&mut scratch);
            if scale > 0.0 {
                let bound = if clip > 0.0 { clip } else { f64::INFINITY };
                each(x, out, |v| ((v - middle) / scale).max(-bound).min(bound));
            }
        }
        Cross::Winsorize { lo, hi } => {
            let mut sorted = x.to_vec();
            sorted.sort_unstable_by(f64::total_cmp);
            let last = x.len() - 1;
            let low = sorted[((lo * count).floor() as usize).min(last)];
            let high = sorted[((hi * count).ceil() as usize).saturating_sub(1).min(last)];
            each(x, out, |v| v.max(low).min(high));
        }
        Cross::Demean => {
            let mean = mean();
            each(x, out, |v| v - mean);
        }
        Cross::Mean => out.fill(mean()),
        Cross::Median => out.fill(median(&mut x.to_vec())),
        Cross::Sum => out.fill(x.iter().sum()),
        Cross::Count => out.fill(count),
    }
}

fn each(x: &[f64], out: &mut [f64], f: impl Fn(f64) -> f64) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = f(*x);
    }
}

fn percentile(below: f64, equal: f64, count: f64) -> f64 {
    100.0 * (below + equal / 2.0) / count
}

/// The result of each value from how many are below it and how many are equal to it, itself included.
fn ties(x: &[f64], result: impl Fn(f64, f64) -> f64, out: &mut [f64]) {
    // Numbers as integers of the same order: several times faster to sort.
    let key = |v: f64| {
        let bits = (v + 0.0).to_bits();
        if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    };
    let mut order: Vec<(u64, u32)> = x.iter().map(|v| key(*v)).zip(0..).collect();
    order.sort_unstable();
    let mut from = 0;
    for equal in order.chunk_by(|a, b| a.0 == b.0) {
        let value = result(from as f64, equal.len() as f64);
        for (_, at) in equal {
            out[*at as usize] = value;
        }
        from += equal.len();
    }
}

/// The middle of the sorted values, or the mean of the two middle ones; reorders them.
fn median(values: &mut [f64]) -> f64 {
    let (count, half) = (values.len(), values.len() / 2);
    let (below, middle, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    let middle = *middle;
    if !count.is_multiple_of(2) {
        return middle;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    f64::midpoint(lower, middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(op: Cross, x: &[f64]) -> Vec<f64> {
        let groups = Groups { codes: vec![0; x.len()], count: 1 };
        across(op, x, None, &groups, &Population::all(x.len()))
    }

    #[test]
    fn ranks_share_places_and_leave_nulls_out() {
        let x = [3.0, f64::NAN, 5.0, 3.0, -1.0];
        assert_eq!(format!("{:?}", all(Cross::Rank, &x)), "[2.0, NaN, 1.0, 2.0, 4.0]");
        assert_eq!(format!("{:?}", all(Cross::Percentile, &x)), "[50.0, NaN, 87.5, 50.0, 12.5]");
        assert_eq!(all(Cross::Percentile, &[7.0]), [50.0]);
        assert_eq!(all(Cross::Bucket(2), &[1.0, 2.0, 3.0, 4.0]), [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(all(Cross::Rank, &[0.0, -0.0]), [1.0, 1.0]);
    }

    #[test]
    fn what_does_not_vary_has_no_score() {
        assert!(all(Cross::ZScore, &[0.1; 10]).iter().all(|v| v.is_nan()));
        assert!(all(Cross::ZScore, &[4.0]).iter().all(|v| v.is_nan()));
        assert!(all(Cross::RobustZScore { clip: 0.0 }, &[1.0, 1.0, 1.0, 9.0]).iter().all(|v| v.is_nan()));
        assert_eq!(all(Cross::ZScore, &[1.0, 3.0]), [-1.0, 1.0]);
        let clipped = all(Cross::RobustZScore { clip: 1.5 }, &[1.0, 2.0, 3.0, 4.0, 90.0]);
        assert_eq!((clipped[0], clipped[4]), (-2.0 / 1.4826, 1.5));
    }

    #[test]
    fn limits_and_statistics() {
        let x: Vec<f64> = (0..100).map(f64::from).collect();
        let limited = all(Cross::Winsorize { lo: 0.05, hi: 0.9 }, &x);
        assert_eq!((limited[0], limited[5], limited[89], limited[99]), (5.0, 5.0, 89.0, 89.0));
        assert_eq!(all(Cross::Median, &[1.0, 2.0, 4.0, 9.0]), [3.0; 4]);
        assert_eq!(all(Cross::Count, &[1.0, f64::NAN])[0], 1.0);
        assert_eq!(all(Cross::Demean, &[1.0, 2.0, 6.0]), [-2.0, -1.0, 3.0]);
    }

    #[test]
    fn groups_and_conditions_split_a_population() {
        let groups = Groups { codes: vec![1, 0, 1, NO_GROUP, 0], count: 2 };
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        let condition = [1.0, 1.0, 1.0, 1.0, f64::NAN];
        let everybody = Population::all(5);
        let sums = across(Cross::Sum, &x, None, &groups, &everybody);
        assert_eq!(format!("{sums:?}"), "[4.0, 7.0, 4.0, NaN, 7.0]");
        let sums = across(Cross::Sum, &x, Some(&condition), &groups, &everybody);
        assert_eq!(format!("{sums:?}"), "[4.0, 2.0, 4.0, NaN, NaN]");
        let few = Population::new(vec![true, true, false, true, true]);
        assert_eq!(across(Cross::Count, &x, None, &groups, &few)[0], 1.0);
    }
}
