//! The spec payload (docs/MAESTRO.md §3.1): manifests and how to treat them. Keys that are unknown here are refused at
//! the API and tolerated on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A set of manifests with their settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Bare Kubernetes objects.
    pub manifests: Vec<Value>,
    /// How deletion treats the objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_option: Option<DeleteOption>,
    /// Settings per object.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifest_configs: Vec<ManifestConfig>,
    /// Whose rights apply the objects. Spelled with `er` on this wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executer: Option<Executer>,
}

/// How deletion treats the objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOption {
    /// `Foreground` (default), `Orphan` or `SelectivelyOrphan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<String>,
    /// The objects that `SelectivelyOrphan` spares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selectively_orphans: Option<SelectivelyOrphan>,
    /// Seconds after which a finished work deletes itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i64>,
}

/// The objects that a deletion spares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectivelyOrphan {
    /// One rule per object.
    pub orphaning_rules: Vec<OrphaningRule>,
}

/// Names one object to spare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrphaningRule {
    /// API group.
    pub group: String,
    /// Plural resource name.
    pub resource: String,
    /// Object name.
    pub name: String,
    /// Object namespace.
    pub namespace: String,
}

/// Settings for the objects an identifier matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManifestConfig {
    /// Which objects; `*` matches in name and namespace.
    pub resource_identifier: ResourceIdentifier,
    /// What to read back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub feedback_rules: Vec<FeedbackRule>,
    /// How to apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<UpdateStrategy>,
    /// Conditions computed from the object.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub condition_rules: Vec<ConditionRule>,
    /// `Poll` or `Watch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback_scrape_type: Option<String>,
}

/// Names objects by group, plural, name and namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceIdentifier {
    /// API group, empty for the core group.
    pub group: String,
    /// Plural resource name.
    pub resource: String,
    /// Object name or `*`.
    pub name: String,
    /// Object namespace or `*`.
    pub namespace: String,
}

/// What to read back from an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FeedbackRule {
    /// `WellKnownStatus` or `JSONPaths`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The paths of a `JSONPaths` rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub json_paths: Vec<JsonPath>,
}

/// One value to read back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JsonPath {
    /// Name of the value.
    pub name: String,
    /// API version the object must have; empty means any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// kubectl JSONPath without braces.
    pub path: String,
}

/// How to apply an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    /// `Update`, `CreateOnly`, `ServerSideApply` or `ReadOnly`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Options of `ServerSideApply`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<ServerSideApply>,
}

/// Options of server-side apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerSideApply {
    /// Take fields from other managers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Field manager; empty means the agent's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_manager: String,
    /// Fields left to others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_fields: Vec<IgnoreField>,
}

/// Fields left to others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IgnoreField {
    /// `OnSpokePresent` (default) or `OnSpokeChange`.
    pub condition: String,
    /// Fields by JSONPath.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub json_paths: Vec<String>,
    /// Fields by JSON pointer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub json_pointers: Vec<String>,
    /// Fields by jq path expression.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jq_path_expressions: Vec<String>,
}

/// A condition computed from an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConditionRule {
    /// Condition type to set.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    /// `WellKnownConditions` or `CEL`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Expressions, all of which must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cel_expressions: Vec<String>,
    /// Fixed message.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Message computed by an expression.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message_expression: String,
}

/// Whose rights apply the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Executer {
    /// The subject.
    pub subject: ExecuterSubject,
}

/// A subject; only service accounts are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecuterSubject {
    /// `ServiceAccount`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccount>,
}

/// A service account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAccount {
    /// Namespace of the account.
    pub namespace: String,
    /// Name of the account.
    pub name: String,
}
