//! Joins the parts of the agent, and runs and stops them in order.

use std::sync::Arc;
use std::time::Duration;

use link::clock::Clock;
use link::supervise::{Restarts, TaskDied, TaskGroup, restarting};
use tokio_util::sync::CancellationToken;

use crate::applier::Applier;
use crate::applier::OnTrouble;
use crate::health::Health;
use crate::intake::resync::{Arrivals, Resync};
use crate::intake::{ConsumerOf, Intake, Rules, refusal_lines};
use crate::metrics::Metrics;
use crate::queue::WorkQueue;
use crate::reconcile::{Reconciler, WriteConflicts};
use crate::report::{Report, ReportQueue, Reporter};
use crate::self_report::{About, Connected, Register, SelfReport};
use crate::uplink::{Downlink, Uplink};
use crate::work::{MonitoredStore, Store};

/// What the agent is, whatever it is connected to.
pub struct AgentConfig {
    /// Whom to listen to, and as whom.
    pub rules: Rules,
    /// The CloudEvents source of this agent.
    pub agent: String,
    /// Topic of this agent's events.
    pub agent_topic: String,
    /// Topic of this agent's spec resync requests.
    pub resync_topic: String,
    /// Which consumer a topic speaks for.
    pub consumer_of: ConsumerOf,
    /// Why nothing is to be applied or removed, if the agent is paused.
    pub paused: Option<String>,
    /// How often a work is looked at when nothing happens.
    pub period: Duration,
    /// Longest JSON text of one feedback value in bytes.
    pub max_raw_bytes: usize,
    /// Longest JSON text of one status in bytes.
    pub max_status_bytes: usize,
    /// Called for every object that could not be brought to what its work declares.
    pub on_trouble: OnTrouble,
    /// Readiness of the store.
    pub store_health: Health,
    /// Readiness of the target.
    pub target_health: Health,
    /// Whether the source can be asked for what was missed.
    pub resync_health: Health,
    /// What this agent is, for its reports on itself.
    pub about: About,
    /// Counters.
    pub metrics: Metrics,
    /// Counts the tasks that died and were made again.
    pub restarts: Restarts,
    /// Wall clock.
    pub clock: Clock,
}

/// The agent, joined and not yet running.
pub struct Agent<S, T, D, U> {
    intake: Intake<MonitoredStore<S>, D>,
    reconciler: Reconciler<MonitoredStore<S>, T>,
    report: Report<MonitoredStore<S>, U>,
    resync: Resync<MonitoredStore<S>, U>,
    self_report: SelfReport<MonitoredStore<S>, U>,
    queue: Arc<WorkQueue>,
    reports: Arc<ReportQueue>,
    restarts: Restarts,
}

// === impl Config ===

