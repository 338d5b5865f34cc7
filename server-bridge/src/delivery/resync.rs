//! Both directions of the resync (system.md §5, wire.md §4.4–4.5).
//!
//! An agent says what it holds: what it lacks goes back into the store's outbox, what only it knows is deleted there,
//! if this bridge can vouch for it. And after every fresh subscription, of its own or of an agent, the bridge says
//! which statuses it holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use link::bundle::EMPTY_HASH;
use link::bundle::resync::{HeldStatus, HeldVersion, SpecRequest, split};
use link::event::{Event, RESYNC_ANSWER, RESYNC_ID, RESYNC_PART, encode};
use link::id::ConsumerName;
use link::mqtt::State;
use link::order::Version;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Context, event};
use crate::store::query::Query;
use crate::store::{Held, Store, StoreError};

/// Parts of requests that have not come in full, by consumer. One request per consumer: a new one replaces the old.
#[derive(Default)]
pub(super) struct Joins(Mutex<HashMap<ConsumerName, Join>>);

struct Join {
    id: String,
    parts: BTreeMap<u32, Vec<HeldVersion>>,
}

/// Answers a spec resync request, once all its parts are there.
///
/// # Errors
/// A sentence that says what is wrong with the request, or why it could not be answered.
pub(super) async fn answer<S: Store>(
    context: &Context<S>,
    joins: &Joins,
    consumer: &ConsumerName,
    event: &Event,
) -> Result<(), String> {
    let request: SpecRequest = serde_json::from_slice(event.data_bytes())
        .map_err(|error| format!("its data is no resync request: {error}"))?;
    let Some(held) = joins.add(consumer, event, request.resource_versions)? else {
        return Ok(());
    };
    reconcile(context, consumer, held)
        .await
        .map_err(|error| link::error::chain(&error))?;
    // An agent that asks has just subscribed: it was not there for what this bridge asked when it subscribed.
    ask(context, consumer, Cause::Agent).await
}

async fn reconcile<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
    held: Vec<HeldVersion>,
) -> Result<(), StoreError> {
    let ours = context.store.versions_of(consumer).await?;
    let known: HashSet<&str> = ours.iter().map(|bundle| bundle.id.as_str()).collect();
    let holds: HashMap<&str, Version> = held
        .iter()
        .map(|work| (work.resource_id.as_str(), work.resource_version))
        .collect();
    let compare = ours
        .iter()
        .map(|bundle| Held {
            id: bundle.id.clone(),
            version: holds
                .get(bundle.id.as_str())
                .copied()
                .unwrap_or(Version::UNVERSIONED),
        })
        .collect();
    let resent = context.store.request_resend(consumer, compare).await?;
    let orphans: Vec<&HeldVersion> = held
        .iter()
        .filter(|work| !known.contains(work.resource_id.as_str()))
        .collect();
    info!(%consumer, held = held.len(), stored = ours.len(), resent, orphans = orphans.len(), "Answered a resync");
    for orphan in orphans {
        let id = orphan.resource_id.as_str();
        let removed_here = context
            .store
            .tombstone(id)
            .await?
            .is_some_and(|tombstone| tombstone.consumer == *consumer);
        // A work this bridge never knew may be all that is left of a lost or older store: silence is not a deletion
        // (system.md §3). Maestro's rule, to delete it if any other bundle is known, has to be asked for.
        let unwanted = context.config.delete_unknown_works && !known.is_empty();
        if !removed_here && !unwanted {
            context.metrics.unknown_works.inc();
            warn!(
                %consumer,
                resource.id = id,
                hint = "post it again under its id to keep it; or delete it then",
                "The agent holds a work this bridge neither knows nor ever deleted; it is left alone"
            );
            continue;
        }
        let event = event::orphan(
            &context.config.source,
            consumer,
            id,
            orphan.resource_version,
            context.clock.now(),
        );
        if let Err(error) = publish(context, consumer, &event).await {
            warn!(%consumer, resource.id = id, "Could not delete a work that only the agent knows; the next resync does: {error}");
        }
    }
    Ok(())
}

