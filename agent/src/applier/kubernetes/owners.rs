//! Owner references: how an object says which AppliedManifestWorks hold it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Map, Value};

/// The reference to an AppliedManifestWork. It neither controls the object nor blocks its own deletion.
pub(crate) fn reference(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.into(),
        kind: KIND.into(),
        name: name.into(),
        uid: uid.into(),
        ..OwnerReference::default()
    }
}

/// Whether an owner is an AppliedManifestWork, ours or another agent's.
pub(crate) fn is_applied_work(owner: &OwnerReference) -> bool {
    owner.kind == KIND && owner.api_version == API_VERSION
}

/// The owners of an object.
pub(super) fn of(object: &Value) -> Vec<OwnerReference> {
    let owners = &object["metadata"]["ownerReferences"];
    serde_json::from_value(owners.clone()).unwrap_or_default()
}

/// `owners` and those of `more` that are missing.
pub(super) fn united(
    mut owners: Vec<OwnerReference>,
    more: impl IntoIterator<Item = OwnerReference>,
) -> Vec<OwnerReference> {
    for owner in more {
        if owners.iter().all(|known| known.uid != owner.uid) {
            owners.push(owner);
        }
    }
    owners
}

/// Sets the owners of an object.
pub(super) fn set(object: &mut Value, owners: &[OwnerReference]) {
    if let Some(metadata) = metadata(object) {
        let owners = serde_json::to_value(owners).unwrap_or_default();
        metadata.insert("ownerReferences".into(), owners);
    }
}

/// The metadata of an object.
pub(super) fn metadata(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("metadata")?.as_object_mut()
}

/// The kind of the objects that own what works hold.
pub(super) const KIND: &str = "AppliedManifestWork";
pub(super) const API_VERSION: &str = "work.open-cluster-management.io/v1";
pub(super) const GROUP: &str = "work.open-cluster-management.io";
pub(super) const VERSION: &str = "v1";
