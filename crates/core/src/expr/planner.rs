//! A scan's expressions together: names, their order, the columns of the answer, and the plan.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;

use super::argument::{GROUP_WANTED, group_attribute};
use super::ast::{Expr, ExprKind, Joint};
use super::error::{ERRORS_MAX, ExprError, ExprReason, Fault, PlanError, Span};
use super::graph::Graph;
use super::lower::Lowering;
use super::parser::{Parsed, is_keyword, is_name, parse};
use super::suggest::nearest;
use super::text::normal;
use super::typed::{Typed, What};
use crate::error::shortened;
use crate::indicator::{self, FunctionKind};
use crate::plan::{Binary, Digest, NODES_MAX, NodeId, Op, Output, Plan, Shape, Stage, ValueKind};
use crate::scan::{BarSelection, LIMIT_MAX, MissingFactor, ScanSpec, SessionHours};
use crate::time::Timeframe;
use crate::universe::TextAttribute;

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
    Factor,
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
    /// Values of the factors as they are weighted, with their columns' names.
    factors: Vec<(String, Typed)>,
    /// Whether only the days that are resident will do.
    daily_only: bool,
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
    planned(spec, true)
}

/// The same for whole series of the columns over bars of any timeframe: a column must be a number per bar, or one
/// per symbol that depends on no other symbol, which then stands at every bar.
///
/// Longer bars and benchmarks are there on days and longer timeframes only.
///
/// # Errors
///
/// As [`plan`], with paths that start at `columns`; CROSS_SECTION_IN_SERIES for a column that looks across symbols,
/// TYPE_MISMATCH for a text.
pub fn plan_series(spec: &ScanSpec) -> Result<Plan, PlanError> {
    let bare = |mut error: PlanError| {
        for error in &mut error.errors {
            error.field = error.field.strip_prefix("scan.").unwrap_or(&error.field).to_owned();
        }
        error
    };
    let plan = planned(spec, false).map_err(bare)?;
    let minutes = matches!(spec.timeframe, Timeframe::Minutes(_));
    let mut errors = Vec::new();
    for (at, output) in plan.outputs.iter().enumerate() {
        let node = plan.node(output.node);
        let mut refuse = |reason, message: String| {
            errors.push(ExprError::of_field(&format!("columns[{at}]"), reason, message));
        };
        if matches!(node.stage, Stage::CrossSection | Stage::Scalar) {
            let message =
                format!("{} depends on other symbols and has no series; scan for it instead", node.text);
            refuse(ExprReason::CrossSectionInSeries, message);
        } else if node.kind == ValueKind::Text {
            refuse(ExprReason::TypeMismatch, format!("{} is a text; a series is of numbers", node.text));
        }
    }
    let beyond = |op: &Op| matches!(op, Op::At(_) | Op::Benchmark(..));
    if minutes && let Some(node) = plan.nodes.iter().find(|node| beyond(&node.op)) {
        let message = format!("{} needs days; this build has it on 1d and longer timeframes only", node.text);
        errors.push(ExprError::of_field("timeframe", ExprReason::Unimplemented, message));
    }
    if errors.is_empty() { Ok(plan) } else { Err(PlanError { errors }) }
}

