//! `panscan scan --history`: the scan as of every n-th session of a range, the session before each row.

use std::io;
use std::sync::Arc;

use panscan_client::{Scan, SessionBatch, SessionDate};

use super::answer;
use super::args::{Format, ScanArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::output::{self, Cell, CellKind, Column, Notes};

/// Sessions that are named where they are not complete.
const NAMED: usize = 5;

/// `FROM..TO[/STEP]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: SessionDate,
    to: SessionDate,
    step: usize,
}

impl Range {
    /// Reads the flag.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| {
            Failure::Usage(format!(
                "--history: {what} in {text:?}; expected FROM..TO[/STEP], e.g. 2025-01-02..2025-03-31/5"
            ))
        };
        let (days, step) = text.split_once('/').map_or((text, None), |(days, step)| (days, Some(step)));
        let (from, to) = days.split_once("..").ok_or_else(|| wrong("no `..`"))?;
        let day = |text: &str| text.trim().parse::<SessionDate>().map_err(|_| wrong("a day that is none"));
        let step = match step.map(|step| step.trim().parse::<usize>()) {
            None => 1,
            Some(Ok(step)) if step > 0 => step,
            Some(_) => return Err(wrong("a step that is no positive number")),
        };
        Ok(Self { from: day(from)?, to: day(to)?, step })
    }
}

/// Asks for the range and writes each session as it comes.
pub async fn run(args: &ScanArgs, scan: &Scan, range: Range, format: Format) -> Result<Exit, Failure> {
    let notes = Notes::new(args.quiet);
    let query = scan.history(range.from, range.to).step(range.step);
    let mut stream = query.send().await?;
    let header = stream.header().clone();
    let mut head = answer::head(&header);
    head.columns.insert(0, Column::new("session", CellKind::Text));
    let mut out = output::writer(format, io::stdout());
    out.head(&head).map_err(Failure::Output)?;
    let (mut sessions, mut open) = (0_usize, Vec::new());
    while let Some(SessionBatch { session, batch, counts }) = stream.next_batch().await? {
        let lead = [Cell::Text(Arc::from(session.to_string()))];
        answer::rows(&lead, &batch, &mut *out).map_err(Failure::Output)?;
        if let Some(counts) = counts {
            sessions += 1;
            if !counts.complete {
                open.push(session);
            }
        }
    }
    let diagnostics = stream.diagnostics();
    let Some(summary) = stream.summary() else {
        return Err(Failure::Unexpected("the answer has no summary".to_owned()));
    };
    let values = diagnostics.iter().map(answer::diagnostic_value).collect();
    let mut value = answer::summary_value(summary);
    value["sessions"] = sessions.into();
    value["incomplete_sessions"] = open.iter().map(ToString::to_string).collect();
    out.finish(values, value).map_err(Failure::Output)?;
    diagnostics.iter().for_each(|diagnostic| notes.say(answer::diagnostic_line(diagnostic)));
    if !open.is_empty() {
        let named: Vec<String> = open.iter().take(NAMED).map(ToString::to_string).collect();
        let more = if open.len() > NAMED { ", ..." } else { "" };
        notes.say(format!("{} sessions are not complete: {}{more}", open.len(), named.join(", ")));
    }
    notes.say(format!("{sessions} sessions: {}", answer::summary_line(summary)));
    match (args.strict && !summary.complete, args.fail_empty && summary.returned == 0) {
        (true, _) => Err(Failure::Incomplete),
        (_, true) => Err(Failure::Empty),
        _ => Ok(Exit::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_faulty_ones_say_what_is_expected() {
        let range = Range::read("2025-01-02..2025-03-31/5").unwrap();
        assert_eq!(
            (range.from.to_string(), range.to.to_string()),
            ("2025-01-02".into(), "2025-03-31".into())
        );
        assert_eq!((range.step, Range::read("2025-01-02..2025-03-31").unwrap().step), (5, 1));
        for bad in
            ["", "2025-01-02", "2025-01-02..", "..2025-01-02", "2025-01-02..x", "2025-01-02..2025-01-03/0"]
        {
            let Err(Failure::Usage(message)) = Range::read(bad) else { panic!("{bad}") };
            assert!(message.contains("FROM..TO"), "{message}");
        }
    }
}
