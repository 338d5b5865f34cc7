//! Statuses that the broker took and that matched no subscription: their source is away, or subscribed elsewhere, and does
//! not know to ask.
//!
//! They count as unreported. One of them at a time is tried again in a while; when one reaches a subscriber, all the others
//! follow at once. A broker that never reports this (IoT Core) makes no such status.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::telemetry::Throttle;
use tokio::time::Instant;

use crate::work::WorkId;

/// Works whose newest status reached no subscriber.
#[derive(Debug)]
pub(super) struct NoSubscribers {
    /// At most one entry for each work that is held.
    works: Mutex<BTreeSet<WorkId>>,
    lines: Throttle<()>,
}

// === impl NoSubscribers ===

impl Default for NoSubscribers {
    fn default() -> Self {
        Self {
            works: Mutex::default(),
            lines: Throttle::new(LINES, 1),
        }
    }
}

impl NoSubscribers {
    /// The status of this work reached no subscriber. Returns how many log lines were held back when one is due.
    pub(super) fn note(&self, id: &WorkId) -> Option<u64> {
        self.works().insert(id.clone());
        self.lines.admit(&(), Instant::now())
    }

    /// One that is worth a try; it is no longer among them, unless it reaches no subscriber again.
    pub(super) fn probe(&self) -> Option<WorkId> {
        self.works().pop_first()
    }

    /// Whether the work was among them; it is no longer.
    pub(super) fn take(&self, id: &WorkId) -> bool {
        self.works().remove(id)
    }

    /// Somebody is subscribed: all of them.
    pub(super) fn take_all(&self) -> BTreeSet<WorkId> {
        std::mem::take(&mut *self.works())
    }

    fn works(&self) -> MutexGuard<'_, BTreeSet<WorkId>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often one of them is tried: two publishes a minute are nothing to a broker, and soon enough for a source that
/// was away.
pub(super) const PROBE: Duration = Duration::from_secs(30);
const LINES: Duration = Duration::from_secs(600);
