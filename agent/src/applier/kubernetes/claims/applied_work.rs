//! The AppliedManifestWork of a work on the server: made, changed, replaced and deleted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Error;
use serde_json::{Value, json};

use super::intent_record::IntentRecord;
use super::{hash, object, path};
use crate::applier::kubernetes::explain::explain;
use crate::applier::kubernetes::identity::successor_name;
use crate::applier::kubernetes::owners::{API_VERSION, KIND};
use crate::applier::kubernetes::server::{is_conflict, is_missing};
use crate::applier::kubernetes::{Inner, owners};
use crate::applier::ownership::Record;
use crate::applier::{ApplierError, ApplierErrorKind, RecordMetadata};
use crate::crd::{APPLIED_FINALIZER, AppliedManifestWork, AppliedResource, BUNDLE_NAME, CLAIMS};
use crate::work_id::{WorkId, object_name};

/// The AppliedManifestWork of a work.
#[derive(Clone, Debug)]
pub(in crate::applier::kubernetes) struct AppliedWork {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) lifecycle: Lifecycle,
    finalizers: Vec<String>,
    // It carries the identity of an agent whose works were adopted.
    pub(super) adopted: bool,
    // A Go agent has begun to evict it.
    pub(super) evicting: bool,
    // Hashes of what stands in its annotation and its status.
    pub(super) intent: u64,
    pub(super) listed: u64,
    // Others whose objects it takes over.
    pub(super) retiring: Vec<OwnerReference>,
}

/// Where it is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifecycle {
    /// It is there.
    Active,
    /// We are deleting it.
    Deleting,
    /// Somebody deleted it.
    Terminating,
    /// It is not there any more.
    Gone,
}

// === impl AppliedWork ===

impl AppliedWork {
    /// Reads it; `agent_id` is ours.
    pub(super) fn of(work: &AppliedManifestWork, agent_id: &str) -> Self {
        let meta = &work.metadata;
        let status = work.status.as_ref();
        let annotations = meta.annotations.as_ref();
        let listed = status.map_or(&[][..], |status| &status.applied_resources);
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            lifecycle: if meta.deletion_timestamp.is_some() {
                Lifecycle::Terminating
            } else {
                Lifecycle::Active
            },
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            adopted: work.spec.agent_id != agent_id,
            evicting: status.is_some_and(|status| status.eviction_start_time.is_some()),
            intent: hash(
                annotations
                    .and_then(|all| all.get(CLAIMS))
                    .unwrap_or(&String::new()),
            ),
            listed: hash(listed),
            retiring: Vec::new(),
        }
    }

    /// As an owner.
    pub(super) fn reference(&self) -> OwnerReference {
        owners::reference(&self.name, &self.uid)
    }

    /// Whether its status lists what was applied.
    pub(super) fn has_list(&self) -> bool {
        self.listed != hash(&[] as &[AppliedResource])
    }

    /// Whether nothing is to be done about it.
    pub(super) fn is_settled(&self) -> bool {
        let protected = self.finalizers.iter().any(|it| it == APPLIED_FINALIZER);
        let settled = !self.adopted && !self.evicting && self.retiring.is_empty();
        self.lifecycle == Lifecycle::Active && settled && protected
    }

    fn taking_over(mut self, others: Vec<OwnerReference>) -> Self {
        self.retiring = owners::united(self.retiring, others);
        self.retiring.retain(|other| other.uid != self.uid);
        self
    }

    /// Whether it says this, is ours and is protected.
    pub(super) fn says(&self, intent: &str) -> bool {
        let protected = self.finalizers.iter().any(|it| it == APPLIED_FINALIZER);
        self.intent == hash(intent) && !self.adopted && protected
    }
}

// === impl Inner ===