impl AgentConfig {
    /// Joins the parts.
    pub fn build<S: Store, T: Applier, D: Downlink, U: Uplink>(
        self,
        store: S,
        applier: T,
        downlink: D,
        uplink: U,
    ) -> Agent<S, T, D, U> {
        let queue = Arc::new(WorkQueue::new(RETRY_FIRST, RETRY_MAX));
        let reports = Arc::new(ReportQueue::new());
        let arrivals = Arc::new(Arrivals::default());
        let register = Arc::new(Register::default());
        let store = MonitoredStore::new(store, self.store_health);
        let applier = Arc::new(applier);
        let consumer = self.rules.consumer.clone();
        let intake = Intake {
            downlink,
            consumer_of: self.consumer_of,
            rules: self.rules,
            store: store.clone(),
            queue: Arc::clone(&queue),
            reports: Arc::clone(&reports),
            owns: Box::new({
                let applier = Arc::clone(&applier);
                move |id| applier.owns(id)
            }),
            register: Arc::clone(&register),
            arrivals: Arc::clone(&arrivals),
            refusals: refusal_lines(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
        };
        let reconciler = Reconciler {
            store: store.clone(),
            applier,
            queue: Arc::clone(&queue),
            on_status: Box::new({
                let reports = Arc::clone(&reports);
                move |id| reports.add(id)
            }),
            write_conflicts: WriteConflicts::default(),
            on_trouble: self.on_trouble,
            consumer: consumer.clone(),
            paused: self.paused,
            period: self.period,
            max_raw_bytes: self.max_raw_bytes,
            max_status_bytes: self.max_status_bytes,
            health: self.target_health,
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
        };
        let report = Report {
            store: store.clone(),
            uplink: uplink.clone(),
            reporter: Reporter {
                consumer: consumer.clone(),
                agent: self.agent.clone(),
                topic: self.agent_topic.clone(),
                clock: self.clock.clone(),
            },
            reports: Arc::clone(&reports),
            metrics: self.metrics.clone(),
        };
        let self_report = SelfReport {
            store: store.clone(),
            uplink: uplink.clone(),
            reports: Arc::clone(&reports),
            register,
            about: self.about,
            consumer: consumer.clone(),
            agent: self.agent.clone(),
            topic: self.agent_topic,
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            connected: Connected::default(),
        };
        let resync = Resync {
            uplink,
            store,
            consumer,
            agent: self.agent,
            topic: self.resync_topic,
            arrivals,
            health: self.resync_health,
            clock: self.clock,
            metrics: self.metrics,
        };
        Agent {
            intake,
            reconciler,
            report,
            resync,
            self_report,
            queue,
            reports,
            restarts: self.restarts,
        }
    }
}

// === impl Agent ===

impl<S: Store, T: Applier, D: Downlink, U: Uplink> Agent<S, T, D, U> {
    /// Runs until `drain` fires, then stops in order: intake first, then the works in hand, then their statuses. Tasks
    /// that can be made again are, and counted.
    ///
    /// # Errors
    /// When intake dies, or the session ends that feeds it: nobody can make that again, so everything else is stopped in
    /// the same order.
    pub async fn run(self, drain: CancellationToken) -> Result<(), TaskDied> {
        // Ends with `drain`, or when what cannot be made again is gone.
        let drain = drain.child_token();
        let applied = CancellationToken::new();
        let reported = CancellationToken::new();
        let Self {
            queue,
            reports,
            restarts,
            ..
        } = self;
        let store = self.report.store.clone();
        let metrics = self.report.metrics.clone();
        let mut subscription = self.report.uplink.subscription();
        let mut vital = TaskGroup::new(drain.clone());
        vital.spawn("intake", self.intake.run(drain.clone()));
        let first = async {
            let ended = vital.join().await;
            // Only what was taken already; an outage must not hold up the end.
            drop(tokio::time::timeout(DRAIN_STEP, queue.quiet()).await);
            applied.cancel();
            ended
        };
        let second = async {
            Box::pin(self.reconciler.run(applied.clone(), restarts.clone())).await;
            // Offline there is nobody to tell; pending statuses are reported after the next start.
            tokio::select! {
                () = reports.quiet() => {}
                _ = subscription.wait_for(|now| !now.active) => {}
                () = tokio::time::sleep(DRAIN_STEP) => {}
            }
            reported.cancel();
        };
        let gauges = restarting("gauges", &restarts, &reported, || {
            measure(store.clone(), metrics.clone(), reported.clone())
        });
        let (ended, ..) = tokio::join!(
            first,
            second,
            self.report.run(reported.clone(), restarts.clone()),
            self.resync.run(drain.clone(), restarts.clone()),
            self.self_report.run(drain.clone(), restarts.clone()),
            gauges,
        );
        ended
    }
}

/// Keeps the gauges until `stop` fires.
async fn measure<S: Store>(store: S, metrics: Metrics, stop: CancellationToken) {
    loop {
        let (works, unacknowledged) = store.index().counts();
        metrics.works.set(works);
        metrics.unacknowledged.set(unacknowledged);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(GAUGES) => {}
        }
    }
}

// Below any scrape interval.
const GAUGES: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(300);
// Kubernetes gives 30 s between the first signal and the last: two steps and the DISCONNECT fit.
const DRAIN_STEP: Duration = Duration::from_secs(10);
