//! Phase 6: what is posted in the region runs as pods in the management cluster, its status is read in the region, and a
//! new certificate comes to the agent's pod, which goes on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::NodeFixture;
use super::release::AGENT;
use super::services::{api, client_id};
use crate::api::{Api, Bundle, Change, config_map};
use crate::node::restarts;
use crate::rehearse::{PATIENCE, expect};
use crate::wait::wait_for;

pub(super) async fn check(fixture: &mut NodeFixture) -> Result<()> {
    let api = api(fixture).await?;
    let made = api.create_bundle(&workload()).await?;
    settled(&api, &made.id, ready_replicas).await?;
    fixture.node.pod_ready(SPACE, "app=rehearsed").await?;
    fixture.rehearsal.saw(format!(
        "a Deployment posted by REST runs in `{}`, and REST tells of {REPLICAS} ready replicas",
        AGENT.party
    ));
    rotate(fixture).await?;
    let next = Change::create(AGENT.party, vec![config_map("rehearsed", "after")]);
    let next = api.create_bundle(&next).await?;
    settled(&api, &next.id, |bundle| bundle.is("Applied")).await?;
    fixture.rehearsal.saw("a further bundle arrives");
    for id in [&made.id, &next.id] {
        api.delete_bundle(id).await?;
        wait_for("the end of a bundle", DEADLINE, async || {
            let left = api.bundle(id).await?;
            ensure!(
                left.is_none(),
                "{:#}",
                left.map(|it| it.status).unwrap_or_default()
            );
            anyhow::Ok(())
        })
        .await?;
    }
    fixture
        .rehearsal
        .saw("both bundles are deleted, and gone when the cluster has let go of them");
    Ok(())
}

async fn rotate(fixture: &mut NodeFixture) -> Result<()> {
    let before = fixture
        .node
        .pod_ready(AGENT.name, &AGENT.selector())
        .await?;
    let old = certificate(fixture).context("the agent is connected")?;
    let rotate = ["rotate", AGENT.party, "--reconnect", "--within", "110s"];
    let rotated = fixture.rehearsal.provisioner(&rotate).await?;
    expect("provisioner rotate", &rotated, 0)?;
    let new = certificate(fixture).context("the agent is connected again")?;
    ensure!(new != old, "the agent still uses the old certificate");
    let after = fixture
        .node
        .pod_ready(AGENT.name, &AGENT.selector())
        .await?;
    ensure!(
        after.metadata.uid == before.metadata.uid && restarts(&after) == restarts(&before),
        "the agent's pod is another one or was restarted"
    );
    fixture.rehearsal.saw(
        "`provisioner rotate` ended: the same pod, not restarted, is connected with a new certificate",
    );
    Ok(())
}

/// The fingerprint of what the agent is connected with.
fn certificate(fixture: &NodeFixture) -> Option<String> {
    let (broker, id) = (&fixture.rehearsal.testbed.broker, client_id());
    let mut connections = broker.connections().into_iter();
    connections
        .find(|it| it.client_id == id)
        .map(|it| it.fingerprint)
}

/// Pods of an image that does nothing, and how many of them are ready.
fn workload() -> Change {
    let labels = json!({ "app": "rehearsed" });
    let manifest = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "rehearsed", "namespace": SPACE },
        "spec": {
            "replicas": REPLICAS,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "pause", "image": "localhost/pause:1" }] },
            },
        },
    });
    let config = json!({
        "resourceIdentifier": {
            "group": "apps", "resource": "deployments", "name": "rehearsed", "namespace": SPACE,
        },
        "feedbackRules": [{ "type": "WellKnownStatus" }],
    });
    Change {
        manifest_configs: vec![config],
        ..Change::create(AGENT.party, vec![manifest])
    }
}

fn ready_replicas(bundle: &Bundle) -> bool {
    let values = &bundle.status["resourceStatus"][0]["statusFeedback"]["values"];
    let mut values = values.as_array().into_iter().flatten();
    values
        .any(|it: &Value| it["name"] == "ReadyReplicas" && it["fieldValue"]["integer"] == REPLICAS)
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

/// Of the workload.
const REPLICAS: u32 = 2;

const SPACE: &str = "default";

// A pod that is asked to end has half a minute.
const DEADLINE: Duration = Duration::from_secs(60);
