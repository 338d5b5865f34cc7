//! Where to listen: exactly there, or rather there and elsewhere if that is taken.

use std::net::SocketAddr;

use link::error::Failure;
use tokio::net::TcpListener;

use crate::broker::{Broker, BrokerConfig};

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Somebody asked for it: it or nothing.
    Exactly(SocketAddr),
    /// A default: another port will do.
    Rather(SocketAddr),
}

// === impl Listen ===

impl Listen {
    /// The address that is tried first.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Exactly(address) | Self::Rather(address) => address,
        }
    }

    /// The broker, and what to say when it listens elsewhere.
    pub(super) async fn broker(
        self,
        config: BrokerConfig,
    ) -> Result<(Broker, Option<String>), Failure> {
        match Broker::bind(config.clone()).await {
            Ok(broker) => Ok((broker, None)),
            Err(error) if error.is_taken() => {
                let Some(elsewhere) = self.elsewhere() else {
                    return Err(taken(error, "--broker-port"));
                };
                let broker = Broker::bind(BrokerConfig {
                    listen: elsewhere,
                    ..config
                })
                .await?;
                let note = self.note("the broker", broker.local_addr());
                Ok((broker, Some(note)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The socket of the REST API, and what to say when it is elsewhere.
    pub(super) async fn api(self) -> Result<(TcpListener, Option<String>), Failure> {
        self.socket("the API", "--api-listen").await
    }

    /// The socket of the gRPC endpoint, and what to say when it is elsewhere.
    pub(super) async fn grpc(self) -> Result<(TcpListener, Option<String>), Failure> {
        self.socket("gRPC", "--grpc-listen").await
    }

    async fn socket(
        self,
        what: &str,
        flag: &str,
    ) -> Result<(TcpListener, Option<String>), Failure> {
        match server_bridge::api::bind(self.address()).await {
            Ok(listener) => Ok((listener, None)),
            Err(error) if error.is_taken() => {
                let Some(elsewhere) = self.elsewhere() else {
                    return Err(taken(error, flag));
                };
                let listener = server_bridge::api::bind(elsewhere).await?;
                let address = listener.local_addr().map_err(super::failed)?;
                Ok((listener, Some(self.note(what, address))))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn elsewhere(self) -> Option<SocketAddr> {
        match self {
            Self::Exactly(_) => None,
            Self::Rather(address) => Some(SocketAddr::new(address.ip(), 0)),
        }
    }

    fn note(self, what: &str, actual: SocketAddr) -> String {
        let (wanted, port) = (self.address().port(), actual.port());
        format!("port {wanted} is taken, so {what} listens on {port}")
    }
}

fn taken(error: impl Into<Failure>, flag: &str) -> Failure {
    let hint = format!("stop what listens there, or leave `{flag}` away to get a free port");
    error.into().with_hint(hint)
}
