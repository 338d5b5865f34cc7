//! Brings bundles down to their clusters and statuses back up (system.md §3–§5).
//!
//! ```text
//!   store ──▶ dispatch ──▶ lane (one per consumer) ──▶ pool of sessions ──▶ …/{consumer}/sourceevents
//!   store ◀── inbound ◀──────────────────────────────── session ◀────────── …/{consumer}/agentevents
//!                │
//!                └──▶ resync: what an agent lacks goes back into the store's outbox, and so into its lane
//! ```
//!
//! The store's state is the outbox: nothing here is remembered that a restart would miss.

use std::sync::Arc;

use jiff::SignedDuration;
use link::clock::Clock;
use link::id::{ConsumerName, SourceId};
use link::mqtt::Inbound;
use link::topic::Scheme;
use prometheus::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

mod dispatch;
mod event;
mod inbound;
mod lane;
mod metrics;
mod pool;
mod quarantine;
mod resync;

pub use metrics::Metrics;
pub use pool::Pool;

/// What delivery needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The source this bridge speaks for.
    pub source: SourceId,
    /// Its topics.
    pub scheme: Scheme,
    /// Whether a work that only an agent knows is deleted there although this bridge never deleted it, as Maestro does
    /// once it knows any other bundle of the consumer.
    pub delete_unknown_works: bool,
}

/// Delivery, ready to run.
pub struct Delivery<S> {
    context: Context<S>,
    inbound: Vec<Inbound>,
}

/// What every part of delivery shares.
pub(crate) struct Context<S> {
    pub(crate) store: S,
    pub(crate) pool: Pool,
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
}

// === impl Config ===

impl Config {
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
    ) -> Result<Delivery<S>, prometheus::Error> {
        let metrics = Metrics::register(registry)?;
        let context = Context {
            store,
            pool,
            config: Arc::new(self),
            clock,
            metrics,
        };
        Ok(Delivery { context, inbound })
    }
}

// === impl Delivery ===

impl<S: Store> Delivery<S> {
    /// Runs until `drain` is cancelled. What is being published or committed then is finished by the caller's
    /// grace period or found again by the next start.
    pub async fn run(self, drain: CancellationToken) {
        let Self { context, inbound } = self;
        let mut tasks = JoinSet::new();
        tasks.spawn(dispatch::run(context.clone(), drain.clone()));
        tasks.spawn(resync::ask_for_statuses(context.clone(), drain.clone()));
        tasks.spawn(forget_tombstones(context.clone(), drain.clone()));
        for inbound in inbound {
            tasks.spawn(inbound::run(context.clone(), inbound, drain.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "A delivery task failed");
                drain.cancel();
            }
        }
    }
}

// === impl Context ===

impl<S: Store> Context<S> {
    /// The topic that speaks to a consumer.
    pub(crate) fn topic(&self, consumer: &ConsumerName) -> String {
        self.config.scheme.source_events(consumer)
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
        }
    }
}

async fn forget_tombstones<S: Store>(context: Context<S>, drain: CancellationToken) {
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(3600));
    while drain.run_until_cancelled(tick.tick()).await.is_some() {
        let before = context.clock.now() - TOMBSTONES_KEPT;
        if let Err(error) = context.store.prune_tombstones(before).await {
            tracing::warn!(
                "Could not forget old deletions: {}",
                link::error::chain(&error)
            );
        }
    }
}

// An agent that was away for longer than this keeps what was deleted meanwhile.
const TOMBSTONES_KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);
