//! The stages below MQTT: names, sockets and the handshake, each on its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use link::identity::{Identity, subject_and_issuer};
use link::tls::{self, TlsProblem};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Staged;
use super::finding::{Finding, LookupSeen, Port443, Subject, TcpSeen};

pub(super) async fn look_up(
    subject: &Subject,
    within: Duration,
) -> Staged<(Vec<SocketAddr>, String)> {
    let Subject { host, port, .. } = subject;
    if let Ok(address) = host.parse::<IpAddr>() {
        let detail = "an address, nothing to look up; AWS IoT Core wants its name".to_string();
        return Ok((vec![SocketAddr::new(address, *port)], detail));
    }
    let fail = |seen| Err(Finding::of_lookup(&seen, host));
    match timeout(within, tokio::net::lookup_host((host.as_str(), *port))).await {
        Err(_) => fail(LookupSeen::Timeout),
        Ok(Err(error)) => fail(LookupSeen::Failed(error)),
        Ok(Ok(found)) => {
            let addresses: Vec<SocketAddr> = found.collect();
            if addresses.is_empty() {
                return fail(LookupSeen::Empty);
            }
            let texts: Vec<String> = addresses
                .iter()
                .map(|address| address.ip().to_string())
                .collect();
            let detail = texts.join(", ");
            Ok((addresses, detail))
        }
    }
}

pub(super) async fn dial(
    addresses: &[SocketAddr],
    subject: &Subject,
    identity: &Arc<Identity>,
    within: Duration,
) -> Staged<(TcpStream, String)> {
    match connect(addresses, within).await {
        Ok((socket, address)) => Ok((socket, format!("connected to {address}"))),
        Err(seen) => {
            let other = port_443(addresses, subject, identity).await;
            Err(Finding::of_tcp(&seen, subject, other))
        }
    }
}

pub(super) async fn handshake(
    socket: TcpStream,
    subject: &Subject,
    identity: &Arc<Identity>,
    options: &tls::TlsOptions,
    within: Duration,
) -> Staged<((), String)> {
    let of_tls = |problem: &TlsProblem| Finding::of_tls(problem, subject);
    let mut stream =
        match timeout(within, start_tls(socket, &subject.host, identity, options)).await {
            Err(_) => return Err(Finding::tls_timeout()),
            Ok(Err(problem)) => return Err(of_tls(&problem)),
            Ok(Ok(stream)) => stream,
        };
    // In TLS 1.3 our side is done before the server has looked at our certificate: its alert comes as the first
    // thing to read. Silence for a moment means that it had no objection.
    let mut byte = [0];
    match timeout(ALERT_WAIT, stream.read(&mut byte)).await {
        Ok(Err(error)) => return Err(of_tls(&tls::diagnose(&error))),
        Ok(Ok(0)) => return Err(of_tls(&TlsProblem::Closed)),
        Ok(Ok(_)) | Err(_) => {}
    }
    let (_, session) = stream.get_ref();
    let version = session
        .protocol_version()
        .map_or("TLS".to_string(), |version| {
            format!("{version:?}").replace('_', ".")
        });
    let server = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(subject_and_issuer)
        .map_or(String::new(), |(subject, issuer)| {
            format!(", server `{subject}` from `{issuer}`")
        });
    Ok(((), format!("{version}{server}")))
}

async fn connect(
    addresses: &[SocketAddr],
    within: Duration,
) -> Result<(TcpStream, SocketAddr), TcpSeen> {
    let deadline = Instant::now() + within;
    let mut seen = TcpSeen::Timeout;
    for (index, address) in addresses.iter().enumerate() {
        // The addresses share the time that is left, so that a dead first one does not use up all of it.
        let left = u32::try_from(addresses.len() - index).unwrap_or(1);
        let until = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
        match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok((socket, *address)),
            Ok(Err(error)) => seen = TcpSeen::Failed(error),
            Err(_) => {}
        }
    }
    Err(seen)
}

async fn port_443(
    addresses: &[SocketAddr],
    subject: &Subject,
    identity: &Arc<Identity>,
) -> Port443 {
    if subject.port == HTTPS {
        return Port443::NotTried;
    }
    let addresses: Vec<SocketAddr> = addresses
        .iter()
        .map(|address| SocketAddr::new(address.ip(), HTTPS))
        .collect();
    let Ok((socket, _)) = connect(&addresses, SECOND_TRY).await else {
        return Port443::Closed;
    };
    let options = tls::TlsOptions::for_port(HTTPS);
    match timeout(
        SECOND_TRY,
        start_tls(socket, &subject.host, identity, &options),
    )
    .await
    {
        Ok(Ok(_)) => Port443::Works,
        _ => Port443::TcpOnly,
    }
}

async fn start_tls(
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

const HTTPS: u16 = 443;

// Longer than any round trip on earth.
const ALERT_WAIT: Duration = Duration::from_millis(300);

// Only to add a sentence to a failure that is certain already.
const SECOND_TRY: Duration = Duration::from_secs(3);
