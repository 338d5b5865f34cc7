//! The releases of the two charts, as `docs/DEPLOYING.md` makes them, and phase 2: their pods mount what is theirs.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{BUNDLE, NodeFixture};
use crate::node::Node;
use crate::rehearse::component::outputs;
use crate::rehearse::mounting::{AGENT_FILES, SERVER_FILES};
use crate::rehearse::{CLUSTERS, SERVER as PARTY};
use crate::test_dir::workspace;

/// A chart in its cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Release {
    /// Of the release, its namespace and its Deployment.
    pub(super) name: &'static str,
    /// Of the chart, its program and its image.
    pub(super) chart: &'static str,
    /// As the provisioner calls it.
    pub(super) party: &'static str,
    /// Where its secrets are.
    pub(super) account: &'static str,
    files: &'static [&'static str],
}

// === impl Release ===

impl Release {
    /// The labels of its pods.
    pub(super) fn selector(&self) -> String {
        let (chart, name) = (self.chart, self.name);
        format!("app.kubernetes.io/name={chart},app.kubernetes.io/instance={name}")
    }

    /// Installs or upgrades it with fresh outputs and these values besides, and waits for nothing. Gives the outputs.
    pub(super) async fn upgrade(&self, fixture: &NodeFixture, set: &[&str]) -> Result<Value> {
        let NodeFixture {
            node, rehearsal, ..
        } = fixture;
        let values = rehearsal.must(&outputs(self.party, "helm")).await?;
        let file = rehearsal
            .testbed
            .path()
            .join(format!("{}.yaml", self.chart));
        std::fs::write(&file, &values)?;
        let chart = workspace().join("deploy/charts").join(self.chart);
        let (chart, file) = (chart.display().to_string(), file.display().to_string());
        let registry = format!("global.imageRegistry={REGISTRY}");
        let mut args = vec!["upgrade", "--install", self.name, &chart];
        args.extend(["--namespace", self.name, "--create-namespace"]);
        args.extend(["--values", &file, "--set", &registry]);
        args.extend(set.iter().flat_map(|value| ["--set", *value]));
        node.helm(&args).await?;
        Ok(serde_saphyr::from_str(&values)?)
    }

    /// A pod of it whose program runs.
    async fn running(&self, node: &Node) -> Result<Pod> {
        let runs = |pod: &Pod| started(pod) && node.process(pod, self.chart).is_ok();
        node.pod_where(self.name, &self.selector(), "a running program", runs)
            .await
    }
}

pub(super) async fn mounting(fixture: &mut NodeFixture) -> Result<()> {
    let node = fixture.node;
    authorities(fixture).await?;
    for release in [SERVER, AGENT] {
        release.upgrade(fixture, &[]).await?;
        let pod = release.running(node).await?;
        let process = node.process(&pod, release.chart)?;
        for file in release.files {
            let path = process.join("root/mnt/secrets-store").join(file);
            let text = std::fs::read(&path);
            let text =
                text.with_context(|| format!("read `{file}` in a pod of {}", release.name))?;
            ensure!(
                !text.is_empty(),
                "`{file}` is empty in a pod of {}",
                release.name
            );
        }
        let (name, files) = (release.name, release.files.join(" "));
        fixture.rehearsal.saw(format!(
            "a pod of the chart `{}` in {name} has {files}",
            release.chart
        ));
    }
    unlabelled(node).await?;
    fixture
        .rehearsal
        .saw("a pod of another service account is refused its volume, which its events say");
    Ok(())
}

/// The ConfigMap that the server's chart wants.
async fn authorities(fixture: &NodeFixture) -> Result<()> {
    let bundle = std::fs::read_to_string(fixture.rehearsal.testbed.path().join(BUNDLE))?;
    let space =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SERVER.name } });
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "rds-ca-bundle", "namespace": SERVER.name },
        "data": { BUNDLE: bundle },
    });
    fixture.node.apply(&[space, map]).await
}

/// The agent's volume in a pod that has no role.
async fn unlabelled(node: &Node) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "unlabelled", "namespace": AGENT.name },
        "spec": {
            "containers": [{
                "name": "pause", "image": "localhost/pause:1",
                "volumeMounts": [{ "name": "secrets", "mountPath": "/mnt", "readOnly": true }],
            }],
            "volumes": [{ "name": "secrets", "csi": {
                "driver": "secrets-store.csi.k8s.io",
                "readOnly": true,
                "volumeAttributes": { "secretProviderClass": AGENT.name },
            } }],
        },
    });
    node.apply(&[pod]).await?;
    let why = ["no Pod Identity association for service account"];
    node.event(AGENT.name, "FailedMount", &why).await?;
    let delete = ["delete", "pod", "unlabelled", "--namespace", AGENT.name];
    node.kubectl(&delete).await?;
    Ok(())
}

/// Whether the pod's own container runs, and not one before it.
fn started(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|it| it.container_statuses.as_deref());
    let first = containers.and_then(<[_]>::first);
    let state = first.and_then(|it| it.state.as_ref());
    state.is_some_and(|it| it.running.is_some())
}

/// The regional cluster's.
pub(super) const SERVER: Release = Release {
    name: "maestro-server",
    chart: "server-bridge",
    party: PARTY,
    account: "region",
    files: SERVER_FILES,
};

/// The management cluster's.
pub(super) const AGENT: Release = Release {
    name: "maestro-agent",
    chart: "agent",
    party: CLUSTERS[0],
    account: CLUSTERS[0],
    files: AGENT_FILES,
};

/// Where a node of the tests has its images.
pub(super) const REGISTRY: &str = "localhost";
