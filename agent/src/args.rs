//! The command line. Flags that upstream's agent has keep their names (wire.md §6.1).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use link::admin::{Admin, Checks, write_listening_file};
use link::clock::Clock;
use link::config::{BrokerFlags, ProcessEnv};
use link::endpoint::{Endpoint, Sources};
use link::error::{ExitKind, Failure};
use link::id::ConsumerName;
use link::mqtt::Reconnect;
use link::shutdown::{Shutdown, run_until_shutdown};
use link::telemetry::{self, LogOptions};
use prometheus::Registry;

use crate::service::Settings;

/// Receives works for one management cluster, applies them and reports their status
#[derive(Debug, Parser)]
#[command(name = "agent", version = link::cli::version())]
pub struct Args {
    /// Name of this management cluster; `consumerName` in the mounted directory says the same
    #[arg(long, env = "CONSUMER_NAME", value_name = "NAME")]
    pub consumer_name: Option<ConsumerName>,
    /// Transport to the source
    #[arg(long, value_enum, default_value_t, value_name = "DRIVER")]
    pub workload_source_driver: Driver,
    /// Config file with broker, topics and certificate files
    #[arg(long, value_name = "FILE")]
    pub workload_source_config: Option<PathBuf>,
    /// CloudEvents source of this agent; the MQTT client id is this and `-client` [default: NAME-work-agent]
    #[arg(
        long = "cloudevents-client-id",
        env = "CLOUDEVENTS_CLIENT_ID",
        value_name = "ID"
    )]
    pub cloudevents_client_id: Option<String>,
    /// Directory that the CSI driver mounts: certificate, privateKey, ca.crt, config.yaml, consumerName
    #[arg(long, env = "AGENT_MOUNT", value_name = "DIR")]
    pub mount: Option<PathBuf>,
    /// Where manifests are applied: `dir:PATH`
    #[arg(long, env = "AGENT_TARGET", value_name = "TARGET")]
    pub target: TargetSpec,
    /// Directory for what must survive a restart; one per agent
    #[arg(long, env = "AGENT_STATE_DIR", value_name = "DIR")]
    pub state_dir: PathBuf,
    /// Accept works from this source only; may be repeated
    #[arg(long = "allow-source", value_name = "SOURCE")]
    pub allowed_sources: Vec<String>,
    /// How often applied objects are compared with what they should be
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub status_sync_interval: Duration,
    /// Longest JSON text of one feedback value in bytes
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES")]
    pub max_json_raw_length: usize,
    /// Address of /livez, /readyz and /metrics
    #[arg(
        long,
        env = "AGENT_ADMIN_LISTEN",
        default_value = "127.0.0.1:8083",
        value_name = "IP:PORT"
    )]
    pub admin_listen: SocketAddr,
    /// Write the addresses this process listens on to a JSON file
    #[arg(long, value_name = "FILE")]
    pub listening_file: Option<PathBuf>,
    /// How long the works in hand may take to finish after the first signal
    #[arg(long, default_value = "25s", value_parser = duration, value_name = "DURATION")]
    pub shutdown_grace: Duration,
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub broker: BrokerFlags,
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub log: LogOptions,
    // Upstream's, without effect: there is one codec, and a lock on the state directory instead of an election.
    #[expect(missing_docs, reason = "hidden")]
    #[arg(long, hide = true, value_name = "CODECS")]
    pub cloudevents_client_codecs: Option<String>,
    #[expect(missing_docs, reason = "hidden")]
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub disable_leader_election: Option<bool>,
}

/// How works come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// MQTT 5 over mutual TLS.
    #[default]
    Mqtt,
}

/// Where manifests are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetSpec {
    /// A directory with one file per object.
    Directory(PathBuf),
}

/// The text names no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no target; write `dir:PATH`")]
pub struct InvalidTarget(String);

// === impl Args ===

impl Args {
    /// Runs the agent until a signal.
    ///
    /// # Errors
    /// Exit code 2 for what is wrong with the command line, the configuration or the certificate.
    pub async fn run(self) -> Result<(), Failure> {
        telemetry::init(&self.log).map_err(Failure::usage)?;
        let shutdown = Shutdown::listen().map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let registry = Registry::new();
        telemetry::register_build_info(&registry, "agent")
            .map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let checks = Checks::new();
        let admin = Admin::bind(self.admin_listen).await?;
        let grace = self.shutdown_grace;
        let listening_file = self.listening_file.clone();
        let admin_address = admin.local_addr();
        let service = self.settings()?.build(&registry, &checks)?;
        let drain = shutdown.drain();
        let serving = tokio::spawn(admin.serve(checks, registry, drain.clone()));
        if let Some(file) = listening_file {
            write_listening_file(&file, &[("admin", admin_address)])?;
        }
        let ended = run_until_shutdown(&drain, grace, Box::pin(service.run(drain.clone()))).await;
        serving.abort();
        Ok(ended?)
    }

