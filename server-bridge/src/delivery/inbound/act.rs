//! Executes what an event asks for, and records the outcome.

use std::time::Duration;

use link::id::ConsumerName;
use link::order::{SequenceId, Version};
use link::telemetry::clip;
use tokio::time::Instant;
use tracing::{info, warn};

use super::understand::{AgentRequest, EventRefusal, refusal};
use crate::delivery::history::{self, Ahead};
use crate::delivery::log::DeliveryLine;
use crate::delivery::status_requests::RequestCause;
use crate::delivery::{Context, resync};
use crate::store::{
    AgentVersion, LIST_BYTES, Orphan, PartOutcome, ResyncPart, StatusOutcome, StatusUpdate, Store,
    StoreError,
};

/// What came of an event that was not refused.
pub(super) enum Acted {
    /// It is done, with this outcome.
    Done(&'static str),
    /// It was the last part of a list, which is to be answered before it is done.
    Whole(AgentRequest),
}

/// Does what an event asks for. `repair` keeps, over attempts, whether what it shows to be wrong may be mended now.
pub(super) async fn act<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
    request: &AgentRequest,
    repair: &mut Option<bool>,
) -> Result<Result<Acted, EventRefusal>, StoreError> {
    match request {
        AgentRequest::Part(part) => keep_part(context, part).await,
        AgentRequest::Connection(event) => {
            let kept = context.store.put_connection(consumer, event.clone());
            let outcome = if kept.await? {
                "connection"
            } else {
                "late_connection"
            };
            Ok(Ok(Acted::Done(outcome)))
        }
        AgentRequest::Report(report) => {
            let kept = context.store.put_report((**report).clone()).await?;
            let outcome = if kept { "reported" } else { "late_report" };
            Ok(Ok(Acted::Done(outcome)))
        }
        AgentRequest::Resync {
            held, came, joined, ..
        } => {
            resync::answer(context, consumer, held, *came).await?;
            if let Some(list) = joined {
                context.store.forget_resync(consumer, list).await?;
            }
            Ok(Ok(Acted::Done("resync")))
        }
        AgentRequest::Status(update) => {
            let outcome = context.store.apply_status((**update).clone()).await?;
            let id = update.bundle_id.as_str();
            let mut admitted = || {
                *repair.get_or_insert_with(|| context.repairs.admit(consumer, id, Instant::now()))
            };
            match outcome {
                StatusOutcome::DeletedHere if admitted() => delete_again(context, update).await?,
                StatusOutcome::NotDeleting if admitted() => send_again(context, update).await?,
                StatusOutcome::UnknownBundle if !update.deleted => {
                    history::note_foreign_works(context, consumer).await?;
                }
                StatusOutcome::Ahead { stored } => {
                    let ahead = Ahead {
                        id: id.to_owned(),
                        held: update.version,
                        stored,
                    };
                    history::raise(context, consumer, vec![ahead]).await?;
                }
                StatusOutcome::StaleSequence { stored } => {
                    ask_later(context, update, stored).await?;
                }
                _ => {}
            }
            Ok(explain(context, update, outcome).map(Acted::Done))
        }
    }
}

async fn keep_part<S: Store>(
    context: &Context<S>,
    part: &ResyncPart,
) -> Result<Result<Acted, EventRefusal>, StoreError> {
    let at = context.clock.now();
    let reason = match context.store.add_resync_part(part.clone(), at).await? {
        PartOutcome::Whole { held, began_at } => {
            return Ok(Ok(Acted::Whole(AgentRequest::Resync {
                held,
                made_at: part.made_at,
                came: began_at,
                joined: Some(part.list.clone()),
            })));
        }
        // What a newer list says is what counts.
        PartOutcome::Waits | PartOutcome::Superseded => return Ok(Ok(Acted::Done("resync"))),
        PartOutcome::OtherTotal { earlier } => format!(
            "it says that the list has {} parts, an earlier one said {earlier}",
            part.total
        ),
        PartOutcome::TooLong { bytes } => {
            format!("the parts of the list hold {bytes} bytes so far, the limit is {LIST_BYTES}")
        }
    };
    Ok(Err(refusal("bad_resync", reason)))
}

/// The agent reports on a work whose deletion it has confirmed: a late copy of an old event brought it back.
async fn delete_again<S: Store>(
    context: &Context<S>,
    update: &StatusUpdate,
) -> Result<(), StoreError> {
    let (id, consumer) = (&update.bundle_id, &update.consumer);
    let orphan = Orphan {
        id: id.clone(),
        version: update.version,
        deleted_here: true,
    };
    context.store.add_orphans(consumer, vec![orphan]).await?;
    context
        .metrics
        .repairs
        .with_label_values(&["deleted_again"])
        .inc();
    if let Some(held_back) = context
        .log
        .admit(DeliveryLine::Repaired("deleted_again"), Some(consumer))
    {
        warn!(resource.id = %clip(id, ID_BYTES), %consumer, held_back, "An agent holds again what was deleted; it is deleted there again");
    }
    Ok(())
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
            .admit(DeliveryLine::Repaired("sent_again"), Some(consumer))
        {
            warn!(resource.id = %clip(id, ID_BYTES), %consumer, held_back, "An agent has deleted a bundle that nobody deletes; it is sent again");
        }
    }
    Ok(())
}

/// A status that is not newer by its id may be the newest all the same: its agent was replaced, without its state, by
/// one whose clock is behind the former one's. It counts as told there, so it is asked for once its ids are the newer
/// ones; an agent that has nothing else to say does not answer. A work that is gone is asked for by its deletion, which
/// its lane paces.
async fn ask_later<S: Store>(
    context: &Context<S>,
    update: &StatusUpdate,
    stored: SequenceId,
) -> Result<(), StoreError> {
    // Delivered twice.
    if update.sequence_id == stored {
        return Ok(());
    }
    if update.deleted {
        let held = AgentVersion {
            id: update.bundle_id.clone(),
            version: Version::UNVERSIONED,
        };
        context
            .store
            .request_resend(&update.consumer, vec![held])
            .await?;
        return Ok(());
    }
    let clock = update.sequence_id.time().min(update.at);
    let behind = stored.time().duration_since(clock);
    let delay = Duration::try_from(behind).unwrap_or_default();
    let now = Instant::now();
    let at = now + (delay + ASK_MARGIN).min(ASK_LATEST);
    context
        .requests(&update.consumer)
        .want_at(&update.consumer, RequestCause::Stale, at, now);
    Ok(())
}

fn explain<S: Store>(
    context: &Context<S>,
    update: &StatusUpdate,
    outcome: StatusOutcome,
) -> Result<&'static str, EventRefusal> {
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
        StatusOutcome::Ahead { .. } => return Ok("ahead"),
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
    if let Some(held_back) = context
        .log
        .admit(DeliveryLine::Event(label), Some(consumer))
    {
        info!(resource.id = %id, %consumer, held_back, "{reason}");
    }
    Ok(label)
}

// What is asked for reaches the agent's clock a little later than this one's.
const ASK_MARGIN: Duration = Duration::from_secs(1);
// An id that is further ahead counts as made when it was taken (`store/order.rs`).
const ASK_LATEST: Duration = Duration::from_secs(600);

// What an agent sends is shown by its beginning: ids have 253 bytes at most.
const ID_BYTES: usize = 253;
