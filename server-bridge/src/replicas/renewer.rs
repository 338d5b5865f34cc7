//! Renews one replica's lease, removes replicas that expired, and brings the buckets to what the plan says.
//!
//! It may die at any point and be made again: what it knows is in the store and in [`Ownership`].

use std::collections::HashMap;
use std::time::Duration;

use link::admin::Check;
use link::error::chain;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::slot::in_time;
use super::{ANSWER, MARGIN, Ownership, RETURN, ROUND, SlotLost, TICK, TTL, plan};
use crate::store::{Hint, Instance as Process, LeaseStore, Renewal, Replica, Roster, StoreError};

/// The task that renews the lease.
pub(super) struct LeaseRenewer<L> {
    leases: L,
    me: Replica,
    ownership: Ownership,
    check: Check,
    /// When it has just come, and after a pause or an outage of its own, this replica does not know whether the others had
    /// one too: until then it takes none of them for gone.
    lenient_until: Instant,
    /// When it has just come: how the leases of those stood that were there. Another one that has renewed since shows that
    /// renewals are possible, and that there was no outage of all that this one came out of.
    found: Option<HashMap<Process, i64>>,
    failing: bool,
}

/// Why a round ended early.
enum Failed {
    /// The store's failure; the next round tries again.
    Store(StoreError),
    /// For good.
    Lost(SlotLost),
}

// === impl LeaseRenewer ===

impl<L: LeaseStore> LeaseRenewer<L> {
    pub(super) fn new(leases: L, me: Replica, ownership: Ownership, check: Check) -> Self {
        Self {
            leases,
            me,
            ownership,
            check,
            lenient_until: Instant::now() + RETURN,
            found: Some(HashMap::new()),
            failing: false,
        }
    }

