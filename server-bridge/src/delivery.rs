//! Delivers bundles to their clusters and takes the statuses that come back (docs/ARCHITECTURE.md#the-way-down).
//!
//! ```text
//!   store ──▶ dispatch ──▶ lane (one per consumer) ──▶ pool of sessions ──▶ …/{consumer}/sourceevents
//!   store ◀── inbound ◀──────────────────────────────── session ◀────────── …/{consumer}/agentevents
//!                │
//!                └──▶ resync: what an agent lacks goes back into the store's outbox, and so into its lane
//! ```
//!
//! The store's state is the outbox: nothing here is remembered that a restart would miss.
//!
//! **Invariant:** a part that panics is made again and counted ([`link::supervise`]); none ends the process, and none
//! stays dead while the others go on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use link::admin::Check;
use link::clock::Clock;
use link::id::{ConsumerName, SourceId};
use link::mqtt::Inbound;
use link::supervise::{Restarts, restarting};
use link::topic::Scheme;
use prometheus::Registry;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::event_log::EventLog;
use crate::replicas::Ownership;
use crate::store::Store;

mod dispatch;
pub(crate) mod event;
mod health;
mod history;
mod inbound;
mod lane;
mod last_seen;
mod log;
mod metrics;
mod pacing;
mod pool;
mod presence;
mod quarantine;
mod repairs;
mod report_limiter;
mod resync;
mod status_requests;
mod store_limiter;
#[cfg(test)]
mod tests;
mod tombstones;
mod transport;
mod waiting;

pub(crate) use inbound::status_of;
pub use metrics::DeliveryMetrics;
pub use pool::Pool;
pub(crate) use pool::index_of;
pub(crate) use quarantine::pause_after;
use transport::{Intake, SharedIntake};

/// What delivery needs to know.
#[derive(Clone, Debug)]
pub struct DeliveryConfig {
    /// The source this bridge speaks for.
    pub source: SourceId,
    /// Its topics.
    pub scheme: Scheme,
    /// Whether a work that only an agent knows is deleted there although this bridge never deleted it, as Maestro does
    /// once it knows any other bundle of the consumer.
    pub delete_unknown_works: bool,
    /// For how long the broker may go on giving statuses to the session of a process that is gone, paused or out of reach:
    /// until it has given up its connection, and then the session.
    pub broker_patience: Duration,
    /// Which consumers are this process's to send to.
    pub ownership: Ownership,
}

/// What delivery tells the rest of the process.
#[derive(Clone, Debug)]
pub struct Signs {
    /// The readiness check `delivery`: fails while what agents sent cannot be taken.
    pub check: Check,
    /// Counts the tasks that were made again.
    pub restarts: Restarts,
}

/// Delivery, ready to run.
pub struct Delivery<S> {
    context: Context<S>,
    inbound: Vec<SharedIntake>,
}

/// What every part of delivery shares.
pub(crate) struct Context<S> {
    pub(crate) store: S,
    pub(crate) pool: Pool,
    pub(crate) config: Arc<DeliveryConfig>,
    pub(crate) clock: Clock,
    pub(crate) metrics: DeliveryMetrics,
    restarts: Restarts,
    health: health::DeliveryHealth,
    /// Before each call of a lane to the store.
    store_limiter: store_limiter::StoreLimiter,
    /// The same for what became of publications, which must not stand behind what is to be read.
    note_limiter: store_limiter::StoreLimiter,
    log: EventLog<log::DeliveryLine>,
    requests: Arc<[status_requests::StatusRequests]>,
    last_seen: Arc<last_seen::LastSeen>,
    repairs: Arc<repairs::Repairs>,
    reports: Arc<report_limiter::ReportLimiter>,
    raises: Arc<history::Raises>,
}

// === impl DeliveryConfig ===

impl DeliveryConfig {
    /// The session on which the statuses come that a session asks for: without a share group every subscriber would get
    /// every status, so only the first one listens; with one they come on any, and each looks after itself.
    pub(crate) fn listener(&self, index: usize) -> usize {
        if self.scheme.share().is_some() {
            index
        } else {
            0
        }
    }

