//! The control plane of the stand-in for IoT Core: the REST API of AWS IoT for what a provisioner does, and of its data
//! plane for what a diagnosis asks: connections, subscriptions, direct messages, Publish. AWS's tools are pointed at it
//! with `AWS_ENDPOINT_URL_IOT` and `AWS_ENDPOINT_URL_IOT_DATA_PLANE`.
//!
//! ```text
//! request → routes ─ shape of a signature ─→ certificates, policies, things, tags … → broker's registry
//! ```
//!
//! Paths, names and errors are those of the API reference. Account and region are the broker's. Signatures are not
//! checked: every client that reaches the address is trusted, so it belongs on loopback. Operations that are not here
//! answer 404 with `UnknownOperationException`. Beside them, without a signature, are the faults of the broker, at
//! `/sandbox/faults`. Things have no types and no billing groups, policies are attached to certificates only, and nobody
//! is throttled.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::error::Hint;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::plane::Plane;
use crate::broker::Handle;
use crate::pki::Authority;

mod answer;
mod attachments;
mod certificates;
mod connections;
mod endpoint;
mod extract;
mod faults;
mod messages;
mod names;
mod page;
mod plane;
mod policies;
mod policy_versions;
mod principals;
mod routes;
mod settling;
mod tags;
mod things;

/// How to make a control plane.
pub struct ControlConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who signs certificates; the broker's own server certificate should come from it too.
    pub authority: Arc<Authority>,
    /// What DescribeEndpoint gives for `iot:Data-ATS`: the host that clients of the broker dial, without a port.
    pub endpoint: String,
    /// The broker whose registry is changed and whose connections are ended.
    pub broker: Handle,
    /// How long a new resource stays invisible to Describe, Get and List, and how long after a detachment the
    /// deletion of what was detached is still refused, as on IoT Core (terraform-provider-aws#34329). In Tokio's
    /// time; zero for never.
    pub settle: Duration,
}

/// A bound control plane that does not serve yet.
#[derive(Debug)]
pub struct Control {
    listener: TcpListener,
    address: SocketAddr,
    plane: Arc<Plane>,
}

/// A control plane that serves until [`shutdown`](Self::shutdown) or until it is dropped.
#[derive(Debug)]
pub struct RunningControl {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen for the control plane on `{address}`")]
pub struct ControlBindError {
    address: SocketAddr,
    source: std::io::Error,
}

// === impl ControlConfig ===

impl ControlConfig {
    /// At once consistent, with the endpoint `localhost`.
    pub fn new(listen: SocketAddr, authority: Arc<Authority>, broker: Handle) -> Self {
        Self {
            listen,
            authority,
            endpoint: "localhost".into(),
            broker,
            settle: Duration::ZERO,
        }
    }
}

// === impl Control ===

impl Control {
    /// Binds the socket; requests are answered once it runs.
    ///
    /// # Errors
    /// When the address is taken or not this host's.
    pub async fn bind(config: ControlConfig) -> Result<Self, ControlBindError> {
        let address = config.listen;
        let failed = |source| ControlBindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            plane: Arc::new(Plane::new(config)),
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, for `AWS_ENDPOINT_URL_IOT`.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Serves until the future completes.
    pub async fn run(self, until: impl Future<Output = ()>) {
        let stop = CancellationToken::new();
        let serving = axum::serve(self.listener, routes::router(self.plane))
            .with_graceful_shutdown(stop.clone().cancelled_owned())
            .into_future();
        tokio::pin!(serving);
        tokio::select! {
            // Failing accepts are retried inside.
            _ = &mut serving => return,
            () = until => stop.cancel(),
        }
        // Requests take no time; a connection that is still open then is an idle one.
        let _ = tokio::time::timeout(CLOSE_WITHIN, serving).await;
    }

    /// Serves in the background.
    pub fn start(self) -> RunningControl {
        let (address, stop) = (self.address, CancellationToken::new());
        let until = stop.clone().cancelled_owned();
        let task = tokio::spawn(self.run(until));
        RunningControl {
            address,
            stop,
            task,
        }
    }
}

// === impl RunningControl ===

impl RunningControl {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, for `AWS_ENDPOINT_URL_IOT`.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Stops and waits until the socket is free.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

impl Drop for RunningControl {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl ControlBindError ===

impl Hint for ControlBindError {
    fn hint(&self) -> Option<String> {
        Some("choose another address, or port 0 for a free one".into())
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

const CLOSE_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
