//! What an agent is: what it runs on, and as whom.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    known: Mutex<KnownVersion>,
}

/// The version that the target gave last, and when it is asked for again.
#[derive(Debug, Default)]
struct KnownVersion {
    version: Option<String>,
    again: Option<Instant>,
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

    /// The target's version, asked for at most once in [`ASKED_AGAIN`], because it changes only when somebody upgrades a
    /// cluster. Without an answer it is the last one that is known, and asked for again after [`UNANSWERED_AGAIN`].
    pub(super) async fn kubernetes_version(&self, now: Instant) -> Option<String> {
        let version_of = self.version_of.as_ref()?;
        {
            let known = self.known();
            if known.again.is_some_and(|again| now < again) {
                return known.version.clone();
            }
        }
        let answer = timeout(ANSWER, version_of()).await.ok().flatten();
        let mut known = self.known();
        let pause = match answer {
            Some(_) => ASKED_AGAIN,
            None => UNANSWERED_AGAIN,
        };
        known.again = Some(now + pause);
        known.version = answer.or(known.version.take());
        known.version.clone()
    }

    fn known(&self) -> MutexGuard<'_, KnownVersion> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ASKED_AGAIN: Duration = Duration::from_secs(3600);
const UNANSWERED_AGAIN: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_version_is_asked_for_each_hour_and_each_minute_while_nobody_answers() {
        let answers = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
        let mut about = About::new(AgentTarget::Kubernetes, Timestamp::UNIX_EPOCH);
        let target = Arc::clone(&answers);
        about.version_of = Some(Box::new(move || {
            let (is_there, asked) = &*target;
            asked.fetch_add(1, Ordering::SeqCst);
            let answer = is_there
                .load(Ordering::SeqCst)
                .then(|| "v1.33.2".to_owned());
            Box::pin(std::future::ready(answer))
        }));
        let (is_there, asked) = &*answers;
        let start = Instant::now();
        let mut seen = Vec::new();
        for (second, there) in [
            (0, false),
            (59, true),
            (60, true),
            (3659, false),
            (3660, false),
        ] {
            is_there.store(there, Ordering::SeqCst);
            let now = start + Duration::from_secs(second);
            let version = about.kubernetes_version(now).await;
            seen.push((version.is_some(), asked.load(Ordering::SeqCst)));
        }
        assert_eq!(
            seen,
            [(false, 1), (false, 1), (true, 2), (true, 2), (true, 3)]
        );
    }
}
