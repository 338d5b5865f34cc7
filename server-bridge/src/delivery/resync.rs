//! Both directions of the resync (docs/ARCHITECTURE.md#resync, docs/MAESTRO.md §4.4–4.5).
//!
//! An agent says what it holds: what it lacks goes back into the store's outbox, what only it knows is deleted there,
//! if this bridge can vouch for it; both leave through the consumer's lane. And after every fresh subscription, of its
//! own or of an agent, the bridge says which statuses it holds.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use link::backoff::Backoff;
use link::bundle::EMPTY_HASH;
use link::bundle::resync::{HeldStatus, HeldVersion, split};
use link::error::chain;
use link::event::agent_report::{AGENT_REPORTS, AGENT_REPORTS_VERSION};
use link::event::{RESYNC_ANSWER, encode};
use link::id::ConsumerName;
use link::iot::limits::fits;
use link::mqtt::{PublishError, State};
use link::order::Version;
use link::telemetry::clip;
use tokio::task::yield_now;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::history::Ahead;
use super::log::DeliveryLine;
use super::status_requests::RequestCause;
use super::{Context, event, history};
use crate::store::{AgentVersion, Orphan, Store, StoreError};

mod parts;

pub(super) use parts::{Listed, forget_old, listed};

/// Answers a whole spec resync request that came at `came`. Done again after a failure it does the same.
///
/// # Errors
/// The store failed.
pub(super) async fn answer<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
    held: &[HeldVersion],
    came: Timestamp,
) -> Result<(), StoreError> {
    reconcile(context, consumer, held, came).await?;
    // An agent that asks has just subscribed: it was not there for what this bridge asked when it subscribed.
    context
        .requests(consumer)
        .want(consumer, RequestCause::Agent, Instant::now());
    Ok(())
}

async fn reconcile<S: Store>(
    context: &Context<S>,
    consumer: &ConsumerName,
    held: &[HeldVersion],
    came: Timestamp,
) -> Result<(), StoreError> {
    let ours = context.store.versions_of(consumer).await?;
    let known: HashSet<&str> = ours.iter().map(|bundle| bundle.id.as_str()).collect();
    let holds: HashMap<&str, Version> = held
        .iter()
        .map(|work| (work.resource_id.as_str(), work.resource_version))
        .collect();
    let ahead: Vec<_> = ours
        .iter()
        .filter_map(|bundle| {
            let held = *holds.get(bundle.id.as_str())?;
            let ahead = || Ahead {
                id: bundle.id.clone(),
                held,
                stored: bundle.version,
            };
            (held > bundle.version).then(|| (ahead(), bundle.created_at))
        })
        .collect();
    let compare = ours
        .iter()
        .map(|bundle| AgentVersion {
            id: bundle.id.clone(),
            version: holds
                .get(bundle.id.as_str())
                .copied()
                .unwrap_or(Version::UNVERSIONED),
        })
        .collect();
    let resent = context.store.request_resend(consumer, compare).await?;
    // A list that waited for its turn may name one of the same id that was deleted meanwhile: the next list tells.
    let (ahead, newer): (Vec<_>, Vec<_>) = ahead.into_iter().partition(|(_, made)| *made <= came);
    if !newer.is_empty() {
        let requests = context.requests(consumer);
        requests.want(consumer, RequestCause::Stale, Instant::now());
    }
    if !ahead.is_empty() {
        let ahead = ahead.into_iter().map(|(ahead, _)| ahead).collect();
        history::raise(context, consumer, ahead).await?;
    }
    let foreign: Vec<String> = holds
        .keys()
        .filter(|id| !known.contains(*id))
        .map(|id| (*id).to_owned())
        .collect();
    let gone = if foreign.is_empty() {
        Vec::new()
    } else {
        context.store.gone(consumer, foreign).await?
    };
    // A work this bridge does not know may be all that is left of a lost or older store: silence is not a deletion
    // (docs/ARCHITECTURE.md, invariant P). Maestro's rule, to delete it if any other bundle is known, has to be asked for.
    let unwanted = context.config.delete_unknown_works
        && !known.is_empty()
        && !gone.is_empty()
        && !history::lost_some(context, consumer).await?;
    // Nor is it known while it is being deleted there.
    let foreign_left = gone.iter().any(|work| !work.deleted_here);
    let (orphans, unknown): (Vec<_>, Vec<_>) = gone
        .into_iter()
        .partition(|work| work.deleted_here || unwanted);
    if let Some(held_back) = context.log.admit(DeliveryLine::Answered, Some(consumer)) {
        info!(%consumer, held = held.len(), stored = ours.len(), resent, orphans = orphans.len(), unknown = unknown.len(), held_back, "Answered a resync");
    }
    let works: Vec<Orphan> = orphans
        .into_iter()
        .map(|work| Orphan {
            version: holds
                .get(work.id.as_str())
                .copied()
                .unwrap_or(Version::UNVERSIONED),
            deleted_here: work.deleted_here,
            id: work.id,
        })
        .collect();
    let refused = if works.is_empty() {
        0
    } else {
        context.store.add_orphans(consumer, works).await?
    };
    if refused > 0
        && let Some(held_back) = context
            .log
            .admit(DeliveryLine::TooManyOrphans, Some(consumer))
    {
        warn!(%consumer, refused, held_back, "An agent holds more works to be deleted than can wait; the next resync deletes the rest");
    }
    if !foreign_left {
        history::clear_foreign_works(context, consumer, came).await?;
    }
    if !unknown.is_empty() {
        history::note_foreign_works(context, consumer).await?;
        context.metrics.unknown_works.inc_by(unknown.len() as u64);
        let mut ids: Vec<&str> = unknown.iter().map(|work| work.id.as_str()).collect();
        ids.sort_unstable();
        let shown: Vec<_> = ids.iter().take(SHOWN_IDS).map(|id| clip(id, 80)).collect();
        if let Some(held_back) = context
            .log
            .admit(DeliveryLine::UnknownWorks, Some(consumer))
        {
            warn!(
                %consumer,
                works = unknown.len(),
                first = shown.join(", "),
                held_back,
                hint = "post them again under their ids to keep them; or delete them then",
                "The agent holds works this bridge neither knows nor ever deleted, as far as its database can tell; they are left alone"
            );
        }
    }
    Ok(())
}

