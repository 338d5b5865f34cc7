//! Works as ManifestWork objects in the agent's namespace: what `kubectl get manifestworks` shows is what is held.
//!
//! It owes its neighbours few requests: one per commit and one per status, none for a report. What was just
//! written is read from a small cache, acknowledgements are gathered in one ConfigMap, and a watch tells what others
//! change. Others may: an edit of a spec is applied, a deletion is carried out and the work then asked for again from
//! its source, an annotation pauses. A version that comes while its object is going is written to it and does not
//! revive it: the source sends it once more. A work whose annotations somebody broke is left as it is and asked for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::ListParams;
use link::id::ConsumerName;
use link::order::SequenceId;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::{Entry, Error, Head, Index, Looked, StatusRecord, Store, Stored, Work, WorkId};
use crate::change::Change;
use crate::crd::{self, ManifestWork};
use crate::keyed_lock::KeyedLock;
use crate::work_id::object_name;
use cache::Cache;
use foreign::Foreign;
use journal::{Journal, Notes};
use looks::Looks;
use record::{Listed, Object};
use remote::{Remote, optional};
use said::Said;

mod cache;
mod commit;
mod erase;
mod foreign;
mod journal;
mod looks;
mod marks;
mod record;
mod remote;
mod said;
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
    index: Index,
    known: Mutex<HashMap<WorkId, Known>>,
    // Names of objects that are labelled for this agent and could not be read as works: there are few, or somebody
    // breaks every work.
    strays: Mutex<HashSet<String>>,
    cache: Mutex<Cache>,
    foreign: Foreign,
    said: Said,
    looks: Looks,
    locks: KeyedLock,
    journal: Journal,
}

/// What was last seen of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    uid: Option<String>,
    generation: i64,
}

// === impl Objects ===

