//! One listener and a pair of pumps per connection, with the switches both proxies turn.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{ANY_PORT, lock};

/// How long the next connection lives; `None` for as long as its ends want.
pub(super) type Lifetime = Box<dyn Fn() -> Option<Duration> + Send + Sync>;

/// What happens to traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Pass,
    Stall,
    Refuse,
}

/// A running proxy; dropping it resets every connection.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    lifetime: Lifetime,
    mode: watch::Sender<Mode>,
    // Counted up to break every open connection.
    breaks: watch::Sender<u64>,
    calm: watch::Sender<bool>,
    cuts: AtomicU64,
    open: AtomicUsize,
}

// === impl Relay ===

impl Relay {
    pub(super) async fn start(target: SocketAddr, lifetime: Lifetime) -> io::Result<Self> {
        let listener = TcpListener::bind(ANY_PORT).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            lifetime,
            mode: watch::Sender::new(Mode::Pass),
            breaks: watch::Sender::new(0),
            calm: watch::Sender::new(false),
            cuts: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    pub(super) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    pub(super) fn calm(&self, calm: bool) {
        self.shared.calm.send_replace(calm);
    }

    pub(super) fn mode(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    pub(super) fn break_all(&self) {
        self.shared.breaks.send_modify(|breaks| *breaks += 1);
    }

    pub(super) fn retarget(&self, target: SocketAddr) {
        *lock(&self.shared.target) = target;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.break_all();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // An error here is about one connection (reset before it was accepted), never about the listener.
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if *shared.mode.borrow() == Mode::Refuse {
            reset(&client);
            continue;
        }
        // Subscribed here and not in the task: a break right after the connect must not be missed.
        let breaks = shared.breaks.subscribe();
        tokio::spawn(serve(client, shared.clone(), breaks));
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>, mut breaks: watch::Receiver<u64>) {
    let lifetime = (shared.lifetime)();
    let target = *lock(&shared.target);
    let Ok(server) = TcpStream::connect(target).await else {
        reset(&client);
        return;
    };
    // Small packets must not wait for one another: the delay would hide the timing the tests are about.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    shared.open.fetch_add(1, Ordering::Relaxed);
    let (client, server) = relay(client, server, &shared, lifetime, &mut breaks).await;
    shared.open.fetch_sub(1, Ordering::Relaxed);
    drop((client, server));
}

async fn relay(
    client: TcpStream,
    server: TcpStream,
    shared: &Shared,
    lifetime: Option<Duration>,
    breaks: &mut watch::Receiver<u64>,
) -> (TcpStream, TcpStream) {
    let (mut client, mut server) = (client, server);
    let ended_by_us = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        // One way that breaks breaks the other: an end that was reset must not leave its peer with half a connection.
        let both = async {
            let up = pump(client_read, server_write, shared.mode.subscribe());
            let down = pump(server_read, client_write, shared.mode.subscribe());
            tokio::try_join!(up, down)
        };
        tokio::select! {
            ended = both => ended.is_err(),
            _ = breaks.changed() => true,
            () = expiry(lifetime, shared.calm.subscribe()) => {
                shared.cuts.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    };
    if ended_by_us {
        reset(&client);
        reset(&server);
    }
    (client, server)
}

async fn expiry(lifetime: Option<Duration>, mut calm: watch::Receiver<bool>) {
    match lifetime {
        Some(lifetime) => sleep(lifetime).await,
        None => std::future::pending().await,
    }
    if calm.wait_for(|calm| !calm).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        // The sender is gone only together with the whole proxy, whose drop breaks this connection.
        let _ = mode.wait_for(|mode| *mode != Mode::Stall).await;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

fn reset(stream: &TcpStream) {
    // Fails only on a socket that is gone already.
    let _ = stream.set_zero_linger();
}

// One TLS record with room to spare.
const BUFFER: usize = 32 * 1024;
