//! Works that an agent holds and this bridge does not: they are deleted there, through the consumer's lane, so that a
//! bundle made anew under the same id is not overtaken.
//!
//! Kept in memory: after a restart of this bridge agents say again what they hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use link::id::ConsumerName;
use link::order::Version;
use tokio::sync::Notify;

/// The orphans of every consumer.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    waiting: Mutex<HashMap<ConsumerName, BTreeMap<String, Orphan>>>,
    added: Notify,
}

/// A work to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orphan {
    /// The version its agent gave, which is echoed.
    pub(super) version: Version,
    /// Whether this bridge must remember its deletion still when it is sent.
    pub(super) deleted_here: bool,
}

// === impl Orphans ===

impl Orphans {
    /// Adds works of a consumer; how many found no room. Those are found by its next resync.
    pub(super) fn add(
        &self,
        consumer: &ConsumerName,
        works: impl IntoIterator<Item = (String, Orphan)>,
    ) -> usize {
        let mut refused = 0;
        {
            let mut waiting = self.lock();
            let known = waiting.entry(consumer.clone()).or_default();
            for (id, orphan) in works {
                if id.len() > LONGEST_ID || (known.len() >= CAPACITY && !known.contains_key(&id)) {
                    refused += 1;
                } else {
                    known.insert(id, orphan);
                }
            }
            if known.is_empty() {
                waiting.remove(consumer);
            }
        }
        self.added.notify_one();
        refused
    }

    /// Up to `limit` works of a consumer that `wanted` lets through.
    pub(super) fn peek(
        &self,
        consumer: &ConsumerName,
        limit: usize,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Vec<(String, Orphan)> {
        let waiting = self.lock();
        waiting
            .get(consumer)
            .into_iter()
            .flatten()
            .filter(|(id, _)| wanted(id))
            .take(limit)
            .map(|(id, orphan)| (id.clone(), *orphan))
            .collect()
    }

    /// Takes a work out again: sent, or not to be sent.
    pub(super) fn remove(&self, consumer: &ConsumerName, id: &str) {
        let mut waiting = self.lock();
        if let Some(known) = waiting.get_mut(consumer) {
            known.remove(id);
            if known.is_empty() {
                waiting.remove(consumer);
            }
        }
    }

    /// The consumers that have some.
    pub(super) fn consumers(&self) -> Vec<ConsumerName> {
        self.lock().keys().cloned().collect()
    }

    /// Returns once some were added.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ConsumerName, BTreeMap<String, Orphan>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works of one consumer that wait; with ids of [`LONGEST_ID`] bytes at most 3 MB, as a rule a fifth of it.
const CAPACITY: usize = 10_000;

/// An id longer than this was never a bundle of ours: the API takes 253 bytes at most.
const LONGEST_ID: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_a_consumer_without_any_is_forgotten() {
        let consumer = ConsumerName::new("c1").unwrap();
        let orphans = Orphans::default();
        let orphan = Orphan {
            version: Version::FIRST,
            deleted_here: true,
        };
        let works = (0..CAPACITY + 3).map(|number| (format!("{number:05}"), orphan));
        assert_eq!(orphans.add(&consumer, works), 3);
        assert_eq!(orphans.add(&consumer, [("00000".into(), orphan)]), 0);
        assert_eq!(
            orphans.add(&consumer, [("x".repeat(LONGEST_ID + 1), orphan)]),
            1
        );
        assert_eq!(orphans.consumers().len(), 1);
        let two = orphans.peek(&consumer, 2, |id| id != "00000");
        assert_eq!((two.len(), two[0].0.as_str()), (2, "00001"));
        for (id, _) in orphans.peek(&consumer, usize::MAX, |_| true) {
            orphans.remove(&consumer, &id);
        }
        assert!(orphans.consumers().is_empty());
    }
}
