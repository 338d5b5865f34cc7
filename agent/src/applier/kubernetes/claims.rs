//! What the works hold, durably: one AppliedManifestWork per work, its *keeper*.
//!
//! Before an object is touched the keeper says so in an annotation ([`Intent`]); what was applied then stands in its
//! status, with uids. It is found by the work it names, not by its own name, so that of a Go agent is used in place.
//! Its finalizer makes sure that nothing it owns is collected without us: when somebody deletes it, its objects move
//! to a successor first ([`retire`]).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use link::bundle::manifest::ObjectRef;
use serde_json::{Value, json};

use self::intent::Intent;
use self::keeper::{Keeper, Life};
use super::Inner;
use super::explain::explain;
use super::owners::{GROUP, KIND, VERSION};
use super::server::{Place, is_missing};
use crate::applier::ownership::{Claimed, Ownership, Record, Settlement, Share, Standing};
use crate::applier::{ApplierError, Claim, Held, RecordMetadata};
use crate::crd::AppliedResource;
use crate::work_id::WorkId;

pub(super) mod foreign;
mod intent;
mod keeper;
pub(super) mod load;
mod retire;

/// Who holds what, and the AppliedManifestWork that says so.
#[derive(Default)]
pub(super) struct Claims {
    ownership: Ownership,
    keepers: HashMap<WorkId, Keeper>,
    works: HashMap<String, WorkId>,
    // Of works that have no keeper yet.
    metadata: HashMap<WorkId, RecordMetadata>,
    // Secrets that works held when this process began, and that it has not applied yet.
    secrets: HashMap<WorkId, HashSet<String>>,
    // Works that hold nothing and have a keeper all the same, until they claim again.
    registered: HashSet<WorkId>,
}

// === impl Claims ===

impl Claims {
    pub(super) fn owners(&self) -> Vec<WorkId> {
        self.keepers.keys().cloned().collect()
    }

    /// What the keeper of a work carries from when it is made.
    pub(super) fn describe(&mut self, owner: &WorkId, metadata: RecordMetadata) {
        if metadata != RecordMetadata::default() && !self.keepers.contains_key(owner) {
            self.metadata.insert(owner.clone(), metadata);
        }
    }

    pub(super) fn owns(&self, owner: &WorkId) -> bool {
        self.keepers.contains_key(owner) || self.ownership.record(owner).is_some()
    }

    pub(super) fn standing(&self, owner: &WorkId, key: &str) -> Standing {
        self.ownership.standing(owner, key)
    }

    /// What a held object goes by in the record of its work.
    pub(super) fn key_of(&self, owner: &WorkId, held: &Held) -> Option<String> {
        self.ownership.key_of(owner, held).map(Into::into)
    }

