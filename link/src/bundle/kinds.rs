//! What Kubernetes itself serves, as far as it is known without a cluster: which kinds have no namespace, and which
//! groups served the same objects under an older name. A cluster's discovery knows better; what is not in these tables
//! is not known here.

use super::manifest::ObjectRef;

/// What is known of a kind without a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Its objects lie in namespaces.
    Namespaced,
    /// Its objects have no namespace, whatever a manifest says.
    Cluster,
}

/// The scope of a kind of Kubernetes itself; `None` for any other.
pub fn scope(object: &ObjectRef) -> Option<Scope> {
    let kind = object.kind.as_str();
    let group = common_group(&object.group, kind);
    let (_, cluster, namespaced) = KINDS.iter().find(|(name, _, _)| *name == group)?;
    if cluster.contains(&kind) {
        Some(Scope::Cluster)
    } else if namespaced.contains(&kind) {
        Some(Scope::Namespaced)
    } else {
        None
    }
}

/// What two manifests of one and the same object have in common: the group that serves it today, its kind, its
/// namespace where it has one, its name. Versions do not count.
pub fn identity(object: &ObjectRef) -> ObjectRef {
    let mut identity = ObjectRef {
        group: common_group(&object.group, &object.kind).to_owned(),
        version: String::new(),
        ..object.clone()
    };
    if scope(object) == Some(Scope::Cluster) {
        identity.namespace.clear();
    }
    identity
}

/// The group that stands for all groups that serve, or served, the objects of a kind: the one it is served under today;
/// for nearly every kind the given one.
pub fn common_group<'a>(group: &'a str, kind: &str) -> &'a str {
    let moved = MOVED
        .iter()
        .find(|(old, kinds, _)| *old == group && kinds.contains(&kind));
    moved.map_or(group, |(_, _, now)| now)
}

/// A group, the kinds that were or are served by it too, and the group whose objects they are.
type Moved = (&'static str, &'static [&'static str], &'static str);

const MOVED: &[Moved] = &[
    (
        "extensions",
        &["DaemonSet", "Deployment", "ReplicaSet"],
        "apps",
    ),
    (
        "extensions",
        &["Ingress", "NetworkPolicy"],
        "networking.k8s.io",
    ),
    ("extensions", &["PodSecurityPolicy"], "policy"),
    ("extensions", &["ReplicationController"], ""),
    ("events.k8s.io", &["Event"], ""),
];

/// A group, its kinds without a namespace, and those with one.
type Group = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

// Their plurals are those of `ObjectRef::plural_guess`.
const KINDS: &[Group] = &[
    (
        "",
        &["ComponentStatus", "Namespace", "Node", "PersistentVolume"],
        &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
        &[],
    ),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"], &[]),
    ("apiregistration.k8s.io", &["APIService"], &[]),
    (
        "apps",
        &[],
        &[
            "ControllerRevision",
            "DaemonSet",
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
        ],
    ),
    ("autoscaling", &[], &["HorizontalPodAutoscaler"]),
    ("batch", &[], &["CronJob", "Job"]),
    ("certificates.k8s.io", &["CertificateSigningRequest"], &[]),
    ("coordination.k8s.io", &[], &["Lease"]),
    ("discovery.k8s.io", &[], &["EndpointSlice"]),
    (
        "flowcontrol.apiserver.k8s.io",
        &["FlowSchema", "PriorityLevelConfiguration"],
        &[],
    ),
    (
        "networking.k8s.io",
        &["IPAddress", "IngressClass", "ServiceCIDR"],
        &["Ingress", "NetworkPolicy"],
    ),
    ("node.k8s.io", &["RuntimeClass"], &[]),
    ("policy", &["PodSecurityPolicy"], &["PodDisruptionBudget"]),
    (
        "rbac.authorization.k8s.io",
        &["ClusterRole", "ClusterRoleBinding"],
        &["Role", "RoleBinding"],
    ),
    ("scheduling.k8s.io", &["PriorityClass"], &[]),
    (
        "storage.k8s.io",
        &[
            "CSIDriver",
            "CSINode",
            "StorageClass",
            "VolumeAttachment",
            "VolumeAttributesClass",
        ],
        &["CSIStorageCapacity"],
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(api_version: &str, kind: &str, namespace: &str) -> ObjectRef {
        ObjectRef::of(&json!({
            "apiVersion": api_version, "kind": kind, "metadata": {"name": "n", "namespace": namespace},
        }))
    }

    #[test]
    fn one_object_has_one_identity_whatever_its_manifest_says_of_version_group_and_namespace() {
        for (one, other) in [
            (
                object("autoscaling/v1", "HorizontalPodAutoscaler", "d"),
                object("autoscaling/v2", "HorizontalPodAutoscaler", "d"),
            ),
            (
                object("v1", "Namespace", ""),
                object("v1", "Namespace", "stray"),
            ),
            (
                object("rbac.authorization.k8s.io/v1", "ClusterRole", "a"),
                object("rbac.authorization.k8s.io/v1beta1", "ClusterRole", "b"),
            ),
            (
                object("extensions/v1beta1", "Ingress", "d"),
                object("networking.k8s.io/v1", "Ingress", "d"),
            ),
        ] {
            assert_eq!(identity(&one), identity(&other), "{one:?} {other:?}");
        }
        for (one, other) in [
            (
                object("v1", "ConfigMap", "a"),
                object("v1", "ConfigMap", "b"),
            ),
            (
                object("example.com/v1", "Namespace", "a"),
                object("example.com/v1", "Namespace", "b"),
            ),
            (
                object("example.com/v1", "Ingress", "a"),
                object("networking.k8s.io/v1", "Ingress", "a"),
            ),
        ] {
            assert_ne!(identity(&one), identity(&other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn scopes_are_known_of_kinds_of_kubernetes_only() {
        assert_eq!(scope(&object("v1", "Namespace", "")), Some(Scope::Cluster));
        assert_eq!(
            scope(&object("apps/v1", "Deployment", "")),
            Some(Scope::Namespaced)
        );
        assert_eq!(scope(&object("example.com/v1", "Deployment", "")), None);
        assert_eq!(scope(&object("apps/v1", "deployment", "")), None);
    }
}
