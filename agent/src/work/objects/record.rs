//! How a work is kept in a ManifestWork: its head in annotations, its payload in the spec, its newest status in the status.
//! Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use link::bundle::manifest::ObjectRef;
use link::bundle::{DeleteOption, Spec, Status, status_hash};
use link::id::ConsumerName;
use link::order::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::{Head, StatusRecord, Stored, StoredSnapshot, Work, WorkId};
use crate::crd::{self, ManifestWorkSpec, ManifestWorkStatus, ReportState, ResourceStatus};
use crate::work::{bundle_name, labels};
use crate::work_id::object_name;

/// A ManifestWork as it is read. A status that somebody broke is as good as none.
#[derive(Deserialize)]
pub(super) struct WorkObject {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    spec: ManifestWorkSpec,
    #[serde(default)]
    status: Value,
}

/// A ManifestWork as it is listed: without the large parts.
#[derive(Deserialize)]
pub(super) struct ListedWork {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    status: Option<Reported>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reported {
    report: Option<ReportState>,
    // Read only where it is needed, because somebody may have broken it.
    #[serde(default)]
    resource_status: Value,
}

/// Somebody changed a ManifestWork into something that is no work of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("annotation `{0}` is missing")]
    Missing(&'static str),
    #[error("annotation `{0}` is `{1}`")]
    Malformed(&'static str, String),
    #[error("work `{0}` belongs under another name")]
    Name(WorkId),
    #[error("a setting in its spec is malformed")]
    Spec(#[from] serde_json::Error),
}

/// The id of the work that an object says it is.
pub(super) fn id_of(metadata: &ObjectMeta) -> WorkId {
    let id = annotation(metadata, crd::ID);
    id.or(metadata.name.as_deref()).unwrap_or_default().into()
}

/// What an annotation says.
pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Why somebody pauses what an object stands for.
pub(super) fn paused(metadata: &ObjectMeta, object: &str) -> Option<String> {
    let value = annotation(metadata, crd::PAUSED).filter(|value| *value != "false")?;
    let value: String = value.chars().take(LONGEST_REASON).collect();
    Some(format!(
        "paused by annotation {} on {object}: {value}",
        crd::PAUSED
    ))
}

/// The spec of a payload; `None` for the empty payload, which no spec stands for.
pub(super) fn spec_of(payload: &[u8]) -> Result<Option<ManifestWorkSpec>, serde_json::Error> {
    if payload.is_empty() {
        return Ok(None);
    }
    let mut spec: Spec = serde_json::from_slice(payload)?;
    spec.manifests.iter_mut().for_each(as_kept);
    Ok(Some(spec.into()))
}

/// The payload of a spec.
pub(super) fn payload_of(spec: ManifestWorkSpec) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&spec.bundle()?)
}

/// An object to be made. The spec is as large as a bundle, and not copied.
#[derive(Serialize)]
pub(super) struct New<'a> {
    #[serde(flatten)]
    rest: Value,
    spec: Cow<'a, ManifestWorkSpec>,
}

/// The object of a work that has none.
pub(super) fn created<'a>(
    head: &Head,
    spec: Option<&'a ManifestWorkSpec>,
    consumer: &ConsumerName,
) -> New<'a> {
    let name = object_name(&head.id);
    let annotations: BTreeMap<&str, String> = annotations(head)
        .into_iter()
        .chain([no_spec(spec)])
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    let rest = json!({
        "apiVersion": "work.open-cluster-management.io/v1",
        "kind": "ManifestWork",
        "metadata": {
            "name": name,
            "labels": labels_of(head, consumer),
            "annotations": annotations,
            "finalizers": [crd::WORK_FINALIZER],
        },
    });
    New {
        rest,
        spec: spec.map(Cow::Borrowed).unwrap_or_default(),
    }
}

