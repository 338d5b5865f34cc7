//! What an agent is: what it runs on, and as whom.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use link::event::agent_report::{AgentCertificate, AgentTarget};
use link::identity::Identity;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// What an agent is.
pub struct About {
    /// What it applies to.
    pub target: AgentTarget,
    /// The newest good certificate it has; `None` without a session.
    pub identity: Option<watch::Receiver<Arc<Identity>>>,
    /// Asks the target for its version.
    pub version_of: Option<VersionOf>,
    /// When the process began to work.
    pub started_at: Timestamp,
    known: Mutex<Option<(Instant, Option<String>)>>,
}

/// Asks the target for its version; `None` when it does not say.
pub type VersionOf =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

// === impl About ===

impl About {
    /// An agent of this target that begins to work now.
    pub fn new(target: AgentTarget, started_at: Timestamp) -> Self {
        Self {
            target,
            identity: None,
            version_of: None,
            started_at,
            known: Mutex::default(),
        }
    }

    /// With the certificate that its sessions use.
    #[must_use]
    pub fn with_identity(mut self, identity: watch::Receiver<Arc<Identity>>) -> Self {
        self.identity = Some(identity);
        self
    }

    pub(super) fn certificate(&self) -> Option<AgentCertificate> {
        let identity = self.identity.as_ref()?.borrow();
        let described = identity.describe();
        Some(AgentCertificate {
            not_after: described.not_after,
            serial: Some(described.serial.clone()),
            subject: Some(described.subject.clone()),
        })
    }

    /// The target's version, asked for at most once in [`ASKED_AGAIN`]: it changes when somebody upgrades a cluster.
    pub(super) async fn kubernetes_version(&self, now: Instant) -> Option<String> {
        let version_of = self.version_of.as_ref()?;
        if let Some((at, known)) = &*self.known()
            && now.duration_since(*at) < ASKED_AGAIN
        {
            return known.clone();
        }
        let version = timeout(ANSWER, version_of()).await.ok().flatten();
        *self.known() = Some((now, version.clone()));
        version
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Option<String>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ASKED_AGAIN: Duration = Duration::from_secs(3600);
const ANSWER: Duration = Duration::from_secs(5);
