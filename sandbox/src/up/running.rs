//! A region that runs: when it is ready, when a part has ended, and how it stops in order.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use link::admin::Checks;
use link::error::Hint;
use link::shutdown::{Drain, Pending, Shutdown};
use tokio::task::{JoinError, JoinSet};
use tracing::error;

use super::registry_file::RegistryFile;
use super::replica::ReplicaError;
use super::replicas::{self, Replicas};
use super::{Bridges, Region, Summary, part::Part};
use crate::{broker, control};

/// A region that serves. Dropping it stops everything at once.
pub struct Running {
    summary: Summary,
    broker: broker::RunningBroker,
    control: Option<(control::RunningControl, RegistryFile)>,
    bridge: Group,
    replicas: Replicas,
    agents: Group,
}

/// Parts that stop together.
struct Group {
    shutdown: Shutdown,
    parts: JoinSet<String>,
    admins: JoinSet<()>,
    checks: Vec<(String, Checks)>,
}

/// The region does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum RunningError {
    /// Not everything became ready in time.
    #[error("wait {waited:?} for the region to become ready; {failing}")]
    NotReady {
        /// How long that was.
        waited: Duration,
        /// The failing checks with their reasons.
        failing: String,
    },
    /// A part ended although nobody asked it to.
    #[error("the {0} ended by itself")]
    Ended(String),
    /// A bridge that is a process of its own ended although nobody asked it to, and no other goes on.
    #[error(transparent)]
    Replica(ReplicaError),
    /// A part panicked.
    #[error("a part of the region failed")]
    Panicked(#[source] JoinError),
}

// === impl Region ===

impl Region {
    /// What runs where.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Serves and dials. Must be called inside a Tokio runtime.
    pub fn start(self) -> Running {
        let mut bridge = Group::new();
        let replicas = match self.bridges {
            Bridges::Inside(inside) => {
                let (part, service) = *inside;
                let drain = bridge.shutdown.drain();
                let run = async move {
                    // Its end is noticed as that of any part; here is why.
                    if let Err(error) = service.run(drain).await {
                        error!(%error, "The bridge ended");
                    }
                };
                bridge.start(part, Box::pin(run));
                Vec::new()
            }
            Bridges::Processes(replicas) => replicas,
        };
        let mut agents = Group::new();
        for (part, service) in self.agents {
            let drain = agents.shutdown.drain();
            let run = async move {
                // Its end is noticed as that of any part; here is why.
                if let Err(error) = service.run(drain).await {
                    error!(%error, "An agent ended");
                }
            };
            agents.start(part, Box::pin(run));
        }
        Running {
            summary: self.summary,
            broker: self.broker.spawn(),
            control: self.control.map(|(control, file)| (control.start(), file)),
            bridge,
            replicas: Replicas::watch(replicas),
            agents,
        }
    }
}

// === impl Running ===

impl Running {
    /// What runs where.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Waits until every session is subscribed and every other check passes.
    ///
    /// # Errors
    /// [`RunningError`] with the failing checks when `patience` is over, or when a part ends.
    pub async fn ready(&mut self, patience: Duration) -> Result<(), RunningError> {
        let mut poll = tokio::time::interval(POLL);
        let readiness = self.replicas.readiness();
        let (bridge, agents) = (&self.bridge.checks, &self.agents.checks);
        let all_ok = async {
            let checks = || bridge.iter().chain(agents);
            while !checks().all(|(_, checks)| checks.all_ok())
                || replicas::problem(&readiness).await.is_some()
            {
                poll.tick().await;
            }
        };
        let waiting = tokio::select! {
            waited = tokio::time::timeout(patience, all_ok) => waited,
            // It will not come up by itself.
            ended = self.replicas.one_ended() => return Err(RunningError::Replica(ended)),
        };
        if let Some(ended) = self.try_ended() {
            return Err(ended);
        }
        match waiting {
            Ok(()) => Ok(()),
            Err(_) => Err(RunningError::NotReady {
                waited: patience,
                failing: self.failing().await,
            }),
        }
    }

    /// Completes when a part has ended by itself.
    pub async fn ended(&mut self) -> RunningError {
        tokio::select! {
            Some(ended) = self.bridge.parts.join_next() => RunningError::of(ended),
            Some(ended) = self.agents.parts.join_next() => RunningError::of(ended),
            ended = self.replicas.ended() => RunningError::Replica(ended),
            else => RunningError::Ended("region".into()),
        }
    }

    /// Stops in order: API and delivery, agents with their last statuses, sessions, the broker last. What it waits for is
    /// registered on `drain` by name.
    pub async fn stop(self, drain: &Drain) {
        self.bridge.stop(drain).await;
        self.replicas.stop(drain).await;
        self.agents.stop(drain).await;
        let broker = drain.register("broker");
        self.broker.shutdown().await;
        drop(broker);
        if let Some((control, file)) = self.control {
            let _control = drain.register("control plane");
            control.shutdown().await;
            file.save();
        }
    }

    fn try_ended(&mut self) -> Option<RunningError> {
        let ended = self.bridge.parts.try_join_next();
        let ended = ended.or_else(|| self.agents.parts.try_join_next());
        ended.map(RunningError::of)
    }

    async fn failing(&self) -> String {
        let readiness = self.replicas.readiness();
        let mut text = replicas::problem(&readiness).await.unwrap_or_default();
        for (part, checks) in self.bridge.checks.iter().chain(&self.agents.checks) {
            for check in checks.report(Instant::now()).checks {
                if let Some(reason) = check.reason {
                    let separator = if text.is_empty() { "" } else { "; " };
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{separator}{part}: {} failing: {reason}", check.name);
                }
            }
        }
        text
    }
}

// === impl Group ===

impl Group {
    fn new() -> Self {
        Self {
            shutdown: Shutdown::manual(),
            parts: JoinSet::new(),
            admins: JoinSet::new(),
            checks: Vec::new(),
        }
    }

    fn start(&mut self, part: Part, run: impl Future<Output = ()> + Send + 'static) {
        let Part {
            name,
            registry,
            checks,
            admin,
        } = part;
        let drain = self.shutdown.drain();
        self.admins
            .spawn(admin.serve(checks.clone(), registry, drain));
        self.checks.push((name.clone(), checks));
        self.parts.spawn(async move {
            run.await;
            name
        });
    }

    async fn stop(mut self, drain: &Drain) {
        let pending = |(name, _): &(String, Checks)| (name.clone(), drain.register(name));
        let mut pending: HashMap<String, Pending> = self.checks.iter().map(pending).collect();
        self.shutdown.trigger().request();
        while let Some(ended) = self.parts.join_next().await {
            match ended {
                Ok(name) => drop(pending.remove(&name)),
                Err(error) => error!("A part of the region failed: {error}"),
            }
        }
        self.admins.shutdown().await;
    }
}

// === impl RunningError ===

impl RunningError {
    fn of(ended: Result<String, JoinError>) -> Self {
        match ended {
            Ok(name) => Self::Ended(name),
            Err(error) => Self::Panicked(error),
        }
    }
}

impl Hint for RunningError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotReady { .. } => {
                "run it again with `--log-level info` to see every connection attempt".into()
            }
            Self::Replica(error) => return error.hint(),
            Self::Ended(_) | Self::Panicked(_) => {
                "run it again with `--log-level info` to see why".into()
            }
        })
    }
}

// Unnoticeable beside the handshakes it waits for (some 10 ms each).
const POLL: Duration = Duration::from_millis(10);
