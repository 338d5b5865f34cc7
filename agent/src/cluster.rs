//! The connection to the Kubernetes API server that everything in the agent shares.
//!
//! [`ClusterOptions::connect`] finds out where the server is and who we are, and makes one [`kube::Client`] whose
//! requests are counted, timed, limited and judged: whoever uses it need not. It retries nothing by itself, so one
//! call is one request; the callers have their own backoff and know what a retry is worth.

use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;
use kube::client::ClientBuilder;
use link::supervise::{Restarts, restarting};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::health::Health;

use self::metrics::ClientMetrics;
use self::observe::Observe;
use self::reachability::Reachability;
use self::throttle::Throttle;

mod config;
pub mod definitions;
pub mod election;
mod error;
mod metrics;
mod observe;
mod prepare;
mod reachability;
mod remove;
mod throttle;

pub use self::error::{
    ClusterError, INITIALIZING, KubeconfigFault, error_message, hint, is_not_served, is_settling,
};
pub use self::prepare::prepare;
pub use self::remove::{remove, remove_definitions};
pub(crate) use self::throttle::Bucket;
pub use self::throttle::{DEFAULT_BURST, DEFAULT_QPS};

/// Which cluster, as whom, and how fast.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Says where the API server is and who we are. `None` means `$KUBECONFIG` or `~/.kube/config` where there is
    /// one, and the service account of the pod where there is none.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; `None` means its current one.
    pub context: Option<String>,
    /// Where the agent keeps what is its own; `None` means that of the context or of the pod.
    pub namespace: Option<String>,
    /// Who asks, for the audit log of the cluster; usually the consumer's name.
    pub consumer: String,
    /// Requests per second in the long run; 0 means no limit. See [`DEFAULT_QPS`].
    pub qps: f32,
    /// Requests that may be made at once after a pause.
    pub burst: u32,
}

/// A connection to an API server. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    /// Makes the requests.
    pub client: Client,
    /// Where the agent keeps what is its own.
    pub namespace: String,
    /// Who asks; see [`ClusterOptions::consumer`].
    pub consumer: String,
    // Ends with the last clone.
    _probe: Arc<AbortOnDropHandle<()>>,
}

// === impl ClusterOptions ===

impl ClusterOptions {
    /// Options of a consumer's agent in the cluster of its environment.
    pub fn new(consumer: impl Into<String>) -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespace: None,
            consumer: consumer.into(),
            qps: DEFAULT_QPS,
            burst: DEFAULT_BURST,
        }
    }

    /// Makes the client; nothing is dialled yet. `health` is told whether the API server answers: it fails when requests
    /// fail, and is well again when one succeeds. While it fails and nobody asks anything, the server is probed.
    ///
    /// # Errors
    /// When it cannot be determined which cluster, or when certificates and keys cannot be used.
    pub async fn connect(
        self,
        registry: &Registry,
        restarts: &Restarts,
        health: Health,
    ) -> Result<Cluster, ClusterError> {
        let config = config::load(&self).await?;
        let namespace = self
            .namespace
            .unwrap_or_else(|| config.default_namespace.clone());
        let metrics = ClientMetrics::register(registry).map_err(ClusterError::Metrics)?;
        let reachability = Reachability::new(health);
        let observe = Observe::new(metrics.clone(), reachability.clone());
        let throttle = Throttle::new(self.qps, self.burst, metrics);
        let client = ClientBuilder::try_from(config)
            .map_err(ClusterError::Client)?
            .with_layer(&observe)
            .with_layer(&throttle)
            .build();
        let probe = tokio::spawn({
            let (client, restarts) = (client.clone(), restarts.clone());
            async move {
                let probe = || reachability.clone().probe(client.clone());
                // Until it is aborted.
                restarting("probe", &restarts, &CancellationToken::new(), probe).await;
            }
        });
        Ok(Cluster {
            client,
            namespace,
            consumer: self.consumer,
            _probe: Arc::new(AbortOnDropHandle::new(probe)),
        })
    }
}

// === impl Cluster ===

#[cfg(test)]
impl Cluster {
    /// Of a client that a test makes; nothing is probed.
    pub(crate) fn of_client(client: Client) -> Self {
        Self {
            client,
            namespace: "agent".into(),
            consumer: "cluster1".into(),
            _probe: Arc::new(AbortOnDropHandle::new(tokio::spawn(async {}))),
        }
    }
}
