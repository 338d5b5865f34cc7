//! A whole region in this process, or with `--store` its bridges in processes of their own: broker, bridge and agents,
//! with certificates, policies and configuration laid down as a provisioner and the CSI driver do it.
//!
//! ```text
//! Settings → build: CA, identities, policies, sockets → Region → start → Running → ready → stop
//! ```
//!
//! Client ids, topics and policies come from `link::party::Party`, and every party reads its own mounted directory, so
//! that `agent --mount`, `server-bridge --mount` and `probe --identity` work on the same directories.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::service::Backend;
use link::clock::Clock;
use link::config::MapEnv;
use link::endpoint::{Endpoint, Sources};
use link::error::{ExitKind, Failure};
use link::id::{ClientId, ConsumerName, InvalidName, SourceId};
use link::mqtt::Reconnect;
use link::party::Party;
use server_bridge::api::HostName;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::member::Provisioner;
use self::part::Part;
use self::registry_file::RegistryFile;
use self::replica::Replica;
use crate::broker::{self, Broker, Quotas};
use crate::control::{self, Control};
use crate::pki::Authority;

pub use self::cluster::TargetCluster;
pub use self::database::{Database, InvalidDatabase};
pub use self::descriptors::TooFewDescriptors;
pub use self::guide::Guide;
pub(crate) use self::guide::quoted;
pub use self::home::{Home, HomeError};
pub use self::member::MemberError;
pub use self::port::ListenAddress;
pub use self::replica::ReplicaError;
pub(crate) use self::replica::run as run_replica;
pub use self::running::{Running, RunningError};
pub use self::summary::Summary;

mod cluster;
mod database;
mod descriptors;
mod guide;
mod home;
mod member;
mod part;
mod port;
mod registry_file;
mod replica;
mod replicas;
mod running;
mod summary;

/// What a region is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Consumers, each with an agent of its own.
    pub consumers: Vec<ConsumerName>,
    /// Where the broker listens.
    pub broker: ListenAddress,
    /// Where else it listens, for clients with ALPN; nowhere without.
    pub alpn: Option<SocketAddr>,
    /// Where it answers HTTPS with the time; nowhere without.
    pub https: Option<SocketAddr>,
    /// Where the REST API listens.
    pub api: ListenAddress,
    /// Names that the REST API answers to, besides loopback and addresses.
    pub api_hosts: Vec<String>,
    /// Where the gRPC endpoint for sources listens, plaintext.
    pub grpc: ListenAddress,
    /// Bridges as processes on a PostgreSQL database, and how many; without it one in this process on SQLite.
    pub database: Option<(Database, u16)>,
    /// The broker's rates.
    pub quotas: Quotas,
    /// Where the control plane listens; none without.
    pub control: Option<SocketAddr>,
    /// The cluster that the agents apply to, these consumers' ones, in place of directories.
    pub cluster: Option<TargetCluster>,
}

/// A region whose certificates are laid down and whose sockets are bound; nothing is served or dialled yet.
pub struct Region {
    summary: Summary,
    broker: Broker,
    control: Option<(Control, RegistryFile)>,
    bridges: Bridges,
    agents: Vec<(Part, agent::service::Service)>,
}

/// Where the bridges of a region run.
enum Bridges {
    /// One, in this process.
    Inside(Box<(Part, server_bridge::service::Service)>),
    /// Each in a process of its own.
    Processes(Vec<Replica>),
}

// === impl Settings ===

