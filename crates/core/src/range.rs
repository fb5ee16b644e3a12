//! Which bars of a symbol are asked for.

use crate::calendar::Calendar;
use crate::time::{SessionDate, Timestamp};

/// Which bars of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarRange {
    /// The newest so many.
    Last(usize),
    /// Those of the sessions from the first date to the last, both included; `None` is open. A week or month that
    /// such a session lies in is whole.
    Sessions(Option<SessionDate>, Option<SessionDate>),
    /// Those that start at or after the first instant and before the last; `None` is open.
    Instants(Option<Timestamp>, Option<Timestamp>),
}

/// Bars of a request that does not say which.
pub const LAST_DEFAULT: usize = 500;

impl Default for BarRange {
    fn default() -> Self {
        Self::Last(LAST_DEFAULT)
    }
}

impl BarRange {
    /// The first and last session whose daily bar is asked for; `Last` says nothing of either.
    #[must_use]
    pub fn sessions(self) -> (Option<SessionDate>, Option<SessionDate>) {
        let calendar = Calendar::us_equities();
        match self {
            Self::Last(_) => (None, None),
            Self::Sessions(from, to) => (from, to),
            Self::Instants(from, to) => {
                // A daily bar starts at midnight: one that started before the instant is not in.
                let from = from.map(|at| {
                    let date = calendar.session_of(at);
                    if calendar.midnight(date) < at { date.plus(1) } else { date }
                });
                let to = to.map(|at| {
                    let date = calendar.session_of(at);
                    if calendar.midnight(date) < at { date } else { date.plus(-1) }
                });
                (from, to)
            }
        }
    }
}
