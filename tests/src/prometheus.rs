//! A real Prometheus on a free port: scrapes what a test names, evaluates rules, answers queries.
//!
//! Programs come from `tests/prometheus/fetch`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::ports::free_port;
use crate::process::{Output, Process, ProcessSpec};
use crate::wait::wait_for;

/// A running Prometheus. Dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    url: String,
    targets: PathBuf,
}

/// What is scraped: an address such as `127.0.0.1:8083`, and the labels a monitor would give it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host and port.
    pub address: String,
    /// The container's name.
    pub container: String,
    /// Its namespace.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts it with these files of rules; it scrapes and evaluates each second.
    ///
    /// # Errors
    /// When the program is missing, with how to get it, or does not answer.
    pub async fn start(home: &Path, rules: &[PathBuf]) -> Result<Self> {
        let targets = home.join("targets.json");
        std::fs::write(&targets, "[]")?;
        let config = home.join("prometheus.yaml");
        let settings = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "rule_files": rules,
            "scrape_configs": [{
                "job_name": "region",
                "file_sd_configs": [{ "files": [targets], "refresh_interval": "1s" }],
            }],
        });
        // JSON is YAML.
        std::fs::write(&config, settings.to_string())?;
        let program = program("prometheus", home).await?;
        let program = program
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                home.join("tsdb").display()
            ));
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            // Somebody else may take it meanwhile.
            let address = format!("127.0.0.1:{}", free_port()?);
            let program = program.clone();
            let process = program.arg(format!("--web.listen-address={address}"));
            let mut prometheus = Self {
                process: process.start(home)?,
                url: format!("http://{address}"),
                targets: targets.clone(),
            };
            if prometheus.ready().await? {
                return Ok(prometheus);
            }
            said = prometheus.process.output();
        }
        bail!("Prometheus ended {ATTEMPTS} times: {said}")
    }

    /// Waits until it answers; false when it has ended.
    async fn ready(&mut self) -> Result<bool> {
        link::tls::install_provider();
        let ready = format!("{}/-/ready", self.url);
        let process = &mut self.process;
        let waited = wait_for("Prometheus", PATIENCE, async || {
            if process.ended()?.is_some() {
                return Ok(false);
            }
            reqwest::get(&ready).await?.error_for_status()?;
            anyhow::Ok(true)
        });
        waited.await.with_context(|| self.process.output())
    }

    /// Scrapes these and no others from now on.
    ///
    /// # Errors
    /// The file system's.
    pub fn scrape(&self, targets: &[Target]) -> Result<()> {
        let groups: Vec<Value> = targets
            .iter()
            .map(|target| {
                json!({
                    "targets": [target.address],
                    "labels": {
                        "container": target.container,
                        "namespace": target.namespace,
                        "pod": target.pod,
                    },
                })
            })
            .collect();
        let fresh = self.targets.with_extension("new");
        std::fs::write(&fresh, Value::from(groups).to_string())?;
        Ok(std::fs::rename(fresh, &self.targets)?)
    }

    /// The series that answer a query now.
    ///
    /// # Errors
    /// When the query is not understood; the message says where.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let answer = self.get("query", &[("query", query)]).await?;
        let series = answer["result"].as_array().cloned();
        series.with_context(|| format!("`{query}` is answered by no list"))
    }

    /// Labels and annotations of the alerts of this name that fire.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn firing(&self, alert: &str) -> Result<Vec<Value>> {
        let answer = self.get("alerts", &[]).await?;
        let all = answer["alerts"].as_array().cloned().unwrap_or_default();
        let wanted = |one: &Value| one["labels"]["alertname"] == alert && one["state"] == "firing";
        Ok(all.into_iter().filter(wanted).collect())
    }

    /// Names of the rules that it has.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn rules(&self) -> Result<Vec<String>> {
        let answer = self.get("rules", &[]).await?;
        let groups = answer["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        Ok(rules
            .filter_map(|rule| rule["name"].as_str().map(str::to_owned))
            .collect())
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let url = format!("{}/api/v1/{path}", self.url);
        let url = reqwest::Url::parse_with_params(&url, query)?;
        let answer: Value = reqwest::get(url).await?.json().await?;
        ensure!(answer["status"] == "success", "{path} {query:?}: {answer}");
        Ok(answer["data"].clone())
    }
}

/// Runs `promtool` with these arguments.
///
/// # Errors
/// When the program is missing, with how to get it.
pub async fn promtool<S: AsRef<std::ffi::OsStr>>(
    home: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Result<Output> {
    let spec = program("promtool", home).await?.args(arguments);
    Ok(spec.run(home, PATIENCE).await?)
}

async fn program(name: &str, home: &Path) -> Result<ProcessSpec> {
    // Each call has logs of its own, or it would show those of the calls before.
    static CALL: AtomicUsize = AtomicUsize::new(0);
    let call = CALL.fetch_add(1, Ordering::Relaxed);
    let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("prometheus/fetch");
    let fetched = ProcessSpec::at("fetch", fetch, REMEDY)
        .label(format!("fetch-{name}-{call}"))
        .arg(name)
        .run(home, FETCHED_WITHIN)
        .await?;
    ensure!(
        fetched.status.success(),
        "tests/prometheus/fetch {name}: {}",
        fetched.stderr
    );
    let found = ProcessSpec::at(name, fetched.stdout.trim().into(), REMEDY);
    Ok(found.label(format!("{name}-{call}")))
}

const REMEDY: &str = "run `tests/prometheus/fetch`";

const PATIENCE: Duration = Duration::from_secs(30);
const ATTEMPTS: usize = 5;

// 30 MB.
const FETCHED_WITHIN: Duration = Duration::from_secs(180);
