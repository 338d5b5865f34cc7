//! Works to be looked at again: each at once, then at most once per [`PAUSE`].

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::work_id::WorkId;

/// What is due, bounded by the number of works.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    pending: BTreeSet<WorkId>,
    woken: HashMap<WorkId, Instant>,
}

// === impl Wakeups ===

impl Wakeups {
    pub(super) fn extend(&mut self, works: impl IntoIterator<Item = WorkId>) {
        self.pending.extend(works);
    }

    /// Takes what is due, and says when the next will be.
    pub(super) fn due(&mut self, now: Instant) -> (Vec<WorkId>, Option<Instant>) {
        self.woken.retain(|_, woken| *woken + PAUSE > now);
        let woken = &self.woken;
        let (later, due): (BTreeSet<WorkId>, BTreeSet<WorkId>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|work| woken.contains_key(work));
        let next = later.iter().filter_map(|work| woken.get(work)).min();
        let next = next.map(|woken| *woken + PAUSE);
        self.pending = later;
        self.woken
            .extend(due.iter().map(|work| (work.clone(), now)));
        (due.into_iter().collect(), next)
    }
}

/// A work whose objects change all the time is not looked at more often than this.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_is_told_at_once_and_then_once_per_pause() {
        let mut wakes = Wakeups::default();
        let start = Instant::now();
        let work = || WorkId::from("a");
        wakes.extend([work(), work()]);
        assert_eq!(wakes.due(start), (vec![work()], None));
        wakes.extend([work(), "b".into()]);
        let soon = start + PAUSE / 2;
        assert_eq!(wakes.due(soon), (vec!["b".into()], Some(start + PAUSE)));
        assert_eq!(wakes.due(start + PAUSE), (vec![work()], None));
        assert_eq!(wakes.due(start + PAUSE), (vec![], None));
    }
}
