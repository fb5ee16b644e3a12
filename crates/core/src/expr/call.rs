//! Calls: which argument is which parameter, whether each is what the parameter takes, and what the call is made
//! of.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::ast::{Arg, Expr, ExprKind};
use super::error::{ExprReason, Fault, Span};
use super::lower::{Arguments, Lowering, unit};
use super::parser::parse;
use super::suggest::nearest;
use super::text::{Binding, Phrase, call, literal, source};
use super::typed::{Bound, Typed, What};
use crate::indicator::{self, Across, Body, Definition, FunctionKind, ParameterKind};
use crate::plan::{Binary, Cross, NodeId, Op, Recursive, Shape, Unary, ValueKind};
use crate::scan::{Factor, FactorTransform};
use crate::time::Timeframe;
use crate::universe::TextAttribute;

/// The registry's own texts, parsed once.
static BODIES: LazyLock<HashMap<&'static str, Expr>> = LazyLock::new(|| {
    let texts = indicator::with_parts().flat_map(|definition| {
        let body = match definition.body {
            Body::Expansion(text) => Some(text),
            _ => None,
        };
        let members = definition.members().iter().map(|m| m.text).filter(|t| !t.is_empty());
        body.into_iter().chain(members).chain(definition.parameters.iter().filter_map(|p| p.default))
    });
    texts.filter_map(|text| parse(text, false).expr.map(|expr| (text, expr))).collect()
});

/// An argument that was found for a parameter.
struct Given<'e> {
    expr: &'e Expr,
    value: Option<Typed>,
}

impl Lowering {
    pub(super) fn call(
        &mut self,
        expr: &Expr,
        name: &str,
        name_span: Span,
        args: &[Arg],
        arguments: Option<Arguments<'_>>,
    ) -> Typed {
        let Some(definition) = indicator::find(name).filter(|d| d.is_call()) else {
            self.unknown_function(name, name_span);
            for arg in args.iter().filter(|a| !matches!(a.value.kind, ExprKind::List(_))) {
                self.lower(&arg.value, arguments);
            }
            return Typed::error();
        };
        if let Body::Fold(op) = definition.body {
            return self.folded(definition, op, expr.span, args, arguments);
        }
        let Some(given) = self.bind(definition, expr.span, args, arguments) else {
            return unknown_value(definition, &[]);
        };
        self.evaluate(definition, expr.span, name_span, given, arguments)
    }

    fn unknown_function(&mut self, name: &str, span: Span) {
        if indicator::find(name).is_some() || self.names.contains_key(name) {
            let message = format!("`{name}` is no function; write it without parentheses");
            return self.report(Fault::new(span, ExprReason::UnknownFunction, message).suggest(name));
        }
        let mut fault = Fault::new(span, ExprReason::UnknownFunction, format!("unknown function `{name}`"));
        let functions = indicator::all().filter(|d| d.is_call()).map(|d| d.name);
        if let Some(near) = nearest(name, functions) {
            fault = fault.suggest(near);
        }
        self.report(fault);
    }

