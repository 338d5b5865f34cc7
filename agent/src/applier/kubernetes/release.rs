//! Giving up an object (docs/MAESTRO.md §6.6): it goes only when it is still the one that was applied, nobody else holds it,
//! and it is gone only when the server does not find it any more. What could never be located in the cluster is gone at once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use link::bundle::manifest::ObjectRef;
use serde_json::Value;

use super::Inner;
use super::explain::explain;
use super::owners::is_applied_work;
use super::server::{ATTEMPTS, ObjectPath, is_conflict, is_immortal, is_missing, is_not_kept};
use super::watch::ObjectSnapshot;
use crate::applier::{ApplierError, HeldObject, Release, Released};
use crate::cluster::is_not_served;
use crate::work_id::WorkId;

mod waiting;

/// What became of an object on the server.
enum ReleaseOutcome {
    Gone,
    Left,
    /// It is terminating.
    Terminating(Box<ObjectMeta>),
    /// Its kind is not served in this version any more: another one knows.
    Unserved,
}

/// An object to give up.
struct ObjectRelease<'a> {
    held: &'a HeldObject,
    object: &'a ObjectRef,
    path: &'a ObjectPath,
    /// Uids of our owner references.
    own_uids: &'a [String],
    /// What else the work holds under that name.
    namesakes: &'a [HeldObject],
    /// It is to stay.
    spared: bool,
    /// As it was last seen.
    snapshot: Option<ObjectSnapshot>,
}

impl Inner {
    /// See [`crate::applier::Applier::release`].
    pub(super) async fn release(
        &self,
        owner: &WorkId,
        held: &HeldObject,
        mode: Release,
    ) -> Result<Released, ApplierError> {
        let object = held.object();
        let mut way = self.reach(&object).await?;
        let Some(key) = self.claims().key_of(owner, held) else {
            return Ok(Released::Left);
        };
        if key != self.key(&object) {
            // It may be what the work declares under other coordinates: the next claim knows.
            return Ok(Released::Pending(
                "is of a kind that has just been defined".into(),
            ));
        }
        let _lock = self.locks.of(&key).await;
        let (holds, shared, own_uids, namesakes) = {
            let claims = self.claims();
            let (holds, shared) = claims.shares(owner, &key);
            (
                holds,
                shared,
                claims.uids(owner),
                claims.namesakes(owner, &key),
            )
        };
        if !holds {
            return Ok(Released::Left);
        }
        let mut lost = Vec::new();
        let released = loop {
            let Some(resource) = way else {
                // A kind that is gone took its objects along.
                break Released::Gone;
            };
            let path = ObjectPath::new(&resource, &object);
            let mut access = self.index.begin(&resource, &object, owner);
            let release = ObjectRelease {
                held,
                object: &object,
                path: &path,
                own_uids: &own_uids,
                namesakes: &namesakes,
                spared: shared || mode == Release::Orphan,
                snapshot: access.snapshot(),
            };
            let outcome = self.remove_or_disown(&release).await?;
            if let ReleaseOutcome::Terminating(meta) = outcome {
                let revision = meta.resource_version.as_deref().unwrap_or_default();
                let owners = meta.owner_references.as_deref().unwrap_or_default();
                access.completed(revision, None, owners);
                return Ok(Released::Pending(
                    self.what_it_waits_for(&object, &path, &meta).await,
                ));
            }
            access.released();
            match outcome {
                ReleaseOutcome::Unserved => {
                    way = self.reach_otherwise(&object, resource, &mut lost).await?;
                }
                ReleaseOutcome::Left => break Released::Left,
                _ => break Released::Gone,
            }
        };
        self.give_up(owner, &key);
        Ok(released)
    }

    fn give_up(&self, owner: &WorkId, key: &str) {
        let affected = self.claims().release(owner, key);
        self.index.wake(affected);
    }

    async fn remove_or_disown(
        &self,
        release: &ObjectRelease<'_>,
    ) -> Result<ReleaseOutcome, ApplierError> {
        let ObjectRelease { object, path, .. } = release;
        let failed = |error| explain(&error, "delete", object);
        if let Some(snapshot) = release.snapshot()
            && let Some(outcome) = self.delete_seen(release, snapshot).await?
        {
            return Ok(outcome);
        }
        let mut attempt = 1;
        let mut spared = release.spared;
        loop {
            let meta = match self.server.metadata(path).await {
                Err(error) if is_not_kept(&error) => return Ok(ReleaseOutcome::Gone),
                Err(error) if is_not_served(&error) => return Ok(ReleaseOutcome::Unserved),
                read => read.map_err(failed)?,
            };
            let Some(meta) = meta else {
                return Ok(ReleaseOutcome::Gone);
            };
            if !release.is_ours(&meta) || self.is_held_otherwise(release, &meta).await? {
                return Ok(ReleaseOutcome::Left);
            }
            let others = release.others(&meta);
            if spared || others.iter().any(is_applied_work) {
                match self.server.set_owners(path, &meta, &others).await {
                    Ok(_) => return Ok(ReleaseOutcome::Left),
                    Err(error) if is_not_served(&error) => return Ok(ReleaseOutcome::Unserved),
                    Err(error) if is_missing(&error) => return Ok(ReleaseOutcome::Gone),
                    Err(error) if is_conflict(&error) && attempt < ATTEMPTS => {
                        attempt += 1;
                        continue;
                    }
                    Err(error) => return Err(explain(&error, "change the owner of", object)),
                }
            }
            if meta.deletion_timestamp.is_some() {
                return Ok(ReleaseOutcome::Terminating(Box::new(meta)));
            }
            let uid = meta.uid.as_deref().unwrap_or_default();
            match self.server.delete(path, uid).await {
                Err(error) if is_not_served(&error) => return Ok(ReleaseOutcome::Unserved),
                Err(error) if is_missing(&error) => return Ok(ReleaseOutcome::Gone),
                Err(error) if is_immortal(&error) => {
                    spared = true;
                    continue;
                }
                // Replaced in between.
                Err(error) if is_conflict(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                    continue;
                }
                deleted => {
                    let answer = deleted.map_err(failed)?;
                    return self.after_deletion(release, uid, &answer).await;
                }
            };
        }
    }

