//! Which of several agents of one consumer works: the one that holds a Lease.
//!
//! A leader renews the Lease, and stops by itself when it could not for [`Timing::renew_deadline`], counted from when it
//! last *asked*. A candidate takes the Lease over when it has *seen* no renewal for [`Timing::duration`]. The first span
//! is shorter than the second and both are measured by the watcher's own monotonic clock, so that clocks that differ do
//! no harm; the API server lets only one of several takers win. Who is certainly dead (`identity.rs`) is not waited for.
//! What cannot be had: a process that is stopped between looking at the clock and writing to the cluster writes late.

use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use link::admin::Check;
use link::backoff::Backoff;
use link::clock::Clock;
use link::shutdown::Drain;
use prometheus::{IntGauge, Registry};
use tokio::time::{Instant, error::Elapsed, sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::error_message;

use self::identity::ProcessIdentity;
use self::leadership::LeaseRenewer;
use self::observation::LeaseObservation;

mod identity;
mod leadership;
mod observation;

pub use self::leadership::Leadership;

/// Which Lease, and who wants it.
#[derive(Clone, Debug)]
pub struct ElectionConfig {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease; one per consumer.
    pub name: String,
    /// A name of this process that no other *running* one has, if there is such a name: a process that comes back under
    /// the name of one that is gone (a container that was started again in its pod) goes on at once. So does one on the
    /// machine of the one that is gone, whatever it is called.
    pub name_of_process: Option<String>,
    /// How long things take.
    pub timing: Timing,
}

/// How long things take in an election; all of it follows from one duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    seconds: u32,
}

/// A candidate.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    identity: ProcessIdentity,
    timing: Timing,
    leader: IntGauge,
    clock: Clock,
    check: Option<Check>,
}

/// Why an attempt did not end in leadership.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error("somebody else was faster")]
    Outrun,
    #[error("{}", error_message(.0))]
    Refused(kube::Error),
    #[error("the Kubernetes API server did not answer in time")]
    Late(#[from] Elapsed),
}

// === impl ElectionConfig ===

impl ElectionConfig {
    /// A candidate of this election; registers the gauge `agent_leader`.
    ///
    /// # Errors
    /// When there is such a gauge already.
    pub fn build(
        self,
        client: Client,
        registry: &Registry,
        clock: Clock,
    ) -> Result<Election, prometheus::Error> {
        let leader = IntGauge::new("agent_leader", "Whether this process may work (0 or 1)")?;
        registry.register(Box::new(leader.clone()))?;
        Ok(Election {
            leases: Api::namespaced(client, &self.namespace),
            name: self.name,
            identity: ProcessIdentity::of_this_process(self.name_of_process.as_deref()),
            timing: self.timing,
            leader,
            clock,
            check: None,
        })
    }
}

// === impl Timing ===

impl Timing {
    /// Everything follows from how long a Lease is valid, in whole seconds from 3 s on.
    pub fn new(duration: Duration) -> Self {
        let seconds = duration.as_secs().clamp(3, 3600);
        Self {
            seconds: u32::try_from(seconds).unwrap_or(3600),
        }
    }

    /// How long a candidate that sees no renewal waits before it takes over.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// How long a leader that cannot renew goes on.
    pub fn renew_deadline(self) -> Duration {
        self.duration() * 2 / 3
    }

    /// How often a leader renews.
    pub fn renew_every(self) -> Duration {
        self.duration() / 3
    }

    /// How long after a failure the next attempt is made at the latest, and how long a candidate's attempt may take.
    pub fn retry(self) -> Duration {
        self.duration() / 6
    }

    fn pause(self) -> Duration {
        Backoff::new(self.retry(), self.retry(), Duration::MAX).next_jittered(Duration::ZERO)
    }
}

impl Default for Timing {
    /// A Lease of 30 s: the leader asks six times a minute, and a standby follows a leader that died within 30 s.
    fn default() -> Self {
        Self { seconds: 30 }
    }
}

