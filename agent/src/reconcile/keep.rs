//! Keeps a status that says something new, and passes it on.

use link::bundle::{Condition, Status, status_hash};
use tracing::debug;

use super::Reconciler;
use crate::target::Target;
use crate::work::{self, Entry, StatusRecord, Store, Work, WorkId};

impl<S: Store, T: Target> Reconciler<S, T> {
    pub(super) async fn keep(
        &self,
        id: &WorkId,
        entry: &Entry,
        work: &Work,
        status: Status,
    ) -> Result<(), work::Error> {
        let version = work.head.version;
        let applied = status.condition("Applied").is_some_and(Condition::is_true)
            && status.condition("Deleting").is_none();
        let hash = status_hash(&status);
        // The same words about another version are news: the source waits for that version's status.
        let known = self.store.index().entry(id).is_some_and(|entry| {
            entry.status_hash.as_deref() == Some(hash.as_str()) && entry.status_version == version
        });
        if known {
            return Ok(());
        }
        let first = match self.store.reported(id).await? {
            Some((_, old)) if old.version == version => old.applied_at,
            _ => None,
        };
        let applied_at = first.or_else(|| applied.then(|| self.clock.now()));
        let record = StatusRecord {
            version,
            hash,
            status,
            acknowledged: false,
            applied_at: applied_at.filter(|_| applied),
        };
        if self.store.put_status(id, entry.epoch, record).await? {
            (self.on_status)(id);
        } else {
            debug!(resource.id = %id, "Dropped a status of an older version");
        }
        Ok(())
    }
}
