//! What follows when a connection ended or could not be made: which certificate is next, how long to wait, what is said.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::NoticeFailureReason;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Driver;
use crate::error::Hint;
use crate::identity::Identity;
use crate::mqtt::credentials::{CLOSED_IN_A_ROW, CredentialChange};
use crate::mqtt::options::{nothing_in_flight, transport};
use crate::mqtt::reason::ConnectError;
use crate::tls;

impl Driver {
    /// Counts and explains the failure; returns the delay before the next attempt.
    pub(super) fn after_failure(
        &mut self,
        error: &ConnectError,
        established: bool,
        lasted: Duration,
    ) -> Duration {
        self.shared
            .metrics
            .disconnections
            .with_label_values(&[error.label()])
            .inc();
        if let ConnectError::Deliberate(reason) = error {
            info!("Reconnecting: {reason}");
            return Duration::ZERO;
        }
        if let ConnectError::Disconnected {
            code: 0x81 | 0x90 | 0x95 | 0x99,
            reason,
        } = error
        {
            self.forget_session(reason.clone());
        }
        if let ConnectError::Disconnected { code: 0x8e, .. } = error {
            // What the broker keeps under this client id now is what another process made of it: its subscriptions, and
            // none of what it was given.
            self.start_anew();
        }
        let silent = matches!(error, ConnectError::ClosedBeforeConnAck);
        self.silent_closes = if silent { self.silent_closes + 1 } else { 0 };
        if !established {
            match self
                .credentials
                .failed(error.of_certificate(), Instant::now())
            {
                CredentialChange::Same => {}
                CredentialChange::SetAside => {
                    self.shared.metrics.identity_refusals.inc();
                    warn!(
                        "Set the new certificate aside: the next connection uses the old one, and the new one is tried again later"
                    );
                }
                CredentialChange::Recalled => warn!(
                    "The old certificate does not connect any more: the next connection uses the new one that was set aside"
                ),
            }
            self.use_current();
        }
        let mut delay = self.backoff.next_jittered(lasted);
        if error.is_refusal() && (!silent || self.silent_closes >= CLOSED_IN_A_ROW) {
            delay = delay.max(
                self.reconnect
                    .refused
                    .mul_f64(1.0 + rand::random::<f64>() / 2.0),
            );
        }
        warn!(
            cause = error.label(),
            retry_in_ms = delay.as_millis(),
            hint = error.hint(),
            "Lost the broker: {}",
            crate::error::chain(error)
        );
        delay
    }

    pub(super) fn try_next(&mut self, config: Arc<rustls::ClientConfig>) {
        self.credentials.offer(config);
        self.use_current();
    }

    pub(super) fn use_current(&mut self) {
        self.events
            .options
            .set_transport(transport(self.credentials.current().clone()));
    }

    /// Takes from the library all that a connection left behind; the pump, which is told, sends it again. The library would
    /// do that by packet ids, which is another order than ours once acks came in another one or a SUBSCRIBE took an id in
    /// between, and never where the next connection has a smaller window.
    pub(super) fn take_back(&mut self) {
        self.events.clean();
        self.events
            .drain_pending_as_failed(NoticeFailureReason::SessionReset);
        // With the packet ids that it keeps for what it would send again.
        self.events.state = nothing_in_flight(&self.events.options);
    }

    /// Begins anew after something that the broker or the library does not take, and tells the pump, which finds the message.
    pub(super) fn forget_session(&mut self, reason: String) {
        self.start_anew();
        self.shared.note_message_fault(reason);
    }

    /// The next connection resumes nothing.
    fn start_anew(&mut self) {
        self.events.reset_session_state();
        self.events.options.set_clean_start(true);
    }
}

/// Resolves with a TLS configuration when a new identity is published; never when there will be none.
pub(super) async fn offered(
    identity: &mut watch::Receiver<Arc<Identity>>,
    options: &tls::TlsOptions,
) -> Arc<rustls::ClientConfig> {
    while identity.changed().await.is_ok() {
        let new = identity.borrow_and_update().clone();
        match tls::client_config(&new, options) {
            Ok(config) => return config,
            Err(error) => warn!(
                "Could not use the new certificate: {}",
                crate::error::chain(&error)
            ),
        }
    }
    std::future::pending().await
}
