//! How a command ended that has printed its result.

use std::ffi::OsString;

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

/// Whether these words ask for exit codes that tell differences apart, as far as can be told of words that are no
/// command line: 2 means differences then, so that wrong words must not end with it.
pub fn wants_exit_code(words: impl IntoIterator<Item = OsString>) -> bool {
    let asks = |word: &[u8]| EXIT_CODE.iter().any(|flag| word.starts_with(flag));
    words.into_iter().any(|word| asks(word.as_encoded_bytes()))
}

// Every spelling of `plan --exit-code`; no other flag begins like these.
const EXIT_CODE: &[&[u8]] = &[
    b"--exit-code",
    b"--detailed-exitcode",
    b"-detailed-exitcode",
];

// Terraform's; with the same flag every failure is 1, so that it means nothing else.
const CHANGES: u8 = 2;
