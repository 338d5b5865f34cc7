//! A stream whose writes fail when the other side does not read.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Fails with `TimedOut` when, from the first write that had to wait, [`PROGRESS_BYTES`] or all that was to be written
/// does not go out within the given time.
pub(super) struct Guarded<I> {
    inner: I,
    stall: Duration,
    blocked: Option<Blocked>,
}

struct Blocked {
    until: Pin<Box<Sleep>>,
    written: usize,
}

// === impl Guarded ===

impl<I> Guarded<I> {
    pub(super) fn new(inner: I, stall: Duration) -> Self {
        Self {
            inner,
            stall,
            blocked: None,
        }
    }

    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                if let Some(blocked) = &mut self.blocked {
                    blocked.written += bytes;
                    if blocked.written >= PROGRESS_BYTES {
                        self.blocked = None;
                    }
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let stall = self.stall;
                let blocked = self.blocked.get_or_insert_with(|| Blocked {
                    until: Box::pin(sleep(stall)),
                    written: 0,
                });
                ready!(blocked.until.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client does not read its answer",
                )))
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.judge(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    // Flushed by the server once it has handed over all it had.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.inner).poll_flush(cx));
        if flushed.is_ok() {
            self.blocked = None;
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

// One chunk of a list; a client that takes less than that in the time given counts as one that does not read.
const PROGRESS_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_reads_fails_after_the_time_given_and_not_before() {
        let (ours, _theirs) = duplex(1024);
        let mut guarded = Guarded::new(ours, STALL);
        let started = tokio::time::Instant::now();
        let error = guarded.write_all(&[0; 2048]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), STALL.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_drips_is_cut_off_and_who_reads_enough_is_not() {
        for (step, survives) in [(PROGRESS_BYTES / 64, false), (PROGRESS_BYTES, true)] {
            let (ours, mut theirs) = duplex(1024);
            let mut guarded = Guarded::new(ours, STALL);
            let reading = tokio::spawn(async move {
                let mut buffer = vec![0; step];
                loop {
                    sleep(STALL - Duration::from_secs(1)).await;
                    if theirs.read_exact(&mut buffer).await.is_err() {
                        break;
                    }
                }
            });
            let written = guarded.write_all(&vec![0; 8 * PROGRESS_BYTES]).await;
            assert_eq!(written.is_ok(), survives, "{step}: {written:?}");
            reading.abort();
        }
    }
}
