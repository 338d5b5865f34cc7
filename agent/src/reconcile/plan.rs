//! The pure half of reconcile: in which order manifests are applied, which settings hold for each, and what becomes of
//! objects that a work holds and does not claim any more.
//!
//! The applier decides which object a manifest declares ([`ObjectIdentity`]). While it cannot, nothing is claimed for
//! the manifest, and nothing is given up that may turn out to be its object.

use std::collections::HashMap;

use link::bundle::manifest::ObjectRef;
use link::bundle::rules::ObjectSelector;
use link::bundle::{DeleteOption, ManifestConfig, Spec};
use serde_json::Value;

use super::Reconciler;
use crate::applier::{
    Applier, ApplierError, ApplierErrorKind, HeldObject, ObjectIdentity, Release, key,
};
use crate::planned::PlannedManifest;
use crate::work::Store;

// === impl Reconciler ===

impl<S: Store, T: Applier> Reconciler<S, T> {
    /// Has the applier learn what the manifests are of, then plans.
    pub(super) async fn plan(&self, spec: Spec) -> Vec<PlannedManifest> {
        let declared: Vec<ObjectRef> = spec.manifests.iter().map(ObjectRef::of).collect();
        self.applier.learn(&declared).await;
        plan(spec, |object| self.applier.identify(object))
    }
}

/// Orders a spec's manifests by kind rank, stably, and looks their settings up. Of several manifests that declare one
/// object the first counts.
pub fn plan(spec: Spec, identify: impl Fn(&ObjectRef) -> ObjectIdentity) -> Vec<PlannedManifest> {
    let Spec {
        manifests,
        manifest_configs: configs,
        ..
    } = spec;
    let definitions = definitions(&manifests);
    let mut first: HashMap<String, (usize, ObjectRef)> = HashMap::new();
    let mut plan = Vec::with_capacity(manifests.len());
    for (ordinal, manifest) in manifests.into_iter().enumerate() {
        let declared = ObjectRef::of(&manifest);
        let mut identity = identify(&declared);
        if let Some(definition) = definitions.iter().find(|it| it.defines(&declared)) {
            definition.complete(&mut identity);
        }
        let ObjectIdentity {
            object,
            resource,
            key,
        } = identity;
        let known = key.as_ref().and_then(|key| first.get(key));
        let refused = known.map(|(at, before)| twice(ordinal, &declared, *at, before));
        if let Some(key) = key.clone().filter(|_| refused.is_none()) {
            first.insert(key, (ordinal, declared));
        }
        let matching: Vec<&ManifestConfig> = configs
            .iter()
            .filter(|config| {
                ObjectSelector::from(&config.resource_identifier).selects(&object, &resource)
            })
            .collect();
        // Per field the first matching configuration that sets it.
        plan.push(PlannedManifest {
            strategy: matching
                .iter()
                .find_map(|config| config.update_strategy.as_ref())
                .into(),
            feedback: matching
                .iter()
                .find(|config| !config.feedback_rules.is_empty())
                .map(|config| config.feedback_rules.clone())
                .unwrap_or_default(),
            conditions: matching
                .iter()
                .find(|config| !config.condition_rules.is_empty())
                .map(|config| config.condition_rules.clone())
                .unwrap_or_default(),
            ordinal,
            object,
            resource,
            key,
            refused,
            manifest,
        });
    }
    plan.sort_by_key(|planned| rank(&planned.object));
    plan
}

/// What is to be given up of what is held and not claimed any more, and how. What a manifest still declares, though
/// only to be read, stays without an owner; what may be the object of a manifest without a location is not given up yet.
pub fn given_up(
    plan: &[PlannedManifest],
    stale: Vec<HeldObject>,
    mode: impl Fn(&HeldObject) -> Release,
    identify: impl Fn(&ObjectRef) -> ObjectIdentity,
) -> Vec<(HeldObject, Release)> {
    let may_be_declared = |held: &HeldObject| {
        let mut homeless = plan.iter().filter(|planned| planned.key.is_none());
        homeless.any(|planned| planned.object.name == held.name)
    };
    let stale = stale.into_iter().filter(|held| !may_be_declared(held));
    stale
        .map(|held| {
            let key = identify(&held.object()).key;
            let is_declared = key.is_some() && plan.iter().any(|planned| planned.key == key);
            let mode = if is_declared {
                Release::Orphan
            } else {
                mode(&held)
            };
            (held, mode)
        })
        .collect()
}

