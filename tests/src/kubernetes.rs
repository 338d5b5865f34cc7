//! A real Kubernetes control plane: etcd, API server and controller manager, with TLS, RBAC and an audit log.
//!
//! Tests share the servers of [`Cluster::shared`] and stay apart by a namespace each ([`Cluster::namespace`]) and, where
//! rights matter, a user each ([`Cluster::client_as`]). A test that hurts its servers starts its own
//! ([`Cluster::start`]); nobody can hurt the shared ones. All of them end with the process, also when it is killed.
//!
//! What is not like a cluster: there are no nodes, so pods are made but never run; a Deployment becomes available when a
//! test says so through its `status` subresource. [`crate::node`] has one with a node. Where it may surprise: a namespace lives on for five seconds after its
//! deletion before anything in it goes, and owner references between objects of a new custom kind count only once the
//! garbage collector has found the kind, which takes it up to thirty seconds.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, ObjectMeta, PostParams, Request};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use reqwest::header::{HeaderValue, USER_AGENT};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::pki::{Authority, PkiError};
use crate::process::{Process, ProcessError, StopGuard};
use crate::test_dir::TestDir;
use crate::wait::{TimedOut, wait_for};

use self::assets::ServerPrograms;
use self::identity::{ApiAccess, TokenUser};
use self::servers::{API_LISTENING, CONTROLLERS_READY, ETCD_READY, Layout, PORT_TAKEN};

pub use self::audit::{Audit, AuditEntry, AuditError, AuditPosition};
pub use self::servers::NodeAddresses;

mod assets;
mod audit;
mod identity;
mod nodes;
mod servers;

/// Running servers. Dropping them kills them; so does the end of this process.
pub struct Cluster {
    // Fields drop in this order: nobody may watch for processes that are gone.
    stop_guard: StopGuard,
    scheduler: Option<Process>,
    controllers: Process,
    api: Process,
    etcd: Process,
    layout: Layout,
    home: PathBuf,
    authority: Authority,
    kubeconfig: PathBuf,
}