    /// Builds delivery over sessions that someone else drives. Messages of every `inbound` are taken.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn build<S: Store>(
        self,
        store: S,
        pool: Pool,
        inbound: Vec<Inbound>,
        clock: Clock,
        registry: &Registry,
        signs: Signs,
    ) -> Result<Delivery<S>, prometheus::Error> {
        let inbound = inbound
            .into_iter()
            .map(|inbound| Box::new(inbound) as Box<dyn Intake>)
            .collect();
        self.build_on(store, pool, inbound, clock, registry, signs)
    }

    fn build_on<S: Store>(
        self,
        store: S,
        pool: Pool,
        inbound: Vec<Box<dyn Intake>>,
        clock: Clock,
        registry: &Registry,
        signs: Signs,
    ) -> Result<Delivery<S>, prometheus::Error> {
        let metrics = DeliveryMetrics::register(registry)?;
        let requests = (0..pool.len())
            .map(|_| status_requests::StatusRequests::default())
            .collect();
        let context = Context {
            store,
            pool,
            config: Arc::new(self),
            clock,
            metrics,
            restarts: signs.restarts,
            health: health::DeliveryHealth::new(signs.check),
            store_limiter: store_limiter::StoreLimiter::new(store_limiter::PERMITS),
            note_limiter: store_limiter::StoreLimiter::new(store_limiter::NOTE_PERMITS),
            log: EventLog::new(),
            requests,
            last_seen: Arc::default(),
            repairs: Arc::default(),
            reports: Arc::default(),
            raises: Arc::default(),
        };
        let inbound = inbound
            .into_iter()
            .map(|intake| Arc::new(Mutex::new(intake)))
            .collect();
        Ok(Delivery { context, inbound })
    }
}

// === impl Delivery ===

impl<S: Store> Delivery<S> {
    /// Runs until `drain` is cancelled; a part that dies before is made again. What is being published or committed
    /// then is finished by the caller's grace period or found again by the next start. A shared subscription is given up
    /// then, and what it had brought is taken, for five seconds at most.
    pub async fn run(self, drain: CancellationToken) {
        let Self { context, inbound } = self;
        let stop = &drain;
        let keep = |task, make: Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>| {
            let restarts = context.restarts.clone();
            async move { restarting(task, &restarts, stop, make).await }.boxed()
        };
        let part = |run: fn(Context<S>, CancellationToken) -> BoxFuture<'static, ()>| {
            let (context, drain) = (context.clone(), drain.clone());
            Box::new(move || run(context.clone(), drain.clone())) as Box<_>
        };
        let mut tasks = vec![
            keep(
                "dispatch",
                part(|context, drain| dispatch::run(context, drain).boxed()),
            ),
            keep(
                "tombstones",
                part(|context, drain| tombstones::run(context.store, context.clock, drain).boxed()),
            ),
            keep(
                "resync-parts",
                part(|context, drain| {
                    resync::forget_old(context.store, context.clock, drain).boxed()
                }),
            ),
            keep(
                "epochs",
                part(|context, drain| history::watch(context, drain).boxed()),
            ),
            keep(
                "waiting",
                part(|context, drain| waiting::run(context, drain).boxed()),
            ),
            keep(
                "seen",
                part(|context, drain| last_seen::run(context, drain).boxed()),
            ),
            keep(
                "listening",
                part(|context, drain| presence::listen(context, drain).boxed()),
            ),
            keep(
                "presence",
                part(|context, drain| presence::run(context, drain).boxed()),
            ),
        ];
        if context.config.ownership.is_shared() {
            tasks.push(keep(
                "asks-for-others",
                part(|context, drain| resync::ask_for_others(context, drain).boxed()),
            ));
        }
        for index in 0..context.pool.len() {
            let (context, drain) = (context.clone(), drain.clone());
            let make =
                move || resync::ask_for_statuses(context.clone(), index, drain.clone()).boxed();
            tasks.push(keep("asks", Box::new(make)));
        }
        for (index, intake) in inbound.into_iter().enumerate() {
            let (context, drain) = (context.clone(), drain.clone());
            let make =
                move || inbound::run(context.clone(), index, intake.clone(), drain.clone()).boxed();
            tasks.push(keep("inbound", Box::new(make)));
        }
        join_all(tasks).await;
    }
}

// === impl Context ===

impl<S: Store> Context<S> {
    /// The topic that speaks to a consumer.
    pub(crate) fn topic(&self, consumer: &ConsumerName) -> String {
        self.config.scheme.source_events(consumer)
    }

    /// What is to be asked on the session of a consumer.
    fn requests(&self, consumer: &ConsumerName) -> &status_requests::StatusRequests {
        &self.requests[self.pool.index_of(consumer)]
    }
}

impl<S: Clone> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            pool: self.pool.clone(),
            config: self.config.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            restarts: self.restarts.clone(),
            health: self.health.clone(),
            store_limiter: self.store_limiter.clone(),
            note_limiter: self.note_limiter.clone(),
            log: self.log.clone(),
            requests: self.requests.clone(),
            last_seen: self.last_seen.clone(),
            repairs: self.repairs.clone(),
            reports: self.reports.clone(),
            raises: self.raises.clone(),
        }
    }
}
