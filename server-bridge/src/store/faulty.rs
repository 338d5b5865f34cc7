//! A store for tests whose methods fail or panic on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use tokio::sync::broadcast;

use super::agents::{AgentStore, Orphan, PartOutcome, RemovedConsumer, ResyncPart};
use super::query::{BundleColumn, ConsumerColumn, Parts, Query};
use super::{
    AgentVersion, Bundle, BundleVersion, Consumer, Content, Doubts, Epoch, Fence, Gone, Hint,
    History, Json, Labels, Load, NewBundle, NewConsumer, Page, PendingBundle, PendingHead, Raising,
    Report, ReportCursor, ReportHeads, ReportPage, ReportPosition, ReportStore, SourceName,
    StatusOutcome, StatusUpdate, Store, StoreError, Tombstone, Waiting,
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
    gated! {
        add_resync_part(part: ResyncPart, at: Timestamp) -> PartOutcome;
        forget_resync(consumer: &ConsumerName, list: &str) -> ();
        prune_resyncs(before: Timestamp) -> u64;
        add_orphans(consumer: &ConsumerName, works: Vec<Orphan>) -> u64;
        orphans(consumer: &ConsumerName, limit: u32) -> Vec<(i64, Orphan)>;
        remove_orphans(keys: Vec<i64>) -> ();
        doubts(consumer: &ConsumerName) -> Doubts;
        note_foreign_work(consumer: &ConsumerName, at: Timestamp) -> ();
        forget_foreign_works(consumer: &ConsumerName, until: Timestamp) -> ();
        note_seen(consumers: Vec<ConsumerName>, at: Timestamp) -> ();
        remove_consumer(id: &str, unseen_since: Option<Timestamp>, now: Timestamp) -> RemovedConsumer;
    }
}

impl<S: Store> ReportStore for Faulty<S> {
    gated! {
        reports_end() -> ReportPosition;
        reports_after(after: ReportPosition, limit: u32) -> ReportHeads;
        reports_since(source: &SourceName, since: Timestamp, after: Option<ReportCursor>, limit: u32) -> ReportPage;
        report(id: &str) -> Option<Report>;
        prune_reports(before: Timestamp) -> u64;
    }
}

impl<S: Store> Store for Faulty<S> {
    gated! {
        create_consumer(new: NewConsumer, now: Timestamp) -> Consumer;
        get_consumer(id: &str) -> Option<Consumer>;
        get_consumer_by_name(name: &ConsumerName) -> Option<Consumer>;
        list_consumers(query: Query<ConsumerColumn>) -> Page<Consumer>;
        loads(consumers: Vec<ConsumerName>) -> HashMap<String, Load>;
        update_consumer_labels(id: &str, labels: Labels, now: Timestamp) -> Consumer;
        delete_consumer(id: &str) -> ();
        ensure_consumers(consumers: Vec<NewConsumer>, now: Timestamp) -> u64;
        create_bundle(new: NewBundle, now: Timestamp) -> Bundle;
        get_bundle(id: &str) -> Option<Bundle>;
        update_bundle(id: &str, expected: Option<Version>, metadata: Option<Json>, content: Content, origin: Option<Json>, now: Timestamp) -> Bundle;
        mark_deleting(id: &str, now: Timestamp) -> ();
        list_bundles(query: Query<BundleColumn>, parts: Parts) -> Page<Bundle>;
        pending_heads(consumer: &ConsumerName, limit: u32) -> Vec<PendingHead>;
        pending(consumer: &ConsumerName, ids: Vec<String>) -> Vec<PendingBundle>;
        consumers_with_pending() -> Vec<ConsumerName>;
        consumer_names() -> Vec<ConsumerName>;
        record_published(id: &str, version: Version, deletion: bool, at: Timestamp) -> ();
        record_broker_acked(id: &str, version: Version, deletion: bool, matched: bool, at: Timestamp) -> ();
        record_publish_failed(id: &str, version: Version, deletion: bool, reason: &str, at: Timestamp) -> ();
        apply_status(update: StatusUpdate) -> StatusOutcome;
        send_again(consumer: &ConsumerName, id: &str, reason: &str, at: Timestamp) -> bool;
        versions_of(consumer: &ConsumerName) -> Vec<BundleVersion>;
        status_hashes_of(consumer: &ConsumerName) -> Vec<(String, Option<String>)>;
        request_resend(consumer: &ConsumerName, held: Vec<AgentVersion>) -> u64;
        raise(consumer: &ConsumerName, held: Vec<AgentVersion>, at: Timestamp) -> Raising;
        gone(consumer: &ConsumerName, ids: Vec<String>) -> Vec<Gone>;
        tombstone(id: &str) -> Option<Tombstone>;
        prune_tombstones(before: Timestamp) -> u64;
        epoch() -> Epoch;
        history() -> History;
        waiting(now: Timestamp, known: Vec<i64>) -> Waiting;
        ping() -> ();
    }

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
