//! A store whose failures show in readiness, whichever part met them.
//!
//! Every caller tries again until it works, so a failure stands for as long as the same call has not worked since. A few
//! of them are remembered; the check is well again when none is left.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use link::error::{Hint as _, chain};
use link::order::SequenceId;
use tokio::sync::mpsc;

use super::{
    Head, StatusRecord, Store, StoreError, Stored, StoredSnapshot, Work, WorkId, WorkIndex,
};
use crate::change::Change;
use crate::health::Health;

/// A store and the check that says whether it works. Clones share both.
#[derive(Clone)]
pub struct MonitoredStore<S> {
    store: S,
    failures: Arc<StandingFailures>,
}

struct StandingFailures {
    standing: Mutex<BTreeMap<Call, String>>,
    health: Health,
}

/// What was tried, and of which work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Commit,
    Sequence,
    Read(WorkId),
    Write(WorkId),
}

// === impl MonitoredStore ===

impl<S> MonitoredStore<S> {
    /// Watches a store.
    pub fn new(store: S, health: Health) -> Self {
        let failures = StandingFailures {
            standing: Mutex::default(),
            health,
        };
        Self {
            store,
            failures: Arc::new(failures),
        }
    }
}

impl<S: Store> Store for MonitoredStore<S> {
    fn index(&self) -> &WorkIndex {
        self.store.index()
    }

    async fn commit(&self, works: Arc<Vec<Work>>) -> Result<(), StoreError> {
        let done = self.store.commit(works).await;
        match &done {
            // That one name is taken is no failure of the store; the others are committed next.
            Err(error) if error.foreign().is_some() => self.failures.note(Call::Commit, &Ok(())),
            _ => self.failures.note(Call::Commit, &done),
        }
        done
    }

    async fn read(&self, id: &WorkId) -> Result<Option<Stored>, StoreError> {
        let read = self.store.read(id).await;
        self.failures.note(Call::Read(id.clone()), &read);
        read
    }

    async fn reported(&self, id: &WorkId) -> Result<Option<(Head, StatusRecord)>, StoreError> {
        let read = self.store.reported(id).await;
        self.failures.note(Call::Read(id.clone()), &read);
        read
    }

    async fn put_status(
        &self,
        id: &WorkId,
        epoch: u64,
        record: StatusRecord,
    ) -> Result<bool, StoreError> {
        let done = self.store.put_status(id, epoch, record).await;
        self.failures.note(Call::Write(id.clone()), &done);
        done
    }

    async fn write_status(
        &self,
        id: &WorkId,
        snapshot: Option<(u64, String)>,
    ) -> Result<(), StoreError> {
        let done = self.store.write_status(id, snapshot).await;
        self.failures.note(Call::Write(id.clone()), &done);
        done
    }

    fn take_snapshots(&self) -> HashMap<WorkId, StoredSnapshot> {
        self.store.take_snapshots()
    }

    async fn acknowledge(&self, id: &WorkId, record: StatusRecord) -> Result<(), StoreError> {
        let done = self.store.acknowledge(id, record).await;
        self.failures.note(Call::Write(id.clone()), &done);
        done
    }

    fn keeps_payloads(&self) -> bool {
        self.store.keeps_payloads()
    }

    fn may_hold(&self, id: &WorkId) -> bool {
        self.store.may_hold(id)
    }

    async fn remove(&self, id: &WorkId) -> Result<(), StoreError> {
        let done = self.store.remove(id).await;
        self.failures.note(Call::Write(id.clone()), &done);
        if done.is_ok() {
            // Nobody reads it again.
            self.failures.note(Call::Read(id.clone()), &done);
        }
        done
    }

    async fn next_sequence(&self, now: Timestamp) -> Result<SequenceId, StoreError> {
        let next = self.store.next_sequence(now).await;
        self.failures.note(Call::Sequence, &next);
        next
    }

    async fn watch(&self, changes: mpsc::Sender<Change>) {
        self.store.watch(changes).await;
    }
}

// === impl StandingFailures ===

impl StandingFailures {
    fn note<T>(&self, call: Call, outcome: &Result<T, StoreError>) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(_) => {
                if standing.remove(&call).is_none() {
                    return;
                }
                // Reported under the lock, so that two calls cannot report in the wrong order.
                match standing.values().next() {
                    None => self.health.ok(),
                    Some(why) => self.health.failing(why.clone()),
                }
            }
            Err(error) => {
                let hint = error.hint();
                let hint = hint.map_or_else(String::new, |hint| format!("; hint: {hint}"));
                let why = format!("{}{hint}", chain(error));
                self.health.failing(why.clone());
                if standing.len() < MOST || standing.contains_key(&call) {
                    standing.insert(call, why);
                }
            }
        }
    }
}

// A store that fails for more works than this fails for all of them.
const MOST: usize = 64;
