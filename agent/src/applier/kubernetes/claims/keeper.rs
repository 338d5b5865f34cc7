//! The AppliedManifestWork of a work on the server: made, changed, replaced and deleted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Error;
use serde_json::{Value, json};

use super::intent::Intent;
use super::{hash, object, place};
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
pub(in crate::applier::kubernetes) struct Keeper {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) life: Life,
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

/// Whether it can be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It does.
    Lives,
    /// We are deleting it.
    Leaves,
    /// Somebody deleted it.
    Terminates,
    /// It is not there any more.
    Gone,
}

// === impl Keeper ===

impl Keeper {
    /// Reads it; `agent_id` is ours.
    pub(super) fn of(work: &AppliedManifestWork, agent_id: &str) -> Self {
        let meta = &work.metadata;
        let status = work.status.as_ref();
        let annotations = meta.annotations.as_ref();
        let listed = status.map_or(&[][..], |status| &status.applied_resources);
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            life: if meta.deletion_timestamp.is_some() {
                Life::Terminates
            } else {
                Life::Lives
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
    pub(super) fn is_at_rest(&self) -> bool {
        let protected = self.finalizers.iter().any(|it| it == APPLIED_FINALIZER);
        let settled = !self.adopted && !self.evicting && self.retiring.is_empty();
        self.life == Life::Lives && settled && protected
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
    /// Makes the keeper say what the work is about to hold; at most one request when nothing is unusual.
    pub(super) async fn write_intent(
        &self,
        owner: &WorkId,
        record: &Record,
        mut keeper: Option<Keeper>,
    ) -> Result<Keeper, ApplierError> {
        let intent = Intent::of(owner, record).to_string();
        let usual = self.agent_id.applied_name(&object_name(owner));
        let mut name = usual.clone();
        let mut retiring = Vec::new();
        for _ in 0..ATTEMPTS {
            let patched = keeper.as_ref().filter(|it| it.life == Life::Lives);
            let patched = patched.map(Keeper::reference);
            let written = match keeper.take() {
                Some(known) if known.life == Life::Lives && known.says(&intent) => {
                    return Ok(known.taking_over(retiring));
                }
                Some(known) if known.life == Life::Lives => {
                    name.clone_from(&known.name);
                    retiring = owners::united(retiring, known.retiring.iter().cloned());
                    let patch = self.intent_patch(&known, &intent);
                    self.server.merge(&place(&name), &patch).await
                }
                Some(lost) => {
                    name.clone_from(&usual);
                    if lost.life != Life::Gone && lost.name == usual {
                        name = successor_name(&usual, &lost.uid);
                    }
                    let lost = lost.retiring.iter().cloned().chain([lost.reference()]);
                    retiring = owners::united(retiring, lost);
                    self.create_keeper(owner, &name, &intent).await
                }
                None => self.create_keeper(owner, &name, &intent).await,
            };
            match written {
                Ok(object) => {
                    let written = self.read_keeper(owner, &object)?;
                    if written.life == Life::Lives {
                        return Ok(written.taking_over(retiring));
                    }
                    keeper = Some(written);
                }
                // It is not the one that was known any more.
                Err(error) if is_missing(&error) && patched.is_some() => {
                    retiring = owners::united(retiring, patched);
                    name.clone_from(&usual);
                }
                Err(error) if is_conflict(&error) => {
                    retiring = owners::united(retiring, patched);
                    let found = self.server.get(&place(&name)).await;
                    let found = found.map_err(|error| explain(&error, "read", &object(&name)))?;
                    let found = found.map(|found| self.read_keeper(owner, &found));
                    keeper = found.transpose()?;
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

    async fn create_keeper(
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
        let keeper = json!({
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
        self.server.create(&place(name), &keeper).await
    }

    /// What makes a keeper say an intent.
    pub(super) fn intent_patch(&self, keeper: &Keeper, intent: &str) -> Value {
        let mut patch = json!({
            "metadata": {"uid": keeper.uid, "annotations": {CLAIMS: intent}},
        });
        if keeper.adopted {
            let id = self.agent_id.as_str();
            patch["spec"] = json!({"hubHash": id, "agentID": id});
        }
        if !keeper.finalizers.iter().any(|it| it == APPLIED_FINALIZER) {
            let all = keeper.finalizers.iter().map(String::as_str);
            let all: Vec<&str> = all.chain([APPLIED_FINALIZER]).collect();
            patch["metadata"]["finalizers"] = json!(all);
        }
        patch
    }

    fn read_keeper(&self, owner: &WorkId, object: &Value) -> Result<Keeper, ApplierError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let refused = |kind, words: String| ApplierError {
            kind,
            message: format!("AppliedManifestWork {name}: {words}"),
        };
        let read: AppliedManifestWork = serde_json::from_value(object.clone())
            .map_err(|error| refused(ApplierErrorKind::Unavailable, error.to_string()))?;
        if read.spec.manifest_work_name != object_name(owner) || !self.is_ours(&read.spec.agent_id)
        {
            let (agent, work) = (&read.spec.agent_id, &read.spec.manifest_work_name);
            let words = format!(
                "it belongs to agent `{agent}` and its work `{work}`; hint: give this agent an identity of its own"
            );
            let owner = agent.clone();
            return Err(refused(ApplierErrorKind::Conflict { owner }, words));
        }
        Ok(Keeper::of(&read, self.agent_id.as_str()))
    }

    /// Deletes an AppliedManifestWork that owns nothing any more and takes our finalizer off it.
    pub(super) async fn delete_keeper(&self, name: &str, uid: &str) -> Result<(), ApplierError> {
        let place = place(name);
        let failed = |error| explain(&error, "delete", &object(name));
        let going = match self.server.delete(&place, uid).await {
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
        match self.server.merge(&place, &patch).await {
            Err(error) if !is_missing(&error) && !is_conflict(&error) => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

// Of writing a keeper that somebody else writes or deletes at the same time.
const ATTEMPTS: usize = 4;