    /// What else the work holds of that namespace and name.
    pub(super) fn namesakes(&self, owner: &WorkId, key: &str) -> Vec<Held> {
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

    /// References to the keepers of all works that hold an object.
    pub(super) fn holders(&self, key: &str) -> Vec<OwnerReference> {
        let owners = self.ownership.owners(key).iter();
        owners
            .filter_map(|owner| self.keepers.get(owner))
            .filter(|keeper| keeper.life == Life::Lives)
            .map(Keeper::reference)
            .collect()
    }

    /// Whether an owner holds so many objects, all of them among these, and nothing is to be done about its keeper.
    pub(super) fn rests(&self, owner: &WorkId, count: usize, keys: &HashSet<String>) -> bool {
        let held = self.ownership.record(owner);
        let held = held.map_or(&[][..], |record| &record.objects[..]);
        let keeper = self.keepers.get(owner);
        held.len() == count
            && held.iter().all(|share| keys.contains(&share.key))
            && keeper.is_some_and(Keeper::is_at_rest)
    }

    /// Uids of the owner references that a work may have on its objects.
    pub(super) fn uids(&self, owner: &WorkId) -> Vec<String> {
        let keeper = self.keepers.get(owner).into_iter();
        keeper
            .flat_map(|keeper| {
                let retiring = keeper.retiring.iter().map(|owner| owner.uid.clone());
                retiring.chain([keeper.uid.clone()])
            })
            .collect()
    }

    pub(super) fn identify(&mut self, owner: &WorkId, key: &str, uid: &str) {
        self.ownership.identify(owner, key, uid);
    }

    pub(super) fn release(&mut self, owner: &WorkId, key: &str) -> BTreeSet<WorkId> {
        self.ownership.release(owner, key)
    }

    /// Keepers that a list of uids does not name.
    pub(super) fn others_than(&self, uids: &HashSet<String>) -> Vec<OwnerReference> {
        let keepers = self.keepers.values().filter(|it| !uids.contains(&it.uid));
        keepers.map(Keeper::reference).collect()
    }

    /// A keeper was seen terminating or gone; answers with its work unless that is our own doing.
    pub(super) fn lost(&mut self, uid: &str, gone: bool) -> Option<WorkId> {
        let work = self.works.get(uid)?;
        let keeper = self.keepers.get_mut(work).filter(|it| it.uid == uid)?;
        let life = if gone { Life::Gone } else { Life::Terminates };
        if keeper.life == Life::Leaves || keeper.life == life {
            return None;
        }
        keeper.life = life;
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
    ) -> Result<Vec<Held>, ApplierError> {
        self.index.begin_round(owner);
        let declared = self.keyed(declared);
        let (claimed, current, keeper) = {
            let mut claims = self.claims();
            let now = |share: &Share| self.canonical_share(share);
            claims.ownership.rekey(owner, now);
            claims.registered.remove(owner);
            let claimed = claims.ownership.claim(owner, &declared);
            let current = claims.ownership.record(owner).cloned();
            (claimed, current, claims.keepers.get(owner).cloned())
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
        let keeper = match keeper {
            None if written.objects.is_empty() => None,
            keeper => Some(self.write_intent(owner, written, keeper).await?),
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
        if let Some(keeper) = keeper {
            self.keep(owner, keeper.clone());
            self.stop_eviction(owner, &keeper).await?;
            self.retire(owner, written, &keeper).await?;
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
        let (record, keeper) = {
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
                claims.keepers.get(owner).cloned(),
            )
        };
        let keeper = self.write_intent(owner, &record, keeper).await?;
        self.keep(owner, keeper.clone());
        self.stop_eviction(owner, &keeper).await?;
        self.retire(owner, &record, &keeper).await
    }

    /// See [`crate::applier::Applier::settle`].
    pub(super) async fn settle(&self, owner: &WorkId) -> Result<(), ApplierError> {
        let (settlement, record, keeper, registered) = {
            let claims = self.claims();
            (
                claims.ownership.settlement(owner),
                claims.ownership.record(owner).cloned(),
                claims.keepers.get(owner).cloned(),
                claims.registered.contains(owner),
            )
        };
        let holds_nothing = settlement == Settlement::Forget || record.is_none();
        let forgets = settlement == Settlement::Forget && !registered;
        match (keeper, record) {
            (Some(keeper), _) if forgets => self.forget(owner, &keeper).await?,
            (Some(keeper), Some(record)) => self.write_down(owner, &record, &keeper).await?,
            _ => {}
        }
        if !registered {
            self.claims().ownership.settled(owner);
        }
        self.index.end_round(owner, holds_nothing);
        Ok(())
    }

    fn keep(&self, owner: &WorkId, keeper: Keeper) {
        self.index.ours(&keeper.uid, true);
        let mut claims = self.claims();
        claims.metadata.remove(owner);
        claims.works.insert(keeper.uid.clone(), owner.clone());
        claims.keepers.insert(owner.clone(), keeper);
    }

    async fn stop_eviction(&self, owner: &WorkId, keeper: &Keeper) -> Result<(), ApplierError> {
        if !keeper.evicting {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": keeper.uid}, "status": {"evictionStartTime": null}});
        self.update_keeper(owner, keeper, "status", &patch).await?;
        if let Some(keeper) = self.claims().keepers.get_mut(owner) {
            keeper.evicting = false;
        }
        Ok(())
    }

    // Takes what was given up out of the annotation. The list with uids in the status is for Go agents, which make it
    // themselves from the status of the ManifestWork: it costs a request for each work, so it is kept only where one is
    // there already or a Go agent takes turns with this one.
    async fn write_down(
        &self,
        owner: &WorkId,
        record: &Record,
        keeper: &Keeper,
    ) -> Result<(), ApplierError> {
        let applied = self.applied_resources(record);
        let (listed, intent) = (hash(&applied[..]), Intent::of(owner, record).to_string());
        let keeps_list = self.agent_id.is_shared_with_go() || keeper.has_list();
        if keeps_list && listed != keeper.listed {
            let patch =
                json!({"metadata": {"uid": keeper.uid}, "status": {"appliedResources": applied}});
            self.update_keeper(owner, keeper, "status", &patch).await?;
        }
        if !keeper.says(&intent) {
            let patch = self.intent_patch(keeper, &intent);
            self.update_keeper(owner, keeper, "", &patch).await?;
        }
        if let Some(keeper) = self.claims().keepers.get_mut(owner) {
            if keeps_list {
                keeper.listed = listed;
            }
            keeper.intent = hash(intent.as_str());
        }
        Ok(())
    }

    async fn update_keeper(
        &self,
        owner: &WorkId,
        keeper: &Keeper,
        subresource: &str,
        patch: &Value,
    ) -> Result<(), ApplierError> {
        let place = place(&keeper.name);
        let written = match subresource {
            "status" => self.server.merge_status(&place, patch).await,
            _ => self.server.merge(&place, patch).await,
        };
        let Err(error) = written else {
            return Ok(());
        };
        if is_missing(&error) && self.claims().lost(&keeper.uid, true).is_some() {
            self.index.wake([owner.clone()]);
        }
        Err(explain(&error, "write", &object(&keeper.name)))
    }

    fn applied_resources(&self, record: &Record) -> Vec<AppliedResource> {
        let applied = record.objects.iter().filter_map(|share| {
            Some(AppliedResource {
                group: share.held.group.clone(),
                version: share.held.version.clone(),
                resource: self.identify(&share.held.object()).resource,
                namespace: share.held.namespace.clone(),
                name: share.held.name.clone(),
                uid: share.held.uid.clone()?,
            })
        });
        let mut applied: Vec<AppliedResource> = applied.collect();
        applied.sort();
        applied
    }

    // Deletes the keeper of a work that holds nothing. Interrupted, it goes on with the next look.
    async fn forget(&self, owner: &WorkId, keeper: &Keeper) -> Result<(), ApplierError> {
        if let Some(keeper) = self.claims().keepers.get_mut(owner) {
            keeper.life = Life::Leaves;
        }
        self.delete_keeper(&keeper.name, &keeper.uid).await?;
        self.index.ours(&keeper.uid, false);
        let mut claims = self.claims();
        claims.works.remove(&keeper.uid);
        claims.keepers.remove(owner);
        Ok(())
    }
}

/// Where an AppliedManifestWork is.
pub(super) fn place(name: &str) -> Place {
    Place::new(&load::resource(), &object(name))
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
