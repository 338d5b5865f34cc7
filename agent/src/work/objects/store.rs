//! Works in a cluster as a [`Store`].

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{TryStreamExt as _, stream};
use jiff::Timestamp;
use link::order::SequenceId;
use tokio::sync::mpsc;

use super::Objects;
use crate::change::Change;
use crate::work::{
    Head, StatusRecord, Store, StoreError, Stored, StoredSnapshot, Work, WorkId, WorkIndex,
};
use crate::work_id::object_name;

impl Store for Objects {
    fn index(&self) -> &WorkIndex {
        &self.0.index
    }

    async fn commit(&self, works: Arc<Vec<Work>>) -> Result<(), StoreError> {
        stream::iter(works.iter().map(Ok))
            .try_for_each_concurrent(COMMITS, |work| self.0.commit(work))
            .await
    }

    async fn read(&self, id: &WorkId) -> Result<Option<Stored>, StoreError> {
        let _lock = self.0.locks.of(id).await;
        self.0.load_one(id).await
    }

    async fn reported(&self, id: &WorkId) -> Result<Option<(Head, StatusRecord)>, StoreError> {
        // What is at hand does not wait for a write of it that is under way.
        let cached = self.0.cache().get(id).cloned();
        let stored = match cached {
            Some(stored) => Some(stored),
            None => self.read(id).await?,
        };
        let pending = self.0.pending.get(id);
        Ok(stored.and_then(|stored| Some((stored.work.head, pending.or(stored.record)?))))
    }

    async fn put_status(
        &self,
        id: &WorkId,
        epoch: u64,
        record: StatusRecord,
    ) -> Result<bool, StoreError> {
        Ok(self.0.note_status(id, epoch, record).await)
    }

    async fn write_status(
        &self,
        id: &WorkId,
        snapshot: Option<(u64, String)>,
    ) -> Result<(), StoreError> {
        self.0.write_status(id, snapshot).await
    }

    fn take_snapshots(&self) -> HashMap<WorkId, StoredSnapshot> {
        self.0.snapshots.take()
    }

    async fn acknowledge(&self, id: &WorkId, record: StatusRecord) -> Result<(), StoreError> {
        let news = self.0.index.update(id, |entry| {
            let newest = entry.status_hash.as_deref() == Some(record.hash.as_str())
                && entry.status_version == record.version;
            let news = newest && !entry.acknowledged;
            entry.acknowledged |= newest;
            news
        });
        if news == Some(true) {
            self.0.journal.touch();
        }
        Ok(())
    }

    fn keeps_payloads(&self) -> bool {
        true
    }

    fn may_hold(&self, id: &WorkId) -> bool {
        self.0.strays().contains(&object_name(id))
    }

    async fn remove(&self, id: &WorkId) -> Result<(), StoreError> {
        self.0.remove(id).await
    }

    async fn next_sequence(&self, now: Timestamp) -> Result<SequenceId, StoreError> {
        self.0.journal.next(now, || self.0.notes()).await
    }

    async fn watch(&self, changes: mpsc::Sender<Change>) {
        tokio::join!(
            self.0.watch_works(&changes),
            self.0.watch_journal(&changes),
            self.0.keep_journal(),
            self.0.keep_statuses(),
            Box::pin(self.0.await_names())
        );
    }
}

// What an API server takes from one client without queueing, and some times what hides the latency of etcd.
const COMMITS: usize = 16;
