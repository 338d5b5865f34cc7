//! A whole region for a test: a broker, a bridge and agents as real processes with real certificates, laid down
//! as the CSI driver lays them down.
//!
//! ```text
//! server-bridge ── [proxy] ── sandbox broker (in this process) or mosquitto ── [proxy] ── agent × N
//! ```
//!
//! Client ids, topics and rights of every party come from `link::party::Party`, for mosquitto's access rules too.
//! Every service listens on port 0 and says where in a `--listening-file`.

// Long because one region, from builder to end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use link::bundle::manifest::ObjectRef;
use link::id::{ClientId, ConsumerName, SourceId};
use link::iot::policy::Document;
use link::party::Party;
use link::topic::Scheme;
use sandbox::pki::{Authority, Layout, write_mount};
use serde_json::{Value, json};

use self::broker::Member;
use self::place::Place;
use crate::api::Api;
use crate::kubernetes::Cluster;
use crate::process::Spec;
use crate::proxy::{CuttingProxy, RetargetableProxy};
use crate::scratch::Scratch;
use crate::session::{ALLOW_EVERYTHING, Client, EVERYTHING};

pub use self::broker::{Broker, Kind};
pub use self::mount::Mount;
pub use self::service::{Listening, Service};

mod broker;
mod mount;
mod place;
mod service;

/// What a region is made of.
#[derive(Clone, Debug)]
pub struct Builder {
    test: String,
    kind: Kind,
    consumers: Vec<String>,
    network: Network,
    layout: Layout,
    quotas: bool,
    persistence: bool,
    place: Place,
    bridge_args: Vec<String>,
    bridge_limits: Option<String>,
    database: Option<PathBuf>,
    postgres: Option<PathBuf>,
    replicas: usize,
    first: Option<PathBuf>,
    agent_args: Vec<String>,
    shared: Option<u16>,
}

/// What stands between the services and the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Nothing.
    #[default]
    Direct,
    /// One [`CuttingProxy`] for all.
    Cutting,
    /// A [`RetargetableProxy`] for the bridge and one for each agent.
    Retargetable,
}

/// A running region. Dropping it kills every process.
#[derive(Debug)]
pub struct Region {
    /// The bridge, the first of several.
    pub bridge: Service,
    /// The other bridges on the same database.
    pub replicas: Vec<Service>,
    /// The bridge's identity and configuration.
    pub bridge_mount: Mount,
    /// Agents by consumer name.
    pub agents: BTreeMap<String, Agent>,
    /// The broker.
    pub broker: Broker,
    /// The one proxy of [`Network::Cutting`].
    pub cutter: Option<CuttingProxy>,
    /// The proxies of [`Network::Retargetable`]: by consumer name, the bridge's under [`BRIDGE`].
    pub proxies: BTreeMap<String, RetargetableProxy>,
    /// Signs whatever else a test needs.
    pub authority: Authority,
    /// Where everything is.
    pub scratch: Scratch,
    builder: Builder,
}

/// One agent with its directories.
#[derive(Debug)]
pub struct Agent {
    /// The process.
    pub service: Service,
    /// Its identity and configuration.
    pub mount: Mount,
    /// Where it applies objects, unless that is a cluster.
    pub target: PathBuf,
    /// Where it remembers its works, unless that is a cluster.
    pub state: PathBuf,
    /// The namespace of its works in a cluster.
    pub namespace: Option<String>,
}

// === impl Builder ===

impl Builder {
    /// A region of one agent called `cluster1`, directly connected to the given kind of broker.
    pub fn new(test: &str, kind: Kind) -> Self {
        Self {
            test: test.to_owned(),
            kind,
            consumers: vec!["cluster1".into()],
            network: Network::default(),
            layout: Layout::DataSymlink,
            quotas: true,
            persistence: true,
            place: Place::Directories,
            bridge_args: Vec::new(),
            bridge_limits: None,
            database: None,
            postgres: None,
            replicas: 1,
            first: None,
            agent_args: Vec::new(),
            shared: None,
        }
    }

    /// The bridge hears its agents on as many connections, which share one subscription.
    #[must_use]
    pub fn shared(mut self, connections: u16) -> Self {
        self.shared = Some(connections);
        self
    }

    /// With `count` agents, `cluster1` and up.
    #[must_use]
    pub fn agents(mut self, count: usize) -> Self {
        self.consumers = (1..=count)
            .map(|number| format!("cluster{number}"))
            .collect();
        self
    }

    /// With something between the services and the broker.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// With the other writer of identities.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Without IoT Core's rates in the sandbox broker, for tests of volume.
    #[must_use]
    pub fn without_quotas(mut self) -> Self {
        self.quotas = false;
        self
    }

