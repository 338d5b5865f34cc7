//! The stages of MQTT's own handshake: CONNECT, then SUBSCRIBE, each seen on its own.

use std::sync::Arc;
use std::time::Duration;

use link::error::chain;
use link::identity::Identity;
use link::mqtt::ConnectError;
use tokio::time::timeout;

use super::Staged;
use super::finding::{Finding, Subject};
use super::stage::Stage;
use crate::connection::{Connection, Lost};
use crate::target::Target;

/// A connection on its way: CONNECT first, then SUBSCRIBE, each seen on its own.
pub(super) struct Opening {
    opening: crate::connection::Opening,
    within: Duration,
}

// === impl Opening ===

impl Opening {
    pub(super) fn start(
        target: &Target,
        identity: &Arc<Identity>,
        filters: Vec<String>,
        within: Duration,
    ) -> Self {
        Self {
            opening: crate::connection::Opening::start(target, identity.clone(), filters, within),
            within,
        }
    }

    pub(super) async fn connected(mut self, subject: &Subject) -> Staged<(Self, String)> {
        match timeout(self.within, self.opening.connected()).await {
            Ok(Ok(())) => {
                let detail = format!("as `{}`", subject.client_id);
                Ok((self, detail))
            }
            Ok(Err(lost)) => Err(of_lost(&lost, subject, Stage::Connect)),
            Err(_) => Err(Finding::of_connect(&ConnectError::Timeout, subject)),
        }
    }

    /// Says goodbye instead of going on; for one without filters.
    pub(super) async fn close(self) {
        if let Ok(Ok(connection)) = timeout(self.within, self.opening.ready()).await {
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
        match timeout(self.within, self.opening.ready()).await {
            Ok(Ok(connection)) => Ok((connection, detail)),
            Ok(Err(lost)) => Err(of_lost(&lost, subject, Stage::Subscribe)),
            Err(_) => Err(Finding::subscribe_timeout()),
        }
    }
}

/// What a lost connection means at a stage.
pub(super) fn of_lost(lost: &Lost, subject: &Subject, stage: Stage) -> Finding {
    match lost {
        Lost::Connect { source, .. } => Finding::of_connect(source, subject),
        Lost::Subscribe { source, .. } => Finding::of_subscribe(source, subject),
        Lost::Timeout { .. } if stage == Stage::Subscribe => Finding::subscribe_timeout(),
        Lost::Timeout { .. } => Finding::of_connect(&ConnectError::Timeout, subject),
        Lost::Tls(_) | Lost::Metrics(_) | Lost::Closed => Finding::internal(&chain(lost)),
    }
}