// === impl Election ===

impl Election {
    /// Shows in `check` whether this process could lead: it passes while another one verifiably holds the Lease and while
    /// this one renews it, and fails while the Lease cannot be read, taken or renewed.
    #[must_use]
    pub fn shown_by(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Waits until this process leads; `None` when `drain` was requested before.
    ///
    /// Alone, it costs two requests. While another leads it costs a watch, over which a release is seen at once;
    /// without the right to watch Leases it is seen when the Lease runs out.
    pub async fn acquire(&self, drain: &Drain) -> Option<Leadership> {
        tokio::select! {
            biased;
            () = drain.requested() => None,
            leadership = self.campaign() => Some(leadership),
        }
    }

    async fn campaign(&self) -> Leadership {
        let mut observed = LeaseObservation::new(self.timing.duration());
        while let Err(missed) = self.read_lease(&mut observed).await {
            warn!(lease = %self.name, error = %missed, "Cannot read the Lease of the election");
            show(self.check.as_ref(), Err(&missed));
            sleep(self.timing.pause()).await;
        }
        let changes = watch_object(self.leases.clone(), &self.name).default_backoff();
        let mut changes = std::pin::pin!(changes);
        let mut holder = None;
        let mut not_before = Instant::now();
        loop {
            let free_at =
                observed.free_at(|holder| self.identity.may_follow(holder), Instant::now());
            if free_at > Instant::now() {
                // Somebody else may work, and this process sees it.
                show(self.check.as_ref(), Ok(()));
            }
            if observed.holder().is_some() && observed.holder() != holder.as_deref() {
                holder = observed.holder().map(str::to_owned);
                info!(lease = %self.name, holder, "Another process leads; standing by");
            }
            tokio::select! {
                biased;
                () = sleep_until(free_at.max(not_before)) => match self.take(&observed).await {
                    Ok(renewer) => return Leadership::begin(renewer),
                    Err(missed) => {
                        if !matches!(missed, Missed::Outrun) {
                            warn!(lease = %self.name, error = %missed, "Cannot take the Lease of the election");
                            show(self.check.as_ref(), Err(&missed));
                            not_before = Instant::now() + self.timing.pause();
                        }
                        if let Err(missed) = self.read_lease(&mut observed).await {
                            warn!(lease = %self.name, error = %missed, "Cannot read the Lease of the election");
                            show(self.check.as_ref(), Err(&missed));
                            not_before = Instant::now() + self.timing.pause();
                        }
                    }
                },
                change = changes.next() => match change {
                    Some(Ok(lease)) => observed.note(lease, Instant::now()),
                    Some(Err(error)) => {
                        warn!(lease = %self.name, %error, "Cannot watch the Lease of the election");
                    }
                    // Never ends; if it did, the wait above would still end.
                    None => sleep_until(free_at.max(not_before)).await,
                },
            }
        }
    }

    async fn read_lease(&self, observed: &mut LeaseObservation) -> Result<(), Missed> {
        let lease = timeout(self.timing.retry(), self.leases.get_opt(&self.name))
            .await?
            .map_err(Missed::Refused)?;
        observed.note(lease, Instant::now());
        Ok(())
    }

    /// Writes our name into the Lease, provided that nobody wrote since it was seen.
    async fn take(&self, observed: &LeaseObservation) -> Result<LeaseRenewer, Missed> {
        let wanted = observed.taken(&self.name, self.identity.text(), self.clock.now());
        let params = PostParams::default();
        let asked = Instant::now();
        let replaces = wanted.metadata.resource_version.is_some();
        let write = async {
            if replaces {
                self.leases.replace(&self.name, &params, &wanted).await
            } else {
                self.leases.create(&params, &wanted).await
            }
        };
        match timeout(self.timing.retry(), write).await? {
            Ok(lease) => Ok(LeaseRenewer {
                leases: self.leases.clone(),
                lease,
                identity: self.identity.text().clone(),
                timing: self.timing,
                clock: self.clock.clone(),
                leader: self.leader.clone(),
                check: self.check.clone(),
                asked,
            }),
            // What is to be replaced is gone, or is not as it was seen, or what is to be made is there.
            Err(kube::Error::Api(status))
                if status.code == 409 || (replaces && status.code == 404) =>
            {
                Err(Missed::Outrun)
            }
            Err(error) => Err(Missed::Refused(error)),
        }
    }
}

/// Says how it stands with the Lease, and what to do about it.
fn show(check: Option<&Check>, outcome: Result<(), &dyn std::fmt::Display>) {
    match (check, outcome) {
        (Some(check), Ok(())) => check.ok(),
        (Some(check), Err(error)) => check.failing(format!(
            "the Lease of the election cannot be had: {error}; hint: the agent needs get, watch, create and update on leases in its namespace"
        )),
        (None, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kube::client::Body;
    use serde_json::json;
    use tower::service_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_candidate_without_a_namespace_asks_again_with_pauses() {
        let asked = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&asked);
        let service = service_fn(move |request: http::Request<Body>| {
            if request.method() == http::Method::POST {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound",
                "message": "namespaces \"agent\" not found",
            });
            let body = Body::from(status.to_string().into_bytes());
            std::future::ready(http::Response::builder().status(404).body(body))
        });
        let config = ElectionConfig {
            namespace: "agent".into(),
            name: "l".into(),
            name_of_process: None,
            timing: Timing::default(),
        };
        let client = Client::new(service, "agent");
        let election = config.build(client, &Registry::new(), Clock::system());
        let campaign = election.unwrap();
        let campaign = timeout(Duration::from_secs(60), campaign.campaign());
        assert!(campaign.await.is_err());
        let pause = Timing::default().retry();
        let most = 60 / usize::try_from(pause.as_secs() / 2).unwrap() + 1;
        let asked = asked.load(Ordering::SeqCst);
        assert!((2..=most).contains(&asked), "{asked}");
    }

    /// What `leader` says after a while with an API server that answers every request with this.
    async fn shown(code: u16, answer: serde_json::Value) -> Option<String> {
        let service = service_fn(move |_: http::Request<Body>| {
            let body = Body::from(answer.to_string().into_bytes());
            std::future::ready(http::Response::builder().status(code).body(body))
        });
        let config = ElectionConfig {
            namespace: "agent".into(),
            name: "l".into(),
            name_of_process: None,
            timing: Timing::default(),
        };
        let checks = link::admin::Checks::new();
        let election = config.build(
            Client::new(service, "agent"),
            &Registry::new(),
            Clock::system(),
        );
        let election = election.unwrap().shown_by(checks.add("leader"));
        let campaign = timeout(Duration::from_secs(20), election.campaign());
        assert!(campaign.await.is_err());
        let report = checks.report(std::time::Instant::now());
        report.checks[0].reason.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_candidate_that_may_not_read_the_lease_is_not_ready_and_one_that_stands_by_is() {
        let forbidden = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": "leases is forbidden",
        });
        let reason = shown(403, forbidden).await.unwrap();
        assert!(reason.contains("leases is forbidden"), "{reason}");
        let held = json!({
            "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
            "metadata": {"name": "l", "namespace": "agent", "resourceVersion": "1"},
            "spec": {"holderIdentity": "somebody else", "leaseDurationSeconds": 30},
        });
        assert_eq!(shown(200, held).await, None);
    }

    #[test]
    fn leader_stops_before_anybody_may_follow() {
        for seconds in [0, 3, 4, 30, 100_000] {
            let timing = Timing::new(Duration::from_secs(seconds));
            assert!(timing.renew_deadline() < timing.duration());
            assert!(timing.renew_every() + timing.retry() < timing.renew_deadline());
        }
        assert_eq!(Timing::default(), Timing::new(Duration::from_secs(30)));
    }
}
