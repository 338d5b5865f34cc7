//! `sandbox up`: a whole region until Ctrl-C, with lines to try or one line of JSON for scripts.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use link::cli::{Stdout, stdout_line};
use link::error::{ExitKind, Failure, Hint};
use link::id::ConsumerName;
use link::shutdown::{Drain, Shutdown, run_until_shutdown};
use link::telemetry::{self, LogOptions};
use server_bridge::api::{HostName, InvalidHostName};
use tracing::{info, warn};

use crate::broker::Quotas;
use crate::up::{
    Database, Guide, Home, InvalidDatabase, ListenAddress, Running, Settings, TargetCluster, quoted,
};

mod confirm;
mod ending;

/// Options of `sandbox up`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("filter", |arg| arg.default_value("warn")))]
pub(super) struct UpArgs {
    /// How many agents, called cluster1, cluster2, …
    #[arg(long, value_name = "N", default_value = "1", value_parser = agents, conflicts_with = "consumers")]
    agents: usize,

    /// A consumer with an agent of this name in place of cluster1; repeatable
    #[arg(long = "consumer", value_name = "NAME")]
    consumers: Vec<ConsumerName>,

    /// Keep certificates, database and works in this directory, and go on with what it holds
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// Use the directory of `--keep` without asking, although it holds other files
    #[arg(long, short, requires = "keep")]
    yes: bool,

    /// Keep everything in this PostgreSQL database, and run each bridge as a process of its own. In the environment it is in
    /// no list of processes
    #[arg(
        long,
        env = "SANDBOX_STORE",
        hide_env_values = true,
        value_name = "postgres://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    store: Option<Named>,

    /// How many bridges share the database [default: 2]
    #[arg(long, value_name = "N", requires = "store", value_parser = clap::value_parser!(u16).range(1..=16))]
    replicas: Option<u16>,

    /// Print one line of JSON when everything is ready, and nothing else
    #[arg(long)]
    json: bool,

    /// Port of the broker on 127.0.0.1 [default: 8883, or a free one if that is taken]
    #[arg(long, value_name = "PORT")]
    broker_port: Option<u16>,

    /// Another address of the broker, for clients with ALPN `x-amzn-mqtt-ca`, as port 443 of AWS IoT Core [default: none]
    #[arg(long, value_name = "IP:PORT", value_parser = link::listen::address)]
    alpn_listen: Option<SocketAddr>,

    /// Address that answers HTTPS with 403 and the time, as port 8443 of AWS IoT Core [default: none]
    #[arg(long, value_name = "IP:PORT", value_parser = link::listen::address)]
    https_listen: Option<SocketAddr>,

    /// Address of the REST API [default: 127.0.0.1:8000, or a free port if that is taken]
    #[arg(long, value_name = "IP:PORT", value_parser = link::listen::address)]
    api_listen: Option<SocketAddr>,

    /// Name by which others address the REST API, such as this machine's; repeatable. Loopback is always known, and so are
    /// IP addresses unless it listens on loopback; any other `Host` is refused
    #[arg(long = "api-host", value_name = "NAME", value_parser = api_host)]
    api_hosts: Vec<String>,

    /// Address of the gRPC endpoint for sources, plaintext [default: 127.0.0.1:8090, or a free port if that is taken]
    #[arg(long, value_name = "IP:PORT", value_parser = link::listen::address)]
    grpc_listen: Option<SocketAddr>,

    /// Address of the control plane, which speaks the API of AWS IoT [default: none]; whoever reaches it is believed
    #[arg(long, value_name = "IP:PORT", value_parser = link::listen::address)]
    control: Option<SocketAddr>,

    /// Apply to the cluster of this kubeconfig in place of directories; each consumer gets a namespace `sandbox-NAME`
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// At the end, remove from that cluster what was applied, the namespaces and the definitions; also what an earlier run
    /// left there
    #[arg(long, requires = "kubeconfig")]
    clean: bool,

    /// Lift the broker's quotas per second, for throughput measurements
    #[arg(long)]
    no_quotas: bool,

    #[command(flatten)]
    log: LogOptions,
}

/// A database, or why a text names none. That is said where it is used: whoever parses a command line shows the value that
/// it refuses, and this one may hold a password.
#[derive(Clone, Debug)]
struct Named(Result<Database, InvalidDatabase>);