/// What happens to an object the work gives up (docs/MAESTRO.md §6.6).
pub fn release_mode(option: Option<&DeleteOption>, object: &ObjectRef, resource: &str) -> Release {
    let Some(option) = option else {
        return Release::Remove;
    };
    match option.propagation_policy.as_deref() {
        Some("Orphan") => Release::Orphan,
        Some("SelectivelyOrphan") => {
            let rules = option
                .selectively_orphans
                .iter()
                .flat_map(|orphans| &orphans.orphaning_rules);
            let spared = rules.into_iter().any(|rule| {
                rule.group == object.group
                    && rule.resource == resource
                    && rule.name == object.name
                    && (object.namespace.is_empty() || rule.namespace == object.namespace)
            });
            if spared {
                Release::Orphan
            } else {
                Release::Remove
            }
        }
        _ => Release::Remove,
    }
}

/// A kind that a manifest of the spec defines: the applier may not know it yet.
struct Definition {
    group: String,
    kind: String,
    plural: String,
    namespaced: bool,
}

// === impl Definition ===

impl Definition {
    fn of(manifest: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(String::from);
        let spec = &manifest["spec"];
        Some(Self {
            group: text(&spec["group"])?,
            kind: text(&spec["names"]["kind"])?,
            plural: text(&spec["names"]["plural"])?,
            namespaced: spec["scope"] != "Cluster",
        })
    }

    fn defines(&self, object: &ObjectRef) -> bool {
        object.group == self.group && object.kind == self.kind
    }

    /// Says what the applier could not.
    fn complete(&self, identity: &mut ObjectIdentity) {
        identity.resource.clone_from(&self.plural);
        if identity.key.is_some() {
            return;
        }
        let object = &mut identity.object;
        if !self.namespaced {
            object.namespace.clear();
        }
        let has_place = self.namespaced != object.namespace.is_empty();
        identity.key = has_place.then(|| key(object));
    }
}

fn definitions(manifests: &[Value]) -> Vec<Definition> {
    let definitions = manifests
        .iter()
        .filter(|manifest| manifest["kind"] == "CustomResourceDefinition");
    definitions.filter_map(Definition::of).collect()
}

fn twice(ordinal: usize, object: &ObjectRef, first: usize, before: &ObjectRef) -> ApplierError {
    let describe = |object: &ObjectRef| {
        let separator = if object.group.is_empty() { "" } else { "/" };
        format!("{}{separator}{} {object}", object.group, object.version)
    };
    ApplierError {
        kind: ApplierErrorKind::Invalid,
        message: format!(
            "manifests[{ordinal}] ({}) declares the object that manifests[{first}] ({}) declares; \
             hint: leave one of the two out",
            describe(object),
            describe(before)
        ),
    }
}

// The ranks of docs/MAESTRO.md §6.4.
fn rank(object: &ObjectRef) -> u32 {
    match object.kind.as_str() {
        "PriorityClass"
        | "Namespace"
        | "CustomResourceDefinition"
        | "StorageClass"
        | "PersistentVolume"
        | "PodSecurityPolicy" => 0,
        "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" => 1,
        "NetworkPolicy"
        | "ResourceQuota"
        | "LimitRange"
        | "PodDisruptionBudget"
        | "ServiceAccount" => 2,
        "Secret" | "ConfigMap" | "PersistentVolumeClaim" => 3,
        "Service" => 4,
        "DaemonSet"
        | "Pod"
        | "ReplicationController"
        | "ReplicaSet"
        | "Deployment"
        | "HorizontalPodAutoscaler"
        | "StatefulSet"
        | "Job"
        | "CronJob" => 5,
        "APIService"
        | "MutatingWebhookConfiguration"
        | "ValidatingWebhookConfiguration"
        | "ValidatingAdmissionPolicy"
        | "ValidatingAdmissionPolicyBinding" => 6,
        "" => 1001,
        _ => 1000,
    }
}

#[cfg(test)]
mod tests;
