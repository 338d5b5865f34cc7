//! The command line. Flags that upstream's agent has keep their names (docs/MAESTRO.md §6.1).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use link::cli::stdout_line;
use link::config::BrokerFlags;
use link::error::Failure;
use link::id::ConsumerName;
use link::telemetry::LogOptions;

use crate::cluster::ClusterOptions;
use crate::crd;

mod run;
mod verbs;

/// Receives works for one management cluster, applies them and reports their status
#[derive(Debug, Parser)]
#[command(
    name = "agent",
    version = link::cli::version(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Args {
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub run: RunArgs,
    /// What to do in place of running
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What the agent can do beside running.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print the CustomResourceDefinitions that the agent needs, for `kubectl apply -f -`
    Crds,
    /// Print the smallest ClusterRole for the works that the cluster holds now
    Permissions(PermissionsArgs),
    /// Take over what another agent, such as a Go Maestro agent, applied in the cluster
    Adopt(AdoptArgs),
}

/// Options of a running agent.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
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
    /// Where manifests are applied: `kubernetes`, or `dir:PATH` for one file per object
    #[arg(
        long,
        env = "AGENT_TARGET",
        default_value = "kubernetes",
        value_name = "TARGET"
    )]
    pub target: TargetSpec,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Stable name of this agent in the cluster's AppliedManifestWorks, or the 64 hex digits of a Go agent's hub
    /// hash [default: the consumer's name]
    #[arg(long, env = "AGENT_ID", value_name = "ID")]
    pub agent_id: Option<String>,
    /// Take over the works of this agent id too; may be repeated. A Go agent on the same broker is known anyway
    #[arg(long = "adopt-agent-id", value_name = "ID")]
    pub adopt_agent_ids: Vec<String>,
    /// Name that no other running process ever has, such as a pod's name and uid: one that comes back under it leads again
    /// at once, and need not wait until the Lease has run out
    #[arg(long, env = "AGENT_LEADER_IDENTITY", value_name = "NAME")]
    pub leader_identity: Option<String>,
    /// Work without electing a leader: for one replica that is replaced only after it has ended
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL")]
    pub disable_leader_election: bool,
    /// Directory for what must survive a restart, one per agent; needed for `dir:PATH` only
    #[arg(long, env = "AGENT_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Accept works from this source only; may be repeated
    #[arg(long = "allow-source", value_name = "SOURCE")]
    pub allowed_sources: Vec<String>,
    /// Apply and remove nothing, report what is there
    #[arg(long, env = "AGENT_PAUSED")]
    pub paused: bool,
    /// How often applied objects are compared with what they should be where they cannot be watched
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
        value_parser = link::listen::address,
        value_name = "IP:PORT"
    )]
    pub admin_listen: SocketAddr,
    /// Write the addresses this process listens on to a JSON file
    #[arg(long, value_name = "FILE")]
    pub listening_file: Option<PathBuf>,
    /// How long the works in hand may take to finish after the first signal
    #[arg(long, default_value = "25s", value_parser = duration, value_name = "DURATION")]
    pub shutdown_grace: Duration,
    #[command(flatten)]
    pub broker: BrokerFlags,
    #[command(flatten)]
    pub log: LogOptions,
    // Upstream's, without effect: there is one codec, and nothing is evicted because information is missing.
    #[arg(long, hide = true, value_name = "CODECS")]
    pub cloudevents_client_codecs: Option<String>,
    #[arg(long, hide = true, value_name = "DURATION")]
    pub appliedmanifestwork_eviction_grace_period: Option<String>,
}

/// How to reach the cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterArgs {
    /// Kubeconfig of the cluster [default: the pod's service account, else $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the works and of the agent's own objects [default: the pod's or the kubeconfig's]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Requests per second to the API server in the long run; 0 is no limit
    #[arg(long, default_value_t = 500.0, value_name = "N")]
    pub kube_api_qps: f32,
    /// Requests to the API server that may go out at once; 0 is no limit
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub kube_api_burst: u32,
}

/// Options of `agent permissions`.
#[derive(Debug, clap::Args)]
pub struct PermissionsArgs {
    /// Name of this management cluster
    #[arg(long, env = "CONSUMER_NAME", value_name = "NAME")]
    pub consumer_name: ConsumerName,
    /// Bind the role to this service account
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub service_account: Option<String>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Options of `agent adopt`.
#[derive(Debug, clap::Args)]
pub struct AdoptArgs {
    /// Name of this management cluster
    #[arg(long, env = "CONSUMER_NAME", value_name = "NAME")]
    pub consumer_name: ConsumerName,
    /// Agent id to take over: a Go agent's hub hash as 64 hex digits, or the `--agent-id` of another agent; may be
    /// repeated
    #[arg(long = "from", value_name = "ID")]
    pub from: Vec<String>,
    /// Take over from the Go agent that was configured with this `brokerHost`, whose hash is its agent id
    #[arg(long, value_name = "HOST:PORT")]
    pub from_broker: Vec<String>,
    /// Field managers whose fields become the agent's, so that they can go when a manifest drops them
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "maestro,work",
        value_name = "NAME,…"
    )]
    pub from_managers: Vec<String>,
    /// Stable name of this agent, as it will run with [default: the consumer's name]
    #[arg(long, env = "AGENT_ID", value_name = "ID")]
    pub agent_id: Option<String>,
    /// Show what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub cluster: ClusterArgs,
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
    /// A Kubernetes cluster.
    Kubernetes,
    /// A directory with one file per object.
    Directory(PathBuf),
}

/// The text names no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no target; write `kubernetes` or `dir:PATH`")]
pub struct InvalidTarget(String);

// === impl Args ===

impl Args {
    /// Runs the agent until a signal, or does what the verb says.
    ///
    /// # Errors
    /// Exit code 2 for what is wrong with the command line, the configuration or the certificate.
    pub async fn run(self) -> Result<(), Failure> {
        match self.verb {
            None => self.run.run().await,
            Some(Verb::Crds) => {
                let _ = stdout_line(crd::yaml().trim_end())?;
                Ok(())
            }
            Some(Verb::Permissions(args)) => args.run().await,
            Some(Verb::Adopt(args)) => args.run().await,
        }
    }
}

// === impl ClusterArgs ===

impl ClusterArgs {
    fn options(&self, consumer: &ConsumerName) -> ClusterOptions {
        ClusterOptions {
            kubeconfig: self.kubeconfig.clone(),
            namespace: self.namespace.clone(),
            qps: self.kube_api_qps,
            burst: self.kube_api_burst,
            ..ClusterOptions::new(consumer.as_str())
        }
    }
}

impl FromStr for TargetSpec {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        match text.split_once(':') {
            None if text == "kubernetes" => Ok(Self::Kubernetes),
            Some(("dir", path)) if !path.is_empty() => Ok(Self::Directory(path.into())),
            _ => Err(InvalidTarget(text.into())),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    link::config::parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write a duration above zero, such as `10s` or `1m30s`".into())
}

#[cfg(test)]
mod tests;
