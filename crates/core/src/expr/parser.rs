//! Tokens to a tree: recursive descent over the grammar of the contract. Not here: names, types and limits other
//! than depth.

use super::ast::{Arg, Comparison, Expr, ExprKind, Joint};
use super::error::{ExprReason, Fault, Span};
use super::lexer::{Token, TokenKind, lex};

/// Bytes of one expression at most.
pub(crate) const BYTES_MAX: usize = 4096;
/// Levels that an expression may nest.
pub(crate) const DEPTH_MAX: u16 = 64;
/// Longest window and lag.
pub(crate) const WINDOW_MAX: u32 = 5000;

/// Words that are never names of values.
const KEYWORDS: [&str; 10] =
    ["and", "or", "not", "in", "between", "true", "false", "crosses_above", "crosses_below", "crosses"];

/// A source after parsing: `name = expr`, or an expression alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parsed {
    /// The name before `=`, in lower case.
    pub(crate) name: Option<(String, Span)>,
    /// The tree; none where the source is blank or wrong.
    pub(crate) expr: Option<Expr>,
    /// What is wrong with it.
    pub(crate) faults: Vec<Fault>,
}

/// Whether a word may name a column or definition.
pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

/// Whether a text is a name of the grammar.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Parses a source; `named` accepts `name = expr`. A blank source gives neither tree nor fault.
pub(crate) fn parse(source: &str, named: bool) -> Parsed {
    let mut parsed = Parsed::default();
    if source.len() > BYTES_MAX {
        let message = format!("this expression has {} bytes; the most is {BYTES_MAX}", source.len());
        parsed.faults.push(Fault::new(Span::new(0, 1), ExprReason::TooComplex, message));
        return parsed;
    }
    let tokens = match lex(source) {
        Ok(tokens) => tokens,
        Err(fault) => {
            parsed.faults.push(fault);
            return parsed;
        }
    };
    let mut parser = Parser { source, tokens, at: 0, depth: 0, faults: Vec::new() };
    if parser.peek() == &TokenKind::End {
        return parsed;
    }
    if named
        && let TokenKind::Name(name) = parser.peek().clone()
        && parser.tokens[1].kind == TokenKind::Symbol("=")
    {
        parsed.name = Some((name, parser.tokens[0].span));
        parser.at = 2;
    }
    let result = parser.expr().and_then(|expr| match parser.peek() {
        TokenKind::End => Ok(expr),
        TokenKind::Symbol("=") => {
            Err(Fault::syntax(parser.span(), "`=` names a column; a comparison is `==`").suggest("=="))
        }
        _ => Err(parser.expected("an operator or the end")),
    });
    parsed.faults = parser.faults;
    match result {
        Ok(expr) => parsed.expr = Some(expr),
        Err(fault) => parsed.faults.push(fault),
    }
    parsed
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    at: usize,
    depth: u16,
    faults: Vec<Fault>,
}

type Part = Result<Expr, Fault>;

