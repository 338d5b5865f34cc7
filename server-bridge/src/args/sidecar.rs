//! `server-bridge sidecar`: beside a Go Maestro server, in its pod.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use link::admin::{Admin, Checks, write_listening_file};
use link::clock::Clock;
use link::config::{BrokerFlags, ProcessEnv};
use link::endpoint::{Endpoint, Sources};
use link::error::{ExitKind, Failure};
use link::id::{ClientId, SourceId};
use link::mqtt::Reconnect;
use link::shutdown::{Shutdown, run_until_shutdown};
use link::telemetry;
use prometheus::Registry;
use tokio_util::task::AbortOnDropHandle;

use super::Args;
use super::store::{StoreFlags, Switch};
use crate::replicas::MAX_SLOTS;
use crate::sidecar::{self, GRACE, SidecarSettings};
use crate::store::postgres::{DEFAULT_CONNECTIONS, Schema, TlsMode};

/// A sidecar of a Maestro server.
#[derive(Debug, clap::Args)]
pub struct SidecarArgs {
    /// Config file with broker, topics and certificate files; the one that the Maestro server had will do
    #[arg(long, value_name = "FILE")]
    pub message_broker_config_file: Option<PathBuf>,
    /// Address for the Maestro server, on loopback: what is spoken there is neither encrypted nor authenticated
    #[arg(
        long,
        env = "SIDECAR_MQTT_LISTEN",
        default_value = "127.0.0.1:1883",
        value_parser = link::listen::address,
        value_name = "IP:PORT"
    )]
    pub mqtt_listen: SocketAddr,
    /// The source that the Maestro server speaks for, its `--source-id`
    #[arg(long, env = "SOURCE_ID", default_value = "maestro", value_name = "ID")]
    pub source_id: SourceId,
    /// MQTT client id towards the broker, or what client ids begin with: with several connections `-0`, `-1`, … are
    /// appended, with `--slot` its number. What the Maestro server calls itself does not matter
    #[arg(long, env = "CLIENT_ID", default_value = "maestro", value_name = "ID")]
    pub client_id: ClientId,
    /// Number of this replica among several Maestro servers that each have a sidecar, such as the index of its pod in a
    /// StatefulSet; client ids are those of the bridge's replicas
    #[arg(long, env = "SIDECAR_SLOT", value_parser = clap::value_parser!(u16).range(0..i64::from(MAX_SLOTS)), value_name = "N")]
    pub slot: Option<u16>,
    /// MQTT connections to spread the consumers over; each carries 100 publishes a second on IoT Core
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub connections: u16,
    /// Address of /livez, /readyz and /metrics
    #[arg(
        long,
        env = "BRIDGE_ADMIN_LISTEN",
        default_value = "127.0.0.1:8084",
        value_parser = link::listen::address,
        value_name = "IP:PORT"
    )]
    pub admin_listen: SocketAddr,
    /// Write the addresses this process listens on to a JSON file
    #[arg(long, value_name = "FILE")]
    pub listening_file: Option<PathBuf>,
    /// How long publishes under way may take to finish after the first signal
    #[arg(long, default_value = "25s", value_parser = super::duration, value_name = "DURATION")]
    pub shutdown_grace: Duration,
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub broker: BrokerFlags,
}

// === impl SidecarArgs ===

impl SidecarArgs {
    /// Runs until a signal.
    ///
    /// # Errors
    /// Exit code 2 for what is wrong with the command line, the configuration or the certificate; 1 when a part died.
    pub(super) async fn run(&self, args: &Args) -> Result<(), Failure> {
        let given = given(&args.store);
        if !given.is_empty() {
            return Err(Failure::usage(format!(
                "a sidecar keeps nothing and has no store: {} must not be given",
                given.join(", ")
            )));
        }
        let failed = |error: prometheus::Error| Failure::new(ExitKind::Failed, error);
        let shutdown = Shutdown::listen().map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let registry = Registry::new();
        telemetry::register_build_info(&registry, "server-bridge").map_err(failed)?;
        let checks = Checks::new();
        let admin = Admin::bind(self.admin_listen).await?;
        let listener = sidecar::bind(self.mqtt_listen).await?;
        let address = listener.local_addr();
        let address = address.map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let sidecar = self
            .settings(args)?
            .build_on(listener, &registry, &checks)?;
        let drain = shutdown.drain();
        if let Some(file) = &self.listening_file {
            write_listening_file(file, &[("admin", admin.local_addr()), ("mqtt", address)])?;
        }
        tracing::info!(%address, "Listening for the Maestro server");
        let serving = tokio::spawn(admin.serve(checks.clone(), registry.clone(), drain.clone()));
        let serving = AbortOnDropHandle::new(serving);
        let running = Box::pin(sidecar.run(drain.clone()));
        let ended = run_until_shutdown(&drain, self.shutdown_grace, running).await;
        drop(serving);
        ended?
    }

