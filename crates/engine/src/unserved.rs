//! Sessions that the provider does not serve: outside of the key's plan, as learned from its refusals, or not yet.
//!
//! Not here: how often a call that failed is made again ([`crate::requeue`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use panscan_core::Kind;
use panscan_core::cover::Missing;
use panscan_core::diagnostic::{Diagnostic, Reason};
use panscan_core::port::{BarAsk, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::Universe;

/// For so long a refusal counts; a plan can be changed.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// What was learned. Cheap to look at: it is copied under a lock that nobody holds for long.
#[derive(Debug, Default)]
pub(crate) struct Unserved(Mutex<Known>);

/// What is known at one instant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    window: Option<Window>,
    not_yet: BTreeMap<SessionDate, Timestamp>,
}

/// What the plan includes.
#[derive(Debug, Clone)]
struct Window {
    provider: Arc<str>,
    message: String,
    from: Option<SessionDate>,
    until: Option<SessionDate>,
    since: Timestamp,
}

impl Unserved {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all of it.
    pub(crate) fn forget(&self) {
        *self.known() = Known::default();
    }

    /// What holds now.
    pub(crate) fn at(&self, now: Timestamp) -> Known {
        let mut known = self.known();
        known.forget(now);
        known.clone()
    }

    /// A session is not to be asked for before this instant.
    pub(crate) fn wait(&self, session: SessionDate, retry_at: Timestamp) {
        self.known().not_yet.insert(session, retry_at);
    }

    /// Learns from the refusal of a question. Says whether that takes away some of what it asked for, so that the rest
    /// is worth another question.
    pub(crate) fn learn(&self, ask: &BarAsk, error: &SourceError, now: Timestamp) -> bool {
        let mut known = self.known();
        known.forget(now);
        match error {
            SourceError::OutsidePlan { provider, from, until, message, .. } => {
                let held = known.window.as_ref();
                let from = (*from).max(held.and_then(|window| window.from));
                let until = [*until, held.and_then(|window| window.until)].into_iter().flatten().min();
                let (provider, message) = (provider.clone(), message.clone());
                known.window = Some(Window { provider, message, from, until, since: now });
            }
            SourceError::NotYet { retry_at, .. } => {
                known.not_yet.insert(span(ask).1, *retry_at);
            }
            _ => return false,
        }
        let (from, to) = span(ask);
        known.has(from) || known.has(to)
    }
}

impl Known {
    fn forget(&mut self, now: Timestamp) {
        self.not_yet.retain(|_, retry_at| now < *retry_at);
        self.window.take_if(|window| now.since(window.since) >= MEMORY);
    }

    fn is_outside(&self, session: SessionDate) -> bool {
        self.window.as_ref().is_some_and(|window| {
            window.from.is_some_and(|from| session < from)
                || window.until.is_some_and(|until| session > until)
        })
    }

    /// Whether a session is not to be asked for.
    pub(crate) fn has(&self, session: SessionDate) -> bool {
        self.not_yet.contains_key(&session) || self.is_outside(session)
    }

    /// Whether all of a question is not to be asked.
    pub(crate) fn has_all(&self, ask: &BarAsk) -> bool {
        let (from, to) = span(ask);
        // Outside of the plan is all that comes before, or after, a session.
        if from == to { self.has(from) } else { self.is_outside(from) && self.is_outside(to) }
    }

    /// The cells that can be asked for.
    pub(crate) fn servable(&self, missing: &Missing) -> Missing {
        missing.without(|session| self.has(missing.sessions()[session]))
    }

    /// In words why cells can not be had, about the plan before what only takes time.
    pub(crate) fn why(&self, missing: &Missing) -> Option<String> {
        let sessions = || missing.sessions().iter().copied();
        let wanted = |session: usize| missing.is_wanted(session);
        let outside =
            || sessions().enumerate().filter(|(at, d)| wanted(*at) && self.is_outside(*d)).map(|(_, d)| d);
        if let (Some(window), Some(first), Some(last)) =
            (&self.window, outside().next(), outside().next_back())
        {
            let Window { provider, message, .. } = window;
            let side = match window.from.filter(|from| first < *from) {
                Some(from) => format!("before {from}"),
                None => format!("after {}", window.until.unwrap_or_default()),
            };
            return Some(format!(
                "{provider} does not entitle this key to sessions {side}, and {first} to {last} are missing; ask for \
                 others, or give the server a larger plan, flat files or another provider ({message})"
            ));
        }
        let waits = |(at, d): (usize, SessionDate)| {
            let retry_at = self.not_yet.get(&d).filter(|_| wanted(at))?;
            Some(format!("the provider does not serve {d} yet; it is asked for again from {retry_at} on"))
        };
        sessions().enumerate().find_map(waits)
    }

