//! The operator's HTTP port: `/livez`, `/readyz`, `/metrics`.
//!
//! `/livez` is about the process only: an outage of the broker or the database never restarts a pod
//! (docs/ARCHITECTURE.md, invariant G). `/readyz` names each check; those that a request excludes (`?exclude=NAME`) do
//! not count in its status. The port is bound early, so that a wrong address is found before any work starts, and
//! served late; it goes on answering while components drain.

mod checks;
mod listening;
mod readiness;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use prometheus::Registry;
use tokio::net::TcpListener;

pub use self::checks::{Check, CheckOutcome, Checks, Latch, Report};
pub use self::listening::{ListeningError, write_listening_file};
use crate::error::Hint;
use crate::http::{self, Bounds};
use crate::shutdown::Drain;

/// A bound port that does not answer yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why the port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listen for health and metrics on `{address}`")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

// === impl Admin ===

impl Admin {
    /// Binds the address; port 0 takes any free one.
    ///
    /// # Errors
    /// [`BindError`] names the address; its hint says what to do about it.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let fail = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address })
    }

    /// The address in use, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the drain was requested and every component registered on it has finished, then
    /// gives open connections a few seconds. Do not register the admin port itself on the drain.
    pub async fn serve(self, checks: Checks, registry: Registry, drain: Drain) {
        let router = routes::router(checks, registry, drain.clone());
        let stop = {
            let drain = drain.clone();
            async move { drain.drained().await }
        };
        let serving = http::serve(self.listener, router, bounds(), stop);
        let give_up = async {
            drain.drained().await;
            tokio::time::sleep(CLOSE_WITHIN).await;
        };
        tokio::select! {
            // Retries failing accepts by itself and returns only after the signal.
            () = serving => {}
            () = give_up => {}
        }
    }
}

// === impl BindError ===

impl Hint for BindError {
    fn hint(&self) -> Option<String> {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => Some(format!(
                "stop the process that listens on port {}, or choose another port",
                self.address.port()
            )),
            io::ErrorKind::AddrNotAvailable => Some(format!(
                "choose an address of this host instead of {}, for example 127.0.0.1 or 0.0.0.0",
                self.address.ip()
            )),
            io::ErrorKind::PermissionDenied => Some("choose a port of 1024 or above".into()),
            _ => None,
        }
    }
}

/// Probes and scrapes are a handful; beyond that, clients must not use up the descriptors of the API, MQTT or the
/// database.
fn bounds() -> Bounds {
    Bounds {
        // Shorter than the period of a kubelet's probe, which opens a connection each time.
        head: HEAD_WITHIN,
        ..Bounds::new(CONNECTIONS, DESCRIPTORS_PART)
    }
}

const CONNECTIONS: usize = 64;
const DESCRIPTORS_PART: u64 = 16;
const HEAD_WITHIN: Duration = Duration::from_secs(5);

// A scrape takes milliseconds; a client that has not read the answer by then is gone.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
