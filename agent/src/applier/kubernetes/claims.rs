//! What the works hold, durably: one AppliedManifestWork per work ([`AppliedWork`]).
//!
//! Before an object is touched, an annotation of it says so ([`intent_record`]); what was applied then stands in its
//! status, with uids. It is found by the work it names, not by its own name, so that of a Go agent is used in place.
//! Its finalizer makes sure that nothing it owns is collected without us: when somebody deletes it, its objects move
//! to a successor first ([`retire`]).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use link::bundle::manifest::ObjectRef;

use self::applied_work::{AppliedWork, Lifecycle};
use super::Inner;
use super::owners::{GROUP, KIND, VERSION};
use super::server::ObjectPath;
use crate::applier::ownership::{Claimed, Ownership, Record, Share, Standing};
use crate::applier::{ApplierError, Claim, HeldObject, RecordMetadata};
use crate::work_id::WorkId;

mod applied_work;
pub(super) mod foreign;
mod intent_record;
pub(super) mod load;
mod retire;
mod settle;

/// Who holds what, and the AppliedManifestWork that says so.
#[derive(Default)]
pub(super) struct Claims {
    ownership: Ownership,
    applied_works: HashMap<WorkId, AppliedWork>,
    works: HashMap<String, WorkId>,
    // Of works that have no AppliedManifestWork yet.
    metadata: HashMap<WorkId, RecordMetadata>,
    // Secrets that works held when this process began, and that it has not applied yet.
    secrets: HashMap<WorkId, HashSet<String>>,
    // Works that hold nothing and have an AppliedManifestWork all the same, until they claim again.
    registered: HashSet<WorkId>,
}

// === impl Claims ===

impl Claims {
    pub(super) fn owners(&self) -> Vec<WorkId> {
        self.applied_works.keys().cloned().collect()
    }

    /// What the AppliedManifestWork of a work carries from when it is created.
    pub(super) fn describe(&mut self, owner: &WorkId, metadata: RecordMetadata) {
        if metadata != RecordMetadata::default() && !self.applied_works.contains_key(owner) {
            self.metadata.insert(owner.clone(), metadata);
        }
    }

    pub(super) fn owns(&self, owner: &WorkId) -> bool {
        self.applied_works.contains_key(owner) || self.ownership.record(owner).is_some()
    }

    pub(super) fn standing(&self, owner: &WorkId, key: &str) -> Standing {
        self.ownership.standing(owner, key)
    }

    /// What a held object goes by in the record of its work.
    pub(super) fn key_of(&self, owner: &WorkId, held: &HeldObject) -> Option<String> {
        self.ownership.key_of(owner, held).map(Into::into)
    }

    /// What else the work holds of that namespace and name.
    pub(super) fn namesakes(&self, owner: &WorkId, key: &str) -> Vec<HeldObject> {
        self.ownership.namesakes(owner, key)
    }

    /// Whether a work holds an object, and whether others do.
    pub(super) fn shares(&self, owner: &WorkId, key: &str) -> (bool, bool) {
        let owners = self.ownership.owners(key);
        let holds = self.ownership.holds(owner, key);
        (holds, owners.iter().any(|other| other != owner))
    }

    /// Whether an earlier process may have applied a Secret of a work, and this one has not yet.
    pub(super) fn is_from_before(&self, owner: &WorkId, key: &str) -> bool {
        let keys = self.secrets.get(owner);
        keys.is_some_and(|keys| keys.contains(key))
    }

    /// This process has applied it.
    pub(super) fn is_applied(&mut self, owner: &WorkId, key: &str) {
        if let Some(keys) = self.secrets.get_mut(owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.secrets.remove(owner);
            }
        }
    }

    /// References to the AppliedManifestWorks of all works that hold an object.
    pub(super) fn holders(&self, key: &str) -> Vec<OwnerReference> {
        let owners = self.ownership.owners(key).iter();
        owners
            .filter_map(|owner| self.applied_works.get(owner))
            .filter(|applied_work| applied_work.lifecycle == Lifecycle::Active)
            .map(AppliedWork::reference)
            .collect()
    }

    /// Whether an owner holds so many objects, all of them among these, and its AppliedManifestWork is as it should be.
    pub(super) fn is_settled(&self, owner: &WorkId, count: usize, keys: &HashSet<String>) -> bool {
        let held = self.ownership.record(owner);
        let held = held.map_or(&[][..], |record| &record.objects[..]);
        let applied_work = self.applied_works.get(owner);
        held.len() == count
            && held.iter().all(|share| keys.contains(&share.key))
            && applied_work.is_some_and(AppliedWork::is_settled)
    }

    /// Uids of the owner references that a work may have on its objects.
    pub(super) fn uids(&self, owner: &WorkId) -> Vec<String> {
        let applied_work = self.applied_works.get(owner).into_iter();
        applied_work
            .flat_map(|applied_work| {
                let retiring = applied_work.retiring.iter().map(|owner| owner.uid.clone());
                retiring.chain([applied_work.uid.clone()])
            })
            .collect()
    }

    pub(super) fn identify(&mut self, owner: &WorkId, key: &str, uid: &str) {
        self.ownership.identify(owner, key, uid);
    }

    pub(super) fn release(&mut self, owner: &WorkId, key: &str) -> BTreeSet<WorkId> {
        self.ownership.release(owner, key)
    }

    /// AppliedManifestWorks that a list of uids does not name.
    pub(super) fn others_than(&self, uids: &HashSet<String>) -> Vec<OwnerReference> {
        let applied_works = self
            .applied_works
            .values()
            .filter(|it| !uids.contains(&it.uid));
        applied_works.map(AppliedWork::reference).collect()
    }

    /// An AppliedManifestWork was seen terminating or gone; returns its work unless this agent is deleting it.
    pub(super) fn lost(&mut self, uid: &str, gone: bool) -> Option<WorkId> {
        let work = self.works.get(uid)?;
        let applied_work = self
            .applied_works
            .get_mut(work)
            .filter(|it| it.uid == uid)?;
        let lifecycle = if gone {
            Lifecycle::Gone
        } else {
            Lifecycle::Terminating
        };
        if applied_work.lifecycle == Lifecycle::Deleting || applied_work.lifecycle == lifecycle {
            return None;
        }
        applied_work.lifecycle = lifecycle;
        Some(work.clone())
    }
}

