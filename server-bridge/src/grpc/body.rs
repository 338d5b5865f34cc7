//! Bodies of calls that hold something: a message on its way in its place, an answer on its way out what its call keeps.
//!
//! **Contract:** a message that is not there [`MESSAGE_WITHIN`] after its call began ends the call; its place is free as
//! soon as all of it is there.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;

/// What a caller sends.
#[derive(Debug)]
pub(super) struct Arriving {
    inner: Body,
    place: Option<OwnedSemaphorePermit>,
    late: Pin<Box<Sleep>>,
}

/// What it is answered, to the end of a stream.
#[derive(Debug)]
pub(super) struct Leaving<H> {
    inner: Body,
    _held: H,
}

// === impl Arriving ===

impl Arriving {
    pub(super) fn new(inner: Body, place: OwnedSemaphorePermit) -> Self {
        Self {
            inner,
            place: Some(place),
            late: Box::pin(sleep(MESSAGE_WITHIN)),
        }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) if !this.inner.is_end_stream() => {}
            Poll::Ready(_) => this.place = None,
            Poll::Pending if this.place.is_some() && this.late.as_mut().poll(cx).is_ready() => {
                this.place = None;
                let limit = MESSAGE_WITHIN.as_secs();
                let late = format!("the message was not there within {limit} s");
                return Poll::Ready(Some(Err(Status::unavailable(late))));
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl Leaving ===

impl<H> Leaving<H> {
    /// `held` is dropped with the body.
    pub(super) fn new(inner: Body, held: H) -> Self {
        Self { inner, _held: held }
    }
}

impl<H: Unpin> HttpBody for Leaving<H> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// For a whole message: the longest that a bundle needs arrives at 30 KB/s.
pub(super) const MESSAGE_WITHIN: Duration = Duration::from_secs(5);
