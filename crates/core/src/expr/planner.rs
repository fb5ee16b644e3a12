//! A scan's expressions together: names, their order, the columns of the answer, and the plan.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;

use super::ast::{Expr, ExprKind, Joint};
use super::error::{ERRORS_MAX, ExprError, ExprReason, Fault, PlanError, Span};
use super::graph::Graph;
use super::lower::Lowering;
use super::parser::{Parsed, is_keyword, is_name, parse};
use super::text::normal;
use super::typed::{Typed, What};
use crate::error::shortened;
use crate::indicator;
use crate::plan::{Digest, NODES_MAX, NodeId, Output, Plan, Shape};
use crate::scan::{Adjustment, LIMIT_MAX, ScanSpec, SessionHours};
use crate::time::Timeframe;

/// Columns, and definitions, at most.
const NAMED_MAX: usize = 64;

/// Columns of a scan that names none, before what it compares.
const DEFAULT_COLUMNS: [&str; 3] = ["close", "change_pct", "volume"];

/// Where an expression stands in a scan; also the order in which errors are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Filter,
    Column,
    Definition,
    RankBy,
    Other,
}

/// One expression of a scan.
struct Item<'s> {
    role: Role,
    field: String,
    text: &'s str,
    parsed: Parsed,
    /// In lower case; none where it has none, or one that may not be used.
    name: Option<String>,
    value: Typed,
}

struct Planner<'s> {
    spec: &'s ScanSpec,
    items: Vec<Item<'s>>,
    by_name: HashMap<String, usize>,
    errors: Vec<(Role, usize, ExprError)>,
    lowering: Lowering,
}

/// Checks a scan and turns it into a plan.
///
/// A column without a name is called by its text as written. Without columns the answer has close, change_pct and
/// volume, then the sides of each comparison of the filter (through `and`, `or` and `not`, and through definitions)
/// and the rank key, where they are numbers and no constants, called by their text with regular spacing.
///
/// # Errors
///
/// [`PlanError`] with every error found, at most [`ERRORS_MAX`], in order of position: filter, columns,
/// definitions, rank_by, other fields.
pub fn plan(spec: &ScanSpec) -> Result<Plan, PlanError> {
    let graph = Graph::new(spec.timeframe, spec.adjustment);
    let mut planner = Planner {
        spec,
        items: Vec::new(),
        by_name: HashMap::new(),
        errors: Vec::new(),
        lowering: Lowering::new(graph, spec.timeframe),
    };
    planner.check_fields();
    planner.read();
    planner.name_all();
    planner.find_cycles();
    planner.lower_all();
    planner.finish()
}

impl<'s> Planner<'s> {
    /// Reports a fault in the text of an item.
    fn report(&mut self, item: usize, fault: Fault) {
        let Item { role, field, text, .. } = &self.items[item];
        let error = ExprError::locate(field, text, fault);
        self.errors.push((*role, item, error));
    }

    fn report_field(&mut self, role: Role, field: &str, reason: ExprReason, message: impl Into<String>) {
        self.errors.push((role, usize::MAX, ExprError::of_field(field, reason, message)));
    }

    /// What is not an expression.
    fn check_fields(&mut self) {
        let spec = self.spec;
        let mut absent = |given: bool, field: &str, message: &str| {
            if given {
                self.report_field(Role::Other, field, ExprReason::Unimplemented, message);
            }
        };
        absent(spec.limit_per_group > 0, "scan.limit_per_group", "this build does not limit rows per group");
        absent(!spec.group_by.is_empty(), "scan.group_by", "this build does not group rows");
        absent(!spec.factors.is_empty(), "scan.factors", "this build has no factors; rank by an expression");
        absent(
            spec.timeframe != Timeframe::Day,
            "scan.timeframe",
            "this build scans daily bars only; use 1d",
        );
        absent(
            spec.adjustment == Adjustment::SplitsAndDividends,
            "scan.adjustment",
            "this build holds no dividends; adjust for splits, or not at all",
        );
        absent(
            spec.session == SessionHours::Extended,
            "scan.session",
            "this build holds regular sessions only",
        );
        if spec.limit == 0 || spec.limit > LIMIT_MAX {
            let message = format!("the limit is {}; it must be from 1 to {LIMIT_MAX}", spec.limit);
            self.report_field(Role::Other, "scan.limit", ExprReason::OutOfRange, message);
        }
        for (role, field, count) in [
            (Role::Column, "scan.columns", spec.columns.len()),
            (Role::Definition, "scan.define", spec.define.len()),
        ] {
            if count > NAMED_MAX {
                let message = format!("there are {count}; the most is {NAMED_MAX}");
                self.report_field(role, field, ExprReason::TooMany, message);
            }
        }
    }

