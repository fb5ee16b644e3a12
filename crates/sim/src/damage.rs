//! What the faults do to the rows of an answer. What they do to its bytes and its connection is in
//! [`crate::http`].

use crate::aggregates::Row;
use crate::ask::Ask;
use crate::fault::FaultName;
use crate::market::HOUR_MS;

/// An address that no simulator listens on; a client must not follow it.
const ELSEWHERE: &str = "http://127.0.0.2:9";

/// Damages the rows of an aggregates answer as drawn and says whether it did; a fault that makes no sense for
/// this answer does nothing.
pub(crate) fn rows(ask: &Ask, grouped: bool, rows: &mut Vec<Row<'_>>, next: &mut Option<String>) -> bool {
    let Some(fault) = ask.tweak else { return false };
    let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else { return false };
    match fault {
        FaultName::DuplicateRows => {
            rows.insert(1, first);
            rows.push(last);
            true
        }
        FaultName::ReorderedRows if rows.len() > 1 => {
            let middle = rows.len() / 2;
            rows.rotate_left(middle);
            true
        }
        FaultName::ForeignRow if grouped => {
            rows.insert(0, Row { ticker: Some("X:BTCUSD"), ..first });
            true
        }
        FaultName::NulTicker if grouped => {
            rows.push(Row { ticker: Some("NUL\0X"), ..last });
            true
        }
        FaultName::RowOutside if !grouped => {
            let beyond = rows.iter().map(|row| row.t).max().unwrap_or(last.t) + 400 * 24 * HOUR_MS;
            rows.push(Row { t: beyond, ..last });
            true
        }
        FaultName::EmptyPage => {
            rows.clear();
            true
        }
        _ if grouped => false,
        _ => next_url(ask, next),
    }
}

/// Damages the link to the next page as drawn and says whether it did.
pub(crate) fn next_url(ask: &Ask, next: &mut Option<String>) -> bool {
    let origin = match ask.tweak {
        Some(FaultName::NextUrlLoop) => ask.origin.as_str(),
        Some(FaultName::NextUrlElsewhere) => ELSEWHERE,
        _ => return false,
    };
    *next = Some(format!("{origin}{}", ask.target));
    true
}
