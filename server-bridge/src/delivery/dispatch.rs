//! Wakes the lanes: on the store's hints, and by a sweep that finds what a lost hint missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use link::id::ConsumerName;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Context, lane};
use crate::store::Store;

/// Runs the lanes until `drain` is cancelled.
pub(super) async fn run<S: Store>(context: Context<S>, drain: CancellationToken) {
    let mut lanes = Lanes {
        context,
        drain: drain.clone(),
        wakers: HashMap::new(),
        tasks: JoinSet::new(),
    };
    // Registered before the first sweep, so that nothing falls between the two.
    let mut hints = lanes.context.store.changes();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = drain.cancelled() => break,
            hint = hints.recv() => match hint {
                Ok(consumer) => lanes.wake(consumer),
                Err(RecvError::Lagged(_)) => lanes.sweep().await,
                Err(RecvError::Closed) => break,
            },
            _ = sweep.tick() => lanes.sweep().await,
            Some(ended) = lanes.tasks.join_next(), if !lanes.tasks.is_empty() => lanes.ended(ended),
        }
    }
    while lanes.tasks.join_next().await.is_some() {}
}

struct Lanes<S> {
    context: Context<S>,
    drain: CancellationToken,
    wakers: HashMap<ConsumerName, Arc<Notify>>,
    tasks: JoinSet<ConsumerName>,
}

// === impl Lanes ===

impl<S: Store> Lanes<S> {
    fn wake(&mut self, consumer: ConsumerName) {
        if let Some(waker) = self.wakers.get(&consumer) {
            waker.notify_one();
            return;
        }
        let waker = Arc::new(Notify::new());
        self.wakers.insert(consumer.clone(), waker.clone());
        self.context.metrics.lanes.inc();
        let lane = lane::Lane::new(self.context.clone(), consumer.clone(), waker);
        let drain = self.drain.clone();
        self.tasks.spawn(async move {
            lane.run(drain).await;
            consumer
        });
    }

    async fn sweep(&mut self) {
        match self.context.store.consumers_with_pending().await {
            Ok(consumers) => {
                for consumer in consumers {
                    if !self.wakers.contains_key(&consumer) {
                        self.context.metrics.sweeps_late.inc();
                    }
                    self.wake(consumer);
                }
            }
            Err(error) => warn!(
                "Could not look for undelivered bundles: {}",
                link::error::chain(&error)
            ),
        }
    }

    /// A lane ended because it was idle. A hint that came meanwhile went to its dead waker, so it is woken again:
    /// one look at an empty outbox costs less than a lost bundle.
    fn ended(&mut self, ended: Result<ConsumerName, tokio::task::JoinError>) {
        let consumer = match ended {
            Ok(consumer) => consumer,
            Err(error) => {
                warn!(%error, "A lane failed; the next sweep starts it again");
                // Which one is unknown: those without a task are found by starting all that are still pending.
                if self.tasks.is_empty() {
                    self.wakers.clear();
                    self.context.metrics.lanes.set(0);
                }
                return;
            }
        };
        self.context.metrics.lanes.dec();
        let Some(waker) = self.wakers.remove(&consumer) else {
            return;
        };
        if lane::was_notified(&waker) {
            self.wake(consumer);
        }
    }
}

/// Longest time a lost hint hides a change.
const SWEEP: Duration = Duration::from_secs(5);