    /// Runs until `done` is cancelled, and then gives back what is held.
    ///
    /// # Errors
    /// Another process has the slot.
    pub(super) async fn run(mut self, done: &CancellationToken) -> Result<(), SlotLost> {
        if let Some(lost) = self.ownership.lost() {
            return Err(lost);
        }
        let mut hints = self.leases.hints();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = done.cancelled() => break,
                _ = tick.tick() => {}
                () = others_changed(&mut hints) => {}
                () = self.ownership.look() => {}
            }
            match self.round().await {
                Ok(()) => self.succeeded(),
                Err(Failed::Store(error)) => self.failed(&error),
                Err(Failed::Lost(lost)) => {
                    self.ownership.slot_lost(lost.clone());
                    return Err(lost);
                }
            }
        }
        let held = self.ownership.held();
        self.ownership.leave(held);
        if let Err(error) = self.give_back((Instant::now(), ANSWER)).await {
            warn!(
                "The buckets could not be given back and will expire: {}",
                chain(&error)
            );
        }
        Ok(())
    }

    async fn round(&mut self) -> Result<(), Failed> {
        // Counted from before the store counts.
        let asked = Instant::now();
        let mut roster = self.look(asked).await?;
        if self.ownership.sees(&here(&roster)) {
            info!("A replica went, or may have just before this one came");
            self.ownership.others_gone();
        }
        if self.another_renewed(&roster) {
            self.lenient_until = self.lenient_until.min(asked);
        }
        let limit = (asked, ROUND);
        if asked >= self.lenient_until {
            let removing = self.leases.remove_expired(&self.me);
            let gone = in_time("remove expired replicas", limit, removing).await?;
            if gone > 0 {
                info!(gone, "Replicas went without a word");
                self.ownership.others_gone();
                roster = in_time(READ, limit, self.leases.roster()).await?;
                self.ownership.sees(&here(&roster));
            }
        }
        let plan = plan(&self.me.instance, &roster);
        if !plan.take.is_empty() {
            let taking = self.leases.take(&self.me, plan.take);
            let taken = in_time("take buckets", limit, taking).await?;
            let over = taken.iter().filter(|(bucket, _)| {
                let before = &roster.leases[usize::from(bucket.number())];
                before.owner.is_some()
            });
            let over = over.count();
            if !taken.is_empty() {
                info!(buckets = taken.len(), over, "Took buckets");
            }
            self.ownership.took(taken, over);
        }
        if !plan.give.is_empty() {
            self.ownership.leave(plan.give);
        }
        self.give_back(limit).await?;
        Ok(())
    }

    /// Renews the lease and reads who is there and what is owned.
    async fn look(&mut self, asked: Instant) -> Result<Roster, Failed> {
        let limit = (asked, ANSWER);
        if self.ownership.until().is_none_or(|until| until <= asked) {
            // One that cannot read this sends nothing, and is not to keep others from sending in its place.
            in_time(READ, limit, self.leases.roster()).await?;
        }
        match in_time("renew the lease", limit, self.leases.renew(&self.me, TTL)).await? {
            Renewal::Kept => {}
            Renewal::Late => self.lenient(asked),
            Renewal::Lost { to } => {
                let slot = self.me.slot;
                return Err(Failed::Lost(SlotLost { slot, to }));
            }
        }
        let roster = in_time(READ, limit, self.leases.roster()).await?;
        let me = Some(&self.me.instance);
        let mine = roster.leases.iter().filter(|l| l.owner.as_ref() == me);
        self.ownership
            .owns(mine.map(|lease| (lease.bucket, lease.term)));
        // Only now: what was taken from us while we were away is not ours for a moment longer.
        self.ownership.renewed(asked + TTL - MARGIN);
        Ok(roster)
    }

    /// Whether another one has renewed since this one came, which is asked no more after that or after an outage of its own.
    fn another_renewed(&mut self, roster: &Roster) -> bool {
        let Some(found) = &mut self.found else {
            return false;
        };
        let others = roster.replicas.iter().zip(&roster.expires);
        let others = others.filter(|(replica, _)| replica.instance != self.me.instance);
        let mut renewed = false;
        for (replica, expires) in others {
            let first = *found.entry(replica.instance.clone()).or_insert(*expires);
            renewed |= *expires > first;
        }
        if renewed {
            self.found = None;
        }
        renewed
    }

    fn lenient(&mut self, from: Instant) {
        self.found = None;
        self.lenient_until = self.lenient_until.max(from + TTL);
    }

    /// Gives back what nobody works for any more.
    async fn give_back(&self, limit: (Instant, Duration)) -> Result<(), StoreError> {
        let left = self.ownership.left();
        if left.is_empty() {
            return Ok(());
        }
        let giving = self.leases.give_back(&self.me, left.clone());
        in_time("give buckets back", limit, giving).await?;
        info!(buckets = left.len(), "Gave buckets back");
        self.ownership.gave_back(&left);
        Ok(())
    }

    fn succeeded(&mut self) {
        self.check.ok();
        if std::mem::take(&mut self.failing) {
            info!("The lease is kept again");
        }
    }

    fn failed(&mut self, error: &StoreError) {
        self.lenient(Instant::now());
        self.ownership.not_renewed();
        let until = self.ownership.until();
        let left = until.map_or(0, |until| until.duration_since(Instant::now()).as_secs());
        let why = chain(error);
        self.check.failing(match left {
            0 => format!("the lease could not be renewed, nothing is sent until it is: {why}"),
            left => format!("the lease could not be renewed, nothing is sent in {left} s: {why}"),
        });
        if !std::mem::replace(&mut self.failing, true) {
            warn!("The lease could not be renewed: {why}");
        }
    }
}

// === impl Failed ===

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Who is there, in the order of their slots.
fn here(roster: &Roster) -> Vec<Process> {
    let replicas = roster.replicas.iter();
    replicas.map(|replica| replica.instance.clone()).collect()
}

/// Returns when another replica came, went or gave something up. What was missed the next tick finds.
async fn others_changed(hints: &mut Receiver<Hint>) {
    loop {
        match hints.recv().await {
            Ok(Hint::Replicas) => return,
            Ok(Hint::Consumer(_) | Hint::Somebody | Hint::Reported) | Err(RecvError::Lagged(_)) => {
            }
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

const READ: &str = "read who owns which buckets";
