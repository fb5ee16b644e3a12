//! Nodes of stage [`Stage::Attribute`](crate::plan::Stage): over what the universe knows, no bar touched. Shared by
//! every backend, as there is nothing in it that a device could do better. Not here: text columns of an answer,
//! which are read off the universe as they are.

use std::sync::Arc;

use crate::calendar::Calendar;
use crate::named::is_default;
use crate::plan::{NodeId, NumberAttribute, Op, Plan, Stage, TextSource};
use crate::scalar;
use crate::snapshot::Snapshot;
use crate::universe::Universe;

/// The values of a node of stage attribute, one per symbol of the snapshot's universe; NaN is null. A text node
/// has no numbers and gives null throughout, as does a node of a later stage.
#[must_use]
pub fn attribute_column(plan: &Plan, node: NodeId, snapshot: &Snapshot) -> Vec<f64> {
    let universe = &*snapshot.universe;
    let count = universe.len();
    let asked = plan.node(node);
    if asked.stage != Stage::Attribute {
        return vec![f64::NAN; count];
    }
    // Inputs come before their readers, so one pass computes each node below this one once.
    let mut needed = vec![false; node.index() + 1];
    needed[node.index()] = true;
    for i in (0..=node.index()).rev() {
        if needed[i] {
            plan.nodes[i].inputs.iter().for_each(|input| needed[input.index()] = true);
        }
    }
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); node.index() + 1];
    for i in (0..=node.index()).filter(|i| needed[*i]) {
        let inputs: Vec<&[f64]> =
            plan.nodes[i].inputs.iter().map(|input| columns[input.index()].as_slice()).collect();
        let column = evaluate(&plan.nodes[i].op, &inputs, snapshot);
        columns[i] = column;
    }
    columns.pop().unwrap_or_default()
}

fn evaluate(op: &Op, inputs: &[&[f64]], snapshot: &Snapshot) -> Vec<f64> {
    let universe = &*snapshot.universe;
    let count = universe.len();
    match (op, inputs) {
        (Op::Constant(value), _) => vec![*value; count],
        (Op::Attribute(attribute), _) => number(*attribute, snapshot),
        (Op::TextIn(source, texts), _) => {
            test(universe, *source, |t| texts.iter().any(|known| **known == *t))
        }
        (Op::TextContains(source, part), _) => {
            let part = part.to_ascii_lowercase();
            test(universe, *source, |t| t.to_ascii_lowercase().contains(&part))
        }
        (Op::TextStartsWith(source, part), _) => {
            let part = part.to_ascii_lowercase();
            test(universe, *source, |t| t.to_ascii_lowercase().starts_with(&part))
        }
        (Op::TextIsNull(source), _) => {
            test(universe, *source, |_| false).into_iter().map(|v| scalar::from_bool(v.is_nan())).collect()
        }
        (Op::InUniverse(id), _) if is_default(id) => {
            universe.active().iter().map(|a| scalar::from_bool(*a)).collect()
        }
        (Op::InUniverse(id), _) => match snapshot.named.members(id, snapshot) {
            Some(members) => members.iter().map(|m| scalar::from_bool(*m)).collect(),
            None => vec![f64::NAN; count],
        },
        (Op::Unary(op), [x]) => x.iter().map(|x| scalar::unary(*op, *x)).collect(),
        (Op::Round(digits), [x]) => x.iter().map(|x| scalar::round(*digits, *x)).collect(),
        (Op::Binary(op), [a, b]) => a.iter().zip(*b).map(|(a, b)| scalar::binary(*op, *a, *b)).collect(),
        (Op::If, [c, a, b]) => (0..count).map(|i| scalar::choose(c[i], a[i], b[i])).collect(),
        _ => vec![f64::NAN; count],
    }
}

fn number(attribute: NumberAttribute, snapshot: &Snapshot) -> Vec<f64> {
    let universe = &*snapshot.universe;
    match attribute {
        NumberAttribute::MarketCap => universe.market_cap().to_vec(),
        NumberAttribute::SharesOutstanding => universe.shares_outstanding().to_vec(),
        NumberAttribute::Active => universe.active().iter().map(|a| scalar::from_bool(*a)).collect(),
        NumberAttribute::DaysListed => {
            let calendar = Calendar::us_equities();
            let newest = snapshot.newest();
            let days = |listed: &Option<_>| match (*listed, newest) {
                (Some(from), Some(to)) => calendar.count(from, to) as f64,
                _ => f64::NAN,
            };
            universe.list_date().iter().map(days).collect()
        }
    }
}

/// One test per distinct text, not one per symbol; null where the text is not known.
fn test(universe: &Universe, source: TextSource, holds: impl Fn(&str) -> bool) -> Vec<f64> {
    match source {
        TextSource::Symbol => {
            universe.symbols().iter().map(|s| scalar::from_bool(holds(s.as_str()))).collect()
        }
        TextSource::Attribute(attribute) => {
            let column = universe.text(attribute);
            let answer = |text: &Arc<str>| scalar::from_bool(holds(text));
            let mut answers: Vec<f64> = column.dictionary().iter().map(answer).collect();
            if let Some(unknown) = answers.first_mut() {
                *unknown = f64::NAN;
            }
            column
                .codes()
                .iter()
                .map(|code| answers.get(*code as usize).copied().unwrap_or(f64::NAN))
                .collect()
        }
    }
}
