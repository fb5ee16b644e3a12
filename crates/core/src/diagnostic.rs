//! What a caller must know about an answer that is still an answer.

use std::time::Duration;

use crate::error::Kind;
use crate::symbol::Symbol;

/// Symbols that a diagnostic names at most; `count` has the whole number.
pub const NAMED_MAX: usize = 100;
/// Symbols that are named as examples of what is usual and takes nothing from the answer, e.g. gaps.
pub const EXAMPLES_MAX: usize = 10;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The answer lacks something.
    Warning,
    /// Something is broken.
    Error,
}

/// The stable words of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Symbols that the universe does not have.
    SymbolUnknown,
    /// Symbols whose bars could not be fetched.
    SymbolFetchFailed,
    /// Symbols without any bar.
    SymbolNoBars,
    /// Bars older than they should be.
    StaleData,
    /// Sessions without a bar although the symbol was listed.
    Gaps,
    /// Fewer bars than the lookback.
    InsufficientHistory,
    /// Fewer bars than lookback and settling length.
    Unsettled,
    /// Bars that failed validation were left out.
    BarsQuarantined,
    /// Splits that are not applied, or that the price does not bear out.
    SplitSuspicious,
    /// Volume that looks counted twice or more.
    VolumeSuspicious,
    /// Cells not fetched in time.
    DeadlinePartial,
    /// Cells not fetched for lack of rate budget.
    RateBudgetPartial,
    /// Attributes and membership are today's, not those of the as-of instant.
    UniverseNotPointInTime,
    /// Symbols that lack an attribute that is used.
    AttributeCoverage,
    /// Another backend than the one asked for answered.
    BackendFallback,
    /// Another provider than the first answered.
    ProviderFallback,
}

impl Reason {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SymbolUnknown => "SYMBOL_UNKNOWN",
            Self::SymbolFetchFailed => "SYMBOL_FETCH_FAILED",
            Self::SymbolNoBars => "SYMBOL_NO_BARS",
            Self::StaleData => "STALE_DATA",
            Self::Gaps => "GAPS",
            Self::InsufficientHistory => "INSUFFICIENT_HISTORY",
            Self::Unsettled => "UNSETTLED",
            Self::BarsQuarantined => "BARS_QUARANTINED",
            Self::SplitSuspicious => "SPLIT_SUSPICIOUS",
            Self::VolumeSuspicious => "VOLUME_SUSPICIOUS",
            Self::DeadlinePartial => "DEADLINE_PARTIAL",
            Self::RateBudgetPartial => "RATE_BUDGET_PARTIAL",
            Self::UniverseNotPointInTime => "UNIVERSE_NOT_POINT_IN_TIME",
            Self::AttributeCoverage => "ATTRIBUTE_COVERAGE",
            Self::BackendFallback => "BACKEND_FALLBACK",
            Self::ProviderFallback => "PROVIDER_FALLBACK",
        }
    }

    /// How much it matters.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Gaps
            | Self::InsufficientHistory
            | Self::Unsettled
            | Self::AttributeCoverage
            | Self::SplitSuspicious
            | Self::VolumeSuspicious
            | Self::ProviderFallback => Severity::Info,
            _ => Severity::Warning,
        }
    }
}

/// One thing to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// The stable word.
    pub reason: Reason,
    /// What kind of failure it was, where it was one.
    pub kind: Option<Kind>,
    /// In words.
    pub message: String,
    /// The symbols concerned: at most [`NAMED_MAX`], or [`EXAMPLES_MAX`] of gaps and unsettled values.
    pub symbols: Vec<Symbol>,
    /// How many there are.
    pub count: u64,
    /// The column, provider or source concerned; may be empty.
    pub subject: String,
    /// Age of what it is about.
    pub age: Option<Duration>,
}

impl Diagnostic {
    /// One without symbols.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            kind: None,
            message: message.into(),
            symbols: Vec::new(),
            count: 0,
            subject: String::new(),
            age: None,
        }
    }

    /// The same about these symbols.
    #[must_use]
    pub fn about<'a>(mut self, symbols: impl IntoIterator<Item = &'a Symbol>) -> Self {
        let named =
            if matches!(self.reason, Reason::Gaps | Reason::Unsettled) { EXAMPLES_MAX } else { NAMED_MAX };
        for symbol in symbols {
            if self.symbols.len() < named {
                self.symbols.push(symbol.clone());
            }
            self.count += 1;
        }
        self
    }
}
