//! Kills a process that writes a store, damages what it leaves, and looks at what comes back. The harness itself is a test
//! of the engine's package, which runs briefly with all others; here it runs for as many kills as wanted.

use crate::shell::{command, step};

/// Kills where nothing is said.
const KILLS_DEFAULT: u32 = 500;

/// How often is killed, and which random numbers decide when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crash {
    kills: u32,
    seed: u64,
}

impl Crash {
    /// Reads `[--kills N] [--seed N]`.
    ///
    /// # Errors
    ///
    /// What cannot be read.
    pub(crate) fn read(words: &[&str]) -> Result<Self, String> {
        let mut crash = Self { kills: KILLS_DEFAULT, seed: 1 };
        for pair in words.chunks(2) {
            let [option, number] = pair else { return Err(format!("{} needs a number", pair[0])) };
            let wrong = |_| format!("{option} {number:?} is no number");
            match *option {
                "--kills" => crash.kills = number.parse().map_err(wrong)?,
                "--seed" => crash.seed = number.parse().map_err(wrong)?,
                _ => return Err(format!("unknown option {option:?} of crash")),
            }
        }
        Ok(crash)
    }
}

/// Runs it.
///
/// # Errors
///
/// When something was lost, wrong or not noticed.
pub(crate) fn run(crash: Crash) -> Result<(), String> {
    // Not nextest, which ends what runs for minutes. The whole workspace, so that what the tests were built with serves.
    let run = ["test", "--workspace", "--test", "crash", "--locked", "--", "--nocapture"];
    let mut cargo = command("cargo", &run);
    cargo.env("PANSCAN_CRASH_KILLS", crash.kills.to_string());
    cargo.env("PANSCAN_CRASH_SEED", crash.seed.to_string());
    step(&format!("{} kills of a store that is written", crash.kills), &mut cargo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_and_seed_are_read() {
        assert_eq!(Crash::read(&[]), Ok(Crash { kills: KILLS_DEFAULT, seed: 1 }));
        assert_eq!(Crash::read(&["--seed", "7", "--kills", "25"]), Ok(Crash { kills: 25, seed: 7 }));
        for wrong in [&["--kills"][..], &["--kills", "x"], &["25"], &["--force", "1"]] {
            assert!(Crash::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
