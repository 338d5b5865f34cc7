//! Several bridges on one store share the work of sending: each consumer's lane is in one of them.
//!
//! ```text
//!   slot       a numbered place, taken before the sessions are made: it gives the client ids
//!   renewer    renews this replica's row, removes those that expired, takes and gives back buckets
//!   plan       which buckets to take and to give back; pure
//!   withhold   whether this process may be connected to the broker
//!   ownership  what delivery asks: whose is this consumer, and under which fence is written about it
//! ```
//!
//! **Invariant:** nothing is published for a consumer past the moment at which another replica may take its bucket, as this
//! process's monotonic clock measures it from before the renewal was asked for.
//! **Invariant:** what is written about a publication is refused once the bucket was taken by somebody else
//! ([`crate::store::Fence`]); so two owners for a moment cost a repetition and corrupt nothing.
//! **Invariant:** nothing on the way up waits for a lease; one that has been over for long ends the sessions (`withhold`).

use std::time::Duration;

use link::admin::{Check, Checks};
use link::error::chain;
use link::supervise::{Restarts, restarting};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::store::{LeaseStore, Replica};

mod metrics;
mod ownership;
mod plan;
mod renewer;
mod slot;
mod withhold;

pub use metrics::ReplicaMetrics;
pub use ownership::{Changes, NotOwner, Ownership, Work};
pub use plan::{Plan, plan};
use renewer::LeaseRenewer;
pub use slot::SlotLost;

/// How replicas share a store.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    /// How many there may be at once.
    pub slots: u16,
    /// What people know this one by, such as its pod's name.
    pub name: String,
}

/// A replica that has its slot.
pub struct Membership<L> {
    leases: L,
    me: Replica,
    ownership: Ownership,
    /// The readiness check `leases`.
    check: Check,
    /// The readiness check `slot`.
    slot: Check,
}

// === impl ReplicaOptions ===

impl Default for ReplicaOptions {
    fn default() -> Self {
        Self {
            slots: DEFAULT_SLOTS,
            name: std::env::var("HOSTNAME")
                .unwrap_or_else(|_| format!("process {}", std::process::id())),
        }
    }
}

// === impl Membership ===

impl<L: LeaseStore> Membership<L> {
    /// Waits for a free slot and takes it; `None` when `stop` was cancelled before there was one. Adds the readiness checks
    /// `slot`, which says meanwhile who has the slots, and `leases`.
    pub async fn join(
        leases: L,
        options: &ReplicaOptions,
        metrics: ReplicaMetrics,
        checks: &Checks,
        stop: &CancellationToken,
    ) -> Option<Self> {
        let slot = checks.add("slot");
        let me = stop
            .run_until_cancelled(slot::take(&leases, options, &slot))
            .await?;
        Some(Self {
            leases,
            ownership: Ownership::replica(me.instance.clone(), metrics),
            me,
            check: checks.add("leases"),
            slot,
        })
    }

    /// The number of its slot.
    pub fn slot(&self) -> u16 {
        self.me.slot
    }

    /// What delivery asks.
    pub fn ownership(&self) -> Ownership {
        self.ownership.clone()
    }

    /// Keeps the lease until `done` is cancelled and then gives back what is owned, but not the slot. When another process
    /// has taken the slot, cancels `stop`; [`Membership::lost`] says so then.
    pub async fn keep(
        &self,
        restarts: &Restarts,
        done: &CancellationToken,
        stop: &CancellationToken,
    ) {
        let keeping = restarting("leases", restarts, done, || {
            let renewer = LeaseRenewer::new(
                self.leases.clone(),
                self.me.clone(),
                self.ownership.clone(),
                self.check.clone(),
            );
            let (done, stop, slot) = (done.clone(), stop.clone(), self.slot.clone());
            async move {
                if let Err(lost) = renewer.run(&done).await {
                    slot.failing(lost.to_string());
                    stop.cancel();
                    // Nothing is left to be kept.
                    done.cancelled().await;
                }
            }
        });
        tokio::select! {
            () = keeping => {}
            () = withhold::watch(&self.ownership) => {}
        }
    }

    /// The loss of the slot, if it was lost.
    pub fn lost(&self) -> Option<SlotLost> {
        self.ownership.lost()
    }

    /// Gives the slot back, once its client ids are not used any more.
    pub async fn leave(self) {
        if self.lost().is_some() {
            return;
        }
        let left = tokio::time::timeout(LEAVE_WITHIN, self.leases.leave(&self.me)).await;
        match left {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(
                "The slot could not be given back and will expire: {}",
                chain(&error)
            ),
            Err(_) => warn!("The slot could not be given back in time and will expire"),
        }
    }
}

/// Slots unless told otherwise.
pub const DEFAULT_SLOTS: u16 = 8;

/// Slots at most: so many client ids fit into a policy as patterns.
pub const MAX_SLOTS: u16 = 64;

/// How long a renewal lasts, by the store's clock.
const TTL: Duration = Duration::from_secs(10);

/// How much sooner the owner stops: for publishes that are on their way into the session.
const MARGIN: Duration = Duration::from_secs(2);

/// Between two renewals: two may fail before the lease ends.
const TICK: Duration = Duration::from_secs(2);

/// How long the store may take for a look, which is the renewal and the reading of who is there. One that does not answer
/// leaves time for another before the lease ends: they begin within [`TICK`] and with the end of the first.
const ANSWER: Duration = Duration::from_secs(3);

/// How long a round may take in all. One that takes so long and the look of the next end with the lease at the latest.
const ROUND: Duration = Duration::from_secs(5);
const _: () = assert!(ROUND.as_secs() + ANSWER.as_secs() <= TTL.as_secs() - MARGIN.as_secs());
const _: () = assert!(TICK.as_secs() + 2 * ANSWER.as_secs() <= TTL.as_secs() - MARGIN.as_secs());

/// How long one that has just come takes nobody for gone, unless it sees another one renew: after an outage of all, the others are back by then, each of which
/// may be in an attempt that gets no answer ([`ANSWER`]) and then waits for the next ([`TICK`]).
const RETURN: Duration = Duration::from_secs(6);

const LEAVE_WITHIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
