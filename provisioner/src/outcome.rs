//! How a command ended that has printed its result.

use link::cli::Exit;
use link::error::ExitKind;

/// How a command ended that has printed its result; a [`link::error::Failure`] is printed by `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// Done (exit code 0).
    Done,
    /// `plan --exit-code` found differences (exit code 2, as Terraform's `-detailed-exitcode`).
    Changes,
    /// Otherwise, with the exit code of this kind.
    Ended(ExitKind),
}

// === impl CommandOutcome ===

impl CommandOutcome {
    /// The outcome of a command that succeeds unless `kind` says otherwise.
    pub(crate) fn of(kind: Option<ExitKind>) -> Self {
        kind.map_or(Self::Done, Self::Ended)
    }
}

impl Exit for CommandOutcome {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Changes => CHANGES,
            Self::Ended(kind) => kind.code(),
        }
    }
}

// Terraform's; with the same flag every failure is 1, so that it means nothing else.
const CHANGES: u8 = 2;
