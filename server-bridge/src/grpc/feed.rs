//! Follows the reports in the store, written by whichever replica, and marks the changed bundles for all streams
//! ([`Hub::mark`]).
//!
//! The store's hints wake it, and it looks by itself: one may be lost.
//! **Invariant:** nothing that was reported after [`Feed::started`] is left out: the position moves only past what was
//! marked, and stays where it was while the store is away, also when this task is made again. Where the store has another
//! history than before (a restore), it begins anew, and every stream repeats what was reported lately.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use link::clock::Clock;
use link::error::chain;
use link::telemetry::Throttle;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::hub::Hub;
use super::stream::REPLAY;
use crate::store::{Hint, ReportPosition, Store, StoreError};

/// The one reader of a process. Clones share its position.
#[derive(Clone, Debug)]
pub(super) struct Feed<S> {
    store: S,
    hub: Hub,
    clock: Clock,
    position: Arc<Mutex<Option<ReportPosition>>>,
    started: Arc<watch::Sender<bool>>,
    said: Arc<Throttle<&'static str>>,
}

// === impl Feed ===

impl<S: Store> Feed<S> {
    pub(super) fn new(store: S, hub: Hub, clock: Clock) -> Self {
        Self {
            store,
            hub,
            clock,
            position: Arc::default(),
            started: Arc::new(watch::Sender::new(false)),
            said: Arc::new(Throttle::new(SAY_EVERY, 1)),
        }
    }

    /// Turns true once everything that is reported from now on will be told.
    pub(super) fn started(&self) -> watch::Receiver<bool> {
        self.started.subscribe()
    }

    /// Follows until `stop` is done.
    pub(super) async fn run(self, stop: CancellationToken) {
        // Before the first look, so that what is committed after it wakes.
        let mut hints = self.store.changes();
        loop {
            let looked = Instant::now();
            let Some(read) = stop.run_until_cancelled(self.read()).await else {
                return;
            };
            let wait = async {
                match read {
                    Ok(()) => tokio::select! {
                        () = hint(&mut hints) => {
                            // What comes together is read together.
                            tokio::time::sleep_until(looked + TOGETHER).await;
                        }
                        () = sleep(if self.hub.is_empty() { IDLE } else { POLL }) => {}
                    },
                    Err(error) => {
                        if let Some(more) = self.said.admit(&"read", Instant::now()) {
                            warn!(
                                more,
                                "What agents report cannot be read, streams wait: {}",
                                chain(&error)
                            );
                        }
                        sleep(AGAIN).await;
                    }
                }
            };
            if stop.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
    }

    /// Marks all there is.
    async fn read(&self) -> Result<(), StoreError> {
        loop {
            let known = self.position().clone();
            let position = match known {
                Some(position) => position,
                None => {
                    let end = self.store.reports_end().await?;
                    *self.position() = Some(end.clone());
                    if self.started.send_replace(true) {
                        // What was reported since the position that was lost is behind no position.
                        let since = self.clock.now().checked_sub(REPLAY);
                        self.hub.read_since(since.unwrap_or(Timestamp::UNIX_EPOCH));
                    }
                    end
                }
            };
            match self.store.reports_after(position, PAGE).await {
                Ok(reported) => {
                    for head in &reported.heads {
                        self.hub.mark(head);
                    }
                    *self.position() = Some(reported.next);
                    if !reported.more {
                        return Ok(());
                    }
                }
                Err(StoreError::PositionLost) => *self.position() = None,
                Err(error) => return Err(error),
            }
        }
    }

    fn position(&self) -> std::sync::MutexGuard<'_, Option<ReportPosition>> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns when something may have been reported.
async fn hint(hints: &mut broadcast::Receiver<Hint>) {
    loop {
        match hints.recv().await {
            Ok(Hint::Reported | Hint::Somebody) | Err(RecvError::Lagged(_)) => break,
            Ok(Hint::Consumer(_) | Hint::Replicas) => {}
            // The store is closed; the poll goes on until this is stopped.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
    // All that are there count as one.
    while hints.try_recv().is_ok() {}
}

// Heads are some 100 bytes each.
const PAGE: u32 = 1000;

// How late a report is told when no hint came: well below what people notice. It is one look at an index.
const POLL: Duration = Duration::from_millis(200);

// The same when there is nobody to tell.
const IDLE: Duration = Duration::from_secs(1);

// At most two hundred reads a second however many commits there are, and 5 ms of delay for each.
const TOGETHER: Duration = Duration::from_millis(5);

const AGAIN: Duration = Duration::from_millis(500);
const SAY_EVERY: Duration = Duration::from_secs(60);