impl Objects {
    /// Lists the works of `consumer` in a namespace. Others may keep theirs there too.
    ///
    /// # Errors
    /// [`Error::Api`] when the API server refuses or cannot be reached.
    pub async fn open(
        client: Client,
        namespace: &str,
        consumer: &ConsumerName,
    ) -> Result<Found, Error> {
        let journal::Opened {
            journal,
            marks,
            departed,
            paused,
        } = Journal::open(client.clone(), namespace, consumer).await?;
        let inner = Inner {
            works: Remote::new::<ManifestWork>(client, namespace),
            consumer: consumer.clone(),
            index: Index::default(),
            known: Mutex::default(),
            strays: Mutex::default(),
            cache: Mutex::default(),
            foreign: Foreign::default(),
            said: Said::default(),
            looks: Looks::default(),
            locks: KeyedLock::default(),
            journal,
        };
        inner.index.set_paused(paused);
        inner.index.recall(departed);
        let unreadable = inner.load(&marks).await?;
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
    /// [`Error::Api`]; those statuses are then reported once more after the next start.
    pub async fn flush(&self) -> Result<(), Error> {
        self.0.journal.flush(|| self.0.notes()).await
    }
}

// === impl Inner ===

impl Inner {
    // Whole objects cross the wire, because the version and hash of a status are no metadata; one page of them is
    // in memory at a time, and little of it is kept.
    async fn load(&self, marks: &marks::Marks) -> Result<Vec<String>, Error> {
        let mut unreadable = Vec::new();
        let mut params = ListParams::default().labels(&self.selector()).limit(PAGE);
        loop {
            let mut page = self.works.page::<Listed>(&params).await?;
            params.limit = Some(page.next_limit(PAGE_BYTES, LARGEST_PAGE));
            for listed in &page.items {
                if let Err(why) = self.take(listed, marks) {
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

    fn take(&self, listed: &Listed, marks: &marks::Marks) -> Result<(), record::Unreadable> {
        let head = record::head(&listed.metadata)?;
        self.index.put(&head);
        self.see(&head.id, &listed.metadata);
        if let Some((version, hash)) = listed.reported() {
            self.index.update(&head.id, |entry| {
                entry.status_version = version;
                entry.status_hash = Some(hash.into());
                entry.acknowledged = marks.holds(&head.id, entry);
            });
        }
        let entry = self.index.entry(&head.id);
        let in_order = entry.is_some_and(|entry| {
            let is_paused = entry.paused.is_some();
            !is_paused && !entry.dropped && !entry.deleting && head.rejected.is_none()
        });
        if let Some(looked) = listed.looked(head.version).filter(|_| in_order) {
            let generation = listed.metadata.generation.unwrap_or_default();
            self.looks.found(head.id, generation, looked);
        }
        Ok(())
    }

    /// Takes over what the metadata of a held work's object says that is not the source's to say. Returns whether
    /// that is news.
    fn see(&self, id: &WorkId, metadata: &ObjectMeta) -> bool {
        let known = Known {
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

    /// The work with its status, from the cache or the API server. The caller has the turn.
    async fn load_one(&self, id: &WorkId) -> Result<Option<Stored>, Error> {
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
        stored.record = self.said.get(id).or(stored.record);
        if let Some(record) = &mut stored.record {
            record.acknowledged = entry.acknowledged;
        }
        Ok(Some(stored))
    }

    // What others did to it is not taken note of here: the watch tells, and wakes those who should know.
    async fn fetch(&self, id: &WorkId) -> Result<Option<Stored>, Error> {
        let name = object_name(id);
        let Some(object) = optional(self.works.get::<Object>(&name).await)? else {
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
        self.said.forget(id);
        self.looks.forget(id);
        self.index.remove(id)
    }

    fn notes(&self) -> Notes {
        Notes {
            acknowledged: marks::write(&self.index.entries()),
            departed: self.index.departed(),
        }
    }

    fn selector(&self) -> String {
        format!("{}={}", crd::CONSUMER, self.consumer)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<WorkId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strays(&self) -> MutexGuard<'_, HashSet<String>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Store ===

impl Store for Objects {
    fn index(&self) -> &Index {
        &self.0.index
    }

    async fn commit(&self, works: Arc<Vec<Work>>) -> Result<(), Error> {
        stream::iter(works.iter().map(Ok))
            .try_for_each_concurrent(COMMITS, |work| self.0.commit(work))
            .await
    }

    async fn read(&self, id: &WorkId) -> Result<Option<Stored>, Error> {
        let _lock = self.0.turns.of(id).await;
        self.0.load_one(id).await
    }

    async fn reported(&self, id: &WorkId) -> Result<Option<(Head, StatusRecord)>, Error> {
        // What is at hand does not wait for a write of it that is under way.
        let cached = self.0.cache().get(id).cloned();
        let stored = match cached {
            Some(stored) => Some(stored),
            None => self.read(id).await?,
        };
        let said = self.0.said.get(id);
        Ok(stored.and_then(|stored| Some((stored.work.head, said.or(stored.record)?))))
    }

    async fn put_status(
        &self,
        id: &WorkId,
        epoch: u64,
        record: StatusRecord,
    ) -> Result<bool, Error> {
        Ok(self.0.note_status(id, epoch, record).await)
    }

    async fn write_status(&self, id: &WorkId, look: Option<(u64, String)>) -> Result<(), Error> {
        self.0.write_status(id, look).await
    }

    fn take_looks(&self) -> HashMap<WorkId, Looked> {
        self.0.looks.take()
    }

    async fn acknowledge(&self, id: &WorkId, record: StatusRecord) -> Result<(), Error> {
        let news = self.0.index.update(id, |entry| {
            let newest = entry.status_hash.as_deref() == Some(record.hash.as_str())
                && entry.status_version == record.version;
            let news = newest && !entry.acknowledged;
            entry.acknowledged |= newest;
            news
        });
        if news == Some(true) {
            self.0.journal.touch();
        }
        Ok(())
    }

    fn keeps_payloads(&self) -> bool {
        true
    }

    fn may_hold(&self, id: &WorkId) -> bool {
        self.0.strays().contains(&object_name(id))
    }

    async fn remove(&self, id: &WorkId) -> Result<(), Error> {
        self.0.remove(id).await
    }

    async fn next_sequence(&self, now: Timestamp) -> Result<SequenceId, Error> {
        self.0.journal.next(now, || self.0.notes()).await
    }

    async fn watch(&self, changes: mpsc::Sender<Change>) {
        tokio::join!(
            self.0.watch_works(&changes),
            self.0.watch_journal(&changes),
            self.0.keep_journal(),
            self.0.keep_statuses(),
            Box::pin(self.0.await_names())
        );
    }
}

// Of objects of 49 KB, as bundles of some size have, half a megabyte of text.
const PAGE: u32 = 10;
// What is in memory at a time, where objects of the next page are like those of the one before.
const PAGE_BYTES: usize = 1024 * 1024;
// What the client libraries of others ask for at most.
const LARGEST_PAGE: usize = 500;
// What an API server takes from one client without queueing, and some times what hides the latency of etcd.
const COMMITS: usize = 16;
