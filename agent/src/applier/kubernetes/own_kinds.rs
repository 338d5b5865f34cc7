//! What the agent watches for itself: its AppliedManifestWorks, and definitions while a work waits for a kind.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Inner;
use super::claims::{load, path};
use super::resource::{DEFINITIONS, DEFINITIONS_GROUP, Resource};
use super::watch::ObjectEvent;

impl Inner {
    /// Kinds that are watched although no work holds an object of them.
    pub(super) fn own_kinds(&self) -> impl Iterator<Item = Arc<Resource>> {
        let definitions = self.index.wants_kinds().then(|| {
            self.discovery
                .by_plural(DEFINITIONS_GROUP, "v1", DEFINITIONS)
        });
        [Some(load::resource()), definitions.flatten()]
            .into_iter()
            .flatten()
    }

    /// Handles events of objects that concern the agent itself.
    pub(super) fn note_own_kinds(
        &self,
        resource: &Resource,
        meta: &ObjectMeta,
        event: &ObjectEvent,
    ) {
        let gone = matches!(event, ObjectEvent::Gone(_));
        if resource.plural == DEFINITIONS && resource.group == DEFINITIONS_GROUP {
            let name = meta.name.as_deref().unwrap_or_default();
            let Some((plural, group)) = name.split_once('.') else {
                return;
            };
            match event {
                ObjectEvent::Gone(_) => self.discovery.forget_kind(group, plural),
                ObjectEvent::Changed(_) => self.defined(group),
                // It may be long ago.
                ObjectEvent::Listed(_) => self.index.defined(group),
            }
        } else if self.is_own_kind(resource) {
            let uid = meta.uid.as_deref().unwrap_or_default();
            if gone {
                self.foreign.forget(uid);
            } else {
                self.note_foreign(meta);
            }
            if gone || meta.deletion_timestamp.is_some() {
                self.lose_applied_work(uid, gone);
            }
        }
    }

    /// Whether a kind is that of the agent's records.
    pub(super) fn is_own_kind(&self, resource: &Resource) -> bool {
        *resource == *load::resource()
    }

    /// A list of AppliedManifestWorks was read: those of ours that it does not name may be gone, those of others are.
    pub(super) async fn miss_applied_works(&self, listed: &HashSet<String>) {
        self.foreign.retain(listed);
        let missed = self.claims().others_than(listed);
        for applied_work in missed {
            // It may be newer than the list.
            let found = self.server.metadata(&path(&applied_work.name)).await;
            let is_gone = found.is_ok_and(|found| {
                found.is_none_or(|found| found.uid.as_deref() != Some(applied_work.uid.as_str()))
            });
            if is_gone {
                self.lose_applied_work(&applied_work.uid, true);
            }
        }
    }

    fn lose_applied_work(&self, uid: &str, gone: bool) {
        let lost = self.claims().lost(uid, gone);
        self.index.wake(lost);
    }

    /// Kinds of a group were or are just being defined.
    pub(super) fn defined(&self, group: &str) {
        self.discovery.expect_any(group);
        self.index.defined(group);
    }
}
