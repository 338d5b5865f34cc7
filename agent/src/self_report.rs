//! Tells a bridge what this agent is and which spec events it refused, where the bridge has asked for that
//! (docs/PROTOCOL.md, what an agent reports of itself).
//!
//! Without it a refused event is known to this process's log alone, and "idle" cannot be told from "away".
//!
//! **Invariant:** statuses go first: nothing is reported here while some wait, for as long as `STATUSES_FIRST` at most.
//! **Invariant:** a source learns of its own works and its own refused events only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use link::clock::Clock;
use link::event::agent_report::{AgentReport, HeldWorks, REPORT_INTERVAL};
use link::event::{EXTENSIONS, encode};
use link::id::ConsumerName;
use link::supervise::{Restarts, restarting};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::metrics::{Metrics, ResultCode};
use crate::report::ReportQueue;
use crate::uplink::{Subscription, Uplink};
use crate::work::Store;

mod about;
mod pace;
mod register;

pub use about::{About, VersionOf};
pub use register::{Register, SeenEvent};

use pace::Pace;

/// What reporting of itself needs from the rest of the agent.
pub struct SelfReport<S, U> {
    /// What is held.
    pub store: S,
    /// Where reports go.
    pub uplink: U,
    /// Statuses that go first.
    pub reports: Arc<ReportQueue>,
    /// Who wants reports, and what was refused.
    pub register: Arc<Register>,
    /// What this agent is.
    pub about: About,
    /// The consumer this agent is.
    pub consumer: ConsumerName,
    /// The CloudEvents source of this agent.
    pub agent: String,
    /// The topic of this agent's events.
    pub topic: String,
    /// Counters.
    pub metrics: Metrics,
    /// Wall clock.
    pub clock: Clock,
    /// Since when the subscription is in force; of this module.
    pub connected: Connected,
}

/// Since when the subscription is in force.
#[derive(Debug, Default)]
pub struct Connected(Mutex<Option<(Subscription, Timestamp)>>);

// === impl SelfReport ===

impl<S: Store, U: Uplink> SelfReport<S, U> {
    /// Runs until `drain` fires.
    pub async fn run(self, drain: CancellationToken, restarts: Restarts) {
        let this = Arc::new(self);
        restarting("self-report", &restarts, &drain, || {
            let (this, drain) = (Arc::clone(&this), drain.clone());
            async move {
                drain.run_until_cancelled(this.watch()).await;
            }
        })
        .await;
    }

    async fn watch(&self) {
        let mut subscription = self.uplink.subscription();
        let mut identity = self.about.identity.clone();
        let mut pace = Pace::default();
        loop {
            let now = *subscription.borrow_and_update();
            if self.connected.note(now, self.clock.now()) {
                pace.wanted(Instant::now());
            }
            let due = pace.due().filter(|_| now.active);
            let certified = async {
                match &mut identity {
                    Some(identity) => identity.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = subscription.changed() => if changed.is_err() { return },
                () = self.register.changed() => pace.wanted(Instant::now()),
                changed = certified => match changed {
                    Ok(()) => pace.wanted(Instant::now()),
                    // The watcher has ended with the process.
                    Err(_) => identity = None,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    // Long waits are made of what changes, not of what has changed already.
                    let sent = tokio::select! {
                        sent = self.report_to_all() => sent,
                        _ = subscription.changed() => continue,
                    };
                    match sent {
                        Some(done) => pace.reported(Instant::now(), done),
                        None => pace = Pace::default(),
                    }
                }
            }
        }
    }

    /// Reports to every source that wants it; whether the broker has taken all or would never take them. `None` where nobody
    /// wants it.
    async fn report_to_all(&self) -> Option<bool> {
        let wanting = self.register.wanting();
        if wanting.is_empty() {
            return None;
        }
        drop(timeout(STATUSES_FIRST, self.reports.quiet()).await);
        let kubernetes = self.about.kubernetes_version(Instant::now()).await;
        let mut all = true;
        for source in wanting {
            let report = self.report(&source, kubernetes.clone());
            all &= self.send(&source, report).await;
        }
        Some(all)
    }

    fn report(&self, source: &str, kubernetes_version: Option<String>) -> AgentReport {
        let (refusals, truncated) = self.register.refusals(source, self.clock.now());
        let entries = self.store.index().entries();
        let works = entries
            .iter()
            .filter(|(_, entry)| &*entry.source == source)
            .map(|(id, entry)| (id.as_str(), entry.version));
        AgentReport {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: link::cli::commit().into(),
            extensions: EXTENSIONS.iter().map(|name| (*name).into()).collect(),
            started_at: self.about.started_at,
            connected_at: self.connected.since(),
            certificate: self.about.certificate(),
            target: self.about.target,
            kubernetes_version,
            works: HeldWorks::of(works),
            refusals,
            truncated,
        }
    }

    /// Whether it need not be sent again before the next one.
    async fn send(&self, source: &str, report: AgentReport) -> bool {
        let event = report.event(&self.agent, &self.consumer, source, self.clock.now());
        let message = encode(&event, &self.topic);
        let (outcome, done) = match self.uplink.publish(message).await {
            Ok(published) if published.matched => (ResultCode::Success, true),
            // Who subscribes asks anew.
            Ok(_) => (ResultCode::NoSubscribers, true),
            Err(failure) if failure.retryable => {
                debug!(source, error = %failure, "The report of this agent waits for another try");
                (ResultCode::Retry, false)
            }
            Err(failure) => {
                warn!(source, error = %failure, "The report of this agent cannot be sent; the next one is tried again");
                (ResultCode::Failure, true)
            }
        };
        self.metrics.self_reported(outcome);
        done
    }
}

// === impl Connected ===

impl Connected {
    /// Takes how the subscription stands; whether it has just come into force.
    fn note(&self, now: Subscription, at: Timestamp) -> bool {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = since.as_ref().is_some_and(|(known, _)| *known == now);
        if !now.active {
            *since = None;
        } else if !known {
            *since = Some((now, at));
        }
        now.active && !known
    }

    fn since(&self) -> Option<Timestamp> {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|(_, at)| at)
    }
}

// As long as 10 000 statuses take at IoT Core's 100 a second; who never stops sending them still reports.
const STATUSES_FIRST: Duration = Duration::from_secs(100);
