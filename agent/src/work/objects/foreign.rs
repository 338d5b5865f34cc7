//! Works that cannot be held because an object of another agent has their name: they are refused, and once the name is
//! free their source is asked for them again. No event tells that, because the watch shows this agent's objects only.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::error::chain;
use tracing::{info, warn};

use super::super::{StoreError, WorkId};
use super::Inner;
use super::remote::optional;
use crate::work_id::object_name;

/// Works whose names are taken.
#[derive(Debug, Default)]
pub(super) struct ForeignWorks(Mutex<BTreeSet<WorkId>>);

// === impl ForeignWorks ===

impl ForeignWorks {
    /// The name of this work is taken. Beyond [`MOST`] it is not noted: what frees one of the others asks for all.
    pub(super) fn note(&self, id: &WorkId) {
        let mut works = self.works();
        if works.len() < MOST {
            works.insert(id.clone());
        }
    }

    fn works(&self) -> MutexGuard<'_, BTreeSet<WorkId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    /// Looks from time to time whether names that were taken are free. Never ends.
    pub(super) async fn await_names(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            let works = self.foreign.works().clone();
            for id in works {
                match self.is_free(&id).await {
                    Ok(false) => {}
                    Ok(true) => {
                        info!(resource.id = %id, "The name of work `{id}` is free; its source is asked for it again");
                        self.foreign.works().remove(&id);
                        self.index.want_resync();
                    }
                    Err(error) => {
                        warn!(resource.id = %id, error = %chain(&error), "Could not look whose the name of work `{id}` is");
                    }
                }
            }
        }
    }

    /// Whether a work can be held by now, or is.
    async fn is_free(&self, id: &WorkId) -> Result<bool, StoreError> {
        if self.index.entry(id).is_some() {
            return Ok(true);
        }
        let found = optional(self.works.metadata(&object_name(id)).await)?;
        Ok(found.is_none_or(|found| self.foreign_owner(&found).is_none()))
    }
}

/// Each costs one small read every time, and there is one only where two agents were given the same id.
const MOST: usize = 64;
// A bundle that moves from one consumer to another waits for the end of the first, which takes seconds.
const EVERY: Duration = Duration::from_secs(10);
