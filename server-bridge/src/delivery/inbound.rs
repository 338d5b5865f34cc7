//! Takes events from agents: checks who speaks for whom, commits, then acks (system.md §4).

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use link::backoff::Backoff;
use link::bundle::Status;
use link::event::{APPLIED_AT, Action, Event, RECEIVED_AT, SubResource, decode};
use link::id::ConsumerName;
use link::mqtt::{Delivery, Inbound};
use link::topic::Channel;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Context, resync};
use crate::store::{Json, StatusOutcome, StatusUpdate, Store};

/// Takes events until `drain` is cancelled.
pub(super) async fn run<S: Store>(
    context: Context<S>,
    mut inbound: Inbound,
    drain: CancellationToken,
) {
    let joins = resync::Joins::default();
    let mut taking = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = drain.cancelled() => break,
            Some(()) = taking.next(), if !taking.is_empty() => {}
            delivery = inbound.recv(), if taking.len() < CONCURRENCY => match delivery {
                Some(delivery) => taking.push(take(&context, &joins, delivery)),
                None => break,
            },
        }
    }
    // What is being committed is finished, so that the agent need not send it again.
    while taking.next().await.is_some() {}
}

/// Takes one event. Whatever cannot be understood or is not allowed is acked, counted and explained: sending it
/// again would not make it better, and it must not hold up what follows.
async fn take<S: Store>(context: &Context<S>, joins: &resync::Joins, delivery: Delivery) {
    let topic = &delivery.message.topic;
    let outcome = match context.config.scheme.recognise(topic) {
        Some((Channel::AgentEvents, consumer)) => match decode(&delivery.message) {
            Ok(event) => act(context, joins, &consumer, event).await,
            Err(error) => Err(refusal("undecodable", link::error::chain(&error))),
        },
        _ => Err(refusal(
            "foreign_topic",
            "the topic is no agent's topic of this deployment".into(),
        )),
    };
    match outcome {
        Ok(outcome) => context.metrics.received.with_label_values(&[outcome]).inc(),
        Err(Refusal { outcome, reason }) => {
            context.metrics.received.with_label_values(&[outcome]).inc();
            warn!(topic, outcome, "Refused an event from an agent: {reason}");
        }
    }
    delivery.ack();
}

struct Refusal {
    outcome: &'static str,
    reason: String,
}

fn refusal(outcome: &'static str, reason: String) -> Refusal {
    Refusal { outcome, reason }
}

async fn act<S: Store>(
    context: &Context<S>,
    joins: &resync::Joins,
    consumer: &ConsumerName,
    event: Event,
) -> Result<&'static str, Refusal> {
    // The topic is what the broker's policy let the sender write to; the event only claims.
    if event.cluster_name.as_deref() != Some(consumer.as_str()) {
        let claimed = event.cluster_name.as_deref().unwrap_or_default();
        return Err(refusal(
            "foreign_consumer",
            format!("it speaks for `{claimed}` on the topic of `{consumer}`"),
        ));
    }
    if !event.kind.is_manifest_bundle() {
        return Err(refusal(
            "data_type",
            format!("its type is `{}`", event.kind),
        ));
    }
    match (event.kind.sub_resource, event.kind.action) {
        (SubResource::Spec, Action::ResyncRequest) => {
            resync::answer(context, joins, consumer, &event)
                .await
                .map(|()| "resync")
                .map_err(|reason| refusal("bad_resync", reason))
        }
        (SubResource::Status, Action::Create | Action::Update | Action::ResyncResponse) => {
            let original = event.original_source.as_deref().unwrap_or_default();
            if original != context.config.source.as_str() {
                return Err(refusal(
                    "foreign_source",
                    format!(
                        "it answers source `{original}`, not `{}`",
                        context.config.source
                    ),
                ));
            }
            let started = tokio::time::Instant::now();
            let update = status_update(consumer, &event, context.clock.now())?;
            let outcome = commit(context, &update).await;
            context
                .metrics
                .status_seconds
                .observe(started.elapsed().as_secs_f64());
            explain(&update, outcome)
        }
        _ => Err(refusal(
            "not_for_a_bridge",
            format!("its type is `{}`", event.kind),
        )),
    }
}