    /// With a mosquitto that forgets sessions and messages when it ends. The sandbox's broker always does.
    #[must_use]
    pub fn without_persistence(mut self) -> Self {
        self.persistence = false;
        self
    }

    /// With agents that apply to a cluster in place of directories, each with a namespace of its own for its works.
    #[must_use]
    pub fn on_cluster(mut self, cluster: &Cluster) -> Self {
        self.place = Place::cluster(cluster.kubeconfig(), cluster.kubeconfig());
        self
    }

    /// With agents that apply to a cluster by this kubeconfig, through a proxy for example.
    #[must_use]
    pub fn on_cluster_by(mut self, kubeconfig: &Path) -> Self {
        self.place = Place::cluster(kubeconfig, kubeconfig);
        self
    }

    /// The same with agents that may do what RBAC lets this user do.
    ///
    /// # Errors
    /// When the user's kubeconfig cannot be made.
    pub fn on_cluster_as(mut self, cluster: &Cluster, user: &str) -> Result<Self> {
        self.place = Place::cluster(cluster.kubeconfig(), &cluster.kubeconfig_for(user)?);
        Ok(self)
    }

    /// With more arguments for `server-bridge`.
    #[must_use]
    pub fn bridge_args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.bridge_args.extend(args.into_iter().map(Into::into));
        self
    }

    /// With a bridge under limits of a shell, such as `ulimit -n 256`.
    #[must_use]
    pub fn bridge_limits(mut self, limits: &str) -> Self {
        self.bridge_limits = Some(limits.to_owned());
        self
    }

    /// With the bridge's database somewhere else than in the region's directory.
    #[must_use]
    pub fn database(mut self, file: PathBuf) -> Self {
        self.database = Some(file);
        self
    }

    /// With a bridge on the PostgreSQL database that the five files in this directory name; it is on loopback.
    #[must_use]
    pub fn postgres(mut self, files: &Path) -> Self {
        self.postgres = Some(files.to_owned());
        self
    }

    /// The same with so many bridges; they share identity and configuration.
    #[must_use]
    pub fn replicas(mut self, files: &Path, count: usize) -> Self {
        self.replicas = count;
        self.postgres(files)
    }

    /// The first of several bridges has a way of its own to the database, by the five files in this directory.
    #[must_use]
    pub fn first_by(mut self, files: &Path) -> Self {
        self.first = Some(files.to_owned());
        self
    }

    /// With more arguments for every `agent`.
    #[must_use]
    pub fn agent_args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.agent_args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts broker, bridge and agents, and waits until each is ready.
    ///
    /// # Errors
    /// When a part is missing or does not become ready; the message holds the tail of its output.
    pub async fn start(self) -> Result<Region> {
        let scratch = Scratch::new(&self.test)?;
        let authority = Authority::new("test region")?;
        let members = self.members(&authority)?;
        let options = broker::Options {
            quotas: self.quotas,
            persistence: self.persistence,
        };
        let broker = Broker::start(self.kind, &authority, &members, options, scratch.path());
        let broker = Box::pin(broker).await.context("start the broker")?;
        let cutter = match self.network {
            Network::Cutting => Some(CuttingProxy::start(broker.address()).await?),
            Network::Direct | Network::Retargetable => None,
        };
        let mut proxies = BTreeMap::new();
        let mut mounts = BTreeMap::new();
        for member in members {
            let path = self
                .path(&broker, cutter.as_ref(), &member.name, &mut proxies)
                .await?;
            let directory = scratch.dir(&member.name)?.join("mount");
            let consumer = (member.name != BRIDGE).then_some(member.name.as_str());
            let mount = Mount::new(directory, consumer, path, self.layout);
            mount.replace(&member.set)?;
            mounts.insert(member.name, mount);
        }
        let bridge_mount = mounts.remove(BRIDGE).context("the bridge is a member")?;
        let bridge = self.bridge(&scratch, BRIDGE, &bridge_mount)?;
        let others = (1..self.replicas)
            .map(|number| self.bridge(&scratch, &format!("{BRIDGE}-{number}"), &bridge_mount));
        let replicas = others.collect::<Result<_>>()?;
        let mut agents = BTreeMap::new();
        for (name, mount) in mounts {
            Box::pin(self.place.prepare(&name)).await?;
            agents.insert(name.clone(), self.agent(&scratch, &name, mount)?);
        }
        let mut region = Region {
            bridge,
            replicas,
            bridge_mount,
            agents,
            broker,
            cutter,
            proxies,
            authority,
            scratch,
            builder: self,
        };
        Box::pin(region.ready()).await?;
        Ok(region)
    }

    fn members(&self, authority: &Authority) -> Result<Vec<Member>> {
        let scheme = Scheme::default();
        let source = SourceId::new(SOURCE)?;
        let base = ClientId::new(BRIDGE_CLIENT)?;
        let party = match (&self.postgres, self.shared) {
            (Some(_), _) => Party::replicas(&scheme, &source, &base, SLOTS, BRIDGE_CONNECTIONS)?,
            (None, None) => Party::bridge(&scheme, &source, &base, BRIDGE_CONNECTIONS)?,
            (None, Some(connections)) => {
                let shared = scheme.clone().with_share(Some(SHARE))?;
                Party::bridge(&shared, &source, &base, connections)?
            }
        };
        let mut members = vec![Member::new(BRIDGE, party, authority)?];
        for name in &self.consumers {
            let party = Party::agent(&scheme, &ConsumerName::new(name)?)?;
            members.push(Member::new(name, party, authority)?);
        }
        Ok(members)
    }

    async fn path(
        &self,
        broker: &Broker,
        cutter: Option<&CuttingProxy>,
        name: &str,
        proxies: &mut BTreeMap<String, RetargetableProxy>,
    ) -> Result<SocketAddr> {
        if let Some(cutter) = cutter {
            return Ok(cutter.address());
        }
        if self.network != Network::Retargetable {
            return Ok(broker.address());
        }
        let proxy = RetargetableProxy::start(broker.address()).await?;
        let address = proxy.address();
        proxies.insert(name.to_owned(), proxy);
        Ok(address)
    }

    fn bridge(&self, scratch: &Scratch, label: &str, mount: &Mount) -> Result<Service> {
        let home = scratch.dir(label)?;
        let consumers: Vec<_> = self
            .consumers
            .iter()
            .map(|name| json!({ "name": name }))
            .collect();
        let file = home.join("consumers.json");
        std::fs::write(&file, Value::from(consumers).to_string())?;
        let mut spec = Spec::binary("server-bridge")?
            .arg("--mount")
            .arg(mount.directory());
        let first = self.first.as_ref().filter(|_| label == BRIDGE);
        if let Some(files) = first.or(self.postgres.as_ref()) {
            spec = spec.args(["--db-sslmode", "disable"]);
            for name in ["host", "port", "name", "user", "password"] {
                spec = spec
                    .arg(format!("--db-{name}-file"))
                    .arg(files.join(format!("db.{name}")));
            }
        } else {
            let database = self.database.clone();
            let database = database.unwrap_or_else(|| home.join(DATABASE));
            spec = spec.arg("--db").arg(database);
        }
        if let Some(connections) = self.shared {
            let topics = Scheme::default().with_share(Some(SHARE))?.bridge_topics();
            spec = spec
                .arg("--connections")
                .arg(connections.to_string())
                .args(["--topics-source-events", &topics.source_events])
                .args(["--topics-agent-events", &topics.agent_events]);
        }
        let spec = spec
            .arg("--consumers")
            .arg(file)
            .args(["--api-listen", ANY, "--grpc-listen", ANY])
            .args(["--admin-listen", ANY])
            .args(&self.bridge_args);
        match &self.bridge_limits {
            Some(limits) => Service::start_limited(spec, limits, &home),
            None => Service::start(spec, &home),
        }
    }

    fn agent(&self, scratch: &Scratch, name: &str, mount: Mount) -> Result<Agent> {
        let home = scratch.dir(name)?;
        let (target, state) = (home.join("target"), home.join("state"));
        let spec = Spec::binary("agent")?
            .arg("--mount")
            .arg(mount.directory())
            .args(self.place.args(name, &target, &state))
            .args(["--admin-listen", ANY])
            .args(&self.agent_args);
        Ok(Agent {
            service: Service::start(spec, &home)?,
            mount,
            target,
            state,
            namespace: self.place.namespace(name),
        })
    }
}

