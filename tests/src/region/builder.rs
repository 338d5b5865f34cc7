//! What a region is made of, and how its parts are started: identities first, then the broker, the bridges, the agents.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use link::id::{ClientId, ConsumerName, SourceId};
use link::party::Party;
use link::topic::Scheme;
use sandbox::pki::{Authority, Layout};
use serde_json::{Value, json};

use super::broker::{self, Broker, BrokerKind, Member};
use super::target::AgentTarget;
use super::{
    ANY, Agent, BRIDGE, BRIDGE_CLIENT, BRIDGE_CONNECTIONS, DATABASE, Mount, Region, SLOTS, SOURCE,
    Service,
};
use crate::kubernetes::Cluster;
use crate::process::ProcessSpec;
use crate::proxy::{CuttingProxy, RetargetableProxy};
use crate::test_dir::TestDir;

/// What a region is made of.
#[derive(Clone, Debug)]
pub struct RegionBuilder {
    test: String,
    kind: BrokerKind,
    consumers: Vec<String>,
    registered: Vec<String>,
    network: Network,
    layout: Layout,
    quotas: bool,
    persistence: bool,
    target: AgentTarget,
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
    /// One [`CuttingProxy`] for all, calm until the test says otherwise.
    Cutting,
    /// A [`RetargetableProxy`] for the bridge and one for each agent.
    Retargetable,
}

// === impl RegionBuilder ===

impl RegionBuilder {
    /// A region of one agent called `cluster1`, directly connected to the given kind of broker.
    pub fn new(test: &str, kind: BrokerKind) -> Self {
        Self {
            test: test.to_owned(),
            kind,
            consumers: vec!["cluster1".into()],
            registered: Vec::new(),
            network: Network::default(),
            layout: Layout::DataSymlink,
            quotas: true,
            persistence: true,
            target: AgentTarget::Directories,
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

    /// With consumers that are registered and have no agent.
    #[must_use]
    pub fn registered(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.registered.extend(names);
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
        self.target = AgentTarget::cluster(cluster.kubeconfig(), cluster.kubeconfig());
        self
    }

    /// With agents that apply to a cluster by this kubeconfig, through a proxy for example.
    #[must_use]
    pub fn on_cluster_by(mut self, kubeconfig: &Path) -> Self {
        self.target = AgentTarget::cluster(kubeconfig, kubeconfig);
        self
    }

    /// The same with agents that may do what RBAC lets this user do.
    ///
    /// # Errors
    /// When the user's kubeconfig cannot be made.
    pub fn on_cluster_as(mut self, cluster: &Cluster, user: &str) -> Result<Self> {
        self.target = AgentTarget::cluster(cluster.kubeconfig(), &cluster.kubeconfig_for(user)?);
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
        let test_dir = TestDir::new(&self.test)?;
        let authority = Authority::new("test region")?;
        let members = self.members(&authority)?;
        let options = broker::Options {
            quotas: self.quotas,
            persistence: self.persistence,
        };
        let broker = Broker::start(self.kind, &authority, &members, options, test_dir.path());
        let broker = Box::pin(broker).await.context("start the broker")?;
        let cutter = match self.network {
            Network::Cutting => Some(CuttingProxy::start(broker.address()).await?),
            Network::Direct | Network::Retargetable => None,
        };
        // Who is cut off again and again retries less and less often, and may never be seen connected.
        if let Some(cutter) = &cutter {
            cutter.calm(true);
        }
        let mut proxies = BTreeMap::new();
        let mut mounts = BTreeMap::new();
        for member in members {
            let path = self
                .path(&broker, cutter.as_ref(), &member.name, &mut proxies)
                .await?;
            let directory = test_dir.dir(&member.name)?.join("mount");
            let consumer = (member.name != BRIDGE).then_some(member.name.as_str());
            let mount = Mount::new(directory, consumer, path, self.layout);
            mount.replace(&member.set)?;
            mounts.insert(member.name, mount);
        }
        let bridge_mount = mounts.remove(BRIDGE).context("the bridge is a member")?;
        let bridge = self.bridge(&test_dir, BRIDGE, &bridge_mount)?;
        let others = (1..self.replicas)
            .map(|number| self.bridge(&test_dir, &format!("{BRIDGE}-{number}"), &bridge_mount));
        let replicas = others.collect::<Result<_>>()?;
        let mut agents = BTreeMap::new();
        for (name, mount) in mounts {
            Box::pin(self.target.prepare(&name)).await?;
            agents.insert(name.clone(), self.agent(&test_dir, &name, mount)?);
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
            test_dir,
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
        let party = match self
            .bridge_args
            .iter()
            .any(|arg| arg == "--lifecycle-events")
        {
            true => party.hearing_lifecycle_events(),
            false => party,
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

    pub(super) fn bridge(&self, test_dir: &TestDir, label: &str, mount: &Mount) -> Result<Service> {
        let home = test_dir.dir(label)?;
        let consumers: Vec<_> = self
            .consumers
            .iter()
            .chain(&self.registered)
            .map(|name| json!({ "name": name }))
            .collect();
        let file = home.join("consumers.json");
        std::fs::write(&file, Value::from(consumers).to_string())?;
        let mut spec = ProcessSpec::binary("server-bridge")?
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

    fn agent(&self, test_dir: &TestDir, name: &str, mount: Mount) -> Result<Agent> {
        let home = test_dir.dir(name)?;
        let (target, state) = (home.join("target"), home.join("state"));
        let spec = ProcessSpec::binary("agent")?
            .arg("--mount")
            .arg(mount.directory())
            .args(self.target.args(name, &target, &state))
            .args(["--admin-listen", ANY])
            .args(&self.agent_args);
        Ok(Agent {
            service: Service::start(spec, &home)?,
            mount,
            target,
            state,
            namespace: self.target.namespace(name),
        })
    }
}

/// The name under which the connections of a bridge share what they hear.
const SHARE: &str = "bridge";
