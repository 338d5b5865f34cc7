//! Which object coordinates name: the server's group, resource and scope decide, not the text of a manifest.
//!
//! A namespace means nothing for a kind without namespaces, a version never does, and a few kinds are served by two
//! groups that share their objects. Everything in this applier that tells objects apart goes by [`Inner::key`].

use std::sync::Arc;

use link::bundle::kinds::common_group;
use link::bundle::manifest::ObjectRef;

use super::Inner;
use super::explain::explain;
use super::resource::Resource;
use crate::applier::ownership::Share;
use crate::applier::{ApplierError, HeldObject, ObjectIdentity};

impl Inner {
    /// See [`crate::applier::Applier::learn`].
    pub(super) async fn learn(&self, declared: &[ObjectRef]) {
        for object in declared {
            if self.discovery.known(object).is_none() {
                // Applying the object asks too, and reports the error.
                drop(self.discovery.find(object).await);
            }
        }
    }

    /// See [`crate::applier::Applier::identify`].
    pub(super) fn identify(&self, declared: &ObjectRef) -> ObjectIdentity {
        let resource = self.discovery.serving(declared);
        let object = canonical(declared, resource.as_deref());
        let path = resource.as_deref().map(|it| problem(&object, it));
        ObjectIdentity {
            key: (path == Some(None)).then(|| key(&object)),
            resource: resource.map_or_else(|| object.plural_guess(), |it| it.plural.clone()),
            object,
        }
    }

    /// What an object goes by, also while its kind is not known.
    pub(super) fn key(&self, object: &ObjectRef) -> String {
        key(&self.canonical(object))
    }

    /// The coordinates without what means nothing.
    pub(super) fn canonical(&self, object: &ObjectRef) -> ObjectRef {
        canonical(object, self.discovery.serving(object).as_deref())
    }

    /// A share that goes by what is known of its object now; records may be older than that, or another agent's.
    pub(super) fn canonical_share(&self, share: &Share) -> Share {
        let object = self.canonical(&share.held.object());
        Share {
            key: key(&object),
            held: HeldObject {
                uid: share.held.uid.clone(),
                ..HeldObject::from(&object)
            },
            ..share.clone()
        }
    }

    /// Where an object can be reached; `None` when nothing serves it, or it has no location.
    pub(super) async fn reach(
        &self,
        object: &ObjectRef,
    ) -> Result<Option<Arc<Resource>>, ApplierError> {
        let found = self.discovery.find(object).await;
        let found = found.map_err(|error| explain(&error, "look up the kind of", object))?;
        let known = found.or_else(|| self.discovery.serving(object));
        let found = match known {
            None => self.discovery.serving_anew(object, &[]).await?,
            known => known,
        };
        Ok(found.filter(|resource| problem(object, resource).is_none()))
    }

    /// Where else it can be reached, when that path turned out not to be served; `lost` grows until nothing is left.
    pub(super) async fn reach_otherwise(
        &self,
        object: &ObjectRef,
        unserved: Arc<Resource>,
        lost: &mut Vec<Arc<Resource>>,
    ) -> Result<Option<Arc<Resource>>, ApplierError> {
        lost.push(unserved);
        let found = self.discovery.serving_anew(object, lost).await?;
        Ok(found.filter(|resource| problem(object, resource).is_none()))
    }
}

/// Why an object of a kind cannot be anywhere, if so.
pub(super) fn problem(object: &ObjectRef, resource: &Resource) -> Option<String> {
    if resource.namespaced && object.namespace.is_empty() {
        return Some("the manifest names no namespace; hint: set `metadata.namespace`".into());
    }
    if object.name.is_empty() {
        return Some("the manifest names no object; hint: set `metadata.name`".into());
    }
    let parts = [
        ("metadata.name", &object.name),
        ("metadata.namespace", &object.namespace),
    ];
    let odd = parts.into_iter().find(|(_, text)| {
        let is_odd = |character: char| {
            matches!(character, '/' | '%' | '?' | '#') || character.is_whitespace()
        };
        text.contains(is_odd) || matches!(text.as_str(), "." | "..")
    });
    odd.map(|(part, text)| format!("`{text}` is no {part}"))
}

fn canonical(object: &ObjectRef, resource: Option<&Resource>) -> ObjectRef {
    let mut object = object.clone();
    if resource.is_some_and(|resource| !resource.namespaced) {
        object.namespace.clear();
    }
    object
}

fn key(object: &ObjectRef) -> String {
    crate::applier::key(&ObjectRef {
        group: common_group(&object.group, &object.kind).into(),
        ..object.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(namespaced: bool) -> Resource {
        Resource {
            group: String::new(),
            version: "v1".into(),
            kind: "Thing".into(),
            plural: "things".into(),
            namespaced,
            watchable: true,
        }
    }

    fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> ObjectRef {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        ObjectRef {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_namespace_counts_only_where_a_kind_has_namespaces() {
        let stray = object("v1", "Thing", "a", "b");
        assert_eq!(canonical(&stray, Some(&resource(true))), stray);
        assert_eq!(canonical(&stray, None), stray);
        let bare = object("v1", "Thing", "", "b");
        assert_eq!(canonical(&stray, Some(&resource(false))), bare);
    }

    #[test]
    fn versions_and_groups_that_share_objects_are_one_and_others_are_apart() {
        let same = [
            ("v1", "events.k8s.io/v1", "Event"),
            ("extensions/v1beta1", "networking.k8s.io/v1", "Ingress"),
            ("extensions/v1beta1", "apps/v1", "Deployment"),
            (
                "autoscaling/v1",
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
            ),
        ];
        for (one, other, kind) in same {
            let key_in = |api_version| key(&object(api_version, kind, "a", "b"));
            assert_eq!(key_in(one), key_in(other), "{kind}");
        }
        let ingress = |api_version| key(&object(api_version, "Ingress", "a", "b"));
        assert_ne!(
            ingress("config.openshift.io/v1"),
            ingress("networking.k8s.io/v1")
        );
    }

    #[test]
    fn a_name_cannot_lead_to_another_path() {
        let of = |namespace, name| object("v1", "Thing", namespace, name);
        assert_eq!(problem(&of("a", "system:b.c"), &resource(true)), None);
        assert_eq!(problem(&of("", "a"), &resource(false)), None);
        for (namespace, name) in [
            ("", "a"),
            ("a", ""),
            ("a", "a/status"),
            ("a/b", "a"),
            ("a", ".."),
        ] {
            let found = problem(&of(namespace, name), &resource(true));
            assert!(found.is_some(), "{namespace} {name}");
        }
    }
}
