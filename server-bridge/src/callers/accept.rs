//! Accepts gRPC connections, makes their TLS handshakes, and counts them until they end.
//!
//! **Contract:** one slow handshake delays nobody: each is made by a task of its own, which has a permit among the
//! connections from the beginning and [`HANDSHAKE_WITHIN`](link::http::HANDSHAKE_WITHIN) for it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use link::http::{ConnectionPermit, ConnectionPermits, ServerTls, Stream as Socket};
use link::telemetry::Throttle;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::transport::server::Connected;
use tracing::warn;

use super::Connection;

/// One connection. Its permit is free again when it is dropped.
#[derive(Debug)]
pub struct Accepted {
    socket: Socket,
    connection: Connection,
    permit: ConnectionPermit,
}

/// Accepts until `stop` is done or the stream is dropped. At most `connections` are open at once, those in their handshake
/// included; one more takes the permit of an idle one, and is closed if there is none. A failing accept is said
/// and tried again, so the stream has no errors; they are in its type because that is what `tonic` takes.
pub fn incoming(
    listener: TcpListener,
    tls: Option<ServerTls>,
    connections: usize,
    stop: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = io::Result<Accepted>> + Send {
    let (ready, accepted) = mpsc::channel(READY);
    tokio::spawn(accept(listener, tls, connections, ready, stop));
    unfold(accepted, |mut accepted| async move {
        let next = accepted.recv().await?;
        Some((Ok(next), accepted))
    })
}

async fn accept(
    listener: TcpListener,
    tls: Option<ServerTls>,
    connections: usize,
    ready: mpsc::Sender<Accepted>,
    stop: impl Future<Output = ()> + Send,
) {
    let permits = ConnectionPermits::new(connections);
    let said = Throttle::new(SAY_EVERY, 2);
    let mut stop = pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(more) = said.admit(&"accept", Instant::now()) {
                        warn!(%error, more, "Cannot accept gRPC connections");
                    }
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = ready.closed() => return,
            () = &mut stop => return,
        };
        let Some(permit) = permits.take() else {
            if let Some(more) = said.admit(&"busy", Instant::now()) {
                warn!(
                    connections,
                    more, "Too many gRPC connections: new ones are closed"
                );
            }
            continue;
        };
        // A small message must not wait for the client's delayed ACK. Refused only by a dead connection.
        let _ = stream.set_nodelay(true);
        tokio::spawn(hand_over(stream, peer, tls.clone(), permit, ready.clone()));
    }
}

async fn hand_over(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<ServerTls>,
    permit: ConnectionPermit,
    ready: mpsc::Sender<Accepted>,
) {
    let socket = match tls {
        None => Socket::Plain(stream),
        Some(tls) => tokio::select! {
            made = tls.accept(stream, peer) => match made {
                Ok(socket) => socket,
                // Counted and said.
                Err(_) => return,
            },
            () = permit.lost() => return,
        },
    };
    let connection = Connection::new(peer, socket.client_chain().as_ref());
    // Nobody takes it when the server has stopped.
    let _ = ready
        .send(Accepted {
            socket,
            connection,
            permit,
        })
        .await;
}

// === impl Accepted ===

impl Accepted {
    /// Its permit among the connections.
    pub fn permit(&self) -> &ConnectionPermit {
        &self.permit
    }
}

impl Connected for Accepted {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

// Handed over as fast as the server polls; a few may come between two polls.
const READY: usize = 16;

// Without descriptors accepting fails at once and again: often enough to notice that there are some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const SAY_EVERY: Duration = Duration::from_secs(60);
