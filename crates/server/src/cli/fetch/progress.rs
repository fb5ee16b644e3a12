//! How far a fetch has come, on stderr: a bar on a terminal, elsewhere a line every few seconds.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::warm::Warmed;

/// Time from one line to the next.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows it.
pub(super) enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// Elsewhere; with the time of the last line.
    Lines(Option<Instant>),
    /// With `--quiet`.
    Nothing,
}

impl Progress {
    /// As stderr is.
    pub(super) fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Nothing;
        }
        if !io::stderr().is_terminal() {
            return Self::Lines(None);
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        // A template that cannot be read leaves the plain bar.
        if let Ok(style) = ProgressStyle::with_template("{wide_bar:.cyan} {pos}/{len} cells, {msg}") {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// Shows this.
    pub(super) fn show(&mut self, warmed: &Warmed) {
        if warmed.cells_total == 0 {
            return;
        }
        let rest = format!("{} calls, {}", warmed.calls, left(warmed.remaining));
        match self {
            Self::Bar(bar) => {
                bar.set_length(warmed.cells_total);
                bar.set_position(warmed.cells_done);
                bar.set_message(rest);
            }
            Self::Lines(said) if said.is_none_or(|at| at.elapsed() >= LINE_EVERY) => {
                *said = Some(Instant::now());
                let (done, total) = (warmed.cells_done, warmed.cells_total);
                // Where stderr is gone there is nobody to tell.
                drop(writeln!(io::stderr().lock(), "fetching: {done} of {total} cells, {rest}"));
            }
            Self::Lines(_) | Self::Nothing => {}
        }
    }

    /// Lets something else be said without tearing the bar.
    pub(super) fn aside(&self, say: impl FnOnce()) {
        match self {
            Self::Bar(bar) => bar.suspend(say),
            Self::Lines(_) | Self::Nothing => say(),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// A time that is left, as roughly as it is known.
fn left(span: Duration) -> String {
    match span.as_secs() {
        0 => "done in a moment".to_owned(),
        seconds @ 1..120 => format!("about {seconds} s left"),
        seconds @ 120..7_200 => format!("about {} min left", seconds.div_ceil(60)),
        seconds => format!("about {} h left", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_left_is_rough() {
        let said = [0, 5, 119, 120, 121, 7_200, 90_000].map(|s| left(Duration::from_secs(s)));
        let words = [
            "done in a moment",
            "about 5 s left",
            "about 119 s left",
            "about 2 min left",
            "about 3 min left",
        ];
        assert_eq!(said[..5], words);
        assert_eq!(said[5..], ["about 2 h left", "about 25 h left"]);
    }
}
