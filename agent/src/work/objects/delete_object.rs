//! Deleting the object of a work, once the objects of the work are gone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::super::{Entry, StoreError, WorkId};
use super::remote::optional;
use super::{Inner, record};
use crate::crd;
use crate::work::refusal::ApiRefusal;
use crate::work_id::object_name;

impl Inner {
    /// Forgets a work that its source deleted or that somebody deleted here; the latter is asked for again.
    pub(super) async fn remove(&self, id: &WorkId) -> Result<(), StoreError> {
        let _lock = self.locks.of(id).await;
        let going = |entry: &Entry| entry.deleting || entry.dropped;
        let Some(entry) = self.index.entry(id).filter(going) else {
            return Ok(());
        };
        let name = object_name(id);
        let deleted = self.delete_object(id, entry.deleting).await?;
        self.strays().remove(&name);
        // The object has what its source sent last.
        let deleted = deleted.filter(|_| entry.deleting);
        let head = deleted.and_then(|metadata| record::head(&metadata).ok());
        if head.is_some_and(|head| {
            self.index
                .note_deletion(&head, entry.created.as_deref())
                .is_some()
        }) {
            self.journal.touch();
        }
        // Asked now, because the source may have spoken while the object went.
        let last = self.forget(id);
        if last
            .is_some_and(|entry| entry.refused_while_deleting || entry.dropped || !entry.deleting)
        {
            self.index.want_resync();
        }
        Ok(())
    }

    /// Deletes the object and takes our finalizer off it. Killed between the two requests, the object stands there as
    /// one to be deleted, and the next start goes on. What stands in its place by now goes only when its source wants
    /// the work gone.
    async fn delete_object(
        &self,
        id: &WorkId,
        any: bool,
    ) -> Result<Option<ObjectMeta>, StoreError> {
        let name = object_name(id);
        let mut uid = self.known().get(id).and_then(|known| known.uid.clone());
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let deleted = async {
                let deleted = self.works.delete(&name, uid.clone()).await;
                let going = optional(deleted)?.flatten();
                if let Some(metadata) = &going {
                    self.let_go(&name, metadata).await?;
                }
                Ok(going)
            };
            match deleted.await {
                // Somebody changed it in between, or put another one in its place.
                Err(error)
                    if tries > 0
                        && StoreError::refusal(&error).is_some_and(ApiRefusal::is_conflict) =>
                {
                    let found = optional(self.works.metadata(&name).await)?;
                    let same = |found: &ObjectMeta| any || uid.is_none() || found.uid == uid;
                    let Some(found) = found.filter(same) else {
                        return Ok(None);
                    };
                    uid = found.uid;
                }
                done => return done,
            }
        }
    }

    async fn let_go(&self, name: &str, metadata: &ObjectMeta) -> Result<(), StoreError> {
        let finalizers = metadata.finalizers.clone().unwrap_or_default();
        let others: Vec<&String> = finalizers
            .iter()
            .filter(|name| *name != crd::WORK_FINALIZER)
            .collect();
        if others.len() == finalizers.len() {
            return Ok(());
        }
        let document = json!({
            "metadata": {
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
                "finalizers": others,
            }
        });
        optional(self.works.merge(name, &document).await).map(drop)
    }
}

// Each loss means that somebody else wrote within the millisecond between reading and writing.
const TRIES: usize = 5;
