//! Wakes the lanes: on the store's hints, and by a sweep that finds what a lost hint missed.
//!
//! A lane that panics is made again, later each time, with the waker its consumer's hints go to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use link::id::ConsumerName;
use link::supervise::restarting;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::log::Line;
use super::{Context, lane};
use crate::store::{Hint, Store};

/// Runs the lanes until `drain` is cancelled.
pub(super) async fn run<S: Store>(context: Context<S>, drain: CancellationToken) {
    // Those of a dispatch that panicked are gone.
    context.metrics.lanes.set(0);
    let mut lanes = Lanes {
        context,
        drain: drain.clone(),
        known: HashMap::new(),
        tasks: JoinSet::new(),
    };
    // Registered before the first sweep, so that nothing falls between the two.
    let mut hints = lanes.context.store.changes();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = drain.cancelled() => break,
            hint = hints.recv() => match hint {
                Ok(Hint::Consumer(consumer)) => lanes.wake(consumer),
                Ok(Hint::Replicas) => {}
                Ok(Hint::Somebody) | Err(RecvError::Lagged(_)) => lanes.sweep().await,
                Err(RecvError::Closed) => break,
            },
            _ = sweep.tick() => lanes.sweep().await,
            Some(ended) = lanes.tasks.join_next(), if !lanes.tasks.is_empty() => match ended {
                Ok(consumer) => lanes.ended(&consumer),
                Err(error) => lanes.lost(&error),
            },
        }
    }
    while lanes.tasks.join_next().await.is_some() {}
}

struct Lanes<S> {
    context: Context<S>,
    drain: CancellationToken,
    known: HashMap<ConsumerName, Known>,
    tasks: JoinSet<ConsumerName>,
}

struct Known {
    waker: Arc<Notify>,
    task: AbortHandle,
}

// === impl Lanes ===

impl<S: Store> Lanes<S> {
    fn wake(&mut self, consumer: ConsumerName) {
        if let Some(known) = self.known.get(&consumer) {
            known.waker.notify_one();
            return;
        }
        let waker = Arc::new(Notify::new());
        self.context.metrics.lanes.inc();
        let task = self.tasks.spawn(supervised(
            self.context.clone(),
            consumer.clone(),
            waker.clone(),
            // A lane that has ended says so by its own token.
            self.drain.child_token(),
        ));
        self.known.insert(consumer, Known { waker, task });
    }

    async fn sweep(&mut self) {
        match self.context.store.consumers_with_pending().await {
            Ok(consumers) => {
                for consumer in consumers {
                    if !self.known.contains_key(&consumer) {
                        self.context.metrics.sweeps_late.inc();
                    }
                    self.wake(consumer);
                }
            }
            Err(error) => {
                if let Some(held_back) = self.context.log.admit(Line::Store, None) {
                    warn!(
                        held_back,
                        "Could not look for undelivered bundles yet: {}",
                        link::error::chain(&error)
                    );
                }
            }
        }
    }

    /// A lane ended because it was idle. A hint that came meanwhile went to its dead waker, so it is woken again:
    /// one look at an empty outbox costs less than a lost bundle.
    fn ended(&mut self, consumer: &ConsumerName) {
        self.context.metrics.lanes.dec();
        let known = self.known.remove(consumer);
        if known.is_some_and(|known| lane::was_notified(&known.waker)) {
            self.wake(consumer.clone());
        }
    }

    /// A lane's supervisor died, which says nothing about whose it was: whoever's task is over is woken again.
    fn lost(&mut self, error: &tokio::task::JoinError) {
        error!(%error, "The supervisor of a lane died; the lane is started again");
        let over: Vec<ConsumerName> = self
            .known
            .extract_if(|_, known| known.task.is_finished())
            .map(|(consumer, _)| consumer)
            .collect();
        for consumer in over {
            self.context.metrics.lanes.dec();
            self.wake(consumer);
        }
    }
}

async fn supervised<S: Store>(
    context: Context<S>,
    consumer: ConsumerName,
    waker: Arc<Notify>,
    stop: CancellationToken,
) -> ConsumerName {
    let restarts = context.restarts.clone();
    let of = consumer.clone();
    let ended = stop.clone();
    restarting("lane", &restarts, &stop, move || {
        let lane = lane::Lane::new(context.clone(), of.clone(), waker.clone());
        let ended = ended.clone();
        async move {
            lane.run(&ended).await;
            ended.cancel();
        }
    })
    .await;
    consumer
}

/// Longest time a lost hint hides a change.
const SWEEP: Duration = Duration::from_secs(5);
