//! How long calls take, by the path they go to: what is slower than nearly all of the recent ones straggles.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Calls of a path that are remembered.
const REMEMBERED: usize = 128;
/// Fewer say nothing about what is usual.
const REMEMBERED_MIN: usize = 20;
/// No call straggles before: what is quicker is not worth a second call of a limit.
const STRAGGLES_MIN: Duration = Duration::from_secs(1);

/// The recent calls of each path.
#[derive(Default)]
pub(crate) struct Pace(Mutex<HashMap<&'static str, Recent>>);

#[derive(Default)]
struct Recent {
    took: Vec<Duration>,
    next: usize,
}

impl Pace {
    /// Notes that a call to `path` took so long.
    pub(crate) fn took(&self, path: &'static str, time: Duration) {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = paths.entry(path).or_default();
        if recent.took.len() < REMEMBERED {
            recent.took.push(time);
        } else if let Some(place) = recent.took.get_mut(recent.next) {
            *place = time;
            recent.next = (recent.next + 1) % REMEMBERED;
        }
    }

    /// From when on a call to `path` is slower than 95 of 100; `None` while too little is known.
    pub(crate) fn straggles_after(&self, path: &'static str) -> Option<Duration> {
        let paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut took = paths.get(path).filter(|recent| recent.took.len() >= REMEMBERED_MIN)?.took.clone();
        drop(paths);
        let rank = took.len() * 95 / 100;
        let (_, time, _) = took.select_nth_unstable(rank);
        Some((*time).max(STRAGGLES_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straggler_is_slower_than_nearly_all_recent_calls_of_its_path() {
        let pace = Pace::default();
        for seconds in 1..=19 {
            pace.took("/a", Duration::from_secs(seconds));
        }
        assert_eq!(pace.straggles_after("/a"), None);
        for seconds in 20..=100 {
            pace.took("/a", Duration::from_secs(seconds));
        }
        assert_eq!(pace.straggles_after("/a"), Some(Duration::from_secs(96)));
        assert_eq!(pace.straggles_after("/b"), None);
        for _ in 0..REMEMBERED {
            pace.took("/a", Duration::from_millis(3));
        }
        assert_eq!(pace.straggles_after("/a"), Some(STRAGGLES_MIN));
    }
}
