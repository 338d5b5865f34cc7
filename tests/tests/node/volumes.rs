//! Secrets that cannot be mounted: what a person finds where they look, in the events of the pod.

use anyhow::Result;
use serde_json::{Value, json};
use tests::node::{ChartFixture, FileSource, Node};

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_is_not_there_is_named_in_the_events_of_the_pod() -> Result<()> {
    let (node, space) = (Node::shared().await?, "no-class");
    let fixture = ChartFixture::start(node, space).await?;
    let values = fixture.values_with_class("agent", "absent").await?;
    fixture.release("install", "agent", space, &values).await?;
    let missing = "failed to get secretproviderclass no-class/absent";
    node.event(space, "FailedMount", &[missing, "not found"])
        .await?;
    node.helm(&["uninstall", "agent", "--namespace", space])
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_there_is_named_in_the_events_of_the_pod() -> Result<()> {
    let (node, space) = (Node::shared().await?, "no-secret");
    let fixture = ChartFixture::start(node, space).await?;
    let values = fixture.values("agent", FileSource::Csi).await?;
    fixture.release("install", "agent", space, &values).await?;
    let why = ["no-secret/agent-cert", "ResourceNotFoundException"];
    node.event(space, "FailedMount", &why).await?;
    node.helm(&["uninstall", "agent", "--namespace", space])
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_could_be_written_to_is_refused() -> Result<()> {
    let (node, space) = (Node::shared().await?, "writable");
    node.kubectl(&["create", "namespace", space]).await?;
    node.apply(&[writable(space)]).await?;
    node.event(space, "FailedMount", &["Readonly is not true in request"])
        .await?;
    node.kubectl(&["delete", "namespace", space, "--wait=false"])
        .await?;
    Ok(())
}

fn writable(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "writable", "namespace": namespace },
        "spec": {
            "containers": [{
                "name": "pause", "image": "localhost/pause:1",
                "volumeMounts": [{ "name": "secrets", "mountPath": "/mnt" }],
            }],
            "volumes": [{ "name": "secrets", "csi": {
                "driver": "secrets-store.csi.k8s.io",
                "volumeAttributes": { "secretProviderClass": "any" },
            } }],
        },
    })
}
