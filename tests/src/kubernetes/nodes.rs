//! What a cluster with a node has besides, for [`crate::node`].

use std::path::{Path, PathBuf};

use super::assets::ServerPrograms;
use super::identity::{TokenUser, path};
use super::{Cluster, KubernetesError, NodeAddresses};
use crate::process::ProcessError;

impl Cluster {
    /// Servers for a node, whose network is there already: with a scheduler, all controllers and service accounts. Their
    /// files lie in `kubernetes` below the directory.
    ///
    /// # Errors
    /// See [`KubernetesError`].
    pub async fn with_node(
        directory: &Path,
        place: &NodeAddresses,
    ) -> Result<Self, KubernetesError> {
        let home = directory.join("kubernetes");
        Self::launch(&ServerPrograms::with_nodes()?, &home, &[], Some(place)).await
    }

    /// Where the kubelet is.
    ///
    /// # Errors
    /// When it is not there.
    pub fn kubelet() -> Result<PathBuf, ProcessError> {
        Ok(ServerPrograms::with_nodes()?.path("kubelet"))
    }

    /// Where the kubeconfig of a node's kubelet lies.
    pub fn node_kubeconfig(&self, name: &str) -> PathBuf {
        path(&self.home, &TokenUser::node(name).user)
    }

    /// A file of the servers, such as `ca.crt` or `kubelet.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }
}
