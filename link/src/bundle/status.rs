//! The status payload (docs/MAESTRO.md §3.2): conditions of the work, and per manifest what became of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::rfc3339_seconds;

/// The observed state of one bundle on one cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Conditions of the whole work.
    #[serde(deserialize_with = "null_is_empty")]
    pub conditions: Vec<Condition>,
    /// One entry per manifest.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub resource_status: Vec<ManifestStatus>,
}

/// A Kubernetes condition in the key order of Go's `metav1.Condition`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What is judged.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The version the judgement is about; omitted when zero.
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// RFC 3339 with whole seconds.
    pub last_transition_time: String,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence for a person.
    pub message: String,
}

/// What became of one manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManifestStatus {
    /// Which object.
    pub resource_meta: ResourceMeta,
    /// Values read from the object.
    pub status_feedback: StatusFeedback,
    /// Conditions of this manifest.
    #[serde(deserialize_with = "null_is_empty")]
    pub conditions: Vec<Condition>,
}

/// Identity of an applied object; all seven keys are always written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceMeta {
    /// Index of the manifest in the spec.
    pub ordinal: i32,
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Plural resource name.
    pub resource: String,
    /// Object name.
    pub name: String,
    /// Object namespace, empty for cluster-scoped objects.
    pub namespace: String,
}

/// Values read from an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusFeedback {
    /// In the order of the rules; omitted when empty.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub values: Vec<FeedbackValue>,
}

/// One named value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedbackValue {
    /// Name from the feedback rule.
    pub name: String,
    /// The value.
    pub field_value: FieldValue,
}

/// A value with its type beside it, as the Go union writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum FieldValue {
    /// A whole number.
    Integer {
        /// The number.
        integer: i64,
    },
    /// Text.
    String {
        /// The text.
        string: String,
    },
    /// A truth value.
    Boolean {
        /// The value.
        boolean: bool,
    },
    /// Anything else, as JSON text.
    JsonRaw {
        /// The JSON text.
        #[serde(rename = "jsonRaw")]
        json_raw: String,
    },
}

// === impl Status ===

impl Status {
    /// The condition of a type, if present.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == kind)
    }

    /// Whether the agent says that the work and its objects are gone.
    pub fn is_deleted(&self) -> bool {
        self.condition("Deleted").is_some_and(Condition::is_true)
    }
}

// === impl Condition ===

impl Condition {
    /// A condition with the time it was judged.
    pub fn new(
        kind: &str,
        status: &str,
        reason: &str,
        message: impl Into<String>,
        generation: i64,
        now: Timestamp,
    ) -> Self {
        Self {
            kind: kind.into(),
            status: status.into(),
            observed_generation: generation,
            last_transition_time: rfc3339_seconds(now),
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// Whether the status is `True`.
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// Puts a condition into a list, keeping the old transition time unless status or generation changed
/// (docs/MAESTRO.md §6.8).
pub fn set_condition(conditions: &mut Vec<Condition>, mut new: Condition) {
    match conditions.iter_mut().find(|old| old.kind == new.kind) {
        Some(old) => {
            if old.status == new.status && old.observed_generation == new.observed_generation {
                new.last_transition_time
                    .clone_from(&old.last_transition_time);
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

// Go writes a nil slice as `null`.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_sample_survives_a_round_trip() {
        let text = r#"{"conditions":[{"type":"Applied","status":"True","observedGeneration":1,"lastTransitionTime":"2026-08-01T10:00:02Z","reason":"AppliedManifestWorkComplete","message":"Apply manifest work complete"}],"resourceStatus":[{"resourceMeta":{"ordinal":0,"group":"apps","version":"v1","kind":"Deployment","resource":"deployments","name":"web","namespace":"default"},"statusFeedback":{"values":[{"name":"ReadyReplicas","fieldValue":{"type":"Integer","integer":2}},{"name":"phase","fieldValue":{"type":"String","string":"Running"}},{"name":"ok","fieldValue":{"type":"Boolean","boolean":true}},{"name":"conds","fieldValue":{"type":"JsonRaw","jsonRaw":"[{\"type\":\"Available\"}]"}}]},"conditions":[]}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&status).unwrap(), text);
        let null: Status = serde_json::from_str(r#"{"conditions":null}"#).unwrap();
        assert!(null.conditions.is_empty());
    }

    #[test]
    fn an_unchanged_condition_keeps_its_transition_time() {
        let early: Timestamp = "2026-08-01T10:00:00Z".parse().unwrap();
        let late: Timestamp = "2026-08-01T11:00:00Z".parse().unwrap();
        let mut conditions = vec![Condition::new("Applied", "True", "A", "a", 1, early)];
        set_condition(
            &mut conditions,
            Condition::new("Applied", "True", "B", "b", 1, late),
        );
        assert_eq!(conditions[0].last_transition_time, "2026-08-01T10:00:00Z");
        assert_eq!(conditions[0].reason, "B");
        set_condition(
            &mut conditions,
            Condition::new("Applied", "True", "B", "b", 2, late),
        );
        assert_eq!(conditions[0].last_transition_time, "2026-08-01T11:00:00Z");
    }
}