fn status_update(
    consumer: &ConsumerName,
    event: &Event,
    at: Timestamp,
) -> Result<StatusUpdate, Refusal> {
    let missing = |name| refusal("incomplete", format!("attribute `{name}` is missing"));
    let bundle_id = event
        .resource_id
        .clone()
        .ok_or_else(|| missing("resourceid"))?;
    let version = event
        .resource_version
        .ok_or_else(|| missing("resourceversion"))?;
    let sequence_id = event.sequence_id.ok_or_else(|| missing("sequenceid"))?;
    let data = event.data_bytes();
    let status: Status = serde_json::from_slice(data)
        .map_err(|error| refusal("undecodable", format!("its data is no status: {error}")))?;
    let payload = std::str::from_utf8(data)
        .ok()
        .and_then(|text| Json::parse(text).ok())
        .ok_or_else(|| refusal("undecodable", "its data is no JSON text".into()))?;
    let applied = status
        .condition("Applied")
        .filter(|applied| {
            applied.is_true() && applied.observed_generation == i64::from(version.get())
        })
        .and_then(|applied| applied.last_transition_time.parse().ok());
    Ok(StatusUpdate {
        bundle_id,
        consumer: consumer.clone(),
        version,
        sequence_id,
        status_hash: event.status_hash.clone().filter(|hash| !hash.is_empty()),
        payload,
        metadata: event
            .metadata
            .as_deref()
            .and_then(|text| Json::parse(text).ok()),
        deleted: status.is_deleted(),
        received_at: extension_time(event, RECEIVED_AT),
        applied_at: extension_time(event, APPLIED_AT).or(applied),
        at,
    })
}

fn extension_time(event: &Event, name: &str) -> Option<Timestamp> {
    event.extensions.get(name)?.parse().ok()
}

/// Commits, for as long as it takes: without the ack the broker keeps the message, and with the window full it keeps
/// the ones behind it too.
async fn commit<S: Store>(
    context: &Context<S>,
    update: &StatusUpdate,
) -> Result<StatusOutcome, String> {
    let mut backoff = Backoff::new(
        Duration::from_millis(200),
        Duration::from_secs(10),
        Duration::MAX,
    );
    loop {
        match context.store.apply_status(update.clone()).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) if error.is_retryable() => {
                warn!(resource.id = %update.bundle_id, "Could not store a status yet: {}", link::error::chain(&error));
                tokio::time::sleep(backoff.next_jittered(Duration::ZERO)).await;
            }
            Err(error) => return Err(link::error::chain(&error)),
        }
    }
}

fn explain(
    update: &StatusUpdate,
    outcome: Result<StatusOutcome, String>,
) -> Result<&'static str, Refusal> {
    let id = &update.bundle_id;
    let outcome = outcome.map_err(|error| refusal("store", error))?;
    let (label, reason) = match outcome {
        StatusOutcome::Stored => return Ok("stored"),
        StatusOutcome::Deleted => {
            info!(resource.id = %id, consumer = %update.consumer, "Removed bundle `{id}`: its cluster confirmed the deletion");
            return Ok("deleted");
        }
        // Late words about a bundle that is gone, and repetitions after a reconnect, are normal: no warnings.
        StatusOutcome::UnknownBundle => {
            info!(resource.id = %id, consumer = %update.consumer, "Ignored a status of bundle `{id}`, which is not there (any more)");
            return Ok("unknown_bundle");
        }
        StatusOutcome::StaleVersion { stored } => {
            info!(resource.id = %id, consumer = %update.consumer, "Ignored a status of version {} of bundle `{id}`, which is at version {stored}", update.version);
            return Ok("stale_version");
        }
        StatusOutcome::StaleSequence { stored } => {
            info!(resource.id = %id, consumer = %update.consumer, "Ignored a status of bundle `{id}`: its sequence id {} is not newer than the stored {stored}", update.sequence_id);
            return Ok("stale_sequence");
        }
        StatusOutcome::WrongConsumer { expected } => (
            "wrong_consumer",
            format!("bundle `{id}` belongs to `{expected}`"),
        ),
        StatusOutcome::ForeignSequence { stored } => (
            "foreign_sequence",
            format!(
                "its sequence id {} for bundle `{id}` comes from another node than the stored {stored}",
                update.sequence_id
            ),
        ),
        StatusOutcome::NotDeleting => (
            "not_deleting",
            format!("it says that bundle `{id}` is deleted, which nobody asked for"),
        ),
    };
    Err(refusal(label, reason))
}

/// Events being committed at a time. The store commits those that wait together, and orders them by sequence id, so
/// arrival order need not be kept.
const CONCURRENCY: usize = 64;
