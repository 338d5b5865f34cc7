//! The two kinds the agent keeps in a cluster, in the shape of `work.open-cluster-management.io/v1`: what kubectl
//! shows, what other tools of that project read, and what a Go agent left behind (docs/MAESTRO.md §6.2).
//!
//! The definitions that `agent crds` prints are generated from these types.

use kube::CustomResource;
use link::bundle::Spec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod definition;
mod schema;

pub use definition::{definitions, yaml};

/// A set of manifests that this cluster was told to hold, and what became of them.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "work.open-cluster-management.io",
    version = "v1",
    kind = "ManifestWork",
    plural = "manifestworks",
    singular = "manifestwork",
    shortname = "mw",
    namespaced,
    status = "ManifestWorkStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Bundle","type":"string","jsonPath":".metadata.annotations.work\\.open-cluster-management\\.io/bundle-name"}"#,
    printcolumn = r#"{"name":"Applied","type":"string","jsonPath":".status.conditions[?(@.type==\"Applied\")].status"}"#,
    printcolumn = r#"{"name":"Available","type":"string","jsonPath":".status.conditions[?(@.type==\"Available\")].status"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".metadata.annotations.cloudevents\\.open-cluster-management\\.io/generation"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Applied\")].message"}"#
)]
#[serde(rename_all = "camelCase", default)]
pub struct ManifestWorkSpec {
    /// The manifests.
    pub workload: Workload,
    /// How deletion treats the objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::open_object")]
    pub delete_option: Option<Value>,
    /// Settings per object.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::open_list")]
    pub manifest_configs: Vec<Value>,
    /// Whose rights apply the objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::open_object")]
    pub executor: Option<Value>,
}

/// The manifests of a work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Workload {
    /// Bare Kubernetes objects.
    #[schemars(schema_with = "schema::open_list")]
    pub manifests: Vec<Value>,
}

/// What became of a work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ManifestWorkStatus {
    /// Conditions of the whole work.
    #[schemars(schema_with = "schema::open_list")]
    pub conditions: Vec<link::bundle::Condition>,
    /// What became of each manifest.
    pub resource_status: ResourceStatus,
    /// What the agent needs to go on after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportState>,
}

/// What became of each manifest of a work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ResourceStatus {
    /// One entry per manifest.
    #[schemars(schema_with = "schema::open_list")]
    pub manifests: Vec<link::bundle::ManifestStatus>,
}

/// Which version a status is about, and when that version was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReportState {
    /// The source's version.
    pub version: i64,
    /// Hash of the status as it is reported.
    pub hash: String,
    /// When every manifest of the version had been applied, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<String>,
    /// In which versions the agent saw the objects, so that it need not look at each again after a start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look: Option<String>,
}

/// Which objects a work holds in this cluster; their owner, so that they go when it goes.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "work.open-cluster-management.io",
    version = "v1",
    kind = "AppliedManifestWork",
    plural = "appliedmanifestworks",
    singular = "appliedmanifestwork",
    shortname = "amw",
    status = "AppliedManifestWorkStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Bundle","type":"string","jsonPath":".metadata.annotations.work\\.open-cluster-management\\.io/bundle-name"}"#,
    printcolumn = r#"{"name":"Work","type":"string","jsonPath":".spec.manifestWorkName"}"#,
    printcolumn = r#"{"name":"Agent","type":"string","priority":1,"jsonPath":".spec.agentID"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", default)]
pub struct AppliedManifestWorkSpec {
    /// Identity of the source side as hex; the Go agent hashes the broker's address, ours is the agent id's.
    pub hub_hash: String,
    /// Identity of the agent.
    #[serde(rename = "agentID")]
    pub agent_id: String,
    /// The work.
    pub manifest_work_name: String,
}

/// What was applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppliedManifestWorkStatus {
    /// Sorted by group, version, resource, namespace, name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applied_resources: Vec<AppliedResource>,
    /// Since when a Go agent has missed the work. Ours evicts nothing and clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eviction_start_time: Option<String>,
}

/// One applied object.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(default)]
pub struct AppliedResource {
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource name.
    pub resource: String,
    /// Object namespace, empty for cluster-scoped objects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Object name.
    pub name: String,
    /// Uid of the object that was applied.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

// === impl ManifestWorkSpec ===

impl From<Spec> for ManifestWorkSpec {
    fn from(spec: Spec) -> Self {
        // These types were made from JSON and go back to it without loss.
        let json = |value: Result<Value, serde_json::Error>| value.unwrap_or_default();
        Self {
            workload: Workload {
                manifests: spec.manifests,
            },
            delete_option: spec
                .delete_option
                .as_ref()
                .map(|option| json(serde_json::to_value(option))),
            manifest_configs: spec
                .manifest_configs
                .iter()
                .map(|config| json(serde_json::to_value(config)))
                .collect(),
            executor: spec
                .executer
                .as_ref()
                .map(|executer| json(serde_json::to_value(executer))),
        }
    }
}

impl ManifestWorkSpec {
    /// The spec as it is written on the wire.
    ///
    /// # Errors
    /// When somebody changed a setting in the cluster into something that is none.
    pub fn bundle(self) -> Result<Spec, serde_json::Error> {
        Ok(Spec {
            manifests: self.workload.manifests,
            delete_option: self.delete_option.map(serde_json::from_value).transpose()?,
            manifest_configs: self
                .manifest_configs
                .into_iter()
                .map(serde_json::from_value)
                .collect::<Result<_, _>>()?,
            executer: self.executor.map(serde_json::from_value).transpose()?,
        })
    }
}

/// The work's id when its name cannot say it, on a ManifestWork.
pub const ID: &str = "work.open-cluster-management.io/bundle-id";
/// The name of the source's bundle, on a ManifestWork and its AppliedManifestWork, and in the metadata of a spec event;
/// its id is the work's id.
pub const BUNDLE_NAME: &str = "work.open-cluster-management.io/bundle-name";
/// The source's version of a work, on a ManifestWork; the same annotation as upstream's.
pub const GENERATION: &str = "cloudevents.open-cluster-management.io/generation";
/// Keeps a ManifestWork until its objects are gone.
pub const WORK_FINALIZER: &str = "cluster.open-cluster-management.io/manifest-work-cleanup";
/// Keeps an AppliedManifestWork until its objects are gone.
pub const APPLIED_FINALIZER: &str =
    "cluster.open-cluster-management.io/applied-manifest-work-cleanup";
/// Pauses a work when it stands on its ManifestWork, the whole agent when it stands on the agent's state ConfigMap.
/// Any value but `false` pauses; the value is shown as the reason.
pub const PAUSED: &str = "work.open-cluster-management.io/paused";
/// Which consumer a ManifestWork is for; several agents may share a namespace.
pub const CONSUMER: &str = "work.open-cluster-management.io/consumer";
/// What a work is about to hold, as JSON on its AppliedManifestWork; written before an object is touched.
pub const CLAIMS: &str = "work.open-cluster-management.io/claims";
