//! The [`Store`] trait, method by method: which use of the connections each operation is, and what it is called in errors.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::super::bundle::BundleChange;
use super::super::query::{BundleColumn, ConsumerColumn, Parts, Query};
use super::super::{
    AgentVersion, Bundle, BundleVersion, Consumer, Content, Epoch, Fence, Gone, Hint, History,
    Json, Labels, Load, NewBundle, NewConsumer, Page, PendingBundle, PendingHead, Raising,
    StatusOutcome, StatusUpdate, Store, StoreError, Tombstone, Waiting,
};
use super::{
    PostgresStore, Use, bundles, consumers, health, history, list, outbox, progress, status,
    waiting,
};

impl Store for PostgresStore {
    async fn create_consumer(
        &self,
        new: NewConsumer,
        now: Timestamp,
    ) -> Result<Consumer, StoreError> {
        self.write(Use::Api, "store a consumer", move |c| {
            Box::pin(consumers::create(c, new, now))
        })
        .await
    }

    async fn get_consumer(&self, id: &str) -> Result<Option<Consumer>, StoreError> {
        let id = id.to_owned();
        self.read(Use::Api, "read a consumer", |c| {
            Box::pin(consumers::by_id(c, id))
        })
        .await
    }

    async fn get_consumer_by_name(
        &self,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        let name = name.clone();
        self.read(Use::Api, "read a consumer", |c| {
            Box::pin(consumers::by_name(c, name))
        })
        .await
    }

    async fn list_consumers(
        &self,
        query: Query<ConsumerColumn>,
    ) -> Result<Page<Consumer>, StoreError> {
        list::consumers(self, query).await
    }

    async fn loads(
        &self,
        consumers: Vec<ConsumerName>,
    ) -> Result<HashMap<String, Load>, StoreError> {
        self.read(Use::Search, "count what waits of consumers", |c| {
            Box::pin(progress::loads(c, consumers))
        })
        .await
    }

    async fn update_consumer_labels(
        &self,
        id: &str,
        labels: Labels,
        now: Timestamp,
    ) -> Result<Consumer, StoreError> {
        let id = id.to_owned();
        self.write(Use::Api, "store the labels of a consumer", move |c| {
            Box::pin(consumers::set_labels(c, id, labels, now))
        })
        .await
    }

    async fn delete_consumer(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(Use::Api, "delete a consumer", move |c| {
            Box::pin(consumers::delete(c, id))
        })
        .await
    }

    async fn ensure_consumers(
        &self,
        consumers: Vec<NewConsumer>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(Use::Api, "store consumers", move |c| {
            Box::pin(consumers::ensure(c, consumers, now))
        })
        .await
    }

    async fn create_bundle(&self, new: NewBundle, now: Timestamp) -> Result<Bundle, StoreError> {
        self.write(Use::Api, "store a bundle", move |c| {
            Box::pin(bundles::create(c, new, now))
        })
        .await
    }

    async fn get_bundle(&self, id: &str) -> Result<Option<Bundle>, StoreError> {
        let id = id.to_owned();
        self.read(Use::Api, "read a bundle", move |c| {
            Box::pin(async move { bundles::by_id(c, &id).await })
        })
        .await
    }

    async fn update_bundle(
        &self,
        id: &str,
        expected: Option<Version>,
        metadata: Option<Json>,
        content: Content,
        origin: Option<Json>,
        now: Timestamp,
    ) -> Result<Bundle, StoreError> {
        let id = id.to_owned();
        self.write(Use::Api, "store the next version of a bundle", move |c| {
            let new = BundleChange {
                metadata,
                content,
                origin,
            };
            Box::pin(bundles::update(c, id, expected, new, now))
        })
        .await
    }

    async fn mark_deleting(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(Use::Api, "mark a bundle as being deleted", move |c| {
            Box::pin(bundles::mark_deleting(c, id, now))
        })
        .await
    }

    async fn list_bundles(
        &self,
        query: Query<BundleColumn>,
        parts: Parts,
    ) -> Result<Page<Bundle>, StoreError> {
        list::bundles(self, query, parts).await
    }

    async fn pending_heads(
        &self,
        consumer: &ConsumerName,
        limit: u32,
    ) -> Result<Vec<PendingHead>, StoreError> {
        let consumer = consumer.clone();
        self.read(Use::Delivery, "read the outbox of a consumer", move |c| {
            Box::pin(outbox::heads(c, consumer, limit))
        })
        .await
    }

    async fn pending(
        &self,
        consumer: &ConsumerName,
        ids: Vec<String>,
    ) -> Result<Vec<PendingBundle>, StoreError> {
        let consumer = consumer.clone();
        self.read(Use::Delivery, "read bundles of the outbox", move |c| {
            Box::pin(outbox::pending(c, consumer, ids))
        })
        .await
    }

    async fn consumers_with_pending(&self) -> Result<Vec<ConsumerName>, StoreError> {
        self.read(Use::Delivery, "read who has something to send", |c| {
            Box::pin(outbox::consumers(c))
        })
        .await
    }

    async fn consumer_names(&self) -> Result<Vec<ConsumerName>, StoreError> {
        self.read(Use::Delivery, "read the names of consumers", |c| {
            Box::pin(consumers::names(c))
        })
        .await
    }

