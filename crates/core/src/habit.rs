//! What a desk usually asks for and when: learned from what is asked, so that it can be had before it is asked again.
//!
//! A day is cut into half hours of New York. A want that comes in the same half hour of one session after the other is
//! expected there again; one that stays away fades, session by session. Not here: fetching what is expected.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::calendar::Calendar;
use crate::symbol::Symbol;
use crate::time::{SessionDate, Timeframe, Timestamp};

/// Wants that are remembered; beyond it the weakest is forgotten.
pub const WANTS_MAX: usize = 64;
/// Symbols that a want names at most; one that names more is taken as of everything.
pub const NAMED_MAX: usize = 500;
/// Length of a part of the day.
const SLOT: Duration = Duration::from_secs(30 * 60);
/// Parts of a day; the longest day has 25 hours.
const SLOTS: u16 = 50;
/// What is left of a weight after a session.
const FADE: f64 = 0.7;
/// From this weight on a want is expected: it came in the session before, or in most of those before that.
const EXPECTED: f64 = 0.2;
/// Below this weight it is forgotten.
const FORGOTTEN: f64 = 0.01;

/// Something that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Want {
    /// Bars of which interval.
    pub timeframe: Timeframe,
    /// Of which symbols; `None`: of all.
    pub symbols: Option<Vec<Symbol>>,
    /// How many bars back; `u32::MAX`: all that are kept.
    pub bars: u32,
}

/// How strongly a want is expected in a part of the day, as of a session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight {
    /// Half hours since midnight in New York.
    pub slot: u16,
    /// Between 0 and 1: what was asked for in every session has nearly 1.
    pub weight: f64,
    /// The day on which it was last asked for.
    pub last: SessionDate,
}

/// What was learned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Habits {
    wants: BTreeMap<Want, Vec<Weight>>,
}

/// Day and part of it.
fn place(at: Timestamp) -> (SessionDate, u16) {
    let calendar = Calendar::us_equities();
    let day = calendar.session_of(at);
    let slot = at.since(calendar.midnight(day)).as_secs() / SLOT.as_secs();
    (day, u16::try_from(slot).unwrap_or(SLOTS - 1).min(SLOTS - 1))
}

impl Weight {
    /// What is left of it on a day: it fades by the sessions that came and went without it.
    fn on(&self, day: SessionDate) -> f64 {
        if day <= self.last {
            return self.weight;
        }
        // Today's session is not over: what did not come yet may still come.
        let gone = Calendar::us_equities().count(self.last.plus(1), day.plus(-1));
        self.weight * FADE.powi(i32::try_from(gone).unwrap_or(i32::MAX))
    }
}

impl Habits {
    /// Learns that something was asked for. Says whether that was news: the first time in this part of this day.
    pub fn asked(&mut self, want: &Want, at: Timestamp) -> bool {
        let (day, slot) = place(at);
        if !self.wants.contains_key(want) {
            self.make_room(day);
            self.wants.insert(want.clone(), Vec::new());
        }
        let Some(weights) = self.wants.get_mut(want) else { return false };
        match weights.iter_mut().find(|weight| weight.slot == slot) {
            Some(weight) if weight.last >= day => return false,
            Some(weight) => {
                let left = weight.on(day) * FADE;
                *weight = Weight { slot, weight: left + (1.0 - FADE), last: day };
            }
            None => weights.push(Weight { slot, weight: 1.0 - FADE, last: day }),
        }
        true
    }

    /// Forgets what has faded and, where there is no room for another want, the weakest.
    fn make_room(&mut self, day: SessionDate) {
        self.wants.retain(|_, weights| {
            weights.retain(|weight| weight.on(day) >= FORGOTTEN);
            !weights.is_empty()
        });
        while self.wants.len() >= WANTS_MAX {
            let strength =
                |weights: &[Weight]| weights.iter().map(|weight| weight.on(day)).fold(0.0, f64::max);
            let weakest = self.wants.iter().min_by(|(_, a), (_, b)| strength(a).total_cmp(&strength(b)));
            let Some(weakest) = weakest.map(|(want, _)| want.clone()) else { break };
            self.wants.remove(&weakest);
        }
    }

