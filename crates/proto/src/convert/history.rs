//! Scans of past sessions: the request as a server reads it and a client writes it, and the messages of the answer.

use std::collections::BTreeMap;

use panscan_core::calendar::Calendar;
use panscan_core::plan::Plan;
use panscan_core::rank::RankedRows;
use panscan_core::scan::{DataPolicy, ScanSpec};
use panscan_core::snapshot::Snapshot;
use panscan_core::time::SessionDate;

use super::answer::{Column, Diagnostic, Header, Summary, signed, unsigned};
use super::batch::Batch;
use super::request::Format;
use super::resource;
use super::spec::{scan_spec, wire_count};
use super::table;
use super::word::{Word, word};
use crate::error::{Error, Violations};
use crate::v1::{self, ScanHistoryResponse, scan_history_response, scan_universe_response};

/// Sessions of one answer at most.
pub const SESSIONS_MAX: usize = 2_600;

/// One call of `ScanHistory`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistoryAsk {
    /// What to scan.
    pub spec: ScanSpec,
    /// Id of the saved scan that `spec` overrides.
    pub saved_scan: Option<String>,
    /// First day; not necessarily a session.
    pub from: SessionDate,
    /// Last day.
    pub to: SessionDate,
    /// Every so many sessions; at least 1.
    pub step: usize,
    /// Form of the rows.
    pub format: Format,
    /// What to do about bars that are not held.
    pub policy: DataPolicy,
}

impl HistoryAsk {
    /// The sessions that are scanned, ascending: the first of the range, and each `step` further on.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionDate> {
        let all = Calendar::us_equities().sessions(self.from, self.to);
        all.iter().copied().step_by(self.step.max(1)).collect()
    }
}

/// Reads a day of a request.
fn day(found: &mut Violations, field: &str, text: &str) -> Option<SessionDate> {
    if text.is_empty() {
        found.push(field, "MISSING", "is missing; give a date, e.g. 2025-01-02");
        return None;
    }
    let read = text.parse().ok();
    if read.is_none() {
        let shown = panscan_core::error::shortened(text);
        found.push(field, "INVALID_DATE", format!("is {shown:?}; give a date, e.g. 2025-01-02"));
    }
    read
}

impl TryFrom<&v1::ScanHistoryRequest> for HistoryAsk {
    type Error = Violations;

    fn try_from(wire: &v1::ScanHistoryRequest) -> Result<Self, Violations> {
        let mut found = Violations::default();
        let spec = wire.scan.as_ref().map(|s| scan_spec(&mut found, "scan", s)).unwrap_or_default();
        let saved_scan = resource(&mut found, "saved_scan", "scans/", &wire.saved_scan);
        let from = day(&mut found, "start_date", &wire.start_date);
        let to = day(&mut found, "end_date", &wire.end_date);
        let step = usize::try_from(wire.step).unwrap_or(0).max(1);
        if wire.step < 0 {
            found.push("step", "OUT_OF_RANGE", format!("is {}; it must be 0 (meaning 1) or more", wire.step));
        }
        let ask = Self {
            spec,
            saved_scan: Some(saved_scan).filter(|s| !s.is_empty()),
            from: from.unwrap_or_default(),
            to: to.unwrap_or_default(),
            step,
            format: word(&mut found, "format", wire.format),
            policy: word(&mut found, "data_policy", wire.data_policy),
        };
        if let (Some(from), Some(to)) = (from, to) {
            let sessions = Calendar::us_equities().sessions(from, to).len().div_ceil(step);
            if to < from {
                found.push("end_date", "OUT_OF_RANGE", format!("is {to}, before start_date {from}"));
            } else if sessions == 0 {
                let message =
                    format!("no session lies between {from} and {to}; give a range of trading days");
                found.push("start_date", "OUT_OF_RANGE", message);
            } else if sessions > SESSIONS_MAX {
                let message = format!(
                    "{sessions} sessions from {from} on are more than {SESSIONS_MAX}; \
                     shorten the range or raise step"
                );
                found.push("end_date", "OUT_OF_RANGE", message);
            }
        }
        found.or(ask)
    }
}