/// The servers could not be started.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// A program is not there, ended at once for a reason of its own, or was slow.
    #[error("start the Kubernetes servers")]
    Process(#[from] ProcessError),
    /// Their certificates could not be made.
    #[error("make the certificates of the Kubernetes servers")]
    Pki(#[from] PkiError),
    /// Their files could not be written.
    #[error("write the files of the Kubernetes servers")]
    Files(#[from] io::Error),
    /// No client could be made for them.
    #[error("connect to the Kubernetes API server")]
    Client(#[from] ClientError),
    /// The API server listens, and does not become ready.
    #[error("start the Kubernetes API server")]
    Ready(#[from] TimedOut),
    /// Other programs took every port they tried.
    #[error("find free ports for the Kubernetes servers in {ATTEMPTS} attempts")]
    Ports,
}

/// The API server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The user's certificate could not be made.
    #[error("make the certificate of a Kubernetes user")]
    Pki(#[from] PkiError),
    /// The kubeconfig could not be written.
    #[error("write a kubeconfig")]
    Files(#[from] io::Error),
    /// The kubeconfig could not be used.
    #[error("read a kubeconfig")]
    Kubeconfig(#[from] KubeconfigError),
    /// The API server refused, or does not answer.
    #[error("ask the Kubernetes API server")]
    Api(#[from] kube::Error),
}

// === impl Cluster ===

impl Cluster {
    /// The servers that all tests of this process share, started by whoever comes first (about three seconds).
    ///
    /// Their files go with the process; a start that fails leaves them for whoever looks into it.
    ///
    /// # Errors
    /// See [`KubernetesError`].
    pub async fn shared() -> Result<&'static Self, KubernetesError> {
        static SHARED: OnceCell<(Cluster, TestDir)> = OnceCell::const_new();
        let start = async || -> Result<_, KubernetesError> {
            let assets = ServerPrograms::find()?;
            let test_dir = TestDir::new("kubernetes")?;
            let home = test_dir.path();
            let cluster = Self::launch(&assets, home, &[home], None).await?;
            Ok((cluster, test_dir))
        };
        let (cluster, _) = SHARED.get_or_try_init(start).await?;
        Ok(cluster)
    }

    /// Servers of the caller's own, with their files in `directory`: to stop them, or to have no neighbours.
    ///
    /// # Errors
    /// See [`KubernetesError`].
    pub async fn start(directory: &Path) -> Result<Self, KubernetesError> {
        let home = directory.join("kubernetes");
        Self::launch(&ServerPrograms::find()?, &home, &[], None).await
    }

    /// The kubeconfig of somebody who may do everything. It holds all it names.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes the kubeconfig of a user who may do nothing but what a test lets them do by RBAC.
    ///
    /// Any name is a user; shared servers want one that no other test takes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn kubeconfig_for(&self, user: &str) -> Result<PathBuf, ClientError> {
        let access = ApiAccess {
            address: self.layout.api,
            authority: &self.authority,
        };
        let users = self.home.join("users");
        std::fs::create_dir_all(&users)?;
        let path = identity::path(&users, user);
        std::fs::write(&path, access.with_certificate(user)?.to_string())?;
        Ok(path)
    }

    /// A client that may do everything. It belongs to the runtime of the caller.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn client(&self) -> Result<Client, ClientError> {
        client_of(&self.kubeconfig).await
    }

    /// A client of such a user; see [`Self::kubeconfig_for`].
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn client_as(&self, user: &str) -> Result<Client, ClientError> {
        client_of(&self.kubeconfig_for(user)?).await
    }

    /// A client that may do everything and calls itself `user_agent`, to be found again in the audit log.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn client_called(&self, user_agent: &'static str) -> Result<Client, ClientError> {
        Ok(Client::try_from(
            config(&self.kubeconfig, user_agent).await?,
        )?)
    }

    /// Makes a namespace that nobody else has, and gives its name: `prefix` with something after it.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn namespace(&self, prefix: &str) -> Result<String, ClientError> {
        let unique = Uuid::new_v4().simple().to_string();
        let name = format!("{prefix}-{}", &unique[..UNIQUE_DIGITS]);
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(self.client().await?);
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        Ok(name)
    }

    /// What the API server was asked, by whom.
    ///
    /// # Errors
    /// When no client can be made for it.
    pub async fn audit(&self) -> Result<Audit, ClientError> {
        Ok(Audit::new(self.layout.audit_log(), self.client().await?))
    }

    /// SIGTERM for the API server: it ends watches and then itself.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop_api(&mut self) -> Result<(), KubernetesError> {
        self.api.stop(PATIENCE).await?;
        self.hold(false)
    }

    /// `kill -9` for the API server.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill_api(&mut self) -> Result<(), KubernetesError> {
        self.api.kill()?;
        self.hold(false)
    }

    /// Starts the API server again, on the same port with the same objects, and waits until it is ready.
    ///
    /// # Errors
    /// When the port was taken meanwhile or it does not come up.
    pub async fn start_api(&mut self) -> Result<(), KubernetesError> {
        let before = self.api.output().matches(API_LISTENING).count();
        for _ in 0..ATTEMPTS {
            self.api.restart()?;
            self.hold(true)?;
            match listening(&mut self.api, before + 1).await {
                // A passing connection may have the port for its own end.
                Err(error) if port_taken(&error) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return ready(&self.kubeconfig).await,
            }
        }
        Err(KubernetesError::Ports)
    }

    /// The API server's process, for [`Process::signal`] with `STOP` and `CONT`.
    pub fn api(&mut self) -> &mut Process {
        &mut self.api
    }

    /// The programs that run, with their process ids.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let mut processes = vec![
            ("etcd", self.etcd.id()),
            ("kube-apiserver", self.api.id()),
            ("kube-controller-manager", self.controllers.id()),
        ];
        processes.extend(self.scheduler.iter().map(|it| ("kube-scheduler", it.id())));
        processes
    }

    fn hold(&mut self, api: bool) -> Result<(), KubernetesError> {
        let mut held = vec![&self.etcd, &self.controllers];
        held.extend(&self.scheduler);
        held.extend(api.then_some(&self.api));
        Ok(self.stop_guard.hold(&held)?)
    }

    async fn launch(
        assets: &ServerPrograms,
        home: &Path,
        directories: &[&Path],
        node: Option<&NodeAddresses>,
    ) -> Result<Self, KubernetesError> {
        link::tls::install_provider();
        for _ in 0..ATTEMPTS {
            match Self::attempt(assets, home, directories, node).await {
                Err(KubernetesError::Process(error)) if port_taken(&error) => {}
                outcome => return outcome,
            }
        }
        Err(KubernetesError::Ports)
    }

    async fn attempt(
        assets: &ServerPrograms,
        home: &Path,
        directories: &[&Path],
        node: Option<&NodeAddresses>,
    ) -> Result<Self, KubernetesError> {
        // What an attempt before this one left would be of other ports and other keys.
        let _ = std::fs::remove_dir_all(home);
        std::fs::create_dir_all(home)?;
        let layout = Layout::new(home, node)?;
        let authority = Authority::new("Kubernetes test CA")?;
        let admin = TokenUser::new("admin");
        layout.write(&authority, &admin)?;
        let kubeconfig = identity::path(home, &admin.user);

        let mut stop_guard = StopGuard::new(directories)?;
        let mut etcd = layout.etcd(assets).start(home)?;
        let mut api = layout.api(assets).start(home)?;
        stop_guard.hold(&[&etcd, &api])?;
        etcd.line_with(ETCD_READY, PATIENCE).await?;
        listening(&mut api, 1).await?;
        ready(&kubeconfig).await?;
        let mut controllers = layout.controllers(assets).start(home)?;
        stop_guard.hold(&[&etcd, &api, &controllers])?;
        let scheduler = layout.scheduler(assets).map(|spec| spec.start(home));
        let scheduler = scheduler.transpose()?;
        controllers.line_with(CONTROLLERS_READY, PATIENCE).await?;
        let mut cluster = Self {
            stop_guard,
            scheduler,
            controllers,
            api,
            etcd,
            layout,
            home: home.to_path_buf(),
            authority,
            kubeconfig,
        };
        cluster.hold(true)?;
        Ok(cluster)
    }
}

