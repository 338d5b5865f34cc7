//! How errors are shown to people: the chain of causes is printed once, with a hint for the next step.
//!
//! Library errors are `thiserror` enums whose `Display` names the operation and the object but never the
//! source; [`chain`] joins the sources. Where a person reads the outcome it is a [`Failure`].

use std::error::Error;
use std::fmt;

mod system;

/// An error that can say what to do next.
pub trait Hint: Error {
    /// The next step for a person, as one imperative sentence without a final period.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Joins an error and its sources with `: `, outermost first.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Some libraries repeat their source in their own text; it is printed once.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// How a command ended when it did not succeed; the exit code a script sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// The operation was tried and failed (exit code 1).
    Failed,
    /// The command line or the configuration is wrong; nothing was tried (exit code 2).
    Usage,
    /// The other side did not answer before the deadline (exit code 3).
    Timeout,
    /// The other side answered and refused: authentication, policy or protocol (exit code 4).
    Refused,
}

impl ExitKind {
    /// The process exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Timeout => 3,
            Self::Refused => 4,
        }
    }
}

/// An error on its way to a person: exit kind, error with its chain, and a hint.
#[derive(Debug)]
pub struct Failure {
    kind: ExitKind,
    error: Box<dyn Error + Send + Sync + 'static>,
    hint: Option<String>,
}

// === impl Failure ===

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: ExitKind, error: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        let error = error.into();
        let hint = system::hint(error.as_ref()).map(str::to_owned);
        Self { kind, error, hint }
    }

    /// The operation was tried and failed; the hint is the error's own, unless the system has run out of something.
    pub fn failed(error: impl Hint + Send + Sync + 'static) -> Self {
        let hint = error.hint();
        Self::new(ExitKind::Failed, error).or_hint(hint)
    }

    /// The command line or configuration is wrong.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        Self::new(ExitKind::Usage, error)
    }

    /// The command line or configuration is wrong; the hint is the error's own, unless the system has run out of
    /// something.
    pub fn misuse(error: impl Hint + Send + Sync + 'static) -> Self {
        let hint = error.hint();
        Self::new(ExitKind::Usage, error).or_hint(hint)
    }

    /// Replaces the hint when one is given.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        if let Some(hint) = hint.into() {
            self.hint = Some(hint);
        }
        self
    }

    /// Gives a hint where there is none yet.
    fn or_hint(mut self, hint: Option<String>) -> Self {
        self.hint = self.hint.or(hint);
        self
    }

    /// The error itself, if it is of this type.
    pub fn cause<E: Error + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }

    /// The exit kind.
    pub fn kind(&self) -> ExitKind {
        self.kind
    }

    /// The next step, if one is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.error.as_ref()))
    }
}

impl<E: Hint + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read `a.yaml`")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("permission denied")]
    struct Inner;

    impl Hint for Outer {
        fn hint(&self) -> Option<String> {
            Some("run `chmod +r a.yaml`".into())
        }
    }

    #[test]
    fn failure_prints_the_chain_once_and_keeps_the_hint() {
        let failure = Failure::from(Outer(Inner));
        assert_eq!(failure.to_string(), "read `a.yaml`: permission denied");
        assert_eq!(failure.hint(), Some("run `chmod +r a.yaml`"));
        assert_eq!(failure.kind().code(), 1);
    }
}