impl From<&HistoryAsk> for v1::ScanHistoryRequest {
    fn from(ask: &HistoryAsk) -> Self {
        Self {
            scan: Some((&ask.spec).into()),
            saved_scan: ask.saved_scan.as_ref().map(|id| format!("scans/{id}")).unwrap_or_default(),
            start_date: ask.from.to_string(),
            end_date: ask.to.to_string(),
            step: wire_count(ask.step),
            format: ask.format.number(),
            data_policy: ask.policy.number(),
        }
    }
}

/// What is said of a session with its last batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionCounts {
    /// Rows that passed the filter, before the limit.
    pub matched: u64,
    /// Symbols of the population.
    pub scanned: u64,
    /// Those of them left out, by reason.
    pub excluded: BTreeMap<String, u64>,
    /// Every cell that the session needs was held.
    pub complete: bool,
}

/// A session's rows as batches, `batch_rows` each; the last one has the counts. A session without rows has one batch.
/// Arrow is written elsewhere and comes as rows from here.
#[must_use]
pub fn frames(
    format: Format,
    session: SessionDate,
    rows: &RankedRows,
    counts: &SessionCounts,
    plan: &Plan,
    snapshot: &Snapshot,
    batch_rows: usize,
) -> Vec<v1::HistoryBatch> {
    let total = rows.symbols.len();
    let ranges = (0..total).step_by(batch_rows.max(1)).map(|at| at..(at + batch_rows.max(1)).min(total));
    let frames = ranges.flat_map(|range| table::frames(format, rows, plan, snapshot, range, 1));
    let batches = frames.map(|frame| {
        let mut batch = v1::HistoryBatch::default();
        match frame.frame {
            Some(scan_universe_response::Frame::Rows(rows)) => batch.rows = Some(rows),
            Some(scan_universe_response::Frame::Columns(columns)) => batch.columns = Some(columns),
            _ => {}
        }
        batch
    });
    finished(session, counts, batches.collect())
}

/// Batches of a session with their date, the last one with the counts.
#[must_use]
pub fn finished(
    session: SessionDate,
    counts: &SessionCounts,
    mut batches: Vec<v1::HistoryBatch>,
) -> Vec<v1::HistoryBatch> {
    if batches.is_empty() {
        batches.push(v1::HistoryBatch::default());
    }
    let date = session.to_string();
    for batch in &mut batches {
        batch.session_date.clone_from(&date);
        batch.matched = signed(counts.matched);
    }
    if let Some(last) = batches.last_mut() {
        last.last = true;
        last.complete = counts.complete;
        last.scanned = signed(counts.scanned);
        last.excluded = counts.excluded.iter().map(|(why, n)| (why.clone(), signed(*n))).collect();
    }
    batches
}

/// A batch as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionBatch {
    /// As of the end of this session.
    pub session: SessionDate,
    /// Rows of consecutive ranks; may be empty.
    pub batch: Batch,
    /// With the session's last batch, what is said of it.
    pub counts: Option<SessionCounts>,
}

/// A message of a history stream.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryFrame {
    /// The first one.
    Header(Box<Header>),
    /// Rows of one session.
    Batch(SessionBatch),
    /// Something to know.
    Diagnostic(Diagnostic),
    /// The last one; its counts are over all sessions.
    Summary(Box<Summary>),
}

