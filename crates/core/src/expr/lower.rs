//! From trees to nodes: types, names and element-wise forms. Comparisons are in [`super::compare`],
//! calls in [`super::call`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::ast::{Expr, ExprKind, Joint};
use super::error::{ExprReason, Fault, Span};
use super::graph::{Full, Graph, mix};
use super::suggest::nearest;
use super::typed::{Typed, What};
use crate::indicator::{self, Body, Definition};
use crate::plan::{Binary, Longer, NodeId, Op, Shape, Stage, TextSource, Unary};
use crate::time::Timeframe;

/// Arguments of the definition whose body is being lowered.
pub(crate) type Arguments<'a> = &'a [(&'static str, Typed)];

/// Turns trees into nodes of one graph and collects what is wrong with them.
pub(crate) struct Lowering {
    pub(crate) graph: Graph,
    /// Names of the scan that may be used here.
    pub(crate) names: HashMap<String, Typed>,
    /// Names of columns; one that is not in `names` comes later.
    pub(crate) columns: HashSet<String>,
    pub(crate) timeframe: Timeframe,
    pub(crate) faults: Vec<Fault>,
    /// The call whose definition is being lowered: errors inside point at it.
    pub(crate) caller: Option<Span>,
    /// No more nodes fit.
    pub(crate) full: bool,
    /// What the functions against a benchmark compare with.
    pub(crate) benchmark: Arc<str>,
    /// The scan's score, where it has factors.
    pub(crate) score: Option<Typed>,
    /// Whether bars that have not ended are left out.
    pub(crate) closed: bool,
    /// What the names were made of, to be lowered again on longer bars.
    pub(crate) sources: HashMap<String, Expr>,
    /// The longer bars that an `@` put the expression on.
    pub(super) longer: Option<Longer>,
    /// Names on longer bars.
    on_longer: HashMap<(String, Longer), Typed>,
    /// Names inside names that are being lowered again.
    nested: u16,
}

/// Names inside names that can be put on longer bars.
const NESTED_MAX: u16 = 8;

impl Lowering {
    pub(crate) fn new(graph: Graph, timeframe: Timeframe, benchmark: &str) -> Self {
        Self {
            graph,
            names: HashMap::new(),
            columns: HashSet::new(),
            timeframe,
            faults: Vec::new(),
            caller: None,
            full: false,
            benchmark: Arc::from(benchmark),
            score: None,
            closed: false,
            sources: HashMap::new(),
            longer: None,
            on_longer: HashMap::new(),
            nested: 0,
        }
    }

    pub(crate) fn report(&mut self, mut fault: Fault) {
        if let Some(span) = self.caller {
            fault.span = span;
        }
        self.faults.push(fault);
    }

    pub(crate) fn fault(&mut self, span: Span, reason: ExprReason, message: impl Into<String>) {
        self.report(Fault::new(span, reason, message));
    }

    pub(crate) fn keep(&mut self, added: Result<NodeId, Full>) -> Option<NodeId> {
        self.full |= added.is_err();
        added.ok()
    }

    pub(crate) fn number(&mut self, value: f64) -> Typed {
        let node = self.graph.number(value);
        Typed::new(What::Number, self.keep(node), Shape::Constant)
    }

    pub(super) fn bool(&mut self, value: bool) -> Typed {
        let node = self.graph.bool(f64::from(u8::from(value)));
        Typed::new(What::Bool, self.keep(node), Shape::Constant)
    }

    /// An element-wise operation; its shape is that of its inputs.
    pub(crate) fn apply(&mut self, op: Op, inputs: &[&Typed], what: What) -> Typed {
        let shape = inputs.iter().map(|t| t.shape).fold(Shape::Constant, mix);
        let ids: Option<Vec<NodeId>> = inputs.iter().map(|t| t.node).collect();
        let node = ids.and_then(|ids| {
            let added = self.graph.add(op, &ids);
            self.keep(added)
        });
        Typed::new(what, node, shape)
    }

    /// An operation on universe text.
    pub(crate) fn text_operation(&mut self, op: Op) -> Typed {
        let added = self.graph.add(op, &[]);
        Typed::new(What::Bool, self.keep(added), Shape::Scalar)
    }

    pub(crate) fn lower(&mut self, expr: &Expr, arguments: Option<Arguments<'_>>) -> Typed {
        match &expr.kind {
            ExprKind::Number(value) => self.number(*value),
            ExprKind::Bool(value) => self.bool(*value),
            ExprKind::Text(text) => {
                Typed::new(What::Literal(Arc::from(text.as_str())), None, Shape::Constant)
            }
            ExprKind::Name(name) => self.name(name, expr.span, arguments),
            ExprKind::Call { name, name_span, args } => self.call(expr, name, *name_span, args, arguments),
            ExprKind::List(_) => {
                self.fault(expr.span, ExprReason::TypeMismatch, "a list stands after `in` and in `by=` only");
                Typed::error()
            }
            ExprKind::Negate(x) => {
                let x = self.numeric(x, arguments);
                let unit = x.unit;
                self.apply(Op::Unary(Unary::Negate), &[&x], What::Number).unit(unit)
            }
            ExprKind::Not(x) => {
                let x = self.logical(x, arguments);
                self.apply(Op::Unary(Unary::Not), &[&x], What::Bool)
            }
            ExprKind::Chain(first, rest) => self.chain(first, rest, arguments),
            ExprKind::Power(a, b) => {
                let (a, b) = (self.numeric(a, arguments), self.numeric(b, arguments));
                self.apply(Op::Binary(Binary::Power), &[&a, &b], What::Number)
            }
            ExprKind::Compare(comparison, a, b) => self.compare(expr.span, *comparison, a, b, arguments),
            ExprKind::In { value, list, negated } => {
                let found = self.member_of(expr.span, value, list, arguments);
                if *negated { self.apply(Op::Unary(Unary::Not), &[&found], What::Bool) } else { found }
            }
            ExprKind::Between(x, low, high) => self.between(expr.span, x, low, high, arguments),
            ExprKind::Crosses(name, a, b) => self.crosses(expr.span, name, a, b, arguments),
            ExprKind::Lag(x, k) => {
                let value = self.lower(x, arguments);
                self.lag(&value, x.span, *k)
            }
            ExprKind::Member { value, name, name_span } => self.member(value, name, *name_span, arguments),
            ExprKind::At { value, timeframe, timeframe_span } => {
                self.at(value, timeframe, *timeframe_span, arguments)
            }
        }
    }

    /// A value that must be a number; anything else is reported.
    pub(super) fn numeric(&mut self, expr: &Expr, arguments: Option<Arguments<'_>>) -> Typed {
        let value = self.lower(expr, arguments);
        self.as_number(value, expr.span)
    }

    pub(crate) fn as_number(&mut self, value: Typed, span: Span) -> Typed {
        if value.is_number() || value.is_error() {
            return value;
        }
        let hint = if value.is_bool() { "; use if(c, 1, 0)" } else { "" };
        self.mismatch(&value, span, "a number", hint);
        Typed::new(What::Number, None, value.shape)
    }

    fn logical(&mut self, expr: &Expr, arguments: Option<Arguments<'_>>) -> Typed {
        let value = self.lower(expr, arguments);
        self.as_bool(value, expr.span)
    }

    pub(crate) fn as_bool(&mut self, value: Typed, span: Span) -> Typed {
        if value.is_bool() || value.is_error() {
            return value;
        }
        let hint = if value.is_number() { "; compare it, e.g. x > 0" } else { "" };
        self.mismatch(&value, span, "true or false", hint);
        Typed::new(What::Bool, None, value.shape)
    }

    /// Reports a value of the wrong type; a function with several outputs wants a member first.
    pub(crate) fn mismatch(&mut self, value: &Typed, span: Span, wanted: &str, hint: &str) {
        if let What::Multi(bound) = &value.what {
            let members = bound.definition.members();
            let names: Vec<String> = members.iter().map(|m| format!(".{}", m.name)).collect();
            let message =
                format!("`{}` has several outputs; choose {}", bound.definition.name, names.join(" "));
            self.fault(span, ExprReason::MemberRequired, message);
        } else if !value.is_error() {
            let message = format!("expected {wanted}, not {}{hint}", value.words());
            self.fault(span, ExprReason::TypeMismatch, message);
        }
    }

    fn name(&mut self, name: &str, span: Span, arguments: Option<Arguments<'_>>) -> Typed {
        if let Some(arguments) = arguments {
            if let Some((_, value)) = arguments.iter().find(|(n, _)| *n == name) {
                return value.clone();
            }
        } else if let Some(value) = self.names.get(name).cloned() {
            return match self.longer {
                Some(longer) if self.is_of_bars(&value) => self.name_on(name, longer, value, span),
                _ => value,
            };
        }
        match indicator::find(name) {
            Some(definition) if !definition.is_call() => self.leaf(definition, span),
            Some(definition) => {
                let example =
                    definition.examples.first().map_or_else(|| format!("{name}()"), |e| (*e).to_owned());
                let message = format!("`{name}` is a function and takes parentheses");
                self.report(Fault::new(span, ExprReason::UnknownName, message).suggest(example));
                Typed::error()
            }
            None => {
                self.unknown_name(name, span);
                Typed::error()
            }
        }
    }

    /// Whether a value would be another one on other bars.
    fn is_of_bars(&self, value: &Typed) -> bool {
        match value.node.map(|node| self.graph.node(node)) {
            Some(node) => node.stage == Stage::Series && !matches!(node.op, Op::At(_)),
            None => value.shape == Shape::Series,
        }
    }

    /// A name of the scan on longer bars: what it was made of, lowered again.
    fn name_on(&mut self, name: &str, longer: Longer, value: Typed, span: Span) -> Typed {
        let key = (name.to_owned(), longer);
        if let Some(known) = self.on_longer.get(&key) {
            return known.clone();
        }
        let Some(source) = self.sources.get(name).cloned() else { return value };
        if self.nested >= NESTED_MAX {
            let message = format!("names nest deeper than {NESTED_MAX} on another timeframe");
            self.fault(span, ExprReason::TooComplex, message);
            return Typed::error();
        }
        let outer = self.caller;
        self.caller = outer.or(Some(span));
        self.nested += 1;
        let found = self.lower(&source, None);
        self.nested -= 1;
        self.caller = outer;
        self.on_longer.insert(key, found.clone());
        found
    }

    fn unknown_name(&mut self, name: &str, span: Span) {
        if self.columns.contains(name) {
            let message =
                format!("column `{name}` is not defined here; later columns, filter and rank_by see it");
            return self.fault(span, ExprReason::UnknownName, message);
        }
        if name == "null" {
            let message = "there is no word for null; use is_null(x) or coalesce(x, y)";
            return self.fault(span, ExprReason::UnknownName, message);
        }
        let mut fault = Fault::new(span, ExprReason::UnknownName, format!("unknown name `{name}`"));
        let mut own: Vec<&str> = self.names.keys().map(String::as_str).collect();
        own.sort_unstable();
        let plain = indicator::all().filter(|d| !d.is_call()).map(|d| d.name);
        if let Some(near) = nearest(name, own.into_iter().chain(plain)) {
            fault = fault.suggest(near);
        }
        self.report(fault);
    }

    /// A field or attribute.
    fn leaf(&mut self, definition: &'static Definition, span: Span) -> Typed {
        let (what, op, shape) = match definition.body {
            Body::Field(field) => {
                let op = self.longer.map_or(Op::Field(field), |longer| Op::Longer(longer, field));
                (What::Number, op, Shape::Series)
            }
            Body::Benchmark(_) if self.longer.is_some() => {
                let message = "this build compares with a benchmark on the scan's own timeframe only";
                self.fault(span, ExprReason::Unimplemented, message);
                return Typed::new(What::Number, None, Shape::Series);
            }
            Body::Benchmark(field) => {
                (What::Number, Op::Benchmark(self.benchmark.clone(), field), Shape::Series)
            }
            Body::Number(attribute) => {
                let active = attribute == crate::plan::NumberAttribute::Active;
                let what = if active { What::Bool } else { What::Number };
                (what, Op::Attribute(attribute), Shape::Scalar)
            }
            Body::Text(source) => (What::Text(source), Op::Text(source), Shape::Scalar),
            _ => return self.expand(definition, &[], span),
        };
        let added = self.graph.add(op, &[]);
        Typed::new(what, self.keep(added), shape).unit(unit(definition.unit))
    }

    fn chain(&mut self, first: &Expr, rest: &[(Joint, Expr)], arguments: Option<Arguments<'_>>) -> Typed {
        let logical = matches!(rest.first(), Some((Joint::Or | Joint::And, _)));
        let operand = |this: &mut Self, e: &Expr| {
            if logical { this.logical(e, arguments) } else { this.numeric(e, arguments) }
        };
        let mut left = operand(self, first);
        for (joint, next) in rest {
            let right = operand(self, next);
            let (op, unit) = match joint {
                Joint::Or => (Binary::Or, ""),
                Joint::And => (Binary::And, ""),
                Joint::Add => (Binary::Add, sum_unit(&left, &right)),
                Joint::Subtract => (Binary::Subtract, sum_unit(&left, &right)),
                Joint::Multiply if left.shape == Shape::Constant => (Binary::Multiply, right.unit),
                Joint::Multiply if right.shape == Shape::Constant => (Binary::Multiply, left.unit),
                Joint::Multiply => (Binary::Multiply, ""),
                Joint::Divide if right.shape == Shape::Constant => (Binary::Divide, left.unit),
                Joint::Divide => (Binary::Divide, ""),
            };
            let what = if logical { What::Bool } else { What::Number };
            left = self.apply(Op::Binary(op), &[&left, &right], what).unit(unit);
        }
        left
    }

    /// `x[k]`; a constant has the same value at every bar, which only definitions may rely on.
    pub(crate) fn lag(&mut self, value: &Typed, span: Span, k: u32) -> Typed {
        let what = match &value.what {
            What::Number => What::Number,
            What::Bool => What::Bool,
            What::Error => return Typed::error(),
            _ => {
                self.mismatch(value, span, "a series", "");
                return Typed::error();
            }
        };
        let constant = self.caller.is_some() && value.shape == Shape::Constant;
        if !constant && !self.require_series(value, span) {
            return Typed::new(what, None, Shape::Series).unit(value.unit);
        }
        self.apply(Op::Lag(k), &[value], what).unit(value.unit)
    }

    /// Reports what has no value per bar.
    pub(crate) fn require_series(&mut self, value: &Typed, span: Span) -> bool {
        match value.shape {
            Shape::Series => true,
            Shape::Cross => {
                let message = "a value that depends on other symbols cannot enter a function over bars";
                self.fault(span, ExprReason::CrossSectionInSeries, message);
                false
            }
            Shape::Constant | Shape::Scalar => {
                let message = "expected one value per bar, such as close or sma(20); this has one per symbol";
                self.fault(span, ExprReason::SeriesRequired, message);
                false
            }
        }
    }

    fn member(
        &mut self,
        value: &Expr,
        name: &str,
        name_span: Span,
        arguments: Option<Arguments<'_>>,
    ) -> Typed {
        let whole = self.lower(value, arguments);
        let What::Multi(bound) = &whole.what else {
            if !whole.is_error() {
                let message = format!("this is {} and has no members", whole.words());
                self.fault(name_span, ExprReason::UnknownMember, message);
            }
            return Typed::error();
        };
        let definition = bound.definition;
        let members = definition.members();
        let Some(member) = members.iter().find(|m| m.name == name) else {
            let message = format!("`{}` has no member `{name}`", definition.name);
            let mut fault = Fault::new(name_span, ExprReason::UnknownMember, message);
            if let Some(near) = nearest(name, members.iter().map(|m| m.name)) {
                fault = fault.suggest(near);
            }
            self.report(fault);
            return Typed::error();
        };
        let unit = match member.unit {
            "of x" => bound.arguments.first().map_or("", |(_, t)| t.unit),
            unit => unit,
        };
        if member.text.is_empty() || !bound.sound {
            return Typed::new(What::Number, None, Shape::Series).unit(unit);
        }
        let bound = bound.clone();
        let result = self.body(member.text, &bound.arguments, value.span);
        self.label(&result, definition.name, &bound.arguments, Some(name));
        result.unit(unit)
    }

    /// `x@timeframe`: the last value of x on those bars. On the scan's own timeframe that is what a series is anyway.
    fn at(&mut self, value: &Expr, timeframe: &str, span: Span, arguments: Option<Arguments<'_>>) -> Typed {
        let own = self.longer.map_or(self.timeframe, |longer| longer.timeframe);
        let longer = timeframe.parse::<Timeframe>().ok().filter(|asked| *asked > own);
        let outer = self.longer;
        if let Some(timeframe) = longer {
            self.longer = Some(Longer { timeframe, closed: self.closed });
        }
        let expr = value;
        let value = {
            let lowered = self.lower(value, arguments);
            if lowered.is_bool() { lowered } else { self.as_number(lowered, value.span) }
        };
        let inner = std::mem::replace(&mut self.longer, outer);
        let Ok(asked) = timeframe.parse::<Timeframe>() else {
            let message = format!("unknown timeframe `{timeframe}`; known are {}", Timeframe::NAMES);
            let mut fault = Fault::new(span, ExprReason::UnknownTimeframe, message);
            if let Some(near) = nearest(timeframe, Timeframe::NAMES.split(", ")) {
                fault = fault.suggest(near);
            }
            self.report(fault);
            return Typed::error();
        };
        if asked < own {
            let message = match self.longer {
                Some(_) => format!("{asked} is finer than the bars of {own} that it stands among"),
                None => format!("{asked} is finer than the scan's timeframe {own}"),
            };
            self.fault(span, ExprReason::TimeframeTooFine, message);
            return Typed::error();
        }
        let shape = if value.shape == Shape::Series { Shape::Scalar } else { value.shape };
        let Some(longer) = inner.filter(|_| asked > own) else { return Typed { shape, ..value } };
        match value.shape {
            Shape::Cross => {
                let message = "a value that depends on other symbols has no bars; put the timeframe inside, \
                               e.g. rank(close@1w)";
                self.fault(expr.span, ExprReason::CrossSectionInSeries, message);
                Typed { node: None, ..value }
            }
            _ if self.is_of_bars(&value) => {
                let last = self.apply(Op::At(longer), &[&value], value.what.clone());
                Typed { shape, ..last }.unit(value.unit)
            }
            Shape::Constant | Shape::Scalar | Shape::Series => value,
        }
    }

    /// The text of an attribute or a literal, for functions of text.
    pub(crate) fn as_text(&mut self, value: &Typed, span: Span) -> Option<TextSource> {
        if let What::Text(source) = value.what {
            return Some(source);
        }
        self.mismatch(value, span, "a text attribute, e.g. name", "");
        None
    }
}

fn sum_unit(a: &Typed, b: &Typed) -> &'static str {
    match (a.shape == Shape::Constant, b.shape == Shape::Constant) {
        (_, true) => a.unit,
        (true, _) => b.unit,
        _ if a.unit == b.unit => a.unit,
        _ => "",
    }
}

/// A definition's unit as a column has it.
pub(crate) fn unit(unit: &'static str) -> &'static str {
    if unit == "bool" { "" } else { unit }
}
