//! Classifies why a bundle was not published.

use link::error::{Hint, chain};
use link::iot::limits::LimitError;
use link::mqtt::PublishError;

/// Why a bundle did not go out.
pub(super) enum Failure {
    /// It does not fit, which was found before it was handed to the session.
    Misfit(LimitError),
    /// The session or the broker refused it.
    Publish(PublishError),
}

// === impl Failure ===

impl Failure {
    /// For counting.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Misfit(_) => "limit",
            Self::Publish(PublishError::Limit { .. } | PublishError::Poison { .. }) => "limit",
            Self::Publish(error) if error.is_retryable() => "retried",
            Self::Publish(_) => "refused",
        }
    }

    /// Whether the message is at fault, not its consumer or the connection.
    pub(super) fn is_the_message_s(&self) -> bool {
        self.outcome() == "limit"
    }

    /// For the ledger and the log.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Misfit(misfit) => format!("it does not fit: {}", chain(misfit)),
            Self::Publish(error) => chain(error),
        }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Misfit(misfit) => misfit.hint(),
            Self::Publish(error) => error.hint(),
        }
    }
}