    /// What is expected from now until so much later, the most certain first.
    #[must_use]
    pub fn due(&self, now: Timestamp, ahead: Duration) -> Vec<Want> {
        let (day, slot) = place(now);
        let steps = u16::try_from(ahead.as_secs().div_ceil(SLOT.as_secs())).unwrap_or(SLOTS);
        let soon = |weight: &&Weight| (slot..=slot.saturating_add(steps)).contains(&weight.slot);
        let expected = self.wants.iter().filter_map(|(want, weights)| {
            let best = weights.iter().filter(soon).map(|weight| weight.on(day)).fold(0.0, f64::max);
            (best >= EXPECTED).then_some((best, want))
        });
        let mut expected: Vec<(f64, &Want)> = expected.collect();
        expected.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        expected.into_iter().map(|(_, want)| want.clone()).collect()
    }

    /// How many wants are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wants.len()
    }

    /// Whether nothing was learned yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    /// All of it, to be kept.
    pub fn rows(&self) -> impl Iterator<Item = (&Want, &Weight)> {
        self.wants.iter().flat_map(|(want, weights)| weights.iter().map(move |weight| (want, weight)))
    }

    /// What was kept. Rows beyond the bounds are left out.
    #[must_use]
    pub fn of_rows(rows: impl IntoIterator<Item = (Want, Weight)>) -> Self {
        let mut habits = Self::default();
        for (want, weight) in rows {
            let known = habits.wants.contains_key(&want);
            let sound = weight.slot < SLOTS && (0.0..=1.0).contains(&weight.weight);
            if !sound || (!known && habits.wants.len() >= WANTS_MAX) {
                continue;
            }
            let weights = habits.wants.entry(want).or_default();
            if weights.iter().all(|other| other.slot != weight.slot) {
                weights.push(weight);
            }
        }
        habits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn want(bars: u32) -> Want {
        Want { timeframe: Timeframe::Day, symbols: None, bars }
    }

    /// Half past nine in New York, winter.
    fn morning(day: &str) -> Timestamp {
        at(&format!("{day}T14:30:00Z"))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_came_at_a_time_is_expected_then_and_fades_by_sessions() {
        let mut habits = Habits::default();
        assert!(habits.asked(&want(20), morning("2025-12-05")), "a Friday");
        assert!(!habits.asked(&want(20), morning("2025-12-05")), "no news");
        let early = at("2025-12-08T14:05:00Z");
        assert_eq!(habits.due(early, HOUR), [want(20)], "on Monday, after no session without it");
        assert!(habits.due(at("2025-12-08T18:00:00Z"), HOUR).is_empty(), "not at noon");
        assert!(habits.due(at("2025-12-08T11:00:00Z"), HOUR).is_empty(), "not hours before");
        let once = |n: u32| at(&format!("2025-12-{:02}T14:05:00Z", 8 + n));
        assert_eq!(habits.due(once(1), HOUR).len(), 1, "it may have been a pause");
        assert!(habits.due(once(2), HOUR).is_empty(), "twice it did not come");
        for day in 8..=12 {
            assert!(habits.asked(&want(20), morning(&format!("2025-12-{day:02}"))));
        }
        habits.asked(&want(50), morning("2025-12-12"));
        assert_eq!(habits.due(at("2025-12-15T14:05:00Z"), HOUR), [want(20), want(50)]);
        assert_eq!(habits.due(at("2025-12-18T14:05:00Z"), HOUR), [want(20)]);
        assert!(habits.due(at("2026-01-15T14:05:00Z"), HOUR).is_empty());
    }

    #[test]
    fn stays_within_its_bounds_and_comes_back_as_it_was_kept() {
        let mut habits = Habits::default();
        for session in ["2025-12-04", "2025-12-05"] {
            habits.asked(&want(0), morning(session));
        }
        for bars in 1..200 {
            habits.asked(&want(bars), morning("2025-12-05"));
        }
        assert_eq!(habits.len(), WANTS_MAX);
        assert_eq!(habits.due(morning("2025-12-08"), HOUR)[0], want(0), "the strongest stays");
        let rows: Vec<(Want, Weight)> = habits.rows().map(|(want, weight)| (want.clone(), *weight)).collect();
        assert_eq!(Habits::of_rows(rows.clone()), habits);
        let wrong = rows.into_iter().map(|(want, weight)| (want, Weight { slot: 99, ..weight }));
        assert!(Habits::of_rows(wrong).is_empty());
    }
}
