//! A cluster with a real node: the control plane of [`crate::kubernetes`], and kubelet, containerd and runc in name
//! spaces of their own, so that pods of our images run with everything that their manifests ask for.
//!
//! ```text
//! this machine                                   the node: a network, a mount and a process name space
//!   10.N.2.1:443  API server, its own Service  ◀── kubelet, and pods as `kubernetes.default.svc`
//!   10.N.0.1:53   names for pods               ◀── pods (10.N.1.0/24, which this machine reaches)
//!   the CSI driver's sockets, in this process  ◀── kubelet
//! ```
//! Everything of a node goes by a number N that nobody else has (`host_resources`): two tests, or two runs, do not meet. It ends
//! with the value or with the process, also when that is killed; killing the node's process 1 ends everything on it, and
//! nothing of it is left on the machine. It takes root and a machine with name spaces and control groups; where one is
//! missing, the start fails and says which.
//!
//! What is not like a cluster: one node; no Services but `kubernetes` (talk to pods by their addresses); no network
//! policies; names only where a test sets them ([`Node::resolve`]); nothing is pulled ([`Node::image`]); secrets come from
//! [`Csi`] and `operator`, in the place of the Secrets Store CSI driver and of the External Secrets Operator.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node as Object;
use k8s_openapi::api::storage::v1::CSINode;
use kube::{Api, Client};
use serde_json::Value;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::OnceCell;

use self::assets::NodePrograms;
use self::dns::Names;
use self::host_resources::HostResources;
use self::secrets::Secrets;
use crate::crds;
use crate::kubernetes::{ClientError, Cluster, NodeAddresses};
use crate::process::{Process, ProcessSpec, StopGuard};
use crate::test_dir::TestDir;
use crate::wait::wait_for;

pub use self::chart_fixture::{ChartFixture, FileSource, selector};
pub use self::csi::Csi;
pub use self::error::NodeError;
pub use self::pods::restarts;

mod assets;
mod callers;
mod chart_fixture;
mod csi;
mod dns;
mod error;
mod files;
mod host_resources;
mod images;
mod objects;
mod operator;
mod pods;
mod secrets;
mod tools;

/// A running cluster with a node. Dropping it ends everything.
pub struct Node {
    // Fields drop in this order: what runs on the node first, what they take from the machine last.
    power: Mutex<Power>,
    services: Services,
    cluster: Cluster,
    csi: Csi,
    names: Names,
    secrets: Secrets,
    assets: NodePrograms,
    resources: HostResources,
    test_dir: TestDir,
}

/// What a power cut takes away.
struct Power {
    // First: nobody may watch for a process that is gone.
    stop_guard: StopGuard,
    process: Process,
}

/// What runs in this process for the node, in a runtime of its own: a test's ends with the test, and a node may be shared.
struct Services(Option<Runtime>);

// === impl Services ===

impl Services {
    fn start() -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// A task that may stay on the thread it is made on.
    async fn run<T, F>(&self, make: impl FnOnce() -> F + Send + 'static) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let runtime = self.0.as_ref().ok_or_else(gone)?.handle().clone();
        let task = move || Handle::current().block_on(make());
        runtime.spawn_blocking(task).await.map_err(io::Error::other)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl Node ===

impl Node {
    /// A node that all tests of this process share, started by whoever comes first (about ten seconds). Tests stay apart
    /// by their namespaces and the names of their secrets.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn shared() -> Result<&'static Self, NodeError> {
        static SHARED: OnceCell<Node> = OnceCell::const_new();
        let start = || Box::pin(Self::launch("node-shared", true));
        SHARED.get_or_try_init(start).await
    }

    /// A node of the caller's own, with its logs in a directory named after the test: to cut its power.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn start(test: &str) -> Result<Self, NodeError> {
        Box::pin(Self::launch(test, false)).await
    }

    async fn launch(test: &str, shared: bool) -> Result<Self, NodeError> {
        let resources = HostResources::take()?;
        let assets = NodePrograms::find()?;
        let test_dir = TestDir::new(test)?;
        let services = Services::start()?;
        let name = resources.name();
        let place = NodeAddresses {
            name: name.clone(),
            address: resources.node(),
            services: resources.services(),
            api: resources.api(),
        };
        let (cluster, secrets) = tokio::join!(
            Box::pin(Cluster::with_node(test_dir.path(), &place)),
            services.run(Secrets::start),
        );
        let (cluster, secrets) = (cluster?, secrets??);
        resources.remember(&cluster.processes())?;
        files::write(&resources, &assets, &cluster, test_dir.path())?;

        let mut cleanup = resources.clearing_afterwards() + &secrets.clearing();
        if shared {
            // Nobody says at the end that all went well: its directory goes unless a wait failed.
            let path = test_dir.path().display();
            cleanup += &format!("[ -e '{path}/{KEEP}' ] || rm -rf '{path}'");
        }
        let names = Names::default();
        for service in [
            "kubernetes.default.svc.cluster.local",
            "kubernetes.default.svc",
        ] {
            names.set(service, resources.api());
        }
        let socket = UdpSocket::bind((resources.host(), DNS))?;
        socket.set_nonblocking(true)?;

        let process = process(&resources).start(test_dir.path())?;
        let mut stop_guard = StopGuard::with_cleanup(&[], &cleanup)?;
        stop_guard.hold(&[&process])?;
        let csi = Csi::new(process.id());
        let (answering, driver, own) = (names.clone(), csi.clone(), secrets.clone());
        let kubeconfig = cluster.kubeconfig().to_owned();
        let kubelet = resources.directory().join("kubelet");
        let starting = services.run(move || async move {
            tokio::spawn(answering.serve(tokio::net::UdpSocket::from_std(socket)?));
            let client = crate::kubernetes::client_of(&kubeconfig).await?;
            driver.start(&kubelet, &name, client.clone(), own.clone())?;
            tokio::spawn(operator::run(client, own));
            Ok::<_, NodeError>(())
        });
        starting.await??;
        let node = Self {
            power: Mutex::new(Power {
                stop_guard,
                process,
            }),
            services,
            cluster,
            csi,
            names,
            secrets,
            assets,
            resources,
            test_dir,
        };
        node.furnish().await.map_err(NodeError::Objects)?;
        node.ready().await?;
        Ok(node)
    }

