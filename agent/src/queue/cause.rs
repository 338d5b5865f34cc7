//! Distinguishes the reasons of failures, so that a work which gets further does not wait out the pause of a reason that is
//! over.
//!
//! The cause of a failed pass is what its status says: which conditions do not hold, and why. Numbers in the messages do not
//! count, because durations, versions and ports differ from try to try.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use link::bundle::Status;

/// A hash of the reason of a failure. The default stands for reasons that are not distinguished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause(pub u64);

impl From<&Status> for Cause {
    fn from(status: &Status) -> Self {
        let mut hasher = DefaultHasher::new();
        let manifests = status.resource_status.iter();
        let of_manifests = manifests.flat_map(|manifest| &manifest.conditions);
        for condition in status.conditions.iter().chain(of_manifests) {
            // `Deleting` is true as long as something is in its way, and names it.
            if condition.is_true() && condition.kind != "Deleting" {
                continue;
            }
            condition.kind.hash(&mut hasher);
            condition.reason.hash(&mut hasher);
            for character in condition.message.chars() {
                if !character.is_ascii_digit() && character != '.' {
                    character.hash(&mut hasher);
                }
            }
        }
        Self(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use link::bundle::Condition;

    use super::*;

    fn cause(status: &str, message: &str) -> Cause {
        let condition = Condition {
            kind: "Applied".into(),
            status: status.into(),
            reason: "AppliedManifestWorkFailed".into(),
            message: message.into(),
            ..Condition::default()
        };
        Cause::from(&Status {
            conditions: vec![condition],
            ..Status::default()
        })
    }

    #[test]
    fn other_texts_are_another_cause_and_other_numbers_are_not() {
        let terminating = cause("False", "namespace `a` is being terminated");
        assert_ne!(terminating, cause("False", "namespaces \"a\" not found"));
        assert_eq!(
            cause("False", "no answer after 5.01 s"),
            cause("False", "no answer after 12 s")
        );
    }

    #[test]
    fn what_holds_is_no_cause() {
        assert_eq!(cause("True", "one"), cause("True", "another"));
        assert_ne!(cause("True", "one"), cause("False", "one"));
    }
}