impl Settings {
    /// Lays everything down in the home directory and binds all sockets. What the directory holds from an earlier run
    /// is used again.
    ///
    /// # Errors
    /// When the directory cannot be written to, an address that was asked for is taken, or there are too few descriptors.
    pub async fn build(self, home: &Home) -> Result<Region, Failure> {
        descriptors::take(self.consumers.len(), self.cluster.is_some())?;
        let authority = Authority::persisted_in(home.path(), "sandbox certificate authority")?;
        let authority = Arc::new(authority);
        let server = authority.server(&[])?;
        let account = broker::Registry::load(&home.registry_file())?;
        let mut config =
            broker::BrokerConfig::new(self.broker.address(), server.certificate, server.key);
        config.registry = account.clone();
        config.quotas = self.quotas;
        config.alpn_listen = self.alpn;
        config.https_listen = self.https;
        let (broker, broker_note) = self.broker.broker(config).await?;

        let provisioner = Provisioner {
            authority: &authority,
            registry: &account,
            broker: broker.local_addr(),
        };
        let names = Names::new()?;
        let scheme = link::topic::Scheme::default();
        let party = match &self.database {
            None => Party::bridge(&scheme, &names.source, &names.bridge, 1),
            Some((_, replicas)) => {
                let slots = slots(*replicas);
                Party::replicas(&scheme, &names.source, &names.bridge, slots, 1)
            }
        };
        let party = party.map_err(MemberError::Party)?;
        let party = party.hearing_lifecycle_events();
        provisioner.provision("bridge", &party, &home.bridge_identity(), None)?;
        let party = Party::operator(&scheme, &names.operator);
        provisioner.provision("operator", &party, &home.operator_identity(), None)?;
        for consumer in &self.consumers {
            let party = Party::agent(&scheme, consumer).map_err(MemberError::Party)?;
            let identity = home.agent_identity(consumer);
            let name = format!("agent-{consumer}");
            provisioner.provision(&name, &party, &identity, Some(consumer))?;
        }
        account.save(&home.registry_file())?;
        let control = match self.control {
            Some(listen) => {
                let mut config = control::ControlConfig::new(listen, authority, broker.handle());
                // As the mounted directories have it: whoever compares the two finds the same name.
                config.endpoint = broker.local_addr().ip().to_string();
                let file = RegistryFile::new(account, home.registry_file());
                Some((Control::bind(config).await?, file))
            }
            None => None,
        };

        let (listener, api_note) = self.api.api().await?;
        let (grpc, grpc_note) = self.grpc.grpc().await?;
        let (bridges, shown) = match &self.database {
            None => {
                let settings = bridge(home, names, &self.consumers, &self.api_hosts)?;
                Box::pin(inside(settings, listener, grpc)).await?
            }
            Some((database, replicas)) => {
                let first = First {
                    api: listener.local_addr().map_err(failed)?,
                    grpc: grpc.local_addr().map_err(failed)?,
                };
                drop((listener, grpc));
                let mut arguments = database.arguments();
                let hosts = self.api_hosts.iter();
                arguments.extend(hosts.map(|name| format!("--api-host={name}")));
                database.mount(&home.bridge_identity()).map_err(failed)?;
                processes(home, arguments, *replicas, &self.consumers, first).await?
            }
        };
        let summary = Summary::new(home, broker.local_addr(), shown);
        let mut summary =
            summary.ok_or_else(|| Failure::usage("a region has at least 1 bridge"))?;
        summary.broker.alpn = broker.alpn_addr().map(|address| address.to_string());
        let https = broker.https_addr();
        summary.broker.https = https.map(|address| format!("https://{address}"));
        let plain = self
            .database
            .as_ref()
            .filter(|(database, _)| database.is_plain());
        let plain = plain.map(|_| "the connections to the database are not encrypted".to_owned());
        summary.control = control.as_ref().map(|(control, _)| control.url());
        summary.data_plane.clone_from(&summary.control);
        let open = summary.open_to_others();
        summary.notes.extend(
            [broker_note, api_note, grpc_note, plain, open]
                .into_iter()
                .flatten(),
        );
        let mut agents = Vec::new();
        for consumer in self.consumers {
            let part = Part::new("agent", &format!("agent of {consumer}")).await?;
            let target = match &self.cluster {
                None => home.target(&consumer),
                Some(cluster) => cluster.kubeconfig().to_path_buf(),
            };
            summary.add_consumer(home, &consumer, target, part.url());
            let backend = match &self.cluster {
                None => directory(home, &consumer),
                Some(cluster) => cluster.backend(&consumer, SWEEP).await?,
            };
            let agent = agent(home, consumer, backend)?;
            let agent = agent.build(&part.registry, &part.checks).await?;
            agents.push((part, agent));
        }
        Ok(Region {
            summary,
            broker,
            control,
            bridges,
            agents,
        })
    }
}

/// The names that `server-bridge` and `probe` have by default, so that they fit the policies.
struct Names {
    source: SourceId,
    bridge: ClientId,
    operator: ClientId,
}

// === impl Names ===

impl Names {
    fn new() -> Result<Self, MemberError> {
        let failed = |source: InvalidName| MemberError::Name(source);
        Ok(Self {
            source: SourceId::new("maestro").map_err(failed)?,
            bridge: ClientId::new("maestro").map_err(failed)?,
            operator: ClientId::new("probe").map_err(failed)?,
        })
    }
}