    /// The control plane.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A client that may do everything. It belongs to the runtime of the caller.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn client(&self) -> Result<Client, ClientError> {
        self.cluster.client().await
    }

    /// The driver that mounts secrets.
    pub fn csi(&self) -> &Csi {
        &self.csi
    }

    /// This machine as pods see it: a test's servers listen there.
    pub fn host(&self) -> Ipv4Addr {
        self.resources.host()
    }

    /// Its name, which is that of its network name space and its control group too.
    pub fn name(&self) -> String {
        self.resources.name()
    }

    /// From now on, pods find an address by this name.
    pub fn resolve(&self, name: &str, address: Ipv4Addr) {
        self.names.set(name, address);
    }

    /// Gives a secret in Secrets Manager this value, whether it is there or not.
    ///
    /// # Errors
    /// When AWS refuses.
    pub async fn secret(&self, name: &str, value: &Value) -> Result<()> {
        let (secrets, name, value) = (self.secrets.clone(), name.to_owned(), value.clone());
        let put = self
            .services
            .run(move || async move { secrets.put(&name, &value).await });
        put.await?.context("write a secret")
    }

    /// Where logs and files are.
    pub fn path(&self) -> &Path {
        self.test_dir.path()
    }

    /// The test passed: nothing to look at. Call it last.
    pub fn passed(self) {
        let Self {
            power,
            services,
            cluster,
            resources,
            test_dir,
            ..
        } = self;
        drop((power, services, cluster, resources));
        test_dir.passed();
    }

    /// A power cut: everything on the node is gone at once, and the control plane does not know.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub async fn cut(&self) -> Result<()> {
        self.power().process.kill()?;
        let resources = &self.resources;
        wait_for(
            "the end of all processes",
            PATIENCE,
            async || match resources.processes() {
                Ok(text) if text.is_empty() => Ok(()),
                Ok(text) => Err(text),
                Err(error) => Err(error.to_string()),
            },
        )
        .await?;
        Ok(())
    }

    /// The power is back: the node starts with the disk it had. Its pods are looked at with [`Self::pod_restarted`].
    ///
    /// # Errors
    /// When the node cannot be started.
    pub fn restore(&self) -> Result<()> {
        let Power {
            stop_guard,
            process,
        } = &mut *self.power();
        process.restart()?;
        self.csi.moved(process.id());
        Ok(stop_guard.hold(&[process])?)
    }

    fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a cluster has before anything of ours comes.
    async fn furnish(&self) -> Result<()> {
        let client = self.client().await?;
        crds::define_only(&client, self.path(), &objects::KINDS).await?;
        let volumes = self.resources.directory().join("volumes");
        self.apply(&objects::objects(&self.resources.name(), &volumes)?)
            .await
    }

    async fn ready(&self) -> Result<(), NodeError> {
        let client = self.client().await?;
        let (nodes, drivers) = (
            Api::<Object>::all(client.clone()),
            Api::<CSINode>::all(client),
        );
        let name = self.resources.name();
        let waited = wait_for("a ready node with the driver", PATIENCE, async || {
            let failed = |error: kube::Error| error.to_string();
            let node = nodes.get_opt(&name).await.map_err(failed)?;
            let node = node.ok_or("it has not registered")?;
            let conditions = node.status.and_then(|status| status.conditions);
            let ready = conditions
                .into_iter()
                .flatten()
                .find(|it| it.type_ == "Ready");
            let ready = ready.ok_or("it says nothing yet")?;
            if ready.status != "True" {
                return Err(ready.message.unwrap_or_default());
            }
            let drivers = drivers.get_opt(&name).await.map_err(failed)?;
            let mut drivers = drivers.into_iter().flat_map(|it| it.spec.drivers);
            match drivers.any(|it| it.name == csi::NAME) {
                true => Ok(()),
                false => Err("the driver has not registered".to_owned()),
            }
        });
        waited.await.map_err(|source| NodeError::Ready {
            logs: self.evidence(),
            source,
        })
    }

    /// Where to look for what went wrong.
    fn evidence(&self) -> String {
        let path = self.test_dir.path();
        let _ = std::fs::write(path.join(KEEP), "");
        format!("logs of the node are in {}", path.display())
    }
}

/// The node as a process of this machine: its process 1, or what ends with it and ends it.
fn process(resources: &HostResources) -> ProcessSpec {
    let network = format!("--net={}", resources.network().display());
    ProcessSpec::at(
        "node",
        "/usr/bin/nsenter".into(),
        "run `apt-get install util-linux`",
    )
    .arg(network)
    .args(["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"])
    .args(["--mount-proc", "--propagation", "slave", "bash"])
    .arg(resources.directory().join("node.sh"))
}

const DNS: u16 = 53;

// The mark of a directory that somebody will want to look into.
const KEEP: &str = "keep";

// A node is ready three seconds after the control plane; this is for a machine that builds at the same time.
const PATIENCE: Duration = Duration::from_secs(90);
