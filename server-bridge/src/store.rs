//! The store: consumers, bundles, their statuses and their ledger, behind one trait so that SQLite and PostgreSQL keep the
//! same promises (`tests/store_conformance.rs`).
//!
//! State is the outbox: a bundle needs sending while its version is greater than the acknowledged one, or
//! while its deletion is not acknowledged. There is no event queue. Ids and times are arguments; every method
//! is one transaction, and has happened durably when it returns `Ok`.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::stream::BoxStream;
use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use tokio::sync::broadcast;

mod agents;
mod ahead;
mod any;
mod bucket;
mod bundle;
mod consumer;
mod copy;
mod decide;
mod error;
mod facts;
#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod fixture;
mod history;
mod json;
mod methods;
mod order;
mod outbox;
mod overview;
pub mod postgres;
mod presence;
mod progress;
pub mod query;
mod replica;
mod reports;
mod resync;
mod source;
mod sql;
pub mod sqlite;
mod status;
mod waiting;

pub use agents::{
    ALL_BYTES, AgentStore, DOUBTED, Doubts, LIST_BYTES, LISTS, ORPHANS, Orphan, PartOutcome,
    RemovedConsumer, ResyncPart, SEEN_EVERY, unseen_since,
};
pub(crate) use ahead::REASON as AHEAD_REASON;
pub use any::{AnyStore, Location};
pub use bucket::Bucket;
pub use bundle::{Bundle, Content, LEDGER_VERSIONS, LedgerEntry, NewBundle, Status};
pub use consumer::{Consumer, Labels, NewConsumer};
pub use copy::{
    BundleOutcome, Compared, CopyError, CopyReport, ImportTransaction, ImportedBundle,
    ImportedStatus, LabelsOutcome, Summed, copy,
};
pub use error::{FailureClass, OpenError, StoreError};
pub use facts::{
    Ahead, BundleFacts, ConsumerFacts, ExplainStore, Found, KnownNames, LaneFacts, LaneOwner,
    LeaseFacts, RAISED_SHOWN, RaisedVersion, Wanted,
};
pub use history::{EPOCHS, Epoch, History, JUMP, Raised, Raising};
pub use json::{InvalidJson, Json, MAX_DEPTH};
pub use order::newer;
pub use outbox::{Hint, PendingBundle, PendingHead};
pub use overview::{Began, ConnectionCounts, HistorySummary, Holds, Member, Overview, Tables};
pub(crate) use presence::is_ahead;
pub use presence::{
    Assessment, Circumstances, ConnectionEvent, LATE, LISTENING_EVERY, Presence, PresenceState,
    PresenceStore, RENUMBERED, REPORTS_MISSED_AFTER, ReportedPresence, assess, reason,
};
pub use progress::{ConditionStatus, Load, Progress, WaitingFor};
use query::{BundleColumn, ConsumerColumn, Parts, Query};
pub use replica::{Fence, Free, Instance, Lease, LeaseStore, Renewal, Replica, Roster, Slot};
pub use reports::{
    REPORTS_KEPT, Report, ReportCursor, ReportHead, ReportHeads, ReportPage, ReportPosition,
    ReportStore,
};
pub use resync::{AgentVersion, BundleVersion, Gone, Tombstone};
pub use source::{InvalidSource, SourceName};
pub use status::{StatusOutcome, StatusUpdate};
pub use waiting::{
    ANSWERED_WITHIN, HEADS, Hop, Longest, NAMED, UNHEARD, Unheard, UnsentHead, Waiting, Waits,
};

/// The rows of one page and the number of rows on all pages.
pub struct Page<T> {
    /// Rows that match, on all pages.
    pub total: u64,
    /// Where the rows that were taken so far end; of bundles only.
    pub end: PageEnd,
    /// The rows of this page, read as they are consumed. Rows deleted meanwhile are left out, and those behind the page
    /// take their places, up to [`SPARE_ROWS`]: a page that is not full is the last.
    pub rows: BoxStream<'static, Result<T, StoreError>>,
}

/// Where the row stands that was read last from a page. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct PageEnd(Arc<AtomicI64>);

/// How many rows may be deleted from a page while it is read before it comes out short.
pub const SPARE_ROWS: u32 = 256;

// === impl PageEnd ===

impl PageEnd {
    /// The place, once a row was read.
    pub fn cursor(&self) -> Option<query::Cursor> {
        // Keys start at 1.
        Some(query::Cursor(self.0.load(Ordering::Relaxed))).filter(|place| place.0 > 0)
    }

    fn note(&self, key: i64) {
        self.0.store(key, Ordering::Relaxed);
    }
}