    /// Finds the parameter of each argument. A leading series with a default may be left out: a constant in its
    /// place, with a place to spare behind it, is the argument after it.
    fn bind<'e>(
        &mut self,
        definition: &'static Definition,
        span: Span,
        args: &'e [Arg],
        arguments: Option<Arguments<'_>>,
    ) -> Option<Vec<Option<Given<'e>>>> {
        let parameters = definition.parameters;
        let positional = args.iter().filter(|a| a.name.is_none()).count();
        let mut given: Vec<Option<Given<'e>>> = parameters.iter().map(|_| None).collect();
        let mut sound = true;
        let mut skipped = 0;
        for (i, arg) in args.iter().enumerate() {
            let expr = &arg.value;
            let Some((name, name_span)) = &arg.name else {
                let is_group = parameters.get(i + skipped).is_some_and(|p| p.kind == ParameterKind::Group);
                let value =
                    (!is_group && i + skipped < parameters.len()).then(|| self.lower(expr, arguments));
                if i == 0
                    && positional < parameters.len()
                    && parameters[0].kind == ParameterKind::Series
                    && parameters.get(1).is_some_and(|p| p.kind == ParameterKind::Integer)
                    && value.as_ref().is_some_and(Typed::is_constant_number)
                {
                    skipped = 1;
                }
                match given.get_mut(i + skipped) {
                    Some(place) => *place = Some(Given { expr, value }),
                    None if sound => {
                        sound = false;
                        let last = args.iter().rfind(|a| a.name.is_none());
                        let excess = expr.span.to(last.map_or(expr.span, |a| a.value.span));
                        let message = format!("`{}` takes {}", definition.name, signature(definition));
                        self.fault(excess, ExprReason::TooManyArguments, message);
                    }
                    None => {}
                }
                continue;
            };
            match parameters.iter().position(|p| p.name == name) {
                None => {
                    sound = false;
                    let message = format!(
                        "`{}` has no parameter `{name}`; it takes {}",
                        definition.name,
                        signature(definition)
                    );
                    let mut fault = Fault::new(*name_span, ExprReason::UnknownParameter, message);
                    // The nearest one that is still free is meant more likely than one given already.
                    let free =
                        parameters.iter().zip(&given).filter(|(_, g)| g.is_none()).map(|(p, _)| p.name);
                    if let Some(near) = nearest(name, free) {
                        fault = fault.suggest(near);
                    }
                    self.report(fault);
                }
                Some(at) if given[at].is_some() => {
                    sound = false;
                    let message = format!("`{name}` is given twice");
                    self.fault(name_span.to(expr.span), ExprReason::DuplicateArgument, message);
                }
                Some(at) => {
                    let is_group = parameters[at].kind == ParameterKind::Group;
                    let value = (!is_group).then(|| self.lower(expr, arguments));
                    given[at] = Some(Given { expr, value });
                }
            }
        }
        for (parameter, given) in parameters.iter().zip(&given) {
            if given.is_none() && parameter.default.is_none() && !parameter.optional && sound {
                sound = false;
                let message =
                    format!("`{}` needs `{}`: {}", definition.name, parameter.name, signature(definition));
                let mut fault = Fault::new(span, ExprReason::MissingArgument, message);
                if let Some(example) = definition.examples.first() {
                    fault = fault.suggest(*example);
                }
                self.report(fault);
            }
        }
        sound.then_some(given)
    }

    /// A call whose arguments are lowered already, as an infix form has them.
    pub(super) fn bound(
        &mut self,
        definition: &'static Definition,
        span: Span,
        values: Vec<(&'static str, Typed, Span)>,
    ) -> Typed {
        let mut sound = true;
        let mut checked = Vec::new();
        for (parameter, (name, value, at)) in definition.parameters.iter().zip(values) {
            let value = self.check(parameter, value, at);
            sound &= value.is_some();
            checked.extend(value.map(|v| (name, v)));
        }
        if sound && self.one_is_series(definition, &checked, span) {
            self.build(definition, span, span, checked)
        } else {
            unknown_value(definition, &checked)
        }
    }

    fn evaluate(
        &mut self,
        definition: &'static Definition,
        span: Span,
        name_span: Span,
        given: Vec<Option<Given<'_>>>,
        arguments: Option<Arguments<'_>>,
    ) -> Typed {
        let mut sound = true;
        let mut checked: Vec<(&'static str, Typed)> = Vec::new();
        for (parameter, given) in definition.parameters.iter().zip(given) {
            let value = match given {
                Some(Given { expr, .. }) if parameter.kind == ParameterKind::Group => {
                    let groups = self.group(expr);
                    sound &= groups.is_some();
                    checked.extend(groups.map(|g| (parameter.name, g)));
                    continue;
                }
                Some(Given { expr, value }) => {
                    let value = value.unwrap_or_else(|| self.lower(expr, arguments));
                    self.check(parameter, value, expr.span)
                }
                None => match parameter.default {
                    // As many bars as a year has.
                    Some(_) if parameter.name == "per_year" => Some(self.bars_per_year()),
                    Some(text) => Some(self.body(text, &[], span)),
                    None => continue,
                },
            };
            sound &= value.is_some();
            checked.extend(value.map(|v| (parameter.name, v)));
        }
        sound &= self.one_is_series(definition, &checked, span);
        sound &= self.in_order(definition, &checked, span);
        if let Body::Members(_) = definition.body {
            let bound = Bound { definition, arguments: checked, sound };
            return Typed::new(What::Multi(Arc::new(bound)), None, Shape::Series);
        }
        if sound {
            self.build(definition, span, name_span, checked)
        } else {
            unknown_value(definition, &checked)
        }
    }

    fn absent(&mut self, definition: &Definition, span: Span) {
        let message = format!("`{}` is not in this build", definition.name);
        self.fault(span, ExprReason::Unimplemented, message);
    }

    /// `min`, `max` and `coalesce`: any number of arguments, two at least.
    fn folded(
        &mut self,
        definition: &'static Definition,
        op: Binary,
        span: Span,
        args: &[Arg],
        arguments: Option<Arguments<'_>>,
    ) -> Typed {
        let mut values = Vec::new();
        let mut sound = true;
        for arg in args {
            if let Some((name, name_span)) = &arg.name {
                let message = format!("`{}` takes no named arguments; `{name}` is none", definition.name);
                self.fault(*name_span, ExprReason::UnknownParameter, message);
                sound = false;
            }
            let value = self.lower(&arg.value, arguments);
            let value = if op == Binary::Coalesce && value.is_bool() && is_all_bool(&values) {
                Some(value)
            } else if op == Binary::Coalesce && is_all_bool(&values) && !values.is_empty() {
                let value = self.as_bool(value, arg.value.span);
                (!value.is_error()).then_some(value)
            } else {
                let value = self.as_number(value, arg.value.span);
                (!value.is_error()).then_some(value)
            };
            sound &= value.is_some();
            values.extend(value);
        }
        if args.len() < 2 {
            let message = format!("`{}` needs two arguments or more", definition.name);
            let mut fault = Fault::new(span, ExprReason::MissingArgument, message);
            if let Some(example) = definition.examples.first() {
                fault = fault.suggest(*example);
            }
            self.report(fault);
        }
        let mut values = values.into_iter();
        let Some(first) = values.next().filter(|_| sound) else {
            return unknown_value(definition, &[]);
        };
        values.fold(first, |left, right| {
            let what = if left.is_bool() { What::Bool } else { What::Number };
            let unit = if left.unit.is_empty() { right.unit } else { left.unit };
            self.apply(Op::Binary(op), &[&left, &right], what).unit(unit)
        })
    }

    /// What a sound call is made of.
    fn build(
        &mut self,
        definition: &'static Definition,
        span: Span,
        name_span: Span,
        arguments: Vec<(&'static str, Typed)>,
    ) -> Typed {
        let first = arguments.first().map(|(_, v)| v.clone());
        let second = arguments.get(1).map(|(_, v)| v.clone());
        let length = second.as_ref().and_then(|v| self.graph.constant(v.node?)).unwrap_or(0.0);
        // In range and whole: checked with the argument.
        let length = length as i64;
        let window = u32::try_from(length).unwrap_or(0);
        let unit = match definition.unit {
            "of x" => first.as_ref().map_or("", |v| v.unit),
            "of a" => second.as_ref().map_or("", |v| v.unit),
            other => unit(other),
        };
        let result = match (definition.body, first) {
            (Body::Unary(op), Some(x)) => self.apply(Op::Unary(op), &[&x], What::Number),
            (Body::Round, Some(x)) => {
                self.apply(Op::Round(i32::try_from(length).unwrap_or(0)), &[&x], What::Number)
            }
            (Body::Window(op), Some(x)) => self.apply(Op::Window(op, window), &[&x], What::Number),
            (Body::Quantile, Some(x)) => {
                let q = self.constant_of(&arguments, 2);
                self.apply(Op::Quantile(q, window), &[&x], What::Number)
            }
            (Body::Pair(op), Some(x)) => match &second {
                Some(y) => {
                    let n = self.whole_of(&arguments, 2);
                    self.apply(Op::Pair(op, n), &[&x, y], What::Number)
                }
                None => unknown_value(definition, &arguments),
            },
            (Body::Against(op), Some(x)) => match &second {
                Some(benchmark) => {
                    let n = self.whole_of(&arguments, 2);
                    self.apply(Op::Against(op, n), &[&x, benchmark], What::Number)
                }
                None => unknown_value(definition, &arguments),
            },
            (Body::Recursive(op), Some(x)) => {
                let n = if definition.parameters.len() > 1 { window } else { 1 };
                self.apply(Op::Recursive(op, n), &[&x], What::Number)
            }
            (Body::Late, Some(x)) => {
                let skip = self.whole_of(&arguments, 2);
                self.apply(Op::Recursive(Recursive::Late(skip), window), &[&x], What::Number)
            }
            (Body::Cross(op), Some(x)) => self.across(op, &x, &arguments),
            (Body::Score, _) => match self.score.clone() {
                Some(score) => score,
                None => {
                    let message =
                        "`score()` weighs the scan's factors, and it has none; add some to `factors`";
                    self.fault(span, ExprReason::MissingArgument, message);
                    unknown_value(definition, &arguments)
                }
            },
            (Body::Lag, Some(x)) => self.lag(&x, span, window),
            (Body::IsNull, Some(x)) => match x.what {
                What::Text(source) => self.text_operation(Op::TextIsNull(source)),
                _ => self.apply(Op::Unary(Unary::IsNull), &[&x], What::Bool),
            },
            (Body::If, Some(condition)) => self.choice(span, &condition, &arguments),
            (Body::InUniverse, Some(name)) => {
                let What::Literal(id) = name.what else { return unknown_value(definition, &arguments) };
                let id = id.strip_prefix("universes/").unwrap_or(&id);
                self.text_operation(Op::InUniverse(Arc::from(id)))
            }
            (Body::Contains | Body::StartsWith, Some(text)) => {
                let (What::Text(source), Some(What::Literal(part))) = (text.what, second.map(|v| v.what))
                else {
                    return unknown_value(definition, &arguments);
                };
                let starts = definition.body == Body::StartsWith;
                let op =
                    if starts { Op::TextStartsWith(source, part) } else { Op::TextContains(source, part) };
                self.text_operation(op)
            }
            (Body::Expansion(_), _) => return self.expand(definition, &arguments, span).unit(unit),
            _ => {
                self.absent(definition, name_span);
                unknown_value(definition, &arguments)
            }
        };
        result.unit(unit)
    }

    fn bars_per_year(&mut self) -> Typed {
        let timeframe = self.longer.map_or(self.timeframe, |longer| longer.timeframe);
        self.number(match timeframe {
            Timeframe::Minutes(minutes) => 252.0 * 390.0 / f64::from(minutes),
            Timeframe::Day => 252.0,
            Timeframe::Week => 52.0,
            Timeframe::Month => 12.0,
        })
    }

    /// A constant argument.
    fn constant_of(&self, arguments: &[(&'static str, Typed)], at: usize) -> f64 {
        arguments.get(at).and_then(|(_, v)| self.graph.constant(v.node?)).unwrap_or(0.0)
    }

    /// A whole constant argument; in range, as it was checked.
    fn whole_of(&self, arguments: &[(&'static str, Typed)], at: usize) -> u32 {
        self.constant_of(arguments, at) as u32
    }

    /// A function over the population.
    fn across(&mut self, op: Across, x: &Typed, arguments: &[(&'static str, Typed)]) -> Typed {
        let named = |name: &str| arguments.iter().find(|(known, _)| *known == name).map(|(_, v)| v);
        let constant =
            |this: &Self, name: &str| named(name).and_then(|v| this.graph.constant(v.node?)).unwrap_or(0.0);
        let by: Arc<[TextAttribute]> = match named("by").map(|v| &v.what) {
            Some(What::Groups(groups)) => groups.clone(),
            _ => Arc::from([]),
        };
        let condition = named("where");
        let n = constant(self, "n");
        let apply = |this: &mut Self, op: Cross, x: &Typed| {
            let inputs: Vec<&Typed> = std::iter::once(x).chain(condition).collect();
            let value = this.apply(Op::Cross(op, by.clone()), &inputs, What::Number);
            Typed { shape: Shape::Cross, ..value }
        };
        let op = match op {
            Across::Rank => Cross::Rank,
            Across::Percentile => Cross::Percentile,
            Across::ZScore => Cross::ZScore,
            Across::RobustZScore => Cross::RobustZScore { clip: constant(self, "clip") },
            Across::Winsorize => Cross::Winsorize { lo: constant(self, "lo"), hi: constant(self, "hi") },
            Across::Demean => Cross::Demean,
            Across::Bucket => Cross::Bucket(n as u32),
            Across::Mean => Cross::Mean,
            Across::Median => Cross::Median,
            Across::Sum => Cross::Sum,
            Across::Count => Cross::Count,
            Across::Top | Across::Bottom => {
                let x = if op == Across::Bottom {
                    self.apply(Op::Unary(Unary::Negate), &[x], What::Number)
                } else {
                    x.clone()
                };
                let rank = apply(self, Cross::Rank, &x);
                let n = self.number(n);
                return self.apply(Op::Binary(Binary::LessEqual), &[&rank, &n], What::Bool);
            }
            Across::Breadth => {
                let (one, zero) = (self.number(1.0), self.number(0.0));
                let share = self.apply(Op::If, &[x, &one, &zero], What::Number);
                let mean = apply(self, Cross::Mean, &share);
                let hundred = self.number(100.0);
                return self.apply(Op::Binary(Binary::Multiply), &[&hundred, &mean], What::Number);
            }
        };
        apply(self, op, x)
    }

    /// A factor's values as its weight meets them.
    pub(super) fn factor(&mut self, x: &Typed, factor: &Factor, by: Option<TextAttribute>) -> Typed {
        let by: Arc<[TextAttribute]> = by.into_iter().collect();
        let mut value = x.clone();
        let mut apply = |this: &mut Self, op: Cross| {
            let next = this.apply(Op::Cross(op, by.clone()), &[&value], What::Number);
            value = Typed { shape: Shape::Cross, ..next };
        };
        if factor.winsorize > 0.0 {
            apply(self, Cross::Winsorize { lo: factor.winsorize, hi: 1.0 - factor.winsorize });
        }
        match factor.transform {
            FactorTransform::RobustZScore => apply(self, Cross::RobustZScore { clip: 0.0 }),
            FactorTransform::ZScore => apply(self, Cross::ZScore),
            FactorTransform::Percentile => apply(self, Cross::Percentile),
            FactorTransform::None => {}
        }
        value
    }

    fn choice(&mut self, span: Span, condition: &Typed, arguments: &[(&'static str, Typed)]) -> Typed {
        let [_, (_, then), (_, otherwise)] = arguments else { return Typed::error() };
        if then.is_bool() != otherwise.is_bool() {
            let message = "both results of `if` must be numbers, or both true or false";
            self.fault(span, ExprReason::TypeMismatch, message);
            return Typed::error();
        }
        let what = if then.is_bool() { What::Bool } else { What::Number };
        self.apply(Op::If, &[condition, then, otherwise], what)
    }

    /// Lowers a definition that is written in the language itself.
    pub(super) fn expand(
        &mut self,
        definition: &'static Definition,
        arguments: &[(&'static str, Typed)],
        span: Span,
    ) -> Typed {
        let Body::Expansion(text) = definition.body else { return unknown_value(definition, arguments) };
        let result = self.body(text, arguments, span);
        self.label(&result, definition.name, arguments, None);
        result.unit(unit(definition.unit))
    }

    /// Lowers a text of the registry with its parameters bound.
    pub(super) fn body(
        &mut self,
        text: &'static str,
        arguments: &[(&'static str, Typed)],
        span: Span,
    ) -> Typed {
        let Some(expr) = BODIES.get(text) else {
            debug_assert!(false, "the registry's text does not parse: {text}");
            return Typed::error();
        };
        let outer = self.caller;
        self.caller = outer.or(Some(span));
        let result = self.lower(expr, Some(arguments));
        self.caller = outer;
        result
    }

    /// Lets the result of a definition be known by the call, as it is written with every argument.
    pub(super) fn label(
        &mut self,
        result: &Typed,
        name: &str,
        arguments: &[(&'static str, Typed)],
        member: Option<&str>,
    ) {
        let Some(node) = result.node else { return };
        let is_call = indicator::find(name).is_some_and(Definition::is_call);
        let phrase = if is_call {
            let texts: Option<Vec<Arc<str>>> = arguments.iter().map(|(_, v)| self.argument_text(v)).collect();
            let Some(texts) = texts else { return };
            let texts: Vec<&str> = texts.iter().map(|t| &**t).collect();
            call(name, &texts)
        } else {
            Phrase::new(name.to_owned(), Binding::Atom)
        };
        let phrase = match member {
            Some(member) => Phrase::new(format!("{}.{member}", phrase.text), Binding::Atom),
            None => phrase,
        };
        self.graph.label(node, phrase);
    }

    fn argument_text(&self, value: &Typed) -> Option<Arc<str>> {
        match &value.what {
            What::Text(from) => Some(Arc::from(source(*from))),
            What::Literal(text) => Some(Arc::from(literal(text))),
            _ => value.node.map(|node: NodeId| self.graph.text(node).clone()),
        }
    }
}

fn is_all_bool(values: &[Typed]) -> bool {
    values.iter().all(Typed::is_bool)
}

/// `sma(x=close, n)`
fn signature(definition: &Definition) -> String {
    let parameters: Vec<String> = definition
        .parameters
        .iter()
        .map(|p| match p.default {
            Some(default) => format!("{}={default}", p.name),
            None => p.name.to_owned(),
        })
        .collect();
    format!("{}({})", definition.name, parameters.join(", "))
}

/// The type of a call that cannot be computed, so that what is around it can be checked.
fn unknown_value(definition: &Definition, arguments: &[(&'static str, Typed)]) -> Typed {
    let what = match definition.result() {
        ValueKind::Bool => What::Bool,
        ValueKind::Text => return Typed::error(),
        ValueKind::Number | ValueKind::Integer
            if matches!(definition.body, Body::Members(_) | Body::Fold(_) | Body::If) =>
        {
            return Typed::error();
        }
        ValueKind::Number | ValueKind::Integer => What::Number,
    };
    let shape = match definition.kind {
        FunctionKind::CrossSection => Shape::Cross,
        FunctionKind::Attribute => Shape::Scalar,
        FunctionKind::Series | FunctionKind::Field | FunctionKind::Part => Shape::Series,
        FunctionKind::Elementwise => {
            arguments.iter().map(|(_, v)| v.shape).fold(Shape::Constant, super::graph::mix)
        }
    };
    Typed::new(what, None, shape)
}
