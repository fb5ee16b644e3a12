//! What the providers of single series share: the question as they can answer it, the way from rows to a
//! block, and how long a turn is waited for.
//!
//! A row is keyed by its session or, within the day, its start in New York; a daily stamp is never a key, as
//! every provider has another one for the same day, and some have two.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use panscan_core::bar::{BarFault, Field};
use panscan_core::block::{BarKey, Block, BlockBuilder, Provenance, Quarantined};
use panscan_core::calendar::Calendar;
use panscan_core::port::{BarAsk, SourceError};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};

use crate::caller::Caller;

/// A turn that is further off than this is not waited for: another provider of a chain may have it sooner.
const PATIENCE: Duration = Duration::from_secs(180);
/// The key of a row whose stamp cannot be read.
const NO_KEY: BarKey = BarKey(i64::MIN);

/// Intervals within the day at which these providers cut the day as Polygon does.
pub(super) const MINUTES: [u16; 4] = [1, 5, 15, 30];

/// One symbol's bars over some sessions.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) symbol: Symbol,
    pub(super) timeframe: Timeframe,
    pub(super) from: SessionDate,
    pub(super) to: SessionDate,
}

impl Range {
    /// The question, if it is about one symbol at an interval of `minutes` or of days.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotOffered`] for any other, [`SourceError::Refused`] when `to` is before `from`.
    pub(super) fn of(ask: &BarAsk, provider: &Arc<str>, minutes: &[u16]) -> Result<Self, SourceError> {
        let (provider, what) = (provider.clone(), ask.to_string());
        let BarAsk::Range { symbol, timeframe, from, to } = ask else {
            return Err(SourceError::NotOffered { provider, what });
        };
        match timeframe {
            Timeframe::Day => {}
            Timeframe::Minutes(n) if minutes.contains(n) => {}
            Timeframe::Minutes(_) | Timeframe::Week | Timeframe::Month => {
                return Err(SourceError::NotOffered { provider, what });
            }
        }
        if to < from {
            return Err(SourceError::Refused { provider, what, message: "to is before from".to_owned() });
        }
        Ok(Self { symbol: symbol.clone(), timeframe: *timeframe, from: *from, to: *to })
    }

    /// Whether these are bars of days.
    pub(super) fn is_daily(&self) -> bool {
        self.timeframe == Timeframe::Day
    }

    /// Lays rows out as the block that was asked for. A row without a readable stamp, of a day that is no
    /// session, or outside of the sessions asked for is quarantined.
    pub(super) fn block(
        &self,
        rows: impl Iterator<Item = (Option<i64>, [f64; Field::COUNT])>,
        provenance: Provenance,
    ) -> (Block, Vec<Quarantined>) {
        let calendar = Calendar::us_equities();
        let name = self.symbol.as_str();
        let mut builder = BlockBuilder::new(self.timeframe);
        for (stamp, values) in rows {
            let at = stamp.map(Timestamp::from_millis);
            let session = at.map(|at| calendar.session_of(at));
            let key = match (at, session) {
                (Some(_), Some(session)) if self.is_daily() => BarKey::session(session),
                (Some(at), _) => BarKey::start(at),
                (None, _) => NO_KEY,
            };
            if session.is_some_and(|session| self.from <= session && session <= self.to) {
                builder.push(name, key, values);
            } else {
                builder.quarantine(name, key, BarFault::Foreign);
            }
        }
        let only = std::slice::from_ref(&self.symbol);
        if self.is_daily() {
            let sessions = calendar.sessions(self.from, self.to).iter();
            let keys: Vec<BarKey> = sessions.copied().map(BarKey::session).collect();
            builder.finish(Some(only), Some(&keys), provenance)
        } else {
            builder.finish(Some(only), None, provenance)
        }
    }
}

/// The session of a stamp in milliseconds.
pub(super) fn session(stamp_ms: i64) -> SessionDate {
    Calendar::us_equities().session_of(Timestamp::from_millis(stamp_ms))
}

/// Whether the session of a daily stamp goes on at `now`, so that its bar is not whole.
pub(super) fn is_running(stamp_ms: i64, now: Timestamp) -> bool {
    Calendar::us_equities().close(session(stamp_ms)) > now
}

/// Makes calls unless their turn is too far off.
///
/// # Errors
///
/// [`SourceError::RateLimited`] when it is; else what the calls answer.
pub(super) async fn within_patience<T>(
    caller: &Caller,
    calls: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    let far = |retry_after| SourceError::RateLimited { provider: caller.provider().clone(), retry_after };
    let wait = caller.estimate(1);
    if wait > PATIENCE {
        return Err(far(wait));
    }
    match tokio::time::timeout(PATIENCE, calls).await {
        Ok(done) => done,
        Err(_) => Err(far(caller.estimate(1).max(Duration::from_secs(1)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(timeframe: Timeframe) -> Range {
        let date = |text: &str| text.parse().unwrap();
        let symbol = Symbol::new("AAPL").unwrap();
        Range { symbol, timeframe, from: date("2020-01-02"), to: date("2020-01-06") }
    }

    fn lay_out(timeframe: Timeframe, stamps: &[Option<i64>]) -> (Block, usize) {
        let bar = [1.0, 1.0, 1.0, 1.0, 1.0, f64::NAN, f64::NAN];
        let provenance = Provenance { provider: "test".into(), fetched_at: Timestamp::from_seconds(0) };
        let rows = stamps.iter().map(|stamp| (*stamp, bar));
        let (block, bad) = range(timeframe).block(rows, provenance);
        (block, bad.len())
    }

    #[test]
    fn a_day_is_keyed_by_its_session_whatever_its_stamp() {
        // midnight, the open, and five minutes past the close of three sessions
        let stamps = [1_577_941_200_000, 1_578_061_800_000, 1_578_344_700_000].map(Some);
        let (block, bad) = lay_out(Timeframe::Day, &stamps);
        assert_eq!((block.count_bars(), block.rows().len(), bad), (3, 3, 0));
        // a Saturday, a day before, no stamp
        let (block, bad) = lay_out(Timeframe::Day, &[Some(1_578_114_000_000), Some(1_577_800_000_000), None]);
        assert_eq!((block.count_bars(), bad), (0, 3));
    }

    #[test]
    fn minutes_are_keyed_by_their_start() {
        let (block, bad) = lay_out(Timeframe::Minutes(1), &[Some(1_577_975_400_000), None]);
        assert_eq!(block.rows().as_ref(), [BarKey(1_577_975_400_000)]);
        assert_eq!(bad, 1);
    }

    #[test]
    fn only_series_that_are_cut_the_same_way_are_offered() {
        let provider: Arc<str> = "test".into();
        let ask = |timeframe| {
            let Range { symbol, from, to, .. } = range(timeframe);
            Range::of(&BarAsk::Range { symbol, timeframe, from, to }, &provider, &MINUTES)
        };
        assert!(ask(Timeframe::Day).is_ok() && ask(Timeframe::Minutes(30)).is_ok());
        for other in [Timeframe::Minutes(60), Timeframe::Week, Timeframe::Month] {
            assert!(matches!(ask(other), Err(SourceError::NotOffered { .. })), "{other}");
        }
        let day = BarAsk::Day("2020-01-02".parse().unwrap());
        assert!(matches!(Range::of(&day, &provider, &MINUTES), Err(SourceError::NotOffered { .. })));
    }
}
