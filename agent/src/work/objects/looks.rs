//! The looks that stand in objects beside their statuses: those an earlier process left, until they are asked for, and
//! who made each of which generation of its object, so that a new look is written where the old one would not count
//! after the next start.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::{Looked, WorkId};

/// The looks.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    former: HashMap<WorkId, Looked>,
    stamps: HashMap<WorkId, Stamp>,
}

/// The generation of the object, and who made the look.
type Stamp = (i64, Box<str>);

// === impl Looks ===

impl Looks {
    /// A look was found at the start.
    pub(super) fn found(&self, id: WorkId, generation: i64, looked: Looked) {
        let mut state = self.state();
        state
            .stamps
            .insert(id.clone(), stamp(generation, &looked.words));
        state.former.insert(id, looked);
    }

    /// Gives what was found.
    pub(super) fn take(&self) -> HashMap<WorkId, Looked> {
        std::mem::take(&mut self.state().former)
    }

    /// A status was written with a look, or without.
    pub(super) fn wrote(&self, id: &WorkId, look: Option<(i64, &str)>) {
        let mut state = self.state();
        match look {
            Some((generation, words)) => state.stamps.insert(id.clone(), stamp(generation, words)),
            None => state.stamps.remove(id),
        };
    }

    /// Whether the look that stands there was another's, or at another generation.
    pub(super) fn differ(&self, id: &WorkId, generation: i64, words: &str) -> bool {
        self.state().stamps.get(id) != Some(&stamp(generation, words))
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

fn stamp(generation: i64, words: &str) -> Stamp {
    let maker = words.split_whitespace().next();
    (generation, maker.unwrap_or_default().into())
}
