//! The snapshots that are kept in objects beside their statuses: those of an earlier process, until they are asked for, and
//! who wrote each of which generation of its object, so that a new one is written where the old one would not count
//! after the next start.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::{StoredSnapshot, WorkId};

/// The snapshots.
#[derive(Debug, Default)]
pub(super) struct Snapshots(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    former: HashMap<WorkId, StoredSnapshot>,
    stamps: HashMap<WorkId, Stamp>,
}

/// The generation of the object, and who wrote the snapshot.
type Stamp = (i64, Box<str>);

// === impl Snapshots ===

impl Snapshots {
    /// A snapshot was found at the start.
    pub(super) fn found(&self, id: WorkId, generation: i64, stored_snapshot: StoredSnapshot) {
        let mut state = self.state();
        state
            .stamps
            .insert(id.clone(), stamp(generation, &stored_snapshot.text));
        state.former.insert(id, stored_snapshot);
    }

    /// Gives what was found.
    pub(super) fn take(&self) -> HashMap<WorkId, StoredSnapshot> {
        std::mem::take(&mut self.state().former)
    }

    /// A status was written with a snapshot, or without.
    pub(super) fn wrote(&self, id: &WorkId, snapshot: Option<(i64, &str)>) {
        let mut state = self.state();
        match snapshot {
            Some((generation, text)) => state.stamps.insert(id.clone(), stamp(generation, text)),
            None => state.stamps.remove(id),
        };
    }

    /// Whether the snapshot that is there was another writer's, or of another generation.
    pub(super) fn differ(&self, id: &WorkId, generation: i64, text: &str) -> bool {
        self.state().stamps.get(id) != Some(&stamp(generation, text))
    }

    pub(super) fn forget(&self, id: &WorkId) {
        let mut state = self.state();
        state.former.remove(id);
        state.stamps.remove(id);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(generation: i64, text: &str) -> Stamp {
    let writer = text.split_whitespace().next();
    (generation, writer.unwrap_or_default().into())
}
