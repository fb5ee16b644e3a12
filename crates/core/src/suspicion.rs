//! What looks wrong in data that is formally sound: volume that came twice, a split without a step in the price or
//! a step without a split, a day that may still change. Suspicions are shown and never acted upon: a value is kept
//! as received.

mod panel;

pub use self::panel::{Cliff, cliffs, volume_spikes};
use crate::bar::{Bar, Field};
use crate::calendar::Calendar;
use crate::panel::Split;
use crate::time::{SessionDate, Timestamp};

/// Days of volume below which nothing is said about the next one.
const DAYS_MIN: usize = 20;
/// Volume this many robust deviations above its median is suspicious whatever the price did.
const SIGMAS: f64 = 6.0;
/// Fewer will do where the price did not move more than usual.
const SIGMAS_QUIET: f64 = 2.5;
/// Volume below this multiple of its median is never suspicious.
const RATIO: f64 = 1.8;
/// From the median absolute deviation to the standard deviation of a normal distribution.
const MAD_TO_SIGMA: f64 = 1.4826;
/// Quieter volume than this is taken for this quiet, so that a constant history does not make every day special.
const SIGMA_MIN: f64 = 0.1;

/// A volume that is out of line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VolumeSpike {
    /// Multiple of the median volume of the days before.
    pub ratio: f64,
    /// Robust deviations of its logarithm above the median.
    pub sigmas: f64,
}

