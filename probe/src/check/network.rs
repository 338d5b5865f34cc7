//! The stages below MQTT: names, sockets and the handshake, each on its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use link::identity::{Identity, subject_and_issuer};
use link::tls::{self, TlsProblem};
use rustls::ProtocolVersion;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::Staged;
use super::finding::{Finding, LookupFailure, Port443, Subject};
use crate::dial::{connect, start_tls};
use crate::peer;
use crate::target::Target;

pub(super) async fn look_up(
    subject: &Subject,
    within: Duration,
) -> Staged<(Vec<SocketAddr>, String)> {
    let Subject { host, port, .. } = subject;
    if let Ok(address) = host.parse::<IpAddr>() {
        let detail = "an address, nothing to look up; AWS IoT Core wants its name".to_string();
        return Ok((vec![SocketAddr::new(address, *port)], detail));
    }
    let fail = |failure| Err(Finding::of_lookup(&failure, host));
    match timeout(within, tokio::net::lookup_host((host.as_str(), *port))).await {
        Err(_) => fail(LookupFailure::Timeout),
        Ok(Err(error)) => fail(LookupFailure::Failed(error)),
        Ok(Ok(found)) => {
            let addresses: Vec<SocketAddr> = found.collect();
            if addresses.is_empty() {
                return fail(LookupFailure::Empty);
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
        Err(failure) => {
            let other = port_443(addresses, subject, identity).await;
            let is_set = |name: &&str| std::env::var_os(name).is_some_and(|it| !it.is_empty());
            let proxy = PROXY_VARIABLES.into_iter().find(is_set);
            Err(Finding::of_tcp(&failure, subject, other).with_proxy(proxy))
        }
    }
}

/// Does the handshake; gives the time it took.
pub(super) async fn handshake(
    socket: TcpStream,
    target: &Target,
    subject: &Subject,
    identity: &Arc<Identity>,
    within: Duration,
) -> Staged<(Duration, String)> {
    let started = Instant::now();
    let starting = start_tls(socket, &target.host, identity, &target.tls);
    let mut stream = match timeout(within, starting).await {
        Err(_) => return Err(Finding::tls_timeout()),
        Ok(Err(problem)) => return Err(of_tls(&problem, target, subject, identity).await),
        Ok(Ok(stream)) => stream,
    };
    let took = started.elapsed();
    // In TLS 1.3 our side is done before the server has looked at our certificate: its alert comes as the first
    // thing to read. Silence for a moment means that it had no objection; the moment is no part of the handshake.
    let mut byte = [0];
    match timeout(ALERT_WAIT, stream.read(&mut byte)).await {
        Ok(Err(error)) => return Err(Finding::of_tls(&tls::diagnose(&error), subject)),
        Ok(Ok(0)) => return Err(Finding::of_tls(&TlsProblem::Closed, subject)),
        Ok(Ok(_)) | Err(_) => {}
    }
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let server = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(subject_and_issuer)
        .map_or(String::new(), |(subject, issuer)| {
            format!(", server `{subject}` from `{issuer}`")
        });
    Ok((took, format!("{version}{server}")))
}

/// What a failed handshake means; that another protocol is spoken there says more than how it looked to TLS.
async fn of_tls(
    problem: &TlsProblem,
    target: &Target,
    subject: &Subject,
    identity: &Identity,
) -> Finding {
    if peer::may_explain_tls(problem)
        && let Some(peer) = peer::recognise(target, identity).await
    {
        return Finding::of_peer(peer);
    }
    Finding::of_tls(problem, subject)
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

// Where other programs are told of a proxy.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

const HTTPS: u16 = 443;

// Longer than any round trip on earth.
const ALERT_WAIT: Duration = Duration::from_millis(300);

// Only to add a sentence to a failure that is certain already.
const SECOND_TRY: Duration = Duration::from_secs(3);
