//! As much of gRPC as the kubelet asks of a plugin: unary calls over HTTP/2 on a unix socket.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;

/// A call that failed, in the words of the plugin.
#[derive(Debug)]
pub(super) struct Status {
    code: Code,
    message: String,
}

/// gRPC's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    Unimplemented = 12,
    Internal = 13,
}

/// Who answers calls: by the path of a method, with a message for a message.
pub(super) trait Plugin: Send + Sync + 'static {
    fn call(
        &self,
        method: &str,
        message: Bytes,
    ) -> impl Future<Output = Result<Vec<u8>, Status>> + Send;
}

// === impl Status ===

impl Status {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Listens on a socket in place of whoever had its path before.
///
/// # Errors
/// When its directory cannot be made or the socket not be bound.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// Answers until the listener fails.
pub(super) async fn serve(listener: UnixListener, plugin: Arc<impl Plugin>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let plugin = Arc::clone(&plugin);
        let service = service_fn(move |request| {
            let plugin = Arc::clone(&plugin);
            async move { Ok::<_, Infallible>(answer(&*plugin, request).await) }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        // How it ends is the kubelet's business.
        tokio::spawn(connection);
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(plugin: &impl Plugin, request: Request<Incoming>) -> Response<Body> {
    let method = request.uri().path().to_owned();
    let outcome = match request.into_body().collect().await {
        Ok(body) => {
            let mut frame = body.to_bytes();
            match frame.len() {
                0..PREFIX => Err(Status::new(Code::Internal, "no message")),
                _ => plugin.call(&method, frame.split_off(PREFIX)).await,
            }
        }
        Err(error) => Err(Status::new(Code::Internal, error.to_string())),
    };
    let mut response = match outcome {
        Ok(message) => {
            // Not compressed, and so many bytes.
            let mut frame = vec![0];
            frame.extend(
                u32::try_from(message.len())
                    .unwrap_or_default()
                    .to_be_bytes(),
            );
            frame.extend(message);
            let mut trailers = HeaderMap::new();
            trailers.insert(STATUS, HeaderValue::from_static("0"));
            let trailers = std::future::ready(Some(Ok(trailers)));
            let body = Full::new(Bytes::from(frame)).with_trailers(trailers);
            Response::new(body.boxed())
        }
        Err(Status { code, message }) => {
            let mut response = Response::new(Empty::new().boxed());
            let headers = response.headers_mut();
            headers.insert(STATUS, HeaderValue::from(code as u16));
            if let Ok(message) = HeaderValue::from_str(&percent(&message)) {
                headers.insert("grpc-message", message);
            }
            response
        }
    };
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// As gRPC spells a message in a header.
fn percent(message: &str) -> String {
    let spell = |byte: u8| match byte {
        b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    message.bytes().map(spell).collect()
}

const STATUS: &str = "grpc-status";
// Whether it is compressed, and its length.
const PREFIX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_text_fits_into_a_header() {
        assert_eq!(percent("50 %\nü"), "50 %25%0A%C3%BC");
    }
}