    fn settings(self) -> Result<Settings, Failure> {
        let sources = Sources {
            mount: self.mount.as_deref(),
            file: self.workload_source_config.as_deref(),
            flags: Some(&self.broker),
        };
        let endpoint = Endpoint::resolve(sources, &ProcessEnv)?;
        let consumer = consumer(self.consumer_name, endpoint.consumer.clone())?;
        let event_source = self
            .cloudevents_client_id
            .unwrap_or_else(|| format!("{consumer}-work-agent"));
        let allowed = self.allowed_sources;
        Ok(Settings {
            endpoint,
            consumer,
            event_source,
            sources: (!allowed.is_empty()).then(|| allowed.into_iter().collect()),
            target: self.target,
            state_dir: self.state_dir,
            sweep: self.status_sync_interval,
            max_raw_bytes: self.max_json_raw_length,
            reconnect: Reconnect::default(),
            clock: Clock::system(),
        })
    }
}

impl FromStr for TargetSpec {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        match text.split_once(':') {
            Some(("dir", path)) if !path.is_empty() => Ok(Self::Directory(path.into())),
            _ => Err(InvalidTarget(text.into())),
        }
    }
}

/// Which consumer this is: nobody says so, or two say differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ConsumerError {
    #[error("no consumer name is given")]
    Missing,
    #[error(
        "the consumer is `{flag}` by flag or environment and `{mount}` in the mounted directory"
    )]
    Differ {
        flag: ConsumerName,
        mount: ConsumerName,
    },
}

fn consumer(
    flag: Option<ConsumerName>,
    mount: Option<ConsumerName>,
) -> Result<ConsumerName, Failure> {
    match (flag, mount) {
        (Some(flag), Some(mount)) if flag != mount => {
            Err(
                Failure::usage(ConsumerError::Differ { flag, mount }).with_hint(
                    "leave `--consumer-name` away, or mount this cluster's directory".to_string(),
                ),
            )
        }
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => Err(Failure::usage(ConsumerError::Missing).with_hint(
            "give `--consumer-name NAME`, or mount a directory with the file `consumerName`"
                .to_string(),
        )),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    link::config::parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write a duration above zero, such as `10s` or `1m30s`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extra: &[&str]) -> Result<Args, String> {
        let base = ["agent", "--target", "dir:/tmp/x", "--state-dir", "/tmp/s"];
        Args::try_parse_from(base.iter().chain(extra)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_deployment_s_flags_are_understood() {
        let args = parse(&[
            "--consumer-name=mc1",
            "--workload-source-driver=mqtt",
            "--workload-source-config=/mnt/secrets-store/config.yaml",
            "--cloudevents-client-id=mc1-work-agent",
            "--disable-leader-election",
        ])
        .unwrap();
        assert_eq!(args.consumer_name.unwrap().as_str(), "mc1");
        assert_eq!(args.target, TargetSpec::Directory("/tmp/x".into()));
        assert_eq!(args.status_sync_interval, Duration::from_secs(10));
        assert_eq!(args.max_json_raw_length, 1_048_576);
    }

    #[test]
    fn wrong_values_are_refused_with_what_to_write() {
        for (extra, part) in [
            (["--consumer-name", "A"], "lower-case"),
            (["--status-sync-interval", "10"], "such as `10s`"),
            (["--workload-source-driver", "kafka"], "mqtt"),
        ] {
            let error = parse(&extra).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(
            "kube".parse::<TargetSpec>().unwrap_err().to_string(),
            "`kube` is no target; write `dir:PATH`"
        );
    }

    #[test]
    fn two_different_consumer_names_are_an_error() {
        let name = |text| ConsumerName::new(text).ok();
        assert!(consumer(name("a"), name("a")).is_ok());
        assert!(consumer(None, name("a")).is_ok());
        let error = consumer(name("a"), name("b")).unwrap_err();
        assert!(error.to_string().contains("`a` by flag"), "{error}");
        assert_eq!(consumer(None, None).unwrap_err().kind(), ExitKind::Usage);
    }
}
