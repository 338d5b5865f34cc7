//! What memory keeps of every work, the same for every store.
//!
//! It answers without I/O which works there are, at which version, what was reported of them, and which were deleted
//! lately.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use link::bundle::resync::HeldVersion;
use link::event::Event;
use tokio::sync::Notify;

use super::tombstones::Tombstones;
use super::{Entry, Head, StatusRecord, WorkId};

/// The index of a store. Its lock is never held across I/O.
#[derive(Debug, Default)]
pub struct WorkIndex {
    state: Mutex<State>,
    resync_wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<WorkId, Entry>,
    tombstones: Tombstones,
    epoch: u64,
    paused: Option<String>,
}

// === impl WorkIndex ===

impl WorkIndex {
    /// What memory keeps of a work.
    pub fn entry(&self, id: &WorkId) -> Option<Entry> {
        self.state().entries.get(id).cloned()
    }

    /// Every work, in order of id.
    pub fn entries(&self) -> Vec<(WorkId, Entry)> {
        let state = self.state();
        state
            .entries
            .iter()
            .map(|(id, entry)| (id.clone(), entry.clone()))
            .collect()
    }

    /// Every id, in order.
    pub fn ids(&self) -> Vec<WorkId> {
        self.state().entries.keys().cloned().collect()
    }

    /// How many works there are, and how many of their newest statuses are not acknowledged.
    pub fn counts(&self) -> (i64, i64) {
        let state = self.state();
        let unacknowledged = state
            .entries
            .values()
            .filter(|entry| !entry.acknowledged)
            .count();
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        (number(state.entries.len()), number(unacknowledged))
    }

    /// The answer to "what do you hold?" (docs/MAESTRO.md §3.3).
    pub fn held_versions(&self) -> Vec<HeldVersion> {
        let state = self.state();
        state
            .entries
            .iter()
            .map(|(id, entry)| HeldVersion {
                resource_id: id.as_str().into(),
                resource_version: entry.version,
            })
            .collect()
    }

    /// Why nothing is applied at the moment, if the whole agent is paused.
    pub fn paused(&self) -> Option<String> {
        self.state().paused.clone()
    }

    /// Pauses or resumes the whole agent; whether that changed anything.
    pub fn set_paused(&self, why: Option<String>) -> bool {
        let mut state = self.state();
        let changed = state.paused != why;
        state.paused = why;
        changed
    }

    /// Whether an event that wants a work to be there was written before that very bundle was deleted.
    pub fn is_late(&self, id: &WorkId, event: &Event) -> bool {
        self.state().tombstones.is_late(id, event)
    }

    /// Notes that the source wants a work to be there that is being deleted, which cannot be done before it is gone. When
    /// it has gone since that was seen, the source is asked at once, because the removal was decided before that.
    pub fn note_refused_while_deleting(&self, id: &WorkId) {
        let noted = self.update(id, |entry| {
            entry.refused_while_deleting = entry.deleting;
            entry.deleting
        });
        if noted != Some(true) {
            self.want_resync();
        }
    }

    /// Asks for a resync.
    pub fn want_resync(&self) {
        self.resync_wanted.notify_one();
    }

    /// Waits until something was lost or refused here that the source should be asked for.
    pub async fn resync_wanted(&self) {
        self.resync_wanted.notified().await;
    }

    /// Takes a work as it was committed; what was reported of it before stays, and what was decided on this side.
    pub(crate) fn put(&self, head: &Head) {
        let mut state = self.state();
        state.epoch += 1;
        let mut entry = Entry::of(head, state.epoch);
        if let Some(old) = state.entries.get(&head.id) {
            entry.status_hash.clone_from(&old.status_hash);
            entry.status_version = old.status_version;
            entry.acknowledged = old.acknowledged;
            entry.refused_while_deleting = old.refused_while_deleting;
            entry.dropped = old.dropped;
            entry.paused.clone_from(&old.paused);
            // The deletion of what only this agent knows does not say it.
            if entry.created.is_none() {
                entry.created.clone_from(&old.created);
            }
        }
        state.entries.insert(head.id.clone(), entry);
    }

    /// Takes the newest status of a work.
    pub(super) fn put_status(&self, id: &WorkId, record: &StatusRecord) {
        self.update(id, |entry| {
            entry.status_hash = Some(record.hash.as_str().into());
            entry.status_version = record.version;
            entry.acknowledged = record.acknowledged;
        });
    }

    /// Changes an entry; `None` when the work is not held.
    pub(crate) fn update<T>(&self, id: &WorkId, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.state().entries.get_mut(id).map(act)
    }

    /// Notes that somebody else changed a work: what is judged of it now is judged of something older.
    pub(super) fn renew(&self, id: &WorkId) {
        let mut state = self.state();
        state.epoch += 1;
        let epoch = state.epoch;
        if let Some(entry) = state.entries.get_mut(id) {
            entry.epoch = epoch;
        }
    }

    /// Forgets a work; answers with the last that was known of it.
    pub(super) fn remove(&self, id: &WorkId) -> Option<Entry> {
        self.state().entries.remove(id)
    }

    /// Takes the deletions that are remembered.
    pub(super) fn recall(&self, tombstones: Tombstones) {
        self.state().tombstones = tombstones;
    }

    /// Remembers that a work was deleted, and answers with what is to be kept of that ([`Tombstones::note`]).
    pub(crate) fn note_deletion(&self, head: &Head, created: Option<&str>) -> Option<String> {
        self.state().tombstones.note(head, created)
    }

    /// The deletions that are remembered, as text.
    pub(super) fn tombstones(&self) -> String {
        self.state().tombstones.write()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