    async fn record_published(
        &self,
        id: &str,
        version: Version,
        deletion: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, fence) = (id.to_owned(), self.fence.clone());
        self.write(Use::Delivery, "note a publication", move |c| {
            Box::pin(outbox::published(c, fence, id, version, deletion, at))
        })
        .await
    }

    async fn record_broker_acked(
        &self,
        id: &str,
        version: Version,
        deletion: bool,
        matched: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, fence) = (id.to_owned(), self.fence.clone());
        self.write(Use::Delivery, "note an acknowledgement", move |c| {
            Box::pin(outbox::acked(c, fence, id, version, deletion, matched, at))
        })
        .await
    }

    async fn record_publish_failed(
        &self,
        id: &str,
        version: Version,
        deletion: bool,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, reason, fence) = (id.to_owned(), reason.to_owned(), self.fence.clone());
        self.write(Use::Delivery, "note a failed publication", move |c| {
            Box::pin(outbox::failed(c, fence, id, version, deletion, reason, at))
        })
        .await
    }

    async fn apply_status(&self, update: StatusUpdate) -> Result<StatusOutcome, StoreError> {
        const OPERATION: &str = "take a status";
        let applying = self.in_turn(OPERATION, || {
            let update = update.clone();
            self.write(Use::Delivery, OPERATION, move |c| {
                Box::pin(status::apply(c, update))
            })
        });
        let outcome = applying.await?;
        if outcome.is_report() {
            self.announce(Hint::Reported);
        }
        Ok(outcome)
    }

    async fn send_again(
        &self,
        consumer: &ConsumerName,
        id: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (consumer, id, reason) = (consumer.clone(), id.to_owned(), reason.to_owned());
        self.write(
            Use::Delivery,
            "put a bundle back into the outbox",
            move |c| Box::pin(outbox::send_again(c, consumer, id, reason, at)),
        )
        .await
    }

    async fn versions_of(&self, consumer: &ConsumerName) -> Result<Vec<BundleVersion>, StoreError> {
        let consumer = consumer.clone();
        self.read(Use::Delivery, "read the versions of a consumer", |c| {
            Box::pin(outbox::versions(c, consumer))
        })
        .await
    }

    async fn status_hashes_of(
        &self,
        consumer: &ConsumerName,
    ) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let consumer = consumer.clone();
        self.read(Use::Delivery, "read the status hashes of a consumer", |c| {
            Box::pin(status::hashes(c, consumer))
        })
        .await
    }

    async fn request_resend(
        &self,
        consumer: &ConsumerName,
        held: Vec<AgentVersion>,
    ) -> Result<u64, StoreError> {
        let consumer = consumer.clone();
        self.write(
            Use::Delivery,
            "put bundles back into the outbox",
            move |c| Box::pin(outbox::resend(c, consumer, held)),
        )
        .await
    }

    async fn raise(
        &self,
        consumer: &ConsumerName,
        held: Vec<AgentVersion>,
        at: Timestamp,
    ) -> Result<Raising, StoreError> {
        let consumer = consumer.clone();
        self.write(
            Use::Delivery,
            "raise versions above those an agent holds",
            move |c| Box::pin(history::raise(c, consumer, held, at)),
        )
        .await
    }

    async fn gone(
        &self,
        consumer: &ConsumerName,
        ids: Vec<String>,
    ) -> Result<Vec<Gone>, StoreError> {
        let consumer = consumer.clone();
        self.read(Use::Delivery, "read which bundles are gone", |c| {
            Box::pin(status::gone(c, consumer, ids))
        })
        .await
    }

    async fn tombstone(&self, id: &str) -> Result<Option<Tombstone>, StoreError> {
        let id = id.to_owned();
        self.read(Use::Delivery, "read what is remembered of a bundle", |c| {
            Box::pin(status::tombstone(c, id))
        })
        .await
    }

    async fn prune_tombstones(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(Use::Delivery, "forget bundles deleted long ago", move |c| {
            Box::pin(status::prune_tombstones(c, before))
        })
        .await
    }

    fn fenced(&self, fence: Option<Fence>) -> Self {
        Self {
            fence,
            ..self.clone()
        }
    }

    fn changes(&self) -> broadcast::Receiver<Hint> {
        self.changes.subscribe()
    }

    async fn epoch(&self) -> Result<Epoch, StoreError> {
        self.read(Use::Delivery, "read the present epoch", |c| {
            Box::pin(history::present(c))
        })
        .await
    }

    async fn history(&self) -> Result<History, StoreError> {
        self.read(Use::Search, "read the epochs", |c| {
            Box::pin(history::read(c))
        })
        .await
    }

    async fn waiting(&self, now: Timestamp, known: Vec<i64>) -> Result<Waiting, StoreError> {
        self.read(Use::Search, "look at what waits", move |c| {
            Box::pin(waiting::look(c, now, known))
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        health::prove(self).await
    }

    async fn close(&self) {
        self.closing.cancel();
        // The last notification, such as that leases were given back, is out within a moment or not at all.
        let _ = timeout(LAST_NOTIFICATION, self.notified.cancelled()).await;
        self.connections.close().await;
    }
}

const LAST_NOTIFICATION: Duration = Duration::from_secs(1);
