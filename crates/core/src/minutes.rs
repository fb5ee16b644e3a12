//! What a stored block of one symbol's minutes says about its sessions: which were asked for when they were over, and
//! how newly fetched minutes are joined with those that are held.
//!
//! A session that was asked for after it was over is marked by a row without a bar (NaN close) off the minute grid: one
//! millisecond past midnight in New York says that its regular hours are final, two that the whole day is. So a session
//! without a trade is told apart from one that nobody asked for, and bars and knowledge are written together. Not
//! here: fetching, and bars of other intervals ([`crate::resample`]).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::bar::Field;
use crate::block::{BarKey, Block};
use crate::calendar::Calendar;
use crate::error::Error;
use crate::life::Stretch;
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

/// Two blocks of one symbol's minutes as one, where two servers made them: of each session the one that knows more of
/// it counts, and of two that know the same the first.
///
/// # Errors
///
/// [`Error::Inconsistent`] when the blocks are not of one and the same symbol.
pub fn merged(ours: &Block, theirs: &Block) -> Result<Block, Error> {
    let one = |block: &Block| block.width() == 1 && block.symbols().len() == 1;
    if !one(ours) || !one(theirs) || ours.symbols() != theirs.symbols() {
        return Err(Error::inconsistent("minutes are joined for one symbol at a time"));
    }
    let calendar = Calendar::us_equities();
    let mut sessions: BTreeMap<SessionDate, [Range<usize>; 2]> = BTreeMap::new();
    for (which, block) in [ours, theirs].into_iter().enumerate() {
        for (row, key) in block.rows().iter().enumerate() {
            let ranges = sessions.entry(calendar.session_of(key.as_start())).or_default();
            if ranges[which].is_empty() {
                ranges[which] = row..row;
            }
            ranges[which].end = row + 1;
        }
    }
    let knows = |block: &Block, session: SessionDate| {
        let hours = [SessionHours::Extended, SessionHours::Regular];
        hours.map(|hours| is_final(block, session, hours))
    };
    let kept = sessions.into_iter().map(|(session, [mine, other])| {
        let take = (knows(theirs, session), !other.is_empty()) > (knows(ours, session), !mine.is_empty());
        if take { (theirs, other) } else { (ours, mine) }
    });
    let kept: Vec<(&Block, Range<usize>)> = kept.collect();
    let rows: Arc<[BarKey]> =
        kept.iter().flat_map(|(block, range)| block.rows()[range.clone()].iter().copied()).collect();
    let stride = Block::stride(rows.len(), 1);
    let mut data = Aligned::filled(Block::floats(1, rows.len(), 1), f64::NAN);
    for field in Field::ALL {
        let mut out = &mut data.as_mut_slice()[field.index() * stride..][..rows.len()];
        for (block, range) in &kept {
            let (now, later) = out.split_at_mut(range.len());
            now.copy_from_slice(&block.column(0, field).0[range.clone()]);
            out = later;
        }
    }
    let newer = if theirs.provenance().fetched_at > ours.provenance().fetched_at { theirs } else { ours };
    let symbols = Arc::clone(ours.symbols());
    Block::from_parts(ours.timeframe(), symbols, rows, 1, Arc::new(data), newer.provenance().clone())
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

/// The bars of several stretches of days, each out of its own block; a later one has the better claim to a session.
#[must_use]
pub fn across<'a>(laid: impl IntoIterator<Item = (&'a Stretch, &'a Block)>) -> Series {
    let mut sessions: BTreeMap<SessionDate, Series> = BTreeMap::new();
    for (stretch, block) in laid {
        for session in Calendar::us_equities().sessions(stretch.from, stretch.to) {
            let bars = series(block, *session, *session);
            if !bars.is_empty() {
                sessions.insert(*session, bars);
            }
        }
    }
    let mut all = Series::default();
    for part in sessions.into_values() {
        all.start.extend(part.start);
        all.columns.iter_mut().zip(part.columns).for_each(|(column, more)| column.extend(more));
    }
    all
}

