//! The stages of MQTT's own handshake: CONNECT, then SUBSCRIBE, each on its own.

use std::sync::Arc;
use std::time::Duration;

use link::error::chain;
use link::identity::Identity;
use link::mqtt::ConnectError;
use tokio::time::timeout;

use super::Staged;
use super::finding::{Finding, Subject};
use crate::connection::{Connection, ConnectionError, PendingConnection};
use crate::peer;
use crate::session::SessionSettings;
use crate::stage::Stage;
use crate::target::Target;

/// A session on its way.
pub(super) struct PendingSession<'a> {
    pending: PendingConnection,
    target: &'a Target,
    identity: &'a Arc<Identity>,
    within: Duration,
}

// === impl PendingSession ===

impl<'a> PendingSession<'a> {
    pub(super) fn start(
        target: &'a Target,
        identity: &'a Arc<Identity>,
        filters: Vec<String>,
        within: Duration,
    ) -> Self {
        Self {
            pending: PendingConnection::start(
                target,
                identity,
                filters,
                &SessionSettings::default(),
                within,
            ),
            target,
            identity,
            within,
        }
    }

    pub(super) async fn connected(mut self, subject: &Subject) -> Staged<(Self, String)> {
        match timeout(self.within, self.pending.connected()).await {
            Ok(Ok(())) => {
                let detail = format!("as `{}`", subject.client_id);
                Ok((self, detail))
            }
            Ok(Err(error)) => {
                if let ConnectionError::Connect { source, .. } = &error
                    && (peer::may_explain(source) || matches!(**source, ConnectError::Timeout))
                    && let Some(peer) = peer::recognise(self.target, self.identity).await
                {
                    return Err(Finding::of_peer(peer));
                }
                Err(of_connection(&error, subject, Stage::Connect))
            }
            // Another protocol may wait for the rest of what it takes for its own.
            Err(_) => Err(match peer::recognise(self.target, self.identity).await {
                Some(peer) => Finding::of_peer(peer),
                None => Finding::of_connect(&ConnectError::Timeout, subject),
            }),
        }
    }

    /// Disconnects instead of going on; for one without filters.
    pub(super) async fn close(self) {
        if let Ok(Ok(connection)) = timeout(self.within, self.pending.ready()).await {
            connection.close().await;
        }
    }

    pub(super) async fn subscribed(
        self,
        subject: &Subject,
        filters: &[String],
    ) -> Staged<(Connection, String)> {
        let detail = filters
            .iter()
            .map(|filter| format!("`{filter}`"))
            .collect::<Vec<_>>()
            .join(", ");
        match timeout(self.within, self.pending.ready()).await {
            Ok(Ok(connection)) => Ok((connection, detail)),
            Ok(Err(error)) => Err(of_connection(&error, subject, Stage::Subscribe)),
            Err(_) => Err(Finding::subscribe_timeout()),
        }
    }
}

/// What a connection that failed or ended means at a stage.
pub(super) fn of_connection(error: &ConnectionError, subject: &Subject, stage: Stage) -> Finding {
    match error {
        ConnectionError::Connect { source, .. } => Finding::of_connect(source, subject),
        ConnectionError::Peer { source, .. } => Finding::of_peer(*source),
        ConnectionError::Subscribe { source, .. } => Finding::of_subscribe(source, subject),
        ConnectionError::Timeout { .. } if stage == Stage::Subscribe => {
            Finding::subscribe_timeout()
        }
        ConnectionError::Timeout { .. } => Finding::of_connect(&ConnectError::Timeout, subject),
        ConnectionError::Tls(_) | ConnectionError::Metrics(_) | ConnectionError::Closed => {
            Finding::internal(&chain(error))
        }
    }
}