// === impl Named ===

impl FromStr for Named {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.parse()))
    }
}

// === impl UpArgs ===

impl UpArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        telemetry::init(&self.log).map_err(Failure::misuse)?;
        let settings = self.settings()?;
        // Asks, if need be, before signals are taken: Ctrl-C is an answer too.
        let kept = self.keep.as_deref();
        let kept = kept
            .map(|directory| confirm::kept(directory, self.yes))
            .transpose()?;
        let shutdown = Shutdown::listen().map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let drain = shutdown.drain();
        let home = kept.map_or_else(Home::throw_away, Ok)?;
        let cluster = settings.cluster.clone();
        let serving = Box::pin(self.serve(settings, &home, &drain));
        let outcome = run_until_shutdown(&drain, GRACE, serving).await;
        let cleaned = match &cluster {
            Some(cluster) if self.clean => ending::clean(cluster, &drain).await,
            Some(cluster) if cluster.is_touched() => {
                ending::say(&format!("left: {cluster}; `--clean` takes them away"));
                Ok(())
            }
            _ => Ok(()),
        };
        let closed = home.close().await;
        outcome??;
        cleaned?;
        Ok(closed?)
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let consumers: Vec<ConsumerName> = if self.consumers.is_empty() {
            let names =
                (1..=self.agents).map(|number| ConsumerName::new(format!("cluster{number}")));
            names.collect::<Result<_, _>>().map_err(Failure::usage)?
        } else {
            let names: BTreeSet<_> = self.consumers.iter().cloned().collect();
            check_count(names.len()).map_err(Failure::usage)?;
            names.into_iter().collect()
        };
        let database = self.store.clone().map(|named| named.0).transpose();
        let database = database.map_err(|error| Failure::misuse(InvalidStore(error)))?;
        let loopback = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let cluster = self.kubeconfig.as_deref();
        Ok(Settings {
            cluster: cluster.map(|kubeconfig| TargetCluster::new(kubeconfig, &consumers)),
            consumers,
            broker: self
                .broker_port
                .map_or(ListenAddress::Preferred(loopback(8883)), |port| {
                    ListenAddress::Exact(loopback(port))
                }),
            alpn: self.alpn_listen,
            https: self.https_listen,
            api: self.api_listen.map_or(
                ListenAddress::Preferred(loopback(8000)),
                ListenAddress::Exact,
            ),
            api_hosts: self.api_hosts.clone(),
            grpc: self.grpc_listen.map_or(
                ListenAddress::Preferred(loopback(8090)),
                ListenAddress::Exact,
            ),
            quotas: if self.no_quotas {
                Quotas::none()
            } else {
                Quotas::IOT_CORE
            },
            database: database.map(|database| (database, self.replicas.unwrap_or(2))),
            control: self.control,
        })
    }

    async fn serve(&self, settings: Settings, home: &Home, drain: &Drain) -> Result<(), Failure> {
        let cluster = settings.cluster.clone();
        let building = Box::pin(settings.build(home));
        let mut running = tokio::select! {
            built = building => built?.start(),
            // Nobody uses it yet, so it may be dropped.
            () = drain.requested() => return Ok(()),
        };
        let outcome = self
            .watch(&mut running, home, cluster.as_ref(), drain)
            .await;
        if !self.json && drain.is_requested() {
            ending::say("stopping; Ctrl-C again stops at once");
        }
        ending::tell_while(drain, running.stop(drain)).await;
        outcome
    }

    /// Until a signal or until something goes wrong.
    async fn watch(
        &self,
        running: &mut Running,
        home: &Home,
        cluster: Option<&TargetCluster>,
        drain: &Drain,
    ) -> Result<(), Failure> {
        tokio::select! {
            ready = running.ready(PATIENCE) => ready?,
            () = drain.requested() => return Ok(()),
        }
        self.announce(running, home, cluster)?;
        tokio::select! {
            ended = running.ended() => Err(ended.into()),
            () = drain.requested() => Ok(()),
        }
    }

    fn announce(
        &self,
        running: &Running,
        home: &Home,
        cluster: Option<&TargetCluster>,
    ) -> Result<(), Failure> {
        let mut summary = running.summary().clone();
        let end = match self.clean {
            true => "goes when this stops",
            false => "stays when this stops, unless with `--clean`",
        };
        let note = cluster.map(|cluster| format!("what this makes {end}: {cluster}"));
        summary.notes.extend(note);
        let text = if self.json {
            for note in &summary.notes {
                warn!("{note}");
            }
            serde_json::to_string(&summary)
                .map_err(|error| Failure::new(ExitKind::Failed, error))?
        } else {
            Guide::new(&summary, home, probe()).to_string()
        };
        if stdout_line(&text)? == Stdout::Closed {
            info!("Nobody reads standard output; running on");
        }
        Ok(())
    }
}

