//! Works that were deleted lately, so that a late copy of an old event does not bring one back. Pure and bounded.
//!
//! A source may use an id again, and then counts versions from one (docs/MAESTRO.md §3.6, §4.2): a version alone does not tell an
//! old event from a new work. What does is when the source made the bundle, which every event carries in its metadata:
//! one that names the very bundle that was deleted, and was written no later than its deletion, is late. The source is
//! asked then, and its answer counts: a source that was restored from a backup means what it says. Where a source does
//! not say when it made a bundle nothing is refused here; one that remembers its deletions then deletes again.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use link::event::{Action, Event};
use serde::Deserialize;

use super::{Head, WorkId};
use crate::digest::sha256_hex;

/// The newest deletions.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    known: HashMap<String, Tombstone>,
    // May name keys that came again; a departure counts only with its number.
    order: VecDeque<(String, u64)>,
    number: u64,
}

/// One deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tombstone {
    created: String,
    deleted: Timestamp,
    number: u64,
}

// === impl Tombstones ===

impl Tombstones {
    /// Reads what [`Tombstones::write`] and [`Tombstones::note`] wrote; lines that are not theirs are passed over.
    pub(super) fn read(text: &str) -> Self {
        let mut tombstones = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(key), Some(created), Some(deleted)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            if let Ok(deleted) = deleted.parse() {
                tombstones.put(key.into(), created.into(), deleted);
            }
        }
        tombstones
    }

    /// Remembers a deletion, at the price of the oldest; answers with the line that says so. `None` when the source did
    /// not say when it made the bundle, or when.
    pub(super) fn note(&mut self, head: &Head, created: Option<&str>) -> Option<String> {
        let created = created.filter(|created| is_one_word(created))?;
        let deleted = head.deleting_since?;
        let key = key(&head.id);
        let line = line(&key, created, deleted);
        self.put(key, created.into(), deleted);
        Some(line)
    }

    /// Whether an event that wants something to be there was written before that very bundle was deleted.
    pub(super) fn is_late(&self, id: &WorkId, event: &Event) -> bool {
        let Some(tombstone) = self.known.get(&key(id)) else {
            return false;
        };
        // What answers a request of ours is what the source says now, whenever it was written.
        let created = created(event.metadata.as_deref());
        event.kind.action != Action::ResyncResponse
            && created.as_deref() == Some(&*tombstone.created)
            && event.time.is_some_and(|time| time <= tombstone.deleted)
    }

    /// All of them as text, one line each, the oldest first.
    pub(super) fn write(&self) -> String {
        self.order
            .iter()
            .filter_map(|(key, number)| {
                let tombstone = self.known.get(key)?;
                (tombstone.number == *number)
                    .then(|| line(key, &tombstone.created, tombstone.deleted))
            })
            .collect()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.known.len()
    }

    fn put(&mut self, key: String, created: String, deleted: Timestamp) {
        self.number += 1;
        let number = self.number;
        self.order.push_back((key.clone(), number));
        let tombstone = Tombstone {
            created,
            deleted,
            number,
        };
        self.known.insert(key, tombstone);
        while self.known.len() > MOST || self.order.len() > 2 * MOST {
            let Some((key, number)) = self.order.pop_front() else {
                return;
            };
            if self
                .known
                .get(&key)
                .is_some_and(|known| known.number == number)
            {
                self.known.remove(&key);
            }
        }
    }
}

/// When the source says it made a bundle, verbatim, given the `metadata` attribute of one of its events.
pub(crate) fn created(metadata: Option<&str>) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        creation_timestamp: Option<String>,
    }
    let meta: Meta = serde_json::from_str(metadata?).ok()?;
    meta.creation_timestamp.filter(|text| is_one_word(text))
}

fn is_one_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_TIME && !text.contains(char::is_whitespace)
}

fn key(id: &WorkId) -> String {
    let mut key = sha256_hex(id.as_str().as_bytes());
    key.truncate(DIGITS);
    key
}

