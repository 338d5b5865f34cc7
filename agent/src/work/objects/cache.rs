//! A cache of the newest works and statuses, so that what was just written need not be read: bounded in bytes, the oldest
//! are dropped first.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::super::{StatusRecord, Stored, WorkId};

/// The cache.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<WorkId, CacheEntry>,
    // May name ids that left or came again; a slot counts only with its number.
    order: VecDeque<(WorkId, u64)>,
    bytes: usize,
    number: u64,
}

#[derive(Debug)]
struct CacheEntry {
    stored: Stored,
    bytes: usize,
    number: u64,
}

// === impl Cache ===

impl Cache {
    pub(super) fn get(&self, id: &WorkId) -> Option<&Stored> {
        self.entries.get(id).map(|entry| &entry.stored)
    }

    /// Keeps a work as the newest one, at the price of older ones.
    pub(super) fn put(&mut self, mut stored: Stored) {
        let id = stored.work.head.id.clone();
        self.remove(&id);
        // A received payload may be a window into a larger buffer, which must not be kept with it.
        stored.work.payload = Bytes::copy_from_slice(&stored.work.payload);
        self.insert(stored);
    }

    fn insert(&mut self, stored: Stored) {
        let id = stored.work.head.id.clone();
        let bytes = cost(&stored);
        self.number += 1;
        self.bytes += bytes;
        self.order.push_back((id.clone(), self.number));
        let number = self.number;
        self.entries.insert(
            id,
            CacheEntry {
                stored,
                bytes,
                number,
            },
        );
        self.shrink();
    }

    /// Replaces the status of a work that is here. That makes it no newer: what has a status is done with, and what
    /// came after it waits for its first pass.
    pub(super) fn put_record(&mut self, id: &WorkId, record: StatusRecord) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.stored.record = Some(record);
            self.bytes -= entry.bytes;
            entry.bytes = cost(&entry.stored);
            self.bytes += entry.bytes;
            self.shrink();
        }
    }

    pub(super) fn remove(&mut self, id: &WorkId) {
        if let Some(entry) = self.entries.remove(id) {
            self.bytes -= entry.bytes;
        }
    }

    fn shrink(&mut self) {
        let stale = self.order.len() > 2 * self.entries.len() + STALE;
        if stale {
            let entries = &self.entries;
            self.order.retain(|(id, number)| {
                entries.get(id).is_some_and(|entry| entry.number == *number)
            });
        }
        while self.bytes > MOST_BYTES {
            let Some((id, number)) = self.order.pop_front() else {
                return;
            };
            if self
                .entries
                .get(&id)
                .is_some_and(|entry| entry.number == number)
            {
                self.remove(&id);
            }
        }
    }
}

fn cost(stored: &Stored) -> usize {
    let head = &stored.work.head;
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let status = stored
        .record
        .as_ref()
        .and_then(|record| serde_json::to_vec(&record.status).ok());
    stored.work.payload.len()
        + text(&head.metadata)
        + text(&head.log_tracing)
        + text(&head.rejected)
        // Structs of short texts take about twice the bytes of their JSON.
        + 2 * status.map_or(0, |json| json.len())
        + OVERHEAD
}

// Intake runs at most 131 works ahead of the workers (`intake::BACKLOG` and one batch): of the size of a large bundle,
// 50 KB, they fit.
const MOST_BYTES: usize = 8 * 1024 * 1024;
// Ids, hashes and the tables themselves.
const OVERHEAD: usize = 512;
// So few leftovers are not worth a walk.
const STALE: usize = 64;

#[cfg(test)]
mod tests {
    use link::bundle::Status;
    use link::order::Version;

    use super::*;
    use crate::work::{Head, Work};

    fn stored(id: &str, bytes: usize) -> Stored {
        Stored {
            work: Work {
                head: Head {
                    id: id.into(),
                    version: Version::FIRST,
                    source: String::new(),
                    metadata: None,
                    log_tracing: None,
                    deleting_since: None,
                    received_at: None,
                    content: String::new(),
                    rejected: None,
                },
                payload: vec![b' '; bytes].into(),
            },
            record: None,
        }
    }

    fn record() -> StatusRecord {
        StatusRecord {
            version: Version::FIRST,
            status: Status::default(),
            hash: "h".into(),
            acknowledged: false,
            applied_at: None,
        }
    }

    #[test]
    fn the_oldest_make_room_and_the_bytes_are_bounded() {
        let mut cache = Cache::default();
        for number in 0..1_000 {
            cache.put(stored(&format!("w{number}"), 49_000));
            cache.put(stored("busy", 3_000));
            assert!(cache.bytes <= MOST_BYTES && cache.order.len() < 1_000);
        }
        assert!(cache.get(&"w0".into()).is_none());
        assert!(cache.get(&"w999".into()).is_some());
        assert!(cache.get(&"busy".into()).is_some());
        assert!(cache.entries.len() > 80);
    }

    #[test]
    fn statuses_of_works_that_were_reconciled_cost_no_work_that_waits_its_slot() {
        let mut cache = Cache::default();
        let id = |number: usize| format!("w{number}");
        // Looks follow with 131 works between, as intake lets them.
        for number in 0..1_000 {
            cache.put(stored(&id(number), 50_000));
            if let Some(reconciled) = number.checked_sub(131) {
                assert!(cache.get(&id(reconciled).into()).is_some(), "{reconciled}");
                cache.put_record(&id(reconciled).into(), record());
            }
        }
        assert!(cache.bytes <= MOST_BYTES);
    }

    #[test]
    fn a_work_too_large_for_it_is_not_kept() {
        let mut cache = Cache::default();
        cache.put(stored("large", MOST_BYTES));
        assert!(cache.get(&"large".into()).is_none());
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn a_status_joins_only_a_work_that_is_there() {
        let mut cache = Cache::default();
        let record = record();
        cache.put_record(&"a".into(), record.clone());
        assert!(cache.get(&"a".into()).is_none());
        cache.put(stored("a", 1));
        cache.put_record(&"a".into(), record.clone());
        assert_eq!(cache.get(&"a".into()).unwrap().record, Some(record));
        cache.remove(&"a".into());
        assert_eq!(cache.bytes, 0);
    }
}
