//! HTTP/1.1 with bounds: a client that sends slowly, reads slowly or opens many connections costs a known amount and
//! takes nothing from MQTT or the database, which need descriptors too.
//!
//! **Contract:** a connection that waits (for its handshake, for a request, for its caller to be known) gives way to a new
//! one when there are too many ([`ConnectionPermits`]), so that nobody who is not known keeps others out. The service
//! finds the [`ConnectionPermit`] in the extensions of a request, and says whose call it is; where it says nothing, as on
//! the admin port, the oldest connection gives way.
//!
//! Bodies are the handler's affair: how many bytes it reads and for how long. The other direction is [`client`].

pub mod client;
mod permits;
mod stall;
mod tls;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;
use tracing::{debug, warn};

use self::stall::Guarded;
use crate::telemetry::Throttle;

pub use self::permits::{
    ActiveCall, ConnectionPermit, ConnectionPermits, HealthCall, PermitsExhausted,
};
pub use self::tls::{ClientChain, HANDSHAKE_WITHIN, ServerTls, Stream};

/// What one listener allows its clients.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections at once. The next one takes the place of one that waits; if all are busy with calls of known callers
    /// it gets an answer that says so, and is closed.
    pub connections: usize,
    /// How long a client may take for the head of a request, idle time before it included.
    pub head: Duration,
    /// How long a client may take to read 64 KiB of an answer, or what is left of it.
    pub stall: Duration,
    /// The answer to a client beyond `connections`: a content type and a body, with status 503.
    pub busy: (&'static str, &'static str),
}

/// Who sent a request, as an extension of it: the other end of the connection, which may be a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

// === impl Bounds ===

impl Bounds {
    /// At most `connections`, but no more than the given part of the descriptors that the process may open.
    pub fn new(connections: usize, part_of_descriptors: u64) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let part = limit.map_or(u64::MAX, |limit| limit / part_of_descriptors.max(1));
        let part = usize::try_from(part).unwrap_or(usize::MAX);
        Self {
            connections: connections.min(part).max(1),
            head: HEAD_WITHIN,
            stall: STALL,
            busy: ("text/plain", "too many connections, try again later\n"),
        }
    }

    fn busy_answer(&self) -> String {
        let (kind, body) = self.busy;
        let length = body.len();
        format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
             retry-after: 1\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}"
        )
    }
}

/// [`serve_with`] without TLS.
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
) where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    serve_with(listener, None, service, bounds, stop).await;
}

/// Answers until `stop` is done, then finishes what is under way. Failing accepts are tried again. With TLS the handshake
/// is made by the task of its connection, within [`HANDSHAKE_WITHIN`], and counts among `bounds.connections`; requests carry
/// the [`ClientChain`] if the client showed one.
pub async fn serve_with<S>(
    listener: TcpListener,
    tls: Option<ServerTls>,
    service: S,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
) where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let permits = ConnectionPermits::new(bounds.connections);
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let busy: Arc<str> = bounds.busy_answer().into();
    let said = Throttle::new(SAY_EVERY, 2);
    let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, Peer(peer)),
            Err(error) if is_the_clients(&error) => continue,
            Err(error) => {
                if let Some(more) = said.admit(&"accept", Instant::now()) {
                    warn!(%error, more, "Cannot accept connections");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Else the end of a long answer waits for the client's delayed ACK. Refused only by a dead connection.
        let _ = stream.set_nodelay(true);
        if let Some(permit) = permits.take() {
            let (service, bounds) = (service.clone(), bounds.clone());
            let (tls, closing) = (tls.clone(), closing.clone());
            tasks.spawn(async move {
                let Some(stream) = secured(stream, peer, tls, &closing, &permit).await else {
                    return;
                };
                connection(stream, peer, service, bounds, closing, permit).await;
            });
            continue;
        }
        if let Some(more) = said.admit(&"busy", Instant::now()) {
            let limit = bounds.connections;
            warn!(limit, more, "Too many connections: new ones are refused");
        }
        // An explanation is a courtesy: beyond that many the connection is just closed. With TLS it would cost a handshake.
        if tls.is_none()
            && let Ok(permit) = refusals.clone().try_acquire_owned()
        {
            tasks.spawn(refuse(stream, busy.clone(), permit));
        }
    }
    drop(listener);
    closing.cancel();
    tasks.close();
    tasks.wait().await;
}

/// The connection after its handshake, if it has one; nothing when that fails, or the listener closes or the permit is
/// lost meanwhile.
async fn secured(
    stream: TcpStream,
    Peer(peer): Peer,
    tls: Option<ServerTls>,
    closing: &CancellationToken,
    permit: &ConnectionPermit,
) -> Option<Stream> {
    let Some(tls) = tls else {
        return Some(Stream::Plain(stream));
    };
    tokio::select! {
        made = tls.accept(stream, peer) => made.ok(),
        () = closing.cancelled() => None,
        () = permit.lost() => None,
    }
}

async fn connection<S>(
    stream: Stream,
    peer: Peer,
    service: S,
    bounds: Bounds,
    closing: CancellationToken,
    permit: ConnectionPermit,
) where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let (chain, shared) = (stream.client_chain(), permit.clone());
    let handler = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(shared.clone());
        if let Some(chain) = &chain {
            request.extensions_mut().insert(chain.clone());
        }
        let mut service = service.clone();
        async move {
            std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request.map(Body::new)).await
        }
    });
    let io = TokioIo::new(Guarded::new(stream, bounds.stall));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(io, handler);
    let mut serving = pin!(serving);
    // In this order: a request that has arrived is answered rather than cut.
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => ended,
        () = permit.lost() => {
            debug!("A connection gives way to a new one");
            // Whoever comes in numbers, unknown, is not to hold descriptors meanwhile.
            if !permit.is_known() {
                return;
            }
            serving.as_mut().graceful_shutdown();
            match timeout(LAST, serving).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
        () = closing.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "A connection ended early");
    }
}

/// Tells a client that there are too many, and reads on for a moment, so that it sees that rather than a reset.
async fn refuse(mut stream: TcpStream, answer: Arc<str>, _place: OwnedSemaphorePermit) {
    let telling = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut read = [0; 1024];
        while stream.read(&mut read).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(REFUSE_WITHIN, telling).await;
}

/// Whether the error belongs to a connection that is gone already.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

// Longer than the pause between two scrapes or two requests of one client, so that connections are used again.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

// 64 KiB in 30 s is 2 KiB/s: slower than any network that is to be used.
const STALL: Duration = Duration::from_secs(30);

// Read and written through two buffers of at most this: 256 connections hold 32 MiB. Longer heads are refused.
const BUFFER_BYTES: usize = 64 * 1024;

// Clients that are being refused with an answer: a descriptor each, for a second at most.
const REFUSALS: usize = 16;
const REFUSE_WITHIN: Duration = Duration::from_secs(1);

// For a request that was on its way to a connection that did nothing.
const LAST: Duration = Duration::from_secs(1);

// Without descriptors accepting fails at once and again: often enough to notice that there are some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const SAY_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
