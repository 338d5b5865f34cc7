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
pub(super) struct Permit(watch::Receiver<Option<&'static str>>);

// === impl Permit ===

impl Default for Permit {
    fn default() -> Self {
        Self(watch::channel(None).1)
    }
}

impl Permit {
    /// Resolves with the reason when it may not.
    pub(super) async fn withdrawn(&mut self) -> &'static str {
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
    /// Is connected only while `permit` holds nothing; what it holds otherwise is the reason, as a short text for people.
    #[must_use]
    pub fn only_while(mut self, permit: watch::Receiver<Option<&'static str>>) -> Self {
        self.permit = Permit(permit);
        self
    }

    /// Waits until it may connect; `false` when it was asked to stop.
    pub(super) async fn permitted(&mut self, drain: &CancellationToken) -> bool {
        loop {
            let reason = *self.permit.0.borrow_and_update();
            let Some(reason) = reason else {
                return true;
            };
            self.shared.state.send_replace(State::Waiting {
                error: Arc::new(ConnectError::Withheld(reason)),
                retry_in: Duration::ZERO,
            });
            tokio::select! {
                changed = self.permit.0.changed() => if changed.is_err() {
                    drain.cancelled().await;
                    return false;
                },
                () = drain.cancelled() => return false,
            }
        }
    }

    /// Ends the session with the broker, which gives to others what was not acked, and begins with another event loop:
    /// the library's ends with its DISCONNECT. What was in flight is sent again by the pump.
    pub(super) async fn withdraw(&mut self, reason: &'static str, established: bool) {
        info!("Ending the session: {reason}");
        self.shared
            .metrics
            .disconnections
            .with_label_values(&["withheld"])
            .inc();
        // Whatever is still acked would be acked to nobody.
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