fn line(key: &str, created: &str, deleted: Timestamp) -> String {
    format!("{key} {created} {deleted}\n")
}

const DIGITS: usize = 16;
// RFC 3339 with nanoseconds and an offset has 35 bytes.
const LONGEST_TIME: usize = 40;
/// Deletions that are remembered. At most 90 bytes each: 90 KB of the 1 MiB that a ConfigMap holds, beside the digests of statuses.
pub(super) const MOST: usize = 1_000;

#[cfg(test)]
mod tests {
    use link::event::Kind;
    use link::id::ConsumerName;
    use link::order::Version;

    use super::*;

    const CREATED: &str = "2026-08-01T10:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn head(id: &str) -> Head {
        Head {
            id: id.into(),
            version: Version::FIRST,
            source: "maestro".into(),
            metadata: None,
            log_tracing: None,
            deleting_since: Some(at("2026-08-01T11:00:00.5Z")),
            received_at: None,
            content: String::new(),
            rejected: None,
        }
    }

    fn create(time: &str, created: Option<&str>) -> Event {
        let consumer = ConsumerName::new("cluster1").unwrap();
        let mut event = Event::new("maestro", Kind::spec(Action::Create), &consumer, at(time))
            .about("w", Version::FIRST);
        event.metadata =
            created.map(|created| format!(r#"{{"name":"w","creationTimestamp":"{created}"}}"#));
        event
    }

    #[test]
    fn only_an_event_of_the_very_bundle_that_was_deleted_and_from_before_that_is_late() {
        let mut tombstones = Tombstones::default();
        tombstones.note(&head("w"), Some(CREATED)).unwrap();
        let late = |id: &str, event: Event| tombstones.is_late(&id.into(), &event);
        assert!(late("w", create("2026-08-01T10:30:00Z", Some(CREATED))));
        assert!(late("w", create("2026-08-01T11:00:00.5Z", Some(CREATED))));
        let fresh = [
            ("other", create("2026-08-01T10:30:00Z", Some(CREATED))),
            // Made again under the same id, by a source whose clock is behind or not.
            (
                "w",
                create("2026-08-01T10:30:00Z", Some("2026-08-01T11:00:01Z")),
            ),
            ("w", create("2026-08-01T11:00:00.6Z", Some(CREATED))),
            ("w", create("2026-08-01T10:30:00Z", None)),
            ("w", {
                let mut answer = create("2026-08-01T10:30:00Z", Some(CREATED));
                answer.kind = Kind::spec(Action::ResyncResponse);
                answer
            }),
        ];
        for (id, event) in fresh {
            assert!(!late(id, event.clone()), "{event:?}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_survives_as_text() {
        let mut tombstones = Tombstones::default();
        let mut appended = String::new();
        for number in 0..MOST + 10 {
            let line = tombstones.note(&head(&format!("w{number}")), Some(CREATED));
            appended += &line.unwrap();
        }
        assert_eq!(tombstones.len(), MOST);
        for text in [tombstones.write(), appended + "torn li"] {
            assert!(text.len() <= 2 * 90 * MOST);
            let read = Tombstones::read(&text);
            assert_eq!(read.write(), tombstones.write());
        }
        assert!(tombstones.write().len() <= 90 * MOST);
    }

    #[test]
    fn one_that_is_deleted_again_and_again_takes_one_entry() {
        let mut tombstones = Tombstones::default();
        tombstones.note(&head("other"), Some(CREATED)).unwrap();
        for _ in 0..MOST {
            tombstones.note(&head("w"), Some(CREATED)).unwrap();
        }
        assert_eq!(tombstones.len(), 2);
    }

    #[test]
    fn nothing_is_remembered_of_a_source_that_does_not_say_when() {
        let mut tombstones = Tombstones::default();
        assert_eq!(tombstones.note(&head("w"), None), None);
        assert_eq!(tombstones.note(&head("w"), Some("two words")), None);
        assert_eq!(created(Some(r#"{"creationTimestamp":null}"#)), None);
        assert_eq!(created(Some("no JSON")), None);
    }
}