async fn inside(
    settings: server_bridge::service::BridgeSettings,
    listener: TcpListener,
    grpc: TcpListener,
) -> Result<(Bridges, Vec<summary::ReplicaSummary>), Failure> {
    let part = Part::new("server-bridge", "server-bridge").await?;
    // A bridge that is alone on its store waits for nobody.
    let never = CancellationToken::new();
    let building = settings.build_on(listener, Some(grpc), &part.registry, &part.checks, &never);
    let bridge = Box::pin(building)
        .await?
        .ok_or_else(|| Failure::new(ExitKind::Failed, "the bridge was not built"))?;
    let shown = summary::ReplicaSummary {
        pid: std::process::id(),
        api: format!("http://{}", bridge.api_address()),
        grpc: bridge
            .grpc_address()
            .map(|it| it.to_string())
            .unwrap_or_default(),
        admin: part.url(),
    };
    Ok((Bridges::Inside(Box::new((part, bridge))), vec![shown]))
}

/// Where the first of several bridges listens; the others take free ports.
struct First {
    api: SocketAddr,
    grpc: SocketAddr,
}

/// Starts the bridges one after the other; the first has the address that was asked for.
async fn processes(
    home: &Home,
    mut arguments: Vec<String>,
    replicas: u16,
    consumers: &[ConsumerName],
    first: First,
) -> Result<(Bridges, Vec<summary::ReplicaSummary>), Failure> {
    let consumers = home.write_consumers(consumers)?;
    arguments.push(format!("--consumers={}", consumers.display()));
    arguments.push(format!("--slots={}", slots(replicas)));
    arguments.push("--lifecycle-events".to_owned());
    let mut started = Vec::new();
    for number in 0..replicas {
        let address = |first: SocketAddr| match number {
            0 => first.to_string(),
            _ => SocketAddr::new(first.ip(), 0).to_string(),
        };
        let (api, grpc) = (address(first.api), address(first.grpc));
        started.push(Replica::start(home, number.into(), &api, &grpc, &arguments).await?);
    }
    let shown = started.iter().map(|replica| summary::ReplicaSummary {
        pid: replica.pid(),
        api: replica.api(),
        grpc: replica.grpc(),
        admin: replica.admin(),
    });
    let shown = shown.collect();
    Ok((Bridges::Processes(started), shown))
}

/// Twice as many as there are bridges, so that one that was killed can be started again at once.
fn slots(replicas: u16) -> u16 {
    (2 * replicas).clamp(8, 64)
}

fn bridge(
    home: &Home,
    names: Names,
    consumers: &[ConsumerName],
    api_hosts: &[String],
) -> Result<server_bridge::service::BridgeSettings, Failure> {
    let api_hosts = api_hosts.iter().map(|name| name.parse::<HostName>());
    Ok(server_bridge::service::BridgeSettings {
        endpoint: endpoint(&home.bridge_identity())?,
        source: names.source,
        client_id: names.bridge,
        connections: 1,
        store: server_bridge::store::Location::Sqlite(home.database()),
        replicas: server_bridge::replicas::ReplicaOptions::default(),
        consumers: Some(home.write_consumers(consumers)?),
        delete_unknown_works: false,
        lifecycle_events: true,
        // Bound already.
        api_listen: ([127, 0, 0, 1], 0).into(),
        api_hosts: api_hosts
            .collect::<Result<_, _>>()
            .map_err(Failure::usage)?,
        ui: true,
        grpc: server_bridge::grpc::GrpcOptions::default(),
        // Whoever reaches a sandbox is believed.
        callers: server_bridge::callers::CallersConfig::default(),
        reconnect: Reconnect::default(),
        clock: Clock::system(),
    })
}

fn agent(
    home: &Home,
    consumer: ConsumerName,
    backend: Backend,
) -> Result<agent::service::Settings, Failure> {
    Ok(agent::service::Settings {
        endpoint: endpoint(&home.agent_identity(&consumer))?,
        event_source: format!("{consumer}-work-agent"),
        sources: None,
        backend,
        paused: None,
        max_raw_bytes: 1 << 20,
        reconnect: Reconnect::default(),
        clock: Clock::system(),
        consumer,
    })
}

fn directory(home: &Home, consumer: &ConsumerName) -> Backend {
    Backend::Directory {
        root: home.target(consumer),
        state_dir: home.agent_state(consumer),
        sweep: SWEEP,
    }
}

/// What a process of its own would make of the mounted directory. The environment belongs to the whole process, so it
/// says nothing about one party.
fn endpoint(mount: &Path) -> Result<Endpoint, Failure> {
    let sources = Sources {
        mount: Some(mount),
        ..Sources::default()
    };
    Endpoint::resolve(sources, &MapEnv::default())
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(ExitKind::Failed, error)
}

// The agent's own default.
const SWEEP: Duration = Duration::from_secs(10);
