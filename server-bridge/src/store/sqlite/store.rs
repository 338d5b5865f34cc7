//! The [`Store`] trait, method by method: which readers each operation takes.

use std::collections::HashMap;

use jiff::Timestamp;
use link::id::ConsumerName;
use link::order::Version;
use tokio::sync::broadcast;

use super::super::bundle::BundleChange;
use super::super::query::{BundleColumn, ConsumerColumn, Parts, Query};
use super::super::{
    AgentVersion, Bundle, BundleVersion, Consumer, Content, Epoch, Fence, Gone, Hint, History,
    Json, Labels, Load, NewBundle, NewConsumer, Page, PendingBundle, PendingHead, Raising,
    StatusOutcome, StatusUpdate, Store, StoreError, Tombstone, Waiting,
};
use super::{
    SqliteStore, bundles, consumers, heartbeat, history, list, outbox, progress, status, waiting,
};

impl Store for SqliteStore {
    async fn create_consumer(
        &self,
        new: NewConsumer,
        now: Timestamp,
    ) -> Result<Consumer, StoreError> {
        self.write(move |c| Box::pin(consumers::create(c, new, now)))
            .await
    }

    async fn get_consumer(&self, id: &str) -> Result<Option<Consumer>, StoreError> {
        let found = consumers::by_id(self.reading()?, id).await;
        self.health.noted(found)
    }

    async fn get_consumer_by_name(
        &self,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        let found = consumers::by_name(self.reading()?, name).await;
        self.health.noted(found)
    }

    async fn list_consumers(
        &self,
        query: Query<ConsumerColumn>,
    ) -> Result<Page<Consumer>, StoreError> {
        self.reading()?;
        let page = list::consumers(&self.searches, query).await;
        self.health.noted(page)
    }

    async fn loads(
        &self,
        consumers: Vec<ConsumerName>,
    ) -> Result<HashMap<String, Load>, StoreError> {
        let count = self
            .searches
            .run("count what waits of consumers", move |c| {
                Box::pin(async move { progress::loads(c, &consumers).await })
            });
        self.health.noted(count.await)
    }

