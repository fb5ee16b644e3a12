//! Text to tokens. Not here: what follows what ([`super::parser`]).

use winnow::Parser;
use winnow::combinator::{alt, opt, repeat};
use winnow::error::EmptyError;
use winnow::token::{any, literal, take_while};

use super::error::{ExprReason, Fault, Span};

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    Number(f64),
    Text(String),
    /// In lower case; keywords are names to the lexer.
    Name(String),
    Symbol(&'static str),
    /// What follows an `@`.
    Timeframe(String),
    End,
}

/// A token and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// Longer ones before those that they start with.
const SYMBOLS: [&str; 21] = [
    "||", "&&", "<=", ">=", "==", "!=", "<", ">", "=", "!", "+", "-", "*", "/", "^", "(", ")", "[", "]", ",",
    ".",
];

type Lexed<T> = Result<T, EmptyError>;

/// Splits a source into tokens; the last is always [`TokenKind::End`].
pub(crate) fn lex(source: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut rest = source;
    loop {
        skip_blank(&mut rest);
        let start = source.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            tokens.push(Token { kind: TokenKind::End, span: Span::new(start, start) });
            return Ok(tokens);
        };
        let kind = match first {
            '0'..='9' => number(&mut rest, start)?,
            'a'..='z' | 'A'..='Z' => TokenKind::Name(word(&mut rest)),
            '\'' | '"' | '`' => TokenKind::Text(text(&mut rest, start, first)?),
            '@' => {
                rest = &rest[1..];
                TokenKind::Timeframe(word(&mut rest))
            }
            _ => match symbol(&mut rest) {
                Ok(symbol) => TokenKind::Symbol(symbol),
                Err(EmptyError) => return Err(unexpected(first, start)),
            },
        };
        tokens.push(Token { kind, span: Span::new(start, source.len() - rest.len()) });
    }
}

fn unexpected(first: char, start: usize) -> Fault {
    let span = Span::new(start, start + first.len_utf8());
    let fault = Fault::syntax(span, format!("unexpected character `{}`", first.escape_debug()));
    match first {
        '&' => fault.suggest("and"),
        '|' => fault.suggest("or"),
        _ => fault,
    }
}

/// Spaces, line ends and comments.
fn skip_blank(rest: &mut &str) {
    let blank = take_while(1.., [' ', '\t', '\r', '\n']).void();
    let comment = ('#', take_while(0.., |c| c != '\n')).void();
    let mut skip = repeat(0.., alt((blank, comment)));
    let skipped: Lexed<()> = skip.parse_next(rest);
    debug_assert!(skipped.is_ok(), "nothing at all is blank too");
}

/// Letters, digits and underscores, in lower case; possibly none.
fn word(rest: &mut &str) -> String {
    let taken: Lexed<&str> = take_while(0.., ('a'..='z', 'A'..='Z', '0'..='9', '_')).parse_next(rest);
    taken.unwrap_or_default().to_ascii_lowercase()
}

fn symbol(rest: &mut &str) -> Lexed<&'static str> {
    for symbol in SYMBOLS {
        let found: Lexed<&str> = literal(symbol).parse_next(rest);
        if found.is_ok() {
            return Ok(symbol);
        }
    }
    Err(EmptyError)
}

fn digits<'s>(rest: &mut &'s str) -> Lexed<&'s str> {
    let run = |rest: &mut &'s str| -> Lexed<&'s str> { take_while(1.., '0'..='9').parse_next(rest) };
    (run, repeat::<_, _, (), _, _>(0.., ('_', run))).take().parse_next(rest)
}

