//! How far a long job is, on stderr: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::output::Notes;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The job that is followed.
pub(super) struct Steps {
    what: &'static str,
    bar: Option<ProgressBar>,
    said: Option<Instant>,
}

impl Steps {
    /// Runs a job that tells its steps.
    pub(super) fn follow<T>(what: &'static str, job: impl FnOnce(&mut dyn FnMut(u64, u64)) -> T) -> T {
        let mut steps = Self::new(what);
        let done = job(&mut |done, total| steps.show(done, total));
        steps.end();
        done
    }

    /// Nothing is said before the first step.
    pub(super) fn new(what: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            // A template that cannot be read leaves the plain bar.
            if let Ok(style) =
                ProgressStyle::with_template("  {msg} {wide_bar:.cyan} {pos}/{len}, {eta} left")
            {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar
        });
        Self { what, bar, said: None }
    }

    /// So many steps are done.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        } else if done == total || self.said.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            self.said = Some(Instant::now());
            Notes::new(false).say(format_args!("{}: {done} of {total}", self.what));
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
