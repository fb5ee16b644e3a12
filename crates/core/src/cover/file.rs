//! Files of whole sessions beside the calls that count: where they spare enough of those to be worth their bytes.
//!
//! Covering every session that has a file by it leaves the fewest calls that there can be: a range or a market day
//! that is not needed for one session is never needed more for the others. What is left to choose are bytes.

use super::missing::Missing;
use super::{Call, CostModel, Cover, EFFORT, cover_within, sort};
use crate::calendar::Calendar;
use crate::time::{SessionDate, Timestamp};

/// Sessions up to which every choice of files is tried; beyond, all files or none.
const TRIED_MAX: usize = 6;
/// Cells up to which they are tried.
const TRIED_CELLS: u64 = 1 << 16;
/// When a file is published: 11:00 Eastern of the day after its session.
const READY: std::time::Duration = std::time::Duration::from_secs(11 * 3600);

/// Which files there are, and what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files {
    /// The first session that has one.
    pub from: SessionDate,
    /// The last session that has one.
    pub to: SessionDate,
    /// Bytes of one, as it comes.
    pub bytes: u64,
    /// Bytes of files that one spared call is worth: at 5 calls a minute many, at 100 a second few. With the
    /// largest number calls alone decide.
    pub worth: u64,
}

impl Files {
    /// What a spared call is worth where nothing else is known: 4 MiB.
    pub const WORTH: u64 = 4 << 20;

    /// Daily bars of `symbols` symbols, 22 compressed bytes each, in files that are there at `now`.
    #[must_use]
    pub fn daily(from: SessionDate, now: Timestamp, symbols: u64) -> Self {
        Self { from, to: Self::newest(now), bytes: symbols * 22, worth: Self::WORTH }
    }

    /// Minute bars of `symbols` symbols, 16 compressed bytes for each of a session's 390 minutes.
    #[must_use]
    pub fn minute(from: SessionDate, now: Timestamp, symbols: u64) -> Self {
        Self { from, to: Self::newest(now), bytes: symbols * 390 * 16, worth: Self::WORTH }
    }

    /// The newest session whose file is published at `now`.
    #[must_use]
    pub fn newest(now: Timestamp) -> SessionDate {
        let calendar = Calendar::us_equities();
        let mut session = calendar.session_of(now);
        while now < calendar.midnight(session.plus(1)).after(READY) {
            session = session.plus(-1);
        }
        calendar.at_or_before(session).unwrap_or(session)
    }
}

/// The cheaper of the cover without files and those with them.
pub(super) fn join(missing: &Missing, model: &CostModel, files: &Files, plain: Cover) -> Cover {
    let offered: Vec<usize> = (0..missing.sessions().len())
        .filter(|index| (files.from..=files.to).contains(&missing.sessions()[*index]))
        .filter(|index| missing.is_wanted(*index))
        .collect();
    if offered.is_empty() {
        return plain;
    }
    let few = offered.len() <= TRIED_MAX && missing.cells() <= TRIED_CELLS;
    let choices = if few { 1..1_u32 << offered.len() } else { u32::MAX..u32::MAX };
    let all = std::iter::once(u32::MAX).filter(|_| !few);
    let mut best = plain;
    for choice in choices.chain(all) {
        let taken: Vec<usize> = offered
            .iter()
            .enumerate()
            .filter(|(bit, _)| !few || choice >> bit & 1 == 1)
            .map(|(_, index)| *index)
            .collect();
        let with = with(missing, model, files, &taken);
        if is_better(&with, &best, files) {
            best = with;
        }
    }
    best
}

/// The cover in which these sessions come as files.
fn with(missing: &Missing, model: &CostModel, files: &Files, taken: &[usize]) -> Cover {
    let rest = missing.without(|index| taken.binary_search(&index).is_ok());
    let mut cover = cover_within(&rest, model, EFFORT);
    cover.calls.extend(taken.iter().map(|index| Call::FlatFile(missing.sessions()[*index])));
    sort(&mut cover.calls);
    cover.bytes += taken.len() as u64 * files.bytes;
    cover.cells = missing.cells();
    cover
}

fn is_better(with: &Cover, than: &Cover, files: &Files) -> bool {
    let (with, than) = ((with.requests, with.bytes), (than.requests, than.bytes));
    if files.worth == u64::MAX {
        return with < than;
    }
    // Every call has the price of its worth in bytes.
    let price =
        |(requests, bytes): (u64, u64)| u128::from(requests) * u128::from(files.worth) + u128::from(bytes);
    (price(with), with) < (price(than), than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_file_is_of_the_session_before_until_eleven() {
        let newest = |now: &str| Files::newest(now.parse().unwrap()).to_string();
        // Friday 2025-12-26, 10:59 and 11:00 Eastern, after a holiday; then the Monday.
        assert_eq!(newest("2025-12-26T15:59:59Z"), "2025-12-24");
        assert_eq!(newest("2025-12-27T15:59:59Z"), "2025-12-24");
        assert_eq!(newest("2025-12-27T16:00:00Z"), "2025-12-26");
        assert_eq!(newest("2025-12-29T20:00:00Z"), "2025-12-26");
    }
}