/// After every fresh subscription, asks every consumer for the statuses that differ from the stored ones.
pub(super) async fn ask_for_statuses<S: Store>(context: Context<S>, drain: CancellationToken) {
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..context.pool.sessions().len() {
        tasks.spawn(ask_on_one(context.clone(), index, drain.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

async fn ask_on_one<S: Store>(context: Context<S>, index: usize, drain: CancellationToken) {
    let mut state = context.pool.sessions()[index].state();
    let mut seen = 0;
    loop {
        let newer = |state: &State| state.epoch().is_some_and(|epoch| epoch > seen);
        let Some(reached) = drain.run_until_cancelled(state.wait_for(newer)).await else {
            return;
        };
        let Ok(State::Ready { epoch, resumed }) = reached.map(|state| state.clone()) else {
            return;
        };
        // A session the broker kept missed nothing, unless a connection in between went by unseen, or a process.
        let missed = seen == 0 || !resumed || epoch != seen + 1;
        seen = epoch;
        if !missed {
            continue;
        }
        let Some(outcome) = drain.run_until_cancelled(ask_all(&context, index)).await else {
            return;
        };
        if let Err(error) = outcome {
            warn!("Could not ask for statuses; the next connection does: {error}");
        }
    }
}

async fn ask_all<S: Store>(context: &Context<S>, index: usize) -> Result<(), String> {
    for consumer in consumers(&context.store)
        .await
        .map_err(|error| link::error::chain(&error))?
    {
        if !std::ptr::eq(
            context.pool.of(&consumer),
            &raw const context.pool.sessions()[index],
        ) {
            continue;
        }
        ask(context, &consumer, Cause::Subscribed).await?;
    }
    Ok(())
}

/// Why statuses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// This bridge has just subscribed.
    Subscribed,
    /// The agent has just said what it holds.
    Agent,
}

async fn ask<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
    cause: Cause,
) -> Result<(), String> {
    let hashes = context
        .store
        .status_hashes_of(consumer)
        .await
        .map_err(|error| link::error::chain(&error))?;
    let hashes = hashes
        .into_iter()
        .map(|(resource_id, hash)| HeldStatus {
            resource_id,
            status_hash: hash.unwrap_or_else(|| EMPTY_HASH.into()),
        })
        .collect();
    let now: Timestamp = context.clock.now();
    for part in split(hashes) {
        debug!(%consumer, bundles = part.len(), "Asking for statuses");
        let mut event = event::status_request(&context.config.source, consumer, part, now);
        if cause == Cause::Agent {
            // Our agent would answer a request without it by saying what it holds, once more.
            event.extensions.insert(RESYNC_ANSWER.into(), "true".into());
        }
        if let Err(error) = publish(context, consumer, &event).await {
            // One consumer whose topic is refused must not keep the others from being asked.
            warn!(%consumer, "Could not ask a consumer for its statuses: {error}");
        }
    }
    Ok(())
}

async fn publish<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
    event: &Event,
) -> Result<(), String> {
    let message = encode(event, context.topic(consumer));
    let sent = async { context.pool.of(consumer).publish(message).await?.await };
    sent.await
        .map(|_| ())
        .map_err(|error| link::error::chain(&error))
}

async fn consumers<S: Store>(store: &S) -> Result<Vec<ConsumerName>, StoreError> {
    let everyone = Query {
        filter: None,
        order: Vec::new(),
        offset: 0,
        limit: u32::MAX,
    };
    let page = store.list_consumers(everyone).await?;
    page.rows
        .map_ok(|consumer| consumer.name)
        .try_collect()
        .await
}

// === impl Joins ===

impl Joins {
    /// Adds a request, or a part of one. Gives the whole list once it is complete.
    fn add(
        &self,
        consumer: &ConsumerName,
        event: &Event,
        held: Vec<HeldVersion>,
    ) -> Result<Option<Vec<HeldVersion>>, String> {
        // A Go agent's request has no part number and is whole.
        let Some(part) = event.extensions.get(RESYNC_PART) else {
            return Ok(Some(held));
        };
        let id = event.extensions.get(RESYNC_ID).cloned().unwrap_or_default();
        let (number, total) = part
            .split_once('/')
            .and_then(|(number, total)| {
                Some((number.parse::<u32>().ok()?, total.parse::<u32>().ok()?))
            })
            .filter(|(number, total)| (1..=*total).contains(number) && *total <= MAX_PARTS)
            .ok_or_else(|| {
                format!(
                    "attribute `{RESYNC_PART}` holds `{}`, not `1/3`",
                    part.chars().take(20).collect::<String>()
                )
            })?;
        let mut joins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let join = joins.entry(consumer.clone()).or_insert_with(|| Join {
            id: id.clone(),
            parts: BTreeMap::new(),
        });
        if join.id != id {
            *join = Join {
                id,
                parts: BTreeMap::new(),
            };
        }
        join.parts.insert(number, held);
        if join.parts.len() < total as usize {
            return Ok(None);
        }
        Ok(joins
            .remove(consumer)
            .map(|join| join.parts.into_values().flatten().collect()))
    }
}

/// More parts than 100 000 works make.
const MAX_PARTS: u32 = 256;

#[cfg(test)]
mod tests {
    use link::event::{Action, Kind};

    use super::*;

    fn part(id: &str, part: &str) -> Event {
        let consumer = ConsumerName::new("c1").unwrap();
        let mut event = Event::new(
            "c1-work-agent",
            Kind::spec(Action::ResyncRequest),
            &consumer,
            Timestamp::UNIX_EPOCH,
        );
        event.extensions.insert(RESYNC_ID.into(), id.into());
        event.extensions.insert(RESYNC_PART.into(), part.into());
        event
    }

    fn held(id: &str) -> Vec<HeldVersion> {
        vec![HeldVersion {
            resource_id: id.into(),
            resource_version: Version::FIRST,
        }]
    }

    #[test]
    fn a_request_in_parts_counts_once_all_parts_are_there_in_any_order_and_repeated() {
        let consumer = ConsumerName::new("c1").unwrap();
        let joins = Joins::default();
        assert_eq!(joins.add(&consumer, &part("r", "2/2"), held("b")), Ok(None));
        assert_eq!(joins.add(&consumer, &part("r", "2/2"), held("b")), Ok(None));
        let whole = joins
            .add(&consumer, &part("r", "1/2"), held("a"))
            .unwrap()
            .unwrap();
        assert_eq!(whole, [held("a"), held("b")].concat());
    }

    #[test]
    fn a_newer_request_replaces_an_unfinished_one() {
        let consumer = ConsumerName::new("c1").unwrap();
        let joins = Joins::default();
        assert_eq!(
            joins.add(&consumer, &part("old", "1/2"), held("a")),
            Ok(None)
        );
        assert_eq!(
            joins.add(&consumer, &part("new", "2/2"), held("b")),
            Ok(None)
        );
        let whole = joins
            .add(&consumer, &part("new", "1/2"), held("c"))
            .unwrap()
            .unwrap();
        assert_eq!(whole, [held("c"), held("b")].concat());
        assert!(
            joins
                .add(&consumer, &part("new", "3/2"), held("c"))
                .is_err()
        );
    }
}