impl Inner {
    /// Writes into the AppliedManifestWork what the work is about to hold; at most one request when nothing is unusual.
    pub(super) async fn write_intent(
        &self,
        owner: &WorkId,
        record: &Record,
        mut applied_work: Option<AppliedWork>,
    ) -> Result<AppliedWork, ApplierError> {
        let intent = IntentRecord::of(owner, record).to_string();
        let usual = self.agent_id.applied_name(&object_name(owner));
        let mut name = usual.clone();
        let mut retiring = Vec::new();
        for _ in 0..ATTEMPTS {
            let patched = applied_work
                .as_ref()
                .filter(|it| it.lifecycle == Lifecycle::Active);
            let patched = patched.map(AppliedWork::reference);
            let written = match applied_work.take() {
                Some(known) if known.lifecycle == Lifecycle::Active && known.says(&intent) => {
                    return Ok(known.taking_over(retiring));
                }
                Some(known) if known.lifecycle == Lifecycle::Active => {
                    name.clone_from(&known.name);
                    retiring = owners::united(retiring, known.retiring.iter().cloned());
                    let patch = self.intent_patch(&known, &intent);
                    self.server.merge(&path(&name), &patch).await
                }
                Some(lost) => {
                    name.clone_from(&usual);
                    if lost.lifecycle != Lifecycle::Gone && lost.name == usual {
                        name = successor_name(&usual, &lost.uid);
                    }
                    let lost = lost.retiring.iter().cloned().chain([lost.reference()]);
                    retiring = owners::united(retiring, lost);
                    self.create_applied_work(owner, &name, &intent).await
                }
                None => self.create_applied_work(owner, &name, &intent).await,
            };
            match written {
                Ok(object) => {
                    let written = self.read_applied_work(owner, &object)?;
                    if written.lifecycle == Lifecycle::Active {
                        return Ok(written.taking_over(retiring));
                    }
                    applied_work = Some(written);
                }
                // It is not the one that was known any more.
                Err(error) if is_missing(&error) && patched.is_some() => {
                    retiring = owners::united(retiring, patched);
                    name.clone_from(&usual);
                }
                Err(error) if is_conflict(&error) => {
                    retiring = owners::united(retiring, patched);
                    let found = self.server.get(&path(&name)).await;
                    let found = found.map_err(|error| explain(&error, "read", &object(&name)))?;
                    let found = found.map(|found| self.read_applied_work(owner, &found));
                    applied_work = found.transpose()?;
                }
                Err(error) => return Err(explain(&error, "write", &object(&name))),
            }
        }
        Err(ApplierError {
            kind: ApplierErrorKind::Unavailable,
            message: format!(
                "write {}: somebody else keeps writing or deleting it",
                object(&name)
            ),
        })
    }

    async fn create_applied_work(
        &self,
        owner: &WorkId,
        name: &str,
        intent: &str,
    ) -> Result<Value, Error> {
        let id = self.agent_id.as_str();
        let metadata = self.claims().metadata.get(owner).cloned();
        let RecordMetadata {
            labels,
            bundle_name,
        } = metadata.unwrap_or_default();
        let mut annotations = json!({CLAIMS: intent});
        if let Some(name) = bundle_name {
            annotations[BUNDLE_NAME] = json!(name);
        }
        let applied_work = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": name,
                "labels": labels,
                "finalizers": [APPLIED_FINALIZER],
                "annotations": annotations,
            },
            "spec": {"hubHash": id, "agentID": id, "manifestWorkName": object_name(owner)},
        });
        self.server.create(&path(name), &applied_work).await
    }

    /// The patch that writes an intent record.
    pub(super) fn intent_patch(&self, applied_work: &AppliedWork, intent: &str) -> Value {
        let mut patch = json!({
            "metadata": {"uid": applied_work.uid, "annotations": {CLAIMS: intent}},
        });
        if applied_work.adopted {
            let id = self.agent_id.as_str();
            patch["spec"] = json!({"hubHash": id, "agentID": id});
        }
        if !applied_work
            .finalizers
            .iter()
            .any(|it| it == APPLIED_FINALIZER)
        {
            let all = applied_work.finalizers.iter().map(String::as_str);
            let all: Vec<&str> = all.chain([APPLIED_FINALIZER]).collect();
            patch["metadata"]["finalizers"] = json!(all);
        }
        patch
    }

    fn read_applied_work(
        &self,
        owner: &WorkId,
        object: &Value,
    ) -> Result<AppliedWork, ApplierError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let refused = |kind, problem: String| ApplierError {
            kind,
            message: format!("AppliedManifestWork {name}: {problem}"),
        };
        let read: AppliedManifestWork = serde_json::from_value(object.clone())
            .map_err(|error| refused(ApplierErrorKind::Unavailable, error.to_string()))?;
        if read.spec.manifest_work_name != object_name(owner) || !self.is_ours(&read.spec.agent_id)
        {
            let (agent, work) = (&read.spec.agent_id, &read.spec.manifest_work_name);
            let problem = format!(
                "it belongs to agent `{agent}` and its work `{work}`; hint: give this agent an identity of its own"
            );
            let owner = agent.clone();
            return Err(refused(ApplierErrorKind::Conflict { owner }, problem));
        }
        Ok(AppliedWork::of(&read, self.agent_id.as_str()))
    }

    /// Deletes an AppliedManifestWork that owns nothing any more and takes our finalizer off it.
    pub(super) async fn delete_applied_work(
        &self,
        name: &str,
        uid: &str,
    ) -> Result<(), ApplierError> {
        let path = path(name);
        let failed = |error| explain(&error, "delete", &object(name));
        let going = match self.server.delete(&path, uid).await {
            Err(error) if is_missing(&error) || is_conflict(&error) => return Ok(()),
            going => going.map_err(failed)?,
        };
        let finalizers = going["metadata"]["finalizers"].as_array();
        let Some(finalizers) = finalizers.filter(|all| !all.is_empty()) else {
            return Ok(());
        };
        let others = finalizers.iter().filter(|it| *it != APPLIED_FINALIZER);
        let others: Vec<&Value> = others.collect();
        let patch = json!({"metadata": {"uid": uid, "finalizers": others}});
        match self.server.merge(&path, &patch).await {
            Err(error) if !is_missing(&error) && !is_conflict(&error) => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

// Of writing an object that somebody else writes or deletes at the same time.
const ATTEMPTS: usize = 4;
