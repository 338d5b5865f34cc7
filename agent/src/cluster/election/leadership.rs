//! Staying the leader, and noticing when that is over.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::PostParams;
use link::admin::Check;
use link::clock::Clock;
use prometheus::IntGauge;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::observation::holder;
use super::{Timing, show};
use crate::cluster::error_message;

/// The right to work, for as long as [`Leadership::lost`] has not completed. Dropping it leaves the Lease to run out;
/// [`Leadership::release`] lets a standby take over at once.
#[must_use = "dropping it at once gives the leadership up"]
pub struct Leadership {
    lost: CancellationToken,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

/// What it takes to stay the leader.
pub(super) struct LeaseRenewer {
    pub(super) leases: Api<Lease>,
    /// As it was last written or read.
    pub(super) lease: Lease,
    pub(super) identity: Arc<str>,
    pub(super) timing: Timing,
    pub(super) clock: Clock,
    pub(super) leader: IntGauge,
    /// Whether it works, for whoever asks.
    pub(super) check: Option<Check>,
    /// When the last successful renewal was asked for.
    pub(super) asked: Instant,
}

/// Shows the leadership, and its end however it ends.
struct Shown(IntGauge);

/// What became of a renewal.
enum Renewal {
    Done,
    /// Nobody knows; worth another attempt.
    Failed,
    /// Somebody else holds the Lease.
    Taken,
}

// === impl Leadership ===

impl Leadership {
    pub(super) fn begin(renewer: LeaseRenewer) -> Self {
        let lost = CancellationToken::new();
        let stop = CancellationToken::new();
        let task = renewer.keep(lost.clone(), stop.clone());
        Self {
            lost,
            stop,
            task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }

    /// Completes when the leadership is over although nobody gave it up: the process must stop working at once.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Gives the leadership up after the last piece of work, so that a standby goes on at once. Takes five seconds at
    /// most; when the API server does not answer, the Lease runs out by itself.
    pub async fn release(self) {
        self.stop.cancel();
        let _ = timeout(RELEASE, self.task).await;
    }
}

// === impl LeaseRenewer ===

impl LeaseRenewer {
    async fn keep(mut self, lost: CancellationToken, stop: CancellationToken) {
        let _shown = Shown::new(&self.leader);
        // Also when the task is aborted or panics.
        let lost = lost.drop_guard();
        let name = self.lease.metadata.name.clone().unwrap_or_default();
        info!(lease = %name, identity = %self.identity, "This process leads");
        show(self.check.as_ref(), Ok(()));
        let mut next = self.asked + self.timing.renew_every();
        loop {
            let deadline = self.asked + self.timing.renew_deadline();
            tokio::select! {
                biased;
                // First, so that a process that slept too long stops instead of asking whether it may go on.
                () = sleep_until(deadline) => {
                    warn!(lease = %name, "Leadership is lost: it could not be renewed in time");
                    return;
                }
                () = stop.cancelled() => {
                    // Given up, not lost.
                    let _ = lost.disarm();
                    self.give_up().await;
                    return;
                }
                () = sleep_until(next) => {}
            }
            let renewal = timeout_at(deadline, self.renew()).await;
            next = match renewal {
                Ok(Renewal::Done) => self.asked + self.timing.renew_every(),
                Ok(Renewal::Failed) | Err(_) => Instant::now() + self.timing.pause(),
                Ok(Renewal::Taken) => {
                    warn!(lease = %name, "Leadership is lost: another process has the Lease");
                    return;
                }
            };
        }
    }

    async fn renew(&mut self) -> Renewal {
        let asked = Instant::now();
        let mut wanted = self.lease.clone();
        if let Some(spec) = &mut wanted.spec {
            spec.renew_time = Some(MicroTime(self.clock.now()));
        }
        match self.write(&wanted).await {
            Ok(lease) => {
                self.lease = lease;
                self.asked = asked;
                show(self.check.as_ref(), Ok(()));
                Renewal::Done
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => self.check().await,
            Err(error) => {
                warn!(error = %error_message(&error), "Cannot renew the Lease of the election");
                show(self.check.as_ref(), Err(&error_message(&error)));
                Renewal::Failed
            }
        }
    }

    /// Looks who wrote: an earlier request of ours that seemed to fail, somebody who only labelled the Lease, or a
    /// successor.
    async fn check(&mut self) -> Renewal {
        let name = self.lease.metadata.name.clone().unwrap_or_default();
        match self.leases.get_opt(&name).await {
            Ok(Some(lease)) if holder(&lease) == Some(&self.identity) => {
                self.lease = lease;
                Renewal::Failed
            }
            Ok(_) => Renewal::Taken,
            Err(error) => {
                warn!(error = %error_message(&error), "Cannot read the Lease of the election");
                show(self.check.as_ref(), Err(&error_message(&error)));
                Renewal::Failed
            }
        }
    }

    async fn give_up(&mut self) {
        for _ in 0..2 {
            let mut wanted = self.lease.clone();
            if let Some(spec) = &mut wanted.spec {
                spec.holder_identity = None;
                spec.renew_time = Some(MicroTime(self.clock.now()));
            }
            match self.write(&wanted).await {
                Ok(_) => {
                    info!(identity = %self.identity, "Gave the leadership up");
                    return;
                }
                // Once more if only the version was old.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    if matches!(self.check().await, Renewal::Taken) {
                        return;
                    }
                }
                Err(error) => {
                    warn!(error = %error_message(&error), "Cannot release the Lease of the election");
                    return;
                }
            }
        }
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        let params = PostParams::default();
        self.leases.replace(name, &params, lease).await
    }
}

// === impl Shown ===

impl Shown {
    fn new(leader: &IntGauge) -> Self {
        leader.set(1);
        Self(leader.clone())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

// Part of the grace a pod has for its end; without an answer by then there will be none.
const RELEASE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use kube::client::Body;
    use tower::service_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_election_dies_leads_no_more() {
        let service = service_fn(|_: http::Request<Body>| {
            let answer = http::Response::builder().status(500);
            std::future::ready(answer.body(Body::empty()))
        });
        let client = kube::Client::new(service, "agent");
        let leader = IntGauge::new("leader", "whether it leads").unwrap();
        let observed = super::super::observation::LeaseObservation::new(Duration::from_secs(30));
        let leadership = Leadership::begin(LeaseRenewer {
            leases: Api::namespaced(client, "agent"),
            lease: observed.taken("lease", "me", jiff::Timestamp::UNIX_EPOCH),
            identity: "me".into(),
            timing: Timing::default(),
            // Asked for the time of the next renewal.
            clock: Clock::from_fn(|| panic!("a clock fails on purpose")),
            leader: leader.clone(),
            check: None,
            asked: Instant::now(),
        });
        leadership.lost().await;
        tokio::task::yield_now().await;
        assert_eq!(leader.get(), 0);
    }
}
