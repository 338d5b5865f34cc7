//! Giving up an object (docs/MAESTRO.md §6.6): it goes only when it is still the one that was applied, nobody else holds it,
//! and it is gone only when the server does not find it any more. What never had a place in the cluster is gone at once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use link::bundle::manifest::ObjectRef;
use serde_json::Value;

use super::Inner;
use super::explain::explain;
use super::owners::is_applied_work;
use super::server::{ATTEMPTS, Place, is_conflict, is_immortal, is_missing, is_not_kept};
use super::watch::Face;
use crate::applier::{ApplierError, Held, Release, Released};
use crate::cluster::is_not_served;
use crate::work_id::WorkId;

mod words;

/// What becomes of an object on the server.
enum Fate {
    Gone,
    Left,
    /// It is terminating.
    Going(Box<ObjectMeta>),
    /// Its kind is not served in this version any more: another one knows.
    Unserved,
}

/// An object to give up.
struct Farewell<'a> {
    held: &'a Held,
    object: &'a ObjectRef,
    place: &'a Place,
    /// Uids of our owner references.
    mine: &'a [String],
    /// What else the work holds under that name.
    namesakes: &'a [Held],
    /// It is to stay.
    spared: bool,
    /// As it was last seen.
    face: Option<Face>,
}

impl Inner {
    /// See [`crate::applier::Applier::release`].
    pub(super) async fn release(
        &self,
        owner: &WorkId,
        held: &Held,
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
        let (holds, shared, mine, namesakes) = {
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
            let place = Place::new(&resource, &object);
            let mut flight = self.index.begin(&resource, &object, owner);
            let farewell = Farewell {
                held,
                object: &object,
                place: &place,
                mine: &mine,
                namesakes: &namesakes,
                spared: shared || mode == Release::Orphan,
                face: flight.face(),
            };
            let fate = self.part(&farewell).await?;
            if let Fate::Going(meta) = fate {
                let revision = meta.resource_version.as_deref().unwrap_or_default();
                let owners = meta.owner_references.as_deref().unwrap_or_default();
                flight.landed(revision, None, owners);
                return Ok(Released::Pending(
                    self.what_it_waits_for(&object, &place, &meta).await,
                ));
            }
            flight.leave();
            match fate {
                Fate::Unserved => {
                    way = self.reach_otherwise(&object, resource, &mut lost).await?;
                }
                Fate::Left => break Released::Left,
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

    async fn part(&self, farewell: &Farewell<'_>) -> Result<Fate, ApplierError> {
        let Farewell { object, place, .. } = farewell;
        let failed = |error| explain(&error, "delete", object);
        if let Some(face) = farewell.face()
            && let Some(fate) = self.delete_seen(farewell, face).await?
        {
            return Ok(fate);
        }
        let mut attempt = 1;
        let mut spared = farewell.spared;
        loop {
            let meta = match self.server.metadata(place).await {
                Err(error) if is_not_kept(&error) => return Ok(Fate::Gone),
                Err(error) if is_not_served(&error) => return Ok(Fate::Unserved),
                read => read.map_err(failed)?,
            };
            let Some(meta) = meta else {
                return Ok(Fate::Gone);
            };
            if !farewell.is_ours(&meta) || self.is_held_otherwise(farewell, &meta).await? {
                return Ok(Fate::Left);
            }
            let others = farewell.others(&meta);
            if spared || others.iter().any(is_applied_work) {
                match self.server.set_owners(place, &meta, &others).await {
                    Ok(_) => return Ok(Fate::Left),
                    Err(error) if is_not_served(&error) => return Ok(Fate::Unserved),
                    Err(error) if is_missing(&error) => return Ok(Fate::Gone),
                    Err(error) if is_conflict(&error) && attempt < ATTEMPTS => {
                        attempt += 1;
                        continue;
                    }
                    Err(error) => return Err(explain(&error, "change the owner of", object)),
                }
            }
            if meta.deletion_timestamp.is_some() {
                return Ok(Fate::Going(Box::new(meta)));
            }
            let uid = meta.uid.as_deref().unwrap_or_default();
            match self.server.delete(place, uid).await {
                Err(error) if is_not_served(&error) => return Ok(Fate::Unserved),
                Err(error) if is_missing(&error) => return Ok(Fate::Gone),
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
                    return self.after_deletion(farewell, uid, &answer).await;
                }
            };
        }
    }

    /// Whether the work holds the very object in another group or kind too; uids tell.
    async fn is_held_otherwise(
        &self,
        farewell: &Farewell<'_>,
        meta: &ObjectMeta,
    ) -> Result<bool, ApplierError> {
        for held in farewell.namesakes {
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
            match self.server.metadata(&Place::new(&resource, object)).await {
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
        farewell: &Farewell<'_>,
        face: &Face,
    ) -> Result<Option<Fate>, ApplierError> {
        let version = Some(face.revision.as_str());
        let deleted = self
            .server
            .delete_version(farewell.place, &face.uid, version)
            .await;
        match deleted {
            Ok(answer) => {
                let fate = self.after_deletion(farewell, &face.uid, &answer).await?;
                Ok(Some(fate))
            }
            Err(error) if is_not_served(&error) => Ok(Some(Fate::Unserved)),
            Err(error) if is_missing(&error) => Ok(Some(Fate::Gone)),
            Err(error) if is_conflict(&error) || is_immortal(&error) => Ok(None),
            Err(error) => Err(explain(&error, "delete", farewell.object)),
        }
    }

    /// What the answer to a deletion says. A server answers with a status when the object is gone, and with the object
    /// when it goes later; some kinds with the object that is gone, of which only a look tells.
    async fn after_deletion(
        &self,
        farewell: &Farewell<'_>,
        uid: &str,
        answer: &Value,
    ) -> Result<Fate, ApplierError> {
        if answer["kind"] == "Status" {
            return Ok(Fate::Gone);
        }
        let waits = |meta: &ObjectMeta| {
            let finalizers = meta.finalizers.as_deref().unwrap_or_default();
            let grace = meta.deletion_grace_period_seconds.unwrap_or_default();
            meta.deletion_timestamp.is_some() && (!finalizers.is_empty() || grace > 0)
        };
        let answered: ObjectMeta =
            serde_json::from_value(answer["metadata"].clone()).unwrap_or_default();
        if answered.uid.as_deref() == Some(uid) && waits(&answered) {
            return Ok(Fate::Going(Box::new(answered)));
        }
        let found = match self.server.metadata(farewell.place).await {
            Err(error) if is_not_served(&error) => return Ok(Fate::Unserved),
            found => found.map_err(|error| explain(&error, "delete", farewell.object))?,
        };
        Ok(match found {
            Some(after) if after.uid.as_deref() == Some(uid) => Fate::Going(Box::new(after)),
            _ => Fate::Gone,
        })
    }
}

// === impl Farewell ===

impl Farewell<'_> {
    /// The object as it was last seen, if it may go as that.
    fn face(&self) -> Option<&Face> {
        // What the work may hold under another name is compared by uid first.
        let plain = !self.spared && self.namesakes.is_empty();
        let face = self.face.as_ref().filter(|_| plain)?;
        let same = self.held.uid.as_deref().is_none_or(|uid| uid == &*face.uid);
        let mine = |uid: &str| self.mine.iter().any(|mine| mine == uid);
        let owned = !face.keepers.is_empty() && face.keepers.iter().all(|uid| mine(uid));
        (same && owned).then_some(face)
    }

    fn is_ours(&self, meta: &ObjectMeta) -> bool {
        let same = self.held.uid.is_none() || self.held.uid == meta.uid;
        same && self.others(meta).len() < meta.owner_references.as_ref().map_or(0, Vec::len)
    }

    fn others(&self, meta: &ObjectMeta) -> Vec<OwnerReference> {
        let owners = meta.owner_references.iter().flatten();
        owners
            .filter(|owner| !self.mine.contains(&owner.uid))
            .cloned()
            .collect()
    }
}
