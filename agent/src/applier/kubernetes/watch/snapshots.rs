//! Keeps the snapshots of objects as they were last seen, by this process and by the one before.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use link::bundle::manifest::ObjectRef;

use super::access::ObjectAccess;
use super::index::{WatchIndex, tracked};
use super::observation::{Observation, Revision};
use super::snapshot::ObjectSnapshot;
use super::tracked::{ObjectName, name};
use crate::applier::Fingerprint;
use crate::applier::kubernetes::resource::Resource;
use crate::applier::kubernetes::resume::applied_digest;
use crate::work_id::WorkId;

// === impl WatchIndex ===

impl WatchIndex {
    /// Metadata of an object came, maybe after newer ones; `None` when it is terminating.
    pub(super) fn note_metadata(
        &self,
        resource: &Arc<Resource>,
        name: &ObjectName,
        meta: &ObjectMeta,
    ) {
        let mut state = self.state();
        let Some(tracked) = tracked(&mut state.kinds, resource, name) else {
            return;
        };
        let at = Revision::from(meta.resource_version.as_deref().unwrap_or_default());
        let is_newer = |known: &ObjectSnapshot| at.is_after(&known.revision);
        if tracked.snapshot.as_ref().is_none_or(is_newer) {
            tracked.snapshot = ObjectSnapshot::of(meta);
        }
        for interest in &mut tracked.interests {
            let Observation::Before(_, Some(before)) = &interest.seen else {
                continue;
            };
            if applied_digest(meta).as_deref() == Some(&**before) {
                interest.seen = Observation::At(at.clone());
            }
        }
    }
}

impl WatchIndex {
    /// Registers that a work holds an object, and the fingerprint with which an earlier process left it.
    pub(crate) fn resume(
        &self,
        resource: &Arc<Resource>,
        object: &ObjectRef,
        work: &WorkId,
        fingerprint: &Fingerprint,
    ) {
        self.hold(resource, object, work);
        let mut state = self.state();
        let name = name(resource, object);
        let interest = state.track(resource, name).interest(work);
        interest.seen = match &fingerprint.version {
            None => Observation::Absent,
            Some(version) => {
                let applied_digest = fingerprint.applied_digest.as_deref().map(Into::into);
                Observation::Before(version.as_str().into(), applied_digest)
            }
        };
    }
}

// === impl ObjectAccess ===

impl ObjectAccess<'_> {
    /// The object as it was last seen.
    pub(crate) fn snapshot(&self) -> Option<ObjectSnapshot> {
        self.with_tracked(|tracked| tracked.snapshot.clone())?
    }

    /// The object as the answer to a write shows it.
    pub(crate) fn note_snapshot(&self, snapshot: Option<ObjectSnapshot>) {
        self.with_tracked_mut(|tracked| tracked.snapshot = snapshot);
    }
}
