//! The TCP connection under TLS, whose reading can be paused: nothing is read then, so that the broker has to wait, and
//! writing goes on, so that acks and pings still leave.
//!
//! The client library always reads when it is polled, and has to be polled to write. Only below it can reading stop.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;

/// Pauses and resumes reading of the connection that is up, and tells whether there is a peer. Clones act on the same
/// connection.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadPause(Arc<State>);

#[derive(Debug, Default)]
struct State {
    paused: AtomicBool,
    reached: AtomicBool,
    reader: AtomicWaker,
}

/// A stream whose reading half obeys a [`ReadPause`].
pub(super) struct PausableStream<S> {
    stream: S,
    pause: ReadPause,
}

/// Dials the broker, `host` with its port. Neither data that is not confirmed nor a peer that does not answer the kernel's
/// probes is waited for longer than [`DEAD_AFTER`] afterwards.
pub(super) async fn dial(host: String, pause: ReadPause) -> io::Result<PausableStream<TcpStream>> {
    let addresses = lookup_host(host).await?.collect();
    let stream = first_to_answer(addresses).await?;
    // A PUBLISH and the PUBACK it waits for are one small packet each: with Nagle's algorithm against delayed ACKs every
    // exchange would take 40 ms.
    stream.set_nodelay(true)?;
    notice_a_dead_peer(&stream)?;
    pause.0.reached.store(true, Ordering::Release);
    Ok(PausableStream { stream, pause })
}

/// Tries one address after the other without waiting for those that do not answer, as RFC 8305 has it: a name may have
/// addresses of a network that this machine does not reach.
async fn first_to_answer(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut left = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match left.next() {
            Some(address) => attempts.push(TcpStream::connect(address)),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        tokio::select! {
            Some(ended) = attempts.next() => match ended {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            },
            () = sleep(NEXT_ADDRESS_AFTER), if left.len() > 0 => {}
        }
    }
}

fn notice_a_dead_peer(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;

    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
    let probes = (DEAD_AFTER - PROBE_AFTER).as_secs() / PROBE_EVERY.as_secs();
    sockopt::set_tcp_keepcnt(stream, u32::try_from(probes).unwrap_or(1))?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(
        stream,
        u32::try_from(DEAD_AFTER.as_millis()).unwrap_or(u32::MAX),
    )?;
    Ok(())
}

// === impl ReadPause ===

impl ReadPause {
    pub(super) fn pause(&self) {
        self.0.paused.store(true, Ordering::Release);
    }

    pub(super) fn resume(&self) {
        self.0.paused.store(false, Ordering::Release);
        self.0.reader.wake();
    }

    /// Whether a peer was reached since this was last asked.
    pub(super) fn take_reached(&self) -> bool {
        self.0.reached.swap(false, Ordering::AcqRel)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Acquire)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PausableStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pause.is_paused() {
            self.pause.0.reader.register(cx.waker());
            // It may have been resumed before the waker was there to be woken.
            if self.pause.is_paused() {
                return Poll::Pending;
            }
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PausableStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// How long a peer whose host answers nothing is waited for; with the ping deadline of the driver it keeps a half-open
/// connection under 30 seconds.
const DEAD_AFTER: Duration = Duration::from_secs(25);
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(5);

// RFC 8305 §5 recommends it.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn an_address_that_does_not_answer_keeps_nobody_from_the_next() {
        let good = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        // Bound, so that nobody else listens there.
        let closed = TcpSocket::new_v4().unwrap();
        closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let refusing = closed.local_addr().unwrap();
        // TEST-NET-1: nobody answers there, or the network says at once that it is unreachable.
        let silent = SocketAddr::from(([192, 0, 2, 1], 9));
        let wanted = good.local_addr().unwrap();
        let stream = first_to_answer(vec![refusing, silent, wanted]);
        let stream = tokio::time::timeout(Duration::from_secs(10), stream).await;
        assert_eq!(stream.unwrap().unwrap().peer_addr().unwrap(), wanted);
        assert!(first_to_answer(vec![refusing]).await.is_err());
        assert!(first_to_answer(Vec::new()).await.is_err());
    }

    #[tokio::test]
    async fn a_pause_stops_reading_and_not_writing() {
        let (near, mut far) = tokio::io::duplex(64);
        let pause = ReadPause::default();
        let mut near = PausableStream {
            stream: near,
            pause: pause.clone(),
        };
        pause.pause();
        far.write_all(b"in").await.unwrap();
        near.write_all(b"out").await.unwrap();
        let mut out = [0; 3];
        far.read_exact(&mut out).await.unwrap();
        assert_eq!(&out, b"out");
        let mut seen = [0; 2];
        let read = near.read_exact(&mut seen);
        tokio::pin!(read);
        assert!(futures_util::poll!(&mut read).is_pending());
        pause.resume();
        read.await.unwrap();
        assert_eq!(&seen, b"in");
    }
}
