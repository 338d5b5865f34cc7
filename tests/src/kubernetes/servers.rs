//! The command lines of the servers, and the files they read.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use serde_json::json;

use super::KubernetesError;
use super::assets::ServerPrograms;
use super::identity::{ApiAccess, TokenUser, path};
use crate::pki::Authority;
use crate::ports::free_port;
use crate::process::ProcessSpec;

/// What the servers of one cluster agree on.
#[derive(Debug)]
pub(super) struct Layout {
    home: PathBuf,
    etcd: u16,
    peers: u16,
    /// Where the API server listens.
    pub(super) api: SocketAddr,
    node: Option<NodeAddresses>,
}

/// Where a node is, and where it and its pods find the API server.
#[derive(Clone, Debug)]
pub struct NodeAddresses {
    /// The node's name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Addresses of Services, as `ADDRESS/BITS`.
    pub services: String,
    /// The first of them, which is an address of this machine too: the API server listens there and is its own Service.
    pub api: Ipv4Addr,
}

// === impl Layout ===

impl Layout {
    /// Free ports, and a home for the files.
    ///
    /// # Errors
    /// When the machine has no port left.
    pub(super) fn new(home: &Path, node: Option<&NodeAddresses>) -> io::Result<Self> {
        let api = match node {
            Some(place) => (place.api, HTTPS).into(),
            None => (Ipv4Addr::LOCALHOST, free_port()?).into(),
        };
        Ok(Self {
            home: home.to_path_buf(),
            etcd: free_port()?,
            peers: free_port()?,
            api,
            node: node.cloned(),
        })
    }

    /// Writes what the servers read.
    ///
    /// # Errors
    /// When keys or files cannot be made.
    pub(super) fn write(
        &self,
        authority: &Authority,
        admin: &TokenUser,
    ) -> Result<(), KubernetesError> {
        let file = |name: &str| self.home.join(name);
        let own = self.api.ip().to_string();
        let server = authority.server(&[&own, "kubernetes.default.svc"])?;
        std::fs::write(file("ca.crt"), authority.certificate_pem())?;
        std::fs::write(file("server.crt"), server.certificate)?;
        std::fs::write(file("server.key"), server.key)?;
        let signer = signer()?;
        std::fs::write(file("sa.key"), signer.serialize_pem())?;
        std::fs::write(file("sa.pub"), signer.public_key_pem())?;
        let mut users = vec![admin.clone(), TokenUser::new(CONTROLLERS_USER)];
        if let Some(NodeAddresses { name, address, .. }) = &self.node {
            users.extend([TokenUser::new(SCHEDULER_USER), TokenUser::node(name)]);
            let kubelet = authority.server(&[name, &address.to_string()])?;
            std::fs::write(file("kubelet.crt"), kubelet.certificate)?;
            std::fs::write(file("kubelet.key"), kubelet.key)?;
            let client = authority.client("kube-apiserver-kubelet-client")?;
            std::fs::write(file("kubelet-client.crt"), client.certificate)?;
            std::fs::write(file("kubelet-client.key"), client.key)?;
        }
        let tokens: String = users.iter().map(TokenUser::token_line).collect();
        std::fs::write(file("tokens.csv"), tokens)?;
        std::fs::write(file("audit-policy.json"), audit_policy())?;
        let access = ApiAccess {
            address: self.api,
            authority,
        };
        for user in &users {
            let kubeconfig = access.with_token(user).to_string();
            std::fs::write(path(&self.home, &user.user), kubeconfig)?;
        }
        Ok(())
    }

    /// Without syncing to the disk: its data need not outlive the machine.
    pub(super) fn etcd(&self, assets: &ServerPrograms) -> ProcessSpec {
        let clients = self.etcd_address();
        let spec = assets.program("etcd");
        spec.args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .arg("--listen-peer-urls")
            .arg(format!("http://127.0.0.1:{}", self.peers))
            .arg("--data-dir")
            .arg(self.home.join("etcd"))
            .arg("--unsafe-no-fsync")
    }