/// Asks the consumers of one session for the statuses that differ from the stored ones: all of them after each fresh
/// subscription of the session on which their statuses come and when a new epoch of the store has begun, one that said
/// what it holds after that.
///
/// Nobody is asked while that session is not there: what is answered then may reach nobody, and the agent counts it as
/// told.
pub(super) async fn ask_for_statuses<S: Store>(
    context: Context<S>,
    index: usize,
    drain: CancellationToken,
) {
    let mut state = context.pool.at(context.config.listener(index)).state();
    let mut seen = 0;
    loop {
        let newer = |state: &State| {
            state.epoch().is_some_and(|epoch| epoch > seen) || matches!(state, State::Closed)
        };
        let due = context.requests[index].next_due();
        let ready = state.borrow().is_ready();
        let due = due.filter(|_| ready);
        let reached = tokio::select! {
            () = drain.cancelled() => return,
            reached = state.wait_for(newer) => match reached.map(|state| state.clone()) {
                Ok(State::Ready { epoch, resumed }) => Some(Some((epoch, resumed))),
                _ => Some(None),
            },
            () = context.requests[index].changed() => None,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
        };
        let reached = match reached {
            // The session was shut down: nobody can be asked any more.
            Some(None) => return drain.cancelled().await,
            reached => reached.flatten(),
        };
        let work = async {
            if let Some((epoch, resumed)) = reached {
                // A session the broker kept missed nothing, unless a connection in between went by unseen, or a process.
                if seen == 0 || !resumed || epoch != seen + 1 {
                    want_all(&context, index).await;
                }
            }
            let ready = state.borrow().is_ready();
            if ready && context.requests[index].take_everyone() {
                want_all(&context, index).await;
            }
            if ready
                && let Some((consumer, cause)) = context.requests[index].take_due(Instant::now())
            {
                ask(&context, &consumer, cause).await;
            }
        };
        if drain.run_until_cancelled(work).await.is_none() {
            return;
        }
        if let Some((epoch, _)) = reached {
            seen = epoch;
        }
    }
}

