//! One lane: the pending bundles of one consumer, in order, a batch at a time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use link::backoff::Backoff;
use link::error::Hint;
use link::event::encode;
use link::id::ConsumerName;
use link::mqtt::{PublishError, Receipt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::quarantine::Quarantine;
use super::{Context, event};
use crate::store::{PendingBundle, Store, StoreError};

pub(super) struct Lane<S> {
    context: Context<S>,
    consumer: ConsumerName,
    waker: Arc<Notify>,
    quarantine: Quarantine,
    quarantined: usize,
    // For a consumer whose every publish fails, and for a store that does not answer.
    backoff: Backoff,
    sick: bool,
}

enum Pass {
    /// Nothing to send now.
    Idle,
    /// Something went out; look again.
    Progress,
    /// Nothing went through.
    Sick,
}

// === impl Lane ===

impl<S: Store> Lane<S> {
    pub(super) fn new(context: Context<S>, consumer: ConsumerName, waker: Arc<Notify>) -> Self {
        Self {
            context,
            consumer,
            waker,
            quarantine: Quarantine::default(),
            quarantined: 0,
            backoff: Backoff::new(
                Duration::from_millis(500),
                Duration::from_secs(60),
                Duration::MAX,
            ),
            sick: false,
        }
    }

    /// Runs until the lane was idle for a while, or until drained.
    pub(super) async fn run(mut self, drain: CancellationToken) {
        loop {
            let pass = tokio::select! {
                pass = self.pass() => pass,
                () = drain.cancelled() => break,
            };
            self.show_quarantine();
            let pause = match pass {
                Ok(Pass::Progress) => {
                    self.recovered();
                    continue;
                }
                Ok(Pass::Idle) => None,
                Ok(Pass::Sick) => {
                    self.sick = true;
                    Some(self.backoff.next_jittered(Duration::ZERO))
                }
                Err(error) => {
                    warn!(consumer = %self.consumer, "Could not read the outbox: {}", link::error::chain(&error));
                    Some(self.backoff.next_jittered(Duration::ZERO))
                }
            };
            let due = self.quarantine.next_due();
            let woken = tokio::select! {
                () = drain.cancelled() => break,
                () = sleep(pause.unwrap_or_default()), if pause.is_some() => true,
                () = self.waker.notified(), if pause.is_none() => true,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if pause.is_none() && due.is_some() => true,
                () = sleep(IDLE), if pause.is_none() && due.is_none() => false,
            };
            if !woken {
                break;
            }
        }
        self.quarantine = Quarantine::default();
        self.show_quarantine();
    }

    async fn pass(&mut self) -> Result<Pass, StoreError> {
        // Behind quarantined bundles there may be healthy ones: read past them.
        let limit = BATCH + u32::try_from(self.quarantine.len()).unwrap_or(u32::MAX - BATCH);
        let pending = self.context.store.pending(&self.consumer, limit).await?;
        self.quarantine
            .retain(|id| pending.iter().any(|bundle| bundle.id == id));
        let now = Instant::now();
        let batch: Vec<PendingBundle> = pending
            .into_iter()
            .filter(|bundle| {
                self.quarantine.admits(
                    &bundle.id,
                    bundle.version,
                    bundle.deleting_since.is_some(),
                    now,
                )
            })
            // A sick consumer is tried with one bundle, not with a batch of refusals.
            .take(if self.sick { 1 } else { BATCH as usize })
            .collect();
        if batch.is_empty() {
            return Ok(Pass::Idle);
        }
        self.send(batch).await
    }

    /// Publishes a batch in order and waits for its acknowledgements. The ledger learns of the attempt before it is
    /// made, so that an acknowledgement always finds what it acknowledges.
    async fn send(&mut self, batch: Vec<PendingBundle>) -> Result<Pass, StoreError> {
        let context = self.context.clone();
        let at = context.clock.now();
        let noted = batch.iter().map(|bundle| {
            context.store.record_published(
                &bundle.id,
                bundle.version,
                bundle.deleting_since.is_some(),
                at,
            )
        });
        join_all(noted)
            .await
            .into_iter()
            .collect::<Result<Vec<()>, _>>()?;
        let session = context.pool.of(&self.consumer);
        let topic = context.topic(&self.consumer);
        let mut receipts: Vec<(PendingBundle, Result<Receipt, PublishError>)> =
            Vec::with_capacity(batch.len());
        for bundle in batch {
            let message = encode(
                &event::spec(&context.config.source, &self.consumer, &bundle, at),
                topic.clone(),
            );
            let receipt = session.publish(message).await;
            receipts.push((bundle, receipt));
        }
        let settled = join_all(receipts.into_iter().map(|(bundle, receipt)| {
            let context = &context;
            async move {
                let outcome = match receipt {
                    Ok(receipt) => receipt.await,
                    Err(error) => Err(error),
                };
                let deletion = bundle.deleting_since.is_some();
                let at = context.clock.now();
                let noted = match &outcome {
                    Ok(ack) => {
                        context
                            .store
                            .record_broker_acked(
                                &bundle.id,
                                bundle.version,
                                deletion,
                                ack.matched,
                                at,
                            )
                            .await
                    }
                    Err(error) => {
                        let reason = link::error::chain(error);
                        context
                            .store
                            .record_publish_failed(
                                &bundle.id,
                                bundle.version,
                                deletion,
                                &reason,
                                at,
                            )
                            .await
                    }
                };
                noted.map(|()| (bundle, outcome))
            }
        }))
        .await;
        let mut through = 0;
        for settled in settled {
            let (bundle, outcome) = settled?;
            through += usize::from(self.settle(&bundle, outcome.map(|ack| ack.matched)));
        }
        Ok(if through > 0 {
            Pass::Progress
        } else {
            Pass::Sick
        })
    }

    fn settle(&mut self, bundle: &PendingBundle, outcome: Result<bool, PublishError>) -> bool {
        let sent = |outcome| {
            self.context
                .metrics
                .sent
                .with_label_values(&[outcome])
                .inc();
        };
        let error = match outcome {
            Ok(matched) => {
                sent(if matched { "acked" } else { "unmatched" });
                self.quarantine.passed(&bundle.id);
                debug!(consumer = %self.consumer, resource.id = %bundle.id, resource.version = bundle.version.get(), matched, "Published a bundle");
                return true;
            }
            Err(error) => error,
        };
        let permanent = matches!(
            error,
            PublishError::Limit { .. } | PublishError::Poison { .. }
        );
        sent(if permanent {
            "limit"
        } else if error.is_retryable() {
            "retried"
        } else {
            "refused"
        });
        self.quarantine.failed(
            &bundle.id,
            bundle.version,
            bundle.deleting_since.is_some(),
            permanent,
            Instant::now(),
        );
        warn!(
            consumer = %self.consumer,
            resource.id = %bundle.id,
            resource.version = bundle.version.get(),
            hint = error.hint(),
            "Could not publish a bundle: {}",
            link::error::chain(&error)
        );
        false
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.sick) {
            // A lane that got one through is healthy again: what waited because of it may go at once.
            self.quarantine.pardon();
        }
        self.backoff = Backoff::new(
            Duration::from_millis(500),
            Duration::from_secs(60),
            Duration::MAX,
        );
    }

    fn show_quarantine(&mut self) {
        let now = self.quarantine.len();
        let gauge = &self.context.metrics.quarantined;
        gauge.add(
            i64::try_from(now).unwrap_or_default()
                - i64::try_from(self.quarantined).unwrap_or_default(),
        );
        self.quarantined = now;
    }
}

/// Whether a wake-up came that nobody took.
pub(super) fn was_notified(waker: &Notify) -> bool {
    waker.notified().now_or_never().is_some()
}

/// Bundles on their way at a time for one consumer: half of a connection's window, so that two busy consumers share
/// one without waiting for each other.
const BATCH: u32 = 50;

/// A lane without work ends after this time; the next hint starts another.
const IDLE: Duration = Duration::from_secs(60);
