//! Sends deletions of works that only the agent holds, in the lane's order.

use futures_util::future::join_all;
use link::error::chain;
use link::event::encode;
use link::iot::limits::fits;
use link::mqtt::PublishError;
use link::telemetry::clip;
use tokio::time::Instant;
use tracing::warn;

use super::{BATCH, Lane, Pass, REASON_BYTES};
use crate::delivery::log::DeliveryLine;
use crate::delivery::pacing::What;
use crate::delivery::{event, history};
use crate::store::{Fence, Orphan, Store, StoreError};

impl<S: Store> Lane<S> {
    /// Sends a batch of the deletions that wait. Whether each is still one is asked just before: a bundle that was made
    /// meanwhile is not in the outbox yet, or behind this on the same session; and what the store does not know is deleted
    /// only while there is no doubt that it knows everything.
    pub(super) async fn send_orphans(&mut self, fence: Option<&Fence>) -> Result<Pass, StoreError> {
        let now = Instant::now();
        let context = self.context.clone();
        let most = if self.sick { 1 } else { BATCH as usize };
        let consumer = self.consumer.clone();
        // Behind those that are paced there may be others: read past them.
        let limit = most.saturating_add(self.pacing.held(now));
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let (store, limiter) = (&context.store, &context.store_limiter);
        let mut waiting = limiter.pass(store.orphans(&consumer, limit)).await?;
        waiting.retain(|(_, orphan)| !self.is_paced(&orphan.id, What::Orphan, now));
        waiting.truncate(most);
        if waiting.is_empty() {
            return Ok(Pass::Idle);
        }
        let ids = waiting
            .iter()
            .map(|(_, orphan)| orphan.id.clone())
            .collect();
        let gone = limiter.pass(store.gone(&consumer, ids)).await?;
        // What nobody here deleted was added before anybody noticed that the store is older than its agents.
        let unasked = waiting.iter().any(|(_, orphan)| !orphan.deleted_here);
        let lost = unasked
            && limiter
                .pass(history::lost_some(&context, &consumer))
                .await?;
        let mut receipts = Vec::with_capacity(waiting.len());
        let mut done = Vec::with_capacity(waiting.len());
        for (key, orphan) in waiting {
            let still = gone.iter().any(|gone| {
                gone.id == orphan.id && (gone.deleted_here || !(orphan.deleted_here || lost))
            });
            if still {
                // What is another replica's meanwhile is left to it.
                if !context.config.ownership.still(fence) {
                    break;
                }
                let receipt = self.publish_orphan(&orphan).await;
                receipts.push((key, orphan.id, receipt));
            } else {
                done.push(key);
            }
        }
        let outcomes = join_all(receipts.into_iter().map(|(key, id, receipt)| async move {
            let outcome = match receipt {
                Ok(receipt) => receipt.await.map(|_| ()),
                Err(error) => Err(error),
            };
            (key, id, outcome)
        }))
        .await;
        let mut pass = Pass::Progress;
        for (key, id, outcome) in outcomes {
            let Err(error) = outcome else {
                self.pacing.sent(&id, What::Orphan, now);
                done.push(key);
                continue;
            };
            if let Some(held_back) = context
                .log
                .admit(DeliveryLine::Publish("orphan"), Some(&consumer))
            {
                warn!(%consumer, resource.id = %clip(&id, 80), held_back, "Could not delete a work that only the agent knows: {}", clip(&chain(&error), REASON_BYTES));
            }
            if error.is_retryable() || error.is_denied() {
                pass = Pass::Sick;
            } else {
                done.push(key);
            }
        }
        if !done.is_empty() {
            // Sent once more if this fails, which changes nothing there.
            limiter.pass(store.remove_orphans(done)).await?;
        }
        Ok(pass)
    }

    async fn publish_orphan(
        &self,
        orphan: &Orphan,
    ) -> Result<crate::delivery::transport::Receipt, PublishError> {
        let context = &self.context;
        let now = context.clock.now();
        let event = event::orphan(
            &context.config.source,
            &self.consumer,
            &orphan.id,
            orphan.version,
            now,
        );
        let message = encode(&event, context.topic(&self.consumer));
        fits(&message).map_err(|source| PublishError::Limit {
            topic: message.topic.clone(),
            source,
        })?;
        context.pool.of(&self.consumer).publish(message).await
    }
}
