//! Canonical text: lower case, defaults filled in, as few parentheses as the grammar allows. What is printed here
//! parses back to the same nodes.

use std::fmt::Write;
use std::sync::Arc;

use super::lexer::{Token, TokenKind, lex};
use crate::plan::{Against, Binary, Cross, NumberAttribute, Op, Pair, Recursive, TextSource, Unary, Window};
use crate::universe::TextAttribute;

/// Bytes of a canonical text; beyond it a text is shortened and no longer parses. It is for reading only: nothing
/// is identified by it.
const TEXT_MAX: usize = super::parser::BYTES_MAX;

/// How tightly a text binds, loosest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Binding {
    Or,
    And,
    Not,
    Comparison,
    Sum,
    Product,
    Unary,
    Power,
    Atom,
}

/// A text with how tightly it binds.
#[derive(Debug, Clone)]
pub(crate) struct Phrase {
    pub(crate) text: Arc<str>,
    pub(crate) binding: Binding,
}

impl Phrase {
    pub(crate) fn new(text: String, binding: Binding) -> Self {
        if text.len() <= TEXT_MAX {
            return Self { text: Arc::from(text), binding };
        }
        let mut end = TEXT_MAX - 3;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self { text: Arc::from(format!("{}…", &text[..end])), binding }
    }

    /// The text, in parentheses where it binds less tightly than asked for.
    fn at_least(&self, binding: Binding) -> String {
        if self.binding >= binding { self.text.to_string() } else { format!("({})", self.text) }
    }
}

/// A number that reads back to the same value.
pub(crate) fn number(value: f64) -> Phrase {
    if value.is_nan() {
        // There is no word for null; this folds to it.
        return Phrase::new("0 / 0".to_owned(), Binding::Product);
    }
    let size = value.abs();
    let digits =
        if size == 0.0 || (1e-5..1e15).contains(&size) { format!("{size}") } else { format!("{size:e}") };
    if value < 0.0 {
        Phrase::new(format!("-{digits}"), Binding::Unary)
    } else {
        Phrase::new(digits, Binding::Atom)
    }
}

