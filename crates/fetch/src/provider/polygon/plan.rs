//! What the key's plan leaves out, learned from the provider's refusals: which sessions are too old, which day is
//! not served yet, which kinds of data not at all. What was learned is not asked for again for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use panscan_core::calendar::Calendar;
use panscan_core::port::SourceError;
use panscan_core::time::{SessionDate, Timestamp};

/// For so long a refusal counts; a plan can be changed.
const MEMORY: Duration = Duration::from_secs(24 * 3600);
/// For so long a kind of data that the plan lacks is not asked for again.
const LACKING: Duration = Duration::from_secs(3600);
/// A day that was refused although its session is over is asked for again after this.
const AGAIN: Duration = Duration::from_secs(15 * 60);
/// Years of history that plans are known to include. The seven days are for those who count a year as 52 weeks.
const YEARS: [i16; 5] = [20, 15, 10, 5, 2];
const WEEK: i32 = 7;
/// What is guessed beyond the shortest of them.
const STEP_DAYS: i32 = 30;
/// Days that are remembered as not served yet.
const DAYS_MAX: usize = 16;

/// What was learned.
#[derive(Default)]
pub(super) struct Plan(Mutex<Learned>);

#[derive(Default)]
struct Learned {
    /// No session up to this one is served, as of then.
    refused_through: Option<(SessionDate, Timestamp)>,
    /// From when on each day may be served.
    not_yet: BTreeMap<SessionDate, (Timestamp, String)>,
    /// Kinds of data that are not served, by the template of their path.
    lacking: HashMap<&'static str, (Timestamp, String)>,
}

/// What a call asks for: its path and, where it is about bars, their first and last day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) what: &'a str,
    pub(super) template: &'static str,
    pub(super) sessions: Option<(SessionDate, SessionDate)>,
}

impl Plan {
    fn learned(&self) -> std::sync::MutexGuard<'_, Learned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all of it: the plan was changed, or somebody says so.
    pub(super) fn forget(&self) {
        *self.learned() = Learned::default();
    }

    /// Refuses what the provider is known to refuse, so that no call is made for it.
    pub(super) fn check(&self, provider: &str, part: Part<'_>, now: Timestamp) -> Result<(), SourceError> {
        let learned = self.learned();
        if let Some((since, message)) = learned.lacking.get(part.template)
            && now.since(*since) < LACKING
        {
            return Err(SourceError::NotEntitled {
                provider: provider.into(),
                what: part.what.to_owned(),
                message: message.clone(),
            });
        }
        let Some((from, to)) = part.sessions else { return Ok(()) };
        if let Some((refused, since)) = learned.refused_through
            && now.since(since) < MEMORY
            && from <= refused
        {
            let message = format!("sessions up to {refused} were refused before");
            return Err(outside(provider, part, Some(next_guess(refused, now)), None, message));
        }
        let waiting = learned.not_yet.range(from..=to).find(|(_, (retry_at, _))| now < *retry_at);
        if let Some((_, (retry_at, message))) = waiting {
            return Err(SourceError::NotYet {
                provider: provider.into(),
                what: part.what.to_owned(),
                retry_at: *retry_at,
                message: message.clone(),
            });
        }
        Ok(())
    }

    /// Learns from a refusal, and says it more precisely where its words allow.
    pub(super) fn learn(&self, part: Part<'_>, error: SourceError, now: Timestamp) -> SourceError {
        let SourceError::NotEntitled { provider, what, message } = error else { return error };
        let today = Calendar::us_equities().session_of(now);
        let words = message.to_ascii_lowercase();
        let mut learned = self.learned();
        match part.sessions {
            Some((_, to)) if words.contains("before end of day") => {
                let day = to.min(today);
                let close = Calendar::us_equities().close(day);
                let retry_at = if now < close { close } else { now.after(AGAIN) };
                if learned.not_yet.len() >= DAYS_MAX {
                    learned.not_yet.pop_first();
                }
                learned.not_yet.insert(day, (retry_at, message.clone()));
                SourceError::NotYet { provider, what, retry_at, message }
            }
            Some((from, to)) if words.contains("timeframe") => {
                if to > today {
                    return outside(&provider, part, None, Some(today), message);
                }
                let oldest = learned.refused_through.map_or(from, |(known, _)| known.max(from));
                learned.refused_through = Some((oldest, now));
                outside(&provider, part, Some(next_guess(oldest, now)), None, message)
            }
            _ => {
                learned.lacking.insert(part.template, (now, message.clone()));
                SourceError::NotEntitled { provider, what, message }
            }
        }
    }
}

fn outside(
    provider: &str,
    part: Part<'_>,
    from: Option<SessionDate>,
    until: Option<SessionDate>,
    message: String,
) -> SourceError {
    SourceError::OutsidePlan { provider: provider.into(), what: part.what.to_owned(), from, until, message }
}

