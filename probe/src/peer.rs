//! Finds out what speaks at a port that does not answer as MQTT over TLS does.
//!
//! Asked only after a failure that another protocol may explain. It makes connections of its own, with no client id,
//! and takes no more than [`WITHIN`].

use std::time::Duration;

use link::error::Hint;
use link::identity::Identity;
use link::mqtt::ConnectError;
use link::tls::TlsProblem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dial;
use crate::target::Target;

/// What speaks there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Peer {
    /// MQTT without TLS.
    #[error("MQTT without TLS is spoken there")]
    PlainMqtt,
    /// HTTP without TLS, as plain WebSocket ports speak it.
    #[error("HTTP is spoken there, not MQTT over TLS")]
    Http,
    /// HTTP inside TLS, as WebSocket ports speak it.
    #[error("HTTP is spoken there over TLS, not MQTT")]
    Https,
    /// MQTT inside TLS, and an older one.
    #[error("MQTT 3.1.1 is spoken there, not MQTT 5")]
    OlderMqtt,
    /// Something else inside TLS, which answers.
    #[error("what answers there over TLS speaks no MQTT")]
    Other,
}

// === impl Peer ===

impl Hint for Peer {
    fn hint(&self) -> Option<String> {
        let ports = "the port of MQTT over TLS: 8883, or 443 on AWS IoT Core";
        Some(match self {
            Self::PlainMqtt => format!(
                "every connection uses mutual TLS, and a port without it is not used: give {ports}"
            ),
            Self::Http | Self::Https => format!(
                "MQTT over WebSocket and HTTPS proxies are not used: give {ports}, without a proxy in between"
            ),
            Self::OlderMqtt => {
                "agent, bridge and probe speak MQTT 5 alone: use a broker that does".into()
            }
            Self::Other => format!("check host and port: give {ports}"),
        })
    }
}

/// Whether another protocol may be why no connection came about.
pub fn may_explain(error: &ConnectError) -> bool {
    match error {
        ConnectError::ClosedBeforeConnAck | ConnectError::Protocol(_) => true,
        ConnectError::Tls(problem) => may_explain_tls(problem),
        _ => false,
    }
}

/// Whether another protocol may be why a handshake failed.
pub fn may_explain_tls(problem: &TlsProblem) -> bool {
    matches!(
        problem,
        TlsProblem::Closed | TlsProblem::NotTls | TlsProblem::Other { .. }
    )
}

/// Asks the port; `None` when it does not give itself away.
pub async fn recognise(target: &Target, identity: &Identity) -> Option<Peer> {
    let looking = async {
        match plain(target).await {
            Some(peer) => Some(peer),
            None => encrypted(target, identity).await,
        }
    };
    timeout(WITHIN, looking).await.ok().flatten()
}

async fn plain(target: &Target) -> Option<Peer> {
    let mqtt = ask(dial(target).await?, CONNECT).await;
    if mqtt.first() == Some(&CONNACK) {
        return Some(Peer::PlainMqtt);
    }
    if mqtt.starts_with(HTTP) {
        return Some(Peer::Http);
    }
    // Waits for the rest of what it takes for the head of a request.
    let http = ask(dial(target).await?, GET).await;
    http.starts_with(HTTP).then_some(Peer::Http)
}

async fn encrypted(target: &Target, identity: &Identity) -> Option<Peer> {
    let mut other = None;
    // A WebSocket port may answer only what is no HTTP, to say so.
    for question in [CONNECT, GET] {
        let socket = dial(target).await?;
        let stream = dial::start_tls(socket, &target.host, identity, &target.tls);
        let answer = ask(stream.await.ok()?, question).await;
        if answer.starts_with(HTTP) {
            return Some(Peer::Https);
        }
        match answer.as_slice() {
            [] => {}
            [CONNACK, OLDER_CONNACK_BYTES, ..] => return Some(Peer::OlderMqtt),
            [CONNACK | DISCONNECT, ..] => return None,
            _ => other = Some(Peer::Other),
        }
    }
    other
}

async fn dial(target: &Target) -> Option<TcpStream> {
    let address = (target.host.as_str(), target.port);
    TcpStream::connect(address).await.ok()
}

// The beginning of the answer; empty when there is none.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, question: &[u8]) -> Vec<u8> {
    let mut answer = [0; HTTP.len()];
    let asking = async {
        stream.write_all(question).await.ok()?;
        stream.read_exact(&mut answer[..1]).await.ok()?;
        // A CONNACK may be shorter than the beginning of HTTP, and is known by its first byte and its size.
        let known_by = match answer[0] {
            first if first == HTTP[0] => &mut answer[1..],
            CONNACK => &mut answer[1..2],
            _ => &mut [],
        };
        stream.read_exact(known_by).await.ok()?;
        Some(())
    };
    match timeout(ANSWER_WITHIN, asking).await {
        Ok(Some(())) => answer.to_vec(),
        _ => Vec::new(),
    }
}

/// The longest that asking takes.
pub const WITHIN: Duration = Duration::from_secs(4);

// Longer than a round trip to the other side of the world.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

// MQTT 5, clean start, a keep-alive of five seconds, no properties, and no client id: nobody is thrown out by it.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x05\x00\x00\x00";

/// The first byte of CONNACK.
pub const CONNACK: u8 = 0x20;

const DISCONNECT: u8 = 0xe0;

/// What follows the first byte of CONNACK in MQTT 3.1.1: two bytes more, and no properties, which MQTT 5 always has.
pub const OLDER_CONNACK_BYTES: u8 = 2;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

const HTTP: &[u8] = b"HTTP/";
