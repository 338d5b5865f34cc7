//! The TLS handshake: whom the broker says it is, and whether it takes our certificate.

mod verdict;

use std::net::IpAddr;
use std::time::Duration;

use link::fault::{Code, Finding};
use link::identity::{Identity, subject_and_issuer};
use link::tls::{self, ALPN_MQTT, MinVersion, TlsOptions, TlsProblem};
use rustls::ProtocolVersion;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use self::verdict::{Dialled, Seen};
use super::context::Context;
use super::findings::{Findings, Next};
use crate::dial::{self, start_tls};
use crate::peer;

/// Shakes hands over a socket that is connected, as a session does.
pub(super) async fn check(context: &Context, socket: TcpStream, findings: &mut Findings) -> Next {
    let Some(identity) = &context.identity else {
        let why = "certificate, key or CA cannot be used";
        findings.skip(TLS, why);
        return Next::Stop(why.into());
    };
    let target = &context.target;
    let dialled = Dialled {
        host: target.host.clone(),
        port: target.port,
        alpn: target.tls.alpn.clone(),
        min_version: target.tls.min_version,
        arn: target.arn.clone(),
    };
    let (problem, is_after) = match shake(context, socket, identity).await {
        Ok(stream) => {
            findings.add(described(&stream, context.target.tls.alpn.as_deref()));
            findings.extend(spoken(&stream, target.tls.min_version));
            return Next::Continue;
        }
        Err(Failed::Handshake(problem)) => (problem, false),
        Err(Failed::After(problem)) => (problem, true),
        Err(Failed::Silent) => {
            // The port accepts and is silent: something else may be spoken there.
            findings.add(match recognised(context, identity).await {
                Some(peer) => verdict::of_peer(peer),
                None => verdict::silent(&target.address()),
            });
            return Next::Stop("the TLS handshake did not end".into());
        }
    };
    let mut seen = look_closer(context, identity, &problem).await;
    seen.certificate_was_seen = is_after;
    findings.add(verdict::of_problem(&problem, &dialled, &seen));
    Next::Stop("the TLS handshake failed".into())
}

// Where a handshake failed.
enum Failed {
    /// Before our side was done with it.
    Handshake(TlsProblem),
    /// After our certificate was sent.
    After(TlsProblem),
    /// Nothing came in time.
    Silent,
}

async fn shake(
    context: &Context,
    socket: TcpStream,
    identity: &Identity,
) -> Result<TlsStream<TcpStream>, Failed> {
    let target = &context.target;
    let starting = start_tls(socket, &target.host, identity, &target.tls);
    let mut stream = match timeout(context.share(HANDSHAKE), starting).await {
        Ok(stream) => stream.map_err(Failed::Handshake)?,
        Err(_) => return Err(Failed::Silent),
    };
    // In TLS 1.3 our side is done before the server has looked at our certificate: its alert comes as the first thing to
    // read. Silence for a moment means that it had no objection.
    let mut byte = [0];
    match timeout(context.at_most(ALERT), stream.read(&mut byte)).await {
        Ok(Err(error)) => Err(Failed::After(tls::diagnose(&error))),
        Ok(Ok(0)) => Err(Failed::After(TlsProblem::ClientRefused { alert: SILENT })),
        Ok(Ok(_)) | Err(_) => Ok(stream),
    }
}

/// Tries what may explain a failure.
async fn look_closer(context: &Context, identity: &Identity, problem: &TlsProblem) -> Seen {
    let target = &context.target;
    let mut seen = Seen::default();
    if matches!(problem, TlsProblem::Version) {
        let all = TlsOptions {
            min_version: MinVersion::Tls12,
            alpn: target.tls.alpn.clone(),
        };
        let stream = again(context, identity, &all).await;
        seen.version = stream.as_ref().map(version_of);
        return seen;
    }
    let offered = &target.tls.alpn;
    let expected = TlsOptions::for_port(target.port).alpn;
    // What the port expects by its number; else, where none was offered, the one of MQTT.
    let other = match (offered, expected) {
        (None, None) => Some(ALPN_MQTT.to_owned()),
        (_, expected) => expected,
    };
    let may_be_protocol = matches!(
        problem,
        TlsProblem::Alpn
            | TlsProblem::Closed
            | TlsProblem::Other { .. }
            | TlsProblem::ClientRefused { .. }
    );
    if other != *offered && may_be_protocol {
        let options = TlsOptions {
            min_version: target.tls.min_version,
            alpn: other.clone(),
        };
        if again(context, identity, &options).await.is_some() {
            seen.works_with = Some(other);
        }
    }
    if seen.works_with.is_none() && peer::may_explain_tls(problem) {
        seen.peer = recognised(context, identity).await;
    }
    seen
}

// Once more with other options; a broker that closes at once did not take them.
async fn again(
    context: &Context,
    identity: &Identity,
    options: &TlsOptions,
) -> Option<TlsStream<TcpStream>> {
    let trying = async {
        let (socket, _) = dial::connect(&context.addresses, AGAIN).await.ok()?;
        let mut stream = start_tls(socket, &context.target.host, identity, options)
            .await
            .ok()?;
        let mut byte = [0];
        match timeout(ALERT, stream.read(&mut byte)).await {
            Ok(Err(_) | Ok(0)) => None,
            Ok(Ok(_)) | Err(_) => Some(stream),
        }
    };
    timeout(context.share(AGAIN), trying).await.ok().flatten()
}

async fn recognised(context: &Context, identity: &Identity) -> Option<peer::Peer> {
    let looking = peer::recognise(&context.target, identity);
    timeout(context.share(RECOGNISE), looking)
        .await
        .ok()
        .flatten()
}

fn described(stream: &TlsStream<TcpStream>, alpn: Option<&str>) -> Finding {
    let (_, session) = stream.get_ref();
    let server = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(subject_and_issuer)
        .map_or(String::new(), |(subject, issuer)| {
            format!(", broker `{subject}` from `{issuer}`")
        });
    let alpn = alpn.map_or(String::new(), |alpn| {
        format!(", application protocol `{alpn}`")
    });
    Finding::ok(
        TLS,
        format!(
            "{}{server}{alpn}; our certificate was not refused",
            version_of(stream)
        ),
    )
}

/// A broker that takes the older version only is worth a word: Go peers of this link offer nothing but 1.3.
fn spoken(stream: &TlsStream<TcpStream>, offered: MinVersion) -> Option<Finding> {
    let older = version_of(stream) == "TLS 1.2" && offered == MinVersion::Tls12;
    older.then(|| {
        Finding::info(VERSION, "the broker took TLS 1.2 although 1.3 was offered")
            .why("a peer that offers nothing but TLS 1.3, as Go's SDK for CloudEvents does, cannot connect")
    })
}

fn version_of(stream: &TlsStream<TcpStream>) -> &'static str {
    match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    }
}

/// Whether a host is dialled by address, for which no server name is sent.
fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

// A certificate that AWS IoT Core does not know ends the connection with no word after the handshake.
const SILENT: &str = "none, closed right after our certificate";

// Two round trips around the earth, and a broker that takes its time.
const HANDSHAKE: Duration = Duration::from_secs(2);

// Longer than any round trip on earth, and a broker that takes its time.
const ALERT: Duration = Duration::from_millis(600);

const AGAIN: Duration = Duration::from_secs(2);

const RECOGNISE: Duration = Duration::from_millis(2500);

const TLS: Code = Code::new(220);
const VERSION: Code = Code::new(224);
