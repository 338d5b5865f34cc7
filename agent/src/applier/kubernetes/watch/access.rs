//! An access to an object that is under way, a read or a write: events of the object wait for its end, because the
//! event of a write may come before the answer.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use link::bundle::manifest::ObjectRef;

use super::index::{State, WatchIndex, tracked};
use super::observation::{Observation, Revision};
use super::tracked::{ObjectName, TrackedObject, foreign_owners, name};
use crate::applier::kubernetes::resource::Resource;
use crate::work_id::WorkId;

/// An access to an object that is under way, on behalf of a work. Dropped without a result it failed.
pub(crate) struct ObjectAccess<'a> {
    index: &'a WatchIndex,
    resource: Arc<Resource>,
    name: ObjectName,
    work: WorkId,
    end: End,
}

enum End {
    /// With this knowledge, and the hash of the manifest if it was written by `PUT`.
    Knows(Observation, Option<u64>),
    /// The work does not care any more.
    Leaves,
}

// === impl WatchIndex ===

impl WatchIndex {
    /// Begins an access to an object on behalf of a work, which is woken by its changes from now on.
    pub(crate) fn begin(
        &self,
        resource: &Arc<Resource>,
        object: &ObjectRef,
        work: &WorkId,
    ) -> ObjectAccess<'_> {
        let mut state = self.state();
        let round = state.rounds.get(work).copied().unwrap_or_default();
        let name = name(resource, object);
        let is_new = !state.kinds.contains_key(resource);
        let tracked = state.track(resource, name.clone());
        tracked.accesses += 1;
        tracked.interest(work).round = round;
        if is_new || (!name.0.is_empty() && state.kinds[resource].narrow) {
            self.kinds_changed.notify_one();
        }
        ObjectAccess {
            index: self,
            resource: Arc::clone(resource),
            name,
            work: work.clone(),
            end: End::Knows(Observation::Unknown, None),
        }
    }
}

// === impl ObjectAccess ===

impl ObjectAccess<'_> {
    /// The access ended with the object in this version. `written` is the hash of the manifest that was `PUT`.
    /// Returns whether that is another version than the last one known of.
    pub(crate) fn completed(
        &mut self,
        revision: &str,
        written: Option<u64>,
        owners: &[OwnerReference],
    ) -> bool {
        let revision = Revision::from(revision);
        let mut state = self.index.state();
        let State { kinds, ours, .. } = &mut *state;
        let tracked = tracked(kinds, &self.resource, &self.name);
        let is_news = tracked.is_none_or(|tracked| {
            tracked.foreign_owners = foreign_owners(owners, ours);
            let is_news = tracked.last.as_ref() != Some(&revision);
            tracked.last = Some(revision.clone());
            is_news
        });
        self.end = End::Knows(Observation::At(revision), written);
        is_news
    }

    /// The access ended with the knowledge that there is no such object.
    pub(crate) fn completed_absent(&mut self) {
        self.end = End::Knows(Observation::Absent, None);
    }

    /// The work gave the object up.
    pub(crate) fn released(mut self) {
        self.end = End::Leaves;
    }

    /// The version that the work's last access ended with, and the hash of the manifest that was `PUT` then.
    pub(crate) fn written(&self) -> Option<(Revision, u64)> {
        self.with_tracked(|tracked| {
            let interest = tracked.interests.iter().find(|it| it.work == self.work)?;
            match &interest.seen {
                Observation::At(revision) => Some((revision.clone(), interest.written?)),
                _ => None,
            }
        })?
    }

    /// Whether the object is known to be there.
    pub(crate) fn exists(&self) -> bool {
        self.with_tracked(|tracked| tracked.last.is_some())
            .unwrap_or_default()
    }

    /// Owners of the object that are AppliedManifestWorks of other agents.
    pub(crate) fn foreign_owners(&self) -> Vec<OwnerReference> {
        self.with_tracked(|tracked| tracked.foreign_owners.clone())
            .unwrap_or_default()
    }

    /// The object was read: it has these owners.
    pub(crate) fn has_owners(&self, owners: &[OwnerReference]) {
        let mut state = self.index.state();
        let State { kinds, ours, .. } = &mut *state;
        if let Some(tracked) = tracked(kinds, &self.resource, &self.name) {
            tracked.foreign_owners = foreign_owners(owners, ours);
        }
    }

    pub(super) fn with_tracked_mut(&self, change: impl FnOnce(&mut TrackedObject)) {
        let mut state = self.index.state();
        if let Some(tracked) = tracked(&mut state.kinds, &self.resource, &self.name) {
            change(tracked);
        }
    }

    pub(super) fn with_tracked<T>(&self, read: impl FnOnce(&TrackedObject) -> T) -> Option<T> {
        let state = self.index.state();
        let tracked = state.kinds.get(&self.resource)?.objects.get(&self.name)?;
        Some(read(tracked))
    }
}

impl Drop for ObjectAccess<'_> {
    fn drop(&mut self) {
        let mut state = self.index.state();
        let State { kinds, wakes, .. } = &mut *state;
        let Some(tracked) = tracked(kinds, &self.resource, &self.name) else {
            return;
        };
        tracked.accesses -= 1;
        match &self.end {
            End::Knows(seen, written) => {
                if let Some(interest) = tracked.known_interest(&self.work) {
                    interest.seen = seen.clone();
                    interest.written = *written;
                }
            }
            End::Leaves => tracked.interests.retain(|it| it.work != self.work),
        }
        if tracked.accesses == 0
            && let Some(event) = tracked.waiting.take()
            && tracked.settle(&event, wakes)
        {
            self.index.woken.notify_one();
        }
        if tracked.is_idle()
            && let Some(kind) = kinds.get_mut(&self.resource)
        {
            kind.forget(|_| false);
            self.index.kinds_changed.notify_one();
        }
    }
}