/// Has everybody asked whenever another replica went and this one is to ask: its session of the shared subscription may have
/// lost what anybody sent. And once more when the broker has given up connection and session as well: until then it may
/// have gone on giving statuses to a process that is gone, paused or out of reach.
pub(super) async fn ask_for_others<S: Store>(context: Context<S>, drain: CancellationToken) {
    let mut losses = context.config.ownership.losses();
    let work = async {
        let mut noticed = None;
        loop {
            tokio::select! {
                () = losses.changed() => {
                    noticed = Some(Instant::now() + context.config.broker_patience);
                }
                () = sleep_until(noticed.unwrap_or_else(Instant::now)), if noticed.is_some() => {
                    noticed = None;
                }
            }
            want_all(&context, 0).await;
        }
    };
    drain.run_until_cancelled(work).await;
}

async fn want_all<S: Store>(context: &Context<S>, index: usize) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST, Duration::MAX);
    let everyone = loop {
        match context.store.consumer_names().await {
            Ok(everyone) => break everyone,
            Err(error) => {
                if let Some(held_back) = context.log.admit(DeliveryLine::Store, None) {
                    warn!(
                        held_back,
                        "Could not read whom to ask for statuses yet: {}",
                        chain(&error)
                    );
                }
                sleep(backoff.next_jittered(Duration::ZERO)).await;
            }
        }
    };
    let now = Instant::now();
    // Of a shared subscription each session may have lost what anybody sent.
    let shared = context.config.scheme.share().is_some();
    for (number, consumer) in everyone.into_iter().enumerate() {
        if number % AT_A_STRETCH == AT_A_STRETCH - 1 {
            yield_now().await;
        }
        if shared || context.pool.index_of(&consumer) == index {
            context
                .requests(&consumer)
                .want(&consumer, RequestCause::Subscribed, now);
        }
    }
}

async fn ask<S: Store>(context: &Context<S>, consumer: &ConsumerName, cause: RequestCause) {
    let requests = context.requests(consumer);
    let hashes = match context.store.status_hashes_of(consumer).await {
        Ok(hashes) => hashes,
        Err(error) => {
            if let Some(held_back) = context.log.admit(DeliveryLine::Store, None) {
                warn!(%consumer, held_back, "Could not read the statuses of a consumer yet: {}", chain(&error));
            }
            return requests.failed(consumer, cause, Instant::now());
        }
    };
    let hashes = hashes
        .into_iter()
        .map(|(resource_id, hash)| HeldStatus {
            resource_id,
            status_hash: hash.unwrap_or_else(|| EMPTY_HASH.into()),
        })
        .collect();
    let now = context.clock.now();
    for part in split(hashes) {
        debug!(%consumer, bundles = part.len(), "Asking for statuses");
        let mut event = event::status_request(&context.config.source, consumer, part, now);
        // Our agent reports of itself to whoever says that it listens; a Go agent ignores it.
        let wanted = (AGENT_REPORTS.into(), AGENT_REPORTS_VERSION.into());
        event.extensions.extend([wanted]);
        if cause != RequestCause::Subscribed {
            // Our agent would answer a request without it by saying what it holds, once more.
            event.extensions.insert(RESYNC_ANSWER.into(), "true".into());
        }
        let message = encode(&event, context.topic(consumer));
        if let Err(misfit) = fits(&message) {
            if let Some(held_back) = context.log.admit(DeliveryLine::Ask, Some(consumer)) {
                warn!(%consumer, held_back, "Could not ask a consumer for some of its statuses: {misfit}");
            }
            continue;
        }
        let sent = async { context.pool.of(consumer).publish(message).await?.await };
        if let Err(error) = sent.await {
            // One consumer whose topic is refused must not keep the others from being asked.
            if let Some(held_back) = context.log.admit(DeliveryLine::Ask, Some(consumer)) {
                warn!(%consumer, held_back, "Could not ask a consumer for its statuses: {}", chain(&error));
            }
            if error.is_retryable() && error != PublishError::Closed {
                requests.failed(consumer, cause, Instant::now());
            }
            return;
        }
    }
}

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

// A millisecond's work: others of this thread come to their turn.
const AT_A_STRETCH: usize = 1_000;

// Enough to find them by, few enough for one line.
const SHOWN_IDS: usize = 5;
