//! The Go client of `tests/go` towards a bridge: a source as Maestro's users have it, with the real HTTP/2 of grpc-go.
//!
//! Each call is a process that prints lines of JSON; what goes on until it is ended is a [`Follower`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::process::{Output, Process, ProcessSpec};
use crate::region::Service;
use crate::test_dir::workspace;

/// A source by name, and how it reaches a bridge.
#[derive(Debug)]
pub struct Source {
    name: String,
    flags: Vec<String>,
    rest: String,
    grpc: String,
    logs: PathBuf,
}

/// A verb that goes on. Dropping it kills it.
#[derive(Debug)]
pub struct Follower(Process);

// === impl Source ===

impl Source {
    /// A source that speaks to this bridge as it listens now; its output goes into `logs`.
    ///
    /// # Errors
    /// When the bridge does not say where it listens.
    pub async fn of(bridge: &mut Service, name: &str, logs: &Path) -> Result<Self> {
        let listening = bridge.listening().await?;
        let rest = listening.api.context("the bridge has an API")?;
        let grpc = listening.grpc.context("the bridge offers gRPC")?;
        Ok(Self::at(&rest, &grpc, name, logs))
    }

    /// A source that speaks to `rest`, a base URL, and `grpc`, host and port or a URL.
    pub fn at(rest: &str, grpc: &str, name: &str, logs: &Path) -> Self {
        let host = grpc.split_once("://").map_or(grpc, |(_, host)| host);
        Self {
            name: name.to_owned(),
            flags: Vec::new(),
            rest: rest.to_owned(),
            grpc: host.to_owned(),
            logs: logs.to_owned(),
        }
    }

    /// The same by way of these addresses, such as proxies'.
    #[must_use]
    pub fn by_way_of(mut self, rest: SocketAddr, grpc: SocketAddr) -> Self {
        self.rest = format!("http://{rest}");
        self.grpc = grpc.to_string();
        self
    }

    /// With more flags, such as `-v2`.
    #[must_use]
    pub fn with<S: Into<String>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.flags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// Runs a verb to its end and gives the lines it printed, an error as one with the key `error`.
    ///
    /// # Errors
    /// When it does not end in time, or its arguments make no sense to it.
    pub async fn lines(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let spec = self.spec(arguments).await?;
        let Output {
            status,
            stdout,
            stderr,
        } = spec.run(&self.logs, PATIENCE).await?;
        let understood = matches!(status.code(), Some(0 | 1));
        ensure!(understood, "{arguments:?} ended with {status}: {stderr}");
        parse(&stdout)
    }

    /// Runs a verb to its end and gives its last line, which may be an error.
    ///
    /// # Errors
    /// See [`Self::lines`].
    pub async fn tried(&self, arguments: &[&str]) -> Result<Value> {
        let last = self.lines(arguments).await?.pop();
        last.with_context(|| format!("{arguments:?} printed nothing"))
    }

    /// Runs a verb that must succeed, and gives its last line.
    ///
    /// # Errors
    /// When it failed, with what it said.
    pub async fn done(&self, arguments: &[&str]) -> Result<Value> {
        let last = self.tried(arguments).await?;
        let failed = last.get("error").is_some();
        ensure!(!failed, "{} {arguments:?}: {last}", self.name);
        Ok(last)
    }

    /// Starts a verb that goes on until it is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn follow(&self, arguments: &[&str]) -> Result<Follower> {
        Ok(Follower(self.spec(arguments).await?.start(&self.logs)?))
    }

    async fn spec(&self, arguments: &[&str]) -> Result<ProcessSpec> {
        // Two sources of one name, such as one by way of a proxy, must not write into one log.
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let program = program(&self.logs).await?;
        Ok(ProcessSpec::at("source", program.clone(), REMEDY)
            .label(format!("{}-{call}", self.name))
            .args(["-rest", &self.rest, "-grpc", &self.grpc])
            .args(["-source", &self.name])
            .args(&self.flags)
            .args(arguments))
    }
}

// === impl Follower ===

impl Follower {
    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.0
    }

    /// Every line so far.
    ///
    /// # Errors
    /// When one is no JSON.
    pub fn lines(&self) -> Result<Vec<Value>> {
        parse(&self.0.stdout())
    }

    /// Waits for a line and gives it.
    ///
    /// # Errors
    /// When the process ends first or the line does not come in time.
    pub async fn line(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let lines = self.until(what, |lines| lines.iter().any(&is)).await?;
        let found = lines.into_iter().find(|line| is(line));
        found.with_context(|| format!("{what} came and went"))
    }

    /// Waits until its lines satisfy a condition, and gives them.
    ///
    /// # Errors
    /// When the process ends first or it takes too long.
    pub async fn until(
        &mut self,
        what: &str,
        condition: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        let fits = |text: &str| parse(text).is_ok_and(|lines| condition(&lines));
        self.0.output_until(what, PATIENCE, fits).await?;
        self.lines()
    }
}

/// A ManifestWork with labels, as JSON.
pub fn work(name: &str, labels: &Value, manifests: &[Value]) -> String {
    serde_json::json!({
        "metadata": { "name": name, "labels": labels },
        "spec": { "workload": { "manifests": manifests } },
    })
    .to_string()
}

/// Builds the client once, unless it is there.
async fn program(logs: &Path) -> Result<&'static PathBuf> {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    PROGRAM
        .get_or_try_init(async || {
            let script = workspace().join("tests/go/build");
            let build = ProcessSpec::at("go-build", script, REMEDY);
            let built = build.run(logs, BUILDING).await?;
            ensure!(built.status.success(), "{}", built.stderr);
            Ok(PathBuf::from(built.stdout.trim()))
        })
        .await
}

/// The whole lines of an output.
fn parse(text: &str) -> Result<Vec<Value>> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().map(|line| {
        serde_json::from_str(line).with_context(|| format!("a line of the Go client: {line}"))
    });
    lines.collect()
}

const REMEDY: &str = "run `tests/go/build`";

// Its own limit for a call is 30 s.
const PATIENCE: Duration = Duration::from_secs(40);
// About a minute where nothing is there yet, on a machine that does something else too.
const BUILDING: Duration = Duration::from_secs(400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_when_it_is_whole() {
        assert!(parse("").unwrap().is_empty());
        assert_eq!(parse("{\"a\":1}\n{\"b\"").unwrap().len(), 1);
        assert!(parse("a\n").is_err());
    }
}
