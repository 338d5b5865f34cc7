//! Records a status that says something new: first it is reported, then it is written.

use link::bundle::{Condition, Status, status_hash};
use tracing::debug;

use super::Reconciler;
use crate::applier::Applier;
use crate::work::{self, Entry, StatusRecord, Store, Work, WorkId};

/// When a status is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StatusWrite {
    /// At once, with the snapshot that is to be kept.
    Now(Option<String>),
    /// The store decides: another status, or the end of the work, is about to follow.
    Later,
}

impl<S: Store, T: Applier> Reconciler<S, T> {
    /// `before` is the status as it was when the work was read.
    pub(super) async fn record_status(
        &self,
        id: &WorkId,
        entry: &Entry,
        work: &Work,
        before: Option<&StatusRecord>,
        status: Status,
        write: StatusWrite,
    ) -> Result<(), work::StoreError> {
        let version = work.head.version;
        // Of a paused work it may be about an earlier version.
        let generation = i64::from(version.get());
        let is_applied = |it: &Condition| it.is_true() && it.observed_generation == generation;
        let applied = status.condition("Applied").is_some_and(is_applied)
            && status.condition("Deleting").is_none();
        let hash = status_hash(&status);
        // The same status of another version is news: the source waits for that version's.
        let known = self.store.index().entry(id).is_some_and(|entry| {
            entry.status_hash.as_deref() == Some(hash.as_str()) && entry.status_version == version
        });
        if !known {
            let record = StatusRecord {
                version,
                hash,
                status,
                acknowledged: false,
                applied_at: applied.then(|| self.clock.now()),
            };
            self.report(id, entry, before, record).await?;
        }
        if let StatusWrite::Now(snapshot) = write {
            // Also one that could not be written before.
            let snapshot = snapshot.map(|text| (entry.epoch, text));
            self.store.write_status(id, snapshot).await?;
        }
        Ok(())
    }

    async fn report(
        &self,
        id: &WorkId,
        entry: &Entry,
        before: Option<&StatusRecord>,
        mut record: StatusRecord,
    ) -> Result<(), work::StoreError> {
        if let Some(before) = before.filter(|before| before.version == record.version) {
            record.applied_at = record
                .applied_at
                .and(before.applied_at.or(record.applied_at));
        }
        if self.store.put_status(id, entry.epoch, record).await? {
            (self.on_status)(id);
        } else {
            debug!(resource.id = %id, "Dropped a status of an older version");
        }
        Ok(())
    }
}
