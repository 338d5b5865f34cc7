//! TLS for a listener: the handshake within a bound of time, and the stream that comes of it.
//!
//! **Contract:** the maker of a [`ServerTls`] gives the configuration of each handshake, so that a replaced
//! certificate is used without a restart. A handshake is made by the task of its connection, never by the one that
//! accepts.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus::IntCounter;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::info;

use crate::telemetry::Throttle;

/// How a listener speaks TLS.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    failed: IntCounter,
    said: Arc<Throttle<String>>,
}

/// The certificate chain that a client showed and that was verified, leaf first; as an extension of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientChain(pub Arc<[CertificateDer<'static>]>);

/// A connection, with TLS or without.
#[derive(Debug)]
pub enum Stream {
    /// As it came.
    Plain(TcpStream),
    /// After its handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

// === impl ServerTls ===

impl ServerTls {
    /// What changes meanwhile (certificate, CA) is the affair of the resolver and the verifier in `config`. `failed`
    /// counts the handshakes that came to nothing.
    pub fn new(config: Arc<ServerConfig>, failed: IntCounter) -> Self {
        Self {
            config,
            failed,
            said: Arc::new(Throttle::new(SAY_EVERY, KINDS)),
        }
    }

    /// The handshake of one connection, within [`HANDSHAKE_WITHIN`].
    ///
    /// # Errors
    /// The client's or ours, which was counted and said; `TimedOut` after the time given.
    pub async fn accept(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<Stream> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let done = match timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "the client did not finish it within {} s",
                    HANDSHAKE_WITHIN.as_secs()
                ),
            )),
        };
        match done {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => {
                self.failed.inc();
                // What a library says of certificates holds names and times, never a key. Port scans and probes of load
                // balancers end here too, so it is no warning.
                let text = error.to_string();
                let kind = text.chars().take(KIND_CHARS).collect();
                if let Some(more) = self.said.admit(&kind, Instant::now()) {
                    info!(%peer, more, "A TLS handshake failed: {text}");
                }
                Err(error)
            }
        }
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

// === impl Stream ===

impl Stream {
    /// What the client showed and the handshake verified.
    pub fn client_chain(&self) -> Option<ClientChain> {
        let Self::Tls(stream) = self else {
            return None;
        };
        let chain = stream.get_ref().1.peer_certificates()?;
        let owned = chain.iter().map(|der| der.clone().into_owned());
        Some(ClientChain(owned.collect()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// How long a client may take for its handshake: three round trips over any network, and no more.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

// One line per kind of failure and minute.
const SAY_EVERY: Duration = Duration::from_secs(60);
const KINDS: usize = 32;
const KIND_CHARS: usize = 60;
