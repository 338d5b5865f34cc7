//! One lane: what is to be sent to one consumer, in order, a batch at a time.
//!
//! **Invariant:** one bundle holds up no other. What does not fit, or fails, is noted in the ledger and waits in
//! quarantine; what is asked for again and again is paced; both are chosen from the heads, before any payload is read.
//! **Invariant:** each pass goes under the fence of the consumer's bucket, and nothing is published once that is over.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use link::backoff::Backoff;
use link::error::chain;
use link::id::ConsumerName;
use link::iot::limits::LimitError;
use link::message::Message;
use link::telemetry::clip;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::health::Stuck;
use super::log::DeliveryLine;
use super::pacing::{Pacing, What};
use super::quarantine::Quarantine;
use super::{Context, event, history};
use crate::store::{Fence, PendingBundle, PendingHead, Store, StoreError};

mod failure;
mod lease;
mod orphans;
mod quarantined;

use failure::Failure;
use quarantined::Quarantined;

pub(super) struct Lane<S> {
    context: Context<S>,
    consumer: ConsumerName,
    waker: Arc<Notify>,
    quarantine: Quarantine,
    quarantined: Quarantined,
    pacing: Pacing,
    // When the first of what was held back by its pace may go.
    paced_until: Option<Instant>,
    // For a consumer whose every publish fails, and for a store that does not answer.
    backoff: Backoff,
    sick: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Nothing to send now.
    Idle,
    /// Something went out; look again.
    Progress,
    /// Nothing went through.
    Sick,
    /// The consumer is another replica's.
    Over,
}

// === impl Lane ===

impl<S: Store> Lane<S> {
    pub(super) fn new(context: Context<S>, consumer: ConsumerName, waker: Arc<Notify>) -> Self {
        let gauge = context.metrics.quarantined.clone();
        Self {
            context,
            consumer,
            waker,
            quarantine: Quarantine::default(),
            quarantined: Quarantined::new(gauge),
            pacing: Pacing::default(),
            paced_until: None,
            backoff: backoff(),
            sick: false,
        }
    }

