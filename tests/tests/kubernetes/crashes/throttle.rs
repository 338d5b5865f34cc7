//! The only way of several agents to an API server, which can be cut between any two of their changes.
//!
//! It speaks plain HTTP/1.1 with the agents, one request per connection, and asks the API server with a client that may
//! do everything. An agent is known by the consumer in its `User-Agent`, and each has a [`Line`] of its own. A line that
//! is armed lets changes through up to the one to be cut; from then on nothing passes and nobody gets an answer, as if
//! the agent had died at that moment. The test then kills it and opens the line again.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use futures_util::{AsyncBufReadExt as _, StreamExt as _};
use kube::Client;
use kube::api::{ListParams, Request};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where a change is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The API server never hears of it.
    Before,
    /// The API server makes it, and the agent never hears of that.
    After,
}

/// The way. Dropping it ends it for everybody.
pub(super) struct Throttle {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What passes for one agent.
pub(super) struct Line {
    state: Mutex<State>,
    struck: watch::Sender<Option<String>>,
}

struct Shared {
    upstream: Client,
    lines: Mutex<HashMap<String, Arc<Line>>>,
}

#[derive(Default)]
struct State {
    changes: usize,
    cut: Option<(usize, Cut)>,
    closed: bool,
}

enum Decision {
    Pass,
    /// It gets no answer; it is made all the same if this says so.
    Swallow {
        made: bool,
    },
}

/// A request as it came.
struct Incoming {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

// === impl Throttle ===

impl Throttle {
    pub(super) async fn start(upstream: Client) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            lines: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// Writes a kubeconfig that leads through here.
    pub(super) fn kubeconfig(&self, directory: &Path) -> Result<PathBuf> {
        let path = directory.join("throttle.kubeconfig");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "test", "user": {} }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "current-context": "test",
        });
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// The line of the agent of a consumer.
    pub(super) fn line(&self, consumer: &str) -> Arc<Line> {
        self.shared.line(consumer)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

// === impl Line ===

impl Line {
    /// Counts changes from now on, and cuts the `nth`, from 1.
    pub(super) fn arm(&self, nth: usize, cut: Cut) {
        self.struck.send_replace(None);
        *self.state() = State {
            cut: Some((nth, cut)),
            ..State::default()
        };
    }

    /// Lets everything pass from now on.
    pub(super) fn open(&self) {
        *self.state() = State::default();
    }

    /// Waits for the cut, and says which change it was.
    pub(super) async fn struck(&self) -> String {
        let mut struck = self.struck.subscribe();
        let change = struck.wait_for(Option::is_some).await;
        // The sender is ours and lives.
        let change = change.map(|change| change.clone());
        change.ok().flatten().unwrap_or_default()
    }

    fn judge(&self, incoming: &Incoming) -> Decision {
        let mut state = self.state();
        if state.closed {
            return Decision::Swallow { made: false };
        }
        if !incoming.is_change() {
            return Decision::Pass;
        }
        state.changes += 1;
        match state.cut {
            Some((nth, cut)) if nth == state.changes => {
                state.closed = true;
                Decision::Swallow {
                    made: cut == Cut::After,
                }
            }
            _ => Decision::Pass,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Shared ===

impl Shared {
    fn line(&self, consumer: &str) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(consumer.to_owned()).or_insert_with(|| {
            Arc::new(Line {
                state: Mutex::default(),
                struck: watch::Sender::new(None),
            })
        });
        Arc::clone(line)
    }

    async fn serve(&self, mut client: TcpStream) -> Result<()> {
        let incoming = Incoming::read(&mut client).await?;
        let line = self.line(incoming.consumer());
        match line.judge(&incoming) {
            Decision::Pass if incoming.is_watch() => self.stream(&incoming, &mut client).await,
            Decision::Pass => {
                let answer = self.ask(&incoming).await?;
                Ok(client.write_all(&answer).await?)
            }
            Decision::Swallow { made } => {
                if made {
                    self.ask(&incoming).await?;
                }
                if incoming.is_change() {
                    // Later ones find the line closed and change nothing about what was the first.
                    line.struck.send_if_modified(|struck| match struck {
                        Some(_) => false,
                        None => {
                            *struck = Some(incoming.to_string());
                            true
                        }
                    });
                }
                // Held until the agent is dead: it must not learn even that the connection broke.
                while client.read(&mut [0; 64]).await? > 0 {}
                Ok(())
            }
        }
    }

    /// The whole answer, ready to be written.
    async fn ask(&self, incoming: &Incoming) -> Result<Vec<u8>> {
        let mut request = Request::new("/").list(&ListParams::default())?;
        *request.method_mut() = incoming.method.parse()?;
        *request.uri_mut() = incoming.path.parse()?;
        request.headers_mut().extend(incoming.passed_on()?);
        *request.body_mut() = incoming.body.clone();
        let answer = self.upstream.send(request.map(Into::into)).await?;
        let status = answer.status();
        let kind = answer.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or(JSON);
        let kind = kind.to_owned();
        let body = answer.into_body().collect_bytes().await?;
        Ok(answer_of(status.as_u16(), &kind, &body))
    }

    /// Passes a watch on, line by line, until one side has enough.
    async fn stream(&self, incoming: &Incoming, client: &mut TcpStream) -> Result<()> {
        let mut request = Request::new("/").list(&ListParams::default())?;
        *request.uri_mut() = incoming.path.parse()?;
        request.headers_mut().extend(incoming.passed_on()?);
        let mut lines = match self.upstream.request_stream(request).await {
            Ok(body) => body.lines(),
            Err(kube::Error::Api(status)) => {
                let body = serde_json::to_vec(&status)?;
                return Ok(client
                    .write_all(&answer_of(status.code, JSON, &body))
                    .await?);
            }
            Err(error) => return Err(error.into()),
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {JSON}\r\nconnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).await?;
        let mut end = [0; 64];
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(line) => client.write_all((line? + "\n").as_bytes()).await?,
                    None => return Ok(()),
                },
                read = client.read(&mut end) => if read? == 0 { return Ok(()) },
            }
        }
    }
}

// === impl Incoming ===

impl Incoming {
    async fn read(client: &mut TcpStream) -> Result<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if client.read_buf(&mut bytes).await? == 0 {
                bail!("half a request");
            }
        };
        let head = std::str::from_utf8(&bytes[..end])?;
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let method = words.next().context("a method")?.to_owned();
        let path = words.next().context("a path")?.to_owned();
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        if headers.contains_key("transfer-encoding") {
            bail!("a request in chunks: {method} {path}");
        }
        let length = headers.get("content-length").map(|text| text.parse());
        let length: usize = length.transpose()?.unwrap_or_default();
        let mut body = bytes.split_off(end + 4);
        while body.len() < length {
            if client.read_buf(&mut body).await? == 0 {
                bail!("half a body");
            }
        }
        Ok(Self {
            method,
            path,
            headers,
            body,
        })
    }

    fn consumer(&self) -> &str {
        let agent = self.headers.get("user-agent").map_or("", String::as_str);
        let name = agent.rsplit_once('(').map_or("", |(_, name)| name);
        name.trim_end_matches(')')
    }

    fn is_change(&self) -> bool {
        matches!(self.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE")
    }

    fn is_watch(&self) -> bool {
        self.path.contains("watch=true") || self.path.contains("watch=1")
    }

    /// What the API server has to know to answer as it would without us.
    fn passed_on(&self) -> Result<Vec<(HeaderName, HeaderValue)>> {
        let mut headers = Vec::new();
        for name in [ACCEPT, CONTENT_TYPE] {
            if let Some(value) = self.headers.get(name.as_str()) {
                headers.push((name, value.parse()?));
            }
        }
        Ok(headers)
    }
}

impl std::fmt::Display for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{} {path}", self.method)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // An error here is about one connection (reset before it was accepted), never about the listener.
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let shared = Arc::clone(&shared);
        // An error ends one connection, as it would without us in between.
        tokio::spawn(async move { shared.serve(client).await });
    }
}

fn answer_of(status: u16, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} \r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

const JSON: &str = "application/json";
