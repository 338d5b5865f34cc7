//! Works as ManifestWork objects in the agent's namespace: what `kubectl get manifestworks` shows is what is held.
//!
//! It makes few requests: one per commit and one per status, none for a report. What was just
//! written is read from a small cache, acknowledgements are gathered in one ConfigMap, and a watch tells what others
//! change. Others may: an edit of a spec is applied, a deletion is carried out and the work then asked for again from
//! its source, an annotation pauses. A version that comes while its object is going is written to it and does not
//! revive it: the source sends it once more. A work whose annotations somebody broke is left as it is and asked for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::ListParams;
use link::id::ConsumerName;
use tracing::{error, warn};

use super::{Entry, StoreError, Stored, WorkId, WorkIndex};
use crate::crd::{self, ManifestWork};
use crate::keyed_lock::KeyedLock;
use crate::work_id::object_name;
use cache::Cache;
use foreign::ForeignWorks;
use journal::{Journal, Notes};
use pending_statuses::PendingStatuses;
use record::{ListedWork, WorkObject};
use remote::{Remote, optional};
use snapshots::Snapshots;

mod acknowledged;
mod cache;
mod commit;
mod delete_object;
mod foreign;
mod journal;
mod pending_statuses;
mod record;
mod remote;
mod snapshots;
mod store;
mod watch;

/// The store. Clones share it.
#[derive(Clone)]
pub struct Objects(Arc<Inner>);

/// What opening found.
pub struct Found {
    /// The store.
    pub store: Objects,
    /// How many works it holds.
    pub works: usize,
    /// ManifestWorks that are labelled for this agent and are no works of it: what they are and why. They are left
    /// alone, and the source is asked for what is missing.
    pub unreadable: Vec<String>,
}

struct Inner {
    works: Remote,
    consumer: ConsumerName,
    index: WorkIndex,
    known: Mutex<HashMap<WorkId, LastSeen>>,
    // Names of objects that are labelled for this agent and could not be read as works: there are few, or somebody
    // breaks every work.
    strays: Mutex<HashSet<String>>,
    cache: Mutex<Cache>,
    foreign: ForeignWorks,
    pending: PendingStatuses,
    snapshots: Snapshots,
    locks: KeyedLock,
    journal: Journal,
}

/// What was last seen of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LastSeen {
    uid: Option<String>,
    generation: i64,
}

// === impl Objects ===

impl Objects {
    /// Lists the works of `consumer` in a namespace. Others may keep theirs there too.
    ///
    /// # Errors
    /// [`StoreError::Api`] when the API server refuses or cannot be reached.
    pub async fn open(
        client: Client,
        namespace: &str,
        consumer: &ConsumerName,
    ) -> Result<Found, StoreError> {
        let journal::OpenedJournal {
            journal,
            ack_digests,
            tombstones,
            paused,
        } = Journal::open(client.clone(), namespace, consumer).await?;
        let inner = Inner {
            works: Remote::new::<ManifestWork>(client, namespace),
            consumer: consumer.clone(),
            index: WorkIndex::default(),
            known: Mutex::default(),
            strays: Mutex::default(),
            cache: Mutex::default(),
            foreign: ForeignWorks::default(),
            pending: PendingStatuses::default(),
            snapshots: Snapshots::default(),
            locks: KeyedLock::default(),
            journal,
        };
        inner.index.set_paused(paused);
        inner.index.recall(tombstones);
        let unreadable = inner.load(&ack_digests).await?;
        if !unreadable.is_empty() {
            inner.index.want_resync();
        }
        Ok(Found {
            works: inner.index.ids().len(),
            store: Self(Arc::new(inner)),
            unreadable,
        })
    }

    /// Writes which statuses were acknowledged lately; for the end of the agent.
    ///
    /// # Errors
    /// [`StoreError::Api`]; those statuses are then reported once more after the next start.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.0.journal.flush(|| self.0.notes()).await
    }
}

// === impl Inner ===

impl Inner {
    // Whole objects cross the wire, because the version and hash of a status are no metadata; one page of them is
    // in memory at a time, and little of it is kept.
    async fn load(
        &self,
        ack_digests: &acknowledged::AckDigests,
    ) -> Result<Vec<String>, StoreError> {
        let mut unreadable = Vec::new();
        let mut params = ListParams::default().labels(&self.selector()).limit(PAGE);
        loop {
            let mut page = self.works.page::<ListedWork>(&params).await?;
            params.limit = Some(page.next_limit(PAGE_BYTES, LARGEST_PAGE));
            for listed in &page.items {
                if let Err(why) = self.take(listed, ack_digests) {
                    let object = self
                        .works
                        .object(listed.metadata.name.as_deref().unwrap_or_default());
                    error!(
                        object, reason = %why,
                        "Left the unreadable {object} alone; the source is asked for what is missing"
                    );
                    unreadable.push(format!("{object}: {why}"));
                    self.strays().extend(listed.metadata.name.clone());
                }
            }
            match page.next() {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(unreadable),
            }
        }
    }

