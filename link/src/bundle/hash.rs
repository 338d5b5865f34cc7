//! The status hash that both ends of a resync compare (docs/MAESTRO.md §3.5, bit for bit).

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::go_json;
use super::status::Status;

/// The hash that stands for "no status yet": SHA-256 of the empty text.
pub const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Lower-case hex SHA-256 of the status in the canonical form of a ManifestWork's `.status`.
pub fn status_hash(status: &Status) -> String {
    // Serialising plain data with text keys cannot fail; an unhashable status would only cost a resend.
    let canonical = go_json::to_string(&canonical(status)).unwrap_or_default();
    hex(&Sha256::digest(canonical.as_bytes()))
}

fn canonical(status: &Status) -> Value {
    let mut resource_status = Map::new();
    if !status.resource_status.is_empty() {
        resource_status.insert("manifests".into(), json!(status.resource_status));
    }
    let mut object = Map::new();
    if !status.conditions.is_empty() {
        object.insert("conditions".into(), json!(status.conditions));
    }
    object.insert("resourceStatus".into(), Value::Object(resource_status));
    Value::Object(object)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> String {
        status_hash(&serde_json::from_str(text).unwrap())
    }

    // The vectors of docs/MAESTRO.md §3.5, given in the wire's form of the status.
    #[test]
    fn the_go_library_s_vectors_come_out_bit_for_bit() {
        assert_eq!(
            hash("{}"),
            "3a4ba43801251ccdf889a3154674d23a35ab996aacfc00de92e61dbb2f5cf189"
        );
        assert_eq!(
            hash(
                r#"{"conditions":[{"lastTransitionTime":"2026-01-02T03:04:05Z","message":"m","observedGeneration":1,"reason":"AppliedManifestWorkComplete","status":"True","type":"Applied"}]}"#
            ),
            "19160e865d66707ae6e11c6a9f4212591683633cd12fbadf797ef90f78036641"
        );
        let work = r#"{"conditions":[{"lastTransitionTime":"2026-01-02T03:04:05Z","message":"Apply manifest work complete","observedGeneration":1,"reason":"AppliedManifestWorkComplete","status":"True","type":"Applied"}],"resourceStatus":[{"conditions":[{"lastTransitionTime":"2026-01-02T03:04:05Z","message":"Apply manifest complete","reason":"AppliedManifestComplete","status":"True","type":"Applied"GEN}],"resourceMeta":{"group":"apps","kind":"Deployment","name":"web","namespace":"default","ordinal":0,"resource":"deployments","version":"v1"},"statusFeedback":{VALUES}}]}"#;
        assert_eq!(
            hash(&work.replace("GEN", "").replace("VALUES", "")),
            "392d39267c8fb8ad7e26d05e4b839e575465e6927cba0646ef78142815d5378d"
        );
        let values = r#""values":[{"fieldValue":{"integer":3,"type":"Integer"},"name":"ready"},{"fieldValue":{"string":"True","type":"String"},"name":"s"},{"fieldValue":{"boolean":true,"type":"Boolean"},"name":"b"},{"fieldValue":{"jsonRaw":"{\"a\":\"x<y&z>\",\"n\":1.5}","type":"JsonRaw"},"name":"raw"}]"#;
        assert_eq!(
            hash(
                &work
                    .replace("GEN", r#","observedGeneration":1"#)
                    .replace("VALUES", values)
            ),
            "633a93c92a526f7e3ad2f96273a86fef8e6cbcda2f3d2bd24d5847bdaaac2ce1"
        );
    }

    #[test]
    fn empty_hash_is_the_hash_of_nothing() {
        assert_eq!(hex(&Sha256::digest(b"")), EMPTY_HASH);
    }
}
