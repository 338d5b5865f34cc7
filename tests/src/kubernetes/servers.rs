//! The command lines of the three servers, and the files they read.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use serde_json::json;

use super::StartError;
use super::assets::Assets;
use super::identity::{Entrance, Master, path};
use crate::mosquitto::free_port;
use crate::pki::Authority;
use crate::process::Spec;

/// What the servers of one cluster agree on.
#[derive(Debug)]
pub(super) struct Layout {
    home: PathBuf,
    etcd: u16,
    peers: u16,
    /// Where the API server listens.
    pub(super) api: u16,
}

// === impl Layout ===

impl Layout {
    /// Free ports, and a home for the files.
    ///
    /// # Errors
    /// When the machine has no port left.
    pub(super) fn new(home: &Path) -> io::Result<Self> {
        Ok(Self {
            home: home.to_path_buf(),
            etcd: free_port()?,
            peers: free_port()?,
            api: free_port()?,
        })
    }

    /// Writes what the servers read.
    ///
    /// # Errors
    /// When keys or files cannot be made.
    pub(super) fn write(&self, authority: &Authority, admin: &Master) -> Result<(), StartError> {
        let file = |name: &str| self.home.join(name);
        let server = authority.server(&[])?;
        std::fs::write(file("ca.crt"), authority.certificate_pem())?;
        std::fs::write(file("server.crt"), server.certificate)?;
        std::fs::write(file("server.key"), server.key)?;
        let signer = signer()?;
        std::fs::write(file("sa.key"), signer.serialize_pem())?;
        std::fs::write(file("sa.pub"), signer.public_key_pem())?;
        let controllers = Master::new(CONTROLLERS_USER);
        let tokens = admin.token_line() + &controllers.token_line();
        std::fs::write(file("tokens.csv"), tokens)?;
        std::fs::write(file("audit-policy.json"), audit_policy())?;
        let entrance = Entrance {
            port: self.api,
            authority,
        };
        for master in [admin, &controllers] {
            let kubeconfig = entrance.with_token(master).to_string();
            std::fs::write(path(&self.home, master.user), kubeconfig)?;
        }
        Ok(())
    }

    /// Without syncing to the disk: its data need not outlive the machine.
    pub(super) fn etcd(&self, assets: &Assets) -> Spec {
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
    pub(super) fn api(&self, assets: &Assets) -> Spec {
        let file = |name: &str| self.home.join(name).display().to_string();
        let port = self.api;
        let spec = assets.program("kube-apiserver");
        spec.args([
            format!("--etcd-servers={}", self.etcd_address()),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            format!("--service-account-issuer=https://127.0.0.1:{port}"),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            // Pods of a namespace without a `default` service account are fine: nothing runs them.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            // Nobody looks for the server through its own service.
            "--endpoint-reconciler-type=none".to_owned(),
            // Ends watches at SIGTERM; without it one client with a watch keeps the server for a minute.
            "--shutdown-watch-termination-grace-period=2s".to_owned(),
            format!("--audit-policy-file={}", file("audit-policy.json")),
            format!("--audit-log-path={}", file(AUDIT_LOG)),
            // No rotation, or places in the file would change their meaning.
            "--audit-log-maxsize=0".to_owned(),
        ])
    }

    /// With the controllers that act on objects; without those that need nodes, volumes or a cloud.
    pub(super) fn controllers(&self, assets: &Assets) -> Spec {
        let kubeconfig = path(&self.home, CONTROLLERS_USER);
        let spec = assets.program("kube-controller-manager");
        spec.arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--controllers={}", CONTROLLERS.join(",")))
            .args([
                "--use-service-account-credentials=false",
                "--leader-elect=false",
                "--secure-port=0",
                // Emptying one namespace takes about a hundred requests; the default is 20 per second.
                "--kube-api-qps=1000",
                "--kube-api-burst=1000",
            ])
    }

    /// Where the API server notes its requests.
    pub(super) fn audit_log(&self) -> PathBuf {
        self.home.join(AUDIT_LOG)
    }

    fn etcd_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd)
    }
}

fn signer() -> Result<KeyPair, StartError> {
    KeyPair::generate().map_err(|error| StartError::Files(io::Error::other(error)))
}

/// One entry per request: at its end, but a watch when it begins. The servers among themselves are left out.
fn audit_policy() -> String {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "None", "users": ["system:apiserver", CONTROLLERS_USER] },
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