// === impl Region ===

impl Region {
    /// A client of the bridge's API as it listens now; a restart changes the port.
    ///
    /// # Errors
    /// When the bridge does not say where it listens.
    pub async fn api(&mut self) -> Result<Api> {
        let listening = self.bridge.listening().await?;
        let api = listening
            .api
            .context("the bridge says where its API listens")?;
        Ok(Api::new(&api)?)
    }

    /// Clients of all bridges' APIs as they listen now, the first bridge's first.
    ///
    /// # Errors
    /// When a bridge does not say where it listens.
    pub async fn apis(&mut self) -> Result<Vec<Api>> {
        let mut apis = vec![self.api().await?];
        for replica in &mut self.replicas {
            let api = replica.listening().await?.api;
            apis.push(Api::new(
                &api.context("a bridge says where its API listens")?,
            )?);
        }
        Ok(apis)
    }

    /// The agent of a consumer.
    ///
    /// # Errors
    /// When the region has no such consumer.
    pub fn agent(&mut self, consumer: &str) -> Result<&mut Agent> {
        let agent = self.agents.get_mut(consumer);
        agent.with_context(|| format!("no agent for `{consumer}`"))
    }

    /// A session inside this process that may do everything, on the sandbox broker: a spy, an intruder, or a peer
    /// of another make.
    ///
    /// # Errors
    /// When the region runs on mosquitto or the certificate cannot be made.
    pub fn peer(&self, name: &str, filters: &[&str]) -> Result<Client> {
        link::tls::install_provider();
        let registry = self.broker.sandbox()?.registry();
        let everything = Document::parse(ALLOW_EVERYTHING)?;
        registry.put_policy(EVERYTHING, everything)?;
        let set = self.authority.client(name)?;
        registry.register_pem(&set.certificate, &[EVERYTHING])?;
        let mount = self.scratch.dir(name)?.join("mount");
        write_mount(&mount, &set, &[], Layout::PerFileRename)?;
        Client::start(name, self.broker.address(), filters, mount)
    }

