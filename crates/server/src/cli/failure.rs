//! Why a command did not do its work, and the exit code that says so.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use panscan_client::ClientError;
use panscan_core::Kind;
use panscan_proto::kind;
use panscan_sim::SimError;

use super::exit::Exit;
use crate::app::AppError;
use crate::bench::BenchError;
use crate::config::{Origin, Problem};

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Flags that do not fit together, or a value of theirs that cannot be read.
    #[error("{0}")]
    Usage(String),
    /// The contract names it and this build lacks it.
    #[error("{0} is not in this build")]
    Absent(String),
    /// Everything that is wrong with the configuration.
    #[error("{}", listed(.0))]
    Config(Vec<Problem>),
    /// A server, on the way to it or in its answer.
    #[error("{}{}", .0, remedy(.0))]
    Client(#[from] ClientError),
    /// A server's status, from a call that the client crate has no method for.
    #[error("{message}")]
    Refused {
        /// What can be done about it.
        kind: Kind,
        /// In words.
        message: String,
    },
    /// Something did not come in time.
    #[error("{what} did not come within {timeout:?}; give it more time with --timeout")]
    Deadline {
        /// What.
        what: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// `--strict`, and the answer is not complete.
    #[error("the answer is not complete")]
    Incomplete,
    /// `--fail-empty`, and no row matched.
    #[error("no row matched")]
    Empty,
    /// The service did not start.
    #[error(transparent)]
    App(#[from] AppError),
    /// A suite was not measured.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// Slower than an earlier run, by more than is allowed.
    #[error("slower than allowed:\n{0}")]
    Slower(String),
    /// The simulator.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// A file or folder.
    #[error("cannot {what}: {source}")]
    File {
        /// What was tried, with the path.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Standard output cannot be written. A closed pipe is no failure; see [`Failure::exit`].
    #[error("cannot write to stdout: {0}")]
    Output(#[source] io::Error),
    /// Something that should not happen.
    #[error("{0}")]
    Unexpected(String),
}

impl Failure {
    /// A file or folder that could not be read or written.
    pub fn file(verb: &str, path: &Path, source: io::Error) -> Self {
        Self::File { what: format!("{verb} {}", path.display()), source }
    }

    /// What a status says.
    pub fn status(status: &tonic::Status) -> Self {
        let told = kind::read(status);
        let message = if told.message.is_empty() { told.reason } else { told.message };
        let faults = told.details.expressions.iter().map(|fault| format!("\n{fault}"));
        Self::Refused { kind: told.kind, message: message + &faults.collect::<String>() }
    }

    /// A connection that was not made.
    pub fn unreachable(address: &str, error: &tonic::transport::Error) -> Self {
        Self::Refused { kind: Kind::Upstream, message: format!("cannot connect to {address}: {error}") }
    }

    /// The exit code that says so.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Absent(_) => Exit::Usage,
            Self::Config(problems) if problems.iter().all(|p| p.origin == Origin::Flag) => Exit::Usage,
            Self::Config(_) | Self::File { .. } => Exit::Config,
            Self::Client(ClientError::Setting { .. }) => Exit::Usage,
            // It starts, or waits for its provider.
            Self::Client(error) if error.report().is_some_and(|r| r.reason == "NO_SNAPSHOT") => {
                Exit::Unreachable
            }
            Self::Client(error) => Exit::of(error.kind()),
            Self::Refused { kind, .. } => Exit::of(*kind),
            Self::Deadline { .. } => Exit::Deadline,
            Self::Incomplete | Self::Slower(_) => Exit::Incomplete,
            Self::Bench(BenchError::NoSuite { .. }) => Exit::Usage,
            Self::Bench(BenchError::Plan(_)) => Exit::Invalid,
            Self::Empty => Exit::Empty,
            // What a server lacks at its start is configuration: a port, a folder, a file.
            Self::App(error) => match Exit::of(error.kind()) {
                Exit::Invalid => Exit::Config,
                exit => exit,
            },
            Self::Sim(SimError::Setting { .. }) => Exit::Usage,
            Self::Sim(SimError::Bind { .. } | SimError::File { .. } | SimError::Data { .. }) => Exit::Config,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Bench(_) | Self::Sim(_) | Self::Output(_) | Self::Unexpected(_) => Exit::Failure,
        }
    }

    /// What is printed; nothing where the reader of stdout went away.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        (self.exit() != Exit::Done).then(|| self.to_string())
    }
}

/// What to do where the error itself does not say so.
fn remedy(error: &ClientError) -> &'static str {
    match error {
        ClientError::Connect { .. } => {
            " Start it with `panscan serve`, name another with --server or PANSCAN_SERVER, or scan in this process with --local."
        }
        _ => "",
    }
}

fn listed(problems: &[Problem]) -> String {
    if let [problem] = problems {
        return format!("the configuration is invalid: {problem}");
    }
    let mut text = format!("the configuration is invalid; {} problems:", problems.len());
    for problem in problems {
        let _ = write!(text, "\n  {problem}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(origin: Origin) -> Problem {
        Problem { name: "X".into(), origin, message: "wrong".into() }
    }

    #[test]
    fn failures_end_with_their_codes() {
        let pipe = Failure::Output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((pipe.exit(), pipe.message()), (Exit::Done, None));
        let full = Failure::Output(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit(), Exit::Failure);
        assert_eq!(Failure::Config(vec![problem(Origin::Flag)]).exit(), Exit::Usage);
        assert_eq!(Failure::Config(vec![problem(Origin::Flag), problem(Origin::Env)]).exit(), Exit::Config);
        assert_eq!(Failure::Absent("keys".into()).to_string(), "keys is not in this build");
    }

    #[test]
    fn all_problems_are_in_the_message() {
        let text = Failure::Config(vec![problem(Origin::Env), problem(Origin::File)]).to_string();
        assert_eq!(text, "the configuration is invalid; 2 problems:\n  X: wrong\n  X: wrong");
    }
}