    /// The plan's refusal of these sessions, where it is known to refuse them.
    pub(crate) fn refusal(
        &self,
        symbol: &Symbol,
        timeframe: Timeframe,
        sessions: &[SessionDate],
    ) -> Option<(BarAsk, SourceError)> {
        let (from, to) = (*sessions.first()?, *sessions.last()?);
        let window =
            self.window.as_ref().filter(|_| sessions.iter().any(|session| self.is_outside(*session)))?;
        let ask = BarAsk::Range { symbol: symbol.clone(), timeframe, from, to };
        let error = SourceError::OutsidePlan {
            provider: window.provider.clone(),
            what: ask.to_string(),
            from: window.from,
            until: window.until,
            message: window.message.clone(),
        };
        Some((ask, error))
    }

    /// The diagnostic about those of the missing cells that can not be had.
    pub(crate) fn diagnostic(&self, universe: &Universe, missing: &Missing) -> Option<Diagnostic> {
        let mine = missing.without(|session| !self.has(missing.sessions()[session]));
        let why = self.why(&mine)?;
        let sessions = mine.sessions().len();
        let lacking = universe.ids().filter(|id| (0..sessions).any(|session| mine.is_missing(*id, session)));
        let lacking: Vec<&Symbol> = lacking.map(|id| universe.symbol(id)).collect();
        let message = format!("{} cells cannot be had: {why}", mine.cells());
        let mut found = Diagnostic::new(Reason::SymbolFetchFailed, message).about(lacking);
        found.kind = Some(Kind::Upstream);
        if let Some(window) = &self.window {
            found.subject = window.provider.to_string();
        }
        Some(found)
    }
}

/// First and last session of a question.
fn span(ask: &BarAsk) -> (SessionDate, SessionDate) {
    match ask {
        BarAsk::Day(session) | BarAsk::FlatFile { session, .. } => (*session, *session),
        BarAsk::Range { from, to, .. } => (*from, *to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panscan_core::symbol::SymbolId;

    fn day(n: i32) -> SessionDate {
        SessionDate::from_days(20_000 + n)
    }

    fn at(hours: u64) -> Timestamp {
        Timestamp::from_seconds(1_700_000_000).after(Duration::from_secs(hours * 3600))
    }

    fn outside(from: i32) -> SourceError {
        let (what, message) = ("a day".to_owned(), "upgrade".to_owned());
        SourceError::OutsidePlan { provider: "p".into(), what, from: Some(day(from)), until: None, message }
    }

    fn range(from: i32, to: i32) -> BarAsk {
        let symbol = Symbol::new("SPY").unwrap();
        BarAsk::Range { symbol, timeframe: Timeframe::Day, from: day(from), to: day(to) }
    }

    #[test]
    fn the_window_narrows_and_is_forgotten_after_a_day() {
        let unserved = Unserved::default();
        assert!(unserved.learn(&range(0, 9), &outside(4), at(0)));
        assert!(unserved.learn(&range(4, 9), &outside(6), at(1)));
        assert!(unserved.learn(&range(0, 9), &outside(3), at(2)), "an older refusal takes nothing back");
        let known = unserved.at(at(3));
        assert!(known.has(day(5)) && !known.has(day(6)));
        assert!(known.has_all(&range(0, 5)) && !known.has_all(&range(0, 6)));
        let mut missing = Missing::new(2, (0..10).map(day).collect()).unwrap();
        missing.mark_span(SymbolId(1), 3..8);
        assert_eq!(known.servable(&missing).cells(), 2);
        let why = known.why(&missing).unwrap();
        assert!(why.contains(&format!("before {}, and {} to {}", day(6), day(3), day(5))), "{why}");
        assert!(!unserved.at(at(26)).has(day(5)), "a plan can be changed");
        // A refusal that says nothing about which sessions are served is no reason to ask once more.
        let message = "no".to_owned();
        let silent = SourceError::OutsidePlan {
            provider: "p".into(),
            what: "a day".to_owned(),
            from: None,
            until: None,
            message,
        };
        assert!(!Unserved::default().learn(&range(0, 9), &silent, at(0)));
    }

    #[test]
    fn a_day_that_is_not_served_yet_waits_until_the_instant_named() {
        let unserved = Unserved::default();
        let (what, message) = ("a day".to_owned(), "before end of day".to_owned());
        let early = SourceError::NotYet { provider: "p".into(), what, retry_at: at(5), message };
        assert!(unserved.learn(&range(0, 9), &early, at(0)));
        assert!(unserved.at(at(4)).has(day(9)) && !unserved.at(at(4)).has(day(8)));
        assert!(unserved.at(at(4)).has_all(&BarAsk::Day(day(9))));
        assert!(!unserved.at(at(5)).has(day(9)));
    }
}
