//! The command line. Flags that upstream's server has keep their names (docs/MAESTRO.md §5.7).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::FalseyValueParser;
use link::admin::{Admin, Checks, write_listening_file};
use link::clock::Clock;
use link::config::{BrokerFlags, ProcessEnv, parse_duration};
use link::endpoint::{Endpoint, Sources};
use link::error::{ExitKind, Failure};
use link::id::{ClientId, SourceId};
use link::mqtt::Reconnect;
use link::shutdown::{Shutdown, run_until_shutdown};
use link::telemetry::{self, LogOptions};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::api::{self, HostName};
use crate::compat;
use crate::replicas::{self, MAX_SLOTS};
use crate::service::BridgeSettings;
use crate::store::Location;

pub mod callers;
pub mod consumer;
pub mod explain;
pub mod grpc;
pub mod import;
pub mod sidecar;
pub mod store;
pub mod verbs;
pub mod verify;

use callers::CallerFlags;
use grpc::GrpcFlags;
use store::StoreFlags;
use verbs::Command;

/// The regional side: takes bundles by REST, delivers them to their clusters, shows their status
#[derive(Debug, Parser)]
#[command(name = "server-bridge", version = link::cli::version(), args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Directory that the CSI driver mounts: certificate, privateKey, ca.crt, config.yaml
    #[arg(long, env = "BRIDGE_MOUNT", global = true, value_name = "DIR")]
    pub mount: Option<PathBuf>,
    /// Config file with broker, topics and certificate files
    #[arg(long, value_name = "FILE")]
    pub message_broker_config_file: Option<PathBuf>,
    /// The source this bridge speaks for
    #[arg(long, env = "SOURCE_ID", default_value = "maestro", value_name = "ID")]
    pub source_id: SourceId,
    /// MQTT client id, or what client ids begin with: with several connections `-0`, `-1`, … are appended; with PostgreSQL
    /// the replica's slot is, and `-1`, `-2`, … for further connections, and it holds only `a-z`, `0-9` and `-`, because the
    /// replicas' shared subscription is named after it unless `topics.agentEvents` names a group
    #[arg(long, env = "CLIENT_ID", default_value = "maestro", value_name = "ID")]
    pub client_id: ClientId,
    /// MQTT connections to spread the consumers over; each carries 100 publishes a second on IoT Core
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub connections: u16,
    /// Replicas that may share a PostgreSQL database; 8 unless given, 64 at most. Each takes a free one of so many numbered
    /// slots for its client ids, which the IoT policy must name
    #[arg(long, env = "BRIDGE_SLOTS", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_SLOTS)), value_name = "N")]
    pub slots: Option<u16>,
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub store: StoreFlags,
    /// Consumers to register at start: a YAML or JSON list of names or of `{name, labels}`
    #[arg(long, value_name = "FILE")]
    pub consumers: Option<PathBuf>,
    /// Delete works that agents hold and this bridge does not know, as Maestro does. Without it only what was deleted here
    /// is deleted there, so that a lost or older database empties no cluster. It rests for seven days after a restore
    #[arg(long)]
    pub delete_unknown_works: bool,
    /// Hear from AWS IoT Core which agents connect and go, and why (`$aws/events/presence`). The IoT policy must allow it:
    /// `server.lifecycleEvents: true` in the region's file. It is told of every client of the account and region, and heeds
    /// agents alone
    #[arg(long, env = "BRIDGE_LIFECYCLE_EVENTS", value_parser = FalseyValueParser::new())]
    pub lifecycle_events: bool,
    /// Address of the REST API. Other addresses than loopback need a way to know callers, or `--insecure-callers`
    #[arg(
        long,
        env = "BRIDGE_API_LISTEN",
        default_value = "127.0.0.1:8000",
        value_parser = link::listen::address,
        value_name = "IP:PORT"
    )]
    pub api_listen: SocketAddr,
    /// Name by which callers address the REST API, such as a Service's; may be repeated. Loopback is always known, and so
    /// are IP addresses unless it listens on loopback; any other `Host` is refused, so that no web page can reach it
    #[arg(
        long = "api-host",
        env = "BRIDGE_API_HOST",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    pub api_hosts: Vec<HostName>,
    /// Serve the status page at `/ui` of the REST API. Unless given, only where that listens on loopback. Its files are for
    /// everybody who can connect; what it shows is asked of the REST API as whoever looks at it
    #[arg(
        long,
        env = "BRIDGE_UI",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub ui: Option<bool>,
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub grpc: GrpcFlags,
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub callers: CallerFlags,
    /// Address of /livez, /readyz and /metrics
    #[arg(
        long,
        env = "BRIDGE_ADMIN_LISTEN",
        default_value = "127.0.0.1:8083",
        value_parser = link::listen::address,
        value_name = "IP:PORT"
    )]
    pub admin_listen: SocketAddr,
    /// Show metrics under upstream's names too, as far as they mean the same, for dashboards and alerts made for it
    #[arg(long, env = "BRIDGE_COMPAT_METRICS", value_parser = FalseyValueParser::new())]
    pub compat_metrics: bool,
    /// Write the addresses this process listens on to a JSON file
    #[arg(long, value_name = "FILE")]
    pub listening_file: Option<PathBuf>,
    /// How long requests and publishes under way may take to finish after the first signal
    #[arg(long, default_value = "25s", value_parser = duration, value_name = "DURATION")]
    pub shutdown_grace: Duration,
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub broker: BrokerFlags,
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub log: LogOptions,
    /// What to do instead of running the bridge
    #[command(subcommand)]
    pub command: Option<Command>,
}

