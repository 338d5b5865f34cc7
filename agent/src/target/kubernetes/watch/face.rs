//! What an object looked like when it was last seen: enough to give it up without reading it first, because a deletion
//! that names this version is refused when anything about the object has changed since.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::flight::Flight;
use super::index::{Index, tracked};
use super::seen::Revision;
use super::tracked::Name;
use crate::target::kubernetes::discovery::Resource;
use crate::target::kubernetes::owners::is_applied_work;

/// An object in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Face {
    pub(crate) revision: Revision,
    pub(crate) uid: Box<str>,
    /// Uids of the AppliedManifestWorks that own it, ours and others'.
    pub(crate) keepers: Box<[Box<str>]>,
}

// === impl Face ===

impl Face {
    /// What metadata shows; nothing of an object that is terminating, of which other things matter.
    pub(crate) fn of(meta: &ObjectMeta) -> Option<Self> {
        if meta.deletion_timestamp.is_some() {
            return None;
        }
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        Self::new(
            meta.resource_version.as_deref()?,
            meta.uid.as_deref()?,
            owners,
        )
    }

    /// An object that was just written.
    pub(crate) fn new(revision: &str, uid: &str, owners: &[OwnerReference]) -> Option<Self> {
        let keepers = owners.iter().filter(|owner| is_applied_work(owner));
        (!revision.is_empty() && !uid.is_empty()).then(|| Self {
            revision: revision.into(),
            uid: uid.into(),
            keepers: keepers.map(|owner| owner.uid.as_str().into()).collect(),
        })
    }
}

// === impl Index ===

impl Index {
    /// Metadata of an object came, maybe after newer ones; `None` when it is terminating.
    pub(super) fn met(&self, resource: &Arc<Resource>, name: &Name, meta: &ObjectMeta) {
        let mut state = self.state();
        let Some(tracked) = tracked(&mut state.kinds, resource, name) else {
            return;
        };
        let at = Revision::from(meta.resource_version.as_deref().unwrap_or_default());
        let is_newer = |known: &Face| at.is_after(&known.revision);
        if tracked.face.as_ref().is_none_or(is_newer) {
            tracked.face = Face::of(meta);
        }
    }
}

// === impl Flight ===

impl Flight<'_> {
    /// The object as it was last seen.
    pub(crate) fn face(&self) -> Option<Face> {
        self.with_tracked(|tracked| tracked.face.clone())?
    }

    /// The object as the answer to a write shows it.
    pub(crate) fn met(&self, face: Option<Face>) {
        self.with_tracked_mut(|tracked| tracked.face = face);
    }
}
