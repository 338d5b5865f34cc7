//! Sockets and TLS, each on its own, for whoever looks at what is below MQTT.

use std::net::SocketAddr;
use std::time::Duration;

use link::identity::Identity;
use link::tls::{self, TlsProblem};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a TCP connection brought if there is none.
#[derive(Debug)]
pub enum TcpFailure {
    /// Refused, unreachable or another error.
    Failed(std::io::Error),
    /// No answer in time.
    Timeout,
}

/// Connects to the first address that answers. They share the time, so that a dead first one does not use up all of it.
///
/// # Errors
/// What the last one brought that there is a way to; an address without a route, as of IPv6 in a network that has none, says
/// nothing of the others.
pub async fn connect(
    addresses: &[SocketAddr],
    within: Duration,
) -> Result<(TcpStream, SocketAddr), TcpFailure> {
    let deadline = Instant::now() + within;
    let mut last = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(1);
        let until = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
        let failure = match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok((socket, *address)),
            Ok(Err(error)) => TcpFailure::Failed(error),
            Err(_) => TcpFailure::Timeout,
        };
        last = Some(failure.after(last));
    }
    Err(last.unwrap_or(TcpFailure::Timeout))
}

// === impl TcpFailure ===

impl TcpFailure {
    // The one that says more.
    fn after(self, before: Option<Self>) -> Self {
        match before {
            Some(before) if self.is_without_route() => before,
            _ => self,
        }
    }

    // Whether nothing was sent, for want of a route.
    fn is_without_route(&self) -> bool {
        use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable};
        match self {
            Self::Failed(error) => matches!(error.kind(), HostUnreachable | NetworkUnreachable),
            Self::Timeout => false,
        }
    }
}

/// Does the handshake as a session does it. In TLS 1.3 the server looks at our certificate after that.
///
/// # Errors
/// What the failure means.
pub async fn start_tls(
    socket: TcpStream,
    host: &str,
    identity: &Identity,
    options: &tls::TlsOptions,
) -> Result<TlsStream<TcpStream>, TlsProblem> {
    let other = |reason: String| TlsProblem::Other { reason };
    let config =
        tls::client_config(identity, options).map_err(|error| other(link::error::chain(&error)))?;
    let name = ServerName::try_from(host.to_string()).map_err(|error| other(error.to_string()))?;
    TlsConnector::from(config)
        .connect(name, socket)
        .await
        .map_err(|error| tls::diagnose(&error))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn an_address_without_a_route_hides_no_other_failure() {
        let failed = |kind: ErrorKind| TcpFailure::Failed(kind.into());
        let routeless = || failed(ErrorKind::NetworkUnreachable);
        let last = |all: Vec<TcpFailure>| {
            let last = all.into_iter().fold(None, |last, it| Some(it.after(last)));
            format!("{:?}", last.unwrap())
        };
        let refused = || failed(ErrorKind::ConnectionRefused);
        for (all, expected) in [
            (vec![refused(), routeless()], refused()),
            (vec![routeless(), refused()], refused()),
            (vec![TcpFailure::Timeout, routeless()], TcpFailure::Timeout),
            (vec![routeless(), routeless()], routeless()),
            (vec![TcpFailure::Timeout, refused()], refused()),
        ] {
            assert_eq!(last(all), format!("{expected:?}"));
        }
    }
}
