//! The sockets and what comes through them before CONNECT: TLS, ALPN, HTTPS for clocks (docs/IOT-CORE.md §2 point 1).
//!
//! As on IoT Core a handshake proves only possession of a key; whether the certificate is known and ACTIVE is
//! decided at CONNECT.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use link::tls::ALPN_MQTT;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::socket::Socket;
use self::tls::{ALPN_HTTPS, Purpose, Tls};
use super::connection::{self, Peer};
use super::faults::{Front, Handshake};
use super::handle::Addresses;
use super::notices::Notice;
use super::registry::Fingerprint;
use super::shared::Shared;
use super::{BrokerBindError, BrokerConfig};

mod https;
mod socket;
mod tls;

/// The bound sockets and the TLS they speak.
pub(super) struct Listener {
    sockets: Vec<BoundSocket>,
    tls: Arc<Tls>,
}

/// One socket.
struct BoundSocket {
    socket: Socket,
    purpose: Purpose,
    /// Without faults.
    acceptor: TlsAcceptor,
    /// Whether faults of port and handshake are this one's.
    first: bool,
}

// === impl Listener ===

impl Listener {
    pub(super) async fn bind(config: &BrokerConfig) -> Result<Self, BrokerBindError> {
        let tls = Tls::new(config);
        let alpn = config.require_alpn;
        let all = [
            (Some(config.listen), Purpose::Mqtt { alpn }),
            (config.alpn_listen, Purpose::Either),
            (config.https_listen, Purpose::Https),
        ];
        let mut sockets = Vec::new();
        for (address, purpose) in all {
            let Some(address) = address else { continue };
            let acceptor = tls.acceptor(purpose, &Front::default())?;
            let socket = Socket::bind(address)
                .await
                .map_err(|source| BrokerBindError::Listen { address, source })?;
            sockets.push(BoundSocket {
                socket,
                purpose,
                acceptor,
                first: sockets.is_empty(),
            });
        }
        Ok(Self {
            sockets,
            tls: Arc::new(tls),
        })
    }

    pub(super) fn addresses(&self) -> Addresses {
        let of = |wanted: fn(&Purpose) -> bool| {
            let mut all = self.sockets.iter();
            let found = all.find(|bound| wanted(&bound.purpose));
            found.map(|bound| bound.socket.address())
        };
        Addresses {
            mqtt: of(|purpose| matches!(purpose, Purpose::Mqtt { .. }))
                .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            alpn: of(|purpose| *purpose == Purpose::Either),
            https: of(|purpose| *purpose == Purpose::Https),
        }
    }

    /// Accepts until stopped; each connection is one task on the tracker, and there are at most as many as the limits
    /// say: one more is closed at once, so that connected clients keep their descriptors and memory.
    pub(super) async fn run(
        self,
        shared: Arc<Shared>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let room = Arc::new(Semaphore::new(shared.environment.limits.connections));
        let tls = &self.tls;
        let all = self.sockets.into_iter().map(|bound| {
            let accepting = Accepting {
                shared: shared.clone(),
                tasks: tasks.clone(),
                stop: stop.clone(),
                room: room.clone(),
                tls: tls.clone(),
            };
            bound.run(accepting)
        });
        join_all(all).await;
    }
}

/// What accepted connections need.
struct Accepting {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
    room: Arc<Semaphore>,
    tls: Arc<Tls>,
}

// === impl BoundSocket ===

impl BoundSocket {
    async fn run(mut self, all: Accepting) {
        let mut faults = all.shared.environment.faults.watch();
        loop {
            if self.first {
                let port = faults.borrow_and_update().front.port;
                if let Err(error) = self.socket.set_port(port).await {
                    let text = format!("Listening again failed: {error}");
                    let from = self.socket.address();
                    all.shared.notices.write(&Notice::Accept, from, text);
                    sleep(ACCEPT_PAUSE).await;
                    if all.stop.is_cancelled() {
                        break;
                    }
                    continue;
                }
                all.shared.environment.faults.port_is(Some(port));
            }
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = faults.changed(), if self.first => continue,
                () = all.stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, from)) => self.serve(stream, from, &all),
                Err(error) => {
                    // Out of file descriptors, most likely: waiting is all there is to do.
                    let text = format!("Accept failed: {error}");
                    let from = self.socket.address();
                    all.shared.notices.write(&Notice::Accept, from, text);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if self.first {
            all.shared.environment.faults.port_is(None);
        }
    }