fn planned(spec: &ScanSpec, daily_only: bool) -> Result<Plan, PlanError> {
    let graph = Graph::new(spec.timeframe, spec.adjustment);
    let mut planner = Planner {
        spec,
        items: Vec::new(),
        by_name: HashMap::new(),
        errors: Vec::new(),
        lowering: Lowering::new(graph, spec.timeframe, &spec.benchmark),
        factors: Vec::new(),
        daily_only,
    };
    planner.lowering.closed = spec.bars == BarSelection::ClosedOnly;
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

    /// Reports what should be a group attribute, with the nearest that is one.
    fn report_group(&mut self, role: Role, field: &str, text: &str) {
        let groups = TextAttribute::ALL.into_iter().filter(|a| a.is_group()).map(TextAttribute::name);
        let mut error = ExprError::of_field(field, ExprReason::GroupRequired, GROUP_WANTED);
        error.suggestion = nearest(&text.to_ascii_lowercase(), groups).unwrap_or_default().to_owned();
        self.errors.push((role, usize::MAX, error));
    }

    /// What is not an expression.
    fn check_fields(&mut self) {
        let (spec, daily_only) = (self.spec, self.daily_only);
        let mut absent = |given: bool, field: &str, message: &str| {
            if given {
                self.report_field(Role::Other, field, ExprReason::Unimplemented, message);
            }
        };
        absent(
            daily_only && spec.timeframe != Timeframe::Day,
            "scan.timeframe",
            "this build scans daily bars only; use 1d",
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
        if !spec.group_by.is_empty() && group_attribute(&spec.group_by.to_ascii_lowercase()).is_none() {
            self.report_group(Role::Other, "scan.group_by", &spec.group_by);
        }
        if spec.limit_per_group > 0 && spec.group_by.is_empty() {
            let message = "limits rows per group, and the scan has no group_by; set it, e.g. to sector";
            self.report_field(Role::Other, "scan.limit_per_group", ExprReason::MissingArgument, message);
        }
        self.check_factors();
        for (role, field, count) in [
            (Role::Factor, "scan.factors", spec.factors.len()),
            (Role::Column, "scan.columns", spec.columns.len()),
            (Role::Definition, "scan.define", spec.define.len()),
        ] {
            if count > NAMED_MAX {
                let message = format!("there are {count}; the most is {NAMED_MAX}");
                self.report_field(role, field, ExprReason::TooMany, message);
            }
        }
    }

    fn check_factors(&mut self) {
        let spec = self.spec;
        let mut seen: HashSet<String> = HashSet::new();
        for (i, factor) in spec.factors.iter().take(NAMED_MAX).enumerate() {
            let mut wrong = |part: &str, reason, message: String| {
                self.report_field(Role::Factor, &format!("scan.factors[{i}].{part}"), reason, message);
            };
            if !is_name(&factor.name) {
                let message = "a factor's name is a letter, then letters, digits and _";
                wrong("name", ExprReason::Syntax, message.to_owned());
            } else if !seen.insert(factor.name.to_ascii_lowercase()) {
                wrong("name", ExprReason::DuplicateName, format!("two factors are called `{}`", factor.name));
            }
            if !factor.weight.is_finite() {
                wrong("weight", ExprReason::OutOfRange, "the weight must be a finite number".to_owned());
            }
            if !(0.0..0.25).contains(&factor.winsorize) {
                let message = format!("is {}; it must be at least 0 and below 0.25", factor.winsorize);
                wrong("winsorize", ExprReason::OutOfRange, message);
            }
            if !factor.by.is_empty() && group_attribute(&factor.by.to_ascii_lowercase()).is_none() {
                self.report_group(Role::Factor, &format!("scan.factors[{i}].by"), &factor.by);
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
        if blank && matches!(role, Role::Column | Role::Definition | Role::Factor) {
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
        // Without a rank key, factors rank by their score.
        let score = spec.rank_by.trim().is_empty() && !spec.factors.is_empty();
        let rank_by = if score { "score()" } else { &spec.rank_by };
        self.add(Role::RankBy, "scan.rank_by".to_owned(), rank_by, None);
        for (i, factor) in spec.factors.iter().take(NAMED_MAX).enumerate() {
            self.add(Role::Factor, format!("scan.factors[{i}].expr"), &factor.expr, None);
        }
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
            } else if is_keyword(&name) || name == "null" || is_reserved(&name) {
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

    /// The items of a scan's factors, with which factor each is.
    fn factor_items(&self) -> Vec<usize> {
        (0..self.items.len()).filter(|i| self.items[*i].role == Role::Factor).collect()
    }

    /// The factors' columns, and the score that they make together.
    fn lower_factors(&mut self) {
        let spec = self.spec;
        let mut score: Option<Typed> = None;
        for (item, factor) in self.factor_items().into_iter().zip(&spec.factors) {
            self.lower(item);
            let by = group_attribute(&factor.by.to_ascii_lowercase());
            let value = match self.items[item].value.clone() {
                value if value.is_number() => self.lowering.factor(&value, factor, by),
                other => other,
            };
            let name = format!("factor_{}", factor.name);
            self.lowering.names.entry(name.to_ascii_lowercase()).or_insert_with(|| value.clone());
            self.factors.push((name, value.clone()));
            if factor.weight == 0.0 || !value.is_number() {
                continue;
            }
            let value = if spec.missing_factor == MissingFactor::Center {
                let center = self.lowering.number(factor.transform.center());
                self.lowering.apply(Op::Binary(Binary::Coalesce), &[&value, &center], What::Number)
            } else {
                value
            };
            let weight = self.lowering.number(factor.weight);
            let part = self.lowering.apply(Op::Binary(Binary::Multiply), &[&weight, &value], What::Number);
            score = Some(match score {
                Some(sum) => self.lowering.apply(Op::Binary(Binary::Add), &[&sum, &part], What::Number),
                None => part,
            });
        }
        if !spec.factors.is_empty() {
            let nothing = self.lowering.number(0.0);
            let score = score.unwrap_or(nothing);
            self.lowering.label(&score, "score", &[], None);
            self.lowering.score = Some(score);
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
        // What reads the score comes after the factors, which may read what does not.
        let late = self.reads_score(&reads);
        for after in [false, true] {
            let waiting = (0..self.items.len())
                .filter(|i| is(&self.items, *i, Role::Definition) && late.contains(i) == after)
                .collect();
            self.lower_definitions(&reads, waiting);
            if !after {
                self.lower_factors();
            }
        }
        for role in [Role::Column, Role::Filter, Role::RankBy] {
            for i in 0..self.items.len() {
                if is(&self.items, i, role) {
                    self.lower(i);
                }
            }
        }
    }

    /// Items that read the score or a factor's column, directly or not.
    fn reads_score(&self, reads: &[Vec<(usize, Span)>]) -> BTreeSet<usize> {
        let direct = |item: &Item<'_>| {
            item.parsed.expr.as_ref().is_some_and(|expr| {
                let mut found = false;
                expr.calls(&mut |name| found |= name == "score");
                expr.names(&mut |name, _| found |= name.starts_with("factor_"));
                found
            })
        };
        let mut late: BTreeSet<usize> = (0..self.items.len()).filter(|i| direct(&self.items[*i])).collect();
        loop {
            let more: Vec<usize> = (0..reads.len())
                .filter(|i| !late.contains(i) && reads[*i].iter().any(|(to, _)| late.contains(to)))
                .collect();
            if more.is_empty() {
                return late;
            }
            late.extend(more);
        }
    }

    fn lower_definitions(&mut self, reads: &[Vec<(usize, Span)>], mut waiting: Vec<usize>) {
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
            self.lowering.sources.entry(name.clone()).or_insert_with(|| expr.clone());
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
            Role::RankBy | Role::Factor => value.is_number(),
            Role::Column => matches!(value.what, What::Number | What::Bool | What::Text(_)),
            Role::Definition | Role::Other => true,
        };
        if fine || value.is_error() {
            return;
        }
        let (wanted, hint) = match self.items[i].role {
            Role::Filter => ("a filter that is true or false", "; compare it, e.g. x > 0"),
            Role::Factor => ("a number per symbol", "; use if(c, 1, 0)"),
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
        for (name, value) in &self.factors {
            if let Some(node) = value.node.filter(|_| !outputs.iter().any(|o| o.name == *name)) {
                outputs.push(Output { name: name.clone(), node, unit: value.unit.to_owned() });
            }
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
            group_by: group_attribute(&spec.group_by.to_ascii_lowercase()),
            limit_per_group: spec.limit_per_group,
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
        if spec.limit_per_group > 0 {
            let _ = write!(text, "|{} {}", spec.limit_per_group, spec.group_by.to_ascii_lowercase());
        }
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

/// Whether a field, attribute or function has this name.
fn is_reserved(name: &str) -> bool {
    indicator::find(name).is_some_and(|definition| definition.kind != FunctionKind::Part)
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
