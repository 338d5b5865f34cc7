//! A region and a management cluster on one node, from REST to running pods, and after a power cut.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::api::{Api, Bundle, Change, config_map};
use tests::node::{ChartFixture, FileSource, Node, selector};
use tests::pki::Layout;
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_ends_in_running_pods_which_come_back_with_everything_after_a_power_cut()
-> Result<()> {
    let node = Box::pin(Node::start("node-power")).await?;
    let fixture = ChartFixture::start(&node, "mc1").await?;
    // Here by the driver's own writer, elsewhere by the provider's.
    node.csi().layout(Layout::DataSymlink);
    for (chart, namespace) in [("server-bridge", SERVER), ("agent", AGENT)] {
        fixture.provide(chart).await?;
        fixture.install(chart, namespace, FileSource::Csi).await?;
    }
    let api = fixture.api(SERVER).await?;
    let made = api.create_bundle(&bundle()).await?;
    settled(&api, &made.id, ready_replicas).await?;
    node.pod_ready("default", WORKLOAD).await?;

    node.cut().await?;
    node.restore()?;
    for (namespace, labels) in [
        (SERVER, selector("server-bridge")),
        (AGENT, selector("agent")),
        ("default", WORKLOAD.to_owned()),
    ] {
        node.pod_restarted(namespace, &labels, 1).await?;
    }
    let api = fixture.api(SERVER).await?;
    let kept = api.bundle(&made.id).await?.context("the bundle is kept")?;
    ensure!(kept.version == made.version);
    // The whole way again, from one end to the other.
    let next = Change::create("mc1", vec![config_map("after", "1")]);
    let next = api.create_bundle(&next).await?;
    settled(&api, &next.id, |bundle| bundle.is("Applied")).await?;

    // Works and what they applied outlive the agent's release, and another one goes on with them.
    let before = held(&node).await?;
    node.helm(&["uninstall", "agent", "--namespace", AGENT, "--wait"])
        .await?;
    let left = held(&node).await?;
    ensure!(left == before, "{left:?} of {before:?}");
    node.pod_ready("default", WORKLOAD).await?;
    fixture.install("agent", AGENT, FileSource::Csi).await?;
    let next = Change::create("mc1", vec![config_map("again", "1")]);
    let next = api.create_bundle(&next).await?;
    settled(&api, &next.id, |bundle| bundle.is("Applied")).await?;
    let after = held(&node).await?;
    ensure!(after.is_superset(&before), "{after:?} after {before:?}");
    drop(fixture);
    node.passed();
    Ok(())
}

/// Two pods of an image that does nothing, and how many of them are ready.
fn bundle() -> Change {
    let labels = json!({ "app": "workload" });
    let manifest = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "workload", "namespace": "default" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "pause", "image": "localhost/pause:1" }] },
            },
        },
    });
    let config = json!({
        "resourceIdentifier": {
            "group": "apps", "resource": "deployments", "name": "workload", "namespace": "default",
        },
        "feedbackRules": [{ "type": "WellKnownStatus" }],
    });
    Change {
        manifest_configs: vec![config],
        ..Change::create("mc1", vec![manifest])
    }
}

/// The uids of all works, of their owners in the cluster, and of the workload.
async fn held(node: &Node) -> Result<BTreeSet<String>> {
    let mut uids = BTreeSet::new();
    for (kind, namespace) in [
        ("manifestworks.work.open-cluster-management.io", AGENT),
        (
            "appliedmanifestworks.work.open-cluster-management.io",
            AGENT,
        ),
        ("deployments.apps", "default"),
    ] {
        let items = "--output=jsonpath={.items[*].metadata.uid}";
        let found = node
            .kubectl(&["get", kind, "--namespace", namespace, items])
            .await?;
        ensure!(!found.trim().is_empty(), "no {kind}");
        uids.extend(found.split_whitespace().map(str::to_owned));
    }
    Ok(uids)
}

fn ready_replicas(bundle: &Bundle) -> bool {
    let values = &bundle.status["resourceStatus"][0]["statusFeedback"]["values"];
    let mut values = values.as_array().into_iter().flatten();
    values.any(|it: &Value| it["name"] == "ReadyReplicas" && it["fieldValue"]["integer"] == 2)
}

async fn settled(api: &Api, id: &str, condition: impl Fn(&Bundle) -> bool) -> Result<()> {
    wait_for("the status of a bundle", PATIENCE, async || {
        let bundle = api.bundle(id).await?.context("it is there")?;
        ensure!(condition(&bundle), "{:#}", bundle.status);
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

const SERVER: &str = "maestro";
const AGENT: &str = "maestro-agent";
const WORKLOAD: &str = "app=workload";
const PATIENCE: Duration = Duration::from_secs(60);
