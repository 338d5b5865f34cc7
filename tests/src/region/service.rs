//! One of our services as a child: where it listens, whether it is ready, restarts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Deserialize;

use crate::metrics;
use crate::process::{Process, ProcessError, ProcessSpec};
use crate::wait::wait_for;

/// A running `server-bridge` or `agent`. Dropping it kills it.
#[derive(Debug)]
pub struct Service {
    process: Process,
    file: PathBuf,
}

/// Where a service listens, as it wrote into its `--listening-file`: base URLs.
#[derive(Clone, Debug, Deserialize)]
pub struct Listening {
    /// The REST API, if it has one.
    #[serde(default)]
    pub api: Option<String>,
    /// Plain MQTT for a Maestro server, if it is a sidecar: `mqtt://IP:PORT`.
    #[serde(default)]
    pub mqtt: Option<String>,
    /// The gRPC endpoint for sources, if it has one.
    #[serde(default)]
    pub grpc: Option<String>,
    /// `/livez`, `/readyz` and `/metrics`.
    pub admin: String,
}

// === impl Service ===

impl Service {
    /// Starts it with its logs in `home`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(spec: ProcessSpec, home: &Path) -> Result<Self> {
        let file = home.join("listening.json");
        let spec = spec.arg("--listening-file").arg(&file);
        Ok(Self {
            process: spec.start(home)?,
            file,
        })
    }

    /// The same under limits of a shell; see [`ProcessSpec::limited`].
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_limited(spec: ProcessSpec, limits: &str, home: &Path) -> Result<Self> {
        let file = home.join("listening.json");
        let spec = spec.arg("--listening-file").arg(&file);
        Ok(Self {
            process: spec.limited(limits).start(home)?,
            file,
        })
    }

    /// The process, for signals and output.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until it says where it listens.
    ///
    /// # Errors
    /// When it ends or takes too long.
    pub async fn listening(&mut self) -> Result<Listening> {
        // For the client that asks it for its readiness.
        link::tls::install_provider();
        let Self { process, file } = self;
        let waited = wait_for("the listening file", PATIENCE, async || {
            let ended = process.ended().map_err(|error| error.to_string())?;
            // A file half written does not parse: asked again like one that is not there.
            let read = std::fs::read_to_string(&*file).map_err(|error| error.to_string());
            let parsed: Result<Listening, String> = read
                .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
            match (parsed, ended) {
                (Ok(listening), None) => Ok(Some(listening.normal())),
                (_, Some(_)) => Ok(None),
                (Err(status), None) => Err(status),
            }
        })
        .await;
        match waited {
            Ok(Some(listening)) => Ok(listening),
            Ok(None) => bail!(
                "the service ended at once; its output:\n{}",
                self.process.output()
            ),
            Err(error) => Err(anyhow::Error::new(error).context(self.process.output())),
        }
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it ends or takes too long; the message holds the last answer.
    pub async fn ready(&mut self) -> Result<Listening> {
        let listening = self.listening().await?;
        let url = format!("{}/readyz", listening.admin);
        let waited = wait_for(&url, PATIENCE, async || {
            let answer = reqwest::get(&url)
                .await
                .map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = answer.text().await.unwrap_or_default();
            if status.is_success() {
                Ok(())
            } else {
                Err(format!("{status}: {body}"))
            }
        })
        .await;
        match waited {
            Ok(()) => Ok(listening),
            Err(error) => Err(anyhow::Error::new(error).context(self.process.output())),
        }
    }

    /// Waits until `/readyz` refuses with a reason that holds `word`, and gives the whole answer.
    ///
    /// # Errors
    /// When it goes on saying that it is ready, or ready but for something else.
    pub async fn unready(&mut self, word: &str) -> Result<String> {
        let url = format!("{}/readyz", self.listening().await?.admin);
        let said = wait_for(&format!("`{word}` in {url}"), PATIENCE, async || {
            let answer = reqwest::get(&url)
                .await
                .map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = answer.text().await.unwrap_or_default();
            if status.is_success() || !body.contains(word) {
                return Err(format!("{status}: {body}"));
            }
            Ok(body)
        })
        .await?;
        Ok(said)
    }

    /// A scrape of its metrics.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&mut self) -> Result<metrics::MetricsPage> {
        let listening = self.listening().await?;
        Ok(metrics::MetricsPage::scrape(&listening.admin).await?)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<(), ProcessError> {
        self.process.kill()
    }

    /// Starts the same command again, killing what still runs. It may listen elsewhere afterwards.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill()?;
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        Ok(self.process.restart()?)
    }
}

// === impl Listening ===

impl Listening {
    /// Takes `HOST:PORT` as well as a URL.
    fn normal(self) -> Self {
        let url = |address: String| match address.contains("://") {
            true => address,
            false => format!("http://{address}"),
        };
        Self {
            api: self.api.map(url),
            mqtt: self.mqtt,
            grpc: self.grpc.map(url),
            admin: url(self.admin),
        }
    }
}

// The longest pause between two attempts to connect is a minute.
const PATIENCE: Duration = Duration::from_secs(90);