    /// Whether the work holds the very object in another group or kind too; uids tell.
    async fn is_held_otherwise(
        &self,
        release: &ObjectRelease<'_>,
        meta: &ObjectMeta,
    ) -> Result<bool, ApplierError> {
        for held in release.namesakes {
            let uid = match &held.uid {
                Some(uid) => Some(uid.clone()),
                // It was not applied yet.
                None => self.uid_of(&held.object()).await?,
            };
            if uid.is_some() && uid == meta.uid {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn uid_of(&self, object: &ObjectRef) -> Result<Option<String>, ApplierError> {
        let mut lost = Vec::new();
        let mut way = self.reach(object).await?;
        while let Some(resource) = way {
            match self
                .server
                .metadata(&ObjectPath::new(&resource, object))
                .await
            {
                Err(error) if is_not_served(&error) => {
                    way = self.reach_otherwise(object, resource, &mut lost).await?;
                }
                found => {
                    let found = found.map_err(|error| explain(&error, "get", object))?;
                    return Ok(found.and_then(|meta| meta.uid));
                }
            }
        }
        Ok(None)
    }

    /// Deletes an object that is still as it was last seen, without reading it first. `None` when it is not.
    async fn delete_seen(
        &self,
        release: &ObjectRelease<'_>,
        snapshot: &ObjectSnapshot,
    ) -> Result<Option<ReleaseOutcome>, ApplierError> {
        let version = Some(snapshot.revision.as_str());
        let deleted = self
            .server
            .delete_version(release.path, &snapshot.uid, version)
            .await;
        match deleted {
            Ok(answer) => {
                let outcome = self.after_deletion(release, &snapshot.uid, &answer).await?;
                Ok(Some(outcome))
            }
            Err(error) if is_not_served(&error) => Ok(Some(ReleaseOutcome::Unserved)),
            Err(error) if is_missing(&error) => Ok(Some(ReleaseOutcome::Gone)),
            Err(error) if is_conflict(&error) || is_immortal(&error) => Ok(None),
            Err(error) => Err(explain(&error, "delete", release.object)),
        }
    }

    /// What the answer to a deletion says. A server answers with a status when the object is gone, and with the object
    /// when it goes later; some kinds with the object that is gone, which only reading it tells apart.
    async fn after_deletion(
        &self,
        release: &ObjectRelease<'_>,
        uid: &str,
        answer: &Value,
    ) -> Result<ReleaseOutcome, ApplierError> {
        if answer["kind"] == "Status" {
            return Ok(ReleaseOutcome::Gone);
        }
        let waits = |meta: &ObjectMeta| {
            let finalizers = meta.finalizers.as_deref().unwrap_or_default();
            let grace = meta.deletion_grace_period_seconds.unwrap_or_default();
            meta.deletion_timestamp.is_some() && (!finalizers.is_empty() || grace > 0)
        };
        let answered: ObjectMeta =
            serde_json::from_value(answer["metadata"].clone()).unwrap_or_default();
        if answered.uid.as_deref() == Some(uid) && waits(&answered) {
            return Ok(ReleaseOutcome::Terminating(Box::new(answered)));
        }
        let found = match self.server.metadata(release.path).await {
            Err(error) if is_not_served(&error) => return Ok(ReleaseOutcome::Unserved),
            found => found.map_err(|error| explain(&error, "delete", release.object))?,
        };
        Ok(match found {
            Some(after) if after.uid.as_deref() == Some(uid) => {
                ReleaseOutcome::Terminating(Box::new(after))
            }
            _ => ReleaseOutcome::Gone,
        })
    }
}

// === impl ObjectRelease ===

impl ObjectRelease<'_> {
    /// The object as it was last seen, if it may go as that.
    fn snapshot(&self) -> Option<&ObjectSnapshot> {
        // What the work may hold under another name is compared by uid first.
        let plain = !self.spared && self.namesakes.is_empty();
        let snapshot = self.snapshot.as_ref().filter(|_| plain)?;
        let same = self
            .held
            .uid
            .as_deref()
            .is_none_or(|uid| uid == &*snapshot.uid);
        let own_uids = |uid: &str| self.own_uids.iter().any(|own_uids| own_uids == uid);
        let owned = !snapshot.owners.is_empty() && snapshot.owners.iter().all(|uid| own_uids(uid));
        (same && owned).then_some(snapshot)
    }

    fn is_ours(&self, meta: &ObjectMeta) -> bool {
        let same = self.held.uid.is_none() || self.held.uid == meta.uid;
        same && self.others(meta).len() < meta.owner_references.as_ref().map_or(0, Vec::len)
    }

    fn others(&self, meta: &ObjectMeta) -> Vec<OwnerReference> {
        let owners = meta.owner_references.iter().flatten();
        owners
            .filter(|owner| !self.own_uids.contains(&owner.uid))
            .cloned()
            .collect()
    }
}
