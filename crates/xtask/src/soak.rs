//! Long forms of tests that the test command runs briefly: load and faults for as long as somebody is willing to wait.

use crate::shell::{command, step};

/// How long a soak takes where nothing is said.
const SECONDS_DEFAULT: u32 = 600;

/// Which soak runs, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Soak {
    seconds: u32,
}

impl Soak {
    /// Reads the subject and the options.
    ///
    /// # Errors
    ///
    /// What cannot be read.
    pub(crate) fn read(words: &[&str]) -> Result<Self, String> {
        match words {
            ["fetch"] => Ok(Self { seconds: SECONDS_DEFAULT }),
            ["fetch", "--seconds", seconds] => {
                let seconds = seconds.parse().map_err(|_| format!("--seconds {seconds:?} is no number"))?;
                Ok(Self { seconds })
            }
            _ => Err("expected: soak fetch [--seconds N]".to_owned()),
        }
    }
}

/// Runs it.
///
/// # Errors
///
/// When something was lost, wrong or left behind.
pub(crate) fn run(soak: Soak) -> Result<(), String> {
    // Not nextest, which ends what runs for minutes. The whole workspace, so that what the tests were built with serves.
    let run = ["test", "--workspace", "--test", "soak", "--locked", "--", "--nocapture"];
    let name = format!("soak of fetching, {} s", soak.seconds);
    step(&name, command("cargo", &run).env("PANSCAN_SOAK_SECONDS", soak.seconds.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_and_the_time_are_read() {
        assert_eq!(Soak::read(&["fetch"]), Ok(Soak { seconds: SECONDS_DEFAULT }));
        assert_eq!(Soak::read(&["fetch", "--seconds", "60"]), Ok(Soak { seconds: 60 }));
        for wrong in [&["fetch", "--seconds", "x"][..], &[], &["scan"]] {
            assert!(Soak::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
