//! Words for people on stderr: diagnostics, timing. Silent with `--quiet`; where stderr is gone, nobody is
//! told and the work goes on.

use std::fmt;
use std::io::{self, Write as _};

/// Writes to stderr, or nowhere.
#[derive(Debug, Clone, Copy)]
pub struct Notes {
    quiet: bool,
}

impl Notes {
    /// Speaks unless `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// One line.
    pub fn say(self, line: impl fmt::Display) {
        if !self.quiet {
            drop(writeln!(io::stderr().lock(), "{line}"));
        }
    }
}
