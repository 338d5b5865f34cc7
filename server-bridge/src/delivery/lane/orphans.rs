//! Deletes what only the agent holds, in the lane's order.

use futures_util::future::join_all;
use link::error::chain;
use link::event::encode;
use link::iot::limits::fits;
use link::mqtt::PublishError;
use link::telemetry::clip;
use tokio::time::Instant;
use tracing::warn;

use super::{BATCH, Lane, Pass, REASON_BYTES};
use crate::delivery::event;
use crate::delivery::log::Line;
use crate::delivery::orphans::Orphan;
use crate::delivery::pacing::What;
use crate::store::{Store, StoreError};

impl<S: Store> Lane<S> {
    /// Sends a batch of the deletions that wait. Whether each is still one is asked just before: a bundle that was made
    /// meanwhile is not in the outbox yet, or behind this on the same session.
    pub(super) async fn send_orphans(&mut self) -> Result<Pass, StoreError> {
        let now = Instant::now();
        let context = self.context.clone();
        let most = if self.sick { 1 } else { BATCH as usize };
        let consumer = self.consumer.clone();
        let waiting = context
            .orphans
            .peek(&consumer, most, |id| !self.is_paced(id, What::Orphan, now));
        if waiting.is_empty() {
            return Ok(Pass::Idle);
        }
        let ids = waiting.iter().map(|(id, _)| id.clone()).collect();
        let gone = context.store.gone(&consumer, ids).await?;
        let mut receipts = Vec::with_capacity(waiting.len());
        for (id, orphan) in waiting {
            let still = gone
                .iter()
                .any(|gone| gone.id == id && (gone.deleted_here || !orphan.deleted_here));
            if still {
                receipts.push((id.clone(), self.publish_orphan(&id, orphan).await));
            } else {
                context.orphans.remove(&consumer, &id);
            }
        }
        let outcomes = join_all(receipts.into_iter().map(|(id, receipt)| async move {
            let outcome = match receipt {
                Ok(receipt) => receipt.await.map(|_| ()),
                Err(error) => Err(error),
            };
            (id, outcome)
        }))
        .await;
        let mut pass = Pass::Progress;
        for (id, outcome) in outcomes {
            let Err(error) = outcome else {
                self.pacing.sent(&id, What::Orphan, now);
                context.orphans.remove(&consumer, &id);
                continue;
            };
            if let Some(held_back) = context.log.admit(Line::Publish("orphan"), Some(&consumer)) {
                warn!(%consumer, resource.id = %clip(&id, 80), held_back, "Could not delete a work that only the agent knows: {}", clip(&chain(&error), REASON_BYTES));
            }
            if error.is_retryable() || error.is_denied() {
                pass = Pass::Sick;
            } else {
                context.orphans.remove(&consumer, &id);
            }
        }
        Ok(pass)
    }

    async fn publish_orphan(
        &self,
        id: &str,
        orphan: Orphan,
    ) -> Result<crate::delivery::border::Receipt, PublishError> {
        let context = &self.context;
        let now = context.clock.now();
        let event = event::orphan(
            &context.config.source,
            &self.consumer,
            id,
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
