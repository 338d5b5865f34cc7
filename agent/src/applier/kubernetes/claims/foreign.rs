//! What other agents hold in the same cluster, as far as their AppliedManifestWorks show.
//!
//! All agents apply under one name, and under one name an apply takes away the owners that it does not name. So an
//! object that this process has not seen yet, and that another agent may hold, is read before it is applied first.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use link::bundle::manifest::ObjectRef;

use super::intent_record::IntentRecord;
use crate::applier::kubernetes::Inner;
use crate::crd::CLAIMS;

/// AppliedManifestWorks of other agents, by uid.
#[derive(Default)]
pub(in crate::applier::kubernetes) struct ForeignClaims {
    works: Mutex<HashMap<String, ClaimedObjects>>,
    hashes: RandomState,
}

/// What one of them holds.
#[derive(Debug, PartialEq, Eq)]
enum ClaimedObjects {
    /// Its agent does not say it in a way that a watch shows: it may be anything.
    Anything,
    /// Hashes of these objects.
    Objects(HashSet<u64>),
}

// === impl ForeignClaims ===

impl ForeignClaims {
    /// Whether another agent holds an object, as far as is known; rather yes than no.
    pub(in crate::applier::kubernetes) fn may_hold(&self, object: &ObjectRef) -> bool {
        let hash = self.hash(object);
        self.works().values().any(|work| match work {
            ClaimedObjects::Anything => true,
            ClaimedObjects::Objects(objects) => objects.contains(&hash),
        })
    }

    /// One of them is gone.
    pub(in crate::applier::kubernetes) fn forget(&self, uid: &str) {
        self.works().remove(uid);
    }

    /// All that there are were listed.
    pub(in crate::applier::kubernetes) fn retain(&self, listed: &HashSet<String>) {
        self.works().retain(|uid, _| listed.contains(uid));
    }

    /// One of them says what it holds, or nothing.
    fn note(&self, uid: &str, claimed: Option<Vec<ObjectRef>>) {
        let work = match claimed {
            None => ClaimedObjects::Anything,
            Some(objects) => {
                ClaimedObjects::Objects(objects.iter().map(|it| self.hash(it)).collect())
            }
        };
        self.works().insert(uid.into(), work);
    }

    // Neither version nor group: two groups may serve one object.
    fn hash(&self, object: &ObjectRef) -> u64 {
        let ObjectRef {
            kind,
            namespace,
            name,
            ..
        } = object;
        self.hashes.hash_one((kind, namespace, name))
    }

    fn works(&self) -> MutexGuard<'_, HashMap<String, ClaimedObjects>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    /// Notes what an AppliedManifestWork says, if it is another agent's.
    pub(in crate::applier::kubernetes) fn note_foreign(&self, meta: &ObjectMeta) {
        let name = meta.name.as_deref().unwrap_or_default();
        let uid = meta.uid.as_deref().unwrap_or_default();
        // One that is just being made is known by its name only.
        let mut ours = self.adopted.iter().chain([&self.agent_id]);
        if ours.any(|id| name.starts_with(id.as_str())) || self.index.is_ours(uid) {
            return;
        }
        let annotations = meta.annotations.as_ref();
        let claims = annotations.and_then(|annotations| annotations.get(CLAIMS));
        let record = claims.and_then(|claims| IntentRecord::read(claims).ok());
        let objects = record.map(|record| {
            let objects = record.objects.iter();
            let objects = objects.map(|share| self.canonical(&share.held.object()));
            objects.collect()
        });
        self.foreign.note(uid, objects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(api_version: (&str, &str), name: &str) -> ObjectRef {
        ObjectRef {
            group: api_version.0.into(),
            version: api_version.1.into(),
            kind: "ConfigMap".into(),
            namespace: "d".into(),
            name: name.into(),
        }
    }

    #[test]
    fn only_what_others_claim_or_may_claim_is_held() {
        let (a, b) = (map(("", "v1"), "a"), map(("", "v1"), "b"));
        let foreign = ForeignClaims::default();
        assert!(!foreign.may_hold(&a));
        foreign.note("one", Some(vec![a.clone()]));
        assert!(foreign.may_hold(&a) && !foreign.may_hold(&b));
        assert!(foreign.may_hold(&map(("other", "v2"), "a")));
        // It gives one up for another.
        foreign.note("one", Some(vec![b.clone()]));
        assert!(!foreign.may_hold(&a) && foreign.may_hold(&b));
        foreign.note("two", None);
        assert!(foreign.may_hold(&a));
        foreign.forget("two");
        assert!(!foreign.may_hold(&a));
        foreign.retain(&HashSet::from(["three".into()]));
        assert!(!foreign.may_hold(&b));
    }
}
