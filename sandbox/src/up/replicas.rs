//! The bridges of a region that are processes of their own: watched one by one, stopped together.

use std::collections::HashMap;

use link::shutdown::{Drain, Pending};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::replica::{Readiness, Replica, ReplicaError};

/// Running bridges. One that ends is missed by nobody but the log; the region ends with the last one.
pub(super) struct Replicas {
    stop: CancellationToken,
    watched: JoinSet<(String, Option<ReplicaError>)>,
    readiness: Vec<(String, Readiness)>,
}

// === impl Replicas ===

impl Replicas {
    /// Watches bridges that run; there may be none.
    pub(super) fn watch(replicas: Vec<Replica>) -> Self {
        let stop = CancellationToken::new();
        let readiness = replicas
            .iter()
            .map(|replica| (replica.name(), replica.readiness()))
            .collect();
        let mut watched = JoinSet::new();
        for mut replica in replicas {
            let (stop, replica_name) = (stop.clone(), replica.name());
            watched.spawn(async move {
                let ended = stop.run_until_cancelled(replica.ended()).await;
                if ended.is_none() {
                    replica.stop().await;
                }
                (replica_name, ended)
            });
        }
        Self {
            stop,
            watched,
            readiness,
        }
    }

    /// Whom to ask whether all are ready.
    pub(super) fn readiness(&self) -> Vec<(String, Readiness)> {
        self.readiness.clone()
    }

    /// Completes when one of them has ended; never if there is none.
    pub(super) async fn one_ended(&mut self) -> ReplicaError {
        while let Some(ended) = self.watched.join_next().await {
            if let Ok((name, Some(ended))) = ended {
                self.readiness.retain(|(other, _)| *other != name);
                return ended;
            }
        }
        std::future::pending().await
    }

    /// Completes when the last of them has ended; never if there were none.
    pub(super) async fn ended(&mut self) -> ReplicaError {
        loop {
            let ended = self.one_ended().await;
            if self.watched.is_empty() {
                return ended;
            }
            warn!("{ended}\nThe others go on");
        }
    }

    /// Stops those that run; each is registered on `drain` until it has ended.
    pub(super) async fn stop(mut self, drain: &Drain) {
        let pending = |(name, _): &(String, Readiness)| (name.clone(), drain.register(name));
        let mut pending: HashMap<String, Pending> = self.readiness.iter().map(pending).collect();
        self.stop.cancel();
        while let Some(ended) = self.watched.join_next().await {
            if let Ok((name, _)) = ended {
                pending.remove(&name);
            }
        }
    }
}

/// What keeps a bridge from being ready, if anything.
pub(super) async fn problem(readiness: &[(String, Readiness)]) -> Option<String> {
    for (name, readiness) in readiness {
        if let Some(problem) = readiness.problem().await {
            return Some(format!("{name}: {problem}"));
        }
    }
    None
}
