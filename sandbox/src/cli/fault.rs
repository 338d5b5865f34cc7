//! `sandbox fault`: faults of a running sandbox by name, over its control plane.

use std::io;
use std::time::Duration;

use link::cli::stdout_line;
use link::error::{Failure, Hint};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// Options of `sandbox fault`.
#[derive(Debug, clap::Args)]
pub(super) struct FaultArgs {
    /// Control plane of the sandbox, which `--control` starts
    #[arg(
        long,
        env = "AWS_ENDPOINT_URL_IOT",
        value_name = "URL",
        global = true,
        default_value = "http://127.0.0.1:8080"
    )]
    control: Url,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show all faults: what each does, what it is set to, and the code that a diagnosis should give
    List {
        /// Print the answer of the control plane
        #[arg(long)]
        json: bool,
    },
    /// Switch a fault on
    Set {
        /// Its name, perhaps with a value
        #[arg(value_name = "NAME[=VALUE]")]
        fault: String,
    },
    /// Switch a fault off, or all
    Clear {
        /// Its name [default: all]
        name: Option<String>,
    },
}

/// The control plane did not do it.
#[derive(Debug, thiserror::Error)]
enum FaultError {
    #[error("ask the control plane at `{0}`")]
    Unreachable(Url, #[source] io::Error),
    #[error("ask the control plane at `{0}`: the answer is none of a sandbox's")]
    Foreign(Url),
    #[error("{0}")]
    Refused(String),
}

// === impl FaultArgs ===

impl FaultArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match &self.verb {
            Verb::List { json } => {
                let answer = self.call("GET", "", None).await?;
                let text = if *json {
                    answer.to_string()
                } else {
                    table(&answer).ok_or_else(|| self.foreign())?
                };
                let _ = stdout_line(&text)?;
            }
            Verb::Set { fault } => {
                let (name, value) = match fault.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (fault.as_str(), None),
                };
                let body = json!({ "value": value });
                let answer = self.call("PUT", name, Some(&body)).await?;
                let set = answer["value"].as_str().ok_or_else(|| self.foreign())?;
                let _ = stdout_line(&format!("{name}={set}"))?;
            }
            Verb::Clear { name } => {
                let name = name.as_deref().unwrap_or_default();
                self.call("DELETE", name, None).await?;
            }
        }
        Ok(())
    }

    /// One request to the faults, or to one of them.
    async fn call(&self, method: &str, name: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let plain = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        if !plain {
            return Err(Failure::usage(FaultError::Refused(format!(
                "there is no fault `{name}`"
            ))));
        }
        let path = match name {
            "" => "/sandbox/faults".to_owned(),
            name => format!("/sandbox/faults/{name}"),
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let asked = timeout(PATIENCE, self.exchange(method, &path, &body)).await;
        let answer = asked
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| FaultError::Unreachable(self.control.clone(), error))?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| self.foreign())?;
        let status = head.split(' ').nth(1);
        let body = match body {
            "" => Value::Null,
            body => serde_json::from_str(body).map_err(|_| self.foreign())?,
        };
        match (status, body["message"].as_str()) {
            (Some("200"), _) => Ok(body),
            (_, Some(message)) => Err(Failure::usage(FaultError::Refused(message.to_owned()))),
            _ => Err(self.foreign().into()),
        }
    }

    /// The control plane speaks plain HTTP, and what it says fits in memory.
    async fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let host = self.control.host_str().unwrap_or("localhost");
        let host = host.trim_matches(['[', ']']);
        let port = self.control.port_or_known_default().unwrap_or(80);
        let mut stream = TcpStream::connect((host, port)).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(ANSWER).read_to_string(&mut answer).await?;
        Ok(answer)
    }

    fn foreign(&self) -> FaultError {
        FaultError::Foreign(self.control.clone())
    }
}

/// Two lines for each fault.
fn table(answer: &Value) -> Option<String> {
    let faults = answer["faults"].as_array()?;
    let mut lines = Vec::new();
    for fault in faults {
        let (name, values) = (fault["name"].as_str()?, fault["values"].as_str()?);
        let set = fault["value"].as_str();
        let state = set.map_or_else(|| "off".to_owned(), |value| format!("ON: {value}"));
        let codes: Vec<String> = fault["codes"]
            .as_array()?
            .iter()
            .filter_map(|code| {
                let (code, fault) = (code["code"].as_str()?, code["fault"].as_str()?);
                Some(format!("{code} {fault}"))
            })
            .collect();
        lines.push(format!("{name:20} {state:16} {values}"));
        lines.push(format!("    {}", fault["what"].as_str()?));
        lines.extend(codes.into_iter().map(|code| format!("    → {code}")));
    }
    Some(lines.join("\n"))
}

// === impl FaultError ===

impl Hint for FaultError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable(..) => Some(
                "start the sandbox with `--control IP:PORT`, and name that with `--control URL`"
                    .into(),
            ),
            Self::Foreign(_) => Some("name the address that `sandbox` printed as `control`".into()),
            Self::Refused(_) => Some("`sandbox fault list` shows all with their values".into()),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

// The list has some 10 KiB.
const ANSWER: u64 = 1 << 20;
