//! Takes a numbered slot among the replicas: client ids are made from it, so no other replica has them.

use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use link::admin::Check;
use link::error::{Hint, chain};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::{ANSWER, ReplicaOptions, TICK, TTL};
use crate::store::{Free, Instance, LeaseStore, Replica, Slot, StoreError};

/// Another process has this one's slot, and so its client ids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "slot {slot} of this replica was taken by {}: it was not renewed for more than {} s",
    .to.as_ref().map_or_else(|| "another process".into(), |name| format!("`{name}`")), TTL.as_secs()
)]
pub struct SlotLost {
    /// The slot.
    pub slot: u16,
    /// Who has it, as people know it.
    pub to: Option<String>,
}

// === impl SlotLost ===

impl Hint for SlotLost {
    fn hint(&self) -> Option<String> {
        Some("start it again: it takes a free slot; it had been stopped, or could not reach the database".into())
    }
}

/// Takes a slot, however long that takes; one that has expired only where none is free and after some time of waiting. The
/// check says what it waits for.
pub(super) async fn take(
    leases: &impl LeaseStore,
    options: &ReplicaOptions,
    check: &Check,
) -> Replica {
    let instance = Instance::random();
    let mut said = String::new();
    // Since when the store has answered without a failure.
    let mut answered: Option<Instant> = None;
    loop {
        let asked = Instant::now();
        // After an outage of all, those whose slots have expired come back to them within that time.
        let free = match answered {
            Some(since) if asked >= since + TTL => Free::Expired,
            _ => Free::Unheld,
        };
        let taking = leases.take_slot(&instance, &options.name, options.slots, free, TTL);
        let taken = in_time("take a slot", (asked, ANSWER), taking).await;
        answered = taken.is_ok().then(|| answered.unwrap_or(asked));
        let problem = match taken {
            Ok(Slot::Taken(slot)) => {
                check.ok();
                info!(
                    slot,
                    instance = instance.as_str(),
                    "This replica has a slot"
                );
                return Replica {
                    slot,
                    instance,
                    name: options.name.clone(),
                };
            }
            Ok(Slot::Full(replicas)) => full(options.slots, &replicas),
            Err(error) => format!("the slot could not be taken: {}", chain(&error)),
        };
        if problem != said {
            warn!("This replica waits for a slot: {problem}");
        }
        check.failing(problem.as_str());
        said = problem;
        sleep(TICK).await;
    }
}

fn full(slots: u16, replicas: &[Replica]) -> String {
    let mut text = format!("no free slot of {slots}: held by ");
    for (index, replica) in replicas.iter().take(SHOWN).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}`{}`", replica.name);
    }
    if let Some(more) = replicas.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = write!(text, " and {more} more");
    }
    text.push_str("; hint: run fewer replicas, or raise `--slots` and allow their client ids in the IoT policy");
    text
}

/// A step that the store does not answer within `limit` of the moment at which its work began has failed.
pub(super) async fn in_time<T>(
    operation: &'static str,
    (began, limit): (Instant, Duration),
    step: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match timeout_at(began + limit, step).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Deadline { operation, limit }),
    }
}

// Enough to see what they are.
const SHOWN: usize = 8;
