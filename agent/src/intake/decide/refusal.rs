//! Why an event is refused, from a closed set, with a sentence for the log.

use super::Decision;
use crate::received::RefusalReason;

/// Why an event was refused, with a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For counting.
    pub reason: RefusalReason,
    /// For reading.
    pub explanation: String,
}

pub(super) fn refuse<T>(reason: RefusalReason, explanation: String) -> Result<T, Refused> {
    Err(Refused {
        reason,
        explanation,
    })
}

pub(super) fn refused(reason: RefusalReason, explanation: String) -> Decision {
    Decision::Refuse(Refused {
        reason,
        explanation,
    })
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