fn port_taken(error: &ProcessError) -> bool {
    matches!(error, ProcessError::Ended { output, .. } if output.contains(PORT_TAKEN))
}

/// Waits for the `count`-th start in the log of an API server.
async fn listening(api: &mut Process, count: usize) -> Result<(), ProcessError> {
    api.output_until("it listens", PATIENCE, |text| {
        text.matches(API_LISTENING).count() >= count
    })
    .await
}

/// Waits until the API server says that it is ready: roles are there, and every kind is served.
async fn ready(kubeconfig: &Path) -> Result<(), KubernetesError> {
    let client = client_of(kubeconfig).await?;
    let probe = async || {
        // A listing is a plain GET; kube builds no other one for a path that is not an object's.
        let request = Request::new("/readyz")
            .list(&ListParams::default())
            .map_err(|error| error.to_string())?;
        let answer = client.request_text(request).await;
        answer.map_err(|error| error.to_string())
    };
    wait_for("readiness", PATIENCE, probe).await?;
    Ok(())
}

/// A client that may do what a kubeconfig lets it do.
pub(crate) async fn client_of(kubeconfig: &Path) -> Result<Client, ClientError> {
    Ok(Client::try_from(config(kubeconfig, HARNESS).await?)?)
}

async fn config(kubeconfig: &Path, user_agent: &'static str) -> Result<Config, ClientError> {
    let options = KubeConfigOptions::default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let user_agent = HeaderValue::from_static(user_agent);
    config.headers.push((USER_AGENT, user_agent));
    Ok(config)
}

// How the harness calls itself to the API server.
const HARNESS: &str = "tests";

// Four digits would meet within some hundred namespaces.
const UNIQUE_DIGITS: usize = 8;

// An attempt is lost only if another process takes a port within the second of a start.
const ATTEMPTS: usize = 3;

// A start takes about three seconds; this is for a machine that builds at the same time.
const PATIENCE: Duration = Duration::from_secs(90);
