//! The queue for connections: fair, bounded, and with a share for each use.
//!
//! An operation waits for a permit in the order of asking. Searches and the API have limits of their own before they enter
//! the common queue, so that neither takes the last connection from delivery, nor from writes of what agents sent. One
//! connection is reserved for upkeep: readiness and the replicas' leases do not fail under load. Each queue has a maximum
//! length; beyond it an operation fails at once and may be retried.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::super::StoreError;
use super::Use;
use super::limits::Limits;

/// How many of the connections each use may take at once.
#[derive(Clone)]
pub(super) struct Queue {
    search: Share,
    api: Share,
    /// Everybody but upkeep.
    all: Share,
    upkeep: Share,
}

/// A right to one of the connections.
pub(super) struct Permit {
    _of_use: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
}

/// Why there is no permit.
pub(super) enum NoPermit {
    /// Too many wait already.
    Full(usize),
    /// None became free in time.
    Late,
}

#[derive(Clone)]
struct Share {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    most: usize,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(connections: u32, limits: &Limits) -> Self {
        let connections = usize::try_from(connections).unwrap_or(usize::MAX).max(4);
        let share = |permits: usize| Share {
            permits: Arc::new(Semaphore::new(permits)),
            waiting: Arc::default(),
            most: permits.saturating_mul(limits.waiting),
        };
        Self {
            search: share(connections / 4),
            api: share((connections / 2).min(connections - 3)),
            all: share(connections - UPKEEP),
            upkeep: share(UPKEEP),
        }
    }

    /// Waits for a permit until `until`.
    pub(super) async fn enter(&self, purpose: Use, until: Instant) -> Result<Permit, NoPermit> {
        let (of_use, of_all) = match purpose {
            Use::Delivery => (None, &self.all),
            Use::Api => (Some(&self.api), &self.all),
            Use::Search => (Some(&self.search), &self.all),
            Use::Upkeep => (None, &self.upkeep),
        };
        let of_use = match of_use {
            Some(share) => Some(share.enter(until).await?),
            None => None,
        };
        Ok(Permit {
            _of_use: of_use,
            _of_all: of_all.enter(until).await?,
        })
    }
}

// === impl Share ===

impl Share {
    async fn enter(&self, until: Instant) -> Result<OwnedSemaphorePermit, NoPermit> {
        // Never before those who wait.
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting::join(&self.waiting, self.most)?;
        let permit = timeout_at(until, self.permits.clone().acquire_owned()).await;
        drop(waiting);
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(NoPermit::Late),
        }
    }
}

/// Counts somebody who waits, until it is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn join(waiting: &Arc<AtomicUsize>, most: usize) -> Result<Self, NoPermit> {
        let joined = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < most).then_some(waiting + 1)
        });
        match joined {
            Ok(_) => Ok(Self(waiting.clone())),
            Err(waiting) => Err(NoPermit::Full(waiting)),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl NoPermit ===

impl NoPermit {
    /// What the caller is told; `late` is what it is when no permit became free.
    pub(super) fn told(self, operation: &'static str, late: StoreError) -> StoreError {
        match self {
            Self::Full(waiting) => StoreError::Overloaded { operation, waiting },
            Self::Late => late,
        }
    }
}

/// Connections that are kept for the heartbeat and for what holds the replicas together: each needs one for milliseconds.
const UPKEEP: usize = 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::JoinSet;

    use super::*;

    fn queue(connections: u32, waiting: usize) -> Queue {
        let limits = Limits {
            waiting,
            ..Limits::default()
        };
        Queue::new(connections, &limits)
    }

    async fn permits(queue: &Queue, purpose: Use, count: usize) -> Vec<Permit> {
        let mut permits = Vec::new();
        for _ in 0..count {
            let permit = queue.enter(purpose, Instant::now()).await;
            permits.push(permit.unwrap_or_else(|_| panic!("no permit of {purpose:?}")));
        }
        permits
    }

    async fn is_late(queue: &Queue, purpose: Use) -> bool {
        let until = Instant::now() + Duration::from_millis(1);
        matches!(queue.enter(purpose, until).await, Err(NoPermit::Late))
    }

    #[tokio::test(start_paused = true)]
    async fn each_use_has_its_share_and_none_takes_the_last_one_from_another() {
        for connections in [4, 5, 8, 200] {
            let queue = queue(connections, 1);
            let most = connections as usize;
            let _api = permits(&queue, Use::Api, (most / 2).min(most - 3)).await;
            assert!(is_late(&queue, Use::Api).await);
            let _searches = permits(&queue, Use::Search, most / 4).await;
            assert!(is_late(&queue, Use::Search).await);
            let taken = (most / 2).min(most - 3) + most / 4;
            let _delivery = permits(&queue, Use::Delivery, most - 1 - taken).await;
            assert!(is_late(&queue, Use::Delivery).await);
            let _upkeep = permits(&queue, Use::Upkeep, 1).await;
            assert!(is_late(&queue, Use::Upkeep).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_wait_as_may_the_next_is_turned_away_and_places_go_in_order() {
        let queue = queue(4, 2);
        let mut held = permits(&queue, Use::Delivery, 3).await;
        let until = Instant::now() + Duration::from_secs(5);
        let mut waiting = JoinSet::new();
        for number in 0..6 {
            let queue = queue.clone();
            waiting.spawn(async move {
                let permit = queue.enter(Use::Delivery, until).await;
                (number, permit.ok())
            });
            tokio::task::yield_now().await;
        }
        let turned_away = queue.enter(Use::Delivery, until).await;
        assert!(matches!(turned_away, Err(NoPermit::Full(6))));
        for number in 0..6 {
            drop(held.pop());
            let (first, permit) = waiting.join_next().await.unwrap().unwrap();
            assert_eq!(first, number);
            held.insert(0, permit.unwrap());
        }
        // Those who went away wait no more.
        assert!(is_late(&queue, Use::Delivery).await);
        assert!(is_late(&queue, Use::Delivery).await);
    }
}
