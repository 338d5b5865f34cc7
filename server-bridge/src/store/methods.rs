//! The methods of the store's traits as lists, for implementations that pass each call on. `$each` is the macro that makes
//! one method of each line. Types are found where the list is used.

/// Every method of [`super::AgentStore`].
macro_rules! agent_store_methods {
    ($each:ident) => {
        $each! {
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
    };
}
pub(super) use agent_store_methods;

/// Every method of [`super::PresenceStore`].
macro_rules! presence_store_methods {
    ($each:ident) => {
        $each! {
            put_report(report: ReportedPresence) -> bool;
            put_connection(consumer: &ConsumerName, event: ConnectionEvent) -> bool;
            presence(consumer: &ConsumerName) -> Option<Presence>;
            presences_of(consumers: Vec<ConsumerName>) -> HashMap<String, Presence>;
            presences(after: Option<ConsumerName>, limit: u32) -> Vec<Presence>;
            note_listening(at: Timestamp) -> ();
            listening_since(now: Timestamp) -> Option<Timestamp>;
        }
    };
}
pub(super) use presence_store_methods;

/// Every method of [`super::ReportStore`].
macro_rules! report_store_methods {
    ($each:ident) => {
        $each! {
            reports_end() -> ReportPosition;
            reports_after(after: ReportPosition, limit: u32) -> ReportHeads;
            reports_since(source: &SourceName, since: Timestamp, after: Option<ReportCursor>, limit: u32) -> ReportPage;
            report(id: &str) -> Option<Report>;
            prune_reports(before: Timestamp) -> u64;
        }
    };
}
pub(super) use report_store_methods;

/// Every method of [`super::ExplainStore`].
macro_rules! explain_store_methods {
    ($each:ident) => {
        $each! {
            bundle_facts(reference: &str, now: Timestamp) -> Option<BundleFacts>;
            bundle_named(name: &str) -> Option<String>;
            consumer_facts(name: &ConsumerName, now: Timestamp) -> Option<ConsumerFacts>;
        }
    };
}
pub(super) use explain_store_methods;

/// Every method of [`super::Store`] that may fail.
macro_rules! store_methods {
    ($each:ident) => {
        $each! {
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
    };
}
pub(super) use store_methods;