    fn add(&mut self, role: Role, field: String, text: &'s str, name: Option<&str>) {
        let parsed = parse(text, role == Role::Column);
        let name = match role {
            Role::Column => parsed.name.as_ref().map(|(name, _)| name.clone()),
            _ => name.map(str::to_ascii_lowercase),
        };
        let blank = parsed.expr.is_none() && parsed.faults.is_empty();
        self.items.push(Item { role, field, text, parsed, name, value: Typed::error() });
        let item = self.items.len() - 1;
        for fault in std::mem::take(&mut self.items[item].parsed.faults) {
            self.report(item, fault);
        }
        if blank && matches!(role, Role::Column | Role::Definition) {
            self.report(item, Fault::syntax(Span::new(0, 0), "expected an expression; this is empty"));
        }
    }

    fn read(&mut self) {
        let spec = self.spec;
        self.add(Role::Filter, "scan.filter".to_owned(), &spec.filter, None);
        for (i, text) in spec.columns.iter().take(NAMED_MAX).enumerate() {
            self.add(Role::Column, format!("scan.columns[{i}]"), text, None);
        }
        for (name, text) in spec.define.iter().take(NAMED_MAX) {
            self.add(Role::Definition, format!("scan.define[{}]", shortened(name)), text, Some(name));
        }
        self.add(Role::RankBy, "scan.rank_by".to_owned(), &spec.rank_by, None);
    }

    /// Gives every name to one item; columns first, as their order is the caller's.
    fn name_all(&mut self) {
        let mut outputs: HashSet<String> = HashSet::new();
        for i in 0..self.items.len() {
            let item = &self.items[i];
            let span = item.parsed.name.as_ref().map_or(Span::new(0, item.text.len()), |(_, span)| *span);
            if item.role == Role::Column && !outputs.insert(output_name(item)) {
                let message = format!("two columns are called `{}`", shortened(&output_name(item)));
                self.report(i, Fault::new(span, ExprReason::DuplicateName, message));
                self.items[i].name = None;
                continue;
            }
            let Some(name) = item.name.clone() else { continue };
            let fault = if item.role == Role::Definition && !is_name(&name) {
                let message = "a definition's name is a letter, then letters, digits and _";
                Some((ExprReason::Syntax, message.to_owned()))
            } else if is_keyword(&name) || name == "null" || indicator::find(&name).is_some() {
                let message =
                    format!("`{name}` is the name of a field, attribute, function or word of the language");
                Some((ExprReason::ReservedName, message))
            } else if self.by_name.contains_key(&name) {
                Some((ExprReason::DuplicateName, format!("`{name}` is given twice")))
            } else {
                None
            };
            match fault {
                Some((reason, message)) if item.role == Role::Definition => {
                    let field = item.field.clone();
                    self.report_field(Role::Definition, &field, reason, message);
                    self.items[i].name = None;
                }
                Some((reason, message)) => {
                    self.report(i, Fault::new(span, reason, message));
                    self.items[i].name = None;
                }
                None => {
                    if item.role == Role::Column {
                        self.lowering.columns.insert(name.clone());
                    }
                    self.by_name.insert(name, i);
                }
            }
        }
    }

