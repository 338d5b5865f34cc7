//! The message about a kind that the API server does not have: what it has instead, or what is to be installed.

use std::sync::{Arc, PoisonError};

use link::bundle::manifest::ObjectRef;

use super::Discovery;
use crate::applier::kubernetes::resource::{Resource, api_version};
use crate::applier::{ApplierError, ApplierErrorKind};

impl Discovery {
    /// The object cannot be applied, because the API server does not have its kind.
    pub(crate) fn unknown_kind(&self, object: &ObjectRef) -> ApplierError {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let resources: Vec<&Arc<Resource>> = versions.values().flatten().collect();
        let wanted = api_version(&object.group, &object.version);
        let kind = &object.kind;
        let hint = hint(object, &resources);
        ApplierError {
            kind: ApplierErrorKind::UnknownKind,
            message: format!(
                "apply {object}: no matches for kind \"{kind}\" in version \"{wanted}\"; hint: {hint}"
            ),
        }
    }
}

fn hint(object: &ObjectRef, resources: &[&Arc<Resource>]) -> String {
    let ObjectRef { group, kind, .. } = object;
    let wanted = api_version(group, &object.version);
    let plural = kind.to_lowercase();
    // By whatever name: `deployment`, `Deployments`, `configmap`.
    let is_meant = |it: &&&Arc<Resource>| it.kind.eq_ignore_ascii_case(kind) || it.plural == plural;
    let meant = resources.iter().filter(is_meant);
    if let Some(there) = meant.clone().find(|it| it.api_version() == wanted) {
        return format!("the kind is written `{}`", there.kind);
    }
    // Kinds of other installed groups may have the same name by chance.
    let installed = group.contains('.') && !group.ends_with(".k8s.io");
    let mut elsewhere: Vec<String> = meant
        .filter(|it| !installed || it.group == *group)
        .map(|it| format!("`{}` in `{}`", it.kind, it.api_version()))
        .collect();
    elsewhere.sort();
    elsewhere.dedup();
    elsewhere.truncate(LISTED);

    let of_group = |it: &&&Arc<Resource>| it.group == *group;
    let mut served: Vec<String> = resources
        .iter()
        .filter(of_group)
        .map(|it| it.api_version())
        .collect();
    served.sort();
    served.dedup();
    let here = if served.contains(&wanted) {
        let mut kinds: Vec<String> = resources
            .iter()
            .filter(|it| it.api_version() == wanted)
            .map(|it| format!("`{}`", it.kind))
            .collect();
        kinds.sort();
        kinds.dedup();
        let kinds = match kinds.len() {
            more if more > LISTED => String::new(),
            _ => format!(" ({} is there)", kinds.join(", ")),
        };
        format!("`{wanted}` of this cluster has no `{kind}`{kinds}")
    } else {
        format!("this cluster does not serve `{wanted}`")
    };
    // A group without a dot belongs to Kubernetes itself: nobody can install it.
    let installable = format!(
        "apply the CustomResourceDefinition of `{kind}` in group `{group}`; the work is tried again then"
    );
    match (elsewhere.as_slice(), group.contains('.')) {
        ([], true) if served.is_empty() => installable,
        ([], true) => format!("{here}; {installable}"),
        ([], false) if group.is_empty() => {
            format!("{here}: check `apiVersion` and `kind`")
        }
        ([], false) => format!("{here}, and no `{kind}` in any other version or group"),
        (found, _) => format!("{here}; it has {}", found.join(" and ")),
    }
}

// More would be a list and no hint.
const LISTED: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(api_version: &str, kind: &str, plural: &str) -> Arc<Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Arc::new(Resource {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            namespaced: true,
            watchable: true,
        })
    }

    #[test]
    fn a_kind_that_is_missing_is_told_with_what_is_there_instead() {
        let all = [
            resource("v1", "ConfigMap", "configmaps"),
            resource("apps/v1", "Deployment", "deployments"),
            resource("networking.k8s.io/v1", "Ingress", "ingresses"),
            resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            resource(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                "customresourcedefinitions",
            ),
            resource("example.com/v1", "Widget", "widgets"),
        ];
        let all: Vec<_> = all.iter().collect();
        for (api_version, kind, expected) in [
            (
                "extensions/v1beta1",
                "Ingress",
                "this cluster does not serve `extensions/v1beta1`; it has `Ingress` in `networking.k8s.io/v1`",
            ),
            (
                "policy/v1beta1",
                "PodSecurityPolicy",
                "this cluster does not serve `policy/v1beta1`, and no `PodSecurityPolicy` in any other version or group",
            ),
            (
                "policy/v1",
                "PodSecurityPolicy",
                "`policy/v1` of this cluster has no `PodSecurityPolicy` (`PodDisruptionBudget` is there), and no \
                 `PodSecurityPolicy` in any other version or group",
            ),
            (
                "apiextensions.k8s.io/v1beta1",
                "CustomResourceDefinition",
                "this cluster does not serve `apiextensions.k8s.io/v1beta1`; it has `CustomResourceDefinition` in \
                 `apiextensions.k8s.io/v1`",
            ),
            ("apps/v1", "deployment", "the kind is written `Deployment`"),
            ("apps/v1", "Deployments", "the kind is written `Deployment`"),
            ("v1", "configmap", "the kind is written `ConfigMap`"),
            (
                "apps/v1",
                "ConfigMap",
                "`apps/v1` of this cluster has no `ConfigMap` (`Deployment` is there); it has `ConfigMap` in `v1`",
            ),
            (
                "v1",
                "Nothing",
                "`v1` of this cluster has no `Nothing` (`ConfigMap` is there): check `apiVersion` and `kind`",
            ),
            (
                "gadgets.example/v1",
                "Gadget",
                "apply the CustomResourceDefinition of `Gadget` in group `gadgets.example`; the work is tried again \
                 then",
            ),
            (
                "example.com/v2",
                "Widget",
                "this cluster does not serve `example.com/v2`; it has `Widget` in `example.com/v1`",
            ),
            (
                "other.example/v1",
                "Widget",
                "apply the CustomResourceDefinition of `Widget` in group `other.example`; the work is tried again \
                 then",
            ),
        ] {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let object = ObjectRef {
                group: group.into(),
                version: version.into(),
                kind: kind.into(),
                namespace: "d".into(),
                name: "x".into(),
            };
            assert_eq!(hint(&object, &all), expected, "{api_version} {kind}");
        }
    }
}
