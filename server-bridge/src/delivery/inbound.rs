//! Takes events from agents: checks who speaks for whom, commits, then acks (system.md §4).
//!
//! **Invariant:** an event is acked when what it asks for is done, or when it is refused by its content. Any failure of
//! ours, whatever its class, is tried again in place until it passes or the bridge stops; it shows in the readiness
//! check `delivery`, and without the ack the broker keeps the event.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use link::backoff::Backoff;
use link::error::chain;
use link::id::ConsumerName;
use link::telemetry::clip;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::border::{Incoming, SharedIntake};
use super::health::Stuck;
use super::log::Line;
use super::orphans::Orphan;
use super::{Context, resync};
use crate::store::{StatusOutcome, StatusUpdate, Store, StoreError};

mod understand;

use understand::{Refusal, Request, refusal, understand};

/// Takes events until `drain` is cancelled.
pub(super) async fn run<S: Store>(
    context: Context<S>,
    intake: SharedIntake,
    drain: CancellationToken,
) {
    let mut intake = intake.lock().await;
    let mut taking = FuturesUnordered::new();
    let mut tidy = interval(TIDY);
    let mut open = true;
    loop {
        tokio::select! {
            () = drain.cancelled() => break,
            Some(()) = taking.next(), if !taking.is_empty() => {}
            _ = tidy.tick() => forget_old(&context),
            incoming = intake.recv(), if open && taking.len() < CONCURRENCY => match incoming {
                Some(incoming) => taking.push(take(&context, &drain, incoming)),
                // The session was shut down: nothing comes in any more.
                None => open = false,
            },
        }
    }
    // What is being committed is finished, so that the agent need not send it again.
    while taking.next().await.is_some() {}
}

/// Takes one event: understood once, done until it is done.
async fn take<S: Store>(context: &Context<S>, drain: &CancellationToken, incoming: Incoming) {
    let started = Instant::now();
    let understood = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let at = context.clock.now();
        understand(
            &context.config,
            &context.parts,
            &incoming.message,
            at,
            started,
        )
    }));
    let (consumer, request) = match understood {
        Ok(Ok(understood)) => understood,
        Ok(Err(refused)) => return refuse(context, incoming, &refused),
        // Reading depends on nothing but the message: it would panic again.
        Err(_) => {
            return refuse(
                context,
                incoming,
                &refusal("panicked", "reading it panicked"),
            );
        }
    };
    let mut repair = None;
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST, Duration::MAX);
    let mut stuck: Option<Stuck> = None;
    let done = loop {
        let attempt = act(context, &consumer, &request, &mut repair);
        let why = match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(done)) => break done,
            Ok(Err(failed)) => {
                let why = chain(&failed);
                if let Some(held_back) = context.log.admit(Line::Store, None) {
                    warn!(%consumer, held_back, "Could not store what an agent sent yet: {}", clip(&why, ERROR_BYTES));
                }
                why
            }
            Err(_) => {
                if let Some(held_back) = context.log.admit(Line::Panic, None) {
                    error!(%consumer, held_back, "Storing what an agent sent panicked; it is tried again");
                }
                "storing it panicked".into()
            }
        };
        match &stuck {
            Some(stuck) => stuck.because(&why),
            None => stuck = Some(context.health.stuck(&why)),
        }
        let pause = tokio::time::sleep(backoff.next_jittered(Duration::ZERO));
        if drain.run_until_cancelled(pause).await.is_none() {
            // Left to the broker, which delivers it to the next process.
            return;
        }
    };
    if matches!(request, Request::Status(_)) {
        let seconds = &context.metrics.status_seconds;
        seconds.observe(started.elapsed().as_secs_f64());
    }
    match done {
        Ok(outcome) => {
            context.metrics.received.with_label_values(&[outcome]).inc();
            incoming.ack();
        }
        Err(refused) => refuse(context, incoming, &refused),
    }
}

/// Acks, counts and explains what is refused by its content: sending it again would not make it better, and it must
/// not hold up what follows.
fn refuse<S: Store>(context: &Context<S>, incoming: Incoming, refused: &Refusal) {
    let Refusal { outcome, reason } = refused;
    context.metrics.received.with_label_values(&[outcome]).inc();
    let topic = &incoming.message.topic;
    let consumer = context
        .config
        .scheme
        .recognise(topic)
        .map(|(_, consumer)| consumer);
    if let Some(held_back) = context.log.admit(Line::Event(outcome), consumer.as_ref()) {
        let topic = clip(topic, TOPIC_BYTES);
        warn!(%topic, outcome, held_back, "Refused an event from an agent: {reason}");
    }
    incoming.ack();
}

/// Does what an event asks for. `repair` keeps, over attempts, whether what it shows to be wrong may be mended now.
async fn act<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
    request: &Request,
    repair: &mut Option<bool>,
) -> Result<Result<&'static str, Refusal>, StoreError> {
    match request {
        Request::Part => Ok(Ok("resync")),
        Request::Resync(held) => {
            resync::answer(context, consumer, held).await?;
            Ok(Ok("resync"))
        }
        Request::Status(update) => {
            let outcome = context.store.apply_status((**update).clone()).await?;
            let id = update.bundle_id.as_str();
            let mut admitted = || {
                *repair.get_or_insert_with(|| context.repairs.admit(consumer, id, Instant::now()))
            };
            match outcome {
                StatusOutcome::DeletedHere if admitted() => delete_again(context, update),
                StatusOutcome::NotDeleting if admitted() => send_again(context, update).await?,
                _ => {}
            }
            Ok(explain(context, update, outcome))
        }
    }
}

