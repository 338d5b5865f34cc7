//! The status that is shown of a bundle whose cluster holds a newer version than the store. The store is older than its
//! agents (it was restored or moved), and they refuse what it sends until the version is raised ([`super::history`]). Pure.

use jiff::Timestamp;
use link::clock::rfc3339_seconds;
use link::order::Version;
use serde_json::{Map, Value, json};

use super::json::Json;

/// What happened and what comes of it, for the status and the ledger.
pub(super) fn explained(held: Version, stored: Version) -> String {
    let behind = format!(
        "the cluster holds version {held} of this bundle, newer than version {stored} of this database, and takes no older \
         one"
    );
    if held.next().is_some() {
        format!("{behind}; the bridge sends this one again under a version above {held}")
    } else {
        format!(
            "{behind}, and no version above it exists; hint: delete the bundle, and post it again once it is gone"
        )
    }
}

/// The status the agent gave of its version, with `Applied` as it stands for the stored one.
pub(super) fn told(payload: &Json, held: Version, stored: Version, at: Timestamp) -> Json {
    let applied = json!({
        "type": APPLIED, "status": "False", "observedGeneration": stored.get(),
        "lastTransitionTime": rfc3339_seconds(at), "reason": REASON, "message": explained(held, stored),
    });
    // Of what is no status nothing is told but this.
    let mut members = match payload.to_value() {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    match members.get_mut("conditions") {
        Some(Value::Array(conditions)) => {
            conditions.retain(|condition| condition["type"] != APPLIED);
            conditions.insert(0, applied);
        }
        _ => {
            members.insert("conditions".into(), json!([applied]));
        }
    }
    Json::from_value(&Value::Object(members))
}

/// By this a status of a version that the store never had is known.
pub(crate) const REASON: &str = "NewerVersionHeld";

const APPLIED: &str = "Applied";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_success_with_a_newer_version_is_no_success_of_the_stored_one() {
        let version = |number| Version::new(number).unwrap();
        let shown = |payload: &str| {
            let payload = Json::trusted(payload.to_owned());
            told(&payload, version(7), version(3), Timestamp::UNIX_EPOCH).to_string()
        };
        let both = shown(
            r#"{"conditions":[{"type":"Available","status":"True"},{"type":"Applied","status":"True","observedGeneration":7}],"resourceStatus":[]}"#,
        );
        insta::assert_snapshot!(both, @r#"{"conditions":[{"lastTransitionTime":"1970-01-01T00:00:00Z","message":"the cluster holds version 7 of this bundle, newer than version 3 of this database, and takes no older one; the bridge sends this one again under a version above 7","observedGeneration":3,"reason":"NewerVersionHeld","status":"False","type":"Applied"},{"status":"True","type":"Available"}],"resourceStatus":[]}"#);
        let unreadable = r#"{"conditions":[],"x":"\ud800"}"#;
        for without in ["{}", r#"{"conditions":null}"#, unreadable, "[]"] {
            assert!(shown(without).contains("NewerVersionHeld"), "{without}");
        }
        let last = explained(version(i64::from(i32::MAX)), version(3));
        assert!(
            last.contains("no version above it") && last.contains("hint: delete"),
            "{last}"
        );
    }
}
