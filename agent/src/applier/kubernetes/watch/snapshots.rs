//! Keeps what objects looked like when they were last seen, in this process and in the one before.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use link::bundle::manifest::ObjectRef;

use super::flight::Flight;
use super::index::{Index, tracked};
use super::seen::{Revision, Seen};
use super::snapshot::Face;
use super::tracked::{Name, name};
use crate::applier::Mark;
use crate::applier::kubernetes::resource::Resource;
use crate::applier::kubernetes::resume::print;
use crate::work_id::WorkId;

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
        for interest in &mut tracked.interests {
            let Seen::Before(_, Some(before)) = &interest.seen else {
                continue;
            };
            if print(meta).as_deref() == Some(&**before) {
                interest.seen = Seen::At(at.clone());
            }
        }
    }
}

impl Index {
    /// Registers that a work holds an object, and in which looks an earlier process left it.
    pub(crate) fn resume(
        &self,
        resource: &Arc<Resource>,
        object: &ObjectRef,
        work: &WorkId,
        mark: &Mark,
    ) {
        self.hold(resource, object, work);
        let mut state = self.state();
        let name = name(resource, object);
        let interest = state.track(resource, name).interest(work);
        interest.seen = match &mark.version {
            None => Seen::Absent,
            Some(version) => {
                let print = mark.print.as_deref().map(Into::into);
                Seen::Before(version.as_str().into(), print)
            }
        };
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
