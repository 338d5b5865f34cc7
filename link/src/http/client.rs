//! A small client over HTTP/1.1: one server, bounded times and answers, errors that say what to do.
//!
//! [`HttpClient::send`] is one request and its whole answer, whatever its status; [`ApiClient`] calls the REST API of a
//! region over it. **Contract:** without TLS only this machine is called, unless the caller says that anything goes; with
//! TLS the server is always verified. Files (CA, certificate, key, token) are read again for each new connection or each
//! call, so that a replaced one is used without a restart. Redirects are not followed: a token goes to nobody else.

mod address;
mod api;
mod error;
mod flags;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::{self, HttpsFiles, https_config};

pub use self::address::{HttpAddress, HttpAddressError, query};
pub use self::api::{API_PREFIX, ApiClient};
pub use self::error::{ApiError, HttpError};
pub use self::flags::{ApiFlags, LOCAL_API};

/// The most bytes of an answer that are read: a page of 500 bundles of the largest size that a broker takes is a third
/// of it.
pub const ANSWER_BYTES: usize = 192 * 1024 * 1024;

/// The most bytes of an answer that is a refusal; the rest is not read. The API's are some hundred.
pub const REFUSAL_BYTES: usize = 64 * 1024;

/// Calls one server. Connections are kept and used again, `IDLE` of them at most.
pub struct HttpClient {
    address: HttpAddress,
    files: HttpsFiles,
    within: Duration,
    answer_bytes: usize,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

// === impl HttpClient ===

impl HttpClient {
    /// Connects to nobody yet, but reads the files once, so that a wrong one is said at the start.
    ///
    /// # Errors
    /// [`HttpError::Files`].
    pub fn new(address: HttpAddress, files: HttpsFiles) -> Result<Self, HttpError> {
        if address.is_tls() {
            https_config(&files).map_err(HttpError::Files)?;
        }
        Ok(Self {
            address,
            files,
            within: ANSWER_WITHIN,
            answer_bytes: ANSWER_BYTES,
            idle: Mutex::default(),
        })
    }

    /// Gives a request and its whole answer this long, connecting included; [`ANSWER_WITHIN`] else.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Reads at most so many bytes of an answer; [`ANSWER_BYTES`] else.
    #[must_use]
    pub fn answer_bytes(mut self, bytes: usize) -> Self {
        self.answer_bytes = bytes;
        self
    }

    /// Whom it calls.
    pub fn address(&self) -> &HttpAddress {
        &self.address
    }