    /// One more agent of a consumer, with the same mounted directory and these arguments; its files go under `label`.
    ///
    /// # Errors
    /// When the region has no such consumer, or the process cannot be started.
    pub fn another_agent<S: AsRef<OsStr>>(
        &self,
        consumer: &str,
        label: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Service> {
        let agent = self.agents.get(consumer);
        let agent = agent.with_context(|| format!("no agent for `{consumer}`"))?;
        let spec = Spec::binary("agent")?
            .arg("--mount")
            .arg(agent.mount.directory())
            .args(["--admin-listen", ANY])
            .args(args);
        Service::start(spec, &self.scratch.dir(label)?)
    }

    /// One more bridge on the same database; its files go under `label`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn another_bridge(&self, label: &str) -> Result<Service> {
        self.builder
            .bridge(&self.scratch, label, &self.bridge_mount)
    }

    /// The bridge's database, unless the builder put it somewhere else.
    pub fn database(&self) -> PathBuf {
        self.scratch.path().join(BRIDGE).join(DATABASE)
    }

    /// Waits until bridge and agents are ready.
    ///
    /// # Errors
    /// When one does not become ready; the message holds its last `/readyz`.
    pub async fn ready(&mut self) -> Result<()> {
        for bridge in std::iter::once(&mut self.bridge).chain(&mut self.replicas) {
            bridge.ready().await.context("wait for a bridge")?;
        }
        for (name, agent) in &mut self.agents {
            let ready = agent.service.ready().await;
            ready.with_context(|| format!("wait for the agent of `{name}`"))?;
        }
        Ok(())
    }

    /// The test passed: kills everything and removes the files.
    pub fn passed(self) {
        let Self {
            bridge,
            replicas,
            agents,
            broker,
            scratch,
            ..
        } = self;
        drop((bridge, replicas, agents, broker));
        scratch.passed();
    }
}

// === impl Agent ===

impl Agent {
    /// Where this manifest is applied: `<namespace or _cluster>/<kind.group>/<name>.yaml`.
    pub fn file_of(&self, manifest: &Value) -> PathBuf {
        let object = ObjectRef::of(manifest);
        let namespace = match object.namespace.as_str() {
            "" => "_cluster",
            namespace => namespace,
        };
        let directory = self.target.join(namespace).join(object.kind_group());
        directory.join(format!("{}.yaml", object.name))
    }

    /// The applied form of this manifest; `None` while there is none.
    ///
    /// # Errors
    /// When the file is there and is not YAML.
    pub fn applied(&self, manifest: &Value) -> Result<Option<Value>> {
        read_yaml(&self.file_of(manifest))
    }
}

fn read_yaml(path: &Path) -> Result<Option<Value>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let value = serde_saphyr::from_str(&text);
            value
                .map(Some)
                .with_context(|| format!("parse `{}`", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read `{}`", path.display())),
    }
}

/// The bridge's name among members and proxies.
pub const BRIDGE: &str = "bridge";

/// The source the bridge speaks as, by default (docs/MAESTRO.md §1.2).
pub const SOURCE: &str = "maestro";

/// The base of the bridge's client ids, by default.
pub const BRIDGE_CLIENT: &str = "maestro";

/// As many connections as the bridge may open.
pub const BRIDGE_CONNECTIONS: u16 = 1;

/// Numbered slots for bridges on one database, by default.
pub const SLOTS: u16 = server_bridge::replicas::DEFAULT_SLOTS;

const ANY: &str = "127.0.0.1:0";
/// The name under which the connections of a bridge share what they hear.
const SHARE: &str = "bridge";
const DATABASE: &str = "bridge.sqlite";
