//! A store that fails as it is told, and a target that takes its time.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::applier::directory::Directory;
use agent::applier::{
    Applied, Applier, ApplierError, Change, Claim, Desired, HeldObject, Release, Released,
};
use agent::work::{
    ApiRefusal, Files, Head, StatusRecord, Store, StoreError, Stored, Work, WorkId, WorkIndex,
};
use jiff::Timestamp;
use link::bundle::manifest::ObjectRef;
use link::order::SequenceId;
use serde_json::Value;
use tokio::sync::mpsc;

/// What a store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Commit,
    Read,
    Reported,
    PutStatus,
    /// What others are told does not depend on it.
    WriteStatus,
    Acknowledge,
    Remove,
    Sequence,
}

/// What goes wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    NotFound,
    Interrupted,
    NoSpace,
    NoDescriptors,
    Io,
    ReadOnly,
    Refused,
    NoAnswer,
}

/// A store that fails on demand and counts what is committed.
#[derive(Clone)]
pub(crate) struct Faulty {
    pub(crate) files: Arc<Files>,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Default)]
struct Faults {
    failing: Option<(Call, Class)>,
    foreign: Option<WorkId>,
    panics: Option<Call>,
    commits: HashMap<WorkId, usize>,
}

impl Call {
    pub(crate) const ALL: [Self; 7] = [
        Self::Commit,
        Self::Read,
        Self::Reported,
        Self::PutStatus,
        Self::Acknowledge,
        Self::Remove,
        Self::Sequence,
    ];
}

impl Class {
    pub(crate) const ALL: [Self; 8] = [
        Self::NotFound,
        Self::Interrupted,
        Self::NoSpace,
        Self::NoDescriptors,
        Self::Io,
        Self::ReadOnly,
        Self::Refused,
        Self::NoAnswer,
    ];

    fn error(self) -> StoreError {
        let code = match self {
            Self::NotFound => 2,
            Self::Interrupted => 4,
            Self::NoSpace => 28,
            Self::NoDescriptors => 24,
            Self::Io => 5,
            Self::ReadOnly => 30,
            Self::Refused => 13,
            Self::NoAnswer => {
                return StoreError::Api {
                    operation: "change",
                    object: "ManifestWork `agent/w`".into(),
                    source: ApiRefusal::Slow(Duration::from_secs(30)),
                };
            }
        };
        StoreError::Io {
            operation: "use",
            path: "somewhere".into(),
            source: io::Error::from_raw_os_error(code),
        }
    }
}

impl Faulty {
    pub(crate) fn new(files: Files) -> Self {
        Self {
            files: Arc::new(files),
            faults: Arc::default(),
        }
    }

    pub(crate) fn fail(&self, failing: Option<(Call, Class)>) {
        self.faults.lock().unwrap().failing = failing;
    }

    /// An object of another agent has the name of this work.
    pub(crate) fn take_name_of(&self, id: Option<WorkId>) {
        self.faults.lock().unwrap().foreign = id;
    }

    pub(crate) fn panic_once(&self, call: Call) {
        self.faults.lock().unwrap().panics = Some(call);
    }

    /// How often a work was stored.
    pub(crate) fn commits(&self, id: &WorkId) -> usize {
        let faults = self.faults.lock().unwrap();
        faults.commits.get(id).copied().unwrap_or_default()
    }

    fn check(&self, call: Call) -> Result<(), StoreError> {
        let mut faults = self.faults.lock().unwrap();
        if faults.panics.take_if(|panics| *panics == call).is_some() {
            drop(faults);
            panic!("{call:?} fails on purpose");
        }
        match faults.failing {
            Some((failing, class)) if failing == call => Err(class.error()),
            _ => Ok(()),
        }
    }
}

impl Store for Faulty {
    fn index(&self) -> &WorkIndex {
        Store::index(&self.files)
    }

    async fn commit(&self, works: Arc<Vec<Work>>) -> Result<(), StoreError> {
        self.check(Call::Commit)?;
        let foreign = self.faults.lock().unwrap().foreign.clone();
        if let Some(id) = foreign.filter(|id| works.iter().any(|work| work.head.id == *id)) {
            return Err(StoreError::Foreign {
                object: format!("ManifestWork `agent/{id}`"),
                consumer: "cluster2".into(),
                id,
            });
        }
        Store::commit(&self.files, Arc::clone(&works)).await?;
        let mut faults = self.faults.lock().unwrap();
        for work in works.iter() {
            *faults.commits.entry(work.head.id.clone()).or_default() += 1;
        }
        Ok(())
    }

    async fn read(&self, id: &WorkId) -> Result<Option<Stored>, StoreError> {
        self.check(Call::Read)?;
        Store::read(&self.files, id).await
    }

    async fn reported(&self, id: &WorkId) -> Result<Option<(Head, StatusRecord)>, StoreError> {
        self.check(Call::Reported)?;
        Store::reported(&self.files, id).await
    }

    async fn put_status(
        &self,
        id: &WorkId,
        epoch: u64,
        record: StatusRecord,
    ) -> Result<bool, StoreError> {
        self.check(Call::PutStatus)?;
        Store::put_status(&self.files, id, epoch, record).await
    }

    async fn write_status(
        &self,
        id: &WorkId,
        look: Option<(u64, String)>,
    ) -> Result<(), StoreError> {
        self.check(Call::WriteStatus)?;
        Store::write_status(&self.files, id, look).await
    }

    async fn acknowledge(&self, id: &WorkId, record: StatusRecord) -> Result<(), StoreError> {
        self.check(Call::Acknowledge)?;
        Store::acknowledge(&self.files, id, record).await
    }

    async fn remove(&self, id: &WorkId) -> Result<(), StoreError> {
        self.check(Call::Remove)?;
        Store::remove(&self.files, id).await
    }

    async fn next_sequence(&self, now: Timestamp) -> Result<SequenceId, StoreError> {
        self.check(Call::Sequence)?;
        Store::next_sequence(&self.files, now).await
    }

    async fn watch(&self, changes: mpsc::Sender<Change>) {
        Store::watch(&self.files, changes).await;
    }
}

/// A directory that takes its time to remove something.
pub(crate) struct Slow {
    pub(crate) directory: Directory,
    pub(crate) release: Duration,
}

impl Applier for Slow {
    async fn claim(
        &self,
        owner: &WorkId,
        declared: &[Claim],
    ) -> Result<Vec<HeldObject>, ApplierError> {
        self.directory.claim(owner, declared).await
    }

    async fn apply(&self, owner: &WorkId, desired: Desired<'_>) -> Result<Applied, ApplierError> {
        self.directory.apply(owner, desired).await
    }

    async fn observe(&self, object: &ObjectRef) -> Result<Option<Value>, ApplierError> {
        self.directory.observe(object).await
    }

    async fn release(
        &self,
        owner: &WorkId,
        held: &HeldObject,
        mode: Release,
    ) -> Result<Released, ApplierError> {
        tokio::time::sleep(self.release).await;
        self.directory.release(owner, held, mode).await
    }

    async fn settle(&self, owner: &WorkId) -> Result<(), ApplierError> {
        self.directory.settle(owner).await
    }

    fn owns(&self, owner: &WorkId) -> bool {
        self.directory.owns(owner)
    }

    async fn watch(&self, changes: mpsc::Sender<Change>) {
        self.directory.watch(changes).await;
    }
}
