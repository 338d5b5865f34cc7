//! The cluster that agents apply to in place of directories: what a region makes in it, and how that goes again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent::applier::kubernetes::AgentId;
use agent::cluster::ClusterOptions;
use agent::service::{Backend, ClusterBackend};
use link::error::Failure;
use link::id::ConsumerName;

/// A cluster for the agents of a region. `Display` lists what the region leaves in it. Clones share what is known of it.
#[derive(Clone, Debug)]
pub struct TargetCluster {
    kubeconfig: PathBuf,
    consumers: Vec<ConsumerName>,
    touched: Arc<AtomicBool>,
}

// === impl TargetCluster ===

impl TargetCluster {
    /// The cluster of a kubeconfig, for the agents of these consumers.
    pub fn new(kubeconfig: &Path, consumers: &[ConsumerName]) -> Self {
        Self {
            kubeconfig: kubeconfig.to_path_buf(),
            consumers: consumers.to_vec(),
            touched: Arc::default(),
        }
    }

    /// The kubeconfig of the cluster.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Whether the region has made anything in it yet.
    pub fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// Takes all that is listed away once the agents have stopped: what these consumers' works applied, in this run or in
    /// one before, the namespaces, and the definitions unless somebody else uses them or brought them.
    ///
    /// # Errors
    /// When the cluster cannot be reached, refuses something, or something is still there after a minute.
    pub async fn clean(&self) -> Result<(), Failure> {
        for consumer in &self.consumers {
            let id = AgentId::from(consumer.as_str());
            agent::cluster::remove(options(&self.kubeconfig, consumer), id.as_str()).await?;
        }
        match self.consumers.first() {
            Some(first) => {
                agent::cluster::remove_definitions(options(&self.kubeconfig, first)).await
            }
            None => Ok(()),
        }
    }

    /// Makes it ready for a consumer's agent. Each has a namespace of its own, so that several can share one cluster.
    pub(super) async fn backend(
        &self,
        consumer: &ConsumerName,
        poll: Duration,
    ) -> Result<Backend, Failure> {
        let options = options(&self.kubeconfig, consumer);
        agent::cluster::prepare(options.clone()).await?;
        self.touched.store(true, Ordering::Relaxed);
        Ok(Backend::Cluster(ClusterBackend {
            options,
            agent_id: AgentId::from(consumer.as_str()),
            adopted: Vec::new(),
            poll,
            // Nobody else works for a sandbox's consumer.
            election: None,
        }))
    }
}

impl fmt::Display for TargetCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespaces = self.consumers.iter().take(SHOWN).map(namespace);
        let namespaces: Vec<String> = namespaces.map(|name| format!("`{name}`")).collect();
        let more = self.consumers.len().saturating_sub(SHOWN);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let plural = if self.consumers.len() == 1 { "" } else { "s" };
        write!(
            f,
            "what bundles apply, the namespace{plural} {}{more} and the definitions ManifestWork and AppliedManifestWork, \
             in the cluster of `{}`",
            namespaces.join(", "),
            self.kubeconfig.display()
        )
    }
}

fn options(kubeconfig: &Path, consumer: &ConsumerName) -> ClusterOptions {
    ClusterOptions {
        kubeconfig: Some(kubeconfig.into()),
        namespace: Some(namespace(consumer)),
        ..ClusterOptions::new(consumer.as_str())
    }
}

fn namespace(consumer: &ConsumerName) -> String {
    format!("sandbox-{consumer}")
}

// Enough to see the pattern.
const SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_in_a_cluster_is_listed_shortly() {
        let of = |count: usize| {
            let names = (1..=count).map(|number| ConsumerName::new(format!("c{number}")).unwrap());
            TargetCluster::new(Path::new("/k"), &names.collect::<Vec<_>>()).to_string()
        };
        assert_eq!(
            of(1),
            "what bundles apply, the namespace `sandbox-c1` and the definitions ManifestWork and \
             AppliedManifestWork, in the cluster of `/k`"
        );
        assert!(
            of(5)
                .contains("the namespaces `sandbox-c1`, `sandbox-c2`, `sandbox-c3` and 2 more and")
        );
    }
}
