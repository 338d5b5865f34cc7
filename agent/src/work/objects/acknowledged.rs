//! Which statuses the broker has acknowledged, as digests of 16 hex digits each: one says "this version of this work was
//! reported with this content" without naming any of it. Pure.

use std::collections::HashSet;

use super::super::{Entry, WorkId};
use crate::digest::sha256_hex;

/// Digests that were read. Two statuses that share one would cost a report; with 64 bits that does not happen.
#[derive(Debug, Default)]
pub(super) struct AckDigests(HashSet<String>);

// === impl AckDigests ===

impl AckDigests {
    pub(super) fn read(text: &str) -> Self {
        Self(text.split_whitespace().map(Into::into).collect())
    }

    /// Whether the status of an entry is among them.
    pub(super) fn holds(&self, id: &WorkId, entry: &Entry) -> bool {
        digest(id, entry).is_some_and(|digest| self.0.contains(&digest))
    }
}

/// The digests of all acknowledged statuses as text. Those beyond [`MOST`] are left out: their statuses are reported
/// once more after a restart.
pub(super) fn write(entries: &[(WorkId, Entry)]) -> String {
    let acknowledged = entries.iter().filter(|(_, entry)| entry.acknowledged);
    let mut text = String::new();
    for digest in acknowledged
        .filter_map(|(id, entry)| digest(id, entry))
        .take(MOST)
    {
        text.push_str(&digest);
        text.push('\n');
    }
    text
}

fn digest(id: &WorkId, entry: &Entry) -> Option<String> {
    let hash = entry.status_hash.as_deref()?;
    let mut digest = sha256_hex(format!("{id}\n{}\n{hash}", entry.status_version).as_bytes());
    digest.truncate(DIGITS);
    Some(digest)
}

const DIGITS: usize = 16;
// 17 bytes each: 850 KB of the 1 MiB that a ConfigMap holds.
const MOST: usize = 50_000;

#[cfg(test)]
mod tests {
    use link::order::Version;

    use super::*;
    use crate::work::Head;

    fn entry(id: &str, hash: &str, version: i64) -> (WorkId, Entry) {
        let head = Head {
            id: id.into(),
            version: Version::FIRST,
            source: String::new(),
            metadata: None,
            log_tracing: None,
            deleting_since: None,
            received_at: None,
            content: String::new(),
            rejected: None,
        };
        let mut entry = Entry::of(&head, 1);
        entry.status_hash = Some(hash.into());
        entry.status_version = Version::new(version).unwrap();
        entry.acknowledged = true;
        (id.into(), entry)
    }

    #[test]
    fn a_digest_holds_for_one_version_of_one_status() {
        let mut silent = entry("b", "h", 1);
        silent.1.acknowledged = false;
        let text = write(&[entry("a", "h", 1), silent]);
        assert_eq!(text.len(), DIGITS + 1);
        let ack_digests = AckDigests::read(&text);
        assert!(ack_digests.holds(&"a".into(), &entry("a", "h", 1).1));
        for (id, other) in [entry("a", "h", 2), entry("a", "i", 1), entry("b", "h", 1)] {
            assert!(!ack_digests.holds(&id, &other));
        }
    }

    #[test]
    fn digests_of_any_number_of_works_fit_a_config_map() {
        let many: Vec<_> = (0..MOST + 10)
            .map(|id| entry(&id.to_string(), "h", 1))
            .collect();
        assert!(write(&many).len() < 900_000);
    }
}
