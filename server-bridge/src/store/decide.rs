//! Decides about a change or a status from what the store holds. Pure, so that the engines agree: an engine reads the state
//! and executes the decision in one transaction, under a lock on the bundle's row.

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::{SequenceId, Version};

use super::history;
use super::order::{is_ahead, newer};
use super::{StatusOutcome, StatusUpdate, StoreError};

/// What the store holds of a bundle when a caller changes it.
pub(super) struct UpdateContext {
    /// Its version.
    pub(super) latest: Version,
    /// Whether it is being deleted.
    pub(super) deleting: bool,
    /// Whether metadata and content are equal to what the caller gives.
    pub(super) same: bool,
    /// Whether its version was made, or confirmed by its agent, in the present epoch.
    pub(super) known: bool,
    /// The id of the present epoch.
    pub(super) epoch: String,
}

/// The version of a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The version.
    pub(super) version: Version,
    /// Why it is not simply the next one, for the ledger.
    pub(super) jumped: Option<String>,
}

/// What the store holds of a bundle when a status of it comes.
pub(super) struct KnownBundle {
    /// The consumer it belongs to.
    pub(super) consumer: ConsumerName,
    /// Its version.
    pub(super) version: Version,
    /// Whether it is being deleted.
    pub(super) deleting: bool,
    /// When it was created.
    pub(super) created_at: Timestamp,
    /// The last sequence id taken, of this bundle or of an earlier one of the same id.
    pub(super) sequence: Option<SequenceId>,
    /// The version that the stored status describes.
    pub(super) described: Option<i64>,
    /// When that status was taken.
    pub(super) taken_at: Option<Timestamp>,
}

/// What the store remembers of a bundle that is gone.
pub(super) struct KnownTombstone {
    /// The id of what confirmed the deletion.
    pub(super) sequence: Option<SequenceId>,
    /// When that was.
    pub(super) removed_at: Timestamp,
    /// Whether that was since this store was last restored, as far as it knows: before, the bundle may have been made anew
    /// in the time that was lost.
    pub(super) counts: bool,
}

/// What is done with a status of a bundle that is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StatusDecision {
    /// Nothing.
    Leave(StatusOutcome),
    /// It is kept, and proves that the agent holds the version.
    Keep,
    /// It is kept and shown as that of a version newer than the stored one.
    KeepAhead,
    /// The bundle is removed and remembered.
    Remove,
}

// === impl UpdateContext ===

impl UpdateContext {
    /// The version of the change; `None` when it changes nothing.
    ///
    /// # Errors
    /// The refusals of [`super::Store::update_bundle`] for a bundle that is there.
    pub(super) fn next(
        &self,
        id: &str,
        expected: Option<Version>,
    ) -> Result<Option<Next>, StoreError> {
        let id = || id.to_owned();
        if self.deleting {
            return Err(StoreError::BundleDeleting { id: id() });
        }
        match expected {
            Some(expected) if expected != self.latest => Err(StoreError::VersionConflict {
                id: id(),
                expected,
                latest: self.latest,
            }),
            _ if self.same => Ok(None),
            _ => match self.after_latest() {
                Some(next) => Ok(Some(next)),
                None => Err(StoreError::VersionExhausted { id: id() }),
            },
        }
    }

    fn after_latest(&self) -> Option<Next> {
        if self.known {
            let version = self.latest.next()?;
            let jumped = None;
            return Some(Next { version, jumped });
        }
        let (version, why) = history::jump(self.latest, &self.epoch)?;
        let jumped = Some(why);
        Some(Next { version, jumped })
    }
}

// === impl KnownBundle ===

impl KnownBundle {
    /// Checks in the order of [`super::Store::apply_status`].
    pub(super) fn decide(&self, update: &StatusUpdate) -> StatusDecision {
        if self.consumer != update.consumer {
            return StatusDecision::Leave(StatusOutcome::WrongConsumer {
                expected: self.consumer.clone(),
            });
        }
        let stored = self.version;
        let late = self.late(update);
        // What is known of a newer version counts, whatever came with an older one.
        let counts = self
            .described
            .is_some_and(|version| version < i64::from(update.version.get()));
        let stale = if counts { None } else { late.clone() };
        if update.deleted && !self.deleting {
            return StatusDecision::Leave(stale.unwrap_or(StatusOutcome::NotDeleting));
        }
        // A late word about an earlier bundle of this id says nothing about this one.
        if update.version > stored && (late.is_none() || self.repeats(update)) {
            return match update.version.next() {
                _ if !update.deleted => StatusDecision::KeepAhead,
                Some(_) => StatusDecision::Leave(StatusOutcome::Ahead { stored }),
                // No version above it is left to delete with, and the cluster holds nothing any more.
                None => StatusDecision::Remove,
            };
        }
        if update.version != stored {
            return StatusDecision::Leave(StatusOutcome::StaleVersion { stored });
        }
        match stale {
            Some(stale) => StatusDecision::Leave(stale),
            None if update.deleted => StatusDecision::Remove,
            None => StatusDecision::Keep,
        }
    }

