//! Why a bundle could not be published, by what the ledger says, and when it is tried again.
//!
//! The ledger keeps the words of the failure (`delivery/lane/failure.rs`), which every replica can read; a test makes each of
//! them anew, so that they are recognised for as long as they are written.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::words;
use crate::delivery::pause_after;
use crate::store::{Content, LedgerEntry};

/// Why it was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The message breaks a limit.
    TooLarge,
    /// The broker ends the connection whenever it gets it.
    EndsConnection,
    /// The policy does not allow it.
    Denied,
    /// Over a quota of the broker.
    OverQuota,
    /// The broker refused it with this reason code.
    Refused(u8),
    /// The session ended first.
    Closed,
    /// Something else.
    Other,
}

// === impl Cause ===

impl Cause {
    pub(super) fn of(failure: &str) -> Self {
        let holds = |phrase| failure.contains(phrase);
        if let Some(code) = reason_code(failure) {
            return match code {
                0x87 => Self::Denied,
                0x97 => Self::OverQuota,
                0x95 => Self::TooLarge,
                code => Self::Refused(code),
            };
        }
        if holds("it does not fit: ") || holds(" breaks a limit") {
            Self::TooLarge
        } else if holds(" ends the connection each time") {
            Self::EndsConnection
        } else if holds("the session was shut down") {
            Self::Closed
        } else {
            Self::Other
        }
    }

    /// Whether the message is at fault, which is tried again once an hour.
    pub(super) fn is_the_message_s(self, failure: &str) -> bool {
        match self {
            // A refusal of the broker is not known to be for ever.
            Self::TooLarge => reason_code(failure).is_none(),
            Self::EndsConnection => true,
            _ => false,
        }
    }

    /// What would move it.
    pub(super) fn next(self, topic: &str) -> String {
        match self {
            Self::TooLarge => "split the bundle, or make its largest objects smaller; a new version is tried at once".into(),
            Self::EndsConnection => {
                "look at the broker's log for why it ends the connection; change or delete the bundle: a new version is tried at once".into()
            }
            Self::Denied => format!(
                "allow `iot:Publish` on `topic/{topic}` in the policy of the bridge's certificate (MQ331); edits of a policy take minutes"
            ),
            Self::OverQuota => {
                "wait: it is tried again. Where it goes on, look at `PublishIn.Throttle` in CloudWatch (MQ333), and raise the quota or --connections".into()
            }
            Self::Refused(_) => "look at the broker's log for why it refuses; it is tried again".into(),
            Self::Closed => "nothing: it is sent by the bridge that runs next".into(),
            Self::Other => "look at the log of the bridge that owns the consumer; it is tried again".into(),
        }
    }
}

/// When it is tried again, unless it may go at once before that: a new version may be the cure, and a lane that gets one
/// bundle through lets the others try.
pub(super) fn next_try(entry: &LedgerEntry, cause: Cause, failure: &str) -> Option<Timestamp> {
    let pause = pause_after(entry.attempts.max(1), cause.is_the_message_s(failure));
    let pause = SignedDuration::try_from(pause).ok()?;
    entry.failed_at?.checked_add(pause).ok()
}

/// The largest objects of a bundle with their bytes, as a phrase; nothing of one object.
pub(super) fn largest(content: &Content) -> String {
    let Value::Array(manifests) = content.manifests.to_value() else {
        return String::new();
    };
    let mut sizes: Vec<(usize, String)> = manifests
        .iter()
        .map(|manifest| (manifest.to_string().len(), words::manifest(manifest)))
        .collect();
    sizes.sort_by_key(|(bytes, _)| Reverse(*bytes));
    let shown: Vec<String> = sizes
        .iter()
        .take(SHOWN)
        .map(|(bytes, object)| format!("{object} {bytes} bytes"))
        .collect();
    let of = match sizes.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} smaller ones"),
    };
    format!(
        "the payload has {} bytes, the largest objects are {}{of}",
        content.payload_len(),
        shown.join(", ")
    )
}

/// The reason code that the broker gave, as `(0x87)` at the end.
fn reason_code(failure: &str) -> Option<u8> {
    let (_, code) = failure.rsplit_once("(0x")?;
    u8::from_str_radix(code.get(..2)?, 16).ok()
}

const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use link::error::chain;
    use link::iot::limits::LimitError;
    use link::mqtt::PublishError;

    use super::*;

    #[test]
    fn each_failure_that_a_lane_notes_is_recognised() {
        let limit = || LimitError::Payload {
            bytes: 200_000,
            limit: 131_072,
        };
        let topic = || "t".to_owned();
        let refused = |code, reason| PublishError::Refused {
            topic: topic(),
            code,
            reason,
        };
        let known = |error: PublishError| {
            let text = chain(&error);
            let cause = Cause::of(&text);
            (cause, cause.is_the_message_s(&text))
        };
        let misfit = format!("it does not fit: {}", chain(&limit()));
        assert_eq!(Cause::of(&misfit), Cause::TooLarge);
        assert!(Cause::TooLarge.is_the_message_s(&misfit));
        let source = limit();
        let topic_of = topic();
        for (error, expected, own) in [
            (
                PublishError::Limit {
                    topic: topic_of,
                    source,
                },
                Cause::TooLarge,
                true,
            ),
            (refused(0x87, "not authorized"), Cause::Denied, false),
            (refused(0x97, "quota exceeded"), Cause::OverQuota, false),
            (
                refused(0x83, "implementation specific error"),
                Cause::Refused(0x83),
                false,
            ),
            (
                PublishError::Poison {
                    topic: topic(),
                    reason: "it closed the connection".into(),
                },
                Cause::EndsConnection,
                true,
            ),
            (PublishError::Closed, Cause::Closed, false),
        ] {
            assert_eq!(known(error), (expected, own));
        }
    }
}