/// What becomes of the spec of an object that is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// It becomes this one; `None` is an empty payload.
    Given(Option<&'a ManifestWorkSpec>),
    /// It stays: what was accepted before is still in force. An object that has to be made gets this one.
    Kept(Option<&'a ManifestWorkSpec>),
    /// Its manifests go, for a cluster that does not even take what it has; how to delete stays.
    Emptied,
}

/// The steps that make an object a newer version of its work.
///
/// A JSON patch, because a merge patch would merge settings into older ones and drop nulls from manifests.
pub(super) fn changed(head: &Head, consumer: &ConsumerName, content: Content<'_>) -> Vec<Value> {
    let labels = labels_of(head, consumer);
    // As a whole: a label that the source dropped goes.
    let mut steps = vec![json!({"op": "add", "path": "/metadata/labels", "value": labels})];
    let digest = match content {
        Content::Given(spec) => Some(no_spec(spec)),
        Content::Kept(_) | Content::Emptied => None,
    };
    for (key, value) in annotations(head).into_iter().chain(digest) {
        let path = format!(
            "/metadata/annotations/{}",
            key.replace('~', "~0").replace('/', "~1")
        );
        // Adding replaces. Only what is there can be removed, so what may be missing is added first.
        steps.push(
            json!({"op": "add", "path": path, "value": value.as_deref().unwrap_or_default()}),
        );
        if value.is_none() {
            steps.push(json!({"op": "remove", "path": path}));
        }
    }
    let none = ManifestWorkSpec::default();
    match content {
        Content::Given(spec) => {
            steps.push(json!({"op": "add", "path": "/spec", "value": spec.unwrap_or(&none)}));
        }
        Content::Emptied => {
            steps.push(json!({"op": "add", "path": "/spec/workload", "value": none.workload}));
        }
        Content::Kept(_) => {}
    }
    steps
}

/// What makes an object that somebody changed one that [`changed`] can be done to.
pub(super) fn restored(metadata: &ObjectMeta, head: &Head, consumer: &ConsumerName) -> Value {
    let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
    let terminating = metadata.deletion_timestamp.is_some();
    // None may be added to an object that is going.
    if !terminating && !finalizers.iter().any(|name| name == crd::WORK_FINALIZER) {
        finalizers.push(crd::WORK_FINALIZER.into());
    }
    json!({
        "metadata": {
            "resourceVersion": metadata.resource_version,
            "labels": {crd::CONSUMER: consumer},
            "annotations": {crd::GENERATION: head.version.to_string()},
            "finalizers": finalizers,
        }
    })
}

/// The status document of a record, with the snapshot that it was judged by.
pub(super) fn status_document(record: &StatusRecord, snapshot: Option<&str>) -> Value {
    let status = ManifestWorkStatus {
        conditions: record.status.conditions.clone(),
        resource_status: ResourceStatus {
            manifests: record.status.resource_status.clone(),
        },
        report: None,
    };
    let mut status = json!(status);
    // A merge patch removes what is null and keeps what is not named.
    status["report"] = json!({
        "version": record.version.get(),
        "hash": record.hash,
        "appliedAt": record.applied_at.map(|at| at.to_string()),
        "look": snapshot,
    });
    json!({ "status": status })
}

/// The document that changes the snapshot, and nothing else of a status.
pub(super) fn snapshot_document(snapshot: Option<&str>) -> Value {
    json!({ "status": { "report": { "look": snapshot } } })
}

/// Reads the small half of a work.
pub(super) fn head(metadata: &ObjectMeta) -> Result<Head, Unreadable> {
    let text = |key: &'static str| annotation(metadata, key).map(str::to_string);
    let needed = |key: &'static str| text(key).ok_or(Unreadable::Missing(key));
    let time = |key: &'static str| -> Result<Option<Timestamp>, Unreadable> {
        text(key)
            .map(|text| text.parse().map_err(|_| Unreadable::Malformed(key, text)))
            .transpose()
    };
    let id = id_of(metadata);
    if metadata.name.as_deref() != Some(&*object_name(&id)) {
        return Err(Unreadable::Name(id));
    }
    let version = needed(crd::GENERATION)?;
    Ok(Head {
        id,
        version: Version::parse(&version).ok_or(Unreadable::Malformed(crd::GENERATION, version))?,
        source: needed(SOURCE)?,
        metadata: text(METADATA),
        log_tracing: text(LOG_TRACING),
        deleting_since: time(DELETING_SINCE)?,
        received_at: time(RECEIVED_AT)?,
        content: needed(CONTENT)?,
        rejected: text(REJECTED),
    })
}

// === impl WorkObject ===

impl WorkObject {
    /// How the work is deleted, without everything else; `None` when that cannot be read either.
    pub(super) fn only_delete_option(&self) -> Option<ManifestWorkSpec> {
        let delete_option = self.spec.delete_option.clone()?;
        DeleteOption::deserialize(&delete_option).ok()?;
        Some(ManifestWorkSpec {
            delete_option: Some(delete_option),
            ..ManifestWorkSpec::default()
        })
    }

    /// The work with its newest status.
    pub(super) fn stored(self) -> Result<Stored, Unreadable> {
        let head = head(&self.metadata)?;
        let payload = match annotation(&self.metadata, NO_SPEC) {
            Some(_) => Vec::new(),
            None => payload_of(self.spec)?,
        };
        let record = serde_json::from_value(self.status).ok().and_then(record);
        Ok(Stored {
            work: Work {
                head,
                payload: payload.into(),
            },
            record,
        })
    }
}

