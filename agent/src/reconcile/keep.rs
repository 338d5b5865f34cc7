//! Keeps a status that says something new, and passes it on: first it is told, then it is written.

use link::bundle::{Condition, Status, status_hash};
use tracing::debug;

use super::Reconciler;
use crate::applier::Applier;
use crate::work::{self, Entry, StatusRecord, Store, Work, WorkId};

/// When a status is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// At once, with what is to be kept of the look.
    Now(Option<String>),
    /// The store decides: another status, or the end of the work, is about to follow.
    Later,
}

impl<S: Store, T: Applier> Reconciler<S, T> {
    /// `before` is the status as it was when the work was read.
    pub(super) async fn keep(
        &self,
        id: &WorkId,
        entry: &Entry,
        work: &Work,
        before: Option<&StatusRecord>,
        status: Status,
        write: Write,
    ) -> Result<(), work::Error> {
        let version = work.head.version;
        // Of a paused work it may be about an earlier version.
        let generation = i64::from(version.get());
        let is_applied = |it: &Condition| it.is_true() && it.observed_generation == generation;
        let applied = status.condition("Applied").is_some_and(is_applied)
            && status.condition("Deleting").is_none();
        let hash = status_hash(&status);
        // The same words about another version are news: the source waits for that version's status.
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
            self.tell(id, entry, before, record).await?;
        }
        if let Write::Now(look) = write {
            // Also one that could not be written before.
            let look = look.map(|words| (entry.epoch, words));
            self.store.write_status(id, look).await?;
        }
        Ok(())
    }

    async fn tell(
        &self,
        id: &WorkId,
        entry: &Entry,
        before: Option<&StatusRecord>,
        mut record: StatusRecord,
    ) -> Result<(), work::Error> {
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