/// A literal with its suffix. The exponent is joined to the digits before they are read, so that `0.1B` rounds once.
fn number(rest: &mut &str, start: usize) -> Result<TokenKind, Fault> {
    let before = rest.len();
    let fraction = |rest: &mut &str| -> Lexed<()> { ('.', digits).void().parse_next(rest) };
    let mantissa: Lexed<String> =
        (digits, opt(fraction)).take().map(|text: &str| text.replace('_', "")).parse_next(rest);
    let power = |rest: &mut &str| -> Lexed<String> {
        (alt(('e', 'E')), (opt(alt(('+', '-'))), digits).take())
            .map(|(_, text): (char, &str)| text.replace('_', ""))
            .parse_next(rest)
    };
    let exponent: Lexed<Option<String>> = opt(power).parse_next(rest);
    let suffix: Lexed<Option<i64>> =
        opt(alt(('K'.value(3_i64), 'M'.value(6_i64), 'B'.value(9_i64), 'T'.value(12_i64)))).parse_next(rest);
    let end = |rest: &str| start + before - rest.len();
    let (Ok(mantissa), Ok(exponent), Ok(suffix)) = (mantissa, exponent, suffix) else {
        return Err(Fault::syntax(Span::new(start, end(rest) + 1), "this is not a number"));
    };
    if let Some(next) = rest.chars().next()
        && (next.is_ascii_alphanumeric() || next == '_')
    {
        let written = &rest[..1];
        let upper = written.to_ascii_uppercase();
        let _ = word(rest);
        let span = Span::new(start, end(rest));
        let fault = Fault::syntax(span, "a number ends in a digit or in one of K, M, B, T");
        let is_suffix = suffix.is_none() && ["K", "M", "B", "T"].contains(&upper.as_str());
        return Err(if is_suffix && exponent.is_none() {
            fault.suggest(format!("{mantissa}{upper}"))
        } else {
            fault
        });
    }
    // Beyond the range of i64 the number is zero or infinite whatever the suffix adds.
    let exponent: i64 = match exponent {
        Some(text) => text.parse().unwrap_or(if text.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 }),
        None => 0,
    };
    let joined = format!("{mantissa}e{}", exponent + suffix.unwrap_or(0));
    match joined.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(TokenKind::Number(value)),
        _ => Err(Fault::new(
            Span::new(start, end(rest)),
            ExprReason::OutOfRange,
            "this number is too large; the largest is about 1.7e308",
        )),
    }
}

/// A string in one of the three quotes; a backslash escapes in the first two.
fn text(rest: &mut &str, start: usize, quote: char) -> Result<String, Fault> {
    let before = rest.len();
    let mut out = String::new();
    let next = |rest: &mut &str| -> Option<char> {
        let taken: Lexed<char> = any.parse_next(rest);
        taken.ok()
    };
    next(rest);
    loop {
        match next(rest) {
            Some(c) if c == quote => return Ok(out),
            Some('\\') if quote != '`' => match next(rest) {
                Some(c @ ('\\' | '\'' | '"' | '`')) => out.push(c),
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(c) => {
                    let end = start + before - rest.len();
                    return Err(Fault::syntax(
                        Span::new(end - c.len_utf8() - 1, end),
                        format!(
                            "unknown escape `\\{}`; known are \\\\ \\' \\\" \\` \\n \\t",
                            c.escape_debug()
                        ),
                    ));
                }
                None => break,
            },
            Some('\n') | None => break,
            Some(c) => out.push(c),
        }
    }
    let end = start + before - rest.len();
    Err(Fault::syntax(Span::new(start, end), format!("this string has no closing {quote}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<TokenKind> {
        lex(source).unwrap().into_iter().map(|t| t.kind).collect()
    }

    #[test]
    fn numbers_take_separators_exponents_and_suffixes() {
        for (text, value) in [
            ("1_000", 1000.0),
            ("2.5", 2.5),
            ("10B", 1e10),
            ("0.1B", 1e8),
            ("1.5K", 1500.0),
            ("3T", 3e12),
            ("2M", 2e6),
            ("1e-3", 1e-3),
            ("1E+2", 100.0),
            ("1e3K", 1e6),
            ("1e-999999999999999999999", 0.0),
        ] {
            assert_eq!(kinds(text), [TokenKind::Number(value), TokenKind::End], "{text}");
        }
        for bad in ["1__0", "1_", "10Q", "10x", "1e", "5m", "10BB", "1e400", "1e99999999999999999999"] {
            assert!(lex(bad).is_err(), "{bad}");
        }
        assert_eq!(lex("10m").unwrap_err().suggestion, "10M");
    }

    #[test]
    fn strings_take_three_quotes() {
        let text = |t: &str| TokenKind::Text(t.to_owned());
        assert_eq!(kinds(r#"'a"b' "it's" `\n`"#), [text("a\"b"), text("it's"), text("\\n"), TokenKind::End]);
        assert_eq!(kinds(r"'a\'b\\\n'"), [text("a'b\\\n"), TokenKind::End]);
        for bad in ["'abc", "'a\\", r"'\x'", "`", "'a\nb'"] {
            assert!(lex(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn comments_and_names() {
        let name = |t: &str| TokenKind::Name(t.to_owned());
        assert_eq!(kinds("RSI # rest\n x_1"), [name("rsi"), name("x_1"), TokenKind::End]);
        assert_eq!(kinds("close@1w"), [name("close"), TokenKind::Timeframe("1w".into()), TokenKind::End]);
        assert!(lex("# only").unwrap().len() == 1);
        assert_eq!(lex("a & b").unwrap_err().suggestion, "and");
        assert!(lex("clösé").is_err());
    }
}