    /// One request, and its answer whatever the status. The URI needs a path only; a `Host` that is there stays (a
    /// signature may cover it). Tried once more when a connection that was idle turns out to be gone and the request did
    /// not leave, or may be made twice (GET, HEAD).
    ///
    /// # Errors
    /// [`HttpError`]: no answer, or one that is too large.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        match timeout(self.within, self.exchange(request)).await {
            Ok(done) => done,
            Err(_) => Err(HttpError::NoAnswer {
                address: self.address.clone(),
                within: self.within,
            }),
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut parts, body) = request.into_parts();
        parts.version = Version::HTTP_11;
        // HTTP/1.1 to a server has the path alone; hyper writes what it is given.
        if let Some(path) = parts.uri.path_and_query() {
            parts.uri = Uri::from(path.clone());
        }
        if !parts.headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(&self.address.host_header())
        {
            parts.headers.insert(HOST, host);
        }
        let repeatable = parts.method.is_safe();
        if let Some(mut sender) = self.idle().await {
            let again = Request::from_parts(parts.clone(), Full::new(body.clone()));
            match sender.try_send_request(again).await {
                Ok(answer) => return self.finish(sender, answer).await,
                Err(mut error) => {
                    // Given back: it never left.
                    if error.take_message().is_none() && !repeatable {
                        return Err(self.broken(error.into_error()));
                    }
                }
            }
        }
        let mut sender = self.connect().await?;
        let answer = sender
            .send_request(Request::from_parts(parts, Full::new(body)))
            .await
            .map_err(|error| self.broken(error))?;
        self.finish(sender, answer).await
    }

    /// The whole body, after which the connection waits for the next request.
    async fn finish(
        &self,
        sender: SendRequest<Full<Bytes>>,
        answer: Response<hyper::body::Incoming>,
    ) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = answer.into_parts();
        if !parts.status.is_success() {
            let (bytes, whole) = self.beginning(body).await?;
            if whole {
                self.keep(sender);
            }
            return Ok(Response::from_parts(parts, bytes));
        }
        let bytes = Limited::new(body, self.answer_bytes)
            .collect()
            .await
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => HttpError::TooLarge {
                    address: self.address.clone(),
                    limit: self.answer_bytes,
                },
                false => HttpError::Broken {
                    address: self.address.clone(),
                    source: error,
                },
            })?
            .to_bytes();
        self.keep(sender);
        Ok(Response::from_parts(parts, bytes))
    }

    /// What a refusal says, cut after [`REFUSAL_BYTES`], and whether that is all of it: the status counts, however long
    /// the page of a proxy is.
    async fn beginning(&self, mut body: hyper::body::Incoming) -> Result<(Bytes, bool), HttpError> {
        let limit = self.answer_bytes.min(REFUSAL_BYTES);
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broken(error))?;
            let data = frame.data_ref().map_or(&[][..], Bytes::as_ref);
            let free = limit - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(free)]);
            if data.len() > free {
                return Ok((bytes.freeze(), false));
            }
        }
        Ok((bytes.freeze(), true))
    }

    /// For the next request.
    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && !sender.is_closed() {
            idle.push(sender);
        }
    }

    /// A connection that waits and is not known to be gone.
    async fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        loop {
            let mut sender = self.waiting()?;
            // The end of the last answer may not have been seen by its task yet.
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn idle_connections(&self) -> usize {
        self.idle.lock().unwrap().len()
    }

    fn waiting(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let refused = |source| HttpError::Connect {
            address: self.address.clone(),
            source,
        };
        let stream = match timeout(CONNECT_WITHIN, self.dial()).await {
            Ok(stream) => stream?,
            Err(_) => {
                return Err(HttpError::NoAnswer {
                    address: self.address.clone(),
                    within: CONNECT_WITHIN,
                });
            }
        };
        let _ = stream.set_nodelay(true);
        if !self.address.is_tls() {
            return self.start(stream).await;
        }
        let config = https_config(&self.files).map_err(HttpError::Files)?;
        let name = ServerName::try_from(self.address.host().to_owned())
            .map_err(|_| refused(std::io::ErrorKind::InvalidInput.into()))?;
        let secured = TlsConnector::from(config).connect(name, stream);
        let stream = timeout(HANDSHAKE_WITHIN, secured)
            .await
            .map_err(|_| HttpError::NoAnswer {
                address: self.address.clone(),
                within: HANDSHAKE_WITHIN,
            })?
            .map_err(|error| self.of_tls(&error))?;
        self.start(stream).await
    }

    /// The first of the name's addresses that answers.
    async fn dial(&self) -> Result<TcpStream, HttpError> {
        let addresses = lookup_host((self.address.host(), self.address.port()))
            .await
            .map_err(|source| HttpError::Name {
                address: self.address.clone(),
                source,
            })?;
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            if self.address.is_local_only() && !address.ip().is_loopback() {
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(HttpError::Connect {
            address: self.address.clone(),
            source: last,
        })
    }

    async fn start<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>, HttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error))?;
        // Ends with the sender, or with the server; why is told to whoever waits for an answer.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn broken(&self, error: hyper::Error) -> HttpError {
        // With TLS 1.3 a server refuses our certificate after the handshake, so it shows at the first answer.
        let problem = tls::diagnose(&error);
        if self.address.is_tls() && problem.is_client_refused() {
            return HttpError::Tls {
                address: self.address.clone(),
                problem: Box::new(problem),
            };
        }
        HttpError::Broken {
            address: self.address.clone(),
            source: Box::new(error),
        }
    }

    fn of_tls(&self, error: &std::io::Error) -> HttpError {
        HttpError::Tls {
            address: self.address.clone(),
            problem: Box::new(tls::diagnose(error)),
        }
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// How long one request and its answer may take, unless somebody sets another.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

// Within one region and to AWS: a round trip or two.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Connections that wait for a request: as many as a terminal or a verb asks at once.
const IDLE: usize = 8;

#[cfg(test)]
mod tests;
