//! Why a child of a test could not be started or did not do what was expected of it.

use std::io;
use std::process::ExitStatus;

use crate::wait::TimedOut;

/// A child could not be started or observed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program is not there.
    #[error("`{program}` is not there: {remedy}")]
    Missing {
        /// The program that was looked for.
        program: String,
        /// The command that brings it.
        remedy: &'static str,
    },
    /// The operating system refused something.
    #[error("{operation} `{label}`")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The child's label.
        label: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It ended while something was expected of it.
    #[error("`{label}` ended with {status} before {expected}; its output:\n{output}")]
    Ended {
        /// The child's label.
        label: String,
        /// How it ended.
        status: ExitStatus,
        /// What was expected.
        expected: String,
        /// The tail of its output.
        output: String,
    },
    /// It did not do something in time.
    #[error("`{label}` was too slow; the tail of its output:\n{output}")]
    Slow {
        /// The child's label.
        label: String,
        /// The tail of its output.
        output: String,
        /// What was waited for.
        #[source]
        source: TimedOut,
    },
}