impl Parser<'_> {
    fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    fn span(&self) -> Span {
        self.tokens[self.at].span
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), TokenKind::Symbol(s) if *s == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), TokenKind::Name(name) if name == word)
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn expected(&self, what: &str) -> Fault {
        let span = self.span();
        let found = match self.peek() {
            TokenKind::End => "the expression ends here".to_owned(),
            _ => format!("found `{}`", &self.source[span.start..span.end]),
        };
        Fault::syntax(span, format!("expected {what}; {found}"))
    }

    fn require(&mut self, symbol: &'static str, what: &str) -> Result<Span, Fault> {
        if self.is_symbol(symbol) { Ok(self.advance().span) } else { Err(self.expected(what)) }
    }

    /// Runs a part one level deeper.
    fn deeper(&mut self, part: impl FnOnce(&mut Self) -> Part) -> Part {
        if self.depth >= DEPTH_MAX {
            return Err(too_deep(self.span()));
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        result
    }

    fn expr(&mut self) -> Part {
        self.chain(Self::and, |p| (p.take_symbol("||") || p.take_word("or")).then_some(Joint::Or))
    }

    fn and(&mut self) -> Part {
        self.chain(Self::not, |p| (p.take_symbol("&&") || p.take_word("and")).then_some(Joint::And))
    }

    fn sum(&mut self) -> Part {
        self.chain(Self::product, |p| {
            let plus = p.take_symbol("+").then_some(Joint::Add);
            plus.or_else(|| p.take_symbol("-").then_some(Joint::Subtract))
        })
    }

    fn product(&mut self) -> Part {
        self.chain(Self::unary, |p| {
            let times = p.take_symbol("*").then_some(Joint::Multiply);
            times.or_else(|| p.take_symbol("/").then_some(Joint::Divide))
        })
    }

    fn chain(&mut self, operand: fn(&mut Self) -> Part, joint: fn(&mut Self) -> Option<Joint>) -> Part {
        let first = operand(self)?;
        let mut rest = Vec::new();
        let (mut span, mut depth) = (first.span, first.depth);
        while let Some(joint) = joint(self) {
            let next = operand(self)?;
            span = span.to(next.span);
            depth = depth.max(next.depth);
            rest.push((joint, next));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Expr { kind: ExprKind::Chain(Box::new(first), rest), span, depth })
    }

    fn not(&mut self) -> Part {
        let start = self.span();
        if self.take_symbol("!") || self.take_word("not") {
            let value = self.deeper(Self::not)?;
            let (span, depth) = (start.to(value.span), value.depth);
            return node(ExprKind::Not(Box::new(value)), span, depth + 1);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Part {
        let left = self.sum()?;
        let mut whole = self.compared(left)?;
        // What follows now is a chain; it is read on so that errors behind it are found too.
        while self.is_comparison() {
            let start = whole.clone();
            let mark = self.at;
            let next = self.compared(whole)?;
            let span = start.span.to(next.span);
            let mut fault = Fault::new(
                span,
                ExprReason::ChainedComparison,
                "a comparison gives true or false and cannot be compared again",
            );
            if let Some(between) = self.as_between(&start, mark, &next) {
                fault = fault.suggest(between);
            }
            self.faults.push(fault);
            whole = start;
            whole.span = span;
        }
        Ok(whole)
    }

    fn is_comparison(&self) -> bool {
        match self.peek() {
            TokenKind::Symbol(symbol) => Comparison::of(symbol).is_some(),
            TokenKind::Name(name) => {
                matches!(name.as_str(), "in" | "between" | "crosses_above" | "crosses_below" | "crosses")
            }
            _ => false,
        }
    }

    /// `a < x < b` as `x between a and b`.
    fn as_between(&self, start: &Expr, mark: usize, next: &Expr) -> Option<String> {
        use Comparison::{Greater, GreaterEqual, Less, LessEqual};
        let ExprKind::Compare(first, low, middle) = &start.kind else { return None };
        let TokenKind::Symbol(symbol) = &self.tokens[mark].kind else { return None };
        let ExprKind::Compare(second, _, high) = &next.kind else { return None };
        debug_assert_eq!(Comparison::of(symbol), Some(*second), "the mark stands before the operator");
        let text = |e: &Expr| &self.source[e.span.start..e.span.end];
        let (low, middle, high) = (text(low), text(middle), text(high));
        match (first, second) {
            (Less | LessEqual, Less | LessEqual) => Some(format!("{middle} between {low} and {high}")),
            (Greater | GreaterEqual, Greater | GreaterEqual) => {
                Some(format!("{middle} between {high} and {low}"))
            }
            _ => None,
        }
    }

    /// What may follow the left side of a comparison, or the left side alone.
    fn compared(&mut self, left: Expr) -> Part {
        if let TokenKind::Symbol(symbol) = self.peek()
            && let Some(comparison) = Comparison::of(symbol)
        {
            self.advance();
            let right = self.sum()?;
            let (span, depth) = (left.span.to(right.span), left.depth.max(right.depth));
            return node(ExprKind::Compare(comparison, Box::new(left), Box::new(right)), span, depth);
        }
        let negated = self.take_word("not");
        if negated && !self.is_word("in") {
            return Err(self.expected("`in` after `not`"));
        }
        if self.take_word("in") {
            if !self.is_symbol("[") {
                return Err(self.expected("a list after `in`, e.g. ['XNAS', 'XNYS']"));
            }
            let list = self.deeper(Self::list)?;
            let (span, depth) = (left.span.to(list.span), left.depth.max(list.depth));
            let ExprKind::List(items) = list.kind else { return Err(self.expected("a list")) };
            return node(ExprKind::In { value: Box::new(left), list: items, negated }, span, depth);
        }
        if self.take_word("between") {
            let low = self.sum()?;
            if !self.take_word("and") && !self.take_symbol("&&") {
                return Err(self.expected("`and` and the upper end after `between`"));
            }
            let high = self.sum()?;
            let span = left.span.to(high.span);
            let depth = left.depth.max(low.depth).max(high.depth);
            return node(ExprKind::Between(Box::new(left), Box::new(low), Box::new(high)), span, depth);
        }
        for word in ["crosses_above", "crosses_below", "crosses"] {
            if self.take_word(word) {
                let right = self.sum()?;
                let (span, depth) = (left.span.to(right.span), left.depth.max(right.depth));
                return node(ExprKind::Crosses(word, Box::new(left), Box::new(right)), span, depth);
            }
        }
        Ok(left)
    }

    fn unary(&mut self) -> Part {
        let start = self.span();
        if self.take_symbol("-") {
            let value = self.deeper(Self::unary)?;
            let (span, depth) = (start.to(value.span), value.depth);
            return node(ExprKind::Negate(Box::new(value)), span, depth + 1);
        }
        let base = self.postfix()?;
        if self.take_symbol("^") {
            let exponent = self.deeper(Self::unary)?;
            let (span, depth) = (base.span.to(exponent.span), base.depth.max(exponent.depth));
            return node(ExprKind::Power(Box::new(base), Box::new(exponent)), span, depth + 1);
        }
        Ok(base)
    }

    fn postfix(&mut self) -> Part {
        let mut value = self.atom()?;
        loop {
            let start = value.span;
            let depth = value.depth + 1;
            if self.take_symbol("[") {
                let lag = self.lag()?;
                let end = self.require("]", "`]`")?;
                value = node(ExprKind::Lag(Box::new(value), lag), start.to(end), depth)?;
            } else if self.take_symbol(".") {
                let TokenKind::Name(name) = self.peek().clone() else {
                    return Err(self.expected("the name of a member after `.`"));
                };
                let name_span = self.advance().span;
                let kind = ExprKind::Member { value: Box::new(value), name, name_span };
                value = node(kind, start.to(name_span), depth)?;
            } else if let TokenKind::Timeframe(timeframe) = self.peek().clone() {
                let timeframe_span = self.advance().span;
                let kind = ExprKind::At { value: Box::new(value), timeframe, timeframe_span };
                value = node(kind, start.to(timeframe_span), depth)?;
            } else {
                return Ok(value);
            }
        }
    }

    /// The number inside `x[k]`.
    fn lag(&mut self) -> Result<u32, Fault> {
        let what = "a literal number of bars, 0 or more, e.g. close[1]";
        let TokenKind::Number(value) = *self.peek() else { return Err(self.expected(what)) };
        if value.fract() != 0.0 {
            return Err(self.expected(what));
        }
        let token = self.advance();
        if value > f64::from(WINDOW_MAX) {
            let message = format!("a lag is at most {WINDOW_MAX} bars");
            self.faults.push(Fault::new(token.span, ExprReason::OutOfRange, message));
            return Ok(0);
        }
        Ok(value as u32)
    }

    fn atom(&mut self) -> Part {
        let span = self.span();
        match self.peek().clone() {
            TokenKind::Number(value) => {
                self.advance();
                node(ExprKind::Number(value), span, 0)
            }
            TokenKind::Text(text) => {
                self.advance();
                node(ExprKind::Text(text), span, 0)
            }
            TokenKind::Symbol("(") => {
                self.advance();
                let mut inner = self.deeper(Self::expr)?;
                let end = self.require(")", "`)`")?;
                inner.span = span.to(end);
                inner.depth += 1;
                if inner.depth > DEPTH_MAX { Err(too_deep(inner.span)) } else { Ok(inner) }
            }
            TokenKind::Name(name) => {
                let called = self.tokens.get(self.at + 1).is_some_and(|t| t.kind == TokenKind::Symbol("("));
                if is_keyword(&name) && !(called && name.starts_with("crosses")) {
                    return match name.as_str() {
                        "true" | "false" => {
                            self.advance();
                            node(ExprKind::Bool(name == "true"), span, 0)
                        }
                        _ => Err(self.expected("a value")),
                    };
                }
                self.advance();
                if called { self.deeper(|p| p.call(name, span)) } else { node(ExprKind::Name(name), span, 0) }
            }
            _ => Err(self.expected("a value")),
        }
    }

    fn call(&mut self, name: String, name_span: Span) -> Part {
        self.advance();
        let mut args = Vec::new();
        let mut depth = 0;
        if !self.is_symbol(")") {
            loop {
                let arg = self.arg()?;
                if arg.name.is_none() && args.last().is_some_and(|a: &Arg| a.name.is_some()) {
                    return Err(Fault::syntax(
                        arg.value.span,
                        "an argument without a name follows one with a name; positional ones come first",
                    ));
                }
                depth = depth.max(arg.value.depth);
                args.push(arg);
                if !self.take_symbol(",") {
                    break;
                }
            }
        }
        let end = self.require(")", "`,` or `)`")?;
        node(ExprKind::Call { name, name_span, args }, name_span.to(end), depth + 1)
    }

    fn arg(&mut self) -> Result<Arg, Fault> {
        let mut name = None;
        if let TokenKind::Name(word) = self.peek().clone()
            && self.tokens.get(self.at + 1).is_some_and(|t| t.kind == TokenKind::Symbol("="))
        {
            name = Some((word, self.span()));
            self.advance();
            self.advance();
        }
        let value = if self.is_symbol("[") { self.deeper(Self::list)? } else { self.expr()? };
        Ok(Arg { name, value })
    }

    fn list(&mut self) -> Part {
        let start = self.advance().span;
        let mut items = Vec::new();
        let mut depth = 0;
        if !self.is_symbol("]") {
            loop {
                let item = self.expr()?;
                depth = depth.max(item.depth);
                items.push(item);
                if !self.take_symbol(",") {
                    break;
                }
            }
        }
        let end = self.require("]", "`,` or `]`")?;
        node(ExprKind::List(items), start.to(end), depth + 1)
    }
}

fn too_deep(span: Span) -> Fault {
    let message = format!("this expression nests more than {DEPTH_MAX} levels");
    Fault::new(span, ExprReason::TooComplex, message)
}

fn node(kind: ExprKind, span: Span, depth: u16) -> Part {
    if depth > DEPTH_MAX {
        return Err(too_deep(span));
    }
    Ok(Expr { kind, span, depth })
}
