//! Drains the rest of a request body that no handler read, so that the client receives its response.
//!
//! A request may be refused before its body was looked at. HTTP/1.1 cannot go on behind a body that nobody read: the
//! connection is closed, and a client that still writes, or that sends its next request there, sees a broken connection in
//! place of the answer. So what is left is read and thrown away before the answer goes out, up to [`LEFT_BYTES`] and for
//! [`LEFT_WITHIN`]; past these the answer says `Connection: close`.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::future::poll_fn;
use futures_util::stream;
use tokio::time::timeout;

/// A body that the handler and this module read, one after the other.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Left>>);

#[derive(Debug)]
struct Left {
    body: BodyDataStream,
    begun: bool,
    ended: bool,
}

/// Reads what the handler left of the body, or says that the connection ends here.
pub(super) async fn read_on(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    // Such a client sends its body when it is asked for it, which a refused one is not.
    let asks = request.headers().contains_key(header::EXPECT);
    let (parts, body) = request.into_parts();
    let shared = Shared::new(body);
    let request = Request::from_parts(parts, shared.clone().into_body());
    let mut response = next.run(request).await;
    let given_up = matches!(
        response.status(),
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT
    );
    let leave = given_up || (asks && !shared.is_begun());
    let read = shared.is_read() || (!leave && shared.drain(LEFT_BYTES, LEFT_WITHIN).await);
    if !read {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

// === impl Shared ===

impl Shared {
    fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Left {
            body: body.into_data_stream(),
            begun: false,
            ended: false,
        })))
    }

    fn into_body(self) -> Body {
        Body::from_stream(stream::poll_fn(move |cx| self.poll(cx)))
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        self.with(|left| {
            if left.ended {
                return Poll::Ready(None);
            }
            left.begun = true;
            let polled = left.body.poll_next_unpin(cx);
            left.ended = matches!(polled, Poll::Ready(None));
            polled
        })
    }

    fn is_begun(&self) -> bool {
        self.with(|left| left.begun)
    }

    fn is_read(&self) -> bool {
        self.with(|left| left.ended || left.body.is_end_stream())
    }

    /// Whether its end was reached.
    async fn drain(&self, bytes: usize, within: Duration) -> bool {
        let reading = async {
            let mut left = bytes;
            while let Some(chunk) = poll_fn(|cx| self.poll(cx)).await {
                match chunk {
                    Ok(chunk) if chunk.len() <= left => left -= chunk.len(),
                    _ => return false,
                }
            }
            true
        };
        timeout(within, reading).await.unwrap_or(false)
    }

    fn with<T>(&self, look: impl FnOnce(&mut Left) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The longest body that is taken: whoever may send it is told why it is refused. Nothing of it is kept.
const LEFT_BYTES: usize = super::body::BODY_BYTES;

// At most a sixth of what a client may take for the head of a request anyway.
const LEFT_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_on_up_to_its_bytes_and_its_time_and_not_one_past() {
        let shared = |chunks: &[&'static str]| {
            let chunks: Vec<_> = chunks.iter().map(|&c| Ok::<_, Infallible>(c)).collect();
            Shared::new(Body::from_stream(stream::iter(chunks)))
        };
        let within = Duration::from_secs(1);
        assert!(shared(&["abc", "de"]).drain(5, within).await);
        assert!(!shared(&["abc", "def"]).drain(5, within).await);
        let first = stream::iter([Ok::<_, Infallible>("abc")]);
        let silent = Shared::new(Body::from_stream(first.chain(stream::pending())));
        assert!(!silent.drain(5, within).await);
        // What the handler read counts as read.
        let half = shared(&["abc", "de"]);
        let mut read = half.clone().into_body().into_data_stream();
        assert_eq!(read.next().await.unwrap().unwrap(), "abc");
        assert!(half.drain(2, within).await && half.is_read());
    }
}
