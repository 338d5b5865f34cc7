//! A store for tests whose methods fail or panic on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use tokio::sync::broadcast;

use super::agents::{AgentStore, Orphan, PartOutcome, RemovedConsumer, ResyncPart};
use super::facts::{BundleFacts, ConsumerFacts, ExplainStore};
use super::methods::{
    agent_store_methods, explain_store_methods, presence_store_methods, report_store_methods,
    store_methods,
};
use super::query::{BundleColumn, ConsumerColumn, Parts, Query};
use super::{
    AgentVersion, Bundle, BundleVersion, ConnectionEvent, Consumer, Content, Doubts, Epoch, Fence,
    Gone, Hint, History, Json, Labels, Load, NewBundle, NewConsumer, Page, PendingBundle,
    PendingHead, Presence, PresenceStore, Raising, Report, ReportCursor, ReportHeads, ReportPage,
    ReportPosition, ReportStore, ReportedPresence, SourceName, StatusOutcome, StatusUpdate, Store,
    StoreError, Tombstone, Waiting,
};

/// What a call does instead of its work.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It fails.
    Error(StoreError),
    /// It panics.
    Panic,
}

/// A store with faults. Clones share them.
#[derive(Clone)]
pub(crate) struct Faulty<S> {
    inner: S,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Default)]
struct Faults {
    every: Option<Fault>,
    // By method: how often it still goes wrong, and how.
    some: BTreeMap<&'static str, (u32, Fault)>,
    calls: BTreeMap<&'static str, u32>,
}

// === impl Faulty ===

impl<S> Faulty<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            faults: Arc::default(),
        }
    }

    /// The store behind the faults.
    pub(crate) fn sound(&self) -> &S {
        &self.inner
    }

    /// From now on every call goes wrong, or none.
    pub(crate) fn every(&self, fault: Option<Fault>) {
        self.faults.lock().unwrap().every = fault;
    }

    /// The next `times` calls of a method go wrong.
    pub(crate) fn next(&self, method: &'static str, times: u32, fault: Fault) {
        self.faults
            .lock()
            .unwrap()
            .some
            .insert(method, (times, fault));
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &'static str) -> u32 {
        self.faults
            .lock()
            .unwrap()
            .calls
            .get(method)
            .copied()
            .unwrap_or_default()
    }

    fn gate(&self, method: &'static str) -> Result<(), StoreError> {
        let fault = {
            let mut faults = self.faults.lock().unwrap();
            *faults.calls.entry(method).or_default() += 1;
            let some = faults.some.get_mut(method).and_then(|(left, fault)| {
                *left = left.checked_sub(1)?;
                Some(fault.clone())
            });
            some.or_else(|| faults.every.clone())
        };
        match fault {
            None => Ok(()),
            Some(Fault::Error(error)) => Err(error),
            Some(Fault::Panic) => panic!("a fault of the test in `{method}`"),
        }
    }
}

/// Passes calls on, each behind the gate.
macro_rules! gated {
    ($($method:ident($($name:ident: $kind:ty),*) -> $value:ty;)*) => {
        $(async fn $method(&self, $($name: $kind),*) -> Result<$value, StoreError> {
            self.gate(stringify!($method))?;
            self.inner.$method($($name),*).await
        })*
    };
}

impl<S: Store> AgentStore for Faulty<S> {
    agent_store_methods!(gated);
}

impl<S: Store> ExplainStore for Faulty<S> {
    explain_store_methods!(gated);
}

impl<S: Store> PresenceStore for Faulty<S> {
    presence_store_methods!(gated);
}

impl<S: Store> ReportStore for Faulty<S> {
    report_store_methods!(gated);
}

impl<S: Store> Store for Faulty<S> {
    store_methods!(gated);

    fn fenced(&self, fence: Option<Fence>) -> Self {
        Self {
            inner: self.inner.fenced(fence),
            faults: self.faults.clone(),
        }
    }

    fn changes(&self) -> broadcast::Receiver<Hint> {
        self.inner.changes()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
