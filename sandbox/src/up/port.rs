//! Where to listen: exactly there, or rather there and elsewhere if that is taken.

use std::net::SocketAddr;

use link::error::Failure;
use server_bridge::api;
use tokio::net::TcpListener;

use crate::broker::{Broker, BrokerConfig};

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Somebody asked for it: it or nothing.
    Exact(SocketAddr),
    /// A default: another port will do.
    Preferred(SocketAddr),
}

// === impl ListenAddress ===

impl ListenAddress {
    /// The address that is tried first.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Exact(address) | Self::Preferred(address) => address,
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
                // The others were asked for: they or nothing.
                for (address, flag) in [
                    (config.alpn_listen, "--alpn-listen"),
                    (config.https_listen, "--https-listen"),
                ] {
                    if address.is_some() && error.address() == address {
                        return Err(taken(error, flag));
                    }
                }
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
        self.socket(api::REST, "--api-listen").await
    }

    /// The socket of the gRPC endpoint, and what to say when it is elsewhere.
    pub(super) async fn grpc(self) -> Result<(TcpListener, Option<String>), Failure> {
        self.socket(api::GRPC, "--grpc-listen").await
    }

    async fn socket(
        self,
        what: &'static str,
        flag: &str,
    ) -> Result<(TcpListener, Option<String>), Failure> {
        match api::bind(self.address(), what).await {
            Ok(listener) => Ok((listener, None)),
            Err(error) if error.is_taken() => {
                let Some(elsewhere) = self.elsewhere() else {
                    return Err(taken(error, flag));
                };
                let listener = api::bind(elsewhere, what).await?;
                let address = listener.local_addr().map_err(super::failed)?;
                Ok((listener, Some(self.note(what, address))))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn elsewhere(self) -> Option<SocketAddr> {
        match self {
            Self::Exact(_) => None,
            Self::Preferred(address) => Some(SocketAddr::new(address.ip(), 0)),
        }
    }

    fn note(self, what: &str, actual: SocketAddr) -> String {
        let (wanted, port) = (self.address().port(), actual.port());
        format!("port {wanted} is taken, so {what} listens on {port}")
    }
}

fn taken(error: impl Into<Failure>, flag: &str) -> Failure {
    let hint = match flag {
        // Without these nothing listens.
        "--alpn-listen" | "--https-listen" => {
            format!("stop what listens there, or give port 0 to `{flag}` to get a free port")
        }
        _ => format!("stop what listens there, or leave `{flag}` away to get a free port"),
    };
    error.into().with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_told_with_what_it_is_for_and_its_flag() {
        let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ListenAddress::Exact(held.local_addr().unwrap());
        for (failure, what, flag) in [
            (address.api().await, "for the REST API", "--api-listen"),
            (address.grpc().await, "for gRPC", "--grpc-listen"),
        ] {
            let failure = failure.unwrap_err();
            assert!(failure.to_string().contains(what), "{failure}");
            assert!(failure.hint().unwrap().contains(flag), "{failure}");
        }
    }
}