    fn settings(&self, args: &Args) -> Result<SidecarSettings, Failure> {
        let sources = Sources {
            mount: args.mount.as_deref(),
            file: self.message_broker_config_file.as_deref(),
            flags: Some(&self.broker),
        };
        Ok(SidecarSettings {
            endpoint: Endpoint::resolve(sources, &ProcessEnv)?,
            source: self.source_id.clone(),
            client_id: self.client_id.clone(),
            slot: self.slot,
            connections: self.connections,
            reconnect: Reconnect::default(),
            grace: GRACE,
            clock: Clock::system(),
        })
    }
}

/// The flags of a store that say anything else than their defaults, by name. They are known to every command.
fn given(store: &StoreFlags) -> Vec<&'static str> {
    let flags = [
        ("`--store`", store.store.is_some()),
        ("`--db`", store.db.is_some()),
        ("`--db-host-file`", store.db_host_file.is_some()),
        ("`--db-port-file`", store.db_port_file.is_some()),
        ("`--db-name-file`", store.db_name_file.is_some()),
        ("`--db-user-file`", store.db_user_file.is_some()),
        ("`--db-password-file`", store.db_password_file.is_some()),
        ("`--db-iam-auth`", store.db_iam_auth),
        ("`--db-iam-region`", store.db_iam_region.is_some()),
        ("`--db-sslmode`", store.db_sslmode != TlsMode::default()),
        ("`--db-rootcert`", store.db_rootcert.is_some()),
        (
            "`--db-max-open-connections`",
            store.db_max_open_connections != DEFAULT_CONNECTIONS,
        ),
        ("`--db-schema`", store.db_schema != Schema::default()),
        ("`--db-notify`", store.db_notify != Switch::On),
    ];
    let given = flags.into_iter().filter(|(_, given)| *given);
    given.map(|(flag, _)| flag).collect()
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, CommandFactory as _, Parser as _};

    use super::super::verbs::Command;
    use super::*;

    fn parsed(args: &[&str]) -> Result<(Box<SidecarArgs>, Args), String> {
        let args = ["server-bridge"].iter().chain(args);
        let mut args = Args::try_parse_from(args).map_err(|error| error.to_string())?;
        match args.command.take() {
            Some(Command::Sidecar(sidecar)) => Ok((sidecar, args)),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn every_flag_of_the_store_is_refused_by_its_name() {
        assert_eq!(given(&parsed(&["sidecar"]).unwrap().1.store), [""; 0]);
        let command = Args::command();
        let of_store = command.get_arguments().filter(|arg| {
            let name = arg.get_id().as_str();
            name == "store" || name == "db" || name.starts_with("db_")
        });
        let mut flags = 0;
        for arg in of_store {
            let flag = format!("--{}", arg.get_long().unwrap());
            let value = match flag.as_str() {
                "--db-sslmode" => "disable",
                "--db-max-open-connections" => "5",
                "--db-notify" => "off",
                _ => "other",
            };
            let mut args = vec!["sidecar", &flag];
            if !matches!(arg.get_action(), ArgAction::SetTrue) {
                args.push(value);
            }
            let (_, args) = parsed(&args).unwrap();
            assert_eq!(given(&args.store), [format!("`{flag}`")]);
            flags += 1;
        }
        assert!(flags >= 14, "{flags}");
    }

    #[test]
    fn every_other_flag_of_the_bridge_is_refused_by_its_name() {
        let command = Args::command();
        let sidecar = command.find_subcommand("sidecar").unwrap();
        let known: Vec<_> = sidecar.get_arguments().map(clap::Arg::get_id).collect();
        let foreign = command.get_arguments().filter(|arg| {
            !arg.is_global_set() && !known.contains(&arg.get_id()) && arg.get_long().is_some()
        });
        let mut flags = 0;
        for arg in foreign {
            let flag = format!("--{}", arg.get_long().unwrap());
            let error = parsed(&["sidecar", &flag]).unwrap_err();
            assert!(error.contains(&format!("'{flag}'")), "{error}");
            flags += 1;
        }
        assert!(flags >= 10, "{flags}");
        // Nor may they come before it.
        for args in [
            ["--api-listen=127.0.0.1:1", "sidecar"],
            ["--connections=2", "sidecar"],
            ["--slots=2", "sidecar"],
        ] {
            let error = parsed(&args).unwrap_err();
            let (flag, _) = args[0].split_once('=').unwrap();
            assert!(error.contains(flag), "{error}");
        }
    }

    #[test]
    fn slots_are_those_of_the_bridge_s_replicas() {
        let slot = |text: &str| parsed(&["sidecar", text]).map(|(sidecar, _)| sidecar.slot);
        assert_eq!(slot("--connections=1"), Ok(None));
        assert_eq!(slot("--slot=0"), Ok(Some(0)));
        assert_eq!(slot("--slot=63"), Ok(Some(MAX_SLOTS - 1)));
        for beyond in ["--slot=64", "--slot=-1", "--slot=maestro-0"] {
            let error = slot(beyond).unwrap_err();
            assert!(error.contains("--slot"), "{error}");
        }
    }
}
