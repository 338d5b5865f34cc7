//! Response bodies that hold the call of their caller until they have been sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use link::http::ActiveCall;

/// A body, and the call that it answers.
#[derive(Debug)]
struct HeldBody {
    inner: Body,
    _call: ActiveCall,
}

/// The same response; `call` is under way until its body is dropped.
pub(super) fn until_sent(response: Response, call: ActiveCall) -> Response {
    response.map(|inner| Body::new(HeldBody { inner, _call: call }))
}

// === impl HeldBody ===

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