    fn take(
        &self,
        listed: &ListedWork,
        ack_digests: &acknowledged::AckDigests,
    ) -> Result<(), record::Unreadable> {
        let head = record::head(&listed.metadata)?;
        self.index.put(&head);
        self.note_metadata(&head.id, &listed.metadata);
        if let Some((version, hash)) = listed.reported() {
            self.index.update(&head.id, |entry| {
                entry.status_version = version;
                entry.status_hash = Some(hash.into());
                entry.acknowledged = ack_digests.holds(&head.id, entry);
            });
        }
        let entry = self.index.entry(&head.id);
        let in_order = entry.is_some_and(|entry| {
            let is_paused = entry.paused.is_some();
            !is_paused && !entry.dropped && !entry.deleting && head.rejected.is_none()
        });
        if let Some(stored_snapshot) = listed.stored_snapshot(head.version).filter(|_| in_order) {
            let generation = listed.metadata.generation.unwrap_or_default();
            self.snapshots.found(head.id, generation, stored_snapshot);
        }
        Ok(())
    }

    /// Takes over what the metadata of a held work's object says that is not the source's to say. Returns whether
    /// that is news.
    fn note_metadata(&self, id: &WorkId, metadata: &ObjectMeta) -> bool {
        let known = LastSeen {
            uid: metadata.uid.clone(),
            generation: metadata.generation.unwrap_or_default(),
        };
        self.known().insert(id.clone(), known);
        let object = self.works.object(&object_name(id));
        let paused: Option<Arc<str>> = record::paused(metadata, &object).map(Into::into);
        let terminating = metadata.deletion_timestamp.is_some();
        let news = self.index.update(id, |entry| {
            let dropped = entry.dropped || (terminating && !entry.deleting);
            let news = entry.paused != paused || entry.dropped != dropped;
            entry.paused = paused;
            entry.dropped = dropped;
            news
        });
        news.unwrap_or(false)
    }

    /// The work with its status, from the cache or the API server. The caller holds the lock of the work.
    async fn load_one(&self, id: &WorkId) -> Result<Option<Stored>, StoreError> {
        let Some(entry) = self.index.entry(id) else {
            return Ok(None);
        };
        let cached = self.cache().get(id).cloned();
        let mut stored = match cached {
            Some(stored) => stored,
            None => match self.fetch(id).await? {
                Some(stored) => stored,
                None => return Ok(None),
            },
        };
        stored.record = self.pending.get(id).or(stored.record);
        if let Some(record) = &mut stored.record {
            record.acknowledged = entry.acknowledged;
        }
        Ok(Some(stored))
    }

    // What others did to it is not taken note of here: the watch tells, and wakes those who should know.
    async fn fetch(&self, id: &WorkId) -> Result<Option<Stored>, StoreError> {
        let name = object_name(id);
        let Some(object) = optional(self.works.get::<WorkObject>(&name).await)? else {
            self.lost(id, "is gone");
            return Ok(None);
        };
        match object.stored() {
            Ok(stored) => {
                self.cache().put(stored.clone());
                Ok(Some(stored))
            }
            Err(why) => {
                self.strays().insert(name);
                self.lost(id, &format!("is no work any more ({why})"));
                Ok(None)
            }
        }
    }

    /// Forgets a work without touching anything in the cluster, and asks its source for it.
    fn lost(&self, id: &WorkId, how: &str) {
        warn!(
            resource.id = %id,
            "{} {how}; the source is asked for it again", self.works.object(&object_name(id))
        );
        self.forget(id);
        self.index.want_resync();
    }

    fn forget(&self, id: &WorkId) -> Option<Entry> {
        self.known().remove(id);
        self.cache().remove(id);
        self.pending.forget(id);
        self.snapshots.forget(id);
        self.index.remove(id)
    }

    fn notes(&self) -> Notes {
        Notes {
            acknowledged: acknowledged::write(&self.index.entries()),
            tombstones: self.index.tombstones(),
        }
    }

    fn selector(&self) -> String {
        format!("{}={}", crd::CONSUMER, self.consumer)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<WorkId, LastSeen>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strays(&self) -> MutexGuard<'_, HashSet<String>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Of objects of 49 KB, as bundles of some size have, half a megabyte of text.
const PAGE: u32 = 10;
// What is in memory at a time, where objects of the next page are like those of the one before.
const PAGE_BYTES: usize = 1024 * 1024;
// What the client libraries of others ask for at most.
const LARGEST_PAGE: usize = 500;