    /// Runs until the lane was idle for a while, or until drained; among replicas what is in flight then is waited for a
    /// moment, because the next owner would send it again.
    pub(super) async fn run(mut self, drain: &CancellationToken) {
        let ownership = self.context.config.ownership.clone();
        // Shows while the store fails on what is to be sent.
        let mut stuck: Option<Stuck> = None;
        loop {
            // On the heap, so that a lane that waits does not hold the room of a pass, several times what it needs itself.
            let pass = tokio::select! {
                pass = Box::pin(self.pass()) => pass,
                () = lease::out_of_time(drain, &ownership) => break,
            };
            if drain.is_cancelled() {
                break;
            }
            if pass.is_ok() {
                stuck = None;
            }
            self.quarantined.show(self.quarantine.len());
            let pause = match pass {
                Ok(Pass::Progress) => {
                    self.recovered();
                    continue;
                }
                Ok(Pass::Idle) => {
                    // The store answers again. A consumer that takes nothing is as it was.
                    if !self.sick {
                        self.backoff = backoff();
                    }
                    None
                }
                Ok(Pass::Over) | Err(StoreError::Fenced { .. }) => break,
                Ok(Pass::Sick) => {
                    self.sick = true;
                    Some(self.backoff.next_jittered(Duration::ZERO))
                }
                // Many have something to say to the store, and it is their turn.
                Err(error @ StoreError::Overloaded { .. }) => {
                    debug!(consumer = %self.consumer, "{}", chain(&error));
                    stuck = None;
                    Some(self.backoff.next_jittered(Duration::ZERO))
                }
                Err(error) => {
                    let why = format!("`{}`: {}", self.consumer, chain(&error));
                    match &stuck {
                        Some(stuck) => stuck.because(&why),
                        None => stuck = Some(self.context.health.stuck_lane(&why)),
                    }
                    if let Some(held_back) = self.context.log.admit(DeliveryLine::Store, None) {
                        warn!(consumer = %self.consumer, held_back, "Could not work on the outbox yet: {}", chain(&error));
                    }
                    Some(self.backoff.next_jittered(Duration::ZERO))
                }
            };
            let due = [self.quarantine.next_due(), self.paced_until];
            let due = due.into_iter().flatten().min();
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
    }

    async fn pass(&mut self) -> Result<Pass, StoreError> {
        self.paced_until = None;
        let Ok(fence) = self.context.config.ownership.fence(&self.consumer) else {
            return Ok(Pass::Over);
        };
        // First, so that a bundle made anew under an orphan's id comes after its deletion.
        let orphans = self.send_orphans(fence.as_ref()).await?;
        if orphans == Pass::Sick {
            return Ok(orphans);
        }
        let now = Instant::now();
        // Behind those that wait there may be others: read past them.
        let waiting = self.quarantine.len() + self.pacing.held(now);
        let limit = BATCH.saturating_add(u32::try_from(waiting).unwrap_or(u32::MAX));
        let Context {
            store,
            store_limiter,
            ..
        } = &self.context;
        let heads = store_limiter
            .pass(store.pending_heads(&self.consumer, limit))
            .await?;
        if heads.len() < limit as usize {
            self.quarantine
                .retain(|id| heads.iter().any(|head| head.id == id));
        }
        let chosen = self.choose(&heads, now);
        if chosen.is_empty() {
            return Ok(orphans);
        }
        let Context {
            store,
            store_limiter,
            ..
        } = &self.context;
        let batch = store_limiter
            .pass(store.pending(&self.consumer, chosen))
            .await?;
        if batch.is_empty() {
            // They were acknowledged or removed meanwhile.
            return Ok(Pass::Progress);
        }
        self.send(batch, fence).await
    }

    /// Which bundles go now, within the bounds of a batch.
    fn choose(&mut self, heads: &[PendingHead], now: Instant) -> Vec<String> {
        // A sick consumer is tried with one bundle, not with a batch of refusals.
        let most = if self.sick { 1 } else { BATCH as usize };
        let mut chosen = Vec::new();
        let mut bytes = 0;
        for head in heads {
            let deletion = head.deleting_since.is_some();
            let admitted = self
                .quarantine
                .admits(&head.id, head.version, deletion, now);
            if !admitted || self.is_paced(&head.id, what(head.deleting_since, head.version), now) {
                continue;
            }
            bytes += head.bytes;
            if chosen.len() == most || (bytes > BATCH_BYTES && !chosen.is_empty()) {
                break;
            }
            chosen.push(head.id.clone());
        }
        chosen
    }

    fn is_paced(&mut self, id: &str, what: What, now: Instant) -> bool {
        let held = self.pacing.held_until(id, what, now);
        self.paced_until = [self.paced_until, held].into_iter().flatten().min();
        held.is_some()
    }

    /// Publishes a batch in order and waits for its acknowledgements. The ledger learns of the attempt before it is
    /// made, so that an acknowledgement always finds what it acknowledges.
    async fn send(
        &mut self,
        batch: Vec<PendingBundle>,
        fence: Option<Fence>,
    ) -> Result<Pass, StoreError> {
        let mut context = self.context.clone();
        context.store = context.store.fenced(fence.clone());
        let ownership = context.config.ownership.clone();
        let at = context.clock.now();
        let topic = context.topic(&self.consumer);
        let measured: Vec<(PendingBundle, Result<Message, LimitError>)> = batch
            .into_iter()
            .map(|bundle| {
                let message =
                    event::fitting(&context.config.source, &self.consumer, &bundle, at, &topic);
                (bundle, message)
            })
            .collect();
        let noted = measured.iter().filter(|(_, message)| message.is_ok());
        let noted = noted.map(|(bundle, _)| {
            let deletion = bundle.deleting_since.is_some();
            let store = &context.store;
            let noting = store.record_published(&bundle.id, bundle.version, deletion, at);
            context.store_limiter.pass(noting)
        });
        for noted in join_all(noted).await {
            lease::counted(&ownership, noted)?;
        }
        let session = context.pool.of(&self.consumer);
        let mut receipts = Vec::with_capacity(measured.len());
        let mut over = false;
        for (bundle, message) in measured {
            over = over || !ownership.still(fence.as_ref());
            if over {
                // The next owner sends the rest.
                break;
            }
            let receipt = match message {
                Ok(message) => session.publish(message).await.map_err(Failure::Publish),
                Err(misfit) => Err(Failure::Misfit(misfit)),
            };
            receipts.push((bundle, receipt));
        }
        let settled = join_all(receipts.into_iter().map(|(bundle, receipt)| {
            let context = &context;
            async move {
                let outcome = match receipt {
                    Ok(receipt) => receipt.await.map_err(Failure::Publish),
                    Err(failure) => Err(failure),
                };
                let deletion = bundle.deleting_since.is_some();
                let (id, version, at) = (&bundle.id, bundle.version, context.clock.now());
                let noted = match &outcome {
                    Ok(ack) => {
                        let store = &context.store;
                        let matched = ack.matched;
                        let noting = store.record_broker_acked(id, version, deletion, matched, at);
                        context.note_limiter.pass(noting).await
                    }
                    Err(failure) => {
                        let reason = failure.text();
                        let reason = clip(&reason, REASON_BYTES);
                        let store = &context.store;
                        let noting =
                            store.record_publish_failed(id, version, deletion, &reason, at);
                        context.note_limiter.pass(noting).await
                    }
                };
                (bundle, outcome.map(|ack| ack.matched), noted)
            }
        }))
        .await;
        let mut through = 0;
        let mut failed = None;
        let mut first = false;
        for (bundle, outcome, noted) in settled {
            first |= outcome.is_ok() && bundle.first && bundle.deleting_since.is_none();
            through += usize::from(self.settle(&bundle, outcome));
            // What could not be noted is sent once more; the others are settled all the same.
            failed = failed.or(lease::counted(&ownership, noted).err());
        }
        if first {
            history::sent_first(&self.context, &self.consumer).await;
        }
        match failed {
            Some(error) => Err(error),
            None if over => Ok(Pass::Over),
            None if through > 0 => Ok(Pass::Progress),
            None => Ok(Pass::Sick),
        }
    }

    /// Draws the consequences for the next passes; whether the bundle went through, or will not hold up others.
    fn settle(&mut self, bundle: &PendingBundle, outcome: Result<bool, Failure>) -> bool {
        let now = Instant::now();
        let deletion = bundle.deleting_since.is_some();
        let failure = match outcome {
            Ok(matched) => {
                self.count(if matched { "acked" } else { "unmatched" });
                self.quarantine.passed(&bundle.id);
                let what = what(bundle.deleting_since, bundle.version);
                self.pacing.sent(&bundle.id, what, now);
                debug!(consumer = %self.consumer, resource.id = %bundle.id, resource.version = bundle.version.get(), matched, "Published a bundle");
                return true;
            }
            Err(failure) => failure,
        };
        let outcome = failure.outcome();
        self.count(outcome);
        let own = failure.is_the_message_s();
        self.quarantine
            .failed(&bundle.id, bundle.version, deletion, own, now);
        if let Some(held_back) = self
            .context
            .log
            .admit(DeliveryLine::Publish(outcome), Some(&self.consumer))
        {
            warn!(
                consumer = %self.consumer,
                resource.id = %bundle.id,
                resource.version = bundle.version.get(),
                held_back,
                hint = failure.hint(),
                "Could not publish a bundle: {}",
                clip(&failure.text(), REASON_BYTES)
            );
        }
        // A bundle that is itself at fault says nothing about its consumer.
        own
    }

    fn count(&self, outcome: &str) {
        let sent = &self.context.metrics.sent;
        sent.with_label_values(&[outcome]).inc();
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.sick) {
            // A lane that got one through is healthy again: what waited because of it may go at once.
            self.quarantine.pardon();
        }
        self.backoff = backoff();
    }
}

/// Whether a wake-up came that nobody took.
pub(super) fn was_notified(waker: &Notify) -> bool {
    waker.notified().now_or_never().is_some()
}

fn what(deleting_since: Option<jiff::Timestamp>, version: link::order::Version) -> What {
    deleting_since.map_or(What::Version(version), What::Deletion)
}

fn backoff() -> Backoff {
    Backoff::new(
        Duration::from_millis(500),
        Duration::from_secs(60),
        Duration::MAX,
    )
}

/// Bundles on their way at a time for one consumer: half of a connection's window, so that two busy consumers share
/// one without waiting for each other.
const BATCH: u32 = 50;

/// Bytes of payload and metadata read at a time for one consumer: two seconds of a connection. A thousand lanes that
/// wait for the broker hold 1 GB at worst, and one bundle each at least.
const BATCH_BYTES: u64 = 1024 * 1024;

/// A lane without work ends after this time; the next hint starts another.
const IDLE: Duration = Duration::from_secs(60);

// A reason is kept in the ledger and shown in lists.
const REASON_BYTES: usize = 500;