/// `--store` or its variable of the environment names no database.
#[derive(Debug, thiserror::Error)]
#[error("`--store` (`SANDBOX_STORE`) names no database")]
struct InvalidStore(#[source] InvalidDatabase);

impl Hint for InvalidStore {
    fn hint(&self) -> Option<String> {
        self.0.hint()
    }
}

fn agents(text: &str) -> Result<usize, String> {
    let count = text.parse().map_err(|_| "not a number".to_owned())?;
    check_count(count).map(|()| count)
}

/// A name as the bridge takes it.
fn api_host(text: &str) -> Result<String, InvalidHostName> {
    text.parse::<HostName>().map(|_| text.to_owned())
}

fn check_count(count: usize) -> Result<(), String> {
    match count {
        0 => Err("a region without an agent applies nothing; 1 is the least".into()),
        1..=MOST_AGENTS => Ok(()),
        _ => Err(format!(
            "{MOST_AGENTS} is the most in one process: each watches its certificate with one of the inotify instances \
             that Linux gives a user (`fs.inotify.max_user_instances`, usually 128)"
        )),
    }
}

/// How to call `probe` so that the line works: next to this program, on the `PATH`, or out of the source tree.
fn probe() -> String {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.join("probe")));
    if let Some(program) = beside.filter(|program| program.is_file()) {
        let here = std::env::current_dir().ok();
        let short = here.and_then(|here| program.strip_prefix(here).ok().map(Path::to_path_buf));
        return quoted(&short.unwrap_or(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|directory| directory.join("probe").is_file());
    if installed {
        "probe".into()
    } else {
        "cargo run -q -p probe --".into()
    }
}

// A handshake takes some 10 ms; a first attempt that fails is repeated within seconds.
const PATIENCE: Duration = Duration::from_secs(30);

// As long as the services' own.
const GRACE: Duration = Duration::from_secs(25);

const MOST_AGENTS: usize = 100;

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    #[test]
    fn names_of_the_api_are_those_that_the_bridge_takes() {
        let settings = |host: &str| {
            let command = UpArgs::augment_args(clap::Command::new("up"));
            let matches =
                command.try_get_matches_from(["up", "--api-host", "a", "--api-host", host]);
            matches.map(|matches| {
                UpArgs::from_arg_matches(&matches)
                    .unwrap()
                    .settings()
                    .unwrap()
            })
        };
        assert_eq!(
            settings("laptop.example").unwrap().api_hosts,
            ["a", "laptop.example"]
        );
        let refused = settings("http://laptop:8000").unwrap_err().to_string();
        assert!(refused.contains("without scheme and port"), "{refused}");
    }
    #[test]
    fn addresses_are_taken_as_people_write_them() {
        let parsed = |flag: &str, address: &str| {
            let command = UpArgs::augment_args(clap::Command::new("up"));
            let matches = command.try_get_matches_from(["up", flag, address]);
            matches.map(|matches| UpArgs::from_arg_matches(&matches).unwrap())
        };
        let control = parsed("--control", "localhost:8080").unwrap().control;
        assert_eq!(control, Some(SocketAddr::from(([127, 0, 0, 1], 8080))));
        for flag in [
            "--alpn-listen",
            "--https-listen",
            "--api-listen",
            "--grpc-listen",
            "--control",
        ] {
            let refused = parsed(flag, "8443").unwrap_err().to_string();
            assert!(refused.contains("write `127.0.0.1:8443`"), "{refused}");
        }
    }
}
