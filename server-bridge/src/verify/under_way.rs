//! Of which canaries it is not known yet what became of them, for whoever ends a round.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ids of canaries of which it is not known what became: written and not seen to come back, or deleted and not seen to
/// go. Kept apart from the rounds, because whoever ends one wants to know.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<BTreeSet<String>>>);

// === impl UnderWay ===

impl UnderWay {
    pub(super) fn ids(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    pub(super) fn begins(&self, id: &str) {
        self.lock().insert(id.into());
    }

    pub(super) fn ends(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