/// The block without the sessions `from` to `to`, which are not held any more; `None` where nothing is left.
#[must_use]
pub fn without(block: &Block, from: SessionDate, to: SessionDate) -> Option<Block> {
    let calendar = Calendar::us_equities();
    let (first, end) = (BarKey::start(calendar.midnight(from)), BarKey::start(calendar.midnight(to.plus(1))));
    let kept: Vec<usize> =
        (0..block.rows().len()).filter(|row| !(first..end).contains(&block.rows()[*row])).collect();
    if kept.is_empty() {
        return None;
    }
    let rows: Arc<[BarKey]> = kept.iter().map(|row| block.rows()[*row]).collect();
    let stride = Block::stride(rows.len(), 1);
    let mut data = Aligned::filled(Block::floats(1, rows.len(), 1), f64::NAN);
    for field in Field::ALL {
        let out = &mut data.as_mut_slice()[field.index() * stride..][..rows.len()];
        let column = block.column(0, field).0;
        out.iter_mut().zip(&kept).for_each(|(out, row)| *out = column[*row]);
    }
    let symbols = Arc::clone(block.symbols());
    Block::from_parts(block.timeframe(), symbols, rows, 1, Arc::new(data), block.provenance().clone()).ok()
}

/// The sessions of a block that are held for good.
pub fn finals(block: &Block) -> impl Iterator<Item = SessionDate> + '_ {
    let calendar = Calendar::us_equities();
    let mut sessions: Vec<SessionDate> =
        block.rows().iter().map(|key| calendar.session_of(key.as_start())).collect();
    sessions.dedup();
    sessions.into_iter().filter(|session| is_final(block, *session, SessionHours::Regular))
}

/// The oldest session with a bar, or one that is known to be without.
#[must_use]
pub fn oldest(block: &Block) -> Option<SessionDate> {
    block.rows().first().map(|key| Calendar::us_equities().session_of(key.as_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockBuilder, Provenance};
    use crate::time::Timeframe;

    fn date(day: u8) -> SessionDate {
        format!("2025-12-{day:02}").parse().unwrap()
    }

    /// Minutes of sessions, asked for after each was over; the close tells who asked.
    fn held(close: f64, days: &[u8]) -> Block {
        let calendar = Calendar::us_equities();
        let symbols: Arc<[crate::symbol::Symbol]> = Arc::from([crate::symbol::Symbol::new("A").unwrap()]);
        let mut held: Option<Block> = None;
        for day in days {
            let mut builder = BlockBuilder::new(Timeframe::Minutes(1));
            for minute in 0..3 {
                let start = calendar.open(date(*day)).after(Duration::from_secs(60 * minute));
                builder.push(
                    "A",
                    BarKey::start(start),
                    [close, close, close, close, 5.0, f64::NAN, f64::NAN],
                );
            }
            let fetched_at = calendar.close(date(*day)).after(Duration::from_secs(24 * 3600));
            let provenance = Provenance { provider: "test".into(), fetched_at };
            let (fresh, _) = builder.finish(Some(&symbols), None, provenance);
            held = Some(joined(held.as_ref(), &fresh, date(*day), date(*day), fetched_at).unwrap());
        }
        held.unwrap()
    }

    #[test]
    fn of_two_blocks_each_session_comes_from_the_one_that_knows_it() {
        let (ours, theirs) = (held(1.0, &[2, 3, 8]), held(2.0, &[1, 3, 9]));
        let both = merged(&ours, &theirs).unwrap();
        for (day, close) in [(1, 2.0), (2, 1.0), (3, 1.0), (8, 1.0), (9, 2.0)] {
            assert!(is_final(&both, date(day), SessionHours::Regular), "{day}");
            let bars = series(&both, date(day), date(day));
            assert_eq!(bars.columns[Field::Close.index()], [close; 3], "{day}");
        }
        assert!(!is_final(&both, date(4), SessionHours::Regular));
        assert!(both.rows().is_sorted());
        assert_eq!(both.provenance().fetched_at, theirs.provenance().fetched_at);
        let nothing_new = merged(&both, &theirs).unwrap();
        assert_eq!(nothing_new.rows(), both.rows());
    }
}
