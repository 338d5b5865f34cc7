//! Where the agents of a region apply objects.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use agent::cluster::ClusterOptions;
use anyhow::{Result, anyhow};
use uuid::Uuid;

/// Where the agents apply objects and keep their works.
#[derive(Clone, Debug)]
pub(super) enum AgentTarget {
    /// Directories of the test.
    Directories,
    /// A cluster, with names that no other test uses.
    Cluster {
        /// Of whoever makes the cluster ready.
        admin: PathBuf,
        /// Of the agents.
        kubeconfig: PathBuf,
        prefix: String,
    },
}

// === impl AgentTarget ===

impl AgentTarget {
    /// `admin` makes what the agents need, which work by `kubeconfig`.
    pub(super) fn cluster(admin: &Path, kubeconfig: &Path) -> Self {
        let random = Uuid::new_v4().simple().to_string();
        Self::Cluster {
            admin: admin.into(),
            kubeconfig: kubeconfig.into(),
            prefix: format!("region-{}", &random[..8]),
        }
    }

    /// The namespace of a consumer's works; its agent's identity in the cluster too.
    pub(super) fn namespace(&self, consumer: &str) -> Option<String> {
        match self {
            Self::Directories => None,
            Self::Cluster { prefix, .. } => Some(format!("{prefix}-{consumer}")),
        }
    }

    pub(super) async fn prepare(&self, consumer: &str) -> Result<()> {
        let Self::Cluster { admin, .. } = self else {
            return Ok(());
        };
        let options = ClusterOptions {
            kubeconfig: Some(admin.clone()),
            namespace: self.namespace(consumer),
            ..ClusterOptions::new("tests")
        };
        let prepared = agent::cluster::prepare(options).await;
        prepared.map_err(|failure| anyhow!("{failure}"))
    }

    pub(super) fn args(&self, consumer: &str, target: &Path, state: &Path) -> Vec<OsString> {
        match self {
            Self::Directories => {
                let mut directory = OsString::from("dir:");
                directory.push(target);
                vec![
                    "--target".into(),
                    directory,
                    "--state-dir".into(),
                    state.into(),
                ]
            }
            Self::Cluster { kubeconfig, .. } => {
                let namespace = self.namespace(consumer).unwrap_or_default();
                vec![
                    "--kubeconfig".into(),
                    kubeconfig.into(),
                    "--namespace".into(),
                    namespace.clone().into(),
                    "--agent-id".into(),
                    namespace.into(),
                ]
            }
        }
    }
}