/// Everything the bridge keeps.
pub trait Store: AgentStore + PresenceStore + ReportStore + ExplainStore {
    // --- consumers ---

    /// Registers a consumer. Refused with `ConsumerExists`.
    fn create_consumer(
        &self,
        new: NewConsumer,
        now: Timestamp,
    ) -> impl Future<Output = Result<Consumer, StoreError>> + Send;

    /// The consumer with this id.
    fn get_consumer(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<Option<Consumer>, StoreError>> + Send;

    /// The consumer with this name.
    fn get_consumer_by_name(
        &self,
        name: &ConsumerName,
    ) -> impl Future<Output = Result<Option<Consumer>, StoreError>> + Send;

    /// A page of consumers.
    fn list_consumers(
        &self,
        query: Query<ConsumerColumn>,
    ) -> impl Future<Output = Result<Page<Consumer>, StoreError>> + Send;

    /// What waits of the bundles of these consumers, by their names; one without bundles may be left out.
    fn loads(
        &self,
        consumers: Vec<ConsumerName>,
    ) -> impl Future<Output = Result<HashMap<String, Load>, StoreError>> + Send;

    /// Replaces the labels of the consumer with this id. Refused with `ConsumerNotFound`.
    fn update_consumer_labels(
        &self,
        id: &str,
        labels: Labels,
        now: Timestamp,
    ) -> impl Future<Output = Result<Consumer, StoreError>> + Send;

    /// Removes the consumer with this id. Refused with `ConsumerNotFound` or `ConsumerInUse`.
    fn delete_consumer(&self, id: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Registers those whose name is not there yet and leaves the others alone; how many are new.
    fn ensure_consumers(
        &self,
        consumers: Vec<NewConsumer>,
        now: Timestamp,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    // --- bundles ---

    /// Stores a bundle at version 1. Refused with `ConsumerNotFound` or `BundleExists`.
    fn create_bundle(
        &self,
        new: NewBundle,
        now: Timestamp,
    ) -> impl Future<Output = Result<Bundle, StoreError>> + Send;

    /// The bundle with this id, all parts.
    fn get_bundle(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<Option<Bundle>, StoreError>> + Send;

    /// Replaces metadata, content and origin at the next version; where metadata and content are equal nothing changes, and
    /// the version and its origin stay. Where the
    /// version was neither made nor confirmed in the present epoch, the next one is [`Epoch::jump`] higher.
    /// Refused with `BundleNotFound`, `BundleDeleting`, `VersionConflict` (when `expected` is another
    /// version) or `VersionExhausted`.
    fn update_bundle(
        &self,
        id: &str,
        expected: Option<Version>,
        metadata: Option<Json>,
        content: Content,
        origin: Option<Json>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Bundle, StoreError>> + Send;

    /// Marks a bundle as being deleted. Doing so again changes nothing. Refused with `BundleNotFound`.
    fn mark_deleting(
        &self,
        id: &str,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A page of bundles; memory is bounded by a few rows however long the page.
    fn list_bundles(
        &self,
        query: Query<BundleColumn>,
        parts: Parts,
    ) -> impl Future<Output = Result<Page<Bundle>, StoreError>> + Send;

    // --- the way down ---

    /// Up to `limit` bundles of a consumer that need sending, oldest change first, without what they carry.
    fn pending_heads(
        &self,
        consumer: &ConsumerName,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<PendingHead>, StoreError>> + Send;

    /// Those of a consumer's bundles `ids` that still need sending, oldest change first, each in its newest version.
    fn pending(
        &self,
        consumer: &ConsumerName,
        ids: Vec<String>,
    ) -> impl Future<Output = Result<Vec<PendingBundle>, StoreError>> + Send;

    /// The consumers for which something needs sending, orphans included.
    fn consumers_with_pending(
        &self,
    ) -> impl Future<Output = Result<Vec<ConsumerName>, StoreError>> + Send;

    /// The names of all consumers.
    fn consumer_names(&self) -> impl Future<Output = Result<Vec<ConsumerName>, StoreError>> + Send;

    /// Notes that a version (or deletion) is being handed to the broker. To be called *before* publishing:
    /// only an acknowledgement of a noted publication takes a bundle out of the outbox.
    fn record_published(
        &self,
        id: &str,
        version: Version,
        deletion: bool,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes the broker's acknowledgement; `matched` is false when nobody was subscribed, which still
    /// takes the bundle out of the outbox: a resync heals it. An acknowledgement of a publication older than the last
    /// [`Store::request_resend`] is noted but does not count.
    fn record_broker_acked(
        &self,
        id: &str,
        version: Version,
        deletion: bool,
        matched: bool,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes that publishing failed and why; the bundle stays in, or returns to, the outbox.
    fn record_publish_failed(
        &self,
        id: &str,
        version: Version,
        deletion: bool,
        reason: &str,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    // --- the way up ---

    /// Takes a status if it is newer, or removes the bundle if it confirms its deletion. Checks, in this order:
    /// bundle, consumer, deletion asked for, version, sequence ([`newer`]). A status of the current version also
    /// proves that the agent holds it, and confirms the version in the present epoch. A `Deleted` of a bundle that is gone already renews what is remembered of it.
    fn apply_status(
        &self,
        update: StatusUpdate,
    ) -> impl Future<Output = Result<StatusOutcome, StoreError>> + Send;

    /// Puts a bundle of a consumer that is not being deleted back into the outbox, as if its newest version had never
    /// arrived; the ledger tells why. False when there is no such bundle.
    fn send_again(
        &self,
        consumer: &ConsumerName,
        id: &str,
        reason: &str,
        at: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    // --- resync ---

    /// Every bundle of a consumer with its version.
    fn versions_of(
        &self,
        consumer: &ConsumerName,
    ) -> impl Future<Output = Result<Vec<BundleVersion>, StoreError>> + Send;

    /// Every bundle of a consumer with the hash of its stored status.
    fn status_hashes_of(
        &self,
        consumer: &ConsumerName,
    ) -> impl Future<Output = Result<Vec<(String, Option<String>)>, StoreError>> + Send;

    /// Puts those bundles back into the outbox that the agent holds in an older version than ours, or that
    /// are being deleted; ids of other consumers and unknown ids are ignored. How many it put back: those that wait
    /// there already, and are not on their way, are left as they are. A version that is held exactly is confirmed in the
    /// present epoch.
    fn request_resend(
        &self,
        consumer: &ConsumerName,
        held: Vec<AgentVersion>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Raises those bundles of a consumer, also those being deleted, whose agent holds a newer version than the stored one
    /// to the version after the held one, with what they carry, and puts them into the outbox; their ledger says why. A
    /// bundle that has reached or passed the held version is left alone. If this shows that the store went back in time,
    /// all bundles of the consumer count as unconfirmed, and what was to be deleted at it is forgotten; if it has shown of
    /// several consumers within an hour, a new epoch begins. A deletion that is raised counts as asked for now.
    fn raise(
        &self,
        consumer: &ConsumerName,
        held: Vec<AgentVersion>,
        at: Timestamp,
    ) -> impl Future<Output = Result<Raising, StoreError>> + Send;

    /// Those of `ids` that name no bundle of this consumer, and whether one of it was deleted here. What was deleted before
    /// the present epoch, unless that is the first one, or before the consumer's bundles came to be unconfirmed does not
    /// count: it may have been made anew in the time that was lost.
    fn gone(
        &self,
        consumer: &ConsumerName,
        ids: Vec<String>,
    ) -> impl Future<Output = Result<Vec<Gone>, StoreError>> + Send;

    /// What is remembered of a bundle that is gone.
    fn tombstone(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<Option<Tombstone>, StoreError>> + Send;

    /// Forgets what was removed before `before`; how many.
    fn prune_tombstones(
        &self,
        before: Timestamp,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    // --- replicas ---

    /// The same store, whose notes of publications, acknowledgements and failures are refused with `Fenced` unless the
    /// bucket is still that of the fence. A store that one process has alone keeps no leases and refuses nothing.
    fn fenced(&self, fence: Option<Fence>) -> Self;

    // --- life ---

    /// The present epoch.
    fn epoch(&self) -> impl Future<Output = Result<Epoch, StoreError>> + Send;

    /// The last epochs, and what is not confirmed in the present one. Looks at every bundle.
    fn history(&self) -> impl Future<Output = Result<History, StoreError>> + Send;

    /// What waits on its way to being applied. Reads the whole ledger. Of what waits for the broker, `known` rows are
    /// looked up first.
    fn waiting(
        &self,
        now: Timestamp,
        known: Vec<i64>,
    ) -> impl Future<Output = Result<Waiting, StoreError>> + Send;

    /// What may need doing. Some may be lost, a sweep finds them.
    fn changes(&self) -> broadcast::Receiver<Hint>;

    /// Commits a write and reads it back, and looks whether there is room for more; for the readiness check.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Finishes queued writes and closes the files. Later calls fail with `Closed`.
    fn close(&self) -> impl Future<Output = ()> + Send;
}
