//! An object as it was last seen: enough to give it up without reading it first, because a deletion
//! that names this version is refused when anything about the object has changed since.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::observation::Revision;
use crate::applier::kubernetes::owners::is_applied_work;

/// An object in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectSnapshot {
    pub(crate) revision: Revision,
    pub(crate) uid: Box<str>,
    /// Uids of the AppliedManifestWorks that own it, ours and others'.
    pub(crate) owners: Box<[Box<str>]>,
}

// === impl ObjectSnapshot ===

impl ObjectSnapshot {
    /// What metadata shows; nothing of an object that is terminating, of which other things matter.
    pub(crate) fn of(meta: &ObjectMeta) -> Option<Self> {
        if meta.deletion_timestamp.is_some() {
            return None;
        }
        let owners = meta.owner_references.iter().flatten();
        let applied_works = owners.filter(|owner| is_applied_work(owner));
        Some(Self {
            revision: meta.resource_version.as_deref()?.into(),
            uid: meta.uid.as_deref()?.into(),
            owners: applied_works
                .map(|owner| owner.uid.as_str().into())
                .collect(),
        })
    }
}
