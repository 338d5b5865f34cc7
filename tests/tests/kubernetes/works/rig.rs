//! A namespace with a store of works in it, and the hands of somebody else.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use agent::applier::Change;
use agent::crd::{self, ManifestWork};
use agent::work::{Found, Head, Objects, StatusRecord, Store as _, Work, WorkId};
use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use link::bundle::{Condition, Status, status_hash};
use link::id::ConsumerName;
use link::order::Version;
use serde_json::{Value, json};
use tests::crds::served;
use tests::kubernetes::Cluster;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::{OnceCell, mpsc};
use tokio::task::JoinHandle;

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Rig {
    pub(super) cluster: &'static Cluster,
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) consumer: ConsumerName,
}

/// A watch that runs until it is dropped.
pub(super) struct Watching {
    pub(super) changes: mpsc::Receiver<Change>,
    task: JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watching {
    pub(super) fn of(store: &Objects) -> Self {
        let (sender, changes) = mpsc::channel(16);
        let store = store.clone();
        let task = tokio::spawn(async move { store.watch(sender).await });
        Self { changes, task }
    }

    pub(super) async fn next(&mut self) -> Result<Change> {
        let change = tests::wait::timeout(PATIENCE, self.changes.recv()).await;
        change
            .context("no change in time")?
            .context("the watch ended")
    }

    /// The next change is about exactly this work.
    pub(super) async fn about(&mut self, id: &str) -> Result<()> {
        let change = self.next().await?;
        ensure!(change == Change::Works(vec![id.into()]), "{change:?}");
        Ok(())
    }
}

impl Rig {
    pub(super) async fn new(prefix: &str) -> Result<Self> {
        let cluster = installed().await?;
        Ok(Self {
            cluster,
            client: cluster.client().await?,
            namespace: cluster.namespace(prefix).await?,
            consumer: ConsumerName::new("cluster1")?,
        })
    }

    pub(super) async fn found(&self) -> Result<Found> {
        Ok(Objects::open(self.client.clone(), &self.namespace, &self.consumer).await?)
    }

    pub(super) async fn open(&self) -> Result<Objects> {
        Ok(self.found().await?.store)
    }

    pub(super) fn works(&self) -> Api<ManifestWork> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Somebody else merges a document into a work.
    pub(super) async fn merge(&self, name: &str, document: Value) -> Result<ManifestWork> {
        let patch = Patch::Merge(document);
        Ok(self
            .works()
            .patch(name, &PatchParams::default(), &patch)
            .await?)
    }

    /// Somebody else annotates a work.
    pub(super) async fn annotate(&self, name: &str, key: &str, value: Value) -> Result<()> {
        let document = json!({"metadata": {"annotations": {key: value}}});
        self.merge(name, document).await.map(drop)
    }

    pub(super) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let namespace = ["--namespace", &*self.namespace];
        kubectl(self.cluster, &[&namespace, arguments].concat(), "").await
    }
}

/// The shared servers with the agent's kinds.
async fn installed() -> Result<&'static Cluster> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let cluster = Cluster::shared().await?;
    INSTALLED.get_or_try_init(|| install(cluster)).await?;
    Ok(cluster)
}

/// Does what the hint says: `agent crds | kubectl apply -f -`.
pub(super) async fn install(cluster: &Cluster) -> Result<()> {
    kubectl(cluster, &["apply", "-f", "-"], &crd::yaml()).await?;
    let client = cluster.client().await?;
    for definition in crd::definitions() {
        served(&client, &definition).await?;
    }
    Ok(())
}

pub(super) async fn kubectl(cluster: &Cluster, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start kubectl")?;
    let mut stdin = child.stdin.take().context("its input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {arguments:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_default()
}

pub(super) fn work(id: &str, version: i64, payload: &str) -> Work {
    Work {
        head: Head {
            id: id.into(),
            version: Version::new(version).unwrap_or_default(),
            source: "maestro".into(),
            metadata: Some(format!(r#"{{"name":"{id}"}}"#)),
            log_tracing: Some("{}".into()),
            deleting_since: None,
            received_at: Some(at("2026-08-01T10:00:00.25Z")),
            content: format!("content of {version}"),
            rejected: None,
        },
        payload: payload.to_string().into(),
    }
}

pub(super) fn bundle(data: &str) -> String {
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": data}});
    json!({"manifests": [manifest]}).to_string()
}

pub(super) fn record(version: i64, message: &str) -> StatusRecord {
    let condition = |kind| {
        Condition::new(
            kind,
            "True",
            "Reason",
            message,
            version,
            at("2026-08-01T10:00:02Z"),
        )
    };
    let status = Status {
        conditions: vec![condition("Applied"), condition("Available")],
        resource_status: Vec::new(),
    };
    StatusRecord {
        version: Version::new(version).unwrap_or_default(),
        hash: status_hash(&status),
        status,
        acknowledged: false,
        applied_at: Some(at("2026-08-01T10:00:02.5Z")),
    }
}

pub(super) async fn commit(store: &Objects, works: &[Work]) -> Result<()> {
    Ok(store.commit(Arc::new(works.to_vec())).await?)
}

/// Keeps a status on what is held now.
pub(super) async fn say(store: &Objects, id: &str, record: &StatusRecord) -> Result<()> {
    let id = WorkId::from(id);
    let epoch = store.index().entry(&id).context("a held work")?.epoch;
    ensure!(
        store.put_status(&id, epoch, record.clone()).await?,
        "a new version came between"
    );
    Ok(store.write_status(&id, None).await?)
}

pub(super) async fn read(store: &Objects, id: &str) -> Result<agent::work::Stored> {
    store.read(&id.into()).await?.context("a held work")
}

/// Whether the source is to be asked for something.
pub(super) async fn resync_wanted(store: &Objects) -> bool {
    let wanted = store.index().resync_wanted();
    tests::wait::timeout(PATIENCE, wanted).await.is_ok()
}
