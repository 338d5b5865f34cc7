//! A store whose failures show in readiness, whoever met them.
//!
//! Every caller tries again until it works, so a failure stands for as long as the same call has not worked since. A few
//! of them are remembered; the check is well again when none is left.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use link::error::{Hint as _, chain};
use link::order::SequenceId;
use tokio::sync::mpsc;

use super::{Error, Head, Index, Looked, StatusRecord, Store, Stored, Work, WorkId};
use crate::change::Change;
use crate::health::Health;

/// A store and the check that says whether it works. Clones share both.
#[derive(Clone)]
pub struct Watched<S> {
    store: S,
    troubles: Arc<Troubles>,
}

struct Troubles {
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

// === impl Watched ===

impl<S> Watched<S> {
    /// Watches a store.
    pub fn new(store: S, health: Health) -> Self {
        let troubles = Troubles {
            standing: Mutex::default(),
            health,
        };
        Self {
            store,
            troubles: Arc::new(troubles),
        }
    }
}

impl<S: Store> Store for Watched<S> {
    fn index(&self) -> &Index {
        self.store.index()
    }

    async fn commit(&self, works: Arc<Vec<Work>>) -> Result<(), Error> {
        let done = self.store.commit(works).await;
        match &done {
            // That one name is taken is no failure of the store; the others are committed next.
            Err(error) if error.foreign().is_some() => self.troubles.note(Call::Commit, &Ok(())),
            _ => self.troubles.note(Call::Commit, &done),
        }
        done
    }

    async fn read(&self, id: &WorkId) -> Result<Option<Stored>, Error> {
        let read = self.store.read(id).await;
        self.troubles.note(Call::Read(id.clone()), &read);
        read
    }

    async fn reported(&self, id: &WorkId) -> Result<Option<(Head, StatusRecord)>, Error> {
        let read = self.store.reported(id).await;
        self.troubles.note(Call::Read(id.clone()), &read);
        read
    }

    async fn put_status(
        &self,
        id: &WorkId,
        epoch: u64,
        record: StatusRecord,
    ) -> Result<bool, Error> {
        let done = self.store.put_status(id, epoch, record).await;
        self.troubles.note(Call::Write(id.clone()), &done);
        done
    }

    async fn write_status(&self, id: &WorkId, look: Option<(u64, String)>) -> Result<(), Error> {
        let done = self.store.write_status(id, look).await;
        self.troubles.note(Call::Write(id.clone()), &done);
        done
    }

    fn take_looks(&self) -> HashMap<WorkId, Looked> {
        self.store.take_looks()
    }

    async fn acknowledge(&self, id: &WorkId, record: StatusRecord) -> Result<(), Error> {
        let done = self.store.acknowledge(id, record).await;
        self.troubles.note(Call::Write(id.clone()), &done);
        done
    }

    fn keeps_payloads(&self) -> bool {
        self.store.keeps_payloads()
    }

    fn may_hold(&self, id: &WorkId) -> bool {
        self.store.may_hold(id)
    }

    async fn remove(&self, id: &WorkId) -> Result<(), Error> {
        let done = self.store.remove(id).await;
        self.troubles.note(Call::Write(id.clone()), &done);
        if done.is_ok() {
            // Nobody reads it again.
            self.troubles.note(Call::Read(id.clone()), &done);
        }
        done
    }

    async fn next_sequence(&self, now: Timestamp) -> Result<SequenceId, Error> {
        let next = self.store.next_sequence(now).await;
        self.troubles.note(Call::Sequence, &next);
        next
    }

    async fn watch(&self, changes: mpsc::Sender<Change>) {
        self.store.watch(changes).await;
    }
}

// === impl Troubles ===

impl Troubles {
    fn note<T>(&self, call: Call, outcome: &Result<T, Error>) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(_) => {
                if standing.remove(&call).is_none() {
                    return;
                }
                // Told inside, so that two calls cannot tell in the wrong order.
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
