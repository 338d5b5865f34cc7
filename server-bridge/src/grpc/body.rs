//! Request and response bodies that hold resources of their call: a permit until the message has arrived, a guard until the
//! response has been sent.
//!
//! **Contract:** a message that is not there [`MESSAGE_WITHIN`] after its call began ends the call; its permit is free as
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
pub(super) struct RequestBody {
    inner: Body,
    permit: Option<OwnedSemaphorePermit>,
    late: Pin<Box<Sleep>>,
}

/// What it is answered, to the end of a stream.
#[derive(Debug)]
pub(super) struct ResponseBody<H> {
    inner: Body,
    _held: H,
}

// === impl RequestBody ===

impl RequestBody {
    pub(super) fn new(inner: Body, permit: OwnedSemaphorePermit) -> Self {
        Self {
            inner,
            permit: Some(permit),
            late: Box::pin(sleep(MESSAGE_WITHIN)),
        }
    }
}

impl HttpBody for RequestBody {
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
            Poll::Ready(_) => this.permit = None,
            Poll::Pending if this.permit.is_some() && this.late.as_mut().poll(cx).is_ready() => {
                this.permit = None;
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

// === impl ResponseBody ===

impl<H> ResponseBody<H> {
    /// `held` is dropped with the body.
    pub(super) fn new(inner: Body, held: H) -> Self {
        Self { inner, _held: held }
    }
}

impl<H: Unpin> HttpBody for ResponseBody<H> {
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