impl HistoryFrame {
    /// Reads a message; `columns` are those of the header, `None` before it.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when it breaks the contract or holds Arrow data, which this client never asks for.
    pub fn read(message: ScanHistoryResponse, columns: Option<&[Column]>) -> Result<Self, Error> {
        use scan_history_response::Frame;
        let malformed = |message: &str| Error::malformed("history stream", message);
        let frame = message.frame.ok_or_else(|| malformed("a message without a known frame"))?;
        let columns = match (&frame, columns) {
            (Frame::Header(_), _) => &[],
            (_, Some(columns)) => columns,
            (_, None) => return Err(malformed("it does not start with a header")),
        };
        Ok(match frame {
            Frame::Header(header) => Self::Header(Box::new(header.try_into()?)),
            Frame::Batch(wire) => {
                let session = wire.session_date.parse();
                let session = session.map_err(|_| malformed("a batch without a session date"))?;
                let counts = wire.last.then(|| SessionCounts {
                    matched: unsigned(wire.matched),
                    scanned: unsigned(wire.scanned),
                    excluded: wire.excluded.into_iter().map(|(why, n)| (why, unsigned(n))).collect(),
                    complete: wire.complete,
                });
                let batch = match (wire.rows, wire.columns, wire.arrow) {
                    (_, _, Some(_)) => return Err(malformed("Arrow data that was not asked for")),
                    (_, Some(batch), _) => Batch::from_columns(batch, columns)?,
                    (rows, None, None) => Batch::from_rows(rows.unwrap_or_default(), columns)?,
                };
                Self::Batch(SessionBatch { session, batch, counts })
            }
            Frame::Diagnostic(diagnostic) => Self::Diagnostic(diagnostic.into()),
            Frame::Summary(summary) => Self::Summary(Box::new(summary.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: &str, to: &str, step: i32) -> Result<HistoryAsk, Violations> {
        let wire = v1::ScanHistoryRequest {
            start_date: from.to_owned(),
            end_date: to.to_owned(),
            step,
            ..Default::default()
        };
        HistoryAsk::try_from(&wire)
    }

    #[test]
    fn a_range_is_of_sessions_and_has_its_bounds() {
        let ask = asked("2025-01-01", "2025-01-12", 0).unwrap();
        let days: Vec<String> = ask.sessions().iter().map(ToString::to_string).collect();
        // Neither the first of January nor the ninth, a day of mourning, nor the weekends.
        assert_eq!(
            days,
            ["2025-01-02", "2025-01-03", "2025-01-06", "2025-01-07", "2025-01-08", "2025-01-10"]
        );
        let every_third = asked("2025-01-01", "2025-01-12", 3).unwrap().sessions();
        assert_eq!(every_third.iter().map(ToString::to_string).collect::<Vec<_>>(), [&*days[0], &*days[3]]);
        assert_eq!(HistoryAsk::try_from(&v1::ScanHistoryRequest::from(&ask)).unwrap(), ask);
        let word = |from, to, step| {
            let found = asked(from, to, step).unwrap_err();
            let first = &found.as_slice()[0];
            (first.field.clone(), first.reason.clone())
        };
        let is = |field: &str, reason: &str| (field.to_owned(), reason.to_owned());
        assert_eq!(word("", "2025-01-12", 1), is("start_date", "MISSING"));
        assert_eq!(word("2025-01-02", "12.1.2025", 1), is("end_date", "INVALID_DATE"));
        assert_eq!(word("2025-01-13", "2025-01-10", 1), is("end_date", "OUT_OF_RANGE"));
        assert_eq!(word("2025-01-04", "2025-01-05", 1), is("start_date", "OUT_OF_RANGE"));
        assert_eq!(word("2025-01-02", "2025-01-03", -1), is("step", "OUT_OF_RANGE"));
        assert_eq!(word("2010-01-04", "2025-01-03", 1), is("end_date", "OUT_OF_RANGE"));
        assert!(asked("2010-01-04", "2025-01-03", 2).is_ok());
        let sessions =
            Calendar::us_equities().sessions(SessionDate::default(), "2025-06-30".parse().unwrap());
        let from = sessions[sessions.len() - SESSIONS_MAX].to_string();
        assert_eq!(asked(&from, "2025-06-30", 1).unwrap().sessions().len(), SESSIONS_MAX);
        let before = sessions[sessions.len() - SESSIONS_MAX - 1].to_string();
        assert_eq!(word(&before, "2025-06-30", 1), is("end_date", "OUT_OF_RANGE"));
    }

    #[test]
    fn a_session_without_rows_still_has_its_counts() {
        let counts = SessionCounts { scanned: 7, complete: true, ..SessionCounts::default() };
        let session = "2025-01-03".parse().unwrap();
        let batches = finished(session, &counts, Vec::new());
        let frame = ScanHistoryResponse {
            frame: Some(scan_history_response::Frame::Batch(batches.into_iter().next().unwrap())),
        };
        assert!(HistoryFrame::read(frame.clone(), None).is_err());
        let HistoryFrame::Batch(read) = HistoryFrame::read(frame, Some(&[])).unwrap() else { panic!() };
        assert_eq!((read.session, read.batch.symbols.len(), read.counts), (session, 0, Some(counts)));
    }
}