// === impl Inner ===

impl Inner {
    /// See [`crate::applier::Applier::claim`].
    pub(super) async fn claim(
        &self,
        owner: &WorkId,
        declared: &[Claim],
    ) -> Result<Vec<HeldObject>, ApplierError> {
        self.index.begin_round(owner);
        let declared = self.keyed(declared);
        let (claimed, current, applied_work) = {
            let mut claims = self.claims();
            let now = |share: &Share| self.canonical_share(share);
            claims.ownership.rekey(owner, now);
            claims.registered.remove(owner);
            let claimed = claims.ownership.claim(owner, &declared);
            let current = claims.ownership.record(owner).cloned();
            (claimed, current, claims.applied_works.get(owner).cloned())
        };
        let Claimed {
            record,
            stale,
            affected,
            ..
        } = claimed;
        let Some(written) = record.as_ref().or(current.as_ref()) else {
            return Ok(stale);
        };
        let applied_work = match applied_work {
            None if written.objects.is_empty() => None,
            applied_work => Some(self.write_intent(owner, written, applied_work).await?),
        };
        let affected = {
            let mut claims = self.claims();
            if let Some(record) = record.clone() {
                claims.ownership.take(record);
            }
            // Others may have claimed the same at the same time.
            let before = current.iter().flat_map(|record| &record.objects);
            let before: HashSet<_> = before.map(|share| (&share.key, &share.content)).collect();
            let after = record.iter().flat_map(|record| &record.objects);
            let changed = after.filter(|share| !before.contains(&(&share.key, &share.content)));
            let holders = changed.flat_map(|share| claims.ownership.owners(&share.key));
            let mut affected = affected;
            affected.extend(holders.filter(|other| *other != owner).cloned());
            affected
        };
        self.index.wake(affected);
        if let Some(applied_work) = applied_work {
            self.keep(owner, applied_work.clone());
            self.stop_eviction(owner, &applied_work).await?;
            self.retire(owner, written, &applied_work).await?;
        }
        Ok(stale)
    }

    // By what tells objects apart, each object once.
    fn keyed(&self, declared: &[Claim]) -> Vec<(String, Claim)> {
        let mut seen = HashSet::new();
        let keyed = declared.iter().map(|claim| {
            let object = self.canonical(&claim.object);
            let content = claim.content.clone();
            (self.key(&object), Claim { object, content })
        });
        keyed.filter(|(key, _)| seen.insert(key.clone())).collect()
    }

    /// See [`crate::applier::Applier::register`].
    pub(super) async fn register(&self, owner: &WorkId) -> Result<(), ApplierError> {
        let (record, applied_work) = {
            let mut claims = self.claims();
            claims.registered.insert(owner.clone());
            let nothing = Record {
                owner: Some(owner.clone()),
                objects: Vec::new(),
            };
            if claims.ownership.record(owner).is_none() {
                claims.ownership.take(nothing.clone());
            }
            let record = claims.ownership.record(owner).cloned();
            (
                record.unwrap_or(nothing),
                claims.applied_works.get(owner).cloned(),
            )
        };
        let applied_work = self.write_intent(owner, &record, applied_work).await?;
        self.keep(owner, applied_work.clone());
        self.stop_eviction(owner, &applied_work).await?;
        self.retire(owner, &record, &applied_work).await
    }

    /// Takes note of the AppliedManifestWork of a work.
    fn keep(&self, owner: &WorkId, applied_work: AppliedWork) {
        self.index.ours(&applied_work.uid, true);
        let mut claims = self.claims();
        claims.metadata.remove(owner);
        claims.works.insert(applied_work.uid.clone(), owner.clone());
        claims.applied_works.insert(owner.clone(), applied_work);
    }
}

/// Where an AppliedManifestWork is.
pub(super) fn path(name: &str) -> ObjectPath {
    ObjectPath::new(&load::resource(), &object(name))
}

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        group: GROUP.into(),
        version: VERSION.into(),
        kind: KIND.into(),
        namespace: String::new(),
        name: name.into(),
    }
}

fn hash<T: Hash + ?Sized>(what: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
