//! Starts and wakes lanes: on the store's hints, and by a periodic sweep that finds what a lost hint missed.
//!
//! A lane that panics is made again, later each time, with the waker its consumer's hints go to.
//!
//! **Invariant:** there are lanes only for consumers of which this replica is the owner, and a bucket is not given back
//! before the last of its lanes has ended ([`Work`]).

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

use super::log::DeliveryLine;
use super::{Context, lane};
use crate::replicas::Work;
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
    let ownership = &lanes.context.config.ownership;
    let mut owned = ownership.changes();
    let mut sweep = tokio::time::interval(if ownership.is_shared() {
        SWEEP_OF_REPLICAS
    } else {
        SWEEP
    });
    loop {
        tokio::select! {
            () = drain.cancelled() => break,
            hint = hints.recv() => match hint {
                Ok(Hint::Consumer(consumer)) => {
                    lanes.wake(consumer);
                }
                Ok(Hint::Replicas | Hint::Reported) => {}
                Ok(Hint::Somebody) | Err(RecvError::Lagged(_)) => lanes.sweep().await,
                Err(RecvError::Closed) => break,
            },
            () = owned.changed() => lanes.owned_changed().await,
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
    stop: CancellationToken,
}

// === impl Lanes ===

impl<S: Store> Lanes<S> {
    /// Wakes the lane of a consumer, making it as needed; whether it was made. That of somebody else's consumer is not.
    fn wake(&mut self, consumer: ConsumerName) -> bool {
        if let Some(known) = self.known.get(&consumer) {
            known.waker.notify_one();
            return false;
        }
        let Some(work) = self.context.config.ownership.work(&consumer) else {
            return false;
        };
        // A lane that has ended says so by its own token.
        let stop = self.drain.child_token();
        let waker = Arc::new(Notify::new());
        self.context.metrics.lanes.inc();
        let task = self.tasks.spawn(supervised(
            self.context.clone(),
            consumer.clone(),
            waker.clone(),
            stop.clone(),
            work,
        ));
        self.known.insert(consumer, Known { waker, task, stop });
        true
    }

    /// Stops the lanes of what is not ours, or not for long, and looks what there is to send for what is.
    async fn owned_changed(&mut self) {
        let ownership = &self.context.config.ownership;
        for (consumer, known) in &self.known {
            if ownership.fence(consumer).is_err() {
                known.stop.cancel();
            }
        }
        self.sweep().await;
    }

    async fn sweep(&mut self) {
        match self.context.store.consumers_with_pending().await {
            Ok(consumers) => {
                for consumer in consumers {
                    if self.wake(consumer) {
                        self.context.metrics.sweeps_late.inc();
                    }
                }
            }
            Err(error) => {
                if let Some(held_back) = self.context.log.admit(DeliveryLine::Store, None) {
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
    _work: Work,
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

/// The same where other processes change things too.
const SWEEP_OF_REPLICAS: Duration = Duration::from_secs(2);