    async fn update_consumer_labels(
        &self,
        id: &str,
        labels: Labels,
        now: Timestamp,
    ) -> Result<Consumer, StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(consumers::set_labels(c, id, labels, now)))
            .await
    }

    async fn delete_consumer(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(consumers::delete(c, id)))
            .await
    }

    async fn ensure_consumers(
        &self,
        consumers: Vec<NewConsumer>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(move |c| Box::pin(consumers::ensure(c, consumers, now)))
            .await
    }

    async fn create_bundle(&self, new: NewBundle, now: Timestamp) -> Result<Bundle, StoreError> {
        self.write(move |c| Box::pin(bundles::create(c, new, now)))
            .await
    }

    async fn get_bundle(&self, id: &str) -> Result<Option<Bundle>, StoreError> {
        let found = bundles::by_id(self.reading()?, id).await;
        self.health.noted(found)
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
        let new = BundleChange {
            metadata,
            content,
            origin,
        };
        self.write(move |c| Box::pin(bundles::update(c, id, expected, new, now)))
            .await
    }

    async fn mark_deleting(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(bundles::mark_deleting(c, id, now)))
            .await
    }

    async fn list_bundles(
        &self,
        query: Query<BundleColumn>,
        parts: Parts,
    ) -> Result<Page<Bundle>, StoreError> {
        let page = list::bundles(&self.searches, self.reading()?, query, parts).await;
        self.health.noted(page)
    }

    async fn pending_heads(
        &self,
        consumer: &ConsumerName,
        limit: u32,
    ) -> Result<Vec<PendingHead>, StoreError> {
        let heads = outbox::heads(&self.readers, consumer, limit).await;
        self.health.noted(heads)
    }

    async fn pending(
        &self,
        consumer: &ConsumerName,
        ids: Vec<String>,
    ) -> Result<Vec<PendingBundle>, StoreError> {
        let pending = outbox::pending(&self.readers, consumer, ids).await;
        self.health.noted(pending)
    }

    async fn consumers_with_pending(&self) -> Result<Vec<ConsumerName>, StoreError> {
        self.health.noted(outbox::consumers(&self.readers).await)
    }

    async fn consumer_names(&self) -> Result<Vec<ConsumerName>, StoreError> {
        self.health.noted(consumers::names(&self.readers).await)
    }

    async fn record_published(
        &self,
        id: &str,
        version: Version,
        deletion: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| Box::pin(outbox::published(c, id, version, deletion, at)))
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
        let id = id.to_owned();
        self.write(move |c| Box::pin(outbox::acked(c, id, version, deletion, matched, at)))
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
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.write(move |c| Box::pin(outbox::failed(c, id, version, deletion, reason, at)))
            .await
    }

    async fn apply_status(&self, update: StatusUpdate) -> Result<StatusOutcome, StoreError> {
        let applying = self.write(move |c| Box::pin(status::apply(c, update)));
        let outcome = applying.await?;
        if outcome.is_report() {
            let _ = self.changes.send(Hint::Reported);
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
        self.write(move |c| Box::pin(outbox::send_again(c, consumer, id, reason, at)))
            .await
    }

    async fn versions_of(&self, consumer: &ConsumerName) -> Result<Vec<BundleVersion>, StoreError> {
        let versions = outbox::versions(&self.readers, consumer).await;
        self.health.noted(versions)
    }

    async fn status_hashes_of(
        &self,
        consumer: &ConsumerName,
    ) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let hashes = status::hashes(&self.readers, consumer).await;
        self.health.noted(hashes)
    }

    async fn request_resend(
        &self,
        consumer: &ConsumerName,
        held: Vec<AgentVersion>,
    ) -> Result<u64, StoreError> {
        let consumer = consumer.clone();
        self.write(move |c| Box::pin(outbox::resend(c, consumer, held)))
            .await
    }

    async fn raise(
        &self,
        consumer: &ConsumerName,
        held: Vec<AgentVersion>,
        at: Timestamp,
    ) -> Result<Raising, StoreError> {
        let consumer = consumer.clone();
        self.write(move |c| Box::pin(history::raise(c, consumer, held, at)))
            .await
    }

    async fn gone(
        &self,
        consumer: &ConsumerName,
        ids: Vec<String>,
    ) -> Result<Vec<Gone>, StoreError> {
        let gone = status::gone(&self.readers, consumer, ids).await;
        self.health.noted(gone)
    }

    async fn tombstone(&self, id: &str) -> Result<Option<Tombstone>, StoreError> {
        self.health
            .noted(status::tombstone(&self.readers, id).await)
    }

    async fn prune_tombstones(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |c| Box::pin(status::prune_tombstones(c, before)))
            .await
    }

    fn fenced(&self, _: Option<Fence>) -> Self {
        // One process has the file: there is nobody to be fenced from.
        self.clone()
    }

    fn changes(&self) -> broadcast::Receiver<Hint> {
        self.changes.subscribe()
    }

    async fn epoch(&self) -> Result<Epoch, StoreError> {
        self.health.noted(history::present(&self.readers).await)
    }

    async fn history(&self) -> Result<History, StoreError> {
        self.health.noted(history::read(&self.readers).await)
    }

    async fn waiting(&self, now: Timestamp, known: Vec<i64>) -> Result<Waiting, StoreError> {
        let look = self.searches.run("look at what waits", move |c| {
            Box::pin(waiting::look(c, now, known))
        });
        self.health.noted(look.await)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let proved = heartbeat::prove(self).await;
        self.health.noted(proved)
    }

    async fn close(&self) {
        // The writer goes last: the last writable connection folds the log back into the file.
        self.searches.close().await;
        self.api.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}
