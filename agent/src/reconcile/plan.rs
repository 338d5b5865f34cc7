//! The pure half of reconcile: in which order manifests are applied and which settings hold for each.

use link::bundle::manifest::ObjectRef;
use link::bundle::rules::{Named, defined};
use link::bundle::{ConditionRule, DeleteOption, FeedbackRule, ManifestConfig, Spec};
use serde_json::Value;

use crate::target::{Claim, Release, Strategy};
use crate::work::sha256_hex;

/// One manifest with everything needed to apply and judge it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Index in the spec.
    pub ordinal: usize,
    /// Which object.
    pub object: ObjectRef,
    /// Plural resource name.
    pub resource: String,
    /// The manifest.
    pub manifest: Value,
    /// How to apply it.
    pub strategy: Strategy,
    /// What to read back.
    pub feedback: Vec<FeedbackRule>,
    /// Conditions to compute.
    pub conditions: Vec<ConditionRule>,
}

// === impl Step ===

impl Step {
    /// What the work claims of the target for this manifest; nothing when it only reads.
    pub fn claim(&self) -> Option<Claim> {
        if self.strategy == Strategy::ReadOnly {
            return None;
        }
        let insists = self.strategy.insists_on_content();
        let content = insists.then(|| sha256_hex(self.manifest.to_string().as_bytes()));
        Some(Claim {
            object: self.object.clone(),
            content,
        })
    }
}

/// Orders a spec's manifests by kind rank, stably, and looks their settings up.
pub fn plan(spec: Spec, resource: impl Fn(&ObjectRef) -> String) -> Vec<Step> {
    let Spec {
        manifests,
        manifest_configs: configs,
        ..
    } = spec;
    let defined = defined(&manifests);
    let resource = |object: &ObjectRef| {
        let kind = (object.group.as_str(), object.kind.as_str());
        let defined = defined
            .iter()
            .find(|(group, name, _)| (group.as_str(), name.as_str()) == kind);
        defined.map_or_else(|| resource(object), |(_, _, plural)| plural.clone())
    };
    let mut steps: Vec<Step> = manifests
        .into_iter()
        .enumerate()
        .map(|(ordinal, manifest)| {
            let object = ObjectRef::of(&manifest);
            let resource = resource(&object);
            let matching: Vec<&ManifestConfig> = configs
                .iter()
                .filter(|config| Named::from(&config.resource_identifier).means(&object, &resource))
                .collect();
            // Per field the first matching configuration that sets it.
            Step {
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
                manifest,
            }
        })
        .collect();
    steps.sort_by_key(|step| rank(&step.object));
    steps
}

/// What happens to an object the work gives up (wire.md §6.6).
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
                    && rule.namespace == object.namespace
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

// The ranks of wire.md §6.4.
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
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn manifests_are_applied_by_rank_and_keep_their_ordinal() {
        let manifest = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
        let spec = Spec {
            manifests: vec![
                manifest("Widget", "w"),
                manifest("Deployment", "d"),
                manifest("ConfigMap", "b"),
                manifest("ConfigMap", "a"),
                manifest("Namespace", "n"),
            ],
            ..Spec::default()
        };
        let order: Vec<(usize, String)> = plan(spec, ObjectRef::plural_guess)
            .into_iter()
            .map(|step| (step.ordinal, step.object.name))
            .collect();
        let order: Vec<(usize, &str)> = order.iter().map(|(o, n)| (*o, n.as_str())).collect();
        assert_eq!(order, [(4, "n"), (2, "b"), (3, "a"), (1, "d"), (0, "w")]);
    }

    #[test]
    fn the_first_matching_configuration_that_sets_a_field_wins() {
        let spec: Spec = serde_json::from_value(json!({
            "manifests": [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "d"}}],
            "manifestConfigs": [
                {"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "other", "namespace": "d"}, "updateStrategy": {"type": "ReadOnly"}},
                {"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "w*", "namespace": "*"}, "feedbackRules": [{"type": "WellKnownStatus"}]},
                {"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "web", "namespace": "d"}, "updateStrategy": {"type": "CreateOnly"}, "feedbackRules": [{"type": "JSONPaths"}]}
            ]
        }))
        .unwrap();
        let step = plan(spec, ObjectRef::plural_guess).remove(0);
        assert_eq!(step.strategy, Strategy::CreateOnly);
        assert_eq!(step.feedback[0].kind, "WellKnownStatus");
    }

    #[test]
    fn a_kind_that_the_spec_itself_defines_goes_by_its_plural() {
        let spec: Spec = serde_json::from_value(json!({
            "manifests": [
                {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "w"},
                 "spec": {"group": "example.com", "names": {"kind": "Widget", "plural": "widgeten"}}},
                {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "d"}}
            ],
            "manifestConfigs": [
                {"resourceIdentifier": {"group": "example.com", "resource": "widgeten", "name": "w", "namespace": "d"}, "updateStrategy": {"type": "ReadOnly"}}
            ]
        }))
        .unwrap();
        let step = plan(spec, ObjectRef::plural_guess).remove(1);
        assert_eq!(
            (step.resource.as_str(), step.strategy),
            ("widgeten", Strategy::ReadOnly)
        );
    }
}