// === impl Args ===

impl Args {
    /// Runs the bridge until a signal, or does what the command says instead.
    ///
    /// # Errors
    /// Exit code 2 for what is wrong with the command line, the configuration or the certificate; 1 when a part of the
    /// bridge died.
    pub async fn run(self) -> Result<(), Failure> {
        if let Some(command) = &self.command {
            return command.run(&self).await;
        }
        telemetry::init(&self.log).map_err(Failure::misuse)?;
        let failed = |error: prometheus::Error| Failure::new(ExitKind::Failed, error);
        let shutdown = Shutdown::listen().map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let registry = Registry::new();
        telemetry::register_build_info(&registry, "server-bridge").map_err(failed)?;
        let checks = Checks::new();
        let admin = Admin::bind(self.admin_listen).await?;
        let settings = self.settings()?;
        let api = api::bind(self.api_listen, api::REST).await?;
        let grpc = self.grpc.bind().await?;
        let drain = shutdown.drain();
        if let Some(file) = &self.listening_file {
            let mut addresses = vec![("admin", admin.local_addr())];
            for (name, listener) in [("api", Some(&api)), ("grpc", grpc.as_ref())] {
                if let Some(address) = listener.map(TcpListener::local_addr) {
                    let failed = |error| Failure::new(ExitKind::Failed, error);
                    addresses.push((name, address.map_err(failed)?));
                }
            }
            write_listening_file(file, &addresses)?;
        }
        // Before the store is open: to get a slot may take long, and somebody may want to know why.
        let starting = checks.latch("start");
        let shown = match self.compat_metrics {
            true => compat::beside(registry.clone(), self.source_id.clone()).map_err(failed)?,
            false => registry.clone(),
        };
        let serving = tokio::spawn(admin.serve(checks.clone(), shown, drain.clone()));
        let serving = AbortOnDropHandle::new(serving);
        let stop = drain.token();
        let built = Box::pin(settings.build_on(api, grpc, &registry, &checks, &stop));
        let Some(service) = built.await? else {
            return Ok(());
        };
        drop(starting);
        let ended = run_until_shutdown(
            &drain,
            self.shutdown_grace,
            Box::pin(service.run(drain.clone())),
        )
        .await;
        drop(serving);
        ended?
    }

    fn settings(&self) -> Result<BridgeSettings, Failure> {
        let sources = Sources {
            mount: self.mount.as_deref(),
            file: self.message_broker_config_file.as_deref(),
            flags: Some(&self.broker),
        };
        let store = self.store.location(self.mount.as_deref())?;
        let replicas = self.replicas(&store)?;
        let callers = self.callers.config()?;
        callers.check(&self.listens())?;
        Ok(BridgeSettings {
            endpoint: Endpoint::resolve(sources, &ProcessEnv)?,
            source: self.source_id.clone(),
            client_id: self.client_id.clone(),
            connections: self.connections,
            store,
            replicas,
            consumers: self.consumers.clone(),
            delete_unknown_works: self.delete_unknown_works,
            lifecycle_events: self.lifecycle_events,
            api_listen: self.api_listen,
            api_hosts: self.api_hosts.clone(),
            ui: self.ui.unwrap_or(self.api_listen.ip().is_loopback()),
            grpc: self.grpc.options(),
            callers,
            reconnect: Reconnect::default(),
            clock: Clock::system(),
        })
    }

    /// Where callers connect, each with its flag.
    fn listens(&self) -> Vec<(&'static str, SocketAddr)> {
        let mut listens = vec![("--api-listen", self.api_listen)];
        if self.grpc.enable_grpc_server {
            listens.push(("--grpc-listen", self.grpc.grpc_listen));
        }
        listens
    }

    /// How the store is shared with others.
    fn replicas(&self, store: &Location) -> Result<replicas::ReplicaOptions, Failure> {
        let options = replicas::ReplicaOptions::default();
        match (store, self.slots) {
            (_, None) => Ok(options),
            (Location::Postgres(_), Some(slots)) => {
                Ok(replicas::ReplicaOptions { slots, ..options })
            }
            (Location::Sqlite(_), Some(_)) => Err(Failure::usage(
                "`--slots` is for PostgreSQL: a SQLite file has one bridge",
            )),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "not a duration such as `25s`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(args: &[&str]) -> Result<u16, String> {
        let args = ["server-bridge"].iter().chain(args);
        let args = Args::try_parse_from(args).map_err(|error| error.to_string())?;
        let mount = Some(std::path::Path::new("mount"));
        let store = args.store.location(mount).map_err(|e| e.to_string())?;
        let replicas = args.replicas(&store).map_err(|e| e.to_string())?;
        Ok(replicas.slots)
    }

    #[test]
    fn slots_are_for_postgresql_and_bounded() {
        let postgres = "--store=postgres";
        assert_eq!(slots(&[postgres]), Ok(8));
        assert_eq!(slots(&[postgres, "--slots=1"]), Ok(1));
        assert_eq!(slots(&[postgres, "--slots=64"]), Ok(64));
        for wrong in ["--slots=0", "--slots=65"] {
            let error = slots(&[postgres, wrong]).unwrap_err();
            assert!(error.contains("1..=64"), "{error}");
        }
        let error = slots(&["--slots=2"]).unwrap_err();
        assert!(error.contains("`--slots` is for PostgreSQL"), "{error}");
    }
}
