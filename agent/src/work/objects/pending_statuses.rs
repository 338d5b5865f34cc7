//! Statuses that are not written to their objects yet: a status is reported from memory, and written when it matters.
//!
//! A work that is being removed is usually gone before anybody could read its status, so those statuses wait a moment for
//! the end of the work. A status that is lost with the process is judged again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::error::chain;
use tokio::time::Instant;
use tracing::warn;

use super::super::{StatusRecord, StoreError, WorkId};
use super::remote::optional;
use super::{Inner, record};
use crate::work_id::object_name;

/// Statuses that are not in their objects yet.
#[derive(Debug, Default)]
pub(super) struct PendingStatuses(Mutex<HashMap<WorkId, (StatusRecord, Instant)>>);

// === impl PendingStatuses ===

impl PendingStatuses {
    pub(super) fn note(&self, id: &WorkId, record: StatusRecord) {
        let now = Instant::now();
        self.all()
            .entry(id.clone())
            .and_modify(|(pending, _)| pending.clone_from(&record))
            .or_insert((record, now));
    }

    pub(super) fn get(&self, id: &WorkId) -> Option<StatusRecord> {
        self.all().get(id).map(|(record, _)| record.clone())
    }

    pub(super) fn forget(&self, id: &WorkId) {
        self.all().remove(id);
    }

    /// Works whose status has waited long enough.
    fn due(&self) -> Vec<WorkId> {
        let all = self.all();
        let due = all.iter().filter(|(_, (_, at))| at.elapsed() >= PATIENCE);
        due.map(|(id, _)| id.clone()).collect()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<WorkId, (StatusRecord, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    /// Takes note of a status of the work as it was at `epoch`.
    pub(super) async fn note_status(&self, id: &WorkId, epoch: u64, record: StatusRecord) -> bool {
        let _lock = self.locks.of(id).await;
        let entry = self.index.entry(id);
        if entry.is_none_or(|entry| entry.epoch != epoch) {
            return false;
        }
        self.index.put_status(id, &record);
        self.cache().put_record(id, record.clone());
        self.pending.note(id, record);
        true
    }

    /// Writes what was noted of a work, if anything was.
    pub(super) async fn write_status(
        &self,
        id: &WorkId,
        snapshot: Option<(u64, String)>,
    ) -> Result<(), StoreError> {
        let _lock = self.locks.of(id).await;
        let pending = self.pending.get(id);
        // The snapshot is of the object as it is known here, unless somebody has changed it since.
        let epoch = self.index.entry(id).map(|entry| entry.epoch);
        let snapshot = snapshot.filter(|(at, _)| Some(*at) == epoch);
        let known = self.known().get(id).map(|known| known.generation);
        let snapshot = snapshot.map(|(_, text)| text).zip(known);
        let stamped = snapshot
            .as_ref()
            .map(|(text, generation)| format!("{generation} {text}"));
        let document = match (&pending, &snapshot) {
            (Some(record), _) => record::status_document(record, stamped.as_deref()),
            // Such as at the first pass after an upgrade, which finds nothing to do.
            (None, Some((text, generation)))
                if self.snapshots.differ(id, *generation, text) && self.is_described(id) =>
            {
                record::snapshot_document(stamped.as_deref())
            }
            (None, _) => return Ok(()),
        };
        let name = object_name(id);
        let written = self.works.merge_status(&name, &document).await;
        if optional(written)?.is_none() {
            self.lost(id, "is gone");
            return Ok(());
        }
        let snapshot = snapshot.as_ref();
        let snapshot = snapshot.map(|(text, generation)| (*generation, &**text));
        self.snapshots.wrote(id, snapshot);
        if let Some(record) = pending {
            self.pending.forget(id);
            self.cache().put_record(id, record);
        }
        Ok(())
    }

    /// Whether the status that stands in the object is of the version that is held.
    fn is_described(&self, id: &WorkId) -> bool {
        let entry = self.index.entry(id);
        entry.is_some_and(|entry| {
            entry.status_hash.is_some() && entry.status_version == entry.version
        })
    }

    /// Writes what has waited for a while.
    pub(super) async fn keep_statuses(&self) {
        loop {
            tokio::time::sleep(PATIENCE).await;
            for id in self.pending.due() {
                if let Err(error) = Box::pin(self.write_status(&id, None)).await {
                    warn!(resource.id = %id, error = %chain(&error), "Could not write the status of work `{id}`; it is tried again");
                }
            }
        }
    }
}

// A deletion that nothing holds up is over within a second; a person who looks on expects no faster news than this.
const PATIENCE: Duration = Duration::from_secs(10);
