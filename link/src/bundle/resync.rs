//! The resync payloads and their split by bytes (docs/MAESTRO.md §3.3, §4.4, §4.5).
//!
//! Maestro packs 1 000 entries into a message whatever they weigh, which IoT Core refuses from about 977 bundles
//! on (docs/MAESTRO.md §4.5). Here a list is cut where the next entry would pass [`PART_BYTES`].

use serde::{Deserialize, Serialize};

use crate::order::Version;

/// Longest payload of one resync message in bytes: IoT Core's 131 072 less room for the topic and properties
/// of brokers that count them too.
pub const PART_BYTES: usize = 120_000;

/// What an agent holds, sent to its source after every subscribe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecRequest {
    /// One entry per work; `[]` when there is none, never absent.
    pub resource_versions: Vec<HeldVersion>,
}

/// One work that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldVersion {
    /// The bundle id.
    #[serde(rename = "resourceID")]
    pub resource_id: String,
    /// The version held.
    #[serde(rename = "resourceVersion")]
    pub resource_version: Version,
}

/// What status a source holds, sent to an agent after every subscribe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusRequest {
    /// One entry per bundle; an empty list asks for every status.
    pub status_hashes: Vec<HeldStatus>,
}

/// The status of one bundle that a source holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldStatus {
    /// The bundle id.
    #[serde(rename = "resourceID")]
    pub resource_id: String,
    /// The stored hash, or [`super::EMPTY_HASH`].
    #[serde(rename = "statusHash")]
    pub status_hash: String,
}

/// Cuts a list so that each part's JSON stays within [`PART_BYTES`]. Always gives at least one part.
pub fn split<T: Serialize>(entries: Vec<T>) -> Vec<Vec<T>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = ENVELOPE_BYTES;
    for entry in entries {
        let size = serde_json::to_vec(&entry).map_or(0, |json| json.len() + 1);
        if bytes + size > PART_BYTES && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            bytes = ENVELOPE_BYTES;
        }
        bytes += size;
        part.push(entry);
    }
    if !part.is_empty() || parts.is_empty() {
        parts.push(part);
    }
    parts
}

// `{"resourceVersions":[]}`
const ENVELOPE_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_lists_are_written_as_lists() {
        assert_eq!(
            serde_json::to_string(&SpecRequest::default()).unwrap(),
            r#"{"resourceVersions":[]}"#
        );
        assert_eq!(
            serde_json::to_string(&StatusRequest::default()).unwrap(),
            r#"{"statusHashes":[]}"#
        );
    }

    proptest! {
        #[test]
        fn parts_keep_every_entry_in_order_and_stay_small(sizes in prop::collection::vec(1usize..3_000, 0..300)) {
            let entries: Vec<HeldStatus> = sizes
                .iter()
                .map(|size| HeldStatus { resource_id: "x".repeat(*size), status_hash: "h".into() })
                .collect();
            let parts = split(entries.clone());
            prop_assert!(!parts.is_empty());
            for part in &parts {
                let json = serde_json::to_vec(&StatusRequest { status_hashes: part.clone() }).unwrap();
                prop_assert!(json.len() <= PART_BYTES);
            }
            prop_assert_eq!(parts.concat(), entries);
        }
    }
}