    /// Whether it is the very status of a newer version that is kept: it came twice, or something failed after it was kept.
    fn repeats(&self, update: &StatusUpdate) -> bool {
        self.sequence == Some(update.sequence_id)
            && self.described == Some(i64::from(update.version.get()))
    }

    fn late(&self, update: &StatusUpdate) -> Option<StatusOutcome> {
        let stored = self.sequence?;
        // Without a status it is the last id of an earlier bundle of this id.
        let stored_at = self.taken_at.unwrap_or(self.created_at);
        // Nothing from the future keeps a deletion from being confirmed.
        let newer = newer(update.sequence_id, update.at, stored, stored_at)
            || (update.deleted && self.deleting && is_ahead(stored, stored_at));
        (!newer).then_some(StatusOutcome::StaleSequence { stored })
    }
}

/// What a status of another consumer's bundle means when its own consumer had one of that id before: `earlier` is what it
/// would mean if there were none now.
pub(super) fn of_earlier(wrong: StatusOutcome, earlier: StatusOutcome) -> StatusOutcome {
    match earlier {
        StatusOutcome::DeletedHere => earlier,
        _ => wrong,
    }
}

// === impl KnownTombstone ===

impl KnownTombstone {
    /// What a status of a bundle that is gone means, and whether it renews what is remembered: a late word, or a sign
    /// that the agent holds again what was deleted. What does not count is like nothing: it deletes nothing.
    pub(super) fn decide(&self, update: &StatusUpdate) -> (StatusOutcome, bool) {
        let late = self
            .sequence
            .is_some_and(|stored| !newer(update.sequence_id, update.at, stored, self.removed_at));
        if late || !self.counts {
            (StatusOutcome::UnknownBundle, false)
        } else if update.deleted {
            // Deleted once more: what it said before this is not to be taken for a sign of life.
            (StatusOutcome::UnknownBundle, true)
        } else {
            (StatusOutcome::DeletedHere, false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Json;
    use super::*;

    fn version(number: i64) -> Version {
        Version::new(number).unwrap()
    }

    fn next(latest: i64, known: bool, same: bool) -> Option<(i32, bool)> {
        let changing = UpdateContext {
            latest: version(latest),
            deleting: false,
            same,
            known,
            epoch: "00000000-".into(),
        };
        let next = changing.next("b", Some(version(latest))).ok().flatten()?;
        Some((next.version.get(), next.jumped.is_some()))
    }

    fn decided(held: i64, deleting: bool, deleted: bool, step: u16) -> StatusDecision {
        let at = Timestamp::from_second(1_780_000_000).unwrap();
        let consumer = ConsumerName::new("c1").unwrap();
        let reported = KnownBundle {
            consumer: consumer.clone(),
            version: version(3),
            deleting,
            created_at: at,
            sequence: Some(SequenceId::from_parts(at, 1, 5)),
            described: Some(7),
            taken_at: Some(at),
        };
        reported.decide(&StatusUpdate {
            bundle_id: "b".into(),
            consumer,
            version: version(held),
            sequence_id: SequenceId::from_parts(at, 1, step),
            status_hash: None,
            payload: Json::trusted("{}".to_owned()),
            metadata: None,
            deleted,
            received_at: None,
            applied_at: None,
            at,
        })
    }

    #[test]
    fn only_a_change_of_an_unconfirmed_version_jumps() {
        assert_eq!(next(3, true, false), Some((4, false)));
        assert_eq!(next(3, false, false), Some((1_003, true)));
        assert_eq!(next(3, false, true), None);
        let last = i64::from(i32::MAX);
        assert_eq!(next(last - 1, false, false), Some((i32::MAX, true)));
        assert_eq!(next(last, false, false), None);
    }

    #[test]
    fn a_newer_version_is_heard_once_whether_the_bundle_is_being_deleted_or_not() {
        let stored = version(3);
        let ahead = StatusDecision::Leave(StatusOutcome::Ahead { stored });
        let stale = StatusDecision::Leave(StatusOutcome::StaleVersion { stored });
        for deleting in [false, true] {
            assert_eq!(decided(7, deleting, false, 6), StatusDecision::KeepAhead);
            // The very one that is kept, and one of before it.
            assert_eq!(decided(7, deleting, false, 5), StatusDecision::KeepAhead);
            assert_eq!(decided(8, deleting, false, 4), stale);
        }
        assert_eq!(decided(7, true, true, 6), ahead);
        // Nothing above it can be sent, and nothing is left there.
        assert_eq!(
            decided(i64::from(i32::MAX), true, true, 6),
            StatusDecision::Remove
        );
        let not_asked_for = StatusDecision::Leave(StatusOutcome::NotDeleting);
        assert_eq!(decided(7, false, true, 6), not_asked_for);
    }
}