/// A string literal.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::from("'");
    for c in text.chars() {
        match c {
            '\\' | '\'' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// The name of a text attribute.
pub(crate) fn source(source: TextSource) -> &'static str {
    match source {
        TextSource::Symbol => "symbol",
        TextSource::Attribute(attribute) => attribute.name(),
    }
}

/// `name(a, b)`
pub(crate) fn call(name: &str, arguments: &[&str]) -> Phrase {
    Phrase::new(format!("{name}({})", arguments.join(", ")), Binding::Atom)
}

fn text_in(from: TextSource, texts: &[Arc<str>], negated: bool) -> Phrase {
    let mut out = source(from).to_owned();
    if let [text] = texts {
        let _ = write!(out, " {} {}", if negated { "!=" } else { "==" }, literal(text));
    } else {
        let list: Vec<String> = texts.iter().map(|t| literal(t)).collect();
        let _ = write!(out, " {}in [{}]", if negated { "not " } else { "" }, list.join(", "));
    }
    Phrase::new(out, Binding::Comparison)
}

fn unary(op: Unary, x: &Phrase) -> Phrase {
    let name = match op {
        Unary::Negate => {
            return Phrase::new(format!("-{}", x.at_least(Binding::Unary)), Binding::Unary);
        }
        Unary::Not => return Phrase::new(format!("not {}", x.at_least(Binding::Not)), Binding::Not),
        Unary::Abs => "abs",
        Unary::Sign => "sign",
        Unary::Sqrt => "sqrt",
        Unary::Exp => "exp",
        Unary::Log => "log",
        Unary::Floor => "floor",
        Unary::Ceil => "ceil",
        Unary::IsNull => "is_null",
    };
    call(name, &[&x.text])
}

fn binary(op: Binary, a: &Phrase, b: &Phrase) -> Phrase {
    use Binding as B;
    let (symbol, own, left, right) = match op {
        Binary::Or => ("or", B::Or, B::Or, B::And),
        Binary::And => ("and", B::And, B::And, B::Not),
        Binary::Less => ("<", B::Comparison, B::Sum, B::Sum),
        Binary::LessEqual => ("<=", B::Comparison, B::Sum, B::Sum),
        Binary::Greater => (">", B::Comparison, B::Sum, B::Sum),
        Binary::GreaterEqual => (">=", B::Comparison, B::Sum, B::Sum),
        Binary::Equal => ("==", B::Comparison, B::Sum, B::Sum),
        Binary::NotEqual => ("!=", B::Comparison, B::Sum, B::Sum),
        Binary::Add => ("+", B::Sum, B::Sum, B::Product),
        Binary::Subtract => ("-", B::Sum, B::Sum, B::Product),
        Binary::Multiply => ("*", B::Product, B::Product, B::Unary),
        Binary::Divide => ("/", B::Product, B::Product, B::Unary),
        Binary::Power => ("^", B::Power, B::Atom, B::Unary),
        Binary::Minimum => return call("min", &[&a.text, &b.text]),
        Binary::Maximum => return call("max", &[&a.text, &b.text]),
        Binary::Coalesce => return call("coalesce", &[&a.text, &b.text]),
    };
    Phrase::new(format!("{} {symbol} {}", a.at_least(left), b.at_least(right)), own)
}

/// The text of an operation over inputs whose texts are known. `negated` is the operation under a `not`, where
/// that has a form of its own.
pub(crate) fn operation(op: &Op, is_bool: bool, inputs: &[&Phrase], under: Option<&Op>) -> Phrase {
    match (op, inputs) {
        (Op::Constant(value), _) if is_bool && !value.is_nan() => {
            Phrase::new(if *value == 0.0 { "false" } else { "true" }.to_owned(), Binding::Atom)
        }
        (Op::Constant(_), _) if is_bool => Phrase::new("0 / 0 == 0".to_owned(), Binding::Comparison),
        (Op::Constant(value), _) => number(*value),
        (Op::Field(field) | Op::Longer(_, field), _) => {
            let name = if *field == crate::bar::Field::Vwap { "bar_vwap" } else { field.name() };
            Phrase::new(name.to_owned(), Binding::Atom)
        }
        (Op::Attribute(attribute), _) => {
            let name = match attribute {
                NumberAttribute::MarketCap => "market_cap",
                NumberAttribute::SharesOutstanding => "shares_outstanding",
                NumberAttribute::DaysListed => "days_listed",
                NumberAttribute::Active => "active",
            };
            Phrase::new(name.to_owned(), Binding::Atom)
        }
        (Op::Text(from), _) => Phrase::new(source(*from).to_owned(), Binding::Atom),
        (Op::TextIn(from, texts), _) => text_in(*from, texts, false),
        (Op::TextContains(from, text), _) => call("contains", &[source(*from), &literal(text)]),
        (Op::TextStartsWith(from, text), _) => call("starts_with", &[source(*from), &literal(text)]),
        (Op::InUniverse(id), _) => call("in_universe", &[&literal(id)]),
        (Op::TextIsNull(from), _) => call("is_null", &[source(*from)]),
        (Op::Unary(Unary::Not), [x]) => match under {
            Some(Op::TextIn(from, texts)) => text_in(*from, texts, true),
            _ => unary(Unary::Not, x),
        },
        (Op::Unary(op), [x]) => unary(*op, x),
        (Op::Binary(op), [a, b]) => binary(*op, a, b),
        (Op::Round(digits), [x]) => call("round", &[&x.text, &digits.to_string()]),
        (Op::If, [c, a, b]) => call("if", &[&c.text, &a.text, &b.text]),
        (Op::Lag(k), [x]) => Phrase::new(format!("{}[{k}]", x.at_least(Binding::Atom)), Binding::Atom),
        (Op::Window(window, n), [x]) => {
            let name = match window {
                Window::Sum => "sum",
                Window::Mean => "sma",
                Window::Variance => "variance",
                Window::StdDev => "stddev",
                Window::Highest => "highest",
                Window::Lowest => "lowest",
                Window::Weighted => "wma",
                Window::MeanDeviation => "mean_deviation",
                Window::HighestAgo => "highest_bars_ago",
                Window::LowestAgo => "lowest_bars_ago",
                Window::Slope => "linreg_slope",
                Window::Fit => "linreg_r2",
                Window::Rank => "ts_rank",
                Window::Peak => "peak",
                Window::Trough => "trough",
                Window::Fall => "deepest",
            };
            call(name, &[&x.text, &n.to_string()])
        }
        (Op::Quantile(q, n), [x]) => call("quantile", &[&x.text, &n.to_string(), &number(*q).text]),
        (Op::Pair(pair, n), [x, y]) => {
            let name = match pair {
                Pair::Covariance => "cov",
                Pair::Correlation => "corr",
            };
            call(name, &[&x.text, &y.text, &n.to_string()])
        }
        (Op::Recursive(recursive, n), [x]) => {
            let name = match recursive {
                Recursive::Ema => "ema",
                Recursive::Rma => "rma",
                Recursive::Rsi => "rsi",
                Recursive::WilderSum => "wilder_sum",
                Recursive::Total => return call("total", &[&x.text]),
                Recursive::Late(skip) => {
                    return call("late_ema", &[&x.text, &n.to_string(), &skip.to_string()]);
                }
            };
            call(name, &[&x.text, &n.to_string()])
        }
        (Op::At(longer), [x]) => {
            let text = format!("{}@{}", x.at_least(Binding::Atom), longer.timeframe);
            Phrase::new(text, Binding::Atom)
        }
        (Op::Benchmark(..), _) => Phrase::new("benchmark_close".to_owned(), Binding::Atom),
        (Op::Against(against, n), _) => {
            let name = match against {
                Against::Beta => "beta",
                Against::Correlation => "corr_benchmark",
                Against::Excess => "excess_return",
            };
            call(name, &[&n.to_string()])
        }
        (Op::Cross(cross, by), [x, rest @ ..]) => across(*cross, by, x, rest.first().copied()),
        _ => {
            debug_assert!(false, "an operation with the wrong number of inputs: {op:?}");
            Phrase::new(format!("{op:?}"), Binding::Atom)
        }
    }
}

/// A function over the population as it is called.
fn across(cross: Cross, by: &[TextAttribute], x: &Phrase, condition: Option<&Phrase>) -> Phrase {
    let mut arguments = vec![x.text.to_string()];
    let name = match cross {
        Cross::Rank => "rank",
        Cross::Percentile => "percentile",
        Cross::ZScore => "zscore",
        Cross::RobustZScore { clip } => {
            if clip != 0.0 {
                arguments.push(number(clip).text.to_string());
            }
            "robust_zscore"
        }
        Cross::Winsorize { lo, hi } => {
            arguments.extend([number(lo).text.to_string(), number(hi).text.to_string()]);
            "winsorize"
        }
        Cross::Demean => "demean",
        Cross::Bucket(n) => {
            arguments.push(n.to_string());
            "bucket"
        }
        Cross::Mean => "group_mean",
        Cross::Median => "group_median",
        Cross::Sum => "group_sum",
        Cross::Count => "group_count",
    };
    match by {
        [] => {}
        [one] => arguments.push(format!("by={}", one.name())),
        many => {
            let names: Vec<&str> = many.iter().map(|a| a.name()).collect();
            arguments.push(format!("by=[{}]", names.join(", ")));
        }
    }
    arguments.extend(condition.map(|c| format!("where={}", c.text)));
    Phrase::new(format!("{name}({})", arguments.join(", ")), Binding::Atom)
}

/// A part of a source as written, with regular spacing and without parentheses around the whole.
pub(crate) fn normal(written: &str, span: super::error::Span) -> String {
    let part = &written[span.start..span.end];
    let Ok(tokens) = lex(part) else { return part.to_owned() };
    let mut tokens = &tokens[..tokens.len() - 1];
    while encloses(tokens) {
        tokens = &tokens[1..tokens.len() - 1];
    }
    let mut out = String::new();
    let mut tight = true;
    for (i, token) in tokens.iter().enumerate() {
        let before = i.checked_sub(1).map(|b| &tokens[b].kind);
        let unary = |symbol: &str| {
            let ends_value = match before {
                None => false,
                Some(TokenKind::Symbol(s)) => matches!(*s, ")" | "]"),
                Some(TokenKind::Name(name)) => !super::parser::is_keyword(name),
                Some(_) => true,
            };
            symbol == "!" || (symbol == "-" && !ends_value)
        };
        let (space, next_tight) = match &token.kind {
            TokenKind::Symbol("(" | "[") => {
                let after_value = matches!(before, Some(TokenKind::Name(_) | TokenKind::Symbol(")" | "]")));
                let word = matches!(before, Some(TokenKind::Name(name)) if super::parser::is_keyword(name));
                (!tight && (word || !after_value), true)
            }
            TokenKind::Symbol(")" | "]" | ",") | TokenKind::Timeframe(_) => (false, false),
            TokenKind::Symbol(".") => (false, true),
            TokenKind::Symbol(s) if unary(s) => (!tight, true),
            _ => (!tight, false),
        };
        if space {
            out.push(' ');
        }
        match &token.kind {
            TokenKind::Name(name) => out.push_str(name),
            _ => out.push_str(&part[token.span.start..token.span.end]),
        }
        tight = next_tight;
    }
    out
}

/// Whether the first token opens a parenthesis that the last one closes.
fn encloses(tokens: &[Token]) -> bool {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return false };
    if first.kind != TokenKind::Symbol("(") || last.kind != TokenKind::Symbol(")") {
        return false;
    }
    let mut open = 0;
    for token in &tokens[..tokens.len() - 1] {
        match token.kind {
            TokenKind::Symbol("(") => open += 1,
            TokenKind::Symbol(")") => open -= 1,
            _ => {}
        }
        if open == 0 {
            return false;
        }
    }
    true
}
