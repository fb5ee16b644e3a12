//! What is wrong with a scan's expressions: the stable words, the positions, and the printed form with its caret.
//! Not here: where errors are found.

use std::fmt;

use crate::error::Kind;

/// Errors reported at most for one scan.
pub const ERRORS_MAX: usize = 20;

/// Code points of a source line that an excerpt shows at most.
const EXCERPT_WIDTH: usize = 120;

/// The stable words of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExprReason {
    /// The text does not follow the grammar.
    Syntax,
    /// No function has this name.
    UnknownFunction,
    /// No field, attribute, column or definition has this name.
    UnknownName,
    /// The function has no such member.
    UnknownMember,
    /// The function has no such parameter.
    UnknownParameter,
    /// A parameter without a default was left out.
    MissingArgument,
    /// More arguments than parameters.
    TooManyArguments,
    /// One parameter given twice.
    DuplicateArgument,
    /// A value of the wrong type.
    TypeMismatch,
    /// One value per symbol where one per bar is needed.
    SeriesRequired,
    /// A value that depends on other symbols inside a function over bars.
    CrossSectionInSeries,
    /// A function with several outputs, none of them chosen.
    MemberRequired,
    /// Something that is no group attribute in `by=`.
    GroupRequired,
    /// A parameter that must be a constant is not.
    NotConstant,
    /// A constant outside its range.
    OutOfRange,
    /// `a < b < c`.
    ChainedComparison,
    /// `x == null`.
    NullComparison,
    /// Not the name of a timeframe.
    UnknownTimeframe,
    /// A timeframe finer than the scan's.
    TimeframeTooFine,
    /// Names that are defined by each other.
    Cycle,
    /// A name given twice.
    DuplicateName,
    /// A name that a field, attribute or function has.
    ReservedName,
    /// Too long, too deep or too many nodes.
    TooComplex,
    /// Too many columns or definitions.
    TooMany,
    /// Known to the contract, absent from this build.
    Unimplemented,
}

impl ExprReason {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "SYNTAX",
            Self::UnknownFunction => "UNKNOWN_FUNCTION",
            Self::UnknownName => "UNKNOWN_NAME",
            Self::UnknownMember => "UNKNOWN_MEMBER",
            Self::UnknownParameter => "UNKNOWN_PARAMETER",
            Self::MissingArgument => "MISSING_ARGUMENT",
            Self::TooManyArguments => "TOO_MANY_ARGUMENTS",
            Self::DuplicateArgument => "DUPLICATE_ARGUMENT",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::SeriesRequired => "SERIES_REQUIRED",
            Self::CrossSectionInSeries => "CROSS_SECTION_IN_SERIES",
            Self::MemberRequired => "MEMBER_REQUIRED",
            Self::GroupRequired => "GROUP_REQUIRED",
            Self::NotConstant => "NOT_CONSTANT",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::ChainedComparison => "CHAINED_COMPARISON",
            Self::NullComparison => "NULL_COMPARISON",
            Self::UnknownTimeframe => "UNKNOWN_TIMEFRAME",
            Self::TimeframeTooFine => "TIMEFRAME_TOO_FINE",
            Self::Cycle => "CYCLE",
            Self::DuplicateName => "DUPLICATE_NAME",
            Self::ReservedName => "RESERVED_NAME",
            Self::TooComplex => "TOO_COMPLEX",
            Self::TooMany => "TOO_MANY",
            Self::Unimplemented => "UNIMPLEMENTED",
        }
    }
}

/// One error, with its place in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprError {
    /// Path of the request field, e.g. `scan.filter` or `scan.columns[2]`.
    pub field: String,
    /// First code point, from 0.
    pub start: usize,
    /// Code point after the last.
    pub end: usize,
    /// Line of `start`, from 1; 0 where the field holds no expression.
    pub line: usize,
    /// Column of `start` in code points, from 1; 0 where the field holds no expression.
    pub column: usize,
    /// The stable word.
    pub reason: ExprReason,
    /// In words, without the position and the suggestion.
    pub message: String,
    /// What it should probably be; may be empty.
    pub suggestion: String,
    /// The source line and a line of carets; empty where the field holds no expression.
    pub excerpt: String,
}

/// Bytes of a source, end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub(crate) fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// An error before its position is worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) span: Span,
    pub(crate) reason: ExprReason,
    pub(crate) message: String,
    pub(crate) suggestion: String,
}

impl Fault {
    pub(crate) fn new(span: Span, reason: ExprReason, message: impl Into<String>) -> Self {
        Self { span, reason, message: message.into(), suggestion: String::new() }
    }

    pub(crate) fn syntax(span: Span, message: impl Into<String>) -> Self {
        Self::new(span, ExprReason::Syntax, message)
    }

    pub(crate) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = suggestion.into();
        self
    }
}

impl ExprError {
    /// An error about a field that holds no expression, or about the field as a whole.
    pub(crate) fn of_field(field: &str, reason: ExprReason, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            start: 0,
            end: 0,
            line: 0,
            column: 0,
            reason,
            message: message.into(),
            suggestion: String::new(),
            excerpt: String::new(),
        }
    }

    /// Places a fault in the field's text.
    pub(crate) fn locate(field: &str, source: &str, fault: Fault) -> Self {
        let start = floor(source, fault.span.start);
        let end = floor(source, fault.span.end).max(start);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let line = &source[line_start..line_end];
        let before = source[line_start..start].chars().count();
        let marked = source[start..end.min(line_end)].chars().count().max(1);
        Self {
            field: field.to_owned(),
            start: source[..start].chars().count(),
            end: source[..end].chars().count(),
            line: source[..line_start].matches('\n').count() + 1,
            column: before + 1,
            reason: fault.reason,
            message: fault.message,
            suggestion: fault.suggestion,
            excerpt: excerpt(line, before, marked),
        }
    }
}

/// The nearest character boundary at or before `at`.
fn floor(source: &str, at: usize) -> usize {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The line, or the part of a long one around the mark, and the carets below it.
fn excerpt(line: &str, before: usize, marked: usize) -> String {
    let shown: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let (mut text, mut pad) = (String::new(), before);
    let mut from = 0;
    if shown.len() > EXCERPT_WIDTH {
        from = before.saturating_sub(EXCERPT_WIDTH / 3);
        if from > 0 {
            text.push('…');
            pad = before - from + 1;
        }
    }
    let to = shown.len().min(from + EXCERPT_WIDTH);
    text.extend(&shown[from..to]);
    if to < shown.len() {
        text.push('…');
    }
    let carets = marked.min(to.saturating_sub(before).max(1));
    format!("{}\n{}{}", text.trim_end(), " ".repeat(pad), "^".repeat(carets))
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.field)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.suggestion.is_empty() {
            write!(f, "; did you mean `{}`?", self.suggestion)?;
        }
        for line in self.excerpt.lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

/// Why a scan cannot be planned: every error found, at most [`ERRORS_MAX`], in order of position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// The errors; never empty.
    pub errors: Vec<ExprError>,
}

impl PlanError {
    /// What a caller can do about it: unimplemented only if nothing else is wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.errors.iter().all(|e| e.reason == ExprReason::Unimplemented) {
            Kind::Unimplemented
        } else {
            Kind::BadRequest
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanError {}
