//! A whole region for a test: a broker, a bridge and agents as real processes with real certificates, laid down
//! as the CSI driver lays them down.
//!
//! ```text
//! server-bridge ── [proxy] ── sandbox broker (in this process) or mosquitto ── [proxy] ── agent × N
//! ```
//!
//! Client ids, topics and rights of every party come from `link::party::Party`, for mosquitto's access rules too.
//! Every service listens on port 0 and says where in a `--listening-file`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use link::iot::policy::Document;
use sandbox::pki::{Authority, Layout, write_mount};

use crate::api::Api;
use crate::process::ProcessSpec;
use crate::proxy::{CuttingProxy, RetargetableProxy};
use crate::session::{ALLOW_EVERYTHING, Client, EVERYTHING};
use crate::test_dir::TestDir;

pub use self::agent::Agent;
pub use self::broker::{Broker, BrokerKind};
pub use self::builder::{Network, RegionBuilder};
pub use self::mount::Mount;
pub use self::service::{Listening, Service};

mod agent;
mod broker;
mod builder;
mod mount;
mod service;
mod target;

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
    pub test_dir: TestDir,
    builder: RegionBuilder,
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
        let mount = self.test_dir.dir(name)?.join("mount");
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
        let spec = ProcessSpec::binary("agent")?
            .arg("--mount")
            .arg(agent.mount.directory())
            .args(["--admin-listen", ANY])
            .args(args);
        Service::start(spec, &self.test_dir.dir(label)?)
    }

    /// One more bridge on the same database; its files go under `label`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn another_bridge(&self, label: &str) -> Result<Service> {
        self.builder
            .bridge(&self.test_dir, label, &self.bridge_mount)
    }

    /// The bridge's database, unless the builder put it somewhere else.
    pub fn database(&self) -> PathBuf {
        self.test_dir.path().join(BRIDGE).join(DATABASE)
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
            test_dir,
            ..
        } = self;
        drop((bridge, replicas, agents, broker));
        test_dir.passed();
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

/// The bridge's SQLite file in its directory.
const DATABASE: &str = "bridge.sqlite";

/// A free port.
const ANY: &str = "127.0.0.1:0";
