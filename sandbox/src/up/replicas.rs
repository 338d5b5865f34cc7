//! The bridges of a region that are processes of their own: watched one by one, stopped together.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::replica::{Readiness, Replica};

/// Running bridges. One that ends is missed by nobody but the log; the region ends with the last one.
pub(super) struct Replicas {
    stop: CancellationToken,
    watched: JoinSet<()>,
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
            let stop = stop.clone();
            watched.spawn(async move {
                let ended = stop.run_until_cancelled(replica.ended()).await;
                match ended {
                    Some(how) => warn!("{} ended: {how}; the others go on", replica.name()),
                    None => replica.stop().await,
                }
            });
        }
        Self {
            stop,
            watched,
            readiness,
        }
    }

    /// What keeps a bridge from being ready, if anything.
    pub(super) async fn problem(&self) -> Option<String> {
        for (name, readiness) in &self.readiness {
            if let Some(problem) = readiness.problem().await {
                return Some(format!("{name}: {problem}"));
            }
        }
        None
    }

    /// Completes when the last of them has ended; never if there were none.
    pub(super) async fn ended(&mut self) {
        if self.readiness.is_empty() {
            std::future::pending::<()>().await;
        }
        while self.watched.join_next().await.is_some() {}
    }

    /// Stops those that run.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.watched.join_next().await.is_some() {}
    }
}