/// The agent reports on a work whose deletion it has confirmed: a late copy of an old event brought it back.
fn delete_again<S: Store>(context: &Context<S>, update: &StatusUpdate) {
    let (id, consumer) = (&update.bundle_id, &update.consumer);
    let orphan = Orphan {
        version: update.version,
        deleted_here: true,
    };
    context.orphans.add(consumer, [(id.clone(), orphan)]);
    context
        .metrics
        .repairs
        .with_label_values(&["deleted_again"])
        .inc();
    if let Some(held_back) = context
        .log
        .admit(Line::Repaired("deleted_again"), Some(consumer))
    {
        warn!(resource.id = %clip(id, ID_BYTES), %consumer, held_back, "An agent holds again what was deleted; it is deleted there again");
    }
}

/// The agent has deleted a work that nobody deletes: a late copy of an old deletion took it away.
async fn send_again<S: Store>(
    context: &Context<S>,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    let (id, consumer) = (&update.bundle_id, &update.consumer);
    let reason =
        "its agent says that it deleted this bundle, which nobody asked for; it is sent again";
    let at = context.clock.now();
    if context.store.send_again(consumer, id, reason, at).await? {
        context
            .metrics
            .repairs
            .with_label_values(&["sent_again"])
            .inc();
        if let Some(held_back) = context
            .log
            .admit(Line::Repaired("sent_again"), Some(consumer))
        {
            warn!(resource.id = %clip(id, ID_BYTES), %consumer, held_back, "An agent has deleted a bundle that nobody deletes; it is sent again");
        }
    }
    Ok(())
}

fn explain<S: Store>(
    context: &Context<S>,
    update: &StatusUpdate,
    outcome: StatusOutcome,
) -> Result<&'static str, Refusal> {
    let id = clip(&update.bundle_id, ID_BYTES);
    let (label, reason) = match outcome {
        StatusOutcome::Stored => return Ok("stored"),
        StatusOutcome::Deleted => {
            info!(resource.id = %id, consumer = %update.consumer, "Removed bundle `{id}`: its cluster confirmed the deletion");
            return Ok("deleted");
        }
        StatusOutcome::DeletedHere => return Ok("deleted_here"),
        // Late words about a bundle that is gone, and repetitions after a reconnect, are normal: no warnings.
        StatusOutcome::UnknownBundle => (
            "unknown_bundle",
            format!("Ignored a status of bundle `{id}`, which is not there (any more)"),
        ),
        StatusOutcome::Ahead { stored } => {
            if let Some(held_back) = context
                .log
                .admit(Line::Event("ahead"), Some(&update.consumer))
            {
                warn!(
                    resource.id = %id, consumer = %update.consumer, held_back,
                    "The cluster holds version {} of bundle `{id}`, newer than version {stored} of this database, and \
                     takes no older one; hint: restore a newer database, or change the bundle until its version is above \
                     that", update.version
                );
            }
            return Ok("ahead");
        }
        StatusOutcome::StaleVersion { stored } => (
            "stale_version",
            format!(
                "Ignored a status of version {} of bundle `{id}`, which is at version {stored}",
                update.version
            ),
        ),
        StatusOutcome::StaleSequence { stored } => (
            "stale_sequence",
            format!(
                "Ignored a status of bundle `{id}`: its sequence id {} is not newer than the stored {stored}",
                update.sequence_id
            ),
        ),
        StatusOutcome::WrongConsumer { expected } => {
            let reason = format!("bundle `{id}` belongs to `{expected}`");
            return Err(refusal("wrong_consumer", reason));
        }
        StatusOutcome::NotDeleting => {
            let reason = format!("it says that bundle `{id}` is deleted, which nobody asked for");
            return Err(refusal("not_deleting", reason));
        }
    };
    let consumer = &update.consumer;
    if let Some(held_back) = context.log.admit(Line::Event(label), Some(consumer)) {
        info!(resource.id = %id, %consumer, held_back, "{reason}");
    }
    Ok(label)
}

fn forget_old<S: Store>(context: &Context<S>) {
    let forgotten = context.parts.forget_old(Instant::now());
    if forgotten > 0 {
        warn!(
            forgotten,
            "Forgot resync requests whose parts did not all come"
        );
    }
}

/// Events being committed at a time. The store commits those that wait together, and orders them by sequence id, so
/// arrival order need not be kept.
const CONCURRENCY: usize = 64;

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(10);
const TIDY: Duration = Duration::from_secs(60);

// What an agent sends is shown by its beginning: ids have 253 bytes at most, topics 256.
const ID_BYTES: usize = 253;
const TOPIC_BYTES: usize = 256;
const ERROR_BYTES: usize = 300;
