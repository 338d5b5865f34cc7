//! The same phases on a node: server and agent are pods that our charts installed with what `provisioner outputs` says, and
//! get their files from the driver with the rights of their roles.
//!
//! One node stands for two clusters: namespace `maestro-server` is the regional cluster's, everything else that of
//! `management-01`. `management-02` has an account and no agent.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use self::release::{AGENT, Release, SERVER};
use super::{CLUSTERS, PhaseReport, Plan, Rehearsal, connectivity, infrastructure, walk};
use crate::node::Node;
use crate::process::ProcessSpec;
use crate::test_dir::workspace;

mod flow;
mod release;
mod services;

/// A rehearsal on the node that all of this process share. Only one at a time: the namespaces are those of the charts.
pub struct OnNode {
    sabotage: Option<String>,
    /// From phase 1 on.
    fixture: Option<NodeFixture>,
}

/// What the phases have.
struct NodeFixture {
    node: &'static Node,
    rehearsal: Rehearsal,
    _clusters: Clusters,
}

/// Namespaces that stand for clusters of accounts, until dropped.
struct Clusters(&'static Node);

// === impl OnNode ===

impl OnNode {
    /// Nothing is started yet; `sabotage` is that of `RehearsalOptions`.
    pub fn new(sabotage: Option<&str>) -> Self {
        Self {
            sabotage: sabotage.map(str::to_owned),
            fixture: None,
        }
    }

    /// Starts what lies under the phases, for whoever goes through them by hand: there is no `region.yaml`.
    ///
    /// # Errors
    /// When the machine cannot have a node, or something does not start.
    pub async fn start(&mut self) -> Result<()> {
        let fixture = Box::pin(NodeFixture::start()).await?;
        std::fs::remove_file(fixture.rehearsal.testbed.path().join("region.yaml"))?;
        self.fixture = Some(fixture);
        Ok(())
    }

    /// Goes through all phases and shows each as soon as it is over.
    pub async fn run(&mut self, show: impl FnMut(&PhaseReport)) -> Vec<PhaseReport> {
        walk(self, show).await
    }

    /// Takes the releases off the node; AWS stays as it is.
    ///
    /// # Errors
    /// When helm or the cluster refuses.
    pub async fn clear(&self) -> Result<()> {
        let node = self.fixture()?.node;
        for Release { name, .. } in [AGENT, SERVER] {
            node.helm(&["uninstall", name, "--namespace", name, "--wait"])
                .await?;
            node.kubectl(&["delete", "namespace", name]).await?;
        }
        Ok(())
    }

    /// Does what RDS does when it makes the database, once its credentials are there.
    ///
    /// # Errors
    /// When there are none.
    pub async fn make_database(&self) -> Result<()> {
        self.fixture()?.rehearsal.make_database().await
    }

    /// The directory of `region.yaml`, with `deploy` and, in the place of Amazon's, `global-bundle.pem`.
    ///
    /// # Errors
    /// Before it is started.
    pub fn path(&self) -> Result<PathBuf> {
        Ok(self.fixture()?.rehearsal.testbed.path().to_owned())
    }

    /// The directory with `helm` and `kubectl`.
    ///
    /// # Errors
    /// Before it is started.
    pub fn tools(&self) -> Result<PathBuf> {
        Ok(self.path()?.join("tools"))
    }

    /// The variables of a shell that uses the accounts and the cluster.
    ///
    /// # Errors
    /// Before it is started.
    pub fn variables(&self) -> Result<Vec<(String, String)>> {
        let NodeFixture {
            node, rehearsal, ..
        } = self.fixture()?;
        let mut pairs = super::environment::variables(rehearsal);
        let home = self.tools()?;
        let mut add = |name: &str, value: String| pairs.push((name.to_owned(), value));
        for kind in ["CACHE", "CONFIG", "DATA"] {
            let home = home.join(kind.to_lowercase());
            add(&format!("HELM_{kind}_HOME"), home.display().to_string());
        }
        let kubeconfig = node.cluster().kubeconfig();
        add("KUBECONFIG", kubeconfig.display().to_string());
        add("REGISTRY", release::REGISTRY.to_owned());
        add("NAME", "testbed".to_owned());
        add("CLUSTER", CLUSTERS[0].to_owned());
        Ok(pairs)
    }

    /// All went well: nothing to look at.
    pub fn end(self) {
        if let Some(fixture) = self.fixture {
            fixture.rehearsal.end();
        }
    }

    fn fixture(&self) -> Result<&NodeFixture> {
        self.fixture.as_ref().context("start it first")
    }
}

impl Plan for OnNode {
    async fn phase(&mut self, phase: usize) -> Result<()> {
        if phase == 1 {
            let fixture = self.fixture.insert(Box::pin(NodeFixture::start()).await?);
            let name = fixture.node.name();
            fixture
                .rehearsal
                .saw(format!("node `{name}` is ready, with our images"));
            return infrastructure::check(&mut fixture.rehearsal).await;
        }
        let fixture = self.fixture.as_mut().context("phase 1 has passed")?;
        match phase {
            2 => release::mounting(fixture).await,
            3 => {
                if let Some(cluster) = &self.sabotage {
                    connectivity::sabotage(&fixture.rehearsal, cluster)?;
                }
                services::connectivity(fixture).await
            }
            4 => services::server(fixture).await,
            5 => services::agent(fixture).await,
            _ => {
                let outcome = flow::check(fixture).await;
                let Err(error) = outcome else { return Ok(()) };
                let mut why = format!("{error:#}\n");
                for Release { name, .. } in [SERVER, AGENT] {
                    let pods = format!("app.kubernetes.io/instance={name}");
                    why += &fixture.node.last_lines(name, &pods).await;
                }
                bail!(why)
            }
        }
    }

    fn seen(&mut self) -> Vec<String> {
        let fixture = self.fixture.as_mut();
        fixture.map_or_else(Vec::new, |fixture| {
            std::mem::take(&mut fixture.rehearsal.seen)
        })
    }
}

// === impl NodeFixture ===

impl NodeFixture {
    async fn start() -> Result<Self> {
        let node = Node::shared().await?;
        let rehearsal = Rehearsal::start(Some(node)).await?;
        for image in ["server-bridge", "agent", "probe"] {
            node.image(image).await?;
        }
        let aws = &rehearsal.testbed.aws;
        for release in [SERVER, AGENT] {
            node.csi().belongs(release.name, aws, release.account);
        }
        let path = rehearsal.testbed.path();
        symlink(workspace().join("deploy"), path.join("deploy"))?;
        std::fs::copy(path.join("ca.pem"), path.join(BUNDLE))?;
        let fixture = Self {
            node,
            rehearsal,
            _clusters: Clusters(node),
        };
        fixture.tools().await?;
        Ok(fixture)
    }

    async fn tools(&self) -> Result<()> {
        let tools = self.rehearsal.testbed.path().join("tools");
        std::fs::create_dir_all(&tools)?;
        for tool in ["helm", "kubectl"] {
            let fetch = workspace().join("tests/helm/fetch");
            let fetch = ProcessSpec::at("fetch", fetch, "run `tests/helm/fetch`").arg(tool);
            let found = self.rehearsal.run(fetch, "fetch").await?;
            super::expect("tests/helm/fetch", &found, 0)?;
            let found = found.stdout.trim();
            File::open(found).with_context(|| format!("open `{found}`"))?;
            symlink(found, tools.join(tool))?;
        }
        Ok(())
    }
}

// === impl Clusters ===

impl Drop for Clusters {
    fn drop(&mut self) {
        for Release { name, .. } in [AGENT, SERVER] {
            self.0.csi().forget(name);
        }
    }
}

/// Amazon's authorities, as far as the rehearsal's database is concerned.
const BUNDLE: &str = "global-bundle.pem";
