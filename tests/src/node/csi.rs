//! A stand-in for the Secrets Store CSI driver and its AWS provider, which come as images only: the kubelet finds it by
//! its socket, and it lays the secrets of a SecretProviderClass down in the pods of a node.
//!
//! It refuses what the originals refuse, in their words where a person would meet them: a volume that is not read-only,
//! a class that is not there, a token that is missing. Like them it asks again at every republish of the kubelet (each
//! second here, in place of two minutes) and leaves a pod its files when that fails. It runs in the process of the test
//! and enters the node's mount name space for each volume, so that it outlives a power cut of the node; a real one comes
//! back with the node.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use sandbox::pki::Layout;
use serde_json::Value;

use self::grpc::{Code, Plugin, Status};
use self::volume::Volume;
use self::wire::{Message, texts};
use super::secrets::Secrets;
use crate::aws::FakeAws;
use crate::csi::{MountError, Pod, ProviderClass, files};

mod grpc;
mod volume;
mod wire;

/// How the driver behaves from the next call on, and what it was asked.
#[derive(Clone, Debug)]
pub struct Csi(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    process: u32,
    layout: Layout,
    stops: BTreeMap<String, String>,
    clusters: BTreeMap<String, EksCluster>,
    audiences: Vec<String>,
}

/// A cluster of EKS that a namespace of the node stands for.
#[derive(Clone, Debug)]
struct EksCluster {
    aws: Arc<FakeAws>,
    account: String,
    name: String,
}

/// The driver: everything a call needs.
struct Driver {
    csi: Csi,
    client: kube::Client,
    secrets: Secrets,
    node: String,
    endpoint: String,
}

// === impl Csi ===

impl Csi {
    /// On a node whose process 1, or its parent, is `process`.
    pub(super) fn new(process: u32) -> Self {
        Self(Arc::new(Mutex::new(State {
            process,
            layout: Layout::PerFileRename,
            stops: BTreeMap::new(),
            clusters: BTreeMap::new(),
            audiences: Vec::new(),
        })))
    }

    /// Which of the two writers lays files down: the provider's own, which is the default, or the driver's.
    pub fn layout(&self, layout: Layout) {
        self.state(|state| state.layout = layout);
    }

    /// Lets the provider's writer stop after this file in volumes of a namespace that are there already, and so leave a
    /// new file beside an old one, until `None` lets it go on.
    pub fn stop_after(&self, namespace: &str, file: Option<&str>) {
        self.state(|state| match file {
            Some(file) => state.stops.insert(namespace.to_owned(), file.to_owned()),
            None => state.stops.remove(namespace),
        });
    }

    /// From now on this namespace is one of a cluster of EKS in an account of an AWS: its pods read what the roles of
    /// their service accounts may read there. Pods of other namespaces read everything in the node's own account.
    pub fn belongs(&self, namespace: &str, aws: &Arc<FakeAws>, account: &str) {
        let cluster = EksCluster {
            aws: Arc::clone(aws),
            account: account.to_owned(),
            name: aws.account(account).prerequisites.cluster.clone(),
        };
        self.state(|state| state.clusters.insert(namespace.to_owned(), cluster));
    }

    /// Undoes [`Self::belongs`].
    pub fn forget(&self, namespace: &str) {
        self.state(|state| state.clusters.remove(namespace));
    }

    /// The audiences of the tokens that came with the last volume.
    pub fn audiences(&self) -> Vec<String> {
        self.state(|state| state.audiences.clone())
    }

    /// The node was started again.
    pub(super) fn moved(&self, process: u32) {
        self.state(|state| state.process = process);
    }

