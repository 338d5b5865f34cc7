//! The annotation that says what a work is about to hold: one line of JSON per object would be too long for works
//! with a thousand objects, so each is an array. Uids stand in the status.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::applier::ownership::{Record, Share};
use crate::applier::{HeldObject, key};
use crate::work_id::WorkId;

/// What a work is about to hold.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct IntentRecord {
    work: WorkId,
    objects: Vec<Object>,
}

/// Group, version, kind, namespace, name, hash of the content if the work insists on it, and rank by age.
#[derive(Debug, Serialize, Deserialize)]
struct Object(String, String, String, String, String, Option<String>, u64);

// === impl IntentRecord ===

impl IntentRecord {
    pub(super) fn of(work: &WorkId, record: &Record) -> Self {
        let object = |share: &Share| {
            let held = share.held.clone();
            Object(
                held.group,
                held.version,
                held.kind,
                held.namespace,
                held.name,
                share.content.clone(),
                share.since,
            )
        };
        Self {
            work: work.clone(),
            objects: record.objects.iter().map(object).collect(),
        }
    }

    pub(super) fn read(text: &str) -> Result<Record, serde_json::Error> {
        let intent: Self = serde_json::from_str(text)?;
        let share = |object: Object| {
            let Object(group, version, kind, namespace, name, content, since) = object;
            let held = HeldObject {
                group,
                version,
                kind,
                namespace,
                name,
                uid: None,
            };
            Share {
                key: key(&held.object()),
                held,
                content,
                since,
            }
        };
        Ok(Record {
            owner: Some(intent.work),
            objects: intent.objects.into_iter().map(share).collect(),
        })
    }
}

impl fmt::Display for IntentRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Texts and numbers always serialise.
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_stays_short() {
        let held = HeldObject {
            group: "apps".into(),
            version: "v1".into(),
            kind: "Deployment".into(),
            namespace: "default".into(),
            name: "web".into(),
            uid: None,
        };
        let record = Record {
            owner: Some("a b".into()),
            objects: vec![Share {
                key: key(&held.object()),
                held,
                content: Some("c".repeat(64)),
                since: 7,
            }],
        };
        let text = IntentRecord::of(&"a b".into(), &record).to_string();
        assert_eq!(IntentRecord::read(&text).unwrap(), record);
        // 256 KiB of annotations hold what fits into a bundle of the smallest manifests.
        assert!(text.len() < 150, "{text}");
    }
}
