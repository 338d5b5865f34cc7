//! Leaves a shared subscription: unsubscribes, and goes on receiving until everything that was delivered is processed.
//!
//! Agents count a status as told when the broker has it. What a member keeps unacked when it goes, some brokers give to
//! nobody else.

use std::future::pending;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

/// What has happened since the bridge is to stop.
pub(super) struct Unsubscribing<'a> {
    unsubscribing: BoxFuture<'a, ()>,
    unsubscribed: bool,
    /// When something last came or was done.
    moved: Instant,
    give_up_at: Instant,
}

// === impl Unsubscribing ===

impl<'a> Unsubscribing<'a> {
    pub(super) fn begin(unsubscribing: BoxFuture<'a, ()>) -> Self {
        let now = Instant::now();
        Self {
            unsubscribing,
            unsubscribed: false,
            moved: now,
            give_up_at: now + GIVE_UP_AFTER,
        }
    }

    /// Returns when nothing more is to be waited for; `idle` says that nothing is in hand. Dropped, it goes on with the
    /// next call.
    async fn over(&mut self, idle: bool) {
        if !self.unsubscribed {
            tokio::select! {
                () = &mut self.unsubscribing => {}
                () = sleep_until(self.give_up_at) => return,
            }
            self.unsubscribed = true;
            self.moved = Instant::now();
        }
        let quiet_at = self.moved + QUIET;
        let over_at = if idle {
            quiet_at.min(self.give_up_at)
        } else {
            self.give_up_at
        };
        sleep_until(over_at).await;
    }
}

/// Returns when whoever leaves has left.
pub(super) async fn left(unsubscribing: &mut Option<Unsubscribing<'_>>, idle: bool) {
    match unsubscribing {
        Some(unsubscribing) => unsubscribing.over(idle).await,
        None => pending().await,
    }
}

/// Something came or was done.
pub(super) fn moved(unsubscribing: &mut Option<Unsubscribing<'_>>) {
    if let Some(unsubscribing) = unsubscribing {
        unsubscribing.moved = Instant::now();
    }
}

/// How long a stop may take longer for this: what is not done then is left to the broker.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// What a broker holds back while its window is full comes a round trip after the acks: for so long after the last one
/// nothing came. It also lets those acks leave before the session is closed.
const QUIET: Duration = Duration::from_millis(300);
