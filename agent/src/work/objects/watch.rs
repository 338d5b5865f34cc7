//! What others do to the works and to the state of the agent, from watches on metadata.
//!
//! Every event is handled under the lock of its work: then nothing of ours is under way, and what we wrote ourselves
//! is known already and no news.

use std::collections::HashSet;
use std::pin::pin;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use link::error::{Hint as _, chain};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::super::{StoreError, WorkId};
use super::remote::optional;
use super::{Inner, record};
use crate::change::Change;
use crate::crd::ManifestWork;
use crate::work::refusal::ApiRefusal;
use crate::work_id::object_name;

impl Inner {
    /// Watches the works until the receiver is gone.
    pub(super) async fn watch_works(&self, changes: &mpsc::Sender<Change>) {
        let api: Api<PartialObjectMeta<ManifestWork>> =
            Api::namespaced(self.works.client(), self.works.namespace());
        let config = watcher::Config::default()
            .labels(&self.selector())
            .page_size(PAGE);
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            let changed = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    Vec::new()
                }
                Ok(Event::InitApply(object)) => {
                    let id = record::id_of(&object.metadata);
                    listed.insert(id.clone());
                    self.changed(id, object.metadata).await
                }
                Ok(Event::Apply(object)) => {
                    self.changed(record::id_of(&object.metadata), object.metadata)
                        .await
                }
                Ok(Event::Delete(object)) => {
                    self.gone(&record::id_of(&object.metadata), &object.metadata)
                        .await;
                    Vec::new()
                }
                Ok(Event::InitDone) => {
                    self.missing(&std::mem::take(&mut listed)).await;
                    Vec::new()
                }
                Err(error) => {
                    interrupted("works", error);
                    Vec::new()
                }
            };
            if !changed.is_empty() && changes.send(Change::Works(changed)).await.is_err() {
                return;
            }
        }
    }

    /// Watches the annotation that pauses the agent until the receiver is gone.
    pub(super) async fn watch_journal(&self, changes: &mpsc::Sender<Change>) {
        let (client, namespace, name) = self.journal.place();
        let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client, namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut listed = None;
        while let Some(event) = events.next().await {
            let paused = match event {
                Ok(Event::Apply(map)) => self.journal.paused(&map.metadata),
                Ok(Event::Delete(_)) => None,
                Ok(Event::InitApply(map)) => {
                    listed = self.journal.paused(&map.metadata);
                    continue;
                }
                Ok(Event::InitDone) => listed.take(),
                Ok(Event::Init) => continue,
                Err(error) => {
                    interrupted("the agent's state", error);
                    continue;
                }
            };
            if !self.index.set_paused(paused.clone()) {
                continue;
            }
            match paused {
                Some(why) => info!(reason = why, "The agent is paused"),
                None => info!("The agent is not paused any more"),
            }
            if changes.send(Change::Everything).await.is_err() {
                return;
            }
        }
    }

    /// Writes the digests of acknowledged statuses from time to time while they change.
    pub(super) async fn keep_journal(&self) {
        loop {
            self.journal.due().await;
            if let Err(error) = self.journal.flush(|| self.notes()).await {
                warn!(error = %chain(&error), "Could not note what was acknowledged; it is tried again");
            }
        }
    }

    /// The work, if an event about it is news.
    async fn changed(&self, id: WorkId, metadata: ObjectMeta) -> Vec<WorkId> {
        let _lock = self.locks.of(&id).await;
        match self.news(&id, metadata).await {
            Ok(true) => vec![id],
            Ok(false) => Vec::new(),
            Err(error) => {
                warn!(resource.id = %id, error = %chain(&error), "Could not look at a changed work");
                vec![id]
            }
        }
    }

    async fn news(&self, id: &WorkId, mut metadata: ObjectMeta) -> Result<bool, StoreError> {
        let known = self.known().get(id).cloned();
        let Some(known) = known.filter(|_| metadata.name.as_deref() == Some(&*object_name(id)))
        else {
            return Ok(false);
        };
        let replaced = metadata.uid != known.uid;
        if replaced {
            // An old event of an object that was ours before, or somebody put another one in its place.
            let name = object_name(id);
            let Some(current) = optional(self.works.metadata(&name).await)? else {
                self.lost(id, "is gone");
                return Ok(false);
            };
            if current.uid == known.uid {
                return Ok(false);
            }
            metadata = current;
        }
        let generation = metadata.generation.unwrap_or_default();
        if !replaced && generation < known.generation {
            // From before what we wrote last.
            return Ok(false);
        }
        let edited = replaced || generation > known.generation;
        if edited {
            info!(resource.id = %id, "Somebody changed {}", self.works.object(&object_name(id)));
            self.cache().remove(id);
            self.index.renew(id);
        }
        Ok(self.note_metadata(id, &metadata) || edited)
    }

    async fn gone(&self, id: &WorkId, metadata: &ObjectMeta) {
        let _lock = self.locks.of(id).await;
        let ours = self
            .known()
            .get(id)
            .is_some_and(|known| known.uid == metadata.uid);
        if ours {
            self.lost(id, "was taken away");
        }
    }

    /// After a new listing: what is held and was not listed is gone, or was written since the listing began.
    async fn missing(&self, listed: &HashSet<WorkId>) {
        for id in self.index.ids() {
            if listed.contains(&id) {
                continue;
            }
            let _lock = self.locks.of(&id).await;
            let held = self.known().contains_key(&id);
            if !held {
                continue;
            }
            match optional(self.works.metadata(&object_name(&id)).await) {
                Ok(Some(_)) => {}
                Ok(None) => self.lost(&id, "is gone"),
                // The next pass finds out.
                Err(error) => {
                    warn!(resource.id = %id, error = %chain(&error), "Could not look for a work");
                }
            }
        }
    }
}

fn interrupted(what: &str, error: watcher::Error) {
    let refusal = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error.into(),
        watcher::Error::WatchError(status) => ApiRefusal::Answer(status),
        error @ watcher::Error::NoResourceVersion => ApiRefusal::Unreachable(Box::new(error)),
    };
    warn!(
        error = %chain(&refusal), hint = refusal.hint(),
        "The watch on {what} was interrupted; it goes on by itself"
    );
}

// Annotations hold up to 64 KB of metadata each, usually far less than one.
const PAGE: u32 = 100;
