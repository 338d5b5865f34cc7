//! A bridge of a region as a process of its own, so that one can be killed while the others go on.
//!
//! It is this program under another verb (`sandbox server-bridge`). It stops when its standard input ends, which also
//! happens when the sandbox dies in any way: no bridge is left behind.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use link::error::{Failure, Hint};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use super::{Home, failed};

/// A running bridge.
#[derive(Debug)]
pub(super) struct Replica {
    number: usize,
    child: Child,
    /// It stops when this ends. Apart from the child, whose `wait` would close it.
    input: Option<ChildStdin>,
    pid: u32,
    listening: Listening,
    log: PathBuf,
}

/// Where it listens, as it wrote into its `--listening-file`: base URLs.
#[derive(Clone, Debug, Deserialize)]
struct Listening {
    api: String,
    grpc: String,
    admin: String,
}

/// A bridge that ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("server-bridge {number} ended by itself ({how}); it said:\n{said}")]
pub struct ReplicaError {
    number: usize,
    how: String,
    said: String,
    /// By a code of its own, not by a signal.
    exited: bool,
}

// === impl Replica ===

impl Replica {
    /// Starts the bridge of this number, from 0, and waits until it says where it listens.
    pub(super) async fn start(
        home: &Home,
        number: usize,
        api: &str,
        grpc: &str,
        arguments: &[String],
    ) -> Result<Self, Failure> {
        let directory = home.replica(number).map_err(Failure::misuse)?;
        let listening = directory.join("listening.json");
        remove(&listening).map_err(failed)?;
        let log = directory.join("log");
        let output = std::fs::File::create(&log).map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command
            .arg("server-bridge")
            .args(["--mount".as_ref(), home.bridge_identity().as_os_str()])
            .args(["--listening-file".as_ref(), listening.as_os_str()])
            .args([
                "--admin-listen",
                "127.0.0.1:0",
                "--ui",
                "--api-listen",
                api,
                "--grpc-listen",
                grpc,
            ])
            // Whoever reaches a sandbox is believed.
            .arg("--insecure-callers")
            .args(arguments)
            // Nothing of the environment is meant for it. Its database calls it by this name.
            .env_clear()
            .env("HOSTNAME", format!("sandbox-{number}"))
            .stdin(Stdio::piped())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            // Ctrl-C in a terminal goes to the whole group; it is stopped in its turn.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let input = child.stdin.take();
        let pid = child.id().unwrap_or_default();
        let mut reported = Instant::now();
        let listening = loop {
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                tracing::warn!(
                    "Waiting for server-bridge {number}; it said: {}",
                    last_lines(&log, 1)
                );
            }
            if let Some(listening) = read(&listening) {
                break listening;
            }
            let ended = child.try_wait().map_err(failed)?;
            if let Some(how) = ended {
                return Err(ReplicaError::of(number, Ok(how), &log).into());
            }
            sleep(POLL).await;
        };
        Ok(Self {
            number,
            child,
            input,
            pid,
            listening,
            log,
        })
    }

    pub(super) fn name(&self) -> String {
        format!("server-bridge {}", self.number)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Base URL of its REST API.
    pub(super) fn api(&self) -> String {
        self.listening.api.clone()
    }

    /// Host and port of its gRPC endpoint.
    pub(super) fn grpc(&self) -> String {
        host(&self.listening.grpc).to_owned()
    }

    /// Base URL of its `/livez`, `/readyz` and `/metrics`.
    pub(super) fn admin(&self) -> String {
        self.listening.admin.clone()
    }

    /// How to ask whether it is ready while something else waits for it.
    pub(super) fn readiness(&self) -> Readiness {
        Readiness(self.listening.admin.replace("http://", ""))
    }

    /// Completes when the process has ended; says how, and what it said last.
    pub(super) async fn ended(&mut self) -> ReplicaError {
        let how = self.child.wait().await;
        ReplicaError::of(self.number, how, &self.log)
    }

    /// Stops it as a signal would and waits for it.
    pub(super) async fn stop(mut self) {
        drop(self.input.take());
        if timeout(STOPPING, self.child.wait()).await.is_err() {
            tracing::warn!("{} did not stop and is killed", self.name());
        }
    }
}

/// Where a replica says whether it is ready.
#[derive(Clone, Debug)]
pub(super) struct Readiness(String);

// === impl Readiness ===

impl Readiness {
    /// Nothing when it is ready, else what it says.
    pub(super) async fn problem(&self) -> Option<String> {
        match timeout(ANSWER, self.ask()).await {
            Ok(Ok(answer))
                if answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200") =>
            {
                None
            }
            Ok(Ok(answer)) => {
                let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                Some(body.trim().to_owned())
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it does not answer".into()),
        }
    }

    async fn ask(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.0).await?;
        let request = format!(
            "GET /readyz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.0
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

// === impl ReplicaError ===

impl ReplicaError {
    fn of(number: usize, how: std::io::Result<ExitStatus>, log: &Path) -> Self {
        Self {
            number,
            said: last_lines(log, LAST_LINES),
            exited: how.as_ref().is_ok_and(|status| status.code().is_some()),
            how: how.map_or_else(|error| error.to_string(), |status| status.to_string()),
        }
    }
}

impl Hint for ReplicaError {
    fn hint(&self) -> Option<String> {
        // It may have said so itself, and whoever killed it knows why.
        (self.exited && !self.said.contains("\nhint: "))
            .then(|| "check that the database is there and lets this user in".into())
    }
}

/// Runs a bridge until a signal, or until standard input ends: whoever started it is gone then, or wants it to stop.
pub(crate) async fn run(arguments: server_bridge::args::Args) -> Result<(), Failure> {
    // A thread, because a read of standard input cannot be cancelled.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
    });
    Box::pin(arguments.run()).await
}

/// An address without the scheme before it.
fn host(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, host)| host)
}

fn read(file: &Path) -> Option<Listening> {
    // Half written it does not parse, as if it were not there.
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn remove(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn last_lines(log: &Path, count: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

// Enough for an error, its causes and its hint.
const LAST_LINES: usize = 6;

const POLL: Duration = Duration::from_millis(20);
// A database that is there answers sooner.
const REPORT_EVERY: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(2);
const ANSWER_BYTES: u64 = 64 * 1024;

// A little more than its own grace period.
const STOPPING: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn only_a_bridge_that_gave_up_by_itself_has_to_do_with_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let ended = |status| ReplicaError::of(0, Ok(ExitStatus::from_raw(status)), &log);
        let (exit_1, sigkill) = (ended(1 << 8), ended(9));
        assert!(exit_1.hint().unwrap().contains("database"));
        assert_eq!(sigkill.hint(), None);
        assert!(sigkill.to_string().contains("signal: 9"), "{sigkill}");
        std::fs::write(&log, "error\nhint: do this").unwrap();
        assert_eq!(ended(1 << 8).hint(), None);
    }
}
