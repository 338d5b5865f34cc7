//! A listening socket that can seem closed, or silent as behind a firewall, and comes back at the same port.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::broker::faults::Port;

/// One address.
#[derive(Debug)]
pub(super) struct Socket {
    address: SocketAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(TcpListener),
    /// Bound, so that nobody else comes to listen there; nothing where that failed.
    Closed(Option<TcpSocket>),
    /// Its queue is full of connections that nobody accepts.
    Silent {
        _listener: TcpListener,
        _queue: Vec<TcpStream>,
    },
}

// === impl Socket ===

impl Socket {
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            address: listener.local_addr()?,
            state: State::Open(listener),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the port looks from now on.
    ///
    /// # Errors
    /// The system's, when it cannot be listened on again; the port is closed then.
    pub(super) async fn set_port(&mut self, port: Port) -> io::Result<()> {
        match (port, &self.state) {
            (Port::Open, State::Open(_))
            | (Port::Closed, State::Closed(Some(_)))
            | (Port::Silent, State::Silent { .. }) => return Ok(()),
            _ => {}
        }
        // What listens must be gone before anything else can.
        let bound = match std::mem::replace(&mut self.state, State::Closed(None)) {
            State::Closed(Some(bound)) => bound,
            listening => {
                drop(listening);
                bind(self.address)?
            }
        };
        self.state = match port {
            Port::Open => State::Open(listen(bound, BACKLOG)?),
            Port::Closed => State::Closed(Some(bound)),
            Port::Silent => silent(bound, self.address).await?,
        };
        Ok(())
    }

    /// The next connection; never one while it is not open.
    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.state {
            State::Open(listener) => listener.accept().await,
            State::Closed(_) | State::Silent { .. } => std::future::pending().await,
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Beside connections that are not over yet.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // Whoever else wants to share an address that nobody listens at may not.
    socket.set_reuseaddr(false)?;
    Ok(socket)
}

fn listen(bound: TcpSocket, backlog: u32) -> io::Result<TcpListener> {
    bound.set_reuseaddr(true)?;
    bound.listen(backlog)
}

/// Fills the queue of a listener, so that further requests are dropped.
async fn silent(bound: TcpSocket, address: SocketAddr) -> io::Result<State> {
    let listener = listen(bound, 0)?;
    let mut queue = Vec::new();
    while queue.len() < MOST {
        match timeout(FULL, TcpStream::connect(address)).await {
            Ok(connected) => queue.push(connected?),
            Err(_) => break,
        }
    }
    Ok(State::Silent {
        _listener: listener,
        _queue: queue,
    })
}

// As many as the runtime's own listeners.
const BACKLOG: u32 = 1024;

// A queue of length 0 holds one connection.
const MOST: usize = 16;

// On loopback a connection takes microseconds.
const FULL: Duration = Duration::from_millis(200);
