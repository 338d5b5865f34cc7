//! A kind of objects at the API server: its names, its scope, its path.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use link::bundle::kinds::common_group;

/// A kind of objects at the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource {
    /// API group, empty for the core group.
    pub(crate) group: String,
    /// API version.
    pub(crate) version: String,
    /// Kind.
    pub(crate) kind: String,
    /// Plural name in paths.
    pub(crate) plural: String,
    /// Whether its objects lie in namespaces.
    pub(crate) namespaced: bool,
    /// Whether it can be listed and watched.
    pub(crate) watchable: bool,
}

// === impl Resource ===

impl Resource {
    /// `apiVersion` of its objects.
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Whether another group would serve the same objects under the same kind.
    pub(super) fn shares_objects_of(&self, group: &str) -> bool {
        common_group(group, &self.kind) == common_group(&self.group, &self.kind)
    }

    /// The path of all objects, or of those of one namespace.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "api" } else { "apis" };
        let (api_version, plural) = (self.api_version(), &self.plural);
        match namespace {
            Some(namespace) => format!("/{root}/{api_version}/namespaces/{namespace}/{plural}"),
            None => format!("/{root}/{api_version}/{plural}"),
        }
    }

    pub(super) fn of(resource: APIResource, group: &str, version: &str) -> Self {
        Self {
            // A list may hold resources of other groups; the path is that of the list all the same.
            group: group.into(),
            version: version.into(),
            watchable: is_watchable(&resource.verbs),
            kind: resource.kind,
            plural: resource.name,
            namespaced: resource.namespaced,
        }
    }
}

/// Whether objects of a kind with these verbs can be listed and watched.
pub(super) fn is_watchable(verbs: &[String]) -> bool {
    ["list", "watch"]
        .iter()
        .all(|needed| verbs.iter().any(|verb| verb == needed))
}

/// `apiVersion` of a group and a version.
pub(super) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.into()
    } else {
        format!("{group}/{version}")
    }
}

/// The plural of CustomResourceDefinitions.
pub(super) const DEFINITIONS: &str = "customresourcedefinitions";
/// Their group.
pub(super) const DEFINITIONS_GROUP: &str = "apiextensions.k8s.io";