    /// With real TLS, RBAC and an audit log of every request that a test may have caused.
    pub(super) fn api(&self, assets: &ServerPrograms) -> ProcessSpec {
        let file = |name: &str| self.home.join(name).display().to_string();
        let (address, port) = (self.api.ip(), self.api.port());
        let services = match &self.node {
            Some(place) => place.services.as_str(),
            None => "10.0.0.0/24",
        };
        let spec = assets.program("kube-apiserver").args([
            format!("--etcd-servers={}", self.etcd_address()),
            format!("--bind-address={address}"),
            format!("--advertise-address={address}"),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--token-auth-file={}", file("tokens.csv")),
            format!("--service-account-issuer=https://{address}:{port}"),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            format!("--service-cluster-ip-range={services}"),
            // Nobody looks for the server through its own service.
            "--endpoint-reconciler-type=none".to_owned(),
            // Ends watches at SIGTERM; without it one client with a watch keeps the server for a minute.
            "--shutdown-watch-termination-grace-period=2s".to_owned(),
            format!("--audit-policy-file={}", file("audit-policy.json")),
            format!("--audit-log-path={}", file(AUDIT_LOG)),
            // No rotation, or places in the file would change their meaning.
            "--audit-log-maxsize=0".to_owned(),
        ]);
        if self.node.is_none() {
            return spec.args([
                "--authorization-mode=RBAC",
                // Pods of a namespace without a `default` service account are fine: nothing runs them.
                "--disable-admission-plugins=ServiceAccount",
            ]);
        }
        spec.args([
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            // For `kubectl logs` and `exec`.
            format!("--kubelet-certificate-authority={}", file("ca.crt")),
            format!(
                "--kubelet-client-certificate={}",
                file("kubelet-client.crt")
            ),
            format!("--kubelet-client-key={}", file("kubelet-client.key")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ])
    }

    /// With the controllers that act on objects; with those of nodes, volumes and service accounts only if there is a
    /// node.
    pub(super) fn controllers(&self, assets: &ServerPrograms) -> ProcessSpec {
        let kubeconfig = path(&self.home, CONTROLLERS_USER);
        let file = |name: &str| self.home.join(name).display().to_string();
        let chosen = match &self.node {
            Some(_) => vec![
                format!("--service-account-private-key-file={}", file("sa.key")),
                format!("--root-ca-file={}", file("ca.crt")),
            ],
            None => vec![format!("--controllers={}", CONTROLLERS.join(","))],
        };
        let spec = assets.program("kube-controller-manager");
        spec.arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args(chosen)
            .args([
                "--use-service-account-credentials=false",
                "--leader-elect=false",
                "--secure-port=0",
                // Emptying one namespace takes about a hundred requests; the default is 20 per second.
                "--kube-api-qps=1000",
                "--kube-api-burst=1000",
            ])
    }

    /// Gives pods their node, where there is one.
    pub(super) fn scheduler(&self, assets: &ServerPrograms) -> Option<ProcessSpec> {
        self.node.as_ref()?;
        let kubeconfig = path(&self.home, SCHEDULER_USER);
        let spec = assets.program("kube-scheduler");
        let spec = spec.arg(format!("--kubeconfig={}", kubeconfig.display()));
        Some(spec.args(["--leader-elect=false", "--secure-port=0"]))
    }

    /// Where the API server notes its requests.
    pub(super) fn audit_log(&self) -> PathBuf {
        self.home.join(AUDIT_LOG)
    }

    fn etcd_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd)
    }
}

fn signer() -> Result<KeyPair, KubernetesError> {
    KeyPair::generate().map_err(|error| KubernetesError::Files(io::Error::other(error)))
}

/// One entry per request: at its end, but a watch when it begins. The servers among themselves are left out.
fn audit_policy() -> String {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "None", "users": ["system:apiserver", CONTROLLERS_USER, SCHEDULER_USER] },
            { "level": "None", "userGroups": ["system:nodes"] },
            { "level": "Metadata", "verbs": ["watch"], "omitStages": ["ResponseComplete"] },
            { "level": "Metadata" },
        ],
    })
    .to_string()
}

/// What etcd writes once it serves.
pub(super) const ETCD_READY: &str = "ready to serve client requests";

/// What the API server writes once it listens; `/readyz` tells when it is ready.
pub(super) const API_LISTENING: &str = "Serving securely on";

/// What the controller manager writes once the garbage collector sees every kind.
pub(super) const CONTROLLERS_READY: &str = "Proceeding to collect garbage";

/// What each of them writes when somebody else listens on its port.
pub(super) const PORT_TAKEN: &str = "address already in use";

const AUDIT_LOG: &str = "audit.log";

const CONTROLLERS_USER: &str = "controller-manager";
const SCHEDULER_USER: &str = "scheduler";

// A Service has a port of its own, which is the default one for its clients; this Service leads nowhere but to itself.
const HTTPS: u16 = 443;

const CONTROLLERS: &[&str] = &[
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "statefulset-controller",
];
