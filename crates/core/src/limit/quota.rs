//! What a provider allows: so many calls in any window of a length, so many of them at once.
//!
//! Not here: keeping to it (the window log).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, shortened};

/// Longest window accepted.
const WINDOW_MAX: Duration = Duration::from_secs(86_400);
/// Most calls accepted in one window; the log keeps an entry for each.
const CALLS_MAX: u32 = 1_000_000;

/// How many calls may start in any sliding window of a length, and how many of them at once.
///
/// *At once* means within the share of the window that so many calls are worth: with `c` calls in a window `w` and a
/// burst `b`, no sliding span of `w * b / c` sees more than `b` starts. A burst of `c` spends the window in one go, a
/// burst of 1 spaces the calls evenly, and every burst allows the same rate in the long run.
///
/// Reads and writes `5/min`, `100/s`, `1000/h`, `200/10s`, `20/500ms` and `unlimited`; `sec`, `second`, `m`, `minute`,
/// `hour`, `d` and `day` are understood too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    /// `None` = unlimited.
    limit: Option<(u32, Duration)>,
    burst: u32,
}

impl Quota {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { limit: None, burst: u32::MAX };

    /// `calls` in any window of length `window`, all of them at once if need be.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] unless there are 1 to 1,000,000 calls in 1 ms to one day.
    pub fn new(calls: u32, window: Duration) -> Result<Self, Error> {
        if !(1..=CALLS_MAX).contains(&calls) {
            let (value, max) = (i64::from(calls), i64::from(CALLS_MAX));
            return Err(Error::OutOfRange { name: "calls of a rate limit", value, min: 1, max });
        }
        if !(Duration::from_millis(1)..=WINDOW_MAX).contains(&window) {
            let value = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
            let max = WINDOW_MAX.as_millis() as i64;
            return Err(Error::OutOfRange { name: "window of a rate limit in ms", value, min: 1, max });
        }
        Ok(Self { limit: Some((calls, window)), burst: calls })
    }

    /// The same with at most `burst` calls at once; 0 counts as 1, more than the window's calls as all of them.
    #[must_use]
    pub fn with_burst(self, burst: u32) -> Self {
        Self { burst: burst.clamp(1, self.calls()), ..self }
    }

    /// Calls in any window; `u32::MAX` when unlimited.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.limit.map_or(u32::MAX, |(calls, _)| calls)
    }

    /// Length of the window; zero when unlimited.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.limit.map_or(Duration::ZERO, |(_, window)| window)
    }

    /// How many calls may start at once; `u32::MAX` when unlimited.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// Whether there is no limit.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.limit.is_none()
    }

    /// The span in which at most [`burst`](Self::burst) calls may start.
    #[must_use]
    pub fn burst_span(&self) -> Duration {
        self.limit.map_or(Duration::ZERO, |(calls, window)| {
            window.mul_f64(f64::from(self.burst) / f64::from(calls))
        })
    }

    /// What the window is lengthened by for jitter on the way: calls that start exactly a window apart can arrive
    /// closer together. 2.5 % of the window, at least 25 ms and at most 2 s.
    #[must_use]
    pub fn margin(&self) -> Duration {
        match self.limit {
            None => Duration::ZERO,
            Some((_, window)) => (window / 40).clamp(Duration::from_millis(25), Duration::from_secs(2)),
        }
    }
}

impl FromStr for Quota {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "unlimited" {
            return Ok(Self::UNLIMITED);
        }
        let read = || -> Option<(u32, Duration)> {
            let (calls, window) = text.split_once('/')?;
            let digits = window.find(|c: char| !c.is_ascii_digit())?;
            let (times, unit) = window.split_at(digits);
            let times: u32 = if times.is_empty() { 1 } else { times.parse().ok()? };
            let unit = match unit {
                "ms" => Duration::from_millis(1),
                "s" | "sec" | "second" => Duration::from_secs(1),
                "m" | "min" | "minute" => Duration::from_secs(60),
                "h" | "hour" => Duration::from_secs(3_600),
                "d" | "day" => Duration::from_secs(86_400),
                _ => return None,
            };
            // "+5" is a number to parse() but not to people.
            let calls = calls.bytes().all(|b| b.is_ascii_digit()).then_some(calls)?.parse().ok()?;
            Some((calls, unit.checked_mul(times)?))
        };
        let (calls, window) = read().ok_or_else(|| Error::Unreadable {
            what: "rate limit",
            text: shortened(text),
            expected: "calls per time, e.g. 5/min, 100/s, 1000/h, 200/10s or unlimited",
        })?;
        Self::new(calls, window)
    }
}

impl fmt::Display for Quota {
    /// The shortest form that reads back as the same limit; the burst is not part of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((calls, window)) = self.limit else { return f.write_str("unlimited") };
        let millis = window.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
        for (unit, name) in units {
            if millis % unit == 0 {
                return match millis / unit {
                    1 => write!(f, "{calls}/{name}"),
                    times => write!(f, "{calls}/{times}{name}"),
                };
            }
        }
        Ok(())
    }
}