    /// For each item, the named items that it reads, with places.
    fn reads(&self) -> Vec<Vec<(usize, Span)>> {
        let of = |item: &Item<'_>| {
            let mut read = Vec::new();
            if let Some(expr) = &item.parsed.expr {
                expr.names(&mut |name, span| read.extend(self.by_name.get(name).map(|i| (*i, span))));
            }
            read
        };
        self.items.iter().map(of).collect()
    }

    fn find_cycles(&mut self) {
        let reads = self.reads();
        let reach: Vec<BTreeSet<usize>> = (0..reads.len())
            .map(|from| {
                let mut seen = BTreeSet::new();
                let mut stack: Vec<usize> = reads[from].iter().map(|(to, _)| *to).collect();
                while let Some(next) = stack.pop() {
                    if seen.insert(next) {
                        stack.extend(reads[next].iter().map(|(to, _)| *to));
                    }
                }
                seen
            })
            .collect();
        for (i, read) in reads.iter().enumerate() {
            let Some(own) = self.items[i].name.clone() else { continue };
            for (to, span) in read.iter().filter(|(to, _)| reach[*to].contains(&i)) {
                let other = self.items[*to].name.clone().unwrap_or_default();
                let message = if *to == i {
                    format!("`{own}` is defined by itself")
                } else {
                    format!("`{own}` and `{other}` are defined by each other")
                };
                self.report(i, Fault::new(*span, ExprReason::Cycle, message));
                self.lowering.names.insert(other, Typed::error());
            }
        }
    }

    /// Definitions in the order in which they need each other, then columns, filter and rank key.
    fn lower_all(&mut self) {
        let reads = self.reads();
        let is = |items: &[Item<'_>], i: usize, role: Role| items[i].role == role;
        let mut waiting: Vec<usize> =
            (0..self.items.len()).filter(|i| is(&self.items, *i, Role::Definition)).collect();
        while !waiting.is_empty() {
            let blocks = |i: usize| {
                reads[i].iter().any(|(to, _)| {
                    let known =
                        self.items[*to].name.as_ref().is_some_and(|n| self.lowering.names.contains_key(n));
                    waiting.contains(to) && !known
                })
            };
            // Names of a cycle are known as errors, so something is always free.
            let at = waiting.iter().position(|i| !blocks(*i)).unwrap_or(0);
            let item = waiting.remove(at);
            self.lower(item);
        }
        for role in [Role::Column, Role::Filter, Role::RankBy] {
            for i in 0..self.items.len() {
                if is(&self.items, i, role) {
                    self.lower(i);
                }
            }
        }
    }

    fn lower(&mut self, i: usize) {
        let Some(expr) = self.items[i].parsed.expr.take() else {
            if let Some(name) = self.items[i].name.clone() {
                self.lowering.names.entry(name).or_insert_with(Typed::error);
            }
            return;
        };
        let value = self.lowering.lower(&expr, None);
        self.check_role(i, &value, expr.span);
        if std::mem::take(&mut self.lowering.full) {
            let message = format!("a scan has at most {NODES_MAX} nodes; this one has far more");
            self.lowering.fault(expr.span, ExprReason::TooComplex, message);
        }
        for fault in std::mem::take(&mut self.lowering.faults) {
            self.report(i, fault);
        }
        if let Some(name) = self.items[i].name.clone() {
            self.lowering.names.entry(name).or_insert_with(|| value.clone());
        }
        let item = &mut self.items[i];
        item.value = value;
        item.parsed.expr = Some(expr);
    }

    /// What a filter, a column and a rank key may be.
    fn check_role(&mut self, i: usize, value: &Typed, span: Span) {
        let fine = match self.items[i].role {
            Role::Filter => value.is_bool(),
            Role::RankBy => value.is_number(),
            Role::Column => matches!(value.what, What::Number | What::Bool | What::Text(_)),
            Role::Definition | Role::Other => true,
        };
        if fine || value.is_error() {
            return;
        }
        let (wanted, hint) = match self.items[i].role {
            Role::Filter => ("a filter that is true or false", "; compare it, e.g. x > 0"),
            Role::RankBy => ("a number to rank by", "; leave rank_by empty for the order of symbols"),
            _ => ("a number, true or false, or a text attribute", ""),
        };
        self.lowering.mismatch(value, span, wanted, hint);
    }

    fn value(&self, role: Role) -> Option<NodeId> {
        self.items.iter().find(|i| i.role == role).and_then(|i| i.value.node)
    }

    fn finish(mut self) -> Result<Plan, PlanError> {
        if !self.errors.is_empty() {
            return Err(failure(self.errors));
        }
        let mut outputs: Vec<Output> = Vec::new();
        for item in self.items.iter().filter(|i| i.role == Role::Column) {
            if let Some(node) = item.value.node {
                outputs.push(Output { name: output_name(item), node, unit: item.value.unit.to_owned() });
            }
        }
        if self.spec.columns.is_empty() {
            outputs = self.default_outputs();
        }
        let mut filter = self.value(Role::Filter);
        let mut rank_by = self.value(Role::RankBy);
        let fingerprint = self.fingerprint(filter, rank_by, &outputs);
        let spec = self.spec;
        let mut roots: Vec<&mut NodeId> = filter.iter_mut().chain(rank_by.iter_mut()).collect();
        roots.extend(outputs.iter_mut().map(|o| &mut o.node));
        let nodes = self.lowering.graph.finish(&mut roots);
        if nodes.len() > NODES_MAX {
            let message =
                format!("this scan has {} nodes after sharing; the most is {NODES_MAX}", nodes.len());
            let error = ExprError::of_field("scan", ExprReason::TooComplex, message);
            return Err(PlanError { errors: vec![error] });
        }
        Ok(Plan {
            nodes,
            outputs,
            filter,
            rank_by,
            order: spec.order,
            limit: spec.limit,
            universe: spec.universe.clone(),
            timeframe: spec.timeframe,
            adjustment: spec.adjustment,
            fingerprint,
        })
    }

    fn fingerprint(&self, filter: Option<NodeId>, rank_by: Option<NodeId>, outputs: &[Output]) -> Digest {
        let digest = |id: NodeId| self.lowering.graph.node(id).digest;
        let spec = self.spec;
        let mut text = format!(
            "{:?}|{:?}|{:?}|{}|{:?}|{}|{:?}|{:?}|{:?}",
            filter.map(digest),
            rank_by.map(digest),
            spec.order,
            spec.limit,
            spec.universe,
            spec.timeframe,
            spec.adjustment,
            spec.bars,
            spec.session
        );
        for output in outputs {
            let _ = write!(text, "|{:?}={}", output.name, digest(output.node));
        }
        Digest::of(&text)
    }

    /// The columns of a scan that names none.
    fn default_outputs(&mut self) -> Vec<Output> {
        let mut found: Vec<(String, Expr)> = DEFAULT_COLUMNS
            .iter()
            .filter_map(|name| parse(name, false).expr.map(|e| ((*name).to_owned(), e)))
            .collect();
        let mut seen = HashSet::new();
        for item in self.items.iter().filter(|i| i.role == Role::Filter) {
            self.compared(item, &mut seen, &mut found);
        }
        for item in self.items.iter().filter(|i| i.role == Role::RankBy) {
            found.extend(item.parsed.expr.iter().map(|e| (normal(item.text, e.span), e.clone())));
        }
        let mut outputs: Vec<Output> = Vec::new();
        for (name, expr) in found {
            let value = self.lowering.lower(&expr, None);
            let Some(node) = value.node.filter(|_| value.is_number() && value.shape != Shape::Constant)
            else {
                continue;
            };
            if outputs.len() < NAMED_MAX && !outputs.iter().any(|o| o.node == node || o.name == name) {
                outputs.push(Output { name, node, unit: value.unit.to_owned() });
            }
        }
        outputs
    }

    /// Collects the sides of the comparisons that decide an expression, each definition once.
    fn compared(&self, item: &Item<'_>, seen: &mut HashSet<usize>, found: &mut Vec<(String, Expr)>) {
        let mut stack: Vec<(&Item<'_>, &Expr)> = item.parsed.expr.iter().map(|e| (item, e)).collect();
        while let Some((item, expr)) = stack.pop() {
            let mut side = |e: &Expr| found.push((normal(item.text, e.span), e.clone()));
            match &expr.kind {
                ExprKind::Chain(first, rest) if matches!(rest[0].0, Joint::Or | Joint::And) => {
                    stack.extend(rest.iter().rev().map(|(_, e)| (item, e)));
                    stack.push((item, first));
                }
                ExprKind::Not(x) => stack.push((item, x)),
                ExprKind::Name(name) => {
                    if let Some(i) = self.by_name.get(name)
                        && seen.insert(*i)
                    {
                        stack.extend(self.items[*i].parsed.expr.iter().map(|e| (&self.items[*i], e)));
                    }
                }
                ExprKind::Compare(_, a, b) | ExprKind::Crosses(_, a, b) => {
                    side(a);
                    side(b);
                }
                ExprKind::In { value, .. } => side(value),
                ExprKind::Between(x, low, high) => {
                    side(x);
                    side(low);
                    side(high);
                }
                _ => {}
            }
        }
    }
}

/// What a column is called in the answer: its name as written, else its text.
fn output_name(item: &Item<'_>) -> String {
    match &item.parsed.name {
        Some((_, span)) => item.text[span.start..span.end].to_owned(),
        None => item.text.trim().to_owned(),
    }
}

/// The errors in order of position. At one position, what this build lacks comes last: the other error is the
/// caller's to fix first.
fn failure(mut errors: Vec<(Role, usize, ExprError)>) -> PlanError {
    errors.sort_by_key(|(role, item, e)| (*role, *item, e.start, e.reason == ExprReason::Unimplemented));
    errors.dedup_by(|a, b| a.2 == b.2);
    errors.truncate(ERRORS_MAX);
    PlanError { errors: errors.into_iter().map(|(_, _, e)| e).collect() }
}
