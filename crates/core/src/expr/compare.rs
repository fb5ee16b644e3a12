//! Comparisons: what may be compared with what, and what each form means. The kinds of operand and the errors are
//! found here; element-wise forms of other kinds are lowered in [`super::lower`].

use std::sync::Arc;

use super::ast::{Comparison, Expr, ExprKind};
use super::error::{ExprReason, Fault, Span};
use super::lower::{Arguments, Lowering};
use super::typed::{Typed, What};
use crate::indicator;
use crate::plan::{Binary, Op, Shape, Unary};

impl Lowering {
    /// Whether an operand is the word null, which nothing can be compared with.
    fn null_compared(&mut self, span: Span, operands: &[&Expr]) -> bool {
        let null = operands.iter().any(|e| matches!(&e.kind, ExprKind::Name(name) if name == "null"));
        if null {
            let other = operands.iter().find(|e| !matches!(&e.kind, ExprKind::Name(name) if name == "null"));
            let suggestion = match other.map(|e| &e.kind) {
                Some(ExprKind::Name(name)) => format!("is_null({name})"),
                _ => "is_null(x)".to_owned(),
            };
            let message = "a comparison with null is always null";
            self.report(Fault::new(span, ExprReason::NullComparison, message).suggest(suggestion));
        }
        null
    }

    pub(super) fn compare(
        &mut self,
        span: Span,
        comparison: Comparison,
        a: &Expr,
        b: &Expr,
        arguments: Option<Arguments<'_>>,
    ) -> Typed {
        let failed = Typed::new(What::Bool, None, Shape::Constant);
        if self.null_compared(span, &[a, b]) {
            return failed;
        }
        let (left, right) = (self.lower(a, arguments), self.lower(b, arguments));
        if left.is_error() || right.is_error() {
            return failed;
        }
        let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        match (&left.what, &right.what) {
            (What::Number, What::Number) => {}
            (What::Bool, What::Bool) if equality => {}
            (What::Text(source), What::Literal(text)) | (What::Literal(text), What::Text(source))
                if equality =>
            {
                let found = self.text_operation(Op::TextIn(*source, Arc::from([text.clone()])));
                return if comparison == Comparison::NotEqual {
                    self.apply(Op::Unary(Unary::Not), &[&found], What::Bool)
                } else {
                    found
                };
            }
            (What::Literal(x), What::Literal(y)) if equality => {
                return self.bool((x == y) == (comparison == Comparison::Equal));
            }
            (What::Multi(_), _) => {
                self.mismatch(&left, a.span, "", "");
                return failed;
            }
            (_, What::Multi(_)) => {
                self.mismatch(&right, b.span, "", "");
                return failed;
            }
            (What::Text(_), What::Text(_)) => {
                let message =
                    "a text attribute is compared with a literal text only, e.g. sector == 'Energy'";
                self.fault(span, ExprReason::TypeMismatch, message);
                return failed;
            }
            (What::Text(_) | What::Literal(_), What::Text(_) | What::Literal(_))
            | (What::Bool, What::Bool) => {
                let message = format!("{} can be compared with == and != only", left.words());
                self.fault(span, ExprReason::TypeMismatch, message);
                return failed;
            }
            _ => {
                let message = format!("{} cannot be compared with {}", left.words(), right.words());
                self.fault(span, ExprReason::TypeMismatch, message);
                return failed;
            }
        }
        let op = match comparison {
            Comparison::Less => Binary::Less,
            Comparison::LessEqual => Binary::LessEqual,
            Comparison::Greater => Binary::Greater,
            Comparison::GreaterEqual => Binary::GreaterEqual,
            Comparison::Equal => Binary::Equal,
            Comparison::NotEqual => Binary::NotEqual,
        };
        self.apply(Op::Binary(op), &[&left, &right], What::Bool)
    }

    /// `x in [...]`
    pub(super) fn member_of(
        &mut self,
        span: Span,
        value: &Expr,
        list: &[Expr],
        arguments: Option<Arguments<'_>>,
    ) -> Typed {
        let failed = Typed::new(What::Bool, None, Shape::Constant);
        let operands: Vec<&Expr> = std::iter::once(value).chain(list).collect();
        if self.null_compared(span, &operands) {
            return failed;
        }
        let left = self.lower(value, arguments);
        let items: Vec<Typed> = list.iter().map(|e| self.lower(e, arguments)).collect();
        if list.is_empty() {
            self.fault(span, ExprReason::MissingArgument, "the list after `in` is empty");
            return failed;
        }
        match &left.what {
            What::Text(source) => {
                let mut texts = Vec::new();
                for (item, expr) in items.iter().zip(list) {
                    match &item.what {
                        What::Literal(text) => texts.push(text.clone()),
                        What::Text(_) => {
                            self.fault(expr.span, ExprReason::NotConstant, "expected a literal text");
                        }
                        _ => self.mismatch(item, expr.span, "a literal text", ""),
                    }
                }
                if texts.len() < items.len() {
                    return failed;
                }
                texts.sort_unstable();
                texts.dedup();
                self.text_operation(Op::TextIn(*source, texts.into()))
            }
            What::Number => {
                let mut found: Option<Typed> = None;
                for (item, expr) in items.into_iter().zip(list) {
                    let item = self.as_number(item, expr.span);
                    let equal = self.apply(Op::Binary(Binary::Equal), &[&left, &item], What::Bool);
                    found = Some(match found {
                        Some(so_far) => self.apply(Op::Binary(Binary::Or), &[&so_far, &equal], What::Bool),
                        None => equal,
                    });
                }
                found.unwrap_or(failed)
            }
            _ => {
                self.mismatch(&left, value.span, "a number or a text attribute before `in`", "");
                failed
            }
        }
    }

    pub(super) fn between(
        &mut self,
        span: Span,
        x: &Expr,
        low: &Expr,
        high: &Expr,
        arguments: Option<Arguments<'_>>,
    ) -> Typed {
        if self.null_compared(span, &[x, low, high]) {
            return Typed::new(What::Bool, None, Shape::Constant);
        }
        let [x, low, high] = [x, low, high].map(|e| self.numeric(e, arguments));
        let above = self.apply(Op::Binary(Binary::GreaterEqual), &[&x, &low], What::Bool);
        let below = self.apply(Op::Binary(Binary::LessEqual), &[&x, &high], What::Bool);
        self.apply(Op::Binary(Binary::And), &[&above, &below], What::Bool)
    }

    pub(super) fn crosses(
        &mut self,
        span: Span,
        name: &str,
        a: &Expr,
        b: &Expr,
        arguments: Option<Arguments<'_>>,
    ) -> Typed {
        let failed = Typed::new(What::Bool, None, Shape::Series);
        if self.null_compared(span, &[a, b]) {
            return failed;
        }
        let (left, right) = (self.lower(a, arguments), self.lower(b, arguments));
        let Some(definition) = indicator::find(name) else { return failed };
        self.bound(definition, span, vec![("a", left, a.span), ("b", right, b.span)])
    }
}