// === impl ListedWork ===

impl ListedWork {
    /// Version and hash of the newest status.
    pub(super) fn reported(&self) -> Option<(Version, &str)> {
        let report = self.status.as_ref()?.report.as_ref()?;
        Some((Version::new(report.version)?, &report.hash))
    }
}

impl ListedWork {
    /// The snapshot of this version of the work and of the object as it is.
    pub(super) fn stored_snapshot(&self, version: Version) -> Option<StoredSnapshot> {
        let status = self.status.as_ref()?;
        let report = status.report.as_ref()?;
        let (generation, text) = report.look.as_deref()?.split_once(' ')?;
        let is_same = Version::new(report.version) == Some(version)
            && generation.parse().ok() == self.metadata.generation;
        let described = ResourceStatus::deserialize(&status.resource_status).ok()?;
        let objects = described.manifests.into_iter().map(|manifest| {
            let meta = manifest.resource_meta;
            ObjectRef {
                group: meta.group,
                version: meta.version,
                kind: meta.kind,
                namespace: meta.namespace,
                name: meta.name,
            }
        });
        is_same.then(|| StoredSnapshot {
            objects: objects.collect(),
            text: text.into(),
        })
    }
}

fn record(status: ManifestWorkStatus) -> Option<StatusRecord> {
    let report = status.report?;
    let version = Version::new(report.version)?;
    let status = Status {
        conditions: status.conditions,
        resource_status: status.resource_status.manifests,
    };
    Some(StatusRecord {
        version,
        hash: status_hash(&status),
        status,
        acknowledged: false,
        applied_at: report.applied_at.and_then(|at| at.parse().ok()),
    })
}

/// What the source labelled the bundle with, and whose it is.
fn labels_of(head: &Head, consumer: &ConsumerName) -> BTreeMap<String, String> {
    let mut labels = labels(head.metadata.as_deref());
    labels.insert(crd::CONSUMER.into(), consumer.to_string());
    labels
}

fn annotations(head: &Head) -> [(&'static str, Option<String>); 10] {
    let id = (object_name(&head.id) != head.id.as_str()).then(|| head.id.to_string());
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    [
        (crd::ID, id),
        (crd::BUNDLE_NAME, bundle_name(head)),
        (crd::GENERATION, Some(head.version.to_string())),
        (SOURCE, Some(head.source.clone())),
        (CONTENT, Some(head.content.clone())),
        (METADATA, head.metadata.clone()),
        (LOG_TRACING, head.log_tracing.clone()),
        (RECEIVED_AT, time(head.received_at)),
        (DELETING_SINCE, time(head.deleting_since)),
        (REJECTED, head.rejected.clone()),
    ]
}

fn no_spec(spec: Option<&ManifestWorkSpec>) -> (&'static str, Option<String>) {
    (NO_SPEC, spec.is_none().then(|| "true".into()))
}

// A Go API server takes a number that is no int64 for a float, and writes a float that is whole without a fraction.
// What memory keeps has to equal what is read back, or a manifest would seem to change with a restart.
fn as_kept(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_i64().is_none() => {
            // Zero has no sign there.
            let float = number.as_f64().unwrap_or_default() + 0.0;
            if float.fract() == 0.0
                && float.abs() < EXPONENT
                && let Ok(kept) = serde_json::from_str(&float.to_string())
            {
                *value = kept;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(as_kept),
        Value::Object(fields) => fields.values_mut().for_each(as_kept),
        _ => {}
    }
}

// From here on a Go server writes an exponent.
const EXPONENT: f64 = 1e21;
// A reason ends up in a condition.
const LONGEST_REASON: usize = 200;

const SOURCE: &str = "work.open-cluster-management.io/source";
const CONTENT: &str = "work.open-cluster-management.io/content-sha256";
const METADATA: &str = "work.open-cluster-management.io/bundle-metadata";
const LOG_TRACING: &str = "work.open-cluster-management.io/log-tracing";
const RECEIVED_AT: &str = "work.open-cluster-management.io/received-at";
const DELETING_SINCE: &str = "work.open-cluster-management.io/deleting-since";
const REJECTED: &str = "work.open-cluster-management.io/rejected";
// An empty payload says something else than one without manifests.
const NO_SPEC: &str = "work.open-cluster-management.io/no-spec";

#[cfg(test)]
mod tests;
