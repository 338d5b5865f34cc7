//! HTTP/2 connections with bounds: how many calls each may have, how old it may get, and an end that clients notice.
//!
//! **Contract:** a connection ends with GOAWAY: at its age, which differs by a tenth from one to the next so that clients do
//! not come back all at once, and when the server stops. Its streams are asked to end then ([`Termination::asked`]), and what
//! has not ended [`GRACE`] later is cut; a connection without calls but of the health service is cut [`LAST`] later.
//! So ends one that has made no call within [`FIRST_WITHIN`], and one whose permit another gets ([`ConnectionPermit`]). A stream can
//! also be reset alone ([`Termination::reset`]).
//! **Invariant:** a client that answers no ping loses its connection; how often a client pings is its own affair.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::http::{Request, Response};
use futures_util::{Stream, StreamExt as _};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::transport::server::Connected as _;
use tower::Service;
use tracing::debug;

use crate::callers::{Accepted, ConnectionPermit};

/// The end of a connection and of one of its streams, as an extension of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Termination {
    asked: CancellationToken,
    reset: CancellationToken,
}

/// Runs each stream of a connection as a task that can be dropped ([`RESET`]). hyper waits with a stream for its client
/// alone once there is something to send, and asks the body nothing any more; when its task is dropped, h2 forgets what is
/// left to send and resets the stream.
#[derive(Clone, Copy, Debug)]
struct Resettable;

tokio::task_local! {
    /// Drops the task of the present stream.
    static RESET: CancellationToken;
}

/// How long connections may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    /// `None` for as long as the client wants.
    pub(super) most: Option<Duration>,
}

// === impl Termination ===

impl Termination {
    /// Returns when the connection is to end.
    pub(super) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Resets the stream of this request at once (RST_STREAM with CANCEL).
    pub(super) fn reset(&self) {
        self.reset.cancel();
    }
}

// === impl Resettable ===

impl<F> Executor<F> for Resettable
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let reset = CancellationToken::new();
        tokio::spawn(RESET.scope(reset.clone(), async move {
            reset.run_until_cancelled(stream).await;
        }));
    }
}

// === impl Age ===

impl Age {
    /// Waits until a connection that begins now is old; `share` is where in the last tenth.
    async fn reached(self, share: f64) {
        match self.most {
            Some(most) => sleep(most.mul_f64(0.9 + share / 10.0)).await,
            None => std::future::pending().await,
        }
    }
}

/// Serves connections until `stop` is done, then lets them end.
pub(super) async fn serve<I, S>(incoming: I, service: S, age: Age, stop: CancellationToken)
where
    I: Stream<Item = io::Result<Accepted>>,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let tasks = TaskTracker::new();
    {
        // Dropped before the wait, so that nobody connects to what is ending.
        let mut incoming = pin!(incoming);
        while let Some(Some(accepted)) = stop.run_until_cancelled(incoming.next()).await {
            // The stream says its failures itself.
            if let Ok(accepted) = accepted {
                tasks.spawn(connection(accepted, service.clone(), age, stop.clone()));
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn connection<S>(io: Accepted, service: S, age: Age, stop: CancellationToken)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let asked = CancellationToken::new();
    let (peer, told) = (io.connect_info(), asked.clone());
    let (permit, shared) = (io.permit().clone(), io.permit().clone());
    let handler = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(shared.clone());
        let asked = told.clone();
        let mut service = service.clone();
        // Within the stream's own task.
        async move {
            let reset = RESET.try_with(Clone::clone).unwrap_or_default();
            request
                .extensions_mut()
                .insert(Termination { asked, reset });
            std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        }
    });
    let serving = http2::Builder::new(Resettable)
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADERS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING_ANSWER)
        .serve_connection(TokioIo::new(io), handler);
    let mut serving = pin!(serving);
    let why = tokio::select! {
        ended = serving.as_mut() => return said(ended),
        () = age.reached(share()) => "it is old",
        () = unused(&permit) => "it made no call",
        // Whoever comes in numbers, unknown, is not to hold descriptors meanwhile.
        () = permit.lost() => match permit.is_known() {
            false => return,
            true => "it does nothing and another takes its permit",
        },
        () = stop.cancelled() => "the server stops",
    };
    debug!(why, "A gRPC connection is asked to end");
    serving.as_mut().graceful_shutdown();
    asked.cancel();
    tokio::select! {
        ended = timeout(GRACE, serving) => match ended {
            Ok(ended) => said(ended),
            Err(_) => debug!("A gRPC connection did not end in time and is cut"),
        },
        () = quiet(&permit) => debug!("A gRPC connection without calls is cut"),
    }
}

/// Returns if there was no call in time.
async fn unused(permit: &ConnectionPermit) {
    sleep(FIRST_WITHIN).await;
    if permit.is_used() {
        std::future::pending::<()>().await;
    }
}

/// Returns when there was no call any more for [`LAST`], or none but of the health service.
async fn quiet(permit: &ConnectionPermit) {
    loop {
        permit.quiet().await;
        sleep(LAST).await;
        if permit.is_quiet() {
            return;
        }
    }
}

fn said(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        debug!(%error, "A gRPC connection ended early");
    }
}

/// A number from 0 to 1, another one each time.
fn share() -> f64 {
    let [byte, ..] = *uuid::Uuid::new_v4().as_bytes();
    f64::from(byte) / f64::from(u8::MAX)
}

// Of one connection. A Go client has one stream and as many publications as its bucket of 100 lets through at once.
const CALLS: u32 = 256;

// What a client may send before anybody reads it: 1 MiB a connection, so that 256 of them hold 256 MiB at most.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

// What is written to a client that does not read, for each of its streams.
const SEND_BUFFER: usize = 256 * 1024;

// A token is some KiB.
const HEADERS: u32 = 32 * 1024;

// As Maestro's `--grpc-server-ping-interval` and `-timeout`.
const PING: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(10);

/// How long a connection may be there before its first call. Go clients connect when they have one.
pub(super) const FIRST_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection without calls may take to answer GOAWAY: a few round trips.
pub(super) const LAST: Duration = Duration::from_secs(1);

/// How long streams and calls may take to end: within the time that the process has for stopping.
pub(super) const GRACE: Duration = Duration::from_secs(10);
