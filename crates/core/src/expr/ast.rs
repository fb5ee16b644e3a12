//! The tree of an expression as it was written, with places. Not here: what it means ([`super::lower`]).

use super::error::Span;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    /// Outer parentheses included.
    pub(crate) span: Span,
    /// How deep it nests.
    pub(crate) depth: u16,
}

/// Operators that join a chain of operands from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joint {
    Or,
    And,
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

impl Comparison {
    pub(crate) fn of(symbol: &str) -> Option<Self> {
        Some(match symbol {
            "<" => Self::Less,
            "<=" => Self::LessEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterEqual,
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            _ => return None,
        })
    }
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arg {
    pub(crate) name: Option<(String, Span)>,
    pub(crate) value: Expr,
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExprKind {
    Number(f64),
    Text(String),
    Bool(bool),
    Name(String),
    Call {
        name: String,
        name_span: Span,
        args: Vec<Arg>,
    },
    /// Only as an argument.
    List(Vec<Expr>),
    Negate(Box<Expr>),
    Not(Box<Expr>),
    /// Kept flat: a sum of two thousand terms nests no deeper than one of two.
    Chain(Box<Expr>, Vec<(Joint, Expr)>),
    Power(Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    In {
        value: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    Between(Box<Expr>, Box<Expr>, Box<Expr>),
    /// The name of the function that the infix stands for.
    Crosses(&'static str, Box<Expr>, Box<Expr>),
    Lag(Box<Expr>, u32),
    Member {
        value: Box<Expr>,
        name: String,
        name_span: Span,
    },
    At {
        value: Box<Expr>,
        timeframe: String,
        timeframe_span: Span,
    },
}

impl Expr {
    /// Calls `each` with every function that is called.
    pub(crate) fn calls(&self, each: &mut dyn FnMut(&str)) {
        self.walk(&mut |expr| {
            if let ExprKind::Call { name, .. } = &expr.kind {
                each(name);
            }
        });
    }

    /// Calls `each` with every name that is read, functions not counted.
    pub(crate) fn names(&self, each: &mut dyn FnMut(&str, Span)) {
        self.walk(&mut |expr| {
            if let ExprKind::Name(name) = &expr.kind {
                each(name, expr.span);
            }
        });
    }

    /// Calls `each` with this expression and with all below it, in the order of the text.
    pub(crate) fn walk(&self, each: &mut dyn FnMut(&Self)) {
        each(self);
        match &self.kind {
            ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::Name(_) => {}
            ExprKind::Call { args, .. } => args.iter().for_each(|a| a.value.walk(each)),
            ExprKind::List(items) => items.iter().for_each(|e| e.walk(each)),
            ExprKind::Negate(x)
            | ExprKind::Not(x)
            | ExprKind::Lag(x, _)
            | ExprKind::Member { value: x, .. }
            | ExprKind::At { value: x, .. } => x.walk(each),
            ExprKind::Chain(first, rest) => {
                first.walk(each);
                rest.iter().for_each(|(_, e)| e.walk(each));
            }
            ExprKind::Power(a, b) | ExprKind::Compare(_, a, b) | ExprKind::Crosses(_, a, b) => {
                a.walk(each);
                b.walk(each);
            }
            ExprKind::In { value, list, .. } => {
                value.walk(each);
                list.iter().for_each(|e| e.walk(each));
            }
            ExprKind::Between(x, low, high) => {
                x.walk(each);
                low.walk(each);
                high.walk(each);
            }
        }
    }
}
