//! Exit codes, as scripts read them.

use panscan_core::Kind;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, partial answers included unless `--strict`.
    Done = 0,
    /// Unexpected failure.
    Failure = 1,
    /// Wrong usage of flags.
    Usage = 2,
    /// The scan or an expression is invalid.
    Invalid = 3,
    /// `--strict`: the answer is not complete; `bench --compare`: slower than allowed.
    Incomplete = 4,
    /// Server or provider cannot be reached.
    Unreachable = 5,
    /// Deadline passed.
    Deadline = 6,
    /// Not authenticated or not permitted.
    Denied = 7,
    /// Quota, queue or rate budget exhausted.
    Exhausted = 8,
    /// Configuration invalid; port in use; folder or file that cannot be read or written.
    Config = 9,
    /// `check`: at least one fail.
    CheckFailed = 10,
    /// `--fail-empty`: no row matched.
    Empty = 11,
    /// Interrupted; the second Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The end that suits an error of a server or provider.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::BadRequest
            | Kind::NotFound
            | Kind::AlreadyExists
            | Kind::Conflict
            | Kind::Precondition
            | Kind::OutOfRange
            | Kind::Unimplemented => Self::Invalid,
            Kind::Busy => Self::Exhausted,
            Kind::Timeout => Self::Deadline,
            Kind::Upstream => Self::Unreachable,
            Kind::Unauthenticated | Kind::Denied => Self::Denied,
            // Kinds are added with care; an unknown one is unexpected here.
            _ => Self::Failure,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_end_with_their_codes() {
        for (kind, code) in [
            (Kind::BadRequest, 3),
            (Kind::Unimplemented, 3),
            (Kind::Upstream, 5),
            (Kind::Timeout, 6),
            (Kind::Denied, 7),
            (Kind::Unauthenticated, 7),
            (Kind::Busy, 8),
            (Kind::Internal, 1),
        ] {
            assert_eq!(Exit::of(kind).code(), code, "{kind:?}");
        }
        assert_eq!(Exit::Interrupted.code(), 130);
    }
}
