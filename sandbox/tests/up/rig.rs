//! A `sandbox up` that does not outlive its test, an HTTP client of a few lines, and waiting.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// A running `sandbox up`; killed when dropped.
pub(crate) struct Up {
    child: Child,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// How it ended, and what it wrote that was not read before.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

// === impl Up ===

impl Up {
    /// Starts it with its throw-away directories below `temporary`.
    pub(crate) fn start(temporary: &Path, args: &[&str]) -> Self {
        Self::run(command(temporary, args))
    }

    /// The same by a line of a shell, which has the command in `"$@"`.
    pub(crate) fn start_by(temporary: &Path, line: &str, args: &[&str]) -> Self {
        let direct = command(temporary, args);
        let mut command = Command::new("sh");
        command
            .args(["-c", line, "sh"])
            .arg(direct.get_program())
            .args(direct.get_args());
        Self::run(surroundings(command, temporary))
    }

    fn run(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(LINES);
        spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self::of(child, lines)
    }

    /// The same with nobody at the other end of its standard output.
    pub(crate) fn start_unread(temporary: &Path, args: &[&str]) -> Self {
        let mut child = command(temporary, args).spawn().unwrap();
        drop(child.stdout.take());
        let (_, lines) = sync_channel(LINES);
        Self::of(child, lines)
    }

    /// The same with its standard error closed at the other end, as that of a terminal that is gone.
    pub(crate) fn start_unheard(temporary: &Path, args: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = command(temporary, args);
        command.stderr(writer);
        Self::run(command)
    }

    /// Its next line on standard output.
    pub(crate) fn line(&self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("{error}; standard error:\n{}", self.stderr()),
        }
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn stop(self, signal: &str) -> Ended {
        sh(&format!("kill -{signal} {}", self.child.id()));
        self.ended()
    }

    /// Waits for the end.
    pub(crate) fn ended(mut self) -> Ended {
        let (status, mut stdout) = self.wait();
        stdout.extend(self.lines.iter());
        self.reader.take().unwrap().join().unwrap();
        Ended {
            code: status.code(),
            stdout: stdout.join("\n"),
            stderr: self.stderr(),
        }
    }

    fn of(mut child: Child, lines: Receiver<String>) -> Self {
        let stream = child.stderr.take();
        let stderr = Arc::new(Mutex::new(String::new()));
        let sink = stderr.clone();
        let reader = spawn(move || {
            let Some(mut stream) = stream else { return };
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]);
                sink.lock().unwrap().push_str(&text);
            }
        });
        Self {
            child,
            lines,
            stderr,
            reader: Some(reader),
        }
    }

    fn wait(&mut self) -> (ExitStatus, Vec<String>) {
        let mut lines = Vec::new();
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, lines);
            }
            let late = std::time::Instant::now() > deadline;
            assert!(!late, "it still runs:\n{}", self.stderr());
            // Also the pause between two looks, for as long as the stream is open.
            lines.extend(self.lines.recv_timeout(PAUSE));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a line in a shell and gives its standard output.
pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{line}: {stderr} (curl must be installed)"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One request on a connection of its own: status and body; `null` for a body that is not JSON.
pub(crate) async fn http(method: &str, url: &str, body: Option<&Value>) -> (u16, Value) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// Asks until the answer is good; panics with the last one at the deadline.
pub(crate) async fn wait_for(what: &str, mut probe: impl AsyncFnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(last) = probe().await {
        assert!(Instant::now() < deadline, "waited for {what}; last: {last}");
        sleep(PAUSE).await;
    }
}

fn command(temporary: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.arg("up").args(args);
    surroundings(command, temporary)
}

fn surroundings(mut command: Command, temporary: &Path) -> Command {
    command
        .env("TMPDIR", temporary)
        .env_remove("LOG_LEVEL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

// More than the human text has.
const LINES: usize = 64;

const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(20);