    /// Listens below the kubelet's directory, in the runtime of the caller.
    ///
    /// # Errors
    /// When a socket cannot be bound.
    pub(super) fn start(
        &self,
        kubelet: &Path,
        node: &str,
        client: kube::Client,
        secrets: Secrets,
    ) -> io::Result<()> {
        let endpoint = kubelet.join("plugins/csi-secrets-store/csi.sock");
        // The kubelet takes the path for the authority of its requests, percent-encoded, which is none but before an `@`.
        let registry = kubelet.join(format!("plugins_registry/{NAME}-reg.sock@localhost"));
        let driver = Arc::new(Driver {
            csi: self.clone(),
            client,
            secrets,
            node: node.to_owned(),
            endpoint: endpoint.display().to_string(),
        });
        for path in [endpoint, registry] {
            tokio::spawn(grpc::serve(grpc::bind(&path)?, Arc::clone(&driver)));
        }
        Ok(())
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Driver ===

impl Plugin for Driver {
    async fn call(&self, method: &str, message: Bytes) -> Result<Vec<u8>, Status> {
        let message = Message::read(&message);
        let message = message.ok_or_else(|| Status::new(Code::Internal, "no message"))?;
        match method {
            "/pluginregistration.Registration/GetInfo" => Ok(texts(&[
                (1, "CSIPlugin"),
                (2, NAME),
                (3, &self.endpoint),
                (4, "1.0.0"),
            ])),
            "/csi.v1.Node/NodeGetInfo" => Ok(texts(&[(1, &self.node)])),
            "/pluginregistration.Registration/NotifyRegistrationStatus"
            | "/csi.v1.Node/NodeGetCapabilities" => Ok(Vec::new()),
            "/csi.v1.Node/NodePublishVolume" => {
                let outcome = self.publish(&message).await;
                match (outcome, self.volume(&message.text(TARGET)).mounted()) {
                    // The pod keeps what it has.
                    (Err(_), Ok(true)) => Ok(Vec::new()),
                    (outcome, _) => outcome.map(|()| Vec::new()),
                }
            }
            "/csi.v1.Node/NodeUnpublishVolume" => {
                let target = message.text(2);
                self.volume(&target)
                    .unmount()
                    .map_err(|error| internal(&error))?;
                Ok(Vec::new())
            }
            _ => Err(Status::new(Code::Unimplemented, method)),
        }
    }
}

impl Driver {
    async fn publish(&self, message: &Message<'_>) -> Result<(), Status> {
        let invalid = |text: &str| Status::new(Code::InvalidArgument, text);
        let context = message
            .map(8)
            .ok_or_else(|| invalid("volume context is no map"))?;
        let entry = |key: &str| context.get(key).map(String::as_str).unwrap_or_default();
        if !message.flag(6) {
            return Err(invalid("Readonly is not true in request"));
        }
        let name = entry("secretProviderClass");
        if name.is_empty() {
            return Err(invalid("secretProviderClass is not set"));
        }
        let (namespace, pod) = (
            entry("csi.storage.k8s.io/pod.namespace"),
            entry("csi.storage.k8s.io/pod.name"),
        );
        let class = self.class(namespace, name).await?;
        let failed = |text: String| {
            let text = format!(
                "failed to mount secrets store objects for pod {namespace}/{pod}, err: {text}"
            );
            Status::new(Code::Unknown, text)
        };
        let class = ProviderClass::parse(&class).map_err(|error| failed(chain(&error)))?;
        let account = entry("csi.storage.k8s.io/serviceAccount.name");
        let audiences = audiences(
            entry("csi.storage.k8s.io/serviceAccount.tokens"),
            &format!("system:serviceaccount:{namespace}:{account}"),
        );
        let audiences = audiences.map_err(failed)?;
        if !audiences.iter().any(|audience| audience == POD_IDENTITY) {
            let text = format!("no token for {POD_IDENTITY} among those for {audiences:?}");
            return Err(failed(text));
        }
        let files = self.files(namespace, account, &class).await;
        let files = files.map_err(|error| failed(chain(&error)))?;
        let (layout, last) = self.csi.state(|state| {
            state.audiences = audiences;
            (state.layout, state.stops.get(namespace).cloned())
        });
        let target = message.text(TARGET);
        let volume = self.volume(&target);
        let again = volume.mount().map_err(|error| internal(&error))?;
        let last = last.as_deref().filter(|_| again);
        let written = volume
            .write(&files, layout, last)
            .map_err(|error| internal(&error));
        if written.is_err() && !again {
            volume.unmount().map_err(|error| internal(&error))?;
        }
        written
    }

    async fn files(
        &self,
        namespace: &str,
        service_account: &str,
        class: &ProviderClass,
    ) -> Result<Vec<(String, String)>, MountError> {
        let cluster = self
            .csi
            .state(|state| state.clusters.get(namespace).cloned());
        let Some(cluster) = cluster else {
            return self.secrets.files(class).await;
        };
        let pod = Pod {
            account: cluster.account,
            cluster: cluster.name,
            service_account: service_account.to_owned(),
        };
        files(&cluster.aws, &pod, class).await
    }

    /// The manifest of a class.
    async fn class(&self, namespace: &str, name: &str) -> Result<String, Status> {
        let kind = GroupVersionKind::gvk("secrets-store.csi.x-k8s.io", "v1", "SecretProviderClass");
        let kind = ApiResource::from_gvk_with_plural(&kind, "secretproviderclasses");
        let classes: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &kind);
        let failed = |why: String| {
            let text =
                format!("failed to get secretproviderclass {namespace}/{name}, error: {why}");
            Status::new(Code::Unknown, text)
        };
        let found = classes.get_opt(name).await;
        let missing =
            || format!("SecretProviderClass.secrets-store.csi.x-k8s.io \"{name}\" not found");
        let class = found
            .map_err(|error| failed(chain(&error)))?
            .ok_or_else(|| failed(missing()))?;
        serde_json::to_string(&class).map_err(|error| failed(error.to_string()))
    }

    fn volume<'a>(&self, target: &'a str) -> Volume<'a> {
        Volume {
            process: self.csi.state(|state| state.process),
            target,
        }
    }
}

/// The audiences of a pod's tokens, each of which must say in its payload that it is for that audience and this account.
fn audiences(tokens: &str, subject: &str) -> Result<Vec<String>, String> {
    let tokens: Value = serde_json::from_str(tokens).unwrap_or_default();
    let mut audiences = Vec::new();
    for (audience, token) in tokens.as_object().into_iter().flatten() {
        let payload = token["token"].as_str().and_then(|it| it.split('.').nth(1));
        let payload = payload.and_then(|it| URL_SAFE_NO_PAD.decode(it).ok());
        let payload: Value = payload
            .and_then(|it| serde_json::from_slice(&it).ok())
            .unwrap_or_default();
        let fits = payload["aud"]
            .as_array()
            .is_some_and(|all| all.contains(&audience.as_str().into()));
        if !fits || payload["sub"] != subject {
            return Err(format!("the token for {audience} is not one of {subject}"));
        }
        audiences.push(audience.clone());
    }
    Ok(audiences)
}

fn internal(error: &io::Error) -> Status {
    Status::new(Code::Internal, error.to_string())
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The name of the driver.
pub(super) const NAME: &str = "secrets-store.csi.k8s.io";

const POD_IDENTITY: &str = "pods.eks.amazonaws.com";

// Of NodePublishVolume.
const TARGET: u64 = 4;