/// Whether the volume of `day` looks counted twice or more, given the `earlier` days of the same symbol on the
/// same adjustment, newest last; some weeks are enough.
///
/// News move volume and price together; a feed that counts its packets twice moves the volume alone. So a day whose
/// range is not wider than usual needs much less volume to be suspicious than one with a wide range.
#[must_use]
pub fn volume_spike(earlier: &[Bar], day: &Bar) -> Option<VolumeSpike> {
    let volume = |bar: &Bar| Some(bar.get(Field::Volume).ln()).filter(|ln| ln.is_finite());
    let range = |bar: &Bar| (bar.get(Field::High) / bar.get(Field::Low)).ln();
    let mut volumes: Vec<f64> = earlier.iter().filter_map(volume).collect();
    if volumes.len() < DAYS_MIN {
        return None;
    }
    let usual = median(&mut volumes);
    let mut deviations: Vec<f64> = volumes.iter().map(|ln| (ln - usual).abs()).collect();
    let sigma = (median(&mut deviations) * MAD_TO_SIGMA).max(SIGMA_MIN);
    let above = volume(day)? - usual;
    let spike = VolumeSpike { ratio: above.exp(), sigmas: above / sigma };
    let mut ranges: Vec<f64> = earlier.iter().map(range).collect();
    let least = if range(day) <= median(&mut ranges) { SIGMAS_QUIET } else { SIGMAS };
    (spike.ratio >= RATIO && spike.sigmas >= least).then_some(spike)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values {
        [] => f64::NAN,
        _ if values.len().is_multiple_of(2) => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// Logarithmic step below which a split cannot be told from an ordinary night.
const STEP_MIN: f64 = 0.15;
/// How far, as a logarithm, the step may be from the factor: one bad night.
const STEP_TOLERANCE: f64 = 0.2;

/// What the price says about a listed split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SplitEvidence {
    /// The price took the step on the date.
    Confirmed,
    /// It took the step, but on this session.
    OnAnotherDay(SessionDate),
    /// It took no step.
    NoStep,
    /// It took another one: the last raw price before, times this, was the first one after.
    OtherStep(f64),
    /// The factor is too close to 1, is 1, or bars on both sides are lacking.
    Unclear,
}

impl SplitEvidence {
    /// Whether to show the split as suspicious.
    #[must_use]
    pub const fn is_suspicious(self) -> bool {
        !matches!(self, Self::Confirmed | Self::Unclear)
    }
}

/// Holds a split against the raw daily bars around it: ascending, the last before its date and the first on or
/// after it among them, and a few more on either side to find a split that is listed a day off.
#[must_use]
pub fn split_evidence(split: &Split, raw: &[(SessionDate, Bar)]) -> SplitEvidence {
    let factor = (split.from / split.to).ln();
    if !factor.is_finite() || factor.abs() < STEP_MIN {
        return SplitEvidence::Unclear;
    }
    let step = |at: usize| {
        let (before, after) = (raw.get(at.checked_sub(1)?)?.1, raw.get(at)?.1);
        Some((after.get(Field::Open) / before.get(Field::Close)).ln())
    };
    let fits = |step: f64| (step - factor).abs() <= STEP_TOLERANCE.min(factor.abs() / 2.0);
    let at = raw.partition_point(|(session, _)| *session < split.execution);
    let Some(seen) = step(at) else { return SplitEvidence::Unclear };
    if fits(seen) {
        return SplitEvidence::Confirmed;
    }
    let elsewhere = (1..raw.len()).filter(|other| *other != at).find(|other| step(*other).is_some_and(fits));
    match elsewhere {
        Some(other) => SplitEvidence::OnAnotherDay(raw[other].0),
        None if seen.abs() < STEP_MIN => SplitEvidence::NoStep,
        None => SplitEvidence::OtherStep(seen.exp()),
    }
}

/// The small whole ratios that companies split by.
const RATIOS: [(f64, f64); 22] = [
    (1.0, 2.0),
    (1.0, 3.0),
    (1.0, 4.0),
    (1.0, 5.0),
    (1.0, 6.0),
    (1.0, 7.0),
    (1.0, 8.0),
    (1.0, 10.0),
    (1.0, 15.0),
    (1.0, 20.0),
    (1.0, 25.0),
    (1.0, 50.0),
    (2.0, 1.0),
    (3.0, 1.0),
    (4.0, 1.0),
    (5.0, 1.0),
    (8.0, 1.0),
    (10.0, 1.0),
    (15.0, 1.0),
    (20.0, 1.0),
    (25.0, 1.0),
    (50.0, 1.0),
];
/// How far, as a logarithm, a step may be from a whole ratio to be taken for a split that is not listed.
const RATIO_TOLERANCE: f64 = 0.06;

/// The split, as shares before and after, that would explain the step between two consecutive sessions' raw bars
/// where none is listed. The number of shares traded must have moved the other way: a price that halves on bad news
/// is sold in much larger amounts than twice as many.
#[must_use]
pub fn unlisted_split(before: &Bar, after: &Bar) -> Option<(f64, f64)> {
    let step = (after.get(Field::Open) / before.get(Field::Close)).ln();
    let closes = (after.get(Field::Close) / before.get(Field::Close)).ln();
    let shares = (after.get(Field::Volume) / before.get(Field::Volume)).ln();
    let (from, to) =
        RATIOS.into_iter().find(|(from, to)| (step - (from / to).ln()).abs() <= RATIO_TOLERANCE)?;
    let factor = f64::ln(from / to);
    // The day stays where it opened, and the money that changed hands is of the usual order.
    let stays = (closes - factor).abs() <= STEP_TOLERANCE;
    let ordinary = (shares + factor).abs() <= 2.0_f64.ln();
    (stays && ordinary).then_some((from, to))
}

/// Whether the daily bar of `session` that was fetched at `fetched_at` may still change: late trades and
/// corrections arrive until the next session opens.
#[must_use]
pub fn is_provisional(session: SessionDate, fetched_at: Timestamp) -> bool {
    let calendar = Calendar::us_equities();
    match calendar.next(session) {
        Some(next) => fetched_at < calendar.open(next),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbol::Symbol;

    fn bar(open: f64, close: f64, range: f64, volume: f64) -> Bar {
        let (high, low) = (open.max(close) * (1.0 + range), open.min(close) / (1.0 + range));
        Bar::new([open, high, low, close, volume, f64::NAN, f64::NAN]).unwrap()
    }

    /// Volume that varies by about a third either way.
    fn month() -> Vec<Bar> {
        (0..30_u32)
            .map(|day| bar(100.0, 100.5, 0.01, 7.6e7 * f64::exp(f64::from(day * 7 % 11) * 0.06 - 0.3)))
            .collect()
    }

    #[test]
    fn a_quiet_day_with_twice_the_volume_is_flagged_and_a_day_of_news_is_not() {
        let month = month();
        let doubled = volume_spike(&month, &bar(100.0, 100.2, 0.008, 153_568_475.0)).unwrap();
        assert!((1.8..2.3).contains(&doubled.ratio) && doubled.sigmas > 2.5, "{doubled:?}");
        assert_eq!(volume_spike(&month, &bar(100.0, 108.0, 0.03, 153_568_475.0)), None);
        assert_eq!(volume_spike(&month, &bar(100.0, 100.2, 0.008, 76_452_400.0)), None);
        assert!(volume_spike(&month, &bar(100.0, 108.0, 0.03, 1.0e9)).is_some(), "beyond any news");
    }

    #[test]
    fn little_history_and_no_volume_say_nothing() {
        let month = month();
        assert_eq!(volume_spike(&month[..19], &bar(100.0, 100.2, 0.0, 1.0e9)), None);
        assert_eq!(volume_spike(&month, &bar(100.0, 100.2, 0.0, 0.0)), None);
        let silent = vec![bar(1.0, 1.0, 0.0, 0.0); 40];
        assert_eq!(volume_spike(&silent, &bar(1.0, 1.0, 0.0, 100.0)), None);
        let constant = vec![bar(1.0, 1.0, 0.0, 100.0); 40];
        assert_eq!(volume_spike(&constant, &bar(1.0, 1.0, 0.0, 110.0)), None);
        assert!(volume_spike(&constant, &bar(1.0, 1.0, 0.0, 200.0)).is_some());
    }

    fn day(n: i32) -> SessionDate {
        SessionDate::from_days(20_000 + n)
    }

    fn split(execution: i32, from: f64, to: f64) -> Split {
        Split { symbol: Symbol::new("X").unwrap(), execution: day(execution), from, to }
    }

    /// Six sessions, with the step to `factor` times the price on the fourth.
    fn around(factor: f64) -> Vec<(SessionDate, Bar)> {
        (0..6)
            .map(|n| {
                let level = if n < 3 { 60.0 } else { 60.0 * factor };
                (day(n), bar(level * 1.01, level, 0.01, 1.0e6))
            })
            .collect()
    }

    #[test]
    fn a_split_is_held_against_the_step_of_the_price() {
        let bars = around(1.0 / 3.0);
        let says = |split: Split| split_evidence(&split, &bars);
        assert_eq!(says(split(3, 1.0, 3.0)), SplitEvidence::Confirmed);
        assert_eq!(says(split(2, 1.0, 3.0)), SplitEvidence::OnAnotherDay(day(3)));
        assert_eq!(says(split(5, 1.0, 3.0)), SplitEvidence::OnAnotherDay(day(3)));
        assert_eq!(says(split(2, 1.0, 20.0)), SplitEvidence::NoStep);
        assert!(
            matches!(says(split(3, 1.0, 20.0)), SplitEvidence::OtherStep(step) if (0.33..0.34).contains(&step))
        );
        assert!(matches!(says(split(3, 3.0, 1.0)), SplitEvidence::OtherStep(_)), "the wrong way round");
        assert_eq!(split_evidence(&split(3, 10.0, 1.0), &around(10.0)), SplitEvidence::Confirmed);
        assert!(says(split(2, 1.0, 3.0)).is_suspicious() && !says(split(3, 1.0, 3.0)).is_suspicious());
    }

    #[test]
    fn nothing_is_said_where_nothing_can_be_seen() {
        let bars = around(1.0);
        // 1 for 1, a stock dividend of a twentieth, no number, no bars before or after
        for split in [
            split(3, 1.0, 1.0),
            split(3, 20.0, 21.0),
            split(3, 0.0, 1.0),
            split(0, 1.0, 2.0),
            split(9, 1.0, 2.0),
        ] {
            assert_eq!(split_evidence(&split, &bars), SplitEvidence::Unclear, "{split:?}");
        }
        assert_eq!(split_evidence(&split(3, 1.0, 2.0), &[]), SplitEvidence::Unclear);
    }

    #[test]
    fn a_cliff_without_a_split_names_the_ratio_that_would_explain_it() {
        let before = bar(60.0, 60.0, 0.01, 1.0e6);
        assert_eq!(unlisted_split(&before, &bar(20.2, 20.0, 0.01, 2.8e6)), Some((1.0, 3.0)));
        assert_eq!(unlisted_split(&before, &bar(601.0, 600.0, 0.01, 1.1e5)), Some((10.0, 1.0)));
        assert_eq!(unlisted_split(&before, &bar(60.3, 60.0, 0.01, 1.0e6)), None);
        assert_eq!(unlisted_split(&before, &bar(30.0, 29.0, 0.05, 4.0e7)), None, "bad news, not a split");
        assert_eq!(unlisted_split(&before, &bar(42.0, 41.0, 0.05, 2.0e6)), None, "no whole ratio");
    }

    #[test]
    fn a_day_is_provisional_until_the_next_open() {
        let calendar = Calendar::us_equities();
        // a Friday before a long weekend
        let friday: SessionDate = "2025-08-29".parse().unwrap();
        let tuesday: SessionDate = "2025-09-02".parse().unwrap();
        assert!(is_provisional(friday, calendar.close(friday)));
        assert!(is_provisional(friday, Timestamp::from_millis(calendar.open(tuesday).as_millis() - 1)));
        assert!(!is_provisional(friday, calendar.open(tuesday)));
        assert!(is_provisional(calendar.last(), calendar.close(calendar.last())));
    }
}