/// The first day that may be served where `refused` is not: where the next shorter of the known plans begins.
fn next_guess(refused: SessionDate, now: Timestamp) -> SessionDate {
    let today = Calendar::us_equities().session_of(now);
    let (year, month, day) = today.ymd();
    YEARS
        .into_iter()
        // the 29th of February has no counterpart in most years
        .filter_map(|years| SessionDate::from_ymd(year - years, month, day.min(28)))
        .flat_map(|begin| [begin, begin.plus(WEEK)])
        .find(|begin| *begin > refused)
        .unwrap_or_else(|| refused.plus(STEP_DAYS).min(today))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: &str = "/range";
    const TOO_OLD: &str = "Your plan doesn't include this data timeframe.";

    fn date(text: &str) -> SessionDate {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn part(from: &str, to: &str) -> Part<'static> {
        Part { what: "bars", template: RANGE, sessions: Some((date(from), date(to))) }
    }

    fn refusal(message: &str) -> SourceError {
        SourceError::NotEntitled { provider: "p".into(), what: "bars".into(), message: message.into() }
    }

    fn begins(error: &SourceError) -> SessionDate {
        match error {
            SourceError::OutsidePlan { from: Some(from), until: None, .. } => *from,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_window_is_learned_in_a_few_steps_and_then_kept_to() {
        let (plan, now) = (Plan::default(), at("2026-08-10T20:30:00Z"));
        assert!(plan.check("p", part("2001-01-02", "2026-08-07"), now).is_ok());
        let mut guesses = Vec::new();
        let mut from = date("2001-01-02");
        // a plan of two years, asked for everything
        while from < date("2024-08-10") {
            let asked =
                Part { sessions: Some((from, date("2026-08-07"))), ..part("2001-01-02", "2026-08-07") };
            assert!(plan.check("p", asked, now).is_ok());
            from = begins(&plan.learn(asked, refusal(TOO_OLD), now));
            guesses.push(from.to_string());
        }
        assert!(guesses.len() <= 9 && from == date("2024-08-10"), "{guesses:?}");
        // what is older costs no call from now on, what is served does
        let error = plan.check("p", part("2010-01-04", "2026-08-07"), now).unwrap_err();
        assert_eq!(begins(&error), from);
        assert!(plan.check("p", part("2024-08-12", "2026-08-07"), now).is_ok());
        // an older refusal teaches nothing new, and another day everything is tried afresh
        plan.learn(part("1999-01-04", "1999-01-04"), refusal(TOO_OLD), now);
        assert!(plan.check("p", part("2020-01-02", "2020-01-02"), now).is_err());
        assert!(plan.check("p", part("2020-01-02", "2020-01-02"), at("2026-08-12T20:30:00Z")).is_ok());
    }

    #[test]
    fn a_day_ahead_is_no_reason_to_think_the_past_is_closed() {
        let (plan, now) = (Plan::default(), at("2026-08-10T20:30:00Z"));
        let error = plan.learn(part("2026-08-11", "2026-08-11"), refusal(TOO_OLD), now);
        assert!(
            matches!(&error, SourceError::OutsidePlan { from: None, until: Some(until), .. } if *until == date("2026-08-10"))
        );
        assert!(plan.check("p", part("2026-08-07", "2026-08-07"), now).is_ok());
    }

    #[test]
    fn today_is_asked_for_again_after_the_close() {
        let (plan, now) = (Plan::default(), at("2026-08-10T18:00:00Z"));
        let words = "Attempted to request today's data before end of day. Please upgrade your plan.";
        let error = plan.learn(part("2026-08-03", "2026-08-10"), refusal(words), now);
        let SourceError::NotYet { retry_at, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*retry_at, at("2026-08-10T20:00:00Z"));
        assert!(plan.check("p", part("2026-08-10", "2026-08-10"), at("2026-08-10T19:59:59Z")).is_err());
        assert!(plan.check("p", part("2026-08-03", "2026-08-07"), now).is_ok());
        assert!(plan.check("p", part("2026-08-10", "2026-08-10"), *retry_at).is_ok());
        // refused after the close all the same: again in a while
        let late = plan.learn(part("2026-08-10", "2026-08-10"), refusal(words), at("2026-08-10T20:05:00Z"));
        assert!(
            matches!(late, SourceError::NotYet { retry_at, .. } if retry_at == at("2026-08-10T20:20:00Z"))
        );
    }

    #[test]
    fn a_kind_of_data_that_the_plan_lacks_is_left_alone_for_an_hour() {
        let (plan, now) = (Plan::default(), at("2026-08-10T18:00:00Z"));
        let snapshot = Part { what: "the snapshot", template: "/snapshot", sessions: None };
        let told = plan.learn(snapshot, refusal("You are not entitled to this data."), now);
        assert!(matches!(told, SourceError::NotEntitled { .. }));
        assert!(matches!(plan.check("p", snapshot, now), Err(SourceError::NotEntitled { .. })));
        assert!(plan.check("p", part("2026-08-03", "2026-08-07"), now).is_ok(), "another kind");
        assert!(plan.check("p", snapshot, at("2026-08-10T19:00:00Z")).is_ok());
        let down = SourceError::RateLimited { provider: "p".into(), retry_after: AGAIN };
        assert_eq!(plan.learn(snapshot, down.clone(), now), down);
    }
}
