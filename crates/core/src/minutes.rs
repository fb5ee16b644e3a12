//! What a stored block of one symbol's minutes says about its sessions: which were asked for when they were over, and
//! how newly fetched minutes are joined with those that are held.
//!
//! A session that was asked for after it was over is marked by a row without a bar (NaN close) off the minute grid: one
//! millisecond past midnight in New York says that its regular hours are final, two that the whole day is. So a session
//! without a trade is told apart from one that nobody asked for, and bars and knowledge are written together. Not
//! here: fetching, and bars of other intervals ([`crate::resample`]).

use std::sync::Arc;
use std::time::Duration;

use crate::bar::Field;
use crate::block::{BarKey, Block};
use crate::calendar::Calendar;
use crate::error::Error;
use crate::resample::Series;
use crate::scan::SessionHours;
use crate::slab::Aligned;
use crate::time::{SessionDate, Timestamp};

/// Delayed feeds show a minute up to a quarter of an hour after it ended.
const SETTLING: Duration = Duration::from_secs(20 * 60);
/// From midnight to the end of the extended hours.
const EXTENDED_END: Duration = Duration::from_secs(20 * 3600);

/// Whether an answer to a question asked at `at` has all of a session's minutes.
#[must_use]
pub fn settled(session: SessionDate, hours: SessionHours, at: Timestamp) -> bool {
    let calendar = Calendar::us_equities();
    let end = match hours {
        SessionHours::Regular => calendar.close(session),
        SessionHours::Extended => calendar.midnight(session).after(EXTENDED_END),
    };
    end.after(SETTLING) <= at
}

/// The row that marks a session as final.
fn mark(session: SessionDate, hours: SessionHours) -> BarKey {
    let midnight = BarKey::start(Calendar::us_equities().midnight(session));
    BarKey(midnight.0 + if hours == SessionHours::Regular { 1 } else { 2 })
}

/// Whether a session is held for good, traded or not.
#[must_use]
pub fn is_final(block: &Block, session: SessionDate, hours: SessionHours) -> bool {
    let has = |hours| block.rows().binary_search(&mark(session, hours)).is_ok();
    has(SessionHours::Extended) || (hours == SessionHours::Regular && has(SessionHours::Regular))
}

/// Old and new minutes of one symbol as one block: of the sessions `from` to `to`, which were asked for at `asked_at`,
/// nothing old is left.
///
/// # Errors
///
/// [`Error::Inconsistent`] when the blocks are not of one and the same symbol.
pub fn joined(
    old: Option<&Block>,
    new: &Block,
    from: SessionDate,
    to: SessionDate,
    asked_at: Timestamp,
) -> Result<Block, Error> {
    let one = |block: &Block| block.width() == 1 && block.symbols().len() == 1;
    if !one(new) || old.is_some_and(|old| !one(old) || old.symbols() != new.symbols()) {
        return Err(Error::inconsistent("minutes are joined for one symbol at a time"));
    }
    let calendar = Calendar::us_equities();
    let first = BarKey::start(calendar.midnight(from));
    let end = BarKey::start(calendar.midnight(to.plus(1)));
    let before = old.map_or(&[][..], |old| old.rows());
    let (head, tail) = (before.partition_point(|key| *key < first), before.partition_point(|key| *key < end));
    let fresh = new.rows().partition_point(|key| *key < first)..new.rows().partition_point(|key| *key < end);

    // Rows between head and tail: new bars, with the marks among them.
    let mut between: Vec<(BarKey, Option<usize>)> = fresh.map(|row| (new.rows()[row], Some(row))).collect();
    for session in calendar.sessions(from, to) {
        for hours in [SessionHours::Regular, SessionHours::Extended] {
            if settled(*session, hours, asked_at) {
                between.push((mark(*session, hours), None));
            }
        }
    }
    // A bar stamped like a mark would be off the grid; the mark wins.
    between.sort_by_key(|(key, row)| (*key, row.is_some()));
    between.dedup_by_key(|(key, _)| *key);

    let rows: Arc<[BarKey]> = before[..head]
        .iter()
        .copied()
        .chain(between.iter().map(|(key, _)| *key))
        .chain(before[tail..].iter().copied())
        .collect();
    let stride = Block::stride(rows.len(), 1);
    let mut data = Aligned::filled(Block::floats(1, rows.len(), 1), f64::NAN);
    for field in Field::ALL {
        let out = &mut data.as_mut_slice()[field.index() * stride..][..rows.len()];
        if let Some(old) = old {
            let column = old.column(0, field).0;
            out[..head].copy_from_slice(&column[..head]);
            out[head + between.len()..].copy_from_slice(&column[tail..]);
        }
        let column = new.column(0, field).0;
        for (out, (_, row)) in out[head..].iter_mut().zip(&between) {
            if let Some(row) = row {
                *out = column[*row];
            }
        }
    }
    let symbols = Arc::clone(new.symbols());
    Block::from_parts(new.timeframe(), symbols, rows, 1, Arc::new(data), new.provenance().clone())
}

/// The bars of the sessions `from` to `to`, raw.
#[must_use]
pub fn series(block: &Block, from: SessionDate, to: SessionDate) -> Series {
    let calendar = Calendar::us_equities();
    let (first, end) = (calendar.midnight(from), calendar.midnight(to.plus(1)));
    let rows = block.rows();
    let range =
        rows.partition_point(|key| key.as_start() < first)..rows.partition_point(|key| key.as_start() < end);
    let close = block.column(0, Field::Close).0;
    let kept: Vec<usize> = range.filter(|row| !close[*row].is_nan()).collect();
    let copy = |field: Field| {
        let column = block.column(0, field).0;
        kept.iter().map(|row| column[*row]).collect()
    };
    Series {
        start: kept.iter().map(|row| rows[*row].as_start()).collect(),
        columns: Field::ALL.map(copy),
        forming: false,
    }
}

/// The oldest session with a bar, or one that is known to be without.
#[must_use]
pub fn oldest(block: &Block) -> Option<SessionDate> {
    block.rows().first().map(|key| Calendar::us_equities().session_of(key.as_start()))
}
