//! Whether this process may be connected at all: while it may not, the session is ended and nothing is dialled.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Driver, FLUSH_DEADLINE};
use crate::mqtt::options::client;
use crate::mqtt::reason::ConnectError;
use crate::mqtt::state::State;

/// The reason why the process may not be connected, if there is one. Without a sender it always may.
pub(super) struct Withheld(watch::Receiver<Option<&'static str>>);

// === impl Withheld ===

impl Default for Withheld {
    fn default() -> Self {
        Self(watch::channel(None).1)
    }
}

impl Withheld {
    /// Resolves with the reason as soon as there is one.
    pub(super) async fn begins(&mut self) -> &'static str {
        loop {
            if let Some(reason) = *self.0.borrow_and_update() {
                return reason;
            }
            if self.0.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

// === impl Driver ===

impl Driver {
    /// Is connected only while `withheld` holds nothing; what it holds otherwise is the reason, as a short text for people.
    #[must_use]
    pub fn only_while(mut self, withheld: watch::Receiver<Option<&'static str>>) -> Self {
        self.withheld = Withheld(withheld);
        self
    }

    /// Waits until it may connect; `false` when it was asked to stop.
    pub(super) async fn may_connect(&mut self, drain: &CancellationToken) -> bool {
        loop {
            let reason = *self.withheld.0.borrow_and_update();
            let Some(reason) = reason else {
                return true;
            };
            self.shared.state.send_replace(State::Waiting {
                error: Arc::new(ConnectError::Withheld(reason)),
                retry_in: Duration::ZERO,
            });
            tokio::select! {
                changed = self.withheld.0.changed() => if changed.is_err() {
                    drain.cancelled().await;
                    return false;
                },
                () = drain.cancelled() => return false,
            }
        }
    }

    /// Ends the session with the broker, which gives to others what was not acked, and begins with another event loop:
    /// the library's ends with its DISCONNECT. What was in flight is sent again by the pump.
    pub(super) async fn end_withheld(&mut self, reason: &'static str, established: bool) {
        info!("Ending the session: {reason}");
        self.shared
            .metrics
            .disconnections
            .with_label_values(&["withheld"])
            .inc();
        // An ack of the ended session would have no receiver.
        self.shared.refuse_acks();
        if established {
            self.shared.end_session();
            let flushing = async { while self.events.poll().await.is_ok() {} };
            // A broker that takes nothing more notices by the keep-alive.
            let _ = timeout(FLUSH_DEADLINE, flushing).await;
        }
        let mut options = self.events.options.clone();
        // It asks to resume what is over.
        options.set_clean_start(true);
        let (client, events) = client(options);
        self.shared.replace_client(client);
        self.events = events;
    }
}
