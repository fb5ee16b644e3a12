//! Errors of expressions, with their places.

use std::fmt;

use panscan_core::expr::{ExprError, PlanError};
use tonic::Status;

use crate::error::Violation;
use crate::kind::{Details, status};
use crate::v1;

/// One error of an expression, as a client reads it: the word may be newer than this build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpressionFault {
    /// Path of the request field, e.g. `scan.filter`.
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
    pub reason: String,
    /// In words.
    pub message: String,
    /// What it should probably be; may be empty.
    pub suggestion: String,
    /// The source line and a line of carets; may be empty.
    pub excerpt: String,
}

impl fmt::Display for ExpressionFault {
    /// Place, message and suggestion on one line, then the excerpt, indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.field)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.suggestion.is_empty() {
            write!(f, "; did you mean `{}`?", self.suggestion)?;
        }
        self.excerpt.lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl From<&ExprError> for ExpressionFault {
    fn from(error: &ExprError) -> Self {
        Self {
            field: error.field.clone(),
            start: error.start,
            end: error.end,
            line: error.line,
            column: error.column,
            reason: error.reason.as_str().to_owned(),
            message: error.message.clone(),
            suggestion: error.suggestion.clone(),
            excerpt: error.excerpt.clone(),
        }
    }
}

impl From<&ExpressionFault> for v1::ExpressionError {
    fn from(fault: &ExpressionFault) -> Self {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Self {
            field: fault.field.clone(),
            start: count(fault.start),
            end: count(fault.end),
            line: count(fault.line),
            column: count(fault.column),
            reason: fault.reason.clone(),
            message: fault.message.clone(),
            suggestion: fault.suggestion.clone(),
            excerpt: fault.excerpt.clone(),
        }
    }
}

impl From<v1::ExpressionError> for ExpressionFault {
    fn from(wire: v1::ExpressionError) -> Self {
        let count = |n: i32| usize::try_from(n).unwrap_or(0);
        Self {
            field: wire.field,
            start: count(wire.start),
            end: count(wire.end),
            line: count(wire.line),
            column: count(wire.column),
            reason: wire.reason,
            message: wire.message,
            suggestion: wire.suggestion,
            excerpt: wire.excerpt,
        }
    }
}

/// A scan that cannot be planned: every error as a field violation and, with its place, as an expression error.
/// The reason is that of the first.
#[must_use]
pub fn plan_status(error: &PlanError) -> Status {
    let violation = |e: &ExprError| {
        let mut message = e.message.clone();
        if !e.suggestion.is_empty() {
            message.push_str(&format!("; did you mean `{}`?", e.suggestion));
        }
        Violation { field: e.field.clone(), reason: e.reason.as_str().to_owned(), message }
    };
    let details = Details {
        violations: error.errors.iter().map(violation).collect(),
        expressions: error.errors.iter().map(Into::into).collect(),
        ..Details::default()
    };
    let reason = error.errors.first().map_or("INVALID", |e| e.reason.as_str());
    status(error.kind(), reason, error.to_string(), details)
}

#[cfg(test)]
mod tests {
    use panscan_core::Kind;
    use panscan_core::expr::ExprReason;

    use super::*;

    fn error(reason: ExprReason) -> ExprError {
        ExprError {
            field: "scan.filter".into(),
            start: 17,
            end: 21,
            line: 1,
            column: 18,
            reason,
            message: "unknown function `smaa`".into(),
            suggestion: "sma".into(),
            excerpt: "rsi(14) < 30 and smaa(20) > close\n                 ^^^^".into(),
        }
    }

    #[test]
    fn a_place_reaches_the_client() {
        let errors = vec![error(ExprReason::UnknownFunction), error(ExprReason::Unimplemented)];
        let read = crate::kind::read(&plan_status(&PlanError { errors }));
        assert_eq!((read.kind, read.reason.as_str()), (Kind::BadRequest, "UNKNOWN_FUNCTION"));
        assert_eq!(read.details.violations[0].message, "unknown function `smaa`; did you mean `sma`?");
        let place = &read.details.expressions[0];
        assert_eq!((place.start, place.end, place.line, place.column), (17, 21, 1, 18));
        assert_eq!(
            place.to_string(),
            "scan.filter:1:18: unknown function `smaa`; did you mean `sma`?\n  \
             rsi(14) < 30 and smaa(20) > close\n                   ^^^^"
        );
        let absent = PlanError { errors: vec![error(ExprReason::Unimplemented)] };
        assert_eq!(plan_status(&absent).code(), tonic::Code::Unimplemented);
    }

    #[test]
    fn twenty_errors_fit() {
        let errors = vec![error(ExprReason::UnknownFunction); 20];
        let read = crate::kind::read(&plan_status(&PlanError { errors }));
        assert!(read.details.expressions.len() >= 8, "{}", read.details.expressions.len());
        assert!(read.details.violations.len() >= 10, "{}", read.details.violations.len());
    }
}