    fn serve(&self, stream: TcpStream, from: SocketAddr, all: &Accepting) {
        let Ok(permit) = all.room.clone().try_acquire_owned() else {
            let text = "Closed a connection: there are as many as this broker takes";
            all.shared.notices.write(&Notice::Full, from, text);
            return;
        };
        let settings = all.shared.environment.faults.get();
        let front = &settings.front;
        let acceptor = match *front == Front::default() {
            true => Ok(self.acceptor.clone()),
            false => all.tls.acceptor(self.purpose, front),
        };
        let acceptor = match acceptor {
            Ok(acceptor) => acceptor,
            Err(error) => {
                let text = format!("TLS cannot be set up with these faults: {error}");
                all.shared.notices.write(&Notice::Tls, from, text);
                return;
            }
        };
        let handshake = match self.first {
            true => front.handshake,
            false => Handshake::Normal,
        };
        let (purpose, shared, stop) = (self.purpose, all.shared.clone(), all.stop.clone());
        all.tasks.spawn(async move {
            tokio::select! {
                () = serve(stream, from, acceptor, purpose, handshake, shared) => {}
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    from: SocketAddr,
    acceptor: TlsAcceptor,
    purpose: Purpose,
    handshake: Handshake,
    shared: Arc<Shared>,
) {
    let _ = stream.set_nodelay(true);
    let to = stream.local_addr().ok();
    // One deadline for the handshake and CONNECT: a client that sends nothing, or a byte now and then, is closed.
    let deadline = Instant::now() + shared.environment.limits.connect_timeout;
    match handshake {
        Handshake::Normal => {}
        Handshake::Closed => return,
        Handshake::Unanswered => return sleep_until(deadline).await,
        Handshake::Plaintext => {
            // What is unread when a socket closes would reset it before the answer is seen.
            let mut hello = [0; HELLO];
            let _ = timeout_at(deadline, stream.read(&mut hello)).await;
            let _ = stream.write_all(PLAINTEXT).await;
            let _ = stream.shutdown().await;
            return;
        }
    }
    let accepting = timeout_at(deadline, acceptor.accept(stream)).await;
    let mut stream = match accepting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let text = format!("TLS handshake failed: {error}");
            shared.notices.write(&Notice::Tls, from, text);
            return;
        }
        Err(_) => return,
    };
    let (_, tls) = stream.get_ref();
    let alpn = tls.alpn_protocol();
    let settings = shared.environment.faults.get();
    if purpose == Purpose::Https || alpn == Some(ALPN_HTTPS.as_bytes()) {
        let (now, skew) = (shared.presence.now(), settings.clock_skew);
        let _ = timeout_at(deadline, https::answer(&mut stream, now, skew)).await;
        return;
    }
    if purpose.wants_alpn(&settings.front) && alpn != Some(ALPN_MQTT.as_bytes()) {
        let text = "Refused a client without ALPN `x-amzn-mqtt-ca`";
        shared.notices.write(&Notice::Alpn, from, text);
        return;
    }
    let Some(certificate) = tls.peer_certificates().and_then(<[_]>::first) else {
        return;
    };
    let peer = Peer {
        certificate: Fingerprint::of(certificate),
        sockets: to.map(|to| (from, to)),
        deadline,
    };
    Box::pin(connection::serve(stream, peer, shared)).await;
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

// More than a client's first message has.
const HELLO: usize = 4096;

const PLAINTEXT: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
