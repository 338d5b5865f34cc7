//! What a candidate has observed of the Lease, and when by its own clock.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;
use tokio::time::Instant;

/// The Lease as it was last seen. The times in it are another machine's and only compared with each other.
#[derive(Debug)]
pub(super) struct LeaseObservation {
    /// What we promise ourselves, and take others to promise who do not say.
    duration: Duration,
    lease: Option<Lease>,
    /// Until when the holder that was seen may believe that it leads, whatever became of the Lease since.
    held_until: Option<Instant>,
}

// === impl LeaseObservation ===

impl LeaseObservation {
    pub(super) fn new(duration: Duration) -> Self {
        Self {
            duration,
            lease: None,
            held_until: None,
        }
    }

    /// Takes note of the Lease; `None` when there is none.
    pub(super) fn note(&mut self, lease: Option<Lease>, now: Instant) {
        if let Some(new) = &lease {
            let renewed = self.lease.as_ref().is_none_or(|old| old.spec != new.spec);
            if renewed {
                self.held_until = holder(new).map(|_| now + self.promise(new));
            }
        }
        self.lease = lease;
    }

    /// Who holds the Lease.
    pub(super) fn holder(&self) -> Option<&str> {
        holder(self.lease.as_ref()?)
    }

    /// When the Lease may be taken by whoever `may_follow` a holder at once. A Lease that somebody deleted counts as held
    /// until what was seen of it has run out.
    pub(super) fn free_at(&self, may_follow: impl FnOnce(&str) -> bool, now: Instant) -> Instant {
        match self.held_until {
            Some(until) if !self.holder().is_some_and(may_follow) => until.max(now),
            _ => now,
        }
    }

    /// The Lease with `identity` as its holder.
    pub(super) fn taken(&self, name: &str, identity: &str, at: Timestamp) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let before = lease.spec.take().unwrap_or_default();
        let same = before.holder_identity.as_deref() == Some(identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        lease.spec = Some(LeaseSpec {
            acquire_time: before.acquire_time.filter(|_| same).or(Some(MicroTime(at))),
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            lease_transitions: Some(if same {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            renew_time: Some(MicroTime(at)),
            ..before
        });
        lease
    }

    /// How long after a renewal the holder may believe that it leads.
    fn promise(&self, lease: &Lease) -> Duration {
        let declared = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds);
        declared
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.duration, Duration::from_secs)
    }
}

/// Who holds a Lease; a released one has no holder.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(30);

    fn lease(holder: &str, renewed: i64) -> Lease {
        let at = Timestamp::from_second(renewed).unwrap();
        LeaseObservation::new(DURATION).taken("lease", holder, at)
    }

    fn me(holder: &str) -> bool {
        holder == "me"
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn lease_nobody_holds_is_free() {
        let start = Instant::now();
        let mut observed = LeaseObservation::new(DURATION);
        assert_eq!(observed.free_at(me, start), start);
        observed.note(None, start);
        assert_eq!(observed.free_at(me, start), start);
        observed.note(Some(lease("you", 1)), start);
        let mut released = lease("you", 2);
        released.spec.as_mut().unwrap().holder_identity = None;
        observed.note(Some(released), at(start, 1));
        assert_eq!(observed.free_at(me, at(start, 1)), at(start, 1));
    }

    #[test]
    fn only_what_changes_counts_and_no_remote_clock() {
        let start = Instant::now();
        let mut observed = LeaseObservation::new(DURATION);
        // Renewed in 1970, as far as its holder's clock is concerned.
        observed.note(Some(lease("you", 1)), start);
        assert_eq!(observed.free_at(me, start), at(start, 30));
        observed.note(Some(lease("you", 1)), at(start, 20));
        assert_eq!(observed.free_at(me, at(start, 20)), at(start, 30));
        observed.note(Some(lease("you", 2)), at(start, 29));
        assert_eq!(observed.free_at(me, at(start, 29)), at(start, 59));
    }

    #[test]
    fn promise_of_the_holder_counts_not_ours() {
        let start = Instant::now();
        let mut observed = LeaseObservation::new(DURATION);
        let mut long = lease("you", 1);
        long.spec.as_mut().unwrap().lease_duration_seconds = Some(90);
        observed.note(Some(long), start);
        assert_eq!(observed.free_at(me, start), at(start, 90));
    }

    #[test]
    fn deleted_lease_is_not_free_before_its_holder_would_stop() {
        let start = Instant::now();
        let mut observed = LeaseObservation::new(DURATION);
        observed.note(Some(lease("you", 1)), start);
        observed.note(None, at(start, 1));
        assert_eq!(observed.free_at(me, at(start, 1)), at(start, 30));
    }

    #[test]
    fn own_lease_is_taken_up_again_without_a_transition() {
        let start = Instant::now();
        let mut observed = LeaseObservation::new(DURATION);
        observed.note(Some(lease("me", 1)), start);
        assert_eq!(observed.free_at(me, start), start);
        let again = observed.taken("lease", "me", Timestamp::from_second(9).unwrap());
        let spec = again.spec.unwrap();
        assert_eq!(spec.lease_transitions, Some(1));
        assert!(spec.acquire_time < spec.renew_time);
        let other = observed.taken("lease", "other", Timestamp::from_second(9).unwrap());
        assert_eq!(other.spec.unwrap().lease_transitions, Some(2));
    }
}
